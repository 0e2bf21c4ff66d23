"""What a text declares, and where: from its syntax alone, so that it is known while other parts of the text are wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from lark import Token, Tree

from .items import bare, chunks, comment_start, trees_of

# Rules whose first NAME is what they declare -> what that is called.
ITEMS = {
    "entry": {"feature": "feature", "configuration": "configuration", "region": "region", "memory": "memory", "op": "op", "sequence": "op",
              "state": "state", "special": "boundary", "code": "contract", "stack": "stack", "frame": "frame", "entry": "entry point", "kind": "kind",
              "path": "path", "exit": "exit", "routine": "routine", "resumed": "routine", "window": "window", "method": "method", "choose": "choice",
              "flags": "flags", "bracket": "bracket", "work": "work", "syscalls": "system calls", "handler": "handler", "fault_symbol": "symbol"},
    "arch": {"arch": "CPU", "register": "register", "struct": "structure", "setup": "setup value", "hwstack": "hardware stack", "form": "form",
             "return_row": "return", "sequence": "sequence", "program": "program", "event": "event"},
}
# Rows inside of items -> what they declare there; "word" belongs to its memory, and so on.
ROWS = {"member": "word", "state_value": "value", "slot_value": "slot", "slot_expr": "slot", "slot_home": "slot", "slot_c": "slot",
        "sys_row": "system call", "label": "label", "label_is": "label", "field": "field", "bit": "flag mask"}
LISTS = {"slot_names": "slot", "slot_hardware": "slot"}         # rows in which each NAME is declared
CONSTANTS = {"constants": "constant", "setup": "setting", "flags": "flag"}


@dataclass(frozen=True)
class Name:
    """A declaration. Lines and columns count from 0, columns in characters; `line` … are the name's, `start` and `end` the whole item's lines."""

    kind: str
    name: str
    inside: str                                 # the item that it belongs to; "" for an item
    line: int
    column: int
    start: int
    end: int

    @property
    def end_column(self) -> int:
        return self.column + len(self.name.split(".")[-1])


def declared(language: str, text: str) -> list[Name]:
    """All declarations of a text, in its order."""
    out: list[Name] = []
    for chunk in chunks(language, text):
        out += [Name(n.kind, n.name, n.inside, n.line + chunk.first, n.column, n.start + chunk.first, n.end + chunk.first)
                for n in _of_chunk(language, chunk.text)]
    return out


@lru_cache(maxsize=4096)
def _of_chunk(language: str, text: str) -> tuple[Name, ...]:
    return tuple(n for tree in trees_of(language, text) for n in _of_item(language, tree))


def _names(node: Tree[Any]) -> list[Token]:
    return [c for c in node.children if isinstance(c, Token) and c.type == "NAME"]


def _of_item(language: str, node: Tree[Any]) -> Iterator[Name]:
    rule = str(node.data)
    start, end = node.meta.line - 1, node.meta.end_line - 1

    def name(kind: str, token: Token, inside: str = "", row: Tree[Any] | None = None) -> Name:
        rows = (row.meta.line - 1, row.meta.end_line - 1) if row is not None else (start, end)
        return Name(kind, str(token), inside, (token.line or 1) - 1, (token.column or 1) - 1, *rows)

    own = ""
    if rule in ITEMS[language]:
        token = next(iter(_names(node)), None)
        if rule == "event":
            token = next(iter(_names(node.children[0])), None) if isinstance(node.children[0], Tree) else token
        if token is None:
            return
        own = str(token)
        if rule == "event":
            own = ".".join(map(str, _names(node.children[0])))
            yield Name("event", own, "", (token.line or 1) - 1, (token.column or 1) - 1, start, end)
        else:
            yield name(ITEMS[language][rule], token)
    elif rule == "vectors":
        numbers = [c for c in node.children if isinstance(c, Token) and c.type == "INT"]
        yield Name("entry point", f"vectors {numbers[0]}..{numbers[1]}", "", start, node.meta.column - 1, start, end)
    elif rule == "symbols":
        yield from (name("symbol", t) for t in _names(node))
    elif rule in ("hook", "hook_pointer"):
        yield name("hook", _names(node)[1 if rule == "hook_pointer" else 0])
    if language == "entry" and rule in CONSTANTS:
        for row in node.find_data("constant"):
            yield name(CONSTANTS[rule], _names(row)[0], own, row)
    rows: Any = node
    for row in rows.iter_subtrees_topdown():
        kind = ROWS.get(str(row.data))
        if row.data == "reg_bit":               # place df 10: the name comes second
            if str(_names(row)[0]) == "place":
                yield name("flag bit", _names(row)[1], own, row)
        elif kind and _names(row) and row is not node:
            yield name(kind, _names(row)[0], own, row)
        elif str(row.data) in LISTS:
            yield from (name(LISTS[str(row.data)], t, own, row) for t in _names(row))


def used_files(text: str) -> list[str]:
    """The files that a spec uses, as it writes them; also where it cannot be parsed."""
    out: list[str] = []
    for line in text.split("\n"):
        for part in line[:len(bare(line))].split(";"):
            word, _, rest = part.strip().partition(" ")
            rest = rest.strip()
            if word == "use" and len(rest) > 2 and rest[0] == rest[-1] == '"':
                out.append(rest[1:-1])
    return out


def comment_above(text: str, line: int) -> str:
    """The comment directly above a line, or behind it, without its signs: what the author says of it."""
    lines = text.split("\n")
    if not 0 <= line < len(lines):
        return ""
    above: list[str] = []
    for index in range(line - 1, -1, -1):
        if not lines[index].startswith("#"):
            break
        above.insert(0, lines[index].lstrip("# ").rstrip())
    column = comment_start(lines[line])
    behind = [lines[line][column:].lstrip("# ").rstrip()] if column is not None else []
    return " ".join([*above, *behind])
