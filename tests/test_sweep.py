"""NMIs from outside: one at every instruction of the entry code that a run of all scenarios reaches, one at every instruction of the NMI path, and a storm.

The machine stops before an instruction, an NMI is sent by the emulator's monitor, and the machine goes on. The next thing that this CPU does has to be the
first instruction of the NMI's entry point, with that very place on its stack, unless NMIs are blocked there. The scenarios compare all registers as ever.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from boot import BARE, ENTRY_FILES, build_kernel, entry_dir, missing_tools
from capstone import CS_ARCH_X86, CS_MODE_64, Cs
from elftools.elf.elffile import ELFFile
from remote import LIMIT, Ended, Machine, Silent

NEVER = {"machine_check_trap", "double_fault_trap"}         # the scenarios have no such event
MOST_LATE = 5                                   # of the times that the emulator may do so at one place
TIMER = 1000                                    # microseconds: breakpoints slow the machine, not its timer, which else leaves it no time for anything
HANGS = 8.0                                     # seconds without a stop, of a kernel with a defect
NMI_PATH = {"nmi_trap", "nmi_run", "nmi_redirect", "nmi_leave", "iret_nmi"}


@dataclass
class Kernel:
    """The entry code of a linked kernel."""

    path: Path
    symbols: dict[str, int]
    functions: dict[str, range]
    instructions: dict[int, str]                # address -> mnemonic
    stubs: set[int] = field(default_factory=set)

    @classmethod
    def read(cls, path: Path) -> Kernel:
        with path.open("rb") as file:
            elf = ELFFile(file)
            rows = list(elf.get_section_by_name(".symtab").iter_symbols())
            symbols = {row.name: row["st_value"] for row in rows if row.name}
            begin, end = symbols["entry_text"], symbols["entry_text_end"]
            sized = {row.name: range(row["st_value"], row["st_value"] + row["st_size"]) for row in rows if row["st_size"] and begin <= row["st_value"] < end}
            text = elf.get_section_by_name(".text")
            code, base = text.data(), text["sh_addr"]
        instructions, stubs = {}, set()
        decoder = Cs(CS_ARCH_X86, CS_MODE_64)
        for name, places in sized.items():
            for row in decoder.disasm(code[places.start - base:places.stop - base], places.start):
                instructions[row.address] = row.mnemonic
                if re.fullmatch(r"vector_\d+", name):
                    stubs.add(row.address)
        return cls(path, symbols, sized, instructions, stubs)

    def places(self) -> set[int]:
        """All instructions but those of the vectors' stubs, of which there are 251 alike: three stand for them."""
        return {a for a in self.instructions if a not in self.stubs} | {a for n in (6, 13, 64) for a in self.functions[f"vector_{n}"] if a in self.instructions}

    def unreachable(self) -> set[int]:
        """What no scenario comes to: see NEVER; traps behind returns; INT 0x80 in kernel code."""
        out = {a for a, mnemonic in self.instructions.items() if mnemonic == "int3"}
        for name in NEVER:
            out |= set(self.functions[name])
        return (out | self.int80_of_kernel()) & self.places()

    def int80_of_kernel(self) -> set[int]:
        """What the kernel arm of vector 0x80 does: it ends with a jump to the return to kernel code, and begins where another jump ends."""
        inside = sorted(a for a in self.functions["int80"] if a in self.instructions)
        jumps = [i for i, a in enumerate(inside) if self.instructions[a] == "jmp"]
        assert len(jumps) == 2, jumps
        return set(inside[jumps[0] + 1:])

    def again(self) -> range:
        """The part of the NMI path that an outer one goes through once more when an inner one has sent it."""
        return range(self.symbols["nmi_run_again"], self.functions["nmi_run"].stop)

    def in_nmi(self, address: int) -> bool:
        return any(address in self.functions[name] for name in NMI_PATH)

    def named(self, address: int) -> str:
        """The function that an address is in, with the distance."""
        name = next((n for n, places in self.functions.items() if address in places), "elsewhere")
        return f"{name}+{address - self.functions[name].start:#x}" if name in self.functions else f"{address:#x}"

    def names(self, addresses: set[int]) -> list[str]:
        return [self.named(address) for address in sorted(addresses)]


