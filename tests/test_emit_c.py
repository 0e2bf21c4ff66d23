"""The generated C: clean under every compiler at hand, and right when it runs on this machine with hooks of Python's making."""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import random
import re
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from conftest import spec_file
from entryc.driver.render import render
from entryc.emit.c_text import comment, expression, remarks
from entryc.emit.fragment import depfile
from entryc.emit.init import emit_init, facts
from entryc.model.build import load_spec
from entryc.model.check import flat_handler
from entryc.model.expr import Binary, Cast, Expr, Num, Reg, SlotRef, Unary, evaluate
from entryc.model.spec import Spec
from entryc.plan.plan import plan_spec
from entryc.source.finding import Findings

ROOT = Path(__file__).parent.parent
SPECS = ("x86_64", "arm64", "unikernel")
COMPILERS = {
    "x86_64": (("gcc",), ("clang", "--target=x86_64-unknown-none-elf")),
    "arm64": (("aarch64-linux-gnu-gcc",), ("clang", "--target=aarch64-linux-gnu")),
}
WARNINGS = ["-Wall", "-Wextra", "-Werror", "-Wmissing-prototypes", "-Wstrict-prototypes", "-Wshadow", "-Wundef", "-Wconversion"]
KERNEL = ["-std=gnu11", "-ffreestanding", "-mgeneral-regs-only", "-fno-stack-protector"]
HOST_CC = shutil.which("gcc") or shutil.which("clang") or "cc"         # where there is none, the tests fail
HEAD = 'language 1; arch x86_64; target bare; license "MIT"\n'
WORD = (1 << 64) - 1


@cache
def spec_of(name: str) -> Spec:
    return load_spec(spec_file(name))


@cache
def files_of(name: str) -> dict[str, str]:
    spec = spec_of(name)
    return render(spec, plan_spec(spec))


