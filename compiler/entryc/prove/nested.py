"""An event that strikes its own entry code, on its own stack: at every instruction boundary one more of it loses nothing, for any number of them.

The argument is inductive. An inner event returns to the boundary that it struck, with every register, and changes only words of the stack
that the outer run never reads again, and the frame that the outer run returns with. That frame then leads to the start of the round, with the
frame of the code that was interrupted first as it was. So the next round is like the first one. While the outer run is still building its
frames the inner event leaves that frame alone: C has not been called yet, and will be.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..model.expr import Binary, Expr, SlotRef, SymbolRef, show, walk
from ..model.spec import Path, Spec
from ..model.steps import Call
from ..model.surroundings import ANYWHERE, Boundary
from . import terms as T
from .expect import Outline, outline
from .returns import Returns
from .state import Ending, State, Stuck
from .terms import Term

if TYPE_CHECKING:
    from .verify import Run


@dataclass
class Round:
    """The outer run from where its rounds start: its states before each instruction, C as one of them, and what it does to its stack."""

    states: list[State] = field(default_factory=list)
    loads: set[int] = field(default_factory=set)
    stores: list[tuple[int, int]] = field(default_factory=list)         # (index of the state before, offset)
    last: State | None = None                                           # where the return instruction is executed
    called: int = -1                                                    # the index of C's state


def nests(spec: Spec, path: Path) -> list[Boundary]:
    """The special boundaries by which an entry point tells that it was struck by itself: those that look at its stack, and the rest of its number's."""
    mine = [b for b in spec.boundaries.values() if path.number in b.numbers and b.condition is not None and path.paranoid]
    return mine if any(isinstance(e, SlotRef) for b in mine for e in walk(b.condition or _ZERO)) else []


def round_start(boundaries: list[Boundary]) -> str | None:
    """The symbol from which on an inner event is told: the lower end of a range of addresses."""
    for part in (e for b in boundaries for e in walk(b.condition or Binary("eq", _ZERO, _ZERO))):
        if isinstance(part, Binary) and part.op == "ge" and isinstance(part.b, SymbolRef):
            return part.b.name
    return None


_ZERO: Expr = SymbolRef("")


