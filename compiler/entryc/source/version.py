"""The version of the language: the one place that knows which versions this entryc reads, and what it says of others."""

from __future__ import annotations

import re

from .finding import Edit, Finding
from .text import SourceFile, Span

LANGUAGE = 1                                    # the newest version, and so far the only one
STATEMENT = re.compile(r"^[ \t]*language[ \t]+([0-9]+)", re.M)
NUMBER = re.compile(r"[1-9][0-9]*")


def refused(word: str, span: Span) -> Finding | None:
    """The finding for `language WORD`, or None when this entryc reads that version. The span is that of the word."""
    if NUMBER.fullmatch(word) is None:
        return Finding("E208", "error", odd(word), span, f"write: language {LANGUAGE}", edits=(Edit(span, str(LANGUAGE)),))
    if int(word[:9]) == LANGUAGE:
        return None
    return Finding("E208", "error", f"the spec is written in language {word[:9]}; this entryc reads language {LANGUAGE}", span, "install a newer entryc")


def odd(word: str) -> str:
    """What is said of a version that is none."""
    return f"'{word}' is no version of the language: versions are 1, 2, 3, …" if word else "the version of the language is missing"


def newer(file: SourceFile) -> Finding | None:
    """For a text that cannot be parsed: the finding about its version, if it is written in one that this entryc does not know."""
    match = STATEMENT.search(file.text)
    if match is None or NUMBER.fullmatch(match[1]) is None:
        return None
    line = file.text.count("\n", 0, match.start()) + 1
    column = match.start(1) - file.text.rfind("\n", 0, match.start(1))
    return refused(match[1], Span(file, line, column, line, column + len(match[1])))
