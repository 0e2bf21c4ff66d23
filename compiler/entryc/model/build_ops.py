"""Ops that are written out: from their text to steps, every name resolved."""

from __future__ import annotations

from .context import Context
from .expr import Bit, CellRef, Expr, Num, Operand, Reg, show
from .inline import Inline, OpDecide, OpInsn, OpSet, OpStep
from .names import Node, first, tokens, trees
from .surroundings import Guard


class Ops:
    """Builds items `op NAME [keeping OLD] [using T …] { … }`."""

    def __init__(self, context: Context) -> None:
        self.context, self.spec = context, context.spec

    def add(self, node: Node) -> None:
        """One op."""
        name, span = str(tokens(node, "NAME")[0]), self.context.span(node)
        self.context.declare(self.spec.inlines, name, span, "op")
        if name in self.spec.ops:
            self.context.error("E201", f"op '{name}' is declared twice", span)
        kept, using = first(node, "keeping"), first(node, "using")
        keeping = str(tokens(kept, "NAME")[0]) if kept is not None else None
        names = tuple(str(t) for t in tokens(using, "NAME")) if using is not None else ()
        operands = {n for n in (keeping, *names) if n is not None and n not in self.spec.arch.gprs}
        if keeping is not None and keeping in self.spec.arch.registers:
            self.context.error("E226", f"'{keeping}' is a register: what is kept is an operand, the step that uses the op says its register", span,
                               "for example: op NAME keeping old { … }")
        guard = self.context.guard(node)
        self.context.operands = frozenset(operands)
        steps = self._steps(trees(node, "op_body")[0], guard)
        self.context.operands = frozenset()
        self.spec.inlines[name] = Inline(name, keeping, names, steps, guard, span)

    def _steps(self, body: Node, guard: Guard) -> tuple[OpStep, ...]:
        out: list[OpStep] = []
        for node in trees(body):
            span = self.context.span(node)
            inner = self.context.guard(node, guard)
            if node.data == "op_set":
                place, value = self.context.expr(node.children[0]), self.context.expr(node.children[1])
                if not isinstance(place, (Operand, Reg, CellRef)) or isinstance(place, Bit):
                    self.context.error("E226", f"an op cannot assign {show(place)}", span, "it assigns operands, registers and words of memory blocks")
                    continue
                out.append(OpSet(span, inner, place, value))
            elif node.data == "op_insn":
                out += self._insn(node, inner)
            elif node.data == "op_decide":
                condition = next(c for c in node.children if c is not None and c not in tokens(node) and c.data != "op_body")
                kind = str(tokens(node, "NAME")[0])
                if kind in ("origin", "method", "fixup"):
                    self.context.error("E222", f"'{kind}' is the name of another kind of decision", span, "give it a name of its own")
                out.append(OpDecide(span, inner, kind, self.context.expr(condition), self._steps(trees(node, "op_body")[0], guard)))
            else:
                feature = str(tokens(node, "NAME")[0])
                bodies = trees(node, "op_body")
                if self.context.known(self.spec.features, feature, span, "feature"):
                    for wanted, part in zip((True, False), bodies, strict=False):
                        out += self._steps(part, guard | {(feature, wanted)})
        return tuple(out)

    def _insn(self, node: Node, guard: Guard) -> list[OpStep]:
        name, span = str(tokens(node, "NAME")[0]), self.context.span(node)
        if not self.context.known(self.spec.arch.forms, name, span, "instruction form"):
            return []
        form = self.spec.arch.forms[name]
        arguments: tuple[Expr, ...] = tuple(self.context.expr(c) for c in node.children[1:]
                                            if c is not None and getattr(c, "data", "") not in ("guard", "guard_not"))
        if len(arguments) != len(form.params):
            self.context.error("E230", f"'{name}' takes {len(form.params)} operand(s), {len(arguments)} given", span)
            return []
        for argument in arguments:
            if not isinstance(argument, (Reg, Operand, Num)):
                self.context.error("E226", f"{show(argument)} is no operand of an instruction", span, "a register, an operand of the op, or a constant")
                return []
        return [OpInsn(span, guard, name, arguments)]
