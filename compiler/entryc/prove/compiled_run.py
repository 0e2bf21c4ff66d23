"""Compiled C as a symbolic machine: every path of one function, calls of the kernel's C cut out by their contract.

The executor of `machine.py` follows generated stubs, in which each instruction has a row in the .arch file. A compiler uses whatever the CPU has, so here
an instruction without a row is taken from the lifter alone, as long as it touches nothing but declared registers, memory, and what the lifter keeps for
itself. Everything else stops the path with a reason: such a path is never proved.

Memory is what C may reach: its own stack, the frame that it is given, the blocks whose address a hook returned, and constants of the image. An address that
depends on a value (a table, a counter) is split into one path for each value that it can have.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count

from ..image.c_contract import Known, idle
from ..image.lift import Instruction, Lifter, Op, Place
from ..model.arch import Assign
from ..model.expr import Bit, Num
from ..model.spec import Frame, Spec
from . import terms as T
from .compiled_data import Constants
from .pcode import pcode
from .solver import RLIMIT, Solver
from .state import Bytes, Stuck
from .terms import Term

MOST_VALUES = 512
MOST_CALLS = 16
MOST_STEPS = 40_000                             # instructions of one handler, on all its paths
DEEPEST = 65536
RETURN_ADDRESS = T.var("return.address")
STACK = T.var("stack")


class Split(Exception):
    """An address that depends on a value: each value is a path of its own. `area`: what it is an offset in; None: it is an address of a constant."""

    def __init__(self, term: Term, size: int, area: Area | None = None, jump: bool = False) -> None:
        self.term, self.size, self.area, self.jump = term, size, area, jump


@dataclass
class Area:
    """Memory that C may touch: offsets low..high from its base. `memory`: the spec's block that it is."""

    base: Term
    name: str
    low: int
    high: int
    content: Bytes
    mark: str                                   # what its unknown bytes are named after
    memory: str | None = None
    written: frozenset[int] = frozenset()       # offsets of bytes that were stored to


@dataclass
class CState:
    """A machine state inside C. `calls`: return addresses of its own functions that are being run; `node`: what the spec says comes next."""

    pc: int
    registers: Bytes
    flags: dict[int, Term]                      # flag bits that the lifter does not keep
    areas: dict[Term, Area]
    conditions: list[Term]
    faults: list[str]
    mark: str                                   # what unknown values are named after
    calls: tuple[int, ...] = ()
    known: dict[Term, int] = field(default_factory=dict)        # values of terms that were split
    seen: set[tuple[int, tuple[int, ...]]] = field(default_factory=set)
    finished: bool = False                      # the function is about to return
    node: int = 0
    locals: dict[str, Term] = field(default_factory=dict)
    slots: dict[str, Term] = field(default_factory=dict)        # what the spec says that the frame holds
    put: str = "frame"                          # the kind of a claim about them
    irqs: str = "entry"                         # what the spec says about interrupts: entry, on, off
    stayed_off: Term = T.TRUE                   # interrupts were off after every instruction since flags were read
    snapshot: tuple[str, Term] | None = None    # exit work, and the flags read last
    table: str = ""                             # the table read last, since the last call
    through: str = ""                           # the table that a call went through
    free: frozenset[str] = frozenset()          # at a cut point: registers and flags of which nothing is known

    def copy(self) -> CState:
        other = copy.copy(self)
        other.registers, other.flags, other.known = self.registers.copy(), dict(self.flags), dict(self.known)
        other.areas = {base: copy.copy(area) for base, area in self.areas.items()}
        for area in other.areas.values():
            area.content = area.content.copy()
        other.conditions, other.faults, other.seen = list(self.conditions), list(self.faults), set(self.seen)
        other.locals, other.slots = dict(self.locals), dict(self.slots)
        return other


@dataclass
class Stop:
    """Where a path leaves what the machine can do alone. kind: call, return, table, stuck; `names`: the functions at the address that is called."""

    kind: str
    state: CState
    address: int
    names: tuple[str, ...] = ()
    text: str = ""
    term: Term | None = None
    within: tuple[int, int] = (0, 0)            # table: the first and the last place that may be read
    tail: bool = False


