"""Rows that a project has looked at and accepts: a TOML file with one table a row, each with its reason.

    [[accept]]
    rule = "D111"                       # a rule's code; required
    where = "method sysret"             # optional: a place, or a pattern with * and ?
    what = "clause high_ip*"            # optional: what differs there
    reason = "all CPUs of this product load a canonical ip"
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from ..source.text import SourceFile, Unreadable
from .compare import Row
from .rules import RULES

KEYS = {"rule", "where", "what", "reason"}


class BadFile(Exception):
    """The file cannot be used; the message says why."""


@dataclass(frozen=True)
class Accepted:
    """One table of the file."""

    rule: str
    where: str
    what: str
    reason: str

    def covers(self, row: Row) -> bool:
        return row.rule.code == self.rule and fnmatchcase(row.what, self.what) and (self.where == "*" or (bool(row.places) and all(
            fnmatchcase(place, self.where) for place in row.places)))


def read(path: Path) -> list[Accepted]:
    """The tables of a file. Raises BadFile."""
    try:
        data = tomllib.loads(SourceFile.read(path).text)
    except Unreadable as problem:
        raise BadFile(str(problem)) from None
    except (tomllib.TOMLDecodeError, RecursionError) as problem:
        raise BadFile(f"{path} is not TOML: {problem}") from None
    rows = data.get("accept", [])
    if set(data) - {"accept"} or not isinstance(rows, list):
        raise BadFile(f"{path}: the file holds [[accept]] tables, and nothing else")
    return [_accepted(path, number, row) for number, row in enumerate(rows, 1)]


def _accepted(path: Path, number: int, row: object) -> Accepted:
    where = f"{path}: [[accept]] number {number}"
    if not isinstance(row, dict) or any(not isinstance(v, str) for v in row.values()):
        raise BadFile(f"{where}: its values are texts in quotes")
    unknown = sorted(set(row) - KEYS)
    if unknown:
        raise BadFile(f"{where}: '{unknown[0]}' has no meaning; known: {', '.join(sorted(KEYS))}")
    if row.get("rule") not in RULES:
        raise BadFile(f"{where}: there is no rule '{row.get('rule', '')}'; entryc diff --rules lists them")
    if len(row.get("reason", "")) < 10:
        raise BadFile(f"{where}: it gives no reason: say why the difference is accepted")
    return Accepted(row["rule"], row.get("where", "*"), row.get("what", "*"), row["reason"])


def sorted_out(rows: list[Row], accepted: list[Accepted]) -> tuple[list[Row], list[tuple[Row, str]], list[Accepted]]:
    """(rows that stay, rows that are accepted with their reason, tables that cover no row)."""
    stay: list[Row] = []
    gone: list[tuple[Row, str]] = []
    used: set[int] = set()
    for row in rows:
        index = next((i for i, a in enumerate(accepted) if a.covers(row)), None)
        if index is None:
            stay.append(row)
        else:
            used.add(index)
            gone.append((row, accepted[index].reason))
    return stay, gone, [a for i, a in enumerate(accepted) if i not in used]
