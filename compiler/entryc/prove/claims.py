"""What has to be true at the C call and at each return. Claims come from the model and the .arch file only."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

from ..model.expr import CellRef, Expr, FoundRef, FrameRef, NumberRef, PresetRef, Reg, SlotRef, constant, is_constant, show, walk
from ..model.spec import Frame, Slot
from ..model.steps import Call, Jump, Set
from ..model.surroundings import KEPT, WORD_MASK, StateNeed
from ..source.text import Span
from . import terms as T
from .arrive import Arrivals, interrupted, pushed, slot_var, top_of
from .claim import Claim, Witness
from .expect import Outline, Stage
from .state import Ending, State
from .terms import Term


class Claims:
    """Claims of one outline."""

    def __init__(self, arrivals: Arrivals, outline: Outline, stub: str) -> None:
        self.arrivals, self.machine = arrivals, arrivals.machine
        self.spec, self.arch = arrivals.spec, arrivals.arch
        self.outline, self.stub = outline, stub
        self.out: list[Claim] = []
        self.start: State | None = None             # the machine when the event came, or when C returned
        self.ran: State | None = None               # the state that the stretch of code was run from
        self.stop = 0                               # the instruction at which the claims are made

    def add(self, kind: str, text: str, span: Span, holds: Term, state: State, detail: str = "", witness: Witness | None = None) -> None:
        self.out.append(Claim(self.stub, kind, text, span, holds, tuple(state.conditions), detail, witness))

    def unclear(self, kind: str, text: str, span: Span, reason: str) -> None:
        """A claim that cannot be made: it is listed as unknown, so that what is not checked is never shown as proved."""
        self.out.append(Claim(self.stub, kind, text, span, T.FALSE, (), unknown=reason))

    def equal(self, kind: str, text: str, span: Span, actual: Term, wanted: Term, state: State,
              register: str | None = None, word: Term | None = None) -> None:
        witness = None
        if self.ran is not None and (register is not None or word is not None):
            witness = Witness(self.ran, self.stop, register, word, wanted)
        detail = f"is {T.show(actual)}, has to be {T.show(wanted)}" if actual is not wanted else ""
        self.add(kind, text, span, T.eq(actual, wanted), state, detail, witness)

    def reached(self, text: str, span: Span, reached: bool, endings: list[Ending], state: State) -> None:
        """Some path ends where the spec says. A path that the prover could not follow might have."""
        stuck = next((e for e in endings if e.kind == "stuck" and not e.state.faults), None)
        if stuck is not None and not reached:
            self.unclear("ending", text, span, f"at {stuck.address:#x}: {stuck.name}")
        else:
            self.add("ending", text, span, T.boolean(reached), state)

    # ---- at the C call ----

    def ending(self, ending: Ending, kind: str, name: str, span: Span) -> bool:
        """The path ends where the spec says."""
        right = ending.kind == kind and ending.name == name
        if ending.kind == "stuck" and not ending.state.faults:
            self.unclear("ending", f"ends with {kind} {name}", span, f"at {ending.address:#x}: {ending.name}")
            return False
        self.add("ending", f"ends with {kind} {name}", span, T.boolean(right), ending.state, f"ends with {ending.kind} {ending.name} at {ending.address:#x}")
        self.faults(ending.state, "only declared memory is touched", span)
        return right

    def faults(self, state: State, text: str, span: Span) -> None:
        """Accesses that broke a rule, and what had to hold on the way."""
        self.add("memory", text, span, T.boolean(not state.faults), state, "; ".join(f"{f.address:#x}: {f.text}" for f in state.faults[:3]))
        for check in state.checks:
            self.out.append(Claim(self.stub, check.kind, check.text, check.span, check.holds, check.conditions))
        state.checks.clear()
        state.faults.clear()

    def at_call(self, start: State, ran: State, ending: Ending, stage: Stage, frame_end: Term | None) -> Term | None:
        """Claims where C is entered, by code that `ran` from a state. `start`: the registers as the interrupted code had them. Returns the frame's address."""
        state, machine, abi = ending.state, self.machine, self.arch.abi
        target = stage.target
        setting = target.setting if isinstance(target, Call) else None
        self.start, self.ran, self.stop = start, ran, ending.address
        frame = self.outline.frame(self.spec)
        sp = machine.read(state, self.arrivals.sp)
        sp = T.add(sp, T.const(abi.return_address))         # a C function that is jumped to expects a return address too
        address: Term | None = None
        for register, argument in zip(abi.args, target.arguments, strict=False):
            actual = machine.read(state, register)
            if isinstance(argument, FrameRef):
                address = actual
            elif not any(isinstance(e, SlotRef) for e in walk(argument)):
                self.written("argument", f"argument {register} is {show(argument)}", target.span, actual, self.source(argument), state)
        if frame is not None and address is None:
            address = sp
        if frame is not None and address is not None:
            address = self.frame_claims(state, frame, address, sp, frame_end, target)
            if address is not None:
                for slot in frame.slots.values():
                    self.slot_claim(state, frame, slot, address, setting)
                for register, argument in zip(abi.args, target.arguments, strict=False):
                    if any(isinstance(e, SlotRef) for e in walk(argument)):
                        self.written("argument", f"argument {register} is {show(argument)}", target.span, machine.read(state, register),
                                     self.slots_of(state, frame, argument, address, setting), state)
        self.needs(state, self.spec.contracts[target.contract], target, sp, {r: interrupted(r) for r in self.arch.registers}
                   if self.outline.origin == "user" else {})
        self.system_registers(start, state, target.span, self.outline.moves)
        self.other_bits(start, state, target.span)
        self.untouched(state, self.outline.moves, target.span, 1)
        self.stack_constants(state, self.outline.moves)
        if frame is not None and address is not None:
            self.in_order(state, frame, address, True, target.span)
            if stage is self.outline.stages[0]:
                self.after_states(state, frame, address)
        if stage is self.outline.stages[-1]:
            extra = sorted({op for op in state.done if op not in self.outline.ops and not self.spec.ops[op].returns})
            self.add("op", "nothing else is called on the way", target.span, T.boolean(not extra), state, f"{', '.join(extra)} ran too")
            for op in self.outline.ops:
                when = self.spec.ops[op].when
                if when is None:
                    self.add("op", f"{op} runs before {target.callee}", target.span, T.boolean(op in state.done), state)
                    continue
                needed = self.machine.value(state, when, lambda e: interrupted(e.name) if isinstance(e, Reg) else self.arrivals.setup_leaf(e))
                self.add("op", f"{op} runs exactly when {show(when)}", target.span, needed if op in state.done else T.not_(needed), state)
        return address

    def in_order(self, state: State, frame: Frame, address: Term, stores: bool, span: Span) -> None:
        """Generated code goes through a frame in one direction, first the general registers, or all together: the order of a `save` and a `restore`."""
        found = self.machine.region(state, address)
        if self.spec.target != "bare" or found is None:
            return
        for gprs in (True, False) if stores else (True,):         # an exit names the system registers one by one, in its own order
            places = [found[1] + s.offset for s in frame.slots.values()
                      if gprs is (s.home is not None and self.arch.registers[s.home].kind == "gpr") and not (s.hardware and not stores)]
            went = [offset for store, base, offset, _ in state.order if store is stores and base is found[0].base and offset in places]
            steps = [b - a for a, b in pairwise(went)]
            verb, what = "written" if stores else "read", "general registers" if gprs else "others"
            self.add("order", f"the slots of the {what} are {verb} in one direction", span, T.boolean(all(s > 0 for s in steps) or all(s < 0 for s in steps)),
                     state, f"in the order {', '.join(hex(o - found[1]) for o in went)}")

    def after_states(self, state: State, frame: Frame, address: Term) -> None:
        """Written order is executed order: what the spec brings about before a save is so where the slots of that save are written."""
        found = self.machine.region(state, address)
        if found is None or self.outline.path.event is None:
            return
        named = {slot for save, _ in self.outline.before for slot in save.slots}
        for save, facts in self.outline.before:
            if save.frame != frame.name:
                continue
            mine = set(save.slots) or {s.name for s in frame.slots.values() if s.name not in named and not (s.hardware and self.outline.path.event.pushes)}
            places = {found[1] + frame.slots[name].offset for name in mine if name in frame.slots}
            written = {}
            for store, base, offset, seen in state.order:
                if store and base is found[0].base and offset in places:
                    written[offset] = seen
            for fact in facts:
                bit = self.machine.watch.index(fact) if fact in self.machine.watch else None
                if bit is not None and written:
                    late = sorted(o - found[1] for o, seen in written.items() if not seen >> bit & 1)
                    self.add("order", f"{fact.subject} = {fact.value} before {save.frame} is saved", fact.span, T.boolean(not late), state,
                             f"not where offset {late[0]:#x} is written" if late else "")

    def slots_of(self, state: State, frame: Frame, argument: Expr, address: Term, setting: tuple[str, Expr] | None) -> Term | None:
        """An argument made of slots: what they hold where C starts, or held before the call set one."""
        values: dict[str, Term | None] = {}
        for part in walk(argument):
            if isinstance(part, SlotRef):
                slot = frame.slots[part.slot]
                values[part.slot] = self.wanted(frame, slot) if setting is not None and setting[0] == part.slot else \
                    self.load(state, T.add(address, T.const(slot.offset)))
        if any(v is None for v in values.values()):
            return None
        return self.machine.value(state, argument, lambda e: values[e.slot] if isinstance(e, SlotRef) else None)

    def other_bits(self, before: State, state: State, span: Span) -> None:
        """Where a state is about some bits of a register, the others stay as they were."""
        for name, mask in self.masks().items():
            rest = T.const(self.arch.registers[name].compare & ~mask)
            self.equal("state", f"the other bits of {name} are not changed", span, T.band(self.machine.read(state, name), rest),
                       T.band(self.machine.read(before, name), rest), state)

    def masks(self) -> dict[str, int]:
        """Registers that states are about in part: the bits that some state of this configuration is about."""
        out: dict[str, int] = {}
        for declared in self.spec.states.values():
            if self.machine.configuration.holds(declared.guard):
                for meaning in (m for ms in declared.values.values() for m in ms):
                    if meaning.register is not None and self.machine.configuration.holds(meaning.guard):
                        out[meaning.register] = out.get(meaning.register, 0) | meaning.mask
        return {name: mask for name, mask in out.items() if mask != WORD_MASK}

    def frame_claims(self, state: State, frame: Frame, address: Term, sp: Term, end: Term | None, target: Call | Jump) -> Term | None:
        found = self.machine.region(state, address)
        where = found is not None and found[0].memory is None and found[0].low <= found[1] and found[1] + frame.size <= found[0].high
        self.add("stack", f"frame {frame.name} lies on a kernel stack", target.span, T.boolean(bool(where)), state, f"its address is {T.show(address)}")
        if end is None and found is not None:
            end = found[0].base                 # a stack that is entered is entered at its top
        if end is not None:
            self.equal("stack", f"frame {frame.name} ends where its stack began", target.span, T.add(address, T.const(frame.size)), end, state)
        gap = T.sub(address, self.machine.read(state, self.arrivals.sp))
        live = gap.value is not None and gap.value < 1 << 63
        top = self.machine.region(state, self.machine.read(state, self.arrivals.sp))
        if self.outline.stages[0].target is not target and top is not None and found is not None and top[0].base is not found[0].base:
            live = True                         # C has put the frame on another stack
        self.add("stack", "the frame is not below the stack pointer", target.span, T.boolean(live), state, f"frame - sp = {T.show(gap)}")
        return address if where else None

    def load(self, state: State, address: Term) -> Term:
        found = self.machine.region(state, address)
        if found is None:
            return T.var("nowhere")
        region, offset = found
        return self.machine.content(region, offset, self.arch.word_bytes)

    def slot_claim(self, state: State, frame: Frame, slot: Slot, address: Term, setting: tuple[str, Expr] | None = None) -> None:
        if slot.source == "c" and all(name != slot.name for save in self.outline.saves for name, _ in save.values):
            return                              # C writes it
        wanted = self.wanted(frame, slot)
        if slot.name in state.given:
            wanted = state.given[slot.name]
        if setting is not None and setting[0] == slot.name:
            wanted = self.source(setting[1])
        if wanted is None:
            self.unclear("slot", f"{frame.name}.{slot.name} has its value", slot.span, "the prover has no meaning for what the spec says")
            return
        actual = self.load(state, T.add(address, T.const(slot.offset)))
        mask = next((m for save in self.outline.saves for name, m in save.within if name == slot.name), None)
        if mask is not None:
            bits = T.const(constant(mask))
            actual, wanted = T.band(actual, bits), T.band(wanted, bits)
        self.equal("slot", f"{frame.name}.{slot.name} = {T.show(wanted)}", slot.span, actual, wanted, state,
                   word=T.add(address, T.const(slot.offset)) if mask is None else None)

    def wanted(self, frame: Frame, slot: Slot) -> Term | None:
        """What a slot has to hold when C starts. None: the spec says something that has no meaning here."""
        path, event = self.outline.path, self.outline.path.event
        assert event is not None
        override, save = next(((v, save) for save in self.outline.saves for name, v in save.values if name == slot.name and save.frame == frame.name),
                              (None, None))
        if override is not None and is_constant(override):
            return T.const(constant(override))
        if slot.home is not None:
            if override is not None and save is not None and (slot.home in event.lost or slot.name in save.takes or slot.name in dict(save.within)):
                return self.source(override)
            return self.after_event(slot.home)
        if override is not None:
            return self.source(override)
        if slot.source == "number" and path.number is not None:
            return T.const(path.number)
        if slot.source == "error_code" and event.pushes_error(path.number):
            return T.var("error_code")
        if slot.source in ("number", "error_code", "value") and slot.other is not None:
            return T.const(constant(slot.other)) if is_constant(slot.other) else self.source(slot.other)
        return None

    def after_event(self, register: str) -> Term:
        """The interrupted value, or what the event put into a general register."""
        event = self.outline.path.event
        assert event is not None
        for effect in event.effects:
            if isinstance(effect.place, Reg) and effect.place.name == register and self.arch.registers[register].kind == "gpr":
                def leaf(e: Expr) -> Term | None:
                    return interrupted(e.name) if isinstance(e, Reg) else self.arrivals.setup_leaf(e)
                return self.machine.value(State(0, None, {}, {}, {}, [], [], []), effect.value, leaf)  # type: ignore[arg-type]
        return pushed(self.arch, event, register)

    def source(self, expr: Expr | None) -> Term | None:
        """What an expression of an entry path denotes: a place's interrupted value, a constant, what a cell was given or held."""
        if expr is None:
            return None
        unknown: list[Expr] = []
        def leaf(e: Expr) -> Term | None:
            if isinstance(e, Reg):
                kind = self.arch.registers[e.name].kind
                return self.machine.read(self.start, e.name) if kind == "system" and self.start is not None else self.after_event(e.name)
            if isinstance(e, CellRef):
                given = next((m for m in reversed(self.outline.moves) if m.place == e), None)
                return self.source(given.value) if given is not None else self.arrivals.cell(e, 1)
            if isinstance(e, NumberRef):
                return T.const(self.outline.path.number or 0)
            if isinstance(e, PresetRef):
                return self.arrivals.preset(self.start.base_epoch if self.start is not None else 1)
            if isinstance(e, FrameRef) and self.outline.path.stack is not None:
                return T.add(top_of(self.outline.path.stack), T.const(-self.spec.frames[e.frame].size))
            if isinstance(e, (SlotRef, FrameRef)):
                unknown.append(e)
                return T.const(0)
            return self.arrivals.setup_leaf(e)
        value = self.machine.value(State(0, None, {}, {}, {}, [], [], []), expr, leaf)  # type: ignore[arg-type]
        return None if unknown else value

    def cell_now(self, state: State, cell: CellRef) -> Term:
        """What a cell holds, in its own width."""
        size = self.spec.memories[cell.memory].cells[cell.cell].size
        return T.resize(self.arrivals.cell_now(state, cell), size * 8)

    def after_c(self, expr: Expr) -> Term | None:
        """What an expression of an exit path denotes: slots and places as C left them."""
        def leaf(e: Expr) -> Term | None:
            if isinstance(e, SlotRef):
                return slot_var(e.slot)
            if isinstance(e, CellRef):
                return T.resize(T.resize(self.arrivals.cell(e, 2), self.spec.memories[e.memory].cells[e.cell].size * 8), 64)
            if isinstance(e, FoundRef):
                return self.start.found.get(e.register, T.var("not.found")) if self.start is not None else None
            if isinstance(e, Reg) and self.start is not None:
                return self.machine.read(self.start, e.name)
            return self.arrivals.setup_leaf(e)
        return self.machine.value(State(0, None, {}, {}, {}, [], [], []), expr, leaf)  # type: ignore[arg-type]

    def written(self, kind: str, text: str, span: Span, actual: Term, wanted: Term | None, state: State) -> None:
        """A place has the value that the spec writes there."""
        if wanted is None:
            self.unclear(kind, text, span, "the prover has no meaning for what the spec says")
        else:
            self.equal(kind, text, span, actual, wanted, state)

    # ---- facts of states ----

    def needs(self, state: State, needs: tuple[StateNeed, ...], target: Call | Jump, sp: Term, user: dict[str, Term]) -> None:
        abi = self.arch.abi
        for need in needs:
            if not self.spec.applies(need, self.machine.configuration):
                continue
            text = f"{need.subject} = {need.value} when C starts"
            if need.subject == "stack":
                found = self.machine.region(state, sp)
                names = {f"stack {need.value}"} | ({"interrupted kernel stack"} if self.outline.origin == "kernel" else set())
                right = found is not None and found[0].name in names and found[0].low <= found[1] <= found[0].high
                self.add("stack", text, need.span, T.boolean(right), state, f"sp is {T.show(sp)}")
            elif need.subject == "gprs":
                used = set(abi.args[:len(target.arguments)]) | ({abi.link} if abi.link and isinstance(target, Call) else set()) | self.outline.keeping
                for register in self.arch.gprs:
                    if register not in used and register not in need.but:
                        value = self.machine.read(state, register)
                        seen = sorted(str(v.aux) for v in T.leaves(value) if self.users(str(v.aux)))
                        self.add("clear", f"{register} holds no user value when C starts", need.span, T.boolean(not seen), state, f"it is {T.show(value)}")
            else:
                self.fact(state, need, user, text, "state")
        parts, offset = T.linear(sp)
        align = self.spec.aligns.get(target.contract, abi.align)
        aligned = len(parts) == 1 and offset % align == 0 and next(iter(parts)) in state.regions
        self.add("stack", f"sp is a multiple of {align} when C starts", target.span, T.boolean(aligned), state, f"sp is {T.show(sp)}")

    def users(self, name: str) -> bool:
        """Is a variable something that the interrupted code chose?"""
        if name.startswith("interrupted."):
            register = self.arch.registers.get(name.removeprefix("interrupted."))
            return register is None or register.kind != "system"
        return name.startswith(("lifter.", "user."))

    def fact(self, state: State, need: StateNeed, user: dict[str, Term], text: str, kind: str) -> None:
        """A state, ghost or flag bit has a value, or the value that the interrupted code had."""
        declared = self.spec.states.get(need.subject)
        if declared is None:
            self.add(kind, text, need.span, self.machine.fact(state, need), state)
        elif declared.ghost:
            now = state.ghosts.get(need.subject, "not known")
            self.add(kind, text, need.span, T.boolean(now == need.value), state, f"it is {now}")
        elif need.value == KEPT:
            for name in sorted({m.register or "" for ms in declared.values.values() for m in ms}):
                all_bits = T.const(self.arch.registers[name].compare)
                if name in state.found:
                    self.equal(kind, f"{text}: {name} is what it was", need.span, T.band(self.machine.read(state, name), all_bits),
                               T.band(state.found[name], all_bits), state)
                else:
                    self.unclear(kind, text, need.span, f"the contract of the C function does not say that it keeps {need.subject}")
        else:
            for meaning in declared.values[str(need.value)]:
                if meaning.register is None or not self.machine.configuration.holds(meaning.guard):
                    continue
                wanted = self.arrivals.meaning(meaning.value, state.epoch, user or state.user, state.base_epoch, partial(self.arrivals.cell_now, state))
                actual = self.machine.read(state, meaning.register)
                if meaning.mask != WORD_MASK:
                    actual = T.band(actual, T.const(meaning.mask))
                self.equal(kind, f"{text}: {show(meaning.place)} == {show(meaning.value)}", need.span, actual, wanted, state,
                           register=meaning.register if meaning.mask == WORD_MASK else None)

    def untouched(self, state: State, moves: list[Set], span: Span, epoch: int) -> None:
        """Memory blocks: the words that the spec's steps assign have their values, and nothing else is written."""
        last = {m.place: m for m in moves if isinstance(m.place, CellRef)}
        for place, move in last.items():
            cell = self.spec.memories[place.memory].cells[place.cell]
            if self.arrivals.place(place.memory, place.cell) is None:
                self.unclear("memory", f"{show(place)} = {show(move.value)}", move.span, f"the image has no symbol {cell.symbol}")
                continue
            wanted = self.source(move.value) if epoch == 1 else self.after_c(move.value)
            self.written("memory", f"{show(place)} = {show(move.value)}", move.span, self.cell_now(state, place),
                         T.resize(wanted, cell.size * 8) if wanted is not None else None, state)
        for region in state.regions.values():
            if region.memory is None:
                continue
            memory = self.spec.memories[region.memory]
            cells = [memory.cells[m.place.cell] for m in moves if isinstance(m.place, CellRef) and m.place.memory == memory.name]
            places = [(self.arrivals.place(memory.name, c.name), c.size) for c in cells]
            allowed = {offset for start, size in places if start is not None for offset in range(start, start + size)}
            extra = sorted(region.written - allowed)
            self.add("memory", f"nothing is written in {memory.name}" + (f" but {', '.join(c.name for c in cells)}" if cells else ""), span,
                     T.boolean(not extra), state, f"written at offset {extra[0]:#x}" if extra else "")

    def meant(self) -> set[str]:
        """Registers that some state's meaning is about, in this configuration."""
        return {m.register or "" for s in self.spec.states.values() if self.machine.configuration.holds(s.guard)
                for ms in s.values.values() for m in ms}

    def system_registers(self, before: State, state: State, span: Span, moves: list[Set], skip: frozenset[str] = frozenset(),
                         returning: bool = False) -> None:
        """System registers that nothing in the spec is about keep their values; so do general registers without a slot."""
        given = {m.place.name: m for m in moves if isinstance(m.place, Reg)}
        for register in self.arch.registers.values():
            if register.kind != "system" or (register.name not in given and (register.name in self.meant() or register.name in skip)):
                continue
            actual = self.machine.read(state, register.name)
            if register.name in given:
                move = given[register.name]
                self.written("system", f"{register.name} = {show(move.value)}", move.span, actual,
                             self.after_c(move.value) if returning else self.source(move.value), state)
            else:
                self.equal("system", f"{register.name} is not changed", span, actual, self.machine.read(before, register.name), state)
        frame = self.outline.frame(self.spec)
        homes = {s.home for s in frame.slots.values()} if frame else set()
        for name in self.arch.gprs:
            if name in homes:
                continue
            if returning and name not in self.arch.abi.preserved:
                self.add("register", f"{name} is not changed", span, T.FALSE, state, "no slot keeps it, and C may change it")
            else:
                self.equal("register", f"{name} is not changed", span, self.machine.read(state, name), self.machine.read(before, name), state)

    # ---- at a return ----

    def stack_constants(self, state: State, moves: list[Set]) -> None:
        """Words of the gate's stack that steps set to a constant."""
        region = state.regions.get(top_of(self.outline.path.stack or ""))
        for place, move in {m.place: m for m in moves if isinstance(m.place, SlotRef) and is_constant(m.value)}.items():
            frame = self.spec.frames[place.frame]
            offset = frame.slots[place.slot].offset - frame.size
            actual = self.machine.content(region, offset, self.arch.word_bytes) if region is not None else None
            if actual is not None:
                self.equal("slot", f"{show(place)} = {show(move.value)}", move.span, actual, T.const(constant(move.value)), state)
