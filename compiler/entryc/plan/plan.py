"""All paths of a spec: arrival states, order in memory, one code for all configurations."""

from __future__ import annotations

import difflib

from ..model.arch import Control
from ..model.expr import Reg
from ..model.spec import VECTOR_TABLE, Configuration, Path, Spec
from ..model.surroundings import Guard
from ..source.finding import Collector
from ..source.text import Span
from .code import AlignLine, Code, Insn, LabelLine, Line, OrgLine
from .moves import DecisionSite, Piece, Transfer, local_label
from .select import find
from .values import UNKNOWN, Machine, Value, join
from .walk import Walker

PATH_ALIGN = 16                                 # also larger than a vector stub: the place of one never depends on the size of another


def plan_spec(spec: Spec, collector: Collector | None = None) -> Code:
    """The machine code of a spec, with guards. Raises Findings when a rule of order is broken."""
    collector = collector or Collector()
    per_configuration: dict[str, list[Line]] = {}
    for configuration in spec.configurations.values():
        per_configuration[configuration.name] = _Planner(spec, configuration, collector).lines()
        collector.stop_if_failed()
    lines = _merge(spec, per_configuration, collector)
    collector.stop_if_failed()
    return Code(spec.arch, lines)


def decision_sites(spec: Spec) -> list[DecisionSite]:
    """Every decision that stands in assembly, over all configurations."""
    out: list[DecisionSite] = []
    for configuration in spec.configurations.values():
        planner = _Planner(spec, configuration, Collector())
        planner.lines()
        out += [d for d in planner.walker.decisions if d not in out]
    return out


