"""Linux with entry code made from a spec: its objects are proved, and its kernels boot, count no more than stock ones, and take SYSRET."""

from __future__ import annotations

import os
import re
from functools import lru_cache
from pathlib import Path

import linux_boot as L
import pytest
from conftest import ROOT, SPECS, kernel, kernel_source
from entryc.cli import main
from entryc.image.elf import Binary, read_binary
from entryc.image.image import Image
from entryc.model.build import load_spec
from entryc.model.spec import Spec
from entryc.prove.mutate import Mutation, Score, sample
from entryc.prove.verify import Report, verify

CONFIGURATIONS = ("none", "pti", "pti_pcid", "intel", "amd")
# Page-table isolation; none; none, of another vendor; return thunks.
MODELS = ("Skylake-Server", "max", "qemu64", "EPYC")
PROGRAMS = ROOT / "tests" / "linux"
UNREACHED = {f"return_{bits}.iret.xen_pv" for bits in (64, 32)}     # counters that only a guest of Xen sees grow


@lru_cache(maxsize=1)
def spec() -> Spec:
    return load_spec(SPECS / "linux" / "x86_64.entry")


@lru_cache(maxsize=4)
def binary(variant: str) -> Binary:
    low = frozenset(c.symbol for m in spec().memories.values() if m.base for c in m.cells.values() if c.symbol)
    return read_binary(spec().arch, [kernel(variant) / name for name in ("entry_64.o", "entry_64_compat.o")], low)


def image(variant: str, name: str) -> Image:
    numbers = (spec().features[f].number for f in spec().configurations[name].features)
    return binary(variant).image(frozenset(n for n in numbers if n is not None))


@lru_cache(maxsize=16)
def proved(variant: str, name: str) -> Report:
    return verify(spec(), image(variant, name), spec().configurations[name])


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_proved(name: str) -> None:
    """What the series gives, as its kernel's own build makes it, does what the spec says."""
    report = proved("patched-6.12", name)
    assert report.green, report.summary()
    assert len(report.verdicts) > 150


def test_proof_in_the_cover_letter(tmp_path: Path) -> None:
    """What verify reports of the built objects goes into the letter, as long as the spec means the same."""
    objects = [f"--object={kernel('patched-6.12') / name}" for name in ("entry_64.o", "entry_64_compat.o")]
    report = tmp_path / "report.json"
    path = str(SPECS / "linux" / "x86_64.entry")
    assert main(["verify", path, *objects, "--report", str(report), "-q"]) == 0
    assert main(["patch", path, "--tree", str(kernel_source("6.12")), "-o", str(tmp_path / "series.mbox"), "--from", "A <a@example.org>",
                 "--proof", str(report)]) == 0
    letter = (tmp_path / "series.cover").read_text()
    for name in CONFIGURATIONS:
        assert re.search(rf"^  {name} +{len(proved('patched-6.12', name).verdicts)}$", letter, re.MULTILINE), letter
    assert f"sha256 {binary('patched-6.12').sha256[:16]}" in letter


def archive(folder: Path, program: str, *others: str) -> Path:
    """`program` is the init."""
    files = {name: L.compiled(folder, PROGRAMS / f"{name}.c") for name in (program, *others)}
    return L.initramfs(folder / "init.cpio", {"init" if name == program else name: file for name, file in files.items()})


def counted(model: str, init: Path, names: set[str]) -> tuple[dict[str, int], dict[str, int]]:
    """Instructions of a hundred system calls each, on the stock and on the patched kernel."""
    counts = {}
    for variant in ("small-6.12", "patched-6.12"):
        lines = L.booted(kernel(variant) / "bzImage", init, model)
        assert not L.trouble(lines), L.trouble(lines)
        counts[variant] = L.values(lines, "COUNT")
        assert set(counts[variant]) == names, "\n".join(lines[-20:])
    return counts["small-6.12"], counts["patched-6.12"]


@pytest.mark.parametrize("model", MODELS)
def test_no_more_instructions(model: str, tmp_path: Path) -> None:
    """Stock and patched, side by side: no system call takes more instructions, and one without PTI takes fewer."""
    stock, patched = counted(model, archive(tmp_path, "count"), {"enosys", "getppid"})
    assert all(patched[name] <= stock[name] for name in stock), (stock, patched)
    if model != "Skylake-Server":
        assert all(patched[name] < stock[name] for name in stock), (stock, patched)


