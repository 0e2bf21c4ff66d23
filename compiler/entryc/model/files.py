"""The files of one spec: read, parsed, and put in the place of the `use` that names them. What a spec may use has bounds."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ..source.finding import Finding, Findings
from ..source.parse import span_of
from ..source.recover import Lost, parse_all
from ..source.text import SourceFile, Span, Unreadable, resolved
from .names import Node, text_of, trees
from .versions import Versions

MAX_ITEMS = 20_000                              # of a spec with all files that it uses
MAX_FILES = 200
MAX_USES = 32                                   # files that use each other in a row
MAX_TOTAL = 12_000_000                          # characters of all files together

Item = tuple[SourceFile, Node]
Texts = Mapping[Path, str]                      # resolved path -> text that stands for the file's: an editor's unsaved buffer


class Sources:
    """Reads the files of one spec. What is wrong with one of them does not keep the others from being read."""

    def __init__(self, within: Path | None, texts: Texts, version: str | None = None) -> None:
        self.within, self.texts = within, texts
        self.versions = Versions(version)       # of the kernel: what the spec says of others is left out
        self.findings: list[Finding] = []
        self.lost = Lost()
        self.done: set[Path] = set()
        self.total = 0
        self.items: list[Item] = []

    def read(self, path: Path, shown: str, span: Span | None, pipe: bool = False) -> SourceFile:
        """One file; `pipe`: it may come from another program. Raises Findings."""
        try:
            text = self.texts.get(resolved(path)) if self.texts else None
            return SourceFile.read(path, shown, pipe) if text is None else SourceFile.of(text, shown)
        except Unreadable as error:
            raise Findings([Finding("E003", "error", str(error), span)]) from None

    def collect(self, file: SourceFile, path: Path) -> list[Item]:
        """The items of a file with those of the files that it uses in their place. Raises Findings when a bound is passed."""
        self._file(file, path, [])
        return self.items

    def _file(self, file: SourceFile, path: Path, chain: list[Path]) -> None:
        chain = [*chain, resolved(path)]
        self.total += len(file.text)
        if self.total > MAX_TOTAL:
            raise Findings([Finding("E005", "error", f"the files of the spec are larger than {MAX_TOTAL} characters together", Span(file, 1, 1, 1, 2))])
        parsed = parse_all("entry", file)
        self.findings += parsed.findings
        self.lost.add(parsed.lost)
        todo = list(reversed(trees(parsed.tree)))
        while todo:
            node = todo.pop()
            if node.data == "version":
                self.versions.add(file, node)
            elif node.data == "versioned":
                todo += reversed(self.versions.items(file, node))
            elif node.data == "use":
                self._use(file, path, chain, node)
            elif self.versions.fits(node):
                self.items.append((file, node))
        if len(self.items) > MAX_ITEMS:
            raise Findings([Finding("E004", "error", f"the spec has more than {MAX_ITEMS} items", Span(file, 1, 1, 1, 2))])

    def _use(self, file: SourceFile, path: Path, chain: list[Path], node: Node) -> None:
        name, span = text_of(node.children[0]), span_of(file, node)
        target, shown = path.parent / os.fsdecode(name.encode()), str(Path(file.name).parent / name)
        problem: tuple[str, str] | None = None
        try:
            place = target.resolve()
        except (OSError, RuntimeError) as error:            # links in a circle, a name that is too long
            place = target.absolute()
            problem = "E003", f"{shown} cannot be read: {getattr(error, 'strerror', None) or 'its links lead in a circle'}"
        if problem is None and place in chain:
            circle = " → ".join(p.name for p in [*chain[chain.index(place):], target])
            problem = "E005", f"the files use each other in a circle: {circle}"
        elif place in self.done:
            return
        elif self.within is not None and not place.is_relative_to(self.within):
            problem = "E003", f"{shown} is outside of the repository"
        elif len(chain) >= MAX_USES:
            raise Findings([Finding("E005", "error", f"more than {MAX_USES} files use each other in a row", span)])
        self.done.add(place)
        if len(self.done) > MAX_FILES:
            raise Findings([Finding("E005", "error", f"more than {MAX_FILES} files are used", span)])
        try:
            if problem is not None:
                raise Findings([Finding(problem[0], "error", problem[1], span)])
            self._file(self.read(target, shown, span), target, chain)
        except Findings as stop:
            if any(f.code in ("E004", "E005") and problem is None for f in stop.findings):
                raise
            self.findings += stop.findings
            self.lost.all = True                # it would have declared something

    def kept(self, findings: list[Finding]) -> list[Finding]:
        """Findings about a spec of which something could not be read: those that do not come of it."""
        return [replace(f) for f in findings if f.code in LOCAL and not self._comes_of_it(f)]

    def _comes_of_it(self, finding: Finding) -> bool:
        if finding.code not in ABOUT_NAMES:
            return False
        outside, *quoted = finding.message.split("'")
        return any(self.lost.may_be(name) for name in quoted[::2]) or bool(self.lost.inside & set(outside.split()))


# Findings that are about one well-formed place of the text, whatever else is missing; of these, those that a missing declaration would cause.
ABOUT_NAMES = frozenset(("E203", "E205"))
LOCAL = ABOUT_NAMES | frozenset(("E010", "E201", "E202", "E204", "E206", "E208", "E209", "E210", "E211", "E212", "E214", "E215", "E216", "E217", "E218", "E223",
                                 "E225", "E226"))
