"""Content as text: one text for one meaning, whatever the author called things; and the text that a reader sees."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ..model.expr import Binary, Cast, Expr, HookCall, Local, Num, Operand, SymbolRef, Unary, children, constant, is_constant, rebuild, show
from ..model.spec import CallText, Spec
from ..model.steps import Label, flat_steps
from ..model.surroundings import Guard

SWAPPED = {"gt": "lt", "ge": "le"}
COMMUTES = frozenset(["add", "band", "bor", "bxor", "eq", "ne", "and", "or"])


@dataclass
class Names:
    """What one side of a comparison calls its local names: (namespace, name) -> the name in the comparison."""

    spec: Spec
    known: dict[tuple[str, str], str] = field(default_factory=dict)
    blank: frozenset[tuple[str, str]] = frozenset()             # names that are left out, to find out who is who
    local: dict[str, str] = field(default_factory=dict)         # of the handler or op at hand
    within: Guard = frozenset()                                 # of the path at hand: its steps have it too
    labels: dict[str, tuple[str, str]] = field(init=False)

    def __post_init__(self) -> None:
        self.labels = {f"{p.name}_{s.name}": (p.name, s.name) for p in self.spec.paths.values() for s in flat_steps(p.steps)
                       if isinstance(s, Label) and not s.own}

    def of(self, space: str, name: str) -> str:
        """The name in the comparison."""
        if (space, name) in self.blank:
            return "?"
        return self.known.get((space, name), name)

    def symbol(self, name: str) -> str:
        """The symbol of a label goes by the path that it stands in."""
        if name in self.labels:
            path, label = self.labels[name]
            return f"{self.of('path', path)}_{label}"
        return name


    def guard(self, step: Any) -> Guard:
        """The guard of a step, without what its path or its state demands anyway."""
        state = self.spec.states.get(getattr(step, "subject", ""))
        return frozenset(step.guard - self.within - (state.guard if state is not None else frozenset()))


def plain(expr: Expr | None, names: Names) -> str:
    """An expression as one text for one meaning: constants by value, sides of commuting operators sorted, local names as in the comparison."""
    if expr is None:
        return "none"
    if is_constant(expr):
        return hex(constant(expr) & (1 << 64) - 1)
    if isinstance(expr, Binary):
        op, a, b = expr.op, plain(expr.a, names), plain(expr.b, names)
        if op in SWAPPED:
            op, a, b = SWAPPED[op], b, a
        if op in COMMUTES and not (op in ("and", "or") and any(isinstance(e, HookCall) for e in _nodes(expr))):
            a, b = sorted((a, b))
        return f"({a} {op} {b})"
    if isinstance(expr, Unary):
        return f"{expr.op}({plain(expr.a, names)})"
    if isinstance(expr, Cast):
        return f"{'s' if expr.signed else 'u'}{expr.bits}({plain(expr.a, names)})"
    if isinstance(expr, (Local, Operand)):
        return names.local.get(expr.name, expr.name)
    if isinstance(expr, SymbolRef):
        return f"&{names.symbol(expr.name)}"
    inside = children(expr)
    if not inside:
        return show(expr)
    return f"{type(expr).__name__}({getattr(expr, 'name', '')}{','.join(plain(e, names) for e in inside)})"


def _nodes(expr: Expr) -> Iterable[Expr]:
    yield expr
    for child in children(expr):
        yield from _nodes(child)


def valued(expr: Expr) -> str:
    """An expression with constants as numbers, for readers to whom two texts with names would look the same."""
    return show(rebuild(expr, lambda e: Num(e.value) if isinstance(e, Num) else e))


def when(guard: Guard) -> str:
    """"PTI and not PCID"; "always"."""
    return " and ".join(name if wanted else f"not {name}" for name, wanted in sorted(guard)) or "always"


def call(one: CallText | None) -> str:
    """A call as the spec has it."""
    return "none" if one is None else f"{one.name}({', '.join(map(show, one.arguments))})"


def numbers(values: Iterable[int]) -> str:
    """"0-7, 9": numbers with runs drawn together."""
    out: list[str] = []
    run: list[int] = []
    for value in [*sorted(values), None]:
        if run and (value is None or value != run[-1] + 1):
            out.append(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}")
            run = []
        if value is not None:
            run.append(value)
    return ", ".join(out)
