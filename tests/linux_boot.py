"""Boots a Linux kernel with one static program as its init, in an emulator that counts instructions; gives what the program wrote."""

from __future__ import annotations

import subprocess
from pathlib import Path

BARE32 = ("-m32", "-nostdlib", "-ffreestanding", "-fno-stack-protector", "-fno-pie", "-no-pie")
SECONDS = 300                                   # a machine that hangs, not one that is slow
TROUBLE = ("WARNING:", "BUG:", "Oops", "Kernel panic", "general protection", "RCU", "INFO:", "Call Trace")
# What a CPU model that lacks a microcode update makes the kernel say at boot.
EXPECTED = ("RETBleed: WARNING", "Speculative Return Stack Overflow: WARNING", "Register File Data Sampling")
# What RCU says of itself at boot begins so; what begins as the second one is a stall.
OF_ITSELF, STALL = "rcu: ", "rcu: INFO:"


def initramfs(out: Path, programs: dict[str, Path]) -> Path:
    """A cpio archive (newc) with a console and these programs in it."""
    data = bytearray()

    def entry(name: str, mode: int, content: bytes = b"", device: tuple[int, int] = (0, 0)) -> None:
        fields = (0, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(name) + 1, 0)
        data.extend(b"070701" + b"".join(b"%08x" % f for f in fields) + name.encode() + b"\0")
        data.extend(bytes(-len(data) % 4) + content)
        data.extend(bytes(-len(data) % 4))

    for folder in ("dev", "proc", "sys", *sorted({str(Path(name).parent) for name in programs if "/" in name})):
        entry(folder, 0o40755)
    entry("dev/console", 0o20600, device=(5, 1))
    for name, path in programs.items():
        entry(name, 0o100755, path.read_bytes())
    entry("TRAILER!!!", 0)
    out.write_bytes(bytes(data))
    return out


def compiled(folder: Path, source: Path) -> Path:
    """A static program; one whose name ends in 32 is of 32 bits and has no library."""
    out = folder / source.stem
    more = BARE32 if source.stem.endswith("32") else ()
    done = subprocess.run(["gcc", "-O2", "-Wall", "-Werror", "-static", *more, "-o", str(out), str(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


def booted(kernel: Path, archive: Path, cpu: str, append: str = "", cpus: int = 1, memory: int = 256, seconds: int = SECONDS,
           second: Path | None = None) -> list[str]:
    """What the machine wrote, line by line, until it restarts. With one CPU, its time stamp counter counts instructions. `second`: a file for what
    goes to its second serial port, where the kernel does not write in between."""
    ports = ["-serial", "mon:stdio", "-serial", f"file:{second}"] if second is not None else []
    counting = ["-icount", "shift=0,sleep=off"] if cpus == 1 else ["-smp", str(cpus)]
    done = subprocess.run(["qemu-system-x86_64", "-accel", "tcg", "-cpu", cpu, *counting, "-m", str(memory), "-nographic", "-no-reboot", "-nic", "none", *ports,
                           "-kernel", str(kernel), "-initrd", str(archive), "-append", f"console=ttyS0 panic=-1 {append}"],
                          capture_output=True, check=False, timeout=seconds, stdin=subprocess.DEVNULL)
    return [line.strip("\r") for line in done.stdout.decode("utf-8", "replace").split("\n")]


def trouble(lines: list[str]) -> list[str]:
    """Lines in which the kernel complains."""
    return [line for line in lines if any(t in line for t in TROUBLE) and not any(e in line for e in EXPECTED) and (OF_ITSELF not in line or STALL in line)]


def values(lines: list[str], word: str) -> dict[str, int]:
    """Lines `WORD name number` of the program."""
    return {name: int(number) for first, name, number in (row for row in (line.split() for line in lines) if len(row) == 3) if first == word}
