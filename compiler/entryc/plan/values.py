"""Where values are while a path runs: the abstract machine that plans are made on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ..model.expr import CellRef, Expr, Num, Reg, SlotRef, UserRef
from ..model.spec import Spec
from ..model.surroundings import StateNeed


@dataclass(frozen=True)
class Value:
    """What a place holds. kind: interrupted (name: register), const (number), slot (name), frame (number: offset),
    top (name: stack), cell (name), number, error, base (name), user (name), unknown."""

    kind: str
    name: str = ""
    number: int = 0

    def __str__(self) -> str:
        return {"interrupted": f"the interrupted {self.name}", "const": f"{self.number:#x}", "slot": f"slot {self.name}",
                "frame": "the frame's address", "top": f"the top of stack {self.name}"}.get(self.kind, f"{self.kind} {self.name}".strip())


UNKNOWN = Value("unknown")


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

    def copy(self) -> Machine:
        return replace(self, regs=dict(self.regs), cells=dict(self.cells), slots=dict(self.slots), states=dict(self.states),
                       places=dict(self.places), arrival=dict(self.arrival))

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
            first.stack = "any"
        if other.below != first.below:
            first.below = None
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


def lacking(machine: Machine, needs: tuple[StateNeed, ...], features: frozenset[str]) -> list[tuple[StateNeed, str]]:
    """The needs among states, places and the stack that do not hold, each with what is the case."""
    out: list[tuple[StateNeed, str]] = []
    for need in needs:
        if not all((f in features) == wanted for f, wanted in need.guard):
            continue
        if need.subject == "stack":
            if machine.stack not in (need.value, "interrupted"):
                out.append((need, machine.stack))
        elif need.subject in machine.states:
            if machine.states[need.subject] != need.value:
                out.append((need, machine.states[need.subject] or "not known"))
        elif need.subject != "gprs" and machine.places.get(need.subject) != need.value:
            known = machine.places.get(need.subject)
            out.append((need, "not known" if known is None else str(known)))
    return out
