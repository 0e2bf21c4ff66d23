"""A frame as a picture: one row a word, the lowest address at the bottom, as a stack grows. Plain SVG: no script, nothing from elsewhere.

Colours follow the reader's mode: text takes the colour of the surroundings, areas are tints of it, and a picture opened on its own sets both.
Widths are counted in characters of a monospaced font, which is the same on every machine.
"""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import escape as xml_escape

from ..source.finding import printable

ROW = 24                                        # height of a word
GLYPH = 7.25                                    # width of a character at 12 px
PAD = 10
LONGEST = 40                                    # characters of a name that are shown; the rest is in its title
LABEL = 34

STYLE = """
.frame { color: #1c2128; color-scheme: light dark }
.frame text { font: 12px ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: currentColor }
.frame .dim { fill-opacity: .66 }
.frame .strong { font-weight: 600 }
.frame rect, .frame path { fill: none; stroke: currentColor; stroke-width: 1; stroke-opacity: .45 }
.frame .cpu { fill: currentColor; fill-opacity: .13 }
.frame .some { fill: currentColor; fill-opacity: .05 }
.frame .mark { stroke-opacity: .7 }
@media (prefers-color-scheme: dark) { .frame { color: #e0e3e8 } }
@media print { .frame { color: #000 } }
"""

WORDS = {"cpu": "pushed by the CPU", "some": "by the CPU for some events", "entry": "saved by the entry code", "c": "written by C", "": ""}


def escape(text: str) -> str:
    """Any text as content or as an attribute's value."""
    return xml_escape(printable(text.replace("\t", " ")), {'"': "&quot;", "'": "&#39;"})


def short(text: str, most: int = LONGEST) -> str:
    return text if len(text) <= most else text[:most - 1] + "…"


def frame_svg(frame: dict[str, Any], number: int = 0) -> str:
    """A frame as data.py describes it. `number` keeps the ids of several pictures on a page apart."""
    slots = sorted(frame["slots"], key=lambda s: s["offset"], reverse=True)
    rows = _rows(slots, int(frame["size"]), int(frame["word"]))
    name_width = max([len(short(s["name"])) for s in slots] + [8]) * GLYPH
    origin_width = max([len(short(s["origin"])) for s in slots] + [8]) * GLYPH
    left = _columns(frame["size"])[1] + 2 * PAD
    box = name_width + origin_width + 4 * PAD
    width = left + box + 3 * PAD + max(len(w) for w in WORDS.values()) * GLYPH
    height = LABEL + len(rows) * ROW + LABEL
    title = f"{frame['c_name']}: {frame['size']} bytes"
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" class="frame" role="img" aria-labelledby="frame{number}-title frame{number}-text" '
           f'viewBox="0 0 {_n(width)} {_n(height)}" width="{_n(width)}" height="{_n(height)}">',
           f'<title id="frame{number}-title">{escape(title)}</title>',
           f'<desc id="frame{number}-text">{escape(_description(slots))}</desc>', f"<style>{STYLE}</style>",
           *_offset(frame["size"], LABEL - 12, frame["size"]), _text(left, LABEL - 12, "end of the frame, higher addresses above", "dim")]
    for index, (slot, size) in enumerate(rows):
        out += _slot(slot, size, LABEL + index * ROW, left, box, name_width, int(frame["size"]))
    out += _groups(rows, left + box + PAD)
    out.append(_text(left, LABEL + len(rows) * ROW + 18, f"↑ {short(frame['name'])} points here, lowest address", "dim"))
    return "\n".join([*out, "</svg>"])


def _rows(slots: list[dict[str, Any]], size: int, word: int) -> list[tuple[dict[str, Any], int]]:
    """(slot, its size) from the highest address down; a place that no slot covers is a slot without a name."""
    out: list[tuple[dict[str, Any], int]] = []
    end = size
    for slot in slots:
        after = slot["offset"] + slot.get("size", word)
        if after < end:
            out.append(({"name": "", "origin": f"hole of {end - after} bytes", "offset": after, "kind": "hole", "hardware": False}, end - after))
        out.append((slot, slot.get("size", word)))
        end = slot["offset"]
    if end > 0:
        out.append(({"name": "", "origin": f"hole of {end} bytes", "offset": 0, "kind": "hole", "hardware": False}, end))
    return out


def _group(slot: dict[str, Any]) -> str:
    """Who writes a slot: a key of WORDS."""
    return "cpu" if slot["hardware"] else {"error_code": "some", "c": "c", "hole": ""}.get(slot["kind"], "entry")


def _slot(slot: dict[str, Any], size: int, top: int, left: float, box: float, name_width: float, whole: int) -> list[str]:
    middle = top + ROW - 8
    group = _group(slot)
    kind = f' class="{group}"' if group in ("cpu", "some") else ""
    note = f"{slot['name'] or 'hole'} at {slot['offset']:#x}, {size} bytes: {slot['origin']}" + (f", {WORDS[group]}" if group else "")
    return [f"<g><title>{escape(note)}</title>", f'<rect{kind} x="{_n(left)}" y="{top}" width="{_n(box)}" height="{ROW}"/>',
            *_offset(slot["offset"], middle, whole), _text(left + PAD, middle, short(slot["name"]), "strong"),
            _text(left + name_width + 3 * PAD, middle, short(slot["origin"])), "</g>"]


def _groups(rows: list[tuple[dict[str, Any], int]], x: float) -> list[str]:
    """A bracket beside each run of rows with the same writer, with its label."""
    out: list[str] = []
    start = 0
    while start < len(rows):
        end = start
        while end < len(rows) and _group(rows[end][0]) == _group(rows[start][0]):
            end += 1
        words = WORDS[_group(rows[start][0])]
        if words:
            top, bottom = LABEL + start * ROW + 3, LABEL + end * ROW - 3
            out.append(f'<path class="mark" d="M{_n(x)} {top}h5V{bottom}h-5"/>')
            out.append(_text(x + 12, (top + bottom) // 2 + 4, words))
        start = end
    return out


def _columns(whole: int) -> tuple[float, float]:
    """Where the columns of offsets end: hexadecimal and decimal, as wide as the size of the frame needs."""
    first = PAD + (len(hex(whole)) + 1) * GLYPH
    return first, first + (len(str(whole)) + 2) * GLYPH


def _offset(offset: int, y: int, whole: int) -> list[str]:
    first, second = _columns(whole)
    return [_text(first, y, f"+{offset:#x}", "dim", end=True), _text(second, y, str(offset), "dim", end=True)]


def _text(x: float, y: int, text: str, kind: str = "", end: bool = False) -> str:
    """A line of text that starts, or ends, at x."""
    attributes = (f' class="{kind}"' if kind else "") + (' text-anchor="end"' if end else "")
    return f'<text{attributes} x="{_n(x)}" y="{y}">{escape(text)}</text>'


def _n(value: float) -> str:
    """A coordinate with at most two decimals, written the same everywhere."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _description(slots: list[dict[str, Any]]) -> str:
    """The picture in words, from the highest address down."""
    return "; ".join(f"{s['offset']:#x} {s['name']}: {s['origin']}" + f", {WORDS[_group(s)]}" for s in slots)
