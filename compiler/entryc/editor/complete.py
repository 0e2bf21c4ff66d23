"""What can be written at a place: words that the grammar allows there, names of the kinds that fit."""

from __future__ import annotations

from dataclasses import dataclass

from .. import resources
from .kinds import EXPRESSION, SLOT, VALUE, expected, subject_of
from .look import PREFIXES, Look
from .place import Place, dotted_at, place_at, words_after

SPECIAL = {"needs": ("stack", "gprs"), "where": ("stack",)}     # subjects of facts that nobody declares


@dataclass(frozen=True)
class Offer:
    """A word or a name. kind: "keyword", or what the name is."""

    text: str
    kind: str
    detail: str = ""


def complete(look: Look, line: int, column: int) -> list[Offer]:
    """All that fits at a place, both from 0, names first; what is typed already of the word at hand does not matter."""
    row = look.text.split("\n")[line] if line < look.text.count("\n") + 1 else ""
    start = column
    while start and (row[start - 1].isalnum() or row[start - 1] == "_"):
        start -= 1
    if start and row[start - 1] == "." and not row[:start].endswith(".."):
        return _members(look, line, start)
    if dotted_at(look.text[:_offset(look.text, line, start)] + "x", line, start) is None:
        return []                               # in a comment or a text
    place = place_at(look.language, look.text, line, start)
    valued = bool(subject_of(place)) and bool(look.find("state", subject_of(place)))        # a state takes one of its values
    offers = [*_names(look, place, valued), *(Offer(w, "keyword") for w in (() if valued else words_after(look.language, place)))]
    return list({(o.text, o.kind): o for o in offers}.values())


def _offset(text: str, line: int, column: int) -> int:
    """The index of a place in the text."""
    return sum(len(row) + 1 for row in text.split("\n")[:line]) + column


def _members(look: Look, line: int, start: int) -> list[Offer]:
    """After a dot: slots of a frame, words of a memory block, registers."""
    before = dotted_at(look.text, line, start - 1)
    if before is None:
        return []
    parts = look.text.split("\n")[line][before.start:start - 1].split(".")
    owner, rest = parts[0], "".join(p + "." for p in parts[1:])
    out: list[Offer] = []
    if owner in PREFIXES and not rest:
        return [Offer(n.name, n.kind) for _, n in look.names if n.kind == PREFIXES[owner]]
    if look.spec is not None and owner in look.spec.frames and not rest:
        out = [Offer(s.name, SLOT, f"offset {s.offset:#x}") for s in look.spec.frames[owner].slots.values()]
    elif look.spec is not None and owner in look.spec.memories:
        cells = look.spec.memories[owner].cells.values()
        out = [Offer(c.name.removeprefix(rest), "word", f"offset {c.offset:#x}") for c in cells if c.name.startswith(rest)]
    out += [Offer(n.name, n.kind) for _, n in look.names if n.inside == owner and n.kind in (SLOT, "word") and not rest
            and n.name not in (o.text for o in out)]
    return out + [Offer(n.name.removeprefix(f"{owner}.{rest}"), "event") for _, n in look.names if n.kind == "event" and n.name.startswith(f"{owner}.{rest}")]


def _names(look: Look, place: Place, valued: bool) -> list[Offer]:
    if "NAME" not in place.terminals:
        return []
    first = place.statement[0].text if place.statement else ""
    if place.keyword == "arch" and look.language == "entry":
        return [Offer(name, "CPU") for name in resources.arch_names()]
    kinds = expected(place) if look.language == "entry" else ("register", "flag mask", "flag bit", "form", "setup value", "hardware stack")
    out: list[Offer] = []
    if place.statement and place.statement[-1].text != "=":
        out += [Offer(name, "keyword") for name in SPECIAL.get(first, ()) if "state" in kinds]
    inside = subject_of(place) or (place.item[1].text if len(place.item) > 1 else "")
    for kind in kinds:
        if kind == VALUE:
            out += [Offer(n.name, kind, f"of state {inside}") for _, n in look.names if n.kind == kind and n.inside == inside]
        elif kind == SLOT:
            frame = _frame(look, place)
            slots = list(look.spec.frames[frame].slots) if look.spec is not None and frame in look.spec.frames else \
                [n.name for _, n in look.names if n.kind == SLOT and n.inside == frame]
            out += [Offer(name, kind, f"of frame {frame}") for name in slots]
        elif valued and kind in EXPRESSION:
            continue
        else:
            out += [Offer(n.name if kind != "label" else f"{n.inside}_{n.name}", kind) for _, n in look.names if n.kind == kind]
    return out


def _frame(look: Look, place: Place) -> str:
    """The frame of save FRAME { … }: named by the statement that opened the innermost block."""
    return next((w.text for w in place.opener[1:2]), "")
