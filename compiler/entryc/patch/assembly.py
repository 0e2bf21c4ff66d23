"""Assembly source: where a symbol's code stands in a file, and what it says besides comments and blanks."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Region:
    """Lines [first, last) of a text."""

    first: int
    last: int


def region_between(lines: list[str], start: str, end: str) -> Region | None:
    """From the only line that is `start` to the next one that is `end`, both included; None: not exactly one."""
    starts = [i for i, line in enumerate(lines) if _code(line) == start]
    if len(starts) != 1:
        return None
    for i in range(starts[0], len(lines)):
        if _code(lines[i]) == end:
            return Region(starts[0], i + 1)
    return None


def part_of(lines: list[str], region: Region, first: str, last: str) -> Region | None:
    """From the only line that is `first` to the next one that is `last`, within a region."""
    inside = region_between(lines[region.first:region.last], first, last)
    return Region(region.first + inside.first, region.first + inside.last) if inside is not None else None


def macro_region(lines: list[str], name: str) -> Region | None:
    """What stands between the line that begins an assembler macro and the one that ends it; None: not exactly one."""
    starts = [i for i, line in enumerate(lines) if _code(line).split()[:2] == [".macro", name]]
    ends = [i for i, line in enumerate(lines) if starts and i > starts[0] and _code(line) == ".endm"]
    return Region(starts[0] + 1, ends[0]) if len(starts) == 1 and ends else None


def _code(line: str) -> str:
    """A line without a comment at its end."""
    return line.split("/*")[0].split("//")[0].strip()


def logic(text: str) -> str:
    """What a piece of source says: without comments, blank lines and differences of blanks. Strings stay as they are."""
    out: list[str] = []
    i = 0
    while i < len(text):
        if text.startswith("/*", i):
            end = text.find("*/", i + 2)
            out.append(" ")
            i = len(text) if end < 0 else end + 2
        elif text.startswith("//", i):
            end = text.find("\n", i)
            i = len(text) if end < 0 else end
        elif text[i] in "\"'":
            end = i + 1
            while end < len(text) and text[end] not in (text[i], "\n"):
                end += 2 if text[end] == "\\" else 1
            out.append(text[i:end + 1])
            i = end + 1
        else:
            out.append(text[i])
            i += 1
    lines = (" ".join(line.split()).replace(" ,", ",").replace(", ", ",") for line in "".join(out).split("\n"))
    return "\n".join(line for line in lines if line)


def fingerprint(text: str) -> str:
    """Sixteen hexadecimal digits that are the same for sources that say the same."""
    return hashlib.sha256(logic(text).encode()).hexdigest()[:16]
