"""No active code, checked on the bytes: every instruction classified, decisions only where declared, no loop, nothing unreached."""

from __future__ import annotations

from dataclasses import dataclass

from ..image.image import Image
from ..image.lift import Lifter
from ..model.expr import FLIPPED, Binary, Cast, Expr, Mem, Operand, Reg, SlotRef, SymbolAddress, SymbolRef, constant, is_constant, rebuild, walk
from ..model.inline import OpDecide, flat
from ..model.spec import VECTOR_TABLE, Configuration, Spec
from ..source.finding import Finding
from .decode import Decoded, decode_all

MOST = 5                                        # findings of one code
LONGEST = 4                                     # instructions of the longest sequence row


@dataclass(frozen=True)
class Result:
    """Findings, how many instructions each role has, and the decisions found: address -> kind."""

    findings: list[Finding]
    roles: dict[str, int]
    decisions: dict[int, str]


def check(spec: Spec, image: Image, configuration: Configuration, externs: frozenset[str]) -> Result:
    """Discipline of one assembled configuration."""
    arch = spec.arch
    lifter = Lifter(arch, image)
    findings: list[Finding] = []
    code: dict[int, Decoded] = {}
    where = f"configuration {configuration.name}"
    slots = spec.table_slots(image.symbols.get(VECTOR_TABLE), configuration)
    for row in decode_all(arch, image, lifter, slots):
        if isinstance(row, int):
            findings.append(Finding("D201", "error", f"{where}: the byte at {row:#x} is neither padding nor an instruction"))
            continue
        code[row.address] = row
        if row.problem is not None:
            findings.append(Finding("D202", "error", f"{where}: two decoders disagree at {row.address:#x} ({row.text}): {row.problem}"))
        if row.form is None:
            findings.append(Finding("D203", "error", f"{where}: '{row.text}' at {row.address:#x} has no row in the .arch file"))
    roles: dict[str, int] = {}
    for row in code.values():
        if row.form is not None:
            roles[row.form.role] = roles.get(row.form.role, 0) + 1
    walker = _Walker(spec, image, code, externs, where)
    for path in spec.paths.values():
        if path.kind in ("entry", "routine") and configuration.holds(path.guard):
            if path.name in image.symbols:
                walker.walk(image.symbols[path.name], path.name)
            else:
                findings.append(Finding("D204", "error", f"{where}: the code has no symbol '{path.name}'", path.span))
    for slot in slots:
        walker.walk(slot, f"the slot at {slot:#x}")
    findings += walker.findings
    findings += _ceilings(spec, walker.decisions, where)
    for address in sorted(walker.reached - walker.explained - walker.decisions.keys()):
        row = code[address]
        if row.form is not None and row.form.role == "decide":
            findings.append(Finding("D206", "error", f"{where}: '{row.text}' at {address:#x} belongs to no decision"))
    findings += _unreached(spec, image, code, walker.reached, where)
    return Result(_few(findings), roles, walker.decisions)


def _unreached(spec: Spec, image: Image, code: dict[int, Decoded], reached: set[int], where: str) -> list[Finding]:
    """Instructions that no path runs: allowed are padding, and what keeps the CPU from running ahead right behind a return."""
    stops = {name for row in spec.arch.returns for name in row.stops}
    out: list[Finding] = []
    behind: set[int] = set()
    for address, row in sorted(code.items()):
        shield = address in behind and row.form is not None and row.form.name in stops
        if address in reached or shield:
            if shield or row.flow == "return":
                behind.add(address + row.size)
        elif set(image.bytes_at(address, row.size)) != {spec.arch.padding}:         # a label may stand at padding: the end of a window
            out.append(Finding("D205", "error", f"{where}: '{row.text}' at {address:#x} is reached from no entry point"))
    return out


