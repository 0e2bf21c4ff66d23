"""Compiled C against the spec: what the C functions that entryc writes do, proved on the bytes that a compiler made of them.

For each handler that the spec declares, all paths of its machine code are run symbolically (`compiled_run.py`) next to the graph of what the spec says
(`compiled_steps.py`). A hook may change everything but the stack of its caller, so the frame is new after each call, and a hook's result is any value of
its type. The claims, for all inputs and all results of hooks:

- method: the index that is returned is that of the first method whose clauses hold of the frame as memory has it at the return.
- number: a system call's table is read below its size and at its number; where the CPU guessed the range check wrong, at its start; each number leads to its
  function with the spec's arguments, the result goes to its slot, and a number that is none gives the value for missing ones.
- work: flags are read with interrupts off; from the last read to the return they stay off, and none of the flags that mean work was set.
- steps, frame, counter: everything is called in the order written, with its arguments, on the frame that the steps before left; counters count.
- moved: a function that moves a frame to another stack moves each word, wherever the frame was (`compiled_moves.py`).
- abi, memory, ending: what A4 assumes of C; nothing else is touched; everything that the spec says can happen is reached.

Exit work is a loop, which is not unrolled: each call of the hook that reads flags is a cut point. The code from the function's entry to a cut point, and from a
cut point to the next or to the return, is straight. The state at a cut point is the common part of all states that arrive there: what the ABI lets
the hook change is new anyway; a preserved register, a word of the function's stack or a condition stays only when it is the same in all arrivals. A
state that loses something is run again, until none does. So every execution, with any number of rounds, is a chain of pieces that were each
proved, from states that include all that the piece before can leave.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from ..image.c_contract import Known
from ..image.elf import read_image
from ..image.image import Image
from ..image.lift import Lifter
from ..model.arch import Assign
from ..model.expr import Bit, show
from ..model.spec import Choice, Configuration, Handler, Spec, Work
from ..model.steps import Call, Jump, flat_steps
from ..source.text import Span
from . import terms as T
from .claim import Claim
from .compiled_data import Constants
from .compiled_moves import prove_movers
from .compiled_run import STACK, CRunner, CState, Stop
from .compiled_steps import Do, End, Irqs, Let, Node, Number, Pick, Put, Steps, Values
from .solver import Solver
from .state import Bytes, Stuck
from .terms import Term
from .verdict import Verdict

ASSUMPTIONS = (
    ("C1", "hooks and system calls follow the C ABI, and leave interrupts and the flags of the contract as they found them"),
    ("C2", "the frame, the stack that C runs on and the blocks that hooks return do not overlap; hooks leave the stack of their caller alone"),
    ("C3", "what interrupts compiled C leaves its registers, its stack and the frame as they were"),
    ("C4", "read-only sections hold what the file says"),
)

DISCHARGES = ("A5",)                            # assumptions about C that a green result turns into claims

Key = tuple[Any, ...]


@dataclass
class Compiled:
    """The verdicts on the C of one image. `depth`: bytes of stack that each handler's code uses, its own calls included."""

    image: Image
    verdicts: list[Verdict]
    not_checked: list[str]
    depth: dict[str, int] = field(default_factory=dict)
    jumps: dict[int, set[int]] = field(default_factory=dict)    # where computed jumps lead: for image.c_contract
    covered: set[int] = field(default_factory=set)              # addresses of the instructions that some path ran
    seconds: float = 0.0
    assumptions: tuple[tuple[str, str], ...] = ASSUMPTIONS

    @property
    def green(self) -> bool:
        return bool(self.verdicts) and all(v.verdict == "proved" for v in self.verdicts) and not self.not_checked


