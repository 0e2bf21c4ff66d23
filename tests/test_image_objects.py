"""Objects as images: relocations, alternatives and exception tables byte for byte, and that a hostile object gives findings and nothing else."""

from __future__ import annotations

import random
import struct
import subprocess
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise, product
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from entryc.image.elf import PATCHERS, Binary, parse_binary
from entryc.image.image import Image
from entryc.model.arch import Arch
from entryc.model.load_arch import load_arch
from entryc.source.finding import Findings

MASK = (1 << 64) - 1
HEADER, PROGRAM, SECTION, SYMBOL, RELOCATION = "<16sHHIQQQIHHHHHH", "<IIQQQQQQ", "<IIQQQQIIQQ", "<IBBHQQ", "<QQq"
NOPS = ["", "90", "6690", "0f1f00", "0f1f4000", "0f1f440000", "660f1f440000", "0f1f8000000000", "0f1f840000000000", "2e0f1f840000000000",
        "662e0f1f840000000000", "66662e0f1f840000000000"]      # include/asm/nops.h, by length


@pytest.fixture(scope="module")
def arch() -> Arch:
    return load_arch("x86_64")


# ---- objects ----

@lru_cache(maxsize=256)
def made(text: str, *, link: tuple[str, ...] = (), strip: bool = False) -> bytes:
    """The object that GNU as makes of a text; linked, with options of ld."""
    with TemporaryDirectory() as folder:
        source, out, linked = Path(folder, "a.S"), Path(folder, "a.o"), Path(folder, "a")
        source.write_text(text)
        subprocess.run(["as", "--64", "-o", str(out), str(source)], check=True)
        if strip:
            subprocess.run(["strip", "--strip-all", str(out)], check=True)
        if link:
            subprocess.run(["ld", *link, "-o", str(linked), str(out)], check=True)
        return (linked if link else out).read_bytes()


def read(arch: Arch, *objects: bytes | str, low: tuple[str, ...] = ()) -> Binary:
    files = [(f"{index}.o", made(o) if isinstance(o, str) else o) for index, o in enumerate(objects)]
    return parse_binary(arch, files, frozenset(low))


def at(image: Image | Binary, address: int | str, size: int) -> bytes:
    """Bytes of the code, before it is patched (Binary) or after (Image)."""
    place = image.symbols[address] if isinstance(address, str) else address
    for start, data in image.segments.items() if isinstance(image, Binary) else image.segments:
        if start <= place and place + size <= start + len(data):
            return data[place - start:place - start + size]
    raise AssertionError(f"nothing at {place:#x}")


def number(image: Image | Binary, address: int | str, size: int, signed: bool = False) -> int:
    return int.from_bytes(at(image, address, size), "little", signed=signed)


# ---- what is inside of a file, read here by itself ----

def sections(data: bytes) -> Iterator[tuple[int, str, tuple[int, ...]]]:
    """(position of the header, name, fields) of each section."""
    header = struct.unpack_from(HEADER, data)
    first, count, names = header[6], header[12], header[13]
    rows = [struct.unpack_from(SECTION, data, first + 64 * i) for i in range(count)]
    for i, row in enumerate(rows):
        start = rows[names][4] + row[0]
        yield first + 64 * i, data[start:data.index(b"\0", start)].decode(), row


def section(data: bytes, name: str) -> tuple[int, tuple[int, ...]]:
    return next((place, row) for place, n, row in sections(data) if n == name)


FIELDS = {"name": (0, "<I"), "type": (4, "<I"), "flags": (8, "<Q"), "address": (16, "<Q"), "offset": (24, "<Q"), "size": (32, "<Q"), "link": (40, "<I"),
          "info": (44, "<I"), "align": (48, "<Q"), "each": (56, "<Q")}


def with_section(data: bytes, which: str, **fields: int) -> bytes:
    """The file with other fields in a section's header."""
    out, (place, _) = bytearray(data), section(data, which)
    for field, value in fields.items():
        offset, form = FIELDS[field]
        struct.pack_into(form, out, place + offset, value)
    return bytes(out)


def with_bytes(data: bytes, offset: int, form: str, *values: int) -> bytes:
    out = bytearray(data)
    struct.pack_into(form, out, offset, *values)
    return bytes(out)


def types(data: bytes) -> list[int]:
    """The types of all relocations of a file."""
    tables = [row for _, _, row in sections(data) if row[1] == 4]
    return [info & 0xFFFFFFFF for row in tables for _, info, _ in struct.iter_unpack(RELOCATION, data[row[4]:row[4] + row[5]])]


def sentence(error: Findings) -> None:
    """One short sentence each, that says which file."""
    assert error.findings
    for finding in error.findings:
        assert finding.level == "error" and finding.code.startswith("E4")
        assert "\n" not in finding.message and 10 < len(finding.message) < 400
        assert ".o" in finding.message or finding.code == "E418"


def refused(arch: Arch, code: str, message: str, *objects: bytes | str, image: bool = False, features: frozenset[int] = frozenset()) -> None:
    with pytest.raises(Findings, match=message) as caught:
        binary = read(arch, *objects)
        if image:
            binary.image(features)
    assert [f.code for f in caught.value.findings] == [code]
    sentence(caught.value)


# ---- relocations ----

