"""What a name is, in a few lines of Markdown: sizes and offsets from the model, meanings from the spec and the CPU's description."""

from __future__ import annotations

from ..model.arch import Arch, Event, Return
from ..model.expr import show
from ..model.spec import Spec, State
from ..model.surroundings import Guard
from ..model.surroundings import Meaning as Fact
from ..plan.code import Moment
from .index import comment_above
from .look import Look, Meaning

MOST_LINES = 14                                 # of a declaration


def hover(look: Look, line: int, column: int) -> str | None:
    """The text for the name at a place, both from 0; None: nothing is known there."""
    found = look.at(line, column)
    parts = describe(look, found[0]) if found is not None else []
    row = look.text.split("\n")[line] if 0 <= line < look.text.count("\n") + 1 else ""
    start = len(row) - len(row.lstrip())
    if start <= column < start + len(row.split(None, 1)[0] if row.strip() else ""):     # on the first word of a step
        moments = _moments(look, line)
        parts += ["---", *moments] if parts and moments else moments
    return "\n\n".join(parts) if parts else None


def describe(look: Look, meaning: Meaning) -> list[str]:
    """Paragraphs: what it is, facts, the author's comment, the declaration."""
    name = f"{meaning.inside}.{meaning.name}" if meaning.kind in ("slot", "word") and meaning.inside else meaning.name
    head = f"**{meaning.kind}** `{name}`" + (f" of state `{meaning.inside}`" if meaning.kind == "value" else "")
    facts = [f for f in _facts(look, meaning) if f]
    out = [head + (f": {facts[0]}" if facts else ""), *facts[1:]]
    for path, at in meaning.at[:1]:
        text = look.text_of(path)
        comment = comment_above(text, at.start) if at.kind != "slot" else ""
        lines = text.split("\n")[at.start:at.end + 1]
        more = len(lines) - MOST_LINES
        shown = lines if more <= 1 else [*lines[:MOST_LINES], f"    … {more} lines more"]
        out += [comment] if comment else []
        if at.kind not in ("slot", "value"):
            out.append("```" + ("arch" if path.suffix == ".arch" else "entry") + "\n" + "\n".join(shown) + "\n```")
    return out


def _bytes(count: int) -> str:
    return f"{count} byte{'' if count == 1 else 's'}"


def _at(offset: int) -> str:
    return f"offset {offset} ({offset:#x})" if offset > 9 else f"offset {offset}"


def _facts(look: Look, meaning: Meaning) -> list[str]:
    spec, arch, name = look.spec, look.arch, meaning.name
    if arch is not None:
        known = _of_arch(arch, meaning.kind, name)
        if spec is not None and known and name in spec.setup and meaning.kind in ("setup value", "setting"):
            known = [*known, f"here {spec.setup[name][0]:#x}"]
        if known:
            return known
    return _of_spec(spec, meaning) if spec is not None else []


# ---- the spec ----