def prove_c(spec: Spec, path: Path, configuration: Configuration) -> Compiled:
    """Prove the handlers of a spec in a linked file, and the functions that move frames. Raises Findings when it is none."""
    started = time.process_time()
    image = read_image(spec.arch, path)
    run = Program(spec, image, Constants(path, spec.arch.endian), configuration)
    claims = [claim for handler in spec.handlers.values() for claim in run.handler(handler)] + prove_movers(run)
    verdicts = [run.decide(claim) for claim in claims]
    return Compiled(image, verdicts, run.not_checked, run.depth, run.jumps, run.covered, time.process_time() - started)


class Program:
    """What the C functions of one image share."""

    def __init__(self, spec: Spec, image: Image, constants: Constants, configuration: Configuration) -> None:
        self.spec, self.image, self.constants, self.configuration = spec, image, constants, configuration
        self.solver = Solver()
        self.lifter = Lifter(spec.arch, image)
        self.known = Known(self.lifter)
        self.not_checked: list[str] = []
        self.depth: dict[str, int] = {}
        self.jumps: dict[int, set[int]] = {}
        self.covered: set[int] = set()
        self.must = {self.place(name): value for name, value in spec.arch.abi.must.items()}     # flags that the ABI demands, in and out
        self.externs: dict[int, tuple[str, ...]] = {}
        for name in (*spec.hooks, *(r.name for t in spec.tables.values() for r in t.rows)):
            if name in image.symbols:
                address = image.symbols[name]
                self.externs[address] = (*self.externs.get(address, ()), name)

    def handler(self, handler: Handler) -> list[Claim]:
        if handler.name not in self.image.symbols:
            self.not_checked.append(f"{handler.name}: the image has no such symbol")
            return []
        proof = _Proof(self, handler)
        claims = proof.all()
        self.saw(handler.name, proof.runner)
        return claims

    def saw(self, function: str, runner: CRunner) -> None:
        """Keeps what a run of a function's code has shown."""
        self.depth[function] = -runner.deepest
        self.covered |= runner.visited
        for jump, targets in runner.jumps.items():
            self.jumps.setdefault(jump, set()).update(targets)

    def place(self, name: str) -> Bit:
        """A flag by its name."""
        register, bit = self.spec.arch.places[name]
        return Bit(register, bit, name)

    def irq_bits(self) -> list[Bit]:
        """The flags that let interrupts in or keep them out."""
        forms = [self.spec.arch.forms[name] for name in self.spec.arch.irqs]
        return list(dict.fromkeys(e.place for form in forms for e in form.effects if isinstance(e, Assign) and isinstance(e.place, Bit)))

    def decide(self, claim: Claim) -> Verdict:
        """A claim that is false as it stands is refuted by a path only when that path is known to exist."""
        if not claim.unknown and claim.holds is T.FALSE and self.solver.check(list(claim.conditions)) != "sat":
            return Verdict(claim, "unknown", "the solver reached its limit")
        return self.solver.decide(claim)


