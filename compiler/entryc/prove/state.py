"""What a symbolic machine holds: registers, memory in regions with declared bases, ghost states, and how a path ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from ..image.lift import Instruction
from ..model.surroundings import StateNeed
from ..source.text import Span
from . import terms as T
from .terms import Term

NOTHING = Instruction(0, 0, "", "", (), None, {})


class Stuck(Exception):
    """The machine cannot go on; the message says why. The path is not proved."""


class Bytes:
    """A map from offsets to bytes, each a piece of a term, so that a whole value stored is loaded as the same term."""

    def __init__(self, cells: dict[int, tuple[Term, int]] | None = None) -> None:
        self.cells = cells or {}

    def copy(self) -> Bytes:
        return Bytes(dict(self.cells))

    def store(self, offset: int, value: Term) -> None:
        for index in range(value.width // 8):
            self.cells[offset + index] = (value, index)

    def load(self, offset: int, size: int, fresh: Callable[[int, int], Term]) -> Term:
        """`fresh(offset, size)` gives the initial content of bytes that were never written."""
        cells = self.cells
        if not any(offset + i in cells for i in range(size)):
            self.store(offset, fresh(offset, size))
        for index in range(size):
            if offset + index not in cells:
                self.store(offset + index, fresh(offset + index, 1))
        term, start = cells[offset]
        if all(cells[offset + i] == (term, start + i) for i in range(size)):
            return T.extract(term, start * 8, size * 8)
        value: Term | None = None
        for index in range(size):
            term, part = cells[offset + index]
            piece = T.extract(term, part * 8, 8)
            value = piece if value is None else T.concat(piece, value)
        assert value is not None
        return value


@dataclass(frozen=True)
class Part:
    """A stretch of a region that may be touched, with what has to hold there and what a load does."""

    low: int
    high: int
    name: str
    needs: tuple[StateNeed, ...] = ()
    loads: StateNeed | None = None
    array: bool = False                         # reached at offsets that are computed
    index: Term | None = None                   # the computed part of its address
    holds: Term | None = None                   # what the kernel keeps there


@dataclass
class Region:
    """Memory that may be touched: offsets low..high from its base term. `memory`: the spec's block whose needs apply."""

    base: Term
    name: str
    low: int
    high: int
    content: Bytes
    memory: str | None = None
    epoch: int = 0
    seeds: dict[int, Term] = field(default_factory=dict)
    written: frozenset[int] = frozenset()       # offsets of bytes that were stored to
    parts: tuple[Part, ...] = ()                # when given, nothing else of the region exists
    origin: str = ""                            # the name in the spec: of the stack


@dataclass(frozen=True)
class Access:
    """A memory access that broke a rule."""

    address: int
    text: str


@dataclass(frozen=True)
class Alias:
    """Addresses `base | x` that lead to another region, when x has only bits of `mask`."""

    base: Term
    mask: int
    region: Term
    part: Part


@dataclass(frozen=True)
class Check:
    """Something that had to hold on the way: becomes a claim."""

    kind: str
    text: str
    span: Span
    holds: Term
    conditions: tuple[Term, ...]


@dataclass
class State:
    """One symbolic machine state."""

    pc: int
    registers: Bytes
    extra: dict[str, Term]
    regions: dict[Term, Region]
    ghosts: dict[str, str]
    conditions: list[Term]
    faults: list[Access]
    trace: list[int]
    epoch: int = 0
    decided: int = 0
    base_epoch: int = 0                         # which CPU's blocks the bases stand for
    user: dict[str, Term] = field(default_factory=dict)         # what user mode owns, where it is known
    found: dict[str, Term] = field(default_factory=dict)        # registers as the interrupted code had them
    given: dict[str, Term] = field(default_factory=dict)        # slots that called code wrote: slot -> its value
    checks: list[Check] = field(default_factory=list)
    aliases: tuple[Alias, ...] = ()
    stacks: frozenset[str] = frozenset()        # the declared stacks that were touched
    done: tuple[str, ...] = ()                  # the ops that ran
    last: Instruction = field(default_factory=lambda: NOTHING)  # what ran before
    order: list[tuple[bool, Term, int, int]] = field(default_factory=list)      # words of stacks as they were stored (True) or loaded; watched facts
    events: list[tuple[Any, ...]] = field(default_factory=list)         # accesses, contracted instructions and ops, in order

    def copy(self) -> State:
        regions = {b: replace(r, content=r.content.copy()) for b, r in self.regions.items()}
        return replace(self, registers=self.registers.copy(), extra=dict(self.extra), regions=regions, ghosts=dict(self.ghosts),
                       conditions=list(self.conditions), faults=list(self.faults), trace=list(self.trace), given=dict(self.given),
                       checks=list(self.checks), events=list(self.events), order=list(self.order))


@dataclass
class Ending:
    """How a path ended: kind call, jump, return, stop, stuck; `name`: the C function or the return form."""

    kind: str
    name: str
    state: State
    address: int
