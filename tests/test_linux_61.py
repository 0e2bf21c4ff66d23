"""Linux 6.1 with the code of SYSCALL made from the same spec: its objects are proved. .ci/lab boots it."""

from __future__ import annotations

from functools import lru_cache

import pytest
from conftest import SPECS, kernel
from entryc.cli import main
from entryc.image.elf import read_binary
from entryc.model.build import load_spec
from entryc.model.spec import Spec
from entryc.prove.verify import Report, verify
from linux_paths import executable, total

SPEC = SPECS / "linux" / "x86_64.entry"
FILES = ("entry_64.o", "entry_64_compat.o", "retpoline.o")
CONFIGURATIONS = ("none", "pti", "pti_pcid", "intel", "amd")
# One entry point of each kind; .ci/lab proves all.
NEAR = ("entry_SYSCALL_64", "entry_SYSCALL_compat", "entry_SYSENTER_compat", "asm_exc_page_fault", "asm_exc_int3", "asm_exc_debug", "vector_32", "vector_236")


@lru_cache(maxsize=2)
def spec(version: str) -> Spec:
    out = load_spec(SPEC, version=version)
    for name in [p.name for p in out.of_kind("entry") if p.name not in NEAR]:
        del out.paths[name]
    return out


def proved(variant: str, name: str, version: str = "6.1") -> Report:
    read = spec(version)
    low = frozenset(c.symbol for m in read.memories.values() if m.base for c in m.cells.values() if c.symbol)
    binary = read_binary(read.arch, [kernel(variant) / file for file in FILES], low)
    numbers = (read.features[f].number for f in read.configurations[name].features)
    return verify(read, binary.image(frozenset(n for n in numbers if n is not None)), read.configurations[name])


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_proved(name: str) -> None:
    """Generated code and what stays, hand-written, around it."""
    report = proved("patched-6.1", name)
    assert report.green, report.summary()
    assert {v.claim.stub.partition(" ")[0] for v in report.verdicts} >= {*NEAR} - {"vector_236"} and len(report.verdicts) > 2500


def test_stock_code_is_refuted() -> None:
    """Stock 6.1 decides in assembly, and C says nothing; all other paths are the same."""
    report = proved("small-6.1", "none")
    assert {v.claim.stub for v in report.verdicts if v.verdict != "proved"} == {"entry_SYSCALL_64"}


def test_executable_bytes() -> None:
    """C takes more than it took, assembly less: not more in all."""
    stock, patched = (total(executable(kernel(variant))) for variant in ("small-6.1", "patched-6.1"))
    assert 0 < patched <= stock


def test_the_wrong_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    objects = [f"--object={kernel('patched-6.1') / name}" for name in FILES]
    assert main(["verify", str(SPEC), "--configuration", "none", *objects]) == 1
    said = capsys.readouterr()
    assert "the spec was read for version 6.12; for another one: --for 6.1" in said.out and "cpu_current_top_of_stack" in said.err
    assert main(["verify", str(SPEC), "--for", "6.2", *objects]) == 1
    assert "the spec names no version 6.2" in capsys.readouterr().err
