"""Unwind information: directives that lead from what holds before one instruction to what holds before the next, in every configuration."""

from __future__ import annotations

from ..model.spec import Spec
from ..model.surroundings import Guard
from ..plan.code import Insn, Unwound

Said = tuple[int | None, tuple[tuple[str, int | None], ...]]   # the frame address's distance from sp (None: never said), and the rules


class Directives:
    """Yields .cfi directives line by line. The canonical frame address is the frame's end."""

    def __init__(self, spec: Spec) -> None:
        self.arch, self.configurations = spec.arch, list(spec.configurations.values())
        self.sp, self.pc = spec.arch.of_kind("stack"), spec.arch.of_kind("pc")
        self.now: dict[str, Said | None] = {}   # configuration -> what was said last; None: nothing yet

    def number(self, register: str) -> int:
        return self.arch.registers[register].facts["dwarf"]

    def start(self, guard: Guard) -> list[str]:
        """At the start of an entry point or exit: nothing is known."""
        for configuration in self.configurations:
            if configuration.holds(guard):
                self.now[configuration.name] = None
        return [f".cfi_return_column\t{self.number(self.pc)}"]

    def before(self, insn: Insn) -> list[str]:
        """Before an instruction. The text before it may have been left out in some configurations: each of them has to come to the same."""
        names = [c.name for c in self.configurations if c.holds(insn.guard)]
        out: list[str] = []
        for said in dict.fromkeys(self.now[n] for n in names):
            out += [d for d in self.change(said, insn.unwound) if d not in out]
        for name in names:
            below, rules = self.now[name] or (None, ())
            if insn.unwound is not None:
                below, rules = insn.unwound.below, insn.unwound.rules
            elif self.now[name] is not None:
                rules = tuple(row for row in rules if row[0] != self.pc)
            self.now[name] = (below, rules)
        return out

    def change(self, said: Said | None, new: Unwound | None) -> list[str]:
        """The directives that make what was said into what holds. Said nothing: the start."""
        below, rules = said or (None, ())
        before = dict(rules)
        if new is None:
            return [f".cfi_undefined\t{self.number(self.pc)}"] if said is None or self.pc in before else []
        after = dict(new.rules)
        out: list[str] = []
        if below is None:
            out.append(f".cfi_def_cfa\t{self.number(self.sp)}, {new.below:#x}")
        elif below != new.below:
            out.append(f".cfi_def_cfa_offset\t{new.below:#x}")
        for register, at in after.items():
            if register not in before or before[register] != at:
                out.append(f".cfi_undefined\t{self.number(register)}" if at is None else f".cfi_offset\t{self.number(register)}, {at}")
        out += [f".cfi_same_value\t{self.number(r)}" for r in before if r not in after and r != self.pc]
        if self.pc not in after and (self.pc in before or said is None):
            out.append(f".cfi_undefined\t{self.number(self.pc)}")
        return out
