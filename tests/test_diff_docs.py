"""docs/diff.md shows what its commands print. A line "…" stands for lines that are left out. `pytest --update` writes the blocks without one anew."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT
from entryc.cli import main

DOC = ROOT / "docs" / "diff.md"
BLOCK = re.compile(r"(?:^    \$ .*\n)+(?:^    [^$].*\n|^\n(?=    [^$]))*", re.M)


def parts(block: str) -> tuple[list[str], list[str]]:
    """(commands, what is shown)."""
    lines = [line[4:] for line in block.rstrip("\n").split("\n")]
    return [x[2:] for x in lines if x.startswith("$ ")], [x for x in lines if not x.startswith("$ ")]


def run(command: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    if not command.startswith("entryc "):
        subprocess.run(command, shell=True, check=True, cwd=folder)
        return []
    assert main(shlex.split(command)[1:]) == 0, capsys.readouterr().err
    return capsys.readouterr().out.rstrip("\n").split("\n")


def matches(shown: list[str], got: list[str]) -> bool:
    """Is that what is shown, where "…" stands for any lines?"""
    pieces = "\n".join(shown).split("\n…\n")
    pattern = r"\n(?:.*\n)+?".join(re.escape(p) for p in pieces)
    return re.fullmatch(pattern, "\n".join(got)) is not None


def test_the_page_shows_what_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], update: bool) -> None:
    for name in ("specs", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    text = DOC.read_text()
    blocks = BLOCK.findall(text)
    assert len(blocks) >= 7
    for block in blocks:
        commands, shown = parts(block)
        got = [line for command in commands for line in run(command, tmp_path, capsys)]
        if update and "…" not in shown:
            lines = [f"    {line}".rstrip() + "\n" for line in [*(f"$ {c}" for c in commands), *got]]
            text = text.replace(block, "".join(lines) + block[len(block.rstrip("\n")) + 1:])
            continue
        assert matches(shown, got), "\n".join(got)
    if update:
        DOC.write_text(text)
