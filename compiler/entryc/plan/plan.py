"""All paths of a spec: arrival states, order in memory, one code for all configurations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from heapq import heappop, heappush

from ..model.arch import Control, Form
from ..model.expr import Reg
from ..model.spec import VECTOR_TABLE, Configuration, Path, Spec
from ..model.steps import ExitTo, Goto, Through, flat_steps
from ..model.surroundings import ANY, ANYWHERE, Guard
from ..source.edits import replaced
from ..source.finding import Collector
from ..source.text import Span
from .code import AlignLine, Code, DecisionSite, Insn, LabelLine, Line, Moment, OrgLine
from .moves import Piece, Transfer, local_label
from .select import find
from .shared import shared_tails
from .values import UNKNOWN, Machine, Value, after_effects, join
from .walk import Walker

PATH_ALIGN = 16                                 # also larger than a vector stub: the place of one never depends on the size of another


def plan_spec(spec: Spec, collector: Collector | None = None, whole: Mapping[str, Form] | None = None, only: frozenset[str] | None = None) -> Code:
    """The machine code of a spec, with guards. Raises Findings when a rule of order is broken.

    `whole`: ops and changes of state that the target has a text of its own for, as forms. `only`: the paths that are planned; None: all.
    """
    collector = collector or Collector()
    per_configuration: dict[str, list[Line]] = {}
    most: dict[str, int] = dict.fromkeys(spec.decisions, 0)
    decisions: list[DecisionSite] = []
    found: list[Moment] = []
    shown = richest(spec)
    for configuration in spec.configurations.values():
        planner = _Planner(spec, configuration, collector, whole or {}, only)
        per_configuration[configuration.name] = planner.lines()
        collector.stop_if_failed()
        _sites(decisions, planner.walker.decisions)
        if configuration is shown:
            found = planner.walker.moments
        most = {kind: max(count, len([d for d in planner.walker.decisions if d.kind == kind])) for kind, count in most.items()}
    for kind, count in most.items():
        declared = spec.decisions[kind]
        if count < declared.most and only is None:
            collector.error("E353", f"{declared.most} decisions of kind '{kind}' are declared, {count} stand in assembly", declared.span, "lower the ceiling",
                            edits=replaced(declared.span, str(declared.most), str(count)))
    collector.stop_if_failed()
    lines = shared_tails(spec, _merge(spec, per_configuration, collector), collector)
    collector.stop_if_failed()
    return Code(spec.arch, lines, decisions, _moments(spec, found))


def _sites(out: list[DecisionSite], found: list[DecisionSite]) -> None:
    """Add the decisions of a configuration that earlier ones do not have."""
    seen: dict[tuple[str, str, Span], int] = {}
    for site in found:
        key = (site.kind, site.path, site.span)
        seen[key] = seen.get(key, 0) + 1
        if seen[key] > len([d for d in out if (d.kind, d.path, d.span) == key]):
            out.append(site)


def richest(spec: Spec) -> Configuration:
    """The configuration with the most states to show; among those, with the most features."""
    return max(spec.configurations.values(), key=lambda c: (sum(c.holds(s.guard) for s in spec.states.values()), len(c.features)))


def _moments(spec: Spec, found: list[Moment]) -> list[Moment]:
    """Entry points of one body are told once."""
    rows: dict[str, list[Moment]] = {}
    for moment in found:
        rows.setdefault(moment.path, []).append(moment)
    out: list[Moment] = []
    bodies: dict[tuple[object, ...], str] = {}
    for path in spec.paths.values():
        mine = rows.get(path.name, [])
        if mine and bodies.setdefault(tuple((m.arm, m.text, m.stack) for m in mine), path.name) == path.name:
            out += mine
    return out


class _Planner:
    def __init__(self, spec: Spec, configuration: Configuration, collector: Collector, whole: Mapping[str, Form], only: frozenset[str] | None) -> None:
        self.spec, self.configuration, self.collector, self.only = spec, configuration, collector, only
        self.walker = Walker(spec, configuration, collector, whole)
        self.arrivals: dict[str, list[Transfer]] = {}
        self.out: list[Line] = []
        self.placed: set[str] = set()
        self.planned: dict[str, Piece] = {}

    def lines(self) -> list[Line]:
        """Plan in dependency order, then place in the written order."""
        called = [p for p in self.spec.paths.values() if p.called and self._wanted(p)]
        entries = self._plan() if not called or self._plan_called(called) else []
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

    def _wanted(self, path: Path) -> bool:
        return self.configuration.holds(path.guard) and (self.only is None or path.name in self.only)

    def _plan_called(self, called: list[Path]) -> bool:
        """Paths that are called come first, each in any of the states that a round over those that call it finds there."""
        for path in called:
            names = frozenset(leading_to(self.spec, path.name))
            first = _Planner(self.spec, self.configuration, Collector(), self.walker.whole, names if self.only is None else names & self.only)
            first.walker.results = self.walker.results
            first._plan()
            if first.collector.failed:
                self.collector.findings += first.collector.findings
                return False
            arrivals = first.walker.arrived.get(path.name, [])
            if not arrivals:
                self.collector.error("E299", f"path '{path.name}' is never used", path.span)
                return False
            self.planned[path.name] = self.walker.walk(path, self._joined(path, arrivals))
            if self.collector.failed:
                return False
            self.walker.results[path.name] = self.walker.result()
        return True

    def _plan(self) -> list[Path]:
        """Entry points, then what they lead to. Returns the entry points and routines."""
        entries = [p for p in self.spec.paths.values() if p.kind in ("entry", "routine") and self._wanted(p)]
        known: dict[tuple[str, str | None, bool], Machine] = {}
        for path in entries:
            machine = arrival(self.spec, self.configuration, path, known) if path.kind == "entry" else _routine(self.spec, path)
            piece = self.walker.walk(path, machine)
            self.planned[path.name] = piece
            self._note(piece)
        if not self.collector.failed:
            self._plan_shared()
        if not self.collector.failed:
            self._check_ceilings()
        return entries

    def _place_pending(self) -> None:
        waiting = {p.name for p in self.spec.paths.values() if p.number is not None}
        while pending := [n for n in self.planned if n not in self.placed and n not in waiting]:
            self._place(pending[0], numbered=self.only is not None and self.spec.paths[pending[0]].kind == "path")      # a symbol of its own

    def _note(self, piece: Piece) -> None:
        for transfer in piece.transfers:
            self.arrivals.setdefault(transfer.target, []).append(transfer)

    def _plan_shared(self) -> None:
        """Paths and exits, each after everything that leads to it."""
        waiting = [p for p in self.spec.paths.values() if p.kind in ("path", "exit") and not p.called and self._wanted(p)]
        leads: dict[str, set[str]] = {p.name: set() for p in waiting}
        for path in waiting:
            for target in _targets(path):
                if target in leads:
                    leads[target].add(path.name)
        done: set[str] = set()
        while waiting:
            ready = next((p for p in waiting if leads[p.name] <= done), None)
            if ready is None:
                self.collector.error("E350", "these paths lead to each other in a circle: " + ", ".join(p.name for p in waiting), waiting[0].span)
                return
            waiting.remove(ready)
            done.add(ready.name)
            sources = self.arrivals.get(ready.name, [])
            if not sources and self.only is None:
                continue
            piece = self.walker.walk(ready, self._joined(ready, sources) if sources else _from_c(self.spec, ready))
            self.planned[ready.name] = piece
            self._note(piece)

    def _joined(self, path: Path, sources: list[Transfer]) -> Machine:
        machine = join([s.machine for s in sources])
        first = sources[0].machine
        for source in sources[1:]:
            if (source.machine.below, source.machine.frame) != (first.below, first.frame):
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
                                     "; ".join(f"{d.path} at {d.span}" for d in sites[:4]),
                                     edits=replaced(decision.span, str(decision.most), str(len(sites))))

    # ---- placing ----

    def _place_table(self, paths: list[Path]) -> None:
        """The table that the hardware enters: one slot for each event, a jump to its body."""
        if not paths:
            return
        slots = sorted(((p.event.found[1], p) for p in paths if p.event is not None), key=lambda row: row[0])
        size = max(p.event.found[2] for _, p in slots if p.event is not None)
        guard = frozenset.intersection(*(p.guard for p in paths))
        span = 1
        while span < slots[-1][0] + size:
            span *= 2
        self.out += [AlignLine(span, guard), LabelLine(VECTOR_TABLE, "entry", guard, comment="the vector table")]
        for offset, path in slots:
            jump = find(self.spec.arch, Control("jump", local_label(path.name)))
            assert jump is not None
            name = path.event.name if path.event else ""
            self.out += [OrgLine(VECTOR_TABLE, offset, guard), Insn(*jump, guard=path.guard, comment=name, span=path.span, step=f"table:{path.name}")]
        self.out.append(OrgLine(VECTOR_TABLE, slots[-1][0] + size, guard))

    def _place_path(self, path: Path) -> None:
        if path.name not in self.placed:
            self._place(path.name, numbered=path.number is not None)

    def _place(self, name: str, numbered: bool = False) -> None:
        """A piece with its arms; what it goes on to follows directly when it has no place yet, else, and for numbered ones, a jump."""
        path = self.spec.paths[name]
        inner = path.kind in ("exit", "path") and not path.called
        self.out += [AlignLine(PATH_ALIGN, path.guard), *self._label(name, "exit" if inner else "entry")]
        self.placed.add(name)
        piece = self.planned[name]
        self._body(piece, numbered)

    def _label(self, name: str, kind: str) -> list[Line]:
        """The global symbol, and where jumps go to it from within."""
        path = self.spec.paths[name]
        symbol = LabelLine(name, kind, path.guard)
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
        if target not in self.placed and target in self.planned and not numbered:
            self.placed.add(target)
            self.out += self._label(target, "exit")
            self._body(self.planned[target], False)
            return
        jump = find(self.spec.arch, Control("jump", local_label(target)))
        assert jump is not None
        holder = self.spec.paths.get(piece.owner or piece.name)
        guard = self.spec.paths[target].guard | (holder.guard if holder is not None else frozenset())
        self.out.append(Insn(*jump, guard=guard, span=self.spec.paths[target].span, step=f"go:{piece.name}:{target}", unwound=piece.end))


def leading_to(spec: Spec, called: str) -> list[str]:
    """The paths that go through a called one, and the entry points that go on at those. Paranoid ones are left out: they go through it in an arm."""
    direct = [p for p in spec.paths.values() if any(isinstance(s, Through) and s.path == called for s in flat_steps(p.steps)) and not p.paranoid]
    names = {p.name for p in direct}
    before = [p for p in spec.of_kind("entry") if any(isinstance(s, Goto) and s.path in names for s in flat_steps(p.steps))]
    return [*(p.name for p in direct), *(p.name for p in before)]


def _targets(path: Path) -> list[str]:
    out: list[str] = []
    for step in flat_steps(path.steps):
        if isinstance(step, Goto):
            out.append(step.path)
        elif isinstance(step, ExitTo):
            out += step.targets
    return out


def arrival(spec: Spec, configuration: Configuration, path: Path, known: dict[tuple[str, str | None, bool], Machine]) -> Machine:
    """The machine as the event leaves it: from the .arch row and the boundary of who was interrupted.

    `known` keeps what does not depend on the number, for the other numbers of the event.
    """
    event = path.event
    assert event is not None
    key = (event.name, path.origin, path.paranoid)
    if key not in known:
        known[key] = _arrival_registers(spec, path)
    machine = known[key].copy()
    machine.number = path.number
    machine.paranoid = path.paranoid
    _arrival_stack(spec, configuration, machine, path, spec.arch.of_kind("stack"))
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
        facts = [spec.boundaries[ANYWHERE].arrive if o == "kernel" and path.paranoid else spec.arrive.get(o, ()) for o in origins]
        values = {next((str(f.value) for f in rows if f.subject == name and f.value != ANY), None) for rows in facts}
        machine.states[name] = values.pop() if len(values) == 1 else None
    machine.states = after_effects(spec, machine.states, event.effects)
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


def _arrival_stack(spec: Spec, configuration: Configuration, machine: Machine, path: Path, sp: str) -> None:
    event = path.event
    assert event is not None
    rows = [r for r in event.stacks if path.origin in ("any", r.origin)]
    names: set[str] = set()
    for row in rows:
        if row.stack == sp:
            names.add("interrupted")
        else:
            stack = spec.leads_to(row.stack, configuration)
            names.update([stack.name] if stack is not None else [])
    if path.stack is not None:
        names = {path.stack}
    pushed = len(event.pushes) + event.pushes_error(path.number)
    if not rows:
        machine.stack, machine.below = "user", None
        return
    machine.stack = names.pop() if len(names) == 1 else "any"
    machine.below = pushed * spec.arch.word_bytes
    machine.error_pushed = event.pushes_error(path.number)
    machine.above = event.words * spec.arch.word_bytes
    for home in event.pushes:
        for frame in spec.frames.values():
            machine.slots.update({s.name: Value("interrupted", home) for s in frame.slots.values() if s.hardware and s.home == home})
    if event.pushes:
        for home in event.pushes:
            machine.regs[home] = UNKNOWN
    elif machine.stack != "interrupted":
        machine.regs[sp] = UNKNOWN


def _under_contract(spec: Spec, machine: Machine) -> Machine:
    """States and flag places as contract c has them."""
    machine.states = dict.fromkeys(spec.states)
    machine.places = dict.fromkeys(spec.arch.places)
    for need in spec.contracts["c"]:
        if need.subject in machine.states:
            machine.states[need.subject] = str(need.value)
        elif need.subject in machine.places:
            machine.places[need.subject] = int(need.value)
    return machine


def _routine(spec: Spec, path: Path) -> Machine:
    """A C function calls: contract c holds, the frame's address is the first argument."""
    arch = spec.arch
    machine = Machine(origin="user" if path.frame is not None else "kernel")
    for register in arch.registers.values():
        machine.regs[register.name] = UNKNOWN
        if path.arguments and register.kind == "gpr":
            machine.regs[register.name] = Value("interrupted", register.name)           # the caller's
        elif path.resumed is not None and register.name in arch.abi.preserved:
            machine.regs[register.name] = Value("slot", register.name)
    if path.frame is not None:
        machine.regs[arch.abi.args[0]] = Value("frame", path.frame)
    _under_contract(spec, machine)
    machine.stack = "interrupted"
    if path.arguments:
        machine.below = arch.abi.return_address
        machine.slots = {s.name: Value("interrupted", arch.of_kind("pc")) for f in spec.frames.values() for s in f.hardware if s.home == arch.of_kind("pc")}
        for name in arch.abi.args[:len(path.arguments)]:
            machine.regs[name] = Value("argument", name)
        for name in arch.gprs:
            if name not in arch.abi.preserved and machine.regs[name].kind == "interrupted":
                machine.regs[name] = UNKNOWN
    elif path.resumed is not None:
        machine.below = 0
    return machine


