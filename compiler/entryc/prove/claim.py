"""One claim: a statement that a solver decides, with what an emulator has to run to see it fail."""

from __future__ import annotations

from dataclasses import dataclass

from ..source.text import Span
from .state import State
from .terms import Term


@dataclass(frozen=True)
class Witness:
    """What an emulator has to run to see a claim fail: from a start state to an address, then look at one register or word."""

    start: State
    stop: int
    register: str | None                        # look at this register, or
    word: Term | None                           # at the word at this address
    wanted: Term


@dataclass(frozen=True)
class Claim:
    """A statement about all executions of a stub up to one point. `holds`: a one-bit term; `kind` groups claims in reports."""

    stub: str
    kind: str
    text: str
    span: Span
    holds: Term
    conditions: tuple[Term, ...]
    detail: str = ""
    witness: Witness | None = None
    unknown: str = ""                           # why nothing can be said: never proved, never refuted
