"""What has to be true at a return: every register back, the states as they have to be left, what the CPU demands of the instruction."""

from __future__ import annotations

from ..model.arch import Return
from ..model.expr import CellRef, Expr, Reg, show, walk
from ..model.spec import Frame, Path
from ..model.steps import SwitchStack
from ..model.surroundings import WORD_MASK
from ..source.text import Span
from . import terms as T
from .arrive import interrupted, slot_var, top_of
from .claims import Claims
from .expect import Exit, exit_moves
from .state import Ending, State, Stuck
from .terms import Term


class Returns(Claims):
    """Claims of one outline, those at returns included."""

    def at_return(self, before: State, ending: Ending, exit: Exit, frame: Frame | None, address: Term) -> None:
        """Claims where a return instruction is executed."""
        state, span, path = ending.state, exit.step.span, exit.path
        self.start, self.ran, self.stop = before, before, ending.address
        origin = path.origin if path.kind == "exit" else self.outline.origin
        row = self.arch.return_row(exit.step.name, origin or "any")
        if row is None:
            self.add("return", f"{exit.step.name} can return to {origin}", span, T.FALSE, state)
            return
        final = self.final(state, row)
        for condition, reason in row.requires:
            self.add("legality", f"{exit.step.name} needs {show(condition)}: {reason}", span,
                     self.machine.value(state, condition, self.arrivals.setup_leaf), state)
        if frame is not None:
            self.in_order(state, frame, address, False, span)
            self.restored(state, final, row, frame, path, address, str(origin), span)
        self.leave(self.returned(state, row, final), str(origin), frame, span)
        self.other_bits(before if origin == "user" or not state.found else State(
            0, before.registers, dict(before.extra), {}, {}, [], [], []), state, span)
        used = {e.name for effect in row.effects for e in _registers(effect.value)} | {r.name for r in self.arch.registers.values() if r.name in final}
        moves = exit_moves(self.spec, path, self.machine.configuration, self.outline.kept)
        self.system_registers(before, state, span, moves, frozenset(used), returning=True)
        self.hardware_stack(state, row, str(origin), span)
        self.through_alias(state, frame, span)
        self.pops_end(state, row, frame, address, span)
        if path.kind == "exit" and self.spec.target != "bare":
            allowed = {s.stack for s in path.steps if isinstance(s, SwitchStack) and self.machine.configuration.holds(s.guard)}
            found = self.machine.region(state, address)
            extra = sorted(state.stacks - allowed - ({found[0].origin} if found is not None else set()))
            self.add("stack", f"only the stacks that exit {path.name} names are used", span, T.boolean(not extra), state, f"{', '.join(extra)} is used too")
        self.untouched(state, moves, span, 2)
        self.stack_constants(state, moves)
        self.stops(ending, row, span)

    def at_once(self, before: State, ending: Ending, exit: Exit) -> None:
        """Claims at a return that no C function came before: all is as it was, but for the words of the stack that the spec's steps write."""
        state, span = ending.state, exit.step.span
        self.start, self.ran, self.stop = before, before, ending.address
        row = self.arch.return_row(exit.step.name, self.outline.origin)
        if row is None:
            self.add("return", f"{exit.step.name} can return to {self.outline.origin}", span, T.FALSE, state)
            return
        final = self.final(state, row)
        for register in self.arch.registers.values():
            if register.kind in ("pc", "segment") and register.name not in final:
                continue
            actual = final[register.name] if register.name in final else self.machine.read(state, register.name)
            wanted = interrupted(register.name) if register.name in final else self.machine.read(before, register.name)
            mask = T.const(WORD_MASK if register.name in row.pops else register.compare)
            self.equal("return", f"{register.name} is what it was", span, T.band(actual, mask), T.band(wanted, mask), state)
        self.leave(state, self.outline.origin, None, span)
        self.stack_words(state, span)
        self.untouched(state, self.outline.moves, span, 1)
        self.stops(ending, row, span)

    def stack_words(self, state: State, span: Span) -> None:
        """The words of the gate's stack: those that saves name have their values, no other one is written."""
        base = top_of(self.outline.path.stack or "")
        region = state.regions.get(base)
        written = {offset for store, where, offset, _ in state.order if store and where is base}
        allowed: set[int] = set()
        for save in self.outline.saves:
            frame = self.spec.frames[save.frame]
            given = dict(save.values)
            for name in save.slots or tuple(frame.slots):
                offset = frame.slots[name].offset - frame.size
                if name not in given or region is None:
                    continue
                allowed.add(offset)
                actual = self.machine.content(region, offset, self.arch.word_bytes)
                wanted = self.source(self.outline.through(given[name], save))
                self.written("slot", f"{frame.name}.{name} = {show(given[name])}", save.span, actual, wanted, state)
        extra = sorted(o for o in written - allowed)
        self.add("memory", "no other word of the stack is written", span, T.boolean(not extra), state, f"written at offset {extra[0]:#x}" if extra else "")

    def returned(self, state: State, row: Return, final: dict[str, Term]) -> State:
        """The system registers after a return that moves them."""
        moved = [e.place.name for e in row.effects if isinstance(e.place, Reg) and self.arch.registers[e.place.name].kind == "system"]
        out = state.copy() if moved else state
        for name in moved:
            self.machine.write(out, name, final[name])
        return out

    def final(self, state: State, row: Return) -> dict[str, Term]:
        """What the return makes of registers: popped words, then equations over the state before."""
        final: dict[str, Term] = {}
        sp = self.machine.read(state, self.arrivals.sp)
        for index, register in enumerate(row.pops):
            try:
                final[register] = self.machine.access(state, T.add(sp, T.const(index * self.arch.word_bytes)), self.arch.word_bytes, None)
            except Stuck:
                final[register] = T.var(f"popped.from.nowhere.{register}")
        for effect in row.effects:
            if isinstance(effect.place, Reg):
                final[effect.place.name] = self.machine.value(state, effect.value, self.arrivals.setup_leaf)
        return final

    def restored(self, state: State, final: dict[str, Term], row: Return, frame: Frame, path: Path, address: Term, origin: str, span: Span) -> None:
        sp = self.arrivals.sp
        own = {slot_var(s.name) for s in frame.slots.values() if s.home is not None}       # what user mode had, in any register
        for slot in frame.slots.values():
            if slot.home is None:
                continue
            register = self.arch.registers[slot.home]
            actual = final.get(slot.home)
            if actual is None:
                actual = self.machine.read(state, slot.home)
            if slot.home in path.loses:
                self.add("leak", f"{slot.home} carries no kernel value", span, T.boolean(not list(T.leaves(actual)) or actual in own), state,
                         f"it is {T.show(actual)}")
            elif slot.home == sp and sp not in final and origin == "kernel":
                self.equal("return", "sp is what it was before the event", slot.span, actual, T.add(address, T.const(frame.size)), state)
            else:
                mask = T.const(WORD_MASK if slot.home in row.pops else register.compare)
                self.equal("return", f"{slot.home} = {frame.name}.{slot.name}", slot.span, T.band(actual, mask), T.band(slot_var(slot.name), mask), state,
                           register=slot.home if slot.home not in final else None)

    def leave(self, state: State, origin: str, frame: Frame | None, span: Span) -> None:
        user = {s.home: slot_var(s.name) for s in frame.slots.values() if s.home} if frame else {}
        special = self.spec.boundaries.get(self.outline.arrival) if origin == "kernel" else None
        for need in special.leave if special is not None else self.spec.leave.get(origin, ()):
            if self.spec.applies(need, self.machine.configuration):
                self.fact(state, need, user, f"{need.subject} = {need.value} for {origin} code", "state")

    def hardware_stack(self, state: State, row: Return, origin: str, span: Span) -> None:
        """A banked stack pointer is back at the top of its stack, for the next event from user mode."""
        banked = [s for s in self.spec.stacks.values() if s.entered and self.machine.configuration.holds(s.guard) and not isinstance(s.top, CellRef)]
        sets_sp = any(isinstance(e.place, Reg) and e.place.name == self.arrivals.sp for e in row.effects)
        if origin == "user" and sets_sp and banked:
            self.equal("stack", f"{banked[0].entered} is back at the top of stack {banked[0].name}", span,
                       self.machine.read(state, self.arrivals.sp), top_of(banked[0].name), state)

    def pops_end(self, state: State, row: Return, frame: Frame | None, address: Term, span: Span) -> None:
        """What a return pops ends where the frame ends, or where the stack that it was copied to began."""
        if not row.pops or frame is None or self.spec.target == "bare":
            return
        end = T.add(self.machine.read(state, self.arrivals.sp), T.const(len(row.pops) * self.arch.word_bytes))
        ends = [T.add(address, T.const(frame.size)), *(top_of(s.name) for s in self.spec.stacks.values() if s.bottom is None)]
        alias = any(a.base in part.args for a in state.aliases for part in T.linear(end)[0])
        self.add("stack", f"what {row.name} pops ends where a stack began", span, T.boolean(alias or end in ends), state, f"it ends at {T.show(end)}")

    def through_alias(self, state: State, frame: Frame | None, span: Span) -> None:
        """A return through the second view of a stack keeps the bits of the stack pointer that the view leaves open: what the return does not set."""
        sp = self.machine.read(state, self.arrivals.sp)
        slot = next((s for s in frame.slots.values() if s.home == self.arrivals.sp), None) if frame is not None else None
        for alias in state.aliases:
            if slot is not None and any(part.op == "or" and alias.base in part.args for part in T.linear(sp)[0]):
                mask = T.const(alias.mask)
                self.equal("return", f"bits {alias.mask:#x} of {self.arrivals.sp} are those of {slot.name} where the return is executed", span,
                           T.band(sp, mask), T.band(slot_var(slot.name), mask), state)

    def stops(self, ending: Ending, row: Return, span: Span) -> None:
        address = ending.address
        for name in row.stops:
            address += self.machine.lifter.at(address).size
            found = self.machine.lifter.at(address)
            right = found.form is not None and found.form.name == name
            self.add("stop", f"{name} follows {row.name}", span, T.boolean(right), ending.state, f"{found.text} follows")


def _registers(expr: Expr) -> list[Reg]:
    return [e for e in walk(expr) if isinstance(e, Reg)]

