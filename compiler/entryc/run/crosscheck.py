"""Two semantics on random states: for every instruction form in an image, what the prover computes and what the emulator does."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..assemble.decode import decode_all
from ..image.image import Image
from ..image.lift import Instruction, Lifter
from ..model.arch import Assign, Form, Reads, Swap
from ..model.expr import HookCall, Indexed, Reg, walk
from ..model.spec import VECTOR_TABLE, Configuration, Spec
from ..prove import terms as T
from ..prove.machine import Machine
from ..prove.state import Bytes, Ending, State, Stuck
from ..prove.terms import Term
from ..source.finding import Finding
from .emulator import PAGE, Emulator, NotHere

SEED = 20150
INSTANCES = 3                                   # different operand choices of one form
DATA = 0x2000_0000                              # where registers point, so that memory operands can be mapped
RANGE = 0x8000


@dataclass
class Row:
    """A form's result. `note` says why it is manual only, or the first disagreement."""

    form: str
    states: int = 0
    agree: int = 0
    manual: bool = False
    note: str = ""


@dataclass
class Table:
    """All rows, by form."""

    rows: dict[str, Row] = field(default_factory=dict)

    def text(self) -> str:
        lines = ["form            states   agree  result"]
        for row in self.rows.values():
            result = f"manual only: {row.note}" if row.manual else ("same" if row.agree == row.states else f"DIFFERENT: {row.note}")
            lines.append(f"{row.form:14} {row.states:7d} {row.agree:7d}  {result}")
        return "\n".join(lines)

    def findings(self) -> list[Finding]:
        """A form on which the two differ makes every proof that used it void."""
        return [Finding("P201", "error", f"the prover and the emulator disagree on '{r.form}': {r.note}") for r in self.rows.values()
                if not r.manual and r.agree != r.states]

    def as_dict(self) -> dict[str, Any]:
        return {r.form: {"states": r.states, "agree": r.agree, "manual_only": r.manual, "note": r.note} for r in self.rows.values()}


class _Concrete(Machine):
    """The prover's machine on numbers: memory is a dictionary that notes what was touched."""

    def __init__(self, spec: Spec, configuration: Configuration, lifter: Lifter, rng: random.Random) -> None:
        super().__init__(spec, configuration, lifter, lambda conditions: all(c is not T.FALSE for c in conditions))
        self.rng = rng
        self.before: dict[int, int] = {}
        self.after: dict[int, int] = {}

    def go(self, state: State, instruction: Instruction, target: int, following: int | None) -> Ending | None:
        """Only where it leads: what stands there is another matter."""
        state.pc = target
        return None

    def access(self, state: State, address: Term, size: int, write: Term | None) -> Term:
        start = address.value
        assert start is not None
        for at in range(start, start + size):
            if at not in self.after:
                self.before[at] = self.after[at] = self.rng.randrange(256)
        if write is not None:
            value = write.value
            assert value is not None
            for index in range(size):
                self.after[start + index] = value >> (8 * index) & 0xFF
            return write
        return T.const(int.from_bytes(bytes(self.after[start + i] for i in range(size)), "little"), size * 8)


def crosscheck(spec: Spec, images: Mapping[str, Image], states: int, covered: Mapping[str, frozenset[int]] | None = None) -> Table:
    """Run every form of every image on `states` random states each, with a fixed seed. `covered`: only what stands at these addresses."""
    table = Table()
    emulator = Emulator(spec.arch)
    rng = random.Random(SEED)
    for name, image in images.items():
        lifter = Lifter(spec.arch, image)
        for label, form, addresses in _instances(spec, spec.configurations[name], image, lifter, covered[name] if covered is not None else None):
            if label not in table.rows:
                table.rows[label] = row = Row(label)
                _form(spec, spec.configurations[name], lifter, emulator, rng, form, addresses, states, row)
    table.rows = dict(sorted(table.rows.items()))
    return table


def _instances(spec: Spec, configuration: Configuration, image: Image, lifter: Lifter,
               covered: frozenset[int] | None) -> list[tuple[str, Form | None, list[int]]]:
    """Each form that the image uses, with a few places where it stands with different operands. Plain instructions count by the shape of their text."""
    out: dict[str, tuple[Form | None, dict[str, int]]] = {}
    if covered is not None:
        rows = [lifter.at(address) for address in sorted(covered)]
    else:
        slots = spec.table_slots(image.symbols.get(VECTOR_TABLE), configuration)
        rows = [lifter.at(d.address) for d in decode_all(spec.arch, image, lifter, slots) if not isinstance(d, int) and d.form is not None]
    for row in rows:
        if row.form is None and not row.ops:
            continue                            # padding
        label = row.form.name if row.form is not None else shape(spec, row.text)
        _, texts = out.setdefault(label, (row.form, {}))
        if len(texts) < INSTANCES:
            texts.setdefault(row.text, row.address)
    return [(label, form, list(texts.values())) for label, (form, texts) in out.items()]


def shape(spec: Spec, text: str) -> str:
    """The text of an instruction with its numbers and general registers taken out."""
    names = {view: f"r{bits}" for r in spec.arch.registers.values() if r.kind == "gpr" for bits, view in r.views.items()}
    return re.sub(r"-?0x[0-9a-f]+|\b\d+\b", "n", re.sub(r"[a-z][a-z0-9]*", lambda m: names.get(m[0], m[0]), text))


