"""ELF files as images: linked kernels, and relocatable objects. Files are treated as hostile."""

from __future__ import annotations

import hashlib
import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from ..model.arch import Arch
from ..source.finding import Finding, Findings
from ..source.text import file_name, read_bytes
from .alternatives import Patcher, read_records
from .image import Image
from .relocate import MASK, Fix, Object, Section, Symbol, link

LARGEST = 512 * 1024 * 1024
LONGEST_NAME = 1024
MOST_SEGMENTS = 256
HEADER_SIZES = 64, 56                           # of a section, of a segment
WRITES, LOADED, EXECUTABLE, COMPRESSED = 0x1, 0x2, 0x4, 0x800   # flags of sections
OTHER_RELOCATIONS = "SHT_REL", "SHT_RELR", 0x40000014           # without addends; the last one is LLVM's SHT_CREL
RUNS = 0x1
MAPPING = "$"                                   # names that mark code and data for disassemblers, not places
UNDEFINED, ABSOLUTE, COMMON = 0, 0xFFF1, 0xFFF2
SECTION_TYPE, FILE_TYPE = 3, 4                  # of symbols

ALTERNATIVES, EXCEPTIONS, REPLACEMENTS = ".altinstructions", "__ex_table", ".altinstr_replacement"
EXCEPTION_ROW = struct.Struct("<iii")           # include/asm/extable.h: instruction, where it goes on, and data; the first two relative
# What else changes the kernel's text while it runs, by the section that lists the places.
PATCHERS = {
    ".return_sites": "return thunks", ".retpoline_sites": "retpolines", ".call_sites": "call depth tracking", ".ibt_endbr_seal": "sealing of ENDBR",
    ".static_call_sites": "static calls", ".parainstructions": "paravirtual calls", "__jump_table": "static keys", ".smp_locks": "lock prefixes",
    "__mcount_loc": "function tracing", ".cfi_sites": "FineIBT",
}


def _fail(message: str, help: str | None = None) -> Findings:
    return Findings([Finding("E410", "error", message, help=help)])


@dataclass
class Binary:
    """What files hold, before any of it is patched."""

    arch: Arch
    name: str
    sha256: str
    relocatable: bool
    segments: dict[int, bytes]                  # executable bytes
    symbols: dict[str, int]
    externs: frozenset[str] = frozenset()
    tables: dict[str, list[tuple[int, bytes]]] = field(default_factory=dict)    # name of a table's section -> (address, bytes)
    spare: dict[int, bytes] = field(default_factory=dict)                       # replacements: code that runs only where it is copied to
    present: frozenset[str] = frozenset()       # sections of PATCHERS that exist

    def image(self, features: frozenset[int] = frozenset()) -> Image:
        """The code as it is after boot on a CPU with these features (word * 32 + bit). Raises Findings."""
        whole = {start: bytearray(data) for start, data in (*self.segments.items(), *self.spare.items())}
        sites, notes = [], []
        if self.tables.get(ALTERNATIVES):
            patcher = Patcher(self.arch, whole)
            records = [r for address, data in self.tables[ALTERNATIVES] for r in read_records(data, address, self._is_code, self.name)]
            sites = patcher.apply(records, features)
            direct = sum(1 for r in records if r.direct_call and r.wanted(features))
            notes.append(f"alternatives: applied, {len(sites)} of {len(records)} places replaced" + (f", {direct} direct calls not modelled" if direct else ""))
        notes += [f"{PATCHERS[name]} ({name}): not modelled, the code is taken as it was linked" for name in PATCHERS if name in self.present]
        return Image(tuple(sorted((start, bytes(whole[start])) for start in self.segments)), self.symbols, self.sha256, self._fixups(), self.externs,
                     tuple(notes), tuple((s.address, s.length, s.text) for s in sites))

    def _is_code(self, address: int, size: int) -> bool:
        return any(start <= address and address + size <= start + len(data) for table in (self.segments, self.spare) for start, data in table.items())

    def _fixups(self) -> tuple[tuple[int, int], ...]:
        rows: list[tuple[int, int]] = []
        for address, data in self.tables.get(EXCEPTIONS, []):
            if len(data) % EXCEPTION_ROW.size:
                raise _fail(f"{self.name}: {EXCEPTIONS} is cut off")
            for offset in range(0, len(data), EXCEPTION_ROW.size):
                first, second, _ = EXCEPTION_ROW.unpack_from(data, offset)
                rows.append(((address + offset + first) & MASK, (address + offset + 4 + second) & MASK))
        return tuple(sorted(rows))


