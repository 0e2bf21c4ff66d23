"""Defects for the generated arm64 code: each must make the scenario that it names fail on the emulator."""

from __future__ import annotations

from boot import Defect


def _in(path: str, instruction: str) -> str:
    """The first such instruction of a path of entry.S; group 1 is all before it."""
    return rf"(?s)(ENTRY_START\({path}\)(?:(?!ENTRY_END).)*?)(?<=\n)\t{instruction}[^\n]*\n"


def _c(scenario: str, name: str, pattern: str, replacement: str) -> Defect:
    """Edit entry.c."""
    return Defect(scenario, "arm64", name, "entry.c", pattern, replacement)


def _row(scenario: str, name: str, path: str, instruction: str, instead: str = "") -> Defect:
    """Replace an instruction of a path, or drop it."""
    replacement = rf"\1\t{instead}\n" if instead else r"\1"
    return Defect(scenario, "arm64", name, "entry.S", _in(path, instruction), replacement)


ASSEMBLY = [
    _row("bad-number", "x7 not saved by system calls", "el0_64_sync", r"stp\tx6, x7, \[sp, #0x30\]",
         "str\tx6, [sp, #0x30]"),
    _row("registers", "x18 and x19 swapped when saved", "el0_64_sync", r"stp\tx18, x19, \[sp, #0x90\]",
         "stp\tx19, x18, [sp, #0x90]"),
    _row("registers", "x16 and x17 not restored", "eret_user", r"ldp\tx16, x17, \[sp, #0x80\]"),
    _row("registers", "the user's flags not read", "el0_64_sync", r"mrs\tx23, spsr_el1"),
    _row("registers", "the user's stack pointer not restored", "eret_user", r"msr\tsp_el0, x23"),
    _row("registers", "x23 used before it is saved", "el0_64_sync", r"sub\tsp, sp, #0x120",
         "sub\tsp, sp, #0x120\n\tmrs\tx23, spsr_el1"),
    _row("interrupts", "x10 and x11 swapped when saved", "el0_64_irq", r"stp\tx10, x11, \[sp, #0x50\]",
         "stp\tx11, x10, [sp, #0x50]"),
    _row("interrupts", "x28 lost to the scratch register", "el0_64_irq", r"stp\tx28, x29, \[sp, #0xe0\]",
         "mrs\tx28, tpidr_el1\n\tstp\tx28, x29, [sp, #0xe0]"),
    _row("interrupts", "sp_el0 stays the user's", "el0_64_irq", r"msr\tsp_el0, x28"),
    _row("faults", "x16 and x17 swapped when saved", "el0_64_sync", r"stp\tx16, x17, \[sp, #0x80\]",
         "stp\tx17, x16, [sp, #0x80]"),
    _row("exit-work", "the return address is not the frame's", "eret_user", r"msr\telr_el1, x21"),
    _row("preempt", "x12 and x13 swapped when saved", "el1h_irq", r"stp\tx12, x13, \[sp, #0x60\]",
         "stp\tx13, x12, [sp, #0x60]"),
    _row("preempt", "x14 and x15 not restored", "eret_kernel", r"ldp\tx14, x15, \[sp, #0x70\]"),
    _row("preempt", "the kernel's flags not restored", "eret_kernel", r"msr\tspsr_el1, x22"),
    _row("fork-return", "stack pointer is not the frame", "return_to_user", r"mov\tsp, x0",
         "sub\tsp, x0, #0x10"),
    _row("fork-return", "first entry without the user's stack pointer", "return_to_user", r"b\t(?:\.L)?eret_user",
         "b\teret_kernel"),
    _row("bases", "tpidr_el0 used as scratch", "eret_user", r"msr\tsp_el0, x23",
         "msr\ttpidr_el0, x23\n\tmsr\tsp_el0, x23"),
    _row("bad-mode", "EL1t: the frame's sp is SP_EL1", "el1t_sync", r"mrs\tx21, sp_el0",
         "add\tx21, sp, #0x120"),
    _row("bad-mode", "EL1t: x0 and x1 swapped when saved", "el1t_sync", r"stp\tx0, x1, \[sp, #0x0\]",
         "stp\tx1, x0, [sp, #0x0]"),
    _row("bad-mode", "AArch32: pc not read", "el0_32_sync", r"mrs\tx22, elr_el1"),
]

C_CODE = [
    _c("bad-number", "the number's upper half ignored", r"regs->syscallno = regs->x8",
       "regs->syscallno = (uint32_t)regs->x8"),
    _c("bad-number", "bound off by one", r"number >= 10", "number > 10"),
    _c("bad-number", "no such call: another result", r"\(uint64_t\)-38", "(uint64_t)-22"),
    _c("registers", "the number is another register", r"regs->syscallno = regs->x8",
       "regs->syscallno = regs->x7"),
    _c("registers", "fourth and fifth argument swapped", r"regs->x3, regs->x4", "regs->x4, regs->x3"),
    _c("faults", "fault address from another register", r"(?s)(do_el0_sync.*?)far_el1", r"\1elr_el1"),
    _c("faults", "instruction aborts without their address", r"case EC_INSTRUCTION_ABORT:", "case 0x3f:"),
    _c("exit-work", "one-shot flag not cleared", r"thread_flags_clear\(NOTIFY_RESUME\);", ";"),
    _c("exit-work", "flags read with interrupts on",
       r"(notify_resume\(regs\);\n\t\t\}\n)\t\tENTRY_IRQS_OFF\(\);\n", r"\1"),
    _c("exit-work", "left after one round", r"(notify_resume\(regs\);\n\t\t\}\n\t\tENTRY_IRQS_OFF\(\);\n)",
       r"\1\t\treturn;\n"),
    _c("exit-work", "work left when an interrupt returns to user mode",
       r"(?s)(do_el0_irq\(struct regs \*regs\)\s*\{.*?)work_to_user\(regs\);", r"\1"),
    _c("preempt", "never preempted", r"preempt_schedule\(\);", "{ }"),
    _c("preempt", "preempted where that is forbidden", r" && preemptible\(\)", ""),
    _c("preempt", "the kernel's bracket is not closed",
       r"(?s)(do_el1_irq\(struct regs \*regs\)\s*\{.*?)kernel_resumes\(regs\);", r"\1"),
]

DEFECTS = ASSEMBLY + C_CODE
