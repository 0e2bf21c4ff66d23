"""The code that runs is the code that is proved: .entry.text, read from the memory of a running kernel, has the bytes that the proof works on."""

from __future__ import annotations

import re
import selectors
import socket
import struct
import subprocess
import time
from functools import lru_cache
from pathlib import Path

import linux_boot as L
import pytest
from conftest import ROOT, SPECS, kernel, kernel_source
from entryc.image.elf import Binary, read_binary
from entryc.model.build import load_spec

# With page-table isolation and without, of both vendors, with return thunks.
MODELS = (("max", ""), ("max,-smap", "pti=on"), ("qemu64", ""), ("EPYC", ""), ("Skylake-Server", ""))
KERNEL_MAP = 0xffffffff80000000                 # __START_KERNEL_map: the kernel is not relocated
SECONDS = 120                                   # a machine that hangs, not one that is slow
NEAR = 512                                      # bytes of boot_cpu_data in which its capability words begin
WORDS = 24                                      # NCAPINTS + NBUGINTS of 6.12: what a CPU has, and what is wrong with it
PLAIN = b"\xc3\xcc\xcc\xcc\xcc"                # a return, and stops
JUMP = b"\xe9"
UPPER_HALF = 0x20                               # of a cache line: a return there is safe from indirect target selection
SEALED = b"\x66\x0f\x1f\x00"                    # in place of an ENDBR that nothing jumps to: gen_endbr_poison()


@lru_cache(maxsize=1)
def binary() -> Binary:
    return read_binary(load_spec(SPECS / "linux" / "x86_64.entry").arch, [kernel("patched-6.12") / "vmlinux"])


def section(name: str) -> tuple[int, bytes]:
    """Address and contents of a section of the linked kernel."""
    from elftools.elf.elffile import ELFFile
    with (kernel("patched-6.12") / "vmlinux").open("rb") as file:
        found = ELFFile(file).get_section_by_name(name)
        return int(found["sh_addr"]), bytes(found.data())


class Machine:
    """A running guest, its console and its monitor."""

    def __init__(self, folder: Path, model: str, append: str) -> None:
        init = L.initramfs(folder / "init.cpio", {"init": L.compiled(folder, ROOT / "tests" / "linux" / "waits.c")})
        self.folder = folder
        self.process = subprocess.Popen(
            ["qemu-system-x86_64", "-accel", "tcg", "-cpu", model, "-m", "256", "-display", "none", "-serial", "stdio", "-no-reboot", "-nic", "none",
             "-monitor", f"unix:{folder}/monitor,server=on,wait=off", "-kernel", str(kernel("patched-6.12") / "bzImage"), "-initrd", str(init),
             "-append", f"console=ttyS0 panic=-1 {append}"], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)

    def said(self, word: str) -> str:
        """The console up to a line that begins with a word."""
        assert self.process.stdout is not None
        text, limit = "", time.monotonic() + SECONDS
        with selectors.DefaultSelector() as waiting:
            waiting.register(self.process.stdout, selectors.EVENT_READ)
            while not re.search(rf"(?m)^{word}", text):
                assert waiting.select(limit - time.monotonic()), text[-2000:]
                piece = self.process.stdout.read1(65536)        # type: ignore[attr-defined]
                assert piece, text[-2000:]
                text += piece.decode("utf-8", "replace")
        return text

    def memory(self, address: int, size: int) -> bytes:
        """What lies at an address of the kernel's own mapping."""
        out = self.folder / "memory"
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.settimeout(SECONDS)
            monitor.connect(f"{self.folder}/monitor")
            prompts = b""
            monitor.sendall(f'pmemsave {address - KERNEL_MAP:#x} {size} "{out}"\n'.encode())
            while prompts.count(b"(qemu)") < 2:
                prompts += monitor.recv(4096)
        return out.read_bytes()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def features(flags: set[str], data: bytes) -> frozenset[int]:
    """The features that the kernel found: its capability words stand where all that it names in /proc/cpuinfo are set."""
    rows = re.findall(r"(?m)^#define X86_FEATURE_(\w+)\s+\(\s*(\d+)\*32\+\s*(\d+)\)(?:\s*/\*\s*\"(\w*)\")?",
                      (kernel_source("6.12") / "arch/x86/include/asm/cpufeatures.h").read_text())
    numbers = {(shown or name).lower(): int(word) * 32 + int(bit) for name, word, bit, shown in rows}
    wanted = {numbers[f] for f in flags if f in numbers}
    assert len(wanted) > 20, flags
    places = []
    for at in range(0, NEAR, 4):
        words = struct.unpack_from(f"<{WORDS}I", data, at)
        on = frozenset(word * 32 + bit for word, value in enumerate(words) for bit in range(32) if value >> bit & 1)
        if wanted <= on:
            places.append(on)
    assert len(places) == 1, len(places)
    return places[0]


def listed(name: str, start: int, end: int) -> list[int]:
    """Addresses between two, from a section of offsets relative to themselves."""
    table, offsets = section(name)
    places = [table + at + offset for at, (offset,) in zip(range(0, len(offsets), 4), struct.iter_unpack("<i", offsets), strict=True)]
    return [p for p in places if start <= p < end]


def returning(thunk: str | None, place: int) -> bytes:
    """A return at a place, when all go to this thunk: cpu_wants_rethunk_at() of alternative.c."""
    if thunk is None or (thunk == "its_return_thunk" and place & UPPER_HALF):
        return PLAIN
    return JUMP + (binary().symbols[thunk] - place - 5).to_bytes(4, "little", signed=True)


@pytest.mark.parametrize(("model", "append"), MODELS)
def test_same_bytes(model: str, append: str, tmp_path: Path) -> None:
    """Alternatives are applied as the proof applies them; ENDBRs that nothing jumps to are sealed; all returns go one way."""
    symbols = binary().symbols
    start, end = symbols["__entry_text_start"], symbols["__entry_text_end"]
    machine = Machine(tmp_path, model, append)
    try:
        text = machine.said("READY")
        running = machine.memory(start, end - start)
        found = features(set(re.search(r"(?m)^HAS (.*)$", text)[1].split()), machine.memory(symbols["boot_cpu_data"], NEAR + 4 * WORDS))     # type: ignore[index]
    finally:
        machine.end()
    image = binary().image(found)
    data = next(data[start - at:end - at] for at, data in image.segments if at <= start < at + len(data))
    expected = bytearray(data)
    for place in listed(".ibt_endbr_seal", start, end):
        expected[place - start:place - start + 4] = SEALED
    returns = listed(".return_sites", start, end)
    thunks = [None, *(name for name in symbols if name.endswith("return_thunk"))]
    chosen = [t for t in thunks if all(running[p - start:p - start + 5] == returning(t, p) for p in returns)]
    assert len(chosen) == 1, [f"{p:#x}: {running[p - start:p - start + 5].hex()}" for p in returns]
    for place in returns:
        expected[place - start:place - start + 5] = returning(chosen[0], place)
    different = [f"{start + i:#x}: {a:#04x}, runs {b:#04x}" for i, (a, b) in enumerate(zip(expected, running, strict=True)) if a != b]
    assert not different, different[:40]
    assert len([s for s in image.sites if start <= s[0] < end]) > 3
