"""How each item, step and row is written: one example for each, by the kind of block that it stands in."""

from __future__ import annotations

from collections.abc import Mapping

# The first word of a block's statement -> the kind of what stands in it.
BLOCKS: Mapping[str, str] = {
    "": "item", **dict.fromkeys(("entry", "vectors", "kind", "path", "exit", "routine", "from", "if", "label"), "step"), "handler": "handler step",
    "frame": "slot", "memory": "member", "state": "row of a state", "boundary": "row of a boundary", "code": "row of a contract",
    "op": "row of an op", "decide": "row of an op", "method": "clause", "work": "row of work", "repeat": "row of work", "once": "row of work",
    "syscalls": "row of a system call table", "dispatch": "arm", "decisions": "row of decisions", "setup": "set-up value", "flags": "flag",
    "bracket": "row of a bracket", "save": "value of a slot", "hardware": "register", "configuration": "feature", "after": "fact"}

# What the words are called that stand before '=' or ':' in such a statement.
SUBJECTS: Mapping[str, str] = {"slot": "the slot name", "value of a slot": "the slot name", "set-up value": "the set-up value", "flag": "the flag name",
                               "member": "the member name", "fact": "the state name"}

# The kind of statement -> its first word -> an example. "" is a statement that starts with a name of the author's.
FORMS: Mapping[str, Mapping[str, str]] = {
    "item": {
        "version": 'version V6_12 "6.12"', "if": "if V6_12 { feature VERW : patch 3:18 } else { feature VERW : patch 11:18 }",
        "language": "language 1", "arch": "arch x86_64", "target": "target bare", "license": 'license "MIT"', "use": 'use "common.entry"',
        "feature": 'feature SMAP : build "the CPU has CLAC"', "configuration": "configuration smap { SMAP }", "const": "const ENOSYS = 38",
        "setup": "setup { star_kernel = 0x08 }", "memory": "memory percpu at gs_base needs gs = kernel { user_sp : word }",
        "state": "state gs { user; kernel; user -> kernel by swapgs }", "after": "after decision { gs_spec = loose }",
        "boundary": "boundary user { arrive gs = user; leave gs = user }", "code": "code c { needs gs = kernel }",
        "stack": "stack task top percpu.task_top entered by sp0 size 16384",
        "frame": "frame regs { gprs; vector = number; error = error_code else 0; hardware }",
        "entry": "entry syscall_64 on syscall from user { gs = kernel; goto common }", "vectors": "vectors 0..255 { save regs; goto common }",
        "kind": "kind exception(f) { save regs; call f(regs); goto leave }", "path": "path common { save regs; goto leave }",
        "exit": "exit iret_user of regs to user { restore all; return iretq }", "routine": "routine load_gs(selector) { return retq }",
        "window": "window user_gs where gs = user", "decisions": 'decisions { method 1 because "the return instruction ends the stack" }',
        "method": 'method sysret by sysret_64 { when regs.cx == regs.ip refusing other_ip "SYSRET loads ip from cx" }',
        "choose": "choose return_64 among sysret, iret", "flags": "flags thread { NEED_RESCHED = 0, SIGPENDING = 1 }",
        "hook": 'hook u64 thread_flags() "this thread\'s flags"', "bracket": "bracket user { enter user_left(regs); leave user_resumes(regs) }",
        "work": "work to_user of thread read thread_flags() { repeat irqs on { SIGPENDING -> deliver_signal(regs) } }",
        "syscalls": "syscalls native { number regs.error; args regs.di; result regs.ax; missing -38; 0 sys_exit(1) }",
        "handler": "handler do_trap(regs) { enter kernel; leave kernel }", "landing": "landing endbr64 if IBT", "shadow_stacks": "shadow_stacks if SHSTK",
        "region": "region kernel needs table = kernel", "symbol": "symbol native_irq_return_iret",
        "assume": 'assume &percpu >> 63 == 1 "per-CPU blocks lie in the kernel half"', "op": "op enter_table using t { t = cr3; cr3 = t }"},
    "step": {
        "": "gs = kernel", "save": "save regs { ss = USER_DS, sp = percpu.user_sp }", "restore": "restore all but di", "clear": "clear all",
        "call": "call do_syscall_64(regs) as syscall -> method", "jump": "jump thread_main(bx)", "goto": "goto trap", "exit": "exit iret_user",
        "from": "from user { exit iret_user }", "return": "return iretq", "label": "label safe_stack", "stack": "stack = task",
        "if": "if PTI { stack = entry } else { restore all }", "do": "do untrain, clear_history", "room": "room 48", "through": "through user_state",
        "assert": "assert regs.cs & 3 != 0", "drop": "drop regs", "reframe": "reframe regs", "adopt": "adopt switched at to"},
    "handler step": {
        "": "regs.ax = -ENOSYS", "enter": "enter user", "leave": "leave user", "irqs": "irqs on", "syscalls": "syscalls native", "work": "work to_user",
        "choose": "choose return_64", "do": "do nmi(regs)", "let": "let address = cr2", "from": "from user { enter user }",
        "dispatch": "dispatch regs.vector { 14 -> user_page_fault(regs); else -> user_exception(regs) }",
        "require": "require regs.ss & 4 == 0 else bad_stack_segment(regs)"},
    "slot": {"": "vector = number else 0", "hardware": "hardware { ip cs flags sp ss }", "gprs": "gprs"},
    "member": {"": "user_sp : word"},
    "row of a state": {"": "user means gs_base == user.gs_base"},
    "row of a boundary": {"arrive": "arrive gs = user, table = user", "leave": "leave gs = user", "stack": "stack in shared"},
    "row of a contract": {"needs": "needs gs = kernel, stack = task", "keeps": "keeps gs table", "align": "align 8"},
    "row of an op": {
        "": "t = cr3", "insn": "insn wrmsr", "decide": "decide gs_probe when u8 old == 0 { insn swapgs }", "if": "if PCID { t = cr3 } else { t = 0 }",
        "needs": "needs gs = ours", "clobbers": "clobbers ax cx", "sets": "sets returns = untrained", "writes": "writes regs.ip",
        "returns": "returns", "promises": 'promises regs.ip != 0 "it is the return address of a call"'},
    "clause": {"when": 'when regs.cx == regs.ip refusing other_ip "SYSRET loads ip from cx"'},
    "row of work": {"": "SIGPENDING -> deliver_signal(regs)", "repeat": "repeat irqs on { SIGPENDING -> deliver_signal(regs) }",
                    "once": "once irqs off { NEED_RESCHED -> preempt_schedule() }"},
    "row of a system call table": {"number": "number regs.error", "args": "args regs.di, regs.si", "result": "result regs.ax", "missing": "missing -ENOSYS",
                                   "": "0 sys_exit(1)"},
    "arm": {"": "32..255 -> interrupt(regs)", "else": "else -> user_exception(regs)"},
    "row of decisions": {"": 'origin 1 because "the interrupted GS base is not known yet"'},
    "set-up value": {"": "star_kernel = KERNEL_CS"}, "flag": {"": "SIGPENDING = 1"},
    "row of a bracket": {"enter": "enter user_left(regs)", "leave": "leave user_resumes(regs)"},
    "value of a slot": {"": "ss = USER_DS"}, "register": {"": "ip cs flags sp ss"}, "feature": {"": "SMAP PTI"}, "fact": {"": "gs_spec = loose"}}


def kind_of(block: str, around: str = "") -> str:
    """What stands in a block, by the first word of its statement; `around`: the item that it is part of."""
    if block in ("from", "if") and around in ("handler", "op"):
        return BLOCKS[around]
    if block == "if" and around in ("", "if"):  # items of some versions of a kernel
        return "item"
    return BLOCKS.get(block, "row")


def example(kind: str, head: str) -> str | None:
    """How such a statement is written."""
    forms = FORMS.get(kind, {})
    return forms.get(head, forms.get(""))


def homes(head: str) -> list[str]:
    """The kinds of statement that start with this word."""
    return [kind for kind, forms in FORMS.items() if head in forms]
