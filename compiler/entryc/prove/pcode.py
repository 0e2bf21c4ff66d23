"""The values of the lifter's operations and of the expression language, as terms."""

from __future__ import annotations

from ..image.lift import Instruction, Place
from . import terms as T
from .state import Stuck
from .terms import Term


def pcode(name: str, a: list[Term], width: int) -> Term:
    """The value of a p-code operation."""
    if name in ("COPY", "INT_ZEXT"):
        return T.resize(a[0], width)
    if name == "INT_SEXT":
        return T.resize(a[0], width, True)
    if name == "SUBPIECE":
        return T.extract(a[0], a[1].aux * 8, min(width, a[0].width - a[1].aux * 8))
    if name == "PIECE":
        return T.concat(a[0], a[1])
    simple = {"INT_ADD": T.add, "INT_SUB": T.sub, "INT_MULT": T.mul, "INT_AND": T.band, "INT_OR": T.bor, "INT_XOR": T.bxor}
    if name in simple:
        return simple[name](a[0], a[1])
    if name == "INT_NEGATE":
        return T.inv(a[0])
    if name == "INT_2COMP":
        return T.sub(T.const(0, width), a[0])
    shifts = {"INT_LEFT": "shl", "INT_RIGHT": "shr", "INT_SRIGHT": "sar"}
    if name in shifts:
        return T.shift(shifts[name], a[0], a[1])
    if name in ("INT_EQUAL", "INT_NOTEQUAL"):
        same = T.eq(a[0], a[1])
        return T.resize(same if name == "INT_EQUAL" else T.not_(same), width)
    compares = {"INT_LESS": "ult", "INT_LESSEQUAL": "ule", "INT_SLESS": "slt", "INT_SLESSEQUAL": "sle"}
    if name in compares:
        return T.resize(T.less(compares[name], a[0], a[1]), width)
    if name in ("BOOL_AND", "BOOL_OR", "BOOL_XOR"):
        return {"BOOL_AND": T.band, "BOOL_OR": T.bor, "BOOL_XOR": T.bxor}[name](a[0], a[1])
    if name == "BOOL_NEGATE":
        return T.bxor(a[0], T.const(1, a[0].width))
    kept = {"POPCOUNT": "popcount", "INT_CARRY": "carry", "INT_SCARRY": "scarry", "INT_SBORROW": "sborrow"}
    if name in kept:
        return T.opaque(kept[name], width, *a)
    raise Stuck(f"the p-code operation {name} is not modelled")


def unary(op: str, a: Term) -> Term:
    if op == "neg":
        return T.sub(T.const(0), a)
    return T.inv(a) if op == "inv" else T.not_(a)


def binary(op: str, a: Term, b: Term) -> Term:
    """An operation of the expression language."""
    if op in ("and", "or"):
        return T.band(a, b) if op == "and" else T.bor(a, b)
    if op in ("eq", "ne"):
        return T.eq(a, b) if op == "eq" else T.not_(T.eq(a, b))
    if op in ("lt", "le", "gt", "ge"):
        x, y = (a, b) if op in ("lt", "le") else (b, a)
        return T.less("ult" if op in ("lt", "gt") else "ule", x, y)
    if op in ("shl", "shr"):
        return T.shift(op, a, b)
    return {"add": T.add, "sub": T.sub, "band": T.band, "bor": T.bor, "bxor": T.bxor}[op](a, b)


EFFECTS = frozenset(["CALL", "CALLIND", "BRANCHIND", "RETURN", "CALLOTHER", "LOAD", "STORE"])


def pure(instruction: Instruction) -> bool:
    """An instruction that only computes in registers or picks the way on: no memory, no contract, no system register."""
    form = instruction.form
    if form is not None and (form.traits & {"overlay", "event"} or form.role in ("fence", "switch", "return", "stop", "mark")):
        return False
    return instruction.problem is None and not any(op.name in EFFECTS for op in instruction.ops) and (form is not None or instruction.plain)


def address_places(instruction: Instruction) -> set[Place]:
    """The registers that the addresses of an instruction's loads and stores are made with."""
    made: dict[int, set[Place]] = {}
    out: set[Place] = set()
    def sources(place: Place) -> set[Place]:
        return made.get(place.offset, set()) if place.space == "unique" else {place} if place.space == "register" else set()
    for op in instruction.ops:
        if op.name in ("LOAD", "STORE"):
            out |= sources(op.inputs[1])
        if op.output is not None and op.output.space == "unique":
            made[op.output.offset] = set() if op.name == "LOAD" else {p for i in op.inputs for p in sources(i)}
    return out
