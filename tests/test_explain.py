"""The table of errors: whole, and true. Each example gives its error at the place that is marked, each cure compiles, docs/errors.md is made from it."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT
from entryc.cli import main
from entryc.diff.rules import RULES
from entryc.driver import explain as X

COMPILER = ROOT / "compiler" / "entryc"
EXAMPLES = [row for row in X.codes().values() if row.example is not None]


def constants(pattern: str) -> Iterator[tuple[Path, str]]:
    for file in COMPILER.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(pattern, node.value):
                yield file, node.value


def test_every_code_is_in_the_table_and_every_row_is_used() -> None:
    raised = {code for file, code in constants(r"[A-Z]\d{3}") if file.name not in ("explain.py", "rules.py")}
    assert raised == {*X.codes(), *RULES}
    assert not set(X.codes()) & set(RULES)
    assert set(dict(X.GROUPS)) <= set(X.codes())


@pytest.mark.parametrize("row", X.codes().values(), ids=lambda row: row.code)
def test_every_row_says_where_it_comes_from(row: X.Code) -> None:
    assert sum(x is not None for x in (row.example, row.arch, row.command, row.situation)) == 1
    assert row.cause.endswith((".", "?")) and row.cure.endswith((".", "…", "}"))


@pytest.mark.parametrize("row", EXAMPLES, ids=lambda row: row.code)
def test_example_and_cure(row: X.Code) -> None:
    assert row.example is not None
    wanted = X.marks(X.expanded(row.example))
    assert row.code in {code for _, code, _ in wanted}
    got = [(f.span.line if f.span else 0, f.code, f.message) for f in X.findings_of(row.spec)]
    for line, code, words in wanted:
        assert any(g[:2] == (line, code) and words in g[2] for g in got), f"missing {code} in line {line}: {words}; got {got}"
    assert not [g for g in got if not any(g[:2] == w[:2] for w in wanted)], got
    assert row.mended != row.spec
    assert [f.message for f in X.findings_of(row.mended)] == []


@pytest.mark.parametrize("row", [r for r in X.codes().values() if r.command], ids=lambda row: row.code)
def test_command(row: X.Code, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "specs").symlink_to(ROOT / "specs")
    monkeypatch.chdir(tmp_path)
    assert row.command is not None and main(shlex.split(row.command)[1:]) in (1, 2)
    assert f"error[{row.code}]" in capsys.readouterr().err


def test_page(update: bool) -> None:
    """Golden: rewrite with pytest --update."""
    file = ROOT / "docs" / "errors.md"
    if update:
        file.write_text(X.page())
    assert file.read_text() == X.page()


def test_explain(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "e316"]) == 0
    shown = capsys.readouterr().out
    assert "error[E316]: memory 'percpu' cannot be reached here" in shown and "    +entry s on syscall from user { gs = kernel; percpu" in shown
    assert main(["explain", "D111"]) == 0
    assert "how it weighs" in capsys.readouterr().out
    assert main(["explain"]) == 0
    listed = capsys.readouterr().out
    assert all(f"  {code}  " in listed for code in [*X.codes(), *RULES])
    assert main(["explain", "E361"]) == 2
    assert "there is no code 'E361'; near it: E316" in capsys.readouterr().err
    assert main(["explain", "E\x1b[2J\n316"]) == 2
    assert capsys.readouterr().err.startswith("entryc: there is no code 'E\\x1b[2J\\x0a316'; near it: ")
