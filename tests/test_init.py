"""`entryc init`: a first kernel for each CPU, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import ROOT
from entryc import resources
from entryc.cli import main


@pytest.mark.parametrize("cpu", resources.init_names())
def test_spec_is_short_and_commented(cpu: str) -> None:
    lines = (ROOT / "templates" / "init" / cpu / "kernel.entry").read_text().splitlines()
    assert len(lines) <= 60
    assert sum(line.startswith("#") for line in lines) >= 5
    assert max(map(len, lines)) <= 160


def test_each_cpu_with_code_has_one() -> None:
    generated = {p.parent.name for p in (ROOT / "templates").glob("*/entry_init.c.j2")}
    assert set(resources.init_names()) == generated


def test_writes_what_the_folders_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    for cpu in resources.init_names():
        assert main(["init", "--arch", cpu, "--dir", f"new kernels/{cpu}"]) == 0
        assert {p.name: p.read_text() for p in (tmp_path / "new kernels" / cpu).iterdir()} == resources.init_files(cpu)
    assert f"next: cd 'new kernels/{cpu}'; entryc build kernel.entry; make; make run\n" in capsys.readouterr().out
    assert main(["init", "-q", "--arch", cpu]) == 0
    assert capsys.readouterr() == ("", "")
    assert (tmp_path / "kernel.entry").is_file()


def test_overwrites_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "user.c").write_text("mine")
    (tmp_path / "Makefile").symlink_to("nowhere")
    assert main(["init", "--arch", resources.init_names()[0]]) == 1
    shown = capsys.readouterr().err
    assert "error[E452]: files of that name are in . already: Makefile, user.c" in shown
    assert "choose another folder with --dir" in shown
    assert sorted(p.name for p in tmp_path.iterdir()) == ["Makefile", "user.c"]
    assert (tmp_path / "user.c").read_text() == "mine"


@pytest.mark.parametrize("cpu", ["z80", "", "../init", "hooks.c", "\n"])
def test_unknown_cpu(cpu: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--arch", cpu, "--dir", str(tmp_path)]) == 1
    shown = capsys.readouterr().err
    assert f"error[E450]: there is no first kernel for CPU {cpu!r}" in shown
    assert f"--arch takes one of {', '.join(resources.init_names())}" in shown
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("folder", "message"), [
    ("", "error[E451]: '' is no name for a folder"),
    ("a\nb", "error[E451]: 'a\\nb' is no name for a folder"),
    ("a\0b", "is no name for a folder"),
    ("a\udcffb", "is no name for a folder"),
    ("\x1b[2J", "is no name for a folder"),
    ("file/below", "error[E402]: file/below cannot be written: not a directory"),
    ("file", "error[E402]: file cannot be written: file exists"),
    ("x" * 300, "cannot be written: file name too long"),
])
def test_bad_folders(folder: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    assert main(["init", "--arch", resources.init_names()[0], "--dir", folder]) == 1
    assert message in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_without_a_cpu_the_message_names_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init"]) == 2
    assert "--arch" in capsys.readouterr().err
    assert main(["init", "--help"]) == 0
    assert f"one of {', '.join(resources.init_names())}" in capsys.readouterr().out
