"""What pictures of paths are made of: the stages of a path, what is so before and after each step, and whose each value is."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from ..model.spec import Spec
from ..model.surroundings import ANY, KEPT
from ..plan.code import Code, Moment
from ..plan.plan import richest

STACK = "stack"


@dataclass(frozen=True)
class Stage:
    """The steps of a path, or of one arm of it, in order. `arm`: who was interrupted, or the special boundary; "" where that is plain.

    `values`: by column, what is so on arrival and after each step.
    """

    path: str
    arm: str
    moments: tuple[Moment, ...]
    values: dict[str, list[str]]

    @property
    def title(self) -> str:
        return self.path + (f" from {self.arm}" if self.arm else "")


class Along:
    """A spec with its plan, as pictures need it. `columns`: the stack and all states of the configuration that is shown."""

    def __init__(self, spec: Spec, code: Code) -> None:
        self.spec, self.code, self.configuration = spec, code, richest(spec)
        self.columns = [STACK, *(name for name, state in spec.states.items() if self.configuration.holds(state.guard))]
        self.stages = [self._stage(path, arm, tuple(moments)) for (path, arm), moments in groupby(code.moments, key=lambda m: (m.path, m.arm))]
        self._arriving = {need.subject: str(need.value) for need in spec.arrive.get("user", ()) if self.configuration.holds(need.guard)}
        needs = (*spec.arrive.get("kernel", ()), *(need for rows in spec.contracts.values() for need in rows))
        self._kernels = {(need.subject, str(need.value)) for need in needs if need.value not in (ANY, KEPT)}

    def _stage(self, path: str, arm: str, moments: tuple[Moment, ...]) -> Stage:
        rows = [moments[0].before, *((m.stack, m.states) for m in moments)]
        tables = [{STACK: stack, **dict(states)} for stack, states in rows]
        return Stage(path, arm, moments, {column: [row.get(column, "?") for row in tables] for column in self.columns})

    def owner(self, column: str, value: str) -> str:
        """Whose a value is: user, kernel, other (neither, or both), unknown."""
        if value in ("?", ANY):
            return "unknown"
        if column == STACK:
            return {"user": "user", "interrupted": "other"}.get(value, "kernel")
        kernels = (column, value) in self._kernels
        if value == self._arriving.get(column):
            return "other" if kernels else "user"
        return "kernel" if kernels else "other"

    @property
    def switched(self) -> list[str]:
        """The columns that a register shows and that user mode has otherwise: what has to be switched on the way in, and back."""
        return [name for name in self.columns if name == STACK
                or (not self.spec.states[name].ghost and self.owner(name, self._arriving.get(name, "?")) == "user")]

    @property
    def reached_through(self) -> list[str]:
        """Those of them that memory is reached through: the stack, and what memory blocks and regions need. Without such states, all of them."""
        tables = (*(m.needs for m in self.spec.memories.values()), *(r.needs for r in self.spec.regions.values()))
        needed = {need.subject for rows in tables for need in rows}
        return [name for name in self.switched if name == STACK or name in needed] if needed & set(self.switched) else self.switched


def words(column: str, value: str) -> str:
    """A column's value in words."""
    return f"{column} not known" if value == "?" else f"{column} = {value}"
