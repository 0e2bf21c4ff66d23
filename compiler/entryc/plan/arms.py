"""Who was interrupted: the test, and an arm for each answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..model.expr import FLIPPED, Binary, Expr, Mem, Reg, SlotRef, SymbolRef, rebuild, show
from ..model.expr import walk as tree
from ..model.spec import Configuration, Spec
from ..model.steps import ExitTo, Goto, Jump, Origin, ReturnStep, Save, Step
from ..model.surroundings import ANY, ANYWHERE, Boundary, StateNeed
from .calls import Calls
from .code import LabelLine
from .lower import NoForm
from .moves import Piece, Transfer, local_label
from .select import Chosen, branch, plus
from .values import UNKNOWN, Machine, Value, join


class Arms(Calls):
    """Steps `from user { … } from kernel { … }`."""

    def steps(self, steps: Iterable[Step]) -> None:
        raise NotImplementedError

    def origin(self, step: Origin) -> None:
        m = self.machine
        if m.origin == "kernel" and not step.user:
            self.kernel_arms(step)
            return
        if m.origin != "any":
            self.error("E334", f"who was interrupted is known here: the {m.origin}", step.span, "write the steps without a test")
            return
        condition = self.arch.origin
        if condition is None or m.below is None:
            self.error("E335", "who was interrupted cannot be told here", step.span, "save the frame first")
            return
        known = self.collector.said
        test = rebuild(condition, lambda e: self.interrupted_word(step, e))
        if self.collector.said > known:
            return
        if self.joins(step):
            self.only_from_kernel(step, test)
            return
        flipped = Binary({"ne": "eq", "eq": "ne"}[test.op], test.a, test.b) if isinstance(test, Binary) and test.op in ("ne", "eq") else None
        label = f".L{self.path.name}_from_kernel"
        code = branch(self.arch, flipped, label) if flipped is not None else None
        if code is None:
            raise NoForm(f"{self.arch.name} has no test for {show(condition)}")
        self.emit(step, code, "from kernel?")
        self.decision("origin", step.span, {e.name for e in tree(condition) if isinstance(e, Reg)})
        before = m
        self.machine = self.arm(before, "user")
        self.steps(step.user)
        self.must_end(step, "user")
        self.beside(label, step, self.arm(before, "kernel"), lambda: self.kernel_arms(step))

    def joins(self, step: Origin) -> bool:
        """Do both arms go on behind the test, that of user mode without a step of its own?"""
        return not step.user and not step.others and not _ends(step.kernel) and not self.path.called

    def only_from_kernel(self, step: Origin, test: Expr) -> None:
        """Steps that only an event of the kernel's takes; the path goes on behind them."""
        label = f".L{self.path.name}_from_user"
        code = branch(self.arch, test, label)
        if code is None:
            raise NoForm(f"{self.arch.name} has no test for who was interrupted")
        self.emit(step, code, "from kernel?")
        self.decision("origin", step.span, None)
        before = self.machine
        self.machine = self.arm(before, "kernel")
        self.steps(step.kernel)
        self.lines.append(LabelLine(label, "local", step.guard | self.around))
        self.machine = join([self.arm(before, "user"), self.machine])

    def only_at(self, step: Origin, name: str, steps: tuple[Step, ...]) -> None:
        """Steps that only code at a special place takes; the path goes on behind them."""
        boundary, label = self.spec.boundaries[name], f".L{self.path.name}_not_{name}"
        if not self.configuration.holds(boundary.guard):
            return
        condition = boundary.condition
        if not isinstance(condition, Binary) or condition.op not in FLIPPED:
            raise NoForm(f"whether '{name}' was interrupted is more than one comparison: give it an arm that ends")
        using = list(dict(step.using).get(name, ()))
        code = branch(self.arch, rebuild(Binary(FLIPPED[condition.op], condition.a, condition.b), lambda e: self.interrupted_word(step, e)), label, using)
        if code is None:
            raise NoForm(f"{self.arch.name} has no test for {show(condition)}")
        self.emit(step, code, f"at {name}?")
        self.decision(boundary.kind, step.span, {e.name for e in tree(condition) if isinstance(e, Reg)})
        ordinary = self.machine
        self.machine = self.special(ordinary, boundary)
        with self.within():
            self.steps(steps)
        self.lines.append(LabelLine(label, "local", step.guard | self.around))
        self.machine = join([ordinary, self.machine])

    def beside(self, label: str, step: Origin, machine: Machine, steps: Callable[[], None]) -> None:
        """An arm at a label: planned as a piece of its own, placed behind this one."""
        outer_lines, outer_next, outer_windows, outer_end = self.lines, self.ended, self.open_windows, self.end
        self.machine, self.ended, self.open_windows = machine, None, {}
        self.lines = [LabelLine(label, "local", step.guard)]
        place = len(self.pieces)
        steps()
        self.close_windows()
        self.pieces.insert(place, Piece(label, self.lines, self.ended or None, owner=self.path.name, end=self.end))
        self.lines, self.ended, self.open_windows, self.end = outer_lines, outer_next, outer_windows, outer_end

    def kernel_arms(self, step: Origin) -> None:
        """Kernel code was interrupted: is it at a place where its state is special?"""
        if not self.last and not step.kernel and len(step.others) == 1 and not _ends(step.others[0][1]):
            self.only_at(step, *step.others[0])
            return
        ordinary = self.machine
        waiting: list[tuple[str, str, Machine, tuple[Step, ...], str]] = []
        for name, steps in step.others:
            boundary = self.spec.boundaries[name]
            if not self.configuration.holds(boundary.guard):
                continue
            only = steps[0] if len(steps) == 1 else None
            label = local_label(only.path) if isinstance(only, Goto) else f".L{self.path.name}_from_{name}"
            past = self.special_test(step, boundary, label, steps)
            machine = self.special(self.machine, boundary)
            if isinstance(only, Goto):          # the branch goes there itself
                self.transfers.append(Transfer(only.path, machine, only.span))
            else:
                waiting.append((label, name, machine, steps, past))
        self.steps(step.kernel)
        self.must_end(step, "kernel")
        for label, name, machine, steps, past in waiting:
            def run(steps: tuple[Step, ...] = steps, name: str = name, past: str = past) -> None:
                if past:
                    self.steps(steps[:1])
                    self.lines.append(LabelLine(past, "local", step.guard | self.around))
                self.steps(steps[1:] if past else steps)
                self.must_end(step, name)
            self.beside(label, step, machine, run)
        self.machine = ordinary

    def special_test(self, step: Origin, boundary: Boundary, label: str, steps: tuple[Step, ...]) -> str:
        """Branch when the interrupted code was at a special place: any of some, each perhaps with several conditions.

        Returns a label behind the first step of the arm, for code that this step would change nothing for; "": there is none.
        """
        m, using = self.machine, dict(step.using).get(boundary.name, ())
        if m.below is None or boundary.condition is None:
            self.error("E335", f"whether '{boundary.name}' was interrupted cannot be told here", step.span, "save the frame first")
            return ""
        for register in using:
            self.destroy(register, step.span)
            m.regs[register] = UNKNOWN
        past = ""
        held: list[Chosen] = []                 # what the test has put into registers so far
        for index, place in enumerate(parted(boundary.condition, "or")):
            *first, last = parted(place, "and")
            skip = f".L{self.path.name}_not_{boundary.name}" + (f"_{index + 1}" if index else "")
            target = label
            if says_again(place, steps):
                target = past = f"{label}_known"
            for part, goal in [*((Binary(FLIPPED[c.op], c.a, c.b), skip) for c in first if isinstance(c, Binary) and c.op in FLIPPED), (last, target)]:
                code = branch(self.arch, rebuild(part, lambda e: self.interrupted_word(step, e)), goal, list(using))
                if code is None:
                    raise NoForm(f"{self.arch.name} has no test for {show(part)}" + ("" if using else f": write from {boundary.name} using REGISTER"))
                self.emit(step, [row for row in code if row not in held], f"at {boundary.name}?")
                held += [row for row in code if row[0].role == "move"]
                self.decision(boundary.kind, step.span, {e.name for e in tree(boundary.condition) if isinstance(e, Reg)})
            if first:
                self.lines.append(LabelLine(skip, "local", step.guard))
        for register in using:
            for symbol in (e for e in tree(boundary.condition) if isinstance(e, SymbolRef)):
                if self.lower.move(register, symbol)[0] in held:
                    m.regs[register] = Value("symbol", symbol.name)
        return past

    def interrupted_word(self, step: Step, expr: Expr) -> Expr:
        """Where the stack holds what a test reads: an interrupted register, or a word of a frame."""
        m, frame = self.machine, self.frame()
        if isinstance(expr, SlotRef):
            base, offset = self.slot_address(expr.frame, expr.slot, step.span)
            return Mem(plus(Reg(base), offset))
        if not isinstance(expr, Reg) or m.below is None:
            return expr
        if frame is None:                       # as the CPU pushed them
            pushes = self.path.event.pushes if self.path.event is not None else ()
            if expr.name in pushes and m.below >= self.word * len(pushes):
                return Mem(plus(Reg(self.sp), m.below - self.word * (pushes.index(expr.name) + 1)))
        else:
            slot = next((s for s in frame.slots.values() if s.home == expr.name and s.name in m.slots), None)
            if slot is not None:
                return Mem(plus(Reg(self.sp), slot.offset - (frame.size - m.below)))
        self.error("E335", f"the test reads {expr.name}, which is in no slot here", step.span)
        return expr

    def special(self, before: Machine, boundary: Boundary) -> Machine:
        """The machine in the arm of a special boundary: as it says."""
        m = before.copy()
        m.origin, m.arrival_name = "kernel", boundary.name
        for fact in boundary.arrive:
            if fact.subject in m.states and fact.subject not in self.loosened():
                m.states[fact.subject] = str(fact.value) if fact.value != ANY else None
                if fact.value != ANY:
                    outer, self.machine = self.machine, m
                    self.apply_meanings(self.spec.states[fact.subject], str(fact.value))
                    self.machine = outer
        return m

    def loosened(self) -> set[str]:
        return {s for s, _ in self.spec.after_decision}

    def leaving(self, origin: str) -> tuple[StateNeed, ...]:
        """What has to hold for the interrupted code."""
        special = self.spec.boundaries.get(self.machine.arrival_name or "") if origin == "kernel" else None
        return special.leave if special is not None else self.spec.leave.get(origin, ())

    def must_end(self, step: Origin, side: str) -> None:
        if self.ended is None and self.path.called:
            self.gives_back(step)
        elif self.ended is None:
            self.error("E336", f"the arm 'from {side}' has no end", step.span, "end it with exit, goto, jump or return")
            self.ended = ""

    def arm(self, before: Machine, origin: str) -> Machine:
        """The state in an arm: what the boundary of that side promises, as far as it was not changed since."""
        m = before.copy()
        m.origin = origin
        m.stack = arrival_stack(self.spec, m.stack, origin, self.configuration)
        for fact in self.arriving(before, origin):
            if fact.subject in m.states and m.states[fact.subject] is None and fact.subject not in self.loosened() and fact.value != ANY:
                m.states[fact.subject] = str(fact.value)
                self.machine = m
                self.apply_meanings(self.spec.states[fact.subject], str(fact.value))
        return m

    def arriving(self, before: Machine, origin: str) -> tuple[StateNeed, ...]:
        """What holds when the event comes. A paranoid entry point finds the kernel anywhere."""
        if origin == "kernel" and before.paranoid:
            return self.spec.boundaries[ANYWHERE].arrive
        return self.spec.arrive.get(origin, ())
def parted(expr: Expr, op: str) -> list[Expr]:
    """The parts of a condition that `op` joins."""
    return [*parted(expr.a, op), *parted(expr.b, op)] if isinstance(expr, Binary) and expr.op == op else [expr]


def _ends(steps: tuple[Step, ...]) -> bool:
    """Does an arm go elsewhere?"""
    return any(isinstance(s, (Goto, ExitTo, ReturnStep, Jump)) for s in steps)


def says_again(place: Expr, steps: tuple[Step, ...]) -> bool:
    """Does an arm begin with a save of what the condition has found in the slot?"""
    first = steps[0] if steps else None
    return isinstance(first, Save) and isinstance(place, Binary) and place.op == "eq" and isinstance(place.a, Reg) \
        and first.slots == (place.a.name,) and dict(first.values) == {place.a.name: place.b}


def arrival_stack(spec: Spec, stack: str, origin: str, configuration: Configuration) -> str:
    """On an event that both can raise, the stack is the one that the hardware switches to from user code, and the interrupted one from the kernel."""
    if stack != "any":
        return stack
    entered = next((s.name for s in spec.stacks.values() if s.entered and configuration.holds(s.guard)), None)
    return (entered or "any") if origin == "user" else "interrupted"