START = '\t.text\n\t.globl start\nstart:\n\tnop\n'
PROBE = '\t.section .probe, "ax"\n\t.globl probe\nprobe:\n'
# type: (text around a symbol S, where the field is, its size, the addend, is it relative to its place)
KINDS: dict[int, tuple[str, int, int, int, bool]] = {
    1: ("\t.quad S + 3\n", 0, 8, 3, False),
    2: ("\t.long S + 3 - .\n", 0, 4, 3, True),
    4: ("\tcall S\n", 1, 4, -4, True),
    10: ("\t.long S + 3\n", 0, 4, 3, False),
    11: ("\tmovq $S + 3, %rax\n", 3, 4, 3, False),
    24: ("\t.quad S + 3 - .\n", 0, 8, 3, True),
}
HERE = '\t.section .other, "ax"\n\tnop\n\tnop\n'
THERE = START.replace("start", "there") + '\t.globl far\n\t.skip 40, 0x90\nfar:\n\tnop\n\t.globl fixed\n\t.set fixed, 0x12345\n'
# what S is: (its name, text in the same object, other objects, is its address low)
TARGETS: dict[str, tuple[str, str, tuple[str, ...], bool]] = {
    "local": ("near", HERE + "near:\n\tnop\n", (), False),
    "section": (".other", HERE, (), False),
    "global": ("near", HERE + "\t.globl near\nnear:\n\tnop\n", (), False),
    "another object": ("far", "", (THERE,), False),
    "absolute of another object": ("fixed", "", (THERE,), True),
    "undefined": ("nowhere", "", (), False),
    "undefined weak": ("perhaps", "\t.weak perhaps\n", (), False),
    "low": ("percpu", "", (), True),
}
HOLDS = [(k, t) for k, t in product(KINDS, TARGETS) if k != 10 or TARGETS[t][3]]


@pytest.mark.parametrize(("kind", "target"), HOLDS)
def test_relocations(arch: Arch, kind: int, target: str) -> None:
    text, offset, size, addend, relative = KINDS[kind]
    name, more, others, low = TARGETS[target]
    first = made(START + PROBE + text.replace("S", name) + more)
    if kind == 4 and target in ("local", "section"):            # GNU as takes the other name of the same value
        assert types(first) == [2]
        first = with_bytes(first, rela(first, ".rela.probe") + 8, "<I", 4)
    assert types(first) == [kind]
    binary = read(arch, first, *others, low=("percpu",))
    if target == "section":
        value = next(start for start, data in binary.segments.items() if data == b"\x90\x90")
    else:
        value = binary.symbols[name]
    assert (value < 1 << 31) is low
    place = binary.symbols["probe"] + offset
    assert number(binary, place, size) == (value + addend - place * relative) & ((1 << 8 * size) - 1)
    assert binary.externs == {name} & {"nowhere", "perhaps", "percpu"}


def test_an_absolute_symbol_of_the_same_object(arch: Arch) -> None:
    binary = read(arch, START + "\t.set fixed, 0x12345\n\t.globl probe\nprobe:\n\tcall fixed\n")
    probe = binary.symbols["probe"]
    assert (probe + 5 + number(binary, probe + 1, 4, signed=True)) & MASK == 0x12345


def test_each_type_of_the_arch_file_is_tested(arch: Arch) -> None:
    assert set(arch.relocations) == set(KINDS)


def test_a_field_before_an_immediate(arch: Arch) -> None:
    """movq $imm, %gs:x(%rip): the processor adds the displacement to the end of the instruction, behind the immediate."""
    for text, end in (("movq $0x11, %gs:percpu(%rip)", 12), ("movb $1, %gs:percpu(%rip)", 8), ("movl $2, %gs:percpu+16(%rip)", 11)):
        data = made(START + PROBE + f"\t{text}\n")
        assert types(data) == [2]
        binary = read(arch, data, low=("percpu",))
        code = at(binary, "probe", end)
        field = 4 if text.startswith("movq") else 3
        assert code[field + 4:] == int(text[text.index("$") + 1:text.index(",")], 0).to_bytes(end - field - 4, "little")
        distance = int.from_bytes(code[field:field + 4], "little", signed=True)
        assert (binary.symbols["probe"] + end + distance) & MASK == binary.symbols["percpu"] + 16 * ("+16" in text)


def test_made_up_addresses(arch: Arch) -> None:
    """Low symbols get low addresses, others high ones, and none is near another."""
    code, extern, bottom = arch.link
    names = [f"f{i}" for i in range(20)]
    lows = ("low_a", "low_b", "low_c")
    text = START + "".join(f"\tcall {n}\n" for n in names) + "".join(f"\tmovq %gs:{n}, %rax\n" for n in lows)
    binary = read(arch, text, "\t.text\n\t.globl again\nagain:\n\tcall f3\n\tcall last\n", low=lows)
    assert binary.externs == {*names, "last", *lows}
    assert all(bottom <= binary.symbols[n] < 1 << 31 for n in lows)
    assert all(extern <= binary.symbols[n] < 1 << 64 for n in (*names, "last"))
    places = sorted(binary.symbols[n] for n in binary.externs)
    assert all(b - a >= 0x1000 for a, b in pairwise(places))
    assert binary.symbols["start"] == code
    again = binary.symbols["again"]
    assert again + 5 + number(binary, again + 1, 4, signed=True) == binary.symbols["f3"]


def test_sections_are_aligned_and_apart(arch: Arch) -> None:
    text = START + '\t.section .a, "ax"\n\t.balign 64\n\t.globl a\na:\n\tnop\n\t.section .b, "ax"\n\t.balign 4096\n\t.globl b\nb:\n\tnop\n'
    again = text.replace("start", "start2").replace("a:", "a2:").replace("b:", "b2:").replace("globl a", "globl a2").replace("globl b", "globl b2")
    binary = read(arch, text, again)
    s = binary.symbols
    assert s["a"] % 64 == s["a2"] % 64 == s["b"] % 4096 == s["b2"] % 4096 == 0
    assert s["start"] < s["a"] < s["b"] < s["start2"] < s["a2"] < s["b2"]
    assert at(binary, "b", 1) == b"\x90"
    parts = sorted((start, start + len(data)) for start, data in binary.segments.items())
    assert all(after - end >= 0x100 for (_, end), (after, _) in pairwise(parts))           # code does not fall from one into another


def test_weak_symbols(arch: Arch) -> None:
    """A strong definition wins over a weak one wherever it is, and the first weak one over another."""
    weak = START + '\t.weak both\n\tcall both\n\t.section .w, "ax"\nboth:\n\thlt\n'
    strong = '\t.text\n\t.globl both, other\nboth:\n\tcld\nother:\n\tcall both\n'
    for order in ((weak, strong), (strong, weak)):
        binary = read(arch, *order)
        assert at(binary, "both", 1) == b"\xfc"
        start = binary.symbols["start"]
        assert start + 6 + number(binary, start + 2, 4, signed=True) == binary.symbols["both"]
    two = weak.replace("start", "start2").replace("hlt", "std")
    assert at(read(arch, weak, two), "both", 1) == b"\xf4"
    assert at(read(arch, two, weak), "both", 1) == b"\xfd"


