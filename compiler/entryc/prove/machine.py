"""A symbolic machine: registers, memory in regions with declared bases, ghost states; runs lifted code on all states at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..image.lift import Instruction, Lifter, Op, Place
from ..model.arch import Assign, Reads, Swap
from ..model.expr import Binary, Bit, Cast, CellRef, Expr, HookCall, Indexed, Mem, Num, Operand, Reg, SlotRef, SymbolRef, Unary
from ..model.spec import Configuration, Spec, Transition
from ..model.steps import Call, Jump, SetState, flat_steps
from ..model.surroundings import StateNeed
from . import terms as T
from .pcode import address_places, binary, pcode, pure, unary
from .registers import Registers
from .state import Access, Check, Ending, Part, Region, State, Stuck
from .terms import Term

STEP_LIMIT = 4000
NEAR = 0x1000                                   # how far behind a symbol an address is still said to be in it


class Machine(Registers):
    """Runs one image under one spec and configuration. Holds no state of a path."""

    def __init__(self, spec: Spec, configuration: Configuration, lifter: Lifter, feasible: Callable[[list[Term]], bool]) -> None:
        super().__init__(spec.arch, lifter)
        self.spec, self.configuration, self.feasible = spec, configuration, feasible
        self.general = frozenset(p for name, p in self.places.items() if p is not None and spec.arch.registers[name].kind == "gpr")
        callees = {step.callee for path in spec.paths.values() for step in flat_steps(path.steps) if isinstance(step, (Call, Jump))}
        self.calls = {address: name for name, address in lifter.image.symbols.items() if name in callees}
        self.ops = {lifter.image.symbols[op.symbol]: op for op in spec.ops.values() if op.symbol in lifter.image.symbols and configuration.holds(op.guard)}
        self.indexed = {r.facts["indexed"]: r.name for r in spec.arch.registers.values() if "indexed" in r.facts}
        self.meaning: Callable[[Expr, State], Term] | None = None       # set by whoever knows the environment
        self.address: Callable[[CellRef, State], Term] | None = None
        self.watch: tuple[StateNeed, ...] = ()  # facts that are looked at whenever a word of a stack is stored
        self.strikes: Callable[[State, Instruction], None] | None = None        # is shown the state before each instruction: an event may strike there
        self.caller: str | None = None          # the routine that is run as a C function: its return ends the run
        self.may_fault: Callable[[State, Instruction], None] | None = None      # is shown each instruction that may fault
        self.before_each: Callable[[State], None] | None = None         # is shown the state before each instruction
        self.recording = False                  # keep what happens in order: for comparing two codes
        self.known: dict[tuple[Term, ...], bool] = {}
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

    # ---- memory ----

    def region(self, state: State, address: Term) -> tuple[Region, int] | None:
        """The region that an address lies in, with its offset. An address without a base lies in the region of fixed addresses."""
        parts, offset = T.linear(address)
        signed = offset - (1 << 64) if offset >> 63 else offset
        if not parts:
            found = state.regions.get(T.const(0))
            return (found, offset) if found is not None else None
        if len(parts) != 1:
            return None
        base, factor = next(iter(parts.items()))
        if factor != 1:
            return None
        if base in state.regions:
            return state.regions[base], signed
        if base.op == "or" and state.aliases:
            for alias in state.aliases:
                others = [a for a in base.args if a is not alias.base]
                if len(others) == 1 and self.holds(state, T.eq(T.band(others[0], T.const(~alias.mask)), T.const(0))):
                    return replace(state.regions[alias.region], parts=(alias.part,)), signed
        return None

    def holds(self, state: State, condition: Term) -> bool:
        """Is a condition true in all machines that a state stands for?"""
        if condition.op == "const":
            return bool(condition.aux)
        key = (condition, *state.conditions)
        if key not in self.known:
            self.known[key] = not self.feasible([*state.conditions, T.not_(condition)])
        return self.known[key]

    def array(self, state: State, address: Term, size: int) -> tuple[Region, Part] | None:
        """The array that an address with a computed part lies in, for all values of that part."""
        parts, offset = T.linear(address)
        base = next((b for b in parts if b in state.regions and parts[b] == 1), T.const(0))
        region = state.regions.get(base)
        if region is None:
            return None
        index = T.sub(T.sub(address, base), T.const(offset))
        for part in region.parts:
            if part.index is not None and part.low == offset and self.holds(state, T.eq(part.index, index)):
                return region, part
            if part.array and part.index is None and size <= part.high - part.low:
                inside = T.sub(T.sub(address, base), T.const(part.low))
                if self.holds(state, T.less("ule", inside, T.const(part.high - part.low - size))):
                    return region, part
        return None

    def access(self, state: State, address: Term, size: int, write: Term | None) -> Term:
        """Load (write None) or store through a declared base; anything else is a fault of the path."""
        if self.recording:
            state.events.append(("load" if write is None else "store", address, size, write))
        verb = "store to" if write is not None else "load from"
        found = self.region(state, address)
        if found is None or (found[0].parts and not any(p.low <= found[1] <= p.high - size for p in found[0].parts)):
            indexed = self.array(state, address, size)
            if indexed is None:
                state.faults.append(Access(state.pc, f"{verb} {T.show(address)}{self.near(address)}: no declared memory"))
                raise Stuck("an access through an undeclared base")
            region, part = indexed
            self.touch(state, region, part, write is None)
            return self.element(state, region, part, address, size, write)
        region, offset = found
        if not region.low <= offset <= region.high - size:
            state.faults.append(Access(state.pc, f"{verb} {region.name}{offset:+#x}: outside of it"))
        if region.memory is None:
            top = self.region(state, self.read(state, self.sp))
            if top is not None and top[0] is region and offset < top[1]:
                state.faults.append(Access(state.pc, f"{verb} {region.name}{offset:+#x}: below the stack pointer, "
                                                     "where an event may write at any time"))
        if region.memory is None:
            seen = sum(1 << i for i, need in enumerate(self.watch) if self.holds(state, self.fact(state, need))) if write is not None else 0
            state.order.append((write is not None, region.base, offset, seen))
        if region.origin:
            state.stacks |= {region.origin}
        self.touch(state, region, next((p for p in region.parts if p.low <= offset <= p.high - size), None), write is None)
        if write is not None:
            region.content.store(offset, write)
            self.written(state, region, offset, size)
            return write
        return self.content(region, offset, size)

    def written(self, state: State, region: Region, offset: int, size: int) -> None:
        """Words of memory blocks are written once on the way."""
        places = set(range(offset, offset + size))
        if region.memory is not None and region.parts and region.written & places:
            state.faults.append(Access(state.pc, f"{region.name}{offset:+#x} is written a second time"))
        region.written |= places

    def near(self, address: Term) -> str:
        """The symbol that an address is in, for messages."""
        _, offset = T.linear(address)
        found = max(((at, name) for name, at in self.lifter.image.symbols.items() if at and at <= offset < at + NEAR), default=None)
        return f" ({found[1]}{f' + {offset - found[0]:#x}' if offset != found[0] else ''})" if found is not None else ""

    def element(self, state: State, region: Region, part: Part, address: Term, size: int, write: Term | None) -> Term:
        """A byte of an array at a computed place: the array is one value, from which the byte is cut, or into which it is put."""
        if part.index is not None:
            if write is not None:
                raise Stuck(f"a store to {part.name}, which the kernel keeps")
            return part.holds if part.holds is not None else T.var(f"{part.name}@{region.epoch}", size * 8)
        width = (part.high - part.low) * 8
        whole = self.content(region, part.low, part.high - part.low)
        base = next((b for b in T.linear(address)[0] if b in state.regions), T.const(0))
        amount = T.shift("shl", T.resize(T.sub(T.sub(address, base), T.const(part.low)), width), T.const(3, width))
        if write is None:
            return T.resize(T.shift("shr", whole, amount), size * 8)
        hole = T.inv(T.shift("shl", T.const((1 << (size * 8)) - 1, width), amount))
        region.content.store(part.low, T.bor(T.band(whole, hole), T.shift("shl", T.resize(write, width), amount)))
        self.written(state, region, part.low, part.high - part.low)
        return write

    def touch(self, state: State, region: Region, part: Part | None, load: bool) -> None:
        """What has to hold where memory is reached, and what a load does to a ghost."""
        needs = self.spec.memories[region.memory].needs if region.memory is not None else ()
        for need in (*needs, *(part.needs if part is not None else ())):
            if self.spec.applies(need, self.configuration) and not self.holds(state, self.fact(state, need)):
                now = state.ghosts.get(need.subject)
                state.faults.append(Access(state.pc, f"{part.name if part is not None and region.parts else f'memory {region.name}'} needs "
                                                     f"{need.subject} = {need.value}" + (f", but it is {now}" if now is not None else "")))
        if part is not None and load and part.loads is not None and self.spec.applies(part.loads, self.configuration):
            state.ghosts[part.loads.subject] = str(part.loads.value)

    def fact(self, state: State, need: StateNeed) -> Term:
        """Does a state or a flag bit have a value? One bit."""
        declared = self.spec.states.get(need.subject)
        if declared is None:
            register, bit = self.spec.arch.places[need.subject]
            return T.eq(self.read_bit(state, Bit(register, bit, need.subject)), T.const(int(need.value), 1))
        if declared.ghost:
            return T.boolean(state.ghosts.get(need.subject, "not known") == need.value)
        out = T.TRUE
        for meaning in declared.values[str(need.value)]:
            if self.meaning is not None and meaning.register is not None and self.configuration.holds(meaning.guard):
                now = T.band(self.read(state, meaning.register), T.const(meaning.mask))
                out = T.band(out, T.eq(now, self.meaning(meaning.value, state)))
        return out

    def content(self, region: Region, offset: int, size: int) -> Term:
        """What a region holds at an offset, without the rules for an access by code."""
        for start, seed in region.seeds.items():
            # A part of a known word: the word is put there first, so that later loads of all of it find the same term.
            wide = seed.width // 8
            if start < offset + size and offset < start + wide and not any(start + i in region.content.cells for i in range(wide)):
                region.content.store(start, seed)
        return region.content.load(offset, size, lambda o, n: self.initial(region, o, n))

    def initial(self, region: Region, offset: int, size: int) -> Term:
        if offset in region.seeds and region.seeds[offset].width == size * 8:
            return region.seeds[offset]
        return T.var(f"{region.name}{offset:+#x}.{size}@{region.epoch}", size * 8)

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
        if isinstance(expr, SymbolRef):
            return T.const(self.symbol(expr.name))
        if isinstance(expr, Indexed):
            return self.read(state, self.numbered(self.value(state, expr.number, leaf)))
        if isinstance(expr, HookCall):
            return T.opaque(expr.name, 64, *(self.value(state, a, leaf) for a in expr.arguments))
        if isinstance(expr, Unary):
            return unary(expr.op, self.value(state, expr.a, leaf))
        if isinstance(expr, Cast):
            return T.resize(T.extract(self.value(state, expr.a, leaf), 0, expr.bits), 64, expr.signed)
        if isinstance(expr, Binary):
            return binary(expr.op, self.value(state, expr.a, leaf), self.value(state, expr.b, leaf))
        raise Stuck(f"no value for {type(expr).__name__}")

    def numbered(self, number: Term) -> str:
        """The system register of a number."""
        if number.value is None or number.value not in self.indexed:
            raise Stuck(f"the system register {T.show(number)} is not known")
        return self.indexed[number.value]

    def symbol(self, name: str) -> int:
        """The address of a place in the image."""
        place = self.spec.symbols.get(name)                     # none: a label of a path
        image = self.lifter.image
        if place is None or place.kind == "symbol":
            if name not in image.symbols:
                raise Stuck(f"the image has no symbol {name}")
            return image.symbols[name]
        start = image.symbols.get(place.inside)
        row = min((row for row in image.fixups if start is not None and row[0] >= start), default=None)
        if row is None:
            raise Stuck(f"the exception table has no row for {place.inside}")
        return row[0] if place.kind == "fault" else row[1]

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
        if self.before_each is not None:
            self.before_each(state)
        if self.strikes is not None:
            self.strikes(state, instruction)
        if instruction.data and instruction.data == state.last.data and not pure(instruction):
            return self.repeated(state, instruction)
        return self.perform(state, instruction)

    def repeated(self, state: State, instruction: Instruction) -> Ending | State | None:
        """An instruction that touches memory or the machine's state, twice in a row: the second one has to change something."""
        before = state.copy()
        result = self.perform(state, instruction)
        if result is None and state.ghosts == before.ghosts and state.extra == before.extra and state.registers.cells == before.registers.cells and all(
                region.content.cells == before.regions[base].content.cells for base, region in state.regions.items()):
            state.faults.append(Access(instruction.address, f"{instruction.text} stands there twice, and the second one changes nothing"))
        return result

    def perform(self, state: State, instruction: Instruction) -> Ending | State | None:
        state.last = instruction
        form = instruction.form
        following = instruction.following if instruction.following is not None else state.pc + instruction.size
        if form is None:
            if not instruction.plain:
                # The lifter may know it, but its registers may not be ours, and nothing compared it with an emulator.
                raise Stuck(f"{instruction.text} at {state.pc:#x}: no row of the .arch file describes it")
            return self.operations(state, instruction, following)
        if self.may_fault is not None and form.raises:
            self.may_fault(state, instruction)
        self.move_ghosts(state, form.name, instruction)
        if self.recording and (form.traits & {"overlay", "event"} or form.role in ("fence", "switch", "return", "stop")):
            state.events.append(("form", form.name))
        if form.name == self.opens_irqs:
            state.faults.append(Access(state.pc, f"{instruction.text} lets interrupts in, and no step of the spec does"))
        if form.role == "return" and not ("c_return" in form.traits and self.caller is None):
            return Ending("return", form.name, state, state.pc)
        if form.role == "stop" and "overlay" in form.traits:
            return Ending("stop", instruction.text, state, state.pc)
        if "overlay" in form.traits:
            self.overlay(state, instruction)
            state.pc = following
            return None
        return self.operations(state, instruction, following)

    def move_ghosts(self, state: State, form: str, instruction: Instruction) -> None:
        """A form moves each ghost that names it in a transition. From a value not known, the result is known when all values lead to one."""
        for ghost, moves in self.ghost_moves.get(form, {}).items():
            after = {move.before: move.after for move in moves if self.reads_right(state, move, instruction)}
            now = state.ghosts.get(ghost, "not known")
            reached = {after.get(value, value) for value in ([now] if now in self.spec.states[ghost].values else self.spec.states[ghost].values)}
            state.ghosts[ghost] = reached.pop() if len(reached) == 1 else "not known"

    def reads_right(self, state: State, move: Transition, instruction: Instruction) -> bool:
        """Does the instruction read the word that the transition names?"""
        if not isinstance(move.operand, CellRef) or self.address is None:
            return move.operand is None
        wanted = self.address(move.operand, state)
        form = instruction.form
        return form is not None and any(isinstance(e, Reads) and self.value(state, e.address, self.bound(state, instruction)) is wanted for e in form.effects)

    def bound(self, state: State, instruction: Instruction) -> Callable[[Expr], Term | None]:
        """What operands, and the program counter, stand for in the rows of a form."""
        pc = self.spec.arch.of_kind("pc")
        def leaf(expr: Expr) -> Term | None:
            if isinstance(expr, Operand):
                bound = instruction.operands[expr.name]
                return T.const(bound) if isinstance(bound, int) else self.read(state, bound)
            if isinstance(expr, Reg) and expr.name == pc:
                return T.const(instruction.address + instruction.size)
            return None
        return leaf

    def overlay(self, state: State, instruction: Instruction) -> None:
        """The .arch row is the semantics. Effects happen in the order written."""
        form = instruction.form
        assert form is not None
        leaf = self.bound(state, instruction)
        if "clobbers_flags" in form.traits:
            for bit, place in self.flag_places.items():
                if self.flags.facts.get("defined", 0) >> bit & 1:
                    state.registers.store(place.offset, T.var(f"flag.{bit}.{instruction.address:x}", place.size * 8))
        for effect in form.effects:
            if isinstance(effect, Swap):
                a, b = self.value(state, effect.a), self.value(state, effect.b)
                self.assign(state, effect.a, b, instruction)
                self.assign(state, effect.b, a, instruction)
            elif isinstance(effect, Assign):
                self.assign(state, effect.place, self.value(state, effect.value, leaf), instruction, leaf)
            elif isinstance(effect, Reads):
                self.access(state, self.value(state, effect.address, leaf), effect.size, None)

    def assign(self, state: State, place: Expr, value: Term, instruction: Instruction | None = None,
               leaf: Callable[[Expr], Term | None] = lambda _: None) -> None:
        if isinstance(place, Operand) and instruction is not None:
            place = Reg(str(instruction.operands[place.name]))
        if isinstance(place, Indexed):
            place = Reg(self.numbered(self.value(state, place.number, leaf)))
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
        self.cleared_index(state, instruction)
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

    def cleared_index(self, state: State, instruction: Instruction) -> None:
        """An address that is made with a register whose value is a known number is right only because of that number."""
        for place in address_places(instruction) & self.general:
            known = self.load_register(state, place)
            if known.op == "const":
                state.faults.append(Access(state.pc, f"{instruction.text}: the address is made with a register that holds {known.aux:#x}"))

    def control(self, state: State, instruction: Instruction, op: Op, unique: dict[int, Term], following: int,
                last: bool) -> tuple[bool, Ending | State | None]:
        if op.name == "CALLOTHER":
            if instruction.form is not None and ("event" in instruction.form.traits or instruction.form.role in ("fence", "mark")) and op.output is None:
                return False, None
            raise Stuck(f"{instruction.text}: the lifter has no semantics and the .arch file has no overlay row")
        if op.name in ("CALL", "BRANCH"):
            if op.inputs[0].space != "ram":
                raise Stuck(f"{instruction.text}: a loop inside one instruction")
            return True, self.go(state, instruction, op.inputs[0].offset, following if op.name == "CALL" else None)
        if op.name == "RETURN":
            target = self.get(state, unique, op.inputs[0])
            if target.value is None:
                raise Stuck(f"{instruction.text}: a return to {T.show(target)}")
            state.pc = target.value
            return True, None
        if op.name == "CBRANCH":
            if op.inputs[0].space != "ram" or not last:
                raise Stuck(f"{instruction.text}: a branch inside one instruction")
            condition = T.extract(self.get(state, unique, op.inputs[1]), 0, 1)
            return True, self.branch(state, op.inputs[0].offset, following, condition)
        target = self.get(state, unique, op.inputs[0])
        if op.name == "BRANCHIND" and target.value is not None and self.lifter.image.bytes_at(target.value, 1):
            state.pc = target.value
            return True, None
        raise Stuck(f"{instruction.text}: a jump to a computed address")

    def go(self, state: State, instruction: Instruction, target: int, following: int | None) -> Ending | None:
        """A call (`following`: where it comes back to) or a jump: to C, to code that is not followed, or within the image."""
        name, op = self.calls.get(target), self.ops.get(target)
        if name is not None:
            state.pc = following if following is not None else instruction.address
            return Ending("call" if following is not None else "jump", name, state, instruction.address)
        if op is not None:
            self.run_op(state, op.name)
            if op.returns or following is None:
                back = self.access(state, self.read(state, self.sp), self.spec.arch.word_bytes, None)
                if back.value is None:
                    raise Stuck(f"{instruction.text}: a return to {T.show(back)}")
                state.pc = back.value
            else:
                state.pc = following
            self.write(state, self.sp, T.add(self.read(state, self.sp), T.const(self.spec.arch.abi.return_address)))
            return None
        if not self.lifter.image.bytes_at(target, 1):
            raise Stuck(f"{instruction.text}: {target:#x} is no C function, no op of the spec and no code of the image")
        state.pc = target
        return None

    def run_op(self, state: State, name: str) -> None:
        """Code that is not followed: its needs are checked, what it changes is new."""
        op = self.spec.ops[name]
        if self.recording:
            state.events.append(("op", name))
        for need in op.needs:
            if self.spec.applies(need, self.configuration):
                state.checks.append(Check("op", f"{need.subject} = {need.value} where {name} runs", need.span, self.fact(state, need), tuple(state.conditions)))
        count = sum(1 for done in state.done if done == name)
        for place in op.writes:
            if isinstance(place, SlotRef):
                value = T.var(f"{name}.{place.slot}.{count}")
                frame = self.read(state, self.spec.arch.abi.args[0])
                self.access(state, T.add(frame, T.const(self.spec.frames[place.frame].slots[place.slot].offset)), self.spec.arch.word_bytes, value)
                state.given[place.slot] = value
        for promise, _ in op.promises:
            state.conditions.append(self.value(state, promise, lambda e: state.given[e.slot] if isinstance(e, SlotRef) else None))
        for register in op.clobbers:
            self.write(state, register, T.var(f"{name}.{register}.{count}"))
        for fact in op.sets:
            if self.spec.applies(fact, self.configuration):
                if fact.subject in self.spec.states:
                    state.ghosts[fact.subject] = str(fact.value)
                else:
                    register, bit = self.spec.arch.places[fact.subject]
                    self.write_bit(state, Bit(register, bit, fact.subject), T.const(int(fact.value)))
        state.done += (name,)

    def branch(self, state: State, target: int, following: int, condition: Term) -> State | None:
        state.decided += 1
        for subject, value in self.spec.after_decision:
            if subject in state.ghosts and self.decides(state, condition):
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

    def decides(self, state: State, condition: Term) -> bool:
        """Does a branch tell apart what the interrupted code had? On the wrong arm the CPU would run ahead with the other values."""
        if not self.spec.decided_by:
            return True
        watched = {leaf for name in self.spec.decided_by for leaf in T.leaves(state.found.get(name, T.TRUE))}
        watched |= {T.var(f"interrupted.{name}") for name in self.spec.decided_by}
        return any(leaf in watched for leaf in T.leaves(condition))

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
