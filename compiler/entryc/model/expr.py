"""Expressions of both languages, after names are resolved: a closed algebra of 64-bit values.

The same trees are printed as C, evaluated on integers, and turned into solver terms.
Comparisons and and/or/not yield booleans; everything else is a bit-vector of the CPU's word size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields

from ..source.text import Span


@dataclass(frozen=True)
class Expr:
    """Base of all expression nodes. The span never takes part in equality."""

    span: Span | None = field(default=None, compare=False, repr=False, kw_only=True)


@dataclass(frozen=True)
class Num(Expr):
    """An integer; `label` is the name of the constant that it came from."""

    value: int
    label: str | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Reg(Expr):
    """A register family of the CPU: general, stack pointer, ip, flags, segment or system register."""

    name: str


@dataclass(frozen=True)
class Bit(Expr):
    """One named bit of a register that can be read and set by itself (a flag place)."""

    register: str
    bit: int
    name: str


@dataclass(frozen=True)
class Operand(Expr):
    """An operand of an instruction form (only inside .arch rows)."""

    name: str


@dataclass(frozen=True)
class Mem(Expr):
    """A word in memory at an address."""

    address: Expr


@dataclass(frozen=True)
class SlotRef(Expr):
    """A slot of a frame: regs.ax."""

    frame: str
    slot: str


@dataclass(frozen=True)
class CellRef(Expr):
    """A word of a based memory block: percpu.user_sp."""

    memory: str
    cell: str


@dataclass(frozen=True)
class BaseRef(Expr):
    """&percpu: the address of this CPU's block."""

    memory: str


@dataclass(frozen=True)
class SymbolRef(Expr):
    """&native_iret: the address of a place in the image."""

    name: str


@dataclass(frozen=True)
class SymbolAddress(Expr):
    """&l: the address of a label operand (only inside .arch rows)."""

    name: str


@dataclass(frozen=True)
class PresetRef(Expr):
    """preset: the word above the stack that a gate names, which the kernel wrote at boot."""


@dataclass(frozen=True)
class NumberRef(Expr):
    """number: the vector number of the entry point at hand."""


@dataclass(frozen=True)
class Indexed(Expr):
    """indexed(cx): the system register with the number that an expression gives (only inside .arch rows)."""

    number: Expr


@dataclass(frozen=True)
class UserRef(Expr):
    """user.gs_base: the value that user mode owns for a register, wherever it is parked now."""

    register: str


@dataclass(frozen=True)
class FoundRef(Expr):
    """interrupted.cr3: what a register held when the event came."""

    register: str


@dataclass(frozen=True)
class SetupRef(Expr):
    """setup.star_user: a value that the kernel programmed into the CPU."""

    name: str


@dataclass(frozen=True)
class FrameRef(Expr):
    """A frame's address, as an argument or a base: regs."""

    frame: str


@dataclass(frozen=True)
class Local(Expr):
    """A C local of a handler: address."""

    name: str


@dataclass(frozen=True)
class HookCall(Expr):
    """A call of a C hook inside a C condition: preemptible()."""

    name: str
    arguments: tuple[Expr, ...] = ()


@dataclass(frozen=True)
class Unary(Expr):
    """op in: neg inv not."""

    op: str
    a: Expr


@dataclass(frozen=True)
class Binary(Expr):
    """op in: add sub band bor bxor shl shr eq ne lt le gt ge and or. Comparisons are unsigned."""

    op: str
    a: Expr
    b: Expr


@dataclass(frozen=True)
class Cast(Expr):
    """u8 x, s32 x: truncate to `bits`, then extend to the word by sign or zero."""

    bits: int
    signed: bool
    a: Expr


FLIPPED = {"ne": "eq", "eq": "ne", "lt": "ge", "ge": "lt", "le": "gt", "gt": "le"}        # what is so when a comparison is not
COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")
SYMBOLS = {"add": "+", "sub": "-", "band": "&", "bor": "|", "bxor": "^", "shl": "<<", "shr": ">>",
           "eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "and": "and", "or": "or",
           "neg": "-", "inv": "~", "not": "not "}


def children(expr: Expr) -> list[Expr]:
    """The direct sub-expressions, left to right."""
    out: list[Expr] = []
    for f in fields(expr):
        value = getattr(expr, f.name)
        if isinstance(value, Expr):
            out.append(value)
        elif isinstance(value, tuple):
            out.extend(v for v in value if isinstance(v, Expr))
    return out


