"""entryc fmt: one layout for one sequence of tokens; nothing of the meaning and no comment is lost."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import SPECS
from entryc.cli import main
from entryc.driver.explain import codes, expanded, plain
from entryc.model.build import load_spec
from entryc.model.digest import model_digest
from entryc.source.finding import Findings
from entryc.source.format import PIECES, formatted
from entryc.source.parse import parse, tokens_of
from entryc.source.text import SourceFile
from test_rules import cases

SHIPPED = sorted([*SPECS.rglob("*.entry"), *SPECS.rglob("*.arch")])
NAMES = [str(p.relative_to(SPECS)) for p in SHIPPED]


def comments(text: str, language: str) -> list[str]:
    """In order, without the blanks at their ends."""
    return [p.rstrip() for t in tokens_of(language, SourceFile("x", text))[1] if t.type in ("_SEP", "_LB", "_COMMA") for p in PIECES.findall(t) if p[0] == "#"]


def scrambled(text: str, language: str, seed: int) -> str:
    """The same tokens, line breaks and comments with other blanks."""
    dice, out = random.Random(seed), ""
    for token in tokens_of(language, SourceFile("x", text))[1]:
        if token.type in ("_SEP", "_LB", "_COMMA"):
            out += {"_LB": " {", "_COMMA": ","}.get(token.type, "") + " " * dice.randrange(3)
            for piece in PIECES.findall(token if token.type == "_SEP" else token[1:]):
                out += piece + " " * (dice.randrange(4) if piece[0] != "#" else 0)
        else:
            out += dice.choice((" ", "  ", "\t")) + token
    return out


def test_language_cases_are_stable() -> None:
    """Every spec of the rules that can be parsed: formatted once is formatted for good, with the same tree."""
    seen = 0
    every = [(name, plain(expanded(text))) for name, text in cases()] + [(row.code, row.spec) for row in codes().values() if row.example is not None]
    for name, text in every:
        try:
            once = formatted(text, f"{name}.entry")
        except Findings as stop:
            assert {f.code for f in stop.findings} <= {"E001", "E002", "E007", "E010", "E012", "E208"}, name
            continue
        assert formatted(once, "again.entry") == once, name
        assert comments(once, "entry") == comments(text, "entry"), name
        seen += 1
    assert seen > 150


@pytest.mark.parametrize("path", SHIPPED, ids=NAMES)
def test_shipped_specs(path: Path) -> None:
    text, language = path.read_text(), path.suffix[1:]
    once = formatted(text, path.name)
    assert formatted(once, path.name) == once
    assert comments(once, language) == comments(text, language)
    assert parse(language, SourceFile("a", once)) == parse(language, SourceFile("b", text))
    assert formatted(scrambled(text, language, 1), path.name) == once, "the layout depends on blanks"
    assert ["".join(line.split()) for line in once.splitlines()] == ["".join(line.split()) for line in text.splitlines()], "lines are the author's"


def test_the_model_stays_the_same(tmp_path: Path) -> None:
    for name in ("arm64", "x86_64-small"):
        source = SPECS / f"{name}.entry"
        (tmp_path / source.name).write_text(formatted(scrambled(source.read_text(), "entry", 2), source.name))
        assert model_digest(load_spec(tmp_path / source.name)) == model_digest(load_spec(source))


MESSY = '''language   1; arch x86_64;target bare
license "MIT"


# on its own

frame regs { # first
gprs; vector=number; error = error_code else 0

# in between
\thardware } # after it
const A=1, B = - 2&~A, # of the list
 C = (A|B)<<3
feature LONGER:build "x"
feature F : build   "#not a comment"
vectors 0..255 {   df=0

    ;save regs { error = 1,
   # inner
   vector = A }; call trap ( regs ,
 1 ) ; if F { df = 0 } else {
 ac = 0
 }; restore all; return iretq }
when_nothing
op x {

}
# last'''.replace("when_nothing\n", "")
NEAT = '''language 1; arch x86_64; target bare
license "MIT"

# on its own

frame regs {                                  # first
    gprs; vector = number; error = error_code else 0

    # in between
    hardware
}                                             # after it
const A = 1, B = -2 & ~A,                     # of the list
    C = (A | B) << 3
feature LONGER : build "x"
feature F      : build "#not a comment"
vectors 0..255 {
    df = 0

    save regs {
        error = 1,
        # inner
        vector = A
    }
    call trap(regs,
        1)
    if F { df = 0 } else {
        ac = 0
    }
    restore all; return iretq
}
op x { }
# last
'''


def test_layout() -> None:
    out = formatted(MESSY, "messy.entry")
    assert out == NEAT
    assert formatted("\ufeff" + MESSY.replace("\n", "\r\n"), "windows.entry") == out


ROWS = '''method m by out {
    when regs.ax == 1 refusing a "one"
    when regs.r11 == regs.flags refusing longer "two"    # why
}
work w of f read g() {
    once irqs off {
        A -> a()
        A | B -> b() clears first
    }
}
'''


def test_columns() -> None:
    assert formatted(ROWS, "rows.entry") == '''method m by out {
    when regs.ax == 1           refusing a      "one"
    when regs.r11 == regs.flags refusing longer "two"  # why
}
work w of f read g() {
    once irqs off {
        A     -> a()
        A | B -> b() clears first
    }
}
'''


def test_what_cannot_be_parsed_is_refused() -> None:
    with pytest.raises(Findings) as stop:
        formatted("frame regs {\n    ax ?\n}\n", "bad.entry")
    assert [f.code for f in stop.value.findings] == ["E002"]


def test_a_formatter_that_would_change_the_meaning_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.entry"
    path.write_text(MESSY)
    monkeypatch.setattr("entryc.source.format.aligned", lambda lines: ["language 2"])
    assert main(["fmt", str(path)]) == 1
    assert "error[E009]" in capsys.readouterr().err
    assert path.read_text() == MESSY


def test_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In place; only what differs is touched; one bad file does not keep the others from it; modes stay."""
    folder = tmp_path / "specs"
    (folder / "parts").mkdir(parents=True)
    messy, neat, bad = folder / "parts" / "messy.entry", folder / "neat.entry", folder / "a-bad.entry"
    messy.write_text(MESSY)
    messy.chmod(0o640)
    neat.write_text(formatted(MESSY, "x.entry"))
    bad.write_text("fram regs\n")
    before = neat.stat().st_mtime_ns
    assert main(["fmt", "--check", str(folder)]) == 1
    shown = capsys.readouterr().err
    assert f"error[E008]: {messy} is not formatted" in shown
    assert "neat.entry" not in shown
    assert messy.read_text() == MESSY
    assert main(["fmt", str(folder)]) == 1
    shown = capsys.readouterr()
    assert "a-bad.entry:1:1: error[E002]" in shown.err
    assert shown.out == f"{messy} formatted\n"
    assert messy.read_text() == neat.read_text()
    assert messy.stat().st_mode & 0o777 == 0o640
    assert neat.stat().st_mtime_ns == before
    bad.unlink()
    assert main(["fmt", "--check", str(folder)]) == 0
    assert sorted(p.name for p in folder.rglob("*")) == ["messy.entry", "neat.entry", "parts"]


