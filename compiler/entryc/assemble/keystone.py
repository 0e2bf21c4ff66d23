"""Keystone behind guards. It reads decimals in the wrong radix, drops code silently and leaks settings between engines:

every call is a fresh child process, every number is hexadecimal, and no bytes are a failure.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..model.arch import Arch

SECONDS = 120
START = "entryc_flat_start"
DECIMAL = re.compile(r"(?<![\w.%])-?[0-9]+(?![\w:])")
FORBIDDEN = re.compile(r"^\s*\.(section|text|pushsection|popsection|size|include|align|inst)\b|^\s*[0-9]+:|\bj\w+\s+[0-9]+[bf]\b")
SEGMENT = re.compile(r"%[fg]s:-?0x[0-9a-f]+(?![0-9a-f(])")


@dataclass(frozen=True)
class Result:
    """Bytes, or why there are none. `tool` names what ran, with its version."""

    data: bytes | None
    error: str | None
    tool: str


def lint(lines: Sequence[str]) -> str | None:
    """Text that Keystone would assemble wrongly without saying so."""
    for line in lines:
        code = re.sub(r"/\*.*?\*/", "", line)
        if FORBIDDEN.search(code):
            return f"'{line.strip()}' is a directive or label that the engine mishandles"
        if SEGMENT.search(code):
            return f"'{line.strip()}' would become relative to the instruction pointer"
        for number in DECIMAL.findall(code):
            if not number.lstrip("-").startswith("0x"):
                return f"'{line.strip()}' has the decimal number {number}: the engine reads it in base 16"
    return None


def assemble(arch: Arch, lines: Sequence[str], base: int, symbols: Mapping[str, int]) -> Result:
    """The flat text as bytes at `base`; `symbols` are the addresses of what it calls."""
    tool = arch.tools.get("keystone")
    if tool is None:
        return Result(None, f"keystone does not know {arch.name}", "keystone")
    problem = lint(lines)
    if problem is not None:
        return Result(None, problem, "keystone")
    # An absolute symbol would be resolved against the start of the last aligned fragment: use offsets from a label.
    externs = [f".set {name}, {START} + {address - base:#x}" for name, address in sorted(symbols.items())]
    text = "\n".join([f"{START}:", *externs, *lines]) + "\n"
    result = _run(tool, text, base)
    if result.data is None and result.error and "not installed" not in result.error and "another one" not in result.error:
        return Result(None, f"{result.error} ({_first_bad(tool, lines, base, symbols)})", result.tool)
    return result


def _run(tool: tuple[str, ...], text: str, base: int) -> Result:
    request = json.dumps({"arch": tool[0], "mode": tool[1], "syntax": tool[2] if len(tool) > 2 else "", "text": text, "base": base})
    try:
        done = subprocess.run([sys.executable, "-m", "entryc.assemble.keystone_child"], input=request, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return Result(None, f"no answer within {SECONDS} s", "keystone")
    if done.returncode != 0:
        return Result(None, f"the engine crashed (status {done.returncode})", "keystone")
    answer = json.loads(done.stdout)
    name = f"keystone {answer['version']}" if answer["version"] else "keystone"
    data = bytes.fromhex(answer["bytes"]) if answer["bytes"] else None
    return Result(data, answer["error"], name)


def _first_bad(tool: tuple[str, ...], lines: Sequence[str], base: int, symbols: Mapping[str, int]) -> str:
    """The first instruction that fails by itself, found by halving."""
    labels = {line.strip()[:-1] for line in lines if line.strip().endswith(":")}
    plain = [line for line in lines if not line.strip().endswith(":") and not line.strip().startswith(".")]
    prefix = [f".set {name}, {base + 0x100:#x}" for name in sorted(labels | set(symbols))]
    low, high = 0, len(plain)
    if _run(tool, "\n".join([*prefix, *plain]) + "\n", base).data is not None:
        return "no single line fails: a label or a directive"
    while high - low > 1:
        middle = (low + high) // 2
        if _run(tool, "\n".join([*prefix, *plain[low:middle]]) + "\n", base).data is None:
            high = middle
        else:
            low = middle
    return f"first at '{plain[low].strip()}'"
