"""A spec as a tree of named content, made by walking the model along `table.py`: what is compared."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..model.arch import Event
from ..model.expr import Expr, show
from ..model.spec import CallText, Spec
from ..source.text import Span
from .words import Names, call, numbers, plain, valued, when

LEAF, ITEM, SET, LIST = "leaf", "item", "set", "list"


@dataclass
class Node:
    """Content with its rule. `keys`: what it is among its siblings, the best first; `text`: all of it, for comparing."""

    kind: str                                   # leaf, item (parts by name), set (no order), list (order matters)
    rule: str                                   # of its coming, going, moving; of a leaf: of its change
    keys: tuple[str, ...]
    title: str                                  # "slot cx"; "" for parts that speak for their owner
    text: str
    shown: str                                  # for the reader; `exact` where that looks the same on both sides
    exact: str
    span: Span | None
    value: int | None = None                    # of a number: is it more or less?
    children: tuple[Node, ...] = ()
    source: object = None                       # what it was made of
    order: str = ""                             # of an item in a list: the rule of its moving, where it has one of its own
    place: bool = False                         # it is a place that rows are told by: "entry syscall_64"


@dataclass(frozen=True)
class Part:
    """How an attribute of a model class is compared."""

    how: str                                    # leaf, set, list, inside, skip, by: see table.py
    rule: str = ""                              # "": that of the owner
    space: str = ""                             # names: the namespace of local names
    reason: str = ""                            # skip: why nothing is lost
    by: Callable[[Walker, Any, Any, str], Iterable[Node]] | None = None       # (walker, owner, value, rule)
    title: str = ""                             # what the part is called in rows
    each: str = ""                              # what its members are called, with their keys
    order: str = ""


@dataclass(frozen=True)
class Shape:
    """How objects of a class are told apart and called."""

    parts: dict[str, Part]
    keys: Callable[[Any, Names], tuple[str, ...]]
    title: Callable[[Any], str]
    rule: str | Callable[[Any], str] = ""       # of the whole; "": that of the collection
    local: Callable[[Any], dict[str, str]] | None = None       # names that only live inside it
    order: str = ""
    shown: Callable[[Any, Names], str] | None = None
    place: bool = False


def leaf(value: object, rule: str, key: str, title: str, names: Names, space: str = "", span: Span | None = None) -> Node:
    """A value without parts."""
    text, shown, exact = _texts(value, names, space)
    number = int(value) if isinstance(value, (bool, int)) else None
    return Node(LEAF, rule, (key,), title, text, shown, exact, span or getattr(value, "span", None), number, source=value)


def _texts(value: object, names: Names, space: str) -> tuple[str, str, str]:
    """Canonical, shown, exact."""
    if value is None or value == () or value == "":
        return "none", "none", "none"
    if isinstance(value, bool):
        return ("yes",) * 3 if value else ("no",) * 3
    if isinstance(value, int):
        text = str(value) if 0 <= value < 10 else f"{value:#x}"
        return text, text, text
    if isinstance(value, Expr):
        return plain(value, names), show(value), valued(value)
    if isinstance(value, Event):
        return value.name, value.name, value.name
    if isinstance(value, CallText):
        return f"{value.name}({','.join(plain(a, names) for a in value.arguments)})", call(value), f"{value.name}({', '.join(map(valued, value.arguments))})"
    if isinstance(value, str):
        text = names.of(space, value) if space else value
        return text, value, value
    if isinstance(value, frozenset):
        if all(isinstance(v, tuple) and len(v) == 2 and isinstance(v[1], bool) for v in value):
            return (when(value),) * 3
        if all(isinstance(v, int) for v in value):
            return (numbers(value),) * 3
        return _join([_texts(v, names, space) for v in sorted(value)])
    if isinstance(value, tuple):
        return _join([_texts(v, names, space) for v in value])
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _join([_texts(getattr(value, f.name), names, space) for f in dataclasses.fields(value) if f.name != "span"])
    raise TypeError(f"no text for a {type(value).__name__}")


def _join(rows: list[tuple[str, str, str]]) -> tuple[str, str, str]:
    return ", ".join(r[0] for r in rows), ", ".join(r[1] for r in rows), ", ".join(r[2] for r in rows)


class Walker:
    """Makes the tree of one side."""

    def __init__(self, table: Mapping[type, Shape], names: Names) -> None:
        self.table, self.names = table, names

    def spec(self, spec: Spec) -> Node:
        return self.item(spec, "", "")

    def item(self, value: Any, rule: str, key: str, order: str = "") -> Node:
        """An object of a model class, along its row of the table."""
        shape = self.table[type(value)]
        outer = self.names.local
        if shape.local is not None:
            self.names.local = shape.local(value)
        within = self.names.within
        if shape.place:
            self.names.within = getattr(value, "guard", frozenset())
        rule = (shape.rule(value) if callable(shape.rule) else shape.rule) or rule
        children: list[Node] = []
        for name, part in shape.parts.items():
            children += self.part(value, name, part, rule)
        keys = (key,) if key else shape.keys(value, self.names)
        text = f"{type(value).__name__}{{{'; '.join(c.text for c in children)}}}"
        shown = shape.shown(value, self.names) if shape.shown is not None else ""
        self.names.local, self.names.within = outer, within
        return Node(ITEM, rule, keys, shape.title(value), text, shown, "", getattr(value, "span", None), None, tuple(children), value,
                    order or shape.order, shape.place)

    def part(self, owner: Any, name: str, part: Part, rule: str) -> Iterable[Node]:
        """The nodes of an attribute."""
        value, rule = getattr(owner, name), part.rule or rule
        if part.how == "skip":
            return []
        if part.how == "by":
            assert part.by is not None
            return part.by(self, owner, value, rule)
        span = getattr(owner, "span", None)
        if part.how == "leaf":
            return [leaf(value, rule, name, part.title, self.names, part.space, span)]
        if part.how == "inside":
            if value is None:
                return []
            item = self.item(value, rule, name)
            return [replace(item, title=part.title) if part.title else item]
        return [self.collection(value, part, rule, name, span)]

    def collection(self, value: Any, part: Part, rule: str, name: str, span: Span | None) -> Node:
        """A set or a list. Members are keyed by their own keys, or by the key that the collection has them under."""
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        return group([self.member(key, one, part, rule, span) for key, one in items], rule, name, part.title, part.how, span)

    def member(self, key: object, value: Any, part: Part, rule: str, span: Span | None) -> Node:
        """One member of a collection."""
        if type(value) in self.table:
            return self.item(value, rule, "", part.order)
        if isinstance(key, int):                # a plain value in a sequence
            text = _texts(value, self.names, part.space)
            return Node(LEAF, rule, (text[0],), f"{part.each} {text[1]}".strip(), text[0], "", "", span, source=value)
        called = self.names.of(part.space, str(key)) if part.space else str(key)
        if isinstance(value, tuple) and value and isinstance(value[-1], Span):
            value, span = value[0], value[-1]
        title = f"{part.each} {key}".strip()
        if isinstance(value, (Mapping, tuple)):
            first = next((s for s in (getattr(v, "span", None) for v in value) if s is not None), span) if isinstance(value, tuple) else span
            inner = Part(SET, each="flag") if isinstance(value, Mapping) else Part(SET)
            return replace(self.collection(value, inner, rule, called, first), title=title)
        return leaf(value, rule, called, title, self.names, span=span or self.names.spec.spans.get(title))


def group(rows: list[Node], rule: str, key: str, title: str, kind: str, span: Span | None = None) -> Node:
    """A collection made of nodes."""
    texts = [f"{r.keys[0]}: {r.text}" for r in rows]
    return Node(kind, rule, (key,), title, "; ".join(sorted(texts) if kind == SET else texts), "", "", span, None, tuple(rows))
