"""Where values are while a path runs: the abstract machine that plans are made on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ..model.arch import Assign
from ..model.expr import CellRef, Expr, Num, Reg, SlotRef, UserRef
from ..model.spec import Configuration, Spec
from ..model.surroundings import KEPT, StateNeed


@dataclass(frozen=True)
class Value:
    """What a place holds. kind: interrupted (name: register), const (number), slot (name), frame (number: offset),
    top (name: stack), cell (name), number, error, base (name), user (name), kept (name: state), symbol (name: its address), return (address), unknown."""

    kind: str
    name: str = ""
    number: int = 0

    def __str__(self) -> str:
        return {"interrupted": f"the interrupted {self.name}", "const": f"{self.number:#x}", "slot": f"slot {self.name}",
                "frame": "the frame's address", "top": f"the top of stack {self.name}"}.get(self.kind, f"{self.kind} {self.name}".strip())


UNKNOWN = Value("unknown")
SEVERAL = "several"                             # one of some kernel stacks, each of which its event entered


@dataclass
class Machine:
    """The tracked state at one point of a path. `below` is the distance from sp up to the frame's end; None: sp is not near a frame."""

    regs: dict[str, Value] = field(default_factory=dict)
    cells: dict[tuple[str, str], Value] = field(default_factory=dict)
    slots: dict[str, Value] = field(default_factory=dict)
    states: dict[str, str | None] = field(default_factory=dict)
    places: dict[str, int | None] = field(default_factory=dict)
    stack: str = "user"
    below: int | None = None
    frame: str | None = None
    arrival: dict[str, Value] = field(default_factory=dict)
    origin: str | None = None
    number: int | None = None
    error_pushed: bool = False
    lost: frozenset[str] = frozenset()
    paranoid: bool = False                      # the event may have struck the kernel anywhere
    arrival_name: str | None = None             # the special boundary that the code was interrupted at
    kept: dict[str, str] = field(default_factory=dict)      # state -> the register that remembers what was found
    above: int | None = 0                              # bytes between the frame's end and the end of what the CPU pushed
    outer: tuple[str, int] | None = None        # a frame that holds this one's end, and the bytes from there to its own end
    link: bool = False                          # sp is at the return address of a called path; `below` counts it

    def copy(self) -> Machine:
        return replace(self, regs=dict(self.regs), cells=dict(self.cells), slots=dict(self.slots), states=dict(self.states),
                       places=dict(self.places), arrival=dict(self.arrival), kept=dict(self.kept))

    def find(self, value: Value, prefer: str) -> str | None:
        """A register that holds the value: the preferred one if it does."""
        if self.regs.get(prefer) == value:
            return prefer
        return next((r for r, v in self.regs.items() if v == value), None)

    def find_cell(self, value: Value) -> tuple[str, str] | None:
        return next((c for c, v in self.cells.items() if v == value), None)


def join(machines: list[Machine]) -> Machine:
    """What holds on every way into a shared path."""
    first = machines[0].copy()
    for other in machines[1:]:
        for table, others in ((first.regs, other.regs), (first.slots, other.slots), (first.arrival, other.arrival)):
            for key in list(table):
                if key not in others:
                    del table[key]
                elif table[key] != others[key]:
                    table[key] = UNKNOWN
        first.cells = {k: v for k, v in first.cells.items() if other.cells.get(k) == v}
        for name, state in first.states.items():
            if other.states.get(name) != state:
                first.states[name] = None
        for name, bit in first.places.items():
            if other.places.get(name) != bit:
                first.places[name] = None
        if other.stack != first.stack:
            first.stack = SEVERAL if {"any", "user", "interrupted"}.isdisjoint((first.stack, other.stack)) else "any"
        if (other.below, other.outer) != (first.below, first.outer):
            first.below = None
        if other.above != first.above:
            first.above = None
        if other.origin != first.origin:
            first.origin = "any"
        first.number = first.number if other.number == first.number else None
        first.error_pushed = first.error_pushed and other.error_pushed
    return first


