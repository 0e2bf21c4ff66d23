"""Rules of a whole spec that need no plan: one function a rule or a small family of rules."""

from __future__ import annotations

from ..source.edits import Edits, appended, inside, replaced, written
from ..source.finding import Collector
from ..source.text import Span
from .expr import Binary, Expr, FrameRef, Num, Reg, SetupRef, SlotRef, constant, evaluate, is_constant, show, walk
from .names import near
from .spec import Choice, CStep, Frame, Handler, Path, Spec
from .steps import Assert, Call, ExitTo, Goto, Jump, Label, Room, Save, Through, flat_steps


def check(spec: Spec, collector: Collector) -> None:
    """Run every rule."""
    for rule in (_entries, _frames, _events, _saved, _setup, _choices, _clauses, _works, _called, _handlers, _calls, _symbols, _tables, _reached, _described,
                 _struck, _raised, _loaded):
        rule(spec, collector)


def _start(spec: Spec) -> Span:
    return Span(spec.source, 1, 1, 1, 2)


def _entries(spec: Spec, collector: Collector) -> None:
    excerpt = spec.target != "bare" and bool(spec.works or spec.methods)         # of a kernel that exists
    if not spec.of_kind("entry") and not excerpt:
        collector.error("E270", "the spec has no entry point", _start(spec), "for example: vectors 0..255 { … }")
    for path in spec.of_kind("entry"):
        for origin in ("user", "kernel") if path.origin == "any" else (path.origin or "kernel",):
            if origin == "user" and spec.states and origin not in spec.arrive:
                collector.error("E271", "nothing says in which state user code arrives", path.span, "add: boundary user { arrive … }")


def _frames(spec: Spec, collector: Collector) -> None:
    for frame in spec.frames.values():
        if not frame.slots:
            collector.error("E272", f"frame '{frame.name}' has no slot", frame.span)
        homes: dict[str, str] = {}
        for slot in frame.slots.values():
            if slot.home is not None and slot.home in homes:
                collector.error("E273", f"slots '{homes[slot.home]}' and '{slot.name}' both keep the interrupted {slot.home}", slot.span)
            if slot.home is not None:
                homes[slot.home] = slot.name
        if frame.size % spec.arch.abi.align and not spec.arch.abi.return_address and any(not s.hardware for s in frame.slots.values()):
            collector.error("E274", f"frame '{frame.name}' has {frame.size} bytes: not a multiple of {spec.arch.abi.align}, the alignment of the stack",
                            frame.span, "add a slot: pad : by c", edits=inside(frame.span, "; pad : by c"))


def _saving(path: Path) -> list[Save]:
    return [s for s in flat_steps(path.steps) if isinstance(s, Save)]


def _reachable_saves(spec: Spec, path: Path) -> list[Save]:
    """Saves on the way from an entry, through its gotos."""
    seen: set[str] = set()
    todo, out = [path], []
    while todo:
        current = todo.pop()
        if current.name in seen:
            continue
        seen.add(current.name)
        out += _saving(current)
        for step in flat_steps(current.steps):
            if isinstance(step, (Goto, Through)) and step.path in spec.paths:
                todo.append(spec.paths[step.path])
    return out


def _passed(spec: Spec) -> set[str]:
    """The frames that C gets; when none is passed on, all."""
    given = {a.frame for p in spec.paths.values() for s in flat_steps(p.steps) if isinstance(s, (Call, Jump)) for a in s.arguments if isinstance(a, FrameRef)}
    return given or set(spec.frames)


def _events(spec: Spec, collector: Collector) -> None:
    """A frame that an event's pushes are part of has to end with them."""
    done: set[tuple[str, str, bool]] = set()
    passed = _passed(spec)
    for path in spec.of_kind("entry"):
        event = path.event
        if event is None:
            continue
        for save in _reachable_saves(spec, path):
            frame = spec.frames[save.frame]
            errors = event.pushes_error(path.number)
            if (frame.name, event.name, errors) in done or not (frame.hardware or save.frame in passed):
                continue
            done.add((frame.name, event.name, errors))
            _event_frame(spec, collector, frame, event.name, tuple(reversed(event.pushes)), errors)


def _hardware(frame: Frame, pushed: tuple[str, ...]) -> Edits:
    """The hardware slots of a frame in the order of the CPU, where the frame writes them out."""
    first = frame.hardware[0].span if frame.hardware else None
    return replaced(first, written(first), f"hardware {{ {' '.join(pushed)} }}") if first is not None and written(first).startswith("hardware") else ()


