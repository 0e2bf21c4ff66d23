"""Verdicts: every entry point and routine of a spec on the bytes of an image, for one configuration."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from ..image.image import Image
from ..image.lift import Instruction, Lifter
from ..model.expr import Expr, Reg, SlotRef, show, walk
from ..model.spec import VECTOR_TABLE, Configuration, Frame, Path, Spec
from ..model.steps import Assert, Call
from ..model.surroundings import ANY, Boundary
from ..source.text import Span
from . import terms as T
from .anywhere import Anywhere
from .arrive import Arrivals, pushed, slot_var, top_of
from .claim import Claim
from .expect import Exit, Outline, Stage, origins, outline
from .machine import Machine
from .nested import Nested, nests
from .returns import Returns
from .routines import Routines
from .solver import Solver
from .state import Bytes, Ending, State, Stuck
from .terms import Term
from .unwind import Table, Unwinder
from .verdict import ASSUMPTIONS, Report, Verdict

__all__ = ["ASSUMPTIONS", "Report", "Run", "Solver", "Verdict", "verify"]


def verify(spec: Spec, image: Image, configuration: Configuration, unwind: Table | None = None) -> Report:
    """Prove every entry point and routine. Nothing here reads the plan.

    `unwind`: the rows of the assembled code; they are compared with the machine at each instruction.
    """
    started = time.process_time()
    run = Run(spec, image, configuration)
    if unwind is not None:
        run.unwinder = Unwinder(run.machine, unwind)
        run.machine.before_each = run.unwinder.look
    timings: dict[str, float] = {}
    for path in run.paths():
        before = time.process_time()
        run.path(path)
        timings[path.name] = time.process_time() - before
    run.tables()
    verdicts = [run.solver.decide(claim) for claim in run.claims]
    return Report(spec, configuration, image, verdicts, time.process_time() - started, run.not_checked,
                  missing=run.arrivals.missing(), queries=dict(run.solver.known), covered=frozenset(run.covered), timings=timings)


class Run:
    """The proof of an image under one configuration, path by path. A solver may be shared: it only keeps answers."""

    def __init__(self, spec: Spec, image: Image, configuration: Configuration, lifter: Lifter | None = None, solver: Solver | None = None,
                 keep: bool = False) -> None:
        self.spec, self.image, self.configuration = spec, image, configuration
        self.solver = solver or Solver()
        self.lifter = lifter or Lifter(spec.arch, image)
        self.machine = Machine(spec, configuration, self.lifter, self.solver.feasible)
        self.arrivals = Arrivals(self.machine)
        self.anywhere = Anywhere(self.arrivals)
        self.machine.strikes = self.anywhere.look if self.anywhere.open else None
        self.claims: list[Claim] = []
        self.not_checked: list[str] = []
        self.exits_done: set[tuple[Any, ...]] = set()
        self.ways_out: list[tuple[str, tuple[Any, ...]]] = []   # (entry point, key of an exit that it takes)
        self.made: Callable[[Arrivals, Outline, str], Returns] = Returns        # who makes the claims of an outline
        self.covered: set[int] = set()          # addresses of the instructions that some path ran
        self.unwinder: Unwinder | None = None
        self.starts: list[State] | None = [] if keep else None      # the states that stretches of code were run from

    def paths(self) -> Iterator[Path]:
        """The entry points and routines of the configuration that the image has; the others are noted as not checked."""
        for path in self.spec.paths.values():
            if path.kind not in ("entry", "routine") or not self.configuration.holds(path.guard):
                continue
            symbol = path.placed[0] if path.placed else path.name
            if symbol not in self.image.symbols or symbol in self.image.externs:
                self.not_checked.append(f"{path.name}: the image has no symbol {symbol}")
            else:
                yield path

    def path(self, path: Path) -> None:
        """All claims of an entry point or routine."""
        if path.arguments:
            Routines(self).called(path)
            return
        if path.resumed is not None:
            Routines(self).resumed(path)
            return
        if path.kind == "routine":
            self.routine(path)
            return
        self.lands(path)
        for origin in origins(path):
            if not (origin == "user" and path.paranoid and not self.arrivals.separate(path)):
                self.entry(path, origin)
        boundaries = nests(self.spec, path)
        if boundaries:
            try:
                looking, self.machine.before_each = self.machine.before_each, None
                Nested(self, path, boundaries).check()
                self.machine.before_each = looking
            except Stuck as problem:
                self.not_checked.append(f"{path.name} within itself: {problem}")

    def tables(self) -> None:
        """Each slot of a vector table leads to its entry point."""
        rows = [p for p in self.spec.of_kind("entry") if p.event is not None and p.event.found[0] == "table" and self.configuration.holds(p.guard)]
        if rows and VECTOR_TABLE not in self.image.symbols:
            self.not_checked.append(f"{VECTOR_TABLE}: the image has no such symbol")
        for path in rows:
            if path.event is None or VECTOR_TABLE not in self.image.symbols or path.name not in self.image.symbols:
                continue
            start = self.image.symbols[VECTOR_TABLE] + path.event.found[1]
            instruction = self.lifter.at(start)
            target = instruction.ops[0].inputs[0].offset if len(instruction.ops) == 1 and instruction.ops[0].name == "BRANCH" else None
            self.claims.append(Claim(path.name, "table", f"the table's slot {path.event.found[1]:#x} leads to {path.name}", path.span,
                                     T.boolean(target == self.image.symbols[path.name]), (), f"{instruction.text} stands there"))

    def entry(self, path: Path, origin: str) -> None:
        for arrival in self.arrivals.arrivals(path, origin):
            where = arrival or (origin if path.origin == "any" else "")
            way = outline(self.spec, path, origin, self.configuration, arrival)
            stub = path.name + (f" from {where}" if where else "")
            if not way.stages and not way.exits:
                self.not_checked.append(f"{stub}: the spec calls no C function")
                continue
            try:
                for label, start in self.arrivals.event(path, origin, arrival, self.address(path)):
                    claims = self.made(self.arrivals, way, stub + (f", {label}" if label else ""))
                    self.machine.may_fault = self.fault(claims, path.span)
                    if way.stages:
                        self.stages(way, claims, start)
                    else:
                        self.direct(way, claims, start)
            except Stuck as problem:
                self.not_checked.append(f"{stub}: {problem}")

    def lands(self, path: Path) -> None:
        """The first instruction is the one that indirect jumps have to land on."""
        if self.spec.landing is not None and self.configuration.holds(self.spec.landing[1]):
            found = self.lifter.at(self.address(path))
            right = found.form is not None and found.form.name == self.spec.landing[0]
            self.claims.append(Claim(path.name, "landing", f"starts with {self.spec.landing[0]}", path.span, T.boolean(right), (),
                                     f"{found.text} stands there"))

    def address(self, path: Path) -> int:
        """Where an entry point starts."""
        symbol, shift = path.placed or (path.name, 0)
        return self.image.symbols[symbol] + shift

    def stages(self, way: Outline, claims: Returns, start: State) -> None:
        """From the event to each C function in turn, and on to the returns."""
        end = self.arrivals.frame_end(start, way.path, way.origin)
        if end is not None:
            end = T.sub(end, T.const(way.room))
        if not self.solver.feasible(start.conditions):
            self.not_checked.append(f"{claims.stub}: its assumptions contradict each other")
            return
        first, states = start.copy(), [start]
        self.machine.watch = tuple(dict.fromkeys(f for _, facts in way.before for f in facts if self.spec.applies(f, self.configuration)))
        found = {r: self.machine.read(start, r) for r in self.spec.arch.registers if r != self.spec.arch.of_kind("pc")}
        for number, stage in enumerate(way.stages):
            target, last = stage.target, stage is way.stages[-1]
            reached, following, all_endings = False, [], []
            self.unwinds_to(way, found, way.stages[:number])
            for state in states:
                before = state.copy()
                endings = self.run(state)
                all_endings += endings
                kinds = ("call", "jump") if isinstance(target, Call) else ("jump",)
                for ending in endings:
                    if not claims.ending(ending, ending.kind if ending.kind in kinds else kinds[0], target.callee, target.span):
                        continue
                    reached = True
                    if self.unwinder is not None and way.frame(self.spec) is not None and ending.kind == "call":
                        claims.add("unwind", f"unwind information is there where {target.callee} is called", target.span,
                                   T.boolean(ending.address not in self.unwinder.blind), ending.state)
                    address = claims.at_call(before if number == 0 else self.as_found(before, found), before, ending, stage, end)
                    if isinstance(target, Call) and address is not None:
                        if last:
                            self.exits(way, claims, ending, address)
                        else:
                            following += self.resume(claims, ending, target, address, number)
                    self.covered.update(ending.state.trace)
            claims.reached(f"{target.callee} is reached", target.span, reached, all_endings, first)
            states = following
            if isinstance(target, Call) and target.move is not None:
                end = top_of(target.move.stack)
        self.claims += claims.out
        self.unwound(claims, way.path.span)

    def unwinds_to(self, way: Outline, found: dict[str, Term], done: list[Stage]) -> None:
        """What unwinding has to lead to on the way to C: what was interrupted, and what the frame says of what the CPU lost."""
        if self.unwinder is None:
            return
        event = way.path.event
        held = {r: pushed(self.spec.arch, event, r) if event is not None and r in event.pushes else found.get(r) for r in self.spec.arch.registers}
        if event is not None:
            for register in {*event.lost, *(e.place.name for e in event.effects if isinstance(e.place, Reg))}:
                held[register] = None
            for save in way.saves:
                for name, _ in save.values:     # the frame keeps another value there
                    held[self.spec.frames[save.frame].slots[name].home or ""] = None
            if not event.pushes:
                held = {r: v for r, v in held.items() if r and self.spec.arch.registers[r].kind == "gpr"}
            elif event is not None and self.spec.arch.of_kind("pc") not in event.pushes:
                held[self.spec.arch.of_kind("pc")] = None
        for stage in done:                      # C has put other values into these slots
            move = stage.target.move if isinstance(stage.target, Call) else None
            for name in move.but if move is not None else ():
                held[self.spec.frames[move.frame].slots[name].home or ""] = None        # type: ignore[union-attr]
        self.unwinder.start((way.origin, way.arrival, len(done)), held.get)

    def unwound(self, claims: Returns, span: Span) -> None:
        if self.unwinder is not None:
            self.claims += self.unwinder.claim(claims.stub, span)

    def direct(self, way: Outline, claims: Returns, start: State) -> None:
        """From the event to a return, without C."""
        if not self.solver.feasible(start.conditions):
            self.not_checked.append(f"{claims.stub}: its assumptions contradict each other")
            return
        first, step = start.copy(), way.exits[0].step
        self.unwinds_to(way, {r: self.machine.read(start, r) for r in self.spec.arch.registers if r != self.spec.arch.of_kind("pc")}, [])
        endings, reached = self.run(start), False
        for ending in endings:
            if claims.ending(ending, "return", step.name, step.span):
                reached = True
                claims.at_once(first, ending, way.exits[0])
            self.covered.update(ending.state.trace)
        claims.reached(f"{step.name} is reached", step.span, reached, endings, first)
        self.claims += claims.out
        self.unwound(claims, way.path.span)

    def run(self, start: State) -> list[Ending]:
        if self.starts is not None:
            self.starts.append(start.copy())
        return self.machine.run(start)

    def as_found(self, state: State, found: dict[str, Term]) -> State:
        """A state with the registers that the interrupted code had: what claims of later C functions compare with."""
        out = state.copy()
        for register, value in found.items():
            if self.spec.arch.registers[register].kind != "flags":
                self.machine.write(out, register, value)
        return out

    def resume(self, claims: Returns, ending: Ending, target: Call, address: Term, number: int) -> list[State]:
        """After a C function that gives the frame back at another place. One that was jumped to returns to the caller."""
        if target.move is None:
            claims.unclear("ending", f"{target.callee} comes back", target.span, "only a function that moves the frame can come before another one")
            return []
        pc, sp = self.back(ending)
        if pc is None:
            claims.unclear("ending", f"{target.callee} comes back", target.span, "the return address is not known")
            return []
        state, new = self.arrivals.moved(ending.state, pc, target, address, sp, number)
        self.machine.write(state, self.spec.arch.abi.result, new)
        return [state]

    def back(self, ending: Ending) -> tuple[int | None, Term]:
        """Where a C function comes back to, and the stack pointer then."""
        abi = self.spec.arch.abi
        sp = T.add(self.machine.read(ending.state, self.arrivals.sp), T.const(abi.return_address))
        if ending.kind == "call":
            return ending.state.pc, sp
        if abi.link:
            return self.machine.read(ending.state, abi.link).value, sp
        found = self.machine.region(ending.state, self.machine.read(ending.state, self.arrivals.sp))
        return (self.machine.content(found[0], found[1], self.spec.arch.word_bytes).value if found is not None else None), sp

    def exits(self, way: Outline, claims: Returns, ending: Ending, address: Term) -> None:
        """From the C function's return to each return instruction."""
        target = way.stages[-1].target
        assert isinstance(target, Call)
        pc, sp = self.back(ending)
        if pc is None:
            claims.unclear("ending", f"{target.callee} comes back", target.span, "the return address is not known")
            return
        frame = way.frame(self.spec)
        for exit in way.exits:
            exit = self.decided(exit, frame)
            kept = tuple(self.machine.read(ending.state, r) for r in self.spec.arch.abi.preserved)
            states = tuple(self.machine.read(ending.state, m.register) for name in self.spec.keeps.get(target.contract, ())
                           for ms in self.spec.states[name].values.values() for m in ms if m.register)
            key = (pc, address, sp, kept, states, exit.path.name, exit.index, exit.symbol, way.origin, way.arrival, target.contract)
            self.ways_out.append((claims.stub, key))
            if key in self.exits_done:
                continue
            self.exits_done.add(key)
            start = self.arrivals.after_call(ending.state, pc, frame, address, sp, target.contract, exit)
            self.one_exit(way, claims, start, exit, address)

    def decided(self, exit: Exit, frame: Frame | None) -> Exit:
        """An exit with what then holds of the frame: where it goes back to, or what C promises."""
        homes = {s.home: s.name for s in frame.slots.values()} if frame is not None else {}
        def leaf(e: Expr) -> Term | None:
            return slot_var(homes[e.name]) if isinstance(e, Reg) and e.name in homes else None
        condition = T.TRUE
        if exit.by_origin and self.spec.arch.origin is not None:
            user = self.machine.value(_NOTHING, self.spec.arch.origin, leaf)
            condition = user if exit.path.origin == "user" else T.not_(user)
        for promise in (exit.given, exit.path.given):
            if promise is not None:
                condition = T.band(condition, self.arrivals.meaning(promise, 2, {}))
        return replace(exit, condition=condition if condition is not T.TRUE else None)

    def one_exit(self, way: Outline, claims: Returns, start: State, exit: Exit, address: Term) -> None:
        possible = self.solver.check(start.conditions)
        claims.add("method", f"{exit.method} can be chosen", exit.step.span, T.boolean(possible == "sat"), start, "its clauses contradict each other")
        before = start.copy()
        reached = False
        frame = way.frame(self.spec)
        if self.unwinder is not None and frame is not None:
            homes = {s.home: slot_var(s.name) for s in frame.slots.values() if s.home is not None}
            self.unwinder.start((way.origin, way.arrival, exit.path.name), homes.get)
        endings = self.run(start)
        self.unwound(claims, exit.step.span)
        for ending in endings:
            if claims.ending(ending, "return", exit.step.name, exit.step.span):
                reached = True
                claims.at_return(before, ending, exit, way.frame(self.spec), address)
                claims.faults(ending.state, f"only declared memory is touched up to {exit.step.name}", exit.step.span)
                self.caught(claims, ending, exit)
            self.covered.update(ending.state.trace)
        claims.reached(f"{exit.step.name} is reached for {exit.method}", exit.step.span, reached, endings, before)
        for step in exit.path.steps:
            if isinstance(step, Assert) and not exit.by_origin and self.configuration.holds(step.guard):
                self.asserted(claims, before, step, exit)

    def caught(self, claims: Returns, ending: Ending, exit: Exit) -> None:
        """A return to user mode that can fault has left the kernel's state already: some boundary tells the fault, for each of its vectors."""
        row = self.spec.arch.return_row(exit.step.name, exit.path.origin or "any")
        if row is None or not row.raises or exit.path.origin != "user" or not any(b.condition for b in self.spec.boundaries.values()):
            return
        missing = [n for n in row.raises if not any(n in b.numbers and self.tells(b, ending.address) for b in self.spec.boundaries.values())]
        claims.add("fixup", f"a fault of {row.name} on the way to user mode is told from others", exit.step.span, T.boolean(not missing), ending.state,
                   f"no boundary names vectors {', '.join(map(str, missing))} at {ending.address:#x}")
        self.found(claims, ending.state, ending.address, row.name, exit.step.span)

    def fault(self, claims: Returns, span: Span) -> Callable[[State, Instruction], None]:
        """Where an instruction may fault while the kernel's state is not whole, some boundary has to tell it, for each of its vectors."""
        def look(state: State, instruction: Instruction) -> None:
            if instruction.form is None or all(self.machine.holds(state, self.machine.fact(state, need)) for need in self.spec.arrive.get("kernel", ())
                                               if self.spec.applies(need, self.configuration) and need.subject in self.spec.states):
                return
            missing = [n for n in instruction.form.raises if not any(n in b.numbers and self.tells(b, state.pc) for b in self.spec.boundaries.values())]
            claims.add("fixup", f"a fault of {instruction.text} is told from others", span, T.boolean(not missing), state,
                       f"no boundary names vectors {', '.join(map(str, missing))} at {state.pc:#x}")
            self.found(claims, state, state.pc, instruction.text, span)
        return look

    def found(self, claims: Returns, state: State, address: int, name: str, span: Span) -> None:
        """What the boundaries say of code that faults here is so."""
        moved = {(s.name, m.after) for s in self.spec.states.values() for m in s.transitions}
        moved |= {(need.subject, str(need.value)) for op in self.spec.ops.values() for need in op.sets}
        for boundary in self.spec.boundaries.values():
            for need in boundary.arrive if self.tells(boundary, address) else ():
                declared = self.spec.states.get(need.subject)
                if need.value == ANY or not self.spec.applies(need, self.configuration):
                    continue
                if declared is None or not declared.ghost or (need.subject, str(need.value)) in moved:       # else it is what holds of all code
                    claims.fact(state, replace(need, span=span), {}, f"a fault of {name} finds {need.subject} = {need.value}, as {boundary.name} says", "fixup")

    def tells(self, boundary: Boundary, address: int) -> bool:
        """Does a special boundary say that code at an address was interrupted?"""
        pc = self.spec.arch.of_kind("pc")
        if boundary.condition is None or not self.configuration.holds(boundary.guard) or any(isinstance(e, SlotRef) for e in walk(boundary.condition)):
            return False
        holds = self.machine.value(_NOTHING, boundary.condition, lambda e: T.const(address) if isinstance(e, Reg) and e.name == pc else None)
        return holds is T.TRUE

    def asserted(self, claims: Returns, start: State, step: Assert, exit: Exit) -> None:
        """Where the frame does not have what the exit asserts, the code stops: whatever C promised."""
        state = start.copy()
        promised = {c for c in state.conditions if exit.condition is not None and c is exit.condition}
        state.conditions = [c for c in state.conditions if c not in promised] + [T.not_(self.arrivals.meaning(step.condition, 2, {}))]
        if not self.solver.feasible(state.conditions):
            return
        for ending in self.run(state):
            claims.add("assert", f"the code stops unless {show(step.condition)}", step.span, T.boolean(ending.kind == "stop"), ending.state,
                       f"it ends with {ending.kind} {ending.name} at {ending.address:#x}")

    def routine(self, path: Path) -> None:
        way = outline(self.spec, path, "user", self.configuration)
        claims = self.made(self.arrivals, way, path.name)
        self.machine.may_fault = self.fault(claims, path.span)
        for exit in way.exits:
            start, address = self.arrivals.routine(path, self.image.symbols[path.name], exit)
            self.one_exit(way, claims, start, exit, address)
        if not way.exits:
            self.not_checked.append(f"{path.name}: the spec gives it no return")
        self.claims += claims.out


_NOTHING = State(0, Bytes(), {}, {}, {}, [], [], [])
