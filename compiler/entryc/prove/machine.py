"""A symbolic machine: registers, memory in regions with declared bases, ghost states; runs lifted code on all states at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..image.lift import Instruction, Lifter, Op, Place
from ..model.arch import Arch, Assign, Swap
from ..model.build_steps import flat_steps
from ..model.expr import Binary, Bit, Cast, Expr, Mem, Num, Operand, Reg, Unary
from ..model.spec import Call, Configuration, Jump, SetState, Spec, Transition
from . import terms as T
from .terms import Term

STEP_LIMIT = 4000


class Stuck(Exception):
    """The machine cannot go on; the message says why. The path is not proved."""


class Bytes:
    """A map from offsets to bytes, each a piece of a term, so that a whole value stored is loaded as the same term."""

    def __init__(self, cells: dict[int, tuple[Term, int]] | None = None) -> None:
        self.cells = cells or {}

    def copy(self) -> Bytes:
        return Bytes(dict(self.cells))

    def store(self, offset: int, value: Term) -> None:
        for index in range(value.width // 8):
            self.cells[offset + index] = (value, index)

    def load(self, offset: int, size: int, fresh: Callable[[int, int], Term]) -> Term:
        """`fresh(offset, size)` gives the initial content of bytes that were never written."""
        cells = self.cells
        if not any(offset + i in cells for i in range(size)):
            self.store(offset, fresh(offset, size))
        for index in range(size):
            if offset + index not in cells:
                self.store(offset + index, fresh(offset + index, 1))
        term, start = cells[offset]
        if all(cells[offset + i] == (term, start + i) for i in range(size)):
            return T.extract(term, start * 8, size * 8)
        value: Term | None = None
        for index in range(size):
            term, part = cells[offset + index]
            piece = T.extract(term, part * 8, 8)
            value = piece if value is None else T.concat(piece, value)
        assert value is not None
        return value


@dataclass
class Region:
    """Memory that may be touched: offsets low..high from its base term. `memory`: the spec's block whose needs apply."""

    base: Term
    name: str
    low: int
    high: int
    content: Bytes
    memory: str | None = None
    epoch: int = 0
    seeds: dict[int, Term] = field(default_factory=dict)
    written: frozenset[int] = frozenset()       # offsets of bytes that were stored to


@dataclass(frozen=True)
class Access:
    """A memory access that broke a rule."""

    address: int
    text: str


@dataclass
class State:
    """One symbolic machine state."""

    pc: int
    registers: Bytes
    extra: dict[str, Term]
    regions: dict[Term, Region]
    ghosts: dict[str, str]
    conditions: list[Term]
    faults: list[Access]
    trace: list[int]
    epoch: int = 0
    decided: int = 0

    def copy(self) -> State:
        regions = {b: Region(r.base, r.name, r.low, r.high, r.content.copy(), r.memory, r.epoch, r.seeds, r.written) for b, r in self.regions.items()}
        return State(self.pc, self.registers.copy(), dict(self.extra), regions, dict(self.ghosts), list(self.conditions),
                     list(self.faults), list(self.trace), self.epoch, self.decided)


@dataclass
class Ending:
    """How a path ended: kind call, jump, return, stop, stuck; `name`: the C function or the return form."""

    kind: str
    name: str
    state: State
    address: int