def _of_spec(spec: Spec, meaning: Meaning) -> list[str]:
    name, inside = meaning.name, meaning.inside
    if meaning.kind == "slot" and inside in spec.frames and name in spec.frames[inside].slots:
        frame, slot = spec.frames[inside], spec.frames[inside].slots[name]
        holds = {"home": f"holds the interrupted `{slot.home}`", "number": "holds the vector's number", "error_code": "holds the CPU's error code",
                 "c": "written by C"}.get(slot.source, f"holds {show(slot.other)}" if slot.other is not None else "")
        other = f", or {show(slot.other)} where there is none" if slot.other is not None and slot.source in ("number", "error_code") else ""
        return [f"{_at(slot.offset)}, {_bytes(spec.arch.word_bytes)}", holds + other + (", pushed by the CPU" if slot.hardware else ""),
                f"`{frame.c_name}`, {_bytes(frame.size)} in all"]
    if meaning.kind == "frame" and name in spec.frames:
        frame = spec.frames[name]
        return [f"`{frame.c_name}`, {_bytes(frame.size)}, {len(frame.slots)} slots, {len(frame.hardware)} of them pushed by the CPU"]
    if meaning.kind == "word" and inside in spec.memories:
        return _word(spec, inside, name)
    if meaning.kind == "memory" and name in spec.memories:
        memory = spec.memories[name]
        needs = ", ".join(f"{n.subject} = {n.value}" for n in memory.needs)
        return [f"reached through `{memory.base}`, {_bytes(memory.size)}" if memory.base else "at symbols of the image", f"needs {needs}" if needs else ""]
    if meaning.kind == "state" and name in spec.states:
        return _state(spec.states[name])
    if meaning.kind == "value" and inside in spec.states and name in spec.states[inside].values:
        facts = spec.states[inside].values[name]
        ways = [f"`{t.before} -> {t.after}` by `{t.form or t.inline}`" for t in spec.states[inside].transitions if name in (t.before, t.after)]
        return ["; ".join(map(_fact, facts)) or "a ghost: no register shows it, only transitions set it", "; ".join(ways)]
    if meaning.kind == "stack" and name in spec.stacks:
        stack = spec.stacks[name]
        doors = [f"`{h}`: {spec.arch.hwstacks.get(h, '')}" for h in (stack.entered, *stack.also) if h]
        return [_bytes(stack.size) + (f", top in `{show(stack.top)}`" if stack.top is not None else ""), "; ".join(f"entered by {d}" for d in doors),
                f"in region `{stack.region}`" if stack.region else ""]
    if meaning.kind == "feature" and name in spec.features:
        feature = spec.features[name]
        users = [c.name for c in spec.configurations.values() if name in c.features]
        return [feature.meaning, f"on in {', '.join(users)}" if users else "on in no configuration"]
    if meaning.kind == "configuration" and name in spec.configurations:
        return [", ".join(sorted(spec.configurations[name].features)) or "no feature"]
    if meaning.kind == "constant" and name in spec.constants:
        value = spec.constants[name]
        return [f"{value:#x}, {value}" if value > 9 else str(value)]
    if meaning.kind == "exit" and name in spec.paths:
        row = spec.return_of(spec.paths[name])
        return [f"to {spec.paths[name].origin}" + (f" by `{row.name}`: {row.manual}" if row is not None else "")]
    if meaning.kind == "entry point" and name in spec.paths and spec.paths[name].event is not None:
        path = spec.paths[name]
        assert path.event is not None
        return [f"on `{path.event.name}` from {path.origin}" + (", paranoid" if path.paranoid else "") + (f", on stack {path.stack}" if path.stack else "")]
    if meaning.kind == "method" and name in spec.methods:
        method = spec.methods[name]
        return [f"by `{method.exit}`", "\n".join(f"- `{show(c.condition)}`" + (f": {c.reason}" if c.reason else "") for c in method.clauses)]
    if meaning.kind == "choice" and name in spec.choices:
        choice = spec.choices[name]
        if choice.by_refusal:
            return [f"C returns 0 for `{choice.methods[0]}`, anything else for `{choice.methods[1]}`"]
        return ["C returns " + ("an address" if choice.by_address else ", ".join(f"{choice.index(m)} for `{m}`" for m in choice.methods))]
    if meaning.kind == "hook" and name in spec.hooks:
        hook = spec.hooks[name]
        return [hook.meaning]
    if meaning.kind == "op" and name in spec.ops:
        op = spec.ops[name]
        return [f"calls `{op.symbol}`", f"needs {', '.join(f'{n.subject} = {n.value}' for n in op.needs)}" if op.needs else "",
                f"changes {', '.join(op.clobbers)}" if op.clobbers else ""]
    return []


def _word(spec: Spec, memory: str, name: str) -> list[str]:
    block = spec.memories[memory]
    cell = block.cells.get(name)
    if cell is None:
        member = next((m for m in block.members if m.name == name), None)
        if member is None:
            return []
        struct = spec.arch.structs.get(member.kind)
        return [f"{_at(member.offset)}, {_bytes(member.size)}", f"{member.kind}: {struct.meaning}" if struct is not None else member.kind]
    place = f"at `{cell.symbol}`" + (f" + {cell.offset:#x}" if cell.offset else "") if cell.symbol else _at(cell.offset)
    return [f"{place}, {_bytes(cell.size)}", f"in region `{cell.region}`" if cell.region else "", _when(cell.guard)]


def _when(guard: Guard) -> str:
    return "if " + " and ".join(n if wanted else f"not {n}" for n, wanted in sorted(guard)) if guard else ""


