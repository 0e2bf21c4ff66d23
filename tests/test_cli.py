"""The command line as a user meets it: exit status, messages, files left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import SPECS, spec_file
from entryc.cli import main

UNIKERNEL = (SPECS / "unikernel.entry").read_text()


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "entryc", *arguments], capture_output=True, text=True, cwd=cwd)


def test_check_and_layout(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(SPECS / "arm64.entry")]) == 0
    assert "16 entry points" in capsys.readouterr().out
    assert main(["layout", str(spec_file("x86_64"))]) == 0
    shown = capsys.readouterr().out
    assert "struct regs {" in shown
    assert "/* size: 176, a multiple of 16, members: 22 */" in shown


def test_usage() -> None:
    assert run().returncode == 2
    assert run("build").returncode == 2
    assert run("bild", "x").returncode == 2
    assert run("--help").returncode == 0
    assert run("--version").stdout.startswith("entryc ")


@pytest.mark.parametrize(("name", "content", "message"), [
    ("missing", None, "does not exist"),
    ("empty", b"", "is empty"),
    ("blank", b" \n\n", "is empty"),
    ("binary", b"language 1\0", "contains a NUL byte"),
    ("latin", b"language 1 # \xe9\n", "is not UTF-8: byte 13"),
    ("huge", b"# " + b"x" * 4_000_001, "is larger than"),
])
def test_bad_files(name: str, content: bytes | None, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"{name}.entry"
    if content is not None:
        path.write_bytes(content)
    assert main(["check", str(path)]) == 2
    assert message in capsys.readouterr().err


def test_directory_as_spec(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tmp_path)]) == 2
    assert "is a directory" in capsys.readouterr().err


def test_crlf_and_bom(tmp_path: Path) -> None:
    path = tmp_path / "windows.entry"
    path.write_bytes(b"\xef\xbb\xbf" + UNIKERNEL.replace("\n", "\r\n").encode())
    assert main(["check", str(path), "-q"]) == 0


def test_use_and_its_circles(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    header, *rest = UNIKERNEL.splitlines()
    (tmp_path / "part.entry").write_text("\n".join(rest) + "\n")
    (tmp_path / "whole.entry").write_text(header + '\nuse "part.entry"\n')
    assert main(["check", str(tmp_path / "whole.entry"), "-q"]) == 0
    (tmp_path / "part.entry").write_text('use "whole.entry"\n')
    assert main(["check", str(tmp_path / "whole.entry")]) == 1
    assert "use each other in a circle: whole.entry → part.entry → whole.entry" in capsys.readouterr().err


def test_five_mistakes_are_five_findings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "five.entry"
    path.write_text(UNIKERNEL + "const A = NOTHING\nframe more { axx }\ndecisions { luck 1 because \"it is a guess\" }\n"
                    "stack small entered by sp0 size 3\nfeature F : later\n")
    assert main(["check", str(path), "--format", "json"]) == 1
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert [f["span"]["line"] for f in findings] == sorted({f["span"]["line"] for f in findings}) or len(findings) == 5
    assert {f["span"]["line"] for f in findings} == {4, 5, 6, 7, 8}


def test_caret_points_at_the_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "caret.entry"
    path.write_text(UNIKERNEL.replace("regs {", "regs { axx;"))
    assert main(["check", str(path)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].endswith("error[E203]: there is no register 'axx'")
    assert lines[1][lines[2].index("^"):][:3] == "axx"
    assert lines[3].strip() == "help: did you mean 'ax'?"


@pytest.mark.parametrize(("right", "wrong", "help_text"), [
    ("restore all", "restor all", "did you mean 'restore'?"), ("save regs", "sav regs", "did you mean 'save'?"),
    ("vectors 0..255", "vectrs 0..255", "did you mean 'vectors'?"), ("trap(regs)", "trap(reg)", "did you mean 'regs'?"),
    ("return iretq", "return iret", "did you mean 'iretq'?"), ("x86_64", "x86-64", "did you mean 'x86_64'?")])
def test_misspelt_words(right: str, wrong: str, help_text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "misspelt.entry"
    path.write_text(UNIKERNEL.replace(right, wrong).replace("; ", "\n    "))
    assert main(["check", str(path)]) == 1
    assert help_text in capsys.readouterr().err


def test_hostile_text_cannot_forge_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "hostile.entry"
    path.write_text("language 1; arch \x1b[31mred; target bare\n")
    assert main(["check", str(path)]) == 1
    assert "\x1b" not in capsys.readouterr().err


def test_build_check_finds_stale_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec, out = tmp_path / "u.entry", tmp_path / "out"
    spec.write_text(UNIKERNEL)
    assert main(["build", "-q", "--prove", "none", str(spec), "-o", str(out)]) == 0
    assert main(["build", "-q", "--check", str(spec), "-o", str(out)]) == 0
    before = {p.name: p.stat().st_mtime_ns for p in out.iterdir()}
    assert main(["build", "-q", "--prove", "none", str(spec), "-o", str(out)]) == 0
    assert before == {p.name: p.stat().st_mtime_ns for p in out.iterdir()}, "files that are right are not touched"
    (out / "entry.S").write_text("edited\n")
    (out / "entry.h").unlink()
    assert main(["build", "-q", "--check", str(spec), "-o", str(out)]) == 1
    message = capsys.readouterr().err
    assert "entry.S is not what the spec gives" in message
    assert "entry.h is missing" in message


def test_folder_not_writable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "u.entry").write_text(UNIKERNEL)
    (tmp_path / "file").write_text("in the way")
    assert main(["build", "-q", "--prove", "none", str(tmp_path / "u.entry"), "-o", str(tmp_path / "file" / "out")]) == 1
    assert "cannot be written" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "in the way"


def test_wrong_spec_leaves_old_outputs(tmp_path: Path) -> None:
    spec, out = tmp_path / "u.entry", tmp_path / "out"
    spec.write_text(UNIKERNEL)
    assert main(["build", "-q", "--prove", "none", str(spec), "-o", str(out)]) == 0
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    spec.write_text(UNIKERNEL.replace("save regs;", ""))
    assert main(["build", "-q", "--prove", "none", str(spec), "-o", str(out)]) == 1
    assert before == {p.name: p.read_bytes() for p in out.iterdir()}


def test_depfile_names_every_source(tmp_path: Path) -> None:
    spec = tmp_path / "a spec.entry"
    spec.write_text(UNIKERNEL)
    assert main(["build", "-q", "--prove", "none", str(spec), "-o", str(tmp_path / "out"), "--depfile", str(tmp_path / "entry.d")]) == 0
    rule = (tmp_path / "entry.d").read_text()
    assert "a\\ spec.entry" in rule
    assert "x86_64.arch" in rule


def test_full_build_says_what_ran(tmp_path: Path) -> None:
    done = run("build", str(SPECS / "arm64.entry"), "-o", str(tmp_path / "out"), "--report", str(tmp_path / "report.json"))
    assert done.returncode == 0, done.stderr
    assert "keystone 0.9" in done.stdout
    assert "the same" in done.stdout
    assert "0 refuted, 0 unknown" in done.stdout
    report = json.loads((tmp_path / "report.json").read_text())
    assert {v["verdict"] for v in report["verdicts"]["base"]["verdicts"]} == {"proved"}
    assert len(report["verdicts"]["base"]["assumptions"]) == 7
    assert os.listdir(tmp_path / "out")


def test_verify_refuses_what_is_no_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "-q", str(SPECS / "arm64.entry"), "--image", str(SPECS / "arm64.entry")]) == 1
    assert "is not an ELF file" in capsys.readouterr().err
    assert main(["verify", "-q", str(SPECS / "arm64.entry"), "--configuration", "bse"]) == 1
    assert "no configuration 'bse'" in capsys.readouterr().err
