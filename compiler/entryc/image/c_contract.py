"""The build contract of compiled C, checked on its bytes: what a kernel's compiler flags have to keep out of entry code.

| code | finding |
|---|---|
| E430 | the file cannot be checked, or it lacks a function of the spec |
| E431 | a register that the .arch file does not declare is used: floating point, vectors, control registers |
| E432 | memory below the stack pointer is used (a red zone): the next event overwrites it |
| E433 | a stack protector, or another access relative to a register of the system |
| E434 | a function or symbol is used that the spec does not declare |
| E435 | more stack is used than allowed |
| E436 | the code cannot be followed: recursion, a stack pointer that is not known, a computed jump |

A relocatable object is checked function by function. A linked image also shows what is called, and how deep the stack gets. The walk knows no values but
distances from the stack pointer at a function's entry, and constants; it follows every branch both ways. Tables of jumps are the one thing that it needs from
elsewhere: `jumps` gives the places that a computed jump can lead to, as a proof found them.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..model.arch import Arch
from ..model.spec import VECTOR_TABLE, Spec
from ..source.finding import Finding, Findings
from ..source.text import read_bytes
from .elf import LARGEST, read_image
from .image import Image
from .lift import Instruction, Lifter, Op, Place

STACK_LIMIT = 1024
IDLE = "nop"                                    # what decoders call an instruction that does nothing
PROTECTOR = "__stack_chk"
EXECUTABLE = 0x4
FLOW = ("BRANCH", "CBRANCH", "CALL", "CALLIND", "BRANCHIND", "RETURN")
FIRST, STEP = 0x100000, 0x1000                  # where sections of an object are put


@dataclass(frozen=True)
class Function:
    """A function's code, or a piece of data, and whether other files see it."""

    name: str
    start: int
    size: int
    shared: bool


@dataclass
class CObject:
    """What was found. `depth`: bytes of stack by function of the spec, in linked images."""

    findings: list[Finding] = field(default_factory=list)
    depth: dict[str, int] = field(default_factory=dict)

    def add(self, code: str, message: str, help: str | None = None) -> None:
        finding = Finding(code, "error", message, help=help)
        if finding not in self.findings:
            self.findings.append(finding)


class Known:
    """Which of the lifter's registers the .arch file declares. The others are not C's: vectors, floating point, control."""

    def __init__(self, lifter: Lifter) -> None:
        self.lifter = lifter
        arch = lifter.arch
        places = [lifter.place(name) for name in arch.registers]
        flags = arch.registers[arch.of_kind("flags")]
        self.declared = [p for p in places if p is not None] + [lifter.registers[n.lower()] for n in flags.lifter_bits]
        self.machine = {n: p for n in arch.registers if arch.registers[n].kind in ("system", "segment") and (p := lifter.place(n)) is not None}
        named = {n.replace("(", "").replace(")", "") for i in range(1024) if (n := lifter.decoder.reg_name(i))}
        self.real = [p for n, p in lifter.registers.items() if n in named]
        self.names = {(p.offset, p.size): n for n, p in lifter.registers.items()}

    def foreign(self, instruction: Instruction) -> str | None:
        """The first register that an instruction uses and that the .arch file does not declare.

        What the lifter keeps for itself alone is none of the CPU's: no decoder has a name for it, an instruction writes it before it reads it, and
        reads what it writes, single flags aside.
        """
        written: list[Place] = []
        unread: list[Place] = []
        for op in instruction.ops:
            for place in op.inputs:
                if place.space == "register" and not _within(place, self.declared):
                    if _touches(place, self.real) or not _within(place, written):
                        return self.name(place)
                    unread = [p for p in unread if not _within(p, [place])]
            out = op.output
            if out is not None and out.space == "register" and not _within(out, self.declared):
                if _touches(out, self.real):
                    return self.name(out)
                written.append(out)
                if out.size > 1:
                    unread.append(out)
        return self.name(unread[0]) if unread else None

    def name(self, place: Place) -> str:
        return self.names.get((place.offset, place.size)) or next(
            (n for n, p in self.lifter.registers.items() if p.offset <= place.offset < p.offset + p.size), f"register {place.offset:#x}")

    def system(self, place: Place) -> str | None:
        """The system or segment register that a place is part of."""
        return next((name for name, p in self.machine.items() if _touches(place, [p])), None)