def test_a_local_symbol_is_not_another_objects(arch: Arch) -> None:
    one = START + "\tcall hidden\n"
    two = '\t.text\n\t.globl b\nb:\n\tnop\nhidden:\n\tnop\n'
    binary = read(arch, one, two)
    assert binary.externs == {"hidden"}
    assert binary.symbols["hidden"] == binary.symbols["start"] + 6 + number(binary, binary.symbols["start"] + 2, 4, signed=True)


def test_a_symbol_of_a_section_that_is_not_loaded(arch: Arch) -> None:
    """It has no address: nothing in the code is at the offset that it has in its section."""
    notes = START + '\t.section .notes\n\t.globl note\n\t.quad 0\nnote:\n\t.quad 0\n'
    refused(arch, "E415", "section that is not loaded", notes + "\t.text\n\tcall note\n")
    binary = read(arch, notes, '\t.text\n\t.globl b\nb:\n\tcall note\n')
    assert binary.symbols.get("note", MASK) >= arch.link[1]


# ---- objects that are refused ----

@pytest.mark.parametrize(("line", "kind"), [
    ("movq nowhere@GOTPCREL(%rip), %rax", 42), (".word nowhere", 12), (".byte nowhere", 14), (".reloc ., R_X86_64_NONE, nowhere\n\tnop", 0),
    (".long nowhere@GOTPCREL", 9), ("leaq nowhere@TLSGD(%rip), %rdi", 19),
])
def test_unknown_relocation(arch: Arch, line: str, kind: int) -> None:
    data = made(START + '\t.section .entry.text, "ax"\n\tnop\n\tnop\n\t' + line + "\n")
    place = next(o for _, name, row in sections(data) if name == ".rela.entry.text" for o, _, _ in struct.iter_unpack(RELOCATION, data[row[4]:row[4] + row[5]]))
    assert place >= 2
    refused(arch, "E414", rf"section \.entry\.text\+{place:#x}: relocation type {kind} is not known$", data)


@pytest.mark.parametrize(("line", "name", "others"), [
    (".long nowhere", "R_X86_64_32", ()),                       # unsigned: an address of the kernel does not fit
    ("movl $start, %eax", "R_X86_64_32", ()),
    (".long fixed", "R_X86_64_32", ("\t.globl fixed\n\t.set fixed, 0x100000000\n\t.text\n\tnop\n",)),
    (".long fixed - 1", "R_X86_64_32", ("\t.globl fixed\n\t.set fixed, 0\n\t.text\n\tnop\n",)),
    ("movq $fixed, %rax", "R_X86_64_32S", ("\t.globl fixed\n\t.set fixed, 0x80000000\n\t.text\n\tnop\n",)),
    ("movq $fixed, %rax", "R_X86_64_32S", ("\t.globl fixed\n\t.set fixed, -0x80000001\n\t.text\n\tnop\n",)),
    (".long fixed - .", "R_X86_64_PC32", ("\t.globl fixed\n\t.set fixed, 0x100000000\n\t.text\n\tnop\n",)),
    ("call fixed", "R_X86_64_PLT32", ("\t.globl fixed\n\t.set fixed, 0x7fffffff00000000\n\t.text\n\tnop\n",)),
])
def test_a_field_that_does_not_hold(arch: Arch, line: str, name: str, others: tuple[str, ...]) -> None:
    refused(arch, "E416", rf"0\.o: section \.probe\+0x[0-9a-f]: {name} does not hold 0x[0-9a-f]+$", START + PROBE + f"\t{line}\n", *others)


def test_a_field_that_just_holds(arch: Arch) -> None:
    for line, value in ((".long fixed", (1 << 32) - 1), ("movq $fixed, %rax", (1 << 31) - 1), ("movq $fixed, %rax", MASK + 1 - (1 << 31))):
        other = f"\t.globl fixed\n\t.set fixed, {value:#x}\n\t.text\n\tnop\n"
        binary = read(arch, START + PROBE + f"\t{line}\n", other)
        assert number(binary, binary.symbols["probe"] + 3 * line.startswith("movq"), 4) == value & 0xFFFFFFFF


PLAIN = made(START + "\tcall nowhere\n\tmovq %gs:percpu, %rax\n\tcall start\n\tret\n")


def rela(data: bytes, name: str = ".rela.text") -> int:
    return section(data, name)[1][4]


@pytest.mark.parametrize("offset", [-1 & MASK, 1 << 63, 1 << 40, 17, 18, 19, 20, 21])
def test_a_relocation_outside_of_its_section(arch: Arch, offset: int) -> None:
    size = section(PLAIN, ".text")[1][5]
    data = with_bytes(PLAIN, rela(PLAIN), "<Q", offset)
    if offset + 4 <= size:
        read(arch, data)
    else:
        refused(arch, "E415", rf"\+{offset:#x}: the relocation lies outside of the section", data)


def test_a_relocation_of_a_symbol_that_does_not_exist(arch: Arch) -> None:
    count = section(PLAIN, ".symtab")[1][5] // 24
    for index in (count, count + 1, (1 << 32) - 1):
        refused(arch, "E415", "names a symbol that does not exist", with_bytes(PLAIN, rela(PLAIN) + 8, "<Q", index << 32 | 4))


def test_two_definitions(arch: Arch) -> None:
    refused(arch, "E413", "1.o defines 'start' a second time", START, START)


