"""Relocatable objects: sections get addresses, undefined symbols made-up ones, and relocations are resolved by the rows of the .arch file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..model.arch import Arch, Relocation
from ..model.expr import Expr, Operand, evaluate
from ..source.finding import Finding, Findings

STEP = 0x1000                                   # between made-up addresses, so that a displacement does not lead to another symbol
GAP = 0x200                                     # between sections: code does not fall from one into another, and no short jump reaches it
MASK = (1 << 64) - 1


@dataclass
class Section:
    """A section that is loaded: its bytes, its alignment, and where it is put."""

    name: str
    data: bytearray
    align: int
    executable: bool
    zeros: int = 0                              # bytes behind them that the file does not hold
    address: int = 0


@dataclass
class Fix:
    """A relocation: where (section, offset), which type, against what."""

    section: int
    offset: int
    type: int
    symbol: int
    addend: int


@dataclass
class Symbol:
    """A symbol of an object. `section` None: undefined, or absolute when `absolute`."""

    name: str
    value: int
    section: int | None
    absolute: bool
    local: bool
    weak: bool
    place: bool = True                          # names a place in the code; sections and files do not


@dataclass
class Object:
    """What an object file holds, by index of section and symbol."""

    name: str
    sections: dict[int, Section] = field(default_factory=dict)
    symbols: list[Symbol] = field(default_factory=list)
    fixes: list[Fix] = field(default_factory=list)


@dataclass
class Linked:
    """Objects at addresses. `externs`: undefined symbols and what they got."""

    sections: list[Section]
    symbols: dict[str, int]
    externs: dict[str, int]


def link(arch: Arch, objects: Sequence[Object], low: frozenset[str], where: tuple[int, int, int] | None = None) -> Linked:
    """Put objects behind each other, resolve what they want of each other, and make up the rest. `low`: symbols that a base register reaches."""
    code, extern, bottom = where or arch.link
    at = code
    for unit in objects:
        for section in unit.sections.values():
            align = max(section.align, 1)
            section.address = at = (at + align - 1) // align * align
            at += len(section.data) + section.zeros + GAP
        if at >= extern:
            raise Findings([Finding("E412", "error", f"{unit.name} is too large to be put where code goes")])
    shared: dict[str, int] = {}
    strong: set[str] = set()
    for unit in objects:
        for symbol in unit.symbols:
            if symbol.name and not symbol.local and _placed(unit, symbol) and not (symbol.weak and symbol.name in shared):
                if symbol.name in strong:
                    raise Findings([Finding("E413", "error", f"{unit.name} defines '{symbol.name}' a second time")])
                shared[symbol.name] = _value(unit, symbol)
                if not symbol.weak:
                    strong.add(symbol.name)
    wanted = sorted({s.name for u in objects for s in u.symbols if s.name and s.section is None and not s.absolute and s.name not in shared})
    externs: dict[str, int] = {}
    for name in wanted:
        if name in low:
            externs[name], bottom = bottom, bottom + STEP
        else:
            externs[name], extern = extern, extern + STEP
    known = {**externs, **shared}
    for unit in objects:
        for fix in unit.fixes:
            _apply(arch, unit, fix, known)
    local = {s.name: _value(u, s) for u in objects for s in reversed(u.symbols) if s.name and s.local and s.place and s.section is not None and _placed(u, s)}
    return Linked([s for u in objects for s in u.sections.values()], {**local, **known}, externs)


def _placed(unit: Object, symbol: Symbol) -> bool:
    """Does it have an address? Symbols of sections that are not loaded only have an offset."""
    return symbol.absolute or symbol.section in unit.sections


def _value(unit: Object, symbol: Symbol) -> int:
    return (symbol.value + (unit.sections[symbol.section].address if symbol.section is not None and symbol.section in unit.sections else 0)) & MASK


def _apply(arch: Arch, unit: Object, fix: Fix, known: dict[str, int]) -> None:
    section = unit.sections[fix.section]
    where = f"{unit.name}: section {section.name}+{fix.offset:#x}"
    row = arch.relocations.get(fix.type)
    if row is None:
        raise Findings([Finding("E414", "error", f"{where}: relocation type {fix.type} is not known",
                                help=f"entryc resolves {', '.join(r.name for r in arch.relocations.values())}")])
    if not 0 <= fix.offset <= len(section.data) - row.size:
        raise Findings([Finding("E415", "error", f"{where}: the relocation lies outside of the section")])
    if fix.symbol >= len(unit.symbols):
        raise Findings([Finding("E415", "error", f"{where}: the relocation names a symbol that does not exist")])
    symbol = unit.symbols[fix.symbol]
    if symbol.section is not None and symbol.section not in unit.sections:
        raise Findings([Finding("E415", "error", f"{where}: the relocation is against a section that is not loaded")])
    if fix.symbol and not symbol.name and not _placed(unit, symbol):
        raise Findings([Finding("E415", "error", f"{where}: the relocation is against an undefined symbol without a name")])
    named = symbol.name in known and not (symbol.local and _placed(unit, symbol))       # a weak definition may have lost against another object's
    value = known[symbol.name] if named else _value(unit, symbol)
    section.data[fix.offset:fix.offset + row.size] = _field(row, value, fix.addend, section.address + fix.offset, where)


def _field(row: Relocation, symbol: int, addend: int, place: int, where: str) -> bytes:
    letters = dict(zip("SAP", (symbol, addend, place), strict=True))

    def lookup(expr: Expr) -> int:
        return letters[expr.name] if isinstance(expr, Operand) else 0
    value = evaluate(row.value, lookup) & MASK
    bits = 8 * row.size
    signed = value - (1 << 64) if value >> 63 else value
    fits = {"signed": -(1 << (bits - 1)) <= signed < 1 << (bits - 1), "unsigned": value < 1 << bits, "any": True}[row.range]
    if not fits:
        raise Findings([Finding("E416", "error", f"{where}: {row.name} does not hold {value:#x}")])
    return (value & ((1 << bits) - 1)).to_bytes(row.size, "little")
