"""entryc fmt: specs as they should stand, each file written whole or not at all."""

from __future__ import annotations

import difflib
import sys
from dataclasses import dataclass
from pathlib import Path

from ..source.finding import Finding, Findings
from ..source.format import formatted
from ..source.text import MAX_BYTES, SourceFile, Unreadable, decoded
from .jobs import Speaker
from .output import rewrite

SUFFIXES = (".entry", ".arch")


@dataclass(frozen=True)
class Asked:
    """What the command line says: files, folders, or "-" for standard input."""

    paths: tuple[str, ...]
    check: bool = False                         # write nothing; a file that differs is a finding
    diff: bool = False                          # write nothing; print the differences


def run(asked: Asked, say: Speaker) -> list[Finding]:
    """Format all of them; one that cannot be formatted does not keep the others from it."""
    out: list[Finding] = []
    for path in asked.paths:
        try:
            for file in _files(path):
                try:
                    out += _one(file, asked, say)
                except Findings as stop:
                    out += stop.findings
        except Unreadable as problem:
            out.append(Finding("E003", "error", str(problem)))
    return out


def _files(path: str) -> list[Path | None]:
    """The files that an argument means; None is standard input."""
    if path == "-":
        return [None]
    if not Path(path).is_dir():
        return [Path(path)]
    found = sorted(p for p in Path(path).rglob("*") if p.suffix in SUFFIXES and p.is_file())
    if not found:
        raise Unreadable(f"{path} has no file that ends in {' or '.join(SUFFIXES)}")
    return list(found)


def _one(path: Path | None, asked: Asked, say: Speaker) -> list[Finding]:
    name = str(path) if path is not None else "standard input"
    try:
        if path is not None:
            SourceFile.read(path)
        before = decoded(path.read_bytes() if path is not None else sys.stdin.buffer.read(MAX_BYTES + 1), name)
        SourceFile.of(before, name)
    except Unreadable as problem:
        raise Findings([Finding("E003", "error", str(problem))]) from None
    after = formatted(before, name)
    if asked.diff:
        sys.stdout.writelines(difflib.unified_diff(before.splitlines(True), after.splitlines(True), name, f"{name}, formatted"))
    if asked.check:
        return [Finding("E008", "error", f"{name} is not formatted", help=f"run: entryc fmt {name}" if path else None)] if before != after else []
    if asked.diff:
        return []
    if path is None:
        sys.stdout.write(after)
    elif before != after:
        rewrite(path, after)
        say.say(f"{name} formatted")
    return []
