"""Unicorn behind the CPU's own names: registers, MSRs and pages, all from the .arch file's data."""

from __future__ import annotations

import importlib
from typing import Any

from ..model.arch import Arch, Register

PAGE = 0x1000


class NotHere(Exception):
    """The emulator cannot do this; the message says what."""


class Emulator:
    """One engine, reused: memory is cleared and translations are dropped between runs."""

    def __init__(self, arch: Arch) -> None:
        import unicorn
        self.arch, self.unicorn = arch, unicorn
        tool = arch.tools["unicorn"]
        family = tool[0].removeprefix("UC_ARCH_")
        self.constants = importlib.import_module(f"unicorn.{family.lower()}_const")
        self.prefix = f"UC_{family}_REG_"
        self.engine: Any = unicorn.Uc(getattr(unicorn, tool[0]), getattr(unicorn, tool[1]))
        if len(tool) > 2:
            self.engine.ctl_set_cpu_model(getattr(self.constants, tool[2]))
        self.mapped: set[int] = set()
        self.initial_flags = self.read(arch.of_kind("flags"))

    def number(self, register: Register) -> int | None:
        """The emulator's id of a register's widest view."""
        found = getattr(self.constants, self.prefix + register.text.upper(), None)
        return found if isinstance(found, int) else None

    def can(self, name: str) -> bool:
        """Can the emulator read and write the register?"""
        register = self.arch.registers[name]
        if not register.facts.get("emulated", 1):
            return False
        return self.number(register) is not None or "indexed" in register.facts

    def write(self, name: str, value: int) -> None:
        register = self.arch.registers[name]
        if "indexed" in register.facts:
            self.engine.msr_write(register.facts["indexed"], value)
            return
        number = self.number(register)
        if number is None:
            raise NotHere(f"register {name}")
        self.engine.reg_write(number, value)

    def read(self, name: str) -> int:
        register = self.arch.registers[name]
        if "indexed" in register.facts:
            return int(self.engine.msr_read(register.facts["indexed"]))
        number = self.number(register)
        if number is None:
            raise NotHere(f"register {name}")
        return int(self.engine.reg_read(number))

    def map(self, address: int, size: int) -> None:
        """Make the pages of a range present."""
        for page in range(address & ~(PAGE - 1), address + size, PAGE):
            if page not in self.mapped:
                try:
                    self.engine.mem_map(page & ((1 << 64) - 1), PAGE)
                except self.unicorn.UcError as error:
                    raise NotHere(f"memory at {page:#x}: {error}") from None
                self.mapped.add(page)

    def store(self, address: int, data: bytes) -> None:
        self.map(address, len(data))
        self.engine.mem_write(address, data)

    def load(self, address: int, size: int) -> bytes:
        return bytes(self.engine.mem_read(address, size))

    def code(self, address: int, data: bytes) -> None:
        """Put code somewhere; old translations of the place are dropped."""
        self.store(address, data)
        self.engine.ctl_remove_cache(address, address + max(len(data), 1))

    def run(self, start: int, until: int, count: int) -> None:
        """Run at most `count` instructions. Raises NotHere when the emulator stops by itself."""
        try:
            self.engine.emu_start(start, until, count=count)
        except self.unicorn.UcError as error:
            raise NotHere(str(error)) from None

    @property
    def pc(self) -> int:
        return self.read(self.arch.of_kind("pc"))
