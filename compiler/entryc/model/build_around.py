"""What a spec says of the code around its paths: regions, special boundaries, called assembly, assumptions."""

from __future__ import annotations

from collections.abc import Callable

from .context import Context
from .expr import SlotRef, show, walk
from .names import Node, first, int_of, text_of, tokens, trees
from .surroundings import ANY, ANYWHERE, KEPT, Assume, Boundary, Op, Region, StateNeed

Facts = Callable[..., tuple[StateNeed, ...]]


class Around:
    """Builds these items; `facts` reads rows of `subject = value`."""

    def __init__(self, context: Context, facts: Facts) -> None:
        self.context, self.spec, self.facts = context, context.spec, facts

    def region(self, node: Node) -> None:
        """region kernel needs table = kernel loads buffers = dirty."""
        name, span = str(tokens(node, "NAME")[0]), self.context.span(node)
        self.context.declare(self.spec.regions, name, span, "region")
        loads = first(node, "loads")
        after = self.facts(loads)[0] if loads is not None else None
        if after is not None and after.subject in self.spec.states and not self.spec.states[after.subject].ghost:
            self.context.error("E226", f"a load cannot change state '{after.subject}': its values are facts about registers", span)
        self.spec.regions[name] = Region(name, self.facts(node), after, span)

    def boundary(self, node: Node) -> None:
        """boundary NAME of kernel on 13 when ip == &x { arrive …; leave …; stack in R }."""
        name, span = str(tokens(node, "NAME")[0]), self.context.span(node)
        self.context.declare(self.spec.boundaries, name, span, "boundary")
        numbers, condition = first(node, "on_numbers"), None
        for child in node.children:
            if child is not None and child not in tokens(node) and child.data not in (
                    "on_numbers", "decided", "guard", "guard_not", "boundary_row", "boundary_stack"):
                condition = self.context.expr(child)
        if condition is None and name != ANYWHERE:
            self.context.error("E226", f"boundary '{name}' does not say when it applies", span, "for example: when ip == &SYMBOL")
        arrive: tuple[StateNeed, ...] = ()
        leave: tuple[StateNeed, ...] = ()
        region = None
        for row in trees(node, "boundary_row", "boundary_stack"):
            if row.data == "boundary_stack":
                region = str(tokens(row, "NAME")[0])
                self.context.known(self.spec.regions, region, self.context.span(row), "region")
            elif str(tokens(row, "ARRIVAL")[0]) == "arrive":
                arrive += self.facts(row, (ANY,))
            else:
                leave += self.facts(row, (KEPT,))
        self.spec.boundaries[name] = Boundary(
            name, str(tokens(node, "BOUND")[0]), frozenset(int_of(t) for t in tokens(numbers, "INT")) if numbers is not None else frozenset(),
            condition, arrive, leave, region, self.context.guard(node), span,
            str(tokens(decided, "NAME")[0]) if (decided := first(node, "decided")) is not None else "fixup")

    def op(self, node: Node) -> None:
        """op NAME by SYMBOL { needs …; clobbers …; sets …; writes …; returns }."""
        name, symbol = (str(t) for t in tokens(node, "NAME"))
        span = self.context.span(node)
        self.context.declare(self.spec.ops, name, span, "op")
        clobbers = tuple(str(t) for row in trees(node, "op_clobbers") for t in tokens(row, "NAME"))
        for register in clobbers:
            self.context.known(self.spec.arch.registers, register, span, "register")
        writes = tuple(self.context.expr(n) for row in trees(node, "op_writes") for n in trees(row, "name"))
        for place in writes:
            if not isinstance(place, SlotRef):
                self.context.error("E226", "an op writes slots of a frame", span, "for example: writes regs.ip")
        kinds = ("guard", "guard_not", "op_needs", "op_clobbers", "op_sets", "op_writes", "op_returns", "op_promises")
        when = next((self.context.expr(c) for c in node.children if c is not None and c not in tokens(node) and c.data not in kinds), None)
        sets = tuple(f for row in trees(node, "op_sets") for f in self.facts(row))
        for fact in sets:
            if fact.subject in self.spec.states and not self.spec.states[fact.subject].ghost:
                self.context.error("E226", f"an op cannot set state '{fact.subject}': its values are facts about registers", fact.span)
        promises = tuple((self.context.expr(row.children[0]), text_of(row.children[1])) for row in trees(node, "op_promises"))
        for promise, _ in promises:
            for part in walk(promise):
                if isinstance(part, SlotRef) and part not in writes:
                    self.context.error("E226", f"op '{name}' does not write {show(part)}: it cannot promise anything of it", part.span)
        self.spec.ops[name] = Op(name, symbol, tuple(f for row in trees(node, "op_needs") for f in self.facts(row)), clobbers, sets, writes,
                                 bool(trees(node, "op_returns")), promises, when, self.context.guard(node), span)

    def landing(self, node: Node) -> None:
        """landing FORM: every entry point starts with it."""
        form, span = str(tokens(node, "NAME")[0]), self.context.span(node)
        if self.context.known(self.spec.arch.forms, form, span, "instruction form"):
            self.spec.landing = (form, self.context.guard(node))

    def shadow_stacks(self, node: Node) -> None:
        """shadow_stacks if FEATURE: the CPU keeps return addresses a second time."""
        self.spec.shadow_stacks = (self.context.guard(node), self.context.span(node))

    def assume(self, node: Node) -> None:
        """assume CONDITION "reason"."""
        guard = self.context.guard(node)
        condition = next(c for c in node.children if c is not None and c not in tokens(node) and c.data not in ("guard", "guard_not"))
        self.spec.assumes += (Assume(self.context.expr(condition), text_of(tokens(node, "STRING")[0]), guard, self.context.span(node)),)
