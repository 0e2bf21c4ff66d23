"""Instruction selection: a wanted effect is unified with the effects of the CPU's forms, first row that fits."""

from __future__ import annotations

from ..model.arch import Arch, Assign, Control, Effect, Form, Kind, Swap
from ..model.expr import Binary, Bit, Cast, Expr, Mem, Num, Operand, Reg, SymbolAddress, SymbolRef, Unary, constant, evaluate, is_constant, walk
from .code import Value

Bindings = dict[str, Value]
Chosen = tuple[Form, tuple[Value, ...]]


def plus(base: Expr, offset: int) -> Expr:
    return Binary("add", base, Num(offset)) if offset else base


def register_fits(arch: Arch, kinds: tuple[Kind, ...], name: str) -> bool:
    """May the register stand for an operand of these kinds?"""
    kind = arch.registers[name].kind
    wanted = {"gpr": "gpr", "stack": "sp", "system": "system"}.get(kind)
    return any(k.name == wanted for k in kinds)


def _unify(arch: Arch, form: Form, pattern: Expr, wanted: Expr, bound: Bindings) -> bool:
    if isinstance(pattern, Operand):
        kinds = form.params[pattern.name]
        value: Value
        if isinstance(wanted, Reg) and register_fits(arch, kinds, wanted.name):
            value = wanted.name
        elif isinstance(wanted, Num) and any(k.holds(_signed(wanted.value, k, arch)) for k in kinds):
            value = next(_signed(wanted.value, k, arch) for k in kinds if k.holds(_signed(wanted.value, k, arch)))
        else:
            return False
        return bound.setdefault(pattern.name, value) == value
    if isinstance(pattern, SymbolAddress) and isinstance(wanted, SymbolRef):
        return bound.setdefault(pattern.name, wanted.name) == wanted.name
    if isinstance(pattern, Binary) and pattern.op == "shl" and isinstance(pattern.b, Operand) and isinstance(wanted, Num):
        return wanted.value.bit_count() == 1 and _unify(arch, form, pattern.a, Num(1), bound) and \
            _unify(arch, form, pattern.b, Num(wanted.value.bit_length() - 1), bound)
    if is_constant(pattern) and is_constant(wanted):
        return constant(pattern) == constant(wanted)
    if isinstance(pattern, Binary) and pattern.op in ("add", "sub") and isinstance(pattern.b, (Operand, Num)):
        return _sum(arch, form, pattern, wanted, bound)
    if type(pattern) is not type(wanted):
        return False
    if isinstance(pattern, Reg) and isinstance(wanted, Reg):
        return pattern.name == wanted.name
    if isinstance(pattern, Bit) and isinstance(wanted, Bit):
        return pattern.name == wanted.name
    if isinstance(pattern, Num) and isinstance(wanted, Num):
        return pattern.value == wanted.value
    if isinstance(pattern, Mem) and isinstance(wanted, Mem):
        return _unify(arch, form, pattern.address, wanted.address, bound)
    if isinstance(pattern, Cast) and isinstance(wanted, Cast):
        return (pattern.bits, pattern.signed) == (wanted.bits, wanted.signed) and _unify(arch, form, pattern.a, wanted.a, bound)
    if isinstance(pattern, Unary) and isinstance(wanted, Unary):
        return pattern.op == wanted.op and _unify(arch, form, pattern.a, wanted.a, bound)
    if isinstance(pattern, Binary) and isinstance(wanted, Binary):
        return pattern.op == wanted.op and _unify(arch, form, pattern.a, wanted.a, bound) and _unify(arch, form, pattern.b, wanted.b, bound)
    return False


def _signed(value: int, kind: Kind, arch: Arch) -> int:
    """A wanted number as a signed operand would write it."""
    top = 1 << arch.word
    return value - top if kind.signed and value >= top >> 1 else value


def _linear(expr: Expr) -> tuple[Expr, int]:
    """base + constant."""
    if isinstance(expr, Binary) and expr.op in ("add", "sub") and isinstance(expr.b, Num):
        base, offset = _linear(expr.a)
        return base, offset + (expr.b.value if expr.op == "add" else -expr.b.value)
    return expr, 0


def _sum(arch: Arch, form: Form, pattern: Binary, wanted: Expr, bound: Bindings) -> bool:
    """base + o, base + o + 8: the offset operand takes what is left; it may be zero."""
    fixed, operand, sign = 0, None, 1
    expr: Expr = pattern
    while isinstance(expr, Binary) and expr.op in ("add", "sub"):
        step = 1 if expr.op == "add" else -1
        if isinstance(expr.b, Num):
            fixed += step * expr.b.value
        elif isinstance(expr.b, Operand) and operand is None and all(k.name == "imm" for k in form.params[expr.b.name]):
            operand, sign = expr.b, step
        else:
            return False
        expr = expr.a
    wanted_base, offset = _linear(wanted)
    if not _unify(arch, form, expr, wanted_base, bound):
        return False
    rest = (offset - fixed) * sign
    if operand is None:
        return rest == 0
    kinds = form.params[operand.name]
    if not any(k.holds(rest) for k in kinds):
        return False
    return bound.setdefault(operand.name, rest) == rest


