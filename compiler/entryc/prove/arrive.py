"""Symbolic states at the two ends of C: as an event leaves the machine, and as a C function returns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product

from ..model.arch import Arch, Event
from ..model.expr import BaseRef, Bit, CellRef, Expr, FoundRef, PresetRef, Reg, SetupRef, SlotRef, UserRef, walk
from ..model.spec import Frame, Path, Stack
from ..model.steps import Call, Goto, Origin, Through, flat_steps
from ..model.surroundings import ANY, ANYWHERE, Boundary, StateNeed
from . import terms as T
from .expect import Exit
from .machine import Machine
from .state import Alias, Bytes, Part, Region, State
from .terms import Term

STACK_BELOW = 16384


def interrupted(register: str) -> Term:
    """The value that a register had when the event came."""
    return T.var(f"interrupted.{register}")


def pushed(arch: Arch, event: Event, register: str) -> Term:
    """The word that an event pushes for a register: what is above its own bits tells C of the event."""
    if register not in event.augments:
        return interrupted(register)
    width = arch.registers[register].width
    return T.concat(T.var(f"event.{register}", arch.word - width), T.extract(interrupted(register), 0, width))


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
        machine.meaning = self.meaning_now
        machine.address = self.address

    # ---- terms of the spec's expressions ----

    def meaning(self, expr: Expr, epoch: int, user: dict[str, Term], base_epoch: int | None = None,
                words: Callable[[CellRef], Term] | None = None) -> Term:
        """A meaning's right side, without reading the machine. `words`: what cells hold, if not what they held at first."""
        def leaf(e: Expr) -> Term | None:
            if isinstance(e, BaseRef):
                return base_of(e.memory, epoch if base_epoch is None else base_epoch)
            if isinstance(e, UserRef):
                return user[e.register] if e.register in user else T.var(f"user.{e.register}@{epoch if base_epoch is None else base_epoch}")
            if isinstance(e, CellRef):
                return words(e) if words is not None else self.cell(e, epoch)
            if isinstance(e, SetupRef):
                return T.const(self.spec.setup[e.name][0])
            if isinstance(e, SlotRef):
                return slot_var(e.slot)
            if isinstance(e, FoundRef):
                return interrupted(e.register)
            if isinstance(e, PresetRef):
                return self.preset(epoch if base_epoch is None else base_epoch)
            return None
        return self.machine.value(_NO_STATE, expr, leaf)

    def preset(self, epoch: int) -> Term:
        """What the kernel wrote above the stacks that gates name: the address of its first memory block."""
        return base_of(next(iter(self.spec.memories)), epoch)

    def meaning_now(self, expr: Expr, state: State) -> Term:
        """A meaning's right side, with what the memory of a state holds now."""
        return self.meaning(expr, state.epoch, state.user, state.base_epoch, lambda cell: self.cell_now(state, cell))

    def address(self, cell: CellRef, state: State) -> Term:
        """Where a word is."""
        base = base_of(cell.memory, state.base_epoch) if self.spec.memories[cell.memory].base else T.const(0)
        return T.add(base, T.const(self.place(cell.memory, cell.cell) or 0))

    def cell_now(self, state: State, cell: CellRef) -> Term:
        """What a cell holds."""
        found = self.spec.memories[cell.memory].cells[cell.cell]
        region = next(r for r in state.regions.values() if r.memory == cell.memory)
        offset = self.place(cell.memory, cell.cell)
        return T.resize(self.machine.content(region, offset if offset is not None else found.offset, found.size), 64)

    def readable(self, register: str, value: Term) -> Term:
        """A system register's value, without the bits that read as zero."""
        row = self.arch.registers[register]
        return T.band(value, T.const(row.compare)) if row.kind == "system" else value

    def keep(self, before: State, after: State, cell: CellRef) -> None:
        """A word that a kept state is about holds what it held."""
        offset, size = self.place(cell.memory, cell.cell), self.spec.memories[cell.memory].cells[cell.cell].size
        region = next(r for r in after.regions.values() if r.memory == cell.memory)
        if offset is not None:
            region.content.store(offset, T.resize(self.cell_now(before, cell), size * 8))

    def setup_leaf(self, e: Expr) -> Term | None:
        return T.const(self.spec.setup[e.name][0]) if isinstance(e, SetupRef) else None

    def cell(self, cell: CellRef, epoch: int) -> Term:
        """What a cell holds before the code writes to it: the top of a stack, or anything."""
        for stack in self.spec.stacks.values():
            if stack.top == cell:
                return top_of(stack.name)
            if stack.bottom == cell:
                return T.var(f"bottom.{stack.name}")
            if stack.alias is not None and stack.alias[0] == cell:
                return T.var(f"alias.{stack.name}")
        return T.var(f"{cell.memory}.{cell.cell}@{epoch}")

    def place(self, memory: str, cell: str) -> int | None:
        """The offset of a cell in its block; None when the image lacks its symbol."""
        found = self.spec.memories[memory].cells[cell]
        if found.symbol is None:
            return found.offset
        start = self.machine.lifter.image.symbols.get(found.symbol)
        return start + found.offset if start is not None else None

    def missing(self) -> list[str]:
        """Words of this configuration whose symbol the image lacks."""
        return [f"{memory.name}.{cell.name}: the image has no symbol {cell.symbol}" for memory in self.spec.memories.values() for cell in memory.cells.values()
                if cell.symbol is not None and self.machine.configuration.holds(cell.guard) and self.place(memory.name, cell.name) is None]

    # ---- states ----

    def blank(self, pc: int, epoch: int, base_epoch: int | None = None) -> State:
        state = State(pc, Bytes(), {}, {}, {}, [], [], [], epoch)
        state.base_epoch = epoch if base_epoch is None else base_epoch
        for memory in self.spec.memories.values():
            base = base_of(memory.name, state.base_epoch) if memory.base else T.const(0)
            region = Region(base, memory.name, 0, memory.size, Bytes(), memory.name, epoch)
            parts: list[Part] = []
            ruled = any(cell.region is not None for cell in memory.cells.values())
            for cell in memory.cells.values():
                offset = self.place(memory.name, cell.name)
                if offset is None or not self.machine.configuration.holds(cell.guard):
                    continue
                region.seeds[offset] = T.resize(self.cell(CellRef(memory.name, cell.name), epoch), cell.size * 8)
                if cell.symbol is not None or ruled:
                    rule = self.spec.regions.get(cell.region or "")
                    parts.append(Part(offset, offset + cell.size, f"{memory.name}.{cell.name}", rule.needs if rule else (), rule.loads if rule else None,
                                      cell.array, self.pure(cell.index) if cell.index is not None else None,
                                      self.meaning(cell.holds, epoch, {}, state.base_epoch) if cell.holds is not None else None))
            if parts:
                region.parts = tuple(parts)
                region.high = 1 << 64 if any(cell.symbol is not None for cell in memory.cells.values()) else memory.size
            state.regions[base] = region
        for stack in self.spec.stacks.values():
            if stack.bottom is not None:
                self.bottomed(state, stack, epoch)
                continue
            above = self.arch.word_bytes if stack.preset else 0
            region = self.stack_region(top_of(stack.name), f"stack {stack.name}", -stack.size, above, stack.region, epoch, stack.name)
            if stack.preset:
                region.seeds[0] = self.preset(state.base_epoch)
            state.regions[top_of(stack.name)] = region
        return state

    def bottomed(self, state: State, stack: Stack, epoch: int) -> None:
        """A stack that is known by its lowest address, with its second view."""
        base = T.var(f"bottom.{stack.name}")
        state.regions[base] = self.stack_region(base, f"stack {stack.name}", 0, stack.size, stack.region, epoch, stack.name)
        if stack.alias is not None:
            rule = self.spec.regions[stack.alias[2]]
            state.aliases += (Alias(T.var(f"alias.{stack.name}"), stack.alias[1], base, Part(0, stack.size, f"stack {stack.name}", rule.needs, rule.loads)),)

    def pure(self, expr: Expr) -> Term:
        """An expression without machine state."""
        return self.machine.value(_NO_STATE, expr)

    def stack_region(self, base: Term, name: str, low: int, high: int, rule: str | None, epoch: int, origin: str = "") -> Region:
        found = self.spec.regions.get(rule or "")
        parts = (Part(low, high, name, found.needs, found.loads),) if found is not None else ()
        return Region(base, name, low, high, Bytes(), None, epoch, parts=parts, origin=origin)

    def fixed_bases(self, state: State) -> None:
        """A base register that no state is about always holds its block's address."""
        meant = {m.register for s in self.spec.states.values() for ms in s.values.values() for m in ms}
        for memory in self.spec.memories.values():
            if memory.base and memory.base not in meant:
                self.machine.write(state, memory.base, base_of(memory.name, state.base_epoch))

    def apply(self, state: State, facts: tuple[StateNeed, ...]) -> None:
        """Make facts true: meanings become values of their places, ghosts take their value, flag bits are set."""
        for fact in facts:
            if not self.spec.applies(fact, self.machine.configuration):
                continue
            declared = self.spec.states.get(fact.subject)
            if declared is not None and declared.ghost:
                state.ghosts[fact.subject] = str(fact.value)
            elif declared is not None:
                for meaning in declared.values[str(fact.value)]:
                    if meaning.register is not None and self.machine.configuration.holds(meaning.guard):
                        value = self.meaning(meaning.value, state.epoch, state.user, state.base_epoch)
                        rest = T.band(self.machine.read(state, meaning.register), T.const(~meaning.mask))
                        self.machine.write(state, meaning.register, T.bor(rest, value))
            elif fact.subject in self.arch.places:
                register, bit = self.arch.places[fact.subject]
                self.machine.write_bit(state, Bit(register, bit, fact.subject), T.const(int(fact.value)))

    def assume(self, state: State) -> None:
        """The facts about the kernel that no instruction shows."""
        for row in self.spec.assumes:
            if self.machine.configuration.holds(row.guard):
                state.conditions.append(self.meaning(row.condition, state.epoch, state.user, state.base_epoch))

    def arrivals(self, path: Path, origin: str) -> list[str]:
        """The names of the special boundaries that an entry point can come from, with this origin; "" is the ordinary one."""
        if origin == "kernel" and path.paranoid:
            return [ANYWHERE, *(b.name for b in self.specials(path, origin))]
        return [""] + [b.name for b in self.specials(path, origin) if not b.numbers or path.number in b.numbers]

    def specials(self, path: Path, origin: str) -> list[Boundary]:
        """The special boundaries of an origin in this configuration. Only the vectors that one names strike there: that is assumed."""
        anywhere = {p.number for p in self.spec.of_kind("entry") if p.paranoid}
        return [b for b in self.spec.boundaries.values() if b.condition is not None and b.origin == origin and self.machine.configuration.holds(b.guard)
                and path.origin == "any" and (path.number in b.numbers or not (path.paranoid or (b.numbers and b.numbers <= anywhere)))]

    def event(self, path: Path, origin: str, arrival: str, address: int) -> Iterator[tuple[str, State]]:
        """The machine as the event leaves it: interrupted values everywhere, then what the CPU does. One state for each combination of unknown states."""
        boundary = self.spec.boundaries.get(arrival)
        facts = boundary.arrive if boundary is not None else self.spec.arrive.get(origin, ())
        facts = tuple(f for f in facts if self.spec.applies(f, self.machine.configuration))
        open_facts = [f for f in facts if f.value == ANY and not self.spec.states[f.subject].ghost]
        choices = [[(f, value) for value, meanings in self.spec.states[f.subject].values.items() if meanings] for f in open_facts]
        for combination in product(*choices):
            chosen = {f.subject: value for f, value in combination}
            given = tuple(StateNeed(f.subject, chosen.get(f.subject, f.value), f.guard, f.span) for f in facts
                          if f.value != ANY or f.subject in chosen)
            yield ", ".join(f"{s} = {v}" for s, v in chosen.items()), self._event(path, origin, boundary, given, address)

    def _event(self, path: Path, origin: str, boundary: Boundary | None, facts: tuple[StateNeed, ...], address: int) -> State:
        event, machine = path.event, self.machine
        assert event is not None
        state = self.blank(address, 1)
        for register in self.arch.registers:
            if register != self.arch.of_kind("pc"):
                machine.write(state, register, self.readable(register, interrupted(register)))
        self.fixed_bases(state)
        before = state.copy()
        def leaf(e: Expr) -> Term | None:
            if isinstance(e, Reg):
                return interrupted(e.name)
            return self.setup_leaf(e)
        for name in self.spec.states:
            if self.spec.states[name].ghost:
                state.ghosts[name] = "not known"
        state.user = {r: interrupted(r) for r in self.arch.registers} if origin == "user" else {}
        self.apply(state, facts)
        def held(e: Expr) -> Term | None:
            """General registers and flags as they were; system registers as the boundary says."""
            return machine.read(state, e.name) if isinstance(e, Reg) and self.arch.registers[e.name].kind == "system" else leaf(e)
        values = [(effect.place, machine.value(before, effect.value, held)) for effect in event.effects]
        self.stack(state, path, origin, boundary)
        for place, value in values:
            machine.assign(state, place, value)
        state.found = {r: machine.read(state, r) for r in self.arch.registers if r != self.arch.of_kind("pc")}
        if path.origin == "any" and self.arch.origin is not None and not (path.paranoid and origin == "kernel" and not self.separate(path)):
            condition = machine.value(before, self.arch.origin, leaf)
            state.conditions.append(condition if origin == "user" else T.not_(condition))
        def word(e: Expr) -> Term | None:
            return self.stack_word(state, path, e) if isinstance(e, SlotRef) else leaf(e)
        for special in self.specials(path, origin):
            if special.condition is not None:
                holds = machine.value(before, special.condition, word)
                mine = boundary is not None and special.name == boundary.name
                state.conditions.append(holds if mine else T.not_(holds))
                if mine:                        # the order in the spec is the order of the tests
                    break
        self.assume(state)
        return state

    def stack_word(self, state: State, path: Path, slot: SlotRef) -> Term:
        """What a word of a frame that ends where the gate's stack begins holds when the event comes."""
        frame, region = self.spec.frames[slot.frame], state.regions[top_of(path.stack or "")]
        return self.machine.content(region, frame.slots[slot.slot].offset - frame.size, self.arch.word_bytes)

    def separate(self, path: Path) -> bool:
        """Does a paranoid entry point tell user mode apart? Else its paranoid path serves both."""
        seen, todo = {path.name}, [path]
        while todo:
            for step in flat_steps(todo.pop().steps):
                if isinstance(step, Origin):
                    return True
                if isinstance(step, (Goto, Through)) and step.path not in seen:
                    seen.add(step.path)
                    todo.append(self.spec.paths[step.path])
        return False

    def stack(self, state: State, path: Path, origin: str, boundary: Boundary | None = None) -> None:
        """The stack that the event runs on, and what it pushes."""
        event = path.event
        assert event is not None
        row = next((r for r in event.stacks if r.origin == origin), None)
        if row is None:
            return
        rule = boundary.region if boundary is not None else None
        if path.stack is not None:
            base = top_of(path.stack)
        elif row.stack == self.sp:
            base = T.var("interrupted.sp.aligned") if row.align > 1 else interrupted(self.sp)
            state.regions[base] = self.stack_region(base, "interrupted kernel stack", -STACK_BELOW, 0, rule, 1)
        else:
            stack = self.spec.leads_to(row.stack, self.machine.configuration)
            base = top_of(stack.name) if stack is not None else T.var(f"top.{row.stack}")
            if stack is None:
                state.regions[base] = Region(base, row.stack, -STACK_BELOW, 0, Bytes(), None, 1)
        words: list[Term] = [T.var(f"event.word{i}") for i in range(event.words)] + [pushed(self.arch, event, r) for r in event.pushes]
        if event.pushes_error(path.number):
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
        count = len(event.pushes) + event.pushes_error(path.number)
        return T.add(self.machine.read(state, self.sp), T.const(count * self.arch.word_bytes))

    # ---- after C ----

    def moved(self, at: State, pc: int, call: Call, address: Term, sp: Term, stage: int) -> tuple[State, Term]:
        """A function returned that gives back the frame's new address, and keeps what its contract says."""
        assert call.move is not None
        state, machine, abi = at.copy(), self.machine, self.arch.abi
        state.pc = pc
        frame = self.spec.frames[call.move.frame]
        new = T.add(top_of(call.move.stack), T.const(-frame.size))
        old = machine.region(state, address)
        assert old is not None
        words = {s.offset: machine.content(old[0], old[1] + s.offset, self.arch.word_bytes) for s in frame.slots.values()}
        target = state.regions[top_of(call.move.stack)]
        used = machine.region(state, sp)
        for region in state.regions.values():
            if region.memory is None:
                floor = used[1] if used is not None and used[0] is region else None
                region.content = Bytes({o: c for o, c in region.content.cells.items() if floor is not None and o >= floor})
                region.epoch = 10 + stage
        for slot in frame.slots.values():
            word = T.var(f"{call.callee}.{slot.name}") if slot.name in call.move.but else words[slot.offset]
            if slot.name in call.move.but:
                state.given[slot.name] = word
            target.content.store(-frame.size + slot.offset, word)
        for register in self.arch.gprs:
            if register not in abi.preserved:
                machine.write(state, register, T.var(f"{call.callee}.{register}"))
        machine.write(state, abi.result, new)
        machine.write(state, self.sp, sp)
        for name in self.spec.states:
            if self.spec.states[name].ghost and name not in self.spec.keeps.get(call.contract, ()):
                state.ghosts[name] = "not known"
        return state, new

    def after_call(self, at: State | None, pc: int, frame: Frame | None, address: Term, sp: Term, contract: str, exit: Exit) -> State:
        """The machine when C returns: everything that C may change is new; what the contract promises holds."""
        keeps = self.spec.keeps.get(contract, ())
        same_cpu = at is not None and bool(keeps)
        state = self.blank(pc, 2, at.base_epoch if at is not None and same_cpu else None)
        machine, abi = self.machine, self.arch.abi
        if at is not None and same_cpu:
            state.user, state.found = at.user, at.found
        parts, offset = T.linear(address)
        base = next(iter(parts))
        signed = offset - (1 << 64) if offset >> 63 else offset
        region = state.regions.get(base)
        if region is None:
            size = frame.size if frame else 0
            low, high = min(-STACK_BELOW, signed - STACK_BELOW), max(0, signed + size)
            region = Region(base, "the frame's stack", low, high, Bytes(), None, 2)
            before = at.regions.get(base) if at is not None else None
            if before is not None and before.parts:
                region.parts = tuple(Part(low, high, p.name, p.needs, p.loads) for p in before.parts)
            state.regions[base] = region
        if frame is not None:
            for slot in frame.slots.values():
                region.seeds[signed + slot.offset] = slot_var(slot.name)
            above = at.regions.get(base) if at is not None else None       # the stack above the frame is not C's
            if above is not None:
                region.content.cells.update({o: c for o, c in above.content.cells.items() if o >= signed + frame.size})
        for register in self.arch.registers.values():
            if register.kind == "pc":
                continue
            if at is not None and register.name in abi.preserved:
                machine.write(state, register.name, machine.read(at, register.name))
            else:
                machine.write(state, register.name, self.readable(register.name, T.var(f"{register.name}@2")))
        machine.write(state, self.sp, sp)
        for name in self.spec.states:
            if self.spec.states[name].ghost:
                state.ghosts[name] = at.ghosts.get(name, "not known") if at is not None and name in keeps else "not known"
        self.fixed_bases(state)
        self.apply(state, self.spec.contracts[contract])
        for name in keeps if at is not None else ():
            for meanings in self.spec.states[name].values.values():
                for meaning in meanings:
                    if meaning.register is not None and at is not None:
                        machine.write(state, meaning.register, machine.read(at, meaning.register))
                        for cell in (e for e in walk(meaning.value) if isinstance(e, CellRef)):
                            self.keep(at, state, cell)
        if exit.index is not None:
            bits = exit.bits
            given = T.var("C.refusal", bits) if exit.refused else T.const(exit.index, bits)
            machine.write(state, abi.result, T.concat(T.var("C.result.high", 64 - bits), given) if bits < 64 else given)
            if exit.refused:
                state.conditions.append(T.not_(T.eq(given, T.const(0, bits))))
        if exit.symbol is not None:
            machine.write(state, abi.result, T.const(self.machine.lifter.image.symbols.get(exit.symbol, 0)))
        for clause in exit.clauses:
            state.conditions.append(self.meaning(clause.condition, 2, {}))
        if exit.condition is not None:
            state.conditions.append(exit.condition)
        self.assume(state)
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