def walk(expr: Expr) -> Iterator[Expr]:
    """The node and all below it, top down."""
    yield expr
    for child in children(expr):
        yield from walk(child)


def rebuild(expr: Expr, change: Callable[[Expr], Expr]) -> Expr:
    """Apply `change` to every node, bottom up."""
    values: dict[str, object] = {}
    for f in fields(expr):
        value = getattr(expr, f.name)
        if isinstance(value, Expr):
            value = rebuild(value, change)
        elif isinstance(value, tuple):
            value = tuple(rebuild(v, change) if isinstance(v, Expr) else v for v in value)
        values[f.name] = value
    return change(type(expr)(**values))  # type: ignore[arg-type]


def evaluate(expr: Expr, lookup: Callable[[Expr], int], bits: int = 64) -> int:
    """The value of an expression, booleans as 0/1; `lookup` gives the value of each leaf that is not a number."""
    mask = (1 << bits) - 1
    if isinstance(expr, Num):
        return expr.value & mask
    if isinstance(expr, Unary):
        a = evaluate(expr.a, lookup, bits)
        return {"neg": -a & mask, "inv": ~a & mask, "not": int(not a)}[expr.op]
    if isinstance(expr, Cast):
        a = evaluate(expr.a, lookup, bits) & ((1 << expr.bits) - 1)
        return (a - (1 << expr.bits)) & mask if expr.signed and a >> (expr.bits - 1) else a
    if isinstance(expr, Binary):
        a, b = evaluate(expr.a, lookup, bits), evaluate(expr.b, lookup, bits)
        return {
            "add": (a + b) & mask, "sub": (a - b) & mask, "band": a & b, "bor": a | b, "bxor": a ^ b,
            "shl": (a << b) & mask if b < bits else 0, "shr": a >> b if b < bits else 0,
            "eq": int(a == b), "ne": int(a != b), "lt": int(a < b), "le": int(a <= b), "gt": int(a > b), "ge": int(a >= b),
            "and": int(bool(a and b)), "or": int(bool(a or b)),
        }[expr.op]
    return lookup(expr) & mask


def is_constant(expr: Expr) -> bool:
    """True when the value is known without any machine state."""
    return not any(not isinstance(e, (Num, Unary, Binary, Cast)) for e in walk(expr))


def constant(expr: Expr) -> int:
    """The value of a constant expression. Raises KeyError when it is none."""
    def fail(e: Expr) -> int:
        raise KeyError(type(e).__name__)
    return evaluate(expr, fail)


def show(expr: Expr) -> str:
    """The expression as a spec would write it."""
    if isinstance(expr, Num):
        return expr.label or (hex(expr.value) if abs(expr.value) > 9 else str(expr.value))
    if isinstance(expr, (Reg, Bit, Operand, Local)):
        return expr.name
    if isinstance(expr, Mem):
        return f"[{show(expr.address)}]"
    if isinstance(expr, SlotRef):
        return f"{expr.frame}.{expr.slot}"
    if isinstance(expr, CellRef):
        return f"{expr.memory}.{expr.cell}"
    if isinstance(expr, BaseRef):
        return f"&{expr.memory}"
    if isinstance(expr, (SymbolRef, SymbolAddress)):
        return f"&{expr.name}"
    if isinstance(expr, NumberRef):
        return "number"
    if isinstance(expr, PresetRef):
        return "preset"
    if isinstance(expr, Indexed):
        return f"indexed({show(expr.number)})"
    if isinstance(expr, UserRef):
        return f"user.{expr.register}"
    if isinstance(expr, FoundRef):
        return f"interrupted.{expr.register}"
    if isinstance(expr, SetupRef):
        return f"setup.{expr.name}"
    if isinstance(expr, FrameRef):
        return expr.frame
    if isinstance(expr, HookCall):
        return f"{expr.name}({', '.join(map(show, expr.arguments))})"
    if isinstance(expr, Unary):
        return SYMBOLS[expr.op] + _inner(expr.a)
    if isinstance(expr, Cast):
        return f"{'s' if expr.signed else 'u'}{expr.bits} {_inner(expr.a)}"
    if isinstance(expr, Binary):
        return f"{_inner(expr.a)} {SYMBOLS[expr.op]} {_inner(expr.b)}"
    return type(expr).__name__


def _inner(expr: Expr) -> str:
    return f"({show(expr)})" if isinstance(expr, Binary) else show(expr)
