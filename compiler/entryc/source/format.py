"""The one way to write a spec down: indentation, blanks and columns, from the tokens and the line breaks alone.

Line breaks and comments are the author's. Everything else follows from them, so that a text which was formatted stays as it is. The
parse tree of what is written is compared with the tree of what was read: a formatted text never means something else.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field

from lark import Token

from .columns import aligned
from .finding import Finding, Findings
from .parse import tokens_of
from .text import SourceFile, Span, source_text

PIECES = re.compile(r"[;\n]|#[^\n]*")
LISTS = frozenset(("flags", "save", "after", "configuration"))     # a block that is one list: its lines stand below each other


@dataclass
class Line:
    """One line of output: its words with what stands before each, and where it is."""

    depth: int
    block: str = ""                             # the head of the block around it
    words: list[Token] = field(default_factory=list)
    comment: str = ""
    blank: bool = False                         # an empty line stands before it
    whole: bool = True                          # starts a statement, and ends one


def formatted(text: str, name: str) -> str:
    """The text as it should stand. `name` is for messages, and tells the language: `.arch` is a CPU description, all else a spec.

    Raises Findings when the text cannot be parsed.
    """
    language = "arch" if name.endswith(".arch") else "entry"
    file = SourceFile(name, source_text(text))
    tree, tokens = tokens_of(language, file)
    out = "\n".join(aligned(_Lines(tokens).all())) + "\n"
    again, written = tokens_of(language, SourceFile(name, out))
    if again != tree or _comments(written) != _comments(tokens):
        raise Findings([Finding("E009", "error", f"{name} would mean something else after formatting: it was left as it is",
                                Span(file, 1, 1, 1, 2), "this is a mistake of entryc: please report it with the text")])
    return out


def _comments(tokens: list[Token]) -> list[str]:
    return [comment.rstrip() for token in tokens if "#" in token for comment in re.findall(r"#[^\n]*", token)]


def changes(text: str, name: str) -> list[tuple[int, int, str]]:
    """What formatting changes: (first line, line after the last, what stands there then), from 0. Raises Findings, as `formatted` does."""
    before, after = text.splitlines(True), formatted(text, name).splitlines(True)
    rows = difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    return [(first, last, "".join(after[start:end])) for what, first, last, start, end in rows if what != "equal"]


class _Lines:
    """Tokens to lines: where they break, how deep they stand."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.out: list[Line] = []
        self.blocks: list[tuple[str, bool]] = []        # head of each open block, and whether it goes over several lines
        self.head = ""                          # the first word of the statement at hand
        self.inside = False                     # the statement at hand goes on in a further line
        self.line = self._new()

    def all(self) -> list[Line]:
        wide = self._wide()
        long = self._long(wide)
        for index, token in enumerate(self.tokens):
            if token.type == "_LB":
                self._open(token, wide[index])
            elif token.type == "_RB":
                self._close(token)
            elif token.type == "_COMMA":
                self._add(_word(token, ","))
                self._broken(token[1:], self.blocks[-1][0] not in LISTS if self.blocks else True)
            elif token.type == "_SEP":
                self._end(token, self.tokens[index + 1] if index + 1 < len(self.tokens) else None, index + 1 in long)
            else:
                self._add(token)
        self._flush()
        return self.out

    def _wide(self) -> dict[int, bool]:
        """For each `{`: does its block go over several lines?"""
        out: dict[int, bool] = {}
        stack: list[int] = []
        for index, token in enumerate(self.tokens):
            if token.type == "_LB":
                stack.append(index)
                out[index] = False
            empty = token.type == "_LB" and "#" not in token and self.tokens[index + 1].type == "_RB"
            if token.type.startswith("_") and "\n" in token and not empty:
                out.update(dict.fromkeys(stack, True))
            if token.type == "_RB":
                stack.pop()
        return out

    def _long(self, wide: dict[int, bool]) -> set[int]:
        """Where the statements start that have a block of several lines."""
        out: set[int] = set()
        starts = [0]
        for index, token in enumerate(self.tokens):
            if token.type == "_LB":
                if wide[index]:
                    out.add(starts[-1])
                starts.append(index + 1)
            elif token.type == "_RB":
                starts.pop()
            elif token.type == "_SEP":
                starts[-1] = index + 1
        return out

    def _new(self) -> Line:
        return Line(len(self.blocks) + self.inside, self.blocks[-1][0] if self.blocks else "")

    def _add(self, token: Token) -> None:
        if not self.line.words:
            self.line.whole = not self.inside
        if not self.head:
            self.head = str(token)
        self.line.words.append(token)

    def _flush(self, blank: bool = False) -> None:
        """Ends the line at hand; `blank`: an empty one follows."""
        if self.line.words or self.line.comment:
            self.out.append(self.line)
        opened = not self.out or (self.out[-1].words and self.out[-1].words[-1] == "{")
        self.line = self._new()
        self.line.blank = blank and not opened

    def _open(self, token: Token, wide: bool) -> None:
        self._add(_word(token, "{"))
        self.blocks.append((self.head, wide))
        self.head, self.inside = "", False
        if wide:
            self.line.whole = False
            self._gap(token[1:])

    def _close(self, token: Token) -> None:
        head, wide = self.blocks.pop()
        self.inside = False
        if wide:
            self._flush()
        self._add(_word(token, "}"))
        self.head = head
        if wide:
            self.line.whole = False

    def _end(self, token: Token, following: Token | None, long: bool) -> None:
        """After a statement: a new line, or `;` and the next one in the same line, unless one of them has several lines."""
        closes = following is None or following.type == "_RB"
        alone = long or self.inside or (bool(self.line.words) and self.line.words[0] == "}")
        self.head, self.inside = "", False
        if "\n" in token or "#" in token or following is None:
            self._gap(token)
        elif alone and not closes:
            self._flush()
        elif not closes and self.line.words:
            self._add(_word(token, ";"))
            self.head = ""

    def _broken(self, text: str, further: bool) -> None:
        """After a comma: the list may go on in the next line."""
        if "\n" not in text:
            return
        self.inside = further
        head = self.head
        self.line.whole = False
        self._gap(text, blanks=False)
        self.head = head
        self.line.whole = False

    def _gap(self, text: str, blanks: bool = True) -> None:
        """Line breaks and comments between two tokens: ends the line at hand."""
        ends = 0
        for piece in PIECES.findall(text):
            if piece == "\n":
                ends += 1
            elif piece != ";":
                if ends or not self.line.words:
                    self._flush(blanks and ends > 1)
                self.line.comment = piece.rstrip()
                ends = 0
        self._flush(blanks and ends > 1)


def _word(at: Token, text: str) -> Token:
    return Token.new_borrow_pos(text if text in "{}" else at.type, text, at)
