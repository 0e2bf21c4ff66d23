"""The texts that an editor has open, with the specs that they belong to. Knows no protocol: the server and tests use it alike."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ..editor.look import Look
from ..source.finding import Finding
from ..source.text import resolved
from .examine import Examined, files_of, read_text

MAX_SEARCHED = 2000                             # files that are asked whether they use a part
MAX_FOLDERS = 10_000                            # that are looked into for them
SKIPPED = frozenset(["node_modules", "__pycache__", "build", "dist"])


def language_of(path: Path) -> str:
    return "arch" if path.suffix == ".arch" else "entry"


@dataclass
class Workspace:
    """`texts`: what is open, by resolved path. `folders`: where to look for specs that use a part."""

    folders: list[Path] = field(default_factory=list)
    texts: dict[Path, str] = field(default_factory=dict)
    done: dict[Path, Examined] = field(default_factory=dict)        # by spec: what was found last
    good: dict[Path, Examined] = field(default_factory=dict)        # by spec: the last one whose model and plan were made

    def roots(self, path: Path, search: bool = False) -> list[Path]:
        """The specs that a file belongs to: itself, or those that use it, directly or not. `search`: also those that were not looked at yet."""
        text = read_text(path, self.texts)
        if language_of(path) == "arch" or text is None or _has_header(text):
            return [path]
        known = [root for root, result in self.done.items() if root != path and path in result.files]
        if known and not search:
            return known
        return [p for p in self._candidates(path) if p != path and path in files_of(p, self.texts)[0]] or [path]

    def _candidates(self, path: Path) -> Iterable[Path]:
        """Specs with a header, near a part: in the editor's folder that it is in, with all below; else in its own folder and the one above it."""
        tops = [f for f in self.folders if path.is_relative_to(f)]
        found: dict[Path, None] = dict.fromkeys(self.texts)
        for top in tops or [path.parent, path.parent.parent]:
            for count, (folder, below, files) in enumerate(os.walk(top)):
                below[:] = sorted(d for d in below if d not in SKIPPED and not d.startswith(".")) if tops else []
                found |= {resolved(Path(folder, name)): None for name in sorted(files) if name.endswith(".entry")}
                if len(found) > MAX_SEARCHED or count > MAX_FOLDERS:
                    break
        for candidate in found:
            text = read_text(candidate, self.texts) if language_of(candidate) == "entry" else None
            if text is not None and "use" in text and _has_header(text):
                yield candidate

    def keep(self, result: Examined) -> None:
        """A spec was looked at."""
        self.done[result.path] = result
        whole = result.code is not None or (result.spec is not None and result.spec.target != "bare" and not any(f.level == "error" for f in result.findings))
        if result.spec is not None and (whole or result.path not in self.good):
            self.good[result.path] = result

    def open_roots(self) -> dict[Path, None]:
        """The specs of all open texts."""
        return {root: None for path in self.texts for root in self.roots(path)}

    def look(self, path: Path) -> Look:
        """A text with its spec: the model as far as it goes now, and where a part of it is missing, as it was when it was whole."""
        root = next(iter(self.roots(path)))
        now = self.done.get(root) or Examined(root)
        good = self.good.get(root, now)
        whole = now if now.spec is not None and now.code is not None else good
        files, places = files_of(root, self.texts)
        return Look(language_of(path), path, read_text(path, self.texts) or "", files if path in files else {path: ""}, whole.spec,
                    whole.code if whole is now else None, {**places, **whole.places})

    def findings(self, path: Path) -> list[tuple[Finding, Examined]]:
        """What all specs that a file belongs to have to say of it, once."""
        out: dict[tuple[object, ...], tuple[Finding, Examined]] = {}
        for result in self.done.values():
            for finding in result.findings:
                at = result.places.get(finding.span.file.name) if finding.span is not None else result.path
                if at == path:
                    span = finding.span
                    key = (finding.code, finding.message, (span.line, span.column) if span is not None else None)
                    out.setdefault(key, (finding, result))
        return list(out.values())

    def close(self, path: Path) -> list[Path]:
        """A text is closed: the file counts again. Returns the specs that nothing open belongs to any more."""
        self.texts.pop(path, None)
        wanted = self.open_roots()
        gone = [root for root in self.done if root not in wanted]
        for root in gone:
            del self.done[root]
            self.good.pop(root, None)
        return gone


def _has_header(text: str) -> bool:
    """Does the text say its language: is it a whole spec?"""
    return any(part.strip().startswith("language") for line in text.split("\n") if "language" in line for part in line.split("#")[0].split(";"))
