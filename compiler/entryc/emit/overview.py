"""entry.md: every entry point, path and exit in tables, for people."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import groupby

from ..model.expr import show
from ..model.spec import Path, Spec
from ..model.steps import Call, ExitTo, Goto, Jump, Through, flat_steps
from ..plan.code import Code
from ..source.finding import printable
from .notice import notice


def emit_overview(spec: Spec, code: Code, pictures: Iterable[tuple[str, str]]) -> str:
    """The tables. `pictures`: (title, file beside this one)."""
    out = [f"<!-- {notice(spec, '{}').replace('--', '- -')} -->", "", f"# Entry points, paths and exits of {_plain(spec.name)}", "",
           "Pictures: " + ", ".join(f"[{title}]({file})" for title, file in pictures) + ".", "",
           *_table(("entry point", "event", "from", "stack", "C functions", "exits"), _entries(spec)), "", "## Exits", "",
           *_table(("exit", "to", "instruction", "used by"), _exits(spec)), ""]
    if spec.choices:
        out += ["## Methods", "", *_table(("choice", "method", "when", "reason"), _methods(spec)), ""]
    if spec.boundaries:
        out += ["## Special places", "", *_table(("place", "vectors", "told by"), _places(spec)), ""]
    out += ["## Decisions in assembly", "", *_table(("kind", "path", "why it cannot be C"), _decisions(spec, code)), "", "## Configurations", "",
            *_table(("configuration", "features"), ((c.name, ", ".join(sorted(c.features)) or "none") for c in spec.configurations.values())), ""]
    return "\n".join(out)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(c.replace("|", "\\|").replace("\n", " ") for c in cells) + " |"
    return [line(head), line("---" for _ in head), *map(line, rows)]


def _plain(text: str) -> str:
    """A text of the spec that Markdown takes for nothing but text."""
    return re.sub(r"[\\`*\[<&]", r"\\\g<0>", printable(text))


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{n}`" for n in dict.fromkeys(names)) or "—"


def _reached(spec: Spec, path: Path) -> list[Path]:
    """The path with all that its gotos lead to."""
    out, todo = [], [path]
    while todo:
        current = todo.pop(0)
        if current not in out:
            out.append(current)
            todo += [spec.paths[s.path] for s in flat_steps(current.steps) if isinstance(s, (Goto, Through))]
    return out


def _entries(spec: Spec) -> Iterable[tuple[str, ...]]:
    entries = spec.of_kind("entry")
    for _, group in groupby(entries, key=lambda p: (p.span, p.event.name if p.event else "")):
        rows = list(group)
        first, numbers = rows[0], [p.number for p in rows if p.number is not None]
        event = first.event.name if first.event is not None else ""
        steps = [s for p in _reached(spec, first) for s in flat_steps(p.steps)]
        calls = [s.callee for s in steps if isinstance(s, (Call, Jump))]
        exits = [t for s in steps if isinstance(s, ExitTo) for t in s.targets]
        name = first.name if len(rows) == 1 else f"{first.name} … {rows[-1].name}"
        yield (f"`{name}`", event + (f" {_ranges(numbers)}" if numbers else ""), first.origin or "",
               (first.stack or "—") + (", paranoid" if first.paranoid else ""), _code(calls), _code(exits))


def _ranges(numbers: list[int]) -> str:
    """0–7, 9, 11–255."""
    out: list[str] = []
    for _, group in groupby(enumerate(sorted(numbers)), key=lambda row: row[1] - row[0]):
        run = [n for _, n in group]
        out.append(str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}")
    return ", ".join(out)


def _exits(spec: Spec) -> Iterable[tuple[str, ...]]:
    for path in spec.of_kind("exit"):
        row = spec.return_of(path)
        firsts = {p.span: p for p in reversed(spec.paths.values())}     # many entry points may have one body
        users = [p.name for p in reversed(firsts.values()) for s in flat_steps(p.steps) if isinstance(s, ExitTo) and path.name in s.targets]
        yield f"`{path.name}`", path.origin or "", f"`{row.name}`" if row is not None else "", _code(users)


def _methods(spec: Spec) -> Iterable[tuple[str, ...]]:
    for choice in spec.choices.values():
        for name in choice.methods:
            method = spec.methods[name]
            if not method.clauses:
                yield f"`{choice.name}`", f"`{name}` by `{method.exit}`", "otherwise", ""
            for clause in method.clauses:
                yield f"`{choice.name}`", f"`{name}` by `{method.exit}`", f"`{show(clause.condition)}`", _plain(clause.reason)


def _places(spec: Spec) -> Iterable[tuple[str, ...]]:
    for boundary in spec.boundaries.values():
        yield boundary.name, _ranges(sorted(boundary.numbers)) or "all paranoid ones", f"`{show(boundary.condition)}`" if boundary.condition else "—"


def _decisions(spec: Spec, code: Code) -> Iterable[tuple[str, ...]]:
    for site in code.decisions:
        yield site.kind, f"`{site.path}`", _plain(spec.decisions[site.kind].reason) if site.kind in spec.decisions else "not declared"