def _few(findings: list[Finding]) -> list[Finding]:
    """The first of each code: one cause tends to show at many addresses."""
    out: list[Finding] = []
    for code in dict.fromkeys(f.code for f in findings):
        rows = [f for f in findings if f.code == code]
        out += rows[:MOST]
        if len(rows) > MOST:
            out.append(Finding(code, "error", f"… and {len(rows) - MOST} more of this kind"))
    return out


def _ceilings(spec: Spec, decisions: dict[int, str], where: str) -> list[Finding]:
    out: list[Finding] = []
    for kind in sorted(set(decisions.values())):
        count = sum(1 for k in decisions.values() if k == kind)
        declared = spec.decisions.get(kind)
        if declared is None:
            out.append(Finding("D206", "error", f"{where}: the code decides ({kind}) and the spec declares no such decision"))
        elif count > declared.most:
            out.append(Finding("D206", "error", f"{where}: {count} decisions of kind '{kind}', {declared.most} declared", declared.span))
    return out


def _declared(spec: Spec) -> list[tuple[str, Expr]]:
    """The decisions of ops: kind, and the condition under which their steps are left out."""
    out: list[tuple[str, Expr]] = []
    for step in (s for op in spec.inlines.values() for s in flat(op.steps)):
        if isinstance(step, OpDecide) and isinstance(step.condition, Binary) and step.condition.op in FLIPPED:
            out.append((step.kind, Binary(FLIPPED[step.condition.op], step.condition.a, step.condition.b)))
    return out


def _fits(pattern: Expr, concrete: Expr) -> bool:
    """Is a condition on registers of the shape that an op declares? An operand of the op may be any register."""
    if isinstance(pattern, Operand):
        return isinstance(concrete, Reg)
    if is_constant(pattern) and is_constant(concrete):
        return constant(pattern) == constant(concrete)
    if isinstance(pattern, Binary) and isinstance(concrete, Binary):
        return pattern.op == concrete.op and _fits(pattern.a, concrete.a) and _fits(pattern.b, concrete.b)
    if isinstance(pattern, Cast) and isinstance(concrete, Cast):
        return (pattern.bits, pattern.signed) == (concrete.bits, concrete.signed) and _fits(pattern.a, concrete.a)
    return pattern == concrete


