"""What a spec must not say about its C, each shown by an edit of a shipped spec; and what it may say."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import spec_file
from entryc.driver.render import render
from entryc.model.build import load_spec
from entryc.plan.plan import plan_spec
from entryc.source.finding import Finding, Findings

TAIL = "    work to_user\n    leave user\n    choose return_64"
CONSTANT = "const ENOSYS = 38"
HOOK = r"\bschedule\b"


def edited(folder: Path, pattern: str, new: str) -> tuple[list[Finding], dict[str, str]]:
    """The findings, or the files, of the x86-64 spec with few vectors after an edit that has to match."""
    text = spec_file("x86_64").read_text().replace("vectors 0..255 raised by user 3 4", "vectors 7..9 raised by user 9")
    changed, count = re.subn(pattern, lambda _: new, text)
    assert count, pattern
    path = folder / "case.entry"
    path.write_text(changed)
    try:
        spec = load_spec(path)
        return [], render(spec, plan_spec(spec))
    except Findings as stop:
        return stop.findings, {}


@pytest.mark.parametrize(("pattern", "new", "code", "message"), [
    (CONSTANT, CONSTANT + "\nconst error = 5", "E508", "replace slot 'error'"),
    (CONSTANT, CONSTANT + "\nconst current = 5", "E508", "replace member 'current'"),
    (CONSTANT, CONSTANT + "\nconst mask = 5", "E508", "replace parameter 'mask'"),
    (CONSTANT, CONSTANT + "\nconst sys_exit = 5", "E508", "replace function 'sys_exit'"),
    (CONSTANT, CONSTANT + "\nconst REGS_SIZE = 5", "E508", "replace size 'REGS_SIZE'"),
    (CONSTANT, CONSTANT + "\nconst RETURN_64_IRET = 5", "E508", "replace method"),
    (CONSTANT, CONSTANT + "\nconst RETURN_64_REFUSED_HIGH_IP = 5", "E508", "replace clause"),
    (CONSTANT, CONSTANT + "\nconst NEED_RESCHED = 5", "E508", "would be one macro"),
    (CONSTANT, CONSTANT + "\nconst uint64_t = 5", "E508", "not safe"),
    (CONSTANT, CONSTANT + "\nconst UINT64_C = 5", "E508", "not safe"),
    (CONSTANT, CONSTANT + "\nconst ENTRY_CODE = 5", "E508", "not safe"),
    (CONSTANT, CONSTANT + "\nconst __LINE__ = 5", "E508", "not safe"),
    (r"\bSIGPENDING\b", "cs", "E508", "flag 'cs'"),
    (r"(?m)^flags thread", "flags other { NEED_RESCHED = 3 }\nflags thread", "E508", "would be one macro"),
    (HOOK, "entry_setup", "E509", "entryc itself"),
    (HOOK, "work_to_user", "E509", "entryc itself"),
    (HOOK, "choose_return_64", "E509", "entryc itself"),
    (HOOK, "return_64_sysret_refused", "E509", "entryc itself"),
    (HOOK, "native_mask", "E509", "entryc itself"),
    (HOOK, "user_stack_syscall_64_begin", "E509", "entryc itself"),
    (r"\bsys_write\b", "native_sys_exit", "E509", "entryc itself"),
    (r"\bsys_write\b", "register", "E509", "word of C"),
    (r"\bpercpu\b", "task_state", "E509", "structure of the CPU"),
    (r'is "struct regs"', 'is "struct task_state"', "E509", "structure of the CPU"),
    (r"regs, u64 address\)", "regs, u64 regs)", "E509", "two parameters"),
    ("once irqs off", "once irqs on", "E510", "interrupts on"),
    ("repeat irqs on", "once irqs on", "E510", "interrupts on"),
    ("repeat irqs on", "once irqs off", "E510", "work pending"),
    (TAIL, TAIL.removeprefix("    work to_user\n"), "E511", "end with interrupts on"),
    (TAIL, TAIL.replace("work to_user\n", "work to_user\n    irqs on\n"), "E511", "end with interrupts on"),
    (TAIL, TAIL.replace("work to_user\n", "work to_user\n    irqs on\n    irqs off\n"), "E512", "can raise more"),
    (TAIL, TAIL.replace("work to_user\n", "work to_user\n    syscalls native\n"), "E512", "can raise more"),
    (r"14      -> user_page_fault\(regs, address\)", "14 -> { irqs on }\n", "", ""),
    ("work to_kernel\n", "work to_kernel\n        irqs on\n", "E511", "end with interrupts on"),
    (r"14      -> user_page_fault\(regs, address\)", "14 -> { leave user }", "E513", "left twice"),
], ids=str)
def test_rule(pattern: str, new: str, code: str, message: str, tmp_path: Path) -> None:
    findings, files = edited(tmp_path, pattern, new)
    if not code:
        assert not findings and files
        return
    found = [f for f in findings if f.code == code and message in f.message]
    assert found, [(f.code, f.message) for f in findings]
    assert all(f.span is not None and f.help for f in found)


def test_a_finding_points_to_the_constant(tmp_path: Path) -> None:
    findings, _ = edited(tmp_path, CONSTANT, "# error = 1\n" + CONSTANT + "\nconst   error = 5")
    assert findings[0].span is not None
    assert findings[0].span.snippet == "const   error = 5" and findings[0].span.column == 9


@pytest.mark.parametrize(("pattern", "new"), [
    *((HOOK, name) for name in ("flags", "number", "refusal", "counts", "point", "low")),
    *((r"\bregs\b", name) for name in ("flags", "number", "refusal", "counts", "index", "count")),
    *((r"\bpercpu\b", name) for name in ("number", "counts", "table", "refusal")),
    *((r"\baddress\b", name) for name in ("counts", "index", "schedule", "flags")),
    *((r"missing -ENOSYS", f"missing {value}") for value in ("0", "70000", "0x8000000000000000", "0x7fffffffffffffff", "0xffffffff80000001")),
    (r"9 sys_test", "4095 sys_test"),
    (r"32\.\.255 -> interrupt\(regs, u8 regs\.vector\)", "32..0xffffffffffffffff -> interrupt(regs, u8 regs.vector)"),
], ids=str)
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_names_and_numbers_that_are_fine_compile(compiler: str, pattern: str, new: str, tmp_path: Path) -> None:
    """Names that the generated C uses for itself give way to those of the spec."""
    if shutil.which(compiler) is None:
        pytest.fail(f"no {compiler}")
    findings, files = edited(tmp_path, pattern, new)
    assert not findings, findings[0].message
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    target = ["--target=x86_64-unknown-none-elf"] if compiler == "clang" else []
    if not target and not subprocess.run([compiler, "-dumpmachine"], capture_output=True, text=True).stdout.startswith("x86_64"):
        pytest.fail(f"{compiler} makes code for another CPU")
    for source in ("entry.c", "entry_init.c"):
        done = subprocess.run([compiler, *target, "-std=gnu11", "-ffreestanding", "-Wall", "-Wextra", "-Werror", "-Wconversion", "-fsyntax-only", source],
                              cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