# The 32-bit vDSO takes SYSCALL on AMD's CPUs, SYSENTER on Intel's.
@pytest.mark.parametrize("model", ("qemu64", "qemu64,vendor=GenuineIntel", "Skylake-Server", "EPYC"))
def test_no_more_instructions_of_32_bit_calls(model: str, tmp_path: Path) -> None:
    names = {f"{how}{what}32" for how in ("", "int80.") for what in ("enosys", "getppid")}
    stock, patched = counted(model, archive(tmp_path, "count32"), names)
    assert all(patched[name] <= stock[name] for name in stock), (stock, patched)


# 32-bit code takes SYSCALL on the first one, SYSENTER on the second.
@pytest.mark.parametrize(("model", "cpus"), (("max", 1), ("Skylake-Server", 2)))
def test_counters(model: str, cpus: int, tmp_path: Path) -> None:
    """SYSRET is taken for clean states, and each reason not to is counted once, on whichever CPU."""
    lines = L.booted(kernel("counted-6.12") / "bzImage", archive(tmp_path, "returns", "returns32"), model, cpus=cpus)
    assert not L.trouble(lines), L.trouble(lines)
    assert not [line for line in lines if line.startswith("FAILED")]
    grew = L.values(lines, "GREW")
    for name, reason in {"cx": "ip_not_in_cx", "r11": "flags_not_in_r11", "tf": "rf_or_tf", "rf": "rf_or_tf", "cs": "foreign_cs", "ss": "foreign_ss",
                         "high": "high_ip"}.items():
        wanted = {"ip_not_in_cx": 100}          # into the handler: its address is not in rcx
        wanted[reason] = wanted.get(reason, 0) + 100
        assert _grown(grew, f"{name}.return_64.iret.") == wanted, (name, grew)
    # Returns of the hundred calls, and those of reading the counters.
    assert _grown(grew, "idle.return_64.iret.") == {} and 100 <= grew["idle.return_64.sysret"] < 120
    assert grew["clean.return_64.sysret"] == grew["cx.return_64.sysret"] + 100, "a clean frame of a signal handler returns by SYSRET"
    assert L.values(lines, "TRAPS") == {"all": 100}
    # Nothing else makes fast calls of 32-bit code: all numbers are exact.
    assert _grown(grew, "idle.return_32.") == {}
    assert _grown(grew, "clean32.return_32.") == {"sysret32": 100}
    assert _grown(grew, "signal32.return_32.") == {"sysret32": 100, "iret.other_ip": 100}
    for name, reason in {"cs32": "foreign_cs", "ss32": "foreign_ss", "rf32": "rf_or_tf", "tf32": "rf_or_tf"}.items():
        assert _grown(grew, f"{name}.return_32.") == {"iret.other_ip": 100, f"iret.{reason}": 100}, (name, grew)
    # Each counter of the kernel was seen to grow, but for the one that asks for Xen.
    assert {key.split(".", 1)[1] for key in grew} - {key.split(".", 1)[1] for key, count in grew.items() if count} == UNREACHED


def _grown(grew: dict[str, int], start: str) -> dict[str, int]:
    return {key.removeprefix(start): count for key, count in grew.items() if key.startswith(start) and count}


def test_costs_nothing_when_off() -> None:
    """Without its option, the counters leave no trace in the kernel."""
    assert b"return_counts" not in (kernel("patched-6.12") / "vmlinux").read_bytes()
    assert b"return_counts" in (kernel("counted-6.12") / "vmlinux").read_bytes()


def test_mutants(capsys: pytest.CaptureFixture[str]) -> None:
    """A sample of changes of the machine code is noticed; the seed is printed."""
    seed = int(os.environ.get("ENTRYC_SEED", "7"))
    mutation = Mutation(spec(), {name: image("patched-6.12", name) for name in CONFIGURATIONS})
    names = mutation.names()
    score = Score(list(mutation.run(sample(names, 100, seed))), len(names))
    with capsys.disabled():
        print(f"\nseed {seed}: {score.summary()}")
    assert score.ratio >= 0.96, [o for o in score.outcomes if o.verdict == "survived"]