class _Proof:
    """One handler: its machine code beside the graph of its steps."""

    def __init__(self, run: Program, handler: Handler) -> None:
        self.run, self.spec, self.handler, self.arch = run, run.spec, handler, run.spec.arch
        self.frame = run.spec.frames[handler.frame]
        self.flags, self.lasting = self.contract()
        kept = list(dict.fromkeys((*run.irq_bits(), *self.lasting)))
        self.runner = CRunner(run.spec, run.lifter, run.solver, run.constants, run.known, self.frame, kept, run.externs, run.image.symbols[handler.name])
        self.values = Values(run.spec, self.frame, self.runner.address)
        self.cuts: dict[Key, CState] = {}
        self.pending: list[Key] = []
        self.pieces: dict[Key, list[Claim]] = {}
        self.now: list[Claim] = []
        self.seen: set[Any] = set()
        self.widened = count(1)
        self.steps: Steps | None = None

    def contract(self) -> tuple[dict[Bit, int], list[Bit]]:
        """The flags that hold wherever the handler is called, and all that some call is about: at the return they are as at the entry."""
        rows: list[dict[Bit, int]] = [{}]
        for path in self.spec.paths.values():
            for step in flat_steps(path.steps):
                if isinstance(step, (Call, Jump)) and step.callee == self.handler.name:
                    needs = self.spec.contracts[step.contract]
                    rows.append({self.run.place(n.subject): int(n.value) for n in needs
                                 if n.subject in self.arch.places and self.run.configuration.holds(n.guard)})
        shared = {bit: value for row in rows[1:2] for bit, value in row.items() if all(other.get(bit) == value for other in rows[1:])}
        return shared | self.run.must, list(dict.fromkeys(bit for row in (*rows, self.run.must) for bit in row))

    # ---- claims ----

    def add(self, kind: str, text: str, span: Span, holds: Term, state: CState, detail: str = "") -> None:
        self.now.append(Claim(self.handler.name, kind, text, span, holds, tuple(state.conditions), detail))

    def unclear(self, kind: str, text: str, span: Span, reason: str) -> None:
        self.now.append(Claim(self.handler.name, kind, text, span, T.FALSE, (), unknown=reason))

    def all(self) -> list[Claim]:
        """All claims about the handler."""
        try:
            self.steps = Steps(self.spec, self.handler)
            start = self.runner.entered(self.flags)
        except Stuck as problem:
            self.unclear("steps", "it does what its steps say", self.handler.span, str(problem))
            return self.now
        start.node = self.steps.start
        self.piece((), start)
        while self.pending:
            key = self.pending.pop()
            self.piece(key, self.cuts[key])
        self.now = [claim for piece in self.pieces.values() for claim in piece]
        self.reached(self.steps)
        return self.now

    def piece(self, key: Key, state: CState) -> None:
        """From the entry or a cut point to the next ones and the return."""
        self.now = self.pieces[key] = []
        self.runner.explore(state.copy(), self.stop)

    def reached(self, steps: Steps) -> None:
        """Everything that the spec says can happen does on some path: a proof about nothing is no proof."""
        left = next((c.unknown or f"some do not do what the spec says: {c.detail}" for c in self.now if c.unknown or (c.detail and c.holds is T.FALSE)), None)
        def one(mark: Any, text: str, span: Span) -> None:
            if mark not in self.seen and left is not None:
                self.unclear("ending", text, span, f"not all paths were followed: {left}")
            else:
                self.now.append(Claim(self.handler.name, "ending", text, span, T.boolean(mark in self.seen), ()))
        for index, node in enumerate(steps.nodes):
            if isinstance(node, Do):
                one(index, f"{' or '.join(node.names)} is called", node.span)
            elif isinstance(node, Number):
                one(("missing", index), "a number that is no system call is answered", node.span)
                if not {to for _, to in node.rows} <= self.seen:        # a compiler can do without the table
                    one(("table", node.table.name), f"the table of {node.table.name} is read", node.span)
            elif isinstance(node, End):
                one(index, "it returns", node.span)
                for name in node.choice.methods if node.choice is not None else ():
                    one(("method", name), f"method {name} can be chosen", self.spec.methods[name].span)

    # ---- the graph beside the code ----

    def stop(self, stop: Stop) -> list[CState]:
        assert self.steps is not None
        try:
            if stop.kind == "stuck":
                self.unclear("steps", "every path can be followed", self.handler.span, f"at {stop.address:#x}: {stop.text}")
            elif stop.kind == "table":
                self.table(self.steps, stop)
            else:
                return [after for state in self.moved(self.steps, stop.state) for after in self.arrive(self.steps.nodes[state.node], state, stop)]
        except Stuck as problem:
            self.unclear("steps", "every path can be followed", self.handler.span, f"at {stop.address:#x}: {problem}")
        return []

    def arrive(self, node: Node, state: CState, stop: Stop) -> list[CState]:
        """The code calls a function, or returns; the graph says what it should do."""
        found = f"{' or '.join(stop.names)} is called" if stop.kind == "call" else "it returns"
        wanted = f"{' or '.join(node.names)} is called" if isinstance(node, Do) else "it returns"
        right = isinstance(node, Do) and bool(set(node.names) & set(stop.names)) if stop.kind == "call" else isinstance(node, End)
        kind = node.kind if isinstance(node, Do) else "steps"
        self.add(kind, f"{wanted} where the spec says so", node.span, T.boolean(right), state, f"at {stop.address:#x}, {found}")
        if not right:
            return []
        if self.run.solver.check(list(state.conditions)) == "sat":
            self.seen.add(state.node)
        if isinstance(node, Do) and node.table and state.through and not self.is_table(state.through, node.table):
            self.unclear("number", f"{wanted} through the table of the spec", node.span, f"at {stop.address:#x}, it is called through {state.through}")
        self.left(node, state, "the return" if stop.kind == "return" else f"{stop.names[0]} is called")
        if isinstance(node, End):
            self.end(node, state)
            return []
        assert isinstance(node, Do)
        return self.called(node, state, stop)

    def moved(self, steps: Steps, start: CState) -> list[CState]:
        """Past what the code does without a call: a state for each way that the conditions of the path leave open."""
        out, todo = [], [start]
        while todo:
            state = todo.pop()
            node = steps.nodes[state.node]
            if isinstance(node, (Do, End)):
                out.append(state)
            elif isinstance(node, (Pick, Number)):
                for condition, to in self.ways(node, state):
                    if not self.runner.possible(state, condition):
                        continue
                    other = state.copy()
                    other.node = to
                    if condition is not T.TRUE and condition not in other.conditions:
                        other.conditions.append(condition)
                    if isinstance(node, Number) and to == node.next:
                        self.seen.add(("missing", state.node))
                    todo.append(other)
            else:
                if isinstance(node, Irqs):
                    state.irqs = "on" if node.on else "off"
                elif isinstance(node, Let):
                    state.locals[node.name] = self.runner.read(state, node.register)
                elif isinstance(node, Put):
                    state.put = node.kind
                    state.slots[node.slot] = self.values.word(node.value, state.slots, state.locals)
                state.node = node.next
                todo.append(state)
        return out

    def ways(self, node: Pick | Number, state: CState) -> list[tuple[Term, int]]:
        """Conditions that exclude each other, with the node that each leads to."""
        if isinstance(node, Number):
            number, rows = self.values.word(node.table.number, state.slots, state.locals), dict(node.rows)
            only = self.runner.only(number, state.conditions)
            if only is not None:
                return [(T.TRUE, rows.get(only, node.next))]
            none = T.less("ule", T.const(node.table.size), number)
            gaps = [T.eq(number, T.const(n)) for n in range(node.table.size) if n not in rows]
            return [*((T.eq(number, T.const(n)), to) for n, to in rows.items()), (none, node.next), *((gap, node.next) for gap in gaps)]
        out: list[tuple[Term, int]] = []
        rest = T.TRUE
        for expr, to in node.arms:
            condition = self.values.truth(expr, state.slots, state.locals)
            out.append((T.band(rest, condition), to))
            rest = T.band(rest, T.not_(condition))
        return [*out, (rest, node.next)]

    def called(self, node: Do, state: CState, stop: Stop) -> list[CState]:
        """A function of the kernel runs; what it may change is new."""
        name = next(n for n in stop.names if n in node.names)
        hook = self.spec.hooks.get(name)
        kinds = [kind for kind, _ in hook.params] if hook is not None else ["u64"] * len(node.arguments)
        self.arguments(node, state, name, kinds)
        aligned = self.runner.depth(state) % self.arch.abi.align == 0
        self.add("abi", f"the stack is aligned when {name} is called", node.span, T.boolean(aligned), state)
        value = self.runner.returned(state, name, node.result or (hook.result if hook is not None else "u64"), stop.tail)
        if node.bind:
            state.locals[node.bind] = value
        state.node = node.next
        if node.work is not None:
            state.snapshot, state.stayed_off = (node.work.name, value), T.TRUE
            if node.work.repeat:
                self.cut(node, state)
                return []
        return [state]

    def arguments(self, node: Do, state: CState, name: str, kinds: list[str]) -> None:
        registers = self.arch.abi.args
        if len(kinds) > len(registers):
            raise Stuck(f"{name} takes arguments on the stack")
        same, detail = T.TRUE, ""
        for kind, expr, register in zip(kinds, node.arguments, registers, strict=False):
            bits = 8 if kind == "bool" else int(kind[1:]) if kind[1:].isdigit() else 64
            wanted, actual = (T.extract(t, 0, bits) for t in (self.values.word(expr, state.slots, state.locals), self.runner.read(state, register)))
            same = T.band(same, T.eq(actual, wanted))
            detail += "" if actual is wanted else f"{register} is {T.show(actual)}, {show(expr)} is {T.show(wanted)}; "
        if kinds:
            self.add(node.kind, f"{name} gets {', '.join(show(a) for a in node.arguments)}", node.span, same, state, detail.removesuffix("; "))

    def left(self, node: Node, state: CState, when: str) -> None:
        """What the code has done since the last call: the frame, the interrupts, the memory."""
        different = [s for s in self.frame.slots if self.runner.slot(state, s) is not state.slots[s]]
        same = T.TRUE
        for slot in different:
            same = T.band(same, T.eq(self.runner.slot(state, slot), state.slots[slot]))
        self.add(state.put, f"{self.frame.name} is as the steps left it when {when}", node.span, same, state,
                 "; ".join(f"{s} is {T.show(self.runner.slot(state, s))}, has to be {T.show(state.slots[s])}" for s in different[:3]))
        if state.irqs != "entry":
            kind = node.kind if isinstance(node, Do) else "work" if state.snapshot is not None else "steps"
            self.add(kind, f"interrupts are {state.irqs} when {when}", node.span, self.runner.interrupts(state, state.irqs == "on"), state)
        self.add("memory", f"nothing below the stack pointer is touched before {when}", node.span, T.boolean(not state.faults), state,
                 "; ".join(state.faults[:3]))
        for area in state.areas.values():
            if area.memory is not None:
                counters = self.spec.memories[area.memory].counters.values()
                own = {at for c in counters for at in range(c.offset, c.offset + self.arch.word_bytes * self.rows(c.choice, c.of))}
                extra = sorted(area.written - own)
                self.add("memory", f"nothing but counters is written in {area.memory} before {when}", node.span, T.boolean(not extra), state,
                         f"written at offset {extra[0]:#x}" if extra else "")
        state.faults, state.put = [], "frame"

    def rows(self, choice: str, of: str) -> int:
        """How many counters a row of them has."""
        found = self.spec.choices[choice]
        return len(found.methods) if of == "methods" else sum(len(self.spec.methods[m].clauses) for m in found.methods)

    # ---- system calls ----

    def is_table(self, symbol: str, name: str) -> bool:
        """Does an object hold the functions of a system call table? Linkers put a suffix behind a dot."""
        return symbol.split(".")[0] in (f"{name}_table", f"{name}_{self.frame.name}_table")

    def table(self, steps: Steps, stop: Stop) -> None:
        """A word is read at an address that depends on a value: in a system call's table, the value is the number."""
        state = stop.state
        for node in steps.nodes:
            if not isinstance(node, Number) or not self.is_table(stop.names[0], node.table.name):
                continue
            table, span = node.table, node.span
            address, (first, last) = stop.term, stop.within
            assert address is not None
            number = self.values.word(table.number, {s: self.runner.slot(state, s) for s in self.frame.slots}, state.locals)
            size, word, start = T.const(table.size), self.arch.word_bytes, T.const(first)
            self.add("number", f"the table of {table.name} has a word for each number", span, T.boolean(last + word - first == table.size * word), state,
                     f"it has {last + word - first} bytes")
            self.add("number", f"the table of {table.name} is read for numbers below {table.size}", span, T.less("ult", number, size), state)
            self.add("number", f"the table of {table.name} is read at the number", span,
                     T.eq(address, T.add(start, number, word)), state, f"the address is {T.show(address)}")
            guessed = state.copy()
            guessed.conditions = []             # whatever the CPU guessed about the branches before
            self.add("number", f"with a number from {table.size} on, a wrong guess reads the start of the table of {table.name}", span,
                     T.bor(T.less("ult", number, size), T.eq(address, start)), guessed, f"the address is {T.show(address)}")
            self.seen.add(("table", table.name))

    # ---- the return ----

    def end(self, node: End, state: CState) -> None:
        """Claims where the function returns."""
        runner, abi, span = self.runner, self.arch.abi, node.span
        same = T.eq(runner.read(state, runner.sp), T.add(STACK, T.const(abi.return_address)))
        for register in abi.preserved:
            same = T.band(same, T.eq(runner.read(state, register), T.var(f"entry.{register}")))
        self.add("abi", "preserved registers and the stack pointer are as at the entry", span, same, state)
        for bit in self.lasting:
            before = T.const(self.flags[bit], 1) if bit in self.flags else T.var(f"entry.{bit.name}", 1)
            self.add("abi", f"{bit.name} is at the return what it was at the entry", span, T.eq(runner.read_bit(state, bit), before), state)
        if state.snapshot is not None:
            self.no_work(self.spec.works[state.snapshot[0]], state.snapshot[1], state)
        if node.choice is not None:
            self.method(node.choice, state, span)

    def no_work(self, work: Work, flags: Term, state: CState) -> None:
        if work.repeat:
            names = list(dict.fromkeys(flag for row in work.rows for flag in row.flags))
            mask = sum(1 << self.spec.flag_sets[work.flags][flag] for flag in names)
            self.add("work", f"{work.name}: none of {', '.join(names)} was set when {work.read.name} was called last", work.span,
                     T.eq(T.band(flags, T.const(mask)), T.const(0)), state)
        if work.repeat or not work.irqs_on:
            self.add("work", f"{work.name}: interrupts stay off from the last {work.read.name} to the return", work.span, state.stayed_off, state)

    def method(self, choice: Choice, state: CState, span: Span) -> None:
        """The index that is returned, against the clauses on the frame in memory."""
        slots = {s: self.runner.slot(state, s) for s in self.frame.slots}
        bits = self.spec.result_bits(choice.name)
        index = T.extract(self.runner.read(state, self.arch.abi.result), 0, bits)
        wanted = self.result_of(choice, choice.methods[-1])
        for name in choice.methods:
            number, clauses = self.result_of(choice, name), self.spec.methods[name].clauses
            chosen = T.eq(index, number)
            if chosen is T.FALSE:
                continue
            if self.run.solver.check([*state.conditions, chosen]) == "sat":
                self.seen.add(("method", name))
            for clause in clauses:
                truth = self.values.truth(clause.condition, slots, {})
                self.add("method", f"{name} only when {show(clause.condition)}", clause.span, T.bor(T.not_(chosen), truth), state,
                         f"the index returned is {T.show(index)}")
        for name in reversed(choice.methods[:-1]):
            holds = T.TRUE
            for clause in self.spec.methods[name].clauses:
                holds = T.band(holds, self.values.truth(clause.condition, slots, {}))
            wanted = T.ite(holds, self.result_of(choice, name), wanted)
        self.add("method", "the index is that of the first method whose clauses hold", choice.span, T.eq(index, wanted), state,
                 f"the index returned is {T.show(index)}")
        self.counters(choice, slots, index, state, span)

    def result_of(self, choice: Choice, method: str) -> Term:
        """What C returns for a method: its index, or the address of its exit path."""
        bits = self.spec.result_bits(choice.name)
        if choice.by_address:
            return T.const(self.run.image.symbols.get(self.spec.methods[method].exit, 0), bits)
        return T.const(choice.index(method), bits)

    def counters(self, choice: Choice, slots: dict[str, Term], index: Term, state: CState, span: Span) -> None:
        """One is added to the counter of the method, and to that of the clause that refused each one before it."""
        refused: list[Term] = []
        before = T.TRUE                         # all methods before were refused
        for name in choice.methods:
            holds = before
            for clause in self.spec.methods[name].clauses:
                truth = self.values.truth(clause.condition, slots, {})
                refused.append(T.band(holds, T.not_(truth)))
                holds = T.band(holds, truth)
            before = T.band(before, T.not_(holds))
        taken = [T.eq(index, self.result_of(choice, name)) for name in reversed(choice.methods)]
        for area in state.areas.values():
            for row in self.spec.memories[area.memory].counters.values() if area.memory is not None else ():
                if row.choice != choice.name:
                    continue
                right = T.TRUE
                for i, once in enumerate(taken if row.of == "methods" else refused):
                    at, word = row.offset + i * self.arch.word_bytes, self.arch.word_bytes
                    first = self.runner.untouched(area, at, word)
                    right = T.band(right, T.eq(self.runner.content(area, at, word), T.add(first, T.resize(once, 64))))
                self.add("counter", f"{row.name} of {area.memory} counts", row.span, right, state)

    # ---- cut points ----

    def cut(self, node: Do, state: CState) -> None:
        """A state arrives where flags were just read. What differs from earlier arrivals is forgotten."""
        state.seen, state.free = set(), frozenset()
        key = (state.pc, state.calls, state.finished, self.runner.depth(state), state.node, state.irqs)
        known = self.cuts.get(key)
        if known is None:
            self.cuts[key] = state
        elif not self.merge(known, state, node.bind):
            return
        if key not in self.pending:
            self.pending.append(key)

    def merge(self, old: CState, new: CState, fresh: str) -> bool:
        """Forget in `old` what `new` does not share. True: something was forgotten.

        What is forgotten gets a variable that nothing else in `old` mentions, so that whatever `new` has there is a value of it.
        """
        runner, before = self.runner, len(old.free)
        for name in self.arch.abi.preserved:
            if name not in old.free and runner.read(old, name) is not runner.read(new, name):
                runner.write(old, name, T.var(f"{name} in any round {next(self.widened)}"))
                old.free |= {name}
        for bit in runner.kept:
            if bit.name not in old.free and runner.read_bit(old, bit) is not runner.read_bit(new, bit):
                runner.write_bit(old, bit, T.var(f"{bit.name} in any round {next(self.widened)}", 1))
                old.free |= {bit.name}
        stack, word = old.areas[STACK], self.arch.word_bytes
        lost = {at // word for at, cell in stack.content.cells.items() if new.areas[STACK].content.cells.get(at) != cell}
        if lost:
            stack.content = Bytes({at: cell for at, cell in stack.content.cells.items() if at // word not in lost})
            stack.mark = f"any round {next(self.widened)}"
        areas = {base: area for base, area in old.areas.items() if base in new.areas}
        names = {name: value for name, value in old.locals.items() if name == fresh or new.locals.get(name) is value}
        conditions = [c for c in old.conditions if c in new.conditions]
        known = {term: value for term, value in old.known.items() if new.known.get(term) == value}
        changed = (len(areas), len(names), len(conditions), len(known)) != (len(old.areas), len(old.locals), len(old.conditions), len(old.known))
        old.areas, old.locals, old.conditions, old.known = areas, names, conditions, known
        return changed or bool(lost) or len(old.free) > before
