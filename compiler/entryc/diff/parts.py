"""What `table.py` is made of: how objects are told apart and called, and attributes that take more than their value to compare."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from ..model.expr import Expr, show
from ..model.inline import Inline, OpDecide, OpInsn, OpSet
from ..model.spec import CStep, Handler, Path, Slot, Spec, State, Transition
from ..model.steps import Call, Clear, Do, ExitTo, Goto, Jump, Label, Origin, Restore, Save, Set, SetState, Step, SwitchStack, Through, flat_steps
from ..model.surroundings import Guard, Meaning, StateNeed
from ..source.text import Span
from . import spelled
from .tree import LIST, SET, Node, Part, Walker, group, leaf
from .words import Names, plain, when

C_SPACES = {"enter": "bracket", "leave": "bracket", "work": "work", "syscalls": "table"}
C_RULES = {"irqs": "D145", "require": "D144", "dispatch": "D143"}
PATH_RULES = {"entry": "D060", "path": "D070", "exit": "D068", "routine": "D069"}

By = Callable[[Walker, Any, Any, str], Iterable[Node]]


# ---- attributes ----

def pairs(key: str, title: str) -> Part:
    """(slot, expression) rows, told apart by slot."""
    def make(walker: Walker, owner: Any, value: tuple[tuple[str, Expr], ...], rule: str) -> Iterable[Node]:
        yield group([leaf(e, rule, n, f"{title} {n}", walker.names) for n, e in value], rule, key, "", SET)
    return Part("by", by=make)


def state_value(walker: Walker, subject: str, value: str | int | None, rule: str, key: str, title: str = "") -> Node:
    """The value of a state, of a flag place, or a stack."""
    space = "stack" if subject == "stack" else f"value:{walker.names.of('state', subject)}"
    return leaf(value, rule, key, title, walker.names, space if isinstance(value, str) else "")


def value_of_subject(walker: Walker, owner: Any, value: Any, rule: str) -> Iterable[Node]:
    yield state_value(walker, owner.subject, value, rule, "value")


def window_value(walker: Walker, owner: Any, value: Any, rule: str) -> Iterable[Node]:
    yield state_value(walker, owner.subject, value, rule, "value", "where it is")


def after_decision(walker: Walker, owner: Any, value: tuple[tuple[str, str], ...], rule: str) -> Iterable[Node]:
    yield group([state_value(walker, s, v, rule, walker.names.of("state", s), f"after a decision, {s}") for s, v in value], rule, "after", "", SET)


def keeps(walker: Walker, owner: Any, value: dict[str, tuple[str, ...]], rule: str) -> Iterable[Node]:
    rows = [group([leaf(s, rule, walker.names.of("state", s), f"keeps {s}", walker.names, "state") for s in states],
                  rule, walker.names.of("contract", name), f"code {name}", SET) for name, states in value.items() if states]
    yield group(rows, rule, "keeps", "", SET)


def shadow_stacks(walker: Walker, owner: Any, value: Any, rule: str) -> Iterable[Node]:
    yield leaf(None if value is None else value[0], rule, "shadow_stacks", "shadow stacks", walker.names, span=None if value is None else value[1])


def public_name(walker: Walker, owner: Path, value: str, rule: str) -> Iterable[Node]:
    """The symbol of a path; shared paths have none that others know."""
    yield leaf("" if owner.kind == "path" else value, rule, "name", "symbol", walker.names, span=owner.span)


def params(walker: Walker, owner: Any, value: tuple[tuple[str, str], ...], rule: str) -> Iterable[Node]:
    yield leaf(tuple(kind for kind, _ in value), rule, "types", "types of parameters", walker.names, span=owner.span)
    yield leaf(tuple(name for _, name in value), "D190", "names", "names of parameters", walker.names, span=owner.span)


def promises(walker: Walker, owner: Any, value: tuple[tuple[Expr, str], ...], rule: str) -> Iterable[Node]:
    yield group([leaf(e, rule, plain(e, walker.names), f"promise {show(e)}", walker.names) for e, _ in value], rule, "promises", "", SET)
    yield leaf(tuple(sorted(why for _, why in value)), "D191", "reasons", "explanation", walker.names)


def own_irqs(walker: Walker, owner: Any, value: bool | None, rule: str) -> Iterable[Node]:
    """The interrupt state of one row of exit work."""
    yield leaf("as in the rest of the pass" if value is None else "on" if value else "off", rule, "irqs_on", "interrupts", walker.names, span=owner.span)


def arms(walker: Walker, owner: CStep, value: Any, rule: str) -> Iterable[Node]:
    """The arms of a dispatch, told apart by the values that lead to them."""
    rows: list[Node] = []
    for matched, steps in value:
        title = spelled.ranges(matched)
        body = walker.collection(steps, Part(LIST), rule, title, owner.span)
        rows.append(replace(body, title=f"on {title}", shown=f"{title} -> {'; '.join(spelled.c_step(s) for s in steps) or 'nothing'}"))
    yield group(rows, rule, "arms", "", SET)


def paths(walker: Walker, owner: Spec, value: dict[str, Path], rule: str) -> Iterable[Node]:
    """Paths that only stand in others (`through`) are compared where they stand."""
    steps = [s for p in value.values() for s in flat_steps(p.steps)]
    inside = {s.path for s in steps if isinstance(s, Through)} - {s.path for s in steps if isinstance(s, Goto)}
    yield walker.collection({n: p for n, p in value.items() if n not in inside}, Part(SET), rule, "paths", None)


def written_out(spec: Spec, rows: tuple[Step, ...], guard: Guard = frozenset(), depth: int = 0) -> list[Step]:
    """Steps with those of `through` in their place."""
    out: list[Step] = []
    for s in rows:
        if isinstance(s, Through) and s.path in spec.paths and depth < 16:
            out += written_out(spec, spec.paths[s.path].steps, guard | s.guard, depth + 1)
        elif isinstance(s, Origin) and guard:
            user, kernel, *rest = (tuple(written_out(spec, arm, guard, depth)) for arm in (s.user, s.kernel, *(x for _, x in s.others)))
            out.append(replace(s, guard=s.guard | guard, user=user, kernel=kernel, others=tuple((n, x) for (n, _), x in zip(s.others, rest, strict=True))))
        else:
            out.append(replace(s, guard=s.guard | guard) if guard else s)
    return out


def _steps(walker: Walker, rows: tuple[Step, ...], rule: str, key: str, title: str, span: Span | None) -> Node:
    return walker.collection(written_out(walker.names.spec, rows), Part(LIST, title=title), rule, key, span)


def steps(walker: Walker, owner: Path, value: tuple[Step, ...], rule: str) -> Iterable[Node]:
    yield _steps(walker, value, rule, "steps", "", owner.span)


def user_arm(walker: Walker, owner: Origin, value: tuple[Step, ...], rule: str) -> Iterable[Node]:
    yield _steps(walker, value, rule, "user", "from user", owner.span)


def kernel_arm(walker: Walker, owner: Origin, value: tuple[Step, ...], rule: str) -> Iterable[Node]:
    yield _steps(walker, value, rule, "kernel", "from kernel", owner.span)


def step_guard(walker: Walker, owner: Step, value: Guard, rule: str) -> Iterable[Node]:
    yield leaf(walker.names.guard(owner), rule, "guard", "runs when", walker.names, span=owner.span)


def others(walker: Walker, owner: Any, value: Any, rule: str) -> Iterable[Node]:
    """The arms of special boundaries."""
    rows = [_steps(walker, arm, rule, walker.names.of("boundary", boundary), f"from {boundary}", owner.span) for boundary, arm in value]
    yield group(rows, rule, "others", "", SET)


def tests(walker: Walker, owner: Any, value: tuple[tuple[str, tuple[str, ...]], ...], rule: str) -> Iterable[Node]:
    yield group([leaf(u, rule, walker.names.of("boundary", b), f"scratch registers of the test for {b}", walker.names) for b, u in value if u],
                rule, "tests", "", SET)


def c_subject(walker: Walker, owner: CStep, value: str, rule: str) -> Iterable[Node]:
    called = walker.names.local.get(value) if owner.verb == "let" else walker.names.of(C_SPACES.get(owner.verb, ""), value)
    yield replace(leaf(value, rule, "subject", "", walker.names), text=called or value)


def state_values(walker: Walker, owner: State, value: Any, rule: str) -> Iterable[Node]:
    """The values of a state, with their meanings."""
    space = f"value:{walker.names.of('state', owner.name)}"
    rows = [replace(walker.collection(meanings, Part(SET), "D022", walker.names.of(space, name), owner.span), rule=rule, title=f"value {name}")
            for name, meanings in value.items()]
    yield group(rows, rule, "values", "", SET)


def transition_keys(t: Transition, names: Names) -> tuple[str, ...]:
    space = f"value:{names.of('state', names.local.get('state', ''))}"
    ends = f"{names.of(space, t.before)} {names.of(space, t.after)}"
    return f"{ends} {names.of('inline', t.inline or t.form)}", ends


# ---- names that only live inside ----

def handler_locals(handler: Handler) -> dict[str, str]:
    out: dict[str, str] = {}

    def visit(steps: tuple[CStep, ...]) -> None:
        for s in steps:
            if s.verb == "let":
                out.setdefault(s.subject, f"local {len(out) + 1}")
            for inner in (s.user, s.kernel, *(body for _, body in s.arms)):
                visit(inner)
    visit(handler.steps)
    return out


def op_locals(op: Inline) -> dict[str, str]:
    return {name: f"operand {i}" for i, name in enumerate([*([op.keeping] if op.keeping else []), *op.using])}


# ---- keys and titles ----

def named(space: str = "") -> Callable[[Any, Names], tuple[str, ...]]:
    return lambda o, names: (names.of(space, o.name) if space else o.name,)


def titled(kind: str) -> Callable[[Any], str]:
    return lambda o: f"{kind} {o.name}"


def only(o: Any, names: Names) -> tuple[str, ...]:
    return (type(o).__name__,)


def path_keys(p: Path, names: Names) -> tuple[str, ...]:
    """An entry point is the event that it takes, whatever it is called."""
    if p.kind == "entry" and p.event is not None:
        number = "" if p.number is None else p.number
        return f"{p.event.name} {number} {p.origin} {when(p.guard)}", f"{p.event.name} {number} {p.origin}", f"{p.event.name} {number}"
    return (f"{p.kind} {names.of('path', p.name)}",)


def slot_keys(s: Slot, names: Names) -> tuple[str, ...]:
    """A slot is its name; without that, what stands at its place."""
    return s.name, f"{s.offset} {s.home} {s.source}"


def meaning_keys(m: Meaning, names: Names) -> tuple[str, ...]:
    return f"{plain(m.place, names)} {when(m.guard)}", str(m.register)


def need_keys(n: StateNeed, names: Names) -> tuple[str, ...]:
    subject = names.of("state", n.subject)
    return f"{subject} {when(n.guard)}", subject


def _subject(s: Step, names: Names) -> str:
    """What a step is about: two steps with the same subject are one step that changed."""
    match s:
        case SetState():
            return names.of("state", s.subject)
        case Set():
            return plain(s.place, names)
        case Save():
            return ".".join((s.frame, *s.slots))
        case Restore():
            return " ".join(s.slots)
        case Label():
            return s.name
        case Call() | Jump():
            return names.of("handler", s.callee)
        case Do():
            return names.of("op", s.op)
    return ""


def step_keys(s: Step, names: Names) -> tuple[str, ...]:
    kind, about = type(s).__name__, _subject(s, names)
    last = (kind,) if isinstance(s, (Call, SwitchStack, Jump)) else ()
    return f"{kind} {about} {when(names.guard(s))}", f"{kind} {about}", *last


def step_title(s: Step) -> str:
    match s:
        case SetState():
            return s.subject
        case SwitchStack():
            return "stack"
        case Set():
            return show(s.place)
        case Save():
            return ".".join((f"save {s.frame}", *s.slots))
        case Call():
            return f"call {s.callee}"
        case Jump():
            return f"jump {s.callee}"
        case ExitTo():
            return "exit"
        case Clear() | Restore():
            return type(s).__name__.lower()
        case Origin():
            return ""
        case Goto():
            return "goto"
    return spelled.step(s)


def op_step_keys(s: OpSet | OpInsn | OpDecide, names: Names) -> tuple[str, ...]:
    about = plain(s.place, names) if isinstance(s, OpSet) else s.form if isinstance(s, OpInsn) else s.kind
    return f"{type(s).__name__} {about} {when(names.guard(s))}", f"{type(s).__name__} {about}"


def c_keys(s: CStep, names: Names) -> tuple[str, ...]:
    about = s.call.name if s.call is not None else names.local.get(s.subject) or names.of(C_SPACES.get(s.verb, ""), s.subject)
    place = plain(s.place, names) if s.place is not None else ""
    return f"{s.verb} {about} {place} {plain(s.value, names)}", f"{s.verb} {about} {place}", *([s.verb] if s.verb in ("dispatch", "origin", "choose") else [])


def c_title(s: CStep) -> str:
    if s.verb == "origin":
        return ""
    if s.call is not None:
        return f"{s.verb} {s.call.name}" if s.verb == "require" else s.call.name
    return show(s.place) if s.place is not None else spelled.c_step(s)
