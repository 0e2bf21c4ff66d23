"""What the builders of a model share: the spec so far, findings, and how names are resolved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lark import Token

from ..source.edits import Edits
from ..source.finding import Collector
from ..source.parse import span_of
from ..source.text import SourceFile, Span
from .expr import BaseRef, Bit, CellRef, Expr, FoundRef, FrameRef, Local, Num, NumberRef, Operand, PresetRef, Reg, SetupRef, SlotRef, SymbolRef, UserRef
from .names import Expressions, Node, near, tokens, trees
from .spec import Spec
from .surroundings import Guard

C_KEYWORDS = frozenset(
    "auto break case char const continue default do double else enum extern float for goto if inline int long register restrict "
    "return short signed sizeof static struct switch typedef union unsigned void volatile while bool true false asm typeof "
    "class template namespace new delete this public private protected virtual friend operator try catch throw using export".split())


class Context:
    """One spec being built."""

    def __init__(self, spec: Spec, collector: Collector) -> None:
        self.spec = spec
        self.collector = collector
        self.file: SourceFile = spec.source
        self.locals: set[str] = set()
        self.numbered = False                   # inside the body of an entry point with a number
        self.operands: frozenset[str] = frozenset()     # of the op whose body is at hand
        self.arguments: dict[str, str] = {}     # of the routine at hand: name -> register
        self.labels: frozenset[str] = frozenset()       # symbols that labels in paths give

    def span(self, node: Node | Token) -> Span:
        return span_of(self.file, node)

    def error(self, code: str, message: str, span: Span | None, help: str | None = None, edits: Edits = ()) -> None:
        self.collector.error(code, message, span, help, edits=edits)

    def declare(self, table: Mapping[str, object], name: str, span: Span, what: str) -> None:
        """Complain about a second declaration and about names that C cannot have."""
        if name in table:
            earlier = getattr(table[name], "span", None)
            self.collector.error("E201", f"{what} '{name}' is declared twice", span,
                                 related=(("first declared here", earlier),) if earlier else ())
        if name in C_KEYWORDS:
            self.error("E202", f"'{name}' is a word of C and cannot name a {what}", span, "choose another name")

    def known(self, table: Iterable[str], name: str, span: Span, what: str) -> bool:
        """Complain about an unknown name, with a near match."""
        if name in table:
            return True
        self.error("E203", f"there is no {what} '{name}'", span, near(name, table))
        return False

    def guard(self, node: Node, outer: Guard = frozenset()) -> Guard:
        """The presence condition written at the end of an item or step."""
        guard = set(outer)
        for item in trees(node, "guard", "guard_not"):
            name = tokens(item, "NAME")[0]
            if self.known(self.spec.features, str(name), self.span(name), "feature"):
                wanted = item.data == "guard"
                if (str(name), not wanted) in guard:
                    self.error("E204", f"this can never be: {name} is already {'off' if wanted else 'on'} here", self.span(item))
                guard.add((str(name), wanted))
        return frozenset(guard)

    # ---- expressions ----

    def expressions(self) -> Expressions:
        return Expressions(self.file, self.collector, self._resolve, self._address)

    def expr(self, node: Node | Token) -> Expr:
        return self.expressions().build(node)

    def _address(self, path: tuple[str, ...], span: Span) -> Expr:
        if len(path) == 1 and path[0] in self.spec.memories:
            return BaseRef(path[0], span=span)
        if len(path) == 1 and path[0] in (*self.spec.symbols, *self.labels):
            return SymbolRef(path[0], span=span)
        self.error("E205", f"'&{'.'.join(path)}' is not the address of a memory block or of a symbol", span,
                   near(path[0], [*self.spec.memories, *self.spec.symbols, *self.labels]))
        return Num(0, span=span)

    def _resolve(self, path: tuple[str, ...], span: Span) -> Expr:
        spec, arch, head = self.spec, self.spec.arch, path[0]
        rest = ".".join(path[1:])
        if not rest:
            if head in self.locals:
                return Local(head, span=span)
            if head in self.arguments:
                return Reg(self.arguments[head], span=span)
            if head in self.operands:
                return Operand(head, span=span)
            if head == "preset":
                return PresetRef(span=span)
            if head == "number" and self.numbered:
                return NumberRef(span=span)
            if head in spec.constants:
                return Num(spec.constants[head], head, span=span)
            if head in spec.frames:
                return FrameRef(head, span=span)
            if head in arch.registers:
                return Reg(head, span=span)
            if head in arch.places:
                register, bit = arch.places[head]
                return Bit(register, bit, head, span=span)
            if head in arch.flag_names:
                return Num(arch.flag_names[head], head, span=span)
        elif head in spec.frames:
            if self.known(spec.frames[head].slots, rest, span, f"slot of frame {head}"):
                return SlotRef(head, rest, span=span)
            return Num(0, span=span)
        elif head in spec.memories:
            if self.known(spec.memories[head].cells, rest, span, f"word of memory {head}"):
                return CellRef(head, rest, span=span)
            return Num(0, span=span)
        elif head == "user":
            if self.known(arch.registers, rest, span, "register"):
                return UserRef(rest, span=span)
            return Num(0, span=span)
        elif head == "interrupted":
            if self.known(arch.registers, rest, span, "register"):
                return FoundRef(rest, span=span)
            return Num(0, span=span)
        elif head == "setup":
            if self.known(arch.setups, rest, span, "setup value"):
                return SetupRef(rest, span=span)
            return Num(0, span=span)
        names = [*self.locals, *spec.constants, *spec.frames, *spec.memories, *arch.registers, *arch.places, *arch.flag_names]
        self.error("E203", f"nothing is called '{'.'.join(path)}'", span, near(head, names))
        return Num(0, span=span)
