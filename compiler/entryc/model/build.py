"""A .entry file to a Spec: every name resolved, every range expanded, every rule that needs no plan checked."""

from __future__ import annotations

from pathlib import Path

from .. import resources
from ..source import version
from ..source.finding import Collector, Finding, Findings
from ..source.parse import span_of
from ..source.text import SourceFile, Span, file_name
from . import build_around, build_c, build_layout, build_ops, build_steps, check, check_c
from .context import Context
from .expr import Expr, Num, constant, is_constant, show
from .files import Item, Sources, Texts
from .inline import OpDecide, flat
from .load_arch import load_arch
from .names import Node, first, int_of, near, text_of, tokens, trees
from .spec import Choice, Clause, Configuration, Decision, Feature, Method, Spec, Stack, State, Transition, Window
from .surroundings import ANY, KEPT, Meaning, StateNeed, SymbolAt

TARGETS = ("bare", "existing", "linux")     # what is generated; what somebody wrote by hand; Linux
MAX_CONFIGURATIONS = 100                        # each is planned, assembled and proved


def load_spec(path: Path | str, shown: str | None = None, constants: dict[str, int] | None = None, within: Path | None = None,
              version: str | None = None) -> Spec:
    """Read, resolve and check a spec. Raises Findings.

    `constants`: values that replace those of the spec's constants; `within`: a folder that no used file may lie outside of;
    `version`: of the kernel, one of those that the spec names; None: the first.
    """
    collector = Collector()
    spec = _load(Sources(within, {}, version), Path(path), shown or file_name(path), constants or {}, collector)
    collector.stop_if_failed()
    assert spec is not None
    return spec


def read_spec(path: Path, shown: str, texts: Texts) -> tuple[Spec | None, list[Finding]]:
    """The spec as far as it can be read, for an editor, and all findings. With errors, parts of the spec are missing."""
    collector = Collector()
    spec = _load(Sources(None, texts), path, shown, {}, collector)
    return spec, collector.findings


def _load(source: Sources, path: Path, shown: str, constants: dict[str, int], collector: Collector) -> Spec | None:
    """A spec; with errors, as far as it got. Every finding goes to the collector."""
    spec: Spec | None = None
    own = Collector()
    try:
        file = source.read(path, shown, None, pipe=True)
        items = source.collect(file, path)
        source.versions.check(Span(file, 1, 1, 1, 2))
        spec = _header(file, path, items, own)
        spec.version, spec.versions = source.versions.chosen, tuple(source.versions.named.values())
        spec.used = tuple(dict.fromkeys(f.name for f, _ in items if f is not file))
        builder = _Builder(Context(spec, own), items)
        builder.replaced = constants
        builder.build()
    except Findings as stop:
        own.findings += [f for f in stop.findings if f not in own.findings]
    bounds = [f for f in own.findings if f.code in ("E001", "E003", "E004", "E005")]
    found = [*source.findings, *(own.findings if not source.findings else [*bounds, *source.kept(own.findings)])]
    collector.findings += [f for f in found if f not in collector.findings]
    return spec


