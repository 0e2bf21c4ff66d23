"""The build contract of compiled C: what compiler flags have to keep out of entry code is found on its bytes, in objects and in images."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import ROOT
from entryc.image.c_contract import Known, check_c_object, measure_c_object
from entryc.image.elf import read_image
from entryc.image.lift import Lifter
from test_compiled_c import BOTH, COMPILERS, compile_c, edited, files_of, link_c, run, spec_of

FIRST = r"\tuser_left\(regs\);"
HEAD = r'#include "entry.h"\n'
STRANGER = "void stranger(void); void stranger(void) { }\n"


def codes(name: str, path: Path, limit: int = 1024) -> list[str]:
    return sorted({f.code for f in check_c_object(spec_of(name), path, limit)})


@BOTH
@pytest.mark.parametrize("arch", ["x86_64", "arm64"])
def test_the_generated_c_keeps_the_contract(arch: str, cc: str, tmp_path: Path) -> None:
    spec = spec_of(arch)
    image = link_c(spec, files_of(arch), tmp_path, cc)
    found = measure_c_object(spec, image)
    assert not found.findings and set(found.depth) == set(spec.handlers)
    assert all(0 < depth <= 128 for depth in found.depth.values())
    assert not check_c_object(spec, tmp_path / "entry.o")


ROOM = 'uint64_t room[200]; __asm__ volatile("" :: "r"(room) : "memory"); '
# Code, name, CPU, edit of entry.c, flags of the compiler.
DEFECTS = [
    ("E431", "floating point", "x86_64", FIRST, "regs->r8 = (uint64_t)((double)regs->r9 * 1.5); user_left(regs);", ("/-mgeneral-regs-only",)),
    ("E431", "floating point", "arm64", FIRST, "regs->x8 = (uint64_t)((double)regs->x9 * 1.5); user_left(regs);", ("/-mgeneral-regs-only",)),
    ("E431", "the old floating point", "x86_64", FIRST, '__asm__ volatile("fninit"); user_left(regs);', ()),
    ("E431", "vectors", "arm64", FIRST, "for (int i = 0; i < 16; i++) ((uint64_t *)regs)[i] ^= 5; user_left(regs);", ("/-mgeneral-regs-only", "-O3")),
    ("E431", "a control register", "x86_64", FIRST, '__asm__ volatile("mov %%rax, %%cr4" ::: "memory"); user_left(regs);', ()),
    ("E431", "a control register", "arm64", FIRST, '__asm__ volatile("msr sctlr_el1, x0" ::: "memory"); user_left(regs);', ()),
    ("E432", "a red zone", "x86_64", HEAD, '#include "entry.h"\n#define user_left(r) (user_left)(leaf(r))\n'
     "static __attribute__((noinline)) struct regs *leaf(struct regs *r) { volatile uint64_t a[4]; a[1] = (uint64_t)r; return (struct regs *)a[1]; }\n",
     ("/-mno-red-zone",)),
    ("E433", "a stack protector", "x86_64", FIRST, "user_left(regs);", ("/-fno-stack-protector", "-fstack-protector-all", "-DENTRY_CODE=")),
    ("E433", "a stack protector", "arm64", FIRST, "user_left(regs);", ("/-fno-stack-protector", "-fstack-protector-all", "-DENTRY_CODE=")),
    ("E433", "a canary in a register of the system", "arm64", FIRST, "user_left(regs);",
     ("/-fno-stack-protector", "-fstack-protector-all", "-DENTRY_CODE=", "-mstack-protector-guard=sysreg", "-mstack-protector-guard-reg=sp_el0",
      "-mstack-protector-guard-offset=16")),
    ("E434", "a function of the compiler's", "x86_64", FIRST, "__builtin_memset(regs, 1, regs->r8); user_left(regs);", ()),
    ("E434", "a function that the spec does not declare", "arm64", FIRST, "extern void stranger(void); stranger(); user_left(regs);", ()),
    ("E434", "a variable of the kernel", "x86_64", FIRST, "extern uint64_t jiffies; jiffies++; user_left(regs);", ()),
    ("E434", "a variable of the kernel", "arm64", FIRST, "extern uint64_t jiffies; jiffies++; user_left(regs);", ()),
    ("E433", "a canary in a variable", "x86_64", FIRST, "user_left(regs);",
     ("/-fno-stack-protector", "-fstack-protector-all", "-DENTRY_CODE=", "-mstack-protector-guard=global")),
    ("E435", "a deep stack", "x86_64", FIRST, ROOM + "user_left(regs);", ()),
    ("E435", "a deep stack in what is called", "arm64", r"return sys_exit\(", ROOM + "return sys_exit(", ()),
    ("E436", "recursion", "x86_64", HEAD, '#include "entry.h"\n#define user_left(r) (user_left)((void *)down((uint64_t)r))\n'
     "static __attribute__((noinline)) uint64_t down(uint64_t n) { return n < 3 ? n : down(n / 2) + down(n - 1); }\n", ("-O1",)),
    ("E436", "a stack of a size that is not known", "x86_64", FIRST,
     ROOM.replace("200", "regs->r8") + "user_left(regs);", ()),
]
# What an object already shows; the depth of the stack and what is called inside itself need the linked image.
IN_OBJECTS = {"E431", "E432", "E433", "E434"}


@pytest.mark.parametrize(("code", "name", "arch", "pattern", "replacement", "flags"), DEFECTS,
                         ids=[f"{row[2]}-{row[1]}".replace(" ", "_") for row in DEFECTS])
def test_a_planted_defect_is_found(code: str, name: str, arch: str, pattern: str, replacement: str, flags: tuple[str, ...], tmp_path: Path) -> None:
    files = edited(arch, pattern, replacement.replace("\\", "\\\\"))
    more = STRANGER + "void __stack_chk_fail(void); void __stack_chk_fail(void) { }\nunsigned long __stack_chk_guard, jiffies;\n" \
        "void *memset(void *to, int byte, unsigned long size) { (void)byte; (void)size; return to; }\n"
    image = link_c(spec_of(arch), files, tmp_path, "gcc", *flags, more=more)
    assert code in codes(arch, image), check_c_object(spec_of(arch), image)
    if code in IN_OBJECTS:
        assert code in codes(arch, tmp_path / "entry.o"), check_c_object(spec_of(arch), tmp_path / "entry.o")


def test_the_limit_of_the_stack_is_a_number(tmp_path: Path) -> None:
    image = link_c(spec_of("x86_64"), files_of("x86_64"), tmp_path, "gcc")
    depth = measure_c_object(spec_of("x86_64"), image).depth
    deepest = max(depth.values())
    assert codes("x86_64", image, deepest) == []
    found = check_c_object(spec_of("x86_64"), image, deepest - 1)
    assert [f.code for f in found] == ["E435"] and str(deepest) in found[0].message


def test_what_cannot_be_checked_is_said(tmp_path: Path) -> None:
    spec = spec_of("x86_64")
    image = link_c(spec, files_of("x86_64"), tmp_path, "gcc")
    for path in (ROOT / "LICENSE", tmp_path / "missing"):
        assert codes("x86_64", path) == ["E430"]
    assert codes("arm64", image) == ["E430"]
    assert codes("arm64", tmp_path / "entry.o") == ["E430"]
    whole = image.read_bytes()
    for size in (10, 64, 500, len(whole) // 2, len(whole) - 200):
        (tmp_path / "cut").write_bytes(whole[:size])
        assert codes("x86_64", tmp_path / "cut") == ["E430"], size
    run("objcopy", "--redefine-sym", "do_trap=other", str(image))
    assert codes("x86_64", image) == ["E430"]


def test_an_object_without_symbols_is_not_green(tmp_path: Path) -> None:
    compile_c(spec_of("x86_64"), files_of("x86_64"), tmp_path, "gcc")
    run("objcopy", "--strip-all", str(tmp_path / "entry.o"))
    assert codes("x86_64", tmp_path / "entry.o") == ["E430"]


@pytest.mark.parametrize(("arch", "text", "name"), [
    ("x86_64", "add %rax, %rbx", None), ("x86_64", "pushfq", "rflags"), ("x86_64", "ldmxcsr (%rax)", "mxcsr"), ("x86_64", "fldl (%rax)", "st"),
    ("x86_64", "movdqu (%rax), %xmm3", "xmm3"), ("x86_64", "vzeroupper", "mm"), ("x86_64", "mov %eax, %ds", "ds"), ("x86_64", "cmovne %rax, %rbx", None),
    ("arm64", "add x0, x1, x2", None), ("arm64", "adds x0, x1, x2, lsl #3", None), ("arm64", "tst x0, x1, asr #3", None),
    ("arm64", "ccmp x0, #0, #4, ne", None),
    ("arm64", "msr daif, x0", "daif"), ("arm64", "mrs x0, fpcr", "fpcr"), ("arm64", "ldr q3, [x0]", "q3"), ("arm64", "fmov d0, x0", "d0"),
    ("arm64", "mrs x0, esr_el1", None),
])
def test_registers_that_nobody_declared(arch: str, text: str, name: str | None, tmp_path: Path) -> None:
    """What the lifter keeps for itself (flags on their way) is none of the CPU's registers; every other register has to be declared."""
    spec = spec_of(arch)
    (tmp_path / "a.s").write_text(f".globl _start\n_start: {text}\n")
    run(COMPILERS[arch, "gcc"][0], "-nostdlib", "-static", str(tmp_path / "a.s"), "-o", str(tmp_path / "a"))
    image = read_image(spec.arch, tmp_path / "a")
    lifter = Lifter(spec.arch, image)
    found = Known(lifter).foreign(lifter.at(image.symbols["_start"]))
    assert (found is None) if name is None else (found is not None and name in found), found
