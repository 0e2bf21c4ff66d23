"""Frames and memory blocks: what lies where, by offset and size."""

from __future__ import annotations

from ..source.finding import Finding, Findings
from ..source.text import Span
from .context import Context
from .expr import Expr, Num, constant, is_constant
from .names import Node, first, int_of, text_of, tokens, trees
from .spec import Cell, Counters, Frame, Member, Memory, Slot

MAX_WORDS = 1000                                # of a frame or memory block


class Layout:
    """Adds frames and memory blocks to the spec. `regions`: the names of all regions, which may be declared later."""

    def __init__(self, context: Context, regions: list[str]) -> None:
        self.context, self.spec, self.regions = context, context.spec, regions

    def frame(self, node: Node) -> None:
        name = str(tokens(node, "NAME")[0])
        span = self.context.span(node)
        self.context.declare(self.spec.frames, name, span, "frame")
        strings = tokens(node, "STRING")
        c_name = text_of(strings[0]) if strings else f"struct {name}"
        tag = c_name.removeprefix("struct ")
        if not tag.isidentifier() or not tag.isascii():
            self.context.error("E216", f"'{c_name}' is not the name of a C struct", span, 'for example: is "struct regs"')
        frame = Frame(name, c_name, {}, 0, span)
        self.spec.frames[name] = frame
        for item in trees(node):
            self._slots(frame, item)
        frame.size = len(frame.slots) * self.spec.arch.word_bytes

    def _slots(self, frame: Frame, item: Node) -> None:
        span, arch = self.context.span(item), self.spec.arch
        names = [str(t) for t in tokens(item, "NAME")]
        if item.data == "slot_gprs":
            for name in arch.gprs:
                self._slot(frame, name, name, "home", None, False, span)
        elif item.data == "slot_names":
            for token in tokens(item, "NAME"):
                if self.context.known(arch.registers, str(token), self.context.span(token), "register"):
                    self._slot(frame, str(token), str(token), "home", None, False, self.context.span(token))
        elif item.data == "slot_hardware":
            if not names:
                pushing = [e.pushes for e in arch.events.values() if e.pushes]
                names = list(reversed(pushing[0])) if pushing else []
            for name in names:
                if self.context.known(arch.registers, name, span, "register"):
                    self._slot(frame, name, name, "home", None, True, span)
        elif item.data == "slot_home":
            if self.context.known(arch.registers, names[1], span, "register"):
                self._slot(frame, names[0], names[1], "home", None, False, span)
        elif item.data == "slot_c":
            self._slot(frame, names[0], None, "c", None, False, span)
        elif item.data == "slot_value":
            other = next((c for c in item.children[2:] if c is not None), None)
            self._slot(frame, names[0], None, str(item.children[1]), self.context.expr(other) if other is not None else None, False, span)
        else:
            self._slot(frame, names[0], None, "value", self.context.expr(item.children[1]), False, span)

    def _slot(self, frame: Frame, name: str, home: str | None, source: str, other: Expr | None, hardware: bool, span: Span) -> None:
        self.context.declare(frame.slots, name, span, f"slot of frame {frame.name}:")
        if len(frame.slots) == MAX_WORDS:
            raise Findings([Finding("E004", "error", f"frame '{frame.name}' has more than {MAX_WORDS} slots", span)])
        frame.slots[name] = Slot(name, len(frame.slots) * self.spec.arch.word_bytes, home, source, other, hardware, span)

    def memory(self, node: Node) -> None:
        name, base = [*tokens(node, "NAME"), ""][:2]
        span = self.context.span(node)
        self.context.declare(self.spec.memories, str(name), span, "memory")
        if base:
            self.context.known(self.spec.arch.registers, str(base), span, "register")
        memory = Memory(str(name), str(base), (), [], {}, {}, 0, span)
        self.spec.memories[str(name)] = memory
        word = self.spec.arch.word_bytes
        if len(trees(node, "member")) > MAX_WORDS:
            raise Findings([Finding("E004", "error", f"memory '{name}' has more than {MAX_WORDS} members", span)])
        for item in trees(node, "member"):
            words = [str(t) for t in tokens(item, "NAME")]
            at, offset = self.context.span(item), memory.size
            counted = first(item, "counted")
            words += [*(str(t) for t in tokens(counted, "NAME"))] if counted is not None else []
            if first(item, "at_symbol") is not None:
                self._placed(memory, item, words, at)
                continue
            if not base:
                self.context.error("E224", f"'{words[0]}' has no address: memory {name} has no base register", at, "say where it is: at SYMBOL")
            self.context.declare({m.name: m for m in memory.members}, words[0], at, f"member of memory {name}:")
            if first(item, "guard") is not None:
                self.context.error("E228", f"'{words[0]}' is part of a C structure: it is there in every configuration", at, "leave out the condition")
            region = self.region(item, at)
            if region is not None and words[1] == "counters":
                self.context.error("E228", f"'{words[0]}' are counters: entry code never reaches them", at, "leave out the region")
            if words[1] == "word":
                size = word
                memory.cells[words[0]] = Cell(words[0], offset, word, at, region=region)
            elif words[1] == "counters":
                size = self._counters(memory, words, offset, at)
            elif self.context.known([*self.spec.arch.structs, "word", "counters"], words[1], at, "kind of member"):
                row = self.spec.arch.structs[words[1]]
                size = row.size
                for field_name, (at_offset, field_size) in row.fields.items():
                    if field_size == word:
                        memory.cells[f"{words[0]}.{field_name}"] = Cell(f"{words[0]}.{field_name}", offset + at_offset, field_size, at, region=region)
            else:
                continue
            memory.members.append(Member(words[0], words[1], offset, size))
            memory.size = (offset + size + word - 1) // word * word

    def region(self, node: Node, at: Span) -> str | None:
        """in REGION, if it is said."""
        inside = first(node, "in_region")
        if inside is None:
            return None
        name = str(tokens(inside, "NAME")[0])
        self.context.known(self.regions, name, at, "region")
        return name

    def _placed(self, memory: Memory, item: Node, words: list[str], at: Span) -> None:
        """A member at a symbol of the image: a word, bytes, or a structure that the CPU reads."""
        place = first(item, "at_symbol")
        assert place is not None
        symbol, guard = str(tokens(place, "NAME")[0]), self.context.guard(item)
        shift = next((c for c in place.children[1:] if c is not None and c.data != "holds"), None) if len(place.children) > 1 else None
        index = self.context.expr(shift) if shift is not None else Num(0)
        holds = first(place, "holds")
        kept = self.context.expr(holds.children[0]) if holds is not None else None
        fixed, computed = (constant(index), None) if is_constant(index) else (0, index)
        region = self.region(item, at)
        word, size = self.spec.arch.word_bytes, int_of(tokens(item, "INT")[0]) if tokens(item, "INT") else 0
        if words[1] in ("word", "bytes"):
            rows = [(words[0], 0, word if words[1] == "word" else size)]
            if (words[1] == "bytes") != bool(size):
                self.context.error("E224", "write: NAME : word at SYMBOL, or NAME : bytes N at SYMBOL", at)
        elif self.context.known([*self.spec.arch.structs, "word", "bytes"], words[1], at, "kind of member"):
            rows = [(f"{words[0]}.{n}", o, s) for n, (o, s) in self.spec.arch.structs[words[1]].fields.items()]
        else:
            return
        for name, offset, length in rows:
            self.context.declare(memory.cells, name, at, f"member of memory {memory.name}:")
            memory.cells[name] = Cell(name, fixed + offset, length, at, symbol, region, words[1] == "bytes", computed, kept, guard)

    def _counters(self, memory: Memory, words: list[str], offset: int, span: Span) -> int:
        if len(words) != 4 or words[3] not in ("methods", "clauses"):
            self.context.error("E219", "counters count the methods or the clauses of a choice", span, "for example: counters of return_64 methods")
            return self.spec.arch.word_bytes
        if not self.context.known(self.spec.choices, words[2], span, "choice"):
            return self.spec.arch.word_bytes
        choice = self.spec.choices[words[2]]
        methods = [self.spec.methods[m] for m in choice.methods if m in self.spec.methods]
        count = len(methods) if words[3] == "methods" else sum(len(m.clauses) for m in methods)
        memory.counters[words[0]] = Counters(words[0], offset, words[2], words[3], span)
        return max(1, count) * self.spec.arch.word_bytes
