"""The term engine against plain integers: random expressions, built with variables, evaluated, and sent to the solver."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from entryc.prove import terms as T
from entryc.prove.pcode import pcode

WIDTHS = (8, 16, 32, 64)
COMPARE = {"INT_EQUAL": lambda x, y: x == y, "INT_NOTEQUAL": lambda x, y: x != y, "INT_LESS": lambda x, y: x < y, "INT_LESSEQUAL": lambda x, y: x <= y}
PLAIN = {"INT_ADD": lambda x, y: x + y, "INT_SUB": lambda x, y: x - y, "INT_MULT": lambda x, y: x * y, "INT_AND": lambda x, y: x & y,
         "INT_OR": lambda x, y: x | y, "INT_XOR": lambda x, y: x ^ y}
SIGNED = {"INT_SLESS": lambda x, y, n: x < y, "INT_SLESSEQUAL": lambda x, y, n: x <= y,
          "INT_SCARRY": lambda x, y, n: not -(1 << n - 1) <= x + y < 1 << n - 1, "INT_SBORROW": lambda x, y, n: not -(1 << n - 1) <= x - y < 1 << n - 1}


def signed(value: int, width: int) -> int:
    return value - (1 << width) if value >> (width - 1) else value


def operation(rng: random.Random, x: tuple[T.Term, int], y: tuple[T.Term, int], z: tuple[T.Term, int]) -> tuple[str, list[T.Term], int, int]:
    """A random operation on x and y (the same width) or z (any width): name, inputs, width and value of the result."""
    (a, i), (b, j), width = x, y, x[0].width
    name = rng.choice([*COMPARE, *PLAIN, *SIGNED, "INT_ZEXT", "INT_SEXT", "SUBPIECE", "PIECE", "INT_NEGATE", "INT_2COMP", "INT_LEFT", "INT_RIGHT",
                       "INT_SRIGHT", "POPCOUNT", "INT_CARRY"])
    if name in COMPARE:
        return name, [a, b], 8, int(COMPARE[name](i, j))
    if name in PLAIN:
        return name, [a, b], width, PLAIN[name](i, j)
    if name in SIGNED:
        return name, [a, b], 8, int(SIGNED[name](signed(i, width), signed(j, width), width))
    if name in ("INT_ZEXT", "INT_SEXT"):
        return name, [a], rng.choice([w for w in WIDTHS if w >= width]), i if name == "INT_ZEXT" else signed(i, width)
    if name == "SUBPIECE":
        out = rng.choice([w for w in WIDTHS if w <= width])
        skip = rng.randrange((width - out) // 8 + 1)
        return name, [a, T.const(skip, 32)], out, i >> (8 * skip)
    if name == "PIECE" and width < 64:
        return name, [a, b], 2 * width, i << width | j
    if name in ("INT_LEFT", "INT_RIGHT", "INT_SRIGHT"):
        by, n = z
        value = {"INT_LEFT": i << min(n, 64), "INT_RIGHT": i >> min(n, 64), "INT_SRIGHT": signed(i, width) >> min(n, 64)}[name]
        return name, [a, by], width, value
    if name == "POPCOUNT":
        return name, [a], 8, i.bit_count()
    if name == "INT_CARRY":
        return name, [a, b], 8, int(i + j >> width != 0)
    return "INT_NEGATE", [a], width, ~i


@pytest.mark.parametrize("seed", range(4))
def test_terms_are_integers(seed: int) -> None:
    import z3
    rng = random.Random(seed)
    for _ in range(400):
        values: dict[str, int] = {}
        pool: list[tuple[T.Term, int]] = []
        for index in range(6):
            width = rng.choice(WIDTHS)
            value = rng.choice([0, 1, (1 << width) - 1, 1 << (width - 1), rng.getrandbits(width)])
            name = f"v{index}.{width}"
            values[name] = value
            pool.append((T.var(name, width), value) if rng.random() < 0.7 else (T.const(value, width), value))
        for _ in range(18):
            x = rng.choice(pool)
            width = x[0].width
            number = rng.choice([0, 1, 7, 8, width - 1, (1 << width) - 1, rng.getrandbits(width)]) & ((1 << width) - 1)
            y = rng.choice([p for p in pool if p[0].width == width]) if rng.random() < 0.6 else (T.const(number, width), number)
            name, inputs, out, value = operation(rng, x, y, rng.choice([y, rng.choice(pool)]))
            term = pcode(name, inputs, out)
            value &= (1 << out) - 1
            assert term.width == out
            assert T.evaluate(term, values) == value, (name, inputs)
            pool.append((term, value))
        bindings = [(z3.BitVec(name, int(name.partition(".")[2])), z3.BitVecVal(v, int(name.partition(".")[2]))) for name, v in values.items()]
        assert z3.simplify(z3.substitute(T.to_solver(pool[-1][0]), *bindings)).as_long() == pool[-1][1]


def test_order_of_operands_is_not_an_address() -> None:
    """Memory that was freed is taken again in any order: operands stand in the order in which they were made, so that a solver gives the same example."""
    filler = [T.Term() for _ in range(400)]
    random.Random(7).shuffle(filler)
    while filler:
        filler.pop()
    new = [T.var(f"order{i}") for i in range(200)]
    assert [id(t) for t in new] != sorted(id(t) for t in new), "the test wants addresses out of order"
    for a, b in pairwise(new):
        assert T.add(b, a).args == (a, b) and T.bxor(b, a).args == (a, b)
