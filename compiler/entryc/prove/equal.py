"""Do two codes do the same? Compared over the end state, memory accesses in order, and contracted instructions in order."""

from __future__ import annotations

from typing import Any

from ..image.lift import Lifter
from ..model.spec import Configuration, Spec
from . import terms as T
from .arrive import Arrivals
from .machine import Machine
from .solver import Solver
from .state import Ending, State
from .terms import Term


class Equal:
    """Compares a code with a changed one, from states that the original was run from."""

    def __init__(self, spec: Spec, configuration: Configuration, before: Lifter, after: Any, solver: Solver) -> None:
        self.spec, self.solver = spec, solver
        self.machines = []
        for lifter in (before, after):
            machine = Machine(spec, configuration, lifter, solver.feasible)
            machine.recording = True
            Arrivals(machine)
            self.machines.append(machine)
        flags = spec.arch.of_kind("flags")
        self.flags = flags, sum(1 << bit for register, bit in spec.arch.places.values() if register == flags)

    def differs(self, starts: list[State], places: set[int]) -> str | None:
        """The first difference found, or None when both do the same from every state whose run comes to one of the places."""
        for start in starts:
            first = self.machines[0].run(start.copy())
            if not any(places & set(e.state.trace) for e in first):
                continue
            second = self.machines[1].run(start.copy())
            for a in first:
                for b in second:
                    both = list(dict.fromkeys([*a.state.conditions, *b.state.conditions]))
                    if not self.solver.feasible(both):
                        continue
                    if (a.kind, a.name) != (b.kind, b.name):
                        return "it ends in other ways"
                    difference = self.compare(a, b, both)
                    if difference is not None:
                        return difference
        return None

    def compare(self, a: Ending, b: Ending, both: list[Term]) -> str | None:
        """The first difference of two endings that the same machine can come to."""
        if len(a.state.events) != len(b.state.events) or any(not self.same_event(both, x, y) for x, y in zip(a.state.events, b.state.events, strict=True)):
            return "memory accesses or contracted instructions differ"
        if a.state.ghosts != b.state.ghosts or a.state.done != b.state.done or bool(a.state.faults) != bool(b.state.faults):
            return "states differ"
        flags, mask = self.flags
        for name, register in self.spec.arch.registers.items():
            if register.kind == "pc":
                continue
            x, y = (m.read(e.state, name) for m, e in zip(self.machines, (a, b), strict=True))
            if name == flags:
                x, y = T.band(x, T.const(mask)), T.band(y, T.const(mask))
            if not self.equal(both, x, y):
                return f"{name} differs"
        for base, region in a.state.regions.items():
            other = b.state.regions[base]
            for offset in sorted(region.content.cells.keys() | other.content.cells.keys()):
                if not self.equal(both, self.machines[0].content(region, offset, 1), self.machines[1].content(other, offset, 1)):
                    return f"{region.name}{offset:+#x} differs"
        return None

    def same_event(self, both: list[Term], x: tuple[Any, ...], y: tuple[Any, ...]) -> bool:
        return len(x) == len(y) and all(p is q or p == q or (isinstance(p, Term) and isinstance(q, Term) and self.equal(both, p, q))
                                        for p, q in zip(x, y, strict=True))

    def equal(self, both: list[Term], x: Term, y: Term) -> bool:
        same = T.eq(x, y) if x.width == y.width else T.FALSE
        return same is T.TRUE or (same is not T.FALSE and self.solver.check([*both, T.not_(same)]) == "unsat")
