"""entry.c: everything that is active. Dispatch, exit work, the choice of the return method, counters, bookkeeping."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from ..model.arch import Assign, Form
from ..model.check import flat_handler
from ..model.expr import Expr, FrameRef, Operand, Reg, SlotRef, show, walk
from ..model.spec import CallText, Choice, CStep, Handler, Spec, SyscallTable, Work
from .c_text import (
    Block,
    braced,
    call,
    expression,
    flag_macro,
    function,
    mentions,
    number,
    plain,
    prototype,
    refuse,
    remark,
    remarks,
    signed_number,
    text,
    upper,
    wide,
)
from .header import from_user
from .movers import emit_mover
from .notice import notice

CODE_MACRO = """\
/* Entry code runs where a kernel's own checks and tracing cannot: keep instrumentation away. */
#ifndef ENTRY_CODE
#if __has_attribute(no_stack_protector)
#define ENTRY_NO_PROTECTOR __attribute__((no_stack_protector))
#else
#define ENTRY_NO_PROTECTOR
#endif
#define ENTRY_CODE ENTRY_NO_PROTECTOR \\
\t__attribute__((section(".text.entry"), no_sanitize("address"), no_sanitize("thread"), \\
\t\tno_sanitize("undefined"), no_instrument_function, no_profile_instrument_function))
#endif
"""


def emit_handlers(spec: Spec) -> str:
    """The whole file."""
    return text(_Handlers(spec).file())


def inline_asm(form: Form, operand: str | None, values: dict[str, str] | None = None) -> str:
    """A form as the template of a GNU C asm statement; its operand becomes %0."""
    template = form.text
    if operand is not None:
        template = template.replace("%{" + operand + "}", "\0").replace("{" + operand + "}", "\0")
    for name, value in (values or {}).items():
        template = template.replace("{" + name + "}", value)
    return template.replace("%", "%%").replace("\0", "%0")


class _Handlers:
    """Writes what the handlers of one spec use; what none of them uses is left out."""

    def __init__(self, spec: Spec) -> None:
        self.spec, self.arch = spec, spec.arch
        self.taken = {*spec.constants, *spec.frames, *spec.memories, *spec.hooks, *spec.handlers,
                      *(f for flags in spec.flag_sets.values() for f in flags), *(r.name for t in spec.tables.values() for r in t.rows),
                      *(s.subject for h in spec.handlers.values() for s in flat_handler(h) if s.verb == "let")}

    def file(self) -> Block:
        body: Block = []
        for table in self.spec.tables.values():
            for frame in self.users("syscalls", table.name):
                body += self.table(table, frame)
        for work in self.spec.works.values():
            for frame in self.users("work", work.name):
                body += self.work(work, frame)
        for choice in self.spec.choices.values():
            for frame in self.users("choose", choice.name):
                body += self.choice(choice, frame)
        for mover in self.spec.movers().values():
            body += emit_mover(self.spec, mover)
        for handler in self.spec.handlers.values():
            body += self.handler(handler)
        if not body:
            body = ["/* The spec leaves everything to the kernel's own C. */", "typedef int entry_has_no_handlers;"]
        out: Block = [*notice(self.spec, "/* {} */").split("\n"), '#include "entry.h"', "", *self.macros(body), *body]
        while out and out[-1] == "":
            out.pop()
        return out

    # ---- names ----

    def users(self, verb: str, subject: str) -> list[str]:
        """The frames on which handlers use a table, exit work or choice."""
        return list(dict.fromkeys(h.frame for h in self.spec.handlers.values() for s in flat_handler(h) if s.verb == verb and s.subject == subject))

    def part(self, verb: str, subject: str, frame: str) -> str:
        """The C function for a table, exit work or choice on a frame."""
        users = self.users(verb, subject)
        return f"{verb}_{subject}" if users[:1] == [frame] else f"{verb}_{subject}_{frame}"

    def local(self, name: str) -> str:
        """A name for a variable that hides nothing which the spec can mention."""
        while name in self.taken:
            name += "_"
        return name

    def own(self, exprs: Iterable[Expr], frame: str) -> None:
        """C code has one frame at hand."""
        for expr in exprs:
            for part in walk(expr):
                if isinstance(part, (SlotRef, FrameRef)) and part.frame != frame:
                    raise refuse("E502", f"'{show(part)}' is of another frame than '{frame}', which the handler has", part.span or expr.span)

    def macros(self, body: Block) -> Block:
        if not self.spec.handlers and not self.spec.movers():
            return []
        on, off = (self.arch.forms[name] for name in self.arch.irqs)
        out: Block = []
        for name, form in (("ENTRY_IRQS_ON", on), ("ENTRY_IRQS_OFF", off)):
            if mentions(body, name):
                out += [f"#ifndef {name}", f'#define {name}()\t__asm__ volatile("{inline_asm(form, None)}" ::: {_clobbers(form, "memory")})', "#endif"]
        flags = [f"#define {flag_macro(n)}\t{number(v)}" for n, v in self.arch.flag_names.items() if mentions(body, flag_macro(n))]
        out += ["", *flags] if flags and out else flags
        out += [""] if out else []
        return out + CODE_MACRO.split("\n")

    # ---- system calls ----

    def table(self, table: SyscallTable, frame: str) -> Block:
        self.own((table.number, *table.args, table.result), frame)
        if not isinstance(table.result, SlotRef):
            raise refuse("E503", f"'{show(table.result)}' cannot be written in C", table.result.span or table.span, "the result goes to a slot of the frame")
        name = table.name if self.users("syscalls", table.name)[:1] == [frame] else f"{table.name}_{frame}"
        c_name = self.spec.frames[frame].c_name
        const_frame = f"const {c_name} *{frame}"
        out: Block = []
        for row in table.rows:
            arguments = [expression(self.spec, a) for a in table.args[:row.count]]
            body: Block = [*prototype("return", row.name, arguments, ";").split("\n")] if arguments else [f"return {row.name}();"]
            if not mentions(body, frame):
                body = [f"(void){frame};", *body]
            out += function(f"static ENTRY_CODE int64_t {name}_{row.name}({const_frame})", body)
        rows = {r.number: r.name for r in table.rows}
        signed = signed_number(table.missing)
        if len(rows) < table.size:
            out += function(f"static ENTRY_CODE int64_t {name}_missing({const_frame})", [f"(void){frame};", f"return {signed};"])
        out += [f"static int64_t (*const {name}_table[{table.size}])({const_frame}) = {{", self.slots(name, rows, table.size), "};", ""]
        index, count = self.local("index"), self.local("count")
        out += ["/*", " * All ones when index < count, else 0: without a branch, so that a wrong guess of the CPU cannot",
                " * index past the table. The empty asm keeps the compiler from knowing the answer.", " */"]
        out += function(f"static inline ENTRY_CODE uint64_t {name}_mask(uint64_t {index}, uint64_t {count})",
                        [f'__asm__("" : "+r"({index}));', f"return (uint64_t)((int64_t)~({index} | ({count} - 1 - {index})) >> 63);"])
        result, asked = expression(self.spec, table.result), self.local("number")
        return out + function(f"static ENTRY_CODE void {self.part('syscalls', table.name, frame)}({c_name} *{frame})", [
            f"uint64_t {asked} = {expression(self.spec, table.number)};", "",
            f"if ({asked} >= {table.size}) {{", [f"{result} = (uint64_t){signed};", "return;"], "}",
            f"{asked} &= {name}_mask({asked}, {table.size});",
            f"{result} = (uint64_t){name}_table[{asked}]({frame});"])

    @staticmethod
    def slots(name: str, rows: dict[int, str], size: int) -> Block:
        """The table's initializer; neighbouring numbers without a call are one line."""
        out: Block = []
        for missing, group in groupby(range(size), lambda n: n not in rows):
            numbers = list(group)
            if missing:
                where = f"{numbers[0]} ... {numbers[-1]}" if len(numbers) > 1 else str(numbers[0])
                out.append(f"[{where}] = {name}_missing,")
            else:
                out += [f"[{n}] = {name}_{rows[n]}," for n in numbers]
        return out

    # ---- exit work ----

    def work(self, work: Work, frame: str) -> Block:
        self.own((*work.read.arguments, *(a for r in work.rows for a in r.call.arguments), *([work.condition] if work.condition is not None else [])), frame)
        mask = " | ".join(dict.fromkeys(f for row in work.rows for f in row.flags))
        flags = self.local("flags")
        rows: Block = []
        for row in work.rows:
            test = " | ".join(row.flags)
            body: Block = [*([f"{work.clear}({test});"] if row.clears_first else []), f"{call(self.spec, row.call)};"]
            rows += braced(f"if ({flags} & {_group(test)})", body)
        inner: Block = (["ENTRY_IRQS_ON();"] if work.irqs_on else []) + rows + (["ENTRY_IRQS_OFF();"] if work.irqs_on else [])
        read = f"uint64_t {flags} = {call(self.spec, work.read)};"
        body_all: Block = [] if work.repeat else [f"uint64_t {flags};", ""]
        body_all += ["ENTRY_IRQS_OFF();"]
        if work.condition is not None:
            body_all += [f"if (!({expression(self.spec, work.condition)}))", ["return;"]]
        if work.repeat:
            body_all += ["/* Left only when a snapshot read with interrupts off shows no work. */", "for (;;) {",
                         [read, "", f"if (!({flags} & {_group(mask)}))", ["return;"], *inner], "}"]
        else:
            body_all += [f"{flags} = {call(self.spec, work.read)};", *inner]
        if not mentions(body_all, frame):
            body_all.append(f"(void){frame};") if not work.repeat else body_all.insert(0, f"(void){frame};")
        return function(f"static ENTRY_CODE void {self.part('work', work.name, frame)}({self.spec.frames[frame].c_name} *{frame})", body_all)

    # ---- the return method ----

    def choice(self, choice: Choice, frame_name: str) -> Block:
        frame = self.spec.frames[frame_name]
        out: Block = []
        for name in choice.methods[:-1]:
            method = self.spec.methods[name]
            self.own((c.condition for c in method.clauses), frame_name)
            body: Block = []
            for clause in method.clauses:
                body += [*remarks(f"{show(clause.condition)}: {clause.reason}" if clause.reason else show(clause.condition), 1),
                         f"if (!({expression(self.spec, clause.condition)}))", [f"return {upper(choice.name)}_REFUSED_{upper(clause.name)};"]]
            if not mentions(body, frame.name):
                body.insert(0, f"(void){frame.name};")
            out += [remark(f"The first clause that forbids {name}; -1: none does.")]
            out += function(f"static ENTRY_CODE int {choice.name}_{name}_refused(const {frame.c_name} *{frame.name})", [*body, "return -1;"])
        out += ["/* Runs after the last thing that can change the frame, with interrupts off. */"]
        out += function(f"static ENTRY_CODE unsigned int {self.part('choose', choice.name, frame_name)}(const {frame.c_name} *{frame.name})",
                        self.choose_body(choice, frame.name))
        return out

    def choose_body(self, choice: Choice, frame: str) -> Block:
        counts, refusal = self.local("counts"), self.local("refusal")
        returned, refused = self.counters(choice.name, "methods", counts), self.counters(choice.name, "clauses", counts)
        others = choice.methods[:-1]
        variables: Block = []
        if returned or refused:
            memory = next(m.name for m in self.spec.memories.values() if any(c.choice == choice.name for c in m.counters.values()))
            hook = next((h.name for h in self.spec.hooks.values() if h.result == memory and not h.params), None)
            if hook is None:
                raise refuse("E504", f"no hook without parameters gives C the address of memory '{memory}', which has counters",
                             self.spec.memories[memory].span)
            variables.append(f"struct {memory} *{counts} = {hook}();")
        if others:
            variables.append(f"int {refusal};")
        out: Block = []
        for name in others:
            constant = f"{upper(choice.name)}_{upper(name)}"
            taken: Block = [*([f"{returned}[{constant}]++;"] if returned else []), f"return {constant};"]
            out += [f"{refusal} = {choice.name}_{name}_refused({frame});"]
            out += braced(f"if ({refusal} < 0)", taken)
            out += [f"{refused}[{refusal}]++;"] if refused else []
        last = f"{upper(choice.name)}_{upper(choice.methods[-1])}"
        out += [] if others else [f"(void){frame};"]
        out += [f"{returned}[{last}]++;"] if returned else []
        return [*variables, *([""] if variables else []), *out, f"return {last};"]

    def counters(self, choice: str, of: str, counts: str) -> str | None:
        found = next((c.name for m in self.spec.memories.values() for c in m.counters.values() if c.choice == choice and c.of == of), None)
        return f"{counts}->{found}" if found else None

    # ---- handlers ----

    def handler(self, handler: Handler) -> Block:
        frame = self.spec.frames[handler.frame]
        result = f"uint{self.spec.result_bits(handler.choice)}_t" if handler.choice else "void"
        lets = list(dict.fromkeys(s.subject for s in flat_handler(handler) if s.verb == "let"))
        body = self.steps(handler.steps, handler)
        uses = [s for s in body if not (isinstance(s, str) and s.startswith("__asm__"))]
        unused: Block = [f"(void){n};" for n in (*lets, handler.frame) if not mentions(uses, n)]
        at = next((i for i, s in enumerate(body) if isinstance(s, str) and s.startswith("return ")), len(body))
        body[at:at] = unused
        body = [*(f"uint64_t {n};" for n in lets), *([""] if lets else []), *body]
        return function(f"ENTRY_CODE {result} {handler.name}({frame.c_name} *{frame.name})", body)

    def steps(self, steps: tuple[CStep, ...], handler: Handler, nested: bool = False) -> Block:
        out: Block = []
        for step in steps:
            if nested and step.verb == "choose":
                raise refuse("E505", "the return method is chosen at the end of the handler, not inside an arm", step.span)
            out += self.step(step, handler)
        return out

    def call(self, row: CallText, handler: Handler) -> str:
        self.own(row.arguments, handler.frame)
        return f"{call(self.spec, row)};"

    def step(self, step: CStep, handler: Handler) -> Block:
        spec, frame = self.spec, handler.frame
        if step.verb in ("enter", "leave"):
            bracket = spec.brackets[step.subject]
            return [self.call(row, handler) for row in (bracket.enter if step.verb == "enter" else bracket.leave)]
        if step.verb == "irqs":
            return ["ENTRY_IRQS_ON();" if step.subject == "on" else "ENTRY_IRQS_OFF();"]
        if step.verb in ("syscalls", "work"):
            return [f"{self.part(step.verb, step.subject, frame)}({frame});"]
        if step.verb == "choose":
            if spec.choices[step.subject].by_address:
                return self.addresses(spec.choices[step.subject], frame)
            return [f"return (uint{self.arch.result_bits}_t){self.part('choose', step.subject, frame)}({frame});"]
        if step.verb == "do":
            assert step.call is not None
            return [self.call(step.call, handler)]
        if step.verb == "let":
            return [self.let(step)]
        if step.verb == "set":
            assert step.place is not None and step.value is not None
            if not isinstance(step.place, SlotRef):
                raise refuse("E503", f"'{show(step.place)}' cannot be written in C", step.span, "write a slot of the frame")
            self.own((step.place, step.value), frame)
            return [f"{expression(spec, step.place)} = {expression(spec, step.value)};"]
        if step.verb == "origin":
            test = from_user(spec, spec.frames[frame])
            if test is None:
                raise refuse("E506", f"frame '{frame}' does not keep what tells the origin", step.span)
            user, kernel = self.steps(step.user, handler, True), self.steps(step.kernel, handler, True)
            if not user:
                return [f"if (!{test[0]}({frame})) {{", kernel, "}"] if kernel else []
            other: Block = ["} else {", kernel] if kernel else []
            return [f"if ({test[0]}({frame})) {{", user, *other, "}"]
        if step.verb == "require":
            assert step.value is not None and step.call is not None
            self.own((step.value,), frame)
            return [f"if (!({expression(spec, step.value)}))", [self.call(step.call, handler)]]
        return self.dispatch(step, handler)

    def addresses(self, choice: Choice, frame: str) -> Block:
        """From the method to the address of its exit path."""
        out: Block = [f"switch ({self.part('choose', choice.name, frame)}({frame})) {{"]
        for name in choice.methods[:-1]:
            out += [f"case {upper(choice.name)}_{upper(name)}:", [f"return (uintptr_t){self.spec.methods[name].exit};"]]
        return [*out, "default:", [f"return (uintptr_t){self.spec.methods[choice.methods[-1]].exit};"], "}"]

    def let(self, step: CStep) -> str:
        """Reading a system register: by the form that does exactly that."""
        assert isinstance(step.value, Reg)
        register = self.arch.registers[step.value.name]
        for form in self.arch.forms.values():
            effect = form.effects[0] if len(form.effects) == 1 else None
            if not isinstance(effect, Assign) or not isinstance(effect.place, Operand):
                continue
            template = None
            if effect.value == step.value:
                template = inline_asm(form, effect.place.name)
            elif isinstance(effect.value, Operand) and any(k.name == "system" for k in form.params[effect.value.name]):
                template = inline_asm(form, effect.place.name, {effect.value.name: register.text})
            if template is not None:
                clobbers = _clobbers(form)
                return f'__asm__ volatile("{template}" : "=r"({step.subject}){" : : " + clobbers if clobbers else ""});'
        raise refuse("E507", f"no instruction form of {self.arch.name} reads register '{register.name}'", step.span)

    def dispatch(self, step: CStep, handler: Handler) -> Block:
        """A switch; ranges as GNU C writes them."""
        assert step.value is not None
        self.own((step.value,), handler.frame)
        names = dict(step.names)
        out: Block = []
        for ranges, body in step.arms:
            for low, high in ranges:
                ends = [names.get(n) or plain(n) for n in ((low,) if low == high else (low, high))]
                out.append(f"case {' ... '.join(ends)}:")
            out += [] if ranges else ["default:"]
            inner: Block = [*self.steps(body, handler, True), "break;"]
            out.append(inner)
        return [f"switch ({wide(self.spec, step.value)}) {{", *out, "}"]


def _group(test: str) -> str:
    return f"({test})" if "|" in test else test


def _clobbers(form: Form, *more: str) -> str:
    """What the compiler must not keep over the instruction."""
    return ", ".join(f'"{c}"' for c in (*more, *(["cc"] if "clobbers_flags" in form.traits else [])))
