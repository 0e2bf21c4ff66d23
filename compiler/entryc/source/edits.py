"""Edits of a source text that a finding proposes: made from spans, shown, and applied together."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from .text import SourceFile, Span


@dataclass(frozen=True)
class Edit:
    """Put `text` in the place of the span; an empty span is an insertion."""

    span: Span
    text: str


Edits = tuple[Edit, ...]


def offset(file: SourceFile, line: int, column: int) -> int:
    """Where a place is in the text, in characters from its start."""
    return sum(len(x) + 1 for x in file.lines[:line - 1]) + column - 1


def _place(file: SourceFile, at: int) -> tuple[int, int]:
    head = file.text[:at]
    return head.count("\n") + 1, at - head.rfind("\n")


def _span(file: SourceFile, start: int, end: int) -> Span:
    return Span(file, *_place(file, start), *_place(file, end))


def _range(span: Span) -> tuple[int, int]:
    return offset(span.file, span.line, span.column), offset(span.file, span.end_line, span.end_column)


def written(span: Span) -> str:
    """The text that a span covers."""
    start, end = _range(span)
    return span.file.text[start:end]


def step_before(span: Span, step: str) -> Edits:
    """A step put before the one at the span: on a line of its own where that one has one."""
    start, _ = _range(span)
    line = span.file.lines[span.line - 1]
    if line[:span.column - 1].rstrip()[-1:] not in ("", ";", "{"):
        return ()                               # no step starts here
    indent = line[:span.column - 1]
    return (Edit(_span(span.file, start, start), f"{step}\n{indent}" if not indent.strip() else f"{step}; "),)


def step_removed(span: Span) -> Edits:
    """A step taken away, with the ';' or the line that it had for itself."""
    text = span.file.text
    start, end = _range(span)
    if after := re.compile(r"[ \t]*;[ \t]*").match(text, end):
        end = after.end()
    elif before := re.search(r"[ \t]*;[ \t]*$", text[:start]):
        start = before.start()
    if (head := re.search(r"(^|\n)[ \t]*$", text[:start])) and (tail := re.compile(r"[ \t]*(\n|$)").match(text, end)):
        start, end = head.end(1), tail.end()
    return (Edit(_span(span.file, start, end), ""),)


def replaced(span: Span, old: str, new: str) -> Edits:
    """A word (or any text) of the span in another spelling; nothing when it does not stand there once."""
    start, end = _range(span)
    text = span.file.text[start:end]
    edge = r"(?<![\w.])" if old[:1].isalnum() or old[:1] == "_" else ""
    found = list(re.finditer(edge + re.escape(old) + (r"(?!\w)" if old[-1:].isalnum() or old[-1:] == "_" else ""), text))
    if len(found) != 1:
        return ()
    return (Edit(_span(span.file, start + found[0].start(), start + found[0].end()), new),)


def appended(span: Span, text: str) -> Edits:
    """Text directly behind the span."""
    _, end = _range(span)
    return (Edit(_span(span.file, end, end), text),)


def prefixed(span: Span, text: str) -> Edits:
    """Text directly before the span."""
    start, _ = _range(span)
    return (Edit(_span(span.file, start, start), text),)


def inside(span: Span, text: str) -> Edits:
    """Text before the brace that closes the span's item."""
    start, end = _range(span)
    close = span.file.text.rfind("}", start, end)
    if close < 0:
        return ()
    at = len(span.file.text[:close].rstrip())
    return (Edit(_span(span.file, at, at), text),)


def respelt(span: Span, message: str, help: str) -> Edits:
    """The edit that a help "did you mean 'x'?" describes: of the name that the message quotes last, or of the word that the line starts with."""
    found = re.fullmatch(r"did you mean '(\w+)'\?", help)
    if not found:
        return ()
    from difflib import SequenceMatcher
    quoted = re.findall(r"'&?(\w+)[\w.]*'", message.split(";")[0])
    line = span.file.lines[span.line - 1]
    words = re.findall(r"[A-Za-z]\w*", line[:span.column - 1])[::-1]
    whole = Span(span.file, span.line, 1, span.line, span.column)
    places = [*((w, replaced(span, w, found[1])) for w in quoted[-1:]), *((w, replaced(whole, w, found[1])) for w in words)]
    near = ((SequenceMatcher(None, w, found[1]).ratio(), edits) for w, edits in places if edits and w != found[1])
    return next((edits for ratio, edits in near if ratio >= 0.6), ())


def applied(file: SourceFile, edits: Iterable[Edit]) -> str:
    """The text after those edits of the file that do not touch each other; of two that do, the first one."""
    out: list[str] = []
    at = 0
    ranges = dict.fromkeys((*_range(e.span), e.text) for e in edits if e.span.file is file or e.span.file.name == file.name)
    for start, end, text in sorted(ranges, key=lambda r: r[:2]):
        if start < at or (out and start == at and start == end):
            continue
        out += [file.text[at:start], text]
        at = end
    return "".join([*out, file.text[at:]])


def shown(edits: Edits) -> list[tuple[str, int, str]]:
    """What edits of one place change, as lines: (sign, line number, text). Nothing when they are far apart."""
    if not edits:
        return []
    file = edits[0].span.file
    first, last = min(e.span.line for e in edits), max(e.span.end_line for e in edits)
    if last - first > 4 or any(e.span.file is not file for e in edits):
        return []
    new = applied(file, edits).split("\n")
    rest = len(file.lines) - last
    old_lines, new_lines = file.lines[first - 1:last], new[first - 1:len(new) - rest]
    while old_lines and new_lines and old_lines[-1] == new_lines[-1]:
        old_lines, new_lines = old_lines[:-1], new_lines[:-1]
    while old_lines and new_lines and old_lines[0] == new_lines[0]:
        old_lines, new_lines, first = old_lines[1:], new_lines[1:], first + 1
    return [*(("-", first + i, x) for i, x in enumerate(old_lines)), *(("+", first + i, x) for i, x in enumerate(new_lines))]
