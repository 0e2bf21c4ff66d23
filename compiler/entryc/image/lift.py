"""Bytes to operations: the lifter's p-code, a second decoder that has to agree, and the .arch row of each instruction."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ..model.arch import Arch, Form, Kind
from .image import Image

OFFSET = r"\s*,\s*\s*\#?"                       # how the text before an immediate offset looks as a pattern
LONGEST = 16


@dataclass(frozen=True)
class Place:
    """A lifter varnode: space (register, unique, const, ram), offset, size in bytes."""

    space: str
    offset: int
    size: int


@dataclass(frozen=True)
class Op:
    """One p-code operation. `space` is the memory space of LOAD and STORE."""

    name: str
    output: Place | None
    inputs: tuple[Place, ...]


@dataclass(frozen=True)
class Instruction:
    """A decoded instruction. `form` is its .arch row with `operands` bound, when one matches; `problem` says why it cannot be used."""

    address: int
    size: int
    mnemonic: str
    text: str
    ops: tuple[Op, ...]
    form: Form | None
    operands: dict[str, str | int]
    problem: str | None = None
    plain: bool = False                         # no form fits; the .arch file takes it as the lifter has it
    following: int | None = None                # where it goes on, if not behind its bytes
    data: bytes = b""


class Lifter:
    """Decodes and lifts instructions of one image, each address once."""

    def __init__(self, arch: Arch, image: Image) -> None:
        self.arch, self.image = arch, image
        self.context, self.registers = _context(arch.tools["sleigh"][0])
        self.decoder = _decoder(arch.tools["capstone"])
        self.done: dict[int, Instruction] = {}
        self.patterns = patterns(arch)
        self.encoded = {bytes(int(byte, 0) for byte in f.text.partition(" ")[2].split(",")): f for f in arch.forms.values() if "encoded" in f.traits}
        self.ours = self._ours()

    def _ours(self) -> frozenset[int]:
        """The lifter's register bytes that claims are about: those of declared registers and flags."""
        out: set[int] = set()
        flags = self.arch.registers[self.arch.of_kind("flags")]
        names = [r.lifter_name for r in self.arch.registers.values() if r.lifter_name] + list(flags.lifter_bits)
        for name in names:
            place = self.registers.get(name.lower())
            if place is not None:
                out.update(range(place.offset, place.offset + place.size))
        return frozenset(out)

    def _is_plain(self, mnemonic: str, ops: tuple[Op, ...]) -> bool:
        """A mnemonic that the .arch file takes as the lifter has it, on registers that are ours."""
        if mnemonic not in self.arch.plain or any(op.name == "CALLOTHER" for op in ops):
            return False
        places = [p for op in ops for p in (*op.inputs, *((op.output,) if op.output is not None else ())) if p.space == "register"]
        return all(set(range(p.offset, p.offset + p.size)) <= self.ours for p in places)

    def place(self, register: str) -> Place | None:
        """Where the lifter keeps a register of the CPU (its widest view); None when it does not know it."""
        name = self.arch.registers[register].lifter_name
        return self.registers.get(name.lower()) if name else None

    def at(self, address: int) -> Instruction:
        """The instruction at an address; undecodable bytes give one with a problem."""
        if address not in self.done:
            self.done[address] = self.lift(address, self.image.bytes_at(address, LONGEST))
        return self.done[address]

    def lift(self, address: int, data: bytes) -> Instruction:
        """The instruction that bytes are at an address."""
        import pypcode
        for code, known in self.encoded.items():                # what the decoder at hand takes for another instruction
            if data.startswith(code):
                return Instruction(address, len(code), known.decodes[0], known.decodes[0], (), known, {}, data=code)
        decoded = next(self.decoder.disasm(data, address, 1), None) if data else None
        if decoded is None:
            return Instruction(address, 0, "?", "?", (), None, {}, "no instruction can be decoded here")
        text = f"{decoded.mnemonic} {decoded.op_str}".strip()
        form, operands = match(self.patterns, decoded.mnemonic, text)
        try:
            translation = self.context.translate(data, base_address=address, max_instructions=1)
        except (pypcode.BadDataError, pypcode.UnimplError) as error:
            if form is not None and "overlay" in form.traits:
                return Instruction(address, decoded.size, decoded.mnemonic, text, (), form, operands, data=data[:decoded.size])
            return Instruction(address, decoded.size, decoded.mnemonic, text, (), form, operands, f"the lifter does not know it: {error}")
        size = 0
        ops: list[Op] = []
        for op in translation.ops:
            if op.opcode.name == "IMARK":
                size = sum(v.size for v in op.inputs)
                continue
            inputs = tuple(Place(v.space.name, v.offset, v.size) for v in op.inputs)
            output = Place(op.output.space.name, op.output.offset, op.output.size) if op.output is not None else None
            ops.append(Op(op.opcode.name, output, inputs))
        problem = None if size == decoded.size else f"two decoders disagree on the length: {decoded.size} and {size}"
        return Instruction(address, decoded.size, decoded.mnemonic, text, tuple(ops), form, operands, problem,
                           form is None and self._is_plain(decoded.mnemonic, tuple(ops)), data=data[:decoded.size])


