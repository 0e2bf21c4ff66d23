"""A spec that is read for one version of a kernel means what a spec for that version alone would mean."""

from __future__ import annotations

from pathlib import Path

import pytest
from entryc.cli import main
from entryc.model.build import load_spec
from entryc.model.digest import model_digest

HEAD = 'language 1; arch x86_64; target linux; license "GPL-2.0"\nfeature SMAP : build\n'
BOTH = HEAD + """
version NEW "6.12"
version OLD "6.1"
if NEW { const TOP = 24 } else { const TOP = 0; use "old.entry" }
memory percpu at gs_base {
    top : word at hot + TOP if NEW
    top : word at top_of_stack if OLD
    sp0 : word at tss
}
frame regs { gprs; vector = number else 0; error = error_code else 0; hardware }
method n by out {
    when regs.ip < 7 if NEW
    when regs.ip < 9 if not NEW
    when regs.cs == 3
}
method m by out
if OLD { choose u32 ch among n, m } else { choose ch among n, m }
exit out of regs to user { restore all; return iretq }
vectors 7..8 if NEW { if NEW { if OLD { ac = 0 } else { ac = 0 if SMAP; df = 0 } }; save regs; call trap(regs); exit out }
vectors 7..9 if not NEW { if NEW { ac = 0 } else { df = 0 }; if SMAP { if OLD { ac = 0 } }; save regs; call trap(regs); exit out }
"""
NEW = HEAD + """
const TOP = 24
memory percpu at gs_base { top : word at hot + TOP; sp0 : word at tss }
frame regs { gprs; vector = number else 0; error = error_code else 0; hardware }
method n by out { when regs.ip < 7; when regs.cs == 3 }
method m by out
choose ch among n, m
exit out of regs to user { restore all; return iretq }
vectors 7..8 { ac = 0 if SMAP; df = 0; save regs; call trap(regs); exit out }
"""
OLD = HEAD + """
const TOP = 0, MORE = 5
memory percpu at gs_base { top : word at top_of_stack; sp0 : word at tss }
frame regs { gprs; vector = number else 0; error = error_code else 0; hardware }
method n by out { when regs.ip < 9; when regs.cs == 3 }
method m by out
choose u32 ch among n, m
exit out of regs to user { restore all; return iretq }
vectors 7..9 { df = 0; if SMAP { ac = 0 }; save regs; call trap(regs); exit out }
"""


@pytest.fixture
def both(tmp_path: Path) -> Path:
    (tmp_path / "old.entry").write_text("const MORE = 5\n")
    (tmp_path / "case.entry").write_text(BOTH)
    return tmp_path / "case.entry"


@pytest.mark.parametrize(("version", "alone"), ((None, NEW), ("6.12", NEW), ("6.1", OLD)))
def test_same_as_written_for_it_alone(version: str | None, alone: str, both: Path, tmp_path: Path) -> None:
    (tmp_path / "alone.entry").write_text(alone)
    spec = load_spec(both, version=version)
    assert model_digest(spec) == model_digest(load_spec(tmp_path / "alone.entry"))
    assert spec.versions == ("6.12", "6.1") and spec.version == (version or "6.12")


def test_digests_differ(both: Path) -> None:
    assert model_digest(load_spec(both)) != model_digest(load_spec(both, version="6.1"))


def test_check_reads_all_versions(both: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both.write_text(BOTH.replace("when regs.ip < 9", "when regs.ipp < 9"))
    assert main(["check", str(both)]) == 1 and "ipp" in capsys.readouterr().err


def test_diff_of_an_older_version(both: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A change of one version is none of the other."""
    changed = tmp_path / "changed.entry"
    changed.write_text(BOTH.replace("when regs.ip < 9", "when regs.ip < 8"))
    for more, expected in (([], 0), (["--for", "6.1"], 1)):
        assert main(["diff", str(both), str(changed), "--fail-on", "any", *more]) == expected
    capsys.readouterr()
    assert main(["diff", str(both), str(changed), "--for", "6.2"]) == 2 and "names no version 6.2" in capsys.readouterr().err


def test_how_c_refuses_is_breaking_both_ways(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Code that looks at the answer in the old way takes the wrong method."""
    files = tmp_path / "index.entry", tmp_path / "refusal.entry"
    for file, how in zip(files, ("choose u32 ch among n, m", "choose u32 ch among n, m by refusal"), strict=True):
        file.write_text(OLD.replace("choose u32 ch among n, m", how))
    for old, new, change in ((*files, "no → yes"), (*reversed(files), "yes → no")):
        assert main(["diff", str(old), str(new), "--fail-on", "breaking"]) == 1
        rows = [line.split("  (")[0] for line in capsys.readouterr().out.splitlines() if " D1" in line]
        assert rows == [f"breaking   C ABI     D115  choice ch: gives 0 for the first: {change}"]
