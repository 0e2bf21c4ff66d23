"""Assembly that C calls, and that a switch of stacks comes back to: what has to be true when it returns or goes on to C.

System V ABIs: preserved registers, the stack pointer and memory are the caller's when a function returns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..model.expr import Expr, Mem, Reg, UserRef, show
from ..model.spec import Path
from ..model.steps import Adopt, Jump, Set, flat_steps
from ..model.surroundings import StateNeed
from . import terms as T
from .arrive import slot_var
from .expect import Outline, Stage, outline
from .returns import Returns
from .state import Bytes, Ending, Region, State
from .terms import Term

if TYPE_CHECKING:
    from .verify import Run

BELOW = 4096                                    # how far down a caller's stack may be used


class Routines:
    """Checks the routines of a spec that take no frame. `run` is the proof at hand."""

    def __init__(self, run: Run) -> None:
        self.run, self.spec, self.arch = run, run.spec, run.spec.arch
        self.machine, self.arrivals = run.machine, run.arrivals
        self.sp, self.word = self.arch.of_kind("stack"), self.arch.word_bytes
        self.pc = self.arch.of_kind("pc")

    def start(self, path: Path, base: Term, offset: int) -> State:
        """C code runs, and something leads to the routine: contract c, a stack, registers of nobody."""
        state: State = self.arrivals.blank(self.run.image.symbols[path.name], 2)
        for register in self.arch.registers.values():
            if register.kind != "pc":
                self.machine.write(state, register.name, self.arrivals.readable(register.name, T.var(f"caller.{register.name}")))
        state.regions[base] = Region(base, "the caller's stack", -BELOW, BELOW, Bytes(), None, 2)
        self.machine.write(state, self.sp, T.add(base, T.const(offset)))
        self.arrivals.fixed_bases(state)
        self.arrivals.apply(state, self.spec.contracts["c"])
        self.arrivals.assume(state)
        return state

    def called(self, path: Path) -> None:
        """A C function."""
        way = outline(self.spec, path, "kernel", self.run.configuration)
        claims = Returns(self.arrivals, way, path.name)
        base = T.var("caller.stack")
        state = self.start(path, base, 0)
        home = T.var("caller.next")
        state.regions[base].content.store(0, home)
        others = [s for s in flat_steps(path.steps) if isinstance(s, Adopt) and self.run.configuration.holds(s.guard)]
        places = [s for s in flat_steps(path.steps) if isinstance(s, Set) and isinstance(s.place, Mem) and self.run.configuration.holds(s.guard)]
        for other in others:
            frame = self.spec.frames[other.frame]
            where = self.argument(state, other.at)
            region = Region(where, "the other stack", 0, frame.size + BELOW, Bytes(), None, 2)
            region.seeds = {s.offset: slot_var(s.name) for s in frame.slots.values()}
            state.regions[where] = region
        for move in places:
            where = self.argument(state, move.place)
            state.regions[where] = Region(where, show(move.place), 0, self.word, Bytes(), None, 2)
        before = state.copy()
        self.machine.caller, self.machine.may_fault = path.name, self.run.fault(claims, path.span)
        self.run.anywhere.routine(path)
        looking, unwinder = self.machine.before_each, self.run.unwinder
        if unwinder is not None and not others:
            held = {r: self.machine.read(before, r) for r in self.arch.abi.preserved} | {self.pc: home}
            unwinder.start((path.name,), held.get)
        else:
            self.machine.before_each = None     # with the stack, the caller becomes another one
        endings = self.run.run(state)
        self.machine.caller, self.machine.may_fault, self.machine.before_each = None, None, looking
        self.run.anywhere.routine(None)
        step = way.exits[0].step if way.exits else None
        if step is None:
            self.run.not_checked.append(f"{path.name}: the spec gives it no return")
            return
        for ending in endings:
            if claims.ending(ending, "return", step.name, step.span):
                self.returned(claims, path, before, ending, base, others[0] if others else None, places)
            self.run.covered.update(ending.state.trace)
        claims.reached(f"{step.name} is reached", step.span, any(e.kind == "return" for e in endings), endings, before)
        self.run.claims += claims.out
        self.run.unwound(claims, path.span)

    def argument(self, state: State, expr: Expr) -> Term:
        """The argument that a place or value is."""
        found = expr.address if isinstance(expr, Mem) else expr
        assert isinstance(found, Reg)
        value: Term = self.machine.read(state, found.name)
        return value

    def returned(self, claims: Returns, path: Path, before: State, ending: Ending, base: Term, other: Adopt | None, places: list[Set]) -> None:
        """What the caller finds; with another stack adopted, what its caller finds, and what was left for the next time."""
        state, span = ending.state, path.span
        row = self.arch.return_row(ending.name, "kernel")
        if row is None:
            claims.add("return", f"{ending.name} can return to C", span, T.FALSE, state)
            return
        final = claims.final(state, row)
        frame = self.spec.frames[other.frame] if other is not None else None
        homes = {s.home: s for s in frame.slots.values()} if frame is not None else {}
        after = T.add(self.machine.read(state, self.sp), T.const(len(row.pops) * self.word))
        if other is not None and frame is not None:
            claims.equal("return", "sp is where the other run left it", span, after, T.add(self.argument(before, other.at), T.const(frame.size)), state)
            claims.equal("return", "it goes on where the other run has to", span, final[self.pc], slot_var(homes[self.pc].name), state)
        else:
            claims.equal("return", "sp is the caller's", span, after, T.add(base, T.const(self.word)), state)
            claims.equal("return", "it goes back to the caller", span, final[self.pc], T.var("caller.next"), state)
        for register in self.arch.abi.preserved:
            wanted = slot_var(homes[register].name) if register in homes else self.machine.read(before, register)
            claims.equal("register", f"{register} is preserved", span, self.machine.read(state, register), wanted, state)
        if frame is not None:
            left = T.add(base, T.const(self.word - frame.size))
            for move in places:
                now = claims.load(state, self.argument(before, move.place))
                claims.equal("memory", f"{show(move.place)} says where this run's frame is", move.span, now, left, state)
            for slot in frame.slots.values():
                was = T.var("caller.next") if slot.home == self.pc else self.machine.read(before, slot.home or "")
                now = claims.load(state, T.add(left, T.const(slot.offset)))
                claims.equal("slot", f"{frame.name}.{slot.name} keeps {slot.home}", slot.span, now, was, state)
        for need in self.spec.leave.get("kernel", ()):
            if self.spec.applies(need, self.run.configuration):
                declared = self.spec.states.get(need.subject)
                if declared is not None and not declared.ghost and path.changes:
                    self.state_but(claims, need, path, state)
                else:
                    claims.fact(state, need, {}, f"{need.subject} = {need.value} for the caller", "state")
        claims.system_registers(before, state, span, [], frozenset(path.changes) | claims.meant())
        claims.untouched(state, [], span, 2)
        claims.faults(state, "only declared memory is touched", span)

    def state_but(self, claims: Returns, need: StateNeed, path: Path, state: State) -> None:
        """A state's facts, without those about what user mode had: the routine changes that."""
        for meaning in self.spec.states[need.subject].values[str(need.value)]:
            if meaning.register is None or (isinstance(meaning.value, UserRef) and meaning.value.register in path.changes) \
                    or not self.run.configuration.holds(meaning.guard):
                continue
            wanted = self.arrivals.meaning_now(meaning.value, state)
            actual = T.band(self.machine.read(state, meaning.register), T.const(meaning.mask))
            text = f"{need.subject} = {need.value} for the caller: {show(meaning.place)} == {show(meaning.value)}"
            claims.equal("state", text, need.span, actual, wanted, state)

    def resumed(self, path: Path) -> None:
        """What the return of a frame leads to that C has written: preserved registers are its slots."""
        way: Outline = outline(self.spec, path, "kernel", self.run.configuration)
        frame = self.spec.frames[path.resumed or ""]
        claims = Returns(self.arrivals, way, path.name)
        base = T.var("new.stack")
        state = self.start(path, base, 0)
        homes = {s.home: s.name for s in frame.slots.values()}
        for register in self.arch.abi.preserved:
            if register in homes:
                self.machine.write(state, register, slot_var(homes[register]))
        before, stage = state.copy(), way.stages[-1] if way.stages else None
        if stage is None:
            self.run.not_checked.append(f"{path.name}: the spec calls no C function")
            return
        looking, self.machine.before_each = self.machine.before_each, None              # nothing called it
        endings = self.run.run(state)
        self.machine.before_each = looking
        for ending in endings:
            kind = "jump" if isinstance(stage.target, Jump) else "call"
            if claims.ending(ending, kind, stage.target.callee, stage.target.span):
                self.started(claims, ending, stage, homes, base)
            self.run.covered.update(ending.state.trace)
        claims.reached(f"{stage.target.callee} is reached", stage.target.span, any(e.kind in ("call", "jump") for e in endings), endings, before)
        self.run.claims += claims.out

    def started(self, claims: Returns, ending: Ending, stage: Stage, homes: dict[str | None, str], base: Term) -> None:
        state, target = ending.state, stage.target
        for register, argument in zip(self.arch.abi.args, target.arguments, strict=False):
            wanted = slot_var(homes[argument.name]) if isinstance(argument, Reg) and argument.name in homes else None
            if wanted is None:
                claims.unclear("argument", f"argument {register} is {show(argument)}", target.span, "it is none of the frame's registers")
            else:
                claims.equal("argument", f"argument {register} is {show(argument)}", target.span, self.machine.read(state, register), wanted, state)
        sp = T.add(self.machine.read(state, self.sp), T.const(self.arch.abi.return_address))
        for need in self.spec.contracts[target.contract]:
            if self.spec.applies(need, self.run.configuration) and need.subject not in ("gprs", "stack"):
                claims.fact(state, need, {}, f"{need.subject} = {need.value} when C starts", "state")
        claims.equal("stack", "the stack is as C expects it", target.span, sp, base, state)
