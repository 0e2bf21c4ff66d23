"""One path, one configuration: steps in the written order become instructions; every rule of order is checked on the way.

The walker never reorders. A step that the machine state forbids is refused, with what is missing as help.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ..model.arch import Assign, Control
from ..model.expr import (
    Binary,
    Bit,
    Cast,
    CellRef,
    Expr,
    FrameRef,
    Mem,
    Num,
    Reg,
    SlotRef,
    constant,
    is_constant,
    rebuild,
    show,
)
from ..model.spec import (
    Call,
    Clear,
    Configuration,
    ExitTo,
    Frame,
    Goto,
    Guard,
    Jump,
    Label,
    Origin,
    Path,
    Restore,
    ReturnStep,
    Save,
    Set,
    SetState,
    Slot,
    Spec,
    Step,
    SwitchStack,
)
from ..source.finding import Collector
from ..source.text import Span
from .code import Insn, LabelLine, Line
from .lower import Lower, NoForm
from .select import Chosen, branch, can_push, find, pop, push
from .values import UNKNOWN, Machine, Value, derive_states, lacking, value_of

NONE: Guard = frozenset()


@dataclass(frozen=True)
class Transfer:
    """How a piece of code ends: it goes on at a path (or an arm) in the state reached."""

    target: str
    machine: Machine
    span: Span


@dataclass
class Piece:
    """The lines of a path or an arm, and where they go on. `next`: None when the piece ends by itself."""

    name: str
    lines: list[Line]
    next: str | None
    start: Machine = field(default_factory=Machine)
    transfers: list[Transfer] = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)       # arms, placed after this piece


@dataclass(frozen=True)
class DecisionSite:
    """A decision in assembly: its kind, where, and what does not exist yet there."""

    kind: str
    path: str
    span: Span
    missing: tuple[str, ...]


class Walker:
    """Plans the paths of one configuration. Findings go to the collector; planning goes on after an error where it can."""

    def __init__(self, spec: Spec, configuration: Configuration, collector: Collector) -> None:
        self.spec, self.arch = spec, spec.arch
        self.configuration, self.collector = configuration, collector
        self.lower = Lower(spec)
        self.decisions: list[DecisionSite] = []
        self.sp = spec.arch.of_kind("stack")
        self.word = spec.arch.word_bytes
        self.by_push = can_push(spec.arch)

    # ---- a path ----

    def walk(self, path: Path, machine: Machine) -> Piece:
        """The lines of a path that is entered in the given state."""
        self.path = path
        self.machine = machine
        start = machine.copy()
        self.lines: list[Line] = []
        self.open_windows: set[str] = set()
        self.ended: str | None = None
        self.mark_windows(NONE)
        self.transfers: list[Transfer] = []
        self.pieces: list[Piece] = []
        self.steps(path.steps)
        self.close_windows()
        if self.ended is None:
            self.error("E310", f"path '{path.name}' has no end", path.span, "end it with exit, goto, jump or return")
        return Piece(path.name, self.lines, self.ended or None, start, self.transfers, self.pieces)

    def error(self, code: str, message: str, span: Span | None, help: str | None = None) -> None:
        self.collector.error(code, message, span, help)

    def steps(self, steps: Iterable[Step]) -> None:
        todo = [s for s in steps if self.configuration.holds(s.guard)]
        for index, step in enumerate(todo):
            if self.ended is not None:
                self.error("E311", "this step is never reached", step.span)
                return
            try:
                before = len(self.collector.findings)
                self.step(step, todo[index + 1:])
            except NoForm as problem:
                self.error("E312", str(problem), step.span)
            if len(self.collector.findings) > before and self.ended is None:
                self.ended = ""         # what follows would only repeat the mistake
                return
            self.mark_windows(step.guard)

    def step(self, step: Step, rest: list[Step]) -> None:
        if isinstance(step, SetState):
            self.set_state(step)
        elif isinstance(step, Set):
            self.set(step)
        elif isinstance(step, SwitchStack):
            self.switch_stack(step)
        elif isinstance(step, Save):
            self.save(step)
        elif isinstance(step, Clear):
            self.clear(step, rest)
        elif isinstance(step, Restore):
            self.restore(step)
        elif isinstance(step, Label):
            self.lines.append(LabelLine(f"{self.path.name}_{step.name}", "inner", step.guard))
        elif isinstance(step, Call):
            self.call(step)
        elif isinstance(step, Jump):
            self.jump(step)
        elif isinstance(step, Goto):
            self.transfers.append(Transfer(step.path, self.machine, step.span))
            self.ended = step.path
        elif isinstance(step, ExitTo):
            self.exit_to(step)
        elif isinstance(step, Origin):
            self.origin(step)
        elif isinstance(step, ReturnStep):
            self.return_(step)

    def emit(self, step: Step, chosen: Iterable[Chosen], comment: str = "") -> None:
        identity = f"{type(step).__name__}:{step.span.line}:{step.span.column}"
        for form, operands in chosen:
            self.lines.append(Insn(form, operands, step.guard, comment, step.span, identity))

    # ---- windows ----

    def mark_windows(self, guard: Guard) -> None:
        """Global labels where a window opens or closes, for C predicates and reviewers."""
        if self.ended is not None:
            return
        for window in self.spec.windows.values():
            m = self.machine
            inside = (m.stack if window.subject == "stack" else m.states.get(window.subject)) == window.value
            if inside and window.name not in self.open_windows:
                self.open_windows.add(window.name)
                self.lines.append(LabelLine(window_label(window.name, self.path.name, "begin"), "inner", guard))
            elif not inside and window.name in self.open_windows:
                self.open_windows.discard(window.name)
                self.lines.append(LabelLine(window_label(window.name, self.path.name, "end"), "inner", guard))

    def close_windows(self) -> None:
        for name in sorted(self.open_windows):
            self.lines.append(LabelLine(window_label(name, self.path.name, "end"), "inner"))
        self.open_windows = set()

    # ---- state ----

    def set_state(self, step: SetState) -> None:
        m = self.machine
        if step.subject in self.arch.places:
            if m.places.get(step.subject) == step.value:
                self.error("E313", f"{step.subject} is {step.value} here already: nothing asks for this step", step.span, "remove it")
                return
            register, bit = self.arch.places[step.subject]
            chosen = find(self.arch, Assign(Bit(register, bit, step.subject), Num(int(step.value))))
            if chosen is None:
                raise NoForm(f"{self.arch.name} has no instruction that makes {step.subject} {step.value}")
            self.emit(step, [chosen], f"{step.subject} = {step.value}")
            m.places[step.subject] = int(step.value)
            return
        state = self.spec.states[step.subject]
        current = m.states.get(step.subject)
        if current == step.value:
            self.error("E313", f"{step.subject} is {step.value} here already: nothing asks for this step", step.span, "remove it")
            return
        if current is None:
            self.error("E314", f"which value {step.subject} has is not known here", step.span, "ask first who was interrupted: from user { … } from kernel { … }")
            return
        transition = next((t for t in state.transitions if t.before == current and t.after == step.value), None)
        if transition is None:
            self.error("E315", f"nothing leads {step.subject} from {current} to {step.value}", step.span,
                       f"declare it in state {step.subject}: {current} -> {step.value} by INSTRUCTION")
            return
        self.emit(step, [(self.arch.forms[transition.form], ())], f"{step.subject} = {step.value}")
        m.states[step.subject] = str(step.value)
        self.apply_meanings(state.name, str(step.value))

    def apply_meanings(self, state: str, value: str) -> None:
        for place, _ in self.spec.states[state].values[value]:
            if isinstance(place, Reg):
                self.machine.regs[place.name] = Value("meaning", f"{state}.{value}")

    def need_memory(self, memory: str, span: Span) -> None:
        for need, actual in lacking(self.machine, self.spec.memories[memory].needs, self.configuration.features):
            self.error("E316", f"memory '{memory}' cannot be reached here: it needs {need.subject} = {need.value}, but {need.subject} is {actual}", span,
                       f"put {need.subject} = {need.value} before this step")

    def destroy(self, register: str, span: Span) -> None:
        """Refuse to overwrite the only copy of an interrupted value."""
        m = self.machine
        value = m.regs.get(register, UNKNOWN)
        if value.kind == "interrupted" and self.saved_nowhere(value, register):
            self.error("E317", f"{register} holds the only copy of {value}", span, "save or park it first")

    def saved_nowhere(self, value: Value, register: str) -> bool:
        m = self.machine
        others = [r for r, v in m.regs.items() if v == value and r != register]
        return not others and value not in m.cells.values() and value not in m.slots.values()

    # ---- moves ----

    def set(self, step: Set) -> None:
        m, place, value = self.machine, step.place, folded(step.value) or step.value
        for register in step.using:
            self.destroy(register, step.span)
        if isinstance(place, CellRef):
            self.store_cell(step, place, value)
            return
        if not isinstance(place, Reg):
            self.error("E318", f"{show(place)} cannot be set here", step.span)
            return
        if place.name == self.sp and isinstance(value, FrameRef):
            self.enter_frame(step, value)
            return
        self.destroy(place.name, step.span)
        if isinstance(value, SlotRef):
            chosen = self.lower.load(place.name, *self.slot_address(value.frame, value.slot, step.span), step.using)
            new = m.slots.get(value.slot, Value("slot", value.slot))
        elif isinstance(value, CellRef):
            self.need_memory(value.memory, step.span)
            memory = self.spec.memories[value.memory]
            chosen = self.lower.load(place.name, memory.base, memory.cells[value.cell].offset, step.using)
            new = value_of(m, value)
        elif isinstance(value, (Reg, Num)):
            chosen = self.lower.move(place.name, value)
            new = value_of(m, value)
        else:
            raise NoForm(f"{show(value)} cannot be computed here")
        self.emit(step, chosen, f"{show(place)} = {show(value)}")
        for register in self.lower.scratches(chosen):
            m.regs[register] = UNKNOWN
        m.regs[place.name] = new
        if place.name == self.sp:
            m.below = None
            m.stack = "user" if new == Value("slot", self.slot_of_home(self.sp)) or new == Value("interrupted", self.sp) else "any"
        derive_states(self.spec, m, place.name)

    def slot_of_home(self, register: str) -> str:
        frame = self.frame()
        return next((s.name for s in frame.slots.values() if s.home == register), "") if frame else ""

    def store_cell(self, step: Set, place: CellRef, value: Expr) -> None:
        m = self.machine
        self.need_memory(place.memory, step.span)
        memory = self.spec.memories[place.memory]
        chosen = self.lower.store(memory.base, memory.cells[place.cell].offset, value, step.using)
        self.emit(step, chosen, f"{show(place)} = {show(value)}")
        for register in self.lower.scratches(chosen):
            m.regs[register] = UNKNOWN
        m.cells[(place.memory, place.cell)] = value_of(m, value)

    def enter_frame(self, step: Set, value: FrameRef) -> None:
        m = self.machine
        source = next((r for r, v in m.regs.items() if v == Value("frame", value.frame)), None)
        if source is None:
            self.error("E319", f"no register points to frame '{value.frame}' here", step.span)
            return
        self.emit(step, self.lower.move(self.sp, Reg(source)), f"sp = {value.frame}")
        m.frame, m.below = value.frame, self.spec.frames[value.frame].size
        m.stack = "interrupted"
        m.slots = {s: Value("slot", s) for s in self.spec.frames[value.frame].slots}

    def switch_stack(self, step: SwitchStack) -> None:
        m, stack = self.machine, self.spec.stacks[step.stack]
        if m.stack == step.stack:
            self.error("E313", f"the stack is {step.stack} here already: nothing asks for this step", step.span, "remove it")
            return
        if not isinstance(stack.top, CellRef):
            self.error("E320", f"nothing says where the top of stack '{stack.name}' is found", stack.span, f"write: stack {stack.name} top MEMORY.CELL …")
            return
        self.destroy(self.sp, step.span)
        self.need_memory(stack.top.memory, step.span)
        memory = self.spec.memories[stack.top.memory]
        self.emit(step, self.lower.load(self.sp, memory.base, memory.cells[stack.top.cell].offset), f"stack = {stack.name}")
        m.regs[self.sp] = Value("top", stack.name)
        m.stack, m.below = stack.name, 0

    # ---- frames ----

    def frame(self) -> Frame | None:
        return self.spec.frames[self.machine.frame] if self.machine.frame else None

    def slot_address(self, frame_name: str, slot: str, span: Span) -> tuple[str, int]:
        frame, m = self.spec.frames[frame_name], self.machine
        if m.below is None or m.frame != frame_name:
            self.error("E321", f"frame '{frame_name}' cannot be reached here: sp does not point into it", span)
            return self.sp, 0
        return self.sp, frame.slots[slot].offset - (frame.size - m.below)

    def begin_frame(self, step: Save) -> Frame | None:
        m, frame = self.machine, self.spec.frames[step.frame]
        if m.frame is None:
            m.frame = step.frame
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
        if override is not None:
            return Num(constant(override)) if is_constant(override) else self.checked_override(slot, override, step)
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
        value = value_of(self.machine, override)
        if slot.home in self.machine.lost:
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
        for name in overrides:
            if name not in {s.name for s in wanted}:
                self.error("E326", f"slot '{name}' is written already", step.span)
        sources: list[tuple[Slot, Expr | None]] = [(s, self.source_of(s, overrides.get(s.name), step)) for s in wanted]
        if self.by_push:
            self.save_by_push(step, frame, sources)
        else:
            self.save_by_store(step, frame, sources)

    def record(self, slot: Slot, source: Expr | None) -> None:
        self.machine.slots[slot.name] = value_of(self.machine, source) if source is not None else UNKNOWN

    def save_by_push(self, step: Save, frame: Frame, sources: list[tuple[Slot, Expr | None]]) -> None:
        m = self.machine
        assert m.below is not None
        for slot, source in reversed(sources):
            at = frame.size - m.below
            if slot.offset + self.word != at:
                self.error("E327", f"slot '{slot.name}' does not lie directly below what is saved already", step.span,
                           "save slots from the end of the frame downwards")
                return
            if source is None:
                self.emit(step, self.lower.adjust(self.sp, -self.word), f"{frame.name}.{slot.name}: written by C")
            else:
                if isinstance(source, CellRef):
                    self.need_memory(source.memory, step.span)
                    memory = self.spec.memories[source.memory]
                    wanted: Expr = Mem(Binary("add", Reg(memory.base), Num(memory.cells[source.cell].offset)))
                else:
                    wanted = source
                chosen = push(self.arch, wanted)
                if chosen is None:
                    raise NoForm(f"{self.arch.name} cannot push {show(source)}")
                self.emit(step, [chosen], f"{frame.name}.{slot.name}")
            m.below += self.word
            self.record(slot, source)

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

    def store_tiles(self, step: Save, frame: Frame, rows: list[tuple[Slot, Expr]]) -> None:
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
        for register in step.registers or self.arch.gprs:
            if register in soon or m.regs.get(register) == Value("const", number=0):
                if register in step.registers:
                    self.error("E313", f"{register} is overwritten before anything can see it: nothing asks for this step", step.span)
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
        if m.below is None or m.frame != step.frame:
            self.error("E321", f"frame '{step.frame}' cannot be reached here: sp does not point into it", step.span)
            return
        def restorable(slot: Slot) -> bool:
            return slot.home is not None and self.arch.registers[slot.home].kind == "gpr" and not slot.hardware
        chosen = [s for s in frame.slots.values() if restorable(s) and s.name not in step.but and (not step.slots or s.name in step.slots)]
        for name in step.slots:
            if not restorable(frame.slots[name]):
                self.error("E328", f"slot '{name}' is not restored into a general register", step.span, f"write an assignment: … = {frame.name}.{name}")
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
            m.regs[slot.home or ""] = Value("slot", slot.name)

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

    # ---- C ----

    def arguments(self, step: Call | Jump) -> None:
        m = self.machine
        for register, argument in zip(self.arch.abi.args, step.arguments, strict=False):
            self.destroy(register, step.span)
            if isinstance(argument, FrameRef):
                frame = self.spec.frames[argument.frame]
                if m.below is None or m.frame != argument.frame:
                    self.error("E321", f"frame '{argument.frame}' cannot be passed here: sp does not point into it", step.span)
                    continue
                missing = [s for s in frame.slots if s not in m.slots]
                if missing:
                    self.error("E330", f"frame '{frame.name}' is not complete: {', '.join(missing[:6])} unwritten", step.span, f"save {frame.name} first")
                chosen = self.lower.address(register, self.sp, m.below - frame.size)
            elif isinstance(argument, SlotRef):
                chosen = self.lower.load(register, *self.slot_address(argument.frame, argument.slot, step.span))
            elif isinstance(argument, (Reg, Num)):
                chosen = self.lower.move(register, argument)
            else:
                raise NoForm(f"{show(argument)} cannot be passed: pass the frame, a slot, a register or a constant")
            self.emit(step, chosen, show(argument))
            m.regs[register] = Value("argument", show(argument))

    def contract(self, step: Call | Jump) -> None:
        needs = self.spec.contracts[step.contract]
        for need, actual in lacking(self.machine, needs, self.configuration.features):
            self.error("E331", f"C code '{step.contract}' needs {need.subject} = {need.value}, but {need.subject} is {actual} here", step.span,
                       f"put {need.subject} = {need.value} before the call")
        if any(n.subject == "gprs" and self.configuration.holds(n.guard) for n in needs):
            link = self.arch.abi.link if isinstance(step, Call) else None
            seen = [r for r in self.arch.gprs if self.machine.regs.get(r, UNKNOWN).kind == "interrupted" and r != link]
            if seen:
                self.error("E332", f"C would see the interrupted {', '.join(seen[:5])}", step.span, "put 'clear all' before the call")

    def call(self, step: Call) -> None:
        self.arguments(step)
        self.contract(step)
        chosen = find(self.arch, Control("call", step.callee))
        if chosen is None:
            raise NoForm(f"{self.arch.name} has no call")
        self.emit(step, [chosen], "")
        self.after_call(step.contract)

    def after_call(self, contract: str) -> None:
        """C may have changed everything that it may change."""
        m, abi = self.machine, self.arch.abi
        for register in self.arch.registers.values():
            if register.kind == "gpr" and register.name not in abi.preserved:
                m.regs[register.name] = UNKNOWN
            elif register.kind == "system":
                m.regs[register.name] = UNKNOWN
        frame = self.frame()
        if frame is not None:
            m.slots = {s: Value("slot", s) for s in frame.slots}
        m.cells = {}
        kept = {n.subject: n.value for n in self.spec.contracts[contract] if self.configuration.holds(n.guard)}
        m.places = {p: int(kept[p]) if p in kept else None for p in self.arch.places}
        m.regs[abi.result] = Value("result")

    def jump(self, step: Jump) -> None:
        self.arguments(step)
        self.contract(step)
        chosen = find(self.arch, Control("jump", step.callee))
        if chosen is None:
            raise NoForm(f"{self.arch.name} has no jump")
        self.emit(step, [chosen], "does not return")
        self.ended = ""

    # ---- decisions ----

    def decision(self, kind: str, span: Span) -> None:
        missing = tuple(f"{n.subject} is {actual}, C needs {n.value}" for n, actual in
                        lacking(self.machine, self.spec.contracts["c"], self.configuration.features))
        self.decisions.append(DecisionSite(kind, self.path.name, span, missing))
        if kind not in self.spec.decisions:
            self.error("E333", f"a decision of kind '{kind}' stands in assembly and is not declared", span,
                       f'add: decisions {{ {kind} 1 because "…" }}')
        for subject, value in self.spec.after_decision:
            self.machine.states[subject] = value

    def origin(self, step: Origin) -> None:
        m = self.machine
        if m.origin != "any":
            self.error("E334", f"who was interrupted is known here: the {m.origin}", step.span, "write the steps without a test")
            return
        condition = self.arch.origin
        frame = self.frame()
        if condition is None or frame is None or m.below is None:
            self.error("E335", "who was interrupted cannot be told here", step.span, "save the frame first")
            return
        def place(expr: Expr) -> Expr:
            if isinstance(expr, Reg):
                slot = next((s for s in frame.slots.values() if s.home == expr.name), None)
                if slot is None or slot.name not in m.slots:
                    self.error("E335", f"the test reads {expr.name}, which is in no slot here", step.span)
                    return expr
                return Mem(Binary("add", Reg(self.sp), Num(slot.offset - (frame.size - (m.below or 0)))))
            return expr
        test = rebuild(condition, place)
        flipped = Binary({"ne": "eq", "eq": "ne"}[test.op], test.a, test.b) if isinstance(test, Binary) and test.op in ("ne", "eq") else None
        label = f".L{self.path.name}_from_kernel"
        code = branch(self.arch, flipped, label) if flipped is not None else None
        if code is None:
            raise NoForm(f"{self.arch.name} has no test for {show(condition)}")
        self.emit(step, code, "from kernel?")
        self.decision("origin", step.span)
        before = m
        self.machine = self.arm(before, "user")
        self.steps(step.user)
        self.must_end(step, "user")
        outer_lines, outer_next = self.lines, self.ended
        self.machine, self.ended = self.arm(before, "kernel"), None
        self.lines = [LabelLine(label, "local", step.guard, below=before.below, frame=before.frame, saved=tuple(before.slots))]
        self.steps(step.kernel)
        self.must_end(step, "kernel")
        self.pieces.append(Piece(label, self.lines, self.ended or None))
        self.lines, self.ended = outer_lines, outer_next

    def must_end(self, step: Origin, side: str) -> None:
        if self.ended is None:
            self.error("E336", f"the arm 'from {side}' has no end", step.span, "end it with exit, goto, jump or return")
            self.ended = ""

    def arm(self, before: Machine, origin: str) -> Machine:
        """The state in an arm: what the boundary of that side promises, as far as it was not changed since."""
        m = before.copy()
        m.origin = origin
        m.stack = arrival_stack(self.spec, m.stack, origin)
        loosened = {s for s, _ in self.spec.after_decision}
        for fact in self.spec.arrive.get(origin, ()):
            if fact.subject in m.states and m.states[fact.subject] is None and fact.subject not in loosened:
                m.states[fact.subject] = str(fact.value)
                self.machine = m
                self.apply_meanings(fact.subject, str(fact.value))
        return m

    def exit_to(self, step: ExitTo) -> None:
        if not step.by_method:
            self.transfers.append(Transfer(step.targets[0], self.machine, step.span))
            self.ended = step.targets[0]
            return
        if len(step.targets) != 2:
            self.error("E337", f"an exit by method is among two, not {len(step.targets)}", step.span, "the first is taken unless C returns 0")
            self.ended = ""
            return
        code = branch(self.arch, Binary("eq", Cast(8, False, Reg(self.arch.abi.result)), Num(0)), local_label(step.targets[1])) or \
            branch(self.arch, Binary("eq", Cast(32, False, Reg(self.arch.abi.result)), Num(0)), local_label(step.targets[1]))
        if code is None:
            raise NoForm(f"{self.arch.name} has no test for a zero result")
        self.emit(step, code, "the fallback?")
        self.decision("method", step.span)
        for target in step.targets:
            self.transfers.append(Transfer(target, self.machine.copy(), step.span))
        self.ended = step.targets[0]

    def return_(self, step: ReturnStep) -> None:
        m, path = self.machine, self.path
        origin = path.origin if path.kind == "exit" else m.origin
        row = self.arch.return_row(step.name, origin if origin in ("user", "kernel") else "any")
        if row is None:
            self.error("E338", f"'{step.name}' cannot return to {origin}", step.span)
            return
        frame = self.frame()
        if m.below is not None and frame is not None:
            if row.pops:
                first = next((s for s in frame.slots.values() if s.home == row.pops[0]), None)
                names = [s.home for s in list(frame.slots.values())[-len(row.pops):]]
                if first is None or tuple(names) != row.pops:
                    self.error("E339", f"'{step.name}' pops {' '.join(row.pops)}: frame '{frame.name}' does not end with them", step.span)
                    return
                target = first.offset
            else:
                target = frame.size
            drop = target - (frame.size - m.below)
            if drop:
                self.emit(step, self.lower.adjust(self.sp, drop), f"drop the rest of {frame.name}")
                m.below -= drop
        elif row.pops:
            self.error("E321", f"'{step.name}' pops a frame, but sp does not point into one", step.span)
        for need, actual in lacking(m, self.spec.leave.get(str(origin), ()), self.configuration.features):
            self.error("E340", f"{origin} code has to find {need.subject} = {need.value}, but {need.subject} is {actual} here", step.span,
                       f"put {need.subject} = {need.value} before the return")
        self.check_restored(step, frame, path)
        self.emit(step, [(self.arch.forms[row.name], ())], "")
        self.emit(step, [(self.arch.forms[name], ()) for name in row.stops], "nothing is executed past the return")
        self.ended = ""

    def check_restored(self, step: ReturnStep, frame: Frame | None, path: Path) -> None:
        if frame is None:
            return
        for slot in frame.slots.values():
            if slot.home is None or self.arch.registers[slot.home].kind != "gpr" or slot.home in path.loses:
                continue
            if self.machine.regs.get(slot.home) != Value("slot", slot.name):
                self.error("E341", f"register '{slot.home}' is not restored from {frame.name}.{slot.name} before the return", step.span,
                           "restore all, or say that it is lost: exit … loses " + slot.home)


def local_label(path: str) -> str:
    """Jumps go to local labels: for a global one an assembler may keep a relocation and the long form."""
    return f".L{path}"


def window_label(window: str, path: str, side: str) -> str:
    return f"{window}_{path}_{side}"


def folded(expr: Expr | None) -> Expr | None:
    """Constants as one number."""
    return Num(constant(expr)) if expr is not None and is_constant(expr) else expr


def arrival_stack(spec: Spec, stack: str, origin: str) -> str:
    """On an event that both can raise, the stack is the task's from user code and the interrupted one from the kernel."""
    if stack != "any":
        return stack
    entered = next((s.name for s in spec.stacks.values() if s.entered), None)
    return (entered or "any") if origin == "user" else "interrupted"
