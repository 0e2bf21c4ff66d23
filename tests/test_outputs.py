"""The committed outputs are what the specs give; outputs depend on nothing else; the layout command; generated C is clean."""

from __future__ import annotations

import pytest
from conftest import ROOT, SPECS
from entryc.driver import output
from entryc.driver.render import render
from entryc.model.build import load_spec
from entryc.plan.plan import plan_spec

NAMES = ("x86_64", "x86_64-small", "arm64")


def files_of(name: str) -> dict[str, str]:
    spec = load_spec(SPECS / f"{name}.entry")
    return render(spec, plan_spec(spec))


@pytest.mark.parametrize("name", NAMES)
def test_committed_outputs(name: str, update: bool) -> None:
    """Golden: the whole output. Rewrite with pytest --update, and review the diff."""
    files = files_of(name)
    folder = ROOT / "out" / name
    if update:
        output.write_all(folder, files)
    assert output.stale(folder, files) == []
    assert sorted(p.name for p in folder.iterdir()) == sorted(files)


def test_nothing_of_this_machine_in_the_outputs() -> None:
    for name in NAMES:
        for file, text in files_of(name).items():
            assert str(ROOT) not in text, file
            assert "20" + "26" not in text, f"{file}: a date"
