"""What check says of a spec or of a CPU description, for an editor: with unsaved texts, as far as each stage comes, and never an exception."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .. import resources
from ..editor.index import used_files
from ..model.build import read_spec
from ..model.load_arch import read_arch
from ..model.spec import Spec
from ..plan.code import Code
from ..plan.plan import plan_spec
from ..source.finding import Collector, Finding, Findings
from ..source.text import SourceFile, Unreadable, resolved

MAX_FILES = 200


@dataclass
class Examined:
    """A spec as it is now. `places`: the names that messages use -> files; `files`: their texts."""

    path: Path
    spec: Spec | None = None
    code: Code | None = None
    findings: list[Finding] = field(default_factory=list)
    places: dict[str, Path] = field(default_factory=dict)
    files: dict[Path, str] = field(default_factory=dict)


def read_text(path: Path, texts: Mapping[Path, str]) -> str | None:
    """The text of a file as the editor has it, or as it is on the disk; None: there is none."""
    if path in texts:
        return texts[path]
    try:
        return SourceFile.read(path).text
    except Unreadable:
        return None


def files_of(path: Path, texts: Mapping[Path, str]) -> tuple[dict[Path, str], dict[str, Path]]:
    """The files of a spec with what they use, by path, and the names that messages have for them."""
    files: dict[Path, str] = {}
    places: dict[str, Path] = {}
    todo = [(path, str(path))]
    while todo and len(files) < MAX_FILES:
        at, shown = todo.pop()
        place = places[shown] = resolved(at)
        text = read_text(place, texts) if place not in files else None
        if text is None:
            continue
        files[place] = text
        todo += [(at.parent / name, str(Path(shown).parent / name)) for name in used_files(text)]
    return files, places


def examine(path: Path, texts: Mapping[Path, str]) -> Examined:
    """Read, plan and write a spec, or read a CPU description; nothing is kept."""
    out = Examined(path)
    out.files, out.places = files_of(path, texts)
    if path.suffix == ".arch":
        out.places = {str(path): path}
        out.findings = _of_arch(path, texts)
        return out
    out.spec, out.findings = read_spec(path, str(path), texts)
    if out.spec is not None:
        out.places[out.spec.arch.source.name] = resources.arch_file(out.spec.arch.name)
    if out.spec is None or any(f.level == "error" for f in out.findings):
        return out
    collector = Collector()
    try:
        if out.spec.target == "bare":
            from . import render
            out.code = plan_spec(out.spec, collector)
            render.render(out.spec, out.code)
        else:
            from .patcher import made
            made(path, out.spec)
    except Findings as stop:
        collector.findings += [f for f in stop.findings if f not in collector.findings]
    out.findings += collector.findings
    return out


def _of_arch(path: Path, texts: Mapping[Path, str]) -> list[Finding]:
    try:
        read_arch(path, str(path), texts.get(path))
    except Findings as stop:
        return stop.findings
    return []
