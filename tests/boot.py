"""Build the example kernel with generated entry code and boot it on an emulator."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
BARE = ROOT / "examples" / "bare"
# Of the spec's configurations, those that the emulator can run; intel_nopcid is intel without PCID.
CONFIGS = {"x86_64": ("base", "smap", "pti", "fsgsbase", "amd", "intel_nopcid"), "arm64": ("base", "max", "el2")}
ENTRY_FILES = ("entry.S", "entry.c", "entry.h", "entry_init.c")
_TOOLS = {
    "x86_64": ("make", "gcc", "ld", "objcopy", "qemu-system-x86_64"),
    "arm64": ("make", "aarch64-linux-gnu-gcc", "aarch64-linux-gnu-ld", "qemu-system-aarch64"),
}


class Defect(NamedTuple):
    """One edit of a generated file that must make a scenario fail; `pattern` must match exactly once."""

    scenario: str
    cpu: str
    name: str
    file: str
    pattern: str
    replacement: str
    config: str = "base"


class BuildError(Exception):
    """The kernel does not build; the text is what make and the compiler said."""


@dataclass
class BootResult:
    """What a kernel wrote and how its emulator ended."""

    lines: list[str]
    exit: int | None  # None: stopped by the time limit
    good_exit: int
    seconds: float
    passed: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def all_passed(self) -> bool:
        """The kernel said so, nothing failed, and the emulator's status agrees."""
        return "ALL PASSED" in self.lines and not self.failed and self.exit == self.good_exit

    def text(self) -> str:
        """The output, for a test's message."""
        ending = "time limit" if self.exit is None else f"exit {self.exit}"
        return "\n".join([*self.lines, f"({ending} after {self.seconds:.1f} s)"])


def missing_tools(arch: str) -> list[str]:
    """The programs that a build and boot for this CPU needs and this machine lacks."""
    return [tool for tool in _TOOLS[arch] if shutil.which(tool) is None]


def entry_dir(arch: str) -> Path:
    """Where the generated files are: out/<cpu>, or below ENTRYC_OUT."""
    return Path(os.environ.get("ENTRYC_OUT", ROOT / "out")) / arch


def _make(arch: str, config: str, out: Path, *args: str) -> list[str]:
    return ["make", "-s", "-C", str(BARE), f"ARCH={arch}", f"CONFIG={config}", f"OUT={out}", *args]


def build_kernel(
    arch: str, config: str, entry: Path, out: Path, cc: str = "", only: str = "", quick: bool = False, timer: int = 0
) -> Path:
    """Build the kernel of one configuration; `only` names a single scenario, `quick` lowers the counts, `timer` is its period in microseconds."""
    args = [f"ENTRY={entry}", *([f"CC={cc}"] if cc else []), *([f"ONLY={only}"] if only else [])]
    args += ["QUICK=1"] if quick else []
    args += [f"TIMER_US={timer}"] if timer else []
    done = subprocess.run(_make(arch, config, out, *args), capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(done.stdout + done.stderr)
    return out / "kernel.elf"


def _scenarios(lines: list[str], word: str) -> dict[str, str]:
    """The lines `PASS <id>: <text>` or `FAIL <id>: <text>`."""
    found = {}
    for line in lines:
        if line.startswith(f"{word} "):
            scenario, _, text = line.removeprefix(f"{word} ").partition(":")
            found[scenario] = text.strip()
    return found


def boot(arch: str, config: str, kernel: Path, timeout: float = 300) -> BootResult:
    """Boot a kernel that build_kernel() made; a kernel that hangs is stopped."""
    show = _make(arch, config, kernel.parent, "emulator")
    shown = subprocess.run(show, capture_output=True, text=True, check=True).stdout
    good_exit, *command = shlex.split(shown)
    start = time.monotonic()
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=timeout)
            status: int | None = process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            status = None
    lines = [line.rstrip() for line in output.decode("utf-8", "replace").splitlines() if line.strip()]
    seconds = time.monotonic() - start
    passed, failed = _scenarios(lines, "PASS"), _scenarios(lines, "FAIL")
    return BootResult(lines, status, int(good_exit), seconds, passed, failed)
