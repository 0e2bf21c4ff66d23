"""What all step planners share: the tracked machine, emission, windows, state changes, moves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ..model.arch import Assign, Form
from ..model.expr import Cast, CellRef, Expr, FrameRef, Mem, Num, Reg, SlotRef, SymbolRef, constant, is_constant, show
from ..model.spec import Configuration, Frame, Path, Slot, Spec
from ..model.steps import Set, Step, SwitchStack
from ..model.surroundings import Guard, StateNeed
from ..source.edits import Edits, step_before, step_removed
from ..source.finding import Collector
from ..source.text import Span
from .code import DecisionSite, Insn, LabelLine, Line, Moment, Unwound
from .lower import Lower, NoForm
from .select import Chosen, can_push, find, pop_whole, push
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
    owner: str = ""                                         # the path that an arm is part of
    end: Unwound | None = None                              # how to unwind from a jump at its end


class Moves:
    """State and moves of a path being planned in one configuration."""

    def __init__(self, spec: Spec, configuration: Configuration, collector: Collector, whole: Mapping[str, Form]) -> None:
        self.spec, self.arch = spec, spec.arch
        self.configuration, self.collector = configuration, collector
        self.whole = whole                      # ops and changes of state that stay one line: the target has a text for them
        self.lower = Lower(spec)
        self.decisions: list[DecisionSite] = []
        self.moments: list[Moment] = []
        self.sp = spec.arch.of_kind("stack")
        self.word = spec.arch.word_bytes
        self.by_push = can_push(spec.arch)
        self.unwinding = [(r.name, r.kind == "gpr", Value("interrupted", r.name)) for r in spec.arch.registers.values() if "dwarf" in r.facts]

        self.path: Path
        self.unwanted: set[str] = set()         # registers whose slots take something else: their own values are not kept
        self.machine: Machine
        self.lines: list[Line] = []
        self.open_windows: dict[str, Guard] = {}
        self.ended: str | None = None
        self.inside: tuple[str, ...] = ()       # the steps `through PATH` around the one at hand
        self.end: Unwound | None = None         # how to unwind where the path went on elsewhere
        self.around: Guard = NONE               # their presence conditions
        self.transfers: list[Transfer] = []
        self.pieces: list[Piece] = []
        self.labels: dict[str, int] = {}        # how many labels of a kind the path has

    def error(self, code: str, message: str, span: Span | None, help: str | None = None, edits: Edits = ()) -> None:
        self.collector.error(code, message, span, help, edits=edits)

    def emit(self, step: Step, chosen: Iterable[Chosen], comment: str = "", constant: str = "") -> None:
        identity = ":".join((type(step).__name__, *self.inside, str(step.span.line), str(step.span.column)))
        for form, operands in chosen:
            self.lines.append(Insn(form, operands, step.guard | self.around, comment, step.span, identity, self.unwound(), constant))

    def unwound(self) -> Unwound | None:
        """How to unwind from here, as the tracked values say."""
        m = self.machine
        if m.below is None or (m.frame is None and not self.path.arguments and (self.path.event is None or not self.path.event.pushes)):
            return None
        places: dict[Value, int] = {}
        homes: dict[str, str] = {}
        if m.frame is not None:
            frame = self.spec.frames[m.frame]
            homes = {s.home: s.name for s in frame.slots.values() if s.home is not None}
            places = {m.slots[s.name]: s.offset - frame.size for s in frame.slots.values() if s.name in m.slots and m.slots[s.name] != UNKNOWN}
        elif self.path.arguments and m.below >= self.word:      # what called it has pushed where it goes on
            places = {Value("interrupted", self.arch.of_kind("pc")): -self.word}
        elif self.path.event is not None and m.below >= self.word * len(self.path.event.pushes):
            places = {Value("interrupted", home): -self.word * index for index, home in enumerate(self.path.event.pushes, 1)}
        own = self.spec.frames.get(self.path.frame or m.frame or "")
        homes = {s.home: s.name for s in own.slots.values() if s.home is not None} if own is not None else homes
        rules: list[tuple[str, int | None]] = []
        for name, general, interrupted in self.unwinding:
            values = [m.arrival.get(name, interrupted), interrupted, Value("slot", homes[name]) if name in homes else interrupted]
            if general and m.regs.get(name) in values and not any(v in places for v in values):
                continue                        # it holds its value
            at = next((places[v] for v in values if v in places and places[v] >= -m.below), None)       # not what was popped
            if at is None and name in m.lost and m.frame is not None and homes.get(name) in m.slots:
                at = self.spec.frames[m.frame].slots[homes[name]].offset - self.spec.frames[m.frame].size       # what the spec has in its place
            if at is None and general and m.regs.get(name) in values:
                continue
            if at is not None or general:
                rules.append((name, at))
        return Unwound(m.below, tuple(rules), m.link, m.frame or "")

    # ---- windows ----

    def mark_windows(self, guard: Guard) -> None:
        """Global labels where a window opens or closes, for C predicates and reviewers."""
        if self.ended is not None:
            return
        for window in self.spec.windows.values():
            m = self.machine
            inside = (m.stack if window.subject == "stack" else m.states.get(window.subject)) == window.value
            if inside and window.name not in self.open_windows:
                self.open_windows[window.name] = guard | self.path.guard
                self.lines.append(LabelLine(window_label(window.name, self.path.name, "begin"), "inner", guard | self.path.guard))
            elif not inside and window.name in self.open_windows:
                self.lines.append(LabelLine(window_label(window.name, self.path.name, "end"), "inner", self.open_windows.pop(window.name)))

    def close_windows(self) -> None:
        for name, guard in sorted(self.open_windows.items()):
            self.lines.append(LabelLine(window_label(name, self.path.name, "end"), "inner", guard))
        self.open_windows = {}

    # ---- memory ----

    def need_memory(self, memory: str, span: Span, step: bool = True) -> None:
        """The memory can be reached. `step`: the span is that of a step of the path, not of a part of an op."""
        for need, actual in self.lacking(self.spec.memories[memory].needs):
            self.error("E316", f"memory '{memory}' cannot be reached here: it needs {need.subject} = {need.value}, but {need.subject} is {actual}", span,
                       f"put {need.subject} = {need.value} before this step", step_before(span, f"{need.subject} = {need.value}") if step else ())

    def lacking(self, needs: tuple[StateNeed, ...]) -> list[tuple[StateNeed, str]]:
        """The needs that do not hold here, each with what is the case."""
        return lacking(self.spec, self.machine, needs, self.configuration)

    def need_stack(self, span: Span) -> None:
        """The stack at hand is mapped; what a load from its region does to a state is done."""
        stack = self.spec.stacks.get(self.machine.stack)
        region = self.spec.regions.get(stack.region or "") if stack is not None else None
        for need, actual in self.lacking(region.needs) if region is not None else ():
            self.error("E316", f"stack '{self.machine.stack}' cannot be reached here: it needs {need.subject} = {need.value}, but {need.subject} is {actual}",
                       span, "finish with it before, or switch first: stack = NAME")

    def loaded(self) -> None:
        """A load from the stack at hand."""
        stack = self.spec.stacks.get(self.machine.stack)
        region = self.spec.regions.get(stack.region or "") if stack is not None else None
        if region is not None and region.loads is not None and self.spec.applies(region.loads, self.configuration):
            self.machine.states[region.loads.subject] = str(region.loads.value)

    def destroy(self, register: str, span: Span) -> None:
        """Refuse to overwrite the only copy of an interrupted value."""
        m = self.machine
        value = m.regs.get(register, UNKNOWN)
        if value.kind == "interrupted" and self.saved_nowhere(value, register) and register not in self.unwanted:
            self.error("E317", f"{register} holds the only copy of {value}", span, "save or park it first")

    def saved_nowhere(self, value: Value, register: str) -> bool:
        m = self.machine
        others = [r for r, v in m.regs.items() if v == value and r != register]
        return not others and value not in m.cells.values() and value not in m.slots.values()

    def decision(self, kind: str, span: Span, about: set[str] | None) -> None:
        raise NotImplementedError

    # ---- moves ----

    def set(self, step: Set) -> None:
        m, place, value = self.machine, step.place, folded(step.value) or step.value
        for register in step.using:
            self.destroy(register, step.span)
        if isinstance(place, CellRef):
            self.store_cell(step, place, value)
            return
        if isinstance(place, SlotRef):
            self.store_slot(step, place, value)
            return
        if isinstance(place, Reg) and self.arch.registers[place.name].kind == "flags" and isinstance(value, Num):
            self.set_flags(step, value)
            return
        if isinstance(place, Mem) and isinstance(value, Reg) and isinstance(place.address, Reg):
            self.emit(step, self.lower.store(place.address.name, 0, value), f"{show(place)} = {show(value)}")
            return
        if not isinstance(place, Reg):
            self.error("E318", f"{show(place)} cannot be set here", step.span)
            return
        if place.name == self.sp and isinstance(value, FrameRef):
            self.enter_frame(step, value)
            return
        if not (isinstance(value, Cast) and value.a == place):       # cut down in place: what is left is what the spec wants of it
            self.destroy(place.name, step.span)
        if isinstance(value, FrameRef):
            self.point(step, place.name, value)
            return
        if isinstance(value, SlotRef):
            self.loaded()
            chosen = self.lower.load(place.name, *self.slot_address(value.frame, value.slot, step.span), step.using)
            new = m.slots.get(value.slot, Value("slot", value.slot))
        elif isinstance(value, CellRef):
            self.need_memory(value.memory, step.span)
            memory = self.spec.memories[value.memory]
            chosen = self.lower.load(place.name, memory.base, memory.cells[value.cell].offset, step.using)
            new = value_of(m, value)
        elif isinstance(value, Cast) and isinstance(value.a, SlotRef):
            chosen, new = self.narrowed(place.name, value, value.a), Value("bits", show(value))
        elif isinstance(value, Cast) and isinstance(value.a, Reg):
            chosen, new = self.cut(place.name, value), Value("bits", show(value))
        elif isinstance(value, (Reg, Num, SymbolRef)):
            chosen = self.lower.move(place.name, value)
            new = value_of(m, value)
            if value == Reg(self.sp) and m.frame is not None and m.below is not None:
                new = Value("frame", m.frame, self.spec.frames[m.frame].size - m.below)
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

    def cut(self, register: str, value: Cast) -> list[Chosen]:
        """Some bits of a register."""
        chosen = find(self.arch, Assign(Reg(register), value))
        if chosen is None:
            raise NoForm(f"{self.arch.name} has no instruction for {register} = {show(value)}")
        return [chosen]

    def narrowed(self, register: str, value: Cast, slot: SlotRef) -> list[Chosen]:
        """Some bits of a slot, from a register that still holds what was saved there."""
        saved = self.machine.slots.get(slot.slot, UNKNOWN)
        source = self.machine.find(saved, register) if saved != UNKNOWN and self.machine.frame == slot.frame else None
        chosen = find(self.arch, Assign(Reg(register), Cast(value.bits, value.signed, Reg(source)))) if source is not None else None
        if chosen is None:
            raise NoForm(f"{show(value)} cannot be had: no register holds {show(slot)} here, or {self.arch.name} has no form for it")
        return [chosen]

    def slot_of_home(self, register: str) -> str:
        frame = self.frame()
        return next((s.name for s in frame.slots.values() if s.home == register), "") if frame else ""

    def set_flags(self, step: Set, value: Num) -> None:
        """All flags at once, through the stack."""
        m, flags = self.machine, self.arch.of_kind("flags")
        if m.below is None:
            raise NoForm("flags are set through the stack: switch to one first")
        chosen, taken = push(self.arch, value), pop_whole(self.arch, flags, value.value)
        if chosen is None or taken is None:
            raise NoForm(f"{self.arch.name} cannot set its flags to {show(value)}")
        self.emit(step, [chosen], f"{flags} = {show(value)}")
        m.below += self.word
        self.emit(step, [taken])
        m.below -= self.word
        m.places = {name: value.value >> bit & 1 for name, (_, bit) in self.arch.places.items()}

    def point(self, step: Set, register: str, value: FrameRef) -> None:
        """A register takes the frame's address: the frame can be reached through it."""
        m = self.machine
        if m.below is None or m.frame != value.frame:
            self.error("E321", f"frame '{value.frame}' cannot be reached here: sp does not point into it", step.span)
            return
        self.emit(step, self.lower.address(register, self.sp, m.below - self.spec.frames[value.frame].size), f"{register} = {value.frame}")
        m.regs[register] = Value("frame", value.frame)

    def store_cell(self, step: Set, place: CellRef, value: Expr) -> None:
        m = self.machine
        self.need_memory(place.memory, step.span)
        memory = self.spec.memories[place.memory]
        if isinstance(value, SlotRef):
            if not step.using:
                raise NoForm(f"{self.arch.name} moves no word from memory to memory: write 'using' with a free register")
            self.loaded()
            self.emit(step, self.lower.load(step.using[0], *self.slot_address(value.frame, value.slot, step.span)), f"{step.using[0]} = {show(value)}")
            self.emit(step, self.lower.store(memory.base, memory.cells[place.cell].offset, Reg(step.using[0])), f"{show(place)} = {step.using[0]}")
            m.regs[step.using[0]] = Value("slot", value.slot)
            m.cells[(place.memory, place.cell)] = Value("slot", value.slot)
            return
        chosen = self.lower.store(memory.base, memory.cells[place.cell].offset, value, step.using)
        self.emit(step, chosen, f"{show(place)} = {show(value)}")
        for register in self.lower.scratches(chosen):
            m.regs[register] = UNKNOWN
        m.cells[(place.memory, place.cell)] = value_of(m, value)

    def store_slot(self, step: Set, place: SlotRef, value: Expr) -> None:
        """A word of a frame on the stack at hand."""
        m = self.machine
        self.need_stack(step.span)
        base, offset = self.slot_address(place.frame, place.slot, step.span)
        new = value_of(m, value)
        if isinstance(value, SlotRef):
            if not step.using:
                raise NoForm(f"{self.arch.name} moves no word from memory to memory: write 'using' with a free register")
            self.destroy(step.using[0], step.span)
            self.emit(step, self.lower.load(step.using[0], *self.slot_address(value.frame, value.slot, step.span)), f"{step.using[0]} = {show(value)}")
            m.regs[step.using[0]] = new
            value = Reg(step.using[0])
        self.emit(step, self.lower.store(base, offset, value), f"{show(place)}")
        if m.frame == place.frame:
            m.slots[place.slot] = new
        m.cells[(place.frame, place.slot)] = new

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
            self.error("E313", f"the stack is {step.stack} here already: nothing asks for this step", step.span, "remove it", step_removed(step.span))
            return
        if (text := self.whole.get(f"stack = {step.stack}")) is not None:
            self.emit(step, [(text, ())])       # what the target does where the frame asks for another stack; the ordinary way stays on this one
            self.decision(step.stack, step.span, None)
            return
        if not isinstance(stack.top, CellRef):
            self.error("E320", f"nothing says where the top of stack '{stack.name}' is found", stack.span, f"write: stack {stack.name} top MEMORY.CELL …")
            return
        self.destroy(self.sp, step.span)
        self.need_memory(stack.top.memory, step.span)
        memory = self.spec.memories[stack.top.memory]
        self.emit(step, self.lower.load(self.sp, memory.base, memory.cells[stack.top.cell].offset), f"stack = {stack.name}")
        m.regs[self.sp] = Value("top", stack.name)
        m.stack, m.below, m.frame, m.slots = stack.name, 0, None, {}

    def slot_address(self, frame_name: str, slot: str, span: Span) -> tuple[str, int]:
        frame, m = self.spec.frames[frame_name], self.machine
        if m.below is None or m.frame != frame_name:
            if m.outer is not None and m.outer[0] == frame_name and m.below is not None:
                return self.sp, m.below + m.outer[1] - (frame.size - frame.slots[slot].offset)
            copy = self.copy_of(frame_name, slot)
            if copy is not None and m.below is not None and m.frame is not None:
                return self.sp, copy.offset - (self.spec.frames[m.frame].size - m.below)
            pointer = next(((r, v) for r, v in m.regs.items() if (v.kind, v.name) == ("frame", frame_name)), None)
            if pointer is not None:
                return pointer[0], frame.slots[slot].offset - pointer[1].number
            self.error("E321", f"frame '{frame_name}' cannot be reached here: sp does not point into it", span)
            return self.sp, 0
        return self.sp, frame.slots[slot].offset - (frame.size - m.below)

    def copy_of(self, frame_name: str, slot: str) -> Slot | None:
        """The slot of the frame at hand that holds what the path's own frame has in a slot."""
        frame, m = self.frame(), self.machine
        if frame is None or frame_name != self.path.frame or frame.name == frame_name:
            return None
        return next((s for s in frame.slots.values() if m.slots.get(s.name) == Value("slot", slot)), None)

    def frame(self) -> Frame | None:
        return self.spec.frames[self.machine.frame] if self.machine.frame else None


def local_label(path: str) -> str:
    """Jumps go to local labels: for a global one an assembler may keep a relocation and the long form."""
    return f".L{path}"


def window_label(window: str, path: str, side: str) -> str:
    return f"{window}_{path}_{side}"


def folded(expr: Expr | None) -> Expr | None:
    """Constants as one number."""
    return Num(constant(expr)) if expr is not None and is_constant(expr) else expr
