"""Before and after: an edit of a shipped spec, and the rows that it has to give, both ways.

A case is a name (`=== name`), the edits (`- text` with the `+ text` that stands in its place; several lines are one text; `-*` for every place), a base
other than the small spec (`base NAME`), and the rows (`> row`). `pytest --update` writes the rows anew.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import SPECS
from entryc.diff.compare import Row, mirrored
from entryc.diff.render import whole
from entryc.diff.result import Comparison, as_data, compared
from entryc.model.build import load_spec
from entryc.source.parse import parse
from entryc.source.text import SourceFile
from lark import Tree

FOLDER = Path(__file__).parent / "diff"


class Case:
    def __init__(self, file: Path, text: str) -> None:
        self.file = file
        self.name, *lines = text.rstrip("\n").split("\n")
        self.base = "x86_64-small"
        self.edits: list[tuple[list[str], list[str], bool]] = []
        self.rows = [line[2:] for line in lines if line.startswith("> ")]
        self.body = [line for line in lines if not line.startswith("> ")]
        last = ""
        for line in self.body:
            if line.startswith("base "):
                self.base = line[5:]
            elif line.startswith("-"):
                every = line.startswith("-*")
                if last != "-":
                    self.edits.append(([], [], every))
                self.edits[-1][0].append(line[3 if every else 2:])
            elif line.startswith("+"):
                self.edits[-1][1].append(line[2:])
            else:
                raise AssertionError(f"{file.name}: {self.name}: {line!r} has no meaning")
            last = line[:1]

    def edited(self, text: str) -> str:
        """The base after the edits. Each has to fit, and in one place unless it is for all."""
        for old, new, every in self.edits:
            pattern = r"\s+".join(r"\s+".join(map(re.escape, line.split())) for line in old)
            pattern = (r"(?<!\w)" if old[0].lstrip()[:1].isalnum() else "") + pattern + (r"(?!\w)" if old[-1].rstrip()[-1:].isalnum() else "")
            found = len(re.findall(pattern, text))
            assert found == 1 or (every and found > 1), f"{self.name}: {old} fits {found} times"
            text = re.sub(pattern, lambda _, new=new: "\n".join(new), text)
        return text

    def run(self, folder: Path) -> tuple[Comparison, Comparison]:
        base = (SPECS / f"{self.base}.entry").read_text()
        paths = folder / "old.entry", folder / "new.entry"
        paths[0].write_text(base)
        paths[1].write_text(self.edited(base))
        old, new = (load_spec(p, p.name) for p in paths)
        return compared(old, new), compared(new, old)


def cases() -> list[Case]:
    return [Case(file, chunk) for file in sorted(FOLDER.glob("*.cases")) for chunk in re.split(r"^=== ", file.read_text(), flags=re.M)[1:]]


def lines(c: Comparison) -> list[str]:
    """A row as a case has it, notes below."""
    out = []
    for row in as_data(c)["rows"]:
        out.append(f"{row['level']} {row['category']} {row['rule']} {whole(row)}")
        out += [f"    {note}" for note in row["notes"]]
    return out


@pytest.mark.parametrize("case", cases(), ids=lambda c: f"{c.file.stem}:{c.name}")
def test_rows(case: Case, tmp_path: Path, update: bool) -> None:
    there, back = case.run(tmp_path)
    if update:
        chunk = "\n".join([f"=== {case.name}", *case.body])
        text = case.file.read_text()
        start = text.index(f"=== {case.name}\n")
        following = text.find("\n=== ", start)
        case.file.write_text(text[:start] + chunk + "".join(f"\n> {line}" for line in lines(there)) + (text[following:] if following >= 0 else "\n"))
        return
    assert lines(there) == case.rows

    def bare(row: Row) -> tuple[object, ...]:
        return row.rule.code, row.kind, row.places, row.what.split(": ")[0], row.old, row.new
    ahead, backward = sorted(map(repr, map(bare, map(mirrored, there.rows)))), sorted(map(repr, map(bare, back.rows)))
    assert ahead == backward, "the way back is not the mirror of the way there"


def test_there_are_enough_cases() -> None:
    assert len(cases()) >= 60
    assert len({c.name for c in cases()}) == len(cases())


SHIPPED = sorted(p for p in SPECS.rglob("*.entry") if p.parent.name != "parts")


def items(path: Path) -> list[str]:
    """The text of each item of a spec, the items of used files in their place."""
    file = SourceFile.read(path)
    out: list[str] = []
    for node in parse("entry", file).children:
        assert isinstance(node, Tree)
        text = file.text[node.meta.start_pos:node.meta.end_pos]
        out += items(path.parent / text.split('"')[1]) if node.data == "use" else [text]
    return out


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_text_gives_no_row(path: Path, tmp_path: Path) -> None:
    """Comments, blank lines, indentation, and text that has moved to another file."""
    old = load_spec(path)
    assert compared(old, load_spec(path)).rows == []
    rows = items(path)
    assert len(rows) >= 4 or path.stem == "unikernel"
    (tmp_path / path.name).write_text("# other\n\n" + "\n# words\n\n".join(r.replace("\n", "   # said so\n\t\t") for r in rows) + "\n")
    assert compared(old, load_spec(tmp_path / path.name)).rows == []
    front = [r for r in rows if r.split()[0] in ("language", "arch", "target", "license")]
    rest = [r for r in rows if r not in front]
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.entry").write_text("\n".join(rest[len(rest) // 2:]) + "\n")
    (tmp_path / path.name).write_text("\n".join([*front, *rest[:len(rest) // 2], 'use "deep/b.entry"']) + "\n")
    assert compared(old, load_spec(tmp_path / path.name)).rows == []