def test_diff_json_and_nothing_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.entry"
    path.write_text("const  A = 1\n")
    assert main(["fmt", "--diff", str(path)]) == 0
    assert capsys.readouterr().out == f"--- {path}\n+++ {path}, formatted\n@@ -1 +1 @@\n-const  A = 1\n+const A = 1\n"
    assert main(["fmt", "--check", "--format", "json", str(path)]) == 1
    assert [f["code"] for f in json.loads(capsys.readouterr().out)["findings"]] == ["E008"]
    assert path.read_text() == "const  A = 1\n"
    assert main(["fmt", str(tmp_path / "missing.entry")]) == 2
    assert main(["fmt"]) == 2
    (tmp_path / "empty").mkdir()
    assert main(["fmt", str(tmp_path / "empty")]) == 2
    assert re.search(r"empty has no file that ends in \.entry or \.arch", capsys.readouterr().err)


def test_standard_input() -> None:
    def run(text: bytes, *more: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([sys.executable, "-m", "entryc", "fmt", "-", *more], input=text, capture_output=True, check=False)
    done = run(b"const  A = 1 \r\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"const A = 1\n", b"")
    assert run(b"const  A = 1\n", "--check").returncode == 1
    done = run(b"const\n")
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"standard input:1:" in done.stderr
    assert run(b"\0").returncode == 2


def test_links_stay_links(tmp_path: Path) -> None:
    (tmp_path / "real.entry").write_text("const  A = 1\n")
    (tmp_path / "link.entry").symlink_to("real.entry")
    assert main(["fmt", "-q", str(tmp_path / "link.entry")]) == 0
    assert (tmp_path / "link.entry").is_symlink()
    assert (tmp_path / "real.entry").read_text() == "const A = 1\n"
