"""Specs that nobody would write: texts made from the grammars, and shipped specs with tokens, lines, subtrees and numbers changed.

Everything is drawn from one random.Random, so that a seed gives the same texts on every machine.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from conftest import SPECS
from entryc.source.parse import parser
from lark import Tree
from lark.grammar import NonTerminal, Rule

TOKEN = re.compile(r'"[^"\n]*"|#[^\n]*|0x[0-9A-Fa-f_]+|[A-Za-z_][A-Za-z0-9_]*|[0-9][0-9_]*|->|\.\.|==|!=|<=|>=|<<|>>|\n|[ \t]+|.')
USE = re.compile(r'^use "([^"\n]*)"[^\n]*$', re.M)
VECTORS = re.compile(r"^(vectors) 0\.\.255( raised by user 3 4)?", re.M)

NUMBERS = ("0", "1", "2", "7", "8", "9", "15", "16", "31", "32", "63", "64", "65", "255", "256", "4095", "4096", "0x7fffffff", "0x80000000", "0xffffffff",
           "0x7fffffffffffffff", "0x8000000000000000", "0xffffffffffffffff", "0x10000000000000000", "18446744073709551616", "0_0", "0x_", "007", "9" * 30,
           "0x" + "f" * 40, "1" + "0" * 5000)
HOSTILE = ("", "*/", "/*", "\\", "\\n", "%", "%s", "{", "}", "{{ 7 * 7 }}", "{% raw %}", "${HOME}", "$(shell id)", "$$", "#", "<script>", "]]>", "-->",
           "|", "`", "'", "\r", "\x85", "\u2028", "\u202e", "\x1b[31m", "\x07", "\x7f", "\ufeff", "\U0001f600", "??/", "a" * 4000, ";", "&amp;", "../" * 20,
           "/dev/null")
KINDS = {"expr": {"or_", "and_", "not_", "eq", "ne", "lt", "le", "gt", "ge", "bor", "bxor", "band", "shl", "shr", "add", "sub", "neg", "inv", "address", "cast",
                  "num", "name", "mem", "apply"}}
RANDOM_TERMINALS = {"NAME", "INT", "STRING", "TYPE"}


@lru_cache(maxsize=1)
def bases() -> dict[str, str]:
    """Shipped specs, each as one text: used files in their place, and few vectors, since each costs time."""
    names = ["unikernel", "arm64", "x86_64-small", "linux/sysret-x86_64-6.12", "linux/exit-work-arm64-6.12", "linux/x86_64"]
    return {name: VECTORS.sub(r"\1 7..9", _whole(f"{name}.entry")) for name in names}


def large() -> dict[str, str]:
    """The specs whose planning takes seconds: for long runs."""
    return {name: VECTORS.sub(r"\1 7..9", _whole(f"{name}.entry")) for name in ("x86_64", "linux/x86_64-6.12")}


def arches() -> dict[str, str]:
    return {path.stem: path.read_text() for path in sorted((SPECS / "arch").glob("*.arch"))}


def _whole(name: str, done: set[str] | None = None) -> str:
    done = set() if done is None else done
    folder = name.rpartition("/")[0]

    def used(match: re.Match[str]) -> str:
        target = str((SPECS / folder / match[1]).resolve().relative_to(SPECS))
        if target in done:
            return ""
        done.add(target)
        return _whole(target, done)
    return USE.sub(used, (SPECS / name).read_text())


# ---- from the grammar ----

class Grammar:
    """Derivations of a language's rules; names and numbers come from a pool, so that some of them mean something."""

    def __init__(self, language: str) -> None:
        self.rules: dict[str, list[Rule]] = {}
        for rule in parser(language).rules:
            self.rules.setdefault(rule.origin.name, []).append(rule)
        self.terminals = {t.name: t.pattern for t in parser(language).terminals}
        self.cost = self._costs()

    def _costs(self) -> dict[str, int]:
        """The depth of the shallowest derivation of each rule."""
        cost: dict[str, int] = {}
        while True:
            before = dict(cost)
            for name, rules in self.rules.items():
                known = [1 + max((cost[s.name] for s in r.expansion if isinstance(s, NonTerminal)), default=0) for r in rules
                         if all(not isinstance(s, NonTerminal) or s.name in cost for s in r.expansion)]
                if known:
                    cost[name] = min(known)
            if cost == before:
                return cost

    def _depth(self, rule: Rule) -> int:
        return max((self.cost[s.name] for s in rule.expansion if isinstance(s, NonTerminal)), default=0)

    def text(self, chance: random.Random, start: str, pool: list[str], depth: int = 14) -> str:
        return " ".join(self._tokens(chance, start, pool, depth)).replace(" . ", ".")

    def _tokens(self, chance: random.Random, name: str, pool: list[str], depth: int) -> Iterator[str]:
        rules = self.rules[name]
        fitting = [r for r in rules if all(self.cost[s.name] < depth for s in r.expansion if isinstance(s, NonTerminal))]
        rule = chance.choice(fitting) if fitting else min(rules, key=self._depth)
        for symbol in rule.expansion:
            if isinstance(symbol, NonTerminal):
                yield from self._tokens(chance, symbol.name, pool, depth - 1)
            else:
                yield self._terminal(chance, symbol.name, pool)

    def _terminal(self, chance: random.Random, name: str, pool: list[str]) -> str:
        if name == "NAME":
            return chance.choice(pool)
        if name == "INT":
            return chance.choice(NUMBERS) if chance.random() < 0.3 else str(chance.randrange(40))
        if name == "STRING":
            return '"' + chance.choice(HOSTILE).replace('"', "").replace("\n", "") + '"'
        if name == "_SEP":
            return chance.choice((";", "\n"))
        fixed = {"_COMMA": ",", "_LB": "{", "_RB": "}", "TYPE": "u32", "BY_ADDRESS": "by address", "BY_REFUSAL": "by refusal", "CLEARS": "clears first"}
        if name in fixed:
            return fixed[name]
        value = str(self.terminals[name].value)
        return chance.choice(value.removesuffix("\\b").strip("()").split("|")).replace("\\", "") if self.terminals[name].type == "re" else value