def _header(file: SourceFile, path: Path, items: list[Item], collector: Collector) -> Spec:
    """language, arch, target, license: exactly one of each, before anything is resolved."""
    found: dict[str, Item] = {}
    for item_file, node in items:
        if node.data in ("language", "arch", "target", "license"):
            kind = str(node.data)
            if kind in found:
                collector.error("E206", f"'{kind}' stands twice", span_of(item_file, node),
                                related=(("first here", span_of(*found[kind])),))
            found.setdefault(kind, (item_file, node))
    where = Span(file, 1, 1, 1, 2)
    wanted = {"language": f"language {version.LANGUAGE}", "arch": "arch " + " or ".join(resources.arch_names()), "target": "target bare",
              "license": 'license "MIT"'}
    for kind, example in wanted.items():
        if kind not in found:
            collector.error("E207", f"the spec does not say its {kind}", where, f"for example: {example}")
    collector.stop_if_failed()

    stated_in, stated = found["language"]
    problem = version.refused(str(stated.children[0]), span_of(stated_in, stated.children[0]))
    if problem is not None:
        collector.findings.append(problem)
    name = str(found["arch"][1].children[0])
    if name not in resources.arch_names():
        collector.error("E209", f"no CPU is called '{name}'", span_of(*found["arch"]), near(name, resources.arch_names()))
    target = str(found["target"][1].children[0])
    if target not in TARGETS:
        collector.error("E210", f"there is no target '{target}'", span_of(*found["target"]), near(target, TARGETS))
    licence = text_of(found["license"][1].children[0])
    if not licence.replace("-", "").replace(".", "").replace(" ", "").isalnum():
        collector.error("E211", "the licence is not an SPDX expression", span_of(*found["license"]), 'for example: license "MIT"')
    collector.stop_if_failed()
    arch = load_arch(name)
    if target == "bare" and not arch.returns:
        collector.error("E309", f"no code can be made for {arch.title}: its description has no return instruction", span_of(*found["target"]),
                        "write: target existing, or target linux, to describe code that exists")
        collector.stop_if_failed()
    return Spec(file_name(path.stem), file, arch, target, licence)


