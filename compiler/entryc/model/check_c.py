"""What a spec must not say about its C: names that collide once they are C, handlers that end in a wrong state."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..source.edits import replaced
from ..source.finding import Collector
from ..source.text import Span
from .check import flat_handler
from .context import C_KEYWORDS
from .spec import CStep, Handler, Path, Spec
from .steps import Call, Goto, Label, flat_steps

OFF, ON = frozenset(["off"]), frozenset(["on"])
RESERVED = re.compile(r"entry_|ENTRY_|_|U?INT(8|16|32|64|PTR|MAX)_|(NULL|SIZE_MAX|EOF)$")


def check_c(spec: Spec, collector: Collector) -> None:
    """Everything for which a C compiler would refuse the output, or for which the output would be wrong."""
    for rule in (_macros, _functions, _tags, _parameters, _works, _handlers):
        rule(spec, collector)


# ---- names ----

def _at(spec: Spec, name: str) -> Span:
    """Where the spec gives a name its value; the first line where a file that it uses does."""
    found = re.search(rf"(?m)^[^#\n\"]*?\b({re.escape(name)})\s*=", spec.source.text)
    if found is None:
        return Span(spec.source, 1, 1, 1, 2)
    line = spec.source.text.count("\n", 0, found.start(1)) + 1
    column = found.start(1) - spec.source.text.rfind("\n", 0, found.start(1))
    return Span(spec.source, line, column, line, column + len(name))


def _macros(spec: Spec, collector: Collector) -> None:
    """Constants and flags are macros: they replace every equal word after them."""
    words = _words(spec)
    seen: dict[str, str] = {}
    rows = [("constant", name) for name in spec.constants] + [("flag", flag) for flags in spec.flag_sets.values() for flag in flags]
    for kind, name in rows:
        if name in seen:
            collector.error("E508", f"{kind} '{name}' and {seen[name]} '{name}' would be one macro of C", _at(spec, name), "choose another name")
        elif name in words:
            collector.error("E508", f"{kind} '{name}' becomes a macro of C and would replace {words[name]} '{name}'", _at(spec, name), "choose another name")
        elif not any(c.isupper() for c in name) or RESERVED.match(name):
            collector.error("E508", f"{kind} '{name}' becomes a macro of C: such a name is not safe there", _at(spec, name),
                            "use capitals, and none of the prefixes ENTRY_, INT, UINT and _")
        seen.setdefault(name, kind)


def _words(spec: Spec) -> dict[str, str]:
    """The other names that reach C, with what they are."""
    out: dict[str, str] = {}
    for frame in spec.frames.values():
        tops = (f"{str.upper(frame.name)}_{str.upper(s)}_OFFSET" for s in frame.slots)
        out |= {frame.name: "frame", frame.c_name.removeprefix("struct "): "struct", f"{str.upper(frame.name)}_SIZE": "size"}
        out |= dict.fromkeys(tops, "offset") | dict.fromkeys(frame.slots, "slot")
    for memory in spec.memories.values():
        out |= {memory.name: "memory", f"{str.upper(memory.name)}_SIZE": "size"} | {m.name: "member" for m in memory.members}
        out |= {f"{str.upper(memory.name)}_{str.upper(c.replace('.', '_'))}_OFFSET": "offset" for c in memory.cells}
    for choice in spec.choices.values():
        out |= {f"{str.upper(choice.name)}_{str.upper(m)}": "method" for m in choice.methods}
        out |= {f"{str.upper(choice.name)}_REFUSED_{str.upper(c.name)}": "clause" for m in choice.methods for c in spec.methods[m].clauses}
    out |= dict.fromkeys(spec.arch.structs, "struct") | {f: "member" for s in spec.arch.structs.values() for f in s.fields}
    out |= {p: "parameter" for h in spec.hooks.values() for _, p in h.params}
    out |= {s.subject: "value" for h in spec.handlers.values() for s in flat_handler(h) if s.verb == "let"}
    out |= {name: "function" for name, _ in _declared(spec)} | dict.fromkeys(_generated(spec), "function")
    return out


def _declared(spec: Spec) -> list[tuple[str, Span]]:
    """Functions and symbols that the author names."""
    return [*((h.name, h.span) for h in spec.hooks.values()), *((h.name, h.span) for h in spec.handlers.values()),
            *((r.name, r.span) for t in spec.tables.values() for r in t.rows), *((p.name, p.span) for p in spec.paths.values())]


def _generated(spec: Spec) -> Iterable[str]:
    """Functions and symbols that the compiler names."""
    for table in spec.tables.values():
        yield from (f"{table.name}_{part}" for part in ("table", "mask", "missing", *(r.name for r in table.rows)))
    users = [(s.verb, s.subject, h.frame) for h in spec.handlers.values() for s in flat_handler(h) if s.verb in ("syscalls", "work", "choose")]
    for verb, subject, frame in users:
        yield from (f"{verb}_{subject}", f"{verb}_{subject}_{frame}")
    for choice in spec.choices.values():
        yield from (f"{choice.name}_{m}_refused" for m in choice.methods)
    for path in spec.paths.values():
        yield from (s.symbol(path.name) for s in flat_steps(path.steps) if isinstance(s, Label))
        yield from (f"{window}_{path.name}_{end}" for window in spec.windows for end in ("begin", "end"))


def _functions(spec: Spec, collector: Collector) -> None:
    generated = set(_generated(spec))
    for name, span in _declared(spec):
        if name in C_KEYWORDS:
            collector.error("E509", f"'{name}' is a word of C and cannot name a function", span, "choose another name")
        elif name in generated or name.startswith("entry_"):
            collector.error("E509", f"'{name}' is a name that entryc itself gives", span, "choose another name; entry_ is the compiler's prefix")


def _tags(spec: Spec, collector: Collector) -> None:
    taken = dict.fromkeys(spec.arch.structs, "a structure of the CPU")
    for frame in spec.frames.values():
        tag = frame.c_name.removeprefix("struct ")
        if tag in taken or tag.startswith("entry_"):
            collector.error("E509", f"'{frame.c_name}' is {taken.get(tag, 'of a name that entryc itself gives')} already", frame.span, "choose another name")
        taken[tag] = f"frame '{frame.name}'"
    for memory in spec.memories.values():
        if memory.name in taken or memory.name.startswith("entry_"):
            collector.error("E509", f"'struct {memory.name}' is {taken.get(memory.name, 'of a name that entryc itself gives')} already", memory.span,
                            "choose another name")


def _parameters(spec: Spec, collector: Collector) -> None:
    for hook in spec.hooks.values():
        names = [name for _, name in hook.params]
        for name in dict.fromkeys(n for n in names if names.count(n) > 1):
            collector.error("E509", f"hook '{hook.name}' has two parameters '{name}'", hook.span, "choose another name")


# ---- states ----

def _works(spec: Spec, collector: Collector) -> None:
    for work in spec.works.values():
        if not work.repeat and work.irqs_on:
            collector.error("E510", f"'{work.name}' is one pass with interrupts on: an interrupt can raise work that the pass has gone by", work.span,
                            "write: repeat irqs on, or once irqs off", edits=replaced(work.span, "once irqs on", "repeat irqs on"))


def _origins(spec: Spec, handler: Handler) -> set[str]:
    """Who can be interrupted when the handler runs."""
    return {path.origin or "" for path in spec.of_kind("entry") if _reaches(spec, path, handler.name)}


def _reaches(spec: Spec, path: Path, callee: str) -> bool:
    todo, seen = [path], set()
    while todo:
        current = todo.pop()
        if current.name in seen:
            continue
        seen.add(current.name)
        for step in flat_steps(current.steps):
            if isinstance(step, Call) and step.callee == callee:
                return True
            if isinstance(step, Goto) and step.path in spec.paths:
                todo.append(spec.paths[step.path])
    return False


def _handlers(spec: Spec, collector: Collector) -> None:
    for handler in spec.handlers.values():
        walk = _Walk(spec, handler, collector)
        irqs, pending, _ = walk.steps(handler.steps, OFF, None, (), _origins(spec, handler) == {"user"})
        walk.end(irqs, pending, handler.steps[-1].span if handler.steps else handler.span)


class _Walk:
    """Follows a handler: are interrupts on, and what ran after its last exit work that can raise more?"""

    def __init__(self, spec: Spec, handler: Handler, collector: Collector) -> None:
        self.spec, self.handler, self.collector = spec, handler, collector
        self.told: set[tuple[str, Span]] = set()

    def error(self, code: str, message: str, span: Span, help: str) -> None:
        if (code, span) not in self.told:
            self.told.add((code, span))
            self.collector.error(code, message, span, help)

    def end(self, irqs: frozenset[str], pending: Span | None, span: Span) -> None:
        if irqs != OFF:
            self.error("E511", f"handler '{self.handler.name}' can end with interrupts on: entry code restores registers with them off", span,
                       "write before it: irqs off")
        if pending is not None:
            self.error("E512", "this comes after the exit work and can raise more, which nothing would handle", pending, "put it before the work")

    def steps(self, steps: tuple[CStep, ...], irqs: frozenset[str], pending: Span | None, outside: tuple[str, ...],
              user: bool, worked: bool = False) -> tuple[frozenset[str], Span | None, bool]:
        """Where the steps lead: interrupts, what came after the last work, whether work ran on some way."""
        opened: list[str] = []
        for step in steps:
            if step.verb == "enter":
                opened.append(step.subject)
            elif step.verb == "leave":
                if step.subject in outside and step.subject not in opened:
                    self.error("E513", f"bracket '{step.subject}' was entered outside of this arm and would be left twice", step.span,
                               "leave it where it was entered")
                elif step.subject in opened:
                    opened.remove(step.subject)
                self.end(irqs, pending, step.span)
            elif step.verb == "irqs":
                irqs = ON if step.subject == "on" else OFF
                pending = step.span if worked and irqs == ON else pending
            elif step.verb == "syscalls":
                pending = step.span if worked else pending
            elif step.verb == "work":
                irqs, pending, worked = OFF, None, True
                if user and not self.spec.works[step.subject].repeat:
                    self.error("E510", f"'{step.subject}' is one pass: user code could be resumed with work pending", step.span, "write in the work: repeat")
            elif step.verb in ("origin", "dispatch"):
                arms = [(step.user, True), (step.kernel, False)] if step.verb == "origin" else [(body, user) for _, body in step.arms]
                ends = [self.steps(body, irqs, pending, (*outside, *opened), of_user, worked) for body, of_user in arms]
                irqs = frozenset().union(*(e[0] for e in ends)) if ends else irqs
                pending = next((e[1] for e in ends if e[1] is not None), None)
                worked = any(e[2] for e in ends)
        return irqs, pending, worked


__all__ = ["check_c"]
