"""The example kernels boot, every scenario passes, and every planted defect is caught."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import boot_defects
import boot_defects_arm64
import pytest
from boot import CONFIGS, ENTRY_FILES, BootResult, Defect, boot, build_kernel, entry_dir, missing_tools

COMMON = {"bad-number", "registers", "interrupts", "faults", "exit-work", "preempt", "fork-return"}
X86_64 = {"methods", "gates32", "bad-returns", "single-step", "breakpoints", "hostile", "mov-ss", "isolation", "nmi", "ipis", "load-gs"}
SCENARIOS = {"x86_64": COMMON | X86_64, "arm64": COMMON | {"bases", "bad-mode"}}
DEFECTS: list[Defect] = [*boot_defects.DEFECTS, *(Defect(*row) for row in boot_defects_arm64.DEFECTS)]
CLANG = {"x86_64": ("clang", "ld"), "arm64": ("clang", "ld.lld")}


def _need(arch: str, *more: str) -> None:
    missing = [*missing_tools(arch), *(tool for tool in more if shutil.which(tool) is None)]
    if missing:
        pytest.fail(f"not installed: {', '.join(missing)}")
    if not (entry_dir(arch) / "entry.S").is_file():
        pytest.fail(f"no generated files in {entry_dir(arch)}")


def _check_all(arch: str, result: BootResult) -> None:
    assert result.all_passed, result.text()
    assert set(result.passed) == SCENARIOS[arch], result.text()


@pytest.mark.parametrize(("arch", "config"), [(arch, config) for arch in CONFIGS for config in CONFIGS[arch]])
def test_all_scenarios_pass(arch: str, config: str, tmp_path: Path) -> None:
    _need(arch)
    kernel = build_kernel(arch, config, entry_dir(arch), tmp_path)
    _check_all(arch, boot(arch, config, kernel))


def test_all_scenarios_pass_with_pcid(tmp_path: Path) -> None:
    """QEMU's TCG never ends a MOV to CR3 that sets bit 63, which only saves a flush: `intel` without these instructions."""
    _need("x86_64")
    entry = tmp_path / "entry"
    entry.mkdir()
    for name in ENTRY_FILES:
        text = (entry_dir("x86_64") / name).read_text()
        if name == "entry.S":
            text, count = re.subn(r"(?m)^\tbtsq\t\$0x3f, %\w+[^\n]*\n", "", text)
            assert count >= 10, count
        (entry / name).write_text(text)
    kernel = build_kernel("x86_64", "intel", entry, tmp_path / "build")
    _check_all("x86_64", boot("x86_64", "intel", kernel))


@pytest.mark.parametrize("arch", list(CONFIGS))
def test_all_scenarios_pass_with_clang(arch: str, tmp_path: Path) -> None:
    _need(arch, *CLANG[arch])
    config = CONFIGS[arch][-1]
    kernel = build_kernel(arch, config, entry_dir(arch), tmp_path, cc="clang")
    _check_all(arch, boot(arch, config, kernel))


@dataclass(frozen=True)
class Bench:
    """A build folder for the defects of one scenario: only the edited file is compiled again."""

    arch: str
    config: str
    scenario: str
    folder: Path
    seconds: float  # the boot without a defect

    def run(self, file: str = "", text: str = "", limit: float = 60) -> BootResult:
        """Build and boot with one file replaced."""
        entry = self.folder / "entry"
        entry.mkdir(exist_ok=True)
        for name in ENTRY_FILES:
            wanted = text if name == file else (entry_dir(self.arch) / name).read_text()
            target = entry / name
            if not target.is_file() or target.read_text() != wanted:
                target.write_text(wanted)
        out = self.folder / "build"
        kernel = build_kernel(self.arch, self.config, entry, out, only=self.scenario, quick=True)
        return boot(self.arch, self.config, kernel, limit)


@pytest.fixture(scope="session")
def benches(tmp_path_factory: pytest.TempPathFactory) -> object:
    """A function from (arch, config, scenario) to a bench whose unedited kernel passes."""

    @cache
    def get(arch: str, config: str, scenario: str) -> Bench:
        folder = tmp_path_factory.mktemp(f"{arch}-{config}-{scenario}")
        result = Bench(arch, config, scenario, folder, 0).run()
        assert result.all_passed and set(result.passed) == {scenario}, result.text()
        return Bench(arch, config, scenario, folder, result.seconds)

    return get


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda d: f"{d.cpu}-{d.scenario}-{d.name}".replace(" ", "_"))
def test_planted_defect_is_caught(defect: Defect, benches: object) -> None:
    _need(defect.cpu)
    assert callable(benches)
    bench: Bench = benches(defect.cpu, defect.config, defect.scenario)
    text = (entry_dir(defect.cpu) / defect.file).read_text()
    edited, count = re.subn(defect.pattern, defect.replacement, text)
    assert count == 1, f"the defect's pattern fits {count} places of {defect.file}"
    assert edited != text
    result = bench.run(defect.file, edited, limit=max(5.0, 10 * bench.seconds))
    assert not result.all_passed, result.text()


def test_every_scenario_has_a_defect() -> None:
    for arch, scenarios in SCENARIOS.items():
        assert {defect.scenario for defect in DEFECTS if defect.cpu == arch} == scenarios
