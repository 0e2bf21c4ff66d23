"""The kernel's own tests say the same on a stock kernel and on one whose entry code is made from a spec."""

from __future__ import annotations

import warnings
from pathlib import Path

import linux_selftests as S
import pytest
from conftest import kernel, kernel_source

# Page-table isolation off and on, with and without SMAP. A model of AMD's: on others, the emulator takes 32-bit SYSCALL where a CPU would not.
MACHINES = (("max", ""), ("max,-smap", "pti=on"))


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return S.archive(tmp_path_factory.mktemp("selftests"), kernel_source("6.12"))


@pytest.mark.parametrize(("model", "append"), MACHINES)
def test_same_results(model: str, append: str, archive: Path) -> None:
    """Each program twice on each kernel: the same answers, no complaint of the kernel that the stock one does not have, the same mitigations."""
    compared = S.compare([kernel(variant) / "bzImage" for variant in ("small-6.12", "patched-6.12")], archive, model, append)
    if compared.unstable:
        warnings.warn(f"unstable on the stock kernel: {compared.unstable}", stacklevel=1)
    assert not compared.different
    assert not compared.complaints
    assert compared.passed >= 40 and len(compared.known) > 10, compared


def test_differences() -> None:
    """What differs on a program that is stable on the stock kernel counts; of one that is not, what the stock kernel never says."""
    stock = {("1", "a"): {"[OK] one", "ended with 0"}, ("2", "a"): {"[OK] one", "ended with 0"},
             ("1", "b"): {"[RUN] it", "[OK] early"}, ("2", "b"): {"[RUN] it", "[FAIL] late"}}
    unstable = {"b": ["[FAIL] late", "[OK] early"]}
    assert S.differences(stock, stock) == ({}, unstable)
    assert S.differences(stock, stock | {("1", "b"): {"[RUN] it", "[FAIL] late"}}) == ({}, unstable)
    assert S.differences(stock, stock | {("2", "a"): {"[OK] one", "ended with 139"}}) == ({"2 a": ["ended with 0", "ended with 139"]}, unstable)
    assert S.differences(stock, stock | {("2", "b"): {"[FAIL] never"}}) == ({"2 b": ["[FAIL] never", "[RUN] it"]}, unstable)
    name, = S.SLOW
    slow = {("1", name): {"[RUN] one", "[OK] two", "ended with 0"}, ("2", name): {"[RUN] one", "ended with 9"}}
    assert S.differences(slow, slow | {("1", name): {"[RUN] one", "ended with 9"}}) == ({}, {name: ["ended with 9"]})
    whole = {key: {"[RUN] one", "[OK] two", "ended with 0"} for key in slow}        # only what the stock kernel shows is excused
    assert S.differences(whole, slow) == ({f"2 {name}": ["[OK] two", "ended with 0", "ended with 9"]}, {})
    assert S.differences(slow, {}) == ({f"{turn} {name}": ["nothing"] for turn in "12"}, {name: ["ended with 9"]})
    bad = {"[RUN] one", "[FAIL] two", "ended with 1"}
    assert S.differences(slow, slow | {("2", name): bad}) == ({f"2 {name}": ["[FAIL] two", "ended with 1"]}, {name: ["ended with 9"]})
    assert S.differences(stock, {key: texts for key, texts in stock.items() if key != ("1", "a")})[0] == {"1 a": ["[OK] one", "ended with 0"]}
