"""Text to syntax tree. One LALR parser per language; its tables are kept, since building them costs a second."""

from __future__ import annotations

import hashlib
import os
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

from lark import Lark, Token, Tree, UnexpectedInput
from lark import __version__ as lark_version
from lark.exceptions import UnexpectedCharacters, UnexpectedToken

from .. import resources
from .finding import MAX_FINDINGS, Finding, Findings
from .text import UNSEEN, SourceFile, Span

MAX_DEPTH = 100                                 # of brackets and signs
MAX_TREE = 250                                  # of the syntax tree: what reads it calls itself

# What a reader calls the terminals; the others are shown as they are written.
WORDS = {"_SEP": "end of line", "_LB": "'{'", "_RB": "'}'", "_COMMA": "','", "NAME": "a name", "INT": "a number",
         "STRING": "a text in quotes", "TYPE": "a type such as u64", "$END": "the end of the file", "ORIGIN": "user, kernel or any",
         "EQUAL": "'='", "DOT": "'.'", "LPAR": "'('", "RPAR": "')'", "LSQB": "'['", "COLON": "':'",
         "BOUND": "user or kernel", "ARRIVAL": "arrive or leave", "SIDE": "enter or leave", "PASS": "repeat or once", "ONOFF": "on or off",
         "SOURCE": "number or error_code", "ALL": "all", "CLEARS": "'clears first'", "RESULT": "a type such as u64", "NOT": "not"}


@lru_cache(maxsize=4)
def parser(language: str) -> Lark:
    """The parser of "entry" or "arch"."""
    text = resources.grammar_text(language)
    key = hashlib.sha256((lark_version + text).encode()).hexdigest()[:16]
    for place in (resources.tables_file(language, key), _cache_file(language, key)):
        try:
            with place.open("rb") as handle:
                return Lark.load(handle)
        except Exception:                       # not there, or damaged in a way that only pickle knows
            continue
    built = build_parser(text)
    _keep(built, _cache_file(language, key))
    return built


def build_parser(text: str, strict: bool = False) -> Lark:
    """A parser from grammar text; `strict` makes every conflict an error (needs interegular)."""
    return Lark(text, parser="lalr", lexer="contextual", propagate_positions=True, maybe_placeholders=True, strict=strict)


def _cache_file(language: str, key: str) -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(home) / "entryc" / f"{language}.{key}.tables"


