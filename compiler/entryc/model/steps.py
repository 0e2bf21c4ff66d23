"""Steps of paths: what the author wrote, resolved."""

from __future__ import annotations

from dataclasses import dataclass

from ..source.text import Span
from .expr import Expr
from .surroundings import Guard, Move


@dataclass(frozen=True)
class Step:
    """Base of all steps: executed in the written order."""

    span: Span
    guard: Guard


@dataclass(frozen=True)
class SetState(Step):
    """gs = kernel; df = 0: a tracked state or a flag place takes a value."""

    subject: str
    value: str | int
    using: tuple[str, ...]
    keeping: str | None = None                  # the register that remembers the old value
    op: str | None = None                       # the op that brings it about, where a state has several


@dataclass(frozen=True)
class SwitchStack(Step):
    """stack = task."""

    stack: str


@dataclass(frozen=True)
class Set(Step):
    """place = value: registers, cells, system registers; a load, a store or a move."""

    place: Expr
    value: Expr
    using: tuple[str, ...]


@dataclass(frozen=True)
class Save(Step):
    """save FRAME[.slot] using r { slot = value, ... }; slots empty: all that are not saved yet."""

    frame: str
    slots: tuple[str, ...]
    using: tuple[str, ...]
    values: tuple[tuple[str, Expr], ...]
    takes: frozenset[str] = frozenset()         # slots that take another register's value on purpose
    within: tuple[tuple[str, Expr], ...] = ()   # slot -> the bits that have to be right


@dataclass(frozen=True)
class Clear(Step):
    """clear all / clear all but ax / clear r8 r9."""

    registers: tuple[str, ...]                  # empty: all
    but: tuple[str, ...] = ()                   # with all


@dataclass(frozen=True)
class Restore(Step):
    """restore all [but r ...] / restore r ...; of the path's frame."""

    frame: str
    slots: tuple[str, ...]                      # empty: all
    but: tuple[str, ...]


@dataclass(frozen=True)
class Label(Step):
    """A global label for profilers and windows: label NAME is PATH_NAME, label is NAME the symbol itself."""

    name: str
    own: bool = False

    def symbol(self, path: str) -> str:
        """What the image calls it."""
        return self.name if self.own else f"{path}_{self.name}"


@dataclass(frozen=True)
class Call(Step):
    """call f(args) [-> method]; the C function `callee` under contract `contract`."""

    callee: str
    arguments: tuple[Expr, ...]
    contract: str
    binds: str | None                           # "method", or the choice that a function outside of the spec makes
    move: Move | None = None                    # it gives back the frame's new address
    setting: tuple[str, Expr] | None = None     # a slot that gets this value before, when the arguments are read


@dataclass(frozen=True)
class Jump(Step):
    """jump f(args) as contract: a C function that never returns."""

    callee: str
    arguments: tuple[Expr, ...]
    contract: str


@dataclass(frozen=True)
class Goto(Step):
    """goto PATH."""

    path: str


@dataclass(frozen=True)
class ExitTo(Step):
    """exit X, or exit by method among A, B (first is taken when C returns the highest index; the last is index 0)."""

    targets: tuple[str, ...]
    by_method: bool
    by_origin: bool = False                     # among USER, KERNEL: as the frame says where to return to
    given: Expr | None = None                   # what C promises of the frame
    reason: str = ""


@dataclass(frozen=True)
class Origin(Step):
    """from user { } / from kernel { }: the declared decision on who was interrupted."""

    user: tuple[Step, ...]
    kernel: tuple[Step, ...]
    others: tuple[tuple[str, tuple[Step, ...]], ...] = ()       # special boundaries: (name, steps)
    using: tuple[tuple[str, tuple[str, ...]], ...] = ()         # registers for the test of a special boundary

    def arm(self, arrival: str, origin: str) -> tuple[Step, ...]:
        """The steps for an arrival: its own, or those of its origin."""
        return dict(self.others).get(arrival, self.user if origin == "user" else self.kernel)


@dataclass(frozen=True)
class Do(Step):
    """do OP: called code runs here."""

    op: str


@dataclass(frozen=True)
class Through(Step):
    """through PATH: its steps stand here."""

    path: str


@dataclass(frozen=True)
class Assert(Step):
    """assert CONDITION: code stops where it does not hold."""

    condition: Expr


@dataclass(frozen=True)
class Room(Step):
    """room 48: the frame lies so many bytes below what the CPU pushed, which is copied down."""

    size: int


@dataclass(frozen=True)
class Drop(Step):
    """drop FRAME: the stack pointer goes up to what a return pops, or to the frame's end. drop FRAME.SLOT: up to that slot."""

    frame: str
    slot: str = ""


@dataclass(frozen=True)
class Reframe(Step):
    """reframe FRAME: the words at the stack pointer, part of the frame at hand, are the hardware slots of this one."""

    frame: str


@dataclass(frozen=True)
class Adopt(Step):
    """adopt FRAME at VALUE: the stack pointer goes to a whole frame that an earlier run of the routine left there."""

    frame: str
    at: Expr


@dataclass(frozen=True)
class ReturnStep(Step):
    """return by a return instruction of the CPU."""

    name: str


@dataclass(frozen=True)
class Unsupported(Step):
    """Never in a checked model."""


def flat_steps(steps: tuple[Step, ...]) -> list[Step]:
    """All steps, those inside arms included."""
    out: list[Step] = []
    for step in steps:
        out.append(step)
        if isinstance(step, Origin):
            out += flat_steps(step.user) + flat_steps(step.kernel)
            for _, inside in step.others:
                out += flat_steps(inside)
    return out
