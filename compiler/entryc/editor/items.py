"""A text as items that are parsed one by one: what is half-typed spoils its own item, and what did not change is not parsed again."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from lark import Tree

from ..source.finding import Findings
from ..source.parse import parse, parser
from ..source.text import SourceFile


@dataclass(frozen=True)
class Chunk:
    """Some lines of a text: one item, or several that share lines. `first` is the index of its first line."""

    first: int
    text: str

    @property
    def end(self) -> int:
        """The index of the line behind it."""
        return self.first + self.text.count("\n")


@lru_cache(maxsize=4)
def heads(language: str) -> frozenset[str]:
    """The words that an item can start with."""
    state: Any = parser(language).parse_interactive("")
    names = state.accepts()
    return frozenset(str(t.pattern.value) for t in parser(language).terminals if t.name in names and t.pattern.type == "str")


def chunks(language: str, text: str) -> list[Chunk]:
    """The text, cut before each line that starts with the head of an item; in a text whose braces fit, only outside of braces."""
    lines = text.split("\n")
    depths = _depths(lines)
    whole = depths[-1] == 0 and min(depths) >= 0
    starts = [0]
    for index, line in enumerate(lines):
        if index and _word(line) in heads(language) and (depths[index] == 0 or not whole):
            starts.append(index)
    return [Chunk(start, "\n".join(lines[start:end]) + "\n") for start, end in zip(starts, [*starts[1:], len(lines)], strict=True)]


def _word(line: str) -> str:
    """The word in column 1."""
    end = 0
    while end < len(line) and (line[end].isalnum() or line[end] == "_"):
        end += 1
    return line[:end]


def _depths(lines: list[str]) -> list[int]:
    """How many braces are open before each line, and at the end."""
    out, depth = [0], 0
    for line in lines:
        code = bare(line)
        depth += code.count("{") - code.count("}")
        out.append(depth)
    return out


def bare(line: str) -> str:
    """A line without its comment; texts in quotes are blanked."""
    out: list[str] = []
    quoted = False
    for char in line:
        if char == "#" and not quoted:
            break
        if char == '"':
            quoted = not quoted
        out.append("x" if quoted and char != '"' else char)
    return "".join(out)


def comment_start(line: str) -> int | None:
    """The column, from 0, where the line's comment starts."""
    length = len(bare(line))
    return length if length < len(line) else None


@lru_cache(maxsize=4096)
def trees_of(language: str, text: str) -> tuple[Tree[Any], ...]:
    """The items of a chunk; none where it cannot be parsed. Lines count from the start of the chunk."""
    if not text.strip():
        return ()
    try:
        return tuple(c for c in parse(language, SourceFile("", text)).children if isinstance(c, Tree))
    except Findings:
        return ()
