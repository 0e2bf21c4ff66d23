"""A closer look at rows whose weight depends on what they mean: clauses of return methods, masks of flags, offsets that all move alike.

Clauses are compared by a solver: does the method now take frames that it refused, and may its instruction then meet what the CPU demands of it?
"""

from __future__ import annotations

from dataclasses import replace

from ..model.expr import Binary, Cast, Expr, HookCall, Num, Reg, SlotRef, Unary, show
from ..model.spec import Clause, Method, Spec
from ..prove import terms as T
from ..prove.pcode import binary, unary
from ..prove.solver import Solver
from ..prove.terms import Term
from .compare import Row
from .rules import CATEGORIES, LEVELS

CODE_ONLY = (CATEGORIES[4], LEVELS[2])


def look_closer(rows: list[Row], old: Spec, new: Spec) -> list[Row]:
    """The rows, with notes and with the weight that their meaning gives them."""
    out: list[Row] = []
    solver = Solver()
    for row in rows:
        if row.rule.code == "D111" and row.kind != "moved":
            row = _clause(row, old, new, solver)
        elif row.rule.code == "D007" and row.kind == "changed":
            row = _bits(row, old, new)
        elif row.rule.code == "D121" and old.target != "bare" and new.target != "bare":
            row = replace(row, weight=(row.category, LEVELS[2]))       # descriptions: the kernel has them already
        out.append(row)
    return _together(out)


# ---- clauses ----

def term(expr: Expr) -> Term:
    """An expression over slots of a frame. What is not one of them has any value, the same on both sides."""
    if isinstance(expr, Num):
        return T.const(expr.value & (1 << 64) - 1)
    if isinstance(expr, SlotRef):
        return T.var(f"{expr.frame}.{expr.slot}")
    if isinstance(expr, Unary):
        return unary(expr.op, term(expr.a))
    if isinstance(expr, Binary):
        return binary(expr.op, term(expr.a), term(expr.b))
    if isinstance(expr, Cast):
        return T.resize(T.extract(term(expr.a), 0, expr.bits), 64, expr.signed)
    if isinstance(expr, HookCall):
        return T.opaque(expr.name, 1, *(term(a) for a in expr.arguments))
    return T.var(show(expr))


def _taken(method: Method) -> list[Term]:
    return [_boolean(term(c.condition)) for c in method.clauses]


def _boolean(t: Term) -> Term:
    return t if t.width == 1 else T.not_(T.eq(t, T.const(0, t.width)))


def _clause(row: Row, old: Spec, new: Spec, solver: Solver) -> Row:
    """Weaker, stricter, or the same in other words."""
    before, after = row.owner
    if not isinstance(before, Method) or not isinstance(after, Method):
        return row
    mine, theirs = _taken(before), _taken(after)
    weaker, stricter = _beyond(solver, theirs, mine), _beyond(solver, mine, theirs)
    notes: list[str] = []
    if weaker is None and stricter is None:
        return replace(row, notes=("the method is taken for the same frames as before",), weight=CODE_ONLY)
    kind = row.kind
    if row.kind == "changed":
        kind = "weakened" if stricter is None else "strengthened" if weaker is None else "changed"
    elif _implied(solver, theirs, row.pair[0]) if row.kind == "removed" else _implied(solver, mine, row.pair[1]):
        return replace(row, notes=("the other clauses demand it too",), weight=CODE_ONLY)
    if weaker is not None and row.kind != "added":
        notes.append(f"{after.name} is now taken for a frame with {_frame(weaker)}")
    if stricter is not None and row.kind != "removed":
        notes.append(f"{after.name} is no longer taken for a frame with {_frame(stricter)}")
    was, now = _demands(old, before, mine, solver), _demands(new, after, theirs, solver)
    notes += [f"{name} may then break what the CPU demands: {reason}" for name, reason in sorted(now - was)]
    notes += [f"{name} could break what the CPU demands: {reason}" for name, reason in sorted(was - now)]
    return replace(row, kind=kind, notes=tuple(notes))


def _implied(solver: Solver, others: list[Term], clause: object) -> bool:
    return isinstance(clause, Clause) and solver.check([*others, T.not_(_boolean(term(clause.condition)))]) == "unsat"


def _beyond(solver: Solver, wide: list[Term], narrow: list[Term]) -> dict[str, int] | None:
    """A frame that `wide` takes and `narrow` refuses."""
    refused = T.FALSE
    for t in narrow:
        refused = T.bor(refused, T.not_(t))
    key = [*wide, refused]
    if solver.check(key) != "sat":
        return None
    return solver.models.get(tuple(c for c in key if c is not T.TRUE), {})


def _frame(model: dict[str, int]) -> str:
    return ", ".join(f"{name} = {value:#x}" for name, value in sorted(model.items()) if "." in name) or "any content"


def _demands(spec: Spec, method: Method, clauses: list[Term], solver: Solver) -> set[tuple[str, str]]:
    """What the method's return demands of registers and its clauses do not ensure."""
    path = spec.paths.get(method.exit)
    row, frame = (spec.return_of(path), spec.frame_of(path)) if path is not None else (None, None)
    if row is None or frame is None:
        return set()
    homes = {s.home: T.var(f"{frame.name}.{s.name}") for s in frame.slots.values() if s.home is not None}

    def at_return(expr: Expr) -> Term:
        if isinstance(expr, Reg):
            return homes.get(expr.name, T.var(expr.name))
        if isinstance(expr, Binary):
            return binary(expr.op, at_return(expr.a), at_return(expr.b))
        if isinstance(expr, Unary):
            return unary(expr.op, at_return(expr.a))
        return term(expr)

    return {(row.name, reason) for condition, reason in row.requires if solver.check([*clauses, T.not_(_boolean(at_return(condition)))]) == "sat"}


# ---- bits, offsets ----

def _bits(row: Row, old: Spec, new: Spec) -> Row:
    """A set-up value that is made of flags: which ones."""
    name = row.what.split()[-1]
    before, after = old.setup[name][0], new.setup[name][0]
    flags = {mask: flag for flag, mask in old.arch.flag_names.items()}
    known = sum(flags)
    if before & ~known or after & ~known or bin(before | after).count("1") < 3:
        return row

    def words(bits: int) -> str:
        return " ".join(n for m, n in flags.items() if m & bits and m & bits == m)
    notes = [f"{what}: {words(bits)}" for what, bits in (("no longer in the mask", before & ~after), ("new in the mask", after & ~before)) if bits]
    return replace(row, notes=tuple(notes))


def _together(rows: list[Row]) -> list[Row]:
    """Slots and members that all move by the same distance, one after another, are one row."""
    out: list[Row] = []
    run: list[tuple[str, str]] = []
    for row in rows:
        about, _, part = row.what.rpartition(": ")
        if part != "offset" or not about.startswith(("slot ", "member ")):
            out.append(row)
            continue
        delta = int(row.new, 0) - int(row.old, 0)
        name = about.split()[-1]
        last = out[-1] if out else None
        if run and last is not None and run[-1] == (str(row.places), f"{delta:+#x}") and last.rule is row.rule and last.what.endswith(": offset"):
            names = last.what.split(": ")[0].split(" ", 1)[1]
            old, new = (text.removesuffix(" …") + " …" for text in (last.old, last.new))
            out[-1] = replace(last, what=f"{about.split()[0]}s {names} {name}: offset", old=old, new=new, notes=(f"each by {delta:+#x}",))
            continue
        run.append((str(row.places), f"{delta:+#x}"))
        out.append(row)
    return out