class Machine:
    """Runs one image under one spec and configuration. Holds no state of a path."""

    def __init__(self, spec: Spec, configuration: Configuration, lifter: Lifter, feasible: Callable[[list[Term]], bool]) -> None:
        self.spec, self.arch, self.configuration = spec, spec.arch, configuration
        self.lifter, self.feasible = lifter, feasible
        self.places = {name: lifter.place(name) for name in spec.arch.registers}
        self.flags = spec.arch.registers[spec.arch.of_kind("flags")]
        self.flag_places = {bit: lifter.registers[name.lower()] for name, bit in self.flags.lifter_bits.items()}
        callees = {step.callee for path in spec.paths.values() for step in flat_steps(path.steps) if isinstance(step, (Call, Jump))}
        self.calls = {address: name for name, address in lifter.image.symbols.items() if name in callees}
        self.sp = spec.arch.of_kind("stack")
        self.ghost_moves: dict[str, dict[str, list[Transition]]] = {}
        for ghost in (s for s in spec.states.values() if s.ghost):
            for move in ghost.transitions:
                self.ghost_moves.setdefault(move.form, {}).setdefault(ghost.name, []).append(move)
        opening = spec.arch.forms.get(spec.arch.irqs[0])
        opened = {(e.place.name, e.value.value) for e in (opening.effects if opening else ())
                  if isinstance(e, Assign) and isinstance(e.place, Bit) and isinstance(e.value, Num)}
        wanted = {(step.subject, step.value) for path in spec.paths.values() for step in flat_steps(path.steps) if isinstance(step, SetState)}
        self.opens_irqs = opening.name if opening is not None and not opened & wanted else None

    # ---- registers ----

    def read(self, state: State, name: str) -> Term:
        """A register's value, 64 bits (or its own width, zero-extended)."""
        if name == self.flags.name:
            return self.read_flags(state)
        place = self.places[name]
        if place is None:
            return state.extra.setdefault(name, T.var(f"{name}@{state.epoch}"))
        return T.resize(self.load_register(state, place), 64)

    def load_register(self, state: State, place: Place) -> Term:
        return state.registers.load(place.offset, place.size, lambda offset, size: T.var(f"lifter.{offset:x}.{size}@{state.epoch}", size * 8))

    def write(self, state: State, name: str, value: Term) -> None:
        if name == self.flags.name:
            self.write_flags(state, value)
            return
        place = self.places[name]
        if place is None:
            state.extra[name] = value
        else:
            state.registers.store(place.offset, T.resize(value, place.size * 8))

    def read_flags(self, state: State) -> Term:
        whole = state.extra.setdefault(self.flags.name, T.var(f"flags@{state.epoch}"))
        changed = False
        for bit, place in self.flag_places.items():
            current = T.extract(self.load_register(state, place), 0, 1)
            if current is not T.extract(whole, bit, 1):
                changed = True
        if not changed:
            return whole
        parts = [T.extract(self.load_register(state, self.flag_places[b]), 0, 1) if b in self.flag_places else T.extract(whole, b, 1) for b in range(64)]
        value = parts[0]
        for part in parts[1:]:
            value = T.concat(part, value)
        return value

    def write_flags(self, state: State, value: Term) -> None:
        state.extra[self.flags.name] = value
        for bit, place in self.flag_places.items():
            state.registers.store(place.offset, T.resize(T.extract(value, bit, 1), place.size * 8))

    def read_bit(self, state: State, bit: Bit) -> Term:
        if bit.bit in self.flag_places:
            return T.extract(self.load_register(state, self.flag_places[bit.bit]), 0, 1)
        return T.extract(state.extra.setdefault(self.flags.name, T.var(f"flags@{state.epoch}")), bit.bit, 1)

    def write_bit(self, state: State, bit: Bit, value: Term) -> None:
        one = T.extract(value, 0, 1)
        if bit.bit in self.flag_places:
            place = self.flag_places[bit.bit]
            state.registers.store(place.offset, T.resize(one, place.size * 8))
        else:
            whole = state.extra.setdefault(self.flags.name, T.var(f"flags@{state.epoch}"))
            mask = T.const(~(1 << bit.bit))
            state.extra[self.flags.name] = T.bor(T.band(whole, mask), T.shift("shl", T.resize(one, 64), T.const(bit.bit)))

    # ---- memory ----

    def region(self, state: State, address: Term) -> tuple[Region, int] | None:
        parts, offset = T.linear(address)
        if len(parts) != 1:
            return None
        base, factor = next(iter(parts.items()))
        if factor != 1 or base not in state.regions:
            return None
        signed = offset - (1 << 64) if offset >> 63 else offset
        return state.regions[base], signed

    def access(self, state: State, address: Term, size: int, write: Term | None) -> Term:
        """Load (write None) or store through a declared base; anything else is a fault of the path."""
        found = self.region(state, address)
        if found is None:
            state.faults.append(Access(state.pc, f"{'store to' if write else 'load from'} {T.show(address)}: no declared memory"))
            raise Stuck("an access through an undeclared base")
        region, offset = found
        if not region.low <= offset <= region.high - size:
            state.faults.append(Access(state.pc, f"{'store to' if write else 'load from'} {region.name}{offset:+#x}: outside of it"))
        if region.memory is None:
            top = self.region(state, self.read(state, self.sp))
            if top is not None and top[0] is region and offset < top[1]:
                state.faults.append(Access(state.pc, f"{'store to' if write else 'load from'} {region.name}{offset:+#x}: below the stack pointer, "
                                                     "where an event may write at any time"))
        if region.memory is not None:
            self.check_needs(state, region.memory)
        if write is not None:
            region.content.store(offset, write)
            region.written |= set(range(offset, offset + size))
            return write
        return self.content(region, offset, size)

    def content(self, region: Region, offset: int, size: int) -> Term:
        """What a region holds at an offset, without the rules for an access by code."""
        return region.content.load(offset, size, lambda o, n: self.initial(region, o, n))

    def initial(self, region: Region, offset: int, size: int) -> Term:
        if size == 8 and offset in region.seeds:
            return region.seeds[offset]
        return T.var(f"{region.name}{offset:+#x}.{size}@{region.epoch}", size * 8)

    def check_needs(self, state: State, memory: str) -> None:
        for need in self.spec.memories[memory].needs:
            if not self.configuration.holds(need.guard):
                continue
            if need.subject in state.ghosts and state.ghosts[need.subject] != need.value:
                state.faults.append(Access(state.pc, f"memory {memory} needs {need.subject} = {need.value}, but it is {state.ghosts[need.subject]}"))

    # ---- expressions of the .arch file and of the spec ----

    def value(self, state: State, expr: Expr, leaf: Callable[[Expr], Term | None] = lambda _: None) -> Term:
        """A term for an expression; comparisons are one bit wide, the rest 64."""
        special = leaf(expr)
        if special is not None:
            return special
        if isinstance(expr, Num):
            return T.const(expr.value)
        if isinstance(expr, Reg):
            return self.read(state, expr.name)
        if isinstance(expr, Bit):
            return T.resize(self.read_bit(state, expr), 64)
        if isinstance(expr, Mem):
            return self.access(state, self.value(state, expr.address, leaf), self.arch.word_bytes, None)
        if isinstance(expr, Unary):
            return unary(expr.op, self.value(state, expr.a, leaf))
        if isinstance(expr, Cast):
            return T.resize(T.extract(self.value(state, expr.a, leaf), 0, expr.bits), 64, expr.signed)
        if isinstance(expr, Binary):
            return binary(expr.op, self.value(state, expr.a, leaf), self.value(state, expr.b, leaf))
        raise Stuck(f"no value for {type(expr).__name__}")

    # ---- running ----

    def run(self, start: State) -> list[Ending]:
        """All feasible endings from a state."""
        out: list[Ending] = []
        todo = [start]
        while todo:
            state = todo.pop()
            steps = 0
            while True:
                steps += 1
                if steps > STEP_LIMIT or state.pc in state.trace:
                    out.append(Ending("stuck", "a loop", state, state.pc))
                    break
                try:
                    result = self.step(state)
                except Stuck as problem:
                    out.append(Ending("stuck", str(problem), state, state.pc))
                    break
                if isinstance(result, Ending):
                    out.append(result)
                    break
                if isinstance(result, State):
                    todo.append(result)
        return out

    def step(self, state: State) -> Ending | State | None:
        """One instruction. An Ending stops the path; a State is the other side of a branch."""
        instruction = self.lifter.at(state.pc)
        if instruction.problem is not None:
            raise Stuck(f"{instruction.text} at {state.pc:#x}: {instruction.problem}")
        state.trace.append(state.pc)
        form = instruction.form
        following = state.pc + instruction.size
        if form is None:
            # The lifter may know it, but its registers may not be ours, and nothing compared it with an emulator.
            raise Stuck(f"{instruction.text} at {state.pc:#x}: no row of the .arch file describes it")
        self.move_ghosts(state, form.name)
        if form.name == self.opens_irqs:
            state.faults.append(Access(state.pc, f"{instruction.text} lets interrupts in, and no step of the spec does"))
        if form.role == "return":
            return Ending("return", form.name, state, state.pc)
        if form.role == "stop" and "overlay" in form.traits:
            return Ending("stop", instruction.text, state, state.pc)
        if "overlay" in form.traits:
            self.overlay(state, instruction)
            state.pc = following
            return None
        return self.operations(state, instruction, following)

    def move_ghosts(self, state: State, form: str) -> None:
        """A form moves each ghost that names it in a transition. From a value not known, the result is known when all values lead to one."""
        for ghost, moves in self.ghost_moves.get(form, {}).items():
            after = {move.before: move.after for move in moves}
            now = state.ghosts.get(ghost, "not known")
            reached = {after.get(value, value) for value in ([now] if now in self.spec.states[ghost].values else self.spec.states[ghost].values)}
            state.ghosts[ghost] = reached.pop() if len(reached) == 1 else "not known"

    def overlay(self, state: State, instruction: Instruction) -> None:
        """The .arch row is the semantics. Effects happen in the order written."""
        form = instruction.form
        assert form is not None
        def leaf(expr: Expr) -> Term | None:
            if isinstance(expr, Operand):
                bound = instruction.operands[expr.name]
                return T.const(bound) if isinstance(bound, int) else self.read(state, bound)
            return None
        for effect in form.effects:
            if isinstance(effect, Swap):
                a, b = self.value(state, effect.a), self.value(state, effect.b)
                self.assign(state, effect.a, b, instruction)
                self.assign(state, effect.b, a, instruction)
            elif isinstance(effect, Assign):
                self.assign(state, effect.place, self.value(state, effect.value, leaf), instruction, leaf)

    def assign(self, state: State, place: Expr, value: Term, instruction: Instruction | None = None,
               leaf: Callable[[Expr], Term | None] = lambda _: None) -> None:
        if isinstance(place, Operand) and instruction is not None:
            place = Reg(str(instruction.operands[place.name]))
        if isinstance(place, Reg):
            self.write(state, place.name, value)
        elif isinstance(place, Bit):
            self.write_bit(state, place, value)
        elif isinstance(place, Mem):
            self.access(state, self.value(state, place.address, leaf), self.arch.word_bytes, value)
        else:
            raise Stuck(f"{type(place).__name__} cannot be assigned")

    def operations(self, state: State, instruction: Instruction, following: int) -> Ending | State | None:
        unique: dict[int, Term] = {}
        for index, op in enumerate(instruction.ops, 1):
            if op.name in ("BRANCH", "CBRANCH", "CALL", "CALLIND", "BRANCHIND", "RETURN", "CALLOTHER"):
                done, result = self.control(state, instruction, op, unique, following, index == len(instruction.ops))
                if done:
                    return result
                continue
            if op.name == "STORE":
                self.access(state, self.get(state, unique, op.inputs[1]), op.inputs[2].size, self.get(state, unique, op.inputs[2]))
                continue
            value = self.compute(state, unique, op)
            assert op.output is not None
            self.put(state, unique, op.output, value)
        state.pc = following
        return None

    def control(self, state: State, instruction: Instruction, op: Op, unique: dict[int, Term], following: int,
                last: bool) -> tuple[bool, Ending | State | None]:
        if op.name == "CALLOTHER":
            if instruction.form is not None and ("event" in instruction.form.traits or instruction.form.role in ("fence", "mark")) and op.output is None:
                return False, None
            raise Stuck(f"{instruction.text}: the lifter has no semantics and the .arch file has no overlay row")
        if op.name in ("CALL", "BRANCH"):
            target = op.inputs[0].offset
            if op.inputs[0].space != "ram":
                raise Stuck(f"{instruction.text}: a loop inside one instruction")
            name = self.calls.get(target)
            if op.name == "CALL" or name is not None or not self.lifter.image.bytes_at(target, 1):
                if name is None:
                    raise Stuck(f"{instruction.text}: a call of {target:#x}, which is no C function")
                state.pc = following
                return True, Ending("call" if op.name == "CALL" else "jump", name, state, instruction.address)
            state.pc = target
            return True, None
        if op.name == "CBRANCH":
            if op.inputs[0].space != "ram" or not last:
                raise Stuck(f"{instruction.text}: a branch inside one instruction")
            condition = T.extract(self.get(state, unique, op.inputs[1]), 0, 1)
            return True, self.branch(state, op.inputs[0].offset, following, condition)
        raise Stuck(f"{instruction.text}: a jump to a computed address")

    def branch(self, state: State, target: int, following: int, condition: Term) -> State | None:
        state.decided += 1
        for subject, value in self.spec.after_decision:
            if subject in state.ghosts:
                state.ghosts[subject] = value
        if condition.op == "const":
            state.pc = target if condition.aux else following
            return None
        taken = self.feasible([*state.conditions, condition])
        other = self.feasible([*state.conditions, T.not_(condition)])
        if taken and other:
            second = state.copy()
            second.pc = following
            second.conditions.append(T.not_(condition))
            state.pc = target
            state.conditions.append(condition)
            return second
        state.pc = target if taken else following
        return None

    def get(self, state: State, unique: dict[int, Term], place: Place) -> Term:
        if place.space == "const":
            return T.const(place.offset, place.size * 8)
        if place.space == "unique":
            if place.offset not in unique:
                raise Stuck("the lifter reads a part of its own temporary")
            return T.resize(unique[place.offset], place.size * 8)
        if place.space == "register":
            return self.load_register(state, place)
        return self.access(state, T.const(place.offset), place.size, None)

    def put(self, state: State, unique: dict[int, Term], place: Place, value: Term) -> None:
        value = T.resize(value, place.size * 8)
        if place.space == "unique":
            unique[place.offset] = value
        elif place.space == "register":
            state.registers.store(place.offset, value)
        else:
            self.access(state, T.const(place.offset), place.size, value)

    def compute(self, state: State, unique: dict[int, Term], op: Op) -> Term:
        assert op.output is not None
        width = op.output.size * 8
        if op.name == "LOAD":
            return self.access(state, self.get(state, unique, op.inputs[1]), op.output.size, None)
        a = [self.get(state, unique, p) for p in op.inputs]
        return pcode(op.name, a, width)


