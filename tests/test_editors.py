"""Highlighting: made from the grammars, complete, and right in a real Vim and in a TextMate engine; the extension of VS Code in a real Node."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from conftest import ROOT, SPECS
from entryc.editor.syntax import LANGUAGES, editor_files, words_of
from entryc.resources import grammar_text
from entryc.source.parse import tokens_of
from entryc.source.text import SourceFile

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
if SMAP {
    feature INNER : build
}
"""
# text in the sample, the n-th time that it stands there -> group of Vim, scope of TextMate ("": neither)
WANTED = {
    ("save", 0): ("Comment", "comment"), ("language", 0): ("Item", "keyword.declaration"), ("arch", 0): ("Item", "keyword.declaration"),
    ("restore", 0): ("Text", "string"), ("entry", 0): ("Item", "keyword.declaration"), ("from", 0): ("Word", "keyword.other"),
    ("user", 0): ("Word", "keyword.other"), ("save", 1): ("Name", "variable.other"), ("save", 2): ("Step", "keyword.control"), ("flags", 0): ("", ""),
    ("USER_DS", 0): ("Constant", "constant.other"), ("exit", 0): ("Step", "keyword.control"), ("among", 0): ("Word", "keyword.other"),
    ("sysret_64", 0): ("", ""), ("vectors", 0): ("Item", "keyword.declaration"), ("0xff", 0): ("Number", "constant.numeric"),
    ("restore", 1): ("Step", "keyword.control"), ("not", 0): ("Condition", "keyword.control.conditional"), ("SMAP", 1): ("Constant", "constant.other"),
    ("if", 1): ("Condition", "keyword.control.conditional"), ("feature", 1): ("Item", "keyword.declaration"),
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


@lru_cache(maxsize=2)
def engine(language: str) -> Any:
    """A TextMate engine on Oniguruma, the regular expressions of VS Code. On all shipped files it gives the tokens that vscode-textmate gives."""
    with TemporaryDirectory() as folder, contextlib.chdir(folder):        # it makes a folder where it is imported
        from textmate_grammar.parsers.base import LanguageParser
    logging.getLogger("textmate_grammar").setLevel(logging.CRITICAL)      # it warns of each text that has no scope
    return LanguageParser(json.loads((EDITORS / "vscode" / "syntaxes" / f"{LANGUAGES[language][0]}.tmLanguage.json").read_text()))


def scopes(language: str, text: str) -> dict[tuple[int, int], tuple[str, str]]:
    """What the engine makes of a text: place, from 0, of each token that has a scope -> its text and scope."""
    return {at: (token, names[-1]) for at, token, names in engine(language).parse_string(text).flatten() if len(names) > 1}


@pytest.mark.parametrize(("text", "count"), WANTED)
def test_textmate_scopes(text: str, count: int) -> None:
    line, column = place(text, count)
    rows = [scope for (row, start), (token, scope) in scopes("entry", SAMPLE).items() if row == line and start <= column < start + len(token)]
    wanted = WANTED[text, count][1]
    assert (len(rows) == 1 and rows[0].startswith(wanted)) if wanted else rows == []


@pytest.mark.parametrize("file", [*sorted(SPECS.rglob("*.entry")), *sorted((SPECS / "arch").glob("*.arch"))], ids=lambda f: f.name)
def test_textmate_reads_shipped_files(file: Path) -> None:
    """Each token of the compiler's own lexer has a scope that fits; comments are whole, and there are no others."""
    language, text = file.suffix[1:], file.read_text()
    found = scopes(language, text)
    comments = {at: token for at, (token, scope) in found.items() if scope.startswith("comment.")}
    _, tokens = tokens_of(language, SourceFile(file.name, text))
    lines = text.split("\n")
    for token in tokens:
        at = ((token.line or 1) - 1, (token.column or 1) - 1)
        shown, scope = found.get(at, ("", ""))
        if token.type in ("STRING", "INT"):
            assert shown == token and scope.startswith({"STRING": "string.quoted.double.", "INT": "constant.numeric."}[token.type]), (token, at)
        elif token.type == "NAME":
            assert not scope.startswith(("keyword.declaration.", "keyword.control.entry", "comment.", "string.")), (token, at)
        elif token[0].isalpha():                # a word of the language; a value that it is given makes it look like a name
            assert scope.startswith(("keyword.", "storage.type.", "entity.name.function.")) or re.match(r"\s*=", lines[at[0]][at[1] + len(token):]), (token, at)
    wanted = {}
    for number, line in enumerate(lines):
        bare = re.sub(r'"[^"]*"', lambda m: "x" * len(m.group()), line)
        if "#" in bare:
            wanted[number, bare.index("#")] = line[bare.index("#"):]
    assert comments == wanted


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
    for row in package["contributes"]["grammars"]:
        assert json.loads((folder / row["path"]).read_text())["scopeName"] == row["scopeName"]
    for row in package["contributes"]["languages"]:
        assert json.loads((folder / row["configuration"]).read_text())["comments"] == {"lineComment": "#"}
    assert {row["id"]: tuple(row["extensions"]) for row in package["contributes"]["languages"]} == {n: e for n, _, e in LANGUAGES.values()}
    assert {row["language"] for row in package["contributes"]["grammars"]} == {n for n, _, _ in LANGUAGES.values()}


# VS Code and its client library, as far as the extension uses them: what it asks for is said, as JSON.
HOST = """
const Module = require("module"), path = require("path"), folder = process.argv[1], chosen = process.argv[2];
const package = require(path.join(folder, "package.json")), made = [], load = Module._load;
const get = (section, key) => chosen || package.contributes.configuration.properties[`${section}.${key}`].default;
class LanguageClient {
    constructor(...given) { made.push(given); }
    start() { made.push("start"); return Promise.resolve(); }
    stop() { made.push("stop"); return Promise.resolve(); }
}
const workspace = { getConfiguration: section => ({ get: key => get(section, key) }) };
const stubs = { "vscode": { workspace }, "vscode-languageclient/node": { LanguageClient } };
Module._load = (name, ...more) => stubs[name] || load(name, ...more);
const extension = require(path.join(folder, package.main));
const early = extension.deactivate();
const { indentationRules, wordPattern } = require(path.join(folder, package.contributes.languages[0].configuration));
const tried = ["entry a {", "x { # why", "x {}", "# {", "}", "  }", "a }"].map(line =>
    [new RegExp(indentationRules.increaseIndentPattern).test(line), new RegExp(indentationRules.decreaseIndentPattern).test(line)]);
Promise.resolve(extension.activate()).then(() => extension.deactivate()).then(() =>
    console.log(JSON.stringify({ made, early: early === undefined, tried, words: "let a_1 = 0x2".match(new RegExp(wordPattern, "g")) })));
"""


@pytest.mark.parametrize("chosen", ["", "/opt/my entryc"])
def test_vscode_extension_starts_the_server(chosen: str) -> None:
    """In a real Node: it loads, starts `entryc lsp` for both languages, with the command that is set, and stops it."""
    done = subprocess.run(["node", "-e", HOST, str(EDITORS / "vscode"), chosen], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    said = json.loads(done.stdout)
    assert said["early"] and said["made"] == [
        ["entryc", "entryc", {"command": chosen or "entryc", "args": ["lsp"]}, {"documentSelector": [{"language": n} for n, _, _ in LANGUAGES.values()]}],
        "start", "stop"]
    assert said["tried"] == [[True, False], [True, False], [False, False], [False, False], [False, True], [False, True], [False, False]]
    assert said["words"][:2] == ["let", "a_1"]
