"""Entry points, paths, exits and routines: bodies to resolved steps, kinds and vector ranges expanded."""

from __future__ import annotations

from dataclasses import dataclass

from lark import Token, Tree

from ..source.text import SourceFile, Span
from .context import Context
from .expr import Bit, Expr, Mem, SlotRef
from .names import Node, first, int_of, text_of, tokens, trees
from .spec import Path
from .steps import (
    Adopt,
    Assert,
    Call,
    Clear,
    Do,
    Drop,
    ExitTo,
    Goto,
    Jump,
    Label,
    Origin,
    Reframe,
    Restore,
    ReturnStep,
    Room,
    Save,
    Set,
    SetState,
    Step,
    SwitchStack,
    Through,
    flat_steps,
)
from .surroundings import ANYWHERE, KEPT, Guard, Move

MAX_PATHS = 5000
__all__ = ["build", "text_of"]


@dataclass
class _Kind:
    """A parametrised body."""

    params: tuple[str, ...]
    body: Node
    file: SourceFile
    span: Span


@dataclass
class _Scope:
    """Where a body stands: its frame (for restore) and what kind parameters stand for."""

    frame: str | None
    bindings: dict[str, str]

    def bound(self, name: str) -> str:
        """What a name of the body stands for."""
        return self.bindings.get(name, name)


def build(context: Context, items: list[tuple[SourceFile, Node]]) -> None:
    """Add all paths to the spec, in the order written; references between them are checked at the end."""
    kinds: dict[str, _Kind] = {}
    builder = _Steps(context, kinds)
    for file, node in items:
        if node.data == "kind":
            context.file = file
            name, *params = (str(t) for t in tokens(node, "NAME"))
            context.declare(kinds, name, context.span(node), "kind")
            kinds[name] = _Kind(tuple(params), trees(node, "body")[0], file, context.span(node))
    for file, node in items:
        context.file = file
        if node.data in ("entry", "vectors", "path", "exit", "routine", "resumed"):
            builder.add(node)
        if len(context.spec.paths) > MAX_PATHS:
            context.error("E004", f"the spec has more than {MAX_PATHS} paths", context.span(node))
            break
    builder.check_references()


