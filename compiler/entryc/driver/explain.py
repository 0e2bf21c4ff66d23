"""`entryc explain`: every code with its cause, an example that is run, and the cure. One table, codes.toml; docs/errors.md is made from it."""

from __future__ import annotations

import difflib
import re
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ..diff.rules import RULES, Rule
from ..model.build import load_spec
from ..plan.plan import plan_spec
from ..source.finding import Collector, Finding, Findings, printable, render_text
from .render import render

TABLE = Path(__file__).resolve().parent.parent / "codes.toml"
NAME = "example.entry"
MARK = re.compile(r"### ([A-Z]\d{3}) (.*?)(?= ###|$)")
GROUPS = (("E001", "Text and files"), ("E101", "CPU descriptions (.arch files)"), ("E201", "Names and declarations"), ("E230", "Entry points and steps"),
          ("E250", "C that the spec describes"), ("E270", "What the spec means"), ("E310", "The order of steps"), ("E350", "Paths together"),
          ("E370", "Patches"), ("E401", "Commands and files"), ("E412", "Objects and images"), ("E430", "Compiled C"), ("E501", "C that is made"),
          ("A301", "Assembling"), ("D201", "The bytes of the code"), ("P101", "Proofs"))


@dataclass(frozen=True)
class Code:
    """What is known of an error: `example` has its marks, `mend` pairs of text that cure it; or one of arch, command, situation says where it comes from."""

    code: str
    cause: str
    cure: str
    example: str | None = None
    mend: tuple[tuple[str, str], ...] = ()
    arch: tuple[str, str] | None = None
    command: str | None = None
    situation: str | None = None

    @property
    def spec(self) -> str:
        """The example as a spec, without the marks."""
        return plain(expanded(self.example or ""))

    @property
    def mended(self) -> str:
        """The example after the cure. Raises ValueError when a part of it is not in the example."""
        text = plain(self.example or "")
        for old, new in self.mend:
            if old not in text:
                raise ValueError(f"{self.code}: {old!r} is not in the example")
            text = text.replace(old, new, 1)
        return expanded(text)


@lru_cache(maxsize=1)
def _table() -> tuple[dict[str, str], dict[str, Code]]:
    data = tomllib.loads(TABLE.read_text("utf-8"))
    macros = data.pop("macros")
    codes = {}
    for code, row in data.items():
        arch = row.pop("arch", None)
        codes[code] = Code(code, **{**row, "mend": tuple((a, b) for a, b in row.get("mend", ()))}, arch=tuple(arch) if arch else None)
    return macros, codes


def codes() -> dict[str, Code]:
    """The table: code -> what is known of it."""
    return _table()[1]


def expanded(text: str) -> str:
    """A spec in which lines that start with %NAME are the common lines of the table."""
    macros = _table()[0]
    lines = []
    for line in text.split("\n"):
        word = line.split(" ")[0]
        lines.append(macros[word[1:]] + line[len(word):] if word[:1] == "%" and word[1:] in macros else line)
    return "\n".join(lines)


def marks(text: str) -> list[tuple[int, str, str]]:
    """(line, code, words) of each ### mark."""
    return [(number, m[1], m[2].strip()) for number, line in enumerate(text.split("\n"), 1) for m in MARK.finditer(line)]


def plain(text: str) -> str:
    """A spec without its ### marks."""
    return "\n".join(line.split("###")[0].rstrip() for line in text.split("\n"))