def _beyond(form: Form, emulator: Emulator) -> bool:
    """Is a form about registers that the emulator does not have, or about numbers that only a proof knows?"""
    exprs = [e for effect in form.effects for e in (
        (effect.place, effect.value) if isinstance(effect, Assign) else (effect.a, effect.b) if isinstance(effect, Swap) else
        (effect.address,) if isinstance(effect, Reads) else ())]
    parts = [p for e in exprs for p in walk(e)]
    known = emulator.arch.registers
    return any(isinstance(p, (Indexed, HookCall)) or (isinstance(p, Reg) and known[p.name].kind == "system" and not emulator.can(p.name)) for p in parts)


def _form(spec: Spec, configuration: Configuration, lifter: Lifter, emulator: Emulator, rng: random.Random, form: Form | None,
          addresses: list[int], states: int, row: Row) -> None:
    if form is not None and (form.role in ("return", "stop") or ("event" in form.traits and not form.effects)):
        row.manual, row.note = True, "ends the stub or has no effect on registers: the row in the .arch file is trusted"
        return
    names = spec.arch.registers
    usable = [a for a in addresses if all(v not in names or emulator.can(str(v)) for v in lifter.at(a).operands.values())]
    if not usable or (form is not None and _beyond(form, emulator)):
        row.manual, row.note = True, "the emulator cannot: it does not know the system registers that this code uses"
        return
    for index in range(states):
        address = usable[index % len(usable)]
        try:
            difference = _one(spec, configuration, lifter, emulator, rng, address)
        except (NotHere, Stuck) as reason:
            row.manual, row.note = True, f"the emulator cannot: {reason}" if isinstance(reason, NotHere) else f"it cannot be run by itself: {reason}"
            return
        row.states += 1
        if difference is None:
            row.agree += 1
        elif not row.note:
            row.note = f"{lifter.at(address).text}: {difference}"


def _random(rng: random.Random) -> int:
    """Mostly pointers into the data range, sometimes anything."""
    return DATA + rng.randrange(RANGE) * 8 if rng.random() < 0.7 else rng.getrandbits(64)


def _one(spec: Spec, configuration: Configuration, lifter: Lifter, emulator: Emulator, rng: random.Random, address: int) -> str | None:
    """One state: None when both agree, else what differs."""
    arch = spec.arch
    instruction = lifter.at(address)
    machine = _Concrete(spec, configuration, lifter, rng)
    state = State(address, Bytes(), {}, {}, {}, [], [], [])
    flags = arch.registers[arch.of_kind("flags")]
    names = [r.name for r in arch.registers.values() if r.kind in ("gpr", "stack", "system") and emulator.can(r.name)]
    used = {str(v) for v in instruction.operands.values() if isinstance(v, str)}
    for name in names:
        kind = arch.registers[name].kind
        value = DATA + rng.randrange(RANGE) * 16 if kind in ("stack", "system") or name in used else _random(rng)
        machine.write(state, name, T.const(value))
        emulator.write(name, value)
    flag_bits = sum(1 << bit for bit in flags.lifter_bits.values() if flags.facts["defined"] >> bit & 1)
    start_flags = rng.getrandbits(64) & flag_bits
    machine.write(state, flags.name, T.const(emulator.initial_flags & ~flag_bits | start_flags))
    machine.step(state)
    wanted_pc = state.pc
    for page in {a & ~0xFFF for a in machine.before}:
        emulator.map(page, 1)
    for at, byte in machine.before.items():
        emulator.store(at, bytes([byte]))
    emulator.code(address, lifter.image.bytes_at(address, instruction.size))
    emulator.map(wanted_pc, 16)
    emulator.map(address, PAGE)                 # the emulator fetches beyond the instruction
    emulator.write(flags.name, emulator.initial_flags & ~flag_bits | start_flags)
    emulator.run(address, (1 << 64) - 1, 1)
    for name in names:
        ours, theirs = machine.read(state, name).value, emulator.read(name)
        if ours != theirs:
            return f"{name}: prover {ours:#x}, emulator {theirs:#x}" if ours is not None else f"{name}: no value"
    for at, byte in machine.after.items():
        if emulator.load(at, 1)[0] != byte:
            return f"memory at {at:#x}"
    if emulator.pc != wanted_pc:
        return f"next instruction: prover {wanted_pc:#x}, emulator {emulator.pc:#x}"
    defined = arch.plain.get(instruction.mnemonic) if instruction.form is None else None
    flag_bits &= defined if defined is not None else flag_bits
    if instruction.form is not None and {"overlay", "clobbers_flags"} <= instruction.form.traits:
        flag_bits = 0                           # the row leaves them open
    ours_flags, theirs_flags = machine.read(state, flags.name).value, emulator.read(flags.name)
    if ours_flags is not None and (ours_flags ^ theirs_flags) & flag_bits:
        return f"flags: prover {ours_flags & flag_bits:#x}, emulator {theirs_flags & flag_bits:#x}"
    return None
