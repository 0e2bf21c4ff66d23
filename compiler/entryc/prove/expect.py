"""What the spec says must happen, read off the model alone: calls with their contract, and the returns after them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ..model.expr import Expr, FrameRef, Reg, rebuild
from ..model.inline import as_found, assigned
from ..model.spec import Choice, Clause, Configuration, Frame, Path, Spec
from ..model.steps import Call, Do, ExitTo, Goto, Jump, Origin, Reframe, ReturnStep, Room, Save, Set, SetState, Step, Through
from ..model.surroundings import ANY, KEPT, StateNeed
from .terms import Term


@dataclass(frozen=True)
class Exit:
    """A return after the call. `index`: what C returns to get it (None: C has no choice); `clauses`: what then holds of the frame."""

    path: Path
    step: ReturnStep
    index: int | None
    method: str
    clauses: tuple[Clause, ...]
    condition: Term | None = None               # when C leaves it to the frame
    given: Expr | None = None                   # what C promises of the frame
    by_origin: bool = False                     # C leaves it to the frame
    symbol: str | None = None                   # C gives the address of this path
    bits: int = 0                               # of the index that C gives
    refused: bool = False                       # C gives anything but 0 to get it


@dataclass
class Stage:
    """A stretch of entry code up to a C function."""

    target: Call | Jump
    moves: list[Set]


@dataclass
class Outline:
    """One way through the entry code, for one origin and arrival."""

    path: Path
    origin: str
    arrival: str = ""
    saves: list[Save] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)
    ops: list[str] = field(default_factory=list)
    exits: list[Exit] = field(default_factory=list)
    room: int = 0
    before: list[tuple[Save, tuple[StateNeed, ...]]] = field(default_factory=list)      # what the spec brings about before each save
    keeping: set[str] = field(default_factory=set)              # registers that remember a state of the interrupted code
    rest: list[Set] = field(default_factory=list)               # moves after the last C function, or without one
    held: dict[int, dict[str, Expr]] = field(default_factory=dict)      # what registers were set to where a save stands
    kept: dict[str, Expr] = field(default_factory=dict)         # what they remember of a state, where an op says it: over what the event found

    @property
    def moves(self) -> list[Set]:
        return [move for stage in self.stages for move in stage.moves] + self.rest

    def through(self, value: Expr, save: Save) -> Expr:
        """What a save stores, when its value is a register that steps have set before."""
        held = self.held.get(id(save), {})
        return rebuild(value, lambda e: held.get(e.name, e) if isinstance(e, Reg) else e)

    @property
    def frame_name(self) -> str | None:
        given = [a.frame for stage in self.stages for a in stage.target.arguments if isinstance(a, FrameRef)]
        return given[0] if given else self.saves[0].frame if self.saves else self.path.frame

    def frame(self, spec: Spec) -> Frame | None:
        return spec.frames[self.frame_name] if self.frame_name else None


def origins(path: Path) -> tuple[str, ...]:
    """Who can be interrupted by the event of an entry point."""
    return ("user", "kernel") if path.origin == "any" else (path.origin or "kernel",)


def outline(spec: Spec, path: Path, origin: str, configuration: Configuration, arrival: str = "") -> Outline:
    """Follow the written steps of an entry point or routine for one origin and arrival."""
    out = Outline(path, origin, arrival)
    moves: list[Set] = []
    facts: dict[str, StateNeed] = {}
    for where, step in _steps(spec, path, path.steps, origin, arrival, configuration):
        if isinstance(step, Save):
            out.saves.append(step)
            out.held[id(step)] = {m.place.name: m.value for m in moves if isinstance(m.place, Reg)}
            out.before.append((step, tuple(facts.values())))
        elif isinstance(step, Set):
            moves.append(step)
        elif isinstance(step, Do):
            if step.op in spec.ops:
                out.ops.append(step.op)
        elif isinstance(step, Room):
            out.room += step.size
        elif isinstance(step, Reframe):
            out.room += _inside(spec, out.saves, step)
        elif isinstance(step, SetState):
            if step.keeping is not None:
                out.keeping.add(step.keeping)
            moves += _by_op(spec, step, configuration, out.kept)
            if step.value != KEPT:
                facts[step.subject] = StateNeed(step.subject, step.value, step.guard, step.span)
        elif isinstance(step, (Call, Jump)):
            out.stages.append(Stage(step, moves))
            moves = []
        elif isinstance(step, ExitTo):
            out.exits += _exits(spec, step, out.stages[-1].target if out.stages else None, configuration)
        elif isinstance(step, ReturnStep):
            out.exits.append(Exit(where, step, None, step.name, ()))
    if not out.stages:
        out.rest = moves
    return out


def _inside(spec: Spec, saves: list[Save], step: Reframe) -> int:
    """How far the end of a frame lies below the end of the one that holds its hardware slots: they start at the lowest slot saved."""
    outer = spec.frames[saves[-1].frame]
    lowest = min((outer.slots[name].offset for name in saves[-1].slots), default=0)
    return outer.size - lowest - len(spec.frames[step.frame].hardware) * spec.arch.word_bytes


def _by_op(spec: Spec, step: SetState, configuration: Configuration, kept: dict[str, Expr]) -> list[Set]:
    """What the op that a state is set by assigns to system registers and words."""
    state = spec.states.get(step.subject)
    before = ANY if step.keeping is not None else None
    move = next((t for t in state.transitions if t.inline is not None and t.after == step.value and (t.before == ANY) is (before == ANY)
                 and step.op in (None, t.inline)), None) if state is not None else None
    if move is None or move.inline is None:
        return []
    rows, old = assigned(spec.arch, spec.inlines[move.inline], configuration.features, kept.get(step.subject) if step.value == KEPT else None)
    if step.keeping is not None and old is not None:
        kept[step.subject] = as_found(old)
    return [Set(step.span, step.guard, place, value, ()) for place, value in rows]


def exit_moves(spec: Spec, path: Path, configuration: Configuration, kept: dict[str, Expr]) -> list[Set]:
    """What an exit path assigns, in the written order."""
    out: list[Set] = []
    for step in path.steps:
        if configuration.holds(step.guard):
            if isinstance(step, Set) and not isinstance(step.value, FrameRef):
                out.append(step)
            elif isinstance(step, SetState):
                out += _by_op(spec, step, configuration, dict(kept))
    return out


def _steps(spec: Spec, path: Path, steps: tuple[Step, ...], origin: str, arrival: str, configuration: Configuration) -> Iterator[tuple[Path, Step]]:
    for step in steps:
        if not configuration.holds(step.guard):
            continue
        if isinstance(step, (Goto, Through)):
            target = spec.paths[step.path]
            yield from _steps(spec, target, target.steps, origin, arrival, configuration)
        elif isinstance(step, Origin):
            yield from _steps(spec, path, step.arm(arrival, origin), origin, arrival, configuration)
        else:
            yield path, step


def choice_of(spec: Spec, target: Call | Jump | None) -> Choice | None:
    """The choice that a C function makes: a handler's, or the one that the call names."""
    if target is None:
        return None
    handler = spec.handlers.get(target.callee)
    name = handler.choice if handler is not None else target.binds if isinstance(target, Call) else None
    return spec.choices.get(name or "")


def _exits(spec: Spec, step: ExitTo, target: Call | Jump | None, configuration: Configuration) -> list[Exit]:
    out: list[Exit] = []
    choice = choice_of(spec, target)
    for position, name in enumerate(step.targets):
        path = spec.paths[name]
        returns = [s for s in path.steps if isinstance(s, ReturnStep) and configuration.holds(s.guard)]
        by_address = choice is not None and choice.by_address and step.by_method
        by_refusal = choice is not None and choice.by_refusal and step.by_method
        index = (position if by_refusal else len(step.targets) - 1 - position) if step.by_method else None
        method = spec.methods[choice.methods[position]] if choice is not None and step.by_method else None
        for found in returns[:1]:
            out.append(Exit(path, found, None if by_address else index, method.name if method else name, method.clauses if method else (),
                            given=step.given, by_origin=step.by_origin, symbol=name if by_address else None,
                            bits=spec.result_bits(choice.name if choice is not None else None), refused=by_refusal and position > 0))
    return out