class _Steps:
    def __init__(self, context: Context, kinds: dict[str, _Kind]) -> None:
        self.context, self.spec, self.kinds = context, context.spec, kinds

    def add(self, node: Node) -> None:
        {"entry": self._entry, "vectors": self._vectors, "path": self._path, "exit": self._exit, "routine": self._routine,
         "resumed": self._routine}[str(node.data)](node)

    def _put(self, path: Path) -> None:
        self.context.declare(self.spec.paths, path.name, path.span, "path")
        self.spec.paths[path.name] = path

    def _body(self, node: Node, guard: Guard) -> tuple[Step, ...]:
        """The body of an entry: written out, or of a kind."""
        use = first(node, "as_kind")
        if use is None:
            return self.steps(trees(node, "body")[0], guard, _Scope(None, {}))
        name, *arguments = (str(t) for t in tokens(use, "NAME"))
        span = self.context.span(use)
        if not self.context.known(self.kinds, name, span, "kind"):
            return ()
        kind = self.kinds[name]
        if len(arguments) != len(kind.params):
            self.context.error("E230", f"kind '{name}' takes {len(kind.params)} argument(s), {len(arguments)} given", span)
            return ()
        outer, self.context.file = self.context.file, kind.file
        steps = self.steps(kind.body, guard, _Scope(None, dict(zip(kind.params, arguments, strict=True))))
        self.context.file = outer
        return steps

    def _entry(self, node: Node) -> None:
        name, span = str(tokens(node, "NAME")[0]), self.context.span(node)
        event_name = ".".join(str(t) for t in trees(node, "name")[0].children)
        guard = self.context.guard(node)
        numbers: tuple[int, ...] = ()
        if not self.context.known(self.spec.arch.events, event_name, span, "event"):
            return
        event = self.spec.arch.events[event_name]
        written = tokens(node, "INT")
        if bool(event.numbers) != bool(written):
            self.context.error("E231", f"event '{event_name}' has " + ("numbers" if event.numbers else "no numbers"), span,
                               "write: vectors N..N { … }, or: entry NAME on vector N { … }" if event.numbers else f"write: on {event_name}")
            return
        if written and event.numbers is not None:
            numbers = (int_of(written[0]),)
            if not event.numbers[0] <= numbers[0] <= event.numbers[1]:
                self.context.error("E234", f"vector {numbers[0]} is not within {event.numbers[0]}..{event.numbers[1]}", span)
            self._unique(numbers[0], span)
        stack = first(node, "on_stack")
        stack_name = str(tokens(stack, "NAME")[0]) if stack is not None else None
        if stack_name is not None:
            self.context.known(self.spec.stacks, stack_name, span, "stack")
        paranoid = bool(tokens(node, "PARANOID"))
        if paranoid and ANYWHERE not in self.spec.boundaries:
            self.context.error("E243", f"nothing says how code that is interrupted {ANYWHERE} is found", span, f"add: boundary {ANYWHERE} of kernel {{ … }}")
        origin = self._origin(node, event.origin, span)
        self.context.numbered = bool(numbers)
        self._put(Path(name, "entry", self._body(node, guard), guard, span, event, numbers, origin, user_may_raise=first(node, "by_user") is not None,
                       stack=stack_name, paranoid=paranoid))
        self.context.numbered = False

    def _unique(self, number: int, span: Span) -> bool:
        """Complain about a second entry point for a vector."""
        other = next((p for p in self.spec.of_kind("entry") if p.number == number), None)
        if other is not None:
            self.context.collector.error("E235", f"vector {number} has two entry points", span, related=(("the other one", other.span),))
        return other is None

    def _origin(self, node: Node, possible: str, span: Span) -> str:
        written = [str(t) for t in tokens(node, "BOUND")]
        if written and possible not in ("any", written[0]):
            self.context.error("E232", f"this event never comes from {written[0]}: only from {possible}", span)
        if written:
            return written[0]
        if possible == "any" and "user" not in self.spec.arrive:
            return "kernel"
        return possible

    def _vectors(self, node: Node) -> None:
        span, guard = self.context.span(node), self.context.guard(node)
        event = next((e for e in self.spec.arch.events.values() if e.numbers), None)
        if event is None or event.numbers is None:
            self.context.error("E233", f"{self.spec.arch.name} has no numbered vectors", span)
            return
        numbers, excepted, raised = self._ranges(node)
        low, high = numbers
        if low > high or low < event.numbers[0] or high > event.numbers[1]:
            self.context.error("E234", f"vectors {low}..{high} are not within {event.numbers[0]}..{event.numbers[1]}", span)
            return
        for number in sorted(excepted | raised):
            if not low <= number <= high:
                self.context.error("E234", f"vector {number} is not within {low}..{high}", span)
        self.context.numbered = True
        body = self._body(node, guard)
        self.context.numbered = False
        placed = first(node, "placed")
        symbol, each = (str(tokens(placed, "NAME")[0]), int_of(tokens(placed, "INT")[0])) if placed is not None else ("", 0)
        origin = event.origin if "user" in self.spec.arrive or event.origin != "any" else "kernel"
        taken = {p.number: p for p in self.spec.of_kind("entry") if p.number is not None}
        for number in range(low, high + 1):
            if number in excepted:
                continue
            if number in taken:
                self.context.collector.error("E235", f"vector {number} has two entry points", span,
                                             related=(("the other one", taken[number].span),))
                continue
            self._put(Path(f"vector_{number}", "entry", body, guard, span, event, (number,), origin, user_may_raise=number in raised,
                           placed=(symbol, each * (number - low)) if symbol else None))

    def _ranges(self, node: Node) -> tuple[tuple[int, int], set[int], set[int]]:
        """The range, the numbers left out, and those that user code may raise."""
        low, high = (int_of(t) for t in tokens(node, "INT"))
        lists = [{int_of(t) for t in tokens(part, "INT")} if part is not None else set[int]() for part in (first(node, "excepted"), first(node, "raised"))]
        return (low, high), lists[0], lists[1]

    def _path(self, node: Node) -> None:
        names, span, guard = [str(t) for t in tokens(node, "NAME")], self.context.span(node), self.context.guard(node)
        frame = names[1] if len(names) > 1 else None
        if frame is not None:
            self.context.known(self.spec.frames, frame, span, "frame")
        self._put(Path(names[0], "path", self.steps(trees(node, "body")[0], guard, _Scope(frame, {})), guard, span, frame=frame,
                       called=bool(tokens(node, "CALLED"))))

    def _exit(self, node: Node) -> None:
        names = [str(t) for t in tokens(node, "NAME")]
        span, guard = self.context.span(node), self.context.guard(node)
        origin = str(tokens(node, "BOUND")[0])
        text = [t for t in node.children if isinstance(t, Token) and t.type == "NAME"]
        bound = node.children.index(tokens(node, "BOUND")[0])
        frames = [str(t) for t in text[1:] if node.children.index(t) < bound]
        loses = [str(t) for t in text[1:] if node.children.index(t) > bound]
        frame, given = frames[0] if frames else None, first(node, "given")
        if frame is not None:
            self.context.known(self.spec.frames, frame, span, "frame")
        for register in loses:
            self.context.known(self.spec.arch.registers, register, span, "register")
        self._put(Path(names[0], "exit", self.steps(trees(node, "body")[0], guard, _Scope(frame, {})), guard, span,
                       origin=origin, frame=frame, loses=tuple(loses), given=self.context.expr(given.children[0]) if given is not None else None,
                       reason=text_of(tokens(given, "STRING")[0]) if given is not None else ""))

    def _routine(self, node: Node) -> None:
        """routine NAME(FRAME): to user mode; routine NAME(a, b): a C function; routine NAME from FRAME: where the return of such a frame leads to."""
        name, *names = (str(t) for t in tokens(node, "NAME"))
        span, guard = self.context.span(node), self.context.guard(node)
        body, changed = trees(node, "body")[0], first(node, "changes")
        changes = tuple(str(t) for t in tokens(changed, "NAME")) if changed is not None else ()
        for register in changes:
            self.context.known(self.spec.arch.registers, register, span, "register")
        if node.data == "resumed":
            self.context.known(self.spec.frames, names[0], span, "frame")
            self._put(Path(name, "routine", self.steps(body, guard, _Scope(None, {})), guard, span, resumed=names[0]))
        elif len(names) == 1 and names[0] in self.spec.frames:
            self._put(Path(name, "routine", self.steps(body, guard, _Scope(names[0], {})), guard, span, frame=names[0]))
        else:
            if len(names) > len(self.spec.arch.abi.args):
                self.context.error("E242", f"{self.spec.arch.name} passes at most {len(self.spec.arch.abi.args)} arguments in registers", span)
            self.context.arguments = dict(zip(names, self.spec.arch.abi.args, strict=False))
            self._put(Path(name, "routine", self.steps(body, guard, _Scope(None, {})), guard, span, arguments=tuple(names), changes=changes))
            self.context.arguments = {}

    # ---- steps ----

    def steps(self, body: Node, guard: Guard, scope: _Scope) -> tuple[Step, ...]:
        out: list[Step] = []
        nodes = trees(body)
        index = 0
        while index < len(nodes):
            node = nodes[index]
            inner = self.context.guard(node, guard) if node.data != "guarded" else guard
            span = self.context.span(node)
            if node.data == "origin":
                arms: dict[str, tuple[Step, ...]] = {}
                tests: list[tuple[str, tuple[str, ...]]] = []
                while index < len(nodes) and nodes[index].data == "origin":
                    side = str(tokens(nodes[index])[0])
                    if side not in ("user", "kernel"):
                        self.context.known(self.spec.boundaries, side, self.context.span(nodes[index]), "boundary")
                    if side in arms:
                        self.context.error("E236", f"'from {side}' stands twice", self.context.span(nodes[index]))
                    arms[side] = self.steps(trees(nodes[index], "body")[0], guard, scope)
                    tests.append((side, self._using(nodes[index])))
                    index += 1
                if not set(arms) >= {"user", "kernel"} and not (len(arms) > 1 and "kernel" in arms):
                    self.context.error("E237", "a test of the origin has both arms: from user { … } and from kernel { … }", span)
                out.append(Origin(span, guard, arms.get("user", ()), arms.get("kernel", ()),
                                  tuple((name, steps) for name, steps in arms.items() if name not in ("user", "kernel")), tuple(tests)))
                continue
            if node.data == "guarded":
                out.extend(self._guarded(node, guard, scope))
            else:
                step = self._step(node, inner, span, scope)
                out.extend(step if isinstance(step, list) else [step] if step is not None else [])
            index += 1
        return tuple(out)

    def _guarded(self, node: Node, guard: Guard, scope: _Scope) -> list[Step]:
        name = tokens(node, "NAME")[0]
        if not self.context.known(self.spec.features, str(name), self.context.span(name), "feature"):
            return []
        out: list[Step] = []
        for wanted, body in zip((True, False), trees(node, "body"), strict=False):
            out.extend(self.steps(body, guard | {(str(name), wanted)}, _Scope(scope.frame, scope.bindings)))
        return out

    def _using(self, node: Node) -> tuple[str, ...]:
        using = first(node, "using")
        names = tuple(str(t) for t in tokens(using, "NAME")) if using is not None else ()
        for name in names:
            if self.context.known(self.spec.arch.registers, name, self.context.span(node), "register") and \
                    self.spec.arch.registers[name].kind not in ("gpr", "stack"):
                self.context.error("E238", f"'{name}' is no general register", self.context.span(node))
        return names

    def _step(self, node: Node, guard: Guard, span: Span, scope: _Scope) -> Step | list[Step] | None:
        kind = str(node.data)
        if kind == "set":
            return self._set(node, guard, span)
        if kind == "stack_to":
            name = str(tokens(node, "NAME")[0])
            return SwitchStack(span, guard, name) if self.context.known(self.spec.stacks, name, span, "stack") else None
        if kind == "save":
            return self._save(node, guard, span, scope)
        if kind == "clear":
            names = [str(t) for t in tokens(node, "NAME")]
            for name in names:
                self.context.known([*self.spec.arch.gprs, "all"], name, span, "general register")
            return Clear(span, guard, (), tuple(names)) if tokens(node, "ALL") else Clear(span, guard, tuple(names))
        if kind == "restore":
            return self._restore(node, guard, span, scope)
        if kind in ("call", "jump"):
            return self._call(node, guard, span, scope)
        if kind == "goto":
            return Goto(span, guard, scope.bound(str(tokens(node, "NAME")[0])))
        if kind == "do":
            known = {**{n: o.guard for n, o in self.spec.ops.items()}, **{n: o.guard for n, o in self.spec.inlines.items() if not o.using and not o.keeping}}
            for token in tokens(node, "NAME"):
                self.context.known(known, str(token), self.context.span(token), "op")
            return [Do(span, guard | known[str(t)], str(t)) for t in tokens(node, "NAME") if str(t) in known]
        if kind == "through":
            return Through(span, guard, scope.bound(str(tokens(node, "NAME")[0])))
        if kind == "assertion":
            return Assert(span, guard, self.context.expr(next(c for c in trees(node) if c.data not in ("guard", "guard_not"))))
        if kind == "room":
            return Room(span, guard, int_of(tokens(node, "INT")[0]))
        if kind == "adopt":
            name = str(tokens(node, "NAME")[0])
            scope.frame = name
            return Adopt(span, guard, name, self.context.expr(node.children[1])) if self.context.known(self.spec.frames, name, span, "frame") else None
        if kind == "set_mem":
            return Set(span, guard, Mem(self.context.expr(node.children[0])), self.context.expr(node.children[1]), ())
        if kind in ("drop", "reframe"):
            name, *rest = (str(t) for t in (trees(node, "name")[0].children if kind == "drop" else tokens(node, "NAME")))
            if not self.context.known(self.spec.frames, name, span, "frame"):
                return None
            if rest and not self.context.known(self.spec.frames[name].slots, ".".join(rest), span, f"slot of frame {name}"):
                return None
            if kind == "reframe":
                scope.frame = name
                return Reframe(span, guard, name)
            return Drop(span, guard, name, ".".join(rest))
        if kind == "exit_origin":
            return ExitTo(span, guard, tuple(str(t) for t in tokens(node, "NAME")), False, True)
        if kind == "exit_one" and first(node, "given") is not None:
            given = trees(node, "given")[0]
            return ExitTo(span, guard, (str(tokens(node, "NAME")[0]),), False, False, self.context.expr(given.children[0]), text_of(tokens(given, "STRING")[0]))
        if kind in ("exit_one", "exit_method"):
            return ExitTo(span, guard, tuple(str(t) for t in tokens(node, "NAME")), kind == "exit_method")
        if kind in ("label", "label_is"):
            return Label(span, guard, str(tokens(node, "NAME")[0]), kind == "label_is")
        if kind == "return":
            name = str(tokens(node, "NAME")[0])
            rows = [r.name for r in self.spec.arch.returns]
            return ReturnStep(span, guard, name) if self.context.known(rows, name, span, "return instruction") else None
        raise AssertionError(f"no meaning for the step {kind}")

    def _set(self, node: Node, guard: Guard, span: Span) -> Step | None:
        path = tuple(str(t) for t in trees(node, "name")[0].children)
        value_node = node.children[1]
        subject = path[0]
        using = self._using(node)
        if len(path) == 1 and subject in self.spec.states:
            state = self.spec.states[subject]
            value = ".".join(str(t) for t in value_node.children) if isinstance(value_node, Tree) and value_node.data == "name" else "?"
            if value != KEPT and not self.context.known(state.values, value, span, f"value of state {subject}"):
                return None
            keeping = first(node, "keeping")
            register = str(tokens(keeping, "NAME")[0]) if keeping is not None else None
            if register is not None:
                self.context.known(self.spec.arch.gprs, register, span, "general register")
            by = first(node, "by_op")
            op = str(tokens(by, "NAME")[0]) if by is not None else None
            if op is not None:
                self.context.known([t.inline for t in state.transitions if t.inline is not None], op, span, f"op of state {subject}")
            return SetState(span, guard | state.guard, subject, value, using, register, op)
        place = self.context.expr(trees(node, "name")[0])
        value_expr = self.context.expr(value_node)
        if isinstance(place, Bit):
            number = value_expr.value if hasattr(value_expr, "value") else None
            if number not in (0, 1):
                self.context.error("E217", f"'{place.name}' is one bit: 0 or 1", span)
                return None
            return SetState(span, guard, place.name, int(number), using)
        return Set(span, guard, place, value_expr, using)

    def _save(self, node: Node, guard: Guard, span: Span, scope: _Scope) -> Step | None:
        path = [str(t) for t in trees(node, "name")[0].children]
        if not self.context.known(self.spec.frames, path[0], span, "frame"):
            return None
        frame = self.spec.frames[path[0]]
        scope.frame = frame.name
        slot = ".".join(path[1:])
        slots: tuple[str, ...] = (slot,) if slot else ()
        if slot == "hardware" and frame.hardware:
            slots = tuple(s.name for s in frame.hardware)
        elif slot and not self.context.known(frame.slots, slot, span, f"slot of frame {frame.name}"):
            return None
        values: list[tuple[str, Expr]] = []
        takes: set[str] = set()
        within: list[tuple[str, Expr]] = []
        for override in trees(node, "override", "takes"):
            name = str(override.children[0])
            if self.context.known(frame.slots, name, self.context.span(override), f"slot of frame {frame.name}"):
                if name in dict(values):
                    self.context.error("E239", f"slot '{name}' is given two values", self.context.span(override))
                values.append((name, self.context.expr(override.children[1])))
                if override.data == "takes":
                    takes.add(name)
                mask = first(override, "within")
                if mask is not None:
                    within.append((name, self.context.expr(mask.children[0])))
        return Save(span, guard, frame.name, slots, self._using(node), tuple(values), frozenset(takes), tuple(within))

    def _restore(self, node: Node, guard: Guard, span: Span, scope: _Scope) -> Step | None:
        if scope.frame is None:
            self.context.error("E240", "there is no frame to restore from", span, "say it at the exit: exit NAME of FRAME to …")
            return None
        if scope.frame not in self.spec.frames:             # told where it is named
            return None
        frame = self.spec.frames[scope.frame]
        names = [str(t) for t in tokens(node, "NAME")]
        for name in names:
            self.context.known(frame.slots, name, span, f"slot of frame {frame.name}")
        if tokens(node, "ALL"):
            return Restore(span, guard, scope.frame, (), tuple(names))
        return Restore(span, guard, scope.frame, tuple(names), ())

    def _call(self, node: Node, guard: Guard, span: Span, scope: _Scope) -> Step | None:
        names = [str(t) for t in tokens(node, "NAME")]
        callee = scope.bound(names[0])
        contract = names[1] if len(names) > 1 else "c"
        self.context.known(self.spec.contracts, contract, span, "contract")
        arguments = tuple(self.context.expr(a) for a in trees(node) if a.data not in ("binds", "binds_choice", "binds_moved", "setting", "guard", "guard_not"))
        for argument in arguments:
            if isinstance(argument, SlotRef) and scope.frame and argument.frame != scope.frame:
                self.context.error("E241", f"frame '{argument.frame}' is not the one at hand", span)
        if len(arguments) > len(self.spec.arch.abi.args):
            self.context.error("E242", f"{self.spec.arch.name} passes at most {len(self.spec.arch.abi.args)} arguments in registers", span)
        if node.data == "jump":
            return Jump(span, guard, callee, arguments, contract)
        binds, move, setting = "method" if first(node, "binds") is not None else None, None, None
        choice, moved, sets = first(node, "binds_choice"), first(node, "binds_moved"), first(node, "setting")
        if choice is not None:
            binds = str(tokens(choice, "NAME")[0])
            self.context.known(self.spec.choices, binds, span, "choice")
        if moved is not None:
            frame, stack, *but = (str(t) for t in tokens(moved, "NAME"))
            if self.context.known(self.spec.frames, frame, span, "frame") and self.context.known(self.spec.stacks, stack, span, "stack"):
                for slot in but:
                    self.context.known(self.spec.frames[frame].slots, slot, span, f"slot of frame {frame}")
                at = first(moved, "found_at")
                move = Move(frame, stack, tuple(but), self.context.expr(at.children[0]) if at is not None else None)
        if sets is not None:
            place = self.context.expr(sets.children[0])
            if isinstance(place, SlotRef):
                setting = (place.slot, self.context.expr(sets.children[1]))
            else:
                self.context.error("E244", "a call sets a slot of the frame", span, "for example: setting regs.orig_ax = -1")
        return Call(span, guard, callee, arguments, contract, binds, move, setting)

    # ---- references ----

    def check_references(self) -> None:
        """Every goto, exit and method target exists, and is of the right kind."""
        for path in self.spec.paths.values():
            for step in flat_steps(path.steps):
                if isinstance(step, (Goto, Through)):
                    names = [p.name for p in self.spec.of_kind("path")]
                    self.context.known(names, step.path, step.span, "path")
                elif isinstance(step, ExitTo):
                    exits = [p.name for p in self.spec.of_kind("exit")]
                    for target in step.targets:
                        self.context.known(exits, target, step.span, "exit")
        for method in self.spec.methods.values():
            self.context.known([p.name for p in self.spec.of_kind("exit")], method.exit, method.span, "exit")