class _Walker:
    """Follows control flow on the bytes, and says of every branch what it decides on."""

    def __init__(self, spec: Spec, image: Image, code: dict[int, Decoded], externs: frozenset[str], where: str) -> None:
        self.spec, self.code, self.where = spec, code, where
        self.declared = _declared(spec)
        self.exits = [image.symbols[spec.methods[m].exit] for c in spec.choices.values() if c.by_address for m in c.methods
                      if spec.methods[m].exit in image.symbols]
        self.places = {image.symbols[e.name]: b.kind for b in spec.boundaries.values() if b.condition is not None
                       for e in walk(b.condition) if isinstance(e, SymbolRef) and e.name in image.symbols}
        self.words = {constant(e.b): b.kind for b in spec.boundaries.values() if b.condition is not None for e in walk(b.condition)
                      if isinstance(e, Binary) and e.op == "eq" and isinstance(e.a, SlotRef) and is_constant(e.b)}
        self.names = {image.symbols[n]: n for n in externs if n in image.symbols}
        self.reached: set[int] = set()
        self.decisions: dict[int, str] = {}
        self.explained: set[int] = set()            # instructions of decisions that are an origin or a method
        self.findings: list[Finding] = []

    def walk(self, start: int, name: str) -> None:
        """Every path from an entry point, depth first: an address met again on its own path is a loop."""
        todo: list[tuple[int, bool, frozenset[int], tuple[Decoded, ...]]] = [(start, False, frozenset(), ())]
        seen: set[tuple[int, bool, tuple[int, ...]]] = set()         # with what ran last: a branch is judged on every way to it
        while todo:
            at, called, path, before = todo.pop()
            while True:
                if at in path:
                    self.error("D207", f"{name} has a loop at {at:#x}")
                    break
                state = (at, called, tuple(r.address for r in before[1 - LONGEST:]))
                if state in seen:
                    break
                seen.add(state)
                row = self.code.get(at)
                if row is None:
                    self.error("D208", f"{name} runs into {at:#x}, where no instruction starts")
                    break
                self.reached.add(at)
                path, before = path | {at}, (*before[1 - LONGEST:], row)
                if row.form is None:                # said already: D203
                    break
                if row.form.role == "stop":
                    self.error("D208", f"{name} runs into '{row.text}' at {at:#x}, which stands behind a return and is never run")
                    break
                flow = row.flow
                if flow == "return":
                    break
                if flow in ("call", "jump") and row.target in self.names:
                    if flow == "jump":
                        break
                    called = True
                elif flow == "call":
                    self.error("D209", f"{name} calls {row.target or 0:#x}, which is no declared C function")
                    break
                elif flow == "jump":
                    at = row.target or 0
                    continue
                elif flow == "indirect" and called and self.exits and row.operands == dict.fromkeys(row.operands, self.spec.arch.abi.result):
                    self.decisions.setdefault(at, "method")
                    todo += [(target, called, path, before) for target in self.exits]
                    break
                elif flow == "indirect":
                    self.error("D209", f"{name} jumps to what a register holds, at {at:#x}, and no choice of the spec is by address")
                    break
                elif flow == "branch":
                    kind = self.kind(before, called)
                    if self.decisions.setdefault(at, kind) != kind:
                        self.decisions[at] = "test"
                    todo.append((row.target or 0, called, path, before))
                at += row.size

    def kind(self, before: tuple[Decoded, ...], called: bool) -> str:
        """origin: bits of memory at the stack pointer, before any C ran; method: what C returned; the kind of the boundary whose place or word

        such memory is compared with; the kind that an op gives a decision of this shape; test: anything else."""
        arch = self.spec.arch
        for sequence in arch.sequences:
            rows = before[len(before) - len(sequence.uses):]
            if [row.form.name for row in rows if row.form is not None] != [use.form for use in sequence.uses]:
                continue
            bound = {argument.name: row.operands.get(param)
                     for use, row in zip(sequence.uses, rows, strict=True) if row.form is not None
                     for param, argument in zip(row.form.params, use.arguments, strict=True) if isinstance(argument, Operand)}
            behind = {argument.name: row.address + row.size for use, row in zip(sequence.uses, rows, strict=True)
                      for argument in use.arguments if isinstance(argument, Operand)}
            nodes = list(walk(sequence.condition))
            registers = {bound.get(n.name) for n in nodes if isinstance(n, Operand)} & arch.registers.keys()
            memory = any(isinstance(n, Mem) for n in nodes)
            kind = None
            if memory and arch.of_kind("stack") in registers and not called:
                named = next((n for n in nodes if isinstance(n, SymbolAddress)), None)
                if named is not None:
                    kind = self.places.get(behind[named.name] + int(bound.get(named.name) or 0))
                elif isinstance(sequence.condition, Binary) and isinstance(sequence.condition.b, Operand):
                    kind = self.words.get(int(bound.get(sequence.condition.b.name) or 0))
                else:
                    kind = "origin"
            elif not memory and called and registers == {arch.abi.result}:
                kind = "method"
            else:
                concrete = rebuild(sequence.condition, lambda e, b=bound: Reg(str(b[e.name])) if isinstance(e, Operand) and e.name in b else e)  # type: ignore[misc]
                kind = next((k for k, condition in self.declared if _fits(condition, concrete)), None)
            if kind is not None:
                self.explained.update(row.address for row in rows)
                return kind
        return "test"

    def error(self, code: str, message: str) -> None:
        finding = Finding(code, "error", f"{self.where}: {message}")
        if finding not in self.findings:
            self.findings.append(finding)