class Nested:
    """Checks one entry point in one configuration. `run` is the proof at hand: its machine, arrivals, solver and claims."""

    def __init__(self, run: Run, path: Path, boundaries: list[Boundary]) -> None:
        self.run, self.path, self.spec, self.arch = run, path, run.spec, run.spec.arch
        self.machine, self.arrivals = run.machine, run.arrivals
        self.boundaries, self.span = boundaries, boundaries[0].span
        self.start = self.machine.symbol(round_start(boundaries) or path.name)
        self.word = self.arch.word_bytes
        self.sp = self.arch.of_kind("stack")

    def check(self) -> None:
        """All claims, for the first of the machine states that the event may find: the protocol looks at none of them."""
        way = outline(self.spec, self.path, "kernel", self.run.configuration, ANYWHERE)
        _, start = next(iter(self.arrivals.event(self.path, "kernel", ANYWHERE, self.run.address(self.path))))
        claims = Returns(self.arrivals, way, f"{self.path.name} within itself")
        base = next(t for t, r in start.regions.items() if r.origin == self.path.stack)
        outer = self.outer(way, claims, start, base)
        if outer is None or outer.last is None:
            claims.unclear("nesting", "the outer run comes to its return", self.span, "a path ends elsewhere")
        else:
            self.inner(claims, outer, base)
        self.run.claims += claims.out

    # ---- the outer run ----

    def outer(self, way: Outline, claims: Returns, start: State, base: Term) -> Round | None:
        """Instruction by instruction to C, and from C to the return."""
        out = Round()
        target = way.stages[-1].target
        ending = self.follow(start, out, base)
        if ending is None or ending.kind != "call" or not isinstance(target, Call):
            return None
        inside = ending.state.copy()
        for register in self.arch.gprs:
            self.machine.write(inside, register, T.var(f"C.{register}"))
        self.machine.write(inside, self.sp, T.sub(self.machine.read(ending.state, self.sp), T.const(0x100)))
        inside.pc = self.run.image.symbols.get(target.callee, 0)
        out.called = len(out.states)
        out.states.append(inside)
        pc, sp = self.run.back(ending)
        frame = way.frame(self.spec)
        if pc is None or frame is None or not way.exits:
            return None
        address = self.machine.read(ending.state, self.arch.abi.args[0])
        exit = self.run.decided(way.exits[0], frame)
        after = self.arrivals.after_call(ending.state, pc, frame, address, sp, target.contract, exit)
        ending = self.follow(after, out, base)
        if ending is not None and ending.kind == "return":
            out.last = ending.state
        return out

    def follow(self, state: State, out: Round, base: Term) -> Ending | None:
        """To the next ending. From the start of the round on, each state is kept."""
        while True:
            if state.pc == self.start or out.states:
                out.states.append(state.copy())
                state.order = []
            try:
                result = self.machine.step(state)
            except Stuck:
                return None
            if out.states:
                for store, where, offset, _ in state.order:
                    if where is base and store:
                        out.stores.append((len(out.states) - 1, offset))
                    elif where is base:
                        out.loads.add(offset)
            if isinstance(result, Ending):
                return result
            if isinstance(result, State) and out.states:
                return None                     # in a round, the machine state at hand decides every branch

    # ---- the inner event ----

    def inner(self, claims: Returns, outer: Round, base: Term) -> None:
        frame_words = {self.offset(e) for e in self.returned(outer, base)}
        sent, dead = [], set()
        for index, state in enumerate(outer.states):
            where = self.where(state, index == outer.called)
            changed = self.strike(claims, state, base, where, frame_words)
            if changed is None:
                return
            dead |= changed.keys() - frame_words
            sent.append({o: v for o, v in changed.items() if o in frame_words})
        last = outer.last
        assert last is not None
        first = next((i for i, words in enumerate(sent) if words), len(sent))
        whole = [words for words in sent[first:] if words.keys() != frame_words or any(words[o] is not sent[-1].get(o) for o in words)]
        claims.add("nesting", "from one boundary before C on, each inner event sends the outer run round again", self.span,
                   T.boolean(first <= outer.called and not whole), last, f"from {self.where(outer.states[min(first, len(sent) - 1)])} on")
        late = [offset for index, offset in outer.stores if offset in frame_words and index >= first]
        claims.add("nesting", "the outer run writes the frame that it returns with only before that", self.span, T.boolean(not late), last,
                   f"offset {late[0]:#x} is written later" if late else "")
        read = sorted((dead | frame_words) & outer.loads)
        claims.add("nesting", "the outer run reads no word that an inner event changes", self.span, T.boolean(not read), last,
                   f"offset {read[0]:#x} is read" if read else "")
        self.again(claims, outer, base, sent[-1] if sent else {})

    def returned(self, outer: Round, base: Term) -> list[Term]:
        """Where the words lie that the outer run returns with."""
        assert outer.last is not None
        sp = self.machine.read(outer.last, self.sp)
        return [T.sub(T.add(sp, T.const(i * self.word)), base) for i in range(len(self.path.event.pushes))] if self.path.event is not None else []

    @staticmethod
    def offset(term: Term) -> int:
        value = term.value or 0
        return value - (1 << 64) if value >> 63 else value

    def where(self, state: State, in_c: bool = False) -> str:
        symbols = [(a, n) for n, a in self.run.image.symbols.items() if a <= state.pc and n in self.spec.paths]
        address, name = max(symbols, default=(0, "?"))
        return "C" if in_c else f"{name} + {state.pc - address:#x}"

    def strike(self, claims: Returns, outer: State, base: Term, where: str, frame_words: set[int]) -> dict[int, Term] | None:
        """One inner event at a boundary: it comes back, and what it has changed: offset -> word."""
        event, machine = self.path.event, self.machine
        assert event is not None
        state = outer.copy()
        state.trace, state.order, state.faults, state.checks = [], [], [], []
        pushed: dict[str, Term] = {}
        for register in event.pushes:
            kind = self.arch.registers[register].kind
            value = T.const(state.pc) if kind == "pc" else T.var(f"inner.{register}") if kind == "segment" else \
                machine.read(outer, register)
            pushed[register] = value
        condition = machine.value(outer, self.arch.origin, lambda e: pushed.get(getattr(e, "name", ""))) if self.arch.origin is not None else T.FALSE
        state.conditions.append(T.not_(condition))
        region = state.regions[base]
        for index, register in enumerate(event.pushes, 1):
            region.content.store(-index * self.word, pushed[register])
        for effect in event.effects:
            machine.assign(state, effect.place, machine.value(outer, effect.value, self.arrivals.setup_leaf))
        machine.write(state, self.sp, T.add(base, T.const(-len(event.pushes) * self.word)))
        state.pc = self.run.address(self.path)
        changed: dict[int, Term] = {}
        for ending in machine.run(state):
            text = f"an inner event at {where} comes back with every register"
            if ending.kind != "return":
                claims.add("nesting", text, self.span, T.FALSE, ending.state, f"it ends with {ending.kind} {ending.name}")
                return None
            row = self.arch.return_row(ending.name, "kernel")
            final = claims.final(ending.state, row) if row is not None else {}
            same = T.boolean(not ending.state.faults)
            for known in self.arch.registers.values():
                if known.kind in ("pc", "segment") and known.name not in final:
                    continue
                wanted = pushed.get(known.name, machine.read(outer, known.name))
                actual = final.get(known.name, machine.read(ending.state, known.name))
                same = T.band(same, T.eq(T.band(actual, T.const(known.compare)), T.band(wanted, T.const(known.compare))))
            claims.add("nesting", text, self.span, same, ending.state, "; ".join(f.text for f in ending.state.faults[:2]))
            changed.update(self.changes(claims, outer, ending.state, base, where))
        return changed

    def changes(self, claims: Returns, before: State, after: State, base: Term, where: str) -> dict[int, Term]:
        """The words that are other ones now, all on the event's own stack."""
        out: dict[int, Term] = {}
        strange = ""
        for key, region in after.regions.items():
            old = before.regions[key]
            offsets = {o & -self.word for o in region.content.cells if region.content.cells[o] != old.content.cells.get(o)}
            for offset in sorted(offsets):
                now = self.machine.content(region, offset, self.word)
                if now is self.machine.content(old, offset, self.word):
                    continue
                if key is base:
                    out[offset] = now
                else:
                    strange = f"{region.name}{offset:+#x} is changed"
        claims.add("nesting", f"an inner event at {where} changes nothing but its own stack", self.span, T.boolean(not strange), after, strange)
        return out

    def again(self, claims: Returns, outer: Round, base: Term, sent: dict[int, Term]) -> None:
        """The frame that sends the outer run round leads to the start of the round, as the first time."""
        assert outer.last is not None and self.path.event is not None
        first, last = outer.states[0], outer.last
        order = list(reversed(self.path.event.pushes))
        places = sorted(sent)
        values = {register: sent[place] for register, place in zip(order, places, strict=False)}
        for register, value in values.items():
            kind = self.arch.registers[register].kind
            if kind == "pc":
                claims.add("nesting", "round again: it starts where the first round did", self.span, T.eq(value, T.const(self.start)), last)
            elif kind == "stack":
                wanted = self.machine.read(first, self.sp)
                claims.add("nesting", "round again: the stack pointer is that of the first round", self.span, T.eq(value, wanted), last)
            else:
                claims.add("nesting", f"round again: {register} is a constant", self.span, T.boolean(value.value is not None), last)
        lowest = self.offset(T.sub(self.machine.read(first, self.sp), base))
        for boundary in self.boundaries:
            for part in (e for e in walk(boundary.condition or _ZERO) if isinstance(e, Binary) and isinstance(e.a, SlotRef)):
                holds = self.machine.value(last, part, lambda e: self.arrivals.stack_word(last, self.path, e) if isinstance(e, SlotRef) else None)
                claims.add("nesting", f"after the last round, the next one is not taken for {boundary.name}: {show(part)} is false", boundary.span,
                           T.not_(holds), last)
        kept = range(lowest, lowest + len(order) * self.word)
        broken = sorted({o for _, o in outer.stores} & set(kept))
        claims.add("nesting", "the frame of the code that was interrupted first is never written again", self.span, T.boolean(not broken), last,
                   f"offset {broken[0]:#x} is written" if broken else "")
