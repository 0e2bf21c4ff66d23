"""Text to syntax tree. One LALR parser per language; its tables are kept, since building them costs a second."""

from __future__ import annotations

import hashlib
import os
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

from lark import Lark, Token, Tree
from lark import __version__ as lark_version

from .. import resources
from .finding import Findings
from .text import SourceFile, Span


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
    """The syntax tree. Raises Findings for text that is not in the language: one for each mistake."""
    from .recover import parse_all
    parsed = parse_all(language, file)
    if parsed.findings:
        raise Findings(parsed.findings)
    return parsed.tree


def tokens_of(language: str, file: SourceFile) -> tuple[Tree[Any], list[Token]]:
    """The syntax tree with the tokens that it was made of: separators are tokens with the comments in them. Raises Findings."""
    tree = parse(language, file)
    return tree, list(parser(language).parse_interactive(ended(file)).iter_parse())


def ended(file: SourceFile) -> str:
    """The text of a file with an end of its last line."""
    return file.text if file.text.endswith("\n") else file.text + "\n"


@lru_cache(maxsize=4)
def words(language: str) -> frozenset[str]:
    """Every word that the language has."""
    return frozenset(str(t.pattern.value) for t in parser(language).terminals if t.pattern.type == "str" and str(t.pattern.value)[0].isalpha())


@lru_cache(maxsize=4)
def first_words(language: str) -> frozenset[str]:
    """The words that items start with."""
    accepted = parser(language).parse_interactive("").accepts()  # type: ignore[no-untyped-call]
    return frozenset(str(t.pattern.value) for t in parser(language).terminals if t.name in accepted and t.pattern.type == "str")
