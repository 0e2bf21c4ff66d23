"""The example kernel on Bochs, which has what QEMU's TCG lacks: PCID with bit 63 of CR3, MOV SS in front of SYSCALL, MSR 0x48, #GP of SYSRET.

Bochs counts instructions, not time: each run is the same. The kernel lies in a ROM, in place of a BIOS (examples/bare/x86_64/rom.S).
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from boot import BARE, ENTRY_FILES, Defect, entry_dir, missing_tools
from test_boot import SCENARIOS

LIMIT = 300                                     # seconds; a run takes three or so
# The configurations of the spec, and a CPU that has what each needs: others raise #GP.
MODELS = {"base": "core2_penryn_t9600", "smap": "broadwell_ult", "pti": "corei7_skylake_x", "fsgsbase": "corei7_icelake_u", "intel": "corei7_icelake_u",
          "intel_nopcid": "tigerlake", "amd": "ryzen"}
# QEMU passes all of these.
DEFECTS = [
    Defect("mov-ss", "x86_64", "#DB on the task's stack", "entry_init.c", r"(\{ debug_trap, 0, )3", r"\g<1>0", "pti"),
    Defect("bad-returns", "x86_64", "SYSRET to any address", "entry.c", r"\tif \(!\(regs->ip < USER_END\)\)\n\t\treturn \w+;\n", ""),
    Defect("registers", "x86_64", "no IBRS in the kernel", "entry.S", r"(?s)(ENTRY_START\(syscall_64\)(?:(?!ENTRY_END).)*?)\n\twrmsr[^\n]*", r"\1", "intel"),
]
# Version 3 takes a breakpoint again although RF is set.
BROKEN_IN_3 = {"breakpoints", "nmi"}


def version() -> int:
    """Of the Bochs that is here."""
    if shutil.which("bochs") is None or missing_tools("x86_64"):
        pytest.fail(f"not installed: {', '.join(['bochs', *missing_tools('x86_64')])}")
    told = subprocess.run(["bochs", "--help"], capture_output=True, text=True, check=False)
    found = re.search(r"Emulator (\d+)\.", told.stdout + told.stderr)
    assert found, told.stdout
    return int(found[1])


def boot(config: str, entry: Path, folder: Path, only: str = "") -> str:
    """Build and boot on two CPUs, a twentieth of the rounds: what the kernel wrote."""
    make = ["make", "-s", "-C", str(BARE), "ARCH=x86_64", f"CONFIG={config}", f"ENTRY={entry}", f"OUT={folder}", "QUICK=1"]
    subprocess.run([*make, *([f"ONLY={only}"] if only else []), f"{folder}/rom.bin"], check=True)
    (folder / "vga.bin").write_bytes(bytes(512))
    (folder / "commands").write_text("continue\n")
    (folder / "settings").write_text(f"""display_library: rfb, options="timeout=0"
romimage: file={folder}/rom.bin
vgaromimage: file={folder}/vga.bin
megs: 64
cpu: model={MODELS[config]}, count=2, ips=50000000, reset_on_triple_fault=0, ignore_bad_msrs=0
clock: sync=none
com1: enabled=1, mode=file, dev={folder}/serial
log: {folder}/log
panic: action=fatal
""")
    (folder / "serial").unlink(missing_ok=True)
    quiet = subprocess.DEVNULL
    subprocess.run(["bochs", "-q", "-f", str(folder / "settings"), "-rc", str(folder / "commands")],
                   stdin=quiet, stdout=quiet, stderr=quiet, timeout=LIMIT, check=False)
    return (folder / "serial").read_text(errors="replace")


@pytest.mark.parametrize("config", list(MODELS))
def test_all_scenarios_pass(config: str, tmp_path: Path) -> None:
    """`intel` as it is generated: page-table switches that flush nothing."""
    scenarios = SCENARIOS["x86_64"]
    output = boot(config, entry_dir("x86_64"), tmp_path) if version() < 3 else \
        "".join(boot(config, entry_dir("x86_64"), tmp_path, only) for only in sorted(scenarios - BROKEN_IN_3))
    passed = set(re.findall(r"(?m)^PASS ([^:]+):", output))
    assert "ALL PASSED" in output and "FAIL" not in output and passed == scenarios - (BROKEN_IN_3 if version() > 2 else set()), output
    in_kernel = re.search(r"PASS mov-ss: .* (\d+) in the kernel", output)
    assert in_kernel and int(in_kernel[1]) > 0, "CVE-2018-8897: no #DB of a user's MOV SS came at the kernel's first instruction"


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda d: f"{d.scenario}-{d.name}".replace(" ", "_"))
def test_a_defect_that_qemu_passes_is_caught(defect: Defect, tmp_path: Path) -> None:
    version()
    entry = tmp_path / "entry"
    entry.mkdir()
    for name in ENTRY_FILES:
        text = (entry_dir("x86_64") / name).read_text()
        if name == defect.file:
            text, count = re.subn(defect.pattern, defect.replacement, text)
            assert count == 1, f"the defect's pattern fits {count} places of {name}"
        (entry / name).write_text(text)
    output = boot(defect.config, entry, tmp_path, defect.scenario)
    assert "ALL PASSED" not in output, output
