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


def _c(
    scenario: str, name: str, pattern: str, replacement: str, file: str = "entry.c", config: str = "base"
) -> Defect:
    """Edit C code, or the assembly where the place is no instruction of a path."""
    return Defect(scenario, "x86_64", name, file, pattern, replacement, config)


def _clause(name: str, condition: str, scenario: str = "methods", gate: int = 64) -> Defect:
    """SYSRET although this clause forbids it."""
    pattern = rf"(?m)^\tif \(!\({condition}\)\)\n\t\treturn RETURN_{gate}_REFUSED_[A-Z0-9_]+;\n"
    return _c(scenario, f"clause of {gate}-bit returns dropped: {name}", pattern, "")


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
    _asm("registers", "the user's stack kept", "syscall_64", (r"movq %gs:0x68, %rsp",)),
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
    _c("bad-number", "the number's upper half ignored", r"\bnumber = regs->error;",
       "number = (uint32_t)regs->error;"),
    _c("bad-number", "one number too many", r"number >= 10\b", "number > 10"),
    _c("bad-number", "another error", r"(number >= 10\) \{\n\t\tregs->ax = \(uint64_t\))-38;", r"\1-22;"),
    _c("registers", "fourth argument from rcx", r"regs->dx, regs->r10", "regs->dx, regs->cx"),
    _c("faults", "fault address from another register", r"(void do_trap\([^)]*\)\n\{[^}]*?)%%cr2", r"\1%%cr3"),
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
       r"(?s)(do_syscall_64\(.*?)(\twork_to_user\(regs\);\n)(.*?\tuser_resumes\(regs\);\n)", r"\1\3\2"),
    _c("preempt", "never preempted", r"preempt_schedule\(\);", "thread_flags_clear(NEED_RESCHED);"),
    _c("preempt", "preempted where that is forbidden", r" && preemptible\(\)", ""),
]

GATES_32 = [
    _asm("gates32", "rbx and rbp swapped when saved", "syscall_32", _push("rbx", "rbp"), _push("rbp", "rbx")),
    _asm("gates32", "returns to 64-bit code", "syscall_32", (r"pushq \$0x1b",), ("pushq $0x2b",)),
    _asm("gates32", "rsi and rdi swapped when restored", "sysret_32", _pop("rsi", "rdi"), _pop("rdi", "rsi")),
    _asm("gates32", "SYSRETQ to 32-bit code", "sysret_32", ("sysretl",), ("sysretq",)),
    _asm("gates32", "the page table of the kernel kept", "sysret_32", (r"movq %rsp, %cr3",), config="pti"),
    _asm("gates32", "sp from another register", "sysenter", _push("rcx"), _push("rdx")),
    _asm("gates32", "the user's flags kept", "sysenter", (r"pushq \$0x2", "popfq")),
    _asm("gates32", "rdi and rsi swapped when saved", "int80", _push("rdi", "rsi"), _push("rsi", "rdi")),
    _asm("gates32", "AC not cleared", "int80", ("clac",), config="smap"),
    _asm("gates32", "left on the entry stack", "int80", (r"movq %rax, %rsp",), config="pti"),
    _c("gates32", "user mode may not execute INT 0x80", r"\bint80, 3", "int80, 0", "entry_init.c"),
    _c("gates32", "first two arguments of INT 0x80 swapped",
       r"sys_add6\(\(uint32_t\)regs->bx, \(uint32_t\)regs->cx,", "sys_add6((uint32_t)regs->cx, (uint32_t)regs->bx,"),
    _c("gates32", "second argument of the fast gates from ecx",
       r"sys_write\(\(uint32_t\)regs->bx, \(uint32_t\)regs->si\)", "sys_write((uint32_t)regs->bx, (uint32_t)regs->cx)"),
    _c("gates32", "interrupts off after SYSENTER", r"\tregs->flags = regs->flags \| ENTRY_IF;\n", ""),
    _c("gates32", "all of rax is the number", r"regs->error = \(uint32_t\)regs->ax;\n",
       "regs->error = regs->ax >> 32 ? 99 : regs->ax;\n"),
]

BAD_RETURNS = [
    _asm("bad-returns", "a fault of IRET is the kernel's", "trap", (r"jz \.Ltrap_from_bad_iret",)),
    _asm("bad-returns", "the user's GS base kept", "iret_kernel", ("swapgs",)),
    _asm("bad-returns", "the user's page table kept", "iret_kernel", (r"movq %rax, %cr3",), config="pti"),
    _c("bad-returns", "sp of the fault", r" = from\[3\];", " = regs->sp;"),
    _c("bad-returns", "cs of the fault", r" = from\[1\];", " = USER_CS;"),
    _c("bad-returns", "ip and flags swapped", r" = from\[0\];", " = from[2];"),
]

