"""Symbolic states at the two ends of C: as an event leaves the machine, and as a C function returns."""

from __future__ import annotations

from ..model.expr import BaseRef, CellRef, Expr, Reg, SetupRef, SlotRef, UserRef
from ..model.spec import Frame, Path, StateNeed
from . import terms as T
from .expect import Exit
from .machine import Bytes, Machine, Region, State
from .terms import Term

STACK_BELOW = 16384


def interrupted(register: str) -> Term:
    """The value that a register had when the event came."""
    return T.var(f"interrupted.{register}")


def slot_var(slot: str) -> Term:
    """What C left in a slot."""
    return T.var(f"slot.{slot}")


def base_of(memory: str, epoch: int) -> Term:
    return T.var(f"&{memory}@{epoch}")


def top_of(stack: str) -> Term:
    return T.var(f"top.{stack}")


class Arrivals:
    """Builds start states. Every assumption that it makes is in `assumptions`."""

    def __init__(self, machine: Machine) -> None:
        self.machine, self.spec, self.arch = machine, machine.spec, machine.arch
        self.sp = self.arch.of_kind("stack")

    # ---- terms of the spec's expressions ----

    def meaning(self, expr: Expr, epoch: int, user: dict[str, Term]) -> Term:
        """A meaning's right side, without reading the machine."""
        def leaf(e: Expr) -> Term | None:
            if isinstance(e, BaseRef):
                return base_of(e.memory, epoch)
            if isinstance(e, UserRef):
                return user.get(e.register) or T.var(f"user.{e.register}@{epoch}")
            if isinstance(e, CellRef):
                return T.var(f"{e.memory}.{e.cell}@{epoch}")
            if isinstance(e, SetupRef):
                return T.const(self.spec.setup[e.name][0])
            if isinstance(e, SlotRef):
                return slot_var(e.slot)
            return None
        return self.machine.value(_NO_STATE, expr, leaf)

    def setup_leaf(self, e: Expr) -> Term | None:
        return T.const(self.spec.setup[e.name][0]) if isinstance(e, SetupRef) else None

    def cell(self, cell: CellRef, epoch: int) -> Term:
        """What a cell holds before the code writes to it: the top of a stack, or anything."""
        stack = next((s for s in self.spec.stacks.values() if s.top == cell), None)
        return top_of(stack.name) if stack is not None else T.var(f"{cell.memory}.{cell.cell}@{epoch}")

    # ---- states ----

    def blank(self, pc: int, epoch: int) -> State:
        state = State(pc, Bytes(), {}, {}, {}, [], [], [], epoch)
        for memory in self.spec.memories.values():
            base = base_of(memory.name, epoch)
            region = Region(base, memory.name, 0, memory.size, Bytes(), memory.name, epoch)
            for cell in memory.cells.values():
                region.seeds[cell.offset] = self.cell(CellRef(memory.name, cell.name), epoch)
            state.regions[base] = region
        for stack in self.spec.stacks.values():
            state.regions[top_of(stack.name)] = Region(top_of(stack.name), f"stack {stack.name}", -stack.size, 0, Bytes(), None, epoch)
        return state

    def fixed_bases(self, state: State, epoch: int) -> None:
        """A base register that no state is about always holds its block's address."""
        meant = {p.name for s in self.spec.states.values() for m in s.values.values() for p, _ in m if isinstance(p, Reg)}
        for memory in self.spec.memories.values():
            if memory.base not in meant:
                self.machine.write(state, memory.base, base_of(memory.name, epoch))

    def apply(self, state: State, facts: tuple[StateNeed, ...], epoch: int, user: dict[str, Term]) -> None:
        """Make facts true: meanings become values of their places, ghosts take their value, flag bits are set."""
        for fact in facts:
            if not self.machine.configuration.holds(fact.guard):
                continue
            declared = self.spec.states.get(fact.subject)
            if declared is not None and declared.ghost:
                state.ghosts[fact.subject] = str(fact.value)
            elif declared is not None:
                for place, value in declared.values[str(fact.value)]:
                    if isinstance(place, Reg):
                        self.machine.write(state, place.name, self.meaning(value, epoch, user))
            elif fact.subject in self.arch.places:
                from ..model.expr import Bit
                register, bit = self.arch.places[fact.subject]
                self.machine.write_bit(state, Bit(register, bit, fact.subject), T.const(int(fact.value)))

    def event(self, path: Path, origin: str, address: int) -> State:
        """The machine as the event leaves it: interrupted values everywhere, then what the CPU does."""
        event, machine = path.event, self.machine
        assert event is not None
        state = self.blank(address, 1)
        for register in self.arch.registers:
            if register != self.arch.of_kind("pc"):
                machine.write(state, register, interrupted(register))
        self.fixed_bases(state, 1)
        before = state.copy()
        def leaf(e: Expr) -> Term | None:
            if isinstance(e, Reg):
                return interrupted(e.name)
            return self.setup_leaf(e)
        values = [(effect.place, machine.value(before, effect.value, leaf)) for effect in event.effects]
        self.stack(state, path, origin)
        for place, value in values:
            machine.assign(state, place, value)
        for name in self.spec.states:
            if self.spec.states[name].ghost:
                state.ghosts[name] = "not known"
        user = {r: interrupted(r) for r in self.arch.registers} if origin == "user" else {}
        self.apply(state, self.spec.arrive.get(origin, ()), 1, user)
        if path.origin == "any" and self.arch.origin is not None:
            condition = machine.value(before, self.arch.origin, leaf)
            state.conditions.append(condition if origin == "user" else T.not_(condition))
        return state

    def stack(self, state: State, path: Path, origin: str) -> None:
        """The stack that the event runs on, and what it pushes."""
        event = path.event
        assert event is not None
        row = next((r for r in event.stacks if r.origin == origin), None)
        if row is None:
            return
        if row.stack == self.sp:
            base = T.var("interrupted.sp.aligned") if row.align > 1 else interrupted(self.sp)
            state.regions[base] = Region(base, "interrupted kernel stack", -STACK_BELOW, 0, Bytes(), None, 1)
        else:
            stack = next((s for s in self.spec.stacks.values() if s.entered == row.stack), None)
            base = top_of(stack.name) if stack is not None else T.var(f"top.{row.stack}")
            if stack is None:
                state.regions[base] = Region(base, row.stack, -STACK_BELOW, 0, Bytes(), None, 1)
        words: list[Term] = [interrupted(r) for r in event.pushes]
        if path.number is not None and path.number in event.error_numbers:
            words.append(T.var("error_code"))
        for index, word in enumerate(words, 1):
            state.regions[base].content.store(-index * self.arch.word_bytes, word)
        self.machine.write(state, self.sp, T.add(base, T.const(-len(words) * self.arch.word_bytes)))

    def frame_end(self, state: State, path: Path, origin: str) -> Term | None:
        """Where the frame ends: above the first pushed word, or where the interrupted stack that the event stays on ends."""
        event = path.event
        assert event is not None
        if not event.pushes:
            stays = any(row.origin == origin and row.stack == self.sp for row in event.stacks)
            return self.machine.read(state, self.sp) if stays else None
        count = len(event.pushes) + (1 if path.number is not None and path.number in event.error_numbers else 0)
        return T.add(self.machine.read(state, self.sp), T.const(count * self.arch.word_bytes))

    def after_call(self, at: State | None, pc: int, frame: Frame | None, address: Term, sp: Term, contract: str, exit: Exit) -> State:
        """The machine when C returns: everything that C may change is new; what the contract promises holds."""
        state = self.blank(pc, 2)
        machine, abi = self.machine, self.arch.abi
        parts, offset = T.linear(address)
        base = next(iter(parts))
        signed = offset - (1 << 64) if offset >> 63 else offset
        region = state.regions.get(base)
        if region is None:
            size = frame.size if frame else 0
            region = Region(base, "the frame's stack", min(-STACK_BELOW, signed - STACK_BELOW), max(0, signed + size), Bytes(), None, 2)
            state.regions[base] = region
        if frame is not None:
            for slot in frame.slots.values():
                region.seeds[signed + slot.offset] = slot_var(slot.name)
        for register in self.arch.registers.values():
            if register.kind == "pc":
                continue
            if at is not None and register.name in abi.preserved:
                machine.write(state, register.name, machine.read(at, register.name))
            else:
                machine.write(state, register.name, T.var(f"{register.name}@2"))
        machine.write(state, self.sp, sp)
        for name in self.spec.states:
            if self.spec.states[name].ghost:
                state.ghosts[name] = "not known"
        self.fixed_bases(state, 2)
        self.apply(state, self.spec.contracts[contract], 2, {})
        if exit.index is not None:
            bits = self.arch.result_bits
            high = T.var("C.result.high", 64 - bits)
            machine.write(state, abi.result, T.concat(high, T.const(exit.index, bits)))
        for clause in exit.clauses:
            state.conditions.append(self.meaning(clause.condition, 2, {}))
        return state

    def routine(self, path: Path, pc: int, exit: Exit) -> tuple[State, Term]:
        """C calls a routine with the address of a frame that lies at the top of a stack."""
        frame = self.spec.frames[path.frame or ""]
        stack = next(iter(self.spec.stacks), None)
        address = T.add(top_of(stack), T.const(-frame.size)) if stack else T.var("frame.address")
        below = T.add(address, T.const(-256))
        state = self.after_call(None, pc, frame, address, below, "c", exit)
        self.machine.write(state, self.arch.abi.args[0], address)
        return state, address


_NO_STATE = State(0, Bytes(), {}, {}, {}, [], [], [], 0)
