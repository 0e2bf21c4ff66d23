"""Do two revisions behave alike? Both codes are run on the same symbolic machine by the engine of `entryc verify`, and compared where others look:

- where C is called: the function, its arguments, every slot of its frame by name, words of memory by name, machine state, what else was called;
- after each return instruction: every register that the interrupted code or user mode has, words of memory, machine state.

For all values of registers, slots and memory. Where frames lie, in what order words are written, and which registers are used on the way is not looked at;
what an event in between finds is for `entryc verify` to prove of each revision.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..image.image import Image
from ..image.lift import Lifter
from ..model.expr import FrameRef
from ..model.spec import Configuration, Frame, Path, Spec
from ..model.steps import Call
from ..prove import terms as T
from ..prove.arrive import Arrivals, top_of
from ..prove.equal import Equal
from ..prove.expect import Exit, Outline, Stage
from ..prove.returns import Returns
from ..prove.solver import Solver
from ..prove.state import Ending, State
from ..prove.terms import Term
from ..prove.verify import Run

Data = dict[str, Any]
SHOWN = 8                                       # registers and slots of a state that are told


@dataclass
class Seen:
    """What others see at one point: named values, under conditions. `end`: what happens there."""

    end: str
    values: dict[str, Term]
    conditions: list[Term]


class _Observed(Returns):
    """Makes the claims of an outline, and keeps what others see."""

    def __init__(self, watch: Watch, arrivals: Arrivals, way: Outline, stub: str) -> None:
        super().__init__(arrivals, way, stub)
        self.watch = watch

    def at_call(self, start: State, ran: State, ending: Ending, stage: Stage, frame_end: Term | None) -> Term | None:
        address = super().at_call(start, ran, ending, stage, frame_end)
        self.watch.call(self, ending, stage, address)
        return address

    def at_return(self, before: State, ending: Ending, exit: Exit, frame: Frame | None, address: Term) -> None:
        super().at_return(before, ending, exit, frame, address)
        origin = exit.path.origin if exit.path.kind == "exit" else self.outline.origin
        self.watch.leave(self, ending, exit, str(origin), exit.path.loses)

    def at_once(self, before: State, ending: Ending, exit: Exit) -> None:
        super().at_once(before, ending, exit)
        self.watch.leave(self, ending, exit, self.outline.origin, (), stack_words=True)


class Watch:
    """One revision in one configuration, run path by path; what was seen is kept by (entry point and arrival, where)."""

    def __init__(self, spec: Spec, image: Image, configuration: Configuration, solver: Solver) -> None:
        self.spec, self.configuration = spec, configuration
        self.run = Run(spec, image, configuration, Lifter(spec.arch, image), solver, keep=True)
        self.run.made = lambda arrivals, way, stub: _Observed(self, arrivals, way, stub)
        self.machine = self.run.machine
        self.seen: dict[tuple[str, str], list[Seen]] = {}
        self.exits: dict[tuple[Any, ...], list[Seen]] = {}

    def path(self, path: Path) -> dict[tuple[str, str], list[Seen]]:
        """What is seen of an entry point or routine."""
        self.seen = {}
        first = len(self.run.ways_out)
        self.run.path(path)
        out = dict(self.seen)
        for stub, key in self.run.ways_out[first:]:
            for seen in self.exits.get(key, []):
                out.setdefault((stub, f"return after C by {key[5]} {key[6]}"), []).append(seen)
        return out

    def call(self, claims: Returns, ending: Ending, stage: Stage, address: Term | None) -> None:
        state, target = ending.state, stage.target
        values: dict[str, Term] = {}
        frame = claims.outline.frame(self.spec)
        for index, (register, argument) in enumerate(zip(self.spec.arch.abi.args, target.arguments, strict=False)):
            if not isinstance(argument, FrameRef):
                values[f"argument {index + 1} of {target.callee}"] = self.machine.read(state, register)
        if frame is not None and address is not None:
            found = self.machine.region(state, address)
            for slot in frame.slots.values():
                value = claims.load(state, T.add(address, T.const(slot.offset)))
                values[f"{frame.name}.{slot.name}"] = T.var(f"unknown.{slot.name}") if value is None else value
            if found is not None and found[0].origin:
                values["stack"] = T.var(f"stack.{found[0].origin}")
        cleared = next((n for n in self.spec.contracts[target.contract] if n.subject == "gprs"), None)
        spared = {*claims.outline.keeping, *(cleared.but if cleared is not None else ()), *self.spec.arch.abi.args[:len(target.arguments)]}
        for name, kind in ((r.name, r.kind) for r in self.spec.arch.registers.values()):
            if kind in ("system", "segment") or (kind == "gpr" and cleared is not None and name not in spared):
                values[name] = self.machine.read(state, name)
        verb = "call" if isinstance(target, Call) else "jump to"
        self.keep((claims.stub, f"{verb} {target.callee}"), f"{ending.kind} {ending.name}", values, state)

    def leave(self, claims: Returns, ending: Ending, exit: Exit, origin: str, loses: tuple[str, ...], stack_words: bool = False) -> None:
        state = ending.state
        row = self.spec.arch.return_row(exit.step.name, origin)
        final = claims.final(state, row) if row is not None else {}
        values: dict[str, Term] = {}
        for register in self.spec.arch.registers.values():
            if register.name in loses or (register.kind == "pc" and register.name not in final):
                continue
            value = final.get(register.name)
            values[register.name] = T.band(self.machine.read(state, register.name) if value is None else value, T.const(register.compare))
        if stack_words:
            region = state.regions.get(top_of(claims.outline.path.stack or ""))
            for save in claims.outline.saves if region is not None else ():
                frame = self.spec.frames[save.frame]
                for slot in frame.slots.values():
                    values[f"{frame.name}.{slot.name}"] = self.machine.content(region, slot.offset - frame.size, self.spec.arch.word_bytes)     # type: ignore[arg-type]
        seen = self.keep((claims.stub, f"return by {exit.step.name}") if stack_words else None, f"return {exit.step.name}", values, state)
        if not stack_words:
            key = next((k for _, k in reversed(self.run.ways_out)), None)
            at = (claims.stub, f"return by {exit.step.name} for {exit.method}")
            if key is None or exit.path.kind == "routine" or not claims.outline.stages:
                self.seen.setdefault(at, []).append(seen)
            else:
                self.exits.setdefault(key, []).append(seen)

    def keep(self, key: tuple[str, str] | None, end: str, values: dict[str, Term], state: State) -> Seen:
        """Adds what is the same everywhere: states that have no register, called code, flags, words of memory."""
        for name, ghost in state.ghosts.items():
            values[f"state {name}"] = T.var(f"ghost.{ghost}")
        values["called code"] = T.var("called." + ",".join(sorted(state.done)))
        for place, (register, bit) in self.spec.arch.places.items():
            values[f"flag {place}"] = T.extract(self.machine.read(state, register), bit, 1)
        for region in state.regions.values():
            memory = self.spec.memories.get(region.memory or "")
            for cell in memory.cells.values() if memory is not None else ():
                values[f"{region.memory}.{cell.name}"] = self.machine.content(region, cell.offset, cell.size)
        seen = Seen(end, values, list(state.conditions))
        if key is not None:
            self.seen.setdefault(key, []).append(seen)
        return seen


def alike(old: Watch, new: Watch, pairs: Iterable[tuple[Path, Path]], solver: Solver) -> Iterator[tuple[Path, str, str, dict[str, int], int]]:
    """(path of the new revision, verdict, detail, a state that separates them, comparisons made) of each pair."""
    for before, after in pairs:
        if before.arguments or before.resumed is not None:
            yield (after, *_routine(old, new, before, after, solver))
            continue
        noted = len(old.run.not_checked), len(new.run.not_checked)
        first, second = old.path(before), {(stub.replace(after.name, before.name, 1), at): seen for (stub, at), seen in new.path(after).items()}
        missing = [*old.run.not_checked[noted[0]:], *new.run.not_checked[noted[1]:]]
        yield (after, *_compared(first, second, missing, solver))


def _compared(first: Mapping[tuple[str, str], list[Seen]], second: Mapping[tuple[str, str], list[Seen]], missing: list[str],
              solver: Solver) -> tuple[str, str, dict[str, int], int]:
    if missing:
        return "unknown", missing[0], {}, 0
    count = 0
    for key in [*first, *(k for k in second if k not in first)]:
        for side, here, there in (("old", first, second), ("new", second, first)):
            alone = _alone(here.get(key, []), there.get(key, []), solver)
            if alone is not None:
                verdict, state = alone
                return verdict, f"only the {side} revision comes to {key[1]} ({key[0]})", state, count
        for a in first[key]:
            for b in second[key]:
                both = list(dict.fromkeys([*a.conditions, *b.conditions]))
                if not solver.feasible(both):
                    continue
                for name in [*a.values, *(n for n in b.values if n not in a.values)]:
                    x, y = a.values.get(name), b.values.get(name)
                    if x is None or y is None:
                        if "." in name and not name.startswith("flag"):        # a slot or word of one revision only: a row tells of it
                            continue
                        return "differs", f"{name} at {key[1]} ({key[0]}): only one revision has it", {}, count
                    count += 1
                    if x is y:
                        continue
                    answer = solver.check([*both, T.not_(T.eq(x, y))]) if x.width == y.width else "sat"
                    if answer == "sat":
                        model = solver.models.get(tuple(c for c in [*both, T.not_(T.eq(x, y))] if c is not T.TRUE), {})
                        return "differs", f"{name} at {key[1]} ({key[0]}): {T.show(x)} was there, {T.show(y)} is", dict(list(model.items())[:SHOWN]), count
                    if answer != "unsat":
                        return "unknown", f"{name} at {key[1]}: the solver reached its limit", {}, count
    return ("proved", "", {}, count) if count else ("unknown", "nothing was seen", {}, 0)


def _alone(here: list[Seen], there: list[Seen], solver: Solver) -> tuple[str, dict[str, int]] | None:
    """A state in which one revision comes to a place and the other one does not."""
    for a in here:
        mine = set(a.conditions)
        if any(set(b.conditions) <= mine for b in there):
            continue
        key = [*a.conditions, *(T.not_(_all(b.conditions)) for b in there)]
        answer = solver.check(key)
        if answer != "unsat":
            model = solver.models.get(tuple(c for c in key if c is not T.TRUE), {})
            return "differs" if answer == "sat" else "unknown", dict(list(model.items())[:SHOWN])
    return None


def _all(conditions: list[Term]) -> Term:
    out = T.TRUE
    for condition in conditions:
        out = T.band(out, condition)
    return out


def _routine(old: Watch, new: Watch, before: Path, after: Path, solver: Solver) -> tuple[str, str, dict[str, int], int]:
    """Assembly that C calls: the end states are compared whole, memory included."""
    start = len(old.run.starts or [])
    old.run.path(before)
    states = (old.run.starts or [])[start:]
    if not states:
        return "unknown", "it was not run", {}, 0
    equal = Equal(old.spec, old.configuration, old.run.lifter, new.run.lifter, solver)
    for state in states:
        twin = state.copy()
        twin.pc = new.run.image.symbols[after.name] + state.pc - old.run.image.symbols[before.name]
        for a in equal.machines[0].run(state.copy()):
            for b in equal.machines[1].run(twin.copy()):
                both = list(dict.fromkeys([*a.state.conditions, *b.state.conditions]))
                if not solver.feasible(both):
                    continue
                a.state.events.clear()
                b.state.events.clear()
                difference = "it ends in other ways" if (a.kind, a.name) != (b.kind, b.name) else equal.compare(a, b, both)
                if difference is not None:
                    return "differs", difference, {}, len(states)
    return "proved", "", {}, len(states)