def test_what_is_no_object(arch: Arch) -> None:
    machine = with_bytes(PLAIN, 18, "<H", 183)
    refused(arch, "E410", "is code for EM_AARCH64", machine)
    refused(arch, "E410", "is not an ELF file", b"")
    refused(arch, "E410", "is not an ELF file", b"#!/bin/sh\n")
    refused(arch, "E410", "is not an ELF file", PLAIN[1:])
    refused(arch, "E410", "neither linked nor an object", with_bytes(PLAIN, 16, "<H", 4))
    for offset, value in ((4, 1), (5, 2)):      # 32 bits; big-endian
        refused(arch, "E410", "is not a 64-bit file|is damaged|is code for|byte order", with_bytes(PLAIN, offset, "<B", value))
    refused(arch, "E410", "'shared' is a common symbol", START + "\t.comm shared, 8\n")
    refused(arch, "E410", "has no symbols", made(START, strip=True))
    refused(arch, "E410", "no executable section", "\t.data\n\t.globl d\nd:\n\t.quad 0\n")
    refused(arch, "E410", "has no symbols", "\t.text\n\tnop\n")
    refused(arch, "E410", "linked: it stands alone", made(START, link=("-Ttext", "0x100000", "-e", "start")), START)


def test_relocations_in_other_forms(arch: Arch) -> None:
    """SHT_REL, SHT_RELR, SHT_CREL: what is not read must not be left out."""
    refused(arch, "E410", r"section \.rela\.text has relocations without addends", with_section(PLAIN, ".rela.text", type=9, each=16, size=16))
    refused(arch, "E410", r"section \.rela\.text has relocations without addends", with_section(PLAIN, ".rela.text", type=19, each=8, size=16))
    refused(arch, "E410", r"section \.rela\.text has relocations without addends", with_section(PLAIN, ".rela.text", type=0x40000014))


def test_relocations_of_other_things(arch: Arch) -> None:
    count = len(list(sections(PLAIN)))
    for index in (0, count, (1 << 32) - 1):
        refused(arch, "E410", r"section \.rela\.text has relocations of no section", with_section(PLAIN, ".rela.text", info=index))
        refused(arch, "E410", r"section \.rela\.text has relocations against other symbols", with_section(PLAIN, ".rela.text", link=index))
        refused(arch, "E410", "the names of its symbols are missing|damaged", with_section(PLAIN, ".symtab", link=index))


def test_a_cut_off_relocation_table(arch: Arch) -> None:
    refused(arch, "E410", r"\.rela\.text is cut off", with_section(PLAIN, ".rela.text", size=24 + 8))


def test_a_nameless_undefined_symbol(arch: Arch) -> None:
    """A relocation against it would silently be one against address 0."""
    index = struct.unpack_from(RELOCATION, PLAIN, rela(PLAIN))[1] >> 32
    place = section(PLAIN, ".symtab")[1][4] + 24 * index
    for name in (0, 1 << 31):
        refused(arch, "E415", r"section \.text\+0x[0-9a-f]+: the relocation is against an undefined symbol without a name",
                with_bytes(PLAIN, place, "<I", name))
    none = with_bytes(PLAIN, rela(PLAIN) + 8, "<Q", 4)          # symbol 0 is the one that means 0
    assert number(read(arch, none, low=("percpu",)), arch.link[0] + 2, 4) == (-4 - arch.link[0] - 2) & 0xFFFFFFFF


# ---- hostile files ----

def outcome(arch: Arch, data: bytes, features: frozenset[int] = frozenset()) -> Image | None:
    """The image, or None when there are findings. Anything else is a defect."""
    try:
        return read(arch, data, low=("percpu",)).image(features)
    except Findings as error:
        sentence(error)
        return None


def test_cut_anywhere(arch: Arch) -> None:
    whole = outcome(arch, EVERYTHING)
    assert whole is not None
    for length in range(0, len(EVERYTHING), 7):
        assert outcome(arch, EVERYTHING[:length]) is None


VALUES = [0, 1, 2, 3, 7, 24, 63, 4096, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, 1 << 40, 1 << 62, 1 << 63, MASK - 15, MASK]


def test_hostile_headers(arch: Arch) -> None:
    begin = time.process_time()
    names = (".text", ".entry.text", ".rela.entry.text", ".symtab", ".strtab", ".shstrtab", ".altinstructions", ".altinstr_replacement", "__ex_table")
    for name, field, value in product(names, FIELDS, VALUES):
        if value < 1 << (8 * struct.calcsize(FIELDS[field][1])):
            outcome(arch, with_section(EVERYTHING, name, **{field: value}))
    for (offset, form), value in product(((16, "<H"), (18, "<H"), (20, "<I"), (32, "<Q"), (40, "<Q"), (52, "<H"), (54, "<H"), (56, "<H"), (58, "<H"),
                                          (60, "<H"), (62, "<H")), VALUES):
        if value < 1 << (8 * struct.calcsize(form)):
            outcome(arch, with_bytes(EVERYTHING, offset, form, value))
    assert time.process_time() - begin < 30


def timed(arch: Arch, data: bytes, seconds: float = 4, memory: int = 64) -> None:
    """It ends soon, and does not take much more memory (MiB) than the file."""
    tracemalloc.start()
    begin = time.process_time()
    try:
        outcome(arch, data, frozenset({A}))
        assert time.process_time() - begin < seconds
        assert tracemalloc.get_traced_memory()[1] < memory << 20
    finally:
        tracemalloc.stop()


def test_large_sections_that_the_file_does_not_hold(arch: Arch) -> None:
    data = made(START + "\t.bss\n\t.skip 8\n")
    for size in (1 << 27, 400 << 20, 1 << 40, 1 << 63):
        timed(arch, with_section(data, ".bss", size=size))
    timed(arch, with_section(data, ".strtab", type=8, size=1 << 34))
    timed(arch, with_section(data, ".shstrtab", type=8, size=1 << 34))
    assert len(read(arch, with_section(data, ".bss", size=1 << 27)).segments) == 1


def test_an_object_that_is_too_large(arch: Arch) -> None:
    refused(arch, "E412", "0.o is too large to be put where code goes", with_section(made(START + "\t.bss\n\t.skip 8\n"), ".bss", size=300 << 20))


