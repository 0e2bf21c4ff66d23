"""Text to statements and blocks without a grammar: what is left to hold on to when a text cannot be parsed.

Braces are matched by where they stand, too: a `}` at the start of a line closes the block whose line starts in the same column, and an
item that starts in the first column ends the blocks before it.
"""

from __future__ import annotations

import difflib
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field

WORD = re.compile(r'"[^"\n]*"|#[^\n]*|[A-Za-z_][A-Za-z0-9_]*|[0-9][0-9A-Za-z_]*|->|\.\.|==|!=|<=|>=|<<|>>|&&|\|\||\n|[^\S\n]+|.')
NAME = re.compile("[A-Za-z_][A-Za-z0-9_]*")
FAR, LOOKS = 2000, 200                          # lines that are looked ahead, and how often
AMBIGUOUS = frozenset(("stack", "exit", "syscalls", "work", "choose"))      # these start steps as well as items


@dataclass(frozen=True)
class Word:
    """One word or sign, and where it starts in the text."""

    text: str
    at: int

    @property
    def end(self) -> int:
        return self.at + len(self.text)


@dataclass
class Statement:
    """From its first word to what ends it: an item, a step or a row, with the blocks in it."""

    start: int
    end: int = 0
    words: list[Word] = field(default_factory=list)         # without those of its blocks
    inner: list[Statement] = field(default_factory=list)
    block: str = ""                             # the first word of the statement around it
    around: Statement | None = field(default=None, repr=False)

    @property
    def head(self) -> str:
        return self.words[0].text if self.words else ""

    def all(self) -> Iterator[Statement]:
        """It, and all in it."""
        todo = [self]
        while todo:
            one = todo.pop()
            yield one
            todo += reversed(one.inner)


@dataclass(frozen=True)
class Brace:
    """A brace without its partner: `{` or `}`, and where it stands; or a missing `{` ("") and where it belongs. `fix`: where the partner of `{` belongs."""

    sign: str
    at: int
    fix: int


class Places:
    """Offsets to lines and columns, from 1."""

    def __init__(self, text: str) -> None:
        self.starts = [0, *(m.end() for m in re.finditer("\n", text))]

    def line(self, offset: int) -> int:
        return bisect_right(self.starts, offset)

    def of(self, offset: int) -> tuple[int, int]:
        line = self.line(offset)
        return line, offset - self.starts[line - 1] + 1

    def offset(self, line: int, column: int) -> int:
        return self.starts[line - 1] + column - 1


def words_of(text: str, start: int = 0) -> list[Word]:
    """The words of a text; blanks and comments are left out, line ends are not."""
    return [Word(m[0], start + m.start()) for m in WORD.finditer(text) if m[0] == "\n" or not (m[0][0] == "#" or m[0].isspace())]


def _opened(text: str, places: Places, at: int) -> int:
    """The column in which the line of an offset starts, from 0."""
    start = places.starts[places.line(at) - 1]
    line = text[start:at + 1]
    return len(line) - len(line.lstrip(" \t"))


