"""docs/mistakes.md shows what is printed: each mistake is made, and the output compared. `pytest --update` writes the outputs anew."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from conftest import ROOT
from entryc.cli import main

DOC = ROOT / "docs" / "mistakes.md"
BLOCK = re.compile(r"(?:^    .*\n|^\n(?=    ))+", re.M)


def code(text: str) -> list[str]:
    """The lines of the indented blocks of a part of the page."""
    return [line[4:] for line in text.split("\n") if line.startswith("    ")]


def specs(head: str) -> dict[str, list[str]]:
    """File name -> lines, of the specs that the page starts with."""
    parts = re.split(r"^`(\w+\.entry)`, ", head, flags=re.M)[1:]
    out = {}
    for name, text in zip(parts[::2], parts[1::2], strict=True):
        block = BLOCK.search(text)
        assert block is not None
        out[name] = [line[4:] for line in block[0].strip("\n").split("\n")]
    return out


def changed(lines: list[str], old: list[str], new: list[str]) -> list[str]:
    """The spec with the first run of the old lines replaced."""
    at = next(i for i in range(len(lines)) if lines[i:i + len(old)] == old)
    return [*lines[:at], *(x for x in new if x), *lines[at + len(old):]]


PAGE = DOC.read_text()
HEAD, *SECTIONS = re.split(r"^(?=## )", PAGE, flags=re.M)


def test_the_page_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert [int(s.split(".")[0][3:]) for s in SECTIONS] == list(range(1, 21))
    monkeypatch.chdir(tmp_path)
    assert sorted(specs(HEAD)) == ["small.entry", "tiny.entry"]
    for name, lines in specs(HEAD).items():
        Path(name).write_text("\n".join(lines) + "\n")
        assert main(["build", name, "-q"]) == 0, capsys.readouterr().err     # right, and proved


@pytest.mark.parametrize("section", SECTIONS, ids=lambda s: s.split("\n")[0][3:].split(".")[0])
def test_mistake(section: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], update: bool) -> None:
    monkeypatch.chdir(tmp_path)
    lines = code(section)
    at = next(i for i, line in enumerate(lines) if line.startswith("$ "))
    command, shown = lines[at][2:], lines[at + 1:]
    old, new = ([x[2:] for x in lines[:at] if x[:1] == sign] for sign in "-+")
    name = command.split()[-1]
    Path(name).write_text("\n".join(changed(specs(HEAD)[name], old, new)) + "\n")
    assert main(shlex.split(command)[1:]) == 1
    got = capsys.readouterr().err.rstrip("\n").split("\n")
    if update:
        head = section[:section.index("    $ ")]
        text = DOC.read_text().replace(section, "".join([head, f"    $ {command}\n", *(f"    {x}\n" for x in got), "\n"]))
        DOC.write_text(text.rstrip("\n") + "\n")
        return
    assert shown == got
    assert re.match(rf"{name}:\d+:\d+: error\[E\d+\]: ", got[0]), "the message names the line"
    assert any(x.strip().startswith("help: ") for x in got), "and the way out"