def _within(place: Place, others: Iterable[Place]) -> bool:
    return any(o.offset <= place.offset and place.offset + place.size <= o.offset + o.size for o in others)


def _touches(place: Place, others: Iterable[Place]) -> bool:
    return any(o.offset < place.offset + place.size and place.offset < o.offset + o.size for o in others)


def idle(instruction: Instruction) -> bool:
    """Does the decoder say that it does nothing?"""
    return instruction.mnemonic.startswith(IDLE) and not instruction.ops


def check_c_object(spec: Spec, path: Path, limit: int = STACK_LIMIT, jumps: Mapping[int, Iterable[int]] | None = None) -> list[Finding]:
    """Everything in the compiled C of a spec that breaks the build contract."""
    return measure_c_object(spec, path, limit, jumps).findings


def measure_c_object(spec: Spec, path: Path, limit: int = STACK_LIMIT, jumps: Mapping[int, Iterable[int]] | None = None) -> CObject:
    """The same, with the depth of the stack by function."""
    out = CObject()
    try:
        code = _Code(spec.arch, path)
    except Findings as problem:
        out.findings += [Finding("E430", "error", f.message, help=f.help) for f in problem.findings]
        return out
    except Exception as error:                  # pyelftools raises almost anything for damaged files
        out.add("E430", f"{path} is damaged: {type(error).__name__}")
        return out
    walk = _Walk(spec, code, out, limit, jumps or {})
    walk.symbols()
    for name in (*spec.handlers, *spec.movers()):
        if name not in code.named:
            out.add("E430", f"{path} has no function {name}", "the file has to hold what entry.c became, with its symbols")
    walk.all()
    return out


class _Code:
    """Functions and relocations of a file, linked or not."""

    def __init__(self, arch: Arch, path: Path) -> None:
        from elftools.elf.elffile import ELFFile
        from elftools.elf.relocation import RelocationSection
        try:
            elf = ELFFile(io.BytesIO(read_bytes(path, LARGEST)))
        except OSError as error:
            raise Findings([Finding("E430", "error", f"{path} cannot be read: {error.strerror}")]) from None
        if elf["e_machine"] != arch.tools["elf"][0]:
            raise Findings([Finding("E430", "error", f"{path} is code for {elf['e_machine']}, the spec is for {arch.name}")])
        self.linked = elf["e_type"] != "ET_REL"
        self.named: dict[str, Function] = {}
        self.shared: dict[int, str] = {}
        self.undefined: set[str] = set()
        self.targets: dict[int, str] = {}       # place of a relocation -> symbol, "" for a section's
        self.data: list[Function] = []          # what other files see of data
        base: dict[int, int] = {}
        segments: list[tuple[int, bytes]] = []
        sections = list(elf.iter_sections())
        for index, section in enumerate(sections):
            if not self.linked and section["sh_flags"] & EXECUTABLE and section["sh_size"]:
                base[index] = segments[-1][0] + (len(segments[-1][1]) + STEP) // STEP * STEP if segments else FIRST
                segments.append((base[index], section.data()))
        for section in sections:
            if section["sh_type"] == "SHT_SYMTAB":
                for symbol in section.iter_symbols():
                    self.symbol(symbol, base)
            elif isinstance(section, RelocationSection) and section["sh_info"] in base:
                symbols = sections[section["sh_link"]]
                for row in section.iter_relocations():
                    self.targets[base[section["sh_info"]] + row["r_offset"]] = symbols.get_symbol(row["r_info_sym"]).name
        self.image = read_image(arch, path) if self.linked else Image.of(segments, {f.name: f.start for f in self.named.values()})
        self.starts = {f.start: f for f in self.named.values()}

    def symbol(self, symbol: Any, base: dict[int, int]) -> None:
        kind, where, name = symbol["st_info"]["type"], symbol["st_shndx"], symbol.name
        shared = symbol["st_info"]["bind"] != "STB_LOCAL"
        if where == "SHN_UNDEF":
            self.undefined |= {name} if name else set()
        elif kind == "STT_FUNC" and isinstance(where, int) and (self.linked or where in base):
            start = symbol["st_value"] + base.get(where, 0)
            if shared or name not in self.named:
                self.named[name] = Function(name, start, symbol["st_size"], shared)
            if shared:
                self.shared.setdefault(start, name)
        elif kind == "STT_OBJECT" and shared and self.linked:
            self.data.append(Function(name, symbol["st_value"], symbol["st_size"], shared))
        elif kind == "STT_NOTYPE" and shared and self.linked and isinstance(where, int):
            self.shared.setdefault(symbol["st_value"], name)

    def relocated(self, instruction: Instruction) -> str | None:
        """The symbol that the linker puts into an instruction."""
        return next((self.targets[a] for a in range(instruction.address, instruction.address + instruction.size) if a in self.targets), None)