class _Planner:
    def __init__(self, spec: Spec, configuration: Configuration, collector: Collector) -> None:
        self.spec, self.configuration, self.collector = spec, configuration, collector
        self.walker = Walker(spec, configuration, collector)
        self.arrivals: dict[str, list[Transfer]] = {}
        self.out: list[Line] = []
        self.placed: set[str] = set()
        self.planned: dict[str, Piece] = {}

    def lines(self) -> list[Line]:
        """Plan in dependency order, then place in the written order."""
        entries = [p for p in self.spec.paths.values() if p.kind in ("entry", "routine") and self.configuration.holds(p.guard)]
        known: dict[tuple[str, str | None], Machine] = {}
        for path in entries:
            machine = arrival(self.spec, path, known) if path.kind == "entry" else _routine(self.spec, path)
            piece = self.walker.walk(path, machine)
            self.planned[path.name] = piece
            self._note(piece)
        if not self.collector.failed:
            self._plan_shared()
        if not self.collector.failed:
            self._check_ceilings()
        if self.collector.failed:
            return []
        self._place_table([p for p in entries if p.event is not None and p.event.found[0] == "table"])
        for path in entries:
            if path.number is None:
                self._place_path(path)
        self._place_pending()
        for path in entries:                    # last, so that their jumps go backwards: all assemblers size those alike
            self._place_path(path)
        self._place_pending()
        return self.out

    def _place_pending(self) -> None:
        waiting = {p.name for p in self.spec.paths.values() if p.number is not None}
        while pending := [n for n in self.planned if n not in self.placed and n not in waiting]:
            self._place(pending[0])

    def _note(self, piece: Piece) -> None:
        for transfer in piece.transfers:
            self.arrivals.setdefault(transfer.target, []).append(transfer)

    def _plan_shared(self) -> None:
        """Paths and exits, each after everything that leads to it."""
        waiting = [p for p in self.spec.paths.values() if p.kind in ("path", "exit") and self.configuration.holds(p.guard)]
        leads: dict[str, set[str]] = {p.name: set() for p in waiting}
        for path in waiting:
            for target in _targets(path):
                if target in leads:
                    leads[target].add(path.name)
        while waiting:
            ready = next((p for p in waiting if all(name in self.planned for name in leads[p.name])), None)
            if ready is None:
                self.collector.error("E350", "these paths lead to each other in a circle: " + ", ".join(p.name for p in waiting), waiting[0].span)
                return
            waiting.remove(ready)
            sources = self.arrivals.get(ready.name, [])
            if not sources:
                continue
            piece = self.walker.walk(ready, self._joined(ready, sources))
            self.planned[ready.name] = piece
            self._note(piece)

    def _joined(self, path: Path, sources: list[Transfer]) -> Machine:
        machine = join([s.machine for s in sources])
        first = sources[0].machine
        for source in sources[1:]:
            if source.machine.below != first.below or set(source.machine.slots) != set(first.slots):
                self.collector.error("E351", f"'{path.name}' is reached with different frames", source.span,
                                     related=(("the other way", sources[0].span),))
        if path.kind == "exit" and path.origin is not None:
            machine.origin = path.origin
        return machine

    def _check_ceilings(self) -> None:
        for kind, decision in self.spec.decisions.items():
            sites = [d for d in self.walker.decisions if d.kind == kind]
            if len(sites) > decision.most:
                self.collector.error("E352", f"{len(sites)} decisions of kind '{kind}' stand in assembly, {decision.most} declared", decision.span,
                                     "; ".join(f"{d.path} at {d.span}" for d in sites[:4]))
            elif len(sites) < decision.most:
                self.collector.error("E353", f"{decision.most} decisions of kind '{kind}' are declared, {len(sites)} stand in assembly", decision.span,
                                     "lower the ceiling")

    # ---- placing ----

    def _place_table(self, paths: list[Path]) -> None:
        """The table that the hardware enters: one slot for each event, a jump to its body."""
        if not paths:
            return
        slots = sorted(((p.event.found[1], p) for p in paths if p.event is not None), key=lambda row: row[0])
        size = max(p.event.found[2] for _, p in slots if p.event is not None)
        span = 1
        while span < slots[-1][0] + size:
            span *= 2
        self.out += [AlignLine(span), LabelLine(VECTOR_TABLE, "entry", comment="the vector table")]
        for offset, path in slots:
            jump = find(self.spec.arch, Control("jump", local_label(path.name)))
            assert jump is not None
            self.out += [OrgLine(VECTOR_TABLE, offset), Insn(*jump, comment=path.event.name if path.event else "", span=path.span, step=f"table:{path.name}")]
        self.out.append(OrgLine(VECTOR_TABLE, slots[-1][0] + size))

    def _place_path(self, path: Path) -> None:
        if path.name not in self.placed:
            self._place(path.name, numbered=path.number is not None)

    def _place(self, name: str, numbered: bool = False) -> None:
        """A piece with its arms; what it goes on to follows directly when it has no place yet, else a jump."""
        kind = self.spec.paths[name].kind
        self.out += [AlignLine(PATH_ALIGN, self.spec.paths[name].guard), *self._label(name, "exit" if kind in ("exit", "path") else "entry")]
        self.placed.add(name)
        piece = self.planned[name]
        self._body(piece, numbered)

    def _label(self, name: str, kind: str) -> list[Line]:
        """The global symbol, and where jumps go to it from within."""
        start = self.planned[name].start
        path = self.spec.paths[name]
        symbol = LabelLine(name, kind, path.guard, below=start.below, frame=start.frame, saved=tuple(start.slots))
        jumped = kind == "exit" or (path.event is not None and path.event.found[0] == "table")
        return [symbol, LabelLine(local_label(name), "alias", path.guard)] if jumped else [symbol]

    def _body(self, piece: Piece, numbered: bool) -> None:
        self.out += piece.lines
        arms = list(piece.pieces)
        if piece.next:
            self._go(piece.next, numbered, piece)
        for arm in arms:
            self._body(arm, numbered)

    def _go(self, target: str, numbered: bool, piece: Piece) -> None:
        if target not in self.placed and not numbered:
            self.placed.add(target)
            self.out += self._label(target, "exit")
            self._body(self.planned[target], False)
            return
        jump = find(self.spec.arch, Control("jump", local_label(target)))
        assert jump is not None
        holder = self.spec.paths.get(piece.name)
        guard = self.spec.paths[target].guard | (holder.guard if holder is not None else frozenset())
        self.out.append(Insn(*jump, guard=guard, span=self.spec.paths[target].span, step=f"go:{piece.name}:{target}"))


