"""One loader for grammar, templates and shipped specs: in a checkout and in an installed wheel."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).resolve().parent


def root() -> Path:
    """The folder that holds grammar/, templates/ and specs/."""
    installed = _PACKAGE / "data"
    return installed if installed.is_dir() else _PACKAGE.parent.parent


def grammar_text(name: str) -> str:
    """The text of a language's grammar: the shared part first."""
    folder = root() / "grammar"
    return (folder / "common.lark").read_text("utf-8") + (folder / f"{name}.lark").read_text("utf-8")


def arch_file(name: str) -> Path:
    return root() / "specs" / "arch" / f"{name}.arch"


def arch_names() -> list[str]:
    """The CPUs that this installation knows."""
    return sorted(p.stem for p in (root() / "specs" / "arch").glob("*.arch"))


def templates() -> Path:
    return root() / "templates"


def init_names() -> list[str]:
    """The CPUs for which `entryc init` has a first kernel."""
    return sorted(p.name for p in (templates() / "init").iterdir() if p.is_dir())


def init_files(name: str) -> dict[str, str]:
    """File name to text of the first kernel for a CPU: what is its own, and what all have."""
    shared = templates() / "init"
    return {p.name: p.read_text("utf-8") for folder in (shared, shared / name) for p in sorted(folder.iterdir()) if p.is_file()}


def filled(name: str, facts: Mapping[str, Any]) -> str:
    """A template of templates/, filled with facts: texts as they are, nothing escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    environment = Environment(loader=FileSystemLoader(templates()), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
                              keep_trailing_newline=True, autoescape=False)
    return environment.get_template(name).render(**facts)


def tables_file(name: str, key: str) -> Path:
    """Where the parser tables of a grammar are kept, when they were built ahead."""
    return root() / "grammar" / f"{name}.{key}.tables"
