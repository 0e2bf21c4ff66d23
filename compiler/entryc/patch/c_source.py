"""C source: where a function and its statements stand, by a parser that goes on over macros which it does not know."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import tree_sitter
import tree_sitter_c


@dataclass(frozen=True)
class Body:
    """Lines of a function, counted from 0: `top` is the first one of it and of the comment above it, `open` that of its brace, `close` that of the last."""

    top: int
    open: int
    close: int
    statements: tuple[tuple[int, int, str], ...]        # first line, last line, text


@lru_cache(maxsize=1)
def _parser() -> tree_sitter.Parser:
    return tree_sitter.Parser(tree_sitter.Language(tree_sitter_c.language()))


def _walk(node: tree_sitter.Node) -> Iterator[tree_sitter.Node]:
    todo = [node]
    while todo:
        here = todo.pop()
        yield here
        todo.extend(reversed(here.children))


def function(text: str, name: str) -> Body | None:
    """The only function definition of that name; None: not exactly one."""
    source = text.encode()
    head = re.compile(rf"\b{re.escape(name)}\s*\([^;{{}}]*$".encode())
    found = []
    for node in _walk(_parser().parse(source).root_node):
        body = next((c for c in node.children if c.type == "compound_statement"), None) if node.type == "function_definition" else None
        if body is not None and head.search(source[node.start_byte:body.start_byte]):
            found.append((node, body))
    if len(found) != 1:
        return None
    node, body = found[0]
    statements = tuple((c.start_point.row, c.end_point.row, source[c.start_byte:c.end_byte].decode()) for c in body.children
                       if c.is_named and c.type != "comment")
    return Body(_top(text.split("\n"), node.start_point.row), body.start_point.row, body.end_point.row, statements)


def _top(lines: list[str], row: int) -> int:
    """The first line of a definition that starts in a row, with the comment directly above it."""
    if row and lines[row - 1].rstrip().endswith("*/"):
        first = row - 1
        while first and "/*" not in lines[first]:
            first -= 1
        if lines[first].lstrip().startswith("/*"):
            return first
    return row


def calls(text: str, name: str) -> bool:
    """Does a statement call this function?"""
    return re.search(rf"\b{re.escape(name)}\s*\(", text) is not None
