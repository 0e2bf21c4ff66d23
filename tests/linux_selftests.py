"""The kernel's own tests of its entry code, tools/testing/selftests/x86, on two kernels, and what differs."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import linux_boot as L

PROGRAMS = {"6.12": 48, "6.1": 44}             # of each kernel
SECONDS = 2400                                  # a machine that hangs, not one that is slow
NUMBERS = re.compile(r"(0x)+[0-9a-f]+|\b[0-9a-f]{6,}\b|\d+")
KILLED = "ended with 9"                         # for time
ENDINGS = {KILLED, "ended with 0"}
# Traces a process through more system calls than an emulator may do in the time that a program has, on stock kernels, too.
SLOW = frozenset(("syscall_numbering_64",))
Results = dict[tuple[str, str], set[str]]


@dataclass(frozen=True)
class Compared:
    """What the second kernel does differently: answers by (round, program), complaints that the first one does not have; and what both say."""

    different: dict[str, list[str]]
    complaints: list[str]
    passed: int                                 # programs that ended well on the second one, in all rounds
    known: list[str]                            # bugs and vulnerabilities, as both kernels name them
    unstable: dict[str, list[str]]              # programs that say something else in each round on the first kernel: what
    shared: list[str]                           # complaints of both


def archive(folder: Path, tree: Path, version: str = "6.12") -> Path:
    """All programs of a kernel, of 64 and of 32 bits, as the kernel's Makefile makes them, without shared libraries."""
    programs = folder / "x86"
    programs.mkdir()
    done = subprocess.run(["make", "-C", str(tree / "tools" / "testing" / "selftests" / "x86"), "-j2", f"OUTPUT={programs}",
                           "CC=gcc -static -w -idirafter /usr/include/x86_64-linux-gnu", "all"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    init = L.compiled(folder, Path(__file__).parent / "linux" / "selftests.c")
    files = sorted(programs.iterdir())
    assert len(files) == PROGRAMS[version], [f.name for f in files]
    return L.initramfs(folder / "init.cpio", {"init": init, **{f"tests/{f.name}": f for f in files}})


def results(lines: Sequence[str]) -> Results:
    """What each program said in each round, numbers aside, and how it ended."""
    out: Results = {}
    for line in lines:
        found = re.match(r"(SAYS|ENDS) (\d+) (\S+) (.*)", line)
        if found is not None:
            kind, turn, name, text = found.groups()
            out.setdefault((turn, name), set()).add(NUMBERS.sub("#", text) if kind == "SAYS" else f"ended with {text}")
    return out


def differences(stock: Results, other: Results) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """By (round, program), what the second kernel's answers have and the first one's have not, or the other way round; and the programs that are
    unstable on the first kernel, which answer differently in its two rounds: of these, the second one may say what either round said."""
    different, unstable = {}, {}
    for turn, name in sorted(stock.keys() | other.keys()):
        rounds = [texts for (_, n), texts in stock.items() if n == name]
        if name in SLOW and any(KILLED in r for r in rounds):       # the stock kernel does not always get to its end: compared as far as it came
            unstable[name] = [KILLED]
            lines = other.get((turn, name), {"nothing"}) - set.union(*rounds) - ENDINGS
            if all(KILLED in r for r in rounds):                    # it never did: the other may come further, and say that all is well
                lines = {text for text in lines if not text.startswith(("[OK]", "[RUN]"))}
            if lines:
                different[f"{turn} {name}"] = sorted(lines)
            continue
        mine, found = stock.get((turn, name), set()), other.get((turn, name), set())
        if any(r != rounds[0] for r in rounds):
            unstable[name] = sorted(set.union(*rounds) - set.intersection(*rounds))
            lines = set.intersection(*rounds) - found | found - set.union(*rounds)
        else:
            lines = mine ^ found
        if lines:
            different[f"{turn} {name}"] = sorted(lines)
    return different, unstable


def complaints(lines: list[str]) -> set[str]:
    return {NUMBERS.sub("#", re.sub(r"^\[ *[\d.]+\] ", "", line)) for line in L.trouble(lines)}


def compare(kernels: Sequence[Path], init: Path, model: str, append: str, version: str = "6.12") -> Compared:
    """Boot both, side by side, with two CPUs each: tests that move between CPUs do. AssertionError when one does not come to the end."""
    said = [init.with_name(f"said.{index}") for index in range(2)]
    with ThreadPoolExecutor(2) as pool:
        consoles = list(pool.map(lambda kernel, file: L.booted(kernel, init, model, append, cpus=2, memory=512, seconds=SECONDS, second=file), kernels, said))
    stock, other = ([line.strip("\r") for line in file.read_text("utf-8", "replace").split("\n")] for file in said)
    for lines, console in zip((stock, other), consoles, strict=True):
        assert L.values(lines, "DONE") == {"programs": PROGRAMS[version]}, "\n".join([*lines[-10:], *console[-30:]])
    wanted, found = results(stock), results(other)
    assert len(found) == 2 * PROGRAMS[version]
    different, unstable = differences(wanted, found)
    known = [[line.removeprefix("KNOWS ") for line in lines if line.startswith("KNOWS ")] for lines in (stock, other)]
    if known[0] != known[1]:
        different["weaknesses"] = sorted(set(known[0]) ^ set(known[1]))
    ended = {turn: {name for (t, name), texts in found.items() if t == turn and "ended with 0" in texts} for turn in ("1", "2")}
    before, after = (complaints(console) for console in consoles)
    return Compared(different, sorted(after - before), len(ended["1"] & ended["2"]), known[1], unstable, sorted(after & before))