def match(arch: Arch, form: Form, wanted: tuple[Effect, ...]) -> tuple[Value, ...] | None:
    """The operands with which the form has exactly the wanted effects."""
    if len(form.effects) != len(wanted):
        return None
    bound: Bindings = {}
    for pattern, effect in zip(form.effects, wanted, strict=True):
        if isinstance(pattern, Assign) and isinstance(effect, Assign):
            if not (_unify(arch, form, pattern.place, effect.place, bound) and _unify(arch, form, pattern.value, effect.value, bound)):
                return None
        elif isinstance(pattern, Swap) and isinstance(effect, Swap):
            if (pattern.a, pattern.b) != (effect.a, effect.b):
                return None
        elif isinstance(pattern, Control) and isinstance(effect, Control):
            if pattern.kind != effect.kind or (pattern.target is None) != (effect.target is None):
                return None
            if pattern.target is not None and effect.target is not None:
                bound[pattern.target] = effect.target
        else:
            return None
    if set(bound) != set(form.params):
        return None
    return tuple(bound[p] for p in form.params)


class _Tables:
    """What was found for one CPU. The CPU is kept too, so that no other object can get its identity."""

    def __init__(self, arch: Arch) -> None:
        self.arch = arch
        self.found: dict[tuple[Effect, ...], Chosen | None] = {}
        self.shapes: dict[tuple[str, ...], list[Form]] = {}
        for form in arch.forms.values():
            if form.effects and "described" not in form.traits:
                self.shapes.setdefault(_shape(form.effects), []).append(form)


_tables: dict[int, _Tables] = {}


def _tables_of(arch: Arch) -> _Tables:
    if id(arch) not in _tables:
        _tables[id(arch)] = _Tables(arch)
    return _tables[id(arch)]


def find(arch: Arch, *wanted: Effect) -> Chosen | None:
    """The first form that does it. Answers are kept: 256 vectors ask the same."""
    tables = _tables_of(arch)
    if wanted not in tables.found:
        tables.found[wanted] = _find(arch, wanted)
    return tables.found[wanted]


def _find(arch: Arch, wanted: tuple[Effect, ...]) -> Chosen | None:
    for form in _tables_of(arch).shapes.get(_shape(wanted), []):
        operands = match(arch, form, wanted)
        if operands is not None:
            return form, operands
    return None


def _shape(effects: tuple[Effect, ...]) -> tuple[str, ...]:
    return tuple(type(e).__name__ for e in effects)


def push(arch: Arch, value: Expr) -> Chosen | None:
    """Push a word on the stack in one instruction."""
    sp = Reg(arch.of_kind("stack"))
    return find(arch, Assign(sp, Binary("sub", sp, Num(arch.word_bytes))), Assign(Mem(sp), value))


def pop(arch: Arch, register: str) -> Chosen | None:
    sp = Reg(arch.of_kind("stack"))
    return find(arch, Assign(Reg(register), Mem(sp)), Assign(sp, Binary("add", sp, Num(arch.word_bytes))))


def pop_whole(arch: Arch, register: str, value: int) -> Chosen | None:
    """The instruction that pops a register, when a popped value arrives there as it is."""
    sp = Reg(arch.of_kind("stack"))
    for form in arch.forms.values():
        if form.params or len(form.effects) != 2 or form.effects[1] != Assign(sp, Binary("add", sp, Num(arch.word_bytes))):
            continue
        first = form.effects[0]
        if isinstance(first, Assign) and first.place == Reg(register) and evaluate(first.value, lambda _: value) == value:
            return form, ()
    return None


def push_whole(arch: Arch, register: str) -> Chosen | None:
    """The instruction that pushes a register, perhaps without some of its bits."""
    sp = Reg(arch.of_kind("stack"))
    for form in arch.forms.values():
        if not form.params and len(form.effects) == 2 and form.effects[0] == Assign(sp, Binary("sub", sp, Num(arch.word_bytes))):
            second = form.effects[1]
            if isinstance(second, Assign) and second.place == Mem(sp) and any(e == Reg(register) for e in walk(second.value)):
                return form, ()
    return None


def can_push(arch: Arch) -> bool:
    """Does the CPU have a push instruction for general registers?"""
    return push(arch, Reg(arch.gprs[0])) is not None


def branch(arch: Arch, condition: Expr, label: str, free: list[str] | None = None) -> list[Chosen] | None:
    """Instructions that go to the label when the condition holds, else fall through. `free`: registers that the test may overwrite."""
    for sequence in arch.sequences:
        holder = Form(sequence.name, dict(sequence.params), "decide", "", {}, (), (), frozenset(), "", sequence.span)
        bound: Bindings = {}
        if not _unify(arch, holder, sequence.condition, condition, bound):
            continue
        targets = [p for p, kinds in sequence.params.items() if any(k.name == "label" for k in kinds)]
        bound.update(dict.fromkeys((t for t in targets if t not in bound), label))
        spare = [p for p in sequence.params if p not in bound]
        if len(spare) > len(free or ()):
            continue
        bound.update(zip(spare, free or (), strict=False))
        out: list[Chosen] = []
        for use in sequence.uses:
            form = arch.forms[use.form]
            out.append((form, tuple(bound[a.name] for a in use.arguments if isinstance(a, Operand))))
        return out
    return None
