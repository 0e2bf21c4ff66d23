"""What has to be true at the C call and at each return. Claims come from the model and the .arch file only."""

from __future__ import annotations

from dataclasses import dataclass

from ..model.arch import Return
from ..model.expr import Bit, CellRef, Expr, FrameRef, Reg, SetupRef, SlotRef, constant, is_constant, show
from ..model.spec import Call, Frame, Jump, Path, Set, Slot, StateNeed
from ..source.text import Span
from . import terms as T
from .arrive import Arrivals, interrupted, slot_var, top_of
from .expect import Exit, Outline
from .machine import Ending, State, Stuck
from .terms import Term


@dataclass(frozen=True)
class Witness:
    """What an emulator has to run to see a claim fail: from a start state to an address, then look at one register or word."""

    start: State
    stop: int
    register: str | None                        # look at this register, or
    word: Term | None                           # at the word at this address
    wanted: Term


@dataclass(frozen=True)
class Claim:
    """A statement about all executions of a stub up to one point. `holds`: a one-bit term; `kind` groups claims in reports."""

    stub: str
    kind: str
    text: str
    span: Span
    holds: Term
    conditions: tuple[Term, ...]
    detail: str = ""
    witness: Witness | None = None
    unknown: str = ""                           # why nothing can be said: never proved, never refuted


