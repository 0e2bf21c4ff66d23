"""Whole-process CPU times, side by side: run on a quiet machine; nothing here is a test.

    python benchmarks/bench.py [rounds]

Prints medians of user + system time, and ratios to gcc assembling the generated entry.S on the same machine.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SPEC = ROOT / "specs" / "x86_64-small.entry"
HEAD = 'language 1; arch x86_64; target bare; license "MIT"\n'
FRAME = "frame regs { gprs; vector = number else 0; error = error_code else 0; hardware }\n"


def cpu(command: list[str], environment: dict[str, str] | None = None) -> float:
    """User and system seconds of a command and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, **(environment or {})})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def median(command: list[str], rounds: int, environment: dict[str, str] | None = None) -> float:
    return statistics.median(cpu(command, environment) for _ in range(rounds))


def routines(count: int) -> str:
    """A spec with `count` entry points of its own: vectors, then routines that return to a frame."""
    vectors = min(count, 256)
    text = HEAD + FRAME + f"vectors 0..{vectors - 1} {{ df = 0; save regs; call trap(regs); restore all; return iretq }}\n"
    text += "exit out of regs to user { restore all; return iretq }\n" if count > vectors else ""
    return text + "".join(f"routine leave_{i}(regs) {{ sp = regs; exit out }}\n" for i in range(count - vectors))


def main() -> int:
    """Print the table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    entryc = [sys.executable, "-m", "entryc", "build", "-q"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        out = folder / "out"
        warm = [*entryc, "--prove", "none", str(SPEC), "-o", str(out)]
        cpu(warm)
        gcc = median(["gcc", "-c", "-o", str(folder / "entry.o"), str(out / "entry.S")], rounds)
        rows = [("gcc -c entry.S", gcc), ("build --prove none, warm", median(warm, rounds))]
        cold = {"XDG_CACHE_HOME": str(folder / "cache")}
        colds = []
        for index in range(max(1, rounds // 2)):
            cold["XDG_CACHE_HOME"] = str(folder / f"cache{index}")
            colds.append(cpu(warm, cold))
        rows.append(("build --prove none, first run ever", statistics.median(colds)))
        verify = [sys.executable, "-m", "entryc", "verify", "-q"]
        shipped = [SPEC, ROOT / "specs" / "arm64.entry", ROOT / "specs" / "unikernel.entry"]
        rows.append(("verify --fast, all configurations of the shipped specs", sum(median([*verify, "--fast", str(s)], max(1, rounds // 3)) for s in shipped)))
        bare = cpu([*verify, str(SPEC)])
        for count in (100, 200, 400):
            rows.append((f"verify --mutants {count}, without the proof itself", cpu([*verify, str(SPEC), "--mutants", str(count)]) - bare))
        rows.append(("build with assemblers and proofs", median([*entryc, str(SPEC), "-o", str(out)], max(1, rounds // 2))))
        whole = ROOT / "specs" / "x86_64.entry"
        compare = [sys.executable, "-m", "entryc", "diff", "-q"]
        rows.append(("check of the whole spec", median([sys.executable, "-m", "entryc", "check", "-q", str(whole)], rounds)))
        rows.append(("diff of the small spec and the whole one", median([*compare, str(SPEC), str(whole)], rounds)))
        rows.append(("diff of the whole spec with itself", median([*compare, str(whole), str(whole)], rounds)))
        for count in (10, 100, 1000):
            spec = folder / f"grow{count}.entry"
            spec.write_text(routines(count))
            command = [*entryc, "--prove", "none", str(spec), "-o", str(folder / f"g{count}")]
            rows.append((f"build --prove none, {count} entry points", median(command, max(1, rounds // 2))))
    print(f"{'what':40} {'CPU s':>7} {'to gcc':>7}")
    for what, seconds in rows:
        print(f"{what:56} {seconds:7.2f} {seconds / gcc:7.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