class _Reader:
    def __init__(self, text: str, heads: frozenset[str]) -> None:
        self.text, self.heads, self.places = text, heads, Places(text)
        self.items: list[Statement] = []
        self.looks = 0
        self.closed: tuple[Statement, Word, int, bool, Word] | None = None
        self.braces: list[Brace] = []
        self.open: list[tuple[Statement, Word, int, bool]] = []     # statement, its brace, the column of its line, whether a line in it is not indented
        self.now: Statement | None = None

    def run(self) -> None:
        first, comma, last = True, False, 0     # at the start of a line; after a comma; where the last word ended
        for word in words_of(self.text):
            if word.text == "\n":
                if not comma:
                    self.ended(last)
                first = True
                continue
            column = self.places.of(word.at)[1] - 1
            if first and word.text not in ("}", "{"):
                self._line(word, column, last)
            if word.text == "{":
                self._opens(word)
            elif word.text == "}":
                self._closes(word, column, first, last)
            elif word.text == ";":
                self.ended(last)
            else:
                self._add(word)
            first, comma, last = False, word.text == ",", word.end
        self.ended(last)
        while self.open:
            self._unclosed(last)

    def ended(self, last: int) -> None:
        """The statement at hand has ended."""
        if self.now is not None:
            self.now.end = last
            self.now = None

    def _add(self, word: Word) -> None:
        if self.now is None and word.text == "else":
            self._goes_on()
        if self.now is None:
            around = self.open[-1][0] if self.open else None
            self.now = Statement(word.at, block=around.head if around is not None else "", around=around)
            (around.inner if around is not None else self.items).append(self.now)
        self.now.words.append(word)

    def _goes_on(self) -> None:
        """A brace, or an else, in a line of its own belongs to the statement before it."""
        siblings = self.open[-1][0].inner if self.open else self.items
        if siblings and not self.text[siblings[-1].end:].lstrip().startswith(";"):
            self.now = siblings[-1]

    def _opens(self, word: Word) -> None:
        if self.now is None:
            self._goes_on()
        if self.now is None:
            self._add(word)
        assert self.now is not None
        self.open.append((self.now, word, _opened(self.text, self.places, word.at), False))
        self.now = None

    def _closes(self, word: Word, column: int, first: bool, last: int) -> None:
        if first and self.open and column > self.open[-1][2] and self._later(word, self.open[-1][2]):
            self.braces.append(Brace("}", word.at, word.at))
            return
        if not self.open:
            self.braces.append(Brace("}", word.at, word.at))
            if self.now is not None:
                self._add(word)
            return
        self.ended(last)
        if first and any(level == column for _, _, level, _ in self.open):
            while self.open[-1][2] > column:
                self._unclosed(last)
        self.closed = (*self.open[-1], word)
        self.now = self.open.pop()[0]

    def _later(self, word: Word, column: int) -> bool:
        """Does a line with `}` in that column follow before the next item?"""
        self.looks += 1
        if self.looks > LOOKS:
            return False
        start = self.places.line(word.at)
        for at in self.places.starts[start:start + FAR]:
            if self.text[at:at + column + 1].strip() == "}" and self.text[at + column:at + column + 1] == "}":
                return True
            name = NAME.match(self.text, at)
            if name is not None and name[0] in self.heads:
                return False
        return False

    def _line(self, word: Word, column: int, last: int) -> None:
        """The first word of a line."""
        while self.open and self._ends_in_line(word, column):
            self._unclosed(last)
        siblings = self.open[-1][0].inner if self.open else self.items
        level = _opened(self.text, self.places, siblings[-1].start) if siblings else column
        if self.now is None and column > level + 1 and self._block_goes_on(word, level):
            before = siblings[-1]
            if self.closed is not None and self.closed[0] is before:        # its '}' came too early
                self.braces.append(Brace("}", self.closed[4].at, self.closed[4].at))
                self.open.append(self.closed[:4])
            else:
                self.braces.append(Brace("", before.end, before.end))
                self.open.append((before, Word("{", before.end), level, False))
            return
        if not self.open or column:
            return
        statement, brace, level, loose = self.open[0]
        if not loose and self._starts_item(word.text) and (word.text not in AMBIGUOUS or bool(statement.inner)):
            self.ended(last)
            while self.open:
                self._unclosed(last)
        else:
            self.open[0] = (statement, brace, level, True)

    def _ends_in_line(self, word: Word, column: int) -> bool:
        """Was the block at hand begun as one of a single line, and this line is not part of it?"""
        statement, brace, level, _ = self.open[-1]
        line = self.places.line(brace.at)
        first = statement.inner[0] if statement.inner else None
        return first is not None and column <= level and self.places.line(first.start) == line < self.places.line(word.at)

    def _block_goes_on(self, word: Word, column: int) -> bool:
        """Is the first line that is not indented more than the column one with `}`?"""
        self.looks += 1
        if self.looks > LOOKS:
            return False
        start = self.places.line(word.at)
        for at in self.places.starts[start:start + FAR]:
            if self.text[at:at + column + 1].strip(" \t") not in ("", "\n", "#") and "\n" not in self.text[at:at + column]:
                return self.text[at:at + column + 1].strip(" \t") == "}"
        return False

    def _starts_item(self, word: str) -> bool:
        return word in self.heads or (word.isalpha() and bool(self.heads) and bool(difflib.get_close_matches(word, self.heads, 1, 0.8)))

    def _unclosed(self, last: int) -> None:
        self.ended(last)
        statement, brace, _, _ = self.open.pop()
        self.braces.append(Brace("{", brace.at, last))
        statement.end = last


def pieces(text: str, heads: frozenset[str]) -> tuple[list[Statement], list[Brace]]:
    """The items of a text, and the braces without partner. `heads`: the words that items start with."""
    reader = _Reader(text, heads)
    reader.run()
    return reader.items, sorted(reader.braces, key=lambda b: b.at)
