"""Unwind information: at every instruction it has to lead from the registers at hand to those of the code that was interrupted.

DWARF 5, 6.4. Rows are read from the object that the kernel text was assembled to; what they give is compared with the proof's own machine.
"""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..model.arch import Arch
from ..source.text import Span
from . import terms as T
from .claim import Claim
from .machine import Machine
from .state import State
from .terms import Term


@dataclass(frozen=True)
class Row:
    """From an address on: the frame address is register + offset (None: not known), and rules: register -> offset from it, or None for undefined."""

    address: int
    register: str | None
    offset: int
    rules: tuple[tuple[str, int | None], ...]


@dataclass
class Table:
    """The rows of an object that was linked at a base address, in the order of addresses."""

    rows: list[Row] = field(default_factory=list)

    def at(self, address: int) -> Row | None:
        """The row for an instruction."""
        index = bisect_right(self.rows, address, key=lambda row: row.address)
        return self.rows[index - 1] if index else None


def read_table(arch: Arch, data: bytes, base: int) -> Table:
    """The rows of an object file whose entry code is linked at `base`."""
    from elftools.dwarf.callframe import FDE
    from elftools.elf.elffile import ELFFile
    names = {r.facts["dwarf"]: r.name for r in arch.registers.values() if "dwarf" in r.facts}
    info: Any = ELFFile(io.BytesIO(data)).get_dwarf_info(relocate_dwarf_sections=True)
    rows: list[Row] = []
    entries = info.EH_CFI_entries() if info.has_EH_CFI() else info.CFI_entries() if info.has_CFI() else []
    for entry in entries:
        if not isinstance(entry, FDE):
            continue
        for line in entry.get_decoded().table:
            cfa = line["cfa"]
            rules = tuple((names[number], rule.arg if rule.type == "OFFSET" else None) for number, rule in line.items()
                          if isinstance(number, int) and number in names and rule.type in ("OFFSET", "UNDEFINED"))
            rows.append(Row(base + line["pc"], names.get(cfa.reg) if cfa is not None and cfa.reg is not None else None,
                            cfa.offset if cfa is not None and cfa.offset is not None else 0, rules))
    return Table(sorted(rows, key=lambda row: row.address))


class Unwinder:
    """Looks at the table before each instruction of a run. `original`: what a register held in the code that is unwound to; None: nobody says."""

    def __init__(self, machine: Machine, table: Table) -> None:
        self.machine, self.table, self.arch = machine, table, machine.arch
        self.sp, self.pc = self.arch.of_kind("stack"), self.arch.of_kind("pc")
        self.original: Callable[[str], Term | None] = lambda _: None
        self.phase: tuple[object, ...] = ()
        self.seen: set[tuple[object, ...]] = set()      # instructions with the kind of run that has shown them
        self.wrong: dict[int, str] = {}
        self.right: set[int] = set()
        self.blind: set[int] = set()            # instructions at which nothing is said

    def start(self, phase: tuple[object, ...], original: Callable[[str], Term | None]) -> None:
        """A run begins. `phase`: runs of one kind look at an instruction once."""
        self.phase, self.original = phase, original

    def look(self, state: State) -> None:
        """Check the instruction that a state stands at."""
        if (state.pc, self.phase) in self.seen:
            return
        self.seen.add((state.pc, self.phase))
        row = self.table.at(state.pc)
        rules = dict(row.rules) if row is not None else {}
        if row is None or row.register is None or (self.pc in rules and rules[self.pc] is None):
            self.blind.add(state.pc)
            return
        problem = self.problem(state, row, rules)
        if problem:
            self.wrong.setdefault(state.pc, problem)
        else:
            self.right.add(state.pc)

    def problem(self, state: State, row: Row, rules: dict[str, int | None]) -> str:
        assert row.register is not None
        cfa = T.add(self.machine.read(state, row.register), T.const(row.offset))
        names = [r.name for r in self.arch.registers.values() if r.kind == "gpr" or r.name in rules]
        for name in names:
            wanted = self.original(name)
            if wanted is None:
                continue
            offset = rules.get(name)
            if name in rules and offset is None:
                continue                        # the table says that it is not known
            if offset is None:
                actual = self.machine.read(state, name)
            else:
                place = self.machine.region(state, T.add(cfa, T.const(offset)))
                if place is None:
                    return f"{name} would be read at {T.show(T.add(cfa, T.const(offset)))}, which is no stack"
                actual = self.machine.content(place[0], place[1], self.arch.word_bytes)
            mask = T.const(self.arch.registers[name].compare)
            if T.band(actual, mask) is not T.band(wanted, mask) and not self.machine.holds(state, T.eq(T.band(actual, mask), T.band(wanted, mask))):
                return f"{name} would be {T.show(actual)}, it was {T.show(wanted)}"
        return ""

    def claim(self, stub: str, span: Span) -> list[Claim]:
        """One claim for the instructions looked at since the last call; none when there was none."""
        seen = len(self.right) + len(self.wrong)
        out: list[Claim] = []
        if seen:
            first = min(self.wrong, default=0)
            out.append(Claim(stub, "unwind", f"unwind information leads to the interrupted registers at each of {seen} instructions", span,
                             T.boolean(not self.wrong), (), f"at {first:#x}: {self.wrong[first]}" if self.wrong else ""))
        self.right, self.wrong = set(), {}
        return out
