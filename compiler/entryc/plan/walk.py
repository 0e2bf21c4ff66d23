"""One path, one configuration: steps in the written order become instructions; every rule of order is checked on the way.

The walker never reorders. A step that the machine state forbids is refused, with what is missing as help.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..model.arch import Control, Return
from ..model.expr import Binary, Cast, Num, Reg, rebuild, show
from ..model.spec import Frame, Path
from ..model.steps import (
    Adopt,
    Assert,
    Call,
    Clear,
    Do,
    Drop,
    ExitTo,
    Goto,
    Jump,
    Label,
    Origin,
    Reframe,
    Restore,
    ReturnStep,
    Room,
    Save,
    Set,
    SetState,
    Step,
    SwitchStack,
    Through,
)
from ..model.surroundings import KEPT, Guard
from ..source.edits import step_before, step_removed
from .arms import Arms
from .calls import NotYet
from .code import Insn, LabelLine, Line, Moment
from .lower import NoForm
from .moves import NONE, Piece, Transfer, local_label
from .select import branch, find
from .values import Machine, Value, after_effects


class Walker(Arms):
    """Plans the paths of one configuration. Findings go to the collector; planning goes on after an error where it can."""

    def walk(self, path: Path, machine: Machine) -> Piece:
        """The lines of a path that is entered in the given state."""
        self.path = path
        self.given_back = []
        self.unwanted = {slot.home for step in path.steps if isinstance(step, Save) for slot in self.spec.frames[step.frame].slots.values()
                         if slot.name in step.takes and slot.home is not None}
        self.machine = machine
        start = machine.copy()
        self.lines: list[Line] = []
        self.open_windows: dict[str, Guard] = {}
        self.ended: str | None = None
        self.mark_windows(NONE)
        self.transfers = []
        self.pieces = []
        self.labels = {}
        try:
            self.steps(path.steps)
        except NotYet:                          # only where it is called from is asked for
            return Piece(path.name, [], None, start)
        self.close_windows()
        if self.ended is None and path.called and path.steps:
            try:
                self.gives_back(path.steps[-1])
            except NoForm as problem:
                self.error("E312", str(problem), path.steps[-1].span)
                self.ended = ""
        if self.ended is None:
            self.error("E310", "the path has no end", path.span, "end it with exit, goto, jump or return")
        return Piece(path.name, self.lines, self.ended or None, start, self.transfers, self.pieces, end=self.end)

    def steps(self, steps: Iterable[Step]) -> None:
        written, start = list(steps), self.collector.said
        todo = [s for s in written if self.configuration.holds(s.guard)]
        for index, step in enumerate(todo):
            if self.ended == "" and isinstance(step, Label) and isinstance(todo[index - 1], ReturnStep):
                self.behind_return(step)
                continue
            if self.ended is not None:
                if self.collector.said == start:         # else a mistake in a block before it has ended the path
                    self.error("E311", "this step is never reached", step.span, "remove it", step_removed(step.span))
                return
            try:
                before, lines, found, self.rest = self.collector.said, len(self.lines), self.so(), todo[index + 1:]
                self.last = step is written[-1]
                self.step(step, todo[index + 1:])
                self.note(step, lines, found)
            except NoForm as problem:
                self.error("E312", str(problem), step.span)
            if self.collector.said > before and self.ended is None:
                self.ended = ""         # what follows would only repeat the mistake
                return
            self.mark_windows(step.guard | self.around)

    def behind_return(self, step: Label) -> None:
        """A label of the end of a path: what stops speculation there comes after it."""
        index = len(self.lines)
        while isinstance(last := self.lines[index - 1], Insn) and last.form.role == "stop":
            index -= 1
        self.lines.insert(index, LabelLine(step.symbol(self.path.name), "inner", step.guard))

    def so(self) -> tuple[str, tuple[tuple[str, str], ...]]:
        """The stack and the states now."""
        return self.machine.stack, tuple((name, value or "?") for name, value in self.machine.states.items()
                                         if self.configuration.holds(self.spec.states[name].guard))

    def note(self, step: Step, written: int, before: tuple[str, tuple[tuple[str, str], ...]]) -> None:
        """Keep what is so after a step."""
        if isinstance(step, (Origin, Through, Label)):
            return
        m = self.machine
        kinds = {"call": (Call, Jump), "exit": (ExitTo, Goto), "return": (ReturnStep,)}
        kind = next((k for k, types in kinds.items() if isinstance(step, types)), "step")
        code = len([line for line in self.lines[written:] if isinstance(line, Insn) and line.form.role != "stop"])
        arm = m.arrival_name or (m.origin if self.path.origin == "any" or self.path.kind == "path" else "") or ""
        text = " ".join(step.span.snippet.split("#")[0].split())
        self.moments.append(Moment(self.path.name, arm, text, *self.so(), before, code, kind, step.span))

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
            self.lines.append(LabelLine(step.symbol(self.path.name), "inner", step.guard))
        elif isinstance(step, Call):
            self.call(step)
        elif isinstance(step, Jump):
            self.jump(step)
        elif isinstance(step, Goto):
            self.transfers.append(Transfer(step.path, self.machine, step.span))
            self.ended, self.end = step.path, self.unwound()
        elif isinstance(step, ExitTo):
            self.exit_to(step)
        elif isinstance(step, Origin):
            self.origin(step)
        elif isinstance(step, ReturnStep):
            self.return_(step)
        elif isinstance(step, Do):
            self.do_inline(step) if step.op in self.spec.inlines else self.do(step)
        elif isinstance(step, Drop):
            self.drop(step)
        elif isinstance(step, Assert):
            self.stop_unless(step)
        elif isinstance(step, Adopt):
            self.adopt(step)
        elif isinstance(step, Reframe):
            self.reframe(step)
        elif isinstance(step, Room):
            self.room(step)
        elif isinstance(step, Through) and self.spec.paths[step.path].called:
            self.through_called(step, self.spec.paths[step.path])
        elif isinstance(step, Through):
            outer, around = self.inside, self.around
            self.inside, self.around = (*self.inside, f"{step.span.line}.{step.span.column}"), self.around | step.guard
            with self.within(bool(self.rest)):
                self.steps(self.spec.paths[step.path].steps)
            self.inside, self.around = outer, around

    def stop_unless(self, step: Assert) -> None:
        """On when the condition holds, else an instruction that stops."""
        self.labels["assert"] = self.labels.get("assert", 0) + 1
        label = f".L{self.path.name}_asserted" + (f"_{self.labels['assert']}" if self.labels["assert"] > 1 else "")
        known = self.collector.said
        code = branch(self.arch, rebuild(step.condition, lambda e: self.interrupted_word(step, e)), label)
        stop = next((f for f in self.arch.forms.values() if "asserts" in f.traits), None)
        if self.collector.said > known:
            return
        if code is None or stop is None:
            raise NoForm(f"{self.arch.name} has no test for {show(step.condition)}")
        self.emit(step, code[:1], "assert " + show(step.condition))
        self.emit(step, [*code[1:], (stop, ())])
        self.lines.append(LabelLine(label, "local", step.guard | self.around))

    def exit_by_origin(self, step: ExitTo) -> None:
        """To user mode or to the kernel, as the frame says."""
        known = self.collector.said
        condition = self.arch.origin
        test = rebuild(condition, lambda e: self.interrupted_word(step, e)) if condition is not None else None
        if self.collector.said > known:
            return
        kernel = Binary({"ne": "eq", "eq": "ne"}[test.op], test.a, test.b) if isinstance(test, Binary) and test.op in ("ne", "eq") else None
        code = branch(self.arch, kernel, local_label(step.targets[1])) if kernel is not None else None
        if code is None:
            raise NoForm(f"{self.arch.name} has no test for who was interrupted")
        self.emit(step, code[:1], "to the kernel?")
        self.emit(step, code[1:])
        self.decision("origin", step.span, None)
        for target in step.targets:
            self.transfers.append(Transfer(target, self.machine.copy(), step.span))
        self.ended, self.end = step.targets[0], self.unwound()

    def exit_to(self, step: ExitTo) -> None:
        if step.by_origin:
            self.exit_by_origin(step)
            return
        if not step.by_method:
            self.transfers.append(Transfer(step.targets[0], self.machine, step.span))
            self.ended, self.end = step.targets[0], self.unwound()
            return
        if self.by_address(step):
            jump = find(self.arch, Control("indirect", self.arch.abi.result))
            if jump is None:
                raise NoForm(f"{self.arch.name} has no jump to what a register holds")
            self.emit(step, [jump], "the exit that C has chosen")
            self.decision("method", step.span, set())
            for target in step.targets:
                self.transfers.append(Transfer(target, self.machine.copy(), step.span))
            self.ended = ""
            return
        if len(step.targets) != 2:
            self.error("E337", f"an exit by method is among two, not {len(step.targets)}", step.span, "the first is taken unless C returns 0")
            self.ended = ""
            return
        choice = self.spec.choice_among(step.targets)
        refusal = choice is not None and choice.by_refusal
        widths = (self.spec.result_bits(choice.name),) if choice is not None and refusal else (8, 32)       # of an index, any eight bits tell
        tests = (branch(self.arch, Binary("ne" if refusal else "eq", Cast(bits, False, Reg(self.arch.abi.result)), Num(0)), local_label(step.targets[1]))
                 for bits in widths)
        code = next((test for test in tests if test is not None), None)
        if code is None:
            raise NoForm(f"{self.arch.name} has no test for a {'refusal' if refusal else 'zero result'} of {' or '.join(map(str, widths))} bits")
        self.emit(step, code, "refused?" if refusal else "the fallback?")
        self.decision("method", step.span, set())
        for target in step.targets:
            self.transfers.append(Transfer(target, self.machine.copy(), step.span))
        self.ended, self.end = step.targets[0], self.unwound()

    def by_address(self, step: ExitTo) -> bool:
        """Does C choose among these exits by their addresses?"""
        choice = self.spec.choice_among(step.targets)
        return choice is not None and choice.by_address

    def return_(self, step: ReturnStep) -> None:
        m, path = self.machine, self.path
        origin = path.origin if path.kind == "exit" else m.origin
        row = self.arch.return_row(step.name, origin if origin in ("user", "kernel") else "any")
        if row is None:
            side = origin if origin in ("user", "kernel") else "any"
            others = dict.fromkeys(r.name for r in self.arch.returns if self.arch.return_row(r.name, side) is not None)
            self.error("E338", f"'{step.name}' cannot return to {origin}", step.span, "write: return " + " or ".join(others))
            return
        frame = self.frame()
        copied = frame is not None and self.pops_a_copy(frame, row, path)
        if copied:
            pass
        elif m.below is not None and frame is not None:
            if row.pops:
                names = tuple(s.home for s in list(frame.slots.values())[-len(row.pops):])
                if names != row.pops:
                    self.error("E339", f"'{step.name}' pops {' '.join(row.pops)}: frame '{frame.name}' does not end with them", step.span)
                    return
            self.drop_to(step, frame, frame.size - len(row.pops) * self.word)
        elif row.pops and not (path.arguments and m.frame is None and m.below == self.word * len(row.pops)):
            self.error("E321", f"'{step.name}' pops a frame, but sp does not point into one", step.span)
        m.states = after_effects(self.spec, m.states, row.effects)
        for need, actual in (row for row in self.lacking(self.leaving(str(origin))) if row[1] != KEPT):
            self.error("E340", f"{origin} code has to find {need.subject} = {need.value}, but {need.subject} is {actual} here", step.span,
                       f"put {need.subject} = {need.value} before the return", step_before(step.span, f"{need.subject} = {need.value}"))
        if not copied:
            self.check_popped(step, frame, row, path)
        self.check_restored(step, self.spec.frames[path.frame] if path.frame else frame, path)
        self.emit(step, [(self.arch.forms[row.name], ())], "")
        self.emit(step, [(self.arch.forms[name], ()) for name in row.stops], "nothing is executed past the return")
        self.ended = ""

    def pops_a_copy(self, frame: Frame, row: Return, path: Path) -> bool:
        """Do the words at the stack pointer hold what the path's own frame has for the return?"""
        own = self.spec.frames.get(path.frame or "")
        if own is None or own is frame or self.machine.below is None:
            return False
        homes = {s.home: s.name for s in own.slots.values()}
        at = [s for s in frame.slots.values() if s.offset >= frame.size - self.machine.below][:len(row.pops)]
        values = [self.machine.slots.get(s.name) for s in at]
        return [Value("slot", homes.get(home, "")) for home in row.pops] == values and at[-1].offset + self.word < frame.size

    def adopt(self, step: Adopt) -> None:
        """On to the stack of an earlier run of the routine."""
        m, frame = self.machine, self.spec.frames[step.frame]
        if not isinstance(step.at, Reg):
            raise NoForm(f"a frame is adopted at what a register holds: {show(step.at)} is none")
        self.destroy(self.sp, step.span)
        self.emit(step, self.lower.move(self.sp, step.at), f"{step.frame} of the other")
        m.frame, m.below, m.outer = step.frame, frame.size, None
        m.slots = {s: Value("slot", s) for s in frame.slots}

    def reframe(self, step: Reframe) -> None:
        """The words at the stack pointer are the hardware slots of another frame."""
        m, frame = self.machine, self.spec.frames[step.frame]
        if m.frame is None or m.below is None or not frame.hardware:
            self.error("E321", f"frame '{step.frame}' cannot start here: sp does not point into a frame", step.span)
            return
        below = len(frame.hardware) * self.word
        gap = m.below - below
        m.outer, m.above = (m.frame, gap), m.above + gap if m.above is not None else None
        m.frame, m.below = frame.name, below
        m.slots = {s.name: Value("interrupted", s.home or "") for s in frame.hardware}

    def drop(self, step: Drop) -> None:
        """Past the slots that no return pops."""
        frame, m = self.spec.frames[step.frame], self.machine
        if m.outer is not None and m.outer[0] == frame.name and m.below is not None:
            m.below += m.outer[1]
            m.above = m.above - m.outer[1] if m.above is not None else None
            m.frame, m.outer = frame.name, None
            m.slots = {slot: value for (owner, slot), value in m.cells.items() if owner == frame.name}
        if step.slot and m.frame == frame.name and m.below is not None:
            self.drop_to(step, frame, frame.slots[step.slot].offset)
            return
        if self.machine.frame != frame.name or self.machine.below is None:
            self.error("E321", f"frame '{frame.name}' cannot be dropped here: sp does not point into it", step.span)
            return
        self.drop_to(step, frame, frame.hardware[0].offset if frame.hardware else frame.size)

    def drop_to(self, step: Step, frame: Frame, offset: int) -> None:
        m = self.machine
        assert m.below is not None
        rest = offset - (frame.size - m.below)
        if rest:
            self.emit(step, self.lower.adjust(self.sp, rest), f"drop the rest of {frame.name}")
            m.below -= rest

    def check_popped(self, step: ReturnStep, frame: Frame | None, row: Return, path: Path) -> None:
        """A frame that was copied for the return holds the values of the path's own frame."""
        if frame is None or path.frame is None or frame.name == path.frame:
            return
        homes = {s.home: s.name for s in self.spec.frames[path.frame].slots.values()}
        for slot in frame.slots.values():
            if slot.home in row.pops and self.machine.slots.get(slot.name) != Value("slot", homes.get(slot.home, "")):
                self.error("E345", f"{frame.name}.{slot.name} does not hold {path.frame}.{homes.get(slot.home, slot.name)} before the return", step.span)

    def check_restored(self, step: ReturnStep, frame: Frame | None, path: Path) -> None:
        if frame is None:
            return
        for slot in frame.slots.values():
            if slot.home is None or self.arch.registers[slot.home].kind != "gpr" or slot.home in path.loses:
                continue
            if self.machine.regs.get(slot.home) != Value("slot", slot.name):
                self.error("E341", f"register '{slot.home}' is not restored from {frame.name}.{slot.name} before the return", step.span,
                           "restore all, or say that it is lost: exit … loses " + slot.home)
