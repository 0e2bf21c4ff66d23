"""Runs the exit work of a built Linux object in an emulator, and says what a description predicts of it.

The object is linked alone: each symbol that it lacks gets a page of its own, and a call there is an event, with the interrupt state at that moment. Flags are
words of the running thread's thread_info (its first word on all CPUs here). Nothing is patched but what the kernel patches once at boot.
"""

from __future__ import annotations

import re
import struct
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import unicorn
from elftools.elf.elffile import ELFFile
from entryc.model.expr import Expr, HookCall, SlotRef, evaluate
from entryc.model.spec import Spec, Work
from unicorn import arm64_const, riscv_const, x86_const

TEXT, OUTSIDE, TASK, STACK, REGS, END = 0x400000, 0x1000000, 0x40000000, 0x50000000, 0x50008000, 0x60000000
# Functions that only warn or trace calls; that come back at once with interrupts off; that go with every switch of interrupts in C.
SILENT = frozenset(["__fentry__", "__x86_return_thunk", "rcu_irq_exit_check_preempt", "rcu_is_watching", "debug_lockdep_rcu_enabled",
                    "fpregs_assert_state_consistent"])
PREEMPTING = frozenset(f"preempt_schedule{kind}{thunk}" for kind in ("", "_notrace") for thunk in ("", "_thunk"))
SWITCHING = frozenset(["trace_hardirqs_on", "trace_hardirqs_off"])


@dataclass(frozen=True)
class Event:
    """A call of a function outside, or "-FLAG": flags that the code cleared."""

    what: str
    irqs_on: bool


@dataclass(frozen=True)
class Cpu:
    """What the emulator has to know of a CPU."""

    link: str                                   # ld -m
    engine: tuple[int, int]
    pc: int
    sp: int
    link_register: int | None
    arguments: tuple[int, int]
    result: int
    current: int | None                         # the register that names the running thread
    irqs_on: Callable[[unicorn.Uc], bool]


def _privileged(uc: unicorn.Uc) -> bool:
    return bool(uc.reg_read(riscv_const.UC_RISCV_REG_SSTATUS) & 2)


CPUS = {
    "x86_64": Cpu("elf_x86_64", (unicorn.UC_ARCH_X86, unicorn.UC_MODE_64), x86_const.UC_X86_REG_RIP, x86_const.UC_X86_REG_RSP, None,
                  (x86_const.UC_X86_REG_RDI, x86_const.UC_X86_REG_RSI), x86_const.UC_X86_REG_RAX, None,
                  lambda uc: bool(uc.reg_read(x86_const.UC_X86_REG_EFLAGS) & 0x200)),
    "arm64": Cpu("aarch64linux", (unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM), arm64_const.UC_ARM64_REG_PC, arm64_const.UC_ARM64_REG_SP,
                 arm64_const.UC_ARM64_REG_LR, (arm64_const.UC_ARM64_REG_X0, arm64_const.UC_ARM64_REG_X1), arm64_const.UC_ARM64_REG_X0,
                 arm64_const.UC_ARM64_REG_SP_EL0, lambda uc: not uc.reg_read(arm64_const.UC_ARM64_REG_PSTATE) & 0x80),
    "riscv64": Cpu("elf64lriscv", (unicorn.UC_ARCH_RISCV, unicorn.UC_MODE_RISCV64), riscv_const.UC_RISCV_REG_PC, riscv_const.UC_RISCV_REG_SP,
                   riscv_const.UC_RISCV_REG_RA, (riscv_const.UC_RISCV_REG_A0, riscv_const.UC_RISCV_REG_A1), riscv_const.UC_RISCV_REG_A0,
                   riscv_const.UC_RISCV_REG_TP, _privileged),
}


@dataclass(frozen=True)
class Plan:
    """How a kernel object is run. enter/leave: the functions; handler: calls between entering and leaving, when one function does both."""

    variant: str
    objects: tuple[str, ...]
    enter: dict[str, str]                       # origin -> function
    leave: dict[str, str]
    handler: tuple[str, ...] = ()
    preempt_count: int | str = 8                # its place in thread_info, or the per-CPU symbol that it stands behind
    mirrored: bool = False                      # its high word is 0 where a switch is asked for


GENERIC = {"user": "irqentry_enter_from_user_mode", "kernel": "irqentry_enter"}, {"user": "irqentry_exit_to_user_mode", "kernel": "irqentry_exit"}
PLANS = {
    "x86_64-6.12": Plan("exit-x86_64-6.12", ("common.o",), *GENERIC, preempt_count="pcpu_hot"),
    "riscv64-6.12": Plan("exit-riscv64-6.12", ("common.o",), *GENERIC),
    "arm64-6.12": Plan("exit-arm64-6.12", ("entry-common.o",), {"user": "el0t_64_irq_handler", "kernel": "el1h_64_irq_handler"}, {},
                       ("irq_enter_rcu", "call_on_irq_stack", "handle_the_interrupt", "irq_exit_rcu"), mirrored=True),
    "riscv64-6.1": Plan("exit-riscv64-6.1", ("entry.o", "signal.o"), {"user": "handle_exception", "kernel": "handle_exception"}, {},
                        ("generic_handle_arch_irq",)),
}


