"""Windows: where code of the kernel runs while something is still the user's, or already. Only these steps are written out."""

from __future__ import annotations

from dataclasses import dataclass

from .along import Along, Stage, words
from .svg import GLYPH, area, legend, line, picture, short

ROW, TEXT, STRIPE, WIDEST = 20, 430, 92, 54
SIDE = 330                                      # right of the columns: what a window lacks, and its length


@dataclass(frozen=True)
class Window:
    """Steps `first` … `last` (exclusive) of a stage, before each of which some columns are the user's."""

    stage: Stage
    first: int
    last: int
    lacking: tuple[str, ...]                    # the columns, in order

    @property
    def code(self) -> int:
        """Instructions."""
        return sum(m.code for m in self.stage.moments[self.first:self.last])


def windows_of(along: Along) -> list[Window]:
    """All windows, in the order of the spec."""
    heads = along.reached_through
    out: list[Window] = []
    for stage in along.stages:
        mine = [tuple(h for h in heads if along.owner(h, stage.values[h][i]) == "user") for i in range(len(stage.moments))]
        index = 0
        while index < len(mine):
            end = index
            while end < len(mine) and mine[end]:
                end += 1
            if end > index:
                out.append(Window(stage, index, end, tuple(h for h in heads if any(h in row for row in mine[index:end]))))
            index = max(end, index + 1)
    return out


def windows_svg(along: Along, name: str = "windows") -> str:
    """The picture: each window with its steps; the steps around are counted."""
    heads, rows = along.reached_through, windows_of(along)
    title = f"Windows of {along.spec.name}, configuration {along.configuration.name}"
    body = [line(10, 30, title, "strong"), line(10, 50, "code of the kernel that runs while something is the user's; each row shows what is so before the step",
                                                "dim"), *legend(10, 74, name)]
    right = TEXT + STRIPE * len(heads)
    y = 98
    if along.spec.windows:
        named = ", ".join(f"{w.name} where {w.subject} = {w.value}" for w in along.spec.windows.values())
        body.append(line(10, y, short(f"labels in the code: {named}", 110), "dim", title=named))
        y += 24
    body += [line(TEXT + STRIPE * i + 4, y, short(head, 11), "dim", title=head) for i, head in enumerate(heads)]
    y += 6
    stage: Stage | None = None
    for window in rows:
        if window.stage is not stage:
            stage = window.stage
            y += ROW + 6
            body.append(line(10, y, stage.title, "strong"))
        if window.first:
            y += ROW
            body.append(line(22, y, _count(window.first, "step") + " before", "dim"))
        top = y + ROW - 14
        body += _steps(along, window, heads, y, name)
        y += ROW * (window.last - window.first)
        body.append(f'<path class="mark" d="M{right + 2} {top}h6V{y + 4}h-6"/>')
        middle = (top + y + 4) // 2
        body += [line(right + 16, middle - 3, f"{_count(window.code, 'instruction')}:", "strong"),
                 line(right + 16, middle + 13, f"{_list(window.lacking)} the user's", "dim")] if window.last - window.first > 1 else \
                [line(right + 16, y, f"{_count(window.code, 'instruction')}: {_list(window.lacking)} the user's")]
        after = len(window.stage.moments) - window.last
        if after and not any(w.stage is window.stage and w.first >= window.last for w in rows):
            y += ROW
            body.append(line(22, y, _count(after, "step") + " after", "dim"))
    if not rows:
        y += ROW
        body.append(line(22, y, "none: no step of any path runs while something is the user's"))
    description = " ".join(f"{w.stage.title}: {_count(w.code, 'instruction')} with {_list(w.lacking)} of the user, "
                           f"from '{w.stage.moments[w.first].text}' to '{w.stage.moments[w.last - 1].text}'." for w in rows)
    width = max(right + SIDE, 20 + len(title) * GLYPH, 700)
    return picture(name, title, description or "no window", width, y + 24, body) + "\n"


def _steps(along: Along, window: Window, heads: list[str], top: int, name: str) -> list[str]:
    """The steps of a window, with what is so before each."""
    moments = window.stage.moments[window.first:window.last]
    out = [line(22, top + ROW * (i + 1), short(m.text, WIDEST), "strong" if m.kind != "step" else "", title=m.text if len(m.text) > WIDEST else "")
           for i, m in enumerate(moments)]
    for number, head in enumerate(heads):
        for i in range(len(moments)):
            value, x, y = window.stage.values[head][window.first + i], TEXT + STRIPE * number, top + ROW * (i + 1)
            out += [*area(x, y - 14, STRIPE - 4, ROW, along.owner(head, value), name), line(x + 4, y, short(value, 11), title=words(head, value))]
    return out


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(names[:-1]) + f" and {names[-1]}" if len(names) > 1 else names[0]
