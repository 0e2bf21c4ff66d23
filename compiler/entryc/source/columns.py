"""Lines of tokens to text: blanks between tokens, and columns in rows that belong together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from lark import Token

from .forms import TYPES

if TYPE_CHECKING:
    from .format import Line

HOUSE = 46                                      # where comments at the end of a line stand, and what a hook is for
FAR = 20                                        # a row that is so much longer than the next shorter one has no part in a column

# Columns of rows: the head of the block around them, the head of the row -> what starts a column. "word": what follows the first word.
TOP = {"feature": (":", "text"), "configuration": ("{",), "hook": ("text",), "assume": ("text",), "bracket": ("{",), "stack": ("top", "bottom"),
       "entry": ("on", "from", "as")}
INSIDE = {"setup": ("=",), "memory": (":", "in"), "state": ("means",), "boundary": ("word",), "decisions": ("word", "because"),
          "method": ("refusing", "text"), "repeat": ("->",), "once": ("->",), "dispatch": ("->",), "syscalls": ("word",), "tools": ("word",)}
HEADS = {"boundary": ("arrive", "leave"), "syscalls": ("number", "args", "result", "missing"), "method": ("when",)}
AT_HOUSE = ("hook", "assume")


def aligned(lines: Sequence[Line]) -> list[str]:
    """The text of the lines."""
    out = [" " * (4 * line.depth) if line.words else "" for line in lines]
    for rows in _runs(lines):
        _rows(lines, rows, out)
    for group in _comments(lines):
        width = _width([len(out[i]) + 2 for i in group], HOUSE)
        for index in group:
            out[index] = out[index].ljust(max(width, len(out[index]) + 2)) + lines[index].comment
    text: list[str] = []
    for line, row in zip(lines, out, strict=True):
        if line.blank:
            text.append("")
        text.append(row if line.words else " " * (4 * line.depth) + line.comment)
    return text


def _columns(line: Line) -> tuple[str, ...]:
    """What starts a column in this line."""
    if not line.words or not line.whole:
        return ()
    if not line.block:
        return TOP.get(str(line.words[0]), ())
    if line.block in HEADS and str(line.words[0]) not in HEADS[line.block]:
        return ()
    return INSIDE.get(line.block, ())


def _runs(lines: Sequence[Line]) -> Iterator[list[int]]:
    """Lines that stand below each other and have the same columns."""
    run: list[int] = []
    for index, line in enumerate(lines):
        same = bool(run) and not line.blank and _columns(line) == _columns(lines[run[-1]]) != () and line.depth == lines[run[-1]].depth
        if run and not same:
            yield run
            run = []
        run.append(index)
    if run:
        yield run


def _comments(lines: Sequence[Line]) -> Iterator[list[int]]:
    """Lines that stand below each other and end in a comment."""
    run: list[int] = []
    for index, line in enumerate(lines):
        if run and (line.blank or not (line.words and line.comment)):
            yield run
            run = []
        if line.words and line.comment:
            run.append(index)
    if run:
        yield run


def _width(widths: Sequence[int], least: int = 0) -> int:
    """The column after the rows; a row that is much longer than the others has no part in it."""
    out = least
    for width in sorted(widths):
        if out and width - out > FAR:
            break
        out = max(out, width)
    return out


def _rows(lines: Sequence[Line], rows: Sequence[int], out: list[str]) -> None:
    """Writes the words of rows with the same columns."""
    columns = _columns(lines[rows[0]])
    done = dict.fromkeys(rows, 0)               # how many words are written
    for column in columns:
        starts = {i: start for i in rows if (start := _start(lines[i].words, column)) is not None and start >= done[i]}
        for index, start in starts.items():
            out[index] += spaced(lines[index].words, done[index], start)
            done[index] = start
        width = _width([len(out[i]) + 1 for i in starts], HOUSE if str(lines[rows[0]].words[0]) in AT_HOUSE else 0)
        for index in starts:
            out[index] = out[index].ljust(max(width, len(out[index]) + 1))
    for index in rows:
        out[index] += spaced(lines[index].words, done[index], len(lines[index].words))


def _start(words: Sequence[Token], column: str) -> int | None:
    """The word that starts a column; not within brackets."""
    if column == "word":
        return 1 if len(words) > 1 else None
    depth = 0
    for index, word in enumerate(words):
        if depth == 0 and index and (str(word) == column or (column == "text" and word.type == "STRING")):
            return index
        depth += (str(word) in ("(", "[", "{")) - (str(word) in (")", "]", "}"))
        if str(word) == ";":
            return None
    return None


def spaced(words: Sequence[Token], start: int, end: int) -> str:
    """Words from start to end with the blanks between them."""
    out = ""
    for index in range(start, end):
        if index > start and not _tight(words, index):
            out += " "
        out += str(words[index])
    return out


def _operand(word: Token | None) -> bool:
    return word is not None and (word.type in ("NAME", "INT", "STRING") or str(word) in (")", "]"))


def _tight(words: Sequence[Token], index: int) -> bool:
    """Do words index-1 and index touch?"""
    before, word = words[index - 1], words[index]
    left, right = str(before), str(word)
    if "STRING" in (before.type, word.type):
        return right in (",", ")", ";") or left == "("
    if right in (",", ")", "]", ";", ".", "..") or left in ("(", "[", ".", "..", "~"):
        return True
    if left in ("-", "&"):
        return not _operand(words[index - 2] if index > 1 else None)
    if right == "(":
        return left == "indexed" or (before.type == "NAME" and left not in TYPES)
    if right == ":":
        return before.type == "INT" or _kinds(words, index)
    if left == ":":
        return index > 1 and words[index - 2].type == "INT"
    if right in ("|", "*") or left in ("|", "*"):
        return _kinds(words, index)
    return False


def _kinds(words: Sequence[Token], index: int) -> bool:
    """Within `(name: kind|kind, …)`, the parameters of a form?"""
    depth, colon = 0, str(words[index]) == ":"
    for word in reversed(words[:index]):
        text = str(word)
        depth += (text == ")") - (text == "(")
        if depth < 0:
            return colon
        if depth == 0:
            colon = (colon or text == ":") and text != ","
    return False
