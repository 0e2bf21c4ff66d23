"""Defects for the generated x86-64 code: each must make the scenario that it names fail on the emulator."""

from __future__ import annotations

from boot import Defect


def _asm(
    scenario: str,
    name: str,
    path: str,
    instructions: tuple[str, ...],
    instead: tuple[str, ...] = (),
    config: str = "base",
) -> Defect:
    """Replace (or drop) neighbouring instructions of a path of entry.S, where they first stand so."""
    line = r"\t{}[ \t]*(?:/\*[^\n]*)?\n(?:\t\.cfi[^\n]*\n)*"
    lines = "".join(line.format(text.replace(" ", r"[ \t]+")) for text in instructions)
    pattern = rf"(?ms)(^ENTRY_START\({path}\)(?:(?!^ENTRY_END).)*?\n){lines}"
    replacement = r"\1" + "".join(f"\t{text}\n" for text in instead)
    return Defect(scenario, "x86_64", name, "entry.S", pattern, replacement, config)


def _c(scenario: str, name: str, pattern: str, replacement: str, file: str = "entry.c") -> Defect:
    """Edit C code."""
    return Defect(scenario, "x86_64", name, file, pattern, replacement)


def _clause(name: str, condition: str) -> Defect:
    """SYSRET although this clause forbids it."""
    pattern = rf"(?m)^\tif \(!\({condition}\)\)\n\t\treturn RETURN_64_REFUSED_[A-Z0-9_]+;\n"
    return _c("methods", f"clause dropped: {name}", pattern, "")


def _push(*registers: str) -> tuple[str, ...]:
    return tuple(rf"pushq %{register}" for register in registers)


def _pop(*registers: str) -> tuple[str, ...]:
    return tuple(rf"popq %{register}" for register in registers)


ASSEMBLY = [
    _asm("bad-number", "another register in the number's slot", "syscall_64", _push("rax"), _push("rcx")),
    _asm("registers", "rbx and rbp swapped when saved", "syscall_64", _push("rbx", "rbp"),
         _push("rbp", "rbx")),
    _asm("registers", "r10 not saved", "syscall_64", _push("r10"), _push("r9")),
    _asm("registers", "a register too many", "syscall_64", _push("r15"), _push("r15", "r15")),
    _asm("registers", "the user's GS base kept", "syscall_64", ("swapgs",)),
    _asm("registers", "the user's stack kept", "syscall_64", (r"movq %gs:0x4, %rsp",)),
    _asm("registers", "r12 and rbp swapped when restored", "sysret_64", _pop("r12", "rbp"),
         _pop("rbp", "r12")),
    _asm("registers", "the kernel's GS base kept", "sysret_64", ("swapgs",)),
    _asm("registers", "the kernel's stack kept", "sysret_64", (r"movq 0x28\(%rsp\), %rsp",)),
    _asm("interrupts", "rdi and rsi swapped when saved", "trap", _push("rdi", "rsi"), _push("rsi", "rdi")),
    _asm("interrupts", "DF not cleared", "trap", ("cld",)),
    _asm("interrupts", "AC not cleared", "trap", ("clac",), config="smap"),
    _asm("interrupts", "the user's GS base kept", "trap", ("swapgs",)),
    _asm("interrupts", "the kernel's GS base kept", "iret_user", ("swapgs",)),
    _asm("interrupts", "r9 and r8 swapped when restored", "iret_user", _pop("r9", "r8"), _pop("r8", "r9")),
    _asm("faults", "no filler without an error code", "vector_6", (r"pushq \$0x0",)),
    _asm("faults", "a filler beside an error code", "vector_13", (r"pushq \$0xd",),
         ("pushq $0", "pushq $13")),
    _asm("faults", "wrong vector number", "vector_4", (r"pushq \$0x4",), ("pushq $5",)),
    _asm("preempt", "r14 and r13 swapped when restored", "iret_kernel", _pop("r14", "r13"),
         _pop("r13", "r14")),
    _asm("preempt", "the user's GS base in the kernel", "iret_kernel", ("iretq",), ("swapgs", "iretq")),
    _asm("preempt", "origin test inverted", "trap", (r"jz (\S+)",), (r"jnz \2",)),
    _asm("fork-return", "not the given frame", "return_to_user", (r"movq %rdi, %rsp",),
         ("leaq 8(%rdi), %rsp",)),
    _asm("fork-return", "r15 and r14 swapped when restored", "iret_user", _pop("r15", "r14"),
         _pop("r14", "r15")),
    _asm("methods", "method test inverted", "syscall_64", (r"jz (\S+)",), (r"jnz \2",)),
]

_AFTER_WORK = r"(notify_resume\(regs\);\n\t\t\}\n)\t\tENTRY_IRQS_OFF\(\);\n"

C_CODE = [
    _c("bad-number", "the number's upper half ignored", r"number = regs->error;",
       "number = (uint32_t)regs->error;"),
    _c("bad-number", "one number too many", r"number >= (\d+)", r"number > \1"),
    _c("bad-number", "another error", r"\(uint64_t\)-38;", "(uint64_t)-22;"),
    _c("registers", "fourth argument from rcx", r"regs->r10", "regs->cx"),
    _c("faults", "fault address from another register", "%%cr2", "%%cr3"),
    _c("faults", "page faults without their address", r"user_page_fault\(regs, address\)",
       "user_page_fault(regs, 0)"),
    _c("faults", "user mode may not raise #BP", r"\bvector_3, 3", "vector_3, 0", "entry_init.c"),
    _c("faults", "user mode may raise any vector", r"vector_32, 0", "vector_32, 3", "entry_init.c"),
    _clause("ip in cx", r"regs->cx == regs->ip"),
    _clause("flags in r11", r"regs->r11 == regs->flags"),
    _clause("cs", r"regs->cs == USER_CS"),
    _clause("ss", r"regs->ss == USER_DS"),
    _clause("high ip", r"regs->ip < USER_END"),
    _clause("rf or tf", r"\(regs->flags & [^\n]*\) == 0"),
    _c("methods", "refusals not counted", r"counts->refused\[refusal\]\+\+;", ""),
    _c("methods", "SYSRET counted as IRET", r"counts->returned\[RETURN_64_SYSRET\]",
       "counts->returned[RETURN_64_IRET]"),
    _c("exit-work", "one-shot flag not cleared", r"thread_flags_clear\(NOTIFY_RESUME\);", ""),
    _c("exit-work", "signals not looked for", r"NEED_RESCHED \| SIGPENDING \|", "NEED_RESCHED |"),
    _c("exit-work", "flags read with interrupts on", _AFTER_WORK, r"\1"),
    _c("exit-work", "left with work pending", _AFTER_WORK, r"\1\t\tENTRY_IRQS_OFF();\n\t\treturn;\n"),
    _c("exit-work", "work left when an interrupt returns to user mode",
       r"(?s)(void do_trap\(.*?)\twork_to_user\(regs\);\n", r"\1"),
    _c("exit-work", "work after the last bookkeeping",
       r"(?s)(do_syscall_64\(.*?)(\twork_to_user\(regs\);\n)(\tuser_resumes\(regs\);\n)", r"\1\3\2"),
    _c("preempt", "never preempted", r"preempt_schedule\(\);", "thread_flags_clear(NEED_RESCHED);"),
    _c("preempt", "preempted where that is forbidden", r" && preemptible\(\)", ""),
]

DEFECTS = ASSEMBLY + C_CODE
