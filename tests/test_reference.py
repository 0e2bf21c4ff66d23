"""docs/language.md and docs/arch.md against the grammars: every word, and every phrase of words, stands in the code that the reference shows."""

from __future__ import annotations

import re

import pytest
from conftest import ROOT

WORD = re.compile(r'"([a-z_]+)"')
PHRASE = re.compile(r'"[a-z_]+"(?: "[a-z_]+")+')
TERMINAL = re.compile(r"^[A-Z_]+(?:\.\d+)?: /(.*)/$", re.M)
REFERENCES = {"entry": "language.md", "arch": "arch.md"}


def code(text: str) -> str:
    """What stands in backticks or indented, one piece a line."""
    return "\n".join(re.findall(r"^    (.*)$", text, re.M) + [" ".join(x.split()) for x in re.findall(r"`([^`]+)`", re.sub(r"^    .*$", "", text, flags=re.M))])


def phrases(grammar: str) -> list[str]:
    """Words of the grammar, and those that follow each other: "exit by method among"."""
    out = {*WORD.findall(grammar), *(" ".join(WORD.findall(p)) for p in PHRASE.findall(grammar))}
    for pattern in TERMINAL.findall(grammar):
        out |= {re.sub(r" \+", " ", word) for word in re.findall(r"[a-z][a-z0-9_]*(?: \+[a-z]+)*", re.sub(r"\\b|\[.*?\]", "", pattern))}
    return sorted(out - {"s", "n"})


def heads(grammar: str) -> list[str]:
    """The words with which items, rows and steps begin: the first ones of rules that stand in a list of choices."""
    rules = dict(re.findall(r"^\??(\w+): ((?:.|\n +)*)$", grammar, re.M))
    items = {name for body in rules.values() if re.fullmatch(r"\w+(?:\s*\|\s*\w+)+", body) for name in re.findall(r"\w+", body)}
    return sorted({m[1] for name in items if (m := re.match(r'"([a-z_]+)"', rules.get(name, "")))})


@pytest.mark.parametrize("language", REFERENCES)
def test_reference_has_every_word(language: str) -> None:
    grammar = re.sub(r"//.*", "", (ROOT / "grammar" / f"{language}.lark").read_text())
    shown = code((ROOT / "docs" / REFERENCES[language]).read_text())
    wanted = phrases(grammar)
    assert len(wanted) > 50
    missing = [p for p in wanted if not re.search(r"(?<![\w.])" + r"\b.*?\b".join(map(re.escape, p.split())) + r"(?!\w)", shown)]
    assert missing == []
    first = heads(grammar)
    assert len(first) > 15
    assert [h for h in first if not re.search(rf"(?:^ *|[;{{] *){h}\b", shown, re.M)] == []



def test_what_counts() -> None:
    grammar = '?step: a | b\na: "exit" "by" NAME\n    | "exit" NAME\nb: NAME "x"\nB.2: /(on|off)\\b/\nC: /clears +first\\b/\n'
    assert phrases(grammar) == ["by", "clears first", "exit", "exit by", "off", "on", "x"]
    assert heads(grammar) == ["exit"]
    assert code("say `exit x`\n\n    if `x`\n\ntext exit") == "if `x`\nexit x"
