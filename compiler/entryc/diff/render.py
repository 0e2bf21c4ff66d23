"""A comparison as text, Markdown, HTML or a changelog, from what result.py describes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import groupby
from typing import Any

from ..source.finding import printable
from .rules import CATEGORIES, LEVELS, RULES, Rule
from .words import numbers

Data = dict[str, Any]
COLOURS = {"breaking": "31;1", "risky": "33", "compatible": "32", "+": "32", "-": "31", "~": "33"}
SIGNS = {"added": "+", "removed": "-"}


def places(names: Iterable[str]) -> str:
    """"vectors 0-2, 5"; several places of one kind are drawn together."""
    all_names = list(names)
    vectors = [int(n.split()[1]) for n in all_names if re.fullmatch(r"vector \d+", n)]
    others = [n for n in all_names if not re.fullmatch(r"vector \d+", n)]
    if vectors:
        others.append(f"vector{'s' if len(vectors) > 1 else ''} {numbers(vectors)}")
    return ", ".join(others)


def symbols(names: Iterable[str]) -> str:
    """Symbols, those that end in a number drawn together: "vector_0-2, 5"."""
    found: dict[str, list[int]] = {}
    for name in names:
        head, _, tail = name.rpartition("_")
        found.setdefault(f"{head}_" if tail.isdecimal() else name, []).extend([int(tail)] if tail.isdecimal() else [])
    return ", ".join(head + numbers(tails) if len(tails) != 2 else f"{head}{tails[0]}, {head}{tails[1]}" for head, tails in found.items())


def sentence(row: Data) -> str:
    """What the row says, without its place: "clause high_ip removed: when regs.ip < USER_END"."""
    what, kind = row["what"], row["kind"]
    if kind in SIGNS and (row["old"] or row["new"]) in (what, ""):
        return f"{what} {kind}"
    if kind in SIGNS and "none" not in (row["old"], row["new"]) and {row["old"], row["new"]} != {"yes", "no"}:
        return f"{what} {kind}: {row['old'] or row['new']}"
    if kind == "moved":
        return f"{what} moved: {row['new']}, was {row['old']}"
    word = "" if kind in SIGNS or kind in ("changed", "raised", "lowered") else f" {kind}"
    return f"{what}{word}: {row['old']} → {row['new']}" if row["old"] else f"{what}{word}: {row['new']}"


def whole(row: Data) -> str:
    """The row with its place."""
    where = places(row["places"])
    return f"{where}: {sentence(row)}" if where else sentence(row)


def _at(row: Data) -> str:
    return row["new_at"] or row["old_at"] or ""


def text(data: Data, colour: bool = False, verbose: bool = False) -> str:
    """For terminals: one line a row with the spec line that it comes from, notes below, the summary last."""
    def paint(key: str, value: str) -> str:
        return f"\x1b[{COLOURS[key]}m{value}\x1b[0m" if colour and key in COLOURS else value

    out = [printable(f"{data['old']['name']} → {data['new']['name']}"), ""]
    for row in data["rows"]:
        where = printable(f"  ({_at(row)})") if _at(row) else ""
        out.append(f"{paint(row['level'], row['level'].ljust(10))} {row['category']:9} {row['rule']}  {printable(whole(row))}{where}")
        out += [f"{' ' * 27}{printable(n)}" for n in row["notes"]]
    for row in data["accepted"]:
        out.append(f"{'accepted':10} {row['category']:9} {row['rule']}  {printable(whole(row))}")
        out.append(f"{' ' * 27}because {printable(row['reason'])}")
    out += [printable(f"note: nothing is covered by the accepted {a['rule']} {a['where']} {a['what']}") for a in data["unused"]]
    for delta in data["layout"]:
        out += ["", *(paint(line[:1], line) for line in layout_lines(delta))]
    if data["effects"] is not None:
        out += ["", *effects_lines(data["effects"], paint, verbose)]
    if data["same"] is not None:
        out += ["", *same_lines(data["same"])]
    return "\n".join([*out, *([""] if len(out) > 2 else []), data["summary"]["text"]]) + "\n"


def layout_lines(delta: Data) -> list[str]:
    """A struct of both sides, the way pahole shows one."""
    def place(x: list[int] | None) -> str:
        return f"{x[0]:5d} {x[1]:4d}" if x else " " * 10
    size = ", ".join(f"{word} {n}" for word, n in (("was", delta["old_size"]), ("is", delta["new_size"])) if n is not None)
    rows: list[str] = []
    for mark, run in groupby(delta["lines"], key=lambda x: x["mark"]):
        part = [f"{mark}         {x['name'] + ';':32}/* {place(x['old'])}    {place(x['new'])}  */" for x in run]
        rows += part if mark != " " or len(part) < 6 else [part[0], f"          … {len(part) - 2} more, where they were", part[-1]]
    return [f"  {delta['name']} {{{'':{max(0, 34 - len(delta['name']))}}/*  old: at size    new: at size */", *rows, f"  }};  /* size {size} */"]


def effects_lines(effects: Data, paint: Any = lambda _, x: x, verbose: bool = False) -> list[str]:
    out = ["generated code                    instructions          bytes          stack  configurations"]
    for s in effects["stubs"]:
        cells = [_delta(s, key) for key in ("instructions", "bytes", "stack")]
        out.append(f"  {symbols(s['names'])[:32]:32}{cells[0]:>12} {cells[1]:>14} {cells[2]:>14}  {', '.join(s['configurations'])}")
        step = None
        for x in s["lines"] if verbose else ():
            if x["step"] != step:
                step = x["step"]
                out.append(f"      ; {printable(step)}")
            out.append(paint(x["mark"], f"    {x['mark']} {x['text']}"))
    if not effects["stubs"]:
        out = ["generated code: no instruction differs"]
    return out + [f"  {c['file']}: {c['added']} lines added, {c['removed']} removed" for c in effects["c"]]


def _delta(stub: Data, key: str) -> str:
    a, b = ((stub[side] or {}).get(key) for side in ("old", "new"))
    if a == b:
        return str(a)
    return f"{'-' if a is None else a} → {'-' if b is None else b}"


def same_lines(same: Data) -> list[str]:
    out = ["behaviour of the machine code:"]
    for s in same["stubs"]:
        where = f"{symbols(s['names']) or 'everything'} ({', '.join(s['configurations'])})"
        out.append(f"  {s['verdict']:10} {where}" + (f": {s['detail']}" if s["detail"] else ""))
        if s["state"]:
            out.append("             for example with " + ", ".join(f"{k} = {v:#x}" for k, v in s["state"].items()))
    return [*out, f"  {same['conclusion']}"]


def markdown(data: Data) -> str:
    """For reviews: one table a level."""
    def cell(value: str) -> str:
        return re.sub(r"[\\`*\[|]", r"\\\g<0>", printable(value).replace("&", "&amp;").replace("<", "&lt;"))

    out = [f"## {cell(data['old']['name'])} → {cell(data['new']['name'])}", ""]
    for level in LEVELS:
        rows = [r for r in data["rows"] if r["level"] == level]
        if rows:
            out += [f"### {level}", "", "| rule | category | what | where it stands |", "|---|---|---|---|"]
            out += [f"| {r['rule']} | {r['category']} | {'<br>'.join(map(cell, [whole(r), *r['notes']]))} | {cell(_at(r))} |" for r in rows]
            out.append("")
    if data["accepted"]:
        out += ["### accepted", "", *(f"- {r['rule']} {cell(whole(r))}: {cell(r['reason'])}" for r in data["accepted"]), ""]
    for delta in data["layout"]:
        out += ["```", *layout_lines(delta), "```", ""]
    if data["effects"] is not None:
        out += ["```", *effects_lines(data["effects"]), "```", ""]
    if data["same"] is not None:
        out += ["```", *same_lines(data["same"]), "```", ""]
    return "\n".join([*out, data["summary"]["text"]]) + "\n"


def changelog(data: Data) -> str:
    """For release notes: what whom meets, without codes and line numbers."""
    out: list[str] = []
    for category in CATEGORIES[:4]:             # what nobody outside sees is left out
        rows = [r for r in data["rows"] if r["category"] == category]
        if rows:
            out += [f"{category}:", *(f"  - {'(breaking) ' if r['level'] == 'breaking' else ''}{printable(whole(r))}" for r in rows), ""]
    return "\n".join(out) if out else "no change that users of the kernel or its C code see\n"


def html(data: Data) -> str:
    """A page with both frames side by side; it runs no script and loads nothing."""
    from .page import page
    return page(data)


def rules_text() -> str:
    """`entryc diff --rules`."""
    return "\n".join(f"{r.code}  {r.category:10} {_levels(r):56} {r.title}" for r in RULES.values()) + "\n"


def _levels(rule: Rule) -> str:
    return ", ".join(f"{kind} {rule.weigh(kind)[1]}" for kind in rule.levels if kind != "moved")


def explained(rule: Rule) -> str:
    """`entryc explain D111`."""
    rows = [f"  {kind:13} {rule.weigh(kind)[1]:11} {rule.weigh(kind)[0]}" for kind in rule.levels]
    return "\n".join([f"{rule.code}: {rule.title}", "", rule.purpose, "", "how it weighs:", *rows]) + "\n"
