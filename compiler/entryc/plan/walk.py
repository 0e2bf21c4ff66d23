"""One path, one configuration: steps in the written order become instructions; every rule of order is checked on the way.

The walker never reorders. A step that the machine state forbids is refused, with what is missing as help.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..model.arch import Control
from ..model.expr import Binary, Cast, Expr, FrameRef, Mem, Num, Reg, SlotRef, rebuild, show
from ..model.spec import (
    Call,
    Clear,
    ExitTo,
    Frame,
    Goto,
    Jump,
    Label,
    Origin,
    Path,
    Restore,
    ReturnStep,
    Save,
    Set,
    SetState,
    Spec,
    Step,
    SwitchStack,
)
from ..source.text import Span
from .code import LabelLine, Line
from .frames import Frames
from .lower import NoForm
from .moves import NONE, DecisionSite, Piece, Transfer, local_label
from .select import branch, find
from .values import UNKNOWN, Machine, Value, lacking


class Walker(Frames):
    """Plans the paths of one configuration. Findings go to the collector; planning goes on after an error where it can."""

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
            if (register.kind == "gpr" and register.name not in abi.preserved) or register.kind == "system":
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
        if self.arch.abi.return_address:        # C expects the stack as a call leaves it
            self.emit(step, self.lower.adjust(self.sp, -self.arch.abi.return_address), "in place of a return address")
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


def arrival_stack(spec: Spec, stack: str, origin: str) -> str:
    """On an event that both can raise, the stack is the task's from user code and the interrupted one from the kernel."""
    if stack != "any":
        return stack
    entered = next((s.name for s in spec.stacks.values() if s.entered), None)
    return (entered or "any") if origin == "user" else "interrupted"