def _event_frame(spec: Spec, collector: Collector, frame: Frame, event: str, pushed: tuple[str, ...], errors: bool) -> None:
    names = list(frame.slots.values())
    if not pushed:
        return
    tail = tuple(s.home or "" for s in names[len(names) - len(pushed):])
    if tail != pushed or not all(s.hardware for s in names[len(names) - len(pushed):]):
        collector.error("E275", f"frame '{frame.name}' does not match event '{event}': the CPU pushes {' '.join(pushed)} (lowest address first)",
                        frame.hardware[0].span if frame.hardware else frame.span, f"end the frame with: hardware {{ {' '.join(pushed)} }}",
                        edits=_hardware(frame, pushed))
    elif errors:
        below = names[len(names) - len(pushed) - 1] if len(names) > len(pushed) else None
        if below is None or below.source != "error_code":
            collector.error("E276", f"frame '{frame.name}' has no place for the error code that event '{event}' pushes below the hardware slots",
                            below.span if below else frame.span, "write directly before hardware: error = error_code else 0",
                            edits=replaced(frame.span, "hardware", "error = error_code else 0; hardware"))
        elif below.other is None:
            collector.error("E277", f"slot '{below.name}' is unwritten for the numbers without an error code", below.span,
                            f"say its value: {below.name} = error_code else 0", edits=replaced(below.span, "error_code", "error_code else 0"))


def _saved(spec: Spec, collector: Collector) -> None:
    """Every general register that C may change, or that is cleared, is in the frame."""
    abi = spec.arch.abi
    cleared = any(n.subject == "gprs" for needs in spec.contracts.values() for n in needs)
    done: set[str] = set()
    passed = _passed(spec)
    for path in spec.of_kind("entry"):
        for save in _reachable_saves(spec, path):
            frame = spec.frames[save.frame]
            if frame.name in done or frame.name not in passed:
                continue
            done.add(frame.name)
            homes = {s.home for s in frame.slots.values()}
            for register in spec.arch.gprs:
                if register not in homes and (cleared or register not in abi.preserved):
                    why = "it is cleared before C runs" if cleared and register in abi.preserved else "C may change it"
                    collector.error("E278", f"register '{register}' is in no slot of frame '{frame.name}': {why}", frame.span,
                                    f"add {register} to the frame", edits=replaced(frame.span, "{", f"{{ {register};"))


def _setup(spec: Spec, collector: Collector) -> None:
    needed: dict[str, Span] = {}
    for path in spec.of_kind("entry"):
        event = path.event
        if event is not None:
            program = spec.arch.programs.get(event.name)
            exprs = [a.value for a in event.effects] + [v for _, _, v in (program.rows if program else ()) if v is not None]
            for expr in exprs:
                for part in walk(expr):
                    if isinstance(part, SetupRef):
                        needed.setdefault(part.name, path.span)
    for name, span in needed.items():
        if name not in spec.setup:
            collector.error("E279", f"setup value '{name}' is not given: {spec.arch.setups[name].meaning}", span,
                            f"add it to the setup block: setup {{ {name} = … }}")
    for name, (_, span) in spec.setup.items():
        row = spec.arch.setups[name]
        if row.requires is not None and all(s in spec.setup for s in _setup_names(row.requires)):
            if not evaluate(row.requires, lambda e: spec.setup[e.name][0] if isinstance(e, SetupRef) else 0):
                collector.error("E280", f"the CPU demands {show(row.requires)}: {row.reason}", span)


def _setup_names(expr: Expr) -> list[str]:
    return [e.name for e in walk(expr) if isinstance(e, SetupRef)]


