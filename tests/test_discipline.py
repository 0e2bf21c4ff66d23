"""No active code, on the bytes: each rule is shown by one change of the shipped text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import pytest
from entryc.assemble import decode, discipline, second
from entryc.driver.assembled import BASE, externs
from entryc.emit.asm import flat_lines
from entryc.image.image import Image
from entryc.model.build import load_spec
from entryc.model.spec import Spec
from entryc.plan.code import Code
from entryc.plan.plan import plan_spec
from entryc.source.finding import Collector

SPECS = Path(__file__).parents[1] / "specs"
CONFIGURATIONS = [(p.stem, name) for p in sorted(SPECS.glob("*.entry")) for name in load_spec(p).configurations]
Change = Callable[[list[str]], list[str]]


@lru_cache(maxsize=4)
def planned(name: str) -> tuple[Spec, Code]:
    spec = load_spec(SPECS / f"{name}.entry")
    return spec, plan_spec(spec, Collector())


def assembled(name: str, configuration: str, change: Change = lambda lines: lines) -> tuple[Spec, Image, frozenset[str]]:
    spec, code = planned(name)
    tools = second.assemblers(spec.arch)
    if not tools:
        pytest.fail(f"no second assembler for {spec.arch.name} on this machine")
    symbols = externs(code)
    result, image = second.assemble_flat(spec.arch, tools[0], change(flat_lines(spec, code, spec.configurations[configuration])), BASE, symbols)
    assert image is not None, result.error
    return spec, image, frozenset(symbols)


def check(name: str, configuration: str, change: Change = lambda lines: lines) -> discipline.Result:
    spec, image, names = assembled(name, configuration, change)
    return discipline.check(spec, image, spec.configurations[configuration], names)


def codes(result: discipline.Result) -> set[str]:
    assert all(f.level == "error" for f in result.findings)
    return {f.code for f in result.findings}


# ---- changes of a text ----

def after(label: str, *added: str) -> Change:
    """Lines added behind a label and its local name."""
    def change(lines: list[str]) -> list[str]:
        at = lines.index(f"{label}:") + 2
        return [*lines[:at], *added, *lines[at:]]
    return change


def instead(old: str, *new: str, last: bool = False) -> Change:
    """The first or last line that begins so is replaced."""
    def change(lines: list[str]) -> list[str]:
        found = [i for i, line in enumerate(lines) if line.startswith(old) and not line.endswith(":")]
        at = found[-1 if last else 0]
        return [*lines[:at], *new, *lines[at + 1:]]
    return change


def at_end(*added: str) -> Change:
    return lambda lines: [*lines, *added]


def doubled(first: str) -> Change:
    """A line and the one behind it, twice."""
    def change(lines: list[str]) -> list[str]:
        at = next(i for i, line in enumerate(lines) if line.startswith(first))
        return [*lines[:at], *lines[at:at + 2], *lines[at:]]
    return change


@pytest.mark.parametrize(("name", "configuration"), CONFIGURATIONS)
def test_shipped_specs(name: str, configuration: str) -> None:
    result = check(name, configuration)
    assert result.findings == []
    spec, _ = planned(name)
    for kind in set(result.decisions.values()):
        assert list(result.decisions.values()).count(kind) <= spec.decisions[kind].most
    assert result.roles["save"] > 0


def test_decisions_of_the_kernel_spec() -> None:
    assert sorted(check("x86_64-small", "base").decisions.values()) == ["method", "origin"]
    assert check("arm64", "base").decisions == {}
    assert check("unikernel", "base").decisions == {}


@pytest.mark.parametrize(("change", "expected"), [
    (after("trap", ".byte 0x6"), "D201"),
    (at_end(".byte 0x6"), "D201"),
    (after("trap", "hlt"), "D203"),
    (after("trap", "addq %rax, %rbx"), "D203"),
    (after("trap", "rdtsc"), "D203"),
    (after("trap", "pushw %ax"), "D203"),
    (doubled("testb $0x3"), "D206"),
    (after("trap", "testb %al, %al", "jz return_to_user"), "D206"),
    (after("trap", "jz return_to_user"), "D206"),
    (after("trap", "testb %al, %al"), "D206"),
    (after("trap", "testb $0x3, 0x8(%rbp)", "jz return_to_user"), "D206"),
    (instead("iretq", "jmp trap", last=True), "D207"),
    (instead("iretq", "jnz trap", "iretq"), "D207"),
    (after("trap", "jmp trap + 0x1"), "D208"),
    (after("trap", "jmp 0xffffffff80000000"), "D208"),
    (instead("iretq", "cld", last=True), "D207"),               # the next stub jumps back
    (instead("sysretq", "cld"), "D208"),
    (instead("call do_trap", "call trap"), "D209"),
    (instead("call do_trap", "call do_trap + 0x1"), "D209"),
    (at_end("cld", "iretq"), "D205"),
    (instead("jmp .Ltrap", "jmp .Ltrap", "int3", "nop"), "D203"),
    (instead("jmp .Ltrap", "jmp .Ltrap", "int3", "cld"), "D205"),
])
def test_x86(change: Change, expected: str) -> None:
    assert expected in codes(check("x86_64-small", "base", change))


def test_a_branch_is_judged_on_every_way_to_it() -> None:
    """A jump in between the test and its branch: the branch then decides on whatever the flags are."""
    def change(lines: list[str], stolen: bool) -> list[str]:
        out = [line for line in lines if not line.startswith("testb %al") and line != "jz .Liret_user"]
        first, second = (i for i, line in enumerate(out) if line.startswith("call do_trap"))
        return [*out[:first + 1], "testb %al, %al", ".Lmiddle:", "jz return_to_user", *out[first + 1:second + 1],
                *(["jmp .Lmiddle"] if stolen else []), *out[second + 1:]]
    assert "test" not in check("x86_64-small", "base", lambda lines: change(lines, False)).decisions.values()
    result = check("x86_64-small", "base", lambda lines: change(lines, True))
    assert "test" in result.decisions.values() and "D206" in codes(result)


@pytest.mark.parametrize(("change", "expected"), [
    (at_end(".long 0xd4d4d4d0"), "D201"),
    (at_end(".long 0x0"), "D203"),
    (at_end("wfi"), "D203"),
    (at_end("movk x0, #0x1, lsl #0x10"), "D203"),
    (at_end("mov x1, xzr"), "D205"),
    (at_end("mov x1, xzr", "isb"), "D205"),
    (instead("b .L", "b .Lel1h_irq", "isb"), "D205"),
    (instead("eret", "mov x1, xzr"), "D208"),
    (instead("eret", "mov x1, xzr", last=True), "D208"),
    (instead("bl ", "bl el1h_sync"), "D209"),
    (instead("bl ", "blr x1"), "D203"),
])
def test_arm64(change: Change, expected: str) -> None:
    assert expected in codes(check("arm64", "base", change))


def test_every_slot_of_the_table_is_followed() -> None:
    """The first instruction of a slot is reached by hardware alone: where it goes counts too."""
    def change(lines: list[str]) -> list[str]:
        at = max(i for i, line in enumerate(lines) if line.startswith(".org "))
        return [*lines[:at + 1], "b 0x80001000", *lines[at + 2:]]
    result = check("arm64", "base", lambda lines: [line.replace("0x80001000", "entry_vectors + 0x40") for line in change(lines)])
    assert codes(result) & {"D205", "D208"}


def test_a_missing_symbol_is_found() -> None:
    spec, image, names = assembled("x86_64-small", "base")
    fewer = replace(image, symbols={n: a for n, a in image.symbols.items() if n != "syscall_64"})
    assert "D204" in codes(discipline.check(spec, fewer, spec.configurations["base"], names))


def test_an_undeclared_function_is_no_function() -> None:
    spec, image, names = assembled("x86_64-small", "base")
    assert "D209" in codes(discipline.check(spec, image, spec.configurations["base"], names - {"do_trap"}))


def test_undeclared_decisions_are_found() -> None:
    spec, image, names = assembled("x86_64-small", "base")
    bare = replace(spec, decisions={})
    result = discipline.check(bare, image, spec.configurations["base"], names)
    assert [f.code for f in result.findings] == ["D206", "D206"]


@pytest.mark.parametrize(("answer", "message"), [
    ((1, "", None), "bytes"), ((0, "", None), "bytes"),
])
def test_decoders_that_disagree_are_found(monkeypatch: pytest.MonkeyPatch, answer: tuple[int, str, int | None], message: str) -> None:
    spec, image, names = assembled("arm64", "base")
    monkeypatch.setattr(decode, "_second", lambda *arguments: answer)
    result = discipline.check(spec, image, spec.configurations["base"], names)
    assert "D202" in codes(result) and any(message in f.message for f in result.findings)


def test_decoders_that_disagree_on_flow_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    spec, image, names = assembled("x86_64-small", "base")
    honest = decode._second

    def moved(*arguments: object) -> tuple[int, str, int | None]:
        size, flow, target = honest(*arguments)  # type: ignore[arg-type]
        return size, flow, target + 1 if target is not None else None
    monkeypatch.setattr(decode, "_second", moved)
    result = discipline.check(spec, image, spec.configurations["base"], names)
    assert any(f.code == "D202" and "targets" in f.message for f in result.findings)
    monkeypatch.setattr(decode, "_second", lambda *arguments: (honest(*arguments)[0], "jump", None))
    result = discipline.check(spec, image, spec.configurations["base"], names)
    assert any(f.code == "D202" and "goes on" in f.message for f in result.findings)


def test_few_lines_for_one_cause() -> None:
    spec, image, _ = assembled("x86_64-small", "base")
    result = discipline.check(spec, image, spec.configurations["base"], frozenset())
    assert len([f for f in result.findings if f.code == "D209"]) <= discipline.MOST + 1