@dataclass
class Case:
    """The state in which a round trip is made."""

    origin: str = "user"
    irqs_were_on: bool = True
    idle: bool = False
    flags: int = 0
    preempt_count: int = 0
    finalized: bool = True
    clears: dict[str, int] = field(default_factory=dict)        # function -> flags that its work takes away
    raises: dict[str, int] = field(default_factory=dict)        # function -> flags that come up while it runs the first time
    effects: dict[str, Callable[[unicorn.Uc], None]] = field(default_factory=dict)      # function -> what it does


class Image:
    """A linked object, and what to do with it."""

    def __init__(self, plan: Plan, spec: Spec, folder: Path, work: Path) -> None:
        self.plan, self.spec, self.cpu = plan, spec, CPUS[spec.arch.name]
        objects = [folder / name for name in plan.objects]
        undefined: set[str] = {"handle_the_interrupt"}
        defined: set[str] = set()
        for file in objects:
            with file.open("rb") as f:
                for s in ELFFile(f).get_section_by_name(".symtab").iter_symbols():
                    weak = s["st_info"]["bind"] == "STB_WEAK"       # another object has the real one
                    (undefined if s["st_shndx"] == "SHN_UNDEF" or weak else defined).add(s.name)
        self.outside = {name: OUTSIDE + 0x1000 * i for i, name in enumerate(sorted(undefined - defined - {""}))}
        self.named = {at: name for name, at in self.outside.items()}
        target = work / f"{spec.name}.elf"
        script = work / f"{spec.name}.script"
        script.write_text("\n".join([*map(str, objects), f"-m {self.cpu.link}", f"-o {target}", f"-Ttext-segment={TEXT:#x}", "-e 0", "--no-relax",
                                     *(f"--defsym={n}={at:#x}" for n, at in self.outside.items())]))
        subprocess.run([f"{spec.arch.tools['gas'][0]}-ld", f"@{script}"], check=True, capture_output=True, text=True)
        with target.open("rb") as f:
            elf = ELFFile(f)
            self.segments = [(s["p_vaddr"], s["p_memsz"], s.data()) for s in elf.iter_segments("PT_LOAD")]
            self.symbols = {s.name: s["st_value"] for s in elf.get_section_by_name(".symtab").iter_symbols() if s.name}
            table = elf.get_section_by_name(".altinstructions")
            self.alternatives = (table["sh_addr"], table.data()) if table is not None else (0, b"")
        header = folder / "cpucap-defs.h"
        found = re.search(r"ARM64_ALWAYS_SYSTEM\s+(\d+)", header.read_text()) if header.exists() else None
        self.always = int(found[1]) if found is not None else None

    def round_trip(self, case: Case) -> tuple[list[Event], list[Event], list[bool]]:
        """(calls on the way in, calls on the way out, interrupt state at each read of the flags on the way out)."""
        run = Machine(self, case)
        if self.plan.leave:
            run.function(self.plan.enter[case.origin], run.regs)
            state, inward = run.uc.reg_read(self.cpu.result), run.take()
            run.function(self.plan.leave[case.origin], run.regs, state)
            return inward, run.take(), run.reads
        run.function(self.plan.enter[case.origin], run.regs)
        events = run.take()
        marks = [i for i, e in enumerate(events) if e.what in self.plan.handler]
        assert marks, f"no handler was called: {events}"
        return events[:marks[0]], events[marks[-1] + 1:], run.reads