def _choices(spec: Spec, collector: Collector) -> None:
    for choice in spec.choices.values():
        *others, last = (spec.methods[m] for m in choice.methods)
        if last.clauses:
            collector.error("E281", f"choice '{choice.name}' has no fallback: its last method '{last.name}' has clauses that can all refuse",
                            choice.span, "end the choice with a method that has no clause")
        for method in others:
            if not method.clauses:
                collector.error("E282", f"method '{method.name}' has no clause: the methods after it are never used", method.span,
                                "put it last, or say when it may be used")
        if choice.by_address:
            for what, found in (("the CPU keeps return addresses on a shadow stack", spec.shadow_stacks),
                                ("indirect jumps have to land on " + (spec.landing[0] if spec.landing else ""), spec.landing)):
                if found is not None:
                    collector.error("E308", f"choice '{choice.name}' gives an address to jump to, and {what}", choice.span,
                                    "let C return the index of the method: leave out 'by address'")
        like = spec.choice_among(tuple(spec.methods[m].exit for m in choice.methods))
        if like is not None and _given(spec, like) != _given(spec, choice):
            collector.error("E215", f"choice '{choice.name}' picks among the exits of choice '{like.name}', and C gives it in another way", choice.span,
                            "the same for both: by address, by refusal, or the index")
        for method in (*others, last):
            if spec.paths[method.exit].origin != "user":
                collector.error("E283", f"method '{method.name}' returns to the kernel: '{method.exit}' is an exit to kernel", method.span)


def _given(spec: Spec, choice: Choice) -> tuple[bool, int]:
    """How C gives a choice: whether by address, and how many bits may refuse."""
    return choice.by_address, spec.result_bits(choice.name) if choice.by_refusal else 0


def _clauses(spec: Spec, collector: Collector) -> None:
    for method in spec.methods.values():
        equal: dict[str, int] = {}
        for clause in method.clauses:
            reason = never(clause.condition)
            if reason:
                collector.error("E284", f"this clause is never true: {reason}", clause.span, "the method could never be used")
            expr = clause.condition
            if isinstance(expr, Binary) and expr.op == "eq" and is_constant(expr.b):
                subject, value = show(expr.a), constant(expr.b)
                if subject in equal and equal[subject] != value:
                    collector.error("E284", f"this clause is never true: an earlier clause wants {subject} == {equal[subject]:#x}", clause.span,
                                    "the method could never be used")
                equal.setdefault(subject, value)


def never(expr: Expr) -> str | None:
    """Why a condition cannot hold, for the shapes that clauses have."""
    if is_constant(expr):
        return None if constant(expr) else f"{show(expr)} is false"
    if not isinstance(expr, Binary):
        return None
    if expr.op == "and":
        return never(expr.a) or never(expr.b)
    if expr.op == "eq" and is_constant(expr.b) and isinstance(expr.a, Binary) and expr.a.op == "band" and is_constant(expr.a.b):
        extra = constant(expr.b) & ~constant(expr.a.b)
        if extra:
            return f"the mask {show(expr.a.b)} removes the bits {extra:#x}"
    if expr.op == "lt" and is_constant(expr.b) and constant(expr.b) == 0:
        return "no unsigned value is below 0"
    if expr.op in ("ne", "lt", "gt") and expr.a == expr.b:
        return f"{show(expr.a)} is compared with itself"
    return None


def _called(spec: Spec, collector: Collector) -> None:
    """Every system call table is used by a handler, in a spec that has any."""
    called = {s.subject for h in spec.handlers.values() for s in _flat(h.steps) if s.verb == "syscalls"}
    for table in spec.tables.values():
        if table.name not in called and spec.handlers:
            collector.error("E286", f"no handler makes the system calls of '{table.name}'", table.span, f"add to a handler: syscalls {table.name}")


def _works(spec: Spec, collector: Collector) -> None:
    handled: dict[str, set[str]] = {name: set() for name in spec.flag_sets}
    used = {s.subject for h in spec.handlers.values() for s in _flat(h.steps) if s.verb == "work"}
    for work in spec.works.values():
        seen: dict[str, Span] = {}
        for row in work.rows:
            for flag in row.flags:
                if flag in seen:
                    collector.error("E285", f"flag '{flag}' is handled twice in '{work.name}'", row.span)
                seen[flag] = row.span
                handled[work.flags].add(flag)
        if work.name not in used and spec.handlers:
            collector.error("E286", f"exit work '{work.name}' is never run", work.span, f"add to a handler: work {work.name}")
    for flags, names in spec.flag_sets.items():
        if not any(w.flags == flags for w in spec.works.values()):
            continue
        for name in names:
            if name not in handled[flags]:
                at = next(w.span for w in spec.works.values() if w.flags == flags)
                collector.error("E287", f"flag '{name}' is never handled", at, f"add a row: {name} -> …")