def test_the_end_of_the_address_space(arch: Arch) -> None:
    text = alternatives("\tcld\n\t.skip 4, 0x90", ("\tjmp start", A, 0)) + FIXED.removeprefix(START)
    data = made(text, link=("-Ttext", "0xfffffffffffff000", "-e", "start", "-z", "noseparate-code", "--section-start=.entry.text=0xfffffffffffffff8"))
    outcome(arch, data, frozenset({A}))
    image = outcome(arch, made(text, link=("-Ttext", "0xfffffffffffff000", "-e", "start", "--section-start=.altinstr_replacement=0xffffffffffffe000",
                                           "--section-start=.altinstructions=0xffffffffffff0000", "--section-start=.entry.text=0xffffffffffffff00")),
                    frozenset({A}))
    assert image is not None
    assert at(image, "site", 5).hex() == "e9" + ((image.symbols["start"] - image.symbols["site"] - 5) & 0xFFFFFFFF).to_bytes(4, "little").hex()
    assert all(0 <= a <= MASK and 0 <= b <= MASK for a, b in image.fixups)


def test_a_compressed_section(arch: Arch) -> None:
    """Some hundred bytes can become gigabytes."""
    packer = zlib.compressobj()
    packed = b"".join(packer.compress(bytes(1 << 20)) for _ in range(256)) + packer.flush()
    data = with_section(PLAIN, ".text", flags=0x806, offset=len(PLAIN), size=24 + len(packed)) + struct.pack("<IIQQ", 1, 0, 256 << 20, 1) + packed
    refused(arch, "E410", r"section \.text is compressed", data)
    timed(arch, data)


def test_headers_of_no_size(arch: Arch) -> None:
    """All headers would be the same one, as often as the file says."""
    first = struct.unpack_from(HEADER, PLAIN)[6]
    many = with_bytes(with_bytes(with_bytes(PLAIN, 58, "<H", 0), 60, "<H", 0), first + 32, "<Q", 1 << 40)
    timed(arch, many)
    timed(arch, with_bytes(PLAIN, 58, "<H", 0))
    timed(arch, with_bytes(with_bytes(PLAIN, 58, "<H", 0), 60, "<H", 0xFFFF))
    timed(arch, with_bytes(with_bytes(LINKED, 54, "<H", 0), 56, "<H", 0xFFFE))
    timed(arch, with_bytes(with_bytes(LINKED, 54, "<H", 0), 56, "<H", 0xFFFF))


def test_names_as_long_as_the_file(arch: Arch) -> None:
    """Each of many symbols, or sections, with a name that all others end."""
    count, long = 5000, 200_000
    rows = struct.pack(SYMBOL, 0, 0, 0, 0, 0, 0) + b"".join(struct.pack(SYMBOL, 1 + i, 0x10, 0, 1, 0, 0) for i in range(count))
    strings = b"\0" + b"a" * long + b"\0"
    data = with_section(PLAIN, ".symtab", offset=len(PLAIN), size=len(rows))
    timed(arch, with_section(data, ".strtab", offset=len(PLAIN) + len(rows), size=len(strings)) + rows + strings)
    header = struct.unpack_from(HEADER, PLAIN)
    table = PLAIN[header[6]:] + b"".join(struct.pack(SECTION, 1 + i, 1, 2, 0, 64, 1, 0, 0, 1, 0) for i in range(count))
    more = with_section(PLAIN, ".shstrtab", offset=len(PLAIN), size=len(strings))
    table = more[header[6]:header[6] + 64 * header[12]] + table[64 * header[12]:]
    data = with_bytes(with_bytes(more, 40, "<Q", len(PLAIN) + len(strings)), 60, "<H", header[12] + count) + strings + table
    timed(arch, data)


def test_many_rows_for_one_place(arch: Arch) -> None:
    count = 4000
    text = row() + "".join(f"\t.long site - .\n\t.long repl0 - .\n\t.word {B}, 0\n\t.byte 2, 0\n" for _ in range(count))
    timed(arch, made(text), 8)


# ---- alternatives ----

ROW = {"6.12": "\t.long {0} - .\n\t.long {1} - .\n\t.word {2}\n\t.word {3}\n\t.byte {4}, {5}\n",
       "6.1": "\t.long {0} - .\n\t.long {1} - .\n\t.word {2} | ({3} << 15)\n\t.byte {4}, {5}\n"}
A, B, C = 7 * 32 + 11, 3 * 32 + 21, 20 * 32 + 4


def alternatives(old: str, *rows: tuple[str, int, int], layout: str = "6.12", behind: str = "", length: str = "site_end - site") -> str:
    """A site with replacements. Each row: its text, the feature, flags."""
    out = START + '\t.skip 0x100, 0x90\n\t.section .entry.text, "ax"\n\t.globl site, site_end\nsite:\n' + old + "\nsite_end:\n" + behind + "\n\tint3\n"
    for index, (text, feature, flags) in enumerate(rows):
        out += f'\t.section .altinstr_replacement, "ax"\nrepl{index}:\n{text}\nrepl{index}_end:\n'
        out += '\t.section .altinstructions, "a"\n'
        out += ROW[layout].format("site", f"repl{index}", feature, flags, length, f"repl{index}_end - repl{index}")
    # what lies behind is far from the sites, as in a kernel
    return out + '\t.section .altinstr_replacement, "ax"\n\t.skip 0x10, 0x90\n'


def site(arch: Arch, text: str, features: set[int], size: int | None = None) -> str:
    """The site's bytes after boot."""
    image = read(arch, text, low=("percpu",)).image(frozenset(features))
    start, end = image.symbols["site"], image.symbols["site_end"]
    return at(image, start, size or end - start).hex()


def distance(arch: Arch, text: str, target: str, behind: int, size: int = 4) -> str:
    """The displacement from so many bytes behind the site's start to a symbol."""
    symbols = read(arch, text, low=("percpu",)).symbols
    return ((symbols[target] - symbols["site"] - behind) & ((1 << 8 * size) - 1)).to_bytes(size, "little").hex()


def start_of(arch: Arch, text: str) -> int:
    """Where the first replacement is."""
    return min(read(arch, text, low=("percpu",)).spare)


