"""CPU descriptions: the shipped ones are right where it can be checked, and each rule of the loader shows itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import SPECS
from entryc import resources
from entryc.driver.explain import codes as errors
from entryc.model import build, files
from entryc.model.load_arch import load_arch, read_arch
from entryc.source.finding import Findings
from entryc.source.parse import build_parser

ARM = (SPECS / "arch" / "arm64.arch").read_text()


def codes(text: str, folder: Path) -> set[str]:
    path = folder / "case.arch"
    path.write_text(text)
    try:
        read_arch(path)
    except Findings as stop:
        return {f.code for f in stop.findings}
    return set()


MORE = [
    ("E106", "    link x30", "    link 30"),
    ("E113", "register sp stack { 64 sp; dwarf 31 }", "register sp stack { 64 sp; dwarf 31; bit HIGH 3 .. 64 }"),
    ("E113", "register sp stack { 64 sp; dwarf 31 }", "register sp stack { 64 sp; dwarf 31; bit TURNED 5 .. 3 }"),
    ("E107", "form str(s: gpr", "form str(s: s65"),
    ("E010", "word 64 little", "word 18446744073709551616 little"),
    ("E012", "word 64 little", "word 064 little"),
]


@pytest.mark.parametrize(("code", "old", "new"), [(c.code, *c.arch) for c in errors().values() if c.arch] + MORE)
def test_rule(code: str, old: str, new: str, tmp_path: Path) -> None:
    assert old in ARM
    assert code in codes(ARM.replace(old, new, 1), tmp_path)


def test_shipped_files_have_no_finding(tmp_path: Path) -> None:
    assert codes(ARM, tmp_path) == set()


def test_error_codes_of_x86() -> None:
    """SDM 3A table 6-1, and #VC and #SX of AMD: the vectors that push an error code."""
    assert load_arch("x86_64").events["vector"].error_numbers == {8, 10, 11, 12, 13, 14, 17, 21, 29, 30}


def test_every_form_has_a_manual_section() -> None:
    for name in resources.arch_names():
        assert all(form.manual for form in load_arch(name).forms.values())


@pytest.mark.parametrize("language", ["entry", "arch"])
def test_grammar_has_no_conflict(language: str) -> None:
    build_parser(resources.grammar_text(language), strict=True)


def test_too_many_items(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_ITEMS", 4)
    with pytest.raises(Findings) as stop:
        build.load_spec(SPECS / "unikernel.entry")
    assert stop.value.findings[0].code == "E004"