def _flat(steps: tuple[CStep, ...]) -> list[CStep]:
    out: list[CStep] = []
    for step in steps:
        out.append(step)
        out += _flat(step.user) + _flat(step.kernel)
        for _, body in step.arms:
            out += _flat(body)
    return out


def flat_handler(handler: Handler) -> list[CStep]:
    """All statements of a handler, nested ones included."""
    return _flat(handler.steps)


def _handlers(spec: Spec, collector: Collector) -> None:
    for handler in spec.handlers.values():
        _order(spec, collector, handler, handler.steps, [], False)
        for step in handler.steps[:-1]:
            if step.verb == "choose":
                collector.error("E288", "the return method is chosen last: what follows could change the frame", step.span, "move it to the end")
        if handler.choice and spec.choices[handler.choice].by_refusal:
            collector.error("E215", f"handler '{handler.name}' gives the index of choice '{handler.choice}', which is given by refusal", handler.span,
                            "leave 'by refusal' out, or leave the handler to C that exists")
        last = handler.steps[-1] if handler.steps else None
        chosen = last.subject if last is not None and last.verb == "choose" else None
        if handler.choice != chosen:
            collector.error("E289", f"handler '{handler.name}' " + (f"has to end with: choose {handler.choice}" if handler.choice else
                            f"chooses a return method that it does not return: write handler {handler.name}({handler.frame}) -> {chosen}"), handler.span,
                            edits=replaced(handler.span, f"({handler.frame})", f"({handler.frame}) -> {chosen}") if chosen and not handler.choice else ())


def _order(spec: Spec, collector: Collector, handler: Handler, steps: tuple[CStep, ...], entered: list[str], inside: bool) -> list[str]:
    """Brackets nest; exit work comes before `leave`; nothing but the choice comes after it."""
    opened: list[str] = list(entered)
    left: Span | None = None
    let_over = inside
    for step in steps:
        if step.verb == "let":
            if let_over:
                collector.error("E290", "system registers are read first: what runs before could fault and change them", step.span)
            continue
        let_over = True
        if left is not None and step.verb not in ("choose", "leave"):
            collector.error("E291", f"'{step.verb}' comes after the bookkeeping was left", step.span, "only the choice of the method may follow")
        if step.verb == "enter":
            if step.subject in opened:
                collector.error("E292", f"bracket '{step.subject}' is entered twice", step.span)
            opened.append(step.subject)
        elif step.verb == "leave":
            if not opened or opened[-1] != step.subject:
                last = f"'{opened[-1]}' was entered last" if opened else "none was entered"
                collector.error("E292", f"bracket '{step.subject}' is left, but {last}", step.span)
            else:
                opened.pop()
            left = step.span
        elif step.verb == "origin":
            for arm in (step.user, step.kernel):
                _order(spec, collector, handler, arm, opened, True)
        elif step.verb == "dispatch":
            for _, body in step.arms:
                _order(spec, collector, handler, body, opened, True)
    for name in opened[len(entered):]:
        collector.error("E292", f"bracket '{name}' is entered but never left in handler '{handler.name}'", handler.span)
    return opened


def _calls(spec: Spec, collector: Collector) -> None:
    called: set[str] = set()
    for path in spec.paths.values():
        bound: Call | None = None
        for step in flat_steps(path.steps):
            if isinstance(step, Call):
                called.add(step.callee)
                bound = step if step.binds else bound
                handler = spec.handlers.get(step.callee)
                if handler is not None and bool(handler.choice) != bool(step.binds):
                    collector.error("E293", f"'{step.callee}' " + ("returns a method" if handler.choice else "returns no method"), step.span,
                                    f"write: call {step.callee}(…)" + (" -> method" if handler.choice else ""),
                                    edits=appended(step.span, " -> method") if handler.choice else replaced(step.span, " -> method", ""))
            elif isinstance(step, ExitTo) and step.by_method:
                if bound is None:
                    collector.error("E294", "no call gave a method", step.span, "write: call F(regs) -> method")
                    continue
                handler = spec.handlers.get(bound.callee)
                made = spec.choices.get((handler.choice if handler is not None else bound.binds) or "")
                like = spec.choice_among(step.targets)
                if made is None and like is not None and like.by_refusal:
                    collector.error("E295", f"choice '{like.name}' picks among these exits by refusal, and the call names no choice", bound.span,
                                    f"write: call {bound.callee}(…) -> {like.name}")
                if made is not None:
                    exits = tuple(spec.methods[m].exit for m in made.methods)
                    if exits != step.targets:
                        collector.error("E295", f"choice '{made.name}' picks among {', '.join(exits)}, in this order", step.span,
                                        "write them in this order", edits=replaced(step.span, ", ".join(step.targets), ", ".join(exits)))
    for path in spec.paths.values():
        for step in flat_steps(path.steps):
            called.add(getattr(step, "callee", ""))
    for handler in spec.handlers.values():
        if handler.name not in called:
            collector.error("E296", f"handler '{handler.name}' is never called", handler.span, near(handler.name, called - {""}))


