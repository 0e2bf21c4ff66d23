"""Builds the parser tables into the wheel: without them the first run of entryc would spend a second on its grammars."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class TablesHook(BuildHookInterface):
    """Adds grammar/<language>.<key>.tables next to the grammars in the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel" or version == "editable":
            return
        root = Path(self.root)
        sys.path.insert(0, str(root / "compiler"))
        from entryc import resources
        from entryc.source.parse import build_parser
        from lark import __version__ as lark_version
        folder = root / "build" / "tables"
        folder.mkdir(parents=True, exist_ok=True)
        for language in ("entry", "arch"):
            text = resources.grammar_text(language)
            key = hashlib.sha256((lark_version + text).encode()).hexdigest()[:16]
            target = folder / f"{language}.{key}.tables"
            with target.open("wb") as out:
                build_parser(text).save(out)
            build_data["force_include"][str(target)] = f"entryc/data/grammar/{target.name}"