def write(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def run(command: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done


def files_of_text(tmp_path: Path, text: str) -> dict[str, str]:
    path = tmp_path / "case.entry"
    path.write_text(text)
    spec = load_spec(path)
    return render(spec, plan_spec(spec))


# ---- compilers ----

@pytest.mark.parametrize(("name", "compiler"), [(n, c) for n in SPECS for c in COMPILERS[spec_of(n).arch.name]],
                         ids=lambda v: v[0] if isinstance(v, tuple) else str(v))
def test_compiles_without_a_warning(name: str, compiler: tuple[str, ...], level: str, tmp_path: Path) -> None:
    if shutil.which(compiler[0]) is None:
        pytest.fail(f"no {compiler[0]}")
    folder = write(tmp_path, files_of(name))
    for source in ("entry.c", "entry_init.c"):
        run([*compiler, *KERNEL, *WARNINGS, level, "-c", source, "-o", f"{source}.o"], folder)


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("compiler", ["g++", "clang++"])
def test_header_is_cpp(name: str, compiler: str, tmp_path: Path) -> None:
    if shutil.which(compiler) is None:
        pytest.fail(f"no {compiler}")
    folder = write(tmp_path, files_of(name))
    (folder / "use.cpp").write_text('#include "entry.h"\n#include "entry.h"\nstatic_assert(sizeof(struct regs) == REGS_SIZE, "size");\n')
    run([compiler, "-std=c++14", "-Wall", "-Wextra", "-Werror", "-c", "use.cpp", "-o", "use.o"], folder)


@pytest.mark.parametrize("name", SPECS)
def test_header_offsets_for_assembly_are_those_of_c(name: str, tmp_path: Path) -> None:
    folder = write(tmp_path, files_of(name))
    (folder / "use.S").write_text('#include "entry.h"\n')
    left = run([HOST_CC, "-E", "-P", "use.S"], folder).stdout
    assert not left.strip(), "nothing but definitions is left for assembly"
    asserts = "".join(f"_Static_assert(offsetof({f.c_name}, {s.name}) == {f.name.upper()}_{s.name.upper()}_OFFSET, \"\");\n"
                      for f in spec_of(name).frames.values() for s in f.slots.values())
    asserts += "".join(f"_Static_assert(offsetof(struct {m.name}, {c.name}) == {m.name.upper()}_{c.name.replace('.', '_').upper()}_OFFSET, \"\");\n"
                       for m in spec_of(name).memories.values() for c in m.cells.values())
    (folder / "use.c").write_text('#include "entry.h"\n' + asserts)
    run([HOST_CC, "-Wall", "-Werror", "-c", "use.c", "-o", "use.o"], folder)


@pytest.mark.parametrize("name", SPECS)
def test_text_is_kernel_style(name: str) -> None:
    for file in ("entry.c", "entry.h", "entry_init.c"):
        text = files_of(name)[file]
        assert text.endswith("\n") and not text.endswith("\n\n") and "\n\n\n" not in text
        for line in text.split("\n"):
            assert len(line.expandtabs(8)) <= 100, f"{file}: {line}"
            assert line == line.rstrip() and not line.startswith("    "), f"{file}: {line!r}"


# ---- running on this machine ----

class Host:
    """entry.c as a shared library. Every hook and system call lands in `call`; interrupts are a Python variable."""

    def __init__(self, name: str, folder: Path, level: str = "-O2") -> None:
        self.spec = spec_of(name)
        folder = write(folder, files_of(name))
        source = files_of(name)["entry.c"]
        # What reads the CPU asks Python instead: privileged registers are not for tests.
        source, self.reads = re.subn(r'__asm__ volatile\("[^"]*" : "=r"\((\w+)\)\);', r'\1 = host_read("\1");', source)
        (folder / "entry.c").write_text(source)
        (folder / "host.c").write_text(self._host())
        run([HOST_CC, "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function", level, "-fPIC", "-shared", "host.c", "-o", "host.so"], folder)
        self.library = ctypes.CDLL(str(folder / "host.so"))
        frame = next(iter(self.spec.frames.values()))
        self.frame_type = type("Regs", (ctypes.Structure,), {"_fields_": [(s.name, ctypes.c_uint64) for s in frame.slots.values()]})
        self.trace: list[str] = []
        self.arguments: dict[str, list[int]] = {}
        self.answers: dict[str, Callable[..., int | None]] = {}
        self.registers: dict[str, int] = {}
        self.irqs = False
        self.error: BaseException | None = None
        self.memory = ctypes.create_string_buffer(max((m.size for m in self.spec.memories.values()), default=8))
        self._keep = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_char_p, ctypes.POINTER(ctypes.c_uint64), ctypes.c_int)(self._call)
        self.library.host_connect(self._keep)

    def _functions(self) -> list[tuple[str, str, list[tuple[str, str]]]]:
        kinds = {"void": "void", "bool": "bool", "u8": "uint8_t", "u16": "uint16_t", "u32": "uint32_t", "u64": "uint64_t", "s64": "int64_t"}

        def kind(name: str) -> str:
            return f"{self.spec.frames[name].c_name} *" if name in self.spec.frames else f"struct {name} *" if name in self.spec.memories else kinds[name]
        out = [(h.name, kind(h.result), [(kind(k), n) for k, n in h.params]) for h in self.spec.hooks.values()]
        return out + [(r.name, "int64_t", [("uint64_t", f"a{i}") for i in range(r.count)]) for t in self.spec.tables.values() for r in t.rows]

    def _host(self) -> str:
        out = ["#include <stdint.h>", "#include <stdbool.h>", "typedef uint64_t (*host_fn)(const char *, const uint64_t *, int);", "static host_fn host_call;",
               "void host_connect(host_fn fn);", "void host_connect(host_fn fn) { host_call = fn; }",
               '#define ENTRY_IRQS_ON() host_call("irqs on", 0, 0)', '#define ENTRY_IRQS_OFF() host_call("irqs off", 0, 0)',
               "static uint64_t host_read(const char *name) { return host_call(name, 0, 0); }", '#include "entry.c"']
        for name, result, params in self._functions():
            values = ", ".join(f"(uint64_t){n}" if not k.endswith("*") else f"(uintptr_t){n}" for k, n in params)
            call = f'host_call("{name}", (uint64_t[]){{ {values or 0} }}, {len(params)})'
            back = "" if result == "void" else f"return ({result}){'(uintptr_t)' if result.endswith('*') else ''}"
            end = "for (;;) ;" if "noreturn" in re.search(rf"\b{name}\([^;]*;", files_of(self.spec.name)["entry.h"])[0] else ""  # type: ignore[index]
            out.append(f"{result} {name}({', '.join(f'{k} {n}' for k, n in params) or 'void'}) {{ {back}{call}; {end} }}")
        for table in self.spec.tables.values():
            out += [f"uint64_t host_{table.name}_mask(uint64_t i, uint64_t n);",
                    f"uint64_t host_{table.name}_mask(uint64_t i, uint64_t n) {{ return {table.name}_mask(i, n); }}"]
        for choice in self.spec.choices.values():
            out += [f"unsigned int host_choose_{choice.name}(const struct regs *r);",
                    f"unsigned int host_choose_{choice.name}(const struct regs *r) {{ return choose_{choice.name}(r); }}"]
        return "\n".join(out) + "\n"

    def _call(self, raw: bytes, values: Any, count: int) -> int:
        """What C calls. An exception cannot pass through C: it is kept for `enter`."""
        name = raw.decode()
        try:
            assert len(self.trace) < 20_000, "C does not come to an end"
            if self.error is None:
                return self._answer(name, values, count)
        except BaseException as error:
            self.error = error
        return ctypes.addressof(self.memory) if name in self.spec.hooks and self.spec.hooks[name].result in self.spec.memories else 0

    def _answer(self, name: str, values: Any, count: int) -> int:
        self.trace.append(name)
        self.arguments[name] = [values[i] for i in range(count)]
        if name in ("irqs on", "irqs off"):
            self.irqs = name == "irqs on"
        if name in self.registers:
            return self.registers[name]
        if name in self.spec.hooks and self.spec.hooks[name].result in self.spec.memories:
            return ctypes.addressof(self.memory)
        answer = self.answers[name](*self.arguments[name]) if name in self.answers else 0
        return (answer or 0) & WORD

    def frame(self, **slots: int) -> Any:
        regs = self.frame_type()
        for name, value in slots.items():
            setattr(regs, name, value)
        return regs

    def enter(self, handler: str, regs: Any) -> int:
        """Call a handler as the hardware leaves it: interrupts off."""
        self.trace.clear()
        self.irqs = False
        function = getattr(self.library, handler)
        function.restype = ctypes.c_uint8 if self.spec.handlers[handler].choice else None
        self.error = None
        result = function(ctypes.byref(regs))
        if self.error is not None:
            raise self.error
        assert not self.irqs, f"{handler} returns with interrupts on"
        return int(result or 0)

    def counters(self, name: str) -> list[int]:
        row = next(c for m in self.spec.memories.values() for c in m.counters.values() if c.name == name)
        size = next(m for o in self.spec.memories.values() for m in o.members if m.name == name).size
        return list((ctypes.c_uint64 * (size // 8)).from_buffer(self.memory, row.offset))


HOSTS: dict[tuple[str, str], Host] = {}


def fresh(name: str, level: str, factory: pytest.TempPathFactory) -> Host:
    """The library is built once; what a test said to it is forgotten."""
    if shutil.which(HOST_CC) is None:
        pytest.fail("no C compiler")
    if (name, level) not in HOSTS:
        HOSTS[name, level] = Host(name, factory.mktemp("host"), level)
    host = HOSTS[name, level]
    host.answers.clear()
    host.registers.clear()
    host.trace.clear()
    ctypes.memset(host.memory, 0, ctypes.sizeof(host.memory))
    return host


@pytest.fixture(params=["-O0", "-O2"])
def level(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def x86(level: str, tmp_path_factory: pytest.TempPathFactory) -> Host:
    return fresh("x86_64", level, tmp_path_factory)


@pytest.fixture
def arm(level: str, tmp_path_factory: pytest.TempPathFactory) -> Host:
    return fresh("arm64", level, tmp_path_factory)


USER = {"cs": 0x2b, "ss": 0x23, "ip": 0x401000, "flags": 0x246, "sp": 0x7ffe0000, "cx": 0x401000, "r11": 0x246}
BREAKS = {"ip_not_in_cx": {"cx": 0x401001}, "flags_not_in_r11": {"r11": 0x247}, "foreign_cs": {"cs": 0x1b}, "foreign_ss": {"ss": 0x2b},
          "high_ip": {"ip": 0x7ffffffff000, "cx": 0x7ffffffff000}, "rf_or_tf": {"flags": 0x346, "r11": 0x346}}


def test_every_clause_refuses_and_is_counted(x86: Host) -> None:
    clauses = [c.name for c in x86.spec.methods["sysret"].clauses]
    assert clauses == list(BREAKS), "the test knows a frame for every clause"
    assert x86.library.host_choose_return_64(ctypes.byref(x86.frame(**USER))) == 1
    assert x86.counters("returned") == [0, 1] and not any(x86.counters("refused"))
    for index, name in enumerate(clauses):
        before = x86.counters("refused")
        assert x86.library.host_choose_return_64(ctypes.byref(x86.frame(**USER | BREAKS[name]))) == 0, name
        before[index] += 1
        assert x86.counters("refused") == before, name
    assert x86.counters("returned") == [len(clauses), 1]


def test_predicate_is_the_spec_on_random_frames(x86: Host) -> None:
    """The same clauses, evaluated by the model, on frames near the borders: one answer."""
    clauses = x86.spec.methods["sysret"].clauses
    near = {"ip": (0, 0x401000, 0x7fffffffefff, 0x7ffffffff000, 0x7ffffffff001, 1 << 47, 1 << 63, WORD), "cs": (0x2b, 0x1b, 0x1002b, 0x3b, 1 << 32 | 0x2b),
            "ss": (0x23, 0x2b, 0x43, 1 << 63 | 0x23), "flags": (0x246, 0x346, 0x10246, 1 << 32 | 0x246), "cx": (0x401000, 0), "r11": (0x246, 0)}
    pick = random.Random(1)
    refused, returned = x86.counters("refused"), x86.counters("returned")
    for _ in range(4000):
        slots = {name: pick.choice(values) for name, values in near.items()}
        if pick.random() < 0.7:
            slots["cx"], slots["r11"] = slots["ip"], slots["flags"]
        got = x86.library.host_choose_return_64(ctypes.byref(x86.frame(**slots)))
        first = next((i for i, c in enumerate(clauses) if not evaluate(c.condition, lambda e, s=slots: s[e.slot] if isinstance(e, SlotRef) else 0)), None)
        assert got == int(first is None), slots
        returned[got] += 1
        if first is not None:
            refused[first] += 1
    assert (x86.counters("refused"), x86.counters("returned")) == (refused, returned)
    assert all(refused) and all(returned), "the frames reach every clause and both methods"


@pytest.mark.parametrize("number", [-1, -(1 << 63), 10, 11, 255, 256, 1 << 32, 1 << 32 | 1, 1 << 63, 1 << 63 | 1, (1 << 64) - 10])
def test_bad_numbers(x86: Host, arm: Host, number: int) -> None:
    x86.answers["thread_flags"] = arm.answers["thread_flags"] = lambda: 0
    calls = {r.name for r in x86.spec.tables["native"].rows}
    regs = x86.frame(**USER, error=number & WORD, ax=7)
    x86.enter("do_syscall_64", regs)
    assert regs.ax == -38 & WORD and not calls & set(x86.trace)
    arm.registers |= {"syndrome": 0x15 << 26, "address": 0}
    regs = arm.frame(x0=7, x8=number & WORD)
    arm.enter("do_el0_sync", regs)
    assert regs.x0 == -38 & WORD and regs.syscallno == number & WORD and regs.orig_x0 == 7 and not calls & set(arm.trace)


def test_good_numbers(x86: Host, arm: Host) -> None:
    """Each row is called with its arguments in order, interrupts on, and its result arrives whole."""
    names = ("di", "si", "dx", "r10", "r8", "r9")
    for host, handler in ((x86, "do_syscall_64"), (arm, "do_el0_sync")):
        host.registers |= {"syndrome": 0x15 << 26, "address": 0} if host is arm else {}
        host.answers["thread_flags"] = lambda: 0
        for row in host.spec.tables["native"].rows:
            seen: list[bool] = []
            host.answers[row.name] = lambda *a, h=host, s=seen: s.append(h.irqs) or -(1 << 62) + 5  # type: ignore[func-returns-value,misc]
            values = [(0x1111 * (i + 1)) << 40 | i for i in range(6)]
            if host is x86:
                regs = host.frame(**USER, error=row.number, **dict(zip(names, values, strict=True)))
            else:
                regs = host.frame(x8=row.number, **{f"x{i}": v for i, v in enumerate(values)})
            host.enter(handler, regs)
            assert host.arguments[row.name] == values[:row.count] and seen == [True]
            assert (regs.ax if host is x86 else regs.x0) == (-(1 << 62) + 5) & WORD


@pytest.mark.parametrize("name", ["x86_64", "arm64"])
def test_system_registers_are_the_written_ones(name: str) -> None:
    spec = spec_of(name)
    wanted = [(step.subject, spec.arch.registers[step.value.name].text) for handler in spec.handlers.values() for step in flat_handler(handler)
              if step.verb == "let" and isinstance(step.value, Reg)]
    reads = re.findall(r'__asm__ volatile\("\w+ ([^"]*)" : "=r"\((\w+)\)\);', files_of(name)["entry.c"])
    assert [(local, set(re.findall(r"\w+", operands)) - {"0"}) for operands, local in reads] == [(local, {text}) for local, text in wanted]
    assert wanted


def test_index_mask(x86: Host) -> None:
    mask = x86.library.host_native_mask
    mask.restype, mask.argtypes = ctypes.c_uint64, [ctypes.c_uint64, ctypes.c_uint64]
    for count in (1, 10, 4096):
        for index in (0, 1, count - 1, count, count + 1, 1 << 31, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 63) + count, WORD - 1, WORD):
            assert mask(index, count) == (WORD if index < count else 0), (index, count)


def test_holes_in_a_table(tmp_path: Path) -> None:
    text = spec_file("x86_64").read_text().replace("    4 sys_set_base(2)\n", "").replace("    2 sys_yield(0)\n    3 sys_getpid(0)\n", "")
    source = files_of_text(tmp_path, text)["entry.c"]
    assert "[2 ... 4] = native_missing," in source and "native_table[10]" in source


class Work:
    """The thread flags of a host, with interrupts that raise more of them whenever they can."""

    def __init__(self, host: Host, seed: int, limit: int) -> None:
        self.host, self.random, self.left = host, random.Random(seed), limit
        self.flags = 0
        self.bits = host.spec.flag_sets["thread"]
        host.answers |= {"thread_flags": self.read, "thread_flags_clear": self.clear, "schedule": lambda: self.done("NEED_RESCHED"),
                         "deliver_signal": lambda regs: self.done("SIGPENDING"), "notify_resume": self.notify}
        for name in ("user_left", "interrupt", "user_exception", "user_page_fault", *[r.name for r in host.spec.tables["native"].rows]):
            host.answers.setdefault(name, lambda *a: self.interrupt(True))

    def interrupt(self, now: bool = False) -> None:
        if (now or self.host.irqs) and self.left and self.random.random() < 0.7:
            self.left -= 1
            self.flags |= 1 << self.random.choice(list(self.bits.values()))

    def read(self) -> int:
        assert not self.host.irqs, "flags read with interrupts on"
        return self.flags

    def done(self, name: str) -> None:
        assert self.host.irqs, "work done with interrupts off"
        assert self.flags & 1 << self.bits[name], f"{name} was not asked for"
        self.flags &= ~(1 << self.bits[name])
        self.interrupt()

    def clear(self, mask: int) -> None:
        assert mask == 1 << self.bits["NOTIFY_RESUME"]
        self.flags &= ~mask
        self.interrupt()

    def notify(self, regs: int) -> None:
        assert self.host.trace[-2] == "thread_flags_clear", "the one-shot flag is cleared directly before the call"
        self.interrupt()


@pytest.mark.parametrize("seed", range(40))
def test_exit_work_leaves_nothing(x86: Host, arm: Host, seed: int) -> None:
    arm.registers |= {"syndrome": 0x15 << 26, "address": 0}
    x86.registers["address"] = 0
    calls = [(x86, "do_syscall_64", x86.frame(**USER, error=4)), (x86, "do_trap", x86.frame(**USER, vector=32)), (arm, "do_el0_sync", arm.frame(x8=4)),
             (arm, "do_el0_irq", arm.frame())]
    for host, handler, regs in calls:
        work = Work(host, seed, 1 + seed % 9)
        host.enter(handler, regs)
        assert work.flags == 0, "left with work pending"
        trace = host.trace
        last = max(i for i, name in enumerate(trace) if name == "thread_flags")
        assert "irqs on" not in trace[last:], "interrupts came on again after the last look"
        assert trace[last + 1] == "user_resumes", "bookkeeping follows the last look"
        assert trace[last + 2:] == (["this_cpu"] if handler == "do_syscall_64" else [])
        host.answers.clear()


def test_work_of_a_snapshot_is_done_in_the_written_order(x86: Host) -> None:
    reads = iter([0b111, 0])
    x86.answers["thread_flags"] = lambda: next(reads)
    x86.enter("do_syscall_64", x86.frame(**USER, error=3))
    start = x86.trace.index("thread_flags")
    assert x86.trace[start:] == ["thread_flags", "irqs on", "schedule", "deliver_signal", "thread_flags_clear", "notify_resume", "irqs off", "thread_flags",
                                 "user_resumes", "this_cpu"]
    assert x86.trace[:start] == ["user_left", "irqs on", "sys_getpid", "irqs off"]


def test_every_vector_from_both_origins(x86: Host) -> None:
    """The whole product: vector, origin, what is called, with which arguments, inside which brackets."""
    x86.registers["address"] = 0xdead0000_beef0000
    for vector, origin in itertools.product(range(256), ("user", "kernel")):
        regs = x86.frame(vector=vector, cs=0x2b if origin == "user" else 8, flags=0x202)
        x86.enter("do_trap", regs)
        hook = f"{origin}_page_fault" if vector == 14 else "interrupt" if vector >= 32 else f"{origin}_exception"
        before, after = ("user_left", "user_resumes") if origin == "user" else ("kernel_interrupted", "kernel_resumes")
        assert x86.trace[:3] == ["address", before, hook] and x86.trace[-1] == after, (vector, origin)
        assert sum(n in x86.spec.hooks and n not in ("thread_flags", "preemptible") for n in x86.trace) == 3
        more = {"interrupt": [vector]}.get(hook, [0xdead0000_beef0000] if "fault" in hook else [])
        assert x86.arguments[hook] == [ctypes.addressof(regs), *more]


def test_every_syndrome(arm: Host) -> None:
    for ec, (handler, origin, fault) in itertools.product(range(64), (("do_el0_sync", "user", (0x20, 0x24)), ("do_el1_sync", "kernel", (0x21, 0x25)))):
        syndrome = ec << 26 | 0x1abcdef
        arm.registers |= {"syndrome": syndrome, "address": 1 << 63 | ec}
        arm.enter(handler, arm.frame(x8=3))
        hook = "sys_getpid" if origin == "user" and ec == 0x15 else f"{origin}_abort" if ec in fault else f"{origin}_exception"
        assert hook in arm.trace, (handler, ec)
        if hook.startswith(origin):
            assert arm.arguments[hook][1:] == ([syndrome, 1 << 63 | ec] if "abort" in hook else [syndrome])
        assert arm.trace[:2] == ["syndrome", "address"], "registers that the next fault changes are read first"


@pytest.mark.parametrize(("enabled", "allowed", "flags", "switches"), [(1, 1, 1, True), (0, 1, 1, False), (1, 0, 1, False), (1, 1, 0, False), (1, 1, 6, False)])
def test_preemption(x86: Host, arm: Host, enabled: int, allowed: int, flags: int, switches: bool) -> None:
    for host, handler, regs in ((x86, "do_trap", x86.frame(cs=8, vector=40, flags=0x200 * enabled)),
                                (arm, "do_el1_irq", arm.frame(pstate=0x80 * (1 - enabled) | 5))):
        host.registers["address"] = 0
        host.answers |= {"preemptible": lambda: allowed, "thread_flags": lambda: flags}
        host.enter(handler, regs)
        assert ("preempt_schedule" in host.trace) == switches
        assert "irqs on" not in host.trace
        assert host.trace[-1] == "kernel_resumes"


# ---- set-up code ----

def test_gates(tmp_path: Path) -> None:
    """entry_setup() runs here: the table that the CPU would read, byte for byte."""
    folder = write(tmp_path, files_of("x86_64"))
    symbols = [p.name for p in spec_of("x86_64").of_kind("entry")]
    (folder / "host.c").write_text('#include "entry_init.c"\n' + "".join(f"void {s}(void) {{ __asm__(\"\"); }}\n" for s in symbols)
                                   + "void *host_table(void);\nvoid *host_table(void) { return entry_gates; }\n")
    if not Path("/proc/cpuinfo").exists() or run([HOST_CC, "-dumpmachine"], folder).stdout[:6] != "x86_64":
        pytest.fail("the table is filled on its own CPU only")
    run([HOST_CC, "-O1", "-fPIC", "-shared", "-Wl,-Bsymbolic", "host.c", "-o", "host.so"], folder)
    library = ctypes.CDLL(str(folder / "host.so"))
    library.entry_setup()
    library.host_table.restype = ctypes.c_void_p
    table = ctypes.string_at(library.host_table(), 4096)
    for vector in range(256):
        gate = table[vector * 16:vector * 16 + 16]
        address = int.from_bytes(gate[0:2], "little") | int.from_bytes(gate[6:12], "little") << 16
        assert address == ctypes.cast(getattr(library, f"vector_{vector}"), ctypes.c_void_p).value
        assert gate[4] == 0 and gate[5] == (0xee if vector in (3, 4) else 0x8e) and not any(gate[12:])


def test_setup_writes_the_facts_of_the_spec() -> None:
    text = files_of("x86_64")["entry_init.c"]
    body = text[text.index("void entry_setup_cpu"):]
    rows = re.findall(r"(entry_\w+)\((0x\w+), (.*)\);", body)
    mask = spec_of("x86_64").setup["syscall_mask"][0]
    assert rows == [("entry_write_msr", "0xc0000101", "(uintptr_t)percpu"), ("entry_write_msr", "0xc0000102", "0"),
                    ("entry_do_msr", "0xc0000081", "UINT64_C(0x1b000800000000)"), ("entry_do_msr", "0xc0000082", "(uintptr_t)syscall_64"),
                    ("entry_do_msr", "0xc0000084", f"UINT64_C({mask:#x})"), ("entry_do_msr_or", "0xc0000080", "1")]
    arm = files_of("arm64")["entry_init.c"]
    assert re.findall(r"ENTRY_WRITE\((\w+), (.*)\);", arm) == [("tpidr_el1", "(uintptr_t)percpu"), ("vbar_el1", "(uintptr_t)entry_vectors")]


def test_a_selector_that_the_cpu_does_not_load_is_refused(tmp_path: Path) -> None:
    files = files_of("x86_64")
    folder = write(tmp_path, files | {"entry.h": re.sub(r"(#define USER_CS\s+)0x2b", r"\g<1>0x33", files["entry.h"])})
    done = subprocess.run([HOST_CC, "-std=gnu11", "-fsyntax-only", "entry_init.c"], cwd=folder, capture_output=True, text=True)
    assert done.returncode != 0 and "loads cs" in done.stderr


def test_an_entry_of_one_configuration_is_guarded(tmp_path: Path) -> None:
    path = tmp_path / "case.entry"
    path.write_text((ROOT / "specs" / "unikernel.entry").read_text() + '\nfeature F : build "x"; feature G : build "y"\n')
    spec = load_spec(path)
    spec.paths["vector_6"].guard = frozenset({("F", True), ("G", False)})
    rows = emit_init(spec)
    assert "#if defined(CONFIG_F) && !defined(CONFIG_G)\n\t[6] = { vector_6, 0, 0 },\n#endif\n\t[7] = { vector_7, 0, 0 },\n" in rows
    assert "\n\t[5] = { vector_5, 0, 0 },\n#if" in rows


# ---- the C writer ----

def random_tree(pick: random.Random, depth: int) -> Expr:
    """A number-valued tree."""
    if depth == 0 or pick.random() < 0.15:
        kind = pick.random()
        if kind < 0.5:
            return SlotRef("regs", pick.choice(("ax", "bx", "cx", "dx")))
        label = pick.choice(("SMALL", "TOP", "WIDE"))
        values = {"SMALL": 3, "TOP": 0x80000000, "WIDE": 0xffffffff80000001}
        return Num(values[label], label) if kind < 0.75 else Num(pick.choice((0, 1, 5, 9, 10, 255, 0x7fffffff, 0x80000000, 1 << 40, WORD)))
    kind = pick.random()
    inner = random_tree(pick, depth - 1)
    if kind < 0.15:
        return Unary(pick.choice(("neg", "inv")), inner)
    if kind < 0.3:
        return Cast(pick.choice((8, 16, 32, 64)), pick.random() < 0.5, inner)
    if kind < 0.45:
        return Binary(pick.choice(("shl", "shr")), inner, Num(pick.choice((0, 1, 7, 31, 32, 63, 64, 99))))
    if kind < 0.5:
        return Binary(pick.choice(("shl", "shr")), inner, Binary("band", random_tree(pick, depth - 1), Num(127)))
    return Binary(pick.choice(("add", "sub", "band", "bor", "bxor")), inner, random_tree(pick, depth - 1))


def random_condition(pick: random.Random, depth: int) -> Expr:
    kind = pick.random()
    if depth > 1 and kind < 0.3:
        return Binary(pick.choice(("and", "or")), random_condition(pick, depth - 1), random_condition(pick, depth - 1))
    if depth > 1 and kind < 0.4:
        return Unary("not", random_condition(pick, depth - 1))
    return Binary(pick.choice(("eq", "ne", "lt", "le", "gt", "ge")), random_tree(pick, depth - 1), random_tree(pick, depth - 1))


def test_c_means_what_the_model_means(tmp_path: Path, level: str) -> None:
    """Random expressions: the compiled C and the model's evaluator agree, also where C has narrow constants, signs and undefined shifts."""
    path = tmp_path / "case.entry"
    path.write_text((ROOT / "specs" / "unikernel.entry").read_text() + "\nconst SMALL = 3, TOP = 0x80000000, WIDE = 0xffffffff80000001\n")
    spec = load_spec(path)
    pick = random.Random(7)
    trees = [random_tree(pick, 4) if n % 2 else random_condition(pick, 4) for n in range(600)]
    write(tmp_path, render(spec, plan_spec(spec)))
    body = "".join(f"static uint64_t f{n}(const struct regs *regs) {{ (void)regs; return {expression(spec, t)}; }}\n" for n, t in enumerate(trees))
    table = "uint64_t (*const host_table[])(const struct regs *) = { " + ", ".join(f"f{n}" for n in range(len(trees))) + " };\n"
    (tmp_path / "host.c").write_text('#include "entry.h"\n' + body + table)
    flags = ["-fsanitize=shift,signed-integer-overflow", "-fno-sanitize-recover"] if level == "-O0" else []
    try:
        run([HOST_CC, "-std=gnu11", "-w", level, *flags, "-fPIC", "-shared", "host.c", "-o", "host.so"], tmp_path)
        library = ctypes.CDLL(str(tmp_path / "host.so"))
    except (AssertionError, OSError):
        run([HOST_CC, "-std=gnu11", "-w", level, "-fPIC", "-shared", "host.c", "-o", "host.so"], tmp_path)
        library = ctypes.CDLL(str(tmp_path / "host.so"))
    names = [s.name for s in spec.frames["regs"].slots.values()]
    functions = (ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_void_p) * len(trees)).in_dll(library, "host_table")
    for tree, function in zip(trees, functions, strict=True):
        for _ in range(6):
            slots = {n: pick.choice((0, 1, 255, 0x7fffffff, 0x80000000, 1 << 63, WORD, pick.getrandbits(64))) for n in names}
            buffer = (ctypes.c_uint64 * len(names))(*slots.values())
            wanted = evaluate(tree, lambda e, s=slots: s[e.slot] if isinstance(e, SlotRef) else 0)
            assert function(ctypes.addressof(buffer)) == wanted, expression(spec, tree)


HOSTILE = ["*/ int evil; /*", "*\\", "\\", "a\nb", "??/", "???/", "**//**//", "*\\\n/", "/*/",
           "\u202eabc\u2066", "\x00\x1b[2J", "*" * 200 + "/", "x" * 500, "*?\\/", "//\\"]


@pytest.mark.parametrize("text", HOSTILE)
def test_comments_hold(text: str) -> None:
    for line in (f"/* {comment(text)} */", *remarks(text)):
        inner = line.strip().removeprefix("/*").removesuffix("*/")
        assert "*/" not in inner and "/*" not in inner and "\\" not in inner and "??" not in inner
        assert line.isprintable() and "\u202e" not in line


def test_random_comments_hold(tmp_path: Path) -> None:
    pick = random.Random(3)
    texts = ["".join(pick.choice('*/\\? \n"a') for _ in range(30)) for _ in range(500)] + HOSTILE
    (tmp_path / "c.c").write_text("\n".join("\n".join(remarks(t)) for t in texts) + "\nint end;\n")
    out = run([HOST_CC, "-std=c11", "-Wall", "-Werror", "-E", "-P", "c.c"], tmp_path).stdout
    assert out.split() == ["int", "end;"]


@pytest.mark.parametrize(("step", "code"), [
    ("percpu.user_sp = 1", "E503"), ("let x = kernel_gs_base", "E507"), ("do h(percpu.user_sp)", "E501"), ("do h(&percpu)", "E501"),
    ("regs.ax = user.gs_base", "E501"),
])
def test_what_c_cannot_say_is_refused(step: str, code: str, tmp_path: Path) -> None:
    text = HEAD + f"""frame regs {{ gprs; vector = number; error = error_code else 0; hardware }}
memory percpu at gs_base {{ user_sp : word }}
hook h(u64 value)
vectors 0..255 {{ df = 0; save regs; call trap(regs); restore all; return iretq }}
handler trap(regs) {{ {step} }}
"""
    with pytest.raises(Findings) as stop:
        files_of_text(tmp_path, text)
    assert [f.code for f in stop.value.findings] == [code] and stop.value.findings[0].span is not None


# ---- the other outputs ----

def test_outputs_depend_on_the_spec_alone(tmp_path: Path) -> None:
    for name in SPECS:
        copy = tmp_path / "elsewhere" / spec_file(name).name
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(spec_file(name).read_bytes())
        spec = load_spec(copy)
        again = render(spec, plan_spec(spec))
        assert again == files_of(name)
        for file, text in again.items():
            assert str(tmp_path) not in text and str(ROOT) not in text, file


def test_manifest_names_what_was_made() -> None:
    manifest = json.loads(files_of("x86_64")["manifest.json"])
    assert set(manifest["files"]) == set(files_of("x86_64")) - {"manifest.json"}
    assert {"number": 3, "symbol": "vector_3", "event": "vector", "from": "any", "user_may_raise": True} in manifest["entries"]
    assert manifest["frames"]["regs"]["slots"]["ss"] == 168 and manifest["setup"]["star_user"] == "0x1b"


def test_layout_shows_every_member() -> None:
    text = files_of("x86_64")["entry.layout"]
    rows = dict(re.findall(r"uint64_t (\w+);\s+/\*\s+(\d+)\s+8 \*/", text))
    assert all(rows[s.name] == str(s.offset) for s in spec_of("x86_64").frames["regs"].slots.values())
    assert "/* size: 176, a multiple of 16, members: 22 */" in text


def test_make_fragment_builds_and_follows_the_spec(tmp_path: Path) -> None:
    write(tmp_path / "gen_dir", files_of("x86_64"))
    (tmp_path / "s.entry").write_text("spec")
    (tmp_path / "fake").write_text('#!/bin/sh\necho "$@" >> log\necho "gen_dir/manifest.json: s.entry more.entry" > gen_dir/entry.d\n'
                                   'echo more.entry: >> gen_dir/entry.d\n'
                                   'echo "/* new */" >> gen_dir/entry.c\n')
    (tmp_path / "fake").chmod(0o755)
    (tmp_path / "Makefile").write_text("entry-dir := gen_dir\nall:\ninclude gen_dir/entry.mk\nall: $(entry-objects)\n")
    make = ["make", f"CC={HOST_CC}", "CFLAGS=-std=gnu11 -ffreestanding -Wall -Werror"]
    (tmp_path / "fake-cc").write_text('#!/bin/sh\nfor o; do case $o in *.o) : > $o; echo cc $o >> log;; esac; done\n')
    (tmp_path / "fake-cc").chmod(0o755)
    if run([HOST_CC, "-dumpmachine"], tmp_path).stdout.startswith("x86_64"):
        run(make, tmp_path)
        assert (tmp_path / "entry_init.c.o").stat().st_size
    make = ["make", "CC=./fake-cc", "ENTRYC=./fake", "ENTRY_SPEC=s.entry"]
    future = (tmp_path / "gen_dir" / "manifest.json").stat().st_mtime + 5
    os.utime(tmp_path / "s.entry", (future, future))
    run(make, tmp_path)
    assert "build --quiet --depfile gen_dir/entry.d -o gen_dir s.entry" in (tmp_path / "log").read_text()


def test_depfile_escapes() -> None:
    assert depfile("out/a b", ["x#y", "$z"]) == "out/a\\ b: x\\#y $$z\nx\\#y:\n$$z:\n"


def test_facts_are_flat() -> None:
    for name in SPECS:
        for key, rows in facts(spec_of(name)).items():
            assert isinstance(rows, str | list), key
