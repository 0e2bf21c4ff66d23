"""What compiled C reads besides memory of its own: constants of the image; and which functions other files have."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

WRITABLE, LOADED = 0x1, 0x2


@dataclass(frozen=True)
class Block:
    """A read-only part of the image: a section, or an object in one."""

    name: str
    start: int
    end: int


class Constants:
    """Read-only data of a linked file, as the loader puts it into memory, and its symbols."""

    def __init__(self, path: Path, endian: str) -> None:
        from elftools.common.exceptions import ELFError
        from elftools.elf.elffile import ELFFile
        self.endian: Literal["little", "big"] = "big" if endian == "big" else "little"
        self.sections: list[tuple[Block, bytes]] = []
        self.objects: list[Block] = []
        self.shared: dict[int, list[str]] = {}  # address -> global functions there
        try:
            elf = ELFFile(io.BytesIO(path.read_bytes()))
            headers = [h for h in elf.iter_segments() if h["p_type"] == "PT_LOAD"]
            for section in elf.iter_sections():
                self.section(section, headers)
                if section["sh_type"] == "SHT_SYMTAB":
                    for symbol in section.iter_symbols():
                        self.symbol(symbol)
        except (OSError, ELFError, KeyError, ValueError, TypeError, AttributeError, OverflowError, MemoryError, RecursionError):
            pass                                # image.elf refuses such files; without constants nothing is proved

    def section(self, section: Any, headers: list[Any]) -> None:
        flags, start, size = section["sh_flags"], section["sh_addr"], section["sh_size"]
        if section["sh_type"] != "SHT_PROGBITS" or not flags & LOADED or flags & WRITABLE or not size:
            return
        content = section.data()
        inside = [h for h in headers if h["p_vaddr"] < start + size and start < h["p_vaddr"] + h["p_memsz"]]
        right = [h for h in inside if h["p_vaddr"] <= start and h["p_offset"] + start - h["p_vaddr"] == section["sh_offset"]
                 and start - h["p_vaddr"] + size <= h["p_filesz"]]
        if len(inside) == len(right) == 1 and len(content) == size:
            self.sections.append((Block(section.name, start, start + size), content))

    def symbol(self, symbol: Any) -> None:
        kind, start = symbol["st_info"]["type"], symbol["st_value"]
        if symbol["st_shndx"] in ("SHN_UNDEF", "SHN_ABS") or not symbol.name:
            return
        if kind == "STT_OBJECT":
            self.objects.append(Block(symbol.name, start, start + symbol["st_size"]))
        elif kind in ("STT_FUNC", "STT_NOTYPE") and symbol["st_info"]["bind"] != "STB_LOCAL":
            self.shared.setdefault(start, []).append(symbol.name)

    def read(self, address: int, size: int) -> int | None:
        """A constant, or None where nothing read-only is."""
        for block, content in self.sections:
            if block.start <= address and address + size <= block.end:
                at = address - block.start
                return int.from_bytes(content[at:at + size], self.endian)
        return None

    def block(self, address: int) -> Block | None:
        """The object that an address is in, or the section."""
        for block in self.objects:
            if block.start <= address < block.end and self.read(block.start, 1) is not None:
                return block
        return next((block for block, _ in self.sections if block.start <= address < block.end), None)

