"""Events that nothing holds off: what one finds that strikes before an instruction is something that its entry point is proved for.

A paranoid entry point is proved from each value of the states that `boundary anywhere` leaves open (`any`). Here the other half: between any two
instructions of entry code, each such state has one of these values. What an event then finds on the stack is the business of `nested.py`.
"""

from __future__ import annotations

import copy
from dataclasses import replace

from ..image.lift import Instruction
from ..model.spec import Path
from ..model.surroundings import ANY, ANYWHERE, StateNeed
from . import terms as T
from .arrive import Arrivals
from .state import Access, State


class Anywhere:
    """Looks at the state before each instruction. `changes`: registers in which the routine at hand leaves a value that is the user's from then on."""

    def __init__(self, arrivals: Arrivals) -> None:
        self.arrivals, self.machine, self.spec = arrivals, arrivals.machine, arrivals.spec
        self.changes: tuple[str, ...] = ()
        self.open: dict[str, list[StateNeed]] = {}
        boundary = self.spec.boundaries.get(ANYWHERE)
        for fact in boundary.arrive if boundary is not None else ():
            declared = self.spec.states.get(fact.subject)
            if fact.value == ANY and declared is not None and not declared.ghost and self.spec.applies(fact, self.machine.configuration):
                self.open[fact.subject] = [replace(fact, value=value) for value, meanings in declared.values.items() if meanings]

    def routine(self, path: Path | None) -> None:
        """From here on, this routine runs."""
        self.changes = path.changes if path is not None else ()

    def look(self, state: State, instruction: Instruction) -> None:
        """Notes a fault when a state has none of its values."""
        for subject, values in self.open.items():
            held = next((need for need in values if self.machine.holds(state, self.machine.fact(state, need))), None)
            if held is not None and held is not values[0]:
                values.remove(held)             # most likely it still holds before the next instruction
                values.insert(0, held)
            if held is None and not self.renewed(state, values):
                state.faults.append(Access(state.pc, f"an event that strikes before {instruction.text} finds {subject} in none of its values"))

    def renewed(self, state: State, values: list[StateNeed]) -> bool:
        """Has the state one of its values, when what a changed register holds is what the user has now? The kernel's assumptions have to hold of that too."""
        for register in self.changes:
            now = copy.copy(state)
            now.user = state.user | dict.fromkeys(self.changes, self.machine.read(state, register))
            holds = T.TRUE
            for row in self.spec.assumes:
                if self.machine.configuration.holds(row.guard):
                    holds = T.band(holds, self.arrivals.meaning(row.condition, now.epoch, now.user, now.base_epoch))
            if any(self.machine.holds(state, T.band(holds, self.machine.fact(now, need))) for need in values):
                return True
        return False
