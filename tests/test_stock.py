"""Stock Linux: its entry code, as compilers make it, is proved against the description in specs/linux, and changes of it are noticed.

.ci/kernel builds what is needed, once; the objects are kept outside of the repository.
"""

from __future__ import annotations

import os
from collections import Counter
from functools import lru_cache

import pytest
from conftest import SPECS, kernel
from entryc.image.elf import Binary, read_binary
from entryc.image.image import Image
from entryc.model.build import load_spec
from entryc.model.spec import Spec
from entryc.prove.mutate import Mutant, Mutation, Patched, Score, sample
from entryc.prove.solver import Solver
from entryc.prove.verify import Report, Run, verify
from entryc.run.crosscheck import crosscheck
from entryc.run.replay import PLACES

STOCK = SPECS / "linux" / "x86_64-6.12.entry"
CONFIGURATIONS = ("none", "pti", "pti_pcid", "intel", "amd")
# What the issue of this description was about: in these, nothing may stay unknown.
CLASSES = {"register", "return", "slot", "stack", "state", "system", "argument", "legality"}
NEAR = ("entry_SYSCALL_64", "entry_SYSCALL_compat", "entry_SYSENTER_compat", "asm_exc_general_protection", "asm_exc_page_fault", "asm_exc_divide_error",
        "asm_exc_int3", "asm_exc_debug", "asm_exc_double_fault", "asm_int80_emulation", "asm_sysvec_thermal", "vector_32", "vector_235")


@lru_cache(maxsize=8)
def stock(constants: tuple[tuple[str, int], ...] = (), near: bool = False) -> Spec:
    spec = load_spec(STOCK, constants=dict(constants))
    if near:
        for name in [p.name for p in spec.of_kind("entry") if p.name not in NEAR]:
            del spec.paths[name]
    return spec


@lru_cache(maxsize=8)
def binary(variant: str, files: tuple[str, ...] = ("entry_64.o", "entry_64_compat.o")) -> Binary:
    spec = stock()
    low = frozenset(c.symbol for m in spec.memories.values() if m.base for c in m.cells.values() if c.symbol)
    return read_binary(spec.arch, [kernel(variant) / name for name in files], low)


def image(spec: Spec, found: Binary, name: str) -> Image:
    features = spec.configurations[name].features
    return found.image(frozenset(spec.features[f].number or 0 for f in features if spec.features[f].number is not None))


def proved(spec: Spec, found: Binary, name: str) -> Report:
    return verify(spec, image(spec, found, name), spec.configurations[name])


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_objects(name: str) -> None:
    report = proved(stock(), binary("small-6.12"), name)
    unknown = [v for v in report.verdicts if v.verdict == "unknown" and v.claim.kind in CLASSES]
    assert not unknown
    assert report.green, report.summary()
    assert len(report.verdicts) > 40_000


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_linked_kernel(name: str) -> None:
    report = proved(stock(), binary("small-6.12", ("vmlinux",)), name)
    assert report.green, report.summary()
    assert len(report.image.sha256) == 64


@pytest.mark.parametrize("variant", ["defconfig-6.12", "full-6.12"])
def test_other_configurations_of_the_kernel(variant: str) -> None:
    for name in CONFIGURATIONS:
        assert proved(stock(near=True), binary(variant), name).green


def test_clang() -> None:
    """The same paths; that build has no untraining of returns, and the proof says so."""
    spec = stock((("TOP_OF_STACK", 0x10),), near=True)
    for name in CONFIGURATIONS[:4]:
        assert proved(spec, binary("clang-6.12"), name).green
    report = proved(spec, binary("clang-6.12"), "amd")
    assert report.count("unknown") == 0
    assert {v.claim.text for v in report.verdicts if v.verdict == "refuted"} and all(
        "untrain" in v.claim.text or "leave_saferet" in v.claim.text for v in report.verdicts if v.verdict == "refuted")


def test_an_older_kernel() -> None:
    """6.1 keeps the stack's top elsewhere: not proved, and the symbol is named."""
    report = proved(stock(near=True), binary("small-6.1"), "none")
    assert not report.green
    text = "\n".join(f"{f.message} {f.help}" for f in report.findings())
    assert "cpu_current_top_of_stack" in text
    assert any("pcpu_hot" in line for line in report.missing)
    good = {v.claim.stub for v in report.verdicts} - {v.claim.stub for v in report.verdicts if v.verdict != "proved"}
    assert not any(stub.startswith("entry_") for stub in good)


