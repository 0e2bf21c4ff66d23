"""`entryc diff` as a command: both sides found or named, exit statuses, formats, the accept file; and never a word of sameness after a failure."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import SPECS
from entryc.cli import main
from entryc.diff.rules import LEVELS, RULES

SMALL = SPECS / "x86_64-small.entry"
GIT = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main", "-c", "commit.gpgsign=false"]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """The command; what it returns, prints, and complains of."""
    def call(*arguments: object) -> tuple[int, str, str]:
        status = main(["diff", *map(str, arguments)])
        done = capsys.readouterr()
        if status == 2:
            assert not re.search("the same|no difference|no change", done.out + done.err)
            assert done.out == ""
        return status, done.out, done.err
    return call


def changed(folder: Path, old: str, new: str, name: str = "new.entry") -> Path:
    text = SMALL.read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new))
    return folder / name


def git(folder: Path, *arguments: str) -> str:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    return subprocess.run([*GIT, "-C", str(folder), *arguments], check=True, capture_output=True, text=True, env=clean).stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Three revisions: a spec with a used file; then changed; then both moved to another folder, and changed again."""
    root = tmp_path / "repository"
    (root / "one").mkdir(parents=True)
    text = SMALL.read_text()
    flags = next(line for line in text.splitlines() if line.startswith("flags thread"))
    (root / "one" / "kernel.entry").write_text(text.replace(flags, 'use "flags.entry"'))
    (root / "one" / "flags.entry").write_text(f"{flags}\n")
    (root / "one" / "unused.entry").write_text("not a spec at all\n")
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "first")
    (root / "one" / "flags.entry").write_text(flags.replace("NOTIFY_RESUME = 2", "NOTIFY_RESUME = 5") + "\n")
    git(root, "commit", "-qam", "second")
    git(root, "mv", "one", "two")
    (root / "two" / "flags.entry").write_text(flags.replace("NOTIFY_RESUME = 2", "NOTIFY_RESUME = 6") + "\n")
    return root


# ---- sides ----

def test_revisions_with_the_files_that_they_used(run: Run, repository: Path) -> None:
    here = f"{repository}/one/kernel.entry"
    status, out, _ = run(f"git:HEAD~1:{here}", f"git:HEAD:{here}")
    assert status == 0
    assert "HEAD~1:one/kernel.entry → HEAD:one/kernel.entry\n" in out
    assert "flag NOTIFY_RESUME: 2 → 5  (HEAD:one/flags.entry:1:50)\n" in out


def test_against_follows_renames(run: Run, repository: Path) -> None:
    status, out, _ = run("--against", "HEAD", repository / "two" / "kernel.entry")
    assert (status, "flag NOTIFY_RESUME: 5 → 6" in out) == (0, True)
    status, out, _ = run("--against", "HEAD~1", repository / "two" / "kernel.entry")
    assert (status, "flag NOTIFY_RESUME: 2 → 6" in out) == (0, True)


def test_a_repository_is_found_from_anywhere(run: Run, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository / "two")
    monkeypatch.setenv("GIT_DIR", "/nonexistent")
    assert run("--against", "HEAD", "kernel.entry")[0] == 0


