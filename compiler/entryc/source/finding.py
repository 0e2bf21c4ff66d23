"""The one record for everything that entryc has to say: diagnostics, verdicts, differences."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .edits import Edit as Edit
from .edits import Edits, respelt, shown
from .text import UNSEEN, Span

LEVELS = ("error", "warning", "note")
MAX_FINDINGS = 500
LONGEST, LINE = 1000, 200                       # characters of a message, and of a source line, that are shown


@dataclass(frozen=True)
class Finding:
    """One statement about the input. `code` is stable; `help` names the way out, and `edits` go it, where that needs no thought."""

    code: str
    level: str
    message: str
    span: Span | None = None
    help: str | None = None
    related: tuple[tuple[str, Span], ...] = ()
    data: dict[str, Any] = field(default_factory=dict, compare=False)
    edits: Edits = field(default=(), compare=False)

    def __post_init__(self) -> None:
        if not self.edits and self.span is not None and self.help is not None:
            object.__setattr__(self, "edits", respelt(self.span, self.message, self.help))


class Findings(Exception):
    """Raised to stop a stage that cannot go on; carries every finding collected so far."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__("; ".join(f.message for f in findings))
        self.findings = list(findings)


class Collector:
    """Gathers findings of one run, so that a stage reports all that it can see."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self._known: set[Finding] = set()
        self.said = 0                           # errors, with those that were said before at the same place

    def error(self, code: str, message: str, span: Span | None, help: str | None = None,
              related: tuple[tuple[str, Span], ...] = (), edits: Edits = ()) -> None:
        self.said += 1
        self._add(Finding(code, "error", message, span, help, related, edits=edits))

    def _add(self, finding: Finding) -> None:
        """Each finding once. Raises Findings when there are more than anybody reads."""
        if finding in self._known:
            return
        if len(self.findings) == MAX_FINDINGS:
            raise Findings([*self.findings, Finding("E006", "error", f"more than {MAX_FINDINGS} findings: the rest was not looked for", finding.span)])
        self._known.add(finding)
        self.findings.append(finding)

    @property
    def failed(self) -> bool:
        return any(f.level == "error" for f in self.findings)

    def stop_if_failed(self) -> None:
        """Raise Findings when an error was collected."""
        if self.failed:
            raise Findings(self.findings)


def printable(text: str) -> str:
    """Hostile names must not move the cursor or forge lines of output: what cannot be seen is shown as an escape."""
    return UNSEEN.sub(lambda c: f"\\x{ord(c[0]):02x}", text)


def _cut(text: str) -> str:
    """A message, as far as anybody reads it."""
    shown = printable(text)
    return shown if len(shown) <= LONGEST else shown[:LONGEST] + " …"


COLOURS = {"error": "31;1", "warning": "33;1", "note": "36;1", "-": "31", "+": "32", "help": "1"}


def painted(text: str, key: str, colour: bool) -> str:
    """Text in the colour of a level or a sign, on terminals that show colours."""
    return f"\x1b[{COLOURS[key]}m{text}\x1b[0m" if colour and text else text


def _caret(span: Span, level: str, colour: bool, sign: str = "^") -> list[str]:
    """The line with a mark below; of a long line, the part around the mark."""
    line = UNSEEN.sub("\N{REPLACEMENT CHARACTER}", span.snippet.replace("\t", " "))
    width = max(1, min(span.end_column if span.end_line == span.line else len(line) + 1, len(line) + 1) - span.column)
    start, before = span.column - 1, ""
    if start > LINE * 3 // 4:
        line, start, before = line[start - LINE // 4:], LINE // 4, "… "
    gutter = f"{span.line:5d} | {before}"
    mark = painted(sign * max(1, min(width, LINE - start)), level, colour)
    return [gutter + line[:LINE], " " * 5 + " | " + " " * (start + len(before)) + mark]


def render_text(findings: Iterable[Finding], colour: bool = False) -> str:
    """`path:line:column: level[code]: message`, the line, a caret; the same of related places; the help, and what it changes."""
    out: list[str] = []
    for finding in findings:
        where = f"{finding.span}: " if finding.span else ""
        out.append(f"{printable(where)}{painted(f'{finding.level}[{finding.code}]', finding.level, colour)}: {_cut(finding.message)}")
        if finding.span:
            out.extend(_caret(finding.span, finding.level, colour))
        for label, span in finding.related:
            out.append(f"        {printable(label)}: {printable(str(span))}")
            out.extend(_caret(span, "note", colour, "-"))
        if finding.help:
            out.append(f"        {painted('help', 'help', colour)}: {_cut(finding.help)}")
        out += [painted(f"{line:5d} {sign} {printable(text.replace(chr(9), ' '))[:LINE]}", sign, colour) for sign, line, text in shown(finding.edits)]
    return "\n".join(out) + ("\n" if out else "")


def _place(span: Span) -> dict[str, Any]:
    return {"file": span.file.name, "line": span.line, "column": span.column, "end_line": span.end_line, "end_column": span.end_column}


def as_dict(finding: Finding) -> dict[str, Any]:
    """The documented JSON form of a finding."""
    row: dict[str, Any] = {"code": finding.code, "level": finding.level, "message": finding.message}
    if finding.span:
        row["span"] = _place(finding.span)
    if finding.help:
        row["help"] = finding.help
    if finding.related:
        row["related"] = [{"label": label, "at": str(span)} for label, span in finding.related]
    if finding.edits:
        row["edits"] = [{**_place(e.span), "text": e.text} for e in finding.edits]
    if finding.data:
        row["data"] = finding.data
    return row


def render_json(findings: Iterable[Finding]) -> str:
    """One JSON document: {"findings": [...]}."""
    return json.dumps({"findings": [as_dict(f) for f in findings]}, indent=2, sort_keys=True) + "\n"