def _keep(built: Lark, place: Path) -> None:
    """Write the tables whole or not at all; a cache that cannot be written is no error."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=place.parent)
        with os.fdopen(handle, "wb") as out:
            built.save(out)
        os.replace(temporary, place)
    except OSError:
        pass


def span_of(file: SourceFile, node: Tree[Any] | Token) -> Span:
    """Where a node was written."""
    if isinstance(node, Token):
        line, column = node.line or 1, node.column or 1
        return Span(file, line, column, node.end_line or line, node.end_column or column + len(node))
    meta = node.meta
    if meta.empty:
        return Span(file, 1, 1, 1, 2)
    return Span(file, meta.line, meta.column, meta.end_line, meta.end_column)


def parse(language: str, file: SourceFile) -> Tree[Any]:
    """The syntax tree. Raises Findings for text that is not in the language."""
    _check_characters(file)
    _check_depth(file)
    try:
        tree = parser(language).parse(file.text if file.text.endswith("\n") else file.text + "\n")
    except UnexpectedInput as error:
        raise Findings([_explain(language, file, error)]) from None
    except RecursionError:
        raise Findings([Finding("E001", "error", "the text is nested too deeply", Span(file, 1, 1, 1, 2))]) from None
    _check_tree(file, tree)
    return tree


def _check_tree(file: SourceFile, tree: Tree[Any]) -> None:
    """No part is too deep for what comes after; every number has one reading, and 64 bits hold it."""
    wrong: list[Finding] = []
    todo: list[tuple[Tree[Any], int]] = [(tree, 0)]
    while todo:
        node, depth = todo.pop()
        if depth > MAX_TREE:
            raise Findings([Finding("E001", "error", "the text is nested too deeply", span_of(file, node), "give a part of it a name: const NAME = …")])
        for child in node.children:
            if isinstance(child, Tree):
                todo.append((child, depth + 1))
            elif isinstance(child, Token) and child.type == "INT":
                wrong += _number(file, child)
    if wrong:
        raise Findings(sorted(wrong, key=lambda f: (f.span.line, f.span.column) if f.span else (0, 0)))


def _number(file: SourceFile, token: Token) -> list[Finding]:
    digits = token.replace("_", "")
    shown = str(token) if len(token) <= 40 else f"{token[:40]}…"
    if digits == "0x":
        return [Finding("E012", "error", f"{shown} is no number", span_of(file, token))]
    if digits.startswith("0") and digits != "0" and not digits.startswith("0x"):
        return [Finding("E012", "error", f"{shown} starts with a zero: C would read it in base 8", span_of(file, token),
                        "write it without the zero, or as a hexadecimal number")]
    if len(digits.removeprefix("0x").lstrip("0")) > 20 or int(digits, 0) >> 64:
        return [Finding("E010", "error", f"the number {shown} does not fit in 64 bits", span_of(file, token))]
    return []


def _check_characters(file: SourceFile) -> None:
    """What a reader does not see has no place in a spec, not even in comments and texts."""
    wrong: list[Finding] = []
    for number, line in enumerate(file.lines, 1):
        found = UNSEEN.search(line)
        if found is not None and len(wrong) < MAX_FINDINGS:
            column = found.start() + 1
            wrong.append(Finding("E007", "error", f"the character U+{ord(found[0]):04X} cannot be seen", Span(file, number, column, number, column + 1),
                                 "leave it out"))
    if wrong:
        raise Findings(wrong)


def _check_depth(file: SourceFile) -> None:
    depth = run = 0
    for number, line in enumerate(file.lines, 1):
        for column, char in enumerate(line.split("#", 1)[0], 1):
            depth += (char in "([{") - (char in ")]}")
            run = run + 1 if char in "-~&" else (run if char == " " else 0)
            if depth > MAX_DEPTH or run > MAX_DEPTH:
                raise Findings([Finding("E001", "error", "the text is nested too deeply", Span(file, number, column, number, column + 1))])


def _open_brace(file: SourceFile, upto: int, heads: frozenset[str]) -> int | None:
    """The line of a brace that is still open where a new item starts in column 1."""
    stack: list[int] = []
    for number, line in enumerate(file.lines[:upto], 1):
        code = line.split("#", 1)[0]
        word = code.split(" ", 1)[0]
        if stack and word in heads:
            return stack[-1]
        for char in code:
            if char == "{":
                stack.append(number)
            elif char == "}" and stack:
                stack.pop()
    return stack[-1] if stack and upto >= len(file.lines) else None


ITEM_HEADS = frozenset(
    "frame entry path exit method state memory boundary code stack vectors kind routine work handler "
    "syscalls hook choose register event form".split())


def _explain(language: str, file: SourceFile, error: UnexpectedInput) -> Finding:
    line = max(1, min(error.line if error.line and error.line > 0 else len(file.lines), len(file.lines)))
    column = max(1, error.column if error.column and error.column > 0 else 1)
    brace = _open_brace(file, line, ITEM_HEADS)
    text = file.lines[line - 1]
    if isinstance(error, UnexpectedCharacters):
        char = text[column - 1:column]
        message = f"the character {char!r} has no meaning here"
        if char == '"':
            message = "a text in quotes has no end on this line"
        return Finding("E002", "error", message, Span(file, line, column, line, column + 1), _brace_help(brace))
    expected: list[str] = []
    got = "the end of the file"
    length = 1
    if isinstance(error, UnexpectedToken):
        if error.token.type == "_SEP":
            got = "the end of the line"
            column = len(text.split("#", 1)[0].rstrip()) + 1
        elif error.token.type != "$END":
            got = f"'{str(error.token).strip()}'"
            length = max(1, len(str(error.token).strip()))
        names = set(getattr(error, "accepts", None) or error.expected)
        keywords = sorted(_terminal(language, n) for n in names if n not in WORDS)
        expected = [WORDS[n] for n in sorted(names) if n in WORDS] + keywords
        choices = [f"'{word}'" for n in names if n in WORDS for word in WORDS[n].split(" or ") if word.isidentifier()]
        first_word = text.split(maxsplit=1)[0] if text.split() else ""
        near = _near(str(error.token), [*keywords, *choices]) or (_near(first_word, _keywords(language)) if first_word else None)
        help_text = f"did you mean {near}?" if near and near != f"'{first_word}'" else _brace_help(brace)
    else:
        help_text = _brace_help(brace)
    if brace is not None and not (isinstance(error, UnexpectedToken) and error.token.type != "$END" and brace == line):
        help_text = _brace_help(brace)
    shown = ", ".join(expected[:8]) + (", …" if len(expected) > 8 else "")
    message = f"{got} cannot stand here" + (f"; expected {shown}" if expected else "")
    return Finding("E002", "error", message, Span(file, line, column, line, column + length), help_text)


def _brace_help(brace: int | None) -> str | None:
    return f"the '{{' of line {brace} is still open" if brace is not None else None


def _terminal(language: str, name: str) -> str:
    for terminal in parser(language).terminals:
        if terminal.name == name:
            return f"'{terminal.pattern.value}'"
    return name


def _keywords(language: str) -> list[str]:
    """Every word that starts something."""
    return [f"'{t.pattern.value}'" for t in parser(language).terminals if t.pattern.type == "str" and str(t.pattern.value).isalpha()]


def _near(word: str, candidates: list[str]) -> str | None:
    import difflib
    found = difflib.get_close_matches(f"'{word}'", candidates, 1, 0.7)
    return found[0] if found else None