class Claims:
    """Claims of one outline."""

    def __init__(self, arrivals: Arrivals, outline: Outline, stub: str) -> None:
        self.arrivals, self.machine = arrivals, arrivals.machine
        self.spec, self.arch = arrivals.spec, arrivals.arch
        self.outline, self.stub = outline, stub
        self.out: list[Claim] = []
        self.start: State | None = None             # the machine when the event came, or when C returned
        self.stop = 0                               # the instruction at which the claims are made

    def add(self, kind: str, text: str, span: Span, holds: Term, state: State, detail: str = "", witness: Witness | None = None) -> None:
        self.out.append(Claim(self.stub, kind, text, span, holds, tuple(state.conditions), detail, witness))

    def unclear(self, kind: str, text: str, span: Span, reason: str) -> None:
        """A claim that cannot be made: it is listed as unknown, so that what is not checked is never shown as proved."""
        self.out.append(Claim(self.stub, kind, text, span, T.FALSE, (), unknown=reason))

    def equal(self, kind: str, text: str, span: Span, actual: Term, wanted: Term, state: State,
              register: str | None = None, word: Term | None = None) -> None:
        witness = None
        if self.start is not None and (register is not None or word is not None):
            witness = Witness(self.start, self.stop, register, word, wanted)
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
        faults = ending.state.faults
        self.add("memory", "only declared memory is touched", span, T.boolean(not faults), ending.state,
                 "; ".join(f"{f.address:#x}: {f.text}" for f in faults[:3]))
        return right

    def at_call(self, start: State, ending: Ending, target: Call | Jump, frame_end: Term | None) -> Term | None:
        """Claims where C is entered. Returns the frame's address."""
        state, machine, abi = ending.state, self.machine, self.arch.abi
        self.start, self.stop = start, ending.address
        frame = self.outline.frame(self.spec)
        sp = machine.read(state, self.arrivals.sp)
        sp = T.add(sp, T.const(abi.return_address))         # a C function that is jumped to expects a return address too
        address: Term | None = None
        for register, argument in zip(abi.args, target.arguments, strict=False):
            actual = machine.read(state, register)
            if isinstance(argument, FrameRef):
                address = actual
            elif not isinstance(argument, SlotRef):
                self.written("argument", f"argument {register} is {show(argument)}", target.span, actual, self.source(argument), state)
        if frame is not None and address is None:
            address = sp
        if frame is not None and address is not None:
            address = self.frame_claims(state, frame, address, sp, frame_end, target)
            if address is not None:
                for slot in frame.slots.values():
                    self.slot_claim(state, frame, slot, address)
                for register, argument in zip(abi.args, target.arguments, strict=False):
                    if isinstance(argument, SlotRef):
                        wanted = self.load(state, T.add(address, T.const(frame.slots[argument.slot].offset)))
                        self.equal("argument", f"argument {register} is {show(argument)}", target.span, machine.read(state, register), wanted, state)
        self.needs(state, self.spec.contracts[target.contract], target, sp, {r: interrupted(r) for r in self.arch.registers}
                   if self.outline.origin == "user" else {})
        self.system_registers(start, state, target.span, self.outline.moves)
        self.untouched(state, self.outline.moves, target.span, 1)
        return address

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
        self.add("stack", "the frame is not below the stack pointer", target.span, T.boolean(live), state, f"frame - sp = {T.show(gap)}")
        return address if where else None

    def load(self, state: State, address: Term) -> Term:
        found = self.machine.region(state, address)
        if found is None:
            return T.var("nowhere")
        region, offset = found
        return self.machine.content(region, offset, self.arch.word_bytes)

    def slot_claim(self, state: State, frame: Frame, slot: Slot, address: Term) -> None:
        if slot.source == "c" and all(name != slot.name for save in self.outline.saves for name, _ in save.values):
            return                              # C writes it
        wanted = self.wanted(frame, slot)
        if wanted is None:
            self.unclear("slot", f"{frame.name}.{slot.name} has its value", slot.span, "the prover has no meaning for what the spec says")
            return
        actual = self.load(state, T.add(address, T.const(slot.offset)))
        self.equal("slot", f"{frame.name}.{slot.name} = {T.show(wanted)}", slot.span, actual, wanted, state,
                   word=T.add(address, T.const(slot.offset)))

    def wanted(self, frame: Frame, slot: Slot) -> Term | None:
        """What a slot has to hold when C starts. None: the spec says something that has no meaning here."""
        path, event = self.outline.path, self.outline.path.event
        assert event is not None
        override = next((v for save in self.outline.saves for name, v in save.values if name == slot.name and save.frame == frame.name), None)
        if override is not None and is_constant(override):
            return T.const(constant(override))
        if slot.home is not None:
            if slot.home in event.lost and override is not None:
                return self.source(override)
            return self.after_event(slot.home)
        if override is not None:
            return self.source(override)
        if slot.source == "number" and path.number is not None:
            return T.const(path.number)
        if slot.source == "error_code" and path.number is not None and path.number in event.error_numbers:
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
        return interrupted(register)

    def source(self, expr: Expr | None) -> Term | None:
        """What an expression of an entry path denotes: a place's interrupted value, a constant, what a cell was given or held."""
        if isinstance(expr, Reg) and self.arch.registers[expr.name].kind == "system" and self.start is not None:
            return self.machine.read(self.start, expr.name)
        if isinstance(expr, Reg):
            return self.after_event(expr.name)
        if isinstance(expr, CellRef):
            given = next((m for m in reversed(self.outline.moves) if m.place == expr), None)
            return self.source(given.value) if given is not None else self.arrivals.cell(expr, 1)
        if expr is not None and is_constant(expr):
            return T.const(constant(expr))
        return None

    def cell_now(self, state: State, cell: CellRef) -> Term:
        """What a cell holds."""
        found = self.spec.memories[cell.memory].cells[cell.cell]
        region = next(r for r in state.regions.values() if r.memory == cell.memory)
        return self.machine.content(region, found.offset, found.size)

    def after_c(self, expr: Expr) -> Term | None:
        """What an expression of an exit path denotes: slots and places as C left them."""
        if isinstance(expr, SlotRef):
            return slot_var(expr.slot)
        if isinstance(expr, CellRef):
            return self.arrivals.cell(expr, 2)
        if isinstance(expr, Reg) and self.start is not None:
            return self.machine.read(self.start, expr.name)
        return T.const(constant(expr)) if is_constant(expr) else None

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
            if not self.machine.configuration.holds(need.guard):
                continue
            text = f"{need.subject} = {need.value} when C starts"
            if need.subject == "stack":
                found = self.machine.region(state, sp)
                names = {f"stack {need.value}"} | ({"interrupted kernel stack"} if self.outline.origin == "kernel" else set())
                right = found is not None and found[0].name in names and found[0].low <= found[1] <= found[0].high
                self.add("stack", text, need.span, T.boolean(right), state, f"sp is {T.show(sp)}")
            elif need.subject == "gprs":
                used = set(abi.args[:len(target.arguments)]) | ({abi.link} if abi.link and isinstance(target, Call) else set())
                for register in self.arch.gprs:
                    if register not in used:
                        value = self.machine.read(state, register)
                        seen = sorted(str(v.aux) for v in T.leaves(value) if str(v.aux).startswith(("interrupted.", "lifter.", "user.")))
                        self.add("clear", f"{register} holds no user value when C starts", need.span, T.boolean(not seen), state, f"it is {T.show(value)}")
            else:
                self.fact(state, need, 1, user, text, "state")
        parts, offset = T.linear(sp)
        aligned = len(parts) == 1 and offset % abi.align == 0 and next(iter(parts)) in state.regions
        self.add("stack", f"sp is a multiple of {abi.align} when C starts", target.span, T.boolean(aligned), state, f"sp is {T.show(sp)}")

    def fact(self, state: State, need: StateNeed, epoch: int, user: dict[str, Term], text: str, kind: str) -> None:
        """A state, ghost or flag bit has a value."""
        declared = self.spec.states.get(need.subject)
        if declared is not None and declared.ghost:
            actual = state.ghosts.get(need.subject, "not known")
            self.add(kind, text, need.span, T.boolean(actual == need.value), state, f"it is {actual}")
        elif declared is not None:
            for place, value in declared.values[str(need.value)]:
                if isinstance(place, Reg):
                    meaning = self.arrivals.meaning(value, epoch, user)
                    if isinstance(value, CellRef):
                        meaning = self.cell_now(state, value)
                    self.equal(kind, f"{text}: {show(place)} == {show(value)}", need.span, self.machine.read(state, place.name),
                               meaning, state, register=place.name)
        elif need.subject in self.arch.places:
            register, bit = self.arch.places[need.subject]
            actual_bit = self.machine.read_bit(state, Bit(register, bit, need.subject))
            self.equal(kind, text, need.span, actual_bit, T.const(int(need.value), 1), state)

    def untouched(self, state: State, moves: list[Set], span: Span, epoch: int) -> None:
        """Memory blocks: the words that the spec's steps assign have their values, and nothing else is written."""
        last = {m.place: m for m in moves if isinstance(m.place, CellRef)}
        for place, move in last.items():
            cell = self.spec.memories[place.memory].cells[place.cell]
            wanted = self.source(move.value) if epoch == 1 else self.after_c(move.value)
            self.written("memory", f"{show(place)} = {show(move.value)}", move.span, self.cell_now(state, place),
                         T.resize(wanted, cell.size * 8) if wanted is not None else None, state)
        for region in state.regions.values():
            if region.memory is None:
                continue
            memory = self.spec.memories[region.memory]
            cells = [memory.cells[m.place.cell] for m in moves if isinstance(m.place, CellRef) and m.place.memory == memory.name]
            allowed = {offset for cell in cells for offset in range(cell.offset, cell.offset + cell.size)}
            extra = sorted(region.written - allowed)
            self.add("memory", f"nothing is written in {memory.name}" + (f" but {', '.join(c.name for c in cells)}" if cells else ""), span,
                     T.boolean(not extra), state, f"written at offset {extra[0]:#x}" if extra else "")

    def meant(self) -> set[str]:
        """Registers that some state's meaning is about."""
        return {p.name for s in self.spec.states.values() for m in s.values.values() for p, _ in m if isinstance(p, Reg)}

    def system_registers(self, before: State, state: State, span: Span, moves: list[Set], skip: frozenset[str] = frozenset(),
                         returning: bool = False) -> None:
        """System registers that nothing in the spec is about keep their values; so do general registers without a slot."""
        given = {m.place.name: m for m in moves if isinstance(m.place, Reg)}
        for register in self.arch.registers.values():
            if register.kind != "system" or register.name in self.meant() or register.name in skip:
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

    def at_return(self, before: State, ending: Ending, exit: Exit, frame: Frame | None, address: Term) -> None:
        """Claims where a return instruction is executed."""
        state, span, path = ending.state, exit.step.span, exit.path
        self.start, self.stop = before, ending.address
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
            self.restored(state, final, row, frame, path, address, str(origin), span)
        self.leave(state, str(origin), frame, span)
        used = {e.name for effect in row.effects for e in _registers(effect.value)} | {r.name for r in self.arch.registers.values() if r.name in final}
        moves = [s for s in path.steps if isinstance(s, Set) and self.machine.configuration.holds(s.guard)]
        self.system_registers(before, state, span, moves, frozenset(used), returning=True)
        self.hardware_stack(state, row, str(origin), span)
        self.untouched(state, moves, span, 2)
        self.stops(ending, row, span)

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
        for slot in frame.slots.values():
            if slot.home is None:
                continue
            register = self.arch.registers[slot.home]
            actual = final.get(slot.home)
            if actual is None:
                actual = self.machine.read(state, slot.home)
            if slot.home in path.loses:
                self.add("leak", f"{slot.home} carries no kernel value", span, T.boolean(not list(T.leaves(actual)) or actual is slot_var(slot.name)), state)
            elif slot.home == sp and sp not in final and origin == "kernel":
                self.equal("return", "sp is what it was before the event", slot.span, actual, T.add(address, T.const(frame.size)), state)
            else:
                mask = T.const(register.compare)
                self.equal("return", f"{slot.home} = {frame.name}.{slot.name}", slot.span, T.band(actual, mask), T.band(slot_var(slot.name), mask), state,
                           register=slot.home if slot.home not in final else None)

    def leave(self, state: State, origin: str, frame: Frame | None, span: Span) -> None:
        user = {s.home: slot_var(s.name) for s in frame.slots.values() if s.home} if frame else {}
        for need in self.spec.leave.get(origin, ()):
            if self.machine.configuration.holds(need.guard):
                self.fact(state, need, 2, user, f"{need.subject} = {need.value} for {origin} code", "state")

    def hardware_stack(self, state: State, row: Return, origin: str, span: Span) -> None:
        """A banked stack pointer is back at the top of its stack, for the next event from user mode."""
        banked = [s for s in self.spec.stacks.values() if s.entered and not isinstance(s.top, CellRef)]
        sets_sp = any(isinstance(e.place, Reg) and e.place.name == self.arrivals.sp for e in row.effects)
        if origin == "user" and sets_sp and banked:
            self.equal("stack", f"{banked[0].entered} is back at the top of stack {banked[0].name}", span,
                       self.machine.read(state, self.arrivals.sp), top_of(banked[0].name), state)

    def stops(self, ending: Ending, row: Return, span: Span) -> None:
        address = ending.address
        for name in row.stops:
            address += self.machine.lifter.at(address).size
            found = self.machine.lifter.at(address)
            right = found.form is not None and found.form.name == name
            self.add("stop", f"{name} follows {row.name}", span, T.boolean(right), ending.state, f"{found.text} follows")


def _registers(expr: Expr) -> list[Reg]:
    from ..model.expr import walk
    return [e for e in walk(expr) if isinstance(e, Reg)]


__all__ = ["Claim", "Claims", "SetupRef"]