def bad(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_missing_side(run: Run, tmp_path: Path) -> None:
    assert run(tmp_path / "none.entry", SMALL)[2].startswith("entryc: the old side cannot be compared: ")
    assert run(SMALL, tmp_path / "none.entry")[2].startswith("entryc: the new side cannot be compared: ")
    assert run(SMALL, tmp_path)[0] == 2
    assert run(SMALL)[2] == "entryc: the new side cannot be compared: name two specs, or one with --against REV\n"
    assert run("--against", "HEAD", SMALL, SMALL)[2] == "entryc: the new side cannot be compared: --against REV takes one spec\n"


@pytest.mark.parametrize(("text", "told"), [
    ("frame {", "error[E002]"),
    ("language 9; arch x86_64; target bare; license \"MIT\"", "the spec is written in language 9"),
    ("", "E207"),
    ("\x00\xff", "E00"),
])
def test_unusable_side(run: Run, tmp_path: Path, text: str, told: str) -> None:
    other = bad(tmp_path, "bad.entry", text)
    for pair, side in (((other, SMALL), "old"), ((SMALL, other), "new")):
        status, _, err = run(*pair)
        assert status == 2
        assert err.startswith(f"entryc: the {side} side cannot be compared: ")
        assert told in err
        assert "bad.entry" in err


def test_git_sides_that_are_not_there(run: Run, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = f"{repository}/two/kernel.entry"
    for one, told in [(f"git:nowhere:{here}", "there is no revision 'nowhere' in "), (f"git:HEAD:{here}", "revision 'HEAD' has no file two/kernel.entry"),
                      (f"git:--output=x:{here}", "'--output=x' is no revision"), ("git:HEAD", "names no file of a revision: write git:REV:PATH"),
                      (f"git::{here}", "names no file of a revision"), (f"git:HEAD:{tmp_path}/outside.entry", "git rev-parse: not a git repository"),
                      (f"git:HEAD:{repository}/../outside.entry", "git rev-parse: not a git repository")]:
        status, _, err = run(one, SMALL)
        assert status == 2
        assert err.startswith("entryc: the old side cannot be compared: ")
        assert told in err, err
    status, _, err = run("--against", "nowhere", here)
    assert (status, "the old side cannot be compared: there is no revision 'nowhere'" in err) == (2, True)
    bad(repository, "untracked.entry", SMALL.read_text())
    status, _, err = run("--against", "HEAD", repository / "untracked.entry")
    assert (status, "untracked.entry is not in revision 'HEAD', and no file of it has become untracked.entry" in err) == (2, True)
    monkeypatch.setenv("PATH", str(tmp_path))
    status, _, err = run("--against", "HEAD", here)
    assert (status, "git is not installed here" in err) == (2, True)


def test_a_revision_reads_nothing_outside(run: Run, repository: Path, tmp_path: Path) -> None:
    """`use` that leaves the repository, a link instead of a file, a name that climbs out."""
    (tmp_path / "secret.entry").write_text("flags thread { SECRET = 1 }\n")
    file = repository / "two" / "kernel.entry"
    kept = file.read_text()
    for name, text in (("use", kept.replace('use "flags.entry"', 'use "../../secret.entry"')), ("absolute", kept.replace(
            'use "flags.entry"', f'use "{tmp_path}/secret.entry"'))):
        file.write_text(text)
        git(repository, "add", "-A")
        git(repository, "commit", "-qm", name)
        status, _, err = run(f"git:HEAD:{file}", SMALL)
        assert status == 2
        assert "SECRET" not in err
        assert re.search("outside of the repository", err), err
    file.unlink()
    file.symlink_to(tmp_path / "secret.entry")
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "link")
    status, _, err = run(f"git:HEAD:{file}", SMALL)
    assert (status, "is no regular file in revision 'HEAD'" in err) == (2, True)


# ---- exit statuses ----

def test_exit_statuses(run: Run, tmp_path: Path) -> None:
    breaking = changed(tmp_path, "NOTIFY_RESUME = 2 }", "NOTIFY_RESUME = 7 }", "breaking.entry")
    risky = changed(tmp_path, "notify_resume(regs) clears first", "notify_resume(regs)", "risky.entry")
    compatible = changed(tmp_path, '"run another thread; interrupts on"', '"run another thread"', "compatible.entry")
    wanted = {breaking: {"breaking": 1, "risky": 1, "any": 1}, risky: {"breaking": 0, "risky": 1, "any": 1}, compatible: {"breaking": 0, "risky": 0, "any": 1},
              SMALL: {"breaking": 0, "risky": 0, "any": 0}}
    for new, levels in wanted.items():
        assert run(SMALL, new)[0] == 0
        for level, status in levels.items():
            assert run(SMALL, new, "--fail-on", level)[0] == status, (new.name, level)
            assert run(SMALL, new, "--fail-on", level, "-q")[:2] == (status, "")
    assert run(SMALL, breaking, "--fail-on", "little")[0] == 2
    assert run(SMALL, breaking, "--format", "pdf")[0] == 2


def test_same_specs(run: Run) -> None:
    assert run(SMALL, SMALL)[1].endswith("the two mean the same\n")


def test_comparing_code(run: Run, tmp_path: Path) -> None:
    linux = SPECS / "linux" / "x86_64-6.12.entry"
    assert "the old side cannot be compared: nothing is generated for target linux" in run(linux, SMALL, "--prove")[2]
    assert "it has no configuration 'none'; known: base, smap" in run(SMALL, SMALL, "--effects", "--configuration", "none")[2]
    other = changed(tmp_path, "USER_END = 0x7ffffffff000", "USER_END = 0x7fffffffe000")
    status, out, _ = run(SMALL, other, "--effects", "--configuration", "base")
    assert (status, "generated code: no instruction differs" in out, "entry.h: 1 lines added, 1 removed" in out) == (0, True, True)


# ---- formats ----

DATA = {"schema", "tool", "old", "new", "rows", "accepted", "unused", "layout", "effects", "same", "summary"}
ROW = {"rule", "title", "category", "level", "kind", "places", "what", "old", "new", "old_at", "new_at", "notes"}


def test_json(run: Run, tmp_path: Path) -> None:
    other = changed(tmp_path, "    when regs.ip < USER_END", "    # when regs.ip < USER_END")
    data = json.loads(run(SMALL, other, "--format", "json", "--effects")[1])
    assert set(data) == DATA
    assert data["schema"] == 1
    assert all(set(r) == ROW for r in data["rows"])
    row = next(r for r in data["rows"] if r["rule"] == "D111")
    assert (row["level"], row["kind"], row["places"], row["new_at"] is not None) == ("breaking", "removed", ["method sysret"], True)
    assert any("CVE-2012-0217" in n for n in row["notes"])
    assert data["summary"]["breaking"] == sum(r["level"] == "breaking" for r in data["rows"])
    assert row["new_at"].startswith(f"{other}:")
    assert [s["file"] for s in data["effects"]["c"]] == ["entry.c", "entry.h"]


def test_text_ends_with_the_summary_and_has_colour_on_terminals_only(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = changed(tmp_path, "notify_resume(regs) clears first", "notify_resume(regs)")
    plain = run(SMALL, other)[1]
    assert plain.splitlines()[-1] == "0 breaking, 1 risky, 0 compatible (1 behaviour)"
    assert "\x1b" not in plain
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert re.sub(r"\x1b\[[\d;]*m", "", run(SMALL, other)[1]) == plain
    assert "\x1b[33mrisky" in run(SMALL, other)[1]
    monkeypatch.setenv("NO_COLOR", "1")
    assert run(SMALL, other)[1] == plain


def test_markdown_and_html_escape_what_a_spec_says(run: Run, tmp_path: Path) -> None:
    other = changed(tmp_path, '"run another thread; interrupts on"', '"<script>alert(1)</script> | \\\\"')
    markdown = run(SMALL, other, "--format", "markdown")[1]
    assert "&lt;script>" in markdown
    assert "\\|" in markdown
    page = run(SMALL, other, "--format", "html")[1]
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_html_draws_both_frames(run: Run, tmp_path: Path) -> None:
    other = changed(tmp_path, "frame regs is \"struct regs\" {\n", "frame regs is \"struct regs\" {\n    extra : by c\n    extra2 : by c\n")
    page = run(SMALL, other, "--format", "html", "-o", tmp_path / "page.html")
    assert page == (0, "", "")
    text = (tmp_path / "page.html").read_text()
    assert text.startswith("<!doctype html>")
    assert text.count("extra2") >= 2
    assert not re.search(r"(?i)\bsrc=|https?://|@import|<link", text)


def test_changelog(run: Run, tmp_path: Path) -> None:
    other = changed(tmp_path, "    9 sys_test(3)\n", "    10 sys_test(3)\n")
    assert run(SMALL, other, "--format", "changelog")[1] == \
        "user ABI:\n  - (breaking) system call table native: system call 9 removed: 9 sys_test(3)\n" \
        "  - system call table native: system call 10 added: 10 sys_test(3)\n"
    same = changed(tmp_path, '"run another thread; interrupts on"', '"run another thread"')
    assert run(SMALL, same, "--format", "changelog")[1] == "no change that users of the kernel or its C code see\n"


def test_output_is_written_whole_or_not_at_all(run: Run, tmp_path: Path) -> None:
    page = tmp_path / "page.txt"
    page.write_text("before\n")
    assert run(SMALL, tmp_path / "none.entry", "-o", page)[0] == 2
    assert page.read_text() == "before\n"
    assert run(SMALL, SMALL, "-o", page)[0] == 0
    assert page.read_text().endswith("the two mean the same\n")
    status, _, err = run(SMALL, SMALL, "-o", tmp_path / "page.txt" / "below")
    assert (status, "page.txt" in err, "Traceback" in err) == (2, True, False)


def test_devices_are_not_replaced(run: Run, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for target in (tmp_path / "pipe", tmp_path):
        status, _, err = run(SMALL, SMALL, "-o", target)
        assert (status, f"{target} cannot be written: it is no regular file" in err) == (2, True)
    assert (tmp_path / "pipe").is_fifo()


def test_a_full_disk(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-m", "entryc", "diff", str(SMALL), str(SMALL)], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "entryc: no space left on device\n")


# ---- accepted rows, rules ----

def test_accepted_rows(run: Run, tmp_path: Path) -> None:
    other = changed(tmp_path, "NOTIFY_RESUME = 2 }", "NOTIFY_RESUME = 7 }")
    file = bad(tmp_path, "accept.toml", '[[accept]]\nrule = "D120"\nwhere = "*"\nwhat = "flags thread*"\nreason = "nobody outside reads this bit"\n'
                                        '[[accept]]\nrule = "D111"\nwhere = "method sysret"\nreason = "another reason, for nothing"\n')
    status, out, _ = run(SMALL, other, "--accept", file, "--fail-on", "any")
    assert status == 0
    assert "because nobody outside reads this bit\n" in out
    assert "note: nothing is covered by the accepted D111 method sysret *\n" in out
    assert out.splitlines()[-1] == "the two mean the same but for 1 accepted difference(s)"


@pytest.mark.parametrize(("text", "told"), [
    ("[[accept]", "is not TOML"), ("[other]", "holds [[accept]] tables, and nothing else"), ("[[accept]]\nrule = 1", "its values are texts in quotes"),
    ('[[accept]]\nrule = "D999"\nreason = "because of that"', "there is no rule 'D999'"), ('[[accept]]\nrule = "D111"', "it gives no reason"),
    ('[[accept]]\nrule = "D111"\nwhy = "x"', "'why' has no meaning; known: reason, rule, what, where"),
])
def test_bad_accept_file(run: Run, tmp_path: Path, text: str, told: str) -> None:
    status, _, err = run(SMALL, SMALL, "--accept", bad(tmp_path, "accept.toml", text))
    assert status == 2
    assert told in err
    assert "accept.toml" in err


def test_missing_accept_file(run: Run, tmp_path: Path) -> None:
    assert run(SMALL, SMALL, "--accept", tmp_path / "none.toml")[0] == 2


def test_rules(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    out = run("--rules")[1]
    assert [line.split()[0] for line in out.splitlines()] == list(RULES)
    assert main(["explain", "d111"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("D111: clause of a return method\n")
    assert all(level in LEVELS for level in re.findall(r"^  \w+ +(\w+) ", told, re.M))
    assert main(["explain", "D999"]) == 2
    assert "there is no code 'D999'" in capsys.readouterr().err
