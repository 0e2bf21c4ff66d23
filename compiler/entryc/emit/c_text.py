"""A small writer of C: statements as nested lists, expressions and types from the model, comments that nothing can break out of."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..model.expr import Binary, Cast, Expr, FrameRef, HookCall, Local, Num, SetupRef, SlotRef, Unary
from ..model.spec import CallText, Spec

Block = list["str | Block"]

OPERATORS = {"add": "+", "sub": "-", "band": "&", "bor": "|", "bxor": "^", "shl": "<<", "shr": ">>", "eq": "==", "ne": "!=",
             "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "and": "&&", "or": "||"}
TYPES = {"void": "void", "bool": "bool", **{f"{sign}{bits}": f"{'' if sign == 's' else 'u'}int{bits}_t" for sign in "us" for bits in (8, 16, 32, 64)}}


def comment(text: str) -> str:
    """Text that is safe inside a C comment, on one line."""
    safe = re.sub(r"[^\x20-\x7e\u00a0-\uffff]", " ", text).replace("*/", "* /").replace("/*", "/ *").replace("\\", "/").replace("??", "? ?")
    return safe.strip()


def remark(text: str) -> str:
    return f"/* {comment(text)} */"


def lines(block: Block, depth: int = 0) -> Iterable[str]:
    """A statement tree as lines: a nested list is one level deeper."""
    for item in block:
        if isinstance(item, list):
            yield from lines(item, depth + 1)
        else:
            yield "\t" * depth + item if item else ""


def text(block: Block) -> str:
    return "\n".join(lines(block)) + "\n"


def function(head: str, body: Block) -> Block:
    return [head, "{", body, "}", ""]


def c_type(spec: Spec, name: str) -> str:
    """The C type of a hook's parameter or result."""
    if name in spec.frames:
        return f"{spec.frames[name].c_name} *"
    if name in spec.memories:
        return f"struct {name} *"
    return TYPES[name]


def declare(kind: str, name: str) -> str:
    """`type name`, with the star at the name."""
    return f"{kind}{name}" if kind.endswith("*") else f"{kind} {name}"


def prototype(result: str, name: str, params: Iterable[str]) -> str:
    return f"{declare(result, name)}({', '.join(params) or 'void'})"


def number(value: int) -> str:
    return f"UINT64_C({value:#x})" if value > 9 else str(value)


def expression(spec: Spec, expr: Expr, mask: int = (1 << 64) - 1) -> str:
    """A C expression of 64-bit unsigned values; every inner operation has its parentheses."""
    if isinstance(expr, Num):
        if expr.label in spec.constants and spec.constants[expr.label] == expr.value:
            return str(expr.label)
        return number(expr.value & mask)
    if isinstance(expr, SlotRef):
        return f"{expr.frame}->{expr.slot}"
    if isinstance(expr, FrameRef):
        return expr.frame
    if isinstance(expr, Local):
        return expr.name
    if isinstance(expr, SetupRef):
        return number(spec.setup[expr.name][0])
    if isinstance(expr, HookCall):
        return f"{expr.name}({', '.join(expression(spec, a) for a in expr.arguments)})"
    if isinstance(expr, Cast):
        return f"({TYPES[('s' if expr.signed else 'u') + str(expr.bits)]}){_inner(spec, expr.a)}"
    if isinstance(expr, Unary):
        return {"neg": "-", "inv": "~", "not": "!"}[expr.op] + _inner(spec, expr.a)
    if isinstance(expr, Binary):
        return f"{_inner(spec, expr.a)} {OPERATORS[expr.op]} {_inner(spec, expr.b)}"
    raise AssertionError(f"{type(expr).__name__} has no meaning in C")


def _inner(spec: Spec, expr: Expr) -> str:
    inner = expression(spec, expr)
    return f"({inner})" if isinstance(expr, Binary) else inner


def call(spec: Spec, row: CallText) -> str:
    return f"{row.name}({', '.join(expression(spec, a) for a in row.arguments)})"


def upper(name: str) -> str:
    return name.upper()