def pcode(name: str, a: list[Term], width: int) -> Term:
    """The value of a p-code operation."""
    if name in ("COPY", "INT_ZEXT"):
        return T.resize(a[0], width)
    if name == "INT_SEXT":
        return T.resize(a[0], width, True)
    if name == "SUBPIECE":
        return T.extract(a[0], a[1].aux * 8, min(width, a[0].width - a[1].aux * 8))
    if name == "PIECE":
        return T.concat(a[0], a[1])
    simple = {"INT_ADD": T.add, "INT_SUB": T.sub, "INT_MULT": T.mul, "INT_AND": T.band, "INT_OR": T.bor, "INT_XOR": T.bxor}
    if name in simple:
        return simple[name](a[0], a[1])
    if name == "INT_NEGATE":
        return T.inv(a[0])
    if name == "INT_2COMP":
        return T.sub(T.const(0, width), a[0])
    shifts = {"INT_LEFT": "shl", "INT_RIGHT": "shr", "INT_SRIGHT": "sar"}
    if name in shifts:
        return T.shift(shifts[name], a[0], a[1])
    if name in ("INT_EQUAL", "INT_NOTEQUAL"):
        same = T.eq(a[0], a[1])
        return T.resize(same if name == "INT_EQUAL" else T.not_(same), width)
    compares = {"INT_LESS": "ult", "INT_LESSEQUAL": "ule", "INT_SLESS": "slt", "INT_SLESSEQUAL": "sle"}
    if name in compares:
        return T.resize(T.less(compares[name], a[0], a[1]), width)
    if name in ("BOOL_AND", "BOOL_OR", "BOOL_XOR"):
        return {"BOOL_AND": T.band, "BOOL_OR": T.bor, "BOOL_XOR": T.bxor}[name](a[0], a[1])
    if name == "BOOL_NEGATE":
        return T.bxor(a[0], T.const(1, a[0].width))
    kept = {"POPCOUNT": "popcount", "INT_CARRY": "carry", "INT_SCARRY": "scarry", "INT_SBORROW": "sborrow"}
    if name in kept:
        return T.opaque(kept[name], width, *a)
    raise Stuck(f"the p-code operation {name} is not modelled")


def unary(op: str, a: Term) -> Term:
    if op == "neg":
        return T.sub(T.const(0), a)
    return T.inv(a) if op == "inv" else T.not_(a)


def binary(op: str, a: Term, b: Term) -> Term:
    """An operation of the expression language."""
    if op in ("and", "or"):
        return T.band(a, b) if op == "and" else T.bor(a, b)
    if op in ("eq", "ne"):
        return T.eq(a, b) if op == "eq" else T.not_(T.eq(a, b))
    if op in ("lt", "le", "gt", "ge"):
        x, y = (a, b) if op in ("lt", "le") else (b, a)
        return T.less("ult" if op in ("lt", "gt") else "ule", x, y)
    if op in ("shl", "shr"):
        return T.shift(op, a, b)
    return {"add": T.add, "sub": T.sub, "band": T.band, "bor": T.bor, "bxor": T.bxor}[op](a, b)


def arch_of(machine: Machine) -> Arch:
    return machine.arch
