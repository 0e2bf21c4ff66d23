"""What each way into the kernel and out of it executes: a booted kernel is stepped, instruction by instruction, where it is in entry code.

From the first instruction that the hardware goes to, up to the return; what C does in between is not counted, it runs at full speed. Instructions are read
from the memory of the running machine, as its kernel patched them.
"""

from __future__ import annotations

import re
import struct
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import linux_boot as L
from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile
from iced_x86 import Code, Decoder, FlowControl, Instruction, Mnemonic, Register
from remote import Machine

LIMIT = 240.0                                   # seconds without an answer: a machine that hangs, not one that is slow
MOST = 2000                                     # instructions of one path: it goes round in circles
PROGRAMS = Path(__file__).parent / "linux"
DEVICES = range(0x20, 0xec)                     # vectors of devices
TIMER, PAGE_FAULT = 0xec, 14
# Assembly outside of entry code that entry code goes through.
THUNKS = re.compile(r"__x86_|its_|srso_|retbleed_|entry_untrain_ret|entry_ibpb|write_ibpb|zen_")

# Instructions that take much longer than others.
CLASSES: dict[str, Callable[[Instruction], bool]] = {
    "msr": lambda i: i.mnemonic in (Mnemonic.RDMSR, Mnemonic.WRMSR),
    "cr3": lambda i: i.mnemonic == Mnemonic.MOV and Register.CR3 in (i.op0_register, i.op1_register),
    "fence": lambda i: i.mnemonic in (Mnemonic.LFENCE, Mnemonic.MFENCE),
    "iret": lambda i: i.mnemonic in (Mnemonic.IRET, Mnemonic.IRETD, Mnemonic.IRETQ),
    "sysret": lambda i: i.mnemonic in (Mnemonic.SYSRET, Mnemonic.SYSRETQ, Mnemonic.SYSEXIT, Mnemonic.SYSEXITQ),
    "swapgs": lambda i: i.mnemonic == Mnemonic.SWAPGS,
    "locked": lambda i: i.has_lock_prefix or (i.mnemonic == Mnemonic.XCHG and i.op0_register == Register.NONE),
    "indirect": lambda i: i.flow_control in (FlowControl.INDIRECT_BRANCH, FlowControl.INDIRECT_CALL),
    "flags": lambda i: i.mnemonic in (Mnemonic.PUSHF, Mnemonic.PUSHFD, Mnemonic.PUSHFQ, Mnemonic.POPF, Mnemonic.POPFD, Mnemonic.POPFQ),
    "verw": lambda i: i.mnemonic == Mnemonic.VERW,
    "segment": lambda i: i.mnemonic in (Mnemonic.RDFSBASE, Mnemonic.RDGSBASE, Mnemonic.WRFSBASE, Mnemonic.WRGSBASE, Mnemonic.LSL, Mnemonic.RDPID)
    or (i.mnemonic == Mnemonic.MOV and i.code in (Code.MOV_SREG_RM16, Code.MOV_SREG_R32M16, Code.MOV_SREG_R64M16)),
}
Executed = Counter[str]                         # by class, and "all"


@dataclass(frozen=True)
class Kind:
    """One way into the kernel. The program's label is where it is taken, or, with vectors, where the next interrupt with one of them is waited for:
    one that comes from user mode, or from the kernel."""

    label: str
    vectors: range | None = None
    user: bool = True
    command: str | None = None                  # of the emulator's monitor, that raises it


def _one(vector: int) -> range:
    return range(vector, vector + 1)


# In the order in which the programs come to their labels.
KINDS = {
    "SYSCALL, SYSRET": Kind("at_syscall"),
    "INT 0x80": Kind("at_int80"),
    "page fault": Kind("at_touch"),
    "page fault of the kernel": Kind("at_hole", _one(PAGE_FAULT), user=False),
    "#UD, a signal": Kind("at_ud"),
    "SYSCALL, IRET": Kind("at_sigreturn"),
    "#DE, a signal": Kind("at_divide"),
    "#GP, a signal": Kind("at_gp"),
    "#BP, a signal": Kind("at_int3"),
    "timer": Kind("at_spin", _one(TIMER)),
    "timer of the kernel": Kind("at_sleep", _one(TIMER), user=False),
    "device": Kind("at_device", DEVICES, command="system_powerdown"),
    "device of the kernel": Kind("at_device_of_kernel", DEVICES, user=False),
    "fast call of 32-bit code": Kind("at_fast32"),
    "INT 0x80 of 32-bit code": Kind("at_int80_32"),
}
BY_SYSRET = {"SYSCALL, SYSRET", "fast call of 32-bit code"}
OF_KERNEL = {name for name, kind in KINDS.items() if not kind.user}


