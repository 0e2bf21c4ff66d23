"""Findings in the forms that programs read: one table of renderers, of which the command line takes one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from .finding import Finding, render_json, render_text
from .text import Span

Renderer = Callable[[Sequence[Finding], bool], str]


def wants_colour(choice: str, terminal: bool, environment: Mapping[str, str] = os.environ) -> bool:
    """Are colours wanted? --color first, then NO_COLOR and FORCE_COLOR, then whether a terminal reads it."""
    if choice != "auto":
        return choice == "always"
    if environment.get("NO_COLOR"):
        return False
    if environment.get("FORCE_COLOR", "0") != "0":
        return True
    return terminal and environment.get("TERM") != "dumb"


# ---- SARIF 2.1.0 ----

def _uri(name: str) -> str:
    from urllib.parse import quote
    return quote(PurePath(name).as_posix())


def _region(span: Span) -> dict[str, int]:
    return {"startLine": span.line, "startColumn": span.column, "endLine": span.end_line, "endColumn": span.end_column}


def _location(span: Span, label: str | None = None) -> dict[str, Any]:
    row: dict[str, Any] = {"physicalLocation": {"artifactLocation": {"uri": _uri(span.file.name)}, "region": _region(span)}}
    return {**row, "message": {"text": label}} if label else row


def _fix(finding: Finding) -> dict[str, Any]:
    changes: dict[str, list[dict[str, Any]]] = {}
    for edit in finding.edits:
        changes.setdefault(_uri(edit.span.file.name), []).append({"deletedRegion": _region(edit.span), "insertedContent": {"text": edit.text}})
    return {"description": {"text": finding.help or "the cure"},
            "artifactChanges": [{"artifactLocation": {"uri": uri}, "replacements": rows} for uri, rows in changes.items()]}


def _result(finding: Finding, rules: list[str]) -> dict[str, Any]:
    row: dict[str, Any] = {"ruleId": finding.code, "ruleIndex": rules.index(finding.code), "level": finding.level,
                           "message": {"text": finding.message + (f"\n{finding.help}" if finding.help else "")}}
    if finding.span:
        row["locations"] = [_location(finding.span)]
    if finding.related:
        row["relatedLocations"] = [{"id": i, **_location(span, label)} for i, (label, span) in enumerate(finding.related, 1)]
    if finding.edits:
        row["fixes"] = [_fix(finding)]
    if finding.data:
        row["properties"] = finding.data
    return row


def render_sarif(findings: Sequence[Finding]) -> str:
    """One SARIF log: what code scanning services take."""
    from .. import __version__
    rules = list(dict.fromkeys(f.code for f in findings))
    driver = {"name": "entryc", "version": __version__, "rules": [{"id": code} for code in rules]}
    log = {"version": "2.1.0", "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
           "runs": [{"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": [_result(f, rules) for f in findings]}]}
    return json.dumps(log, indent=2) + "\n"


# ---- workflow commands of GitHub ----

def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def render_github(findings: Sequence[Finding]) -> str:
    """A workflow command a finding: GitHub shows it at the line."""
    out = []
    for finding in findings:
        rows = [f"title={_property(finding.code)}"]
        if finding.span:
            s = finding.span
            columns = [f"col={s.column}", f"endColumn={s.end_column}"] if s.line == s.end_line else []      # columns count within one line only
            rows = [f"file={_property(s.file.name)}", f"line={s.line}", f"endLine={s.end_line}", *columns, *rows]
        kind = "notice" if finding.level == "note" else finding.level
        out.append(f"::{kind} {','.join(rows)}::{_data(finding.message + (chr(10) + finding.help if finding.help else ''))}\n")
    return "".join(out)


FORMATS: dict[str, Renderer] = {
    "text": render_text,
    "json": lambda findings, _: render_json(findings),
    "sarif": lambda findings, _: render_sarif(findings),
    "github": lambda findings, _: render_github(findings),
}
