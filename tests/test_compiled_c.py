"""The C in linked images does what the spec says, with every compiler; planted defects are refuted; what cannot be followed is not proved."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest
from boot import build_kernel, entry_dir
from conftest import ROOT, SPECS
from entryc.driver.render import render
from entryc.emit.c_text import c_type, declare, prototype
from entryc.image.c_contract import measure_c_object
from entryc.model.build import load_spec
from entryc.model.spec import Spec
from entryc.plan.plan import plan_spec
from entryc.prove.compiled import Compiled, prove_c
from entryc.source.finding import Findings

COMPILERS = {
    ("x86_64", "gcc"): ("gcc", "-m64", "-mno-red-zone", "-fcf-protection=none"),
    ("x86_64", "clang"): ("clang", "--target=x86_64-unknown-none-elf", "-mno-red-zone"),
    ("arm64", "gcc"): ("aarch64-linux-gnu-gcc", "-mstrict-align", "-mno-outline-atomics"),
    ("arm64", "clang"): ("clang", "--target=aarch64-linux-gnu", "-mstrict-align"),
}
LINKERS = {"x86_64": "ld", "arm64": "aarch64-linux-gnu-ld"}
KERNEL = ("-std=gnu11", "-O2", "-ffreestanding", "-fno-pic", "-fno-stack-protector", "-fno-asynchronous-unwind-tables", "-mgeneral-regs-only", "-w")
BOTH = pytest.mark.parametrize("cc", ["gcc", "clang"])


@cache
def spec_of(name: str) -> Spec:
    return load_spec(SPECS / f"{name}.entry")


@cache
def files_of(name: str) -> dict[str, str]:
    return render(spec_of(name), plan_spec(spec_of(name)))


def kernel_side(spec: Spec) -> str:
    """C for what the kernel supplies: functions of which nothing can be known."""
    out = '#include "entry.h"\n'
    for hook in spec.hooks.values():
        params = [declare(c_type(spec, kind), name) for kind, name in hook.params]
        body = '__asm__ volatile("" ::: "memory");' + ("" if hook.result == "void" else " return 0;")
        out += prototype(c_type(spec, hook.result), hook.name, params, "") + " { " + body + " }\n"
    for table in spec.tables.values():
        for row in table.rows:
            out += prototype("int64_t", row.name, [f"uint64_t a{i}" for i in range(row.count)], "") + " { return 1; }\n"
    return out


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"


def compile_c(spec: Spec, files: dict[str, str], folder: Path, cc: str, *flags: str) -> Path:
    """entry.c as an object."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("entry.c", "entry.h"):
        (folder / name).write_text(files[name])
    run(*COMPILERS[spec.arch.name, cc], *KERNEL, *flags, "-c", str(folder / "entry.c"), "-o", str(folder / "entry.o"))
    return folder / "entry.o"


def link_c(spec: Spec, files: dict[str, str], folder: Path, cc: str, *flags: str, more: str = "") -> Path:
    """entry.c in a small image, with functions for all hooks and system calls."""
    entry = compile_c(spec, files, folder, cc, *flags)
    (folder / "kernel.c").write_text(kernel_side(spec) + more)
    run(*COMPILERS[spec.arch.name, cc], *KERNEL, "-c", str(folder / "kernel.c"), "-o", str(folder / "kernel.o"))
    run(LINKERS[spec.arch.name], "-nostdlib", "-static", "-e", next(iter(spec.handlers)), "-o", str(folder / "kernel.elf"),
        str(entry), str(folder / "kernel.o"))
    return folder / "kernel.elf"


def prove(spec: Spec, image: Path, configuration: str = "base") -> Compiled:
    return prove_c(spec, image, spec.configurations[configuration])


def text(result: Compiled) -> str:
    """What is not proved."""
    rows = [f"{v.verdict}: {v.claim.stub}: {v.claim.kind}: {v.claim.text} ({v.claim.detail or v.by})" for v in result.verdicts if v.verdict != "proved"]
    return "\n".join([*dict.fromkeys(rows), *result.not_checked])


def edited(name: str, pattern: str, replacement: str) -> dict[str, str]:
    """The files of a shipped spec with one edit of entry.c."""
    files = dict(files_of(name))
    files["entry.c"], count = re.subn(pattern, replacement, files["entry.c"], count=1)
    assert count == 1, f"{pattern} fits nothing in entry.c"
    return files


# ---- the shipped kernels ----

@pytest.mark.parametrize(("arch", "configuration", "cc"), [
    ("x86_64", "base", "gcc"), ("x86_64", "smap", "gcc"), ("x86_64", "smap", "clang"), ("arm64", "base", "gcc"), ("arm64", "base", "clang")])
def test_the_example_kernels_are_proved(arch: str, configuration: str, cc: str, tmp_path: Path) -> None:
    """Every claim, on the C as it lies in the image that boots; a second, simpler walk finds the same use of the stack."""
    if shutil.which(cc) is None:
        pytest.fail(f"no {cc}")
    image = build_kernel(arch, configuration, entry_dir(arch), tmp_path, cc=cc if cc == "clang" else "")
    spec = spec_of(arch)
    result = prove(spec, image, configuration)
    assert result.green, text(result)
    assert {v.claim.stub for v in result.verdicts} == set(spec.handlers)
    wanted = {"work", "number", "steps", "frame", "memory", "abi", "ending"} | ({"method", "counter"} if spec.choices else set())
    assert {v.claim.kind for v in result.verdicts} == wanted
    measured = measure_c_object(spec, image, jumps=result.jumps)
    assert not measured.findings
    assert measured.depth == result.depth