@lru_cache(maxsize=2)
def grammar(language: str) -> Grammar:
    return Grammar(language)


def names_of(text: str) -> list[str]:
    return sorted(set(re.findall(r"[A-Za-z_][A-Za-z0-9_]*", re.sub(r'"[^"\n]*"|#[^\n]*', "", text))))


# ---- from shipped specs ----

@lru_cache(maxsize=32)
def _places(language: str, text: str) -> dict[str, list[tuple[int, int]]]:
    """Where the subtrees of a text lie, by what they could be exchanged with."""
    out: dict[str, list[tuple[int, int]]] = {}
    from entryc.source.parse import parse
    from entryc.source.text import SourceFile
    tree: Tree[Any] = parse(language, SourceFile("base", text))
    steps = {str(c.data) for body in tree.find_data("body") for c in body.children if isinstance(c, Tree)}
    items = {str(c.data) for c in tree.children if isinstance(c, Tree)}
    for node in tree.iter_subtrees():
        if node.meta.empty or node is tree:
            continue
        kind = str(node.data)
        kind = "expr" if kind in KINDS["expr"] else "step" if kind in steps else "item" if kind in items else kind
        out.setdefault(kind, []).append((node.meta.start_pos, node.meta.end_pos))
    return out


def mutated(chance: random.Random, language: str, texts: dict[str, str], times: int | None = None) -> str:
    """One of the texts with a few changes."""
    name = chance.choice(sorted(texts))
    text, whole = texts[name], True
    pool = names_of(text)
    for _ in range(times or chance.choice((1, 1, 1, 2, 2, 3, 5, 9))):
        change = chance.choice(CHANGES)
        if change is _subtree:
            if not whole:
                continue
            text = _subtree(chance, language, text, texts, pool)
        else:
            text = change(chance, text, pool)
        whole = False                   # what was changed may not be in the language any more
    return text


def _split(text: str) -> list[str]:
    return TOKEN.findall(text)


def _tokens(chance: random.Random, text: str, pool: list[str]) -> str:
    parts = _split(text)
    solid = [i for i, part in enumerate(parts) if part.strip() and not part.startswith("#")]
    if not solid:
        return text
    at, other = chance.choice(solid), chance.choice(solid)
    way = chance.randrange(5)
    if way == 0:
        parts[at] = ""
    elif way == 1:
        parts[at] += " " + parts[at]
    elif way == 2:
        parts[at], parts[other] = parts[other], parts[at]
    elif way == 3:
        parts[at] = parts[other]
    else:
        parts[at] = chance.choice(pool)
    return "".join(parts)


def _names(chance: random.Random, text: str, pool: list[str]) -> str:
    """A name by another one: the text stays in the language."""
    parts = _split(text)
    names = [i for i, part in enumerate(parts) if part[0].isalpha() or part[0] == "_"]
    if not names:
        return text
    parts[chance.choice(names)] = chance.choice(pool)
    return "".join(parts)


def _lines(chance: random.Random, text: str, pool: list[str]) -> str:
    lines = text.split("\n")
    at, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    way = chance.randrange(4)
    if way == 0:
        del lines[at:at + chance.choice((1, 1, 2, 5))]
    elif way == 1:
        lines.insert(other, lines[at])
    elif way == 2:
        lines[at], lines[other] = lines[other], lines[at]
    else:
        lines[at] = lines[other]
    return "\n".join(lines)


def _numbers(chance: random.Random, text: str, pool: list[str]) -> str:
    parts = _split(text)
    numbers = [i for i, part in enumerate(parts) if part[0].isdigit()]
    if not numbers:
        return text
    parts[chance.choice(numbers)] = chance.choice(NUMBERS)
    return "".join(parts)


def _strings(chance: random.Random, text: str, pool: list[str]) -> str:
    parts = _split(text)
    strings = [i for i, part in enumerate(parts) if part[0] == '"']
    if not strings:
        return text
    parts[chance.choice(strings)] = '"' + chance.choice(HOSTILE) + '"'
    return "".join(parts)


def _characters(chance: random.Random, text: str, pool: list[str]) -> str:
    at = chance.randrange(len(text) + 1)
    return text[:at] + chance.choice(("", *HOSTILE, '"', "\0", "\n")) + text[at + chance.randrange(3):]


def _subtree(chance: random.Random, language: str, text: str, texts: dict[str, str], pool: list[str]) -> str:
    """A subtree in the place of another of its kind, from any of the texts or made from the grammar."""
    places = _places(language, text)
    kind = chance.choice(sorted(places))
    start, end = chance.choice(places[kind])
    if chance.random() < 0.4:
        rules = grammar(language).rules
        made = grammar(language).text(chance, kind if kind in rules else chance.choice(sorted(rules)), pool)
        return text[:start] + made + text[end:]
    donor = texts[chance.choice(sorted(texts))] if chance.random() < 0.3 else text
    choices = _places(language, donor).get(kind, [(start, end)])
    low, high = chance.choice(choices)
    return text[:start] + donor[low:high] + text[end:]


CHANGES = (_tokens, _names, _names, _lines, _lines, _numbers, _strings, _characters, _subtree, _subtree, _subtree)
