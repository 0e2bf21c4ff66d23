"""Ops that are written out: straight lines of assignments and instructions that bring a state about, with their declared decisions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..source.text import Span
from .arch import Arch, Assign
from .expr import CellRef, Expr, FoundRef, Indexed, Operand, Reg, constant, is_constant, rebuild
from .surroundings import Guard


@dataclass(frozen=True)
class OpStep:
    """Base of the steps of an op."""

    span: Span
    guard: Guard


@dataclass(frozen=True)
class OpSet(OpStep):
    """place = value. place: an operand of the op, a general or system register, a word of a memory block."""

    place: Expr
    value: Expr


@dataclass(frozen=True)
class OpInsn(OpStep):
    """insn FORM(operands): one instruction of the CPU."""

    form: str
    arguments: tuple[Expr, ...]


@dataclass(frozen=True)
class OpDecide(OpStep):
    """decide KIND when CONDITION { steps }: the steps run only then."""

    kind: str
    condition: Expr
    steps: tuple[OpStep, ...]


@dataclass(frozen=True)
class Inline:
    """op NAME keeping OLD using T { steps }. `keeping`: the operand that remembers what was found; `using`: operands, or registers that it overwrites."""

    name: str
    keeping: str | None
    using: tuple[str, ...]
    steps: tuple[OpStep, ...]
    guard: Guard
    span: Span


def flat(steps: tuple[OpStep, ...]) -> Iterator[OpStep]:
    """All steps, those under a decision included."""
    for step in steps:
        yield step
        if isinstance(step, OpDecide):
            yield from flat(step.steps)


def replaced(expr: Expr, values: dict[str, Expr]) -> Expr:
    """An expression with operands and registers replaced by what they hold."""
    return rebuild(expr, lambda e: values.get(e.name, e) if isinstance(e, (Operand, Reg)) else e)


def assigned(arch: Arch, op: Inline, features: frozenset[str], old: Expr | None = None) -> tuple[list[tuple[Expr, Expr]], Expr | None]:
    """What an op without decisions assigns to system registers and words, over the values before it; and what it keeps.

    `old`: what the kept operand holds, when the op undoes another one.
    """
    values: dict[str, Expr] = {op.keeping: old} if op.keeping is not None and old is not None else {}
    out: list[tuple[Expr, Expr]] = []
    if any(isinstance(s, OpDecide) for s in op.steps if _holds(s.guard, features)):
        return [], None

    def give(place: Expr, value: Expr) -> None:
        if isinstance(place, Operand) or (isinstance(place, Reg) and arch.registers[place.name].kind == "gpr"):
            values[place.name] = value
        elif isinstance(place, (Reg, CellRef)):
            out.append((place, value))

    for step in op.steps:
        if not _holds(step.guard, features):
            continue
        if isinstance(step, OpSet):
            give(step.place, replaced(step.value, values))
        elif isinstance(step, OpInsn):
            form = arch.forms[step.form]
            bound = dict(zip(form.params, step.arguments, strict=True))
            for effect in form.effects:
                if isinstance(effect, Assign):
                    place = bound.get(effect.place.name, effect.place) if isinstance(effect.place, Operand) else effect.place
                    value = replaced(replaced(rebuild(effect.value, lambda e: _numbered(arch, e, values)), bound), values)
                    give(_numbered(arch, place, values), value)
    return out, values.get(op.keeping or "")


def _numbered(arch: Arch, place: Expr, values: dict[str, Expr]) -> Expr:
    """The system register of a number that is known."""
    if not isinstance(place, Indexed):
        return place
    number = replaced(place.number, values)
    if not is_constant(number):
        return place
    return next((Reg(r.name) for r in arch.registers.values() if r.facts.get("indexed") == constant(number)), place)


def as_found(expr: Expr) -> Expr:
    """An expression over the registers that the event found, for use after C."""
    return rebuild(expr, lambda e: FoundRef(e.name) if isinstance(e, Reg) else e)


def _holds(guard: Guard, features: frozenset[str]) -> bool:
    return all((name in features) == wanted for name, wanted in guard)


__all__ = ["Inline", "OpDecide", "OpInsn", "OpSet", "OpStep", "as_found", "assigned", "flat", "replaced"]