def read_image(arch: Arch, path: Path) -> Image:
    """The executable sections of a linked file. Raises Findings for what is no linked ELF file of this CPU."""
    binary = read_binary(arch, [path])
    if binary.relocatable:
        raise _fail(f"{path} is not linked (ET_REL)", "verify it as an object: --object")
    return binary.image()


def parse_image(arch: Arch, data: bytes, name: str) -> Image:
    """The same, from bytes."""
    binary = parse_binary(arch, [(name, data)])
    if binary.relocatable:
        raise _fail(f"{name} is not linked (ET_REL)", "verify it as an object: --object")
    return binary.image()


def read_binary(arch: Arch, paths: Sequence[Path], low: frozenset[str] = frozenset(), where: tuple[int, int, int] | None = None) -> Binary:
    """A linked file, or objects that are put behind each other. `low`: symbols that are reached through a base register. `where`: addresses of code,
    of undefined symbols, and of the low ones, if not those of the .arch file. Raises Findings."""
    files: list[tuple[str, bytes]] = []
    for path in paths:
        try:
            files.append((file_name(path), read_bytes(path, LARGEST)))
        except OSError as error:
            raise _fail(f"{path} cannot be read: {error.strerror}") from None
    return parse_binary(arch, files, low, where)


def parse_binary(arch: Arch, files: Sequence[tuple[str, bytes]], low: frozenset[str] = frozenset(),
                 where: tuple[int, int, int] | None = None) -> Binary:
    """The same, from (name, bytes)."""
    from elftools.common.exceptions import ELFError
    found: list[Binary | Object] = []
    digest = hashlib.sha256()
    for name, data in files:
        digest.update(data)
        try:
            found.append(_parse(arch, data, name))
        except (ELFError, KeyError, ValueError, TypeError, AttributeError, OverflowError, UnicodeDecodeError, MemoryError, RecursionError, IndexError,
                struct.error) as error:
            raise _fail(f"{name} is damaged: {type(error).__name__}") from None
    linked = [b for b in found if isinstance(b, Binary)]
    if linked:
        if len(found) > 1:
            raise _fail(f"{linked[0].name} is linked: it stands alone", "only objects can be given together")
        return linked[0]
    return _link(arch, [o for o in found if isinstance(o, Object)], digest.hexdigest(), low, where)


def _link(arch: Arch, objects: list[Object], sha256: str, low: frozenset[str], where: tuple[int, int, int] | None) -> Binary:
    names = ", ".join(o.name for o in objects)
    done = link(arch, objects, low, where)
    code = {s.address: bytes(s.data) for s in done.sections if s.executable and s.name != REPLACEMENTS and s.data}
    if not code:
        raise _fail(f"{names} has no executable section")
    if not any(not s.local for o in objects for s in o.symbols if s.section is not None):
        raise _fail(f"{names} has no symbols", "give the file before it is stripped")
    tables = {name: [(s.address, bytes(s.data)) for s in done.sections if s.name == name and s.data] for name in (ALTERNATIVES, EXCEPTIONS)}
    spare = {s.address: bytes(s.data) for s in done.sections if s.name == REPLACEMENTS and s.data}
    return Binary(arch, names, sha256, True, code, done.symbols, frozenset(done.externs), tables, spare,
                  frozenset(s.name for s in done.sections if s.name in PATCHERS))


