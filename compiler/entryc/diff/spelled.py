"""Model objects as the spec language has them, in one line, for readers."""

from __future__ import annotations

from ..model import steps as S
from ..model.expr import Expr, show
from ..model.inline import OpDecide, OpInsn, OpSet
from ..model.spec import Clause, CStep, Path, Transition, WorkRow
from ..model.surroundings import Guard, Meaning, StateNeed
from .words import Names, call, numbers, when


def _tail(using: tuple[str, ...] = (), keeping: str | None = None) -> str:
    return (f" keeping {keeping}" if keeping else "") + (f" using {' '.join(using)}" if using else "")


def condition(guard: Guard) -> str:
    """" if PTI"; nothing for what is always so."""
    return f" if {when(guard)}" if guard else ""


def _shown(arguments: tuple[Expr, ...]) -> str:
    return ", ".join(map(show, arguments))


def _call(s: S.Call) -> str:
    out = f"call {s.callee}({_shown(s.arguments)})" + (f" as {s.contract}" if s.contract != "c" else "")
    if s.move is not None:
        out += f" -> {s.move.frame} on {s.move.stack}" + (f" but {' '.join(s.move.but)}" if s.move.but else "")
        out += f" at {show(s.move.at)}" if s.move.at is not None else ""
    elif s.binds is not None:
        out += f" -> {s.binds}"
    return out + (f" setting {s.setting[0]} = {show(s.setting[1])}" if s.setting is not None else "")


def _save(s: S.Save) -> str:
    masks = dict(s.within)
    values = ", ".join(f"{n} {'takes' if n in s.takes else '='} {show(e)}" + (f" within {show(masks[n])}" if n in masks else "") for n, e in s.values)
    return f"save {'.'.join((s.frame, *s.slots))}" + _tail(s.using) + (f" {{ {values} }}" if values else "")


def _restore(s: S.Restore) -> str:
    return "restore " + (" ".join(s.slots) or "all") + (f" but {' '.join(s.but)}" if s.but else "")


def _exit(s: S.ExitTo) -> str:
    how = "by method among " if s.by_method else "by origin among " if s.by_origin else ""
    return f"exit {how}{', '.join(s.targets)}" + (f" given {show(s.given)}" if s.given is not None else "")


def step(s: S.Step) -> str:
    """A step of a path, without its guard."""
    match s:
        case S.SetState():
            return f"{s.subject} = {s.value}" + (f" by {s.op}" if s.op else "") + _tail(s.using, s.keeping)
        case S.SwitchStack():
            return f"stack = {s.stack}"
        case S.Set():
            return f"{show(s.place)} = {show(s.value)}" + _tail(s.using)
        case S.Save():
            return _save(s)
        case S.Clear():
            return "clear " + (" ".join(s.registers) or "all" + (f" but {' '.join(s.but)}" if s.but else ""))
        case S.Restore():
            return _restore(s)
        case S.Label():
            return f"label {'is ' * s.own}{s.name}"
        case S.Call():
            return _call(s)
        case S.Jump():
            return f"jump {s.callee}({_shown(s.arguments)})" + (f" as {s.contract}" if s.contract != "c" else "")
        case S.Goto():
            return f"goto {s.path}"
        case S.ExitTo():
            return _exit(s)
        case S.Origin():
            return "from " + " / ".join(["user"] * bool(s.user) + ["kernel"] * bool(s.kernel) + [n for n, _ in s.others])
        case S.Do():
            return f"do {s.op}"
        case S.Through():
            return f"through {s.path}"
        case S.Assert():
            return f"assert {show(s.condition)}"
        case S.Room():
            return f"room {s.size}"
        case S.Drop():
            return "drop " + s.frame + (f".{s.slot}" if s.slot else "")
        case S.Reframe():
            return f"reframe {s.frame}"
        case S.Adopt():
            return f"adopt {s.frame} at {show(s.at)}"
        case S.ReturnStep():
            return f"return {s.name}"
    return type(s).__name__


def guarded(s: S.Step, names: Names) -> str:
    """A step with what its path does not demand anyway."""
    return step(s) + condition(names.guard(s))


def op_step(s: OpSet | OpInsn | OpDecide) -> str:
    """A step of an op."""
    if isinstance(s, OpSet):
        return f"{show(s.place)} = {show(s.value)}" + condition(s.guard)
    if isinstance(s, OpInsn):
        return f"insn {s.form}" + (f"({_shown(s.arguments)})" if s.arguments else "") + condition(s.guard)
    return f"decide {s.kind} when {show(s.condition)}" + condition(s.guard)


def need(n: StateNeed) -> str:
    return f"{n.subject} = {n.value}" + (f" but {' '.join(n.but)}" if n.but else "") + condition(n.guard)


def meaning(m: Meaning) -> str:
    return f"{show(m.place)} == {show(m.value)}" + condition(m.guard)


def transition(t: Transition) -> str:
    return f"{t.before} -> {t.after} by {t.inline or t.form}" + (f" of {show(t.operand)}" if t.operand is not None else "")


def clause(c: Clause) -> str:
    return f"when {show(c.condition)} refusing {c.name}"


def work_row(r: WorkRow) -> str:
    tail = " clears first" * r.clears_first + " alone" * r.alone
    return f"{' | '.join(r.flags)} -> {call(r.call)}{tail}" + ("" if r.irqs_on is None else f" irqs {'on' if r.irqs_on else 'off'}")


def ranges(rows: tuple[tuple[int, int], ...]) -> str:
    """The values that lead to an arm of a dispatch."""
    return numbers(v for low, high in rows for v in range(low, min(high, low + 4096) + 1)) or "else"


def c_step(s: CStep) -> str:
    """A step of a C handler."""
    match s.verb:
        case "do":
            return f"do {call(s.call)}"
        case "let":
            return f"let {s.subject} = {show(s.value)}" if s.value is not None else s.verb
        case "set":
            return f"{show(s.place)} = {show(s.value)}" if s.place is not None and s.value is not None else s.verb
        case "require":
            return f"require {show(s.value) if s.value is not None else ''} else {call(s.call)}"
        case "dispatch":
            return f"dispatch {show(s.value) if s.value is not None else ''}"
        case "origin":
            return "from user / kernel"
    return f"{s.verb} {s.subject}"


def path(p: Path) -> str:
    """How rows call a path."""
    if p.kind == "entry" and p.number is not None:
        return f"vector {p.number}"
    return f"{p.kind} {p.name}"
