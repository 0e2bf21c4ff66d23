"""What becomes of the generated code: instructions, bytes and stack of each piece, both listings side by side, and lines of C."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..image.image import Image
from ..model.spec import Configuration, Spec
from ..plan.code import Code, Insn, LabelLine, spell
from .compare import common

Data = dict[str, Any]


@dataclass(frozen=True)
class Made:
    """One revision with what was generated from it. `images`: the assembled bytes by configuration; `files`: C texts by name."""

    spec: Spec
    code: Code
    images: Mapping[str, Image]
    files: Mapping[str, str]


@dataclass(frozen=True)
class Piece:
    """The code between one symbol and the next: (step as the spec has it, instruction) rows, its size, and how far down it goes below the frame's end."""

    rows: tuple[tuple[str, str], ...]
    size: int
    depth: int


def pieces(made: Made, configuration: Configuration) -> dict[str, Piece]:
    """The pieces of one configuration, by the symbol that each starts with."""
    rows: dict[str, list[tuple[str, str]]] = {}
    depth: dict[str, int] = {}
    at = ""
    for line in made.code.flat(configuration):
        if isinstance(line, LabelLine) and line.kind in ("entry", "exit"):
            at = line.name
            rows[at], depth[at] = [], 0
        elif isinstance(line, Insn) and at:
            step = line.span.snippet.split("#")[0].strip() if line.span is not None else ""
            rows[at].append((step, spell(made.spec.arch, line)))
            if line.unwound is not None:
                depth[at] = max(depth[at], line.unwound.below)
    symbols = made.images[configuration.name].symbols
    start, data = made.images[configuration.name].segments[0]
    order = sorted(rows, key=lambda n: symbols[n])
    ends = [*(symbols[n] for n in order[1:]), start + len(data)]
    padding = made.spec.arch.padding.to_bytes(1, "little")
    return {name: Piece(tuple(rows[name]), len(data[symbols[name] - start:end - start].rstrip(padding)), depth[name])
            for name, end in zip(order, ends, strict=True)}


def effects(old: Made, new: Made, names: Mapping[str, str], only: str | None = None) -> Data:
    """What differs. `names`: what symbols of the new revision were called in the old one, where that is another name."""
    found: dict[tuple[Any, ...], list[str]] = {}
    where: dict[tuple[Any, ...], list[str]] = {}
    for name, configuration in new.spec.configurations.items():
        if only not in (None, name):
            continue
        twin = _twin(old.spec, configuration)
        before = pieces(old, twin)
        label = name if twin.name == name else f"{name} (new, beside {twin.name})"
        after = {names.get(n, n): p for n, p in pieces(new, configuration).items()}
        for symbol in [*after, *(n for n in before if n not in after)]:
            a, b = before.get(symbol), after.get(symbol)
            if a is None or b is None or [r[1] for r in a.rows] != [r[1] for r in b.rows]:
                key = (a, b)
                found.setdefault(key, [])
                where.setdefault(key, [])
                found[key] += [symbol] if symbol not in found[key] else []
                where[key] += [label] if label not in where[key] else []
    stubs = [{"names": symbols, "configurations": where[key], "old": _numbers(key[0]), "new": _numbers(key[1]), "lines": _aligned(*key)}
             for key, symbols in found.items()]
    return {"stubs": stubs, "c": [row for name in sorted({*old.files, *new.files}) if (row := _lines(name, old.files.get(name, ""), new.files.get(name, "")))]}


def _twin(old: Spec, configuration: Configuration) -> Configuration:
    """The old revision's configuration of that name; of a new one, that with the most alike features."""
    named = old.configurations.get(configuration.name)
    return named or min(old.configurations.values(), key=lambda c: len(c.features ^ configuration.features))


def _numbers(piece: Piece | None) -> Data | None:
    return None if piece is None else {"instructions": len(piece.rows), "bytes": piece.size, "stack": piece.depth}


def _aligned(a: Piece | None, b: Piece | None) -> list[Data]:
    """Both listings as one: what both have, what only one has, under the steps that asked for it."""
    x, y = (a.rows if a else ()), (b.rows if b else ())
    pairs = common([r[1] for r in x], [r[1] for r in y])
    out: list[Data] = []
    i = j = 0
    for k, m in [*pairs, (len(x), len(y))]:
        out += [{"mark": "-", "text": text, "step": step} for step, text in x[i:k]]
        out += [{"mark": "+", "text": text, "step": step} for step, text in y[j:m]]
        if k < len(x) and m < len(y):
            out.append({"mark": " ", "text": y[m][1], "step": y[m][0]})
        i, j = k + 1, m + 1
    return out


def _lines(name: str, a: str, b: str) -> Data | None:
    """How many lines of a text came and went."""
    rows = list(difflib.unified_diff(a.splitlines(), b.splitlines(), "old", "new", lineterm="", n=0))[2:]
    added, removed = (sum(line.startswith(sign) for line in rows) for sign in "+-")
    return {"file": name, "added": added, "removed": removed} if added or removed else None
