"""Which local name of one revision is which of the other: the same name, or the same content."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..model.spec import Spec
from .table import TABLE
from .tree import Part, Shape, Walker
from .words import Names


def spaces(spec: Spec) -> dict[str, Mapping[str, Any]]:
    """The namespaces whose names nobody outside of the spec knows, and those whose symbols have a row of their own."""
    return {"state": spec.states, "region": spec.regions, "stack": spec.stacks, "contract": spec.contracts, "boundary": spec.boundaries,
            "op": spec.ops, "inline": spec.inlines, "bracket": spec.brackets, "work": spec.works, "table": spec.tables, "window": spec.windows,
            "path": {n: p for n, p in spec.paths.items() if p.kind != "entry"}, "handler": spec.handlers}


def pair_names(old: Spec, new: Spec, table: Mapping[type, Shape] = TABLE) -> tuple[Names, Names]:
    """The names of both sides in terms of the old one's."""
    known: dict[tuple[str, str], str] = {}
    mine, theirs = spaces(old), spaces(new)
    lost = {(s, n) for s in mine for n in mine[s] if n not in theirs[s]}
    found = {(s, n) for s in theirs for n in theirs[s] if n not in mine[s]}
    if lost and found:
        a, b = Names(old, blank=frozenset(lost)), Names(new, blank=frozenset(found))
        by_text: dict[tuple[str, str], list[str]] = {}
        for space, name in sorted(lost, key=lambda k: list(mine[k[0]]).index(k[1])):
            by_text.setdefault((space, _content(space, mine[space][name], a, table)), []).append(name)
        for space, name in sorted(found, key=lambda k: list(theirs[k[0]]).index(k[1])):
            left = by_text.get((space, _content(space, theirs[space][name], b, table)))
            if left:
                known[(space, name)] = left.pop(0)
    known |= _values(old, new, known)
    return Names(old), Names(new, known)


def _content(space: str, value: Any, names: Names, table: Mapping[type, Shape]) -> str:
    walker = Walker(table, names)
    if type(value) in table:
        return "; ".join(c.text for c in walker.item(value, "", "?").children if c.keys[0] not in ("name", "reason"))
    return walker.collection(value, Part("set"), "", "?", None).text


def _values(old: Spec, new: Spec, known: dict[tuple[str, str], str]) -> dict[tuple[str, str], str]:
    """Values of states: those that mean the same, and ghost values in the order written."""
    out: dict[tuple[str, str], str] = {}
    for name, state in new.states.items():
        called = known.get(("state", name), name)
        if called not in old.states:
            continue
        before, space = old.states[called], f"value:{called}"
        lost = [v for v in before.values if v not in state.values]
        for value in (v for v in state.values if v not in before.values):
            walkers = Walker(TABLE, Names(old)), Walker(TABLE, Names(new, known))
            mine = walkers[1].collection(state.values[value], Part("set"), "", "?", None).text
            same = next((v for v in lost if walkers[0].collection(before.values[v], Part("set"), "", "?", None).text == mine), None)
            if same is not None:
                lost.remove(same)
                out[(space, value)] = same
    return out