def _targets(path: Path) -> list[str]:
    from ..model.build_steps import flat_steps
    from ..model.spec import ExitTo, Goto
    out: list[str] = []
    for step in flat_steps(path.steps):
        if isinstance(step, Goto):
            out.append(step.path)
        elif isinstance(step, ExitTo):
            out += step.targets
    return out


def arrival(spec: Spec, path: Path, known: dict[tuple[str, str | None], Machine]) -> Machine:
    """The machine as the event leaves it: from the .arch row and the boundary of who was interrupted.

    `known` keeps what does not depend on the number, for the other numbers of the event.
    """
    event = path.event
    assert event is not None
    key = (event.name, path.origin)
    if key not in known:
        known[key] = _arrival_registers(spec, path)
    machine = known[key].copy()
    machine.number = path.number
    _arrival_stack(spec, machine, path, spec.arch.of_kind("stack"))
    return machine


def _arrival_registers(spec: Spec, path: Path) -> Machine:
    """Registers, flags and states; not the stack."""
    event, arch = path.event, spec.arch
    assert event is not None
    machine = Machine(origin=path.origin, lost=event.lost)
    for register in arch.registers.values():
        if register.kind not in ("system",) and register.name not in event.lost:
            machine.regs[register.name] = Value("interrupted", register.name)
        else:
            machine.regs[register.name] = UNKNOWN
    before = dict(machine.regs)
    overwritten: set[str] = set()
    for effect in event.effects:
        if isinstance(effect.place, Reg):
            machine.regs[effect.place.name] = before[effect.value.name] if isinstance(effect.value, Reg) else UNKNOWN
            overwritten.add(effect.place.name)
    for name in overwritten:
        if arch.registers[name].kind == "gpr":
            machine.arrival[name] = machine.regs[name]
    machine.regs[arch.of_kind("pc")] = UNKNOWN
    machine.regs[arch.of_kind("flags")] = UNKNOWN
    _arrival_flags(spec, machine, path)
    origins = ("user", "kernel") if path.origin == "any" else (path.origin or "kernel",)
    for name in spec.states:
        values = {next((str(f.value) for f in spec.arrive.get(o, ()) if f.subject == name), None) for o in origins}
        machine.states[name] = values.pop() if len(values) == 1 else None
    return machine


def _arrival_flags(spec: Spec, machine: Machine, path: Path) -> None:
    """Flag places that the event forces."""
    from ..model.expr import SetupRef, evaluate
    event, arch = path.event, spec.arch
    assert event is not None
    flags = arch.of_kind("flags")
    machine.places = dict.fromkeys(arch.places)
    for effect in event.effects:
        if not (isinstance(effect.place, Reg) and effect.place.name == flags):
            continue
        def result(start: int, value=effect.value) -> int:  # type: ignore[no-untyped-def]
            return evaluate(value, lambda e: spec.setup.get(e.name, (0, path.span))[0] if isinstance(e, SetupRef) else start)
        low, high = result(0), result((1 << arch.word) - 1)
        for place, (_, bit) in arch.places.items():
            if (low >> bit) & 1 == (high >> bit) & 1:
                machine.places[place] = (low >> bit) & 1


