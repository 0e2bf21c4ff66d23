"""What tests share: shipped specs, a small x86 spec that proves quickly, images from lines."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Generator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from entryc.assemble import second
from entryc.driver.assembled import BASE, externs
from entryc.emit.asm import flat_lines
from entryc.image.image import Image
from entryc.model.build import load_spec
from entryc.model.spec import Configuration, Spec
from entryc.plan.code import Code

ROOT = Path(__file__).parent.parent
SPECS = ROOT / "specs"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update", action="store_true", help="rewrite out/ from the specs instead of comparing")


@lru_cache(maxsize=16)
def kernel(variant: str) -> Path:
    """The folder with the objects of a variant of Linux, built if need be."""
    done = subprocess.run([str(ROOT / ".ci" / "kernel"), variant], capture_output=True, text=True, check=False,
                          env={**os.environ, "ENTRYC_PYTHON": sys.executable})
    assert done.returncode == 0, done.stdout + done.stderr
    return Path(done.stdout.splitlines()[-1].split(" ", 1)[1])


@lru_cache(maxsize=2)
def kernel_source(version: str) -> Path:
    """An unpacked kernel, as its package has it."""
    done = subprocess.run([str(ROOT / ".ci" / "kernel"), "--source", version], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return Path(done.stdout.splitlines()[-1])


@pytest.fixture
def update(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update"))


def spec_file(name: str) -> Path:
    """The spec that most tests of a CPU use: the small one, where there are two."""
    return SPECS / ("x86_64-small.entry" if name == "x86_64" else f"{name}.entry")


def small_x86(folder: Path) -> Spec:
    """The shipped x86-64 spec with three vectors: one with an error code, two without."""
    text = spec_file("x86_64").read_text()
    assert "vectors 0..255 raised by user 3 4 {" in text
    path = folder / "small.entry"
    path.write_text(text.replace("vectors 0..255 raised by user 3 4 {", "vectors 7..9 raised by user 9 {"))
    return load_spec(path, "small.entry")


def assemble(spec: Spec, code: Code, configuration: Configuration, edit: Callable[[list[str]], list[str]] | None = None) -> Image:
    """Linked bytes of the flat form, after an edit of its lines."""
    lines = flat_lines(spec, code, configuration)
    tool = second.assemblers(spec.arch)[0]
    done, image = second.assemble_flat(spec.arch, tool, edit(lines) if edit else lines, BASE, externs(code))
    assert image is not None, done.error
    return image


@pytest.fixture(autouse=True)
def no_mistake_of_entryc(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last resort of the command line is a bug that was found: here it is shown, and the test fails."""
    def fail(problem: Exception) -> int:
        raise AssertionError("the last resort of the command line was reached") from problem
    monkeypatch.setattr("entryc.cli.internal", fail)
    monkeypatch.setenv("ENTRYC_DEBUG", "1")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, None]:
    """What cannot run is an error, not a skip: a missing tool must not look like a passed test."""
    outcome = yield
    report = outcome.get_result()
    if report.skipped:
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} cannot run here: {report.longrepr}"