@lru_cache(maxsize=4)
def _context(language: str) -> tuple[Any, dict[str, Place]]:
    import pypcode
    context = pypcode.Context(language)
    return context, {name.lower(): Place("register", v.offset, v.size) for name, v in context.registers.items()}


def _decoder(tool: tuple[str, ...]) -> Any:
    import capstone
    decoder = capstone.Cs(getattr(capstone, tool[0]), getattr(capstone, tool[1]))
    if len(tool) > 2:
        decoder.syntax = getattr(capstone, tool[2])
    return decoder


def patterns(arch: Arch) -> list[tuple[Form, re.Pattern[str], dict[str, dict[str, str]]]]:
    """For each form, what a disassembler prints for it, with its operands as groups."""
    out = []
    for form in arch.forms.values():
        regex, names = "", {}
        _, _, operands = form.text.partition(" ")
        position = 0
        for hole in re.finditer(r"\{(\w+)(?:\.(\d+))?\}", operands):
            regex += _literal(operands[position:hole.start()])
            name, width = hole[1], hole[2]
            kinds = {k.name for k in form.params[name]}
            if "imm" in kinds or "label" in kinds or "function" in kinds:
                choice = r"-?(?:0x[0-9a-f]+|\d+)"
                if operands[hole.end():hole.end() + 1] == "(":          # a zero displacement is not printed
                    choice = f"(?:{choice})?"
                elif operands[hole.end():hole.end() + 1] == "]" and regex.endswith(OFFSET):
                    regex = regex.removesuffix(OFFSET) + rf"(?:{OFFSET}(?P<{name}>{choice}))?"
                    position = hole.end()
                    continue
                elif "imm" not in kinds:
                    regex += r"\#?"
            else:
                wanted = {"gpr": "gpr", "sp": "stack", "system": "system"}
                table = {(r.views[int(width)] if width else r.text): r.name for r in arch.registers.values()
                         if r.kind in {wanted[k] for k in kinds if k in wanted} and (not width or int(width) in r.views)}
                names[name] = table
                choice = "|".join(sorted((re.escape(n) for n in table), key=len, reverse=True))
            regex += f"(?P<{name}>{choice})" if f"(?P<{name}>" not in regex else f"(?P={name})"
            position = hole.end()
        regex += _literal(operands[position:])
        out.append((form, re.compile(regex + "$"), names))
    return out


def _literal(text: str) -> str:
    return re.escape(text).replace(r"\ ", r"\s*").replace(",", r"\s*,\s*").replace(r"\#", r"\#?")


def _signed(value: int, kinds: tuple[Kind, ...]) -> int:
    """A decoder prints negative operands of logical instructions as unsigned words."""
    return value - (1 << 64) if value >> 63 == 1 and any(k.signed for k in kinds) else value


def match(table: list[tuple[Form, re.Pattern[str], dict[str, dict[str, str]]]], mnemonic: str, text: str) -> tuple[Form | None, dict[str, str | int]]:
    """The first form that a decoded text is an instance of."""
    _, _, operands = text.partition(" ")
    for form, regex, names in table:
        if mnemonic not in form.decodes and mnemonic != form.text.partition(" ")[0]:
            continue
        found = regex.match(operands)
        if found is None:
            continue
        bound: dict[str, str | int] = {}
        for name, value in found.groupdict().items():
            bound[name] = names[name][value] if name in names else _signed(int(value or "0", 0), form.params[name])
        if all(any(k.name in ("label", "function") or k.holds(v) for k in form.params[n]) for n, v in bound.items() if isinstance(v, int)):
            return form, bound
    return None, {}
