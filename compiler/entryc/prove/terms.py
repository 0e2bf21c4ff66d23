"""Bit-vector terms: hash-consed, in a normal form in which most claims are decided by identity, without a solver."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

WORD = 64


class Term:
    """An immutable term of `width` bits. Equal terms are the same object.

    `serial` counts the terms in the order in which they were made: what is ordered by it is the same in every run, which an address in memory is not.
    """

    __slots__ = ("args", "aux", "op", "serial", "solver", "width")
    table: dict[tuple[Any, ...], Term] = {}
    serials = count()

    op: str
    width: int
    args: tuple[Term, ...]
    aux: Any
    serial: int
    solver: Any

    def __repr__(self) -> str:
        return show(self)

    @property
    def value(self) -> int | None:
        """The number that a constant is."""
        return self.aux if self.op == "const" else None


def _make(op: str, width: int, args: tuple[Term, ...] = (), aux: Any = None) -> Term:
    key = (op, width, args, aux)
    found = Term.table.get(key)
    if found is None:
        found = Term()
        found.op, found.width, found.args, found.aux, found.solver = op, width, args, aux, None
        found.serial = next(Term.serials)
        Term.table[key] = found
    return found


def const(value: int, width: int = WORD) -> Term:
    return _make("const", width, (), value & ((1 << width) - 1))


def var(name: str, width: int = WORD) -> Term:
    """A free variable: the same name is the same value."""
    return _make("var", width, (), name)


TRUE, FALSE = const(1, 1), const(0, 1)


def boolean(value: bool) -> Term:
    return TRUE if value else FALSE


def linear(t: Term) -> tuple[dict[Term, int], int]:
    """A term as a sum: coefficients of opaque terms, and a constant."""
    if t.op == "const":
        return {}, t.aux
    if t.op == "sum":
        return dict(zip(t.args, t.aux[1], strict=True)), t.aux[0]
    return {t: 1}, 0


def _sum(parts: dict[Term, int], number: int, width: int) -> Term:
    mask = (1 << width) - 1
    rows = sorted(((t, c & mask) for t, c in parts.items() if c & mask), key=lambda row: row[0].serial)
    number &= mask
    if not rows:
        return const(number, width)
    if len(rows) == 1 and rows[0][1] == 1 and number == 0:
        return rows[0][0]
    return _make("sum", width, tuple(t for t, _ in rows), (number, tuple(c for _, c in rows)))


def add(a: Term, b: Term, factor: int = 1) -> Term:
    """a + factor * b."""
    parts, number = linear(a)
    others, other = linear(b)
    for t, c in others.items():
        parts[t] = parts.get(t, 0) + factor * c
    return _sum(parts, number + factor * other, a.width)


def sub(a: Term, b: Term) -> Term:
    return add(a, b, -1)


def mul(a: Term, b: Term) -> Term:
    if b.op == "const":
        parts, number = linear(a)
        return _sum({t: c * b.aux for t, c in parts.items()}, number * b.aux, a.width)
    if a.op == "const":
        return mul(b, a)
    return _make("mul", a.width, (a, b))


def band(a: Term, b: Term) -> Term:
    if a.op == "const":
        a, b = b, a
    full = (1 << a.width) - 1
    if b.op == "const":
        if a.op == "const":
            return const(a.aux & b.aux, a.width)
        if b.aux == 0:
            return b
        if b.aux == full:
            return a
        if a.op == "and" and a.args[1].op == "const":
            return band(a.args[0], const(a.args[1].aux & b.aux, a.width))
    return a if a is b else _commute("and", a, b)


def bor(a: Term, b: Term) -> Term:
    if a.op == "const":
        a, b = b, a
    if b.op == "const":
        if a.op == "const":
            return const(a.aux | b.aux, a.width)
        if b.aux == 0:
            return a
        if b.aux == (1 << a.width) - 1:
            return b
    return a if a is b else _commute("or", a, b)


def bxor(a: Term, b: Term) -> Term:
    if a.op == "const" and b.op == "const":
        return const(a.aux ^ b.aux, a.width)
    if a is b:
        return const(0, a.width)
    if b.op == "const" and b.aux == 0:
        return a
    if a.op == "const" and a.aux == 0:
        return b
    return _commute("xor", a, b)


def _commute(op: str, a: Term, b: Term, width: int | None = None) -> Term:
    if (a.op == "const", a.serial) > (b.op == "const", b.serial):
        a, b = b, a
    return _make(op, width or a.width, (a, b))


def inv(a: Term) -> Term:
    if a.op == "const":
        return const(~a.aux, a.width)
    return a.args[0] if a.op == "inv" else _make("inv", a.width, (a,))


def shift(op: str, a: Term, b: Term) -> Term:
    """op: shl, shr, sar. The amount may have another width."""
    if b.op == "const":
        n = b.aux
        if n == 0:
            return a
        if a.op == "const":
            signed = a.aux - (1 << a.width) if a.aux >> (a.width - 1) else a.aux
            return const({"shl": a.aux << n, "shr": a.aux >> n, "sar": signed >> n}[op] if n < a.width else (-1 if op == "sar" and signed < 0 else 0), a.width)
    if b.width > a.width:                       # a truncated amount would be another amount
        return extract(shift(op, resize(a, b.width, op == "sar"), b), 0, a.width)
    return _make(op, a.width, (a, resize(b, a.width)))


def extract(a: Term, low: int, width: int) -> Term:
    """Bits low .. low+width-1."""
    if low == 0 and width == a.width:
        return a
    if a.op == "const":
        return const(a.aux >> low, width)
    if a.op == "extract":
        return extract(a.args[0], a.aux + low, width)
    if a.op == "concat":
        high, rest = a.args
        if low >= rest.width:
            return extract(high, low - rest.width, width)
        if low + width <= rest.width:
            return extract(rest, low, width)
    if a.op == "and" and a.args[1].op == "const":
        mask = extract(a.args[1], low, width)
        if mask.aux == 0:
            return mask
        if mask.aux == (1 << width) - 1:
            return extract(a.args[0], low, width)
    if a.op == "or" and a.args[1].op == "const" and extract(a.args[1], low, width).aux == 0:
        return extract(a.args[0], low, width)
    return _make("extract", width, (a,), low)


def concat(high: Term, low: Term) -> Term:
    if high.op == "const" and low.op == "const":
        return const(high.aux << low.width | low.aux, high.width + low.width)
    if high.op == "extract" and low.op == "extract" and high.args[0] is low.args[0] and high.aux == low.aux + low.width:
        return extract(low.args[0], low.aux, high.width + low.width)
    return _make("concat", high.width + low.width, (high, low))


def resize(a: Term, width: int, signed: bool = False) -> Term:
    """Truncate or extend."""
    if width == a.width:
        return a
    if width < a.width:
        return extract(a, 0, width)
    if not signed:
        return concat(const(0, width - a.width), a)
    if a.op == "const":
        return const(a.aux - (1 << a.width) if a.aux >> (a.width - 1) else a.aux, width)
    return _make("sext", width, (a,))


def eq(a: Term, b: Term) -> Term:
    if a is b:
        return TRUE
    difference = sub(a, b)
    if difference.op == "const":
        return boolean(difference.aux == 0)
    return _commute("eq", a, b, 1)


def less(op: str, a: Term, b: Term) -> Term:
    """op: ult, ule, slt, sle."""
    if a.op == "const" and b.op == "const":
        x, y = a.aux, b.aux
        if op[0] == "s":
            x, y = (v - (1 << a.width) if v >> (a.width - 1) else v for v in (x, y))
        return boolean(x < y if op[1:] == "lt" else x <= y)
    if a is b:
        return boolean(op[1:] == "le")
    return _make(op, 1, (a, b))


def not_(a: Term) -> Term:
    return bxor(a, TRUE) if a.op != "xor" or TRUE not in a.args else next(t for t in a.args if t is not TRUE)


def opaque(op: str, width: int, *args: Term) -> Term:
    """An operation that is kept as it is (popcount, carries); `known` ones fold on numbers."""
    if all(a.op == "const" for a in args):
        values, bits = [a.aux for a in args], args[0].width
        sign = 1 << (bits - 1)
        def signed(v: int) -> int:
            return v - (1 << bits) if v & sign else v
        if op == "popcount":
            return const(values[0].bit_count(), width)
        if op == "carry":
            return const(int(sum(values) >> bits), width)
        if op == "scarry":
            return const(int(not -sign <= signed(values[0]) + signed(values[1]) < sign), width)
        if op == "sborrow":
            return const(int(not -sign <= signed(values[0]) - signed(values[1]) < sign), width)
    return _make(op, width, args)


def ite(condition: Term, a: Term, b: Term) -> Term:
    if condition.op == "const":
        return a if condition.aux else b
    return a if a is b else _make("ite", a.width, (condition, a, b))


def leaves(t: Term) -> Iterator[Term]:
    """All variables in a term."""
    seen: set[int] = set()
    todo = [t]
    while todo:
        current = todo.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        if current.op == "var":
            yield current
        todo.extend(current.args)


def evaluate(t: Term, values: dict[str, int]) -> int:
    """The number that a term is when its variables have the values given; missing ones are 0."""
    done: dict[Term, int] = {}
    def go(x: Term) -> int:
        if x not in done:
            done[x] = _evaluate(x, [go(a) for a in x.args], values) & ((1 << x.width) - 1)
        return done[x]
    return go(t)


def _evaluate(t: Term, a: list[int], values: dict[str, int]) -> int:
    if t.op == "const":
        return int(t.aux)
    if t.op == "var":
        return int(values.get(t.aux, 0))
    if t.op == "sum":
        return int(t.aux[0] + sum(x * f for x, f in zip(a, t.aux[1], strict=True)))
    folded = [const(x, arg.width) for x, arg in zip(a, t.args, strict=True)]
    table = {"mul": mul, "and": band, "or": bor, "xor": bxor, "concat": concat, "eq": eq, "ite": ite, "inv": inv}
    if t.op in table:
        result: Term = table[t.op](*folded)     # type: ignore[operator]
    elif t.op in ("shl", "shr", "sar"):
        result = shift(t.op, folded[0], folded[1])
    elif t.op in ("ult", "ule", "slt", "sle"):
        result = less(t.op, folded[0], folded[1])
    elif t.op == "extract":
        return a[0] >> int(t.aux)
    elif t.op == "sext":
        result = resize(folded[0], t.width, True)
    else:
        result = opaque(t.op, t.width, *folded)
    assert result.value is not None
    return result.value


def to_solver(t: Term) -> Any:
    """The z3 bit-vector of a term (booleans are one bit wide)."""
    import z3
    if t.solver is None:
        t.solver = _solve(z3, t, [to_solver(a) for a in t.args])
    return t.solver


_numbers: dict[Term, int] = {}


def _number(t: Term) -> int:
    """A number for a term that is kept as it is: the same in every run of the same proof."""
    return _numbers.setdefault(t, len(_numbers))


def _solve(z3: Any, t: Term, a: list[Any]) -> Any:
    def bit(condition: Any) -> Any:
        return z3.If(condition, z3.BitVecVal(1, 1), z3.BitVecVal(0, 1))
    if t.op == "const":
        return z3.BitVecVal(t.aux, t.width)
    if t.op == "var":
        return z3.BitVec(t.aux, t.width)
    if t.op == "sum":
        total = z3.BitVecVal(t.aux[0], t.width)
        for term, factor in zip(a, t.aux[1], strict=True):
            total = total + (term if factor == 1 else term * factor)
        return total
    if t.op in ("carry", "scarry", "sborrow"):
        wide = [(z3.ZeroExt if t.op == "carry" else z3.SignExt)(1, x) for x in a]
        n = a[0].size()
        total = wide[0] - wide[1] if t.op == "sborrow" else wide[0] + wide[1]
        flag = z3.Extract(n, n, total) if t.op == "carry" else z3.Extract(n, n, total) ^ z3.Extract(n - 1, n - 1, total)
        return z3.ZeroExt(t.width - 1, flag) if t.width > 1 else flag
    if t.op == "popcount":
        bits = [z3.ZeroExt(t.width - 1, z3.Extract(i, i, a[0])) if t.width > 1 else z3.Extract(i, i, a[0]) for i in range(a[0].size())]
        total = bits[0]
        for one in bits[1:]:
            total = total + one
        return total
    table = {
        "mul": lambda: a[0] * a[1], "and": lambda: a[0] & a[1], "or": lambda: a[0] | a[1], "xor": lambda: a[0] ^ a[1], "inv": lambda: ~a[0],
        "shl": lambda: a[0] << a[1], "shr": lambda: z3.LShR(a[0], a[1]), "sar": lambda: a[0] >> a[1],
        "extract": lambda: z3.Extract(t.aux + t.width - 1, t.aux, a[0]), "concat": lambda: z3.Concat(a[0], a[1]),
        "sext": lambda: z3.SignExt(t.width - t.args[0].width, a[0]), "eq": lambda: bit(a[0] == a[1]),
        "ult": lambda: bit(z3.ULT(a[0], a[1])), "ule": lambda: bit(z3.ULE(a[0], a[1])), "slt": lambda: bit(a[0] < a[1]), "sle": lambda: bit(a[0] <= a[1]),
        "ite": lambda: z3.If(a[0] == 1, a[1], a[2]),
    }
    if t.op in table:
        return table[t.op]()
    return z3.BitVec(f"opaque!{_number(t)}", t.width)


def show(t: Term, depth: int = 4) -> str:
    """A short text for reports."""
    if t.op == "const":
        return hex(t.aux)
    if t.op == "var":
        return str(t.aux)
    if depth == 0:
        return "…"
    inner = [show(a, depth - 1) for a in t.args]
    if t.op == "sum":
        number, factors = t.aux
        signed = number - (1 << t.width) if number >> (t.width - 1) else number
        text = " + ".join(x if f == 1 else f"{f:#x}*{x}" for x, f in zip(inner, factors, strict=True))
        return text + (f" {'-' if signed < 0 else '+'} {abs(signed):#x}" if signed else "")
    if t.op == "extract":
        return f"{inner[0]}[{t.aux + t.width - 1}:{t.aux}]"
    return f"{t.op}({', '.join(inner)})"