def _arrival_stack(spec: Spec, machine: Machine, path: Path, sp: str) -> None:
    event = path.event
    assert event is not None
    rows = [r for r in event.stacks if path.origin in ("any", r.origin)]
    names: set[str] = set()
    for row in rows:
        if row.stack == sp:
            names.add("interrupted")
        else:
            names.update(s.name for s in spec.stacks.values() if s.entered == row.stack)
    pushed = len(event.pushes) + (1 if path.number is not None and path.number in event.error_numbers else 0)
    if not rows:
        machine.stack, machine.below = "user", None
        return
    machine.stack = names.pop() if len(names) == 1 else "any"
    machine.below = pushed * spec.arch.word_bytes
    machine.error_pushed = path.number is not None and path.number in event.error_numbers
    for home in event.pushes:
        for frame in spec.frames.values():
            machine.slots.update({s.name: Value("interrupted", home) for s in frame.slots.values() if s.hardware and s.home == home})
    if event.pushes:
        for home in event.pushes:
            machine.regs[home] = UNKNOWN
    elif machine.stack != "interrupted":
        machine.regs[sp] = UNKNOWN


def _routine(spec: Spec, path: Path) -> Machine:
    """A C function calls: contract c holds, the frame's address is the first argument."""
    arch = spec.arch
    machine = Machine(origin="user")
    for register in arch.registers:
        machine.regs[register] = UNKNOWN
    machine.regs[arch.abi.args[0]] = Value("frame", path.frame or "")
    machine.states = dict.fromkeys(spec.states)
    machine.places = dict.fromkeys(arch.places)
    for need in spec.contracts["c"]:
        if need.subject in machine.states:
            machine.states[need.subject] = str(need.value)
        elif need.subject in machine.places:
            machine.places[need.subject] = int(need.value)
    machine.stack = "interrupted"
    return machine


def _key(line: Line) -> tuple[object, ...]:
    if isinstance(line, Insn):
        return ("insn", line.form.name, line.operands, line.step, line.guard)
    if isinstance(line, LabelLine):
        return ("label", line.name, line.kind, line.guard)
    return (type(line).__name__, line)


Opcode = tuple[str, int, int, int, int]


def _opcodes(old: list[tuple[object, ...]], new: list[tuple[object, ...]]) -> list[Opcode]:
    """How to get from one list to the other; the equal start and end are found first, since most is equal."""
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    end = 0
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1
    middle = difflib.SequenceMatcher(None, old[start:len(old) - end], new[start:len(new) - end], autojunk=False).get_opcodes()
    out: list[Opcode] = [("equal", 0, start, 0, start)] if start else []
    out += [(tag, i1 + start, i2 + start, j1 + start, j2 + start) for tag, i1, i2, j1, j2 in middle]
    return [*out, ("equal", len(old) - end, len(old), len(new) - end, len(new))] if end else out


def _merge(spec: Spec, parts: dict[str, list[Line]], collector: Collector) -> list[Line]:
    """One list in which each line's guard says in which configurations it is present."""
    names = list(parts)
    merged: list[tuple[Line, set[str]]] = [(line, {names[0]}) for line in parts[names[0]]]
    for name in names[1:]:
        old, new = [_key(line) for line, _ in merged], [_key(line) for line in parts[name]]
        out: list[tuple[Line, set[str]]] = []
        for tag, i1, i2, j1, j2 in _opcodes(old, new):
            if tag == "equal":
                out += [(line, {*present, name}) for line, present in merged[i1:i2]]
            else:
                out += merged[i1:i2]
                out += [(line, {name}) for line in parts[name][j1:j2]]
        merged = out
    for line, present in merged:
        guard: Guard = getattr(line, "guard", frozenset())
        holding = {c.name for c in spec.configurations.values() if c.holds(guard)}
        if holding != present:
            span = line.span if isinstance(line, Insn) else Span(spec.source, 1, 1, 1, 2)
            collector.error("E354", "this step becomes different code in different configurations: " + ", ".join(sorted(present)), span,
                            "write the difference as steps under a feature")
    return [line for line, _ in merged]
