"""States: the instruction or the op that brings a value about, called ops, and the decisions in them."""

from __future__ import annotations

from dataclasses import replace

from ..model.arch import Assign, Control, Form
from ..model.expr import FLIPPED, Binary, Bit, CellRef, Expr, Num, PresetRef, Reg, SlotRef, constant, is_constant, rebuild, show, walk
from ..model.inline import Inline, OpDecide, OpInsn, OpSet, OpStep, flat, replaced
from ..model.spec import State
from ..model.steps import Do, SetState, Step
from ..model.surroundings import ANY, KEPT, WORD_MASK
from ..source.edits import step_before, step_removed
from ..source.text import Span
from .code import DecisionSite, Insn, LabelLine
from .code import Value as Operands
from .lower import NoForm
from .moves import Moves
from .select import Chosen, branch, find
from .values import UNKNOWN, Value

FRAME = "frame"                                 # the operand of a whole text that says how far above the stack pointer the frame is


class States(Moves):
    """Steps `STATE = VALUE` and `do OP`."""

    def set_state(self, step: SetState) -> None:
        if step.subject in self.arch.places:
            self.set_place(step)
            return
        m, state = self.machine, self.spec.states[step.subject]
        current = m.states.get(step.subject)
        if current == step.value:
            self.error("E313", f"{step.subject} is {step.value} here already: nothing asks for this step", step.span, "remove it", step_removed(step.span))
            return
        if current is None and state.ghost:
            current = self.surely(state, str(step.value))
        if current is None and step.keeping is None and step.value != KEPT:
            self.error("E314", f"which value {step.subject} has is not known here", step.span, "ask first who was interrupted: from user { … }")
            return
        before = ANY if step.keeping is not None or step.value == KEPT else current
        move = next((t for t in state.transitions if t.after == step.value and (t.before == before or step.value == KEPT)
                     and step.op in (None, t.inline)), None)
        if move is None:
            self.error("E315", f"nothing leads {step.subject} from {before} to {step.value}", step.span,
                       f"declare it in state {step.subject}: {before} -> {step.value} by INSTRUCTION")
            return
        if move.inline is not None:
            self.by_op(step, state, self.spec.inlines[move.inline])
        elif (text := self.text_for(f"{step.subject} = {step.value}")) is not None:
            self.operands(move.operand, step.span)
            self.emit(step, [(text, ())])
        else:
            self.emit(step, [(self.arch.forms[move.form], self.operands(move.operand, step.span))], f"{step.subject} = {step.value}")
        m.states[step.subject] = None if step.value == KEPT else str(step.value)
        if step.value == KEPT:
            m.states[step.subject] = KEPT
        else:
            self.apply_meanings(state, str(step.value))

    def text_for(self, change: str) -> Form | None:
        """The target's own text for a change of state: for the code that was interrupted here, where it has several."""
        m = self.machine
        return self.whole.get(f"{change} from {m.arrival_name or m.origin}") or self.whole.get(change)

    def surely(self, state: State, wanted: str) -> str | None:
        """From a value that is not known: one of the values from which the same instruction leads to the wanted one, if it does so from all."""
        others = [v for v in state.values if v != wanted]
        forms = {t.form for t in state.transitions if t.after == wanted and t.before in others}
        known = all(any(t.before == v and t.after == wanted for t in state.transitions) for v in others)
        return others[0] if known and len(forms) == 1 and "" not in forms else None

    def set_place(self, step: SetState) -> None:
        m = self.machine
        if m.places.get(step.subject) == step.value:
            self.error("E313", f"{step.subject} is {step.value} here already: nothing asks for this step", step.span, "remove it", step_removed(step.span))
            return
        register, bit = self.arch.places[step.subject]
        text = self.whole.get(f"{step.subject} = {step.value}")
        chosen = (text, ()) if text is not None else find(self.arch, Assign(Bit(register, bit, step.subject), Num(int(step.value))))
        if chosen is None:
            raise NoForm(f"{self.arch.name} has no instruction that makes {step.subject} {step.value}")
        self.emit(step, [chosen], f"{step.subject} = {step.value}")
        m.places[step.subject] = int(step.value)

    def operands(self, word: Expr | None, span: Span) -> tuple[Operands, ...]:
        """The operand of an instruction that reads a word of a memory block: its offset."""
        if not isinstance(word, CellRef):
            return ()
        self.need_memory(word.memory, span, False)
        return (self.spec.memories[word.memory].cells[word.cell].offset,)

    def apply_meanings(self, state: State, value: str) -> None:
        for meaning in state.values[value]:
            if meaning.register and meaning.mask == WORD_MASK and self.configuration.holds(meaning.guard):
                self.machine.regs[meaning.register] = Value("meaning", f"{state.name}.{value}")

    # ---- ops that are written out ----

    def by_op(self, step: SetState, state: State, op: Inline) -> None:
        """The op's steps with the registers that the step gives."""
        m = self.machine
        values: dict[str, Expr] = {}
        wanted = [n for n in op.using if n not in self.arch.gprs]
        if len(step.using) != len(wanted):
            self.error("E342", f"op '{op.name}' works with {len(wanted)} free register(s), {len(step.using)} given", step.span,
                       f"write: {step.subject} = {step.value} … using " + " ".join(wanted) if wanted else "leave out 'using'")
            return
        values.update({n: Reg(r) for n, r in zip(wanted, step.using, strict=True)})
        if op.keeping is not None:
            register = step.keeping or m.kept.get(state.name)
            if register is None:
                self.error("E343", f"op '{op.name}' keeps what it found: no register is given for it", step.span,
                           f"write: {step.subject} = {step.value} keeping REGISTER" if step.value != KEPT else f"{step.subject} was not kept on the way here")
                return
            if step.value == KEPT and m.regs.get(register) != Value("kept", state.name):
                self.error("E343", f"{register} no longer holds what {step.subject} was", step.span)
                return
            values[op.keeping] = Reg(register)
        overwritten = {*step.using, *(r for r in op.using if r in self.arch.gprs), *([step.keeping] if step.keeping is not None else [])}
        for register in sorted(overwritten):
            self.destroy(register, step.span)
        for register in overwritten:
            m.regs[register] = UNKNOWN
            if register == self.sp:
                m.below, m.stack = None, "user"         # no stack of the kernel's
        if (text := self.whole.get(op.name)) is not None:
            self.stays_whole(step, op, [(text, self.bound(text, values))])
        else:
            self.op_steps(step, op.steps, values)
        if step.keeping is not None:
            m.regs[step.keeping] = Value("kept", state.name)
            m.kept[state.name] = step.keeping

    def bound(self, form: Form, values: dict[str, Expr]) -> tuple[Operands, ...]:
        """The operands of an op that stays whole: the registers that the step gives, and how far above the stack pointer the frame is."""
        given = {name: value.name for name, value in values.items() if isinstance(value, Reg)}
        m, frame = self.machine, self.spec.frames.get(self.machine.frame or "")
        if FRAME in form.params:
            if frame is None or m.below is None:
                raise NoForm(f"'{form.name}' works on a frame: sp does not point into one here")
            return tuple(m.below - frame.size if name == FRAME else given[name] for name in form.params)
        return tuple(given[name] for name in form.params)

    def stays_whole(self, step: Step, op: Inline, chosen: list[Chosen]) -> None:
        """One line of the target's own text; the decisions in it count as everywhere."""
        self.emit(step, chosen)
        for part in flat(op.steps):
            if isinstance(part, OpDecide) and self.configuration.holds(part.guard):
                homes = {self.spec.frames[e.frame].slots[e.slot].home for e in walk(part.condition) if isinstance(e, SlotRef)}
                self.decision(part.kind, part.span, {*(e.name for e in walk(part.condition) if isinstance(e, Reg)), *(h for h in homes if h)})
            elif isinstance(part, OpSet) and isinstance(part.place, Reg) and part.place.name == self.arch.of_kind("flags") and is_constant(part.value):
                self.machine.places = {name: constant(part.value) >> bit & 1 for name, (_, bit) in self.arch.places.items()}

    def op_steps(self, step: Step, steps: tuple[OpStep, ...], values: dict[str, Expr]) -> None:
        for part in steps:
            if not self.configuration.holds(part.guard):
                continue
            if isinstance(part, OpSet):
                self.op_set(step, part, values)
            elif isinstance(part, OpInsn):
                bound = [replaced(a, values) for a in part.arguments]
                operands = tuple(a.name if isinstance(a, Reg) else constant(a) for a in bound)
                self.emit_op(step, part, [(self.arch.forms[part.form], operands)])
            elif isinstance(part, OpDecide):
                self.op_decide(step, part, values)

    def emit_op(self, step: Step, part: OpStep, chosen: list[Chosen]) -> None:
        """Instructions of an op's step: the presence condition is that of both."""
        mark = len(self.lines)
        self.emit(step, chosen)
        for index in range(mark, len(self.lines)):
            line = self.lines[index]
            assert isinstance(line, Insn)
            self.lines[index] = replace(line, guard=line.guard | part.guard, step=f"{line.step}:{part.span.line}:{part.span.column}")

    def op_set(self, step: Step, part: OpSet, values: dict[str, Expr]) -> None:
        place, value = replaced(part.place, values), _folded(replaced(part.value, values))
        if isinstance(value, CellRef):
            self.need_memory(value.memory, part.span, False)
            memory = self.spec.memories[value.memory]
            if isinstance(place, Reg):
                self.emit_op(step, part, self.lower.load(place.name, memory.base, memory.cells[value.cell].offset))
                return
        if isinstance(value, PresetRef) and isinstance(place, Reg):
            if self.machine.below is None or self.machine.above is None:
                raise NoForm("the word above the stack cannot be reached here: sp does not point into the stack")
            self.emit_op(step, part, self.lower.load(place.name, self.sp, self.machine.below + self.machine.above))
            return
        if isinstance(place, CellRef):
            self.need_memory(place.memory, part.span, False)
            memory = self.spec.memories[place.memory]
            self.emit_op(step, part, self.lower.store(memory.base, memory.cells[place.cell].offset, value))
            return
        if not isinstance(place, Reg):
            raise NoForm(f"{show(part.place)} cannot be assigned")
        chosen = find(self.arch, Assign(place, value))
        if chosen is None and isinstance(value, Reg) and self.arch.registers[value.name].kind == "system":
            chosen = find(self.arch, Assign(place, Binary("band", value, Num(self.arch.registers[value.name].compare))))
        if chosen is None:
            raise NoForm(f"{self.arch.name} has no instruction for {show(place)} = {show(value)}")
        self.emit_op(step, part, [chosen])

    def op_decide(self, step: Step, part: OpDecide, values: dict[str, Expr]) -> None:
        condition = _folded(replaced(part.condition, values))
        if not isinstance(condition, Binary) or condition.op not in FLIPPED:
            raise NoForm(f"a decision compares: {show(part.condition)} does not")
        self.labels[part.kind] = self.labels.get(part.kind, 0) + 1
        label = f".L{self.path.name}_{part.kind}_{self.labels[part.kind]}"
        code = branch(self.arch, Binary(FLIPPED[condition.op], condition.a, condition.b), label)
        if code is None:
            raise NoForm(f"{self.arch.name} has no test for {show(part.condition)}")
        self.emit_op(step, part, code)
        self.decision(part.kind, part.span, None)
        self.op_steps(step, part.steps, values)
        self.lines.append(LabelLine(label, "local", step.guard | self.around | part.guard))

    # ---- decisions ----

    def decision(self, kind: str, span: Span, about: set[str] | None) -> None:
        """Note a decision. `about`: the interrupted registers that it looks at; None: any."""
        missing = tuple(f"{n.subject} is {actual}, C needs {n.value}" for n, actual in self.lacking(self.spec.contracts["c"]))
        self.decisions.append(DecisionSite(kind, self.path.name, span, missing))
        if kind not in self.spec.decisions:
            self.error("E333", f"a decision of kind '{kind}' stands in assembly and is not declared", span,
                       f'add: decisions {{ {kind} 1 because "…" }}')
        if about is None or not self.spec.decided_by or about & set(self.spec.decided_by):
            for subject, value in self.spec.after_decision:
                if self.configuration.holds(self.spec.states[subject].guard):
                    self.machine.states[subject] = value

    # ---- ops that are called ----

    def do_inline(self, step: Do) -> None:
        """The steps of an op without operands."""
        op = self.spec.inlines[step.op]
        if (text := self.whole.get(op.name)) is not None:
            self.stays_whole(step, op, [(text, self.bound(text, {}))])
        else:
            self.op_steps(step, op.steps, {})

    def do(self, step: Do) -> None:
        """call SYMBOL: what it needs holds, what it changes is new."""
        m, op = self.machine, self.spec.ops[step.op]
        text = self.whole.get(op.name)
        for need, actual in self.lacking(op.needs):
            if text is not None and f"{need.subject} = {need.value}" in text.traits:
                continue                        # the target's text does it itself
            self.error("E344", f"op '{op.name}' needs {need.subject} = {need.value}, but {need.subject} is {actual} here", step.span,
                       f"put {need.subject} = {need.value} before this step", step_before(step.span, f"{need.subject} = {need.value}"))
        for register in op.clobbers:
            self.destroy(register, step.span)
        chosen = (text, self.bound(text, {})) if text is not None else find(self.arch, Control("call", op.symbol))
        if chosen is None:
            raise NoForm(f"{self.arch.name} has no call")
        self.emit(step, [chosen], f"op {op.name}" if text is None else "")
        for register in op.clobbers:
            m.regs[register] = UNKNOWN
        for fact in op.sets:
            if fact.subject in m.states:
                m.states[fact.subject] = str(fact.value)
            elif fact.subject in m.places:
                m.places[fact.subject] = int(fact.value)


def _folded(expr: Expr) -> Expr:
    """Constant parts as numbers."""
    return rebuild(expr, lambda e: Num(constant(e)) if not isinstance(e, Num) and is_constant(e) else e)