def _from_c(spec: Spec, path: Path) -> Machine:
    """What goes to a path is not planned: C has left a whole frame at the stack pointer, and its contract holds."""
    machine = _under_contract(spec, Machine(origin=path.origin, regs=dict.fromkeys(spec.arch.registers, UNKNOWN)))
    stacks = [str(n.value) for n in spec.contracts["c"] if n.subject == "stack"]
    machine.origin = path.origin or "any"
    machine.stack = stacks[0] if stacks and path.origin == "user" else "interrupted"
    if path.frame is not None:
        frame = spec.frames[path.frame]
        machine.frame, machine.below = frame.name, frame.size
        machine.slots = {name: Value("slot", name) for name in frame.slots}
    return machine


def _keys(lines: list[Line]) -> list[tuple[object, ...]]:
    """What makes lines of two configurations the same: all of it, and the label that they stand behind. Padding belongs to the label after it."""
    out: list[tuple[object, ...]] = []
    behind = ""
    padding: list[int] = []
    for line in lines:
        if isinstance(line, LabelLine) and line.kind != "inner" and not line.guard:
            behind = line.name
        if isinstance(line, LabelLine):
            for index in padding:
                out[index] = (out[index][0], line.name, *out[index][2:])
            padding = []
        if isinstance(line, Insn):
            out.append(("insn", behind, line.form.name, line.operands, line.step, line.guard))
        elif isinstance(line, LabelLine):
            out.append(("label", line.name if not line.guard and line.kind != "inner" else behind, line.name, line.kind, line.guard))
        else:
            padding.append(len(out))
            out.append((type(line).__name__, "", line))
    return out