def _parse(arch: Arch, data: bytes, name: str) -> Binary | Object:
    from elftools.elf.elffile import ELFFile
    if data[:4] != b"\x7fELF":
        raise _fail(f"{name} is not an ELF file")
    elf = ELFFile(io.BytesIO(data))
    if elf["e_machine"] != arch.tools["elf"][0]:
        raise _fail(f"{name} is code for {elf['e_machine']}, the spec is for {arch.name}")
    if elf.elfclass != arch.word or elf.little_endian != (arch.endian_name == "little"):
        raise _fail(f"{name} is not a {arch.word}-bit file in {arch.endian_name}-endian byte order")
    if (elf["e_shoff"] and elf["e_shentsize"] != HEADER_SIZES[0]) or (elf["e_phnum"] and elf["e_phentsize"] != HEADER_SIZES[1]):
        raise _fail(f"{name} has section or program headers of a size that is none")
    if elf["e_type"] == "ET_REL":
        return _object(arch, elf, data, name)
    if elf["e_type"] not in ("ET_EXEC", "ET_DYN"):
        raise _fail(f"{name} is neither linked nor an object ({elf['e_type']})")
    return _linked(arch, elf, data, name)


def _sections(elf: Any, name: str) -> list[Any]:
    """All sections. A hostile name can be as long as the file, for each of them."""
    out: list[Any] = []
    for section in elf.iter_sections():
        if len(section.name) > LONGEST_NAME:
            raise _fail(f"{name}: section {len(out)} has a name of more than {LONGEST_NAME} characters")
        out.append(section)
    return out


def _content(section: Any, name: str) -> bytes:
    """A section's bytes."""
    if section["sh_type"] == "SHT_NOBITS" or section["sh_flags"] & COMPRESSED:
        raise _fail(f"{name}: section {section.name} is compressed, or has no bytes in the file")
    if section["sh_offset"] + section["sh_size"] > section.elffile.stream_len:
        raise _fail(f"{name}: section {section.name} reaches past the end of the file")
    content: bytes = section.data()
    return content


