"""What stands at a place of a text: the parser runs up to it, and its stack says which names and words can come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lark import Token, Tree
from lark.exceptions import LarkError, UnexpectedInput

from ..source.parse import parser
from .items import bare, chunks, comment_start

PLAIN = ("NAME", "INT", "STRING")
MAX_RETRIES = 20


@dataclass(frozen=True)
class Word:
    """A part of the statement in front of the place. type: keyword, name, other (a number, a text, a finished expression)."""

    type: str
    text: str


@dataclass(frozen=True)
class Place:
    """`blocks`: the first words of the blocks that are open, the item first. `statement`: what stands in front in the same statement.

    `terminals`: what the grammar lets come next; empty where the text in front is wrong.
    """

    blocks: tuple[str, ...]
    statement: tuple[Word, ...]
    terminals: frozenset[str]
    item: tuple[Word, ...] = ()                 # the statement that opened the item
    opener: tuple[Word, ...] = ()               # the statement that opened the innermost block

    @property
    def keyword(self) -> str:
        """The last keyword or sign of the statement; a comma continues what was before it."""
        return next((w.text for w in reversed(self.statement) if w.type == "keyword" and w.text != ","), "")

    @property
    def subject(self) -> str:
        """The name in front of the last keyword."""
        words = list(self.statement)
        index = next((i for i in range(len(words) - 1, -1, -1) if words[i].type == "keyword" and words[i].text != ","), 0)
        return words[index - 1].text if index > 0 else ""


@dataclass(frozen=True)
class Dotted:
    """A name with dots, as it is written. `parts`: up to the end of the part that was asked for."""

    parts: tuple[str, ...]
    line: int
    start: int                                  # column of the first part
    column: int                                 # of the part that was asked for
    end: int


def dotted_at(text: str, line: int, column: int) -> Dotted | None:
    """The name around a column, both from 0; None in comments, texts and between names."""
    lines = text.split("\n")
    if not 0 <= line < len(lines):
        return None
    code = lines[line]
    hidden = comment_start(code)
    if (hidden is not None and column >= hidden) or bare(code).count('"', 0, column) % 2:
        return None

    def inside(index: int, dots: bool) -> bool:
        return 0 <= index < len(code) and (code[index].isalnum() or code[index] == "_"
                                           or (dots and code[index] == "." and _joins(code, index)))
    end = column
    while inside(end, False):
        end += 1
    start = end
    while inside(start - 1, True):
        start -= 1
    if start == end or not (code[start].isalpha() or code[start] == "_"):
        return None
    parts = tuple(code[start:end].split("."))
    return Dotted(parts, line, start, end - len(parts[-1]), end)


def _joins(code: str, index: int) -> bool:
    """Does the dot join two names? Not the dots of a range."""
    return 0 < index < len(code) - 1 and code[index - 1] != "." and code[index + 1] != "." and (code[index - 1].isalnum() or code[index - 1] == "_")


def place_at(language: str, text: str, line: int, column: int) -> Place:
    """The place at a column of a line, both from 0. Text behind it does not matter; lines in front that cannot be parsed are left out."""
    chunk = next((c for c in reversed(chunks(language, text)) if c.first <= line), None)
    if chunk is None:
        return Place((), (), frozenset())
    lines = chunk.text.split("\n")[:line - chunk.first + 1]
    lines[-1] = lines[-1][:column]
    for _ in range(MAX_RETRIES):
        state = parser(language).parse_interactive("\n".join(lines))
        try:
            state.exhaust_lexer()
            return _place(language, state)
        except UnexpectedInput as error:
            wrong = (error.line if isinstance(error.line, int) and error.line > 0 else len(lines)) - 1
        except (LarkError, RecursionError):
            break
        if not lines[wrong:wrong + 1] or not lines[wrong].strip() or wrong == len(lines) - 1:
            break
        lines[wrong] = ""
    return Place((), (), frozenset())


def _place(language: str, state: Any) -> Place:
    blocks: list[tuple[Word, ...]] = []
    statement: list[Word] = []
    for value in state.parser_state.value_stack:
        kind = value.type if isinstance(value, Token) else ""
        if kind == "_LB":
            blocks.append(tuple(statement))
            statement = []
        elif kind == "_SEP":
            statement = []
        else:
            statement += _words(value)
    return Place(tuple(next((w.text for w in b if w.type == "keyword"), "") for b in blocks), tuple(statement), frozenset(state.accepts()),
                 blocks[0] if blocks else (), blocks[-1] if blocks else ())


def _words(value: Any) -> list[Word]:
    if isinstance(value, Token):
        text = str(value).strip()
        return [Word("name" if value.type == "NAME" else "other" if value.type in PLAIN else "keyword", "," if value.type == "_COMMA" else text)]
    if isinstance(value, Tree):
        if value.data == "name":
            return [Word("name", ".".join(map(str, value.children)))]
        names = [Word("name", str(t)) for t in value.children if isinstance(t, Token) and t.type == "NAME"]
        if str(value.data).startswith("__"):    # what a repetition has gathered so far
            return [w for c in value.children for w in _words(c)]
        return names[:1] if value.data == "fact" else [Word("other", "")]
    return []


def words_after(language: str, place: Place) -> list[str]:
    """The words of the grammar that can come next, sorted."""
    out: set[str] = set()
    for terminal in parser(language).terminals:
        if terminal.name in place.terminals and terminal.name not in PLAIN:
            out |= terminal_words(terminal)
    return sorted(out)


def terminal_words(terminal: Any) -> set[str]:
    """The words that a terminal stands for: a keyword, or the alternatives of a pattern such as (user|kernel); none for signs and names."""
    value = str(terminal.pattern.value)
    if terminal.pattern.type == "str":
        return {value} if value.replace("_", "").isalnum() and value[0].isalpha() else set()
    body = value.removesuffix(r"\b").replace(" +", " ")
    body = body[1:-1] if body.startswith("(") and body.endswith(")") else body
    words = body.split("|")
    return set(words) if all(w.replace("_", "").replace(" ", "").isalnum() for w in words) else set()