class Machine:
    """One machine, one round trip."""

    def __init__(self, image: Image, case: Case) -> None:
        self.image, self.case, self.cpu, self.events, self.regs = image, case, image.cpu, [], REGS
        self.reads: list[bool] = []
        self.raised: set[str] = set()
        self.uc = uc = unicorn.Uc(*self.cpu.engine)
        self.mapped: set[int] = set()
        for base, size in ((OUTSIDE, 0x1000 * len(image.outside)), (TASK, 0x10000), (STACK, 0x10000), (END, 0x1000)):
            self.map(base, size)
        for at, size, data in image.segments:
            self.map(at, size)
            uc.mem_write(at, data)
        uc.mem_write(OUTSIDE, struct.pack("<I", 2) * (0x400 * len(image.outside)))      # keys are on, context tracking has us in user mode
        uc.mem_write(TASK, struct.pack("<I", 2 if case.idle else 1) * 0x4000)           # PF_IDLE is 2
        self.boot()
        self.frame()
        uc.hook_add(unicorn.UC_HOOK_CODE, self.code, begin=OUTSIDE, end=OUTSIDE + 0x1000 * len(image.outside))
        uc.hook_add(unicorn.UC_HOOK_MEM_WRITE, self.wrote, begin=TASK, end=TASK + 7)
        uc.hook_add(unicorn.UC_HOOK_MEM_READ, self.read, begin=TASK, end=TASK + 7)
        uc.hook_add(unicorn.UC_HOOK_MEM_UNMAPPED, lambda u, kind, at, *_: self.map(at, 1))

    def map(self, at: int, size: int) -> bool:
        for page in range(at & ~0xfff, at + size, 0x1000):
            if page not in self.mapped:
                self.uc.mem_map(page, 0x1000)
                self.mapped.add(page)
        return True

    def word(self, symbol: str, *values: int, width: str = "Q") -> None:
        if symbol in self.image.outside:
            self.uc.mem_write(self.image.outside[symbol], struct.pack(f"<{len(values)}{width}", *values))

    def boot(self) -> None:
        """What the kernel has set up long before."""
        case, plan, uc = self.case, self.image.plan, self.uc
        uc.mem_write(TASK, struct.pack("<Q", case.flags))
        for name in ("pcpu_hot", "const_pcpu_hot"):
            self.word(name, TASK, case.preempt_count)
        if isinstance(plan.preempt_count, int):
            uc.mem_write(TASK + plan.preempt_count, struct.pack("<Q", case.preempt_count))
        if plan.mirrored:
            asked = case.flags >> self.image.spec.flag_sets["thread"]["NEED_RESCHED"] & 1
            uc.mem_write(TASK + 12, struct.pack("<I", 1 - asked))
        for name in ("hardirqs_enabled", "hardirq_context", "lockdep_recursion", "this_cpu_off"):
            self.word(name, 0)
        self.word("cpu_current_top_of_stack", STACK + 0x4000)
        self.word("tick_nohz_full_mask", *[(1 << 64) - 1] * 8)
        self.word("handle_arch_irq", self.image.outside["handle_the_interrupt"])
        self.word("__per_cpu_offset", *[0] * 64)
        if self.cpu.current is not None:
            uc.reg_write(self.cpu.current, TASK)
        if self.image.always is not None and case.finalized:
            self.finalize(self.image.always)

    def finalize(self, always: int) -> None:
        """arch/arm64/include/asm/alternative-macros.h: branches for the capability that the system always has become NOPs."""
        base, data = self.image.alternatives
        for at in range(0, len(data), 12):
            original, _, capability, size, _ = struct.unpack_from("<iiHBB", data, at)
            if capability & 0x7fff == always:
                self.uc.mem_write(base + at + original, b"\x1f\x20\x03\xd5" * (size // 4))

    def frame(self) -> None:
        """The saved registers; on the CPU where assembly saves them, the registers of the event."""
        case = self.case
        slots = next(iter(self.image.spec.frames.values())).slots
        values = {"cs": 0x33 if case.origin == "user" else 0x10, "flags": 0x200 * case.irqs_were_on, "pstate": 0x80 * (not case.irqs_were_on),
                  "status": 0x100 * (case.origin == "kernel") + 0x20 * case.irqs_were_on}
        for name, value in values.items():
            if name in slots:
                self.uc.mem_write(REGS + slots[name].offset, struct.pack("<Q", value))
        if "status" in slots:
            self.uc.reg_write(riscv_const.UC_RISCV_REG_SSTATUS, values["status"])
            self.uc.reg_write(riscv_const.UC_RISCV_REG_SCAUSE, 1 << 63 | 9)
            self.uc.reg_write(riscv_const.UC_RISCV_REG_SEPC, END)
            if not self.image.plan.leave:
                self.uc.reg_write(riscv_const.UC_RISCV_REG_SSCRATCH, TASK if case.origin == "user" else 0)

    def function(self, name: str, *arguments: int) -> None:
        """Call it, up to its return: to the caller, or from the event."""
        uc, cpu = self.uc, self.cpu
        uc.reg_write(cpu.sp, STACK + 0x4000)
        for register, value in zip(cpu.arguments, arguments, strict=False):
            uc.reg_write(register, value)
        if cpu.link_register is None:
            uc.mem_write(STACK + 0x3ff8, struct.pack("<Q", END))
            uc.reg_write(cpu.sp, STACK + 0x3ff8)
        else:
            uc.reg_write(cpu.link_register, END)
        self.start(name)
        assert uc.reg_read(cpu.pc) == END, f"{name} does not come back: {self.events[:20]}"

    def start(self, name: str) -> None:
        """Run from a symbol, to the end or to where a hook stops."""
        try:
            self.uc.emu_start(self.image.symbols[name], END, count=200000)
        except unicorn.UcError as problem:
            at = self.uc.reg_read(self.cpu.pc)
            raise AssertionError(f"{name} stops at {at:#x}: {problem}; {bytes(self.uc.mem_read(at, 8)).hex()}; {self.events}") from None

    def take(self) -> list[Event]:
        out, self.events = self.events, []
        return out

    def code(self, uc: unicorn.Uc, at: int, size: int, _: object) -> None:
        name = self.image.named.get(at)
        assert name is not None, f"a jump to {at:#x}"
        off = name in PREEMPTING and not self.cpu.irqs_on(uc)
        if name not in SILENT and not off and not (name in SWITCHING and self.case.origin == "user"):
            self.events.append(Event(name, self.cpu.irqs_on(uc)))
        flags = struct.unpack("<Q", uc.mem_read(TASK, 8))[0] & ~self.case.clears.get(name, 0)
        if name in self.case.raises and name not in self.raised:
            self.raised.add(name)
            flags |= self.case.raises[name]
        uc.mem_write(TASK, struct.pack("<Q", flags))
        if name != "__x86_return_thunk":
            uc.reg_write(self.cpu.result, 0)
        if name in self.case.effects:
            self.case.effects[name](uc)
        if self.cpu.link_register is None:
            sp = uc.reg_read(self.cpu.sp)
            uc.reg_write(self.cpu.pc, struct.unpack("<Q", uc.mem_read(sp, 8))[0])
            uc.reg_write(self.cpu.sp, sp + 8)
        else:
            uc.reg_write(self.cpu.pc, uc.reg_read(self.cpu.link_register))

    def wrote(self, uc: unicorn.Uc, kind: int, at: int, size: int, value: int, _: object) -> None:
        old = int.from_bytes(uc.mem_read(at, size), "little")
        lost = (old & ~value & (1 << 8 * size) - 1) << 8 * (at - TASK)
        for bit in range(64):
            if lost >> bit & 1:
                self.events.append(Event(f"-{bit}", self.cpu.irqs_on(uc)))

    def read(self, uc: unicorn.Uc, kind: int, at: int, size: int, value: int, _: object) -> None:
        self.reads.append(self.cpu.irqs_on(uc))


# ---- what a description predicts ----

def symbols(spec: Spec, hook: str) -> tuple[str, ...]:
    """The functions that stand for a hook; none where the compiler puts it into its caller."""
    found = spec.hooks[hook].symbols or (hook,)
    return () if found == ("inlined",) else found


def bits(spec: Spec, work: Work, flags: Iterable[str]) -> int:
    return sum(1 << spec.flag_sets[work.flags][f] for f in flags)


def mask(spec: Spec, work: Work) -> int:
    return sum({1 << spec.flag_sets[work.flags][f] for row in work.rows for f in row.flags})


def holds(condition: Expr | None, case: Case, spec: Spec) -> bool:
    """Is work looked for? Slots are those of the flags register, hooks those that a case has a value for."""
    def leaf(expr: Expr) -> int:
        if isinstance(expr, HookCall):
            return {"preempt_count": case.preempt_count, "cpu_capabilities_known": int(case.finalized)}[expr.name]
        assert isinstance(expr, SlotRef), expr
        return {"flags": 0x200 * case.irqs_were_on, "status": 0x20 * case.irqs_were_on}[expr.slot]
    return condition is None or bool(evaluate(condition, leaf))


def predicted(spec: Spec, case: Case) -> list[Event]:
    """The calls of exit work, in order."""
    out: list[Event] = []
    flags, raised = case.flags, set()
    for name, work in spec.works.items():
        if not name.startswith(f"to_{case.origin}") or not holds(work.condition, case, spec):
            continue
        for _ in range(50):
            snapshot = flags & mask(spec, work)
            if not snapshot:
                break
            for row in work.rows:
                wanted = bits(spec, work, row.flags)
                if not snapshot & wanted:
                    continue
                irqs = work.irqs_on if row.irqs_on is None else row.irqs_on
                if row.clears_first:
                    out += [Event(f"-{bit}", irqs) for bit in range(64) if flags & wanted & 1 << bit]
                    flags &= ~wanted
                for symbol in symbols(spec, row.call.name):
                    out.append(Event(symbol, irqs))
                    flags &= ~case.clears.get(symbol, 0)
                    if symbol in case.raises and symbol not in raised:
                        raised.add(symbol)
                        flags |= case.raises[symbol]
                if row.alone:
                    break
            if not work.repeat:
                break
    return out


def bookkeeping(spec: Spec, bracket: str, side: str) -> list[Event]:
    """The calls of a bracket, all with interrupts off."""
    found = spec.brackets.get(bracket)
    return [Event(s, False) for call in (getattr(found, side) if found is not None else ()) for s in symbols(spec, call.name)]