def _fact(fact: Fact) -> str:
    return f"`{show(fact.place)} == {show(fact.value)}`" + (f" {_when(fact.guard)}" if fact.guard else "")


def _state(state: State) -> list[str]:
    rows = [f"- `{value}`: {'; '.join(map(_fact, facts)) or 'a ghost'}" for value, facts in state.values.items()]
    rows += [f"- `{t.before} -> {t.after}` by `{t.form or t.inline}`" for t in state.transitions]
    return [_when(state.guard) or f"{len(state.values)} values", "\n".join(rows)]


# ---- the CPU ----

def _of_arch(arch: Arch, kind: str, name: str) -> list[str]:
    if kind == "register" and name in arch.registers:
        register = arch.registers[name]
        words = {"gpr": "general register", "stack": "the stack pointer", "pc": "the program counter", "flags": "the flags register",
                 "segment": "segment register", "system": "system register"}
        role = [f"argument {arch.abi.args.index(name) + 1} of C functions"] if name in arch.abi.args else []
        role += ["result of C functions"] if name == arch.abi.result else []
        role += ["kept by C functions"] if name in arch.abi.preserved else []
        views = ", ".join(f"`{text}` ({bits} bits)" for bits, text in sorted(register.views.items(), reverse=True))
        return [words.get(register.kind, register.kind), views, ", ".join(role)]
    if kind == "flag bit" and name in arch.places:
        register_name, bit = arch.places[name]
        return [f"bit {bit} of `{register_name}`, which can be set by itself",
                f"C expects {name} = {arch.abi.must[name]}" if name in arch.abi.must else ""]
    if kind == "flag mask" and name in arch.flag_names:
        return [f"mask {arch.flag_names[name]:#x}"]
    if kind == "event" and name in arch.events:
        return _event(arch.events[name])
    if kind == "return":
        return [line for row in arch.returns if row.name == name for line in _return(row)]
    if kind == "form" and name in arch.forms:
        form = arch.forms[name]
        return [f"`{form.text}`", form.manual]
    if kind == "hardware stack" and name in arch.hwstacks:
        return [arch.hwstacks[name]]
    if kind in ("setup value", "setting") and name in arch.setups:
        setup = arch.setups[name]
        return [setup.meaning, f"the CPU demands `{show(setup.requires)}`: {setup.reason}" if setup.requires is not None else ""]
    if kind == "structure" and name in arch.structs:
        return [f"{arch.structs[name].meaning}, {_bytes(arch.structs[name].size)}"]
    return []


def _event(event: Event) -> list[str]:
    numbers = f", numbers {event.numbers[0]} to {event.numbers[1]}" if event.numbers else ""
    stacks = [f"from {row.origin}: stack {row.stack}" + (f", aligned to {row.align}" if row.align > 1 else "") for row in event.stacks]
    pushes = f"pushes {' '.join(event.pushes)}, the first at the highest address" if event.pushes else "pushes nothing"
    return [f"from {event.origin}{numbers}. {event.manual}", pushes,
            "; ".join(stacks), f"lost: {', '.join(sorted(event.lost))}" if event.lost else "",
            "then " + ", ".join(f"`{show(e.place)} = {show(e.value)}`" for e in event.effects) if event.effects else ""]


def _return(row: Return) -> list[str]:
    return [f"to {row.origin}. {row.manual}", f"pops {' '.join(row.pops)}, lowest address first" if row.pops else "",
            "\n".join(f"- needs `{show(condition)}`: {reason}" for condition, reason in row.requires)]


# ---- what is so after a step ----

def _moments(look: Look, line: int) -> list[str]:
    """Stack and states after the step of a line, for each way to come there."""
    if look.code is None:
        return []
    rows: list[Moment] = [m for m in look.code.moments if look.places.get(m.span.file.name) == look.path and m.span.line == line + 1]
    out: dict[str, None] = {}
    for m in rows[:4]:
        states = ", ".join(f"{name} = {value}" for name, value in m.states)
        out[f"after it{f' (in {m.path}, from {m.arm})' if m.arm else ''}: stack = {m.stack}{', ' if states else ''}{states}"] = None
    return list(out)
