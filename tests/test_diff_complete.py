"""Nothing of the model escapes a comparison: every attribute of every class has its row in the table, and a change of it gives a row.

And of the text: deleting any statement of the largest spec is refused, or gives a row that is more than cosmetic.
"""

from __future__ import annotations

import copy
import dataclasses
import re
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, SPECS
from entryc.diff.result import compared
from entryc.diff.rules import CATEGORIES, KINDS, LEVELS, RULES
from entryc.diff.table import KEY, TABLE
from entryc.model import inline, spec, steps, surroundings
from entryc.model.arch import Event
from entryc.model.build import load_spec
from entryc.model.expr import Expr, Num
from entryc.model.spec import Spec
from entryc.resources import grammar_text
from entryc.source.finding import Findings
from entryc.source.parse import parse
from entryc.source.text import SourceFile, Span
from lark import Tree

MODULES = (spec, steps, surroundings, inline)
BASES = {steps.Step, inline.OpStep}             # never made themselves
SHADOWED = 'language 1; arch x86_64; target bare; license "MIT"; shadow_stacks\n' + \
    "frame regs { gprs; vector = number; error = error_code else 0; hardware }\n" + \
    "vectors 0..255 { df = 0; save regs; call trap(regs); restore all; return iretq }\n"
LOADED = ("x86_64", "arm64", "linux/x86_64-6.12")
# Attributes that no shipped spec can show changed by themselves, with the reason.
TOGETHER = {
    ("Path", "numbers"): "it is the key of the entry point, with the event",
    ("Spec", "shadow_stacks"): "test_shadow_stacks_are_compared",
    ("Path", "kind"): "a path of another kind is another path",
    ("Path", "event"): "it is the key of the entry point",
}


def classes() -> list[type]:
    return [c for m in MODULES for c in vars(m).values()
            if isinstance(c, type) and dataclasses.is_dataclass(c) and c.__module__ == m.__name__ and c not in BASES]


def attributes() -> list[tuple[type, str]]:
    return [(c, f.name) for c in classes() for f in dataclasses.fields(c)]


def test_shadow_stacks_are_compared(tmp_path: Path) -> None:
    """The one attribute that is a place in the text and a guard at once."""
    files = tmp_path / "old.entry", tmp_path / "new.entry"
    for file, text in zip(files, (SHADOWED, SHADOWED.replace("; shadow_stacks", "")), strict=True):
        file.write_text(text)
    assert [(r.rule.code, r.kind, r.level) for r in compared(*map(load_spec, files)).rows] == [("D030", "removed", "breaking")]


def test_every_attribute_has_its_row() -> None:
    wanted = {(c, name) for c, name in attributes()}
    assert wanted == {(c, name) for c, shape in TABLE.items() for name in shape.parts}


@pytest.mark.parametrize("shape", TABLE.values(), ids=[c.__name__ for c in TABLE])
def test_every_row_has_a_rule_or_a_reason(shape: Any) -> None:
    for name, part in shape.parts.items():
        assert part.reason if part.how == "skip" else part.rule in ("", *RULES), name


def test_every_rule_is_used() -> None:
    """A rule that no row of the table has is a rule that is never told."""
    text = "".join((ROOT / "compiler" / "entryc" / "diff" / name).read_text() for name in ("table.py", "parts.py", "across.py"))
    assert set(RULES) - set(re.findall(r'"(D\d{3})"', text)) == set()


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_rules_weigh(rule: Any) -> None:
    assert rule.category in CATEGORIES
    assert set(rule.levels) <= set(KINDS)
    assert all(rule.weigh(kind)[1] in LEVELS for kind in KINDS)
    assert rule.purpose.endswith(".")


# ---- every attribute, changed ----

_SPECS: dict[str, Spec] = {}


def loaded(name: str) -> Spec:
    if name not in _SPECS:
        _SPECS[name] = load_spec(SPECS / f"{name}.entry")
    return _SPECS[name]


def objects(value: Any, seen: set[int]) -> Iterator[Any]:
    """All objects of model classes below a value."""
    if id(value) in seen or isinstance(value, (str, int, Expr, Span, SourceFile, Event)) or value is None:
        return
    seen.add(id(value))
    if type(value) in TABLE:
        yield value
        for f in dataclasses.fields(value):
            if f.name not in ("arch", "source", "span"):
                yield from objects(getattr(value, f.name), seen)
    elif isinstance(value, dict):
        for v in value.values():
            yield from objects(v, seen)
    elif isinstance(value, (list, tuple, frozenset)):
        for v in value:
            yield from objects(v, seen)


