"""Kernel-breaking edits of the whole x86-64 spec, each refused before a byte is made, with the reason."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from entryc.model.build import load_spec
from entryc.plan.plan import plan_spec
from entryc.source.finding import Findings

ROOT = Path(__file__).parent.parent
SPEC = ROOT / "specs" / "x86_64.entry"
PARKED = "    table = kernel using sp                   # every general register is the user's; sp is parked\n    stack = task\n    label safe_stack\n"

CASES = [
    # an IST stack that two vectors share, one of which can strike in the other's handler
    ("on vector 18 stack mc paranoid", "on vector 18 stack db paranoid", "E304", "stack 'db' is entered by vector 1 and by vector 18"),
    # a vector that can hit a window
    ("on vector 18 stack mc paranoid", "on vector 18 stack mc", "E305", "vector 18 can strike where the kernel still has the user's state"),
    ("on vector 18 stack mc paranoid", "on vector 18 paranoid", "E305", "can strike where the stack pointer is still the user's"),
    # SYSRETL to a 64-bit selector, and the other way round
    ("when regs.cs == USER32_CS ", "when regs.cs == USER_CS ", "E307", "sysretl loads 0x1b into cs"),
    ("when regs.cs == USER_CS ", "when regs.cs == USER32_CS ", "E307", "sysretq loads 0x2b into cs"),
    # what SYSCALL leaves of the user's flags
    ("| DF | OF", "| OF", "E280", "a flag that user code chose"),
    ("| TF | IF", "| IF", "E280", "a flag that user code chose"),
    ("| NT | RF", "| RF", "E280", "a flag that user code chose"),
    # what INT n could raise
    ("raised by user 3 4 if", "raised by user 3 4 14 if", "E306", "user code may not raise vector 14"),
    ("on vector 1 stack db paranoid", "on vector 1 stack db paranoid raised by user", "E306", "user code may not raise vector 1"),
    ("on vector 8 stack df paranoid", "on vector 8 stack df paranoid raised by user", "E306", "user code may not raise vector 8"),
    # memory that the user's page table does not map
    (PARKED, "    stack = task\n    label safe_stack\n", "E316", "stack 'task' cannot be reached here: it needs table = kernel"),
    ("    restore all\n    sp = regs.sp if not PTI\n", "    table = user using ax\n    restore all\n    sp = regs.sp if not PTI\n",
     "E316", "stack 'task' cannot be reached here"),
    # per-CPU memory with the user's GS base
    ("entry syscall_64 on syscall from user if not FRED {\n    gs = kernel\n", "entry syscall_64 on syscall from user if not FRED {\n",
     "E316", "memory 'percpu' cannot be reached here"),
]


@pytest.mark.parametrize(("old", "new", "code", "words"), CASES)
def test_edit_is_refused(old: str, new: str, code: str, words: str, tmp_path: Path) -> None:
    text = SPEC.read_text()
    assert old in text
    file = tmp_path / "edited.entry"
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(Findings) as caught:
        plan_spec(load_spec(file))
    assert any(d.code == code and words in d.message for d in caught.value.findings), [(d.code, d.message) for d in caught.value.findings]


@pytest.mark.parametrize(("features", "good"), [("SMAP PTI", True), ("PTI", False), ("SMAP PTI FSGSBASE", False), ("SMAP FRED", False)])
def test_a_combination_that_no_configuration_names_does_not_compile(features: str, good: bool, tmp_path: Path) -> None:
    compiler = shutil.which(os.environ.get("CC", "gcc")) or pytest.fail("no C compiler")
    source = tmp_path / "use.c"
    source.write_text('#include "entry.h"\n')
    command = [compiler, "-ffreestanding", "-fsyntax-only", f"-I{ROOT / 'out' / 'x86_64'}", *(f"-DCONFIG_{f}=1" for f in features.split()), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == good, done.stderr
    assert good or "no configuration of the spec has this combination of features" in done.stderr
