"""When Linux returns by SYSRET: the descriptions under specs/linux say what built kernels do, in assembly (6.1) and in C (6.12)."""

from __future__ import annotations

import dataclasses
import itertools
import random
import struct
from collections.abc import Iterator
from pathlib import Path

import exit_work as X
import pytest
from conftest import SPECS, kernel
from entryc.model.build import load_spec
from entryc.model.expr import Expr, SlotRef, evaluate
from entryc.model.spec import Spec

TRIED = ("ip", "cx", "r11", "flags", "cs", "ss")
PLACES = (0, 0x1000, 0x7fffffffefff, 0x7ffffffff000, 0x7fffffffffff, 0x800000000000, 1 << 63, 0xffff7fffffffffff, 0xffff800000000000, (1 << 64) - 1)
FLAGS = (0x202, 0x302, 0x10202, 0x10302, 0x20202, 0x246, 1 << 32)


def spec_of(version: str) -> Spec:
    return load_spec(SPECS / "linux" / f"sysret-x86_64-{version}.entry")


def frames() -> Iterator[dict[str, int]]:
    """Frames that SYSRET can return to, each with up to two slots changed; every interesting address in ip and cx; and chance."""
    good = {"ip": 0x401000, "cx": 0x401000, "r11": 0x202, "flags": 0x202, "cs": 0x33, "ss": 0x2b}
    other = {"ip": PLACES, "cx": PLACES, "r11": FLAGS, "flags": FLAGS, "cs": (0x23, 0x10, 0x30), "ss": (0x23, 0x18, 0)}
    yield good
    for place in PLACES:
        yield good | {"ip": place, "cx": place}
    for word in FLAGS:
        yield good | {"r11": word, "flags": word}
    for one, two in itertools.combinations(TRIED, 2):
        for a, b in itertools.product(other[one], other[two]):
            yield good | {one: a, two: b}
    chance = random.Random(7)
    for _ in range(200):
        ip, flags = chance.getrandbits(64) >> chance.choice((0, 16, 17, 20)), chance.getrandbits(22)
        yield good | {"ip": ip, "cx": ip, "r11": flags, "flags": flags}


def taken(spec: Spec, frame: dict[str, int]) -> bool:
    """What the description says."""
    def leaf(expr: Expr) -> int:
        assert isinstance(expr, SlotRef)
        return frame[expr.slot]
    return all(evaluate(c.condition, leaf) for c in spec.methods["sysret"].clauses)


def write(uc: X.unicorn.Uc, spec: Spec, at: int, frame: dict[str, int]) -> None:
    for name, value in frame.items():
        uc.mem_write(at + spec.frames["regs"].slots[name].offset, struct.pack("<Q", value))


class Assembly:
    """Linux 6.1: entry_SYSCALL_64 decides after do_syscall_64 has come back."""

    def __init__(self, spec: Spec, folder: Path) -> None:
        self.spec = spec
        self.image = X.Image(X.Plan("small-6.1", ("entry_64.o",), {}, {}), spec, kernel("small-6.1"), folder)

    def decide(self, frame: dict[str, int]) -> bool:
        way: list[str] = []
        run = X.Machine(self.image, X.Case(effects={"do_syscall_64": lambda uc: write(uc, self.spec, uc.reg_read(X.x86_const.UC_X86_REG_RDI), frame)}))
        for name in ("entry_SYSRETQ_unsafe_stack", "swapgs_restore_regs_and_return_to_usermode"):
            at = self.image.symbols[name]
            run.uc.hook_add(X.unicorn.UC_HOOK_CODE, lambda uc, *_, name=name: (way.append(name), uc.emu_stop()), begin=at, end=at)
        run.start("entry_SYSCALL_64")
        assert len(way) == 1, way
        return way[0] == "entry_SYSRETQ_unsafe_stack"


class InC:
    """Linux 6.12: do_syscall_64 says whether."""

    def __init__(self, spec: Spec, folder: Path) -> None:
        self.spec = spec
        self.image = X.Image(X.Plan("sysret-x86_64-6.12", ("common.o",), {}, {}), spec, kernel("sysret-x86_64-6.12"), folder)

    def decide(self, frame: dict[str, int]) -> bool:
        run = X.Machine(self.image, X.Case(effects={"syscall_exit_to_user_mode": lambda uc: write(uc, self.spec, X.REGS, frame)}))
        run.function("do_syscall_64", X.REGS, 0)
        return bool(run.uc.reg_read(X.x86_const.UC_X86_REG_RAX) & 0xff)


@pytest.mark.parametrize("version", ["6.1", "6.12"])
def test_decision(version: str, tmp_path: Path) -> None:
    spec = spec_of(version)
    stock = (Assembly if version == "6.1" else InC)(spec, tmp_path)
    rows = [(frame, taken(spec, frame), stock.decide(frame)) for frame in frames()]
    assert [frame for frame, said, done in rows if said != done] == []
    assert 20 < sum(done for _, _, done in rows) < len(rows) - 100
    for clause in spec.methods["sysret"].clauses:       # each of them decides something
        method = spec.methods["sysret"]
        less = dataclasses.replace(spec, methods={"sysret": dataclasses.replace(method, clauses=tuple(c for c in method.clauses if c is not clause))})
        assert any(taken(less, frame) != done for frame, _, done in rows), clause.name