class Linked:
    """Symbols of a linked file, and the functions around addresses."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            table = ELFFile(file).get_section_by_name(".symtab").iter_symbols()
            rows = [(row["st_value"], row.name) for row in table if row.name and row["st_info"]["type"] != "STT_FILE"]
        self.symbols = {name: int(value) for value, name in rows}
        self._rows = sorted(rows)
        self._starts = [value for value, _ in self._rows]

    def function(self, address: int) -> str:
        return str(self._rows[bisect_right(self._starts, address) - 1][1])


@dataclass(frozen=True)
class State:
    ip: int
    sp: int
    cs: int

    @property
    def user(self) -> bool:
        return bool(self.cs & 3)


class Tracer:
    """Steps a machine with one CPU."""

    def __init__(self, machine: Machine, kernel: Linked) -> None:
        self.stub, self.monitor, self.kernel = machine.stub, machine.monitor, kernel
        self.entry = range(kernel.symbols["__entry_text_start"], kernel.symbols["__entry_text_end"])
        self.known: dict[int, Instruction] = {}
        self.until("rest_init")                 # its vectors are set up
        table = self.stub.memory(1, kernel.symbols["idt_table"], 16 * 256)
        self.gates = [low | middle << 16 | high << 32 for low, middle, high in struct.iter_unpack("<H4xHI4x", table)]

    def until(self, *places: str | int) -> State:
        """Go on up to one of some addresses, or symbols of the kernel."""
        addresses = [self.kernel.symbols[p] if isinstance(p, str) else p for p in places]
        for address in addresses:
            self.stub.stop_at(address)
        self.stub.go()
        for address in addresses:
            self.stub.pass_over(address)
        return self.state()

    def state(self) -> State:
        data = self.stub.registers(1)
        (sp,), (ip, cs) = struct.unpack_from("<Q", data, 7 * 8), struct.unpack_from("<Q4xI", data, 16 * 8)
        return State(ip, sp, cs)

    def instruction(self, at: int) -> Instruction:
        if at not in self.known:
            data = self.stub.memory(1, at, min(15, 4096 - at % 4096))
            self.known[at] = Decoder(64, data, ip=at).decode()
        return self.known[at]

    def step(self) -> State:
        self.stub.step(1)
        return self.state()

    def path(self, now: State) -> Executed:
        """What runs from here, the first instruction in the kernel, up to the return."""
        found: Executed = Counter()
        while True:
            if now.ip not in self.entry and not THUNKS.match(self.kernel.function(now.ip)):
                now = self.over(now)
                continue
            instruction = self.instruction(now.ip)
            names = [name for name, holds in CLASSES.items() if holds(instruction)]
            found.update(["all", *names])
            assert found["all"] < MOST, (hex(now.ip), found)
            at, now = now, self.step()
            while now == at:                    # stopped before it, or one of its repetitions
                now = self.step()
            if "iret" in names or "sysret" in names:
                return found

    def over(self, now: State) -> State:
        """C: it returns to the address on the stack, with the stack that it was called with."""
        back = self.stub.word(1, now.sp)
        assert back in self.entry, (self.kernel.function(now.ip), hex(back))
        sp = now.sp + 8
        while (now := self.until(back)).sp != sp:
            self.step()                         # of another event in between
        return now

    def taken(self, kind: Kind, label: int) -> Executed:
        """The path of a kind, from the program's label on."""
        now = self.until(label)
        if kind.vectors is None:
            while now.user:
                now = self.step()
            return self.path(now)
        if kind.command is not None:
            self.monitor.do(kind.command)
        gates = {self.gates[v] for v in kind.vectors}
        while True:
            now = self.until(*gates)
            # A frame begins with ip and cs, or with an error code.
            cs = self.stub.word(1, now.sp + (16 if kind.vectors.start == PAGE_FAULT else 8))
            if bool(cs & 3) == kind.user:
                return self.path(now)
            self.step()


def programs(folder: Path) -> tuple[Path, dict[str, int]]:
    """An archive with the programs that take the ways, and where their labels are."""
    files = [L.compiled(folder, PROGRAMS / f"{name}.c") for name in ("paths", "paths32")]
    labels = {name: at for file in files for name, at in Linked(file).symbols.items() if name.startswith("at_")}
    assert labels.keys() == {kind.label for kind in KINDS.values()}, labels
    return L.initramfs(folder / "paths.cpio", {"init": files[0], "paths32": files[1]}), labels


def traced(kernel: Path, archive: Path, labels: dict[str, int], model: str, folder: Path, append: str = "") -> dict[str, Executed]:
    """Instructions of each kind on a kernel (the folder of its variant), in all and by class. Raises remote.Silent when the machine gets nowhere."""
    # Its time is that of its instructions: a kernel that gets little of this machine finds its timers in order.
    command = ["qemu-system-x86_64", "-accel", "tcg", "-cpu", model, "-icount", "shift=0,sleep=off", "-m", "256", "-nographic", "-no-reboot", "-nic", "none",
               "-kernel", str(kernel / "bzImage"), "-initrd", str(archive), "-append", f"console=ttyS0 panic=-1 {append}"]
    folder.mkdir()
    with Machine(command, folder, LIMIT) as machine:
        tracer = Tracer(machine, Linked(kernel / "vmlinux"))
        return {name: tracer.taken(kind, labels[kind.label]) for name, kind in KINDS.items()}


def above(stock: dict[str, Executed], other: dict[str, Executed]) -> list[str]:
    """Where the second one executes more, in all or of a class."""
    return [f"{name}: {other[name][what]} {what}, stock {stock[name][what]}"
            for name in stock for what in ("all", *CLASSES) if other[name][what] > stock[name][what]]


def executable(folder: Path) -> dict[str, dict[str, int]]:
    """Bytes of the executable sections of a variant's objects."""
    out = {}
    for path in sorted(folder.glob("*.o")):
        with path.open("rb") as file:
            rows = [row for row in ELFFile(file).iter_sections() if row["sh_flags"] & SH_FLAGS.SHF_EXECINSTR and row["sh_size"]]
            out[path.name] = {row.name: int(row["sh_size"]) for row in rows}
    return out


def total(sizes: dict[str, dict[str, int]]) -> int:
    return sum(sum(sections.values()) for sections in sizes.values())
