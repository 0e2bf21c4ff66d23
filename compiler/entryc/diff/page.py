"""A comparison as one HTML page; the template decides nothing."""

from __future__ import annotations

from typing import Any

from ..report.page import environment
from .rules import LEVELS, RULES

Data = dict[str, Any]
HEIGHT = 22                                     # pixels of a slot in the picture of a frame


def page(data: Data) -> str:
    """The page of what result.py describes. It runs no script and loads nothing."""
    from .render import SIGNS, effects_lines, places, same_lines, sentence
    levels = [{"name": level, "rows": [
        {"rule": r["rule"], "purpose": RULES[r["rule"]].purpose, "category": r["category"], "where": places(r["places"]), "what": sentence(r),
         "sign": SIGNS.get(r["kind"], "~"), "at": r["new_at"] or r["old_at"] or "", "notes": r["notes"]}
        for r in data["rows"] if r["level"] == level]} for level in LEVELS]
    return environment().get_template("report/diff.html.j2").render(
        title=f"{data['old']['name']} → {data['new']['name']}", old=data["old"]["name"], new=data["new"]["name"], summary=data["summary"]["text"],
        levels=[x for x in levels if x["rows"]], accepted=[{"rule": r["rule"], "where": places(r["places"]), "what": sentence(r), "reason": r["reason"]}
                                                           for r in data["accepted"]],
        layouts=[_layout(d) for d in data["layout"]],
        effects=None if data["effects"] is None else "\n".join(effects_lines(data["effects"])),
        same=None if data["same"] is None else "\n".join(same_lines(data["same"])))


def _layout(delta: Data) -> Data:
    """Both structs as columns of boxes, each as high as it is long."""
    words = {"+": "new", "-": "gone", "~": "moved", " ": "kept"}
    marks = {x["name"]: words[x["mark"]] for x in delta["lines"]}
    columns = []
    for side in ("old", "new"):
        members = sorted(([x["name"], *x[side]] for x in delta["lines"] if x[side]), key=lambda m: m[1])
        boxes = [{"name": name, "offset": f"{offset:#05x}", "size": size, "mark": marks[name], "height": max(HEIGHT, min(size // 8, 8) * HEIGHT)}
                 for name, offset, size in members]
        columns.append({"name": side, "size": delta[f"{side}_size"], "boxes": boxes})
    return {"name": delta["name"], "columns": columns}