@pytest.mark.parametrize("layout", ["6.12", "6.1"])
def test_features_and_not(arch: Arch, layout: str) -> None:
    plain = alternatives("\tcld\n\tcld\n\tcld", ("\tstd\n\tstd\n\tstd", A, 0), layout=layout)
    inverted = alternatives("\tcld\n\tcld\n\tcld", ("\tstd\n\tstd\n\tstd", A, 1), layout=layout)
    assert site(arch, plain, set()) == site(arch, plain, {B}) == "fcfcfc"
    assert site(arch, plain, {A}) == site(arch, plain, {A, B}) == "fdfdfd"
    assert site(arch, inverted, set()) == site(arch, inverted, {B}) == "fdfdfd"
    assert site(arch, inverted, {A}) == site(arch, inverted, {A, B}) == "fcfcfc"
    image = read(arch, inverted).image(frozenset({B}))
    assert image.sites == ((image.symbols["site"], 3, "feature 7:11 is off"),)
    assert image.notes == ("alternatives: applied, 1 of 1 places replaced",)
    assert read(arch, inverted).image(frozenset({A})).notes == ("alternatives: applied, 0 of 1 places replaced",)


def test_the_code_is_not_changed_before_it_is_asked_for(arch: Arch) -> None:
    """One object gives an image for each configuration."""
    binary = read(arch, alternatives("\tcld\n\tcld", ("\tstd\n\tstd", A, 0)))
    assert [at(binary.image(frozenset(f)), "site", 2).hex() for f in ((), (A,), ())] == ["fcfc", "fdfd", "fcfc"]
    assert at(binary, "site", 2).hex() == "fcfc"


def test_later_rows_win(arch: Arch) -> None:
    text = alternatives("\tcld\n\tcld", ("\tstd\n\tstd", A, 0), ("\tcli\n\tcli", B, 0))
    assert site(arch, text, {A}) == "fdfd"
    assert site(arch, text, {B}) == site(arch, text, {A, B}) == "fafa"
    assert site(arch, text, set()) == "fcfc"


def test_nested_rows_take_the_longest_length(arch: Arch) -> None:
    """The inner row is about three bytes, the outer about eight: both fill eight."""
    text = START + '''\t.section .entry.text, "ax"
\t.globl site, site_end
site:
\tcld
\tcld
\tcld
inner:
\tcld
\tcld
\tcld
\tcld
\tcld
site_end:
\tint3
\t.section .altinstr_replacement, "ax"
repl0:
\tstd
repl1:
\tcli
\tcli
repl2:
''' + '\t.section .altinstructions, "a"\n'
    short, long = ROW["6.12"].format("site", "repl0", A, 0, 3, 1), ROW["6.12"].format("site", "repl1", B, 0, 8, 2)
    for rows in (short + long, long + short):
        assert site(arch, text + rows, {A}) == "fd" + NOPS[7]
        assert site(arch, text + rows, {B}) == "fafa" + NOPS[6]
        assert site(arch, text + rows, set()) == "fc" * 8
    assert site(arch, text + short + long, {A, B}) == "fafa" + NOPS[6]
    assert site(arch, text + long + short, {A, B}) == "fd" + NOPS[7]
    # rows in between, for another place: the lengths are their own
    apart = ROW["6.12"].format("inner", "repl1", C, 0, 2, 1)
    assert site(arch, text + short + apart + long, {A}) == "fd" + NOPS[2] + "fc" * 5
    assert site(arch, text + long + apart + short, {A}) == "fd" + NOPS[2] + "fc" * 5


CLOSE = '\t.globl close\nclose:\n\tret\n'
FAR = '\t.skip 0x400, 0x90\n' + CLOSE


@pytest.mark.parametrize(("line", "opcode", "size"), [("call target", "e8", 5), ("jmp target", "e9", 5), ("jz target", "0f84", 6), ("jnc target", "0f83", 6)])
@pytest.mark.parametrize("target", ["nowhere", "start", "close"])
def test_branches_out_of_a_replacement(arch: Arch, line: str, opcode: str, size: int, target: str) -> None:
    text = alternatives(f"\t.skip {size}, 0x90", ("\t" + line.replace("target", target), A, 0), behind=FAR)
    assert site(arch, text, {A}) == opcode + distance(arch, text, target, size)
    assert site(arch, text, set()) == NOPS[size] if size > 1 else "90"


def test_a_branch_behind_others(arch: Arch) -> None:
    """The displacement counts from the branch's own place."""
    text = alternatives("\t.skip 13, 0x90", ("\tlfence\n\tcall nowhere\n\tcall start", A, 0))
    assert site(arch, text, {A}) == "0faee8e8" + distance(arch, text, "nowhere", 8) + "e8" + distance(arch, text, "start", 13)


@pytest.mark.parametrize("reach", [-129, -128, -127, -3, 0, 3, 126, 127, 128])
def test_a_jump_becomes_short_where_it_reaches(arch: Arch, reach: int) -> None:
    """From the end of the short form, a signed byte. What is left over is padding."""
    jump = f"\t.byte 0xe9\n\t.long site + 2 + {reach} - (. + 4)"
    text = alternatives("\t.skip 5, 0x90", (jump, A, 0))
    text = text.replace('.section .entry.text, "ax"\n', '.section .entry.text, "ax"\n\t.skip 0x100, 0x90\n')
    short = "eb" + (reach & 0xFF).to_bytes(1, "little").hex() + "cccccc"
    long = "e9" + ((reach - 3) & 0xFFFFFFFF).to_bytes(4, "little").hex()
    assert site(arch, text, {A}) == (short if -128 <= reach < 128 else long)


def test_a_short_jump_and_its_padding_between_others(arch: Arch) -> None:
    text = alternatives("\t.skip 9, 0x90", ("\tlfence\n\tjmp close", A, 0), behind=CLOSE)
    assert site(arch, text, {A}) == "0faee8" + "eb" + "04" + "cccccc" + "90"


