"""Wrong code that an earlier prover called proved: each case stays refuted or unknown, and the right code stays proved."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT, SPECS, assemble, small_x86, spec_file
from entryc.model.build import load_spec
from entryc.model.spec import Spec
from entryc.plan.plan import plan_spec
from entryc.prove.verify import Report, verify

Edit = Callable[[list[str]], list[str]]


def swap_lines(old: str, new: list[str], after: str = "") -> Edit:
    """The first `old` after the line `after` becomes the lines `new`."""
    def edit(lines: list[str]) -> list[str]:
        index = lines.index(old, lines.index(after) if after else 0)
        return [*lines[:index], *new, *lines[index + 1:]]
    return edit


def prove(spec: Spec, edit: Edit | None = None) -> Report:
    configuration = list(spec.configurations.values())[-1]
    return verify(spec, assemble(spec, plan_spec(spec), configuration, edit), configuration)


def changed(name: str, folder: Path, old: str, new: str) -> Spec:
    """A shipped spec with one change of its text, and few vectors."""
    text = spec_file(name).read_text().replace("vectors 0..255 raised by user 3 4 {", "vectors 7..9 raised by user 9 {")
    assert text.count(old) == 1
    path = folder / "changed.entry"
    path.write_text(text.replace(old, new))
    return load_spec(path)


# State that the lifter knows, or ignores, and that is in no claim: only a row of the .arch file admits an instruction.
FOREIGN = [
    ("x86_64", "movq %rax, %cr4"), ("x86_64", "movl %eax, %fs"), ("x86_64", "movl %eax, %ds"), ("x86_64", "pxor %xmm0, %xmm0"), ("x86_64", "fninit"),
    ("x86_64", "movq %rax, %dr7"), ("x86_64", "clts"), ("x86_64", "wbinvd"), ("x86_64", "cmovzq %rdx, %r12"), ("x86_64", "setz %bl"),
    ("arm64", "msr ttbr0_el1, x0"), ("arm64", "msr sctlr_el1, x0"), ("arm64", "msr spsel, #0"), ("arm64", "movi v0.16b, #0"), ("arm64", "msr fpcr, x1"),
]


@pytest.mark.parametrize(("name", "text"), FOREIGN)
@pytest.mark.parametrize("late", [False, True], ids=["before-c", "before-return"])
def test_instruction_without_a_row(name: str, text: str, late: bool, tmp_path: Path) -> None:
    spec = small_x86(tmp_path) if name == "x86_64" else load_spec(SPECS / "arm64.entry")
    line = {"x86_64": ("call do_syscall_64", "iretq"), "arm64": ("bl do_el0_sync", "eret")}[name][late]
    report = prove(spec, swap_lines(line, [text, line]))
    assert report.count("unknown") > 0
    assert not report.green


FRAME_TOO_LOW = [("sub sp, sp, #0x120", "sub sp, sp, #0x130"), ("add x21, sp, #0x120", "add x21, sp, #0x130")]


def lower_frame(lines: list[str]) -> list[str]:
    """The frame of a kernel interrupt lies 16 bytes too low: each one would lose 16 bytes of the interrupted stack."""
    start = lines.index(".Lel1h_irq:")
    for old, new in FRAME_TOO_LOW:
        lines = swap_lines(old, [new], lines[start])(lines)
    return lines


EDITS: list[tuple[str, str, Edit, str]] = [
    ("narrow-push", "x86_64", swap_lines("pushq %gs:0x68", [".byte 0x66, 0x65, 0xff, 0x34, 0x25, 0x68, 0, 0, 0"]), "ends with call do_syscall_64"),
    ("irqs-on-late", "x86_64", swap_lines("iretq", ["sti", "iretq"]), "only declared memory is touched"),
    ("irqs-on-late", "arm64", swap_lines("eret", ["msr daifclr, #0xf", "eret"]), "only declared memory is touched"),
    ("lost-stack", "arm64", lower_frame, "frame regs ends where its stack began"),
    ("not-at-top", "x86_64", swap_lines("movq %gs:0x4, %rsp", ["movq %gs:0x4, %rsp", "addq $-0x10, %rsp"]), "frame regs ends where its stack began"),
    ("below-sp", "arm64", swap_lines("ldr x30, [sp, #0xf0]", ["add sp, sp, #0x120", "ldp x30, x29, [sp, #-0x30]", "sub sp, sp, #0x120",
                                                            "ldp x28, x29, [sp, #0xe0]"], ".Leret_kernel:"), "only declared memory is touched"),
]


@pytest.mark.parametrize(("name", "edit", "claim"), [e[1:] for e in EDITS], ids=[f"{e[0]}-{e[1]}" for e in EDITS])
def test_wrong_code_of_known_forms(name: str, edit: Edit, claim: str, tmp_path: Path) -> None:
    report = prove(small_x86(tmp_path) if name == "x86_64" else load_spec(SPECS / "arm64.entry"), edit)
    assert claim in {v.claim.text for v in report.verdicts if v.verdict != "proved"}


# A step of the spec whose effect nothing else reads still has a claim.
STEPS = [
    ("x86_64", "    stack = task\n    label", "    percpu.current = r12\n    stack = task\n    label", "movq %r12, %gs:0x70", "percpu.current = r12"),
    ("x86_64", "cs = USER_CS, ip", "cs = percpu.current, ip", "pushq %gs:0x70", "regs.cs = percpu.current@1"),
    ("arm64", "    clear all\n    call f(regs)\n    exit eret_user", "    clear all\n    call f(regs, esr_el1)\n    exit eret_user", "mrs x1, esr_el1",
     "argument x1 is esr_el1"),
    ("arm64", "    restore all\n    return eret\n}\nexit eret_kernel",
     "    tpidrro_el0 = regs.orig_x0 using x21\n    restore all\n    return eret\n}\nexit eret_kernel", "msr tpidrro_el0, x21", "tpidrro_el0 = regs.orig_x0"),
]


@pytest.mark.parametrize(("name", "old", "new", "line", "claim"), STEPS, ids=["cell", "slot", "argument", "register"])
def test_every_step_has_a_claim(name: str, old: str, new: str, line: str, claim: str, tmp_path: Path) -> None:
    spec = changed(name, tmp_path, old, new)
    assert prove(spec).green
    report = prove(spec, swap_lines(line, ["pushq $0x0"] if line.startswith("push") else []))
    assert claim in {v.claim.text for v in report.verdicts if v.verdict == "refuted"}


def test_words_of_a_region(tmp_path: Path) -> None:
    """A word of the per-CPU block that only the kernel's page table maps is not touched with the user's."""
    file = tmp_path / "x86_64-small.entry"
    file.write_text(spec_file("x86_64").read_text())
    subprocess.run(["patch", "-s", str(file), str(ROOT / "examples" / "diff" / "pti.patch")], check=True)
    text = file.read_text().replace("vectors 0..255 raised by user 3 4 {", "vectors 7..9 raised by user 9 {")
    file.write_text(text)
    assert prove(load_spec(file)).green
    file.write_text(text.replace("    user_sp  : word\n", "    user_sp  : word in kernel\n"))
    report = prove(load_spec(file))
    assert any("percpu.user_sp needs table = kernel" in r.claim.detail for r in report.verdicts if r.verdict == "refuted")
