"""Edits applied to the texts of a tree. What stands there has to be what the series knows; nothing is guessed."""

from __future__ import annotations

from typing import Protocol

from . import c_source
from .assembly import fingerprint
from .dialect import Dialect, Replaced, region_of
from .series import Array, Choice, Code, Edit, Insert, Line, Macro, New, Patch, Remove, Series
from .tree import Tree, refused

AGAIN = "the series was applied to this tree: entryc verify --object shows whether it still holds"
LOOK = "look at the change, put it into the spec, and add the fingerprint to the series"


class Maker(Protocol):
    """Where new text comes from."""

    def code(self, paths: tuple[str, ...], symbol: str) -> list[str]:
        """Assembly of a symbol."""

    def stubs(self, edit: Macro | Array) -> list[str]:
        """What stands in a macro, or a whole table of stubs."""

    def choice(self, name: str, counted: bool) -> list[str]:
        """A C function."""

    def call(self, name: str) -> str:
        """The statement that calls it."""

    def template(self, name: str) -> str:
        """A whole file."""


def apply_series(series: Series, tree: Tree, dialect: Dialect, maker: Maker) -> list[Patch]:
    """All steps, each on what the one before it left. Raises Findings: code that is not there, is not what the series knows, or is replaced already."""
    out = []
    for step in series.steps:
        changes: dict[str, tuple[str, str]] = {}
        for edit in step.edits:
            before = "" if isinstance(edit, New) else tree.read(edit.file)
            after = _applied(before, edit, tree, dialect, maker)
            changes[edit.file] = (changes.get(edit.file, (before, ""))[0], after)
            tree.texts[edit.file] = after
        out.append(Patch(step, changes))
    return out


def _applied(text: str, edit: Edit, tree: Tree, dialect: Dialect, maker: Maker) -> str:
    if isinstance(edit, Code):
        return _code(text, edit, dialect, maker.code(edit.paths, edit.made))
    if isinstance(edit, Macro | Array):
        return _code(text, edit, dialect, maker.stubs(edit))
    if isinstance(edit, Remove):
        return _code(text, edit, dialect, [])
    if isinstance(edit, Choice):
        return _choice(text, edit, maker)
    if isinstance(edit, Insert):
        return _insert(text, edit)
    if isinstance(edit, Line):
        return _line(text, edit)
    assert isinstance(edit, New)
    if tree.has(edit.file):
        raise refused("E386", f"the tree has a {edit.file} already", AGAIN)
    return maker.template(edit.template)


def _known(found: str, known: tuple[str, ...], what: str) -> None:
    if found not in known:
        raise refused("E385", f"{what} is not the code that this series replaces: its logic was changed (fingerprint {found})", LOOK)


def _code(text: str, edit: Replaced, dialect: Dialect, new: list[str]) -> str:
    lines = text.split("\n")
    what = edit.macro if isinstance(edit, Macro) else edit.symbol
    region = region_of(lines, edit, dialect)
    if region is None:
        raise refused("E385", f"{edit.file} has no code of {what}, or more than one piece of it", "the tree is not what this series knows")
    found = fingerprint("\n".join(lines[region.first:region.last]))
    if found == fingerprint("\n".join(new)):
        if found in edit.known:
            return text                         # what was written by hand is what the spec gives
        raise refused("E386", f"{what} in {edit.file} is what the spec gives already", AGAIN)
    _known(found, edit.known, f"{what} in {edit.file}")
    return "\n".join([*lines[:region.first], *new, *lines[region.last:]])


def _choice(text: str, edit: Choice, maker: Maker) -> str:
    lines = text.split("\n")
    new = maker.choice(edit.choice, edit.counted)
    made = c_source.function(text, edit.choice)
    if made is not None:
        found = fingerprint("\n".join(lines[made.top:made.close + 1]))
        if found == fingerprint("\n".join(new)) or not edit.counted:
            raise refused("E386", f"{edit.choice} in {edit.file} is there already", AGAIN)
        _known(found, (fingerprint("\n".join(maker.choice(edit.choice, False))),), f"{edit.choice} in {edit.file}")
        return "\n".join([*lines[:made.top], *new, *lines[made.close + 1:]])
    holder = c_source.function(text, edit.function)
    if holder is None:
        raise refused("E385", f"{edit.file} has no function {edit.function}, or more than one", "the tree is not what this series knows")
    last = next((end for _, end, statement in reversed(holder.statements) if c_source.calls(statement, edit.after)), None)
    if last is None:
        raise refused("E385", f"{edit.function} in {edit.file} does not call {edit.after}", "the tree is not what this series knows")
    _known(fingerprint("\n".join(lines[last + 1:holder.close])), edit.known, f"the end of {edit.function} in {edit.file}")
    return "\n".join([*lines[:holder.top], *new, "", *lines[holder.top:last + 1], "", maker.call(edit.choice), *lines[holder.close:]])


def _insert(text: str, edit: Insert) -> str:
    lines = text.split("\n")
    if not edit.after:                          # at the end
        return text.rstrip("\n") + "\n" + "\n".join(["", *edit.lines, ""])
    place = _only_line(lines, edit.after, edit.file)
    return "\n".join([*lines[:place + 1], *edit.lines, *lines[place + 1:]])


def _line(text: str, edit: Line) -> str:
    lines = text.split("\n")
    place = _only_line(lines, edit.old, edit.file)
    return "\n".join([*lines[:place], *edit.new, *lines[place + 1:]])


def _only_line(lines: list[str], wanted: str, file: str) -> int:
    """Where a line stands. Raises Findings when that is not once."""
    places = [i for i, line in enumerate(lines) if line == wanted]
    if len(places) != 1:
        raise refused("E385", f"{file} has the line '{wanted.strip()}' {len(places)} times", "the tree is not what this series knows")
    return places[0]
