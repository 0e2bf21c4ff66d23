"""Calls of C, and paths that stand once and are called from many: the frame grows around their return address."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from ..model.arch import Control, Form
from ..model.expr import Cast, Expr, FrameRef, Mem, Num, Reg, SlotRef, show
from ..model.spec import Configuration, Path, Spec
from ..model.steps import Call, Jump, Room, Save, Step, Through, flat_steps
from ..model.surroundings import Move
from ..source.edits import step_before
from ..source.finding import Collector
from .frames import Frames
from .lower import NoForm
from .moves import Transfer, folded
from .select import find, plus, push
from .values import UNKNOWN, Machine, Value, join, value_of

RETURN = "return"                               # what a target's own text for the end of a called path is named


def moves(path: Path) -> bool:
    """Does a called path give back where the frame is: does C move it there?"""
    return any(isinstance(s, Call) and s.move is not None for s in flat_steps(path.steps))


class NotYet(Exception):
    """A path goes through a called one that is not planned yet."""


def through(path: str) -> str:
    """What a target's own text for the call of a path is named."""
    return f"through {path}"


class Calls(Frames):
    """Steps that call, and the ends of paths that are called."""

    def __init__(self, spec: Spec, configuration: Configuration, collector: Collector, whole: Mapping[str, Form]) -> None:
        super().__init__(spec, configuration, collector, whole)
        self.arrived: dict[str, list[Transfer]] = {}            # called path -> the states that it is called in
        self.results: dict[str, Machine] = {}                   # called path -> what it gives back; planned before those that call it
        self.given_back: list[Machine] = []                     # the ends of the called path at hand
        self.rest: list[Step] = []                              # what comes after the step at hand in this configuration
        self.last = False                       # nothing comes after it in any
        self.going_on = 0                       # blocks around the step at hand behind which the path goes on

    @contextlib.contextmanager
    def within(self, more: bool = True) -> Iterator[None]:
        """Steps of a block. `more`: the path goes on behind it."""
        self.going_on += more
        try:
            yield
        finally:
            self.going_on -= more

    def arguments(self, step: Call | Jump) -> None:
        m = self.machine
        for register, argument in zip(self.arch.abi.args, step.arguments, strict=False):
            self.destroy(register, step.span)
            before = m.regs.get(register)
            if isinstance(argument, FrameRef):
                frame = self.spec.frames[argument.frame]
                pointer = next((r for r, v in m.regs.items() if v == Value("frame", argument.frame)), None)
                if (m.below is None or m.frame != argument.frame) and pointer is None:
                    self.error("E321", f"frame '{argument.frame}' cannot be passed here: sp does not point into it", step.span)
                    continue
                missing = [s for s in frame.slots if s not in m.slots]
                if missing:
                    self.error("E330", f"frame '{frame.name}' is not complete: {', '.join(missing[:6])} unwritten", step.span, f"save {frame.name} first")
                if pointer is not None or m.below is None:
                    chosen = self.lower.move(register, Reg(pointer or ""))
                else:
                    chosen = self.lower.address(register, self.sp, m.below - frame.size)
            elif isinstance(argument, SlotRef):
                chosen = self.lower.load(register, *self.slot_address(argument.frame, argument.slot, step.span))
            elif isinstance(argument, (Reg, Num)):
                chosen = self.lower.move(register, argument)
            elif isinstance(argument, Cast) and isinstance(argument.a, SlotRef):
                chosen = self.narrowed(register, argument, argument.a) if before != Value("bits", show(argument)) else []
            else:
                raise NoForm(f"{show(argument)} cannot be passed: pass the frame, a slot, a register or a constant")
            self.emit(step, chosen, show(argument))
            m.regs[register] = Value("argument", show(argument))

    def contract(self, step: Call | Jump) -> None:
        needs = self.spec.contracts[step.contract]
        for need, actual in self.lacking(needs):
            self.error("E331", f"C code '{step.contract}' needs {need.subject} = {need.value}, but {need.subject} is {actual} here", step.span,
                       f"put {need.subject} = {need.value} before the call", step_before(step.span, f"{need.subject} = {need.value}"))
        cleared = next((n for n in needs if n.subject == "gprs" and self.configuration.holds(n.guard)), None)
        if cleared is not None:
            link = self.arch.abi.link if isinstance(step, Call) else None
            seen = [r for r in self.arch.gprs if self.machine.regs.get(r, UNKNOWN).kind == "interrupted" and r != link and r not in cleared.but]
            if seen:
                self.error("E332", f"C would see the interrupted {', '.join(seen[:5])}", step.span, "put 'clear all' before the call",
                           step_before(step.span, "clear all"))

    def call(self, step: Call) -> None:
        self.arguments(step)
        if step.setting is not None:
            self.set_slot(step, *step.setting)
        self.contract(step)
        last = self.path.called and not self.rest and not self.going_on         # C goes back to the caller itself, with what it gives back
        chosen = find(self.arch, Control("jump" if last else "call", step.callee))
        if chosen is None:
            raise NoForm(f"{self.arch.name} has no call")
        self.emit(step, [chosen], "")
        self.after_call(step.contract)
        if last:
            if step.move is not None:
                self.moved_to(step.move)
            self.gives_back()
        elif step.move is not None:
            self.moved(step, step.move)

    def set_slot(self, step: Call, slot: str, value: Expr) -> None:
        """A slot of the frame takes a constant, once C's arguments are read."""
        frame = self.frame()
        if frame is None:
            self.error("E321", f"slot '{slot}' cannot be reached here: sp does not point into its frame", step.span)
            return
        source = folded(value) or value
        self.emit(step, self.lower.store(*self.slot_address(frame.name, slot, step.span), source), f"{frame.name}.{slot}")
        self.machine.slots[slot] = value_of(self.machine, source)

    def moved(self, step: Call, move: Move) -> None:
        """C gave back where the frame is now."""
        m, result = self.machine, self.arch.abi.result
        if self.path.called:                    # the stack pointer stays at the return address
            self.moved_to(move)
            m.frame, m.below, m.regs[result] = None, None, Value("frame", move.frame)
            return
        self.emit(step, self.lower.move(self.sp, Reg(result)), f"{move.frame} is on stack {move.stack} now")
        self.moved_to(move)

    def moved_to(self, move: Move) -> None:
        m = self.machine
        m.stack, m.frame, m.below = move.stack, move.frame, self.spec.frames[move.frame].size
        if move.but:                            # C took the frame of the code that was interrupted: it returns there
            m.origin, m.arrival_name = "user", None

    def after_call(self, contract: str) -> None:
        """C may have changed everything that it may change."""
        m, abi = self.machine, self.arch.abi
        for register in self.arch.registers.values():
            if (register.kind == "gpr" and register.name not in abi.preserved) or register.kind == "system":
                m.regs[register.name] = UNKNOWN
        frame = self.frame()
        if frame is not None:
            m.slots = {s: Value("slot", s) for s in frame.slots}
        m.cells = {place: value for place, value in m.cells.items() if place[0] in self.spec.frames}       # the stack above the frame is not C's
        kept = {n.subject: n.value for n in self.spec.contracts[contract] if self.configuration.holds(n.guard)}
        m.places = {p: int(kept[p]) if p in kept else None for p in self.arch.places}
        m.regs[abi.result] = Value("result")

    def jump(self, step: Jump) -> None:
        self.arguments(step)
        self.contract(step)
        chosen = find(self.arch, Control("jump", step.callee))
        if chosen is None:
            raise NoForm(f"{self.arch.name} has no jump")
        if self.arch.abi.return_address:        # C expects the stack as a call leaves it
            self.emit(step, self.lower.adjust(self.sp, -self.arch.abi.return_address), "in place of a return address")
        self.emit(step, [chosen], "does not return")
        self.ended = ""

    # ---- paths that are called ----

    def through_called(self, step: Through, path: Path) -> None:
        """Call a path that stands elsewhere. It saves the rest of the frame around its return address, and gives back where the frame is."""
        m = self.machine
        if m.below is None:
            self.error("E321", f"'{path.name}' cannot be called here: sp does not point into a frame", step.span)
            return
        saved = next((s for s in flat_steps(path.steps) if isinstance(s, Save)), None)
        if m.frame is None and saved is not None:               # all that lies there is what the CPU pushed
            self.begin_frame(saved)
            m.slots.update({s.name: Value("error") for s in self.spec.frames[saved.frame].slots.values() if s.source == "error_code" and m.error_pushed})
        text = self.whole.get(through(path.name))
        chosen = (text, ()) if text is not None else find(self.arch, Control("call", path.name))
        if chosen is None or not self.arch.abi.return_address:
            raise NoForm(f"{self.arch.name} has no call that leaves its return address on the stack")
        self.emit(step, [chosen])
        arriving = m.copy()
        arriving.below, arriving.link = m.below + self.word, True
        self.arrived.setdefault(path.name, []).append(Transfer(path.name, arriving, step.span))
        known = self.results.get(path.name)
        if known is None:                       # what comes back is planned when all arrivals are known
            raise NotYet
        if text is None and moves(path):
            self.emit(step, self.lower.move(self.sp, Reg(self.arch.abi.result)), "where the frame is")
        self.machine = known.copy()
        self.machine.number = m.number

    def gives_back(self, step: Step | None = None) -> None:
        """A called path ends. `step`: what its own code comes from; None: C has gone back to the caller."""
        m, frame = self.machine, self.frame()
        if frame is None or m.below is None:
            self.error("E357", f"the called path '{self.path.name}' ends without a frame to give back", self.path.span, "save the frame on each way through it")
            self.ended = ""
            return
        if not m.link:
            raise NoForm(f"{self.arch.name} cannot go back from '{self.path.name}' here")
        if step is not None:
            result, text = self.arch.abi.result, self.whole.get(RETURN)
            back = (text, ()) if text is not None else find(self.arch, Control("return", None))
            if back is None:
                raise NoForm(f"{self.arch.name} cannot go back from '{self.path.name}' here")
            if moves(self.path):
                self.emit(step, self.lower.address(result, self.sp, m.below - frame.size), "where the frame is")
                m.regs[result] = Value("result")
            self.emit(step, [back])
        end = m.copy()
        end.link, end.below = False, frame.size
        self.given_back.append(end)
        self.ended = ""

    def result(self) -> Machine:
        """What holds behind the call of the path that was planned last. C runs on its stack, or on that of the code that was interrupted."""
        out = join(self.given_back)
        stacks = {m.stack for m in self.given_back} - {"interrupted"}
        out.stack = stacks.pop() if len(stacks) == 1 else out.stack
        return out

    def room(self, step: Room) -> None:
        """What the CPU pushed, and what was saved below it, lies lower by so many bytes: it is copied down."""
        m = self.machine
        if m.below is None or m.below != step.size:
            raise NoForm(f"room is made for as much as lies on the stack here: {m.below or 0} bytes")
        count = step.size // self.word
        chosen = push(self.arch, Mem(plus(Reg(self.sp), (count - 1) * self.word)))
        if chosen is None:
            raise NoForm(f"{self.arch.name} cannot push a word of the stack")
        self.emit(step, [chosen] * count, "once more")
        m.above = None