Value = tuple[str, int]                         # ("stack", distance from its top at the entry), ("constant", number), ("system", 0)
Values = dict[int, Value]                       # offset of a whole register in the lifter's space -> value


@dataclass
class _Step:
    """What one instruction does to the walk."""

    values: Values
    next: list[int] = field(default_factory=list)
    calls: list[tuple[int | str | None, int]] = field(default_factory=list)     # what is called (None: a computed address), stack pointer then


class _Walk:
    """Every function that the spec's handlers, and those that move frames, reach."""

    def __init__(self, spec: Spec, code: _Code, out: CObject, limit: int, jumps: Mapping[int, Iterable[int]]) -> None:
        self.spec, self.arch, self.code, self.out, self.limit, self.jumps = spec, spec.arch, code, out, limit, jumps
        self.lifter = Lifter(spec.arch, code.image)
        self.known = Known(self.lifter)
        self.declared = {*spec.hooks, *(r.name for t in spec.tables.values() for r in t.rows), *spec.paths, *spec.handlers, VECTOR_TABLE}
        self.externs = {code.image.symbols[n]: n for n in self.declared if n in code.image.symbols and n not in spec.handlers} if code.linked else {}
        self.depths: dict[int, int | None] = {}
        self.active: set[int] = set()           # functions that the walk is in
        tables = [(t, f) for t in spec.tables.values() for f in ("", *(f"_{n}" for n in spec.frames))]
        self.tabled = [code.named[n].start for t, f in tables for n in (f"{t.name}{f}_missing", *(f"{t.name}{f}_{r.name}" for r in t.rows)) if n in code.named]
        places = {n: self.lifter.place(n) for n in (*self.arch.abi.preserved, self.arch.of_kind("stack"))}
        self.kept = {p.offset for p in places.values() if p is not None}
        stack = places[self.arch.of_kind("stack")]
        assert stack is not None
        self.sp = stack.offset
        self.word = self.arch.word_bytes

    def symbols(self) -> None:
        """What an object leaves to the linker."""
        for name in sorted(self.code.undefined):
            if name.startswith(PROTECTOR):
                self.out.add("E433", f"{name} is used: the code has a stack protector", "compile entry.c with -fno-stack-protector")
            elif name not in self.declared and not self.code.linked:
                self.undeclared(name)

    def undeclared(self, name: str) -> None:
        if name.startswith(PROTECTOR):
            self.out.add("E433", f"{name} is used: the code has a stack protector", "compile entry.c with -fno-stack-protector")
        else:
            self.out.add("E434", f"{name} is used, which the spec does not declare", "declare it as a hook, or keep the compiler from calling it")

    def all(self) -> None:
        if not self.code.linked:
            for function in self.code.named.values():
                self.function(function.start)
            return
        for name in (*self.spec.handlers, *self.spec.movers()):
            if name in self.code.named:
                depth = self.function(self.code.named[name].start)
                if depth is not None:
                    self.out.depth[name] = depth
                    if depth > self.limit:
                        self.out.add("E435", f"{name} and what it calls of its own use {depth} bytes of stack; {self.limit} are allowed")
        for start in self.tabled:
            self.function(start)

    def name(self, start: int) -> str:
        found = self.code.starts.get(start)
        return found.name if found is not None else f"{start:#x}"

    def function(self, start: int) -> int | None:
        """The stack that a function and those that it calls use; None when that is not known."""
        if start in self.depths:
            return self.depths[start]
        self.active.add(start)
        found = self.code.starts.get(start)
        if found is not None:
            self.registers(found)
        seen: dict[int, Values] = {}
        todo: list[tuple[int, Values]] = [(start, {self.sp: ("stack", 0)})]
        depth: int | None = 0
        while todo:
            address, values = todo.pop()
            if address in seen:
                merged = {place: value for place, value in seen[address].items() if values.get(place) == value}
                if merged == seen[address]:
                    continue
                values = merged
            seen[address] = values
            step = self.instruction(self.name(start), address, dict(values))
            if step is None:
                depth = None
                continue
            for sp in (values.get(self.sp), step.values.get(self.sp)):
                if sp is None or sp[0] != "stack":
                    self.stuck(self.name(start), address, "the stack pointer is not known")
                    depth = None
                elif depth is not None:
                    depth = max(depth, -sp[1])
            for target, sp_then in step.calls:
                inner = self.called(self.name(start), address, target)
                depth = max(depth, inner - sp_then) if depth is not None and inner is not None else None
            if step.values.get(self.sp) is not None:
                todo += [(following, dict(step.values)) for following in step.next]
        self.active.discard(start)
        self.depths[start] = depth
        return depth

    def called(self, name: str, address: int, target: int | str | None) -> int | None:
        """The stack that a call uses."""
        if isinstance(target, str):             # not part of this code
            return 0
        if target is None:
            inner = [self.called(name, address, start) for start in self.tabled]
            if not inner and self.code.linked:
                self.stuck(name, address, "a call of a computed address, and the spec has no table")
            return None if None in inner else max((d for d in inner if d is not None), default=0)
        if target in self.active:
            self.stuck(name, address, f"{self.name(target)} is called inside itself")
            return None
        return self.function(target)

    def stuck(self, name: str, address: int, why: str) -> None:
        self.out.add("E436", f"{name} cannot be followed at {address:#x}: {why}", "compile entry.c with -fno-jump-tables" if "jump" in why else None)

    def registers(self, function: Function) -> None:
        """Every instruction of a function, reached or not."""
        address = function.start
        while address < function.start + function.size:
            instruction = self.lifter.at(address)
            if instruction.problem is not None:
                self.stuck(function.name, address, f"{instruction.text}: {instruction.problem}")
                return
            overlay = instruction.form is not None and "overlay" in instruction.form.traits
            foreign = None if overlay else self.known.foreign(instruction)
            if foreign is not None:
                self.out.add("E431", f"{function.name} uses {foreign} at {address:#x}: {instruction.text}",
                             "compile entry.c for general registers only, and keep what the .arch file does not declare out of it")
            address += instruction.size

    # ---- one instruction ----

    def instruction(self, name: str, address: int, values: Values) -> _Step | None:
        instruction = self.lifter.at(address)
        if instruction.problem is not None:
            self.stuck(name, address, f"{instruction.text}: {instruction.problem}")
            return None
        before = values.get(self.sp, ("stack", 0))[1]
        step = _Step(values, [address + instruction.size])
        if instruction.form is not None and "overlay" in instruction.form.traits:
            return step
        unique: Values = {}
        touched: list[tuple[int, str]] = []
        maybe = False                           # after a jump inside the instruction: what follows is not always done
        for op in instruction.ops:
            for place in (*op.inputs, *([op.output] if op.output is not None else [])):
                if place.space == "ram" and op.name not in FLOW:
                    self.reached(name, instruction, ("constant", place.offset))
            if op.name in ("LOAD", "STORE"):
                where = self.value(values, unique, op.inputs[1])
                if where is not None and where[0] == "stack":
                    touched.append((where[1], "reads" if op.name == "LOAD" else "writes"))
                elif where is not None:
                    self.reached(name, instruction, where)
            if op.name in FLOW:
                maybe |= op.inputs[0].space == "const" or (op.name == "CBRANCH" and op.inputs[0].offset == address + instruction.size)
                self.flow(name, instruction, op, step, unique)
            elif op.output is not None:
                self.put(values, unique, op.output, None if maybe else self.result(values, unique, op))
        after = values.get(self.sp, ("stack", before))[1]
        for at, verb in touched:
            if at < min(before, after):
                self.out.add("E432", f"{name} {verb} memory below the stack pointer at {address:#x}: {instruction.text}",
                             "compile entry.c with -mno-red-zone")
        return step

    def reached(self, name: str, instruction: Instruction, where: Value) -> None:
        """Memory at a constant, or relative to a register of the system."""
        if where[0] == "system":
            self.out.add("E433", f"{name} reads memory relative to a register of the system at {instruction.address:#x}: {instruction.text}",
                         "compile entry.c with -fno-stack-protector")
        for data in self.code.data if where[0] == "constant" else ():
            if data.start <= where[1] < data.start + data.size and data.name not in self.declared:
                self.undeclared(data.name)

    def value(self, values: Values, unique: Values, place: Place) -> Value | None:
        if place.space == "const":
            return "constant", place.offset
        if place.space == "register" and self.known.system(place) is not None:
            return "system", 0
        table = values if place.space == "register" else unique if place.space == "unique" else {}
        return table.get(place.offset) if place.size == self.word else None

    def put(self, values: Values, unique: Values, place: Place, value: Value | None) -> None:
        table = values if place.space == "register" else unique
        for offset in [o for o in table if o < place.offset + place.size and place.offset < o + self.word]:
            del table[offset]
        if value is not None and place.size == self.word:
            table[place.offset] = value

    def result(self, values: Values, unique: Values, op: Op) -> Value | None:
        found = [self.value(values, unique, p) for p in op.inputs]
        first = found[0] if found else None
        if op.name == "COPY":
            return first
        if op.name not in ("INT_ADD", "INT_SUB") or first is None or found[1] is None:
            return None
        second = found[1]
        if op.name == "INT_ADD" and first[0] == "constant":
            first, second = second, first
        if second[0] != "constant":
            return None
        number = first[1] + (second[1] if op.name == "INT_ADD" else -second[1])
        number &= (1 << self.word * 8) - 1
        signed = number - (1 << self.word * 8) if first[0] == "stack" and number >> (self.word * 8 - 1) else number
        return first[0], 0 if first[0] == "system" else signed

    def flow(self, name: str, instruction: Instruction, op: Op, step: _Step, unique: Values) -> None:
        following, target = instruction.address + instruction.size, op.inputs[0]
        sp = step.values.get(self.sp, ("stack", 0))[1]
        if target.space == "const" and op.name in ("BRANCH", "CBRANCH"):
            return
        symbol = self.code.relocated(instruction)
        direct = symbol if symbol is not None else target.offset if op.name in ("BRANCH", "CBRANCH", "CALL") else None
        if op.name == "RETURN":
            step.next = []
        elif op.name == "BRANCHIND":
            step.next = sorted(self.jumps.get(instruction.address, ()))
            if not step.next:
                self.stuck(name, instruction.address, "a computed jump")
        elif op.name in ("CALL", "CALLIND"):
            self.call(direct, sp, step)
            step.values = {place: value for place, value in step.values.items() if place in self.kept}
            step.values[self.sp] = ("stack", sp + self.arch.abi.return_address)
        elif symbol is not None or direct in self.externs or self.name(target.offset) not in (name, hex(target.offset)):
            self.call(direct, sp, step)         # a tail call: nothing of this function follows
            step.next = [following] if op.name == "CBRANCH" else []
        else:
            step.next = [*([following] if op.name == "CBRANCH" else []), target.offset]

    def call(self, target: int | str | None, sp: int, step: _Step) -> None:
        """A call of what the spec declares ends here; one of the file's own is walked."""
        if isinstance(target, str):
            step.calls.append((self.code.named[target].start if target in self.code.named else "", sp))
        elif target is None or (target not in self.externs and target not in self.code.shared):
            step.calls.append((target, sp))
        else:
            step.calls.append(("", sp))
            if target not in self.externs:
                self.undeclared(self.code.shared[target])