def test_branches_inside_of_a_replacement(arch: Arch) -> None:
    """They are copied as they are, also those to exactly its end."""
    inner = "\tjz 1f\n\tcld\n1:\tstd\n\tjmp 2f\n\tcli\n2:"
    text = alternatives("\t.skip 7, 0x90", (inner, A, 0))
    assert site(arch, text, {A}) == "7401" "fc" "fd" "eb01" "fa"
    back = "1:\tcld\n\tjnz 1b"
    assert site(arch, alternatives("\t.skip 3, 0x90", (back, A, 0)), {A}) == "fc75fd"
    for end, expected in ((0, "e900000000"), (-1, "e9ffffffff"), (-5, "e9fbffffff")):
        jump = f"\t.byte 0xe9\n\t.long {end}"
        assert site(arch, alternatives("\t.skip 5, 0x90", (jump, A, 0)), {A}) == expected
    # one byte further, it leaves: the same displacement would lead elsewhere
    jump = "\t.byte 0xe9\n\t.long 1"
    text = alternatives("\t.skip 5, 0x90", (jump, A, 0))
    away = (start_of(arch, text) + 6 - read(arch, text).symbols["site"] - 5) & 0xFFFFFFFF
    assert site(arch, text, {A}) == ("eb" + bytes([away + 3]).hex() + "cccccc" if away + 3 < 128 else "e9" + away.to_bytes(4, "little").hex())


def test_operands_relative_to_the_instruction(arch: Arch) -> None:
    for line, before in (("movq nowhere(%rip), %rax", "488b05"), ("verw start(%rip)", "0f002d"), ("leaq close(%rip), %rdi", "488d3d"),
                         ("movq %gs:percpu(%rip), %rsp", "65488b25"), ("cmpb $3, nowhere(%rip)", "803d"), ("movq $7, nowhere(%rip)", "48c705"),
                         ("jmp *nowhere(%rip)", "ff25"), ("call *nowhere(%rip)", "ff15")):
        tail = {"cmpb": "03", "movq $": "07000000"}.get(line[:6] if "$" in line and line[0] == "m" else line[:4], "")
        size = len(before) // 2 + 4 + len(tail) // 2
        text = alternatives(f"\t.skip {size}, 0x90", ("\t" + line, A, 0), behind=FAR)
        target = next(n for n in ("nowhere", "start", "close", "percpu") if n in line)
        assert site(arch, text, {A}) == before + distance(arch, text, target, size) + tail, line


def test_operands_that_are_not_relative(arch: Arch) -> None:
    for line in ("movq $0x1234, %rax", "movq %gs:0x20, %rax", "movl $0x1000, %eax", "movabsq $0x1122334455667788, %rax", "testb $3, 8(%rsp)",
                 "jmp *%rax", "movq %cr3, %rax", "wrmsr", "swapgs"):
        text = alternatives("\t.skip repl0_end - repl0, 0x90", ("\t" + line, A, 0))
        plain = made("\t.text\n\t" + line + "\n")
        row = section(plain, ".text")[1]
        assert site(arch, text, {A}) == plain[row[4]:row[4] + row[5]].hex(), line


@pytest.mark.parametrize("length", [*range(1, 14), 20, 126, 127, 128, 129, 200, 254])
def test_padding(arch: Arch, length: int) -> None:
    """A run of single NOPs; more than the longest NOP is a jump over padding."""
    if length <= 11:
        expected = NOPS[length]
    elif length < 128:
        expected = "eb" + bytes([length - 2]).hex() + "cc" * (length - 2)
    else:
        expected = "e9" + (length - 5).to_bytes(4, "little").hex() + "cc" * (length - 5)
    empty = alternatives(f"\t.skip {length}, 0x90", ("", A, 0))
    assert site(arch, empty, {A}) == site(arch, empty, set()) == expected
    if length < 254:
        one = alternatives(f"\tcld\n\t.skip {length}, 0x90", ("\tstd", A, 0))
        assert site(arch, one, {A}) == "fd" + expected
        assert site(arch, one, set()) == "fc" + expected
        around = alternatives(f"\t.skip {length}, 0x90\n\tcld", ("", B, 0))
        assert site(arch, around, set()) == expected + "fc"


def test_which_nops_are_joined(arch: Arch) -> None:
    for old, expected in (
        ("\tnop\n\tcld\n\tnop\n\tnop\n\tcld\n\tnop", "90" "fc" + NOPS[2] + "fc" "90"),
        ("\tnop\n\t.byte 0x66, 0x90\n\t.byte 0x0f, 0x1f, 0x00", NOPS[6]),
        ("\t.byte 0x0f, 0x1f, 0x00", NOPS[3]),
        ("\tpause\n\tnop\n\tnop", "f390" + NOPS[2]),            # REP NOP is not one
        ("\tnop\n\tnop\n\tendbr64", NOPS[2] + "f30f1efa"),
        ("\tnop\n\t.byte 0x66, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0", NOPS[10]),     # NOPL in another form
        ("\t.byte 0x0f, 0x1f, 0x40, 0x08\n\tnop", NOPS[5]),
        ("\tnop\n\t.byte 0x66, 0x66, 0x66, 0x90", NOPS[5]),
    ):
        text = alternatives(old, ("", A, 0))
        assert site(arch, text, set()) == expected, old


def test_a_direct_call_is_noted(arch: Arch) -> None:
    text = alternatives("\tcall *nowhere(%rip)", ("\tcall nowhere2", A, 2))
    for features, direct in (({A}, True), (set(), False)):
        image = read(arch, text).image(frozenset(features))
        assert image.sites == ()
        assert image.notes == ("alternatives: applied, 0 of 1 places replaced" + ", 1 direct calls not modelled" * direct,)
        assert at(image, "site", 2).hex() == "ff15"


def row(first: str = "site", second: str = "repl0", length: str = "2", replaced: str = "1", layout: str = "6.12") -> str:
    head = START + '\t.section .entry.text, "ax"\n\t.globl site, site_end\nsite:\n\tcld\n\tcld\nsite_end:\n'
    head += '\t.section .altinstr_replacement, "ax"\nrepl0:\n\tstd\n\tstd\n\tstd\n'
    return head + '\t.section .altinstructions, "a"\n' + ROW[layout].format(first, second, A, 0, length, replaced)


