"""Everything that becomes C: hooks, brackets, exit work, system call tables, handlers."""

from __future__ import annotations

from typing import Any

from lark import Token, Tree

from ..source.edits import prefixed
from ..source.text import SourceFile, Span
from .context import C_KEYWORDS, Context
from .expr import Expr, FrameRef, HookCall, Num, Reg, constant, is_constant, walk
from .names import Node, first, int_of, text_of, tokens, trees
from .spec import Bracket, CallText, CStep, Handler, Hook, Syscall, SyscallTable, Work, WorkRow

MAX_SYSCALLS = 4096


def build(context: Context, items: list[tuple[SourceFile, Node]]) -> None:
    """Add the C side to the spec."""
    builder = _CSide(context)
    for kinds in (("flags",), ("hook", "hook_pointer"), ("bracket",), ("work",), ("syscalls",), ("handler",)):
        for file, node in items:
            if node.data in kinds:
                context.file = file
                getattr(builder, kinds[0])(node)


class _CSide:
    def __init__(self, context: Context) -> None:
        self.context, self.spec = context, context.spec

    def flags(self, node: Node) -> None:
        name, span = str(tokens(node, "NAME")[0]), self.context.span(node)
        self.context.declare(self.spec.flag_sets, name, span, "flag set")
        rows: dict[str, int] = {}
        for row in trees(node, "constant"):
            flag, value = str(row.children[0]), self.context.expr(row.children[1])
            bit = constant(value) if is_constant(value) else -1
            self.context.declare(rows, flag, self.context.span(row), "flag")
            if not 0 <= bit < self.spec.arch.word or bit in rows.values():
                self.context.error("E250", f"flag '{flag}' needs a bit of its own, 0..{self.spec.arch.word - 1}", self.context.span(row))
            rows[flag] = bit
            self.spec.spans[f"flag {flag}"] = self.context.span(row)
        self.spec.flag_sets[name] = rows

    def hook(self, node: Node) -> None:
        span = self.context.span(node)
        names = [str(t) for t in tokens(node, "NAME")]
        results = [str(t) for t in tokens(node, "RESULT")]
        if node.data == "hook_pointer":
            result, name = names[0], names[1]
            self.context.known([*self.spec.frames, *self.spec.memories], result, span, "frame or memory")
        else:
            result, name = results[0] if results else "void", names[0]
        self.context.declare(self.spec.hooks, name, span, "hook")
        params: list[tuple[str, str]] = []
        for param in trees(node, "hook_param"):
            param_type, param_name = param.children
            if param_type is None and str(param_name) in self.spec.frames:
                params.append((str(param_name), str(param_name)))
            elif param_type is None:
                self.context.error("E251", f"parameter '{param_name}' has no type", self.context.span(param), f"for example: u64 {param_name}",
                                   edits=prefixed(self.context.span(param), "u64 "))
            else:
                if str(param_name) in C_KEYWORDS:
                    self.context.error("E202", f"'{param_name}' is a word of C", self.context.span(param))
                params.append((str(param_type), str(param_name)))
        strings = tokens(node, "STRING")
        symbols = tuple(str(t) for row in trees(node, "hook_is") for t in tokens(row, "NAME"))
        self.spec.hooks[name] = Hook(name, result, tuple(params), text_of(strings[0]) if strings else "", span, symbols)

    def call(self, node: Node) -> CallText:
        """A call of a hook, its arguments counted."""
        name, span = str(tokens(node, "NAME")[0]), self.context.span(node)
        arguments = tuple(self.context.expr(c) for c in node.children[1:] if c is not None)
        if self.context.known(self.spec.hooks, name, span, "hook"):
            hook = self.spec.hooks[name]
            if len(arguments) != len(hook.params):
                self.context.error("E252", f"hook '{name}' takes {len(hook.params)} argument(s), {len(arguments)} given", span)
            for (kind, _), argument in zip(hook.params, arguments, strict=False):
                if (kind in self.spec.frames) != isinstance(argument, FrameRef):
                    self.context.error("E253", f"hook '{name}' takes {'the frame' if kind in self.spec.frames else 'a number'} here", span)
        return CallText(name, arguments, span)

    def condition(self, node: Node | Token) -> Expr:
        """An expression whose calls are hooks."""
        expr = self.context.expr(node)
        for part in walk(expr):
            if isinstance(part, HookCall):
                self.context.known(self.spec.hooks, part.name, part.span or self.context.span(node), "hook")
            elif isinstance(part, Reg):
                self.context.error("E254", f"register '{part.name}' cannot be read in C", part.span, "read a slot of the frame")
        return expr

    def bracket(self, node: Node) -> None:
        name, span = str(tokens(node, "NAME")[0]), self.context.span(node)
        self.context.declare(self.spec.brackets, name, span, "bracket")
        sides: dict[str, tuple[CallText, ...]] = {}
        for row in trees(node, "bracket_row"):
            side = str(tokens(row, "SIDE")[0])
            sides[side] = sides.get(side, ()) + tuple(self.call(c) for c in trees(row, "c_call"))
        self.spec.brackets[name] = Bracket(name, sides.get("enter", ()), sides.get("leave", ()), span)

    def work(self, node: Node) -> None:
        name, flags = (str(t) for t in tokens(node, "NAME")[:2])
        span = self.context.span(node)
        self.context.declare(self.spec.works, name, span, "exit work")
        self.context.known(self.spec.flag_sets, flags, span, "flag set")
        read = self.call(first(node, "c_call") or node)
        clear = [str(t) for t in tokens(node, "NAME")[2:]]
        if clear:
            self.context.known(self.spec.hooks, clear[0], span, "hook")
        skipped = {"c_call", "work_pass"}
        condition = next((c for c in node.children if isinstance(c, Tree) and c.data not in skipped), None)
        body = first(node, "work_pass") or node
        rows: list[WorkRow] = []
        for row in trees(body, "work_row"):
            names = tuple(str(t) for t in tokens(row, "NAME"))
            for flag in names:
                self.context.known(self.spec.flag_sets.get(flags, {}), flag, self.context.span(row), f"flag of {flags}")
            clears = bool(tokens(row, "CLEARS"))
            if clears and not clear:
                self.context.error("E255", "nothing says how a flag is cleared", self.context.span(row), f"write: work {name} of {flags} read … clear HOOK")
            irqs = [str(t) == "on" for t in tokens(row, "ONOFF")]
            rows.append(WorkRow(names, self.call(trees(row, "c_call")[0]), clears, self.context.span(row), bool(tokens(row, "ALONE")),
                                irqs[0] if irqs else None))
        self.spec.works[name] = Work(name, flags, read, clear[0] if clear else None,
                                     self.condition(condition) if condition is not None else None,
                                     str(tokens(body, "PASS")[0]) == "repeat", str(tokens(body, "ONOFF")[0]) == "on", tuple(rows), span)

    def syscalls(self, node: Node) -> None:
        name, span = str(tokens(node, "NAME")[0]), self.context.span(node)
        self.context.declare(self.spec.tables, name, span, "system call table")
        facts: dict[str, Any] = {}
        rows: list[Syscall] = []
        for item in trees(node):
            at = self.context.span(item)
            if item.data == "sys_row":
                number, row_name, count = item.children
                rows.append(Syscall(int_of(number), str(row_name), int_of(count), at))
            else:
                key = str(item.data).removeprefix("sys_")
                if key in facts:
                    self.context.error("E256", f"'{key}' stands twice in table {name}", at)
                facts[key] = [self.context.expr(c) for c in item.children]
        for key in ("number", "args", "result", "missing"):
            if key not in facts:
                self.context.error("E257", f"table '{name}' does not say its {key}", span)
        if not rows:
            self.context.error("E258", f"table '{name}' has no system call", span)
        self.context.collector.stop_if_failed()
        missing = facts["missing"][0]
        if not is_constant(missing):
            self.context.error("E213", "this has to be a constant", missing.span)
        numbers: dict[int, Syscall] = {}
        for row in rows:
            if row.number in numbers:
                self.context.collector.error("E259", f"system call {row.number} stands twice", row.span, related=(("first here", numbers[row.number].span),))
            numbers[row.number] = row
            if row.number >= MAX_SYSCALLS:
                self.context.error("E260", f"system call numbers end at {MAX_SYSCALLS - 1}", row.span)
            if row.count > len(facts["args"]):
                self.context.error("E261", f"'{row.name}' takes {row.count} arguments, the table passes {len(facts['args'])}", row.span)
        self.context.collector.stop_if_failed()
        self.spec.tables[name] = SyscallTable(name, facts["number"][0], tuple(facts["args"]), facts["result"][0],
                                              constant(missing), tuple(rows), span)

    # ---- handlers ----

    def handler(self, node: Node) -> None:
        name, frame, *choice = (str(t) for t in tokens(node, "NAME"))
        span = self.context.span(node)
        self.context.declare(self.spec.handlers, name, span, "handler")
        self.context.known(self.spec.frames, frame, span, "frame")
        if choice:
            self.context.known(self.spec.choices, choice[0], span, "choice")
        self.context.locals = set()
        steps = self._body(trees(node, "c_body")[0])
        self.context.locals = set()
        self.spec.handlers[name] = Handler(name, frame, choice[0] if choice else None, steps, span)

    def _body(self, body: Node) -> tuple[CStep, ...]:
        out: list[CStep] = []
        nodes = trees(body)
        index = 0
        while index < len(nodes):
            if nodes[index].data == "c_origin":
                arms: dict[str, tuple[CStep, ...]] = {}
                span = self.context.span(nodes[index])
                while index < len(nodes) and nodes[index].data == "c_origin":
                    side = str(tokens(nodes[index], "BOUND")[0])
                    if side in arms:
                        self.context.error("E236", f"'from {side}' stands twice", self.context.span(nodes[index]))
                    arms[side] = self._body(trees(nodes[index], "c_body")[0])
                    index += 1
                if self.spec.arch.origin is None:
                    self.context.error("E262", f"{self.spec.arch.name} does not tell the origin in the frame", span)
                out.append(CStep("origin", span, user=arms.get("user", ()), kernel=arms.get("kernel", ())))
                continue
            out.append(self._step(nodes[index]))
            index += 1
        return tuple(out)

    def _step(self, node: Node) -> CStep:
        span, kind = self.context.span(node), str(node.data).removeprefix("c_")
        names = [str(t) for t in tokens(node, "NAME")]
        tables: dict[str, tuple[Any, str]] = {
            "enter": (self.spec.brackets, "bracket"), "leave": (self.spec.brackets, "bracket"), "work": (self.spec.works, "exit work"),
            "syscalls": (self.spec.tables, "system call table"), "choose": (self.spec.choices, "choice")}
        if kind in tables:
            table, what = tables[kind]
            self.context.known(table, names[0], span, what)
            return CStep(kind, span, subject=names[0])
        if kind == "irqs":
            return CStep("irqs", span, subject=str(tokens(node, "ONOFF")[0]))
        if kind == "do":
            return CStep("do", span, call=self.call(trees(node, "c_call")[0]))
        if kind == "let":
            local, register = names
            if local in C_KEYWORDS or local in self.spec.frames:
                self.context.error("E202", f"'{local}' cannot name a value", span)
            if self.context.known(self.spec.arch.registers, register, span, "register") and self.spec.arch.registers[register].kind != "system":
                self.context.error("E263", f"'{register}' is no system register", span, "general registers are in the frame")
            self.context.locals.add(local)
            return CStep("let", span, subject=local, value=Reg(register, span=span))
        if kind == "set":
            return CStep("set", span, place=self.context.expr(node.children[0]), value=self.condition(node.children[1]))
        if kind == "dispatch":
            return self._dispatch(node, span)
        if kind == "require":
            return CStep("require", span, value=self.condition(node.children[0]), call=self.call(trees(node, "c_call")[0]))
        raise AssertionError(f"no meaning for the handler step {kind}")

    def _dispatch(self, node: Node, span: Span) -> CStep:
        value = self.condition(node.children[0])
        arms: list[tuple[tuple[tuple[int, int], ...], tuple[CStep, ...]]] = []
        taken: list[tuple[int, int]] = []
        names: dict[int, str] = {}
        for arm in trees(node, "c_arm"):
            match, body = arm.children
            ranges: list[tuple[int, int]] = []
            if match.data == "arm_ranges":
                for part in trees(match, "arm_range"):
                    ends = [self.context.expr(c) for c in part.children if c is not None]
                    if not all(is_constant(e) for e in ends):
                        self.context.error("E213", "this has to be a constant", self.context.span(part))
                        continue
                    low, high = constant(ends[0]), constant(ends[-1])
                    if any(low <= h and lo <= high for lo, h in taken) or low > high:
                        self.context.error("E264", f"{low}..{high} is empty or already taken by an earlier row", self.context.span(part))
                    taken.append((low, high))
                    names.update((e.value, e.label) for e in ends if isinstance(e, Num) and e.label in self.spec.constants)
                    ranges.append((low, high))
            elif arm is not trees(node, "c_arm")[-1]:
                self.context.error("E265", "'else' is the last row", self.context.span(arm))
            steps = self._body(body) if body.data == "c_body" else (CStep("do", self.context.span(body), call=self.call(body)),)
            arms.append((tuple(ranges), steps))
        if not arms or arms[-1][0]:
            self.context.error("E266", "a dispatch says what happens to all other values", span, "add a last row: else -> …")
        return CStep("dispatch", span, value=value, arms=tuple(arms), names=tuple(names.items()))
