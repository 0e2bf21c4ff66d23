"""Labels that stand in several paths: one place in memory, the code behind it shared.

`label is NAME` in two paths says that both go on at one symbol from there. What follows has to be the same code; only the first stays, the others jump.
"""

from __future__ import annotations

from ..model.arch import Control
from ..model.spec import Spec
from ..model.steps import Label, flat_steps
from ..source.finding import Collector
from ..source.text import Span
from .code import Insn, LabelLine, Line
from .select import find

ENDS = ("return", "jump")


def shared_tails(spec: Spec, lines: list[Line], collector: Collector) -> list[Line]:
    """The lines with each tail of a shared label once."""
    bearers = [label for path in spec.paths.values() for label in {s.name for s in flat_steps(path.steps) if isinstance(s, Label) and s.own}]
    shared = {label for label in bearers if bearers.count(label) > 1}
    while (found := _twice(lines, shared)) is not None:
        first, second = found
        end = _same(lines, first, second)
        label = lines[first]
        assert isinstance(label, LabelLine)
        jump = find(spec.arch, Control("jump", label.name))
        if end is None or jump is None:
            one, other = _span(lines, first), _span(lines, second)
            collector.error("E355", f"the code behind the label '{label.name}' is not the same in all paths that have it", other,
                            "a label of one name is one place", related=(("the first one", one),) if one is not None else ())
            return lines
        behind = lines[second + 1]
        assert isinstance(behind, Insn)
        go = Insn(*jump, guard=label.guard, span=behind.span, step=f"shared:{label.name}:{second}", unwound=behind.unwound)
        lines = [*lines[:second], go, *lines[end:]]
    return lines


def _twice(lines: list[Line], shared: set[str]) -> tuple[int, int] | None:
    """Where a label stands for the first and for the second time."""
    seen: dict[str, int] = {}
    for index, line in enumerate(lines):
        if isinstance(line, LabelLine) and line.kind == "inner" and line.name in shared:
            if line.name in seen:
                return seen[line.name], index
            seen[line.name] = index
    return None


def _same(lines: list[Line], first: int, second: int) -> int | None:
    """Past the last line of the second tail; None: the two differ."""
    ended = False
    while second < len(lines):
        a, b = lines[first], lines[second]
        if ended and not (isinstance(b, Insn) and b.form.role == "stop"):
            return second
        if isinstance(a, LabelLine) and isinstance(b, Insn) and b.form.role == "jump" and _named(lines, first, str(b.operands[0])):
            return second + 1                   # the one falls through to where the other jumps
        if not _alike(a, b):
            return None
        ended = ended or (isinstance(b, Insn) and b.form.role in ENDS)
        first, second = first + 1, second + 1
    return second if ended else None


def _named(lines: list[Line], at: int, label: str) -> bool:
    """Does a place bear a label, among others?"""
    while at < len(lines) and isinstance(line := lines[at], LabelLine):
        if line.name == label:
            return True
        at += 1
    return False


def _alike(a: Line, b: Line) -> bool:
    if isinstance(a, Insn) and isinstance(b, Insn):
        return (a.form, a.operands, a.guard, a.unwound) == (b.form, b.operands, b.guard, b.unwound)
    return isinstance(a, LabelLine) and isinstance(b, LabelLine) and (a.name, a.kind, a.guard) == (b.name, b.kind, b.guard)


def _span(lines: list[Line], at: int) -> Span | None:
    return next((line.span for line in lines[at:] if isinstance(line, Insn)), None)