class Sweep:
    """One run of a kernel with NMIs at chosen places. `found`: the places where one was taken at once; `blocked`: where it had to wait."""

    def __init__(self, kernel: Kernel, machine: Machine, places: set[int]) -> None:
        self.kernel, self.machine, self.stub, self.monitor = kernel, machine, machine.stub, machine.monitor
        self.left = set(places)
        self.found: set[int] = set()
        self.blocked: set[int] = set()
        self.late: Counter[int] = Counter()
        self.sent = 0
        self.trap = kernel.symbols["nmi_trap"]
        self.waiting: dict[int, list[int]] = {} # CPU -> where it was when NMIs were sent to it that have not arrived

    def run(self) -> int:
        """Until the kernel has ended: the emulator's exit status."""
        for address in self.left | {self.trap}:
            self.stub.stop_at(address)
        try:
            while True:
                cpu = self.stub.go()
                self.at(cpu, self.stub.register(cpu, self.stub.RIP))
        except Ended:
            return self.machine.wait()

    def at(self, cpu: int, address: int) -> None:
        """A CPU has come to one of the places."""
        if address == self.trap:
            self.arrival(cpu)
        if address in self.left:
            self.left.remove(address)
            self.waiting.setdefault(cpu, []).append(address)
            self.monitor.do("inject-nmi")
            self.sent += 1
            if address != self.trap:
                self.stub.pass_over(address)
                return
        self.over(cpu, address)

    def arrival(self, cpu: int) -> None:
        """The NMI's entry point: it has interrupted the place where this CPU was stopped last, or NMIs were blocked there."""
        places = self.waiting.pop(cpu, [])
        if places and self.interrupted(cpu) == places[-1]:
            self.found.add(places.pop())
        for place in places:
            if self.kernel.in_nmi(place):
                self.blocked.add(place)
            elif self.late[place] < MOST_LATE:  # the emulator sometimes looks for interrupts one instruction late
                self.late[place] += 1
                self.left.add(place)
                self.stub.stop_at(place)

    def interrupted(self, cpu: int) -> int:
        """Where the NMI has struck whose first instruction is next."""
        return self.stub.word(cpu, self.stub.register(cpu, self.stub.RSP))

    def over(self, cpu: int, address: int) -> None:
        """Past a place that stays one. A single step lets no interrupt in."""
        self.stub.pass_over(address)
        self.stub.step(cpu)
        self.stub.stop_at(address)


def emulator(kernel: Path, config: str) -> tuple[int, list[str]]:
    """The exit status of a good run, and the command."""
    show = ["make", "-s", "-C", str(BARE), "ARCH=x86_64", f"CONFIG={config}", f"OUT={kernel.parent}", "emulator"]
    good, *command = shlex.split(subprocess.run(show, capture_output=True, text=True, check=True).stdout)
    return int(good), command


def built(config: str, folder: Path, only: str = "", pattern: str = "", replacement: str = "", quick: bool = True) -> Path:
    """A kernel of the generated files, with an edit of entry.S."""
    missing = missing_tools("x86_64")
    if missing:
        pytest.fail(f"not installed: {', '.join(missing)}")
    entry = folder / "entry"
    entry.mkdir()
    for name in ENTRY_FILES:
        text = (entry_dir("x86_64") / name).read_text()
        if name == "entry.S" and pattern:
            text, count = re.subn(pattern, replacement, text)
            assert count == 1, f"the defect's pattern fits {count} places"
        (entry / name).write_text(text)
    return build_kernel("x86_64", config, entry, folder / "build", only=only, quick=quick, timer=TIMER)


def swept(kernel: Kernel, config: str, folder: Path, limit: float = LIMIT) -> tuple[Sweep, bool]:
    """A run with an NMI at every place: what was seen, and whether all scenarios passed."""
    good, command = emulator(kernel.path, config)
    with Machine(command, folder, limit) as machine:
        sweep = Sweep(kernel, machine, kernel.places())
        passed = sweep.run() == good and "ALL PASSED" in machine.output()
    return sweep, passed


@pytest.mark.parametrize("config", ["smap", "pti", "amd"])
def test_an_nmi_at_every_instruction(config: str, tmp_path: Path) -> None:
    kernel = Kernel.read(built(config, tmp_path))
    sweep, passed = swept(kernel, config, tmp_path)
    assert passed, (tmp_path / "serial.log").read_text()
    reached = kernel.places() - kernel.unreachable()
    assert kernel.names(sweep.left) == kernel.names(kernel.unreachable())
    assert kernel.names({a for a in reached if a not in sweep.found and not kernel.in_nmi(a)}) == []
    assert kernel.names(reached - sweep.found - sweep.blocked) == []
    assert sweep.sent >= len(reached) > 500


