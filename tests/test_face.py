"""The command line's face: forms of findings, edits and --fix, --watch, completion, the manual page, the last resort."""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, SPECS
from entryc import __version__, cli
from entryc.cli import main
from entryc.driver import explain as X
from entryc.driver import shell
from entryc.source.edits import applied
from entryc.source.finding import Finding, render_text
from entryc.source.formats import render_github, render_sarif, wants_colour
from entryc.source.text import SourceFile, Span
from test_rules import cases

UNIKERNEL = (SPECS / "unikernel.entry").read_text()
SYSCALL = X.codes()["E316"].spec


# ---- forms ----

def test_related_place_has_a_caret(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = tmp_path / "twice.entry"
    spec.write_text(X.codes()["E201"].spec)
    assert main(["check", str(spec)]) == 1
    lines = capsys.readouterr().err.splitlines()
    at = next(i for i, line in enumerate(lines) if line.strip().startswith("first declared here:"))
    assert lines[at].endswith(":2:1")
    assert lines[at + 1].startswith("    2 | frame regs {") and set(lines[at + 2].replace("|", "").strip()) == {"-"}


def test_text_shows_what_an_edit_changes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = tmp_path / "name.entry"
    spec.write_text(UNIKERNEL.replace("call trap(regs)", "call trap(reg)"))
    assert main(["check", str(spec)]) == 1
    shown = capsys.readouterr().err
    assert "\n    3 - vectors 0..255 { df = 0; save regs; call trap(reg);" in shown
    assert "\n    3 + vectors 0..255 { df = 0; save regs; call trap(regs);" in shown


@pytest.mark.parametrize(("choice", "terminal", "environment", "wanted"), [
    ("auto", True, {}, True), ("auto", False, {}, False), ("auto", True, {"TERM": "dumb"}, False), ("auto", True, {"NO_COLOR": "1"}, False),
    ("auto", True, {"NO_COLOR": ""}, True), ("auto", False, {"FORCE_COLOR": "1"}, True), ("auto", False, {"FORCE_COLOR": "0"}, False),
    ("auto", False, {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False), ("always", False, {"NO_COLOR": "1"}, True), ("never", True, {"FORCE_COLOR": "1"}, False)])
def test_when_colours_are_wanted(choice: str, terminal: bool, environment: dict[str, str], wanted: bool) -> None:
    assert wants_colour(choice, terminal, environment) is wanted


def test_colours_change_no_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = tmp_path / "c.entry"
    spec.write_text(SYSCALL)
    main(["check", str(spec), "--color", "never"])
    plain = capsys.readouterr().err
    main(["check", str(spec), "--color", "always"])
    coloured = capsys.readouterr().err
    assert "\x1b[31;1merror[E316]\x1b[0m" in coloured and "\x1b" not in plain
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == plain


def check_sarif(log: dict[str, Any]) -> list[dict[str, Any]]:
    """What SARIF 2.1.0 demands of the parts that are used; the results."""
    assert log["version"] == "2.1.0" and log["$schema"].endswith("sarif-schema-2.1.0.json")
    [run] = log["runs"]
    driver = run["tool"]["driver"]
    assert driver["name"] == "entryc" and driver["version"] == __version__
    assert run["columnKind"] in ("utf16CodeUnits", "unicodeCodePoints")
    ids = [rule["id"] for rule in driver["rules"]]
    assert len(ids) == len(set(ids))

    def region(row: dict[str, Any]) -> None:
        assert set(row) == {"startLine", "startColumn", "endLine", "endColumn"} and all(isinstance(n, int) and n >= 1 for n in row.values())
        assert (row["startLine"], row["startColumn"]) <= (row["endLine"], row["endColumn"])

    def location(row: dict[str, Any]) -> None:
        place = row["physicalLocation"]
        assert " " not in place["artifactLocation"]["uri"]
        region(place["region"])

    for row in run["results"]:
        assert row["level"] in ("none", "note", "warning", "error") and row["message"]["text"]
        assert ids[row["ruleIndex"]] == row["ruleId"]
        for place in [*row.get("locations", ()), *row.get("relatedLocations", ())]:
            location(place)
        assert all(isinstance(place["id"], int) and place["message"]["text"] for place in row.get("relatedLocations", ()))
        for fix in row.get("fixes", ()):
            assert fix["description"]["text"] and fix["artifactChanges"]
            for change in fix["artifactChanges"]:
                assert change["artifactLocation"]["uri"] and change["replacements"]
                for part in change["replacements"]:
                    region(part["deletedRegion"])
                    assert isinstance(part["insertedContent"]["text"], str)
    return list(run["results"])


def test_sarif(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = tmp_path / "a spec.entry"
    spec.write_text(SYSCALL)
    assert main(["check", str(spec), "--format", "sarif"]) == 1
    out = capsys.readouterr()
    assert out.err == ""
    [row] = check_sarif(json.loads(out.out))
    assert row["ruleId"] == "E316" and row["locations"][0]["physicalLocation"]["region"]["startLine"] == 9
    assert row["fixes"][0]["artifactChanges"][0]["replacements"][0]["insertedContent"]["text"] == "gs = kernel; "
    spec.write_text(UNIKERNEL)
    assert main(["check", str(spec), "--format", "sarif"]) == 0
    assert check_sarif(json.loads(capsys.readouterr().out)) == []
    for code in ("E201", "E304", "E278"):
        check_sarif(json.loads(render_sarif(X.findings_of(X.codes()[code].spec))))


def test_github_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    file = SourceFile("a,b:c%.entry", "one\ntwo\n")
    shown = render_github([Finding("E001", "error", "100 %\nof it, all: gone", Span(file, 1, 1, 1, 4), "help, too"),
                           Finding("E002", "note", "x", Span(file, 1, 2, 2, 3)), Finding("E003", "warning", "no place")])
    assert shown.splitlines() == [
        "::error file=a%2Cb%3Ac%25.entry,line=1,endLine=1,col=1,endColumn=4,title=E001::100 %25%0Aof it, all: gone%0Ahelp, too",
        "::notice file=a%2Cb%3Ac%25.entry,line=1,endLine=2,title=E002::x", "::warning title=E003::no place"]


def test_findings_of_build_and_diff_in_each_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = tmp_path / "old.entry", tmp_path / "new.entry"
    old.write_text(UNIKERNEL)
    new.write_text(UNIKERNEL.replace("trap(regs)", "other(regs)"))
    assert main(["diff", str(old), str(new), "--format", "sarif"]) == 0
    rows = check_sarif(json.loads(capsys.readouterr().out))
    assert rows and all(row["ruleId"].startswith("D") for row in rows)
    assert any("locations" in row for row in rows)
    assert main(["diff", str(old), str(new), "--format", "github"]) == 0
    assert re.match(r"::(error|warning|notice) file=", capsys.readouterr().out)
    assert main(["build", str(old), "--check", "-o", str(tmp_path / "none"), "--format", "github"]) == 1
    assert "::error title=E401::" in capsys.readouterr().out


# ---- edits ----

def bad_specs() -> Iterator[tuple[str, str]]:
    yield from ((row.code, row.spec) for row in X.codes().values() if row.example is not None)
    yield from ((name, X.plain(X.expanded(text))) for name, text in cases())


def test_every_edit_removes_its_error() -> None:
    """Each edit that the rules' cases bring about, applied alone; most leave nothing to complain about."""
    tried, clean = set(), 0
    for name, text in bad_specs():
        findings = X.findings_of(text)
        for finding in (f for f in findings if f.edits):
            after = X.findings_of(applied(finding.edits[0].span.file, finding.edits))
            def same(rows: list[Finding], wanted: Finding = finding) -> int:
                return sum((f.code, f.message) == (wanted.code, wanted.message) for f in rows)
            assert same(after) < same(findings), (name, finding.code, [f.message for f in after])
            tried.add(finding.code)
            clean += not after
    assert len(tried) >= 20 and clean >= 15, (sorted(tried), clean)


def test_fix(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A cure that shows the next error, in a file that is used, with the line ends of another system."""
    spec, part = tmp_path / "whole.entry", tmp_path / "part.entry"
    head, *rest = SYSCALL.replace("call f(regs)", "cal f(regs)").split("\n")
    spec.write_text(head + '\nuse "part.entry"\n')
    part.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(rest).encode())
    part.chmod(0o600)
    assert main(["check", "--fix", str(spec)]) == 0
    assert part.stat().st_mode & 0o777 == 0o600
    shown = capsys.readouterr().out
    assert f"{part}:8:32: E316: memory 'percpu' cannot be reached here" in shown and "E313" in shown
    assert shown.splitlines()[-1] == f"{spec}: 3 mended, 0 error(s) left"
    data = part.read_bytes()
    assert data.startswith(b"\xef\xbb\xbf") and data.count(b"\r\n") == data.count(b"\n")
    assert b"{ gs = kernel; percpu.user_sp = sp; stack = task;" in data
    assert main(["check", "--fix", str(spec)]) == 0
    assert "nothing to mend" in capsys.readouterr().out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["part.entry", "whole.entry"]


def test_fix_leaves_what_it_cannot_mend(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = tmp_path / "s.entry"
    spec.write_text(X.codes()["E350"].spec)
    assert main(["check", "--fix", str(spec)]) == 1
    assert "nothing to mend" in capsys.readouterr().out
    assert spec.read_text() == X.codes()["E350"].spec


# ---- --watch ----

class Watched:
    """entryc with --watch, and its lines as they come."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen([sys.executable, "-m", "entryc", *arguments, "--watch"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))         # tests may run where it is ignored
        self.lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line)

    def until(self, words: str) -> str:
        """What is printed up to a line with these words."""
        out = ""
        while words not in out:
            out += self.lines.get(timeout=600)
        return out


@pytest.mark.parametrize("command", ["check", "build"])
def test_watch(command: str, tmp_path: Path) -> None:
    spec, part = tmp_path / "w.entry", tmp_path / "part.entry"
    head, *rest = UNIKERNEL.split("\n")
    spec.write_text(head + '\nuse "part.entry"\n')
    part.write_text("\n".join(rest))
    extra = ["-o", str(tmp_path / "out"), "--prove", "none"] if command == "build" else []
    watched = Watched(command, str(spec), *extra)
    try:
        assert "no error; watching 2 files" in watched.until("watching")
        part.write_text("\n".join(rest).replace("save regs", "sav regs"))
        assert "error[E002]" in watched.until("1 error; watching")
        (tmp_path / "new").write_text("\n".join(rest).replace("call trap", "call other"))
        os.replace(tmp_path / "new", part)      # as editors do
        watched.until("no error; watching")
        if command == "build":
            assert "other" in (tmp_path / "out" / "entry.S").read_text()
        part.unlink()
        assert "error[E003]" in watched.until("1 error; watching")
        part.write_text("\n".join(rest))
        watched.until("no error; watching")
        watched.process.send_signal(signal.SIGINT)
        assert watched.process.wait(60) == 130
        rest_of_it = "".join(iter(lambda: watched.lines.get(timeout=600), "entryc: interrupted\n"))
        assert "Traceback" not in rest_of_it
    finally:
        watched.process.kill()
        watched.process.wait()


@pytest.mark.parametrize("used", ["nul\0byte", "loop", "pipe", "/dev/zero", "folder", "x" * 300])
def test_watch_outlives_what_a_spec_uses(used: str, tmp_path: Path) -> None:
    """A spec that is wrong is watched, too: a name that is none, links in a circle, what never ends."""
    spec = tmp_path / "w.entry"
    spec.write_text(f'language 1\nuse "{used}"\n')
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    watched = Watched("check", str(spec))
    try:
        assert "error[E003]" in watched.until("1 error; watching")
        spec.write_text(UNIKERNEL)
        watched.until("no error; watching 1 file\n")
    finally:
        watched.process.kill()
        watched.process.wait()


# ---- shells, man, help ----

@pytest.mark.parametrize("name", shell.SHELLS)
def test_completion_knows_every_option(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", name]) == 0
    script = capsys.readouterr().out
    for command, (_, parser) in shell.commands(cli._arguments()).items():
        assert command in script
        for action in shell.options(parser):
            for option in action.option_strings:
                assert (option if name != "fish" else option.lstrip("-")) in script, (command, option)
    subprocess.run([name, "-n"], input=script, text=True, check=True)


# what is typed -> what each shell offers for its last word
OFFERED = {
    "entryc bu": ["build"],
    "entryc ": list(shell.commands(cli._arguments())),
    "entryc -": ["-h", "--help", "--version"],
    "entryc check --fi": ["--fix"],
    "entryc build --pr": ["--prove"],
    "entryc check --format s": ["sarif"],
    "entryc check --format=s": ["--format=sarif"],
    "entryc build --prove ": ["all", "none"],
    "entryc completion ": ["bash", "fish", "zsh"],
    "entryc build ": ["a.entry", "b c.entry", "sub"],                   # a file with a blank in its name, and a folder: nothing else
    "entryc build --prove none sub/": ["sub/y.entry"],
    "entryc build -q ./a": ["./a.entry"],
    "entryc fmt a.entry ": ["a.entry", "b c.entry", "sub", "x.arch"],
    "entryc diff a.entry b": ["b c.entry"],
    "entryc build -o ": ["sub"],
    "entryc verify --object notes.txt --object n": ["notes.txt"],
    "entryc verify --seed ": [],                                        # a number: no file is offered
    "entryc explain ": [],
    "entryc lsp ": [],
    "entryc build nothing": [],
}
# A shell at a terminal. Tab puts all that is offered into the line, and Ctrl-P says the line.
DRIVER = """zmodload zsh/zpty
zpty shell $1
zpty -r -m shell said '*READY*'
for line in "${@:2}"; do zpty -w -n shell "$line"$'\\t\\x10'; done
zpty -w -n shell $'exit\\r'
while zpty -r shell said; do :; done
"""
BASH = """PS1=READY
source ./script
bind '"\\C-i": insert-completions'
bind -x '"\\C-p": told'
told() { eval "words=($READLINE_LINE)"; printf '%s\\t' "${words[@]}"  >> ../told; echo >> ../told; READLINE_LINE= READLINE_POINT=0; }
cd work
"""
ZSH = """PS1= RPS1=
autoload -Uz compinit
fpath=($PWD $fpath)
compinit -u -D
SOURCE
cd work
every() { compstate[insert]=all }
told() { printf '%s\\t' "${(@Q)${(z)BUFFER}}" >> ../told; echo >> ../told; BUFFER=; comppostfuncs=(every) }
ready() { zle -D zle-line-init; comppostfuncs=(every); print READY }
zle -N told
zle -N zle-line-init ready
bindkey '^I' complete-word '^P' told
"""


@pytest.mark.parametrize("how", ["bash", "zsh", "zsh, sourced", "fish"])
def test_a_shell_completes(how: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Real shells, with the script as a user has it, in a folder of specs and other files."""
    name = how.split(",")[0]
    for file in ("a.entry", "b c.entry", "notes.txt", "x.arch", "sub/y.entry"):
        (tmp_path / "work" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "work" / file).write_text("")
    assert main(["completion", name]) == 0
    (tmp_path / ("_entryc" if how == "zsh" else "script")).write_text(capsys.readouterr().out)
    environment = {**os.environ, "HOME": str(tmp_path), "ZDOTDIR": str(tmp_path), "TERM": "vt100"}

    def run(*command: str, folder: str = ".") -> str:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path / folder, env=environment)
        assert done.returncode == 0 and done.stderr == "", done.stdout + done.stderr
        return done.stdout

    got: dict[str, list[str]] = {}
    if name == "fish":
        for line in OFFERED:
            rows = run("fish", "--no-config", "-c", "source ../script; complete -C $argv[1]", line, folder="work").splitlines()
            got[line] = [row.split("\t")[0] for row in rows]
    else:
        (tmp_path / ".zshrc").write_text(ZSH.replace("SOURCE", "source ./script" if "sourced" in how else ""))
        (tmp_path / "rc").write_text(BASH)
        run("zsh", "-f", "-c", DRIVER, "driver", "zsh -d -i" if name == "zsh" else "bash --noprofile --rcfile rc -i", *OFFERED)
        for line, told in zip(OFFERED, (tmp_path / "told").read_text().splitlines(), strict=True):
            before, last = line.rsplit(" ", 1)
            words = told.rstrip("\t").split("\t")
            assert words[:len(before.split())] == before.split(), (line, words)
            got[line] = [w for w in words[len(before.split()):] if w != last and (w[0] != "-" or last.startswith("-"))]     # zsh: options where no file can be
    for line, wanted in OFFERED.items():
        assert sorted(w.rstrip("/=") for w in got[line]) == sorted(wanted), line


def test_manual_page(update: bool) -> None:
    """Golden: rewrite with pytest --update."""
    file = ROOT / "docs" / "entryc.1"
    text = shell.manual(cli._arguments(), __version__)
    if update:
        file.write_text(text)
    assert file.read_text() == text
    for name in shell.commands(cli._arguments()):
        assert f"entryc {name}" in text


def test_help_has_examples_that_are_commands(capsys: pytest.CaptureFixture[str]) -> None:
    parser = cli._arguments()
    assert set(cli.EXAMPLES) == set(shell.commands(parser))
    for name in cli.EXAMPLES:
        assert main([name, "--help"]) == 0
        shown = capsys.readouterr().out
        for example in re.findall(r"entryc [^#>)\n]+", shown.split("examples:\n")[1]):
            parser.parse_args(example.split()[1:])


# ---- the last resort ----

@pytest.mark.parametrize("debug", [False, True])
def test_last_resort(debug: bool, tmp_path: Path) -> None:
    spec = tmp_path / "u.entry"
    spec.write_text(UNIKERNEL)
    program = "import sys, entryc.driver.jobs as j\nj.check = lambda *_: [][1]\nfrom entryc.cli import main\nsys.exit(main(sys.argv[1:]))"
    environment = {**{k: v for k, v in os.environ.items() if k != "ENTRYC_RAISE"}, "ENTRYC_DEBUG": "1" if debug else "0"}
    done = subprocess.run([sys.executable, "-c", program, "check", str(spec)], capture_output=True, text=True, env=environment)
    assert done.returncode == 3 and done.stdout == ""
    last = done.stderr.splitlines()[-1]
    assert last == f"entryc: this is a mistake in entryc {__version__}, please report it: IndexError: list index out of range (ENTRYC_DEBUG=1 shows where)"
    assert ("Traceback" in done.stderr) is debug and (len(done.stderr.splitlines()) > 1) is debug


def test_texts_for_terminals_are_printable() -> None:
    span, other = Span(SourceFile("f\x1b", "x\x1b[31m\n"), 1, 1, 1, 2), Span(SourceFile("g\x07", "y"), 1, 1, 1, 2)
    shown = render_text([Finding("E001", "error", "a\x1b[2J", span, related=(("b\x07", other),))])
    assert "\x1b" not in shown and "\x07" not in shown
