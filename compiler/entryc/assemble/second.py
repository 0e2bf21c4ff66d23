"""The other assemblers: GNU as, clang, or the one in the ziglang wheel, whichever is on this machine."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from ..image.elf import parse_image
from ..image.image import Image
from ..model.arch import Arch
from .keystone import Result

SECONDS = 120


@dataclass(frozen=True)
class Tool:
    """An assembler with its linker, as command lines; `name` includes the version."""

    name: str
    assemble: tuple[str, ...]                   # reads FILE, writes -o FILE
    preprocess: tuple[str, ...] | None          # the same for text with C preprocessor lines
    link: tuple[str, ...]


class Failed(Exception):
    """A tool refused; the message is its first line."""


@lru_cache(maxsize=8)
def _version(command: tuple[str, ...]) -> str:
    try:
        out = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=SECONDS).stdout
        return out.split("\n")[0].strip()
    except (OSError, subprocess.TimeoutExpired):
        return "?"


def assemblers(arch: Arch) -> list[Tool]:
    """What is found, best first."""
    found: list[Tool] = []
    gas = arch.tools.get("gas")
    if gas is not None:
        native = platform.machine() == gas[0].partition("-")[0]
        program, linker, compiler = (shutil.which(f"{gas[0]}-{name}") or (shutil.which(name) if native else None) for name in ("as", "ld", "gcc"))
        if program and linker:
            found.append(Tool(_version((program,)), (program, *gas[1:]), (compiler, "-c") if compiler else None, (linker,)))
    clang = arch.tools.get("clang")
    if clang is not None:
        program, linker = shutil.which("clang"), shutil.which("ld.lld")
        if program and linker:
            base: tuple[str, ...] = (program, f"--target={clang[0]}", "-c")
            found.append(Tool(_version((program,)), (*base, "-x", "assembler"), (*base, "-x", "assembler-with-cpp"), (linker,)))
        elif find_spec("ziglang") is not None:
            zig = (sys.executable, "-m", "ziglang")
            base = (*zig, "cc", "-target", clang[0].replace("-unknown-none-elf", "-freestanding-none"), "-c")
            found.append(Tool(f"ziglang {version('ziglang')}", (*base, "-x", "assembler"), (*base, "-x", "assembler-with-cpp"), (*zig, "ld.lld")))
    return found


def _run(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failed(str(error)) from None
    if done.returncode != 0:
        lines = [line for line in done.stderr.split("\n") if "error" in line.lower()] or done.stderr.split("\n")
        raise Failed(lines[0][:200] if lines else f"status {done.returncode}")


def _link(arch: Arch, tool: Tool, folder: Path, section: str, base: int, symbols: Mapping[str, int]) -> Image:
    script = folder / "link.ld"
    defined = "".join(f"{name} = {address:#x};\n" for name, address in sorted(symbols.items()))
    script.write_text(f"{defined}SECTIONS {{ . = {base:#x}; {section} : {{ *({section}) }} /DISCARD/ : {{ *(.eh_frame) *(.note*) *(.comment) }} }}\n")
    _run([*tool.link, "-T", str(script), "-o", str(folder / "out.elf"), str(folder / "out.o")])
    image = parse_image(arch, (folder / "out.elf").read_bytes(), "the assembled code")
    if len(image.segments) != 1:                # the comparison is of one section: code elsewhere would go unseen
        raise Failed(f"there is code outside {section}, at {image.segments[1][0]:#x}")
    return image


def assemble_flat(arch: Arch, tool: Tool, lines: Sequence[str], base: int, symbols: Mapping[str, int]) -> tuple[Result, Image | None]:
    """The flat text as linked bytes."""
    with tempfile.TemporaryDirectory(prefix="entryc-") as name:
        folder = Path(name)
        labels = [line[:-1] for line in lines if line.endswith(":") and not line.startswith(".")]
        (folder / "in.s").write_text("\n".join([".text", *(f".globl {label}" for label in labels), *lines]) + "\n")
        try:
            _run([*tool.assemble, "-o", str(folder / "out.o"), str(folder / "in.s")])
            image = _link(arch, tool, folder, ".text", base, symbols)
        except Failed as problem:
            return Result(None, str(problem), tool.name), None
        return Result(image.segments[0][1], None, tool.name), image


def assemble_kernel_text(arch: Arch, tool: Tool, text: str, section: str, base: int, symbols: Mapping[str, int],
                         defines: Sequence[str]) -> tuple[Result, Image | None]:
    """The kernel form, preprocessed with CONFIG_ definitions, as linked bytes."""
    if tool.preprocess is None:
        return Result(None, "no C preprocessor beside it", tool.name), None
    with tempfile.TemporaryDirectory(prefix="entryc-") as name:
        folder = Path(name)
        (folder / "in.S").write_text(text)
        try:
            _run([*tool.preprocess, *(f"-DCONFIG_{d}" for d in defines), "-o", str(folder / "out.o"), str(folder / "in.S")])
            image = _link(arch, tool, folder, section, base, symbols)
        except Failed as problem:
            return Result(None, str(problem), tool.name), None
        return Result(image.segments[0][1], None, tool.name, (folder / "out.o").read_bytes()), image
