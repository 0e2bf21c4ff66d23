"""The one record for everything that entryc has to say: diagnostics, verdicts, differences."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .text import Span

LEVELS = ("error", "warning", "note")


@dataclass(frozen=True)
class Edit:
    """A change of the source that mends what a finding is about: `text` in place of what the span covers."""

    span: Span
    text: str


@dataclass(frozen=True)
class Finding:
    """One statement about the input. `code` is stable; `help` names the way out."""

    code: str
    level: str
    message: str
    span: Span | None = None
    help: str | None = None
    related: tuple[tuple[str, Span], ...] = ()
    data: dict[str, Any] = field(default_factory=dict, compare=False)
    edits: tuple[Edit, ...] = ()


class Findings(Exception):
    """Raised to stop a stage that cannot go on; carries every finding collected so far."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__("; ".join(f.message for f in findings))
        self.findings = list(findings)


class Collector:
    """Gathers findings of one run, so that a stage reports all that it can see."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []

    def error(self, code: str, message: str, span: Span | None, help: str | None = None,
              related: tuple[tuple[str, Span], ...] = ()) -> None:
        finding = Finding(code, "error", message, span, help, related)
        if finding not in self.findings:
            self.findings.append(finding)

    def warning(self, code: str, message: str, span: Span | None, help: str | None = None) -> None:
        self.findings.append(Finding(code, "warning", message, span, help))

    @property
    def failed(self) -> bool:
        return any(f.level == "error" for f in self.findings)

    def stop_if_failed(self) -> None:
        """Raise Findings when an error was collected."""
        if self.failed:
            raise Findings(self.findings)


def printable(text: str) -> str:
    """Hostile names must not move the cursor or forge lines of output."""
    return "".join(c if c == "\t" or c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def _caret(span: Span) -> list[str]:
    line = printable(span.snippet.replace("\t", " "))
    if span.end_line == span.line:
        width = max(1, min(span.end_column, len(line) + 1) - span.column)
    else:
        width = max(1, len(line) - span.column + 1)
    gutter = f"{span.line:5d} | "
    return [gutter + line[:200], " " * 5 + " | " + " " * (span.column - 1) + "^" * min(width, 200)]


def render_text(findings: Iterable[Finding]) -> str:
    """`path:line:column: level[code]: message`, the line, a caret, the help."""
    out: list[str] = []
    for finding in findings:
        where = f"{finding.span}: " if finding.span else ""
        out.append(f"{printable(where)}{finding.level}[{finding.code}]: {printable(finding.message)}")
        if finding.span:
            out.extend(_caret(finding.span))
        for label, span in finding.related:
            out.append(f"        {printable(label)}: {span}")
        if finding.help:
            out.append(f"        help: {printable(finding.help)}")
    return "\n".join(out) + ("\n" if out else "")


def as_dict(finding: Finding) -> dict[str, Any]:
    """The documented JSON form of a finding."""
    row: dict[str, Any] = {"code": finding.code, "level": finding.level, "message": finding.message}
    if finding.span:
        s = finding.span
        row["span"] = {"file": s.file.name, "line": s.line, "column": s.column,
                       "end_line": s.end_line, "end_column": s.end_column}
    if finding.help:
        row["help"] = finding.help
    if finding.related:
        row["related"] = [{"label": label, "at": str(span)} for label, span in finding.related]
    if finding.data:
        row["data"] = finding.data
    return row


def render_json(findings: Iterable[Finding]) -> str:
    """One JSON document: {"findings": [...]}."""
    return json.dumps({"findings": [as_dict(f) for f in findings]}, indent=2, sort_keys=True) + "\n"
