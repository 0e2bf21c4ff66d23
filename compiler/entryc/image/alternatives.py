"""Code that Linux patches at boot: .altinstructions applied for a set of CPU features, byte for byte as the kernel would.

What is done, and in which order, is apply_alternatives() in the kernel's alternative.c. Which field of an instruction is relative
is found by trying: the instruction has to mean the same at its new place.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby

from ..model.arch import Arch, Reads
from ..model.expr import Expr, Operand, Reg, evaluate
from ..source.finding import Finding, Findings
from .image import Image
from .lift import Instruction, Lifter

NOT, DIRECT_CALL = 1, 2                         # flags of a record: include/asm/alternative.h
INVERTED = 1 << 15                              # Linux 6.1: the same as NOT, in the feature's number
LONGEST_SITE = 254                              # MAX_PATCH_LEN of alternative.c
SHORT_JUMP = 128                                # a gap of up to so many bytes is jumped over by a short jump


@dataclass
class Record:
    """One row of the table. `instruction`, `replacement`: addresses."""

    instruction: int
    replacement: int
    feature: int
    inverted: bool
    direct_call: bool
    length: int
    replaced: int

    def wanted(self, features: frozenset[int]) -> bool:
        return (self.feature in features) != self.inverted


Inside = Callable[[int, int], bool]             # are so many bytes at an address code of the image?


def read_records(table: bytes, address: int, code: Inside, name: str) -> list[Record]:
    """The rows of a table that lies at an address. The layout (6.12 or 6.1) is the one in which every row makes sense."""
    fitting: list[list[Record]] = []
    for size, form in ((14, "<iiHHBB"), (12, "<iiHBB")):
        if len(table) % size:
            continue
        rows = []
        for offset in range(0, len(table), size):
            first, second, feature, *rest = struct.unpack_from(form, table, offset)
            flags = rest[0] if size == 14 else NOT * bool(feature & INVERTED)
            rows.append(Record(_at(address + offset, first), _at(address + offset + 4, second), feature if size == 14 else feature & ~INVERTED,
                               bool(flags & NOT), bool(flags & DIRECT_CALL), rest[-2], rest[-1]))
        if all(r.replaced <= r.length <= LONGEST_SITE and code(r.instruction, r.length) and (not r.replaced or code(r.replacement, r.replaced)) for r in rows):
            fitting.append(rows)
    if len(fitting) != 1:
        why = "no layout that entryc knows fits its rows" if not fitting else "two layouts fit its rows"
        raise Findings([Finding("E417", "error", f"{name}: .altinstructions cannot be read: {why}")])
    return fitting[0]


def _at(place: int, offset: int) -> int:
    return (place + offset) & ((1 << 64) - 1)


@dataclass(frozen=True)
class Site:
    """What was patched: address, length, and why."""

    address: int
    length: int
    text: str


class Patcher:
    """Applies records to a copy of the code."""

    def __init__(self, arch: Arch, segments: dict[int, bytearray]) -> None:
        self.arch, self.segments = arch, segments
        self.lifter = Lifter(arch, Image((), {}, ""))

    def load(self, address: int, size: int) -> bytes:
        for start, data in self.segments.items():
            if start <= address and address + size <= start + len(data):
                return bytes(data[address - start:address - start + size])
        return b""

    def store(self, address: int, data: bytes) -> None:
        for start, segment in self.segments.items():
            if start <= address < start + len(segment):
                segment[address - start:address - start + len(data)] = data

    def apply(self, records: Sequence[Record], features: frozenset[int]) -> list[Site]:
        """In the order of the table: a later row overwrites an earlier one at the same place."""
        sites: list[Site] = []
        lengths: list[int] = []
        for _, run in groupby(records, key=lambda r: r.instruction):
            nested = [r.length for r in run]    # rows behind each other for one address: all get the longest length
            lengths += [max(nested)] * len(nested)
        for row, length in zip(records, lengths, strict=True):
            if not row.wanted(features):
                self.store(row.instruction, self.tidy(self.load(row.instruction, length), row.instruction))
                continue
            if row.direct_call:
                continue                        # said in the image's notes
            buffer = self.load(row.replacement, row.replaced) + self.nop * (length - row.replaced)
            buffer = self.moved(buffer, row)
            self.store(row.instruction, self.tidy(buffer, row.instruction))
            sites.append(Site(row.instruction, length, f"feature {row.feature // 32}:{row.feature % 32} is {'off' if row.inverted else 'on'}"))
        return sites

    # ---- moving a replacement ----

    @property
    def nop(self) -> bytes:
        return self.arch.patching["nops"][0]

    def moved(self, buffer: bytes, row: Record) -> bytes:
        """Relative operands of a replacement that lead out of it lead to the same place from where it is put."""
        out, offset = bytearray(buffer), 0
        while offset < len(buffer):
            here, there = row.replacement + offset, row.instruction + offset
            found = self.lifter.lift(here, bytes(out[offset:]))
            if not found.size:
                break
            piece = bytes(out[offset:offset + found.size])
            inside = {row.replacement + i for i in range(row.replaced + 1)}
            if not all(t in inside for t in self.leads(found, there)):
                piece = self.shorten(self.refit(found, piece, there), there)
            out[offset:offset + found.size] = piece
            offset += found.size
        return bytes(out)

    def leads(self, found: Instruction, there: int) -> set[int]:
        """The addresses that an instruction means, which would be others at another place."""
        other = self.lifter.lift(there, found.data)
        pairs = zip(self.meaning(found), self.meaning(other), strict=True)
        return {a for a, b in pairs if a != b and a is not None}

    def meaning(self, found: Instruction) -> list[int | None]:
        """All numbers in what an instruction does. None: the address behind it, which a call leaves on the stack."""
        behind = found.address + found.size
        places = [p for op in found.ops for p in (*op.inputs, *((op.output,) if op.output else ())) if p.space in ("const", "ram")]
        mask = (1 << self.arch.word) - 1
        numbers: list[int | None] = [None if p.space == "const" and p.offset & mask == behind & mask else p.offset & mask for p in places]
        form = found.form
        for effect in form.effects if form is not None else ():
            if isinstance(effect, Reads):
                numbers.append(evaluate(effect.address, partial(_operand, found, behind)))
        return numbers

    def refit(self, found: Instruction, piece: bytes, there: int) -> bytes:
        """The bytes that mean the same at another place: one field is changed by the distance."""
        wanted, distance = self.meaning(found), found.address - there
        for size in (4, 2, 1):
            for at in range(len(piece) - size, 0, -1):
                old = int.from_bytes(piece[at:at + size], self.arch.endian_name, signed=True)
                new = old + distance
                if not -(1 << (8 * size - 1)) <= new < 1 << (8 * size - 1):
                    continue
                tried = piece[:at] + new.to_bytes(size, self.arch.endian_name, signed=True) + piece[at + size:]
                other = self.lifter.lift(there, tried)
                if other.size == len(piece) and other.mnemonic == found.mnemonic and self.meaning(other) == wanted:
                    return tried
        raise Findings([Finding("E418", "error", f"the alternative at {there:#x} holds '{found.text}', which cannot be moved there")])

    def shorten(self, piece: bytes, there: int) -> bytes:
        """A long jump becomes a short one where it reaches; padding fills the rest."""
        short, long = self.arch.patching["jumps"]
        if not piece.startswith(long) or len(piece) != len(long) + 4:
            return piece
        reach = int.from_bytes(piece[len(long):], self.arch.endian_name, signed=True) + len(piece) - len(short) - 1
        if not -128 <= reach < 128:
            return piece
        return short + reach.to_bytes(1, self.arch.endian_name, signed=True) + bytes([self.arch.padding]) * (len(piece) - len(short) - 1)

    # ---- NOPs ----

    def tidy(self, buffer: bytes, address: int) -> bytes:
        """Runs of single NOPs become long ones, and very long runs a jump: optimize_nops() and add_nop()."""
        out, offset = bytearray(buffer), 0
        while offset < len(out):
            size = self.size_at(bytes(out[offset:]), address + offset)
            if not size:
                break
            end = offset + size
            if self.is_nop(bytes(out[offset:end])):
                if end == len(out):
                    break
                while end < len(out):
                    more = self.size_at(bytes(out[end:]), address + end)
                    if not more or not self.is_nop(bytes(out[end:end + more])):
                        break
                    end += more
                out[offset:end] = self.fill(end - offset)
            offset = end
        return bytes(out)

    def size_at(self, data: bytes, address: int) -> int:
        return self.lifter.lift(address, data).size

    def is_nop(self, piece: bytes) -> bool:
        """A NOP or NOPL, in whatever form: insn_is_nop()."""
        nops = self.arch.patching["nops"]
        bare = piece.lstrip(nops[-1][:3])       # the longest one begins with all prefixes
        return bare == nops[0] or bare.startswith(nops[2][:2])

    def fill(self, length: int) -> bytes:
        """NOPs of a length."""
        nops = self.arch.patching["nops"]
        if length <= len(nops):
            return nops[length - 1]
        short, long = self.arch.patching["jumps"]
        jump = short + (length - len(short) - 1).to_bytes(1, self.arch.endian_name) if length < SHORT_JUMP else \
            long + (length - len(long) - 4).to_bytes(4, self.arch.endian_name)
        return jump + bytes([self.arch.padding]) * (length - len(jump))


def _operand(found: Instruction, behind: int, expr: Expr) -> int:
    if isinstance(expr, Operand):
        value = found.operands.get(expr.name, 0)
        return value if isinstance(value, int) else 0
    return behind if isinstance(expr, Reg) else 0
