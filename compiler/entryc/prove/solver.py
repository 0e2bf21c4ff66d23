"""Z3 behind a cache, with a resource limit instead of a clock."""

from __future__ import annotations

from collections.abc import Iterable

from . import terms as T
from .claim import Claim
from .terms import Term
from .verdict import Verdict

RLIMIT = 20_000_000


class Solver:
    """Z3 with a resource limit instead of a clock: the same verdicts on a loaded machine. Answers are kept."""

    def __init__(self) -> None:
        self.known: dict[tuple[Term, ...], str] = {}
        self.models: dict[tuple[Term, ...], dict[str, int]] = {}

    def check(self, conditions: list[Term]) -> str:
        """sat, unsat or unknown for a conjunction of one-bit terms."""
        if any(c is T.FALSE for c in conditions):
            return "unsat"
        key = self._key(conditions)
        if not key:
            return "sat"
        if key not in self.known:
            import z3
            solver = z3.SolverFor("QF_BV")
            solver.set("rlimit", RLIMIT)
            solver.set("random_seed", 0)
            for c in key:
                solver.add(T.to_solver(c) == 1)
            self.known[key] = str(solver.check())
            if self.known[key] == "sat":
                model = solver.model()
                self.models[key] = {str(d): model[d].as_long() for d in model.decls()}
        return self.known[key]

    @staticmethod
    def _key(conditions: Iterable[Term]) -> tuple[Term, ...]:
        return tuple(c for c in conditions if c is not T.TRUE)

    def feasible(self, conditions: list[Term]) -> bool:
        return self.check(conditions) != "unsat"

    def decide(self, claim: Claim) -> Verdict:
        if claim.unknown:
            return Verdict(claim, "unknown", claim.unknown)
        if claim.holds is T.TRUE:
            return Verdict(claim, "proved", "identity")
        if claim.holds is T.FALSE:
            self.check(list(claim.conditions))
            return Verdict(claim, "refuted", "identity", self.models.get(self._key(claim.conditions), {}))
        key = [*claim.conditions, T.not_(claim.holds)]
        answer = self.check(key)
        if answer == "unsat":
            return Verdict(claim, "proved", "solver")
        if answer == "sat":
            return Verdict(claim, "refuted", "solver", self.models.get(self._key(key), {}))
        return Verdict(claim, "unknown", "the solver reached its limit")
