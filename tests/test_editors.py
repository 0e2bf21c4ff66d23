"""Highlighting: made from the grammars, complete, and right in a real Vim; the files that VS Code reads fit together."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT, SPECS
from entryc.editor.syntax import LANGUAGES, editor_files, textmate, words_of
from entryc.resources import grammar_text

EDITORS = ROOT / "editors"
SAMPLE = """\
# a comment with save in it
language 1; arch x86_64
feature SMAP : build "restore is no word here"
entry syscall_64 on syscall from user {
    percpu.save = sp
    save regs { flags = r11, ss = USER_DS }
    exit by method among sysret_64, iret_user
}
vectors 0..0xff { df = 0; restore all if not SMAP }
"""
# text in the sample, the n-th time that it stands there -> group of Vim, scope of TextMate ("": neither)
WANTED = {
    ("save", 0): ("Comment", "comment"), ("language", 0): ("Item", "keyword.declaration"), ("arch", 0): ("Item", "keyword.declaration"),
    ("restore", 0): ("Text", "string"), ("entry", 0): ("Item", "keyword.declaration"), ("from", 0): ("Word", "keyword.other"),
    ("user", 0): ("Word", "keyword.other"), ("save", 1): ("Name", "variable.other"), ("save", 2): ("Step", "keyword.control"), ("flags", 0): ("", ""),
    ("USER_DS", 0): ("Constant", "constant.other"), ("exit", 0): ("Step", "keyword.control"), ("among", 0): ("Word", "keyword.other"),
    ("sysret_64", 0): ("", ""), ("vectors", 0): ("Item", "keyword.declaration"), ("0xff", 0): ("Number", "constant.numeric"),
    ("restore", 1): ("Step", "keyword.control"), ("not", 0): ("Condition", "keyword.control.conditional"), ("SMAP", 1): ("Constant", "constant.other"),
}


def place(text: str, count: int) -> tuple[int, int]:
    """Line and column, from 0, of an occurrence as a word."""
    found = [m.start() for m in re.finditer(rf"(?<!\w){text}(?!\w)", SAMPLE)][count]
    return SAMPLE.count("\n", 0, found), found - SAMPLE.rfind("\n", 0, found) - 1


@pytest.mark.parametrize("name", sorted(editor_files()))
def test_files_are_what_the_grammars_give(name: str, update: bool) -> None:
    path = EDITORS / name
    if update:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(editor_files()[name])
    assert path.read_text() == editor_files()[name], f"{name} is stale: run tests/test_editors.py --update"


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_every_word_of_the_grammar_is_known(language: str) -> None:
    """Read from the grammar's text, not from the parser: a word in quotes, or in a pattern of words."""
    rules = re.sub(r"//.*", "", grammar_text(language).split("_SEP:")[0] + grammar_text(language).split("%ignore", 1)[1])
    words = set(re.findall(r'"([a-z_0-9]+)"', rules))
    words |= {w for body in re.findall(r"^[A-Z_]+(?:\.2)?: /\(?([a-z_0-9| +]+)\)?\\b/", rules, re.M) for w in re.split(r"[|+ ]+", body) if w}
    assert len(words) > 50 and words <= words_of(language).all, words - words_of(language).all


def scopes(language: str, line: str) -> list[tuple[int, int, str]]:
    """What the TextMate grammar makes of a line: as its engines work, the first pattern at the leftmost place wins."""
    patterns = [(re.compile(p["match"]), p) for p in json.loads(textmate(language))["patterns"]]
    out: list[tuple[int, int, str]] = []
    at = 0
    while at < len(line):
        found = [(m.start(), n, m) for n, (pattern, _) in enumerate(patterns) if (m := pattern.search(line, at)) and m.end() > at]
        if not found:
            break
        _, number, match = min(found, key=lambda f: f[:2])
        rule = patterns[number][1]
        out += [(match.start(), match.end(), rule["name"])] if "name" in rule else \
            [(match.start(int(n)), match.end(int(n)), c["name"]) for n, c in rule["captures"].items() if match.group(int(n)) is not None]
        at = match.end()
    return out


@pytest.mark.parametrize(("text", "count"), WANTED)
def test_textmate_scopes(text: str, count: int) -> None:
    line, column = place(text, count)
    rows = [scope for start, end, scope in scopes("entry", SAMPLE.split("\n")[line]) if start <= column < end]
    wanted = WANTED[text, count][1]
    assert (bool(rows) and rows[0].startswith(wanted)) if wanted else rows == []


@pytest.mark.parametrize("file", [*sorted(SPECS.glob("*.entry")), *sorted((SPECS / "arch").glob("*.arch"))], ids=lambda f: f.name)
def test_textmate_reads_shipped_files(file: Path) -> None:
    """Each item's first word is a declaration; comments and texts are whole."""
    language = file.suffix[1:]
    for line in file.read_text().split("\n"):
        rows = scopes(language, line)
        word = re.match(r"[a-z_]+", line)
        if word and not line.startswith("}"):
            assert rows[0][:2] == (0, word.end()) and rows[0][2].startswith("keyword.declaration"), line
        if line.startswith("#"):
            assert [r[:2] for r in rows] == [(0, len(line))]


def test_vim(tmp_path: Path) -> None:
    """A real Vim: the file types are found, and each place has its group."""
    vim = shutil.which("vim")
    assert vim is not None
    (tmp_path / "sample.entry").write_text(SAMPLE)
    (tmp_path / "cpu.arch").write_text((SPECS / "arch" / "arm64.arch").read_text())
    commands = [f"set runtimepath^={EDITORS / 'vim'}", "filetype plugin on", "syntax on", f"edit {tmp_path}/sample.entry",
                "let out = [&filetype, &commentstring]"]
    for text, count in WANTED:
        line, column = place(text, count)
        commands.append(f"call add(out, synIDattr(synID({line + 1}, {column + 1}, 1), 'name'))")
    commands += [f"edit {tmp_path}/cpu.arch", "call add(out, &filetype)", "call search('^register')",
                 "call add(out, synIDattr(synID(line('.'), 1, 1), 'name'))",
                 f"call writefile(out, '{tmp_path}/out')", "qall!"]
    (tmp_path / "script.vim").write_text("\n".join(commands) + "\n")
    done = subprocess.run([vim, "-N", "-u", "NONE", "-i", "NONE", "-n", "-es", "-S", str(tmp_path / "script.vim")], capture_output=True, text=True,
                          check=False, timeout=60)
    assert (tmp_path / "out").exists(), done.stdout + done.stderr
    kind, comments, *groups, arch, register = (tmp_path / "out").read_text().split("\n")[:-1]
    assert (kind, comments, arch, register) == ("entry", "# %s", "entryarch", "entryarchItem")
    for (key, (wanted, _)), group in zip(WANTED.items(), groups, strict=True):
        assert group == (f"entry{wanted}" if wanted else ""), (key, group)


def test_vscode_files_fit() -> None:
    folder = EDITORS / "vscode"
    package = json.loads((folder / "package.json").read_text())
    json.loads((folder / "language-configuration.json").read_text())
    for row in package["contributes"]["grammars"]:
        assert json.loads((folder / row["path"]).read_text())["scopeName"] == row["scopeName"]
    assert {row["id"]: tuple(row["extensions"]) for row in package["contributes"]["languages"]} == {n: e for n, _, e in LANGUAGES.values()}
    assert {row["language"] for row in package["contributes"]["grammars"]} == {n for n, _, _ in LANGUAGES.values()}
    client = (folder / package["main"]).read_text()
    assert all(f'language: "{n}"' in client for n, _, _ in LANGUAGES.values()) and '["lsp"]' in client
