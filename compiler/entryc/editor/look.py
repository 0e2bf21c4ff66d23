"""What a name of a text means: its kind, and where that is declared, in any file of the spec or in the CPU's description."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from .. import resources
from ..model.arch import Arch
from ..model.load_arch import load_arch
from ..model.spec import Spec
from ..plan.code import Code
from ..source.finding import Findings
from ..source.text import Span
from .index import Name, declared
from .items import bare
from .kinds import SLOT, VALUE, WORD, expected, subject_of
from .place import Dotted, Place, dotted_at, place_at

PREFIXES = {"user": "register", "interrupted": "register", "setup": "setup value"}      # user.gs_base, setup.star_user


@dataclass(frozen=True)
class Where:
    """A range of a file; lines and columns count from 0, columns in characters."""

    path: Path
    line: int
    column: int
    end_line: int
    end_column: int


@dataclass(frozen=True)
class Meaning:
    """What a name stands for. `inside`: the frame of a slot, the state of a value. `at`: where it is declared, if in a text."""

    kind: str
    name: str
    inside: str = ""
    at: tuple[tuple[Path, Name], ...] = ()


@dataclass
class Look:
    """A text with what belongs to it. `files`: all texts of its spec, by path; `spec` and `code`: as far as they could be made."""

    language: str
    path: Path
    text: str
    files: Mapping[Path, str]
    spec: Spec | None = None
    code: Code | None = None
    places: Mapping[str, Path] = field(default_factory=dict)        # the name that messages use -> the file

    @cached_property
    def arch(self) -> Arch | None:
        """The CPU that the spec names."""
        if self.spec is not None:
            return self.spec.arch
        for text in (self.text, *self.files.values()) if self.language == "entry" else ():
            for line in text.split("\n"):
                for part in bare(line).split(";"):
                    word, _, name = part.strip().partition(" ")
                    if word == "arch" and name.strip() in resources.arch_names():
                        try:
                            return load_arch(name.strip())
                        except Findings:
                            return None
        return None

    @cached_property
    def names(self) -> list[tuple[Path, Name]]:
        """All declarations: of this text, of the spec's other files, of the CPU's description."""
        out = [(self.path, n) for n in declared(self.language, self.text)]
        out += [(path, n) for path, text in self.files.items() if path != self.path for n in declared(self.language, text)]
        if self.arch is not None:
            path = resources.arch_file(self.arch.name)
            out += [(path, n) for n in declared("arch", self.arch.source.text)]
        return out

    @cached_property
    def by_name(self) -> dict[str, list[tuple[Path, Name]]]:
        out: dict[str, list[tuple[Path, Name]]] = {}
        for path, name in self.names:
            out.setdefault(name.name, []).append((path, name))
            if name.kind == "label":            # &PATH_LABEL
                out.setdefault(f"{name.inside}_{name.name}", []).append((path, name))
        return out

    def text_of(self, path: Path) -> str:
        """The text that a declaration is in."""
        if path == self.path:
            return self.text
        if path in self.files:
            return self.files[path]
        return self.arch.source.text if self.arch is not None else ""

    def find(self, kind: str, name: str, inside: str | None = None) -> tuple[tuple[Path, Name], ...]:
        """Declarations of a kind. `inside` None: whatever they belong to."""
        return tuple((p, n) for p, n in self.by_name.get(name, ()) if n.kind == kind and inside in (None, n.inside))

    # ---- what stands at a place ----

    def at(self, line: int, column: int) -> tuple[Meaning, Dotted] | None:
        """The meaning of the name at a place, both from 0."""
        dotted = dotted_at(self.text, line, column)
        if dotted is None:
            return None
        own = next((n for p, n in self.names if p == self.path and (n.line, n.column) == (line, dotted.column)), None)
        if own is not None and len(dotted.parts) == len(own.name.split(".")):
            return Meaning(own.kind, own.name, own.inside, ((self.path, own),)), dotted
        place = place_at(self.language, self.text, line, dotted.start)
        return next(((m, dotted) for m in self._meanings(dotted, place)), None)

    def _meanings(self, dotted: Dotted, place: Place) -> Iterator[Meaning]:
        """What the name can be, the likeliest first."""
        whole, head, rest = ".".join(dotted.parts), dotted.parts[0], ".".join(dotted.parts[1:])
        if self.find("event", whole):
            yield Meaning("event", whole, "", self.find("event", whole))
        if rest:
            if head in PREFIXES:
                kind = PREFIXES[head]
                yield Meaning(kind, rest, "", self.find(kind, rest))
            for owner, kind in (("frame", SLOT), ("memory", WORD)):
                if self.find(owner, head):
                    yield Meaning(kind, rest, head, self._member(kind, head, rest))
            return
        for kind in expected(place) if self.language == "entry" else ():
            if kind == VALUE:
                inside = subject_of(place) or (place.item[1].text if len(place.item) > 1 else "")
            elif kind == SLOT:
                inside = next((w.text for w in place.opener[1:2]), "")         # save FRAME { … }
                found = self._member(SLOT, inside, head)
                if found:
                    yield Meaning(SLOT, head, inside, found)
                continue
            else:
                inside = ""
            found = self.find(kind, head, inside or None)
            if found:
                yield Meaning(kind, head, inside, found)
        for path, name in self.by_name.get(head, ()):
            yield Meaning(name.kind, name.name, name.inside, ((path, name),))

    def _member(self, kind: str, owner: str, name: str) -> tuple[tuple[Path, Name], ...]:
        """Where a slot or a word is declared: by name, or by the row that made it."""
        found = self.find(kind, name, owner) or self.find(kind, name.split(".")[0], owner)
        if found or self.spec is None:
            return found
        table = self.spec.frames[owner].slots if kind == SLOT and owner in self.spec.frames else \
            self.spec.memories[owner].cells if kind == WORD and owner in self.spec.memories else {}
        span = table[name].span if name in table else None
        path = self.places.get(span.file.name) if span is not None else None
        if span is None or path is None:
            return ()
        return ((path, Name(kind, name, owner, span.line - 1, span.column - 1, span.line - 1, span.end_line - 1)),)

    def where(self, meaning: Meaning) -> list[Where]:
        """The places of a meaning's declarations."""
        return [Where(p, n.line, n.column, n.line, n.end_column) for p, n in meaning.at]

    def span(self, span: Span) -> Where | None:
        """A span of a finding or of the model as a place."""
        path = self.places.get(span.file.name)
        return Where(path, span.line - 1, span.column - 1, span.end_line - 1, span.end_column - 1) if path is not None else None
