"""Compiled C that moves a frame to another stack: every word arrives, wherever the old frame lies.

The old frame may lie elsewhere, or below its new place by any number of words up to its own size: then words of the two share memory, and one that is written
too early is lost. Each of these distances is a run of its own, with both frames in one piece of memory. Where some words come from what a return instruction
would have read, that may lie elsewhere too, or be the top of the new frame itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..model.expr import CellRef, SlotRef
from ..model.steps import Call
from . import terms as T
from .claim import Claim
from .compiled_run import STACK, Area, CRunner, CState, Stop
from .state import Bytes, Stuck
from .terms import Term

if TYPE_CHECKING:
    from .compiled import Program

TO, FROM = T.var("top"), T.var("from")


@dataclass(frozen=True)
class Lie:
    """How the frames lie. `below`: bytes from the old frame to the new one; None: it is elsewhere. `top`: the words of `but` are at the new frame's top."""

    below: int | None
    top: bool

    def text(self) -> str:
        where = "elsewhere" if self.below is None else f"{self.below} bytes below"
        return f"the old frame {where}" + (", the returned words at its new top" if self.top else "")


class Mover:
    """The claims about one function."""

    def __init__(self, program: Program, call: Call) -> None:
        assert call.move is not None
        self.program, self.spec, self.call, self.move = program, program.spec, call, call.move
        self.arch, self.frame = self.spec.arch, self.spec.frames[call.move.frame]
        self.word = self.arch.word_bytes
        top = self.spec.stacks[call.move.stack].top
        if not isinstance(top, CellRef):
            raise Stuck(f"no word holds the top of stack {call.move.stack}")
        self.top = top
        kept = program.irq_bits() + [b for b in program.must if b not in program.irq_bits()]
        self.runner = CRunner(self.spec, program.lifter, program.solver, program.constants, program.known, self.frame, kept, program.externs,
                              program.image.symbols[call.callee])
        self.kept = kept
        self.returned = [s for s in self.frame.slots if s in self.move.but]     # in the order in which a return reads them
        self.claims: list[Claim] = []

    def all(self) -> list[Claim]:
        """All claims, for each way in which the frames can lie."""
        for top in (False, True) if self.move.at is not None else (False,):
            for below in (None, *range(0, self.frame.size + self.word, self.word)):
                if not (top and below is None):
                    self.lie(Lie(below, top))
        return self.claims

    def add(self, kind: str, text: str, holds: Term, state: CState, detail: str = "") -> None:
        self.claims.append(Claim(self.call.callee, kind, text, self.call.span, holds, tuple(state.conditions), detail))

    def lie(self, lie: Lie) -> None:
        ends: list[CState] = []
        before: dict[Term, Bytes] = {}

        def stop(found: Stop) -> list[CState]:
            state = found.state
            if found.kind == "return":
                ends.append(state)
                self.end(lie, state, before)
            elif found.kind == "call" and not before:
                return self.called(lie, found, before)
            else:
                what = found.text or f"{found.names[0] if found.names else 'something'} is {found.kind}ed"
                self.claims.append(Claim(self.call.callee, "moved", f"every path can be followed, {lie.text()}", self.call.span, T.FALSE, (),
                                         unknown=f"at {found.address:#x}: {what}"))
            return []

        start = self.runner.entered(self.program.must)
        self.runner.explore(start, stop)
        if not ends:
            self.claims.append(Claim(self.call.callee, "ending", f"it returns, {lie.text()}", self.call.span, T.FALSE, (), unknown="no path returns"))

    def called(self, lie: Lie, found: Stop, before: dict[Term, Bytes]) -> list[CState]:
        """The hook that gives the block with the stack's top. From here on it is known how the frames lie."""
        state, runner, memory = found.state, self.runner, self.spec.memories[self.top.memory]
        hook = next((n for n in found.names if n in self.spec.hooks and self.spec.hooks[n].result == memory.name), None)
        self.add("moved", f"it asks where stack {self.move.stack} is", T.boolean(hook is not None), state,
                 f"at {found.address:#x}, {' or '.join(found.names)} is called")
        if hook is None:
            return []
        if runner.depth(state) % self.arch.abi.align:
            self.add("abi", f"the stack is aligned when {hook} is called", T.FALSE, state)
        base = runner.returned(state, hook, memory.name, found.tail)
        old, size = state.areas[runner.address], self.frame.size
        new = T.add(TO, T.const(-size % (1 << 64))) if lie.below is None else T.add(runner.address, T.const(lie.below))
        if lie.below is None:
            state.areas[TO] = Area(TO, f"stack {self.move.stack}", -size, 0, Bytes(), state.mark)
        else:
            old.high = size + lie.below
        state.areas[base].content.store(memory.cells[self.top.cell].offset, T.add(new, T.const(size)))
        if isinstance(self.move.at, SlotRef):
            source = T.add(new, T.const(self.frame.slots[self.returned[0]].offset)) if lie.top else FROM
            old.content.store(self.frame.slots[self.move.at.slot].offset, source)
            if not lie.top:
                state.areas[FROM] = Area(FROM, "what was to be returned with", 0, len(self.returned) * self.word, Bytes(), state.mark)
        for area in state.areas.values():
            area.written = frozenset()
            before[area.base] = area.content.copy()
        return [state]

    def end(self, lie: Lie, state: CState, before: dict[Term, Bytes]) -> None:
        """Claims at the return."""
        runner, abi, size = self.runner, self.arch.abi, self.frame.size
        if not before:
            self.add("moved", f"it asks where stack {self.move.stack} is", T.FALSE, state, "it returns without")
            return
        apart = lie.below is None
        home = state.areas[TO if apart else runner.address]
        start = -size if lie.below is None else lie.below
        old = state.areas[runner.address]
        first = T.add(home.base, T.const(start % (1 << 64)))
        self.add("moved", f"it gives back the frame's new address, {lie.text()}", T.eq(runner.read(state, abi.result), first), state,
                 f"it is {T.show(runner.read(state, abi.result))}")

        def was(area: Area, offset: int) -> Term:
            return before[area.base].load(offset, self.word, lambda o, n: runner.untouched(area, o, n))

        for slot in self.frame.slots.values():
            if slot.name in self.move.but:
                at = self.returned.index(slot.name) * self.word
                wanted = was(home, start + self.frame.slots[self.returned[0]].offset + at) if lie.top else was(state.areas[FROM], at)
            else:
                wanted = was(old, slot.offset)
            found = runner.content(home, start + slot.offset, self.word)
            self.add("moved", f"{self.frame.name}.{slot.name} arrives, {lie.text()}", T.eq(found, wanted), state,
                     f"is {T.show(found)}, has to be {T.show(wanted)}")
        inside = set(range(start, start + size))
        strange = [a.name for a in state.areas.values() if a.base is not STACK and a.written - (inside if a is home else set())]
        self.add("memory", f"nothing but the new frame is written, {lie.text()}", T.boolean(not strange and not state.faults), state,
                 "; ".join([*(f"{name} is written" for name in strange), *state.faults[:2]]))
        same = T.eq(runner.read(state, runner.sp), T.add(STACK, T.const(abi.return_address)))
        for register in abi.preserved:
            same = T.band(same, T.eq(runner.read(state, register), T.var(f"entry.{register}")))
        for bit in self.kept:
            value = T.const(self.program.must[bit], 1) if bit in self.program.must else T.var(f"entry.{bit.name}", 1)
            same = T.band(same, T.eq(runner.read_bit(state, bit), value))
        self.add("abi", f"preserved registers, the stack pointer, interrupts and flags are as at the entry, {lie.text()}", same, state)


def prove_movers(program: Program) -> list[Claim]:
    """All functions of a spec that move a frame."""
    out: list[Claim] = []
    for call in program.spec.movers().values():
        if call.callee not in program.image.symbols:
            program.not_checked.append(f"{call.callee}: the image has no such symbol")
            continue
        try:
            mover = Mover(program, call)
            out += mover.all()
            program.saw(call.callee, mover.runner)
        except Stuck as problem:
            out.append(Claim(call.callee, "moved", "it moves the frame", call.span, T.FALSE, (), unknown=str(problem)))
    return out
