"""Verdicts: every entry point and routine of a spec on the bytes of an image, for one configuration."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any

from ..image.image import Image
from ..image.lift import Lifter
from ..model.expr import Expr, Reg
from ..model.spec import VECTOR_TABLE, Call, Configuration, Frame, Path, Spec
from ..source.finding import Finding
from . import terms as T
from .arrive import Arrivals, slot_var, top_of
from .claims import Claim, Claims
from .expect import Exit, Outline, origins, outline
from .machine import Machine
from .state import Bytes, Ending, State, Stuck
from .terms import Term

RLIMIT = 20_000_000

ASSUMPTIONS = (
    ("A1", "the CPU takes events and returns as its .arch file says"),
    ("A2", "declared memory blocks and stacks do not overlap, and stacks have room for a frame"),
    ("A3", "code arrives from user mode and from the kernel as the boundary blocks say"),
    ("A4", "C functions follow the C ABI and leave the states of their contract as they found them"),
    ("A5", "C returns the index of a method only when the clauses of that method hold of the frame"),
    ("A6", "plain instructions do what the lifter says; entryc verify --crosscheck compares them with an emulator"),
    ("A7", "nothing interrupts the code: events nested inside it are not modelled"),
)


@dataclass(frozen=True)
class Verdict:
    """proved, refuted or unknown, with the values that refute."""

    claim: Claim
    verdict: str
    by: str                                     # identity, solver, or why it is unknown
    model: dict[str, int] = field(default_factory=dict)


@dataclass
class Report:
    """All verdicts of one configuration on one image."""

    spec: Spec
    configuration: Configuration
    image: Image
    verdicts: list[Verdict]
    seconds: float
    not_checked: list[str]
    replays: dict[int, str] = field(default_factory=dict)       # id of a refuted claim -> what the emulator showed

    def count(self, verdict: str) -> int:
        return sum(1 for v in self.verdicts if v.verdict == verdict)

    @property
    def green(self) -> bool:
        """Every claim proved, and there was something to prove."""
        return bool(self.verdicts) and all(v.verdict == "proved" for v in self.verdicts) and not self.not_checked

    def summary(self) -> str:
        kinds: dict[str, list[int]] = {}
        for v in self.verdicts:
            kinds.setdefault(v.claim.kind, []).append(int(v.verdict == "proved"))
        solver = sum(1 for v in self.verdicts if v.by == "solver")
        lines = [f"configuration {self.configuration.name}: {self.count('proved')} of {len(self.verdicts)} claims proved "
                 f"({solver} by the solver), {self.count('refuted')} refuted, {self.count('unknown')} unknown"
                 f"  [image sha256 {self.image.sha256[:16]}]"]
        lines += ["  " + ", ".join(f"{kind} {sum(rows)}/{len(rows)}" for kind, rows in sorted(kinds.items()))]
        lines += [f"  not checked: {text}" for text in self.not_checked]
        return "\n".join(lines)

    def table(self) -> str:
        """Every claim on a line."""
        return "\n".join(f"{v.verdict:8} {v.claim.stub:24} {v.claim.kind:9} {v.claim.text}" for v in self.verdicts)

    def findings(self) -> list[Finding]:
        """What is not proved, one finding for each different claim."""
        out: list[Finding] = []
        seen: set[tuple[str, str, str]] = set()
        for v in self.verdicts:
            key = (v.claim.kind, v.claim.text, v.verdict)
            if v.verdict == "proved" or key in seen:
                continue
            seen.add(key)
            code = "P101" if v.verdict == "refuted" else "P102"
            values = ", ".join(f"{name} = {value:#x}" for name, value in sorted(v.model.items())[:4])
            out.append(Finding(code, "error", f"{v.verdict}: in {v.claim.stub}, configuration {self.configuration.name}: {v.claim.text}", v.claim.span,
                               v.claim.detail + (f"; for example with {values}" if values else "") + (f"; {v.by}" if v.verdict == "unknown" else "")
                               + (f"; {self.replays[id(v.claim)]}" if id(v.claim) in self.replays else ""),
                               data={"stub": v.claim.stub, "kind": v.claim.kind, "model": v.model}))
        out += [Finding("P103", "error", f"not checked: {text}") for text in self.not_checked]
        return out

    def as_dict(self) -> dict[str, Any]:
        return {"image": self.image.sha256, "seconds": round(self.seconds, 3), "not_checked": self.not_checked,
                "assumptions": dict(ASSUMPTIONS),
                "verdicts": [{"stub": v.claim.stub, "kind": v.claim.kind, "claim": v.claim.text, "at": str(v.claim.span), "verdict": v.verdict,
                              "by": v.by, **({"detail": v.claim.detail, "model": v.model} if v.verdict != "proved" else {})} for v in self.verdicts]}


class Solver:
    """Z3 with a resource limit instead of a clock: the same verdicts on a loaded machine. Answers are kept."""

    def __init__(self) -> None:
        self.known: dict[tuple[Term, ...], str] = {}
        self.models: dict[tuple[Term, ...], dict[str, int]] = {}

    def check(self, conditions: list[Term]) -> str:
        """sat, unsat or unknown for a conjunction of one-bit terms."""
        if any(c is T.FALSE for c in conditions):
            return "unsat"
        key = tuple(c for c in conditions if c is not T.TRUE)
        if not key:
            return "sat"
        if key not in self.known:
            import z3
            solver = z3.SolverFor("QF_BV")
            solver.set("rlimit", RLIMIT)
            solver.set("random_seed", 0)
            for c in key:
                solver.add(T.to_solver(c) == 1)
            self.known[key] = str(solver.check())
            if self.known[key] == "sat":
                model = solver.model()
                self.models[key] = {str(d): model[d].as_long() for d in model.decls()}
        return self.known[key]

    def feasible(self, conditions: list[Term]) -> bool:
        return self.check(conditions) != "unsat"

    def decide(self, claim: Claim) -> Verdict:
        if claim.unknown:
            return Verdict(claim, "unknown", claim.unknown)
        if claim.holds is T.TRUE:
            return Verdict(claim, "proved", "identity")
        if claim.holds is T.FALSE:
            state = self.check(list(claim.conditions))
            return Verdict(claim, "refuted", "identity", self.models.get(tuple(claim.conditions), {})) if state != "unsat" else \
                Verdict(claim, "refuted", "identity")
        key = [*claim.conditions, T.not_(claim.holds)]
        answer = self.check(key)
        if answer == "unsat":
            return Verdict(claim, "proved", "solver")
        if answer == "sat":
            return Verdict(claim, "refuted", "solver", self.models.get(tuple(c for c in key if c is not T.TRUE), {}))
        return Verdict(claim, "unknown", "the solver reached its limit")


def verify(spec: Spec, image: Image, configuration: Configuration) -> Report:
    """Prove every entry point and routine. Nothing here reads the plan."""
    started = time.process_time()
    run = _Run(spec, image, configuration)
    run.all()
    verdicts = [run.solver.decide(claim) for claim in run.claims]
    return Report(spec, configuration, image, verdicts, time.process_time() - started, run.not_checked)


class _Run:
    def __init__(self, spec: Spec, image: Image, configuration: Configuration) -> None:
        self.spec, self.image, self.configuration = spec, image, configuration
        self.solver = Solver()
        self.lifter = Lifter(spec.arch, image)
        self.machine = Machine(spec, configuration, self.lifter, self.solver.feasible)
        self.arrivals = Arrivals(self.machine)
        self.claims: list[Claim] = []
        self.not_checked: list[str] = []
        self.exits_done: set[tuple[Any, ...]] = set()
        self.covered: set[int] = set()          # addresses of the instructions that some path ran

    def all(self) -> None:
        for path in self.spec.paths.values():
            if path.kind not in ("entry", "routine") or not self.configuration.holds(path.guard):
                continue
            symbol = path.placed[0] if path.placed else path.name
            if symbol not in self.image.symbols or symbol in self.image.externs:
                self.not_checked.append(f"{path.name}: the image has no symbol {symbol}")
                continue
            if path.kind == "entry":
                for origin in origins(path):
                    if not (origin == "user" and path.paranoid and not self.arrivals.separate(path)):
                        self.entry(path, origin)
            else:
                self.routine(path)
        self.tables()

    def tables(self) -> None:
        """Each slot of a vector table leads to its entry point."""
        rows = [p for p in self.spec.of_kind("entry") if p.event is not None and p.event.found[0] == "table"]
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
            if not way.stages:
                self.not_checked.append(f"{stub}: the spec calls no C function")
                continue
            try:
                for label, start in self.arrivals.event(path, origin, arrival, self.address(path)):
                    self.stages(way, Claims(self.arrivals, way, stub + (f", {label}" if label else "")), start)
            except Stuck as problem:
                self.not_checked.append(f"{stub}: {problem}")

    def address(self, path: Path) -> int:
        """Where an entry point starts."""
        symbol, shift = path.placed or (path.name, 0)
        return self.image.symbols[symbol] + shift

    def stages(self, way: Outline, claims: Claims, start: State) -> None:
        """From the event to each C function in turn, and on to the returns."""
        end = self.arrivals.frame_end(start, way.path, way.origin)
        if end is not None:
            end = T.sub(end, T.const(way.room))
        if not self.solver.feasible(start.conditions):
            self.not_checked.append(f"{claims.stub}: its assumptions contradict each other")
            return
        first, states = start.copy(), [start]
        found = {r: self.machine.read(start, r) for r in self.spec.arch.registers if r != self.spec.arch.of_kind("pc")}
        for number, stage in enumerate(way.stages):
            target, last = stage.target, stage is way.stages[-1]
            reached, following, all_endings = False, [], []
            for state in states:
                before = state.copy()
                endings = self.machine.run(state)
                all_endings += endings
                kinds = ("call", "jump") if isinstance(target, Call) else ("jump",)
                for ending in endings:
                    if not claims.ending(ending, ending.kind if ending.kind in kinds else kinds[0], target.callee, target.span):
                        continue
                    reached = True
                    address = claims.at_call(before if number == 0 else self.as_found(before, found), ending, stage, end)
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

    def as_found(self, state: State, found: dict[str, Term]) -> State:
        """A state with the registers that the interrupted code had: what claims of later C functions compare with."""
        out = state.copy()
        for register, value in found.items():
            if self.spec.arch.registers[register].kind != "flags":
                self.machine.write(out, register, value)
        return out

    def resume(self, claims: Claims, ending: Ending, target: Call, address: Term, number: int) -> list[State]:
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

    def exits(self, way: Outline, claims: Claims, ending: Ending, address: Term) -> None:
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
            key = (pc, address, sp, kept, states, exit.path.name, exit.index, way.origin, way.arrival, target.contract)
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

    def one_exit(self, way: Outline, claims: Claims, start: State, exit: Exit, address: Term) -> None:
        possible = self.solver.check(start.conditions)
        claims.add("method", f"{exit.method} can be chosen", exit.step.span, T.boolean(possible == "sat"), start, "its clauses contradict each other")
        before = start.copy()
        reached = False
        endings = self.machine.run(start)
        for ending in endings:
            if claims.ending(ending, "return", exit.step.name, exit.step.span):
                reached = True
                claims.at_return(before, ending, exit, way.frame(self.spec), address)
                claims.faults(ending.state, f"only declared memory is touched up to {exit.step.name}", exit.step.span)
            self.covered.update(ending.state.trace)
        claims.reached(f"{exit.step.name} is reached for {exit.method}", exit.step.span, reached, endings, before)

    def routine(self, path: Path) -> None:
        way = outline(self.spec, path, "user", self.configuration)
        claims = Claims(self.arrivals, way, path.name)
        for exit in way.exits:
            start, address = self.arrivals.routine(path, self.image.symbols[path.name], exit)
            self.one_exit(way, claims, start, exit, address)
        if not way.exits:
            self.not_checked.append(f"{path.name}: the spec gives it no return")
        self.claims += claims.out


_NOTHING = State(0, Bytes(), {}, {}, {}, [], [], [])
