"""No way into the kernel or out of it executes more than on a stock kernel, in all or of what is slow; and the code is not longer."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import linux_paths as P
import pytest
from conftest import kernel

VARIANTS = ("small-6.12", "patched-6.12")


# Without page-table isolation and 32-bit SYSCALL; with it, and SYSENTER.
@pytest.mark.parametrize("model", ("max", "Skylake-Server"))
def test_no_path_above_stock(model: str, tmp_path: Path) -> None:
    archive, labels = P.programs(tmp_path)
    kernels = [kernel(variant) for variant in VARIANTS]
    with ThreadPoolExecutor(2) as pool:
        stock, patched = pool.map(lambda folder: P.traced(folder, archive, labels, model, tmp_path / folder.name), kernels)
    assert not P.above(stock, patched)
    for found in (stock, patched):
        for name, classes in found.items():
            assert classes["sysret"] == (name in P.BY_SYSRET) and classes["iret"] == (name not in P.BY_SYSRET), (name, classes)
            assert classes["swapgs"] == (0 if name in P.OF_KERNEL else 2), (name, classes)
            assert classes["all"] > 40, (name, classes)
            assert (classes["cr3"] > 0) == (model == "Skylake-Server" and name not in P.OF_KERNEL), (name, classes)


def test_above() -> None:
    """One fence more is too much, however many instructions it saves."""
    stock = {"page fault": P.Executed({"all": 90, "fence": 1, "swapgs": 2})}
    assert P.above(stock, {"page fault": P.Executed({"all": 90, "swapgs": 2})}) == []
    assert P.above(stock, {"page fault": P.Executed({"all": 70, "fence": 2, "swapgs": 2})}) == ["page fault: 2 fence, stock 1"]
    assert P.above(stock, {"page fault": P.Executed({"all": 91, "fence": 1})}) == ["page fault: 91 all, stock 90"]


def test_code_not_longer() -> None:
    """Executable bytes of all objects that the series touches, C and replacements of alternatives included."""
    stock, patched = (P.executable(kernel(variant)) for variant in VARIANTS)
    assert set(stock) == {"entry_64.o", "entry_64_compat.o", "common.o"} and all(sum(sizes.values()) > 500 for sizes in stock.values()), stock
    assert P.total(patched) <= P.total(stock), (stock, patched)
