"""A stopped machine under control: QEMU's gdb stub for breakpoints, registers and memory; its monitor (QMP) for interrupts from outside.

Nothing here waits for time to pass: each answer is waited for on its socket, and one that does not come within the limit raises Silent.
"""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

LIMIT = 30.0                                    # seconds without an answer: the machine hangs
MOST_STOPS = 20_000                             # of one machine: it goes round in circles


class Silent(Exception):
    """The machine, or its emulator, did not answer."""


class Ended(Exception):
    """The emulator has gone."""


class _Line:
    """A socket that bytes are read from one message at a time."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock, self.buffer = sock, b""

    def more(self) -> None:
        try:
            data = self.sock.recv(65536)
        except TimeoutError as late:
            raise Silent(f"no answer in {self.sock.gettimeout()} s") from late
        except OSError:
            data = b""
        if not data:
            raise Ended
        self.buffer += data

    def send(self, data: bytes) -> None:
        try:
            self.sock.sendall(data)
        except OSError as gone:
            raise Ended from gone


class Monitor:
    """QMP: one command, one answer; events in between are dropped."""

    def __init__(self, sock: socket.socket) -> None:
        self.line = _Line(sock)
        self.message()                          # the greeting
        self.do("qmp_capabilities")

    def message(self) -> dict[str, Any]:
        while b"\n" not in self.line.buffer:
            self.line.more()
        text, _, self.line.buffer = self.line.buffer.partition(b"\n")
        found: dict[str, Any] = json.loads(text)
        return found

    def do(self, command: str) -> None:
        """Run a command without arguments. Raises Silent when the monitor refuses it."""
        self.line.send(json.dumps({"execute": command}).encode() + b"\n")
        while True:
            found = self.message()
            if "return" in found:
                return
            if "error" in found:
                raise Silent(f"{command}: {found['error']['desc']}")


class Stub:
    """The remote serial protocol of gdb, as far as QEMU's stub for x86-64 needs it. CPUs are counted from 1, as their threads are."""

    RSP, RIP = 7, 16

    def __init__(self, sock: socket.socket) -> None:
        self.line = _Line(sock)
        self.chosen = self.stops = 0
        self.ask("qSupported")
        self.ask("qXfer:features:read:target.xml:0,ffb")        # before that, the stub gives no single registers

    def packet(self) -> str:
        """The next packet, acknowledged."""
        buffer = self.line
        while True:
            start = buffer.buffer.find(b"$")
            end = buffer.buffer.find(b"#", start)
            if start >= 0 and 0 <= end <= len(buffer.buffer) - 3:
                text = buffer.buffer[start + 1:end]
                buffer.buffer = buffer.buffer[end + 3:]
                buffer.send(b"+")
                return text.decode("latin-1")
            buffer.more()

    def send(self, text: str) -> None:
        data = text.encode("latin-1")
        self.line.send(b"$" + data + b"#%02x" % (sum(data) & 0xff))

    def ask(self, text: str) -> str:
        """A request and its answer. Raises Silent when the stub does not know it."""
        self.send(text)
        answer = self.packet()
        if answer == "" or (len(answer) == 3 and answer[0] == "E"):
            raise Silent(f"{text}: the stub says '{answer}'")
        return answer

    def choose(self, cpu: int) -> None:
        if cpu != self.chosen:
            self.ask(f"Hg{cpu:x}")
            self.chosen = cpu

    def register(self, cpu: int, number: int) -> int:
        """A general register (gdb's number) or the instruction pointer."""
        self.choose(cpu)
        return int.from_bytes(bytes.fromhex(self.ask(f"p{number:x}"))[:8], "little")

    def registers(self, cpu: int) -> bytes:
        """All registers, as the stub has them: sixteen general ones and the instruction pointer of eight bytes each, flags and selectors of four."""
        self.choose(cpu)
        return bytes.fromhex(self.ask("g").replace("x", "0"))

    def memory(self, cpu: int, address: int, size: int) -> bytes:
        """Memory, as that CPU sees it; two thousand bytes are a packet."""
        self.choose(cpu)
        return b"".join(bytes.fromhex(self.ask(f"m{at:x},{min(1024, address + size - at):x}")) for at in range(address, address + size, 1024))

    def word(self, cpu: int, address: int) -> int:
        """Eight bytes of memory, as that CPU sees them."""
        return int.from_bytes(self.memory(cpu, address, 8), "little")

    def stop_at(self, address: int) -> None:
        self.ask(f"Z0,{address:x},1")

    def pass_over(self, address: int) -> None:
        self.ask(f"z0,{address:x},1")

    def stopped(self) -> int:
        """Wait until a CPU stops: which one. Raises Ended when the machine has gone instead, Silent when it gets nowhere."""
        self.stops += 1
        if self.stops > MOST_STOPS:
            raise Silent(f"stopped {MOST_STOPS} times")
        while True:
            text = self.packet()
            if text[:1] in "WX":
                raise Ended
            if text.startswith("T"):
                fields = dict(part.split(":", 1) for part in text[3:].split(";") if ":" in part)
                self.chosen = 0
                return int(fields["thread"].split(".")[-1], 16)

    def go(self) -> int:
        """Let all CPUs run until one stops: which one."""
        self.send("vCont;c")
        return self.stopped()

    def detach(self) -> None:
        """Take all breakpoints away and let the machine run alone."""
        self.ask("D")

    def step(self, cpu: int) -> None:
        """One instruction of one CPU; the others stand still."""
        self.send(f"vCont;s:{cpu:x}")
        self.stopped()


class Machine:
    """An emulator that waits for its first instruction, with both lines. `status`: how it ended, and `output`: what the kernel wrote, after the end."""

    def __init__(self, command: Sequence[str], folder: Path, limit: float = LIMIT) -> None:
        self.log = folder / "serial.log"
        names = {name: folder / f"{name}.socket" for name in ("stub", "monitor")}
        options = ["-S", "-gdb", "chardev:stub", "-qmp", f"unix:{names['monitor']}"]
        options += ["-chardev", f"socket,id=stub,path={names['stub']}"]
        listening = {}
        for name, path in names.items():        # the emulator connects to us: nothing has to be tried again
            listening[name] = socket.socket(socket.AF_UNIX)
            listening[name].bind(str(path))
            listening[name].listen(1)
            listening[name].settimeout(limit)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([*command, *options], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        try:
            lines = {name: sock.accept()[0] for name, sock in listening.items()}
            for line in lines.values():
                line.settimeout(limit)
            self.stub, self.monitor = Stub(lines["stub"]), Monitor(lines["monitor"])
        except (TimeoutError, Silent, Ended) as problem:
            self.process.kill()
            self.process.wait()
            raise Silent(f"the emulator does not start: {problem}\n{self.output()}") from problem
        finally:
            for sock in listening.values():
                sock.close()

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def wait(self) -> int:
        """The emulator's exit status. Raises Silent when it does not end."""
        try:
            return self.process.wait(LIMIT)
        except subprocess.TimeoutExpired as late:
            raise Silent("the emulator does not end") from late

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.process.kill()
        self.process.wait()
