"""Keystone behind guards. It reads decimals in the wrong radix, drops code silently and leaks settings between engines:

every call is a fresh child process, every number is hexadecimal, and no bytes are a failure.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..model.arch import Arch

SECONDS = 120
NOT_THE_TEXT = ("not installed", "another one", "no answer")             # failures that no line of the text causes
START = "entryc_flat_start"
# Whatever begins with a digit: only 0x… is read as meant. "10" is taken as hexadecimal, "1f" is no local label here.
DIGITS = re.compile(r"(?<![\w.%])[0-9]\w*")
HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+")
FORBIDDEN = re.compile(r"^\s*\.(section|text|data|pushsection|popsection|previous|size|include|align|inst|error)\b")
# A segment with nothing but an address: it would become relative to the instruction pointer.
SEGMENT = re.compile(r"%\w+:\s*+[^\s,()]++(?!\()")


@dataclass(frozen=True)
class Result:
    """Bytes, or why there are none. `tool` names what ran, with its version."""

    data: bytes | None
    error: str | None
    tool: str
    object: bytes | None = None                 # the object file, where one was made from the kernel text


def lint(lines: Sequence[str]) -> str | None:
    """Text that Keystone would assemble wrongly without saying so."""
    for line in lines:
        code = re.sub(r"/\*.*?\*/", "", line)
        if ";" in code or "\n" in code.strip():
            return f"'{line.strip()}' holds more than one statement"
        if FORBIDDEN.search(code):
            return f"'{line.strip()}' is a directive that the engine mishandles"
        if SEGMENT.search(code):
            return f"'{line.strip()}' would become relative to the instruction pointer"
        for token in DIGITS.findall(code):
            if not HEXADECIMAL.fullmatch(token):
                return f"'{line.strip()}' has '{token}': the engine reads it in base 16, and knows no numeric label"
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
    if result.data is None and result.error and not any(reason in result.error for reason in NOT_THE_TEXT):
        return Result(None, f"{result.error} ({_first_bad(tool, lines, base, symbols)})", result.tool)
    return result


def _run(tool: tuple[str, ...], text: str, base: int) -> Result:
    request = json.dumps({"arch": tool[0], "mode": tool[1], "syntax": tool[2] if len(tool) > 2 else "", "text": text, "base": base})
    package = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), package]))
    command = [sys.executable, "-P", "-m", "entryc.assemble.keystone_child"]        # -P: no module of the current folder
    try:
        done = subprocess.run(command, input=request, capture_output=True, text=True, timeout=SECONDS, env={**os.environ, "PYTHONPATH": path})
        answer = json.loads(done.stdout) if done.returncode == 0 else None
    except subprocess.TimeoutExpired:
        return Result(None, f"no answer within {SECONDS} s", "keystone")
    except (OSError, ValueError) as problem:
        return Result(None, f"the child process gave no answer: {problem}", "keystone")
    if answer is None:
        return Result(None, f"the engine crashed (status {done.returncode})", "keystone")
    name = f"keystone {answer['version']}" if answer["version"] else "keystone"
    data = bytes.fromhex(answer["bytes"]) if answer["bytes"] else None
    return Result(data, answer["error"], name)


def _first_bad(tool: tuple[str, ...], lines: Sequence[str], base: int, symbols: Mapping[str, int]) -> str:
    """The first instruction that fails by itself, found by halving."""
    labels = {line.strip()[:-1] for line in lines if line.strip().endswith(":")}
    plain = [line for line in lines if not line.strip().endswith(":") and not line.strip().startswith(".")]
    prefix = [f".set {name}, {base + 0x100:#x}" for name in sorted(labels | set(symbols))]
    low, high = 0, len(plain)
    if not plain:
        return "there is no instruction"
    if _run(tool, "\n".join([*prefix, *plain]) + "\n", base).data is not None:
        return "no single line fails: a label or a directive"
    while high - low > 1:
        middle = (low + high) // 2
        if _run(tool, "\n".join([*prefix, *plain[low:middle]]) + "\n", base).data is None:
            high = middle
        else:
            low = middle
    return f"first at '{plain[low].strip()}'"