@pytest.mark.parametrize("layout", ROW)
def test_rows_that_make_no_sense(arch: Arch, layout: str) -> None:
    assert site(arch, row(layout=layout), {A}) == "fd90"
    for bad in (row("site + 0x10000", layout=layout), row("site - 0x100", layout=layout), row("site_end", layout=layout), row("site + 1", layout=layout),
                row(second="repl0 + 4", layout=layout), row(second="repl0 - 0x1000000", layout=layout), row(length="3", layout=layout),
                row(length="255", layout=layout), row(length="0", layout=layout), row(replaced="3", layout=layout), row(replaced="255", layout=layout),
                row(second="repl0 + 2", replaced="2", layout=layout), row(layout=layout) + "\t.byte 0\n", row(layout=layout) + "\t.skip 11\n"):
        refused(arch, "E417", r"\.altinstructions cannot be read: no layout that entryc knows fits its rows$", bad, image=True)


def test_a_site_longer_than_the_kernel_takes(arch: Arch) -> None:
    """MAX_PATCH_LEN is 254: a kernel with such a row does not boot."""
    refused(arch, "E417", "cannot be read", alternatives("\t.skip 255, 0x90", ("\tstd", A, 0)), image=True)


def test_an_object_without_code_for_the_table(arch: Arch) -> None:
    data = '\t.data\nhere:\n\t.quad 0\n'
    text = row("here", "repl0", "2", "1") + data
    refused(arch, "E417", "cannot be read", text, image=True)


def test_a_replacement_that_is_patched_itself(arch: Arch) -> None:
    """The kernel copies what is there: a row for the replacement counts when it comes before the row that copies it."""
    text = START + '''\t.section .entry.text, "ax"
\t.globl site, site_end
site:
\tcld
\tcld
site_end:
\t.section .altinstr_replacement, "ax"
outer:
\tstd
\tstd
inner:
\tcli
\t.section .altinstructions, "a"
'''
    within, around = ROW["6.12"].format("outer + 1", "inner", A, 0, 1, 1), ROW["6.12"].format("site", "outer", A, 0, 2, 2)
    assert site(arch, text + within + around, {A}) == "fdfa"
    assert site(arch, text + around + within, {A}) == "fdfd"


def test_two_objects_with_tables(arch: Arch) -> None:
    one = alternatives("\tcld\n\tcld", ("\tstd\n\tstd", A, 0))
    two = one.replace("site", "place").replace("start", "start2").replace("std", "cli")
    image = read(arch, one, two).image(frozenset({A}))
    assert at(image, "site", 2).hex() == "fdfd" and at(image, "place", 2).hex() == "fafa"
    assert image.notes == ("alternatives: applied, 2 of 2 places replaced",)


# ---- exception tables and other patchers ----

FIXED = START + '''1:\tmovq (%rax), %rax
\tret
2:\twrmsr
\tret
\t.globl one, two, three, four
\t.set one, 1b
\t.set two, 2b
three:
\tret
four:
\tret
\t.section __ex_table, "a"
\t.long 2b - .
\t.long three - .
\t.long 11
\t.long 1b - .
\t.long four - .
\t.long 0
'''


def test_exception_table(arch: Arch) -> None:
    binary = read(arch, FIXED)
    s = binary.symbols
    assert binary.image().fixups == ((s["one"], s["three"] - (s["three"] - s["four"])), (s["two"], s["three"]))
    linked = read(arch, made(FIXED, link=("-Ttext", "0x100000", "-e", "start")))
    s = linked.symbols
    assert s["start"] == 0x100000
    assert linked.image().fixups == ((s["one"], s["four"]), (s["two"], s["three"]))


def test_a_cut_off_exception_table(arch: Arch) -> None:
    refused(arch, "E410", "__ex_table is cut off", FIXED + "\t.long 0\n", image=True)


def test_other_patchers_are_named(arch: Arch) -> None:
    for name, what in PATCHERS.items():
        text = START + f'1:\tret\n\t.section {name}, "a"\n\t.long 1b - .\n'
        expected = (f"{what} ({name}): not modelled, the code is taken as it was linked",)
        assert read(arch, text).image().notes == expected
        assert read(arch, made(text, link=("-Ttext", "0x100000", "-e", "start"))).image().notes == expected
    assert read(arch, START).image().notes == ()
    assert read(arch, START + '\t.section .return_sites, "a"\n').image().notes == ()
    assert {".return_sites", ".retpoline_sites", ".call_sites", ".static_call_sites", "__jump_table"} <= set(PATCHERS)


# ---- everything, damaged ----

def everything() -> str:
    text = alternatives("\tcall nowhere\n\tnop\n\tnop", ("\tcall start", A, 0), ("\tverw start(%rip)", B, 1), ("\tjmp close", C, 0), behind=CLOSE)
    text += '\t.section .entry.text, "ax"\n' + "".join(k[0].replace("S", "percpu") for k in KINDS.values()) + "\t.weak perhaps\n\tcall perhaps\n"
    text += FIXED.removeprefix(START)
    return text + '\t.section .return_sites, "a"\n\t.long start - .\n\t.section .notes\n\t.quad start\n'


EVERYTHING = made(everything().replace('.quad start', '.quad 0'))
LINKED = made(alternatives("\tcld\n\tnop\n\tnop\n\tnop\n\tnop", ("\tjmp start", A, 0)) + FIXED.removeprefix(START),
              link=("-Ttext", "0x100000", "-e", "start", "-z", "noseparate-code"))


@pytest.mark.parametrize(("name", "count", "seed"), [("object", 400, 1), ("linked", 200, 2)])
def test_damaged_anywhere(arch: Arch, name: str, count: int, seed: int) -> None:
    whole, chance = EVERYTHING if name == "object" else LINKED, random.Random(seed)
    assert outcome(arch, whole, frozenset({A, C})) is not None
    begin, same = time.process_time(), 0
    for _ in range(count):
        data = bytearray(whole)
        data[chance.randrange(len(data))] ^= chance.randrange(1, 256)
        same += outcome(arch, bytes(data), frozenset({A, C})) is not None
    assert 0 < same < count
    assert time.process_time() - begin < 12.5
