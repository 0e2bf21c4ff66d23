"""What a spec says of the code around its paths: regions, special arrivals, contracts, called assembly, symbols, assumptions."""

from __future__ import annotations

from dataclasses import dataclass

from ..source.text import Span
from .expr import Binary, Cast, Expr, Reg, constant, is_constant

Guard = frozenset[tuple[str, bool]]             # (feature, wanted); empty: always

WORD_MASK = (1 << 64) - 1
ANYWHERE = "anywhere"                           # the boundary that paranoid entry points arrive from
KEPT, ANY = "kept", "any"                       # a state is left as it was found; a state may have any of its values


@dataclass(frozen=True)
class StateNeed:
    """A tracked state, a flag place, a register or "stack"/"gprs" has to have a value, under a guard."""

    subject: str                                # state name, flag place, "stack", "gprs"
    value: str | int
    guard: Guard
    span: Span
    but: tuple[str, ...] = ()                   # gprs: these may hold anything


@dataclass(frozen=True)
class Meaning:
    """One fact of a state's value: a register, or some of its bits, equals an expression."""

    place: Expr                                 # Reg, Reg & constant, or a cast of a Reg
    value: Expr
    guard: Guard

    @property
    def register(self) -> str | None:
        """The register that the fact is about."""
        place = self.place.a if isinstance(self.place, (Binary, Cast)) else self.place
        return place.name if isinstance(place, Reg) else None

    @property
    def mask(self) -> int:
        """The bits that it is about."""
        if isinstance(self.place, Binary) and self.place.op == "band" and is_constant(self.place.b):
            return constant(self.place.b)
        if isinstance(self.place, Cast):
            return (1 << self.place.bits) - 1
        return WORD_MASK


@dataclass(frozen=True)
class Region:
    """Memory that is mapped under conditions. `loads`: what a load from it does to a ghost state."""

    name: str
    needs: tuple[StateNeed, ...]
    loads: StateNeed | None
    span: Span


@dataclass(frozen=True)
class Boundary:
    """Where the interrupted code was, when that is special: boundary bad_iret of kernel on 13 when ip == &x { … }."""

    name: str
    origin: str                                 # user, kernel
    numbers: frozenset[int]                     # only these vectors; empty: all
    condition: Expr | None                      # over interrupted registers
    arrive: tuple[StateNeed, ...]
    leave: tuple[StateNeed, ...]
    region: str | None                          # of the interrupted stack
    guard: Guard
    span: Span
    kind: str = "fixup"                         # of the decision that tells it


@dataclass(frozen=True)
class Op:
    """Called code that is not followed, by contract: what has to hold, what it changes."""

    name: str
    symbol: str
    needs: tuple[StateNeed, ...]
    clobbers: tuple[str, ...]
    sets: tuple[StateNeed, ...]
    writes: tuple[Expr, ...]                    # slots of the frame at hand that it gives new values
    returns: bool                               # a jump to it is a return instruction
    promises: tuple[tuple[Expr, str], ...]      # what then holds of the slots that it wrote, and why
    when: Expr | None                           # over interrupted registers: it runs exactly then
    guard: Guard
    span: Span


@dataclass(frozen=True)
class SymbolAt:
    """A place in the image without a symbol: where an instruction may fault, or where the exception table goes on."""

    name: str
    kind: str                                   # symbol, fault, fixup
    inside: str                                 # the function that holds it; the symbol itself
    span: Span


@dataclass(frozen=True)
class Assume:
    """A fact about the kernel that no instruction shows. It is printed with every verdict."""

    condition: Expr
    reason: str
    guard: Guard
    span: Span


@dataclass(frozen=True)
class Move:
    """A called function gives back the frame's new address: at the top of `stack`; it rewrites the slots of `but`."""

    frame: str
    stack: str
    but: tuple[str, ...]
    at: Expr | None = None                      # the slot that says where the slots of `but` are read