def findings_of(text: str) -> list[Finding]:
    """What entryc check says of a spec."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / NAME
        path.write_text(text, "utf-8")
        try:
            spec = load_spec(path, NAME)
            collector = Collector()
            if spec.target == "bare":
                render(spec, plan_spec(spec, collector))
            return collector.findings
        except Findings as stop:
            return stop.findings


def changed(row: Code) -> Iterator[str]:
    """The lines that the cure changes, as a diff without its head."""
    lines = difflib.unified_diff(row.spec.rstrip("\n").split("\n"), row.mended.rstrip("\n").split("\n"), n=0, lineterm="")
    return (line for line in lines if not line.startswith(("---", "+++", "@@")))


def explained(row: Code) -> str:
    """`entryc explain E316`."""
    out = [f"{row.code}", "", row.cause, row.cure]
    if row.example is not None:
        found = [f for f in findings_of(row.spec) if f.code == row.code]
        out += ["", "for example:", "", *(f"    {line}" for line in row.spec.rstrip("\n").split("\n")),
                "", *(f"    {line}" for line in render_text(found[:1]).rstrip("\n").split("\n")), "", "mended:", "", *(f"    {line}" for line in changed(row))]
    elif row.arch is not None:
        old, new = (" … ".join(part.strip() for part in text.split("\n") if part.strip()) for text in row.arch)
        out += ["", f"for example, in an .arch file: {new or '(nothing)'}", f"mended: {old}"]
    elif row.command is not None:
        out += ["", f"for example: {row.command}"]
    else:
        out += ["", f"for example: {row.situation}"]
    return "\n".join(out) + "\n"


def rule_explained(rule: Rule) -> str:
    from ..diff.render import explained as text
    return text(rule)


def _short(text: str) -> str:
    return re.split(r"(?<=[.?])\s", text, maxsplit=1)[0].rstrip(".")


def listed() -> str:
    """`entryc explain`: all codes."""
    heads = dict(GROUPS)
    out: list[str] = []
    for code, row in codes().items():
        if code in heads:
            out += ["", f"{heads[code]}:"]
        out.append(f"  {code}  {_short(row.cause)}")
    out += ["", "Rules of diff:", *(f"  {r.code}  {r.title}" for r in RULES.values()), "", "entryc explain CODE says more."]
    return "\n".join(out[1:]) + "\n"


def page() -> str:
    """docs/errors.md."""
    heads = dict(GROUPS)
    out = ["# Errors", "",
           "Every code that `entryc` reports: why it is an error, a small example with the message that it gives, and the cure.",
           "`entryc explain CODE` prints the same. A line with `-` and one with `+` is what the cure changes.",
           "This page is made from `compiler/entryc/codes.toml`, and each example on it is run by the tests.", ""]
    for code, row in codes().items():
        if code in heads:
            out += [f"## {heads[code]}", ""]
        body = explained(row).split("\n")
        out += [f"### {code}", "", f"{row.cause} {row.cure}", "", *_markdown(body[4:]), ""]
    out += ["## Differences (entryc diff)", "", "`entryc diff --rules` says how each kind of difference weighs.", "",
            "| rule | what differs | why it matters |", "|---|---|---|",
            *(f"| {r.code} | {r.title} | {r.purpose} |" for r in RULES.values())]
    return "\n".join(out) + "\n"


def _markdown(lines: list[str]) -> list[str]:
    """The example of an explanation: code stays indented, one-line examples become code."""
    out = []
    for line in lines:
        head, colon, rest = line.partition(": ")
        out.append(f"{head}: `{rest}`" if colon and head in ("for example", "for example, in an .arch file", "mended") else line)
    while out and not out[-1]:
        out.pop()
    return out[1:] if out and not out[0] else out


def _apart(one: str, other: str) -> float:
    """How far apart two codes are, as typing mistakes go: exchanged digits least, then other digits."""
    return abs(len(one) - len(other)) + sum(a != b for a, b in zip(one, other, strict=False)) - 1.5 * (sorted(one) == sorted(other))


def explain(code: str | None) -> int:
    """`entryc explain [CODE]`; the exit status."""
    if code is None:
        sys.stdout.write(listed())
        return 0
    name = code.upper()
    row = codes().get(name)
    if row is not None:
        sys.stdout.write(explained(row))
        return 0
    if name in RULES:
        sys.stdout.write(rule_explained(RULES[name]))
        return 0
    near = ", ".join(sorted([*codes(), *RULES], key=lambda known: (_apart(name, known), known))[:3])
    print(f"entryc: there is no code '{printable(code)}'; near it: {near}; entryc explain lists all", file=sys.stderr)
    return 2
