"""A series: steps of a TOML file, each a list of edits of the tree's texts."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from ..source.text import MAX_BYTES, read_bytes
from .tree import refused


@dataclass(frozen=True)
class Edit:
    """Base of the edits: a file of the tree."""

    file: str
    only: tuple[str, ...] = field(default=(), kw_only=True)     # the versions that need it; empty: all


@dataclass(frozen=True)
class Code(Edit):
    """The code of a symbol gives way to that of some paths of the spec. `known`: fingerprints of what may stand there."""

    symbol: str
    paths: tuple[str, ...]
    known: tuple[str, ...]
    first: str = ""                             # only a part of the symbol's lines gives way: from this one
    last: str = ""                              # to this one

    @property
    def made(self) -> str:
        """Which of the texts that the paths become: that of the symbol, or for a part, that which its first path begins."""
        return self.paths[0] if self.first else self.symbol


@dataclass(frozen=True)
class Remove(Edit):
    """The code of a symbol goes: nothing refers to it any more."""

    symbol: str
    known: tuple[str, ...]


@dataclass(frozen=True)
class Arm:
    """Entry points that a macro makes alike: those that fit a pattern and no arm before. `when`: how the assembler tells them ("": all others)."""

    paths: tuple[str, ...]
    when: str = ""
    error_code: str = ""                        # only those whose error code the CPU pushed ("pushed"), or those without one ("none")
    whole: bool = False                         # the whole code stands here, where the others stop


@dataclass(frozen=True)
class Macro(Edit):
    """The lines of an assembler macro give way to what entry points of the spec have in common."""

    macro: str
    known: tuple[str, ...]
    arms: tuple[Arm, ...]
    through: str = ""                           # a called path: the macro has what comes before it, or from it on
    goes_on: str = ""                           # what stands for the rest, in the former case
    symbol: str = ""                            # the symbol that the macro makes; "": it is part of another one's code
    lead: tuple[str, ...] = ()                  # lines before that


@dataclass(frozen=True)
class Array(Edit):
    """A table of stubs, one for each vector that the spec places at its symbol."""

    symbol: str
    first: str                                  # what the kernel calls the first number
    count: str
    through: str                                # the called path that they lead to
    known: tuple[str, ...]


@dataclass(frozen=True)
class Choice(Edit):
    """What a C function does after its last call of another one gives way to a choice of the spec, which becomes a function of its own above it.

    Where that function stands already, it is written again: `counted` then adds the counters.
    """

    function: str
    after: str
    choice: str
    known: tuple[str, ...] = ()
    counted: bool = False


@dataclass(frozen=True)
class Insert(Edit):
    """Lines after a line that stands there once; at the end of the file where `after` is empty."""

    after: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Line(Edit):
    """A line that stands there once gives way to others."""

    old: str
    new: tuple[str, ...]


@dataclass(frozen=True)
class New(Edit):
    """A file that the tree does not have: a text beside the dialect's table."""

    template: str


KINDS: Mapping[str, type[Edit]] = {"code": Code, "macro": Macro, "array": Array, "remove": Remove, "choice": Choice, "insert": Insert, "line": Line, "new": New}


@dataclass(frozen=True)
class Step:
    """One patch."""

    subject: str
    message: str
    edits: tuple[Edit, ...]
    only: tuple[str, ...] = ()                  # the versions that need it; empty: all


@dataclass(frozen=True)
class Series:
    """What the patches do, in order, and which kernels they are for."""

    versions: tuple[str, ...]
    subject: str
    message: str
    stays: str                                  # what is left as it is
    objects: Mapping[str, tuple[str, ...]]      # version -> where the code is proved
    steps: tuple[Step, ...]

    def of(self, version: str) -> Series:
        """What it does to one version."""
        def meant(part: Step | Edit) -> bool:
            return version in (part.only or self.versions)
        steps = (replace(s, edits=tuple(e for e in s.edits if meant(e))) for s in self.steps if meant(s))
        return replace(self, steps=tuple(s for s in steps if s.edits))

    @property
    def choices(self) -> tuple[str, ...]:
        """The choices that become C."""
        return tuple(dict.fromkeys(e.choice for s in self.steps for e in s.edits if isinstance(e, Choice)))

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(sorted({e.file for s in self.steps for e in s.edits}))


@dataclass(frozen=True)
class Patch:
    """A step with the files that it changes: name -> (before, after); a new file was empty."""

    step: Step
    changes: dict[str, tuple[str, str]]


def load_series(path: Path) -> Series:
    """Read SPEC.series.toml. Raises Findings."""
    try:
        data: dict[str, Any] = tomllib.loads(read_bytes(path, MAX_BYTES).decode("utf-8"))
        steps = tuple(Step(row["subject"], row["message"].strip(), tuple(_edit(e) for e in row["edit"]), _only(row)) for row in data["patch"])
        series = Series(tuple(data["versions"]), data["subject"], data["message"].strip(), data["stays"].strip(),
                        {version: tuple(data["objects"][version]) for version in data["versions"]}, steps)
        broken = next((t for t in (series.subject, *(s.subject for s in steps)) if len(t.splitlines()) != 1), None)
        if broken is not None:
            raise ValueError(f"a subject is one line: {broken!r}")
        strange = sorted({v for s in steps for v in (*s.only, *(v for e in s.edits for v in e.only))} - set(series.versions))
        if strange:
            raise KeyError(f"only {', '.join(strange)}, which is none of its versions")
        return series
    except FileNotFoundError:
        raise refused("E384", f"no series belongs to this spec: {path.name} is missing", "entryc patch works with specs that have one") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as problem:
        raise refused("E384", f"{path.name} cannot be read: {problem}") from None


def _only(row: dict[str, Any]) -> tuple[str, ...]:
    """The versions that a step is for."""
    found = row.get("only", [])
    if not isinstance(found, list) or not all(isinstance(v, str) for v in found):
        raise TypeError(f"only = {found!r}")
    return tuple(found)


def _edit(row: dict[str, Any]) -> Edit:
    kind: Any = KINDS[row.pop("kind")]
    if "arms" in row:
        row["arms"] = [_read(Arm, dict(arm)) for arm in row["arms"]]
    edit: Edit = _read(kind, row)
    return edit


def _read(kind: Any, row: dict[str, Any]) -> Any:
    """A record from a table whose keys are its fields."""
    types = {f.name: str(f.type) for f in fields(kind)}
    unknown = set(row) - set(types)
    if unknown:
        raise KeyError(", ".join(sorted(unknown)))
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
    for name, value in values.items():
        right = type(value).__name__ == types[name]
        if types[name].startswith("tuple"):
            right = isinstance(value, tuple) and all(isinstance(v, str | Arm) for v in value)
        if not right:
            raise TypeError(f"{name} = {value!r}")
    if kind is Code and bool(values.get("first")) != bool(values.get("last")):
        raise KeyError("first without last, or last without first")
    return kind(**values)