def _symbols(spec: Spec, collector: Collector) -> None:
    """All global names of the output are different."""
    taken: dict[str, Span | None] = {}
    rows: list[tuple[str, Span]] = [(p.name, p.span) for p in spec.paths.values()]
    rows += [(h.name, h.span) for h in spec.handlers.values()]
    rows += [(h.name, h.span) for h in spec.hooks.values() if h.name not in spec.handlers]
    counts: dict[str, tuple[int, Span]] = {}
    for row in (r for t in spec.tables.values() for r in t.rows):
        count, first = counts.setdefault(row.name, (row.count, row.span))
        if first is row.span:
            rows.append((row.name, row.span))
        elif count != row.count:                # two tables may name one function
            collector.error("E303", f"'{row.name}' takes {row.count} arguments here and {count} there", row.span, related=(("the other one", first),))
    shared: dict[str, str] = {}                 # a label of its own name may stand in several paths: one place
    for path in spec.paths.values():
        for label in (s for s in flat_steps(path.steps) if isinstance(s, Label) and path.number is None):
            if not label.own or shared.setdefault(label.name, path.name) == path.name:
                rows.append((label.symbol(path.name), label.span))
    for name, span in rows:
        if name in taken:
            earlier = taken[name]
            collector.error("E297", f"two things would get the symbol '{name}'", span, related=(("the other one", earlier),) if earlier else ())
        taken[name] = span


def _tables(spec: Spec, collector: Collector) -> None:
    """A vector table in memory has no empty slot."""
    used = {p.event.name for p in spec.of_kind("entry") if p.event is not None}
    tables = [e for e in spec.arch.events.values() if e.found[0] == "table"]
    rows = [p for p in spec.of_kind("entry") if p.event in tables]
    if rows:
        for event in tables:
            if event.name not in used:
                collector.error("E298", f"the vector table has no entry for event '{event.name}'", rows[-1].span, f"add: entry … on {event.name} …")


def _reached(spec: Spec, collector: Collector) -> None:
    """Every path and exit is used."""
    used = {m.exit for m in spec.methods.values()}
    for path in spec.paths.values():
        for step in flat_steps(path.steps):
            if isinstance(step, (Goto, Through)):
                used.add(step.path)
            elif isinstance(step, ExitTo):
                used.update(step.targets)
    for path in (*spec.of_kind("path"), *spec.of_kind("exit")):
        if path.name not in used:
            collector.error("E299", f"{path.kind} '{path.name}' is never used", path.span, "remove it, or lead there")
    for memory in spec.memories.values():
        for counters in memory.counters.values():
            if not any(h.choice == counters.choice for h in spec.handlers.values()):
                collector.error("E300", f"counters '{counters.name}' count choice '{counters.choice}', which no handler makes", counters.span)
        if memory.counters and not any(h.result == memory.name for h in spec.hooks.values()):
            collector.error("E301", f"C cannot reach the counters of memory '{memory.name}'", memory.span,
                            f"declare a hook that returns its address: hook {memory.name} this_cpu()")


