"""Frames: saving by push or store, clearing, restoring by pop or load."""

from __future__ import annotations

from collections.abc import Sequence

from ..model.arch import Assign
from ..model.expr import Binary, Cast, CellRef, Expr, Mem, Num, NumberRef, Reg, SlotRef, SymbolRef, Unary, constant, is_constant, rebuild, show
from ..model.spec import Frame, Slot
from ..model.steps import Call, Clear, ExitTo, Goto, Jump, Origin, Restore, ReturnStep, Save, Step
from ..source.edits import step_removed
from .lower import NoForm
from .moves import folded
from .select import find, plus, pop, push, push_whole
from .states import States
from .values import UNKNOWN, Value, value_of


class Frames(States):
    """Steps that write and read the frame."""

    def begin_frame(self, step: Save) -> Frame | None:
        m, frame = self.machine, self.spec.frames[step.frame]
        if m.frame is None:
            m.frame = step.frame
        self.need_stack(step.span)
        if m.frame != step.frame:
            self.error("E322", f"frame '{m.frame}' is still open", step.span)
            return None
        if m.below is None or m.stack == "user":
            self.error("E323", f"frame '{step.frame}' would be written on {'the user' if m.stack == 'user' else 'an unknown'}'s stack", step.span,
                       "switch first: stack = NAME")
            return None
        return frame

    def source_of(self, slot: Slot, override: Expr | None, step: Save) -> Expr | None:
        """Where the value of a slot is found now; None: nothing is written (C does it)."""
        m = self.machine
        if override is not None and m.number is not None:
            override = rebuild(override, lambda e: Num(m.number or 0) if isinstance(e, NumberRef) else e)
        if override is not None:
            return Num(constant(override), named(override)) if is_constant(override) else self.checked_override(slot, override, step)
        if slot.source == "c":
            return None
        if slot.source == "number":
            if m.number is not None:
                return Num(m.number)
            return self.other(slot, step)
        if slot.source == "error_code":
            return self.other(slot, step)
        if slot.source == "value":
            return folded(slot.other)
        home = slot.home or ""
        wanted = m.arrival.get(home, Value("interrupted", home))
        register = m.find(wanted, home)
        if register is not None:
            return Reg(register)
        if m.regs.get(self.sp) == wanted and home == self.sp:
            return Reg(self.sp)
        cell = m.find_cell(wanted)
        if cell is not None:
            return CellRef(*cell)
        self.error("E324", f"slot '{slot.name}' is unwritten: {wanted} is in no register and in no cell here", step.span,
                   f"give its value: save {step.frame} {{ {slot.name} = … }}")
        return None

    def other(self, slot: Slot, step: Save) -> Expr | None:
        if slot.other is None:
            self.error("E324", f"slot '{slot.name}' is unwritten: this event has no {slot.source.replace('_', ' ')}", step.span,
                       f"say its value in the frame: {slot.name} = {slot.source} else 0")
        return folded(slot.other)

    def checked_override(self, slot: Slot, override: Expr, step: Save) -> Expr:
        if isinstance(override, Cast) and isinstance(override.a, Reg):       # some bits of a register: from where a step has put them
            holder = self.machine.find(Value("bits", show(override)), slot.home or "")
            return Reg(holder) if holder is not None else override
        value = value_of(self.machine, override)
        if slot.home in self.machine.lost or slot.name in step.takes:
            return override                     # the CPU kept no copy: the spec says what stands for it
        if slot.home and value.kind == "interrupted" and value != self.machine.arrival.get(slot.home) and value.name != slot.home:
            self.error("E325", f"slot '{slot.name}' keeps {slot.home}, but {show(override)} holds {value} here", override.span or step.span,
                       "take the value from where it is, or leave it out: the place is found")
        if isinstance(override, (Reg, CellRef)) and slot.home and value.kind not in ("interrupted", "const") and \
                value != self.machine.arrival.get(slot.home):
            self.error("E325", f"slot '{slot.name}' keeps {slot.home}, but {show(override)} no longer holds it", override.span or step.span)
        return override

    def save(self, step: Save) -> None:
        m = self.machine
        frame = self.begin_frame(step)
        if frame is None:
            return
        overrides = dict(step.values)
        wanted = [s for s in frame.slots.values() if (not step.slots or s.name in step.slots) and s.name not in m.slots]
        for slot in list(wanted):
            if slot.source == "error_code" and m.error_pushed and slot.name not in m.slots:
                m.slots[slot.name] = Value("error")
                wanted.remove(slot)
        for name in list(overrides):
            if name in step.slots and name in step.takes and name in m.slots:
                self.write_again(step, frame, frame.slots[name], overrides.pop(name))
            elif name not in {s.name for s in wanted}:
                self.error("E326", f"slot '{name}' is written already", step.span, "leave it out")
        if not wanted and step.takes:
            return
        sources: list[tuple[Slot, Expr | None]] = [(s, self.source_of(s, overrides.get(s.name), step)) for s in wanted]
        if m.link:
            self.save_around_return(step, frame, sources)
        elif self.by_push:
            self.save_by_push(step, frame, sources)
        else:
            self.save_by_store(step, frame, sources)

    def write_again(self, step: Save, frame: Frame, slot: Slot, value: Expr) -> None:
        """A slot that is written takes something else on purpose: from a register that holds it."""
        m = self.machine
        wanted = Value("symbol", value.name) if isinstance(value, SymbolRef) else value_of(m, value)
        register = m.find(wanted, "") if wanted != UNKNOWN else None
        if register is None:
            raise NoForm(f"no register holds {show(value)} here")
        self.emit(step, self.lower.store(*self.slot_address(frame.name, slot.name, step.span), Reg(register)), f"{frame.name}.{slot.name}")
        m.slots[slot.name] = wanted

    def record(self, slot: Slot, source: Expr | None) -> None:
        self.machine.slots[slot.name] = value_of(self.machine, source) if source is not None else UNKNOWN

    def save_by_push(self, step: Save, frame: Frame, sources: list[tuple[Slot, Expr | None]]) -> None:
        m = self.machine
        assert m.below is not None
        opened: list[str] = []
        for slot, source in reversed(sources):
            at = frame.size - m.below - self.word * len(opened)
            if slot.offset + self.word != at:
                self.error("E327", f"slot '{slot.name}' does not lie directly below what is saved already", step.span,
                           "save slots from the end of the frame downwards")
                return
            if source is None:
                opened.append(slot.name)
                self.record(slot, None)
            if opened and (source is not None or slot is sources[0][0]):
                self.emit(step, self.lower.adjust(self.sp, -self.word * len(opened)), f"{frame.name}.{', '.join(reversed(opened))}: not written here")
                m.below += self.word * len(opened)
                opened = []
            if source is not None:
                if isinstance(source, CellRef):
                    self.need_memory(source.memory, step.span)
                    memory = self.spec.memories[source.memory]
                    wanted: Expr = Mem(Binary("add", Reg(memory.base), Num(memory.cells[source.cell].offset)))
                elif isinstance(source, SlotRef):
                    base, offset = self.slot_address(source.frame, source.slot, step.span)
                    wanted = Mem(plus(Reg(base), offset))
                else:
                    wanted = source
                chosen = push(self.arch, wanted)
                if chosen is None and slot.home is not None and isinstance(wanted, Binary) and wanted.a == Reg(slot.home):
                    chosen = push_whole(self.arch, slot.home)       # which of its bits are right is said by the spec and proved
                if chosen is None:
                    raise NoForm(f"{self.arch.name} cannot push {show(source)}")
                self.emit(step, [chosen], f"{frame.name}.{slot.name}", (source.label or "") if isinstance(source, Num) else "")
                m.below += self.word
                self.record(slot, source)

    def save_around_return(self, step: Save, frame: Frame, sources: list[tuple[Slot, Expr | None]]) -> None:
        """The frame grows where the return address lies: a register that is saved already holds it meanwhile."""
        m = self.machine
        assert m.below is not None
        if len(sources) < 2:
            raise NoForm("a called path saves two registers or more: the return address lies where the first one goes")
        *others, (second, held), (first, value) = sources
        if first.offset != frame.size - m.below or second.offset + self.word != first.offset:
            self.error("E327", f"slot '{first.name}' does not lie directly below what is saved already", step.span,
                       "save slots from the end of the frame downwards")
            return
        chosen = push(self.arch, held) if isinstance(held, Reg) else None
        if chosen is None or not isinstance(held, Reg) or not isinstance(value, Reg):
            raise NoForm(f"slots '{second.name}' and '{first.name}' are registers that can be pushed: the return address lies where they go")
        self.emit(step, [chosen], f"{frame.name}.{second.name}")
        m.below += self.word
        self.record(second, held)
        self.emit(step, self.lower.load(held.name, self.sp, self.word), "the return address")
        m.regs[held.name] = Value("return")
        self.emit(step, self.lower.store(self.sp, self.word, value), f"{frame.name}.{first.name}")
        self.record(first, value)
        m.link = False
        self.save_by_push(step, frame, others)
        again = push(self.arch, held)
        assert again is not None
        self.emit(step, [again], "the return address")
        m.below += self.word
        m.link = True

    def save_by_store(self, step: Save, frame: Frame, sources: list[tuple[Slot, Expr | None]]) -> None:
        m = self.machine
        assert m.below is not None
        if m.below < frame.size:
            grow = frame.size - m.below
            self.emit(step, self.lower.adjust(self.sp, -grow), f"room for {frame.name}")
            m.below = frame.size
        ready = [(s, v) for s, v in sources if isinstance(v, Reg) and self.arch.registers[v.name].kind == "gpr"]
        late = [(s, v) for s, v in sources if v is not None and (s, v) not in ready]
        self.store_tiles(step, frame, ready)
        for slot, source in sources:
            if source is None:
                self.record(slot, None)
        free = list(step.using)
        batch: list[tuple[Slot, Expr]] = []
        for slot, source in late:
            if not free:
                raise NoForm(f"slot '{slot.name}' needs a register that is saved already: write 'using' with one more register")
            assert source is not None
            batch.append((slot, self.through(step, free.pop(0), slot, source)))
        self.store_tiles(step, frame, batch)
        for register in step.using:
            m.regs[register] = UNKNOWN

    def through(self, step: Save, register: str, slot: Slot, source: Expr) -> Reg:
        """Bring a value that is in no general register into one."""
        m = self.machine
        self.destroy(register, step.span)
        if isinstance(source, Reg) and source.name == self.sp:
            assert m.below is not None
            chosen = self.lower.address(register, self.sp, m.below)
            value = Value("interrupted", self.sp)
        elif isinstance(source, CellRef):
            self.need_memory(source.memory, step.span)
            memory = self.spec.memories[source.memory]
            chosen, value = self.lower.load(register, memory.base, memory.cells[source.cell].offset), value_of(m, source)
        else:
            chosen, value = self.lower.move(register, source), value_of(m, source)
        self.emit(step, chosen, show(source) if not (isinstance(source, Reg) and source.name == self.sp) else "the interrupted sp")
        m.regs[register] = value
        return Reg(register)

    def store_tiles(self, step: Save, frame: Frame, rows: Sequence[tuple[Slot, Expr]]) -> None:
        """Longest tile first: two neighbours in one instruction where the CPU has one."""
        sp, index = Reg(self.sp), 0
        while index < len(rows):
            slot, value = rows[index]
            pair = rows[index + 1] if index + 1 < len(rows) else None
            if pair is not None and pair[0].offset == slot.offset + self.word:
                chosen = find(self.arch, Assign(Mem(Binary("add", sp, Num(slot.offset))), value),
                              Assign(Mem(Binary("add", sp, Num(slot.offset + self.word))), pair[1]))
                if chosen is not None:
                    self.emit(step, [chosen], f"{frame.name}.{slot.name}, {frame.name}.{pair[0].name}")
                    self.record(slot, value)
                    self.record(pair[0], pair[1])
                    index += 2
                    continue
            self.emit(step, self.lower.store(self.sp, slot.offset, value, step.using), f"{frame.name}.{slot.name}")
            self.record(slot, value)
            index += 1

    def clear(self, step: Clear, rest: list[Step]) -> None:
        m = self.machine
        soon = self.overwritten_soon(rest)
        for register in step.registers or [r for r in self.arch.gprs if r not in step.but]:
            if register in soon or m.regs.get(register) == Value("const", number=0):
                if register in step.registers:
                    self.error("E313", f"{register} is overwritten before anything can see it: nothing asks for this step", step.span, "remove it",
                               step_removed(step.span))
                continue
            self.destroy(register, step.span)
            self.emit(step, self.lower.move(register, Num(0)), "")
            m.regs[register] = Value("const", number=0)

    def overwritten_soon(self, rest: list[Step]) -> set[str]:
        """Registers that every way to the next C call overwrites: clearing them would be an instruction that nothing needs."""
        for step in rest:
            if isinstance(step, (Call, Jump)):
                out = set(self.arch.abi.args[:len(step.arguments)])
                if isinstance(step, Call) and self.arch.abi.link:
                    out.add(self.arch.abi.link)
                return out
            if isinstance(step, Origin):
                holds = self.configuration.holds
                arms = [self.overwritten_soon([s for s in arm if holds(s.guard)]) for arm in (step.user, step.kernel)]
                return arms[0] & arms[1]
            if isinstance(step, (Goto, ExitTo, ReturnStep)):
                return set()
        return set()

    def restore(self, step: Restore) -> None:
        frame = self.spec.frames[step.frame]
        m = self.machine
        copies = [self.copy_of(step.frame, name) for name in step.slots]
        copied = bool(copies) and None not in copies
        if m.below is None or (m.frame != step.frame and not copied):
            self.error("E321", f"frame '{step.frame}' cannot be reached here: sp does not point into it", step.span)
            return
        self.need_stack(step.span)
        self.loaded()
        def restorable(slot: Slot) -> bool:
            return slot.home is not None and self.arch.registers[slot.home].kind == "gpr" and not slot.hardware
        chosen = [s for s in frame.slots.values() if restorable(s) and s.name not in step.but and (not step.slots or s.name in step.slots)]
        for name in step.slots:
            if not restorable(frame.slots[name]):
                self.error("E328", f"slot '{name}' is not restored into a general register", step.span, f"write an assignment: … = {frame.name}.{name}")
        if m.frame != step.frame:               # from where the words were copied to
            frame, chosen = self.spec.frames[m.frame or ""], [s for s in copies if s is not None]
        if self.by_push:
            self.restore_by_pop(step, frame, chosen)
        else:
            self.restore_by_load(step, frame, chosen)

    def restore_by_pop(self, step: Restore, frame: Frame, slots: list[Slot]) -> None:
        m = self.machine
        assert m.below is not None
        for slot in slots:
            at = frame.size - m.below
            if slot.offset > at:
                self.emit(step, self.lower.adjust(self.sp, slot.offset - at), "skip")
                m.below -= slot.offset - at
            elif slot.offset < at:
                self.error("E329", f"sp has passed slot '{slot.name}' already", step.span, "restore slots from the start of the frame upwards")
                return
            taken = pop(self.arch, slot.home or "")
            if taken is None:
                raise NoForm(f"{self.arch.name} cannot pop {slot.home}")
            self.emit(step, [taken], f"{frame.name}.{slot.name}")
            m.below -= self.word
            m.regs[slot.home or ""] = m.slots.get(slot.name, Value("slot", slot.name))

    def restore_by_load(self, step: Restore, frame: Frame, slots: list[Slot]) -> None:
        m, sp, index = self.machine, Reg(self.sp), 0
        assert m.below is not None
        lift = frame.size - m.below
        while index < len(slots):
            slot = slots[index]
            pair = slots[index + 1] if index + 1 < len(slots) else None
            offset = slot.offset - lift
            if pair is not None and pair.offset == slot.offset + self.word:
                chosen = find(self.arch, Assign(Reg(slot.home or ""), Mem(Binary("add", sp, Num(offset)))),
                              Assign(Reg(pair.home or ""), Mem(Binary("add", sp, Num(offset + self.word)))))
                if chosen is not None:
                    self.emit(step, [chosen], f"{frame.name}.{slot.name}, {frame.name}.{pair.name}")
                    m.regs[slot.home or ""], m.regs[pair.home or ""] = Value("slot", slot.name), Value("slot", pair.name)
                    index += 2
                    continue
            self.emit(step, self.lower.load(slot.home or "", self.sp, offset), f"{frame.name}.{slot.name}")
            m.regs[slot.home or ""] = Value("slot", slot.name)
            index += 1


def named(expr: Expr) -> str | None:
    """The name of a constant, as the spec has it."""
    if isinstance(expr, Unary) and expr.op == "neg":
        inner = named(expr.a)
        return f"-{inner}" if inner else None
    return expr.label if isinstance(expr, Num) else None
