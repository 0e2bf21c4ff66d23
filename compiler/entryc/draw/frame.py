"""A frame as a picture: one row a word, the lowest address at the bottom, as a stack grows."""

from __future__ import annotations

from typing import Any

from ..model.expr import show
from ..model.spec import Frame, Slot, Spec
from .svg import GLYPH, box, escape, line, n, picture, short

ROW = 24                                        # height of a word
PAD = 10
LONGEST = 40                                    # characters of a name that are shown; the rest is in its title
LABEL = 54                                      # above the first row

WORDS = {"cpu": "pushed by the CPU", "some": "by the CPU for some events", "entry": "saved by the entry code", "c": "written by C", "": ""}


def frame_row(spec: Spec, frame: Frame) -> dict[str, Any]:
    """A frame as plain data: what the picture and the report show. Offsets and sizes in bytes, the lowest address first."""
    word = spec.arch.word_bytes
    return {"name": frame.name, "c_name": frame.c_name, "size": frame.size, "word": word, "at": str(frame.span),
            "slots": [{"name": s.name, "offset": s.offset, "size": word, "kind": s.source, "origin": _origin(s), "hardware": s.hardware}
                      for s in sorted(frame.slots.values(), key=lambda s: s.offset)]}


def _origin(slot: Slot) -> str:
    """Where a slot's value comes from, in words."""
    if slot.source == "home":
        return f"interrupted {slot.home}"
    if slot.source == "c":
        return "written by C"
    text = {"number": "the vector's number", "error_code": "the CPU's error code"}.get(slot.source, "")
    other = show(slot.other) if slot.other is not None else ""
    return f"{text}, else {other}" if text and other else text or other


def frame_svg(frame: dict[str, Any], number: int = 0) -> str:
    """A frame as frame_row describes it. `number` keeps the ids of several pictures on a page apart."""
    slots = sorted(frame["slots"], key=lambda s: s["offset"], reverse=True)
    rows = _rows(slots, int(frame["size"]), int(frame["word"]))
    name_width = max([len(short(s["name"], LONGEST)) for s in slots] + [8]) * GLYPH
    origin_width = max([len(short(s["origin"], LONGEST)) for s in slots] + [8]) * GLYPH
    left = _columns(frame["size"])[1] + 2 * PAD
    inside = name_width + origin_width + 4 * PAD
    title = f"{frame['c_name']}: {frame['size']} bytes"
    out = [line(PAD, 20, short(title, 60), "strong"), *_offset(frame["size"], LABEL - 12, frame["size"]),
           line(left, LABEL - 12, "end of the frame, higher addresses above", "dim")]
    for index, (slot, size) in enumerate(rows):
        out += _slot(slot, size, LABEL + index * ROW, left, inside, name_width, int(frame["size"]))
    out += _groups(rows, left + inside + PAD)
    out.append(line(left, LABEL + len(rows) * ROW + 18, f"↑ {short(frame['name'], LONGEST)} points here, lowest address", "dim"))
    return picture(f"frame{number}", title, _description(slots), left + inside + 3 * PAD + max(len(w) for w in WORDS.values()) * GLYPH,
                   LABEL + len(rows) * ROW + 34, out)


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


def _slot(slot: dict[str, Any], size: int, top: int, left: float, inside: float, name_width: float, whole: int) -> list[str]:
    middle = top + ROW - 8
    group = _group(slot)
    note = f"{slot['name'] or 'hole'} at {slot['offset']:#x}, {size} bytes: {slot['origin']}" + (f", {WORDS[group]}" if group else "")
    return [f"<g><title>{escape(note)}</title>", box(left, top, inside, ROW, group if group in ("cpu", "some") else ""),
            *_offset(slot["offset"], middle, whole), line(left + PAD, middle, short(slot["name"], LONGEST), "strong"),
            line(left + name_width + 3 * PAD, middle, short(slot["origin"], LONGEST)), "</g>"]


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
            out.append(f'<path class="mark" d="M{n(x)} {top}h5V{bottom}h-5"/>')
            out.append(line(x + 12, (top + bottom) // 2 + 4, words))
        start = end
    return out


def _columns(whole: int) -> tuple[float, float]:
    """Where the columns of offsets end: hexadecimal and decimal, as wide as the size of the frame needs."""
    first = PAD + (len(hex(whole)) + 1) * GLYPH
    return first, first + (len(str(whole)) + 2) * GLYPH


def _offset(offset: int, y: int, whole: int) -> list[str]:
    first, second = _columns(whole)
    return [line(first, y, f"+{offset:#x}", "dim", end=True), line(second, y, str(offset), "dim", end=True)]


def _description(slots: list[dict[str, Any]]) -> str:
    """The picture in words, from the highest address down."""
    return "; ".join(f"{s['offset']:#x} {s['name']}: {s['origin']}" + f", {WORDS[_group(s)]}" for s in slots)
