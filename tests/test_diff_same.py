"""Refactorings that have to come out proved, and near-misses that must not: edits of specs, and edits of the machine code of one and the same spec."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import SPECS, assemble
from entryc.diff.effects import Made, effects
from entryc.diff.refactoring import concluded, same, symbol_names, weighed
from entryc.diff.result import compared
from entryc.diff.same import Watch, alike
from entryc.model.build import load_spec
from entryc.model.spec import Spec
from entryc.plan.plan import plan_spec
from entryc.prove.solver import Solver

X86 = (SPECS / "x86_64-small.entry").read_text().replace("vectors 0..255 raised by user 3 4 {", "vectors 7..9 raised by user 9 {")
ARM = (SPECS / "arm64.entry").read_text()


def made(folder: Path, name: str, text: str) -> Made:
    path = folder / name
    path.write_text(text)
    spec = load_spec(path, name)
    code = plan_spec(spec)
    return Made(spec, code, {n: assemble(spec, code, c) for n, c in spec.configurations.items()}, {})


def edited(text: str, *edits: tuple[str, str]) -> str:
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new)
    return text


TAME = "    ac = 0 if SMAP\n    df = 0\n    save regs\n    clear all"
BASE = "        gs = kernel\n        gs_spec = fenced\n        call"
SYSTEM = ["    elr_el1 = regs.pc using x21\n", "    spsr_el1 = regs.pstate using x22\n", "    sp_el0 = regs.sp using x23\n"]
GPRS = "    r15 r14 r13 r12 bp bx r11 r10 r9 r8 ax cx dx si di\n"
KERNEL = "call do_trap(regs)\n        exit iret_kernel"

PROVED = {
    "reordered pushes": (X86, [("r15 r14 r13 r12 bp bx", "bx bp r12 r13 r14 r15")]),
    "another frame order": (X86, [(GPRS, " ".join(["   ", *reversed(GPRS.split())]) + "\n")]),
    "a slot more, for C": (X86, [("    r15 r14 r13", "    note : by c; r15 r14 r13")]),
    "flags tamed after the save": (X86, [(TAME, "    save regs\n    df = 0\n    clear all\n    ac = 0 if SMAP")]),
    "steps in a path": (X86, [(BASE, "        through user_state\n        call"),
                              ("exit iret_kernel of", "path user_state {\n    gs = kernel\n    gs_spec = fenced\n}\nexit iret_kernel of")]),
    "per-CPU words in another order": (X86, [("    user_sp  : word\n", ""), ("    current  : word", "    current  : word\n    user_sp  : word")]),
    "scratch registers": (ARM, [("using x21 x22 x23", "using x24 x25 x26")]),
    "another frame order on arm64": (ARM, [("    orig_x0 : by c\n    syscallno : by c\n", "    syscallno : by c\n    orig_x0 : by c\n")]),
    "system registers restored in another order": (ARM, [("".join(SYSTEM), "".join(reversed(SYSTEM)))]),
    "another scratch register": (ARM, [("using x28", "using x17")]),
}

OTHER = "handler do_other(regs) {\n    enter kernel\n    work to_kernel\n    leave kernel\n}\n"
DIFFER = {
    "another result before the call": (X86, [("ax = -ENOSYS }", "ax = 0 }")], "regs.ax"),
    "another vector number in system calls": (X86, [("NO_VECTOR = 0x100 ", "NO_VECTOR = 0x101 ")], "regs.vector"),
    "another C function": (X86, [(KERNEL, KERNEL.replace("do_trap", "do_other")), ("handler do_trap(regs) {", OTHER + "handler do_trap(regs) {")], "do_"),
    "a system register of the user's is written": (ARM, [(SYSTEM[2], SYSTEM[2] + "    tpidr_el0 = regs.sp using x23\n")], "tpidr_el0"),
    "a word that C reads is overwritten": (X86, [("    percpu.user_sp = sp\n", "    percpu.user_sp = sp\n    percpu.current = sp\n")], "percpu.current"),
    "a word that C reads is no longer written": (X86.replace("    percpu.user_sp = sp\n", "    percpu.user_sp = sp\n    percpu.current = sp\n"),
                                                 [("    percpu.current = sp\n", "")], "percpu.current"),
    "fewer vectors can be told apart": (X86, [("    save regs.vector\n", "    save regs.vector { vector = 7 }\n")], "regs.vector"),
}


def conclusion(folder: Path, old: str, new: str) -> tuple[Made, Made, dict[str, object]]:
    sides = made(folder, "old.entry", old), made(folder, "new.entry", new)
    names = {s: o for s, o in symbol_names(sides[0].spec, sides[1].spec).items() if s != o}
    found = same(sides[0], sides[1], names, None)
    found["conclusion"] = concluded(compared(sides[0].spec, sides[1].spec).rows, found)
    return *sides, found


@pytest.mark.parametrize("name", PROVED)
def test_refactorings_are_proved(name: str, tmp_path: Path) -> None:
    text, edits = PROVED[name]
    old, new, found = conclusion(tmp_path, text, edited(text, *edits))
    assert str(found["conclusion"]).startswith("refactoring: "), found
    rows = weighed(compared(old.spec, new.spec).rows, found)
    assert all(r.category == "code only" for r in rows if r.rule.code.startswith(("D08", "D09"))), rows


def test_some_refactorings_change_the_code(tmp_path: Path) -> None:
    """Proved is more than the same bytes."""
    text, edits = PROVED["reordered pushes"]
    old, new, found = conclusion(tmp_path, text, edited(text, *edits))
    assert re.fullmatch(r"refactoring: proved, by \d{4,} comparisons, for all values of registers, slots and memory; C has to be compiled anew: D051",
                        str(found["conclusion"]))
    stubs = effects(old, new, {})["stubs"]
    assert {"syscall_64", "trap", "iret_user"} <= {n for s in stubs for n in s["names"]}
    assert all(s["old"] == s["new"] for s in stubs), "as many instructions and bytes as before"


@pytest.mark.parametrize("name", DIFFER)
def test_near_misses_are_not(name: str, tmp_path: Path) -> None:
    text, edits, where = DIFFER[name]
    *_, found = conclusion(tmp_path, text, edited(text, *edits))
    rows = [r for r in found["stubs"] if r["verdict"] == "differs"]     # type: ignore[attr-defined]
    assert found["conclusion"] == "no refactoring: the machine code behaves otherwise", found
    assert any(where in r["detail"] for r in rows), rows


MEANING = {
    "a clause less": ("    when regs.ip < USER_END ", "    # when regs.ip < USER_END ", "every instruction is the same", "D111"),
    "exit work in another order": ("SIGPENDING    -> deliver_signal(regs)\n        NOTIFY_RESUME -> notify_resume(regs) clears first",
                                   "NOTIFY_RESUME -> notify_resume(regs) clears first\n        SIGPENDING    -> deliver_signal(regs)",
                                   "every instruction is the same", "D126"),
    "a system call less": ("    9 sys_test(3)\n", "", "every instruction is the same", "D136"),
    "a contract that demands less": ("    needs ac = 0 if SMAP\n", "", "every instruction is the same", "D038"),
}


@pytest.mark.parametrize("name", MEANING)
def test_what_is_not_assembly_counts(name: str, tmp_path: Path) -> None:
    """The same machine code is no refactoring where C, or what is demanded, is another."""
    old, new, code, rule = MEANING[name]
    *_, found = conclusion(tmp_path, X86, edited(X86, (old, new)))
    assert found["conclusion"] == f"no refactoring: the assembly behaves alike ({code}), but the spec means something else: {rule}"


def swapped(a: str, b: str) -> Callable[[list[str]], list[str]]:
    """Two lines of the first entry point change places."""
    def edit(lines: list[str]) -> list[str]:
        i, j = lines.index(a), lines.index(b)
        out = list(lines)
        out[i], out[j] = b, a
        return out
    return edit


def without(a: str) -> Callable[[list[str]], list[str]]:
    def edit(lines: list[str]) -> list[str]:
        return [*lines[:lines.index(a)], *lines[lines.index(a) + 1:]]
    return edit


CODE = {
    "two registers are saved in each other's slot": (swapped("pushq %rdi", "pushq %rsi"), "regs."),
    "two registers are restored from each other's slot": (swapped("popq %r15", "popq %r14"), "r14"),
    "a register is not cleared": (without("xorl %r12d, %r12d"), "r12"),
    "the fence is gone": (without("lfence"), "gs_spec"),
    "GS is not switched back": (lambda lines: lines[:-1 - lines[::-1].index("swapgs")] + lines[len(lines) - lines[::-1].index("swapgs"):], "gs"),
}


@pytest.mark.parametrize("name", CODE)
def test_defects_in_the_code_are_seen(name: str, tmp_path: Path) -> None:
    """The same spec on both sides: what differs is the machine code alone."""
    edit, where = CODE[name]
    good = made(tmp_path, "good.entry", X86)
    spec: Spec = good.spec
    base = spec.configurations["base"]
    bad = assemble(spec, good.code, base, edit)
    solver = Solver()
    watches = [Watch(spec, image, base, solver) for image in (good.images["base"], bad)]
    pairs = [(p, p) for p in spec.paths.values() if p.kind in ("entry", "routine")]
    found = list(alike(watches[0], watches[1], pairs, solver))
    assert any(verdict == "differs" and where in detail for _, verdict, detail, _, _ in found), found
    again = [Watch(spec, good.images["base"], base, solver) for _ in range(2)]
    assert all(verdict == "proved" for _, verdict, *_ in alike(again[0], again[1], pairs, solver))


def test_a_separating_state_is_shown(tmp_path: Path) -> None:
    text = edited(X86, ("ax = -ENOSYS }", "ax = 0 }"))
    *_, found = conclusion(tmp_path, X86, text)
    row = next(r for r in found["stubs"] if r["verdict"] == "differs")  # type: ignore[attr-defined]
    assert row["detail"] == "regs.ax at call do_syscall_64 (syscall_64): 0xffffffffffffffda was there, 0x0 is"
