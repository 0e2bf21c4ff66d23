"""States along paths: one block a path and arm, one row a step, a column for the stack and for each state, tinted by whose the value is."""

from __future__ import annotations

from .along import Along, Stage, words
from .svg import GLYPH, area, escape, legend, line, picture, short

ROW, TEXT, STRIPE, WIDEST = 20, 430, 92, 56     # height of a step; width of its text, of a state's column; characters of a step


def states_svg(along: Along, only: str | None = None, name: str = "states") -> str:
    """The picture of all paths, or of one."""
    rows = [s for s in along.stages if only in (None, s.path)]
    heads = along.columns
    about = only or along.spec.name
    title = f"States along {'path' if only else 'the paths of'} {about}, configuration {along.configuration.name}"
    body = [line(10, 30, title, "strong"), *legend(10, 54, name), *_heads(heads, 78)]
    y = 84
    for stage in rows:
        y += ROW
        body.append(line(10, y, stage.title, "strong"))
        body += _stage(along, stage, heads, y, name)
        y += ROW * (len(stage.moments) + 1)
        y += 6
    width = max(TEXT + STRIPE * len(heads) + 20, 20 + len(title) * GLYPH)
    return picture(name, title, describe(rows, heads), width, y + 20, body) + "\n"


def _heads(heads: list[str], y: int) -> list[str]:
    return [line(TEXT + STRIPE * i + 4, y, short(head, 11), "dim", title=head) for i, head in enumerate(heads)]


def _stage(along: Along, stage: Stage, heads: list[str], top: int, name: str) -> list[str]:
    """Steps with what is so after them, the first row on arrival. A value is an area as long as it lasts, strong where it is new."""
    out = [line(22, top + ROW, "on arrival", "dim")]
    out += [line(22, top + ROW * (i + 2), short(m.text, WIDEST), "strong" if m.kind != "step" else "", title=m.text if len(m.text) > WIDEST else "")
            for i, m in enumerate(stage.moments)]
    for number, head in enumerate(heads):
        x, values, start = TEXT + STRIPE * number, stage.values[head], 0
        while start < len(values):
            end = next((i for i in range(start, len(values)) if values[i] != values[start]), len(values))
            y = top + ROW * (start + 1)
            out += [f"<g><title>{escape(words(head, values[start]))}</title>",
                    *area(x, y - 14, STRIPE - 4, ROW * (end - start) - 2, along.owner(head, values[start]), name)]
            out += [line(x + 4, y + ROW * i, short(values[start], 11), "dim" if i else "strong") for i in range(end - start)]
            out.append("</g>")
            start = end
    return out


def describe(rows: list[Stage], heads: list[str]) -> str:
    """Where each value changes, in words."""
    out: list[str] = []
    for stage in rows:
        parts = ["arrives with " + ", ".join(words(h, stage.values[h][0]) for h in heads)]
        for index, moment in enumerate(stage.moments, 1):
            changed = [words(h, stage.values[h][index]) for h in heads if stage.values[h][index] != stage.values[h][index - 1]]
            if changed:
                parts.append(f"{moment.text}: {', '.join(changed)}")
        out.append(f"{stage.title} {'; '.join(parts)}.")
    return " ".join(out)
