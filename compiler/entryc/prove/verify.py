"""Verdicts: every entry point and routine of a spec on the bytes of an image, for one configuration."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from ..image.image import Image
from ..image.lift import Lifter
from ..model.spec import VECTOR_TABLE, Call, Configuration, Path, Spec
from ..source.finding import Finding
from . import terms as T
from .arrive import Arrivals
from .claims import Claim, Claims
from .expect import Exit, Outline, origins, outline
from .machine import Ending, Machine, State
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

    def all(self) -> None:
        for path in self.spec.paths.values():
            if path.kind not in ("entry", "routine") or not self.configuration.holds(path.guard):
                continue
            if path.name not in self.image.symbols:
                self.not_checked.append(f"{path.name}: the image has no such symbol")
                continue
            if path.kind == "entry":
                for origin in origins(path):
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
        stub = path.name if path.origin != "any" else f"{path.name} from {origin}"
        way = outline(self.spec, path, origin, self.configuration)
        target = way.target
        claims = Claims(self.arrivals, way, stub)
        if target is None:
            self.not_checked.append(f"{stub}: the spec calls no C function")
            return
        start = self.arrivals.event(path, origin, self.image.symbols[path.name])
        end = self.arrivals.frame_end(start, path, origin)
        before = start.copy()
        if not self.solver.feasible(start.conditions):
            self.not_checked.append(f"{stub}: its assumptions contradict each other")
            return
        endings = self.machine.run(start)
        kind = "call" if isinstance(target, Call) else "jump"
        reached = False
        for ending in endings:
            if claims.ending(ending, kind, target.callee, target.span):
                reached = True
                address = claims.at_call(before, ending, target, end)
                if isinstance(target, Call) and address is not None:
                    self.exits(way, claims, ending, address)
        claims.reached(f"{target.callee} is reached", target.span, reached, endings, before)
        self.claims += claims.out

    def exits(self, way: Outline, claims: Claims, ending: Ending, address: Term) -> None:
        """From the C function's return to each return instruction."""
        target = way.target
        assert isinstance(target, Call)
        abi = self.spec.arch.abi
        sp = T.add(self.machine.read(ending.state, self.arrivals.sp), T.const(abi.return_address))
        frame = way.frame(self.spec)
        for exit in way.exits:
            kept = tuple(self.machine.read(ending.state, r) for r in abi.preserved)
            key = (ending.state.pc, address, sp, kept, exit.path.name, exit.index, way.origin, target.contract)
            if key in self.exits_done:
                continue
            self.exits_done.add(key)
            start = self.arrivals.after_call(ending.state, ending.state.pc, frame, address, sp, target.contract, exit)
            self.one_exit(way, claims, start, exit, address)

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
                faults = ending.state.faults
                claims.add("memory", f"only declared memory is touched up to {exit.step.name}", exit.step.span, T.boolean(not faults), ending.state,
                           "; ".join(f"{f.address:#x}: {f.text}" for f in faults[:3]))
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
