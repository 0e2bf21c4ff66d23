"""A small writer of C: statements as nested lists, expressions and types from the model, comments that nothing can break out of."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable

from ..model.expr import COMPARISONS, Binary, Cast, Expr, FrameRef, HookCall, Local, Num, SetupRef, SlotRef, Unary, constant, is_constant, show
from ..model.spec import CallText, Spec
from ..source.finding import Finding, Findings
from ..source.text import UNSEEN, Span

Block = list["str | Block"]

WIDTH = 100
OPERATORS = {"add": "+", "sub": "-", "band": "&", "bor": "|", "bxor": "^", "shl": "<<", "shr": ">>", "eq": "==", "ne": "!=",
             "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "and": "&&", "or": "||"}
BOOLEAN = frozenset((*COMPARISONS, "and", "or", "not"))
TYPES = {"void": "void", "bool": "bool", **{f"{sign}{bits}": f"{'' if sign == 's' else 'u'}int{bits}_t" for sign in "us" for bits in (8, 16, 32, 64)}}


def refuse(code: str, message: str, span: Span | None, help: str | None = None) -> Findings:
    """What a spec says that C cannot."""
    return Findings([Finding(code, "error", message, span, help)])


# ---- comments ----

def comment(text: str) -> str:
    """Text that is safe inside a comment, on one line: it cannot end the comment, nor change what a reader sees."""
    safe = UNSEEN.sub(" ", text.replace("\t", " ")).replace("\\", "/")
    return re.sub(r"\?(?=\?)|\*(?=/)|/(?=\*)", r"\g<0> ", safe).strip()


def remark(text: str) -> str:
    return f"/* {comment(text)} */"


def remarks(text: str, depth: int = 0) -> list[str]:
    """A comment as one line, or as a block where it is too long for its depth."""
    if len(remark(text)) + 8 * depth <= WIDTH:
        return [remark(text)]
    return ["/*", *(f" * {part}" for part in textwrap.wrap(comment(text), WIDTH - 8 * depth - 4, break_long_words=False, break_on_hyphens=False)), " */"]


# ---- statements ----

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
    return [*head.split("\n"), "{", body, "}", ""]


def mentions(block: Block, name: str) -> bool:
    """Does a statement tree use a name?"""
    return re.search(rf"\b{re.escape(name)}\b", text(block)) is not None


def braced(head: str, body: Block) -> Block:
    """`if`, `for`: braces where the body is more than one line."""
    return [head + " {", body, "}"] if len(body) > 1 else [head, body]


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


def prototype(result: str, name: str, params: Iterable[str], tail: str = "") -> str:
    """A function's head, its parameters on as many lines as they need; `tail` is what follows on the last line."""
    head = declare(result, name) + "("
    out, line = [], head
    for text_of in _separated(list(params) or ["void"]):
        if len((line + text_of).rstrip() + tail) > WIDTH and line != head and line.strip():
            out.append(line.rstrip())
            line = "\t" * (len(head) // 8) + " " * (len(head) % 8)
        line += text_of
    return "\n".join([*out, line + tail])


def _separated(params: list[str]) -> list[str]:
    return [p + ", " for p in params[:-1]] + [params[-1] + ")"]


def aligned(field: str, column: int, rest: str) -> str:
    """`rest` at a column, reached with tabs."""
    return field + "\t" * max(1, (column - len(field.expandtabs(8)) + 7) // 8) + rest


# ---- expressions ----

def number(value: int) -> str:
    return f"UINT64_C({value:#x})" if value > 9 else str(value)


def plain(value: int) -> str:
    """A number that only counts: small ones in decimal."""
    return str(value) if value < 1 << 16 else number(value)


def signed_number(value: int) -> str:
    """A 64-bit pattern as a signed constant; the lowest one has no literal in C."""
    signed = value - (1 << 64) if value >> 63 else value
    return str(signed) if -(1 << 31) <= signed < 1 << 31 else "INT64_MIN" if signed == -(1 << 63) else f"INT64_C({signed})"


def expression(spec: Spec, expr: Expr) -> str:
    """C text whose value, as a 64-bit unsigned number, is that of the expression. Raises Findings for what C cannot read."""
    return _text(spec, expr)


def wide(spec: Spec, expr: Expr) -> str:
    """The same, as C that has 64 bits and no sign by itself."""
    return _text(spec, expr) if _is_wide(expr) and not isinstance(expr, Cast) else _inner(spec, expr, True)


def call(spec: Spec, row: CallText) -> str:
    return f"{row.name}({', '.join(_text(spec, a) for a in row.arguments)})"


def flag_macro(name: str) -> str:
    """The name in C of one of the CPU's flag bits."""
    return f"ENTRY_{name}"


def _text(spec: Spec, expr: Expr) -> str:
    if isinstance(expr, Num):
        if expr.label in spec.constants and spec.constants[expr.label] == expr.value:
            return str(expr.label)
        if expr.label in spec.arch.flag_names and spec.arch.flag_names[expr.label] == expr.value:
            return flag_macro(str(expr.label))
        return number(expr.value & (1 << 64) - 1)
    if isinstance(expr, SlotRef):
        return f"{expr.frame}->{expr.slot}"
    if isinstance(expr, (FrameRef, Local)):
        return expr.frame if isinstance(expr, FrameRef) else expr.name
    if isinstance(expr, SetupRef) and expr.name in spec.setup:
        return number(spec.setup[expr.name][0])
    if isinstance(expr, HookCall):
        return f"{expr.name}({', '.join(_text(spec, a) for a in expr.arguments)})"
    if isinstance(expr, Cast):
        return f"({TYPES[('s' if expr.signed else 'u') + str(expr.bits)]}){_inner(spec, expr.a, True)}"
    if isinstance(expr, Unary):
        return {"neg": "-", "inv": "~", "not": "!"}[expr.op] + _inner(spec, expr.a, expr.op != "not")
    if isinstance(expr, Binary):
        return _binary(spec, expr)
    raise refuse("E501", f"'{show(expr)}' cannot be read in C", expr.span, "read a slot of the frame, a local or a hook")


def _binary(spec: Spec, expr: Binary) -> str:
    if expr.op in ("and", "or"):
        return f"{_inner(spec, expr.a, False)} {OPERATORS[expr.op]} {_inner(spec, expr.b, False)}"
    if expr.op in ("shl", "shr"):
        count = _inner(spec, expr.b, False)
        shifted = f"{_inner(spec, expr.a, True)} {OPERATORS[expr.op]} {count}"
        if not is_constant(expr.b):
            return f"{count} < 64 ? {shifted} : 0"
        count = str(constant(expr.b)) if isinstance(expr.b, Num) and not expr.b.label else count
        return f"{_inner(spec, expr.a, True)} {OPERATORS[expr.op]} {count}" if constant(expr.b) < 64 else "UINT64_C(0)"
    wide = not (_is_wide(expr.a) or _is_wide(expr.b))
    return f"{_inner(spec, expr.a, wide)} {OPERATORS[expr.op]} {_inner(spec, expr.b, False)}"


def _is_wide(expr: Expr) -> bool:
    """Does the C text of this operand have 64 bits by itself?"""
    if isinstance(expr, (SlotRef, Local, Cast)):
        return True
    return isinstance(expr, (Unary, Binary)) and expr.op not in BOOLEAN


def _inner(spec: Spec, expr: Expr, wide: bool) -> str:
    """An operand: in parentheses where that matters, and of 64 bits where C would take fewer or a sign."""
    inner = _text(spec, expr)
    if isinstance(expr, (Binary, Unary)):
        return f"(uint64_t)({inner})" if wide and expr.op in BOOLEAN else f"({inner})"
    if isinstance(expr, Cast):
        return f"(uint64_t){inner}"
    if isinstance(expr, HookCall):
        result = spec.hooks[expr.name].result if expr.name in spec.hooks else "u64"
        return inner if result == "u64" or (result == "bool" and not wide) else f"(uint64_t){inner}"
    if wide and isinstance(expr, Num):
        return inner if inner.startswith(("UINT64_C", "ENTRY_")) else f"(uint64_t){inner}"
    return inner


def upper(name: str) -> str:
    return name.upper()
