"""Tiny bad specs beyond the example that each code has in the table of errors (test_explain.py). The expected finding stands at the end of the line
that it points to: `### E203 message`.

`=== name` lines separate cases; a line that starts with one of the table's macros stands for a common line. Every finding has to be
expected, and every expected one has to come.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from entryc.driver.explain import expanded, marks, plain
from entryc.model.build import load_spec
from entryc.plan.plan import plan_spec
from entryc.source.finding import Finding, Findings

FOLDER = Path(__file__).parent / "rules"

def cases() -> list[tuple[str, str]]:
    out = []
    for file in sorted(FOLDER.glob("*.cases")):
        for chunk in re.split(r"^=== ", file.read_text(), flags=re.M)[1:]:
            name, _, text = chunk.partition("\n")
            out.append((f"{file.stem}:{name.strip()}", text))
    return out


def findings_of(path: Path) -> list[Finding]:
    try:
        plan_spec(load_spec(path))
    except Findings as stop:
        return stop.findings
    return []


@pytest.mark.parametrize(("name", "text"), cases(), ids=[c[0] for c in cases()])
def test_rule(name: str, text: str, tmp_path: Path) -> None:
    text = expanded(text)
    wanted = marks(text)
    assert wanted, "a case without an expected finding proves nothing"
    spec = tmp_path / "case.entry"
    spec.write_text(plain(text))
    got = [(f.span.line if f.span else 0, f.code, f.message) for f in findings_of(spec)]
    for row in wanted:
        assert any(g[0] == row[0] and g[1] == row[1] and row[2] in g[2] for g in got), f"missing {row}; got {got}"
    extra = [g for g in got if not any(g[0] == w[0] and g[1] == w[1] for w in wanted)]
    assert not extra, f"not expected: {extra}"