DEBUG = [
    _clause("rf or tf", r"\(regs->flags & [^\n]*\) == 0", "single-step"),
    _clause("rf or tf", r"\(regs->flags & [^\n]*\) == 0", "single-step", 32),
    _asm("single-step", "r9 and r8 swapped when restored", "iret_paranoid", _pop("r9", "r8"), _pop("r8", "r9")),
    _asm("single-step", "left on the stack of #DB", "ist", (r"movq %rax, %rsp",)),
    _asm("breakpoints", "sign of the GS base inverted", "ist", (r"js (\S+)",), (r"jns \2",)),
    _asm("breakpoints", "GS base always kept", "iret_paranoid", ("swapgs",)),
    _asm("breakpoints", "GS base not written", "ist", (r"wrgsbase %rax",), config="fsgsbase"),
    _asm("breakpoints", "GS base not restored", "iret_paranoid", (r"wrgsbase %rbx",), config="fsgsbase"),
    _asm("breakpoints", "page table not restored", "iret_paranoid", (r"movq %r14, %cr3",), config="pti"),
    _asm("breakpoints", "rdx and rcx swapped when saved", "ist", _push("rdx", "rcx"), _push("rcx", "rdx")),
    _c("breakpoints", "#DB on the stack that it finds", r"debug_trap, 0, 3", "debug_trap, 0, 0", "entry_init.c"),
    _asm("mov-ss", "left on the stack of #DB", "ist", (r"movq %rax, %rsp",)),
    _c("mov-ss", "user mode may not execute INT3", r"\bvector_3, 3", "vector_3, 0", "entry_init.c"),
]

HOSTILE = [
    _asm("hostile", "DF not cleared", "int80", ("cld",)),
    _asm("hostile", "pushes on the user's stack", "syscall_64", (r"movq %rsp, %gs:0x70",), (r"pushq %rax; popq %rax; movq %rsp, %gs:0x70",)),
    _asm("hostile", "GS base not written", "ist", (r"wrgsbase %rax",), config="fsgsbase"),
    _asm("hostile", "GS base not restored", "iret_paranoid", (r"wrgsbase %rbx",), config="fsgsbase"),
    _c("hostile", "NT not cleared", r"UINT64_C\(0x257fd5\)", "UINT64_C(0x253fd5)", "entry_init.c"),
    _c("hostile", "AC not cleared", r"UINT64_C\(0x257fd5\)", "UINT64_C(0x217fd5)", "entry_init.c", "smap"),
]

ISOLATION = [
    _c("isolation", "IDT among the kernel's data", r'section\("\.entry\.data"\)', 'section(".data")', "entry_init.c", "pti"),
    _c("isolation", "entry code among the kernel's", r"\.section \.entry\.text", ".section .text", "entry.S", "pti"),
    _asm("isolation", "the page table of the kernel kept", "sysret_64", (r"movq %rsp, %cr3",), config="pti"),
    _asm("isolation", "the page table of the user kept", "syscall_64", (r"movq %rsp, %cr3",), config="pti"),
]

NMI = [
    _asm("nmi", "the user's GS base kept", "nmi_trap", ("swapgs",)),
    _asm("nmi", "left on the stack of NMIs", "nmi_trap", (r"movq %rax, %rsp",)),
    _asm("nmi", "the second one runs on the stack of the first", "nmi_trap", (r"jz \.Lnmi_redirect",)),
    _asm("nmi", "the first one is not run again", "nmi_trap", (r"jz \.Lnmi_redirect",), ("jz .Lnmi_leave",)),
    _asm("nmi", "rdx not restored", "nmi_leave", (r"movq 0x0\(%rsp\), %rdx",)),
    _asm("nmi", "the way back not written", "nmi_run", (r"movq %rax, 0xb0\(%rsp\)",)),
    _asm("nmi", "running for ever", "iret_nmi", (r"movq \$0x0, 0x28\(%rsp\)",)),
    _asm("nmi", "GS base always kept", "iret_nmi", ("swapgs",)),
    _asm("ipis", "a stub with the number of another one", "vector_83", (r"pushq \$0x53",), ("pushq $0x54",)),
    _asm("ipis", "a stub without a number", "vector_200", (r"pushq \$0xc8",)),
    _c("ipis", "a gate that leads to the stub beside it", r"\[120\] = \{ vector_120,", "[120] = { vector_121,", "entry_init.c"),
    # Many: one alone may never come while its CPU is in user mode.
    _c("ipis", "vectors that are taken for exceptions of user mode", r"(?s)case 32 \.\.\. 255:(.*case 32)", r"case 32 ... 127:\1"),
    _c("nmi", "NMIs on the stack that they find", r"nmi_trap, 0, 2", "nmi_trap, 0, 0", "entry_init.c"),
]

SWITCH = [
    _asm("preempt", "rbp and rbx swapped when a thread goes on", "switch_stack", _pop("rbp", "rbx"), _pop("rbx", "rbp")),
    _asm("fork-return", "a thread's argument from another register", "thread_start", (r"movq %r12, %rsi",), ("movq %r13, %rsi",)),
    _c("load-gs", "the user's GS base kept", r"(ENTRY_INNER\(load_gs_change\)\n\tmovl\t%edi, %gs\n(?:\t\.cfi[^\n]*\n)*)\tswapgs[^\n]*\n", r"\1", "entry.S"),
    _asm("load-gs", "the kernel's GS base overwritten", "load_gs", ("swapgs",)),
    _asm("load-gs", "a bad selector is the kernel's fault", "trap", (r"jz \.Ltrap_from_bad_gs",)),
]

DEFECTS = ASSEMBLY + C_CODE + GATES_32 + BAD_RETURNS + DEBUG + HOSTILE + ISOLATION + NMI + SWITCH