# Where the description was wrong at first, and what has to stay an error now that it is right:
# (function, instruction, which of several, configuration, text of the claim).
CORRECTED = [
    # ax may hold anything when C starts; the other registers may not.
    ("entry_SYSCALL_64", "xorl %ebx, %ebx", 0, "none", "bx holds no user value"),
    # The value that leaves IBRS has no high half; it still has to be the right low half, without IBRS.
    ("entry_SYSCALL_64", "andl $0xfffffffe, %edx", 0, "intel", "ibrs = off for user code"),
    # Arithmetic flags in a SYSENTER frame are those of the entry code; the others are the user's.
    ("entry_SYSENTER_compat", "pushfq", 0, "pti", "frame regs"),
    ("entry_SYSENTER_compat", "popfq", 0, "none", "nt = 0 when C starts"),
    # With FSGSBASE, the paranoid paths leave the other GS base alone; they still set this one, and put it back.
    ("paranoid_entry", "wrgsbaseq %rax", 0, "amd", "gs = ours"),
    ("paranoid_exit", "wrgsbaseq %rbx", 0, "amd", "gs = kept"),
    # RDMSR leaves the interrupted GS base in ax and dx; nothing else may stay.
    ("paranoid_entry", "xorl %r8d, %r8d", 0, "none", "r8 holds no user value"),
    # An IRET through the espfix stack switches tables twice, the second time without a flush.
    ("native_irq_return_ldt", "orq $0x800, %rdi", 0, "pti_pcid", "table = user"),
    ("native_irq_return_ldt", "orq %gs:", 0, "pti", "only declared memory"),
    # A fault where GS is loaded leaves GS swapped for the fixup; without the swap, C would run on the user's.
    ("error_entry", "swapgs", 1, "none", "gs = kernel when C starts"),
    # The truncated address of K8's IRET is put right before GS is: the order of the description.
    ("error_entry", "movq %rcx, 0x88(%rsp)", 0, "none", "regs.ip"),
]


def at(found: Image, run: Run, function: str, text: str, which: int) -> int:
    """The address of an instruction in a function."""
    address, left = found.symbols[function], which
    for _ in range(400):
        instruction = run.lifter.at(address)
        assert instruction.size
        if instruction.text.startswith(text):
            if not left:
                return address
            left -= 1
        address += instruction.size
    raise AssertionError(f"{function} has no {text}")


@pytest.mark.parametrize(("function", "text", "which", "name", "claim"), CORRECTED)
def test_corrections_did_not_weaken(function: str, text: str, which: int, name: str, claim: str) -> None:
    spec = stock(near=True)
    code = image(spec, binary("small-6.12"), name)
    run = Run(spec, code, spec.configurations[name])
    address = at(code, run, function, text, which)
    instruction = run.lifter.at(address)
    mutant = Mutant("drop", address, instruction.text, ((address, (), address + instruction.size),))
    solver, refuted = Solver(), Counter[str]()
    for path in run.paths():
        changed = Run(spec, code, spec.configurations[name], Patched(run.lifter, mutant), solver)  # type: ignore[arg-type]
        changed.path(path)
        refuted.update(c.text for c in changed.claims if solver.decide(c).verdict == "refuted")
    assert any(claim in line for line in refuted), refuted.most_common(5)


def test_mutants(capsys: pytest.CaptureFixture[str]) -> None:
    """A sample; the seed is printed. `entryc verify … --mutants all` judges every one."""
    seed = int(os.environ.get("ENTRYC_SEED", "7"))
    spec = stock(near=True)
    mutation = Mutation(spec, {name: image(spec, binary("small-6.12"), name) for name in CONFIGURATIONS})
    names = mutation.names()
    score = Score(list(mutation.run(sample(names, 160, seed))), len(names))
    with capsys.disabled():
        print(f"\nseed {seed}: {score.summary()}")
    # Survivors are exchanges of instructions whose order nothing asks for, and addresses that are the same by another register.
    assert score.ratio >= 0.96, [o for o in score.outcomes if o.verdict == "survived"]


def test_two_semantics_agree_on_stock_code() -> None:
    """Each instruction form that the proofs ran, on random states beside the emulator."""
    spec = stock(near=True)
    low = frozenset(c.symbol for m in spec.memories.values() if m.base for c in m.cells.values() if c.symbol)
    found = read_binary(spec.arch, [kernel("small-6.12") / name for name in ("entry_64.o", "entry_64_compat.o")], low, PLACES)
    images = {name: image(spec, found, name) for name in ("intel", "amd")}
    covered = {name: verify(spec, code, spec.configurations[name]).covered for name, code in images.items()}
    table = crosscheck(spec, images, 12, covered)
    assert not table.findings(), table.text()
    assert sum(1 for row in table.rows.values() if not row.manual) >= 45
    assert {row.form for row in table.rows.values() if row.manual} <= {
        "iretq", "sysretq", "sysretl", "lfence", "rdmsr", "wrmsr", "mov_from_cr3", "mov_to_cr3", "lsl", "ud2",
        "btq %r64, %gs:n(%rip)", "btrq %r64, %gs:n(%rip)", "movq n(, %r64, n), %r64"}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_events_nested_at_each_instruction(name: str) -> None:
    """Before every instruction, GS, page table and SPEC_CTRL are what the paranoid entry points are proved for."""
    spec = stock(near=True)
    assert verify(spec, image(spec, binary("small-6.12"), name), spec.configurations[name]).green
