"""C of a kernel: how to choose the way back, a test for each clause, in the order of the spec; counted, if the kernel wants it."""

from __future__ import annotations

import textwrap
from collections.abc import Collection

from ..emit.c_text import OPERATORS, comment
from ..model.expr import FLIPPED, Binary, Cast, Expr, HookCall, Num, SlotRef, Unary, constant, is_constant, show
from ..model.spec import Choice, Clause, Frame, Method, Spec
from .dialect import Dialect, Given
from .tree import refused

WIDTH = 80


class KernelC:
    """Writes the functions of one spec."""

    def __init__(self, spec: Spec, dialect: Dialect) -> None:
        self.spec, self.dialect = spec, dialect

    def choice(self, choice: Choice, frame: Frame, counted: bool) -> list[str]:
        """A function that says whether the first of two methods can be taken."""
        method = self.spec.methods[choice.methods[0]]
        texts = self.texts(choice)
        out = self.remark(texts.comment.format(method=method.name.upper(), other=choice.methods[1].upper()), 0)
        given = [f"const {frame.c_name} *{frame.name}", *([self.dialect.parameters[choice.name]] if choice.name in self.dialect.parameters else [])]
        out += [texts.head.format(name=choice.name, parameters=", ".join(given)), "{"]
        for row in self.dialect.unless.get(method.name, ()):
            out += [*self.remark(row["reason"], 1), *self.unless(row["condition"], choice, row["name"], counted), ""]
        answer = self.answer(choice, method)
        for clause in method.clauses[:-1] if answer else method.clauses:
            test = self.dialect.clauses.get(f"{method.name}.{clause.name}") or self.refusing(clause)
            out += [*self.remark(clause.reason, 1), *self.unless(self.unlikely(test), choice, clause.name, counted), ""]
        taken = self.counted(choice, method.name)
        if not answer:
            return self.ended([*out, *([f"\t{taken}"] if counted else []), "\t" + texts.taken], texts)
        last = method.clauses[-1]
        out += self.remark(last.reason, 1)
        if counted:
            out += [f"\tif ({self.unlikely(answer)})", f"\t\t{self.counted(choice, last.name)}", "\telse", f"\t\t{taken}", ""]
        return self.ended([*out, "\t" + texts.answer.format(value=answer)], texts)

    def ended(self, lines: list[str], texts: Given) -> list[str]:
        """With what all refusals go to, if any does."""
        return [*lines, *(texts.end if any(line.strip() == texts.refused for line in lines) else []), "}"]

    def texts(self, choice: Choice) -> Given:
        return self.dialect.given["refusal" if choice.by_refusal else "index"]

    def answer(self, choice: Choice, method: Method) -> str:
        """The value that says by itself whether the last clause refuses, where C may give that; "": there is none."""
        refusing = self.refused_by(method.clauses[-1])
        mask = refusing.b if isinstance(refusing, Binary) and refusing.op == "band" else None
        bits = min(self.spec.result_bits(choice.name), 32)              # of what its function returns
        fits = mask is not None and is_constant(mask) and 0 <= constant(mask) < 1 << bits
        own = f"{method.name}.{method.clauses[-1].name}" in self.dialect.clauses
        return self.text(refusing) if choice.by_refusal and fits and not own else ""

    def call(self, choice: Choice, frame: Frame) -> str:
        """The statement that calls it."""
        given = [frame.name, *(self.dialect.parameters[choice.name].split()[-1:] if choice.name in self.dialect.parameters else [])]
        return self.dialect.c["choice_call"].format(name=choice.name, arguments=", ".join(given))

    def counted(self, choice: Choice, name: str) -> str:
        return self.dialect.c["count"].format(choice=choice.name.upper(), name=name.upper())

    def counts(self, choices: Collection[str]) -> list[dict[str, str]]:
        """Every way that these choices end, in the order of its tests: the name of its counter, and what people read."""
        out = []
        for choice in (self.spec.choices[name] for name in self.spec.choices if name in choices):
            method = self.spec.methods[choice.methods[0]]
            out.append((choice, method.name, f"{choice.name} {method.name}"))
            for name in (*(row["name"].lower() for row in self.dialect.unless.get(method.name, ())), *(c.name for c in method.clauses)):
                out.append((choice, name, f"{choice.name} {choice.methods[1]} {name}"))
        return [{"name": f"{choice.name.upper()}_{name.upper()}", "text": text} for choice, name, text in out]

    def unless(self, condition: str, choice: Choice, name: str, counted: bool) -> list[str]:
        """A test that refuses: with braces around a body of more than one line."""
        refused = self.texts(choice).refused
        if not counted:
            return [f"\tif ({condition})", f"\t\t{refused}"]
        return [f"\tif ({condition}) {{", f"\t\t{self.counted(choice, name)}", f"\t\t{refused}", "\t}"]

    def unlikely(self, condition: str) -> str:
        return self.dialect.c["unlikely"].format(condition=condition)

    def remark(self, text: str, depth: int) -> list[str]:
        indent = "\t" * depth
        if not text:
            return []
        if len(text) + 6 + 8 * depth <= WIDTH:
            return [f"{indent}/* {comment(text)} */"]
        return [f"{indent}/*", *(f"{indent} * {part}" for part in textwrap.wrap(comment(text), WIDTH - 8 * depth - 3)), f"{indent} */"]

    def refusing(self, clause: Clause) -> str:
        """What is so when the clause is not."""
        return self.text(self.refused_by(clause))

    def refused_by(self, clause: Clause) -> Expr:
        """The condition turned round; what is not zero, where that is it."""
        condition = clause.condition
        if isinstance(condition, Binary) and condition.op in FLIPPED:
            flipped = Binary(FLIPPED[condition.op], condition.a, condition.b)
            return condition.a if flipped.op == "ne" and condition.b == Num(0) else flipped
        return Unary("not", condition)

    def text(self, expr: Expr) -> str:
        if isinstance(expr, Num):
            return self.dialect.constants.get(expr.label or "", "") or (f"{expr.value:#x}" if expr.value > 9 else str(expr.value))
        if isinstance(expr, SlotRef):
            return f"{expr.frame}->{expr.slot}"
        if isinstance(expr, HookCall):
            symbols = self.spec.hooks[expr.name].symbols
            return f"{symbols[0] if symbols else expr.name}({', '.join(self.text(a) for a in expr.arguments)})"
        if isinstance(expr, Cast) and expr.bits == 32:
            return f"({'s' if expr.signed else 'u'}32){self.inner(expr.a)}"
        if isinstance(expr, Unary) and expr.op in ("inv", "not"):
            return {"inv": "~", "not": "!"}[expr.op] + self.inner(expr.a)
        if isinstance(expr, Binary):
            return f"{self.inner(expr.a)} {OPERATORS[expr.op]} {self.inner(expr.b)}"
        raise refused("E371", f"there is no kernel C for {show(expr)}")

    def inner(self, expr: Expr) -> str:
        return f"({self.text(expr)})" if isinstance(expr, Binary) else self.text(expr)
