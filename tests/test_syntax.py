"""Mistakes of syntax: said in words, mended where the cure is known, and found one by one. The cases are in rules/syntax.cases."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from conftest import SPECS
from entryc.driver.explain import expanded, plain
from entryc.model import files
from entryc.model.build import load_spec, read_spec
from entryc.source.edits import Edit
from entryc.source.finding import Finding, Findings
from entryc.source.forms import forms
from entryc.source.parse import first_words, parse, parser, tokens_of, words
from entryc.source.pieces import Places
from entryc.source.recover import MAX_MISTAKES, parse_all
from entryc.source.text import SourceFile
from test_rules import cases


def edited(text: str, edits: list[Edit]) -> str:
    """The text with all edits made."""
    places = Places(text)
    for edit in sorted(edits, key=lambda e: (-e.span.line, -e.span.column)):
        start, end = places.offset(edit.span.line, edit.span.column), places.offset(edit.span.end_line, edit.span.end_column)
        text = text[:start] + edit.text + text[end:]
    return text


def findings(text: str) -> list[Finding]:
    place = Path("case.entry").resolve()
    return read_spec(place, "case.entry", {place: text})[1]


SYNTAX = [(name.split(":", 1)[1], text) for name, text in cases() if name.startswith("syntax:")]


@pytest.mark.parametrize(("name", "text"), SYNTAX, ids=[c[0] for c in SYNTAX])
def test_edits(name: str, text: str) -> None:
    """A mistake that is said to be mended is: with the edits, the text can be read. Others have no edit."""
    text = plain(expanded(text))
    found = [f for f in findings(text) if f.code in ("E002", "E208")]
    mended = edited(text, [e for f in found for e in f.edits])
    if name.endswith(", mended"):
        assert found
        assert all(f.edits for f in found), found
        assert parse("entry", SourceFile("mended", mended)).children, mended
    elif len(found) == 1:
        assert not found[0].edits, found


def test_an_edit_compiles() -> None:
    text = (SPECS / "unikernel.entry").read_text()
    for right, wrong in (("save regs", "sav regs"), ("df = 0", "df == 0"), ("trap(regs)", "trap(regs"), ('"MIT"', "MIT"), ("; call", " call"),
                         ("hardware }", "hardware"), ("number;", "number,"), ("language 1", "language")):
        assert right in text
        found = findings(text.replace(right, wrong))
        assert [len(f.edits) for f in found] == [1], (wrong, found)
        assert findings(edited(text.replace(right, wrong), list(found[0].edits))) == [], wrong


@pytest.mark.parametrize("name", ["x86_64-small", "arm64"])
def test_one_mistake_is_one_finding(name: str) -> None:
    """A word is left out, written twice or misspelt, or a sign stands where none belongs: hardly ever more than one finding, and never a crash."""
    text, dice, counts = (SPECS / f"{name}.entry").read_text(), random.Random(5), [0, 0, 0]
    every = [t for t in tokens_of("entry", SourceFile("x", text))[1] if t.type not in ("_SEP",)]
    for _ in range(60):
        token = dice.choice(every)
        start, word = token.start_pos or 0, str(token)[:1] if token.type in ("_LB", "_COMMA") else str(token)
        end = start + len(word)
        kind = dice.randrange(4)
        if kind == 0:
            wrong = text[:start] + text[end:]
        elif kind == 1:
            wrong = f"{text[:end]} {word}{text[end:]}"
        elif kind == 2 and word in words("entry") and len(word) > 3:
            wrong = text[:start + 1] + text[start + 2:]
        else:
            wrong = text[:start] + dice.choice("?!@(){}[]=,:|\"/") + text[start:]
        found = findings(wrong)
        counts[min(len(found), 2)] += 1
        if found and all(f.edits for f in found):
            assert not [f for f in findings(edited(wrong, [e for f in found for e in f.edits])) if f.code == "E002"], (wrong[start - 20:end + 20], found)
    assert counts[1] > 50, counts


# How an example stands in a spec, by the kind of statement; %s is the example.
AROUND = {"item": "%s", "step": "path p { %s }", "handler step": "handler h(regs) { %s }", "slot": "frame f { %s }", "member": "memory m { %s }",
          "row of a state": "state s { %s }", "row of a boundary": "boundary user { %s }", "row of a contract": "code c { %s }", "row of an op": "op o { %s }",
          "clause": "method m by x { %s }", "row of work": "work w of f read g() { once irqs off { %s } }", "row of a system call table": "syscalls s { %s }",
          "arm": "handler h(regs) { dispatch regs.x { %s } }", "row of decisions": "decisions { %s }", "set-up value": "setup { %s }", "flag": "flags f { %s }",
          "row of a bracket": "bracket b { %s }", "value of a slot": "path p { save regs { %s } }", "register": "frame f { hardware { %s } }",
          "feature": "configuration c { %s }", "fact": "after decision { %s }"}
OTHER = {"repeat": "work w of f read g() { %s }", "once": "work w of f read g() { %s }",
         **dict.fromkeys(("needs", "clobbers", "sets", "writes", "returns", "promises"), "op o by x { %s }")}


@pytest.mark.parametrize(("kind", "head"), [(k, h) for k, rows in forms("entry").items() for h in rows])
def test_examples(kind: str, head: str) -> None:
    """Each example can be parsed where it belongs, and shows the word that it is for."""
    shown = forms("entry")[kind][head]
    around = OTHER.get(head, AROUND[kind]) if kind in ("row of work", "row of an op") else AROUND[kind]
    assert parse("entry", SourceFile("x", around % shown)).children
    assert not head or shown.split()[0] == head


ARCH_AROUND = {"item": "%s", "row of tools": "tools { %s }", "row of a register": "register r gpr { %s }", "row of the ABI": "abi { %s }",
               "field": 'struct s size 8 "s" { %s }', "row of an event": 'event e from user "s" { %s }', "row of a return": 'return r to user "s" { %s }',
               "row of patching": "patching { %s }", "effect": 'form f(d: gpr) move "f" decodes f { %s } "s"', "instruction": "sequence s() when 1 { %s }",
               "row of a program": 'program p "s" { %s }'}


@pytest.mark.parametrize(("kind", "head"), [(k, h) for k, rows in forms("arch").items() for h in rows])
def test_examples_of_cpu_descriptions(kind: str, head: str) -> None:
    shown = forms("arch")[kind][head]
    assert parse("arch", SourceFile("x", ARCH_AROUND[kind] % shown)).children
    assert not head or re.split(r"\W", shown)[0] == head


@pytest.mark.parametrize(("text", "message", "help"), [
    ("register ax { 64 rax }", "a name is expected after 'ax', not '{'", "for example: register ax gpr { 64 rax; 32 eax; dwarf 0 }"),
    ("register ax gpr { 64 rax; 32 }", "a name is expected after '32', not '}'", "for example: register ax gpr { 64 rax; 32 eax; dwarf 0 }"),
    ("register ax gpr {\n    64 rax\n    32\n}", "a name is missing after '32'", "for example: 64 rax"),
    ('event e form user "s" { push error }', "'form' cannot stand after 'e'", "did you mean 'from'?"),
    ('event e from user "s" { flags cx }', "there is no row of an event 'flags'",
     "a row of an event starts with anywhere, augments, found, indexed, lost, push, …; to give it a value: flags = cx"),
    ('event e from user "s" { pop cx }', "'pop' starts a row of a return, which cannot stand here", "a row of a return stands in a block of its own kind"),
    ('return r to user { pop ip }', "a text in quotes is expected after 'user'",
     'for example: return iretq to any "SDM 2A IRET" { pop ip cs flags sp ss; raises 11 12 13 }'),
    ('form f(d: gpr) move "f" { d = s } "s"', "a name is expected after the text, not '{'",
     'for example: form movq(d: gpr, s: gpr) move "mov {d}, {s}" decodes mov { d = s } "SDM 2B MOV"'),
    ('struct s size 8 "s" { sp0 at size 8 }', "a number is expected after 'at', not 'size'", "for example: sp0 at 4 size 8"),
    ("entry e on syscall", "there is no item 'entry'", "an item starts with abi, arch, event, form, hwstack, irqs, …"),
    ("irqs on sti", "'off' is missing after 'sti'", "for example: irqs on sti off cli")])
def test_mistakes_in_cpu_descriptions(text: str, message: str, help: str | None) -> None:
    found = parse_all("arch", SourceFile("x", text)).findings
    assert [(f.message, f.help) for f in found] == [(message, help)]


def test_every_word_that_starts_something_has_an_example() -> None:
    assert first_words("entry") == set(forms("entry")["item"]) and first_words("arch") == set(forms("arch")["item"])
    for kind in ("step", "handler step"):
        steps = parser("entry").parse_interactive(AROUND[kind].split("%s")[0])
        list(steps.iter_parse())
        accepted = steps.accepts()  # type: ignore[no-untyped-call]
        heads = {str(t.pattern.value) for t in parser("entry").terminals if t.name in accepted and t.pattern.type == "str" and str(t.pattern.value).isalpha()}
        assert heads == {h for h in forms("entry")[kind] if h}


def test_what_is_right_is_kept() -> None:
    text = (SPECS / "arm64.entry").read_text()
    whole = parse("entry", SourceFile("a", text))
    parsed = parse_all("entry", SourceFile("a", text.replace("language 1\n", "language 1\nconst A = \n", 1)))
    assert [f.message for f in parsed.findings] == ["a value is missing after '='"]
    assert parsed.tree.children == whole.children
    lines = [t.meta.line for t in parsed.tree.children]
    assert lines[1:] == [t.meta.line + 1 for t in whole.children[1:]]


def test_many_mistakes_end_soon() -> None:
    parsed = parse_all("entry", SourceFile("a", "frob x\n" * 20_000))
    assert len(parsed.findings) == MAX_MISTAKES
    assert parsed.lost.may_be("anything")
    parsed = parse_all("entry", SourceFile("a", "const A = 1\n" * 30_000 + "frob x\n" * 1000))
    assert [(f.span.line if f.span else 0, f.message) for f in parsed.findings] == [(30_001, "the text cannot be read from here on")]


def test_no_list_of_terminals(capsys: pytest.CaptureFixture[str]) -> None:
    """Messages are sentences: no name of the grammar, and no enumeration."""
    for _, text in SYNTAX:
        for finding in findings(plain(expanded(text))):
            assert not any(t in finding.message for t in ("_SEP", "_LB", "__", "EQUAL", "NAME")), finding.message
            assert finding.message.count(",") < 4, finding.message


HEAD = 'language 1; arch x86_64; target bare; license "MIT"\n'


def refusal(folder: Path, **texts: str) -> Finding:
    """The first finding of the spec a.entry beside files with these texts."""
    for name, text in texts.items():
        (folder / f"{name}.entry").write_text(text)
    with pytest.raises(Findings) as stop:
        load_spec(folder / "a.entry", "a.entry")
    return stop.value.findings[0]


def test_a_row_of_files_has_an_end(tmp_path: Path) -> None:
    for n in range(50):
        (tmp_path / f"f{n}.entry").write_text(f'use "f{n + 1}.entry"\n')
    found = refusal(tmp_path, a=HEAD + 'use "f0.entry"\n')
    assert (found.code, found.message) == ("E005", "more than 32 files use each other in a row")
    assert str(found.span) == "f30.entry:1:1"


def test_many_files(tmp_path: Path) -> None:
    for n in range(250):
        (tmp_path / f"f{n}.entry").write_text(f"const A{n} = {n}\n")
    found = refusal(tmp_path, a=HEAD + "".join(f'use "f{n}.entry"\n' for n in range(250)))
    assert (found.code, found.message, str(found.span)) == ("E005", "more than 200 files are used", "a.entry:202:1")


def test_large_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_TOTAL", 400)
    found = refusal(tmp_path, a=HEAD + 'use "b.entry"\nuse "c.entry"\n', b="# " + "x" * 200 + "\nconst A = 1\n", c="# " + "x" * 200 + "\nconst B = 1\n")
    assert (found.code, found.message, str(found.span)) == ("E005", "the files of the spec are larger than 400 characters together", "c.entry:1:1")


def test_circles_and_links(tmp_path: Path) -> None:
    assert refusal(tmp_path, a=HEAD + 'use "a.entry"\n').message == "the files use each other in a circle: a.entry → a.entry"
    (tmp_path / "l.entry").symlink_to("m.entry")
    (tmp_path / "m.entry").symlink_to("l.entry")
    assert refusal(tmp_path, a=HEAD + 'use "l.entry"\n').code == "E003"
    (tmp_path / "n.entry").symlink_to("a.entry")
    assert "in a circle: a.entry → n.entry" in refusal(tmp_path, a=HEAD + 'use "n.entry"\n').message


def test_mistakes_of_several_files_are_found_together(tmp_path: Path) -> None:
    (tmp_path / "b.entry").write_text("const B = \nframe regs { gprs; hardware }\n")
    (tmp_path / "a.entry").write_text(HEAD + 'use "b.entry"\nuse "missing.entry"\nconst C = B\nconst D = \nfeature F : later\n')
    found = read_spec(tmp_path / "a.entry", "a.entry", {})[1]
    assert [(str(f.span), f.code) for f in found] == [("a.entry:5:10", "E002"), ("b.entry:1:10", "E002"), ("a.entry:3:1", "E003"), ("a.entry:6:1", "E212")]
