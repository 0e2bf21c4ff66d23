"""An .arch file to an Arch: names resolved, rows checked."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from lark import Token, Tree

from .. import resources
from ..source.finding import Collector, Finding, Findings
from ..source.parse import parse, span_of
from ..source.text import SourceFile, Span, Unreadable
from .arch import (
    Abi,
    Arch,
    Assign,
    Control,
    Effect,
    Event,
    Form,
    FormUse,
    HardwareStruct,
    Kind,
    Program,
    Reads,
    Register,
    Relocation,
    Return,
    Sequence,
    Setup,
    StackRow,
    Swap,
)
from .expr import Bit, Expr, HookCall, Indexed, Num, Operand, Reg, SetupRef, SymbolAddress, rebuild
from .names import Expressions, Node, first, int_of, near, text_of, tokens, trees

ROLES = frozenset(["save", "restore", "clear", "move", "adjust", "switch", "fence", "call", "jump", "decide", "return", "stop", "mark"])
TRAITS = frozenset(["overlay", "event", "clobbers_flags", "described", "encoded", "c_return", "asserts"])
CONTROLS = frozenset(["call", "jump", "indirect", "branch", "return", "stop"])
IMMEDIATE = re.compile(r"([su])(\d{1,2})$")
ABI = {"align": "count", "return_address": "count", "must": "fact"}              # what is written behind a fact of the C ABI; else names
MAX_EVENTS = 1 << 16                            # vector numbers of a CPU


@lru_cache(maxsize=8)
def load_arch(name: str) -> Arch:
    """Load a shipped CPU by name. Raises Findings."""
    path = resources.arch_file(name)
    return read_arch(path, f"specs/arch/{name}.arch")


def read_arch(path: Path, shown: str | None = None, text: str | None = None) -> Arch:
    """Load an .arch file. Raises Findings. `text`: what stands for the file's text: an editor's unsaved buffer."""
    try:
        file = SourceFile.read(path, shown) if text is None else SourceFile.of(text, shown or str(path))
    except Unreadable as error:
        raise Findings([Finding("E003", "error", str(error))]) from None
    return _Loader(file).load()


class _Loader:
    def __init__(self, file: SourceFile) -> None:
        self.file = file
        self.collector = Collector()
        self.registers: dict[str, Register] = {}
        self.flag_names: dict[str, int] = {}
        self.places: dict[str, tuple[str, int]] = {}
        self.params: dict[str, tuple[Kind, ...]] = {}
        self.setups: dict[str, Setup] = {}
        self.expressions = Expressions(file, self.collector, self._resolve, self._address)

    def span(self, node: Node | Token) -> Span:
        return span_of(self.file, node)

    def _address(self, path: tuple[str, ...], span: Span) -> Expr:
        if len(path) != 1 or not any(k.name == "label" for k in self.params.get(path[0], ())):
            self.collector.error("E011", f"'&{'.'.join(path)}' is the address of no label operand", span)
        return SymbolAddress(".".join(path), span=span)

    def _resolve(self, path: tuple[str, ...], span: Span) -> Expr:
        if len(path) == 2 and path[0] == "setup":
            return SetupRef(path[1], span=span)
        name = ".".join(path)
        if name in self.params:
            return Operand(name, span=span)
        if name in self.registers:
            return Reg(name, span=span)
        if name in self.flag_names:
            return Num(self.flag_names[name], name, span=span)
        if name in self.places:
            register, bit = self.places[name]
            return Bit(register, bit, name, span=span)
        self.collector.error("E101", f"'{name}' is no register, flag or operand", span,
                             near(name, [*self.params, *self.registers, *self.flag_names, *self.places]))
        return Num(0, span=span)

    def load(self) -> Arch:
        tree = parse("arch", self.file)
        items = trees(tree)
        for item in (i for i in items if i.data == "register"):
            self._register(item)
        by = {kind: [i for i in items if i.data == kind] for kind in
              ("arch", "word", "tools", "irqs", "padding", "abi", "struct", "setup", "hwstack", "origin", "event", "return_row", "form", "sequence", "program",
               "plain", "link", "relocation", "patching")}
        for kind in ("arch", "word", "tools", "irqs", "padding", "abi"):
            if len(by[kind]) != 1:
                self.collector.error("E102", f"an .arch file has exactly one '{kind}'", self.span(tree))
        self.collector.stop_if_failed()
        for node in by["setup"]:
            self._setup(node)
        head, word = by["arch"][0], by["word"][0]
        forms = {f.name: f for f in map(self._form, by["form"])}
        sequences = tuple(map(self._sequence, by["sequence"]))
        for sequence in sequences:
            for use in sequence.uses:
                if use.form not in forms:
                    self.collector.error("E103", f"there is no form '{use.form}'", sequence.span, near(use.form, forms))
        origin = self.expressions.build(by["origin"][0].children[0]) if by["origin"] else None
        for name in by["irqs"][0].children:
            if str(name) not in forms:
                self.collector.error("E103", f"there is no form '{name}'", self.span(name), near(str(name), forms))
        returns = tuple(map(self._return, by["return_row"]))
        for row in returns:
            for form in (row.name, *row.stops):
                if form not in forms:
                    self.collector.error("E103", f"there is no form '{form}'", row.span, near(form, forms))
        arch = Arch(
            name=str(head.children[0]), title=text_of(head.children[1]), word=int_of(word.children[0]), endian=str(word.children[1]),
            source=self.file, tools={str(t.children[0]): tuple(text_of(s) for s in t.children[1:]) for t in trees(by["tools"][0], "tool")},
            registers=self.registers, flag_names=self.flag_names, places=self.places, abi=self._abi(by["abi"][0]),
            structs={s.name: s for s in map(self._struct, by["struct"])}, setups=self.setups,
            padding=int_of(by["padding"][0].children[0]),
            irqs=(str(by["irqs"][0].children[0]), str(by["irqs"][0].children[1])),
            hwstacks={str(h.children[0]): text_of(h.children[1]) for h in by["hwstack"]}, origin=origin,
            events={e.name: e for e in map(self._event, by["event"])}, returns=returns, forms=forms, sequences=sequences,
            programs={p.event: p for p in map(self._program, by["program"])},
            link=self._link(by["link"]), relocations={r.number: r for r in map(self._relocation, by["relocation"])},
            patching={str(row.children[0]): self._bytes(row) for item in by["patching"] for row in trees(item, "patching_row")},
            plain={str(t): self._defines(item) for item in by["plain"] for t in tokens(item, "NAME")})
        self.collector.stop_if_failed()
        return arch

    def _defines(self, node: Node) -> int | None:
        """The flags that a row of plain mnemonics leaves defined; None: all that arithmetic defines."""
        found = first(node, "defines")
        if found is None:
            return None
        mask = 0
        for token in tokens(found, "NAME"):
            if str(token) not in self.flag_names:
                self.collector.error("E101", f"'{token}' is no flag", self.span(token), near(str(token), self.flag_names))
            mask |= self.flag_names.get(str(token), 0)
        return mask

    def _link(self, nodes: list[Node]) -> tuple[int, int, int]:
        code, extern, low = (int_of(t) for t in tokens(nodes[0], "INT")) if nodes else (0, 0, 0)
        return code, extern, low

    def _relocation(self, node: Node) -> Relocation:
        name, (number, size) = text_of(tokens(node, "STRING")[0]), (int_of(t) for t in tokens(node, "INT"))
        kind = next((str(t) for t in tokens(node, "NAME")), "any")
        if kind not in ("signed", "unsigned", "any"):
            self.collector.error("E111", f"'{kind}' is no range", self.span(node), "signed, unsigned, or nothing")
        self.params = dict.fromkeys("SAP", ())
        value = self.expressions.build(node.children[-1])
        self.params = {}
        return Relocation(name, number, size, kind, value)

    def _bytes(self, node: Node) -> tuple[bytes, ...]:
        try:
            return tuple(bytes.fromhex(text_of(t)) for t in tokens(node, "STRING"))
        except ValueError:
            self.collector.error("E112", "these are no bytes", self.span(node), 'two hexadecimal digits for each: "0f1f00"')
            return ()

    def _register(self, node: Node) -> None:
        name, kind = (str(t) for t in tokens(node)[:2])
        views: dict[int, str] = {}
        bits: dict[str, tuple[int, int]] = {}
        places: dict[str, int] = {}
        lifter_bits: dict[str, int] = {}
        facts: dict[str, int] = {}
        lifted: str | None = None
        for item in trees(node):
            if item.data == "view":
                views[int_of(item.children[0])] = str(item.children[1])
            elif item.data == "bit":
                low = int_of(item.children[1])
                high = int_of(item.children[2]) if item.children[2] is not None else low
                bits[str(item.children[0])] = (low, high)
            elif item.data == "reg_word":
                lifted = str(item.children[1])
            elif item.data == "reg_fact":
                facts[str(item.children[0])] = int_of(item.children[1])
            elif item.data == "reg_bit":
                target = places if str(item.children[0]) == "place" else lifter_bits
                target[str(item.children[1])] = int_of(item.children[2])
        if name in self.registers:
            self.collector.error("E104", f"register '{name}' is declared twice", self.span(node))
        if not views:
            self.collector.error("E105", f"register '{name}' has no view", self.span(node))
            return
        self.registers[name] = Register(name, kind, views, self.span(node), bits, places, lifter_bits, lifted, facts)
        for what, low, high in (*((b, *ends) for b, ends in bits.items()), *((p, bit, bit) for p, bit in (*places.items(), *lifter_bits.items()))):
            if not low <= high < max(views):
                self.collector.error("E113", f"{what}: register '{name}' has no bits {low} to {high}", self.span(node), f"it has bits 0 to {max(views) - 1}")
                return
        for flag, (low, high) in bits.items():
            self.flag_names[flag] = ((1 << (high - low + 1)) - 1) << low
        for place, bit in places.items():
            self.places[place] = (name, bit)

    def _abi(self, node: Node) -> Abi:
        facts: dict[str, Any] = {"args": (), "result": "", "preserved": (), "align": 16, "return_address": 0, "link": None, "must": {}}
        for item in trees(node, "abi_item"):
            key, value = str(item.children[0]), item.children[1]
            if key not in facts or value is None or value.data != ABI.get(key, "names"):
                self.collector.error("E106", f"the C ABI has no fact '{key}'", self.span(item), near(key, facts))
            elif value.data == "names":
                names = tuple(str(t) for t in value.children)
                facts[key] = names[0] if key in ("result", "link") else names
            elif value.data == "count":
                facts[key] = int_of(value.children[0])
            else:
                facts["must"] = {**facts["must"], str(value.children[0]): int_of(value.children[1])}
        for name in (*facts["args"], *facts["preserved"], facts["result"], *([facts["link"]] if facts["link"] else [])):
            if name not in self.registers:
                self.collector.error("E101", f"'{name}' is no register", self.span(node), near(name, self.registers))
        return Abi(**facts)

    def _struct(self, node: Node) -> HardwareStruct:
        name, size, meaning = tokens(node)
        fields = {str(f.children[0]): (int_of(f.children[1]), int_of(f.children[2])) for f in trees(node, "field")}
        return HardwareStruct(str(name), int_of(size), fields, text_of(meaning))

    def _setup(self, node: Node) -> None:
        name, meaning, requires, reason = str(node.children[0]), text_of(node.children[1]), node.children[2], node.children[3]
        self.setups[name] = Setup(name, meaning, self.expressions.build(requires) if requires is not None else None,
                                  text_of(reason) if reason is not None else "", self.span(node))

    def _assign(self, node: Node) -> Assign:
        place, value = node.children
        target = Indexed(self.expressions.build(place.children[0])) if isinstance(place, Tree) and place.data == "indexed" else self.expressions.build(place)
        return Assign(target, rebuild(self.expressions.build(value), _indexed))

    def _event(self, node: Node) -> Event:
        name = ".".join(str(t) for t in trees(node, "name")[0].children)
        ints = tokens(node, "INT")
        if ints and not int_of(ints[0]) <= int_of(ints[1]) < MAX_EVENTS:
            self.collector.error("E113", f"{ints[0]} to {ints[1]} are no numbers of events", self.span(node), f"numbers are 0 to {MAX_EVENTS - 1}")
        stacks: list[StackRow] = []
        pushes: list[str] = []
        errors: set[int] = set()
        effects: list[Assign] = []
        lost: set[str] = set()
        found = ("none", 0, 0)
        words, error_always = 0, False
        augments: tuple[str, ...] = ()
        anywhere: frozenset[int] = frozenset()
        for item in trees(node)[1:]:
            if item.data == "found":
                how, number, size = item.children
                found = (str(how), int_of(number) if number is not None else 0, int_of(size) if size is not None else 0)
            elif item.data == "stack":
                stack, origin, align = item.children
                stacks.append(StackRow(str(stack), str(origin), int_of(align) if align is not None else 1))
            elif item.data == "push":
                pushes.append(str(item.children[0]))
            elif item.data == "push_words":
                words = int_of(item.children[0])
            elif item.data == "anywhere":
                anywhere = frozenset(int_of(t) for t in item.children)
            elif item.data == "augments":
                augments = tuple(str(t) for t in item.children)
            elif item.data == "push_error" and not trees(item, "range"):
                error_always = True
            elif item.data == "push_error":
                for part in trees(item, "range"):
                    low, high = int_of(part.children[0]), int_of(part.children[-1] or part.children[0])
                    if not low <= high < MAX_EVENTS:
                        self.collector.error("E113", f"{low} to {high} are no numbers of events", self.span(part), f"numbers are 0 to {MAX_EVENTS - 1}")
                        continue
                    errors.update(range(low, high + 1))
            elif item.data == "assign":
                effects.append(self._assign(item))
            elif item.data == "lost":
                lost.update(str(t) for t in item.children)
        return Event(name, (int_of(ints[0]), int_of(ints[1])) if len(ints) == 2 else None, str(tokens(node, "ORIGIN")[0]), found,
                     tuple(stacks), tuple(pushes), frozenset(errors), tuple(effects), frozenset(lost),
                     words, augments, error_always, anywhere, text_of(tokens(node, "STRING")[0]), self.span(node))

    def _return(self, node: Node) -> Return:
        pops: tuple[str, ...] = ()
        effects: list[Assign] = []
        requires: list[tuple[Expr, str]] = []
        raises: tuple[int, ...] = ()
        stops: tuple[str, ...] = ()
        for item in trees(node):
            if item.data == "pop":
                pops = tuple(str(t) for t in item.children)
            elif item.data == "assign":
                effects.append(self._assign(item))
            elif item.data == "requires":
                requires.append((self.expressions.build(item.children[0]), text_of(item.children[1])))
            elif item.data == "raises":
                raises = tuple(int_of(t) for t in item.children)
            elif item.data == "stop":
                stops = tuple(str(t) for t in item.children)
        name, origin, manual = tokens(node)
        return Return(str(name), str(origin), pops, tuple(effects), tuple(requires), raises, stops, text_of(manual), self.span(node))

    def _kind(self, node: Node) -> Kind:
        name, unit = str(node.children[0]), node.children[1]
        match = IMMEDIATE.match(name)
        if match and 0 < int(match[2]) <= 64:
            return Kind("imm", int(match[2]), match[1] == "s", int_of(unit) if unit is not None else 1)
        if name not in ("gpr", "sp", "system", "label", "function"):
            self.collector.error("E107", f"'{name}' is no kind of operand", self.span(node), "gpr, sp, system, label, function, sN, uN")
        return Kind(name)

    def _params(self, node: Node) -> dict[str, tuple[Kind, ...]]:
        return {str(p.children[0]): tuple(self._kind(k) for k in trees(p, "kind")) for p in trees(node, "param")}

    def _effect(self, node: Node) -> Effect:
        if node.data == "assign":
            return self._assign(node)
        if node.data == "reads":
            return Reads(int_of(node.children[0]), self.expressions.build(node.children[1]))
        if node.data == "swap":
            return Swap(*(self.expressions.build(c) for c in node.children))
        kind, target = str(node.children[0]), node.children[1]
        if kind not in CONTROLS:
            self.collector.error("E108", f"'{kind}' is no kind of control transfer", self.span(node), ", ".join(sorted(CONTROLS)))
        return Control(kind, str(target.children[0]) if isinstance(target, Tree) else None)

    def _form(self, node: Node) -> Form:
        self.params = self._params(node)
        names = tokens(node, "NAME")
        strings = tokens(node, "STRING")
        role = str(names[1])
        if role not in ROLES:
            self.collector.error("E109", f"'{role}' is no role of an instruction", self.span(names[1]), ", ".join(sorted(ROLES)))
        alternate = first(node, "alternate")
        traits = frozenset(str(t.children[0]) for t in trees(node, "trait"))
        if traits - TRAITS:
            self.collector.error("E110", f"unknown trait {', '.join(sorted(traits - TRAITS))}", self.span(node), ", ".join(sorted(TRAITS)))
        effects = tuple(self._effect(e) for e in trees(node, "assign", "swap", "control", "reads"))
        raises = tuple(int_of(t) for row in trees(node, "raises") for t in row.children)
        form = Form(str(names[0]), self.params, role, text_of(strings[0]),
                    {str(alternate.children[0]): text_of(alternate.children[1])} if alternate else {},
                    tuple(str(n) for n in names[2:]), effects, traits, text_of(strings[-1]), self.span(node), raises)
        self.params = {}
        return form

    def _sequence(self, node: Node) -> Sequence:
        self.params = self._params(node)
        condition = next(c for c in node.children if isinstance(c, Tree) and c.data not in ("param", "use_form"))
        uses = tuple(FormUse(str(u.children[0]), tuple(self.expressions.build(a) for a in u.children[1:] if a is not None))
                     for u in trees(node, "use_form"))
        sequence = Sequence(str(node.children[0]), self.params, self.expressions.build(condition), uses, self.span(node))
        self.params = {}
        return sequence

    def _program(self, node: Node) -> Program:
        rows: list[tuple[str, int, Expr | None]] = []
        for row in trees(node, "row"):
            verb, number, value = row.children
            word = str(value.children[0]) if isinstance(value, Tree) and value.data == "name" and len(value.children) == 1 else ""
            kept: Expr | None = None if word == "entry" else Reg("table") if word == "table" else self.expressions.build(value)
            rows.append((str(verb), int_of(number), kept))
        name, manual = tokens(node)
        return Program(str(name), tuple(rows), text_of(manual))


def _indexed(expr: Expr) -> Expr:
    """indexed(x) is written like a call."""
    return Indexed(expr.arguments[0]) if isinstance(expr, HookCall) and expr.name == "indexed" and len(expr.arguments) == 1 else expr
