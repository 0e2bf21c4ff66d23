"""Linked files as images: what is read, and that a hostile file gives a finding and nothing else."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from entryc.image.elf import parse_image, read_image
from entryc.image.image import Image
from entryc.model.arch import Arch
from entryc.model.load_arch import load_arch
from entryc.source.finding import Findings

BASE = 0x100000
CODE = bytes(range(32))
MACHINE = 62
HEADER, PROGRAM, SECTION, SYMBOL = "<16sHHIQQQIHHHHHH", "<IIQQQQQQ", "<IIQQQQIIQQ", "<IBBHQQ"
LOCAL, GLOBAL = 0, 1 << 4


@pytest.fixture(scope="module")
def arch() -> Arch:
    return load_arch("x86_64")


def elf(*, code: bytes = CODE, kind: int = 2, machine: int = MACHINE, symbols: tuple[tuple[str, int, int, int], ...] = (("start", GLOBAL, 1, BASE),),
        shift: int = 0, size: int | None = None, twice: bool = False, covered: bool = False) -> bytes:
    """A minimal linked file. `symbols`: (name, binding, section, value); `shift` moves the program header's bytes away from the section's;

    `covered`: a second program header loads other bytes to the same place."""
    names = b"\0" + b"".join(name.encode() + b"\0" for name, *_ in symbols)
    table, position = struct.pack(SYMBOL, 0, 0, 0, 0, 0, 0), 1
    for name, bind, section, value in symbols:
        table += struct.pack(SYMBOL, position, bind, 0, section, value, 0)
        position += len(name) + 1
    labels = b"\0.text\0.symtab\0.strtab\0"
    code_at = 64 + 56 * (1 + covered)
    table_at = code_at + len(code)
    names_at = table_at + len(table)
    labels_at = names_at + len(names)
    sections_at = labels_at + len(labels)
    text = struct.pack(SECTION, 1, 1, 6, BASE, code_at, len(code) if size is None else size, 0, 0, 1, 0)
    sections = [struct.pack(SECTION, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), text,
                struct.pack(SECTION, 7, 2, 0, 0, table_at, len(table), 3, 1, 8, 24),
                struct.pack(SECTION, 15, 3, 0, 0, names_at, len(names), 0, 0, 1, 0),
                struct.pack(SECTION, 15, 3, 0, 0, labels_at, len(labels), 0, 0, 1, 0)]
    sections += [text] if twice else []
    header = struct.pack(HEADER, b"\x7fELF\x02\x01\x01" + bytes(9), kind, machine, 1, BASE, 64, sections_at, 0, 64, 56, 1 + covered, 64, len(sections), 4)
    program = struct.pack(PROGRAM, 1, 5, code_at + shift, BASE, BASE, len(code), len(code), 1)
    program += struct.pack(PROGRAM, 1, 5, 0, BASE + 4, BASE + 4, 8, 8, 1) if covered else b""
    return header + program + code + table + names + labels + b"".join(sections)


def test_reads_code_and_symbols(arch: Arch, tmp_path: Path) -> None:
    path = tmp_path / "kernel.elf"
    path.write_bytes(elf())
    image = read_image(arch, path)
    assert image.segments == ((BASE, CODE),)
    assert image.symbols == {"start": BASE}
    assert image.bytes_at(BASE + 30, 16) == CODE[30:]
    assert image.bytes_at(BASE + 32, 1) == b""


def test_the_hash_is_of_the_file(arch: Arch) -> None:
    assert parse_image(arch, elf(), "a").sha256 != parse_image(arch, elf() + b"\0", "b").sha256


def test_a_global_name_wins_over_a_local_one(arch: Arch) -> None:
    image = parse_image(arch, elf(symbols=(("trap", LOCAL, 1, BASE + 8), ("$x", LOCAL, 1, BASE), ("trap", GLOBAL, 1, BASE + 16))), "k")
    assert image.symbols == {"trap": BASE + 16}


@pytest.mark.parametrize(("make", "message"), [
    (lambda: b"", "not an ELF file"),
    (lambda: b"#!/bin/sh\n", "not an ELF file"),
    (lambda: elf(kind=1), "not linked"),
    (lambda: elf(machine=183), "is code for"),
    (lambda: elf(symbols=()), "no symbols"),
    (lambda: elf(symbols=(("start", GLOBAL, 0, 0),)), "no symbols"),
    (lambda: elf(shift=4), "no program header loads"),
    (lambda: elf(covered=True), "no program header loads"),
    (lambda: elf(size=1 << 40), "past the end"),
    (lambda: elf(size=0), "no executable section"),
    (lambda: elf(twice=True), "overlap"),
    (lambda: elf()[:70], "damaged"),
])
def test_refused(arch: Arch, make: Callable[[], bytes], message: str) -> None:
    with pytest.raises(Findings, match=message):
        parse_image(arch, make(), "k")


def test_missing_file(arch: Arch, tmp_path: Path) -> None:
    with pytest.raises(Findings, match="cannot be read"):
        read_image(arch, tmp_path / "none")
    with pytest.raises(Findings, match="cannot be read"):
        read_image(arch, tmp_path)


def outcome(arch: Arch, data: bytes) -> Image | None:
    try:
        return parse_image(arch, data, "k")
    except Findings:
        return None


def test_cut_anywhere(arch: Arch) -> None:
    whole = elf()
    for length in range(len(whole)):
        image = outcome(arch, whole[:length])
        assert image is None or image.segments == ((BASE, CODE),)


def test_damaged_anywhere(arch: Arch) -> None:
    whole, chance = elf(), random.Random(1)
    for _ in range(3000):
        data = bytearray(whole)
        for _ in range(chance.randrange(1, 4)):
            data[chance.randrange(len(data))] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        outcome(arch, bytes(data))
