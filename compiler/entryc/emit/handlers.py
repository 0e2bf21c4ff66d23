"""entry.c: everything that is active. Dispatch, exit work, the choice of the return method, counters, bookkeeping."""

from __future__ import annotations

from ..model.arch import Assign, Form
from ..model.expr import Expr, Operand, Reg, SlotRef, rebuild, show
from ..model.spec import Choice, CStep, Handler, Spec, SyscallTable, Work
from .c_text import Block, call, comment, expression, function, number, remark, text, upper
from .notice import notice


def emit_handlers(spec: Spec) -> str:
    """The whole file."""
    writer = _Handlers(spec)
    return text(writer.file())


def inline_asm(form: Form, operand: str | None) -> str:
    """A form as the template of a GNU C asm statement; its operand becomes %0."""
    template = form.text
    if operand is not None:
        template = template.replace("%{" + operand + "}", "\0").replace("{" + operand + "}", "\0")
    return template.replace("%", "%%").replace("\0", "%0")


class _Handlers:
    def __init__(self, spec: Spec) -> None:
        self.spec, self.arch = spec, spec.arch
        self.counter = 0

    def file(self) -> Block:
        out: Block = [*notice(self.spec, "/* {} */").split("\n"), '#include "entry.h"', ""]
        out += self.macros()
        if self.spec.handlers and self.arch.origin is not None:
            out += self.origin()
        for table in self.spec.tables.values():
            out += self.table(table)
        for work in self.spec.works.values():
            out += self.work(work)
        for choice in self.spec.choices.values():
            out += self.choice(choice)
        for handler in self.spec.handlers.values():
            out += self.handler(handler)
        if not self.spec.handlers:
            out += ["/* The spec leaves everything to the kernel's own C. */", "typedef int entry_has_no_handlers;"]
        while out and out[-1] == "":
            out.pop()
        return out

    def macros(self) -> Block:
        on, off = (self.arch.forms[name] for name in self.arch.irqs)
        if not self.spec.handlers:
            return []
        return ["#ifndef ENTRY_IRQS_ON", f'#define ENTRY_IRQS_ON()\t\t__asm__ volatile("{inline_asm(on, None)}" ::: "memory")', "#endif",
                "#ifndef ENTRY_IRQS_OFF", f'#define ENTRY_IRQS_OFF()\t__asm__ volatile("{inline_asm(off, None)}" ::: "memory")', "#endif", "",
                "/* Runs before the kernel's own checks and tracing can: keep instrumentation away. */",
                "#ifndef ENTRY_CODE", '#define ENTRY_CODE __attribute__((section(".text.entry"), noinline))', "#endif", ""]

    def origin(self) -> Block:
        frames = {h.frame for h in self.spec.handlers.values() if any(s.verb == "origin" for s in h.steps)}
        out: Block = []
        for name in sorted(frames):
            homes = {s.home: s.name for s in self.spec.frames[name].slots.values() if s.home}
            def place(expr: Expr, name: str = name, homes: dict[str | None, str] = homes) -> Expr:
                return SlotRef(name, homes[expr.name]) if isinstance(expr, Reg) and expr.name in homes else expr
            condition = rebuild(self.arch.origin, place) if self.arch.origin is not None else None
            assert condition is not None
            out += function(f"static inline bool entry_from_user(const {self.spec.frames[name].c_name} *{name})", [f"return {expression(self.spec, condition)};"])
        return out

    # ---- system calls ----

    def table(self, table: SyscallTable) -> Block:
        frame = table.number.frame if isinstance(table.number, SlotRef) else next(iter(self.spec.frames))
        c_name = self.spec.frames[frame].c_name
        out: Block = []
        for row in table.rows:
            arguments = ", ".join(expression(self.spec, a) for a in table.args[:row.count])
            body: Block = [f"return {row.name}({arguments});"]
            if not row.count:
                body = [f"(void){frame};", *body]
            out += function(f"static int64_t {table.name}_{row.name}(const {c_name} *{frame})", body)
        rows = {r.number: r.name for r in table.rows}
        missing = [n for n in range(table.size) if n not in rows]
        signed = table.missing - (1 << 64) if table.missing >> 63 else table.missing
        if missing:
            out += function(f"static int64_t {table.name}_missing(const {c_name} *{frame})", [f"(void){frame};", f"return {signed};"])
        out += [f"static int64_t (*const {table.name}_table[{table.size}])(const {c_name} *{frame}) = {{",
                [f"[{n}] = {table.name}_{rows.get(n, 'missing')}," for n in range(table.size)], "};", ""]
        out += ["/* All ones when index < count, else 0: without a branch, so that a wrong guess of the CPU cannot index past the table. */"]
        out += function(f"static inline uint64_t {table.name}_mask(uint64_t index, uint64_t count)",
                        ['__asm__("" : "+r"(index));', "return (uint64_t)((int64_t)~(index | (count - 1 - index)) >> 63);"])
        result = expression(self.spec, table.result)
        out += function(f"static void syscalls_{table.name}({c_name} *{frame})", [
            f"uint64_t number = {expression(self.spec, table.number)};", "",
            f"if (number >= {table.size}) {{", [f"{result} = (uint64_t){signed};", "return;"], "}",
            f"number &= {table.name}_mask(number, {table.size});",
            f"{result} = (uint64_t){table.name}_table[number]({frame});"])
        return out

    # ---- exit work ----

    def work(self, work: Work) -> Block:
        frame = next(iter(self.spec.frames))
        mask = " | ".join(dict.fromkeys(f for row in work.rows for f in row.flags))
        rows: Block = []
        for row in work.rows:
            test = " | ".join(row.flags)
            body: Block = ([f"{work.clear}({test});"] if row.clears_first else []) + [f"{call(self.spec, row.call)};"]
            if len(body) > 1:
                rows += [f"if (flags & {_group(test)}) {{", body, "}"]
            else:
                rows += [f"if (flags & {_group(test)})", body]
        inner: Block = (["ENTRY_IRQS_ON();"] if work.irqs_on else []) + rows + (["ENTRY_IRQS_OFF();"] if work.irqs_on else [])
        body_all: Block = [f"(void){frame};"] if f"{frame}" not in repr(rows) + repr(work.condition) else []
        if work.condition is not None:
            body_all += [f"if (!({expression(self.spec, work.condition)}))", ["return;"]]
        body_all += ["ENTRY_IRQS_OFF();"]
        if work.repeat:
            body_all += ["/* Left only when a snapshot read with interrupts off shows no work. */", "for (;;) {",
                         [f"uint64_t flags = {call(self.spec, work.read)};", "", f"if (!(flags & {_group(mask)}))", ["return;"], *inner], "}"]
        else:
            body_all += ["{", [f"uint64_t flags = {call(self.spec, work.read)};", "", *inner], "}"]
        return function(f"static void work_{work.name}({self.spec.frames[frame].c_name} *{frame})", body_all)

    # ---- the return method ----

    def choice(self, choice: Choice) -> Block:
        handler = next((h for h in self.spec.handlers.values() if h.choice == choice.name), None)
        if handler is None:
            return []
        frame = self.spec.frames[handler.frame]
        out: Block = []
        offset = 0
        for name in choice.methods[:-1]:
            method = self.spec.methods[name]
            body: Block = []
            for clause in method.clauses:
                body += [remark(f"{show(clause.condition)}: {clause.reason}" if clause.reason else show(clause.condition)),
                         f"if (!({expression(self.spec, clause.condition)}))", [f"return {upper(choice.name)}_REFUSED_{upper(clause.name)};"]]
            out += [f"/* The first clause that forbids {comment(name)}; -1: none does. */"]
            out += function(f"static int {choice.name}_{name}_refused(const {frame.c_name} *{frame.name})", [*body, "return -1;"])
            offset += len(method.clauses)
        out += ["/* Runs after the last thing that can change the frame, with interrupts off. */"]
        out += function(f"static unsigned int choose_{choice.name}(const {frame.c_name} *{frame.name})", self.choose_body(choice, frame.name))
        return out

    def choose_body(self, choice: Choice, frame: str) -> Block:
        returned, refused = self.counters(choice.name, "methods"), self.counters(choice.name, "clauses")
        memory = next((m for m in self.spec.memories.values() if any(c.choice == choice.name for c in m.counters.values())), None)
        hook = next((h.name for h in self.spec.hooks.values() if memory is not None and h.result == memory.name), None)
        out: Block = []
        if memory is not None and hook is not None:
            out.append(f"struct {memory.name} *counts = {hook}();")
        others = choice.methods[:-1]
        if others:
            out.append("int refusal;")
        out += [""] if out else []
        for name in others:
            constant = f"{upper(choice.name)}_{upper(name)}"
            taken: Block = ([f"counts->{returned}[{constant}]++;"] if returned else []) + [f"return {constant};"]
            out += [f"refusal = {choice.name}_{name}_refused({frame});"]
            out += ["if (refusal < 0) {", taken, "}"] if len(taken) > 1 else ["if (refusal < 0)", taken]
            out += [f"counts->{refused}[refusal]++;"] if refused else []
        last = f"{upper(choice.name)}_{upper(choice.methods[-1])}"
        if not others:
            out.append(f"(void){frame};")
        out += [f"counts->{returned}[{last}]++;"] if returned else []
        return [*out, f"return {last};"]

    def counters(self, choice: str, of: str) -> str | None:
        return next((c.name for m in self.spec.memories.values() for c in m.counters.values() if c.choice == choice and c.of == of), None)

    # ---- handlers ----

    def handler(self, handler: Handler) -> Block:
        frame = self.spec.frames[handler.frame]
        self.counter = 0
        result = f"uint{self.arch.result_bits}_t" if handler.choice else "void"
        lets = [s for s in handler.steps if s.verb == "let"]
        body: Block = [f"uint64_t {s.subject};" for s in lets]
        body += [""] if lets else []
        body += self.steps(handler.steps, handler)
        body += [f"(void){s.subject};" for s in lets if s.subject not in repr(body[len(lets):])]
        if handler.frame not in repr(body):
            body.append(f"(void){handler.frame};")
        return function(f"ENTRY_CODE {result} {handler.name}({frame.c_name} *{frame.name})", body)

    def steps(self, steps: tuple[CStep, ...], handler: Handler) -> Block:
        out: Block = []
        for step in steps:
            out += self.step(step, handler)
        return out

    def step(self, step: CStep, handler: Handler) -> Block:
        spec, frame = self.spec, handler.frame
        if step.verb in ("enter", "leave"):
            bracket = spec.brackets[step.subject]
            return [f"{call(spec, row)};" for row in (bracket.enter if step.verb == "enter" else bracket.leave)]
        if step.verb == "irqs":
            return ["ENTRY_IRQS_ON();" if step.subject == "on" else "ENTRY_IRQS_OFF();"]
        if step.verb in ("syscalls", "work"):
            return [f"{step.verb}_{step.subject}({frame});"]
        if step.verb == "choose":
            return [f"return (uint{self.arch.result_bits}_t)choose_{step.subject}({frame});"]
        if step.verb == "do":
            assert step.call is not None
            return [f"{call(spec, step.call)};"]
        if step.verb == "let":
            return [self.let(step)]
        if step.verb == "set":
            assert step.place is not None and step.value is not None
            return [f"{expression(spec, step.place)} = {expression(spec, step.value)};"]
        if step.verb == "origin":
            return [f"if (entry_from_user({frame})) {{", self.steps(step.user, handler), "} else {", self.steps(step.kernel, handler), "}"]
        return self.dispatch(step, handler)

    def let(self, step: CStep) -> str:
        assert isinstance(step.value, Reg)
        register = step.value.name
        for form in self.arch.forms.values():
            effect = form.effects[0] if len(form.effects) == 1 else None
            if not isinstance(effect, Assign) or not isinstance(effect.place, Operand):
                continue
            if effect.value == step.value:
                return f'__asm__ volatile("{inline_asm(form, effect.place.name)}" : "=r"({step.subject}));'
            if isinstance(effect.value, Operand) and any(k.name == "system" for k in form.params[effect.value.name]):
                template = inline_asm(form, effect.place.name).replace("{" + effect.value.name + "}", self.arch.registers[register].text)
                return f'__asm__ volatile("{template}" : "=r"({step.subject}));'
        raise AssertionError(f"no form reads {register}")

    def dispatch(self, step: CStep, handler: Handler) -> Block:
        assert step.value is not None
        self.counter += 1
        name = f"value_{self.counter}"
        out: Block = []
        for index, (ranges, body) in enumerate(step.arms):
            tests = [f"{name} == {number(low)}" if low == high else f"{name} >= {number(low)} && {name} <= {number(high)}" for low, high in ranges]
            head = " || ".join(f"({t})" if len(tests) > 1 and "&&" in t else t for t in tests)
            if not ranges:
                out += [("} else {" if index else "{"), self.steps(body, handler)]
            else:
                out += [f"}} else if ({head}) {{" if index else f"if ({head}) {{", self.steps(body, handler)]
        return ["{", [f"uint64_t {name} = {expression(self.spec, step.value)};", "", *out, "}"], "}"]


def _group(test: str) -> str:
    return f"({test})" if "|" in test else test
