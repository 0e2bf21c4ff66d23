"""What the spec says that a C handler does, as a graph: read off the model alone, so that a wrong text of the handler is found in its code.

A node is one thing that happens: a call, a choice of a way, a value that gets a name or a slot. Loops are edges that go back. The prover moves along the graph
while it runs the compiled code; whatever the code calls has to be what the graph has next.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..model.expr import Binary, Cast, Expr, FrameRef, HookCall, Local, Num, Reg, SetupRef, SlotRef, Unary, rebuild, walk
from ..model.spec import CallText, Choice, CStep, Frame, Handler, Spec, SyscallTable, Work
from ..source.text import Span
from . import terms as T
from .state import Stuck
from .terms import Term

RESULT, FLAGS = "result of the call", "flags"


@dataclass(frozen=True)
class Node:
    """`next`: the node after it; -1 before it is known."""

    span: Span
    next: int


@dataclass(frozen=True)
class Do(Node):
    """A function of the kernel is called. `names`: any of them; `bind`: the name of its result; `kind`: of claims about it; `work`: it reads flags."""

    names: tuple[str, ...]
    arguments: tuple[Expr, ...]
    kind: str
    bind: str = ""
    work: Work | None = None
    result: str = ""                            # its type, where it is no hook
    table: str = ""                             # the system call table that has it


@dataclass(frozen=True)
class Irqs(Node):
    """Interrupts are let in or kept out."""

    on: bool


@dataclass(frozen=True)
class Let(Node):
    """A name for what a system register holds."""

    name: str
    register: str


@dataclass(frozen=True)
class Put(Node):
    """A slot of the frame gets a value."""

    slot: str
    value: Expr
    kind: str = "frame"


@dataclass(frozen=True)
class Pick(Node):
    """A choice of a way: the first arm whose condition holds, else `next`."""

    arms: tuple[tuple[Expr, int], ...]


@dataclass(frozen=True)
class Number(Node):
    """A system call by number: `rows` leads to its call; `next` is the way of a number that is none."""

    table: SyscallTable
    rows: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class End(Node):
    """The handler returns."""

    choice: Choice | None


class Steps:
    """The graph of one handler."""

    def __init__(self, spec: Spec, handler: Handler) -> None:
        self.spec, self.handler, self.frame = spec, handler, spec.frames[handler.frame]
        self.nodes: list[Node] = []
        self.start = self.steps(handler.steps, self.add(End(handler.span, -1, spec.choices[handler.choice] if handler.choice else None)))

    def add(self, node: Node) -> int:
        self.nodes.append(node)
        return len(self.nodes) - 1

    def steps(self, steps: tuple[CStep, ...], after: int) -> int:
        for step in reversed(steps):
            after = self.step(step, after)
        return after

    def step(self, step: CStep, after: int) -> int:
        """The first node of a step; `after` follows it."""
        spec, span = self.spec, step.span
        if step.verb in ("enter", "leave"):
            bracket = spec.brackets[step.subject]
            for row in reversed(bracket.enter if step.verb == "enter" else bracket.leave):
                after = self.call(row, after)
            return after
        if step.verb == "do" and step.call is not None:
            return self.call(step.call, after)
        if step.verb == "irqs":
            return self.add(Irqs(span, after, step.subject == "on"))
        if step.verb == "let" and isinstance(step.value, Reg):
            return self.add(Let(span, after, step.subject, step.value.name))
        if step.verb == "set" and isinstance(step.place, SlotRef) and step.value is not None:
            return self.add(Put(span, after, step.place.slot, step.value))
        if step.verb == "syscalls":
            return self.syscalls(spec.tables[step.subject], span, after)
        if step.verb == "work":
            return self.work(spec.works[step.subject], after)
        if step.verb == "choose":
            return self.counted(spec.choices[step.subject], span, after)
        if step.verb == "origin" and spec.arch.origin is not None:
            user, kernel = self.steps(step.user, after), self.steps(step.kernel, after)
            return self.add(Pick(span, kernel, ((self.on_frame(spec.arch.origin), user),)))
        if step.verb == "require" and step.value is not None and step.call is not None:
            return self.test(step.value, after, self.call(step.call, after), span)
        if step.verb == "dispatch" and step.value is not None:
            arms, other = [], after
            for ranges, body in step.arms:
                first = self.steps(body, after)
                if not ranges:
                    other = first
                arms += [(_between(step.value, low, high), first) for low, high in ranges]
            return self.add(Pick(span, other, tuple(arms)))
        raise Stuck(f"the prover has no meaning for '{step.verb}'")

    def on_frame(self, expr: Expr) -> Expr:
        """What is said of interrupted registers, said of the slots that keep them."""
        homes = {s.home: s.name for s in self.frame.slots.values() if s.home}
        return rebuild(expr, lambda e: SlotRef(self.frame.name, homes[e.name]) if isinstance(e, Reg) and e.name in homes else e)

    def call(self, row: CallText, after: int, kind: str = "steps", bind: str = "", work: Work | None = None) -> int:
        return self.add(Do(row.span, after, (row.name,), row.arguments, kind, bind, work))

    def syscalls(self, table: SyscallTable, span: Span, after: int) -> int:
        assert isinstance(table.result, SlotRef)
        stored = self.add(Put(span, after, table.result.slot, Local(RESULT), "number"))
        missing = self.add(Put(span, after, table.result.slot, Num(table.missing), "number"))
        rows = tuple((r.number, self.add(Do(r.span, stored, (r.name,), table.args[:r.count], "number", RESULT, result="s64", table=table.name)))
                     for r in table.rows)
        return self.add(Number(span, missing, table, rows))

    def work(self, work: Work, after: int) -> int:
        """Exit work: flags are read with interrupts off; a loop reads them again until none is set."""
        read = self.call(work.read, -1, "work", FLAGS, work)
        last = read if work.repeat else after
        if work.irqs_on:
            last = self.add(Irqs(work.span, last, False))
        for row in reversed(work.rows):
            mask = Num(self.mask(work, row.flags))
            first = self.call(row.call, last, "work")
            if row.clears_first and work.clear is not None:
                first = self.call(CallText(work.clear, (mask,), row.span), first, "work")
            last = self.add(Pick(row.span, last, ((_any(mask), first),)))
        if work.irqs_on:
            last = self.add(Irqs(work.span, last, True))
        if work.repeat:
            every = Num(self.mask(work, tuple(f for row in work.rows for f in row.flags)))
            last = self.add(Pick(work.span, after, ((_any(every), last),)))
        self.nodes[read] = replace(self.nodes[read], next=last)
        return self.add(Irqs(work.span, self.test(work.condition, read, after, work.span) if work.condition is not None else read, False))

    def mask(self, work: Work, flags: tuple[str, ...]) -> int:
        out = 0
        for flag in flags:
            out |= 1 << self.spec.flag_sets[work.flags][flag]
        return out

    def test(self, condition: Expr, yes: int, no: int, span: Span) -> int:
        """A condition with calls of hooks, evaluated from left to right and only as far as needed."""
        if isinstance(condition, Binary) and condition.op in ("and", "or"):
            second = self.test(condition.b, yes, no, span)
            return self.test(condition.a, second, no, span) if condition.op == "and" else self.test(condition.a, yes, second, span)
        if isinstance(condition, Unary) and condition.op == "not":
            return self.test(condition.a, no, yes, span)
        calls = [e for e in walk(condition) if isinstance(e, HookCall)]
        if len(calls) > 1:
            raise Stuck("C may call the hooks of one condition in any order")
        condition = rebuild(condition, lambda e: Local(e.name) if isinstance(e, HookCall) else e)
        pick = self.add(Pick(span, no, ((condition, yes),)))
        for found in calls:
            pick = self.call(CallText(found.name, found.arguments, span), pick, "work", found.name)
        return pick

    def counted(self, choice: Choice, span: Span, after: int) -> int:
        """A choice that is counted begins with a hook that gives the block of the counters."""
        memory = next((m.name for m in self.spec.memories.values() if any(c.choice == choice.name for c in m.counters.values())), None)
        if memory is None:
            return after
        hooks = tuple(h.name for h in self.spec.hooks.values() if h.result == memory and not h.params)
        return self.add(Do(span, after, hooks, (), "steps"))


def _any(mask: Num) -> Expr:
    """Some of the flags read last are set."""
    return Binary("ne", Binary("band", Local(FLAGS), mask), Num(0))


def _between(value: Expr, low: int, high: int) -> Expr:
    if low == high:
        return Binary("eq", value, Num(low))
    return Binary("and", Binary("ge", value, Num(low)), Binary("le", value, Num(high)))


class Values:
    """Terms for the expressions of a handler."""

    def __init__(self, spec: Spec, frame: Frame, address: Term) -> None:
        self.spec, self.frame, self.address = spec, frame, address

    def word(self, expr: Expr, slots: dict[str, Term], local: dict[str, Term]) -> Term:
        """The value in 64 bits."""
        return T.resize(self._value(expr, slots, local), 64)

    def truth(self, expr: Expr, slots: dict[str, Term], local: dict[str, Term]) -> Term:
        """The value as a condition: one bit."""
        found = self._value(expr, slots, local)
        return found if found.width == 1 else T.not_(T.eq(found, T.const(0, found.width)))

    def _value(self, expr: Expr, slots: dict[str, Term], local: dict[str, Term]) -> Term:
        if isinstance(expr, Num):
            return T.const(expr.value)
        if isinstance(expr, SlotRef) and expr.frame == self.frame.name:
            return slots[expr.slot]
        if isinstance(expr, FrameRef) and expr.frame == self.frame.name:
            return self.address
        if isinstance(expr, Local) and expr.name in local:
            return local[expr.name]
        if isinstance(expr, SetupRef):
            return T.const(self.spec.setup[expr.name][0])
        if isinstance(expr, Cast):
            return T.resize(T.extract(self.word(expr.a, slots, local), 0, expr.bits), 64, expr.signed)
        if isinstance(expr, Unary):
            if expr.op == "not":
                return T.not_(self.truth(expr.a, slots, local))
            inner = self.word(expr.a, slots, local)
            return T.inv(inner) if expr.op == "inv" else T.sub(T.const(0), inner)
        if isinstance(expr, Binary):
            return self._binary(expr, slots, local)
        raise Stuck(f"the prover has no meaning for {type(expr).__name__} in C")

    def _binary(self, expr: Binary, slots: dict[str, Term], local: dict[str, Term]) -> Term:
        if expr.op in ("and", "or"):
            both = [self.truth(e, slots, local) for e in (expr.a, expr.b)]
            return T.band(*both) if expr.op == "and" else T.bor(*both)
        a, b = self.word(expr.a, slots, local), self.word(expr.b, slots, local)
        if expr.op in ("eq", "ne"):
            return T.eq(a, b) if expr.op == "eq" else T.not_(T.eq(a, b))
        if expr.op in ("lt", "le", "gt", "ge"):
            return T.less("ult" if expr.op in ("lt", "gt") else "ule", *((a, b) if expr.op in ("lt", "le") else (b, a)))
        if expr.op in ("shl", "shr"):
            return T.shift(expr.op, a, b)
        return {"add": T.add, "sub": T.sub, "band": T.band, "bor": T.bor, "bxor": T.bxor}[expr.op](a, b)