def _symbols(elf: Any, sections: list[Any], name: str) -> list[Symbol]:
    """All rows of the symbol table, read directly: kernels have tens of thousands. `section`: an index, or None."""
    table = next((s for s in sections if s["sh_type"] == "SHT_SYMTAB"), None)
    if table is None:
        return []
    if table["sh_link"] >= len(sections) or sections[table["sh_link"]]["sh_type"] != "SHT_STRTAB":
        raise _fail(f"{name}: the names of its symbols are missing")
    strings = _content(sections[table["sh_link"]], name)
    form = struct.Struct(("<" if elf.little_endian else ">") + "IBBHQQ")
    raw = _content(table, name)
    out: list[Symbol] = []
    for at, info, _, section, value, _ in form.iter_unpack(raw[:len(raw) // form.size * form.size]):
        end = strings.find(b"\0", at, at + LONGEST_NAME + 1)
        if end < 0 and at < len(strings):
            raise _fail(f"{name}: a symbol has a name of more than {LONGEST_NAME} characters, or one that does not end")
        text = strings[at:end].decode("utf-8", "replace") if 0 <= at < len(strings) and end >= 0 else ""
        kind, bind = info & 15, info >> 4
        if section == COMMON:
            raise _fail(f"{name}: '{text}' is a common symbol, which only a linker places")
        named = text and kind not in (SECTION_TYPE, FILE_TYPE) and not text.startswith(MAPPING)
        out.append(Symbol(text, value, None if section in (UNDEFINED, ABSOLUTE) else section, section == ABSOLUTE, bind == 0, bind == 2, bool(named)))
    return out


def _object(arch: Arch, elf: Any, data: bytes, name: str) -> Object:
    """An object file: its loaded sections, its symbols, and the relocations of the loaded sections."""
    unit = Object(name)
    total = 0
    sections = _sections(elf, name)
    for index, section in enumerate(sections):
        if section["sh_flags"] & LOADED and section["sh_type"] in ("SHT_PROGBITS", "SHT_NOBITS") and section["sh_size"]:
            total += section["sh_size"]
            if total > LARGEST:
                raise _fail(f"{name}: its sections are larger than {LARGEST} bytes")
            align = section["sh_addralign"]
            if align & (align - 1) or align > 1 << 20:
                raise _fail(f"{name}: section {section.name} has the alignment {align}")
            content, zeros = (_content(section, name), 0) if section["sh_type"] == "SHT_PROGBITS" else (b"", section["sh_size"])
            unit.sections[index] = Section(section.name, bytearray(content), align, bool(section["sh_flags"] & EXECUTABLE), zeros)
    unit.symbols = _symbols(elf, sections, name)
    if not unit.symbols:
        raise _fail(f"{name} has no symbols", "give the file before it is stripped")
    table = next(i for i, s in enumerate(sections) if s["sh_type"] == "SHT_SYMTAB")
    form = struct.Struct(("<" if elf.little_endian else ">") + "QQq")
    for section in sections:
        if section["sh_type"] in OTHER_RELOCATIONS and section["sh_info"] in unit.sections:
            raise _fail(f"{name}: section {section.name} has relocations without addends")
        if section["sh_type"] == "SHT_RELA" and not 0 < section["sh_info"] < len(sections):
            raise _fail(f"{name}: section {section.name} has relocations of no section")
        if section["sh_type"] == "SHT_RELA" and section["sh_info"] in unit.sections:
            if section["sh_link"] != table:
                raise _fail(f"{name}: section {section.name} has relocations against other symbols")
            raw = _content(section, name)
            if len(raw) % form.size:
                raise _fail(f"{name}: section {section.name} is cut off")
            unit.fixes += [Fix(section["sh_info"], at, info & 0xFFFFFFFF, info >> 32, addend) for at, info, addend in form.iter_unpack(raw)]
    return unit


def _linked(arch: Arch, elf: Any, data: bytes, name: str) -> Binary:
    """A linked file: executable sections that program headers load where the section headers say."""
    segments: list[tuple[int, bytes]] = []
    spare: dict[int, bytes] = {}
    tables: dict[str, list[tuple[int, bytes]]] = {}
    present: set[str] = set()
    if elf.num_segments() > MOST_SEGMENTS:
        raise _fail(f"{name} has more than {MOST_SEGMENTS} program headers")
    headers = [h for h in elf.iter_segments() if h["p_type"] == "PT_LOAD"]
    sections = _sections(elf, name)
    for section in sections:
        if section.name in PATCHERS and section["sh_size"]:
            present.add(section.name)
        if section.name in (ALTERNATIVES, EXCEPTIONS) and section["sh_type"] == "SHT_PROGBITS" and section["sh_size"]:
            tables.setdefault(section.name, []).append((section["sh_addr"], _content(section, name)))
        if section["sh_flags"] & EXECUTABLE and section["sh_type"] == "SHT_PROGBITS" and section["sh_size"]:
            content = _content(section, name)
            over = [h for h in headers if _touches(h, section)]
            if not over or not all(_loads(header, section) for header in over):
                raise _fail(f"{name}: no program header loads section {section.name} where its section header says, or two do")
            if section.name == REPLACEMENTS:
                spare[section["sh_addr"]] = content
            else:
                segments.append((section["sh_addr"], content))
    if not segments:
        raise _fail(f"{name} has no executable section")
    rows = [s for s in _symbols(elf, sections, name) if s.place and (s.section is not None or s.absolute)]
    symbols: dict[str, int] = {}
    for local in (True, False):                 # a local name of another file must not hide a global one
        for symbol in (reversed(rows) if local else rows):
            if symbol.local is local:
                symbols[symbol.name] = symbol.value
    if not symbols:
        raise _fail(f"{name} has no symbols", "give the file before it is stripped")
    segments.sort()
    for (low, first), (high, _) in pairwise(segments):
        if low + len(first) > high:
            raise _fail(f"{name}: two executable sections overlap at {high:#x}")
    return Binary(arch, name, hashlib.sha256(data).hexdigest(), False, dict(segments), symbols, frozenset(), tables, spare, frozenset(present))


def _touches(header: Any, section: Any) -> bool:
    """Does the loader put something where the section is?"""
    return bool(header["p_vaddr"] < section["sh_addr"] + section["sh_size"] and section["sh_addr"] < header["p_vaddr"] + header["p_memsz"])


def _loads(header: Any, section: Any) -> bool:
    """Is the section what the loader puts at its address? Section headers alone say nothing about what runs."""
    inside = section["sh_addr"] - header["p_vaddr"]
    return bool(header["p_flags"] & RUNS and inside >= 0 and inside + section["sh_size"] <= header["p_filesz"]
                and header["p_offset"] + inside == section["sh_offset"])