Merged = list[tuple[Line, set[str]]]


def _unreached(spec: Spec, merged: Merged) -> Merged:
    """A shared path that some configurations never reach is not in them: its lines get the feature that tells."""
    every = set(spec.configurations)
    telling = {frozenset(c.name for c in spec.configurations.values() if c.holds(frozenset({literal}))): literal
               for feature in spec.features for literal in ((feature, True), (feature, False))}
    out: Merged = []
    waiting: Merged = []
    extra: Guard = frozenset()
    for line, present in merged:
        if isinstance(line, LabelLine) and line.kind in ("entry", "exit"):
            path = spec.paths.get(line.name)
            shared = path is not None and path.kind in ("path", "exit") and not path.guard and present != every
            extra = frozenset({telling[frozenset(present)]}) if shared and frozenset(present) in telling else frozenset()
        if isinstance(line, AlignLine):         # padding belongs to the label after it
            waiting.append((line, present))
            continue
        rows = [*waiting, (line, present)]
        waiting = []
        out += [(replace(row, guard=row.guard | extra), where) if extra else (row, where) for row, where in rows]
    return out + waiting


def _merge(spec: Spec, parts: dict[str, list[Line]], collector: Collector) -> list[Line]:
    """One list in which each line's guard says in which configurations it is present: an order that all of them agree with."""
    lines: dict[tuple[object, ...], Line] = {}
    presence: dict[tuple[object, ...], set[str]] = {}
    before: dict[tuple[object, ...], set[tuple[object, ...]]] = {}
    for name, part in parts.items():
        seen: dict[tuple[object, ...], int] = {}
        last = None
        for line, key in zip(part, _keys(part), strict=True):
            seen[key] = seen.get(key, 0) + 1
            key = (*key, seen[key])
            lines.setdefault(key, line)
            presence.setdefault(key, set()).add(name)
            before.setdefault(key, set()).update([last] if last is not None else [])
            last = key
    blocks: dict[object, int] = {}             # lines behind one label stay together, wherever a configuration has them first
    for index, key in enumerate(lines):
        blocks.setdefault(key[1], index)
    order = {key: (blocks[key[1]], index) for index, key in enumerate(lines)}
    sorter = TopologicalSorter(before)
    try:
        sorter.prepare()
    except CycleError as problem:
        spans = [line.span for line in (lines[key] for key in problem.args[1]) if isinstance(line, Insn)]
        collector.error("E354", "the configurations disagree on the order of these steps", spans[0] if spans else Span(spec.source, 1, 1, 1, 2))
        return []
    merged: Merged = []
    ready: list[tuple[int, int]] = []
    keys = list(lines)
    while sorter.is_active():
        for key in sorter.get_ready():
            heappush(ready, order[key])
        key = keys[heappop(ready)[1]]
        merged.append((lines[key], presence[key]))
        sorter.done(key)
    merged = _unreached(spec, merged)
    for line, present in merged:
        guard: Guard = getattr(line, "guard", frozenset())
        holding = {c.name for c in spec.configurations.values() if c.holds(guard)}
        if holding != present:
            span = line.span if isinstance(line, Insn) else Span(spec.source, 1, 1, 1, 2)
            collector.error("E354", "this step becomes different code in different configurations: " + ", ".join(sorted(present)), span,
                            "write the difference as steps under a feature")
    return [line for line, _ in merged]