def changes(value: Any, annotation: Any) -> list[Any]:
    """Other values of the same type; none when this instance does not lend itself to it."""
    options = [a for a in typing.get_args(annotation) if a is not types.NoneType]
    optional = types.NoneType in typing.get_args(annotation)
    out: list[Any] = [None] if optional and value is not None else []
    if value is None:
        return [{str: "new", int: 7, bool: False, Expr: Num(7)}[options[0]]] if options[0] in (str, int, bool, Expr) else []
    if isinstance(value, bool):
        out.append(not value)
    elif isinstance(value, int):
        out.append(value + 8)
    elif isinstance(value, str):
        out.append(value + "_other")
    elif isinstance(value, Expr):
        out.append(Num(0x123456))
    elif isinstance(value, frozenset):
        out.append(value | {("NEW_FEATURE", True)} if not value or isinstance(next(iter(value)), tuple) else frozenset(list(value)[1:]))
    elif isinstance(value, dict):
        out += [dict(list(value.items())[:-1])] if value else []
    elif isinstance(value, (list, tuple)) and not optional:
        out += [value[:-1], value[1:]] if value else [("new",)] if "tuple[str, ...]" in str(annotation) else []
    elif isinstance(value, tuple):
        out.append((f"{value[0]}_other", *value[1:]))
    elif dataclasses.is_dataclass(value):
        out += [dataclasses.replace(value, **{f.name: getattr(value, f.name) + "_other"}) for f in dataclasses.fields(value)  # type: ignore[type-var]
                if isinstance(getattr(value, f.name), str)][:1]
    return out


def mutants(cls: type, name: str) -> Iterator[tuple[Spec, Spec]]:
    """(a spec, the same with the attribute of one object changed), over the shipped specs."""
    annotation = typing.get_type_hints(cls).get(name)
    for which in LOADED:
        old = loaded(which)
        tried = 0
        for index, found in enumerate(o for o in objects(old, set()) if type(o) is cls):
            for other in changes(getattr(found, name), annotation):
                new = copy.deepcopy(old, {id(old.arch): old.arch, id(old.source): old.source})
                twin = [o for o in objects(new, set()) if type(o) is cls][index]
                object.__setattr__(twin, name, other)
                yield old, new
                tried += 1
            if tried > 20:
                break


CHANGED = [(c, n) for c, n in attributes() if (c.__name__, n) not in TOGETHER and c is not steps.Unsupported and (
    TABLE[c].parts[n].how != "skip" or TABLE[c].parts[n] is KEY)]


@pytest.mark.parametrize(("cls", "name"), CHANGED, ids=[f"{c.__name__}.{n}" for c, n in CHANGED])
def test_a_change_gives_a_row(cls: type, name: str) -> None:
    tried = 0
    for old, new in mutants(cls, name):
        tried += 1
        rows = compared(old, new).rows
        if rows:
            assert all(r.rule.code in RULES for r in rows)
            return
    raise AssertionError(f"{tried} changes of {cls.__name__}.{name} gave no row")


# ---- every statement, deleted ----

def statement_rules() -> set[str]:
    """The grammar's rules that stand in lists: what an author writes one by one."""
    grammar = grammar_text("entry")
    bodies = {m[1]: m[2] for m in re.finditer(r"^\??(\w+): ((?:.|\n {4})*)$", grammar, re.M)}
    out = set(re.findall(r"\(?(\w+) \((?:_SEP|_COMMA|\(_COMMA \| _SEP\)) \1\)\*", grammar))
    for name in list(out):
        body = bodies.get(name, "")
        if re.search(rf"^\?{name}:", grammar, re.M):
            out |= set(re.findall(r"\b([a-z_]+)\b", body))
        out |= set(re.findall(r"-> (\w+)", body))
    for name in list(out):
        out |= set(re.findall(r"-> (\w+)", bodies.get(name, "")))
    return out - {"expr", "name", "args"}


def statements(path: Path) -> list[tuple[str, int, int]]:
    """(rule, first character, last character) of each statement of a spec."""
    wanted = statement_rules()
    tree = parse("entry", SourceFile.read(path))
    rows = {(str(t.data), t.meta.start_pos, t.meta.end_pos) for t in tree.iter_subtrees() if isinstance(t, Tree) and str(t.data) in wanted and not t.meta.empty}
    return sorted(rows, key=lambda r: (r[1], -r[2]))


def test_deleting_any_statement_is_noticed(tmp_path: Path) -> None:
    source = SPECS / "x86_64.entry"
    text, old = source.read_text(), loaded("x86_64")
    rows = statements(source)
    assert len(rows) > 700
    file = tmp_path / "x86_64.entry"
    refused = told = 0
    silent = []
    for rule, start, end in rows:
        head, tail = text[:start], text[end:]
        comma = re.match(r"\s*,", tail)
        if comma:                               # one of several on a line
            tail = tail[comma.end():]
        elif head.rstrip().endswith(","):
            head = head.rstrip()[:-1]
        file.write_text(head + tail)
        try:
            new = load_spec(file)
        except Findings:
            refused += 1
            continue
        except Exception as problem:
            raise AssertionError(f"without {text[start:end]!r} the compiler breaks: {problem!r}") from problem
        if any(r.category != "cosmetic" for r in compared(old, new).rows):
            told += 1
        else:
            silent.append((rule, text[start:end]))
    assert silent == []
    assert refused > 100 and told > 100
