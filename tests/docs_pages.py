"""Commands that pages of the documentation show, with what they print: taken out of the text, run in one shell a page, compared.

A command is an indented line that starts with "$ "; a here-document belongs to it. What is indented below it, up to the next command or to text, is
what it prints. A line "…" stands for lines that are left out, "…" within a line for any text. Without anything below it, a command has to
succeed, and what it prints is not compared. One that shows an error has to fail, every other one has to succeed.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

INDENT = "    "
HERE_DOCUMENT = re.compile(r"<<'?(\w+)'?")
FAILS = re.compile(r"^(?:.*: )?error\[|^make: \*\*\*", re.M)
# Programs whose commands have to be written with "$ ", so that they are run.
PROGRAMS = ("entryc", "make", "git", "pip", "python3", "apt", "apt-get", "patch", "sed", "as", "gcc", "qemu", ".ci")
UNMARKED = re.compile(rf"(?:{'|'.join(map(re.escape, PROGRAMS))})[ /]|.*(?:error\[|claims proved)|(?:breaking|risky|compatible) ")
# What depends on the machine, and what stands for it when texts are compared.
MACHINE = (
    (re.compile(r"sha256[: ]+[0-9a-f]{8,64}"), "sha256 …"),
    (re.compile(r"GNU assembler \(.*?\) [\d.]+"), "GNU assembler"),
    (re.compile(r"(?:\w+ )?clang version [\d.]+(?:\S*)"), "clang"),
    (re.compile(r"keystone [\d.]+"), "keystone"),
    (re.compile(r"^((?:flat|kernel text|discipline|decisions) +\w+  \S.*?) {2,}", re.M), r"\1  "),
)


@dataclass(frozen=True)
class Step:
    """One command of a page, with what is shown below it. `first` and `last` are indices of lines: of what is shown."""

    command: str
    shown: tuple[str, ...]
    line: int                                   # of the command, from 1
    section: str                                # the heading above it
    first: int
    last: int

    @property
    def fails(self) -> bool:
        return FAILS.search("\n".join(self.shown)) is not None


def steps(text: str) -> list[Step]:
    """The commands of a page, in order."""
    lines = text.split("\n")
    out: list[Step] = []
    at = 0
    while at < len(lines):
        if not lines[at].startswith(INDENT + "$ "):
            at += 1
            continue
        section = next((x for x in reversed(lines[:at]) if x.startswith("#")), "")
        line, command = at + 1, lines[at][len(INDENT) + 2:]
        at += 1
        if here := HERE_DOCUMENT.search(command):
            while lines[at] != INDENT + here[1]:
                command += "\n" + lines[at].removeprefix(INDENT)
                at += 1
            command += "\n" + here[1]
            at += 1
        first = at
        while at < len(lines) and (not lines[at] or lines[at].startswith(INDENT)) and not lines[at].startswith(INDENT + "$ "):
            at += 1
        last = at
        while last > first and not lines[last - 1]:
            last -= 1
        out.append(Step(command, tuple(x.removeprefix(INDENT) for x in lines[first:last]), line, section, first, last))
    return out


def unmarked(text: str) -> list[str]:
    """Indented lines that look like a command, or like what one prints, and belong to none: nothing would show that they are true."""
    inside = {n for s in steps(text) for n in range(s.line - 1, s.last)}
    return [f"{n + 1}: {line}" for n, line in enumerate(text.split("\n"))
            if n not in inside and line.startswith(INDENT) and UNMARKED.match(line.strip())]


def plain(lines: list[str] | tuple[str, ...]) -> str:
    text = "".join(line.rstrip() + "\n" for line in lines)
    for pattern, instead in MACHINE:
        text = pattern.sub(instead, text)
    return text


def matches(shown: tuple[str, ...], printed: list[str]) -> bool:
    """Is what is shown what was printed? Blank lines at its end do not count."""
    pattern = ""
    for line in plain(shown).splitlines():
        pattern += r"(?:.*\n)+?" if line.strip() == "…" else ".*?".join(map(re.escape, line.split("…"))) + "\n"
    return re.fullmatch(pattern, plain(printed).rstrip("\n") + "\n") is not None


class Shell:
    """One shell in a folder: a later command finds what an earlier one changed, its folder and its environment included."""

    def __init__(self, folder: Path, limit: float, clean: bool = False) -> None:
        """`clean`: as on a new machine, without this environment's entryc and without caches. `limit`: seconds for all commands."""
        tools = "/usr/local/bin:/usr/bin:/bin"
        identity = {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in (("NAME", "Reader"), ("EMAIL", "reader@example.org"))}
        network = {k: v for k, v in os.environ.items() if k.startswith(("PIP_", "SSL_CERT_")) or k.lower().endswith("_proxy")}
        environment = {"LC_ALL": "C.UTF-8", "PYTHONUNBUFFERED": "1", "GIT_CONFIG_GLOBAL": "/dev/null", **identity, **network}
        if clean:
            environment |= {"HOME": str(folder), "PATH": f"{Path(sys.base_prefix) / 'bin'}:{tools}"}
        else:
            environment |= {"HOME": os.environ.get("HOME", str(folder)), "PATH": f"{Path(sys.executable).parent}:{tools}"}
        self.script = folder / ".command"
        self.process = subprocess.Popen(["bash", "--norc", "--noprofile"], cwd=folder, env=environment, text=True, start_new_session=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.clock = threading.Timer(limit, self.kill)
        self.clock.daemon = True
        self.clock.start()

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)

    def run(self, command: str) -> tuple[int | None, list[str]]:
        """(exit status, lines); None: the time is over, or the command ended the shell."""
        assert self.process.stdin and self.process.stdout
        self.script.write_text(command + "\n")
        self.process.stdin.write(f"source '{self.script}' </dev/null; printf '\\n=== %s\\n' $?\n")
        self.process.stdin.flush()
        text = ""
        for line in self.process.stdout:
            if line.startswith("=== "):
                return int(line[4:]), text.removesuffix("\n").splitlines()
            text += line
        return None, text.splitlines()

    def close(self) -> None:
        self.clock.cancel()
        if self.process.poll() is None:
            self.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream:
                stream.close()