class CRunner:
    """Runs one function of an image. `externs`: functions that the kernel supplies; all else that is called is followed."""

    def __init__(self, spec: Spec, lifter: Lifter, solver: Solver, constants: Constants, known: Known, frame: Frame, kept: Iterable[Bit],
                 externs: dict[int, tuple[str, ...]], start: int) -> None:
        self.spec, self.arch, self.abi, self.frame, self.start = spec, spec.arch, spec.arch.abi, frame, start
        self.lifter, self.solver, self.constants, self.known, self.externs = lifter, solver, constants, known, externs
        self.places = {name: lifter.place(name) for name in spec.arch.registers}
        flags = spec.arch.registers[spec.arch.of_kind("flags")]
        self.flag_places = {bit: lifter.registers[name.lower()] for name, bit in flags.lifter_bits.items()}
        self.sp = spec.arch.of_kind("stack")
        self.outside = {a: n for a, n in constants.shared.items() if a not in externs and a != start}
        self.kept = tuple(kept)                 # flag places that a call leaves as they are
        self.address = T.var(f"&{frame.name}")
        self.numbers = count(1)
        self.deepest = self.ran = 0
        self.visited: set[int] = set()
        self.jumps: dict[int, set[int]] = {}    # where computed jumps lead
        self.on, self.off = (tuple((e.place, e.value.value) for e in spec.arch.forms[name].effects
                                   if isinstance(e, Assign) and isinstance(e.place, Bit) and isinstance(e.value, Num)) for name in spec.arch.irqs)
        self.touched: list[tuple[int, str]] = []

    # ---- registers ----

    def read(self, state: CState, name: str) -> Term:
        place = self.places[name]
        if place is None:
            raise Stuck(f"the lifter does not know {name}")
        return T.resize(self.load(state, place), 64)

    def load(self, state: CState, place: Place) -> Term:
        return state.registers.load(place.offset, place.size, lambda offset, size: T.var(f"register.{offset:x}.{size}#{state.mark}", size * 8))

    def write(self, state: CState, name: str, value: Term) -> None:
        place = self.places[name]
        assert place is not None
        state.registers.store(place.offset, T.resize(value, place.size * 8))

    def read_bit(self, state: CState, bit: Bit) -> Term:
        if bit.bit in self.flag_places:
            return T.extract(self.load(state, self.flag_places[bit.bit]), 0, 1)
        return state.flags.setdefault(bit.bit, T.var(f"{bit.name}#{state.mark}", 1))

    def write_bit(self, state: CState, bit: Bit, value: Term) -> None:
        if bit.bit in self.flag_places:
            place = self.flag_places[bit.bit]
            state.registers.store(place.offset, T.resize(value, place.size * 8))
        else:
            state.flags[bit.bit] = value

    def interrupts(self, state: CState, on: bool) -> Term:
        """Are the flags as the form that lets interrupts in (or keeps them out) leaves them?"""
        out = T.TRUE
        for bit, value in self.on if on else self.off:
            out = T.band(out, T.eq(self.read_bit(state, bit), T.const(value, 1)))
        return out

    # ---- states ----

    def entered(self, flags: dict[Bit, int]) -> CState:
        """The function's entry. The frame's address is its argument; nothing is known of the other registers."""
        state = CState(self.start, Bytes(), {}, {}, [], [], "entry")
        for name, place in self.places.items():
            if place is not None and name != self.arch.of_kind("pc"):
                self.write(state, name, T.var(f"entry.{name}"))
        self.write(state, self.abi.args[0], self.address)
        self.write(state, self.sp, STACK)
        state.areas[STACK] = Area(STACK, "its stack", -DEEPEST, self.abi.return_address, Bytes(), "entry")
        if self.abi.link is not None:
            self.write(state, self.abi.link, RETURN_ADDRESS)
        else:
            state.areas[STACK].content.store(0, RETURN_ADDRESS)
        for bit in self.kept:
            self.write_bit(state, bit, T.var(f"entry.{bit.name}", 1))
        for bit, value in flags.items():
            self.write_bit(state, bit, T.const(value, 1))
        state.areas[self.address] = Area(self.address, self.frame.name, 0, self.frame.size, Bytes(), "entry")
        self.new_frame(state)
        return state

    def new_frame(self, state: CState) -> None:
        """Nothing is known of the frame any more. The spec's view of it is the same."""
        content = state.areas[self.address].content = Bytes()
        for slot in self.frame.slots.values():
            state.slots[slot.name] = T.var(f"{self.frame.name}.{slot.name}#{state.mark}")
            content.store(slot.offset, state.slots[slot.name])

    def slot(self, state: CState, name: str) -> Term:
        """What memory holds in a slot of the frame."""
        return self.content(state.areas[self.address], self.frame.slots[name].offset, self.arch.word_bytes)

    def content(self, area: Area, offset: int, size: int) -> Term:
        return area.content.load(offset, size, lambda o, n: self.untouched(area, o, n))

    def untouched(self, area: Area, offset: int, size: int) -> Term:
        """What bytes hold that were not written since the last call."""
        return T.var(f"{area.name}{offset:+#x}.{size}#{area.mark}", size * 8)

    def own(self, address: Term) -> int | None:
        """The offset of an address in the function's stack."""
        difference = T.sub(address, STACK).value
        return None if difference is None else _signed(difference)

    def depth(self, state: CState) -> int:
        found = self.own(self.read(state, self.sp))
        if found is None:
            raise Stuck(f"the stack pointer is {T.show(self.read(state, self.sp))}")
        self.deepest = min(self.deepest, found)
        return found

    def returned(self, state: CState, name: str, kind: str, tail: bool) -> Term:
        """A function of the kernel has run: what a call may change is new, the frame and all blocks included. Gives its result."""
        below = self.depth(state) + self.abi.return_address
        back = None if not tail else self.read(state, self.abi.link) if self.abi.link is not None else \
            self.content(state.areas[STACK], below - self.abi.return_address, self.abi.return_address)
        state.mark = str(next(self.numbers))
        self.write(state, self.sp, T.add(STACK, T.const(below)))
        before, state.registers = state.registers, Bytes()
        places = [self.places[n] for n in (*self.abi.preserved, self.sp)] + [self.flag_places.get(b.bit) for b in self.kept]
        for place in places:
            if place is not None:
                state.registers.cells |= {at: cell for at, cell in before.cells.items() if place.offset <= at < place.offset + place.size}
        state.flags = {b.bit: state.flags[b.bit] for b in self.kept if b.bit in state.flags}
        self.new_frame(state)
        stack, state.table, state.through = state.areas[STACK], "", ""
        stack.content = Bytes({at: cell for at, cell in stack.content.cells.items() if at >= below})
        stack.mark = state.mark
        for area in state.areas.values():
            if area.memory is not None:
                area.content, area.mark, area.written = Bytes(), state.mark, frozenset()
        value = self.result(state, f"{name}()#{state.mark}", kind)
        if back is not None:
            self.back(state, back)
        return value

    def result(self, state: CState, name: str, kind: str) -> Term:
        """A result as the ABI gives it: what is above its width is anything, a bool is 0 or 1 in eight bits."""
        if kind in self.spec.memories:
            state.areas = {b: a for b, a in state.areas.items() if a.memory != kind}        # the last one could be the same block
            base = T.var(name)
            state.areas[base] = Area(base, kind, 0, self.spec.memories[kind].size, Bytes(), state.mark, kind)
            self.write(state, self.abi.result, base)
            return base
        bits = 1 if kind == "bool" else int(kind[1:]) if kind[1:].isdigit() else 64
        value = T.var(name, bits)
        low = T.resize(value, max(bits, 8))
        whole = low if low.width == 64 else T.concat(T.var(f"{name}.high", 64 - low.width), low)
        self.write(state, self.abi.result, whole)
        return T.resize(value, 64, kind.startswith("s"))

    def back(self, state: CState, target: Term) -> None:
        """A return: to a function of its own, or out of it."""
        if target is RETURN_ADDRESS and not state.calls:
            state.finished = True
        elif target.value is not None and state.calls and target.value == state.calls[-1]:
            state.pc, state.calls = target.value, state.calls[:-1]
        else:
            raise Stuck(f"a return to {T.show(target)}")

    # ---- memory ----

    def access(self, state: CState, address: Term, size: int, write: Term | None) -> Term:
        """Load (write None) or store. What is not declared stops the path."""
        address = self.settled(state, address)
        what = f"{'store to' if write is not None else 'load from'} {T.show(address)}"
        parts, _ = T.linear(address)
        bases = [t for t in parts if t in state.areas]
        if not bases:
            return self.constant(address, size, what, write is not None)
        area = state.areas[bases[0]]
        offset = T.sub(address, bases[0])
        if offset.value is None:
            if len(bases) > 1 or area.base is STACK:
                raise Stuck(f"a {what}")
            raise Split(offset, size, area)
        at = _signed(offset.value)
        if not area.low <= at <= area.high - size:
            raise Stuck(f"a {what}: outside of {area.name}")
        if area.base is STACK:
            self.touched.append((at, what))
        if write is None:
            return self.content(area, at, size)
        if area.base is not STACK and any(leaf is STACK for leaf in T.leaves(write)):
            raise Stuck(f"the address of its stack goes to {area.name}")
        area.content.store(at, write)
        area.written |= set(range(at, at + size))
        return write

    def settled(self, state: CState, address: Term) -> Term:
        """An address with what is known of the values in it."""
        if address in state.known:
            return T.const(state.known[address])
        for base in state.areas:
            rest = T.sub(address, base)
            if rest in state.known:
                return T.add(base, T.const(state.known[rest]))
        return address

    def constant(self, address: Term, size: int, what: str, write: bool) -> Term:
        """Memory that belongs to nobody: only constants of the image may be read."""
        if not write and address.value is None:
            raise Split(address, size)
        found = self.constants.read(address.value, size) if address.value is not None and not write else None
        if found is None:
            raise Stuck(f"a {what}: that is neither its stack, nor {self.frame.name}, nor a block that a hook returned")
        return T.const(found, size * 8)

    # ---- running ----

    def explore(self, start: CState, handle: Callable[[Stop], list[CState]]) -> None:
        """All paths from a state. `handle` gets each stop, and gives the states in which paths go on."""
        todo = [start]
        while todo:
            state = todo.pop()
            while True:
                self.ran += 1
                address = state.pc
                before = state.copy()
                try:
                    if self.ran > MOST_STEPS:
                        raise Stuck("too many instructions")
                    result = self.advance(state)
                except Split as split:
                    todo += self.split(before, split, handle)
                    break
                except Stuck as problem:
                    handle(Stop("stuck", state, address, text=str(problem)))
                    break
                if isinstance(result, Stop):
                    todo += handle(result)
                    break
                if result is not None:
                    todo.append(result)

    def split(self, state: CState, split: Split, handle: Callable[[Stop], list[CState]]) -> list[CState]:
        """One path for each value of a term."""
        term, name = split.term, ""
        try:
            if not split.jump:
                low, high, name = self.bounds(state, split)
                handle(Stop("table", state, state.pc, (name,), term=term, within=(low, high)))
                inside = T.less("ule", T.sub(term, T.const(low)), T.const(high - low))
                if self.solver.check([*state.conditions, T.not_(inside)]) != "unsat":
                    raise Stuck(f"{T.show(term)} is not known to stay inside of {name}")
            values = self.values(term, state.conditions)
        except Stuck as problem:
            handle(Stop("stuck", state, state.pc, text=str(problem)))
            return []
        out: list[CState] = []
        for value in values:
            other = state.copy()
            other.known[term], other.table = value, other.table if split.jump or split.area is not None else name
            other.conditions.append(T.eq(term, T.const(value)))
            out.append(other)
        return out

    def bounds(self, state: CState, split: Split) -> tuple[int, int, str]:
        """The first and the last place that may be reached, and the name of what is there: that which one of the values leads to."""
        if split.area is not None:
            return split.area.low, split.area.high - split.size, split.area.name
        one = self.values(split.term, state.conditions, 1, True)
        block = self.constants.block(one[0]) if one else None
        if block is None:
            raise Stuck(f"a load from {T.show(split.term)}: that is neither its stack, nor {self.frame.name}, nor a block that a hook returned, nor a table")
        return block.start, block.end - split.size, block.name

    def only(self, term: Term, conditions: list[Term]) -> int | None:
        """The value that a term has, when it has only one."""
        if term.value is not None:
            return term.value
        try:
            found = self.values(term, conditions, 1)
        except Stuck:
            return None
        return found[0] if found else None

    def values(self, term: Term, conditions: list[Term], most: int = MOST_VALUES, some: bool = False) -> list[int]:
        """All values that a term can have; `some`: no more than `most` of them."""
        import z3
        solver = z3.SolverFor("QF_BV")
        solver.set("rlimit", RLIMIT)
        solver.set("random_seed", 0)
        for condition in conditions:
            solver.add(T.to_solver(condition) == 1)
        wanted = T.to_solver(term)
        out: list[int] = []
        while True:
            answer = solver.check()
            if answer == z3.unsat or (some and len(out) == most):
                return sorted(out)
            if answer != z3.sat or len(out) == most:
                raise Stuck(f"{T.show(term)} can have too many values")
            value = solver.model().eval(wanted, model_completion=True)
            out.append(value.as_long())
            solver.add(wanted != value)

    def advance(self, state: CState) -> Stop | CState | None:
        """One instruction. A Stop ends what the machine can do alone; a state is the other side of a branch."""
        if state.finished:
            return Stop("return", state, state.pc)
        if state.pc in self.externs:
            return Stop("call", state, state.pc, self.externs[state.pc], tail=True)
        if state.pc in self.outside:
            raise Stuck(f"{self.outside[state.pc][0]} is called, of which the spec says nothing")
        instruction = self.lifter.at(state.pc)
        if instruction.problem is not None:
            raise Stuck(f"{instruction.text}: {instruction.problem}")
        if (state.pc, state.calls) in state.seen:
            raise Stuck("a loop that is no exit work of the spec")
        state.seen.add((state.pc, state.calls))
        self.visited.add(state.pc)
        self.touched = []
        low = self.depth(state)
        result = self.instruction(state, instruction)
        low = min(low, self.depth(state))
        state.faults += [f"{instruction.address:#x}: {what}: below the stack pointer, where an event may write at any time"
                         for at, what in self.touched if at < low]
        if state.snapshot is not None:
            state.stayed_off = T.band(state.stayed_off, self.interrupts(state, False))
        return result

    def instruction(self, state: CState, instruction: Instruction) -> Stop | CState | None:
        form, following = instruction.form, state.pc + instruction.size
        if form is not None and "overlay" in form.traits:
            if form.role in ("return", "stop") or \
                    not all(isinstance(e, Assign) and isinstance(e.place, Bit) and isinstance(e.value, Num) for e in form.effects):
                raise Stuck(f"{instruction.text} has no place in C")
            for effect in form.effects:
                assert isinstance(effect, Assign) and isinstance(effect.place, Bit) and isinstance(effect.value, Num)
                self.write_bit(state, effect.place, T.const(effect.value.value, 1))
            state.pc = following
            return None
        if form is None and not instruction.ops and not idle(instruction):
            raise Stuck(f"{instruction.text}: neither the lifter nor the .arch file says what it does")
        foreign = self.known.foreign(instruction)
        if foreign is not None:
            raise Stuck(f"{instruction.text} uses {foreign}, which the .arch file does not declare")
        return self.perform(state, instruction, following)

    def perform(self, state: CState, instruction: Instruction, following: int) -> Stop | CState | None:
        """The p-code of one instruction. A forward jump inside it (a conditional move) makes what it skips conditional."""
        unique, ops = Bytes(), instruction.ops
        active: Term = T.TRUE
        joins: dict[int, Term] = {}
        for index, op in enumerate(ops):
            active = T.bor(active, joins.get(index, T.FALSE))
            if active is T.FALSE:
                continue
            if op.name in ("BRANCH", "CBRANCH"):
                goal = self.inside(op, index, following, len(ops))
                condition = T.TRUE if op.name == "BRANCH" else T.extract(self.fetch(state, unique, op.inputs[1]), 0, 1)
                if goal is not None:
                    joins[goal] = T.bor(joins.get(goal, T.FALSE), T.band(active, condition))
                    active = T.band(active, T.not_(condition))
                    continue
            if active is not T.TRUE and (op.name in ("LOAD", "STORE") or op.output is None):
                raise Stuck(f"{instruction.text}: a part of it that is not always done")
            if op.name in ("BRANCH", "CBRANCH", "CALL", "CALLIND", "BRANCHIND", "RETURN", "CALLOTHER"):
                done, result = self.flow(state, instruction, op, unique, following, index == len(ops) - 1)
                if done:
                    return result
                continue
            if op.name == "STORE":
                self.access(state, self.fetch(state, unique, op.inputs[1]), op.inputs[2].size, self.fetch(state, unique, op.inputs[2]))
                continue
            assert op.output is not None
            self.deposit(state, unique, op.output, self.calculate(state, unique, op), active, instruction)
        state.pc = following
        return None

    def inside(self, op: Op, index: int, following: int, last: int) -> int | None:
        """Where a jump inside an instruction goes; None when it leaves it."""
        target = op.inputs[0]
        if target.space == "const":
            offset = target.offset - (1 << target.size * 8) if target.offset >> (target.size * 8 - 1) else target.offset
            if offset <= 0:
                raise Stuck("a loop inside one instruction")
            return index + offset
        return last if target.offset == following and index != last - 1 else None

    def flow(self, state: CState, instruction: Instruction, op: Op, unique: Bytes, following: int, last: bool) -> tuple[bool, Stop | CState | None]:
        """Calls, jumps, returns. True: the instruction is over."""
        if op.name == "CALLOTHER":
            if instruction.form is not None and ("event" in instruction.form.traits or instruction.form.role in ("fence", "mark")) and op.output is None:
                return False, None
            raise Stuck(f"{instruction.text}: the lifter has no semantics and the .arch file has no overlay row")
        if op.name == "CBRANCH":
            if not last:
                raise Stuck(f"{instruction.text}: a branch in the middle of it")
            return True, self.branch(state, op.inputs[0].offset, following, T.extract(self.fetch(state, unique, op.inputs[1]), 0, 1))
        if op.name == "BRANCH":
            state.pc = op.inputs[0].offset
            return True, None
        target = T.const(op.inputs[0].offset) if op.name == "CALL" else self.fetch(state, unique, op.inputs[0])
        if op.name == "RETURN":
            self.back(state, target)
            return True, None
        target = self.settled(state, target)
        if target.value is None:
            if not T.linear(target)[1]:
                raise Stuck(f"{instruction.text}: it goes to {T.show(target)}")
            raise Split(target, 0, jump=True)
        address, state.pc = state.pc, target.value
        if op.name == "BRANCHIND":
            self.jumps.setdefault(address, set()).add(target.value)
            return True, None
        if op.name == "CALLIND":
            state.through = state.table or "a computed address"
        return True, self.enter(state, target.value, following)

    def branch(self, state: CState, target: int, following: int, condition: Term) -> CState | None:
        """Both ways, as far as they can be taken."""
        taken = self.possible(state, condition)
        other = not taken or self.possible(state, T.not_(condition))
        second = state.copy() if taken and other else None
        if second is not None:
            second.pc = following
            second.conditions.append(T.not_(condition))
            state.conditions.append(condition)
        state.pc = target if taken else following
        return second

    def possible(self, state: CState, condition: Term) -> bool:
        """Can a condition hold on this path?"""
        if condition.value is not None or condition in state.conditions:
            return condition is not T.FALSE
        return T.not_(condition) not in state.conditions and self.solver.feasible([*state.conditions, condition])

    def enter(self, state: CState, target: int, following: int) -> Stop | None:
        if target in self.externs:
            state.pc = following
            return Stop("call", state, target, self.externs[target])
        if target in self.outside or not self.lifter.image.bytes_at(target, 1):
            raise Stuck(f"{self.outside.get(target, [hex(target)])[0]} is called, of which the spec says nothing")
        if len(state.calls) == MOST_CALLS:
            raise Stuck("too many calls inside each other")
        state.calls += (following,)
        return None

    def fetch(self, state: CState, unique: Bytes, place: Place) -> Term:
        if place.space == "const":
            return T.const(place.offset, place.size * 8)
        if place.space == "unique":
            if any(place.offset + i not in unique.cells for i in range(place.size)):
                raise Stuck("the lifter reads a temporary that it has not written")
            return unique.load(place.offset, place.size, lambda offset, size: T.const(0, size * 8))
        if place.space == "register":
            return self.load(state, place)
        return self.access(state, T.const(place.offset), place.size, None)

    def deposit(self, state: CState, unique: Bytes, place: Place, value: Term, active: Term, instruction: Instruction) -> None:
        value = T.resize(value, place.size * 8)
        if place.space == "unique":
            whole = all(place.offset + i in unique.cells for i in range(place.size))
            unique.store(place.offset, T.ite(active, value, self.fetch(state, unique, place)) if active is not T.TRUE and whole else value)
        elif place.space == "register":
            if self.known.system(place) is not None:
                raise Stuck(f"{instruction.text} writes {self.known.system(place)}, which C leaves alone")
            state.registers.store(place.offset, T.ite(active, value, self.load(state, place)))
        elif active is not T.TRUE:
            raise Stuck(f"{instruction.text}: a part of it that is not always done")
        else:
            self.access(state, T.const(place.offset), place.size, value)

    def calculate(self, state: CState, unique: Bytes, op: Op) -> Term:
        assert op.output is not None
        width = op.output.size * 8
        if op.name == "LOAD":
            return self.access(state, self.fetch(state, unique, op.inputs[1]), op.output.size, None)
        values = [self.fetch(state, unique, p) for p in op.inputs]
        if op.name == "INT_LEFT" and values[1].value is not None and values[1].value < width:
            return T.mul(values[0], T.const(1 << values[1].value, width))       # a sum stays a sum
        return pcode(op.name, values, width)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
