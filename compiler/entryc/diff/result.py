"""A comparison as one plain value: what `--format json` prints, and what the other formats are made of.

    schema       1; a change that breaks readers gives another number
    tool         {name, version}
    old, new     {name, spec, cpu, target}
    rows         [{rule, title, category, level, kind, places: [text], what, old, new, old_at, new_at, notes: [text]}], worst level first;
                 kind: added, removed, changed, moved, raised, lowered, weakened, strengthened; old_at, new_at: "file:line:column" or null
    accepted     [{row as above, reason}]: rows that the suppression file covers
    unused       [{rule, where, what}]: its tables that cover no row
    layout       [{name, old_size, new_size, lines: [{mark, name, old: [offset, size] or null, new}]}] of frames and blocks that differ
    effects      null unless asked for: {stubs: [{names, configurations, old: {instructions, bytes, stack}, new, lines: [{mark, text, step}]}],
                 c: [{file, added, removed}]}
    same         null unless asked for: {configurations: [name], stubs: [{names, configurations, verdict, detail, state: {name: value}}], comparisons: count,
                 conclusion}; only entry points and routines whose code differs; verdict: proved, differs, unknown
    summary      {breaking, risky, compatible: count, accepted: count, categories: {name: count}, text: the line that text output ends with}
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .. import __version__
from ..model.spec import Spec
from .across import ACROSS, weighed_across
from .compare import Row, compare
from .layout import Delta, deltas
from .notes import look_closer
from .renames import pair_names
from .rules import CATEGORIES, LEVELS
from .suppress import Accepted, sorted_out
from .table import TABLE
from .tree import Walker

SCHEMA = 1
Data = dict[str, Any]


@dataclass
class Comparison:
    """What two specs differ in."""

    old: Spec
    new: Spec
    rows: list[Row]
    accepted: list[tuple[Row, str]] = field(default_factory=list)
    unused: list[Accepted] = field(default_factory=list)
    layout: list[Delta] = field(default_factory=list)
    effects: Data | None = None
    same: Data | None = None


def compared(old: Spec, new: Spec, accepted: list[Accepted] | None = None) -> Comparison:
    """Rows of two specs, worst level first, each level in the order of the model. Of two CPUs, what means something on any."""
    one_cpu = old.arch is new.arch
    table = TABLE if one_cpu else ACROSS
    names = pair_names(old, new, table)
    trees = [Walker(table, n).spec(n.spec) for n in names]
    found = compare(trees[0], trees[1])
    rows = look_closer(found, old, new) if one_cpu else weighed_across(found)
    rows.sort(key=lambda r: LEVELS.index(r.level))
    stay, gone, unused = sorted_out(rows, accepted or [])
    return Comparison(old, new, stay, gone, unused, deltas(old, new) if one_cpu else [])


def worst(rows: list[Row]) -> str | None:
    """The worst level among rows."""
    return min((r.level for r in rows), key=LEVELS.index, default=None)


def as_data(c: Comparison) -> Data:
    """The whole as JSON has it."""
    return {
        "schema": SCHEMA, "tool": {"name": "entryc", "version": __version__},
        **{side: {"name": s.source.name, "spec": s.name, "cpu": s.arch.name, "target": s.target} for side, s in (("old", c.old), ("new", c.new))},
        "rows": [_row(r) for r in c.rows], "accepted": [{**_row(r), "reason": why} for r, why in c.accepted],
        "unused": [{"rule": a.rule, "where": a.where, "what": a.what} for a in c.unused],
        "layout": [{"name": d.name, "old_size": d.old_size, "new_size": d.new_size,
                    "lines": [{"mark": x.mark, "name": x.name, "old": x.old, "new": x.new} for x in d.lines]} for d in c.layout],
        "effects": c.effects, "same": c.same, "summary": _summary(c)}


def _row(r: Row) -> Data:
    return {"rule": r.rule.code, "title": r.rule.title, "category": r.category, "level": r.level, "kind": r.kind, "places": list(r.places), "what": r.what,
            "old": r.old, "new": r.new, "old_at": str(r.old_span) if r.old_span else None, "new_at": str(r.new_span) if r.new_span else None,
            "notes": list(r.notes)}


def _summary(c: Comparison) -> Data:
    count = {level: sum(r.level == level for r in c.rows) for level in LEVELS}
    categories = {name: n for name in CATEGORIES if (n := sum(r.category == name for r in c.rows))}
    tail = f", {len(c.accepted)} accepted" if c.accepted else ""
    if not c.rows:
        text = "the two mean the same" + (f" but for {len(c.accepted)} accepted difference(s)" if c.accepted else "")
    else:
        text = ", ".join(f"{n} {level}" for level, n in count.items()) + tail + " (" + ", ".join(f"{n} {name}" for name, n in categories.items()) + ")"
    return {**count, "accepted": len(c.accepted), "categories": categories, "text": text}