class Within(Sweep):
    """NMIs at places of the NMI path itself, where an exception in the handler has let NMIs in again."""

    def once(self, place: int, window: bool) -> None:
        """One NMI at a place, in a run that an NMI in a window with the user's GS base began, if the place is reached only then. Raises Ended."""
        cpu = self.in_window() if window else self.in_handler()
        if place in self.kernel.again():
            self.monitor.do("inject-nmi")       # the path is gone through once more, with NMIs let in
        self.comes(cpu, place)
        self.monitor.do("inject-nmi")
        self.sent += 1
        self.comes(cpu, self.trap)
        if self.interrupted(cpu) == place:
            self.found.add(place)

    def in_handler(self) -> int:
        """A CPU on which an exception in the handler has let NMIs in."""
        wait = self.kernel.symbols["nmi_wait"]
        self.stub.stop_at(wait)
        cpu = self.stub.go()
        self.stub.pass_over(wait)
        return cpu

    def in_window(self) -> int:
        """The same, where the handler was called from the first instruction of a system call. Not each handler has such an exception."""
        call, wait = self.kernel.symbols["syscall_64"], self.kernel.symbols["nmi_wait"]
        while True:
            self.stub.stop_at(call)
            cpu = self.stub.go()
            self.stub.pass_over(call)
            self.monitor.do("inject-nmi")
            self.comes(cpu, self.trap)
            if self.interrupted(cpu) == call and self.comes(cpu, wait, call) == wait:
                return cpu

    def comes(self, cpu: int, *addresses: int) -> int:
        """Let all run until this CPU comes to one of the addresses: which one."""
        for address in addresses:
            self.stub.stop_at(address)
        while (other := self.stub.go()) != cpu:
            self.over(other, self.stub.register(other, self.stub.RIP))
        for address in addresses:
            self.stub.pass_over(address)
        return self.stub.register(cpu, self.stub.RIP)


def within(kernel: Kernel, folder: Path, limit: float = LIMIT) -> tuple[Within, set[int], bool]:
    """A run with an NMI at each place where NMIs can be let in: what was seen, the places, and whether the scenario passed."""
    places = sorted({a for a in kernel.instructions if a in kernel.again() or a in kernel.functions["iret_nmi"]} - kernel.unreachable())
    swaps = [i for i, a in enumerate(places) if kernel.instructions[a] == "swapgs"]
    windows = {places[i] for i in swaps} | {places[i - 1] for i in swaps if places[i] in kernel.again()}     # what notes it stands before
    good, command = emulator(kernel.path, "pti")
    with Machine(command, folder, limit) as machine:
        sweep = Within(kernel, machine, set())
        try:
            for place in places:
                sweep.once(place, place in windows)
            sweep.stub.detach()
        except Ended:
            return sweep, set(places), False
        return sweep, set(places), machine.wait() == good and "ALL PASSED" in machine.output()


def test_an_nmi_within_an_nmi_at_every_instruction(tmp_path: Path) -> None:
    """From the exception in the handler to the end of the run, and from the start of the next one."""
    kernel = Kernel.read(built("pti", tmp_path, only="nmi", quick=False))
    sweep, places, passed = within(kernel, tmp_path)
    assert passed, (tmp_path / "serial.log").read_text()
    assert kernel.names(places - sweep.found) == []
    assert sweep.sent == len(places) > 50


def test_a_sweep_finds_that_gs_is_not_put_back(tmp_path: Path) -> None:
    pattern = r"(ENTRY_START\(iret_nmi\)(?:(?!ENTRY_END)[^\0])*?)\n\tswapgs[^\n]*"
    kernel = Kernel.read(built("smap", tmp_path, pattern=pattern, replacement=r"\1"))
    try:
        _, passed = swept(kernel, "smap", tmp_path, HANGS)
    except Silent:
        return
    assert not passed


@pytest.mark.parametrize(("pattern", "replacement"), [
    (r"\n\tmovq\t\$0x1, 0xd8\(%rsp\)[^\n]*", ""),
    (r"\tleaq\tnmi_run_built\(%rip\)", "\tleaq\tnmi_run_again(%rip)"),
    (r"\tleaq\tiret_nmi_last\(%rip\)", "\tleaq\tiret_nmi(%rip)"),
], ids=["running_not_noted", "building_not_told", "leaving_not_told"])
def test_a_sweep_finds_what_loses_an_nmi(pattern: str, replacement: str, tmp_path: Path) -> None:
    kernel = Kernel.read(built("pti", tmp_path, only="nmi", pattern=pattern, replacement=replacement, quick=False))
    try:
        _, _, passed = within(kernel, tmp_path, HANGS)
    except Silent:
        return
    assert not passed


def test_nmis_all_the_time(tmp_path: Path) -> None:
    """All scenarios under NMIs from outside, each sent when the one before was, from the first system call on."""
    kernel = Kernel.read(built("pti", tmp_path))
    good, command = emulator(kernel.path, "pti")
    sent = 0
    with Machine(command, tmp_path) as machine:
        machine.stub.stop_at(kernel.symbols["syscall_64"])
        machine.stub.go()
        machine.stub.detach()
        try:
            while True:
                machine.monitor.do("inject-nmi")
                sent += 1
        except Ended:
            status = machine.wait()
        assert status == good and "ALL PASSED" in machine.output(), machine.output()
    assert sent > 100
