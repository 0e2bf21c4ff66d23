"""`entryc diff`: both sides read, compared, and what was asked for besides; then written in one of the formats."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..diff import render
from ..diff.effects import Made, effects
from ..diff.refactoring import concluded, same, symbol_names, weighed
from ..diff.result import Comparison, Data, as_data, compared, worst
from ..diff.rules import LEVELS
from ..diff.sides import NotComparable, Side, against, loaded
from ..diff.suppress import BadFile, read
from ..emit.handlers import emit_handlers
from ..emit.header import emit_header
from ..emit.init import emit_init
from ..emit.notice import notice
from ..model.spec import Spec
from ..plan.plan import plan_spec
from ..source.finding import Finding, Findings, printable, render_text
from ..source.formats import render_github, render_sarif
from ..source.text import SourceFile, Span
from . import output
from .assembled import assemble_flat_images

WEIGHT = {"breaking": "error", "risky": "warning", "compatible": "note"}
PLACE = re.compile(r"(.+):(\d+)(?::(\d+))?")


@dataclass(frozen=True)
class Asked:
    """What the command line asks for."""

    paths: tuple[str, ...]
    against: str | None = None
    format: str = "text"
    fail_on: str | None = None
    accept: str | None = None
    effects: bool = False
    prove: bool = False
    configuration: str | None = None
    output: str | None = None
    verbose: bool = False
    quiet: bool = False
    version: str | None = None                  # of the kernel, on both sides
    colour: bool = False


def diff(asked: Asked) -> int:
    """Compare; the exit status: 0, 1 rows at the level of --fail-on, 2 the sides could not be compared."""
    try:
        accepted = read(Path(asked.accept)) if asked.accept is not None else []
        old, new = _sides(asked)
        with loaded(old, asked.version) as before, loaded(new, asked.version) as after:
            data, rows = _compared(before, after, asked, accepted)
    except NotComparable as problem:
        print(printable(f"entryc: the {problem.side} side cannot be compared: {problem.reason}"), file=sys.stderr)
        sys.stderr.write(render_text(problem.findings))
        return 2
    except BadFile as problem:
        print(printable(f"entryc: {problem}"), file=sys.stderr)
        return 2
    _write(data, asked)
    at = worst(rows.rows)
    if asked.fail_on is None or at is None:
        return 0
    limit = LEVELS[-1] if asked.fail_on == "any" else asked.fail_on
    return 1 if LEVELS.index(at) <= LEVELS.index(limit) else 0


def _sides(asked: Asked) -> tuple[Side, Side]:
    if asked.against is not None:
        if len(asked.paths) != 1:
            raise NotComparable("new", "--against REV takes one spec")
        return against(asked.paths[0], asked.against)
    if len(asked.paths) != 2:
        raise NotComparable("new", "name two specs, or one with --against REV")
    return Side.parse("old", asked.paths[0]), Side.parse("new", asked.paths[1])


def _compared(old: Spec, new: Spec, asked: Asked, accepted: Sequence[object]) -> tuple[Data, Comparison]:
    result = compared(old, new, list(accepted))         # type: ignore[arg-type]
    if asked.effects or asked.prove:
        _code(result, asked)
    return as_data(result), result


def _code(result: Comparison, asked: Asked) -> None:
    """What takes the generated code of both: effects, and the proof that it behaves alike."""
    if result.old.arch is not result.new.arch:
        raise NotComparable("new", "it is for another CPU: --effects and --prove compare code of one CPU")
    sides = []
    for name, spec in (("old", result.old), ("new", result.new)):
        if spec.target != "bare":
            raise NotComparable(name, f"nothing is generated for target {spec.target}: --effects and --prove compare generated code")
        if asked.configuration is not None and asked.configuration not in spec.configurations:
            raise NotComparable(name, f"it has no configuration '{asked.configuration}'; known: {', '.join(spec.configurations)}")
        try:
            sides.append(_made(spec, asked.configuration))
        except Findings as stop:
            raise NotComparable(name, stop.findings[0].message, stop.findings) from None
    old, new = sides
    names = {s: o for s, o in symbol_names(result.old, result.new).items() if s != o}
    found = effects(old, new, names, asked.configuration)
    result.effects = found if asked.effects else None
    if asked.prove:
        result.same = same(old, new, names, asked.configuration)
        result.same["conclusion"] = concluded(result.rows, result.same)
        if asked.configuration is None:
            result.rows = weighed(result.rows, result.same)


def _made(spec: Spec, only: str | None) -> Made:
    """Plan, assemble and render one revision."""
    code = plan_spec(spec)
    wanted = {n: c for n, c in spec.configurations.items() if only in (None, n)}
    texts = {"entry.c": emit_handlers(spec), "entry.h": emit_header(spec, code), "entry_init.c": emit_init(spec)}
    head = notice(spec, "/* {} */")
    return Made(spec, code, assemble_flat_images(spec, code, wanted), {n: t.replace(head, "") for n, t in texts.items()})


def _as_findings(data: Data) -> list[Finding]:
    """Rows as findings, for the forms that code review takes."""
    out = []
    for row in data["rows"]:
        place = PLACE.fullmatch(row["new_at"] or row["old_at"] or "")
        span = None
        if place:
            line, column = int(place[2]), int(place[3] or 1)
            span = Span(SourceFile(place[1], ""), line, column, line, column)
        out.append(Finding(row["rule"], WEIGHT[row["level"]], f"{row['category']}: {render.whole(row)}", span, "; ".join(row["notes"]) or None))
    return out


def _write(data: Data, asked: Asked) -> None:
    colour = asked.output is None and asked.colour
    text = {"text": lambda: render.text(data, colour, asked.verbose), "sarif": lambda: render_sarif(_as_findings(data)),
            "github": lambda: render_github(_as_findings(data)), "json": lambda: json.dumps(data, indent=1) + "\n",
            "markdown": lambda: render.markdown(data), "html": lambda: render.html(data), "changelog": lambda: render.changelog(data)}[asked.format]()
    if asked.output is not None:
        target = Path(asked.output)
        output.write_all(target.parent, {target.name: text})
    elif not asked.quiet:
        sys.stdout.write(text)


def rules() -> int:
    """`entryc diff --rules`."""
    sys.stdout.write(render.rules_text())
    return 0
