"""Linked ELF files as images: executable sections and symbols. Files are treated as hostile."""

from __future__ import annotations

import hashlib
import io
from itertools import pairwise
from pathlib import Path
from typing import Any

from ..model.arch import Arch
from ..source.finding import Finding, Findings
from .image import Image

LARGEST = 512 * 1024 * 1024
EXECUTABLE = 0x4
RUNS = 0x1
MAPPING = "$"                                   # names that mark code and data for disassemblers, not places


def _fail(message: str, help: str | None = None) -> Findings:
    return Findings([Finding("E410", "error", message, help=help)])


def read_image(arch: Arch, path: Path) -> Image:
    """The executable sections of a linked file. Raises Findings for what is no linked ELF file of this CPU."""
    try:
        if path.stat().st_size > LARGEST:
            raise _fail(f"{path} is larger than {LARGEST} bytes")
        data = path.read_bytes()
    except OSError as error:
        raise _fail(f"{path} cannot be read: {error.strerror}") from None
    return parse_image(arch, data, str(path))


def parse_image(arch: Arch, data: bytes, name: str) -> Image:
    """The same, from bytes."""
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile
    from elftools.elf.sections import SymbolTableSection
    if data[:4] != b"\x7fELF":
        raise _fail(f"{name} is not an ELF file")
    segments: list[tuple[int, bytes]] = []
    symbols: dict[str, int] = {}
    shared: dict[str, int] = {}                 # global names: a local one of another file must not hide them
    try:
        elf = ELFFile(io.BytesIO(data))
        if elf["e_machine"] != arch.tools["elf"][0]:
            raise _fail(f"{name} is code for {elf['e_machine']}, the spec is for {arch.name}")
        if elf["e_type"] not in ("ET_EXEC", "ET_DYN"):
            raise _fail(f"{name} is not linked ({elf['e_type']})", "link it first: addresses are part of the proof")
        for section in elf.iter_sections():
            if section["sh_flags"] & EXECUTABLE and section["sh_type"] == "SHT_PROGBITS" and section["sh_size"]:
                content = section.data()
                if len(content) != section["sh_size"]:
                    raise _fail(f"{name}: section {section.name} reaches past the end of the file")
                headers = [h for h in elf.iter_segments() if _touches(h, section)]
                if not headers or not all(_loads(header, section) for header in headers):
                    raise _fail(f"{name}: no program header loads section {section.name} where its section header says, or two do")
                segments.append((section["sh_addr"], content))
            if isinstance(section, SymbolTableSection):
                for symbol in section.iter_symbols():
                    if symbol["st_info"]["type"] in ("STT_FILE", "STT_SECTION"):
                        continue
                    if symbol.name and symbol["st_shndx"] != "SHN_UNDEF" and not symbol.name.startswith(MAPPING):
                        table = symbols if symbol["st_info"]["bind"] == "STB_LOCAL" else shared
                        table.setdefault(symbol.name, symbol["st_value"])
    except (ELFError, KeyError, ValueError, TypeError, AttributeError, OverflowError, UnicodeDecodeError, MemoryError, RecursionError) as error:
        raise _fail(f"{name} is damaged: {type(error).__name__}") from None
    if not segments:
        raise _fail(f"{name} has no executable section")
    symbols.update(shared)
    if not symbols:
        raise _fail(f"{name} has no symbols", "give the file before it is stripped")
    segments.sort()
    for (low, first), (high, _) in pairwise(segments):
        if low + len(first) > high:
            raise _fail(f"{name}: two executable sections overlap at {high:#x}")
    return Image(tuple(segments), symbols, hashlib.sha256(data).hexdigest())


def _touches(header: Any, section: Any) -> bool:
    """Does the loader put something where the section is?"""
    return bool(header["p_type"] == "PT_LOAD" and header["p_vaddr"] < section["sh_addr"] + section["sh_size"]
                and section["sh_addr"] < header["p_vaddr"] + header["p_memsz"])


def _loads(header: Any, section: Any) -> bool:
    """Is the section what the loader puts at its address? Section headers alone say nothing about what runs."""
    inside = section["sh_addr"] - header["p_vaddr"]
    return bool(header["p_flags"] & RUNS and inside >= 0 and inside + section["sh_size"] <= header["p_filesz"]
                and header["p_offset"] + inside == section["sh_offset"])