def _described(spec: Spec, collector: Collector) -> None:
    """What describes code that exists cannot be generated."""
    if spec.target != "bare":
        return
    rows: list[tuple[str, Span]] = [("a feature that is patched at boot", f.span) for f in spec.features.values() if f.kind == "patch"]
    rows += [("a symbol", s.span) for s in spec.symbols.values()]
    rows += [("a word at a symbol", c.span) for m in spec.memories.values() for c in m.cells.values() if c.symbol is not None]
    rows += [("an op that runs only sometimes, that writes slots or that returns", o.span) for o in spec.ops.values() if o.when or o.writes or o.returns]
    rows += [("the symbol of a hook", h.span) for h in spec.hooks.values() if h.symbols]
    rows += [("work that is done alone, or with interrupts of its own", r.span) for w in spec.works.values() for r in w.rows
             if r.alone or r.irqs_on is not None]
    for path in spec.paths.values():
        if path.placed:
            rows.append(("a place of an entry point", path.span))
        if path.called:
            rows.append(("a path that is called", path.span))
        for step in flat_steps(path.steps):
            if isinstance(step, (Room, Assert)):
                rows.append((f"'{type(step).__name__.lower()}'", step.span))
            elif isinstance(step, Call) and (step.setting is not None or step.binds not in (None, "method")):
                rows.append(("what a call sets, or the choice of a function that is not in the spec", step.span))
            elif isinstance(step, Call) and step.move is not None and bool(step.move.but) != (step.move.at is not None):
                rows.append(("slots that a function writes from nowhere: say 'at SLOT',", step.span))
            elif isinstance(step, ExitTo) and step.by_origin:
                rows.append(("an exit by origin", step.span))
    for what, span in rows:
        collector.error("E302", f"{what} belongs to a spec that describes a kernel's own code", span, "write: target existing, or target linux")


def _struck(spec: Spec, collector: Collector) -> None:
    """Vectors that nothing holds off: each has a stack of its own, and where the spec knows windows, its entry point is paranoid."""
    if spec.target != "bare":
        return
    owners: dict[str, Path] = {}
    for path in spec.of_kind("entry"):
        if path.stack is not None:
            other = owners.setdefault(path.stack, path)
            if other is not path and any(c.holds(path.guard) and c.holds(other.guard) for c in spec.configurations.values()):
                collector.error("E304", f"stack '{path.stack}' is entered by vector {other.number} and by vector {path.number}: "
                                        "one would overwrite the other's frame", path.span, "give each a stack of its own",
                                related=(("the other one", other.span),))
        if path.paranoid and path.stack is None:
            collector.error("E305", f"'{path.name}' can strike where the stack pointer is still the user's: it needs a stack of its own", path.span,
                            f"write: entry {path.name} on vector {path.number} stack NAME paranoid {{ … }}")
        if path.event is None or path.number not in path.event.anywhere or path.paranoid or path.origin != "any":
            continue
        if any(p.paranoid for p in spec.paths.values()) or spec.boundaries:
            collector.error("E305", f"vector {path.number} can strike where the kernel still has the user's state: its entry point has to be paranoid",
                            path.span, f"write: entry NAME on vector {path.number} stack NAME paranoid {{ … }}")


def _raised(spec: Spec, collector: Collector) -> None:
    """What INT n may raise: no vector whose frame holds an error code, none that is kept for the machine."""
    for path in spec.of_kind("entry"):
        if path.user_may_raise and path.event is not None and path.number is not None:
            if path.number in path.event.error_numbers:
                collector.error("E306", f"user code may not raise vector {path.number}: a software interrupt pushes no error code, "
                                        "and the frame would lie one word off", path.span)
            elif path.number in path.event.anywhere:
                collector.error("E306", f"user code may not raise vector {path.number}: its entry point believes the machine", path.span)


def _loaded(spec: Spec, collector: Collector) -> None:
    """A clause that compares with another value than the return instruction loads."""
    for method in spec.methods.values():
        path = spec.paths[method.exit]
        row, frame = spec.return_of(path), spec.frame_of(path)
        for effect in row.effects if row is not None and frame is not None else ():
            parts = list(walk(effect.value))
            if not any(isinstance(e, SetupRef) for e in parts) or any(isinstance(e, Reg) for e in parts) or not isinstance(effect.place, Reg):
                continue
            if any(isinstance(e, SetupRef) and e.name not in spec.setup for e in parts):
                continue
            value = evaluate(effect.value, lambda e: spec.setup[e.name][0] if isinstance(e, SetupRef) else 0)
            for clause in method.clauses:
                expr = clause.condition
                if isinstance(expr, Binary) and expr.op == "eq" and isinstance(expr.a, SlotRef) and is_constant(expr.b) and frame is not None \
                        and frame.slots[expr.a.slot].home == effect.place.name and constant(expr.b) != value and row is not None:
                    collector.error("E307", f"{row.name} loads {value:#x} into {effect.place.name}, and this clause wants {constant(expr.b):#x}", clause.span,
                                    "the program would go on with another selector than it had")


__all__ = ["Num", "check", "flat_handler", "never"]