def value_of(machine: Machine, expr: Expr) -> Value:
    """The value that a place or constant stands for now."""
    if isinstance(expr, Num):
        return Value("const", number=expr.value)
    if isinstance(expr, Reg):
        return machine.regs.get(expr.name, UNKNOWN)
    if isinstance(expr, SlotRef):
        return Value("slot", expr.slot)
    if isinstance(expr, CellRef):
        return machine.cells.get((expr.memory, expr.cell), Value("cell", f"{expr.memory}.{expr.cell}"))
    return UNKNOWN


def derive_states(spec: Spec, machine: Machine, changed: str) -> None:
    """Assigning a place that a state's meaning names changes the state: find the value that now holds, if any."""
    for state in spec.states.values():
        places = {m.register for meanings in state.values.values() for m in meanings}
        if changed not in places:
            continue
        machine.states[state.name] = next(
            (value for value, meanings in state.values.items() if meanings and all(_means(spec, machine, m.place, m.value) for m in meanings)), None)


def _means(spec: Spec, machine: Machine, place: Expr, meaning: Expr) -> bool:
    value = value_of(machine, place)
    if isinstance(meaning, CellRef):
        return value == Value("cell", f"{meaning.memory}.{meaning.cell}")
    if isinstance(meaning, UserRef):
        homes = {s.name: s.home for f in spec.frames.values() for s in f.slots.values()}
        return (value.kind == "slot" and homes.get(value.name) == meaning.register) or value == Value("interrupted", meaning.register)
    if isinstance(meaning, Num):
        return value == Value("const", number=meaning.value)
    return False


def after_effects(spec: Spec, states: dict[str, str | None], effects: tuple[Assign, ...]) -> dict[str, str | None]:
    """What states are after the CPU has moved values between the registers that they are about."""
    moved = {e.place.name: e.value for e in effects if isinstance(e.place, Reg)}
    out = dict(states)
    for name, value in states.items():
        meanings = {m.register or "": (m.mask, m.value) for m in spec.states[name].values.get(value or "", ())}
        if not moved.keys() & meanings.keys():
            continue
        now = dict(meanings)
        for register, source in moved.items():
            fact = meanings.get(source.name) if isinstance(source, Reg) else None
            if fact is None:
                now.pop(register, None)
            else:
                now[register] = fact
        out[name] = next((v for v, ms in spec.states[name].values.items() if ms and all(now.get(m.register or "") == (m.mask, m.value) for m in ms)), None)
    return out


def implies(spec: Spec, state: str, actual: str | None, wanted: str | int) -> bool:
    """Does a value of a state say all that another one says? kernel: gs_base == &percpu and more implies ours: gs_base == &percpu."""
    if actual == wanted:
        return True
    values = spec.states[state].values
    if actual not in values or wanted not in values or not values[str(wanted)]:
        return False
    facts = [(m.place, m.value, m.guard) for m in values[actual]]
    return all((m.place, m.value, m.guard) in facts for m in values[str(wanted)])


def lacking(spec: Spec, machine: Machine, needs: tuple[StateNeed, ...], configuration: Configuration) -> list[tuple[StateNeed, str]]:
    """The needs among states, places and the stack that do not hold, each with what is the case."""
    out: list[tuple[StateNeed, str]] = []
    for need in needs:
        if not spec.applies(need, configuration) or need.value == KEPT:
            continue
        if need.subject == "stack":
            if machine.stack not in (need.value, "interrupted"):
                out.append((need, machine.stack))
        elif need.subject in machine.states:
            if not implies(spec, need.subject, machine.states[need.subject], need.value):
                out.append((need, machine.states[need.subject] or "not known"))
        elif need.subject != "gprs" and machine.places.get(need.subject) != need.value:
            known = machine.places.get(need.subject)
            out.append((need, "not known" if known is None else str(known)))
    return out
