"""entry_init.c: what makes the CPU use the entry points, from the facts that the proofs use. CPU text is in templates/<cpu>/."""

from __future__ import annotations

import re
from typing import Any

from ..model.expr import Binary, CellRef, Num, Reg, SetupRef, SlotRef, UserRef, constant, evaluate, is_constant, walk
from ..model.spec import VECTOR_TABLE, Memory, Path, Spec
from ..model.surroundings import Guard
from ..resources import filled
from ..source.finding import Findings
from .c_text import comment, number, refuse
from .notice import notice


def emit_init(spec: Spec) -> str:
    """The whole file. Raises Findings where a memory block cannot be reached through its register on this CPU."""
    from jinja2 import UndefinedError
    template, known = f"{spec.arch.name}/entry_init.c.j2", facts(spec)
    for memory in spec.memories.values():
        if memory.base not in spec.arch.registers or spec.arch.registers[memory.base].kind != "system":
            raise _no_base(spec, memory)
    try:
        return filled(template, known)
    except UndefinedError:                      # the CPU's set-up code wants a fact that the register does not have
        raise _no_base(spec, *spec.memories.values()) from None


def _no_base(spec: Spec, *memories: Memory) -> Findings:
    first = memories[0]
    return refuse("E514", f"the set-up code of {spec.arch.name} cannot make {' or '.join(dict.fromkeys(m.base for m in memories))} point to memory "
                          f"'{first.name}'", first.span, "name a system register that the kernel owns, such as the per-CPU base")


def facts(spec: Spec) -> dict[str, Any]:
    """Flat lists for the templates; every decision is made here."""
    gates = [{"number": p.number, "symbol": p.name, "user_may_raise": int(p.user_may_raise), "stack": _gate_stack(spec, p), **_guarded(p.guard)}
             for p in spec.of_kind("entry") if p.event is not None and p.event.found[0] == "gate"]
    tables = [p for p in spec.of_kind("entry") if p.event is not None and p.event.found[0] == "table"]
    return {
        "notice": notice(spec, "/* {} */"),
        "parameters": ", ".join(f"struct {m} *{m}" for m in spec.memories) or "void",
        "gates": gates,
        "registers": _programs(spec),
        "bases": _bases(spec),
        "tables": [VECTOR_TABLE] if tables else [],
        "presets": _presets(spec),
        "asserts": _asserts(spec),
    }


def _gate_stack(spec: Spec, path: Path) -> int:
    """The number of the stack that the gate names: the digits at the end of the word that holds its top; 0: none."""
    stack = spec.stacks.get(path.stack or "")
    digits = re.search(r"(\d+)$", stack.top.cell) if stack is not None and isinstance(stack.top, CellRef) else None
    return int(digits[1]) if digits else 0


def _presets(spec: Spec) -> list[str]:
    """C expressions for the words above stacks: each holds the address of the memory block."""
    return [f"*(uint64_t *)(uintptr_t){s.top.memory}->{s.top.cell} = (uintptr_t){s.top.memory};" for s in spec.stacks.values()
            if s.preset and isinstance(s.top, CellRef)]


def _programs(spec: Spec) -> list[dict[str, str]]:
    """Rows (verb, number, value, remark) for the events that have an entry point, each event once."""
    out: list[dict[str, str]] = []
    done: set[tuple[str, Guard]] = set()
    for path in spec.of_kind("entry"):
        program = spec.arch.programs.get(path.event.name) if path.event is not None else None
        if program is None or (program.event, path.guard) in done:
            continue
        done.add((program.event, path.guard))
        for verb, register, value in program.rows:
            if value is None:
                text = f"(uintptr_t){path.name}"
            elif isinstance(value, Reg):
                text = f"(uintptr_t){VECTOR_TABLE}"
            else:
                text = number(evaluate(value, lambda e: spec.setup[e.name][0] if isinstance(e, SetupRef) else 0))
            names = ", ".join(e.name for e in walk(value) if isinstance(e, SetupRef)) if value is not None and not isinstance(value, Reg) else "the entry point"
            out.append({"verb": verb, "number": f"{register:#x}", "value": text, "remark": comment(names or program.manual), **_guarded(path.guard)})
    return out


def _guarded(guard: Guard) -> dict[str, str]:
    """What stands around a row that not every configuration has."""
    if not guard:
        return {"open": "", "close": ""}
    condition = " && ".join(("" if wanted else "!") + f"defined(CONFIG_{name})" for name, wanted in sorted(guard))
    return {"open": f"#if {condition}\n", "close": "#endif\n"}


def _bases(spec: Spec) -> list[dict[str, Any]]:
    """Registers that point to memory blocks while the kernel runs, and what their counterparts hold at first."""
    out: list[dict[str, Any]] = []
    for memory in spec.memories.values():
        out.append(_base(spec, memory.base, f"(uintptr_t){memory.name}"))
        for state in spec.states.values():
            for meanings in state.values.values():
                if any(m.register == memory.base and not isinstance(m.value, UserRef) for m in meanings):
                    out += [_base(spec, m.register, "0") for m in meanings if m.register and isinstance(m.value, UserRef)]
    return out


def _base(spec: Spec, register: str, value: str) -> dict[str, Any]:
    """`facts` is what the CPU's description says of the register: numbers in hexadecimal."""
    row = spec.arch.registers[register]
    return {"name": row.text, "facts": {name: f"{fact:#x}" for name, fact in row.facts.items()}, "value": value}


def _asserts(spec: Spec) -> list[dict[str, str]]:
    """Constants that clauses compare with have to be what the CPU loads."""
    out: list[dict[str, str]] = []
    for method in spec.methods.values():
        row = spec.return_of(spec.paths[method.exit])
        frame = spec.frame_of(spec.paths[method.exit])
        if row is None or frame is None:
            continue
        for effect in row.effects:
            names = [e.name for e in walk(effect.value) if isinstance(e, SetupRef)]
            if not names or any(isinstance(e, Reg) for e in walk(effect.value)) or not isinstance(effect.place, Reg):
                continue
            loaded = evaluate(effect.value, lambda e: spec.setup[e.name][0] if isinstance(e, SetupRef) else 0)
            for clause in method.clauses:
                expr = clause.condition
                if isinstance(expr, Binary) and expr.op == "eq" and isinstance(expr.a, SlotRef) and is_constant(expr.b) \
                        and frame.slots[expr.a.slot].home == effect.place.name:
                    shown = expr.b.label if isinstance(expr.b, Num) and expr.b.label else hex(constant(expr.b))
                    out.append({"condition": f"{shown} == {loaded:#x}", "text": f"{row.name} loads {effect.place.name} from {', '.join(names)}"})
    return out
