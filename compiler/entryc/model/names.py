"""Syntax trees of expressions to resolved expressions, and helpers on trees that both languages use."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from typing import Any

from lark import Token, Tree

from ..source.finding import Collector
from ..source.parse import span_of
from ..source.text import SourceFile, Span
from .expr import Binary, Cast, Expr, HookCall, Mem, Num, Unary

Node = Tree[Any]
Resolver = Callable[[tuple[str, ...], Span], Expr]

BINARY = frozenset(["add", "sub", "band", "bor", "bxor", "shl", "shr", "eq", "ne", "lt", "le", "gt", "ge"])


def trees(node: Node, *kinds: str) -> list[Node]:
    """The direct children that are trees, of the kinds given."""
    return [c for c in node.children if isinstance(c, Tree) and (not kinds or c.data in kinds)]


def tokens(node: Node, kind: str | None = None) -> list[Token]:
    """The direct children that are tokens."""
    return [c for c in node.children if isinstance(c, Token) and (kind is None or c.type == kind)]


def first(node: Node, kind: str) -> Node | None:
    return next(iter(trees(node, kind)), None)


def text_of(token: Any) -> str:
    """The content of a STRING token."""
    return str(token)[1:-1]


def int_of(token: Any) -> int:
    """The value of an INT token: the parser has seen that it is a number of 64 bits."""
    return int(str(token).replace("_", ""), 0)


def near(name: str, candidates: Iterable[str]) -> str | None:
    """Help text with the closest known name."""
    known = sorted(set(candidates))
    found = difflib.get_close_matches(name, known, 1, 0.6)
    if found:
        return f"did you mean '{found[0]}'?"
    return f"known: {', '.join(known[:12])}{', …' if len(known) > 12 else ''}" if known else None


class Expressions:
    """Builds resolved expressions; `resolve` decides what a name stands for, `address` what &name does."""

    def __init__(self, file: SourceFile, collector: Collector, resolve: Resolver, address: Resolver | None = None) -> None:
        self.file, self.collector, self.resolve, self.address = file, collector, resolve, address

    def build(self, node: Node | Token) -> Expr:
        span = span_of(self.file, node)
        if isinstance(node, Token):
            return self.resolve((str(node),), span)
        kind = str(node.data)
        if kind == "num":
            return Num(int_of(node.children[0]), span=span)
        if kind == "name":
            return self.resolve(tuple(str(t) for t in node.children), span)
        if kind in BINARY or kind in ("and_", "or_"):
            return Binary(kind.rstrip("_"), self.build(node.children[0]), self.build(node.children[1]), span=span)
        if kind in ("neg", "inv", "not_"):
            return Unary(kind.rstrip("_"), self.build(node.children[0]), span=span)
        if kind == "mem":
            return Mem(self.build(node.children[0]), span=span)
        if kind == "cast":
            name = str(node.children[0])
            return Cast(int(name[1:]), name[0] == "s", self.build(node.children[1]), span=span)
        if kind == "address":
            if self.address is None:
                self.collector.error("E011", "an address cannot be taken here", span)
                return Num(0, span=span)
            return self.address(tuple(str(t) for t in node.children[0].children), span)
        if kind == "apply":
            name = ".".join(str(t) for t in node.children[0].children)
            args = node.children[1]
            return HookCall(name, tuple(self.build(a) for a in args.children) if args is not None else (), span=span)
        raise AssertionError(f"no meaning for the syntax node {kind}")