class _Builder:
    """Declarations in the order that their references need; the order in the file is free."""

    def __init__(self, context: Context, items: list[Item]) -> None:
        self.context, self.spec, self.items = context, context.spec, items
        self.replaced: dict[str, int] = {}
        self.layout = build_layout.Layout(context, [str(tokens(n, "NAME")[0]) for n in self.each("region")])
        self.inlines = [str(tokens(n, "NAME")[0]) for n in self.each("sequence")]

    def each(self, *kinds: str) -> list[Node]:
        """Not a generator: the context's file has to follow the items."""
        return [node for _, node in self._of(kinds)]

    def _of(self, kinds: tuple[str, ...]) -> list[Item]:
        return [(file, node) for file, node in self.items if node.data in kinds]

    def _labels(self) -> list[str]:
        """The symbols of all labels in paths."""
        out: list[str] = []
        for node in self.each("entry", "path", "exit", "routine", "resumed"):
            out += [f"{tokens(node, 'NAME')[0]}_{tokens(label, 'NAME')[0]}" for label in node.find_data("label")]
            out += [str(tokens(label, "NAME")[0]) for label in node.find_data("label_is")]
        return out

    def build(self) -> None:
        around = build_around.Around(self.context, self._facts)
        self.context.labels = frozenset(self._labels())
        for kind, method in (("symbols", self._symbols), ("fault_symbol", self._fault_symbol),
                             ("feature", self._feature), ("configuration", self._configuration), ("constants", self._constants),
                             ("setup", self._setup), ("method", self._method_name), ("choose", self._choose), ("frame", self.layout.frame),
                             ("memory", self.layout.memory), ("state", self._state), ("region", around.region), ("memory", self._memory_needs),
                             ("after", self._after), ("stack", self._stack), ("sequence", build_ops.Ops(self.context).add),
                             ("boundary", self._boundary), ("special", around.boundary),
                             ("code", self._code), ("op", around.op), ("assume", around.assume), ("landing", around.landing),
                             ("shadow_stacks", around.shadow_stacks),
                             ("decisions", self._decisions),
                             ("window", self._window)):
            for file, node in self._of((kind,)):
                self.context.file = file
                method(node)
        for name in self.replaced:
            if name not in self.spec.constants:
                self.context.error("E227", f"the spec has no constant '{name}' to replace", None, near(name, self.spec.constants))
        self._defaults()
        build_c.build(self.context, self.items)
        for file, node in self._of(("method",)):
            self.context.file = file
            self._method(node)
        build_steps.build(self.context, self.items)
        self.context.collector.stop_if_failed()
        check.check(self.spec, self.context.collector)
        self.context.collector.stop_if_failed()
        if self.spec.target == "bare":
            check_c.check_c(self.spec, self.context.collector)

    def _defaults(self) -> None:
        if not self.spec.configurations:
            at = Span(self.spec.source, 1, 1, 1, 2)
            self.spec.configurations["base"] = Configuration("base", frozenset(), at)
        abi = self.spec.arch.abi
        at = Span(self.spec.source, 1, 1, 1, 2)
        self.spec.contracts.setdefault("c", tuple(StateNeed(place, value, frozenset(), at) for place, value in abi.must.items()))

    # ---- one method per kind of item ----

    def _feature(self, node: Node) -> None:
        name, kind = (str(t) for t in tokens(node, "NAME"))
        span = self.context.span(node)
        self.context.declare(self.spec.features, name, span, "feature")
        place = first(node, "word_bit")
        if kind not in ("build", "patch"):
            self.context.error("E212", f"there is no kind of feature '{kind}'", span, "'build': resolved by the build; 'patch WORD:BIT': by patching at boot")
        elif (kind == "patch") != (place is not None):
            self.context.error("E212", "a feature that is patched at boot has a number, others have none", span, "for example: feature PTI : patch 7:11 \"…\"")
        word, bit = (int_of(t) for t in tokens(place, "INT")) if place is not None else (0, 0)
        if bit > 31 or word > 63:
            self.context.error("E212", f"{word}:{bit} is no feature number: 32 bits in a word", span)
        strings = tokens(node, "STRING")
        self.spec.features[name] = Feature(name, kind, text_of(strings[0]) if strings else "", span, word * 32 + bit if place is not None else None)

    def _symbols(self, node: Node) -> None:
        for token in tokens(node, "NAME"):
            self.context.declare(self.spec.symbols, str(token), self.context.span(token), "symbol")
            self.spec.symbols[str(token)] = SymbolAt(str(token), "symbol", str(token), self.context.span(token))

    def _fault_symbol(self, node: Node) -> None:
        name, inside = (str(t) for t in tokens(node, "NAME"))
        self.context.declare(self.spec.symbols, name, self.context.span(node), "symbol")
        self.spec.symbols[name] = SymbolAt(name, str(tokens(node, "FIXUP")[0]), inside, self.context.span(node))

    def _configuration(self, node: Node) -> None:
        name, *features = (str(t) for t in tokens(node, "NAME"))
        span = self.context.span(node)
        self.context.declare(self.spec.configurations, name, span, "configuration")
        for feature in features:
            self.context.known(self.spec.features, feature, span, "feature")
        self.spec.configurations[name] = Configuration(name, frozenset(features), span)
        if len(self.spec.configurations) > MAX_CONFIGURATIONS:
            raise Findings([Finding("E004", "error", f"the spec has more than {MAX_CONFIGURATIONS} configurations", span)])

    def _value(self, expr: Expr) -> int:
        if is_constant(expr):
            return constant(expr)
        self.context.error("E213", "this has to be a constant", expr.span)
        return 0

    def _constants(self, node: Node) -> None:
        for row in trees(node, "constant"):
            name = str(row.children[0])
            span = self.context.span(row)
            if name in self.spec.constants:
                self.context.error("E201", f"constant '{name}' is declared twice", span)
            if name in self.spec.arch.registers or name in self.spec.arch.places:
                self.context.error("E214", f"'{name}' is a register of {self.spec.arch.name}", span, "choose another name")
            value = self._value(self.context.expr(row.children[1]))
            self.spec.constants[name] = self.replaced.get(name, value)
            self.spec.spans[f"constant {name}"] = span

    def _setup(self, node: Node) -> None:
        for row in trees(node, "constant"):
            name, span = str(row.children[0]), self.context.span(row)
            if self.context.known(self.spec.arch.setups, name, span, "setup value"):
                if name in self.spec.setup:
                    self.context.error("E201", f"setup value '{name}' is given twice", span)
                self.spec.setup[name] = (self._value(self.context.expr(row.children[1])), span)

    def _method_name(self, node: Node) -> None:
        name = str(tokens(node, "NAME")[0])
        self.context.declare(self.spec.methods, name, self.context.span(node), "method")
        self.spec.methods[name] = Method(name, str(tokens(node, "NAME")[1]), tuple(
            Clause(Num(0), "", "", self.context.span(c)) for c in trees(node, "clause")), self.context.span(node))

    def _method(self, node: Node) -> None:
        name, target = tokens(node, "NAME")
        clauses: list[Clause] = []
        for index, item in enumerate(trees(node, "clause")):
            names, strings = tokens(item, "NAME"), tokens(item, "STRING")
            expr = item.children[0]
            for guard in trees(item, "guard", "guard_not"):
                self.context.error("E229", "a clause depends on versions only: C decides the same with all features", self.context.span(guard))
            label = str(names[0]) if names and names[0] is not expr else f"clause_{index}"
            span = self.context.span(item)
            if label in (c.name for c in clauses):
                self.context.error("E201", f"refusal '{label}' is counted twice in method {name}", span)
            clauses.append(Clause(self.context.expr(expr), label, text_of(strings[0]) if strings else "", span))
        self.spec.methods[str(name)] = Method(str(name), str(target), tuple(clauses), self.context.span(node))

    def _choose(self, node: Node) -> None:
        name, *methods = (str(t) for t in tokens(node, "NAME"))
        span = self.context.span(node)
        width = next((str(t) for t in tokens(node, "RESULT")), "")
        if width not in ("", "u8", "u32", "u64") or (width and (tokens(node, "BY_ADDRESS") or self.spec.target == "bare")):
            self.context.error("E215", f"choice '{name}' cannot give {width}", span,
                               "u8, u32 or u64 is what C that exists gives as the index; generated C has a width of its own")
            width = ""
        self.context.declare(self.spec.choices, name, span, "choice")
        for method in methods:
            self.context.known(self.spec.methods, method, span, "method")
        if len(set(methods)) != len(methods):
            self.context.error("E215", f"choice '{name}' names a method twice", span)
        refusal = bool(tokens(node, "BY_REFUSAL"))
        if refusal and (self.spec.target == "bare" or len(methods) != 2):
            self.context.error("E215", f"choice '{name}' cannot be given by refusal", span,
                               "C that exists says whether it refuses the first of two methods; generated C gives the index")
            refusal = False
        elif refusal and not width:
            self.context.error("E215", f"choice '{name}' is given by refusal: say how many bits of what C gives may refuse", span,
                               "as many as its function returns, for example: choose u32 …")
        self.spec.choices[name] = Choice(name, tuple(methods), span, bool(tokens(node, "BY_ADDRESS")), int(width[1:]) if width else None, refusal)

    def _facts(self, node: Node, special: tuple[str, ...] = ()) -> tuple[StateNeed, ...]:
        """`subject = value, …` with the guard of the whole row. `special`: words allowed besides a state's values."""
        guard = self.context.guard(node)
        out: list[StateNeed] = []
        for fact in trees(node, "fact"):
            subject, token = str(fact.children[0]), tokens(fact)[1]
            span = self.context.span(fact)
            value: str | int = int_of(token) if token.type == "INT" else str(token)
            known = [*self.spec.states, *self.spec.arch.places, "stack", "gprs"]
            if subject in self.spec.states:
                if str(value) not in special:
                    self.context.known(self.spec.states[subject].values, str(value), span, f"value of state {subject}")
            elif subject in self.spec.arch.places:
                if value not in (0, 1):
                    self.context.error("E217", f"'{subject}' is one bit: 0 or 1", span)
            elif subject == "gprs":
                if value != "cleared":
                    self.context.error("E218", "the only need of gprs is 'cleared'", span)
            elif subject != "stack":
                self.context.known(known, subject, span, "state")
            but = first(fact, "but")
            spared = tuple(str(t) for t in tokens(but, "NAME")) if but is not None else ()
            for register in spared:
                self.context.known(self.spec.arch.gprs if subject == "gprs" else (), register, span, "general register")
            out.append(StateNeed(subject, value, guard, span, spared))
        return tuple(out)

    def _memory_needs(self, node: Node) -> None:
        self.spec.memories[str(tokens(node, "NAME")[0])].needs = self._facts(node)

    def _state(self, node: Node) -> None:
        name, span = str(tokens(node, "NAME")[0]), self.context.span(node)
        self.context.declare(self.spec.states, name, span, "state")
        if name in self.spec.arch.registers or name in self.spec.arch.places or name == "stack":
            self.context.error("E214", f"'{name}' is a register of {self.spec.arch.name}", span, "choose another name for the state")
        state = State(name, {}, [], self.context.guard(node), span)
        self.spec.states[name] = state
        for item in trees(node, "state_value"):
            value = str(item.children[0])
            self.context.declare(state.values, value, self.context.span(item), f"value of state {name}:")
            state.values[value] = tuple(Meaning(self.context.expr(m.children[0]), self.context.expr(m.children[1]), self.context.guard(m))
                                        for m in trees(item, "meaning"))
            for meaning in state.values[value]:
                if meaning.register is None:
                    self.context.error("E225", f"'{show(meaning.place)}' is no register and no bits of one", self.context.span(item),
                                       "for example: gs_base == &percpu, or cr3 & MASK == 0")
        for item in trees(node, "transition"):
            before, after, form = (str(t) for t in tokens(item, "NAME"))
            at = self.context.span(item)
            self.context.known((*state.values, ANY), before, at, f"value of state {name}")
            self.context.known((*state.values, KEPT), after, at, f"value of state {name}")
            if form in self.inlines:
                state.transitions.append(Transition(before, after, "", at, inline=form))
                continue
            operand = first(item, "name")
            if self.context.known(self.spec.arch.forms, form, at, "instruction form") and bool(self.spec.arch.forms[form].params) != (operand is not None):
                self.context.error("E220", f"'{form}' has operands: a transition is one instruction without operands, or says the word that it reads", at)
            state.transitions.append(Transition(before, after, form, at, self.context.expr(operand) if operand is not None else None))

    def _after(self, node: Node) -> None:
        self.spec.after_decision += tuple((n.subject, str(n.value)) for n in self._facts(node))
        on = first(node, "on_registers")
        for token in tokens(on, "NAME") if on is not None else ():
            self.context.known(self.spec.arch.registers, str(token), self.context.span(token), "register")
            self.spec.decided_by += (str(token),)

    def _stack(self, node: Node) -> None:
        name = str(tokens(node, "NAME")[0])
        span = self.context.span(node)
        self.context.declare(self.spec.stacks, name, span, "stack")
        top, by = first(node, "name"), first(node, "entered")
        entered = [str(t) for t in tokens(by, "NAME")] if by is not None else []
        for hardware in entered:
            self.context.known(self.spec.arch.hwstacks, hardware, span, "hardware stack")
        region = self.layout.region(node, span)
        size = int_of(tokens(node, "INT")[0])
        if (size < 1024 and first(node, "bottom") is None) or size % self.spec.arch.abi.align:
            self.context.error("E221", f"a stack of {size} bytes is too small or not aligned", span)
        self.spec.stacks[name] = Stack(name, self.context.expr(top) if top is not None else None, entered[0] if entered else None, size, span,
                                        tuple(entered[1:]), region, *self._bottom(node), bool(tokens(node, "PRESET")),
                                        self.context.guard(by) if by is not None else frozenset())

    def _bottom(self, node: Node) -> tuple[Expr | None, tuple[Expr, int, str] | None]:
        """bottom CELL alias CELL by MASK in REGION."""
        item = first(node, "bottom")
        if item is None:
            return None, None
        low, other = (self.context.expr(n) for n in trees(item, "name"))
        region = str(tokens(item, "NAME")[0])
        self.context.known(self.spec.regions, region, self.context.span(item), "region")
        return low, (other, int_of(tokens(item, "INT")[0]), region)

    def _boundary(self, node: Node) -> None:
        origin = str(tokens(node, "BOUND")[0])
        for row in trees(node):
            if row.data != "boundary_row":
                self.context.error("E226", "only a special boundary says where its stack is", self.context.span(row), "boundary NAME of kernel … { … }")
                continue
            table = self.spec.arrive if str(tokens(row, "ARRIVAL")[0]) == "arrive" else self.spec.leave
            table[origin] = table.get(origin, ()) + self._facts(row, (ANY,) if table is self.spec.arrive else (KEPT,))

    def _code(self, node: Node) -> None:
        name = str(tokens(node, "NAME")[0])
        span = self.context.span(node)
        self.context.declare(self.spec.contracts, name, span, "contract")
        needs: tuple[StateNeed, ...] = tuple(n for row in trees(node, "needs") for n in self._facts(row))
        for need in needs:
            if need.subject == "stack":
                self.context.known(self.spec.stacks, str(need.value), need.span, "stack")
        given = {n.subject for n in needs}
        must = tuple(StateNeed(p, v, frozenset(), span) for p, v in self.spec.arch.abi.must.items() if p not in given)
        self.spec.contracts[name] = needs + must
        kept = tuple(str(t) for row in trees(node, "keeps") for t in tokens(row, "NAME"))
        for state in kept:
            self.context.known(self.spec.states, state, span, "state")
        self.spec.keeps[name] = kept
        for row in trees(node, "aligned"):
            bytes_ = int_of(tokens(row, "INT")[0])
            if bytes_.bit_count() != 1 or bytes_ > 4096:
                self.context.error("E221", f"a stack cannot be aligned to {bytes_}: a power of two up to 4096 is wanted", self.context.span(row))
            self.spec.aligns[name] = bytes_

    def _decisions(self, node: Node) -> None:
        for row in trees(node, "decision"):
            kind, span = str(tokens(row, "NAME")[0]), self.context.span(row)
            kinds = ["origin", "method", "fixup", *(s.kind for op in self.spec.inlines.values() for s in flat(op.steps) if isinstance(s, OpDecide)),
                     *(b.kind for b in self.spec.boundaries.values()), *(s.name for s in self.spec.stacks.values() if s.alias is not None)]
            if kind not in kinds:
                self.context.error("E222", f"there is no kind of decision '{kind}'", span, ", ".join(dict.fromkeys(kinds)))
            self.context.declare(self.spec.decisions, kind, span, "decision kind")
            reason = text_of(tokens(row, "STRING")[0])
            if len(reason) < 10:
                self.context.error("E223", "the reason says nothing", span, "name what does not exist yet where the decision stands")
            self.spec.decisions[kind] = Decision(kind, int_of(tokens(row, "INT")[0]), reason, span)

    def _window(self, node: Node) -> None:
        name, span = str(tokens(node, "NAME")[0]), self.context.span(node)
        self.context.declare(self.spec.windows, name, span, "window")
        fact = trees(node, "fact")[0]
        subject, value = str(fact.children[0]), str(fact.children[1])
        if subject != "stack" and self.context.known(self.spec.states, subject, span, "state"):
            self.context.known(self.spec.states[subject].values, value, span, f"value of state {subject}")
        if subject == "stack" and value != "user":
            self.context.known(self.spec.stacks, value, span, "stack")
        self.spec.windows[name] = Window(name, subject, value, span)
