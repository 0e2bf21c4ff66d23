"""How each item, step and row is written: one example for each, by the kind of block that it stands in."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

TYPES = frozenset(("bool", *(f"{sign}{bits}" for sign in "us" for bits in (8, 16, 32, 64))))      # of values in C

# The first word of a block's statement -> the kind of what stands in it.
BLOCKS: Mapping[str, str] = {
    "": "item", **dict.fromkeys(("entry", "vectors", "kind", "path", "exit", "routine", "from", "if", "label"), "step"), "handler": "handler step",
    "frame": "slot", "memory": "member", "state": "row of a state", "boundary": "row of a boundary", "code": "row of a contract",
    "op": "row of an op", "decide": "row of an op", "method": "clause", "work": "row of work", "repeat": "row of work", "once": "row of work",
    "syscalls": "row of a system call table", "dispatch": "arm", "decisions": "row of decisions", "setup": "set-up value", "flags": "flag",
    "bracket": "row of a bracket", "save": "value of a slot", "hardware": "register", "configuration": "feature", "after": "fact"}

# The same of CPU descriptions.
ARCH_BLOCKS: Mapping[str, str] = {
    "": "item", "tools": "row of tools", "register": "row of a register", "abi": "row of the ABI", "struct": "field", "event": "row of an event",
    "return": "row of a return", "patching": "row of patching", "form": "effect", "sequence": "instruction", "program": "row of a program"}

FILES: Mapping[str, str] = {"entry": "forms.toml", "arch": "forms_arch.toml"}

# What the words are called that stand before '=' or ':' in such a statement.
SUBJECTS: Mapping[str, str] = {"slot": "the slot name", "value of a slot": "the slot name", "set-up value": "the set-up value", "flag": "the flag name",
                               "member": "the member name", "fact": "the state name"}


@lru_cache(maxsize=2)
def forms(language: str) -> Mapping[str, Mapping[str, str]]:
    """Kind of statement -> its first word -> an example. "" is a statement that starts with a name of the author's."""
    return tomllib.loads((Path(__file__).resolve().parent.parent / FILES[language]).read_text("utf-8"))


def kind_of(language: str, block: str, around: str = "") -> str:
    """What stands in a block, by the first word of its statement; `around`: the item that it is part of."""
    if language == "arch":
        return ARCH_BLOCKS.get(block, "row")
    if block in ("from", "if") and around in ("handler", "op"):
        return BLOCKS[around]
    if block == "if" and around in ("", "if"):  # items of some versions of a kernel
        return "item"
    return BLOCKS.get(block, "row")


def example(language: str, kind: str, head: str) -> str | None:
    """How such a statement is written."""
    rows = forms(language).get(kind, {})
    return rows.get(head, rows.get(""))


def homes(language: str, head: str) -> list[str]:
    """The kinds of statement that start with this word."""
    return [kind for kind, rows in forms(language).items() if head in rows]
