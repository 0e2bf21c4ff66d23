"""What the whole x86-64 spec has beyond the small ones: events on their own stacks, nesting, unwinding, routines, methods by address, FRED."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from entryc.assemble.second import assemble_flat, assemble_kernel_text, assemblers
from entryc.driver.assembled import BASE, externs
from entryc.emit.asm import SECTION, flat_lines, kernel_text
from entryc.image.image import Image
from entryc.model.build import load_spec
from entryc.model.spec import Spec
from entryc.plan.code import Code
from entryc.plan.plan import plan_spec
from entryc.prove.unwind import Unwinder, read_table
from entryc.prove.verdict import Verdict
from entryc.prove.verify import Run

ROOT = Path(__file__).parent.parent
SPEC = ROOT / "specs" / "x86_64.entry"


@cache
def spec_of(text: str, name: str) -> tuple[Spec, Code]:
    folder = Path(name)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "case.entry"
    file.write_text(text)
    spec = load_spec(file)
    return spec, plan_spec(spec)


def image_of(spec: Spec, code: Code, configuration: str, change: Callable[[list[str]], list[str]] = lambda lines: lines) -> Image:
    lines = change(flat_lines(spec, code, spec.configurations[configuration]))
    done, image = assemble_flat(spec.arch, assemblers(spec.arch)[0], lines, BASE, externs(code))
    assert image is not None, done.error
    return image


def verdicts(spec: Spec, image: Image, configuration: str, *paths: str) -> list[Verdict]:
    """The verdicts on some paths; nothing may be left unchecked."""
    run = Run(spec, image, spec.configurations[configuration])
    for path in paths:
        run.path(spec.paths[path])
    run.tables()
    assert not run.not_checked
    return [run.solver.decide(claim) for claim in run.claims]


def refuted(found: list[Verdict]) -> list[str]:
    return [f"{v.claim.kind}: {v.claim.text}" for v in found if v.verdict != "proved"]


def edited(*pairs: tuple[str, str]) -> str:
    """The spec with pieces replaced, each of which is there."""
    text = SPEC.read_text()
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new, 1)
    return text


LAST = "    label last\n"
LEAVE = f"    drop nmi.again_ip\n    nmi.running = 0\n{LAST}"
COPY = "    nmi.again_ip = regs.ip using ax\n"


@pytest.mark.parametrize(("pairs", "expected"), [
    ((), ""),
    ((("    nmi.running = 1\n    label built\n", "    label built\n    nmi.running = 1\n"),), "comes back with every register"),
    ((("    nmi.running = 0\n", ""),), "after the last round, the next one is not taken for nmi_running"),
    (((COPY, ""), ("    label built\n", f"    label built\n{COPY}    ax = 0\n")), "writes the frame that it returns with only before that"),
    ((("    dx = &nmi_run_again\n", "    dx = &nmi_run_built\n"),), "it starts where the first round did"),
    ((("from nmi_building using dx { goto nmi_leave }", "from nmi_building using dx { goto nmi_redirect }"),), "only before that"),
    ((("from nmi_running { goto nmi_redirect }", "from nmi_running { goto nmi_leave }"),), "sends the outer run round again"),
    (((LEAVE, f"    label last\n{LEAVE.removesuffix(LAST)}"),), "comes back with"),
    ((("    dx = nmi\n    save", "    dx = 0\n    save"),), "the stack pointer is that of the first round"),
    ((("    label again\n    save regs.error { error = 0 }\n", "    save regs.error { error = 0 }\n    label again\n"),),
     "the stack pointer is that of the first"),
])
def test_an_nmi_within_an_nmi(pairs: tuple[tuple[str, str], ...], expected: str, tmp_path: Path) -> None:
    """Each wrong order or place in the protocol is refuted by a claim that says what is lost."""
    spec, code = spec_of(edited(*pairs), str(tmp_path))
    wrong = refuted(verdicts(spec, image_of(spec, code, "base"), "base", "nmi_trap"))
    if expected:
        assert wrong and all(w.startswith("nesting") for w in wrong) and any(expected in w for w in wrong), wrong
    else:
        assert not wrong


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Spec, Code]:
    return spec_of(SPEC.read_text(), str(tmp_path_factory.mktemp("whole")))


def unwinding(whole: tuple[Spec, Code], text: str, *paths: str) -> list[str]:
    """What is refuted of the unwind information of a changed kernel text; its code is not changed."""
    spec, code = whole
    configuration = spec.configurations["smap"]
    done, image = assemble_kernel_text(spec.arch, assemblers(spec.arch)[0], text, SECTION, BASE, externs(code), sorted(configuration.features))
    assert image is not None and done.object is not None, done.error
    run = Run(spec, image, configuration)
    run.unwinder = Unwinder(run.machine, read_table(spec.arch, done.object, BASE))
    run.machine.before_each = run.unwinder.look
    for path in paths:
        run.path(spec.paths[path])
    return refuted([run.solver.decide(c) for c in run.claims])


@pytest.mark.parametrize(("old", "new"), [
    ("", ""),
    ("\t.cfi_def_cfa_offset\t0x40\n", "\t.cfi_def_cfa_offset\t0x48\n"),
    ("\t.cfi_offset\t16, -40\n", "\t.cfi_offset\t16, -48\n"),
    ("\t.cfi_offset\t3, -136\n", ""),
    ("\t.cfi_same_value\t15\n", ""),
    ("\t.cfi_def_cfa\t7, 0x", "\t.cfi_def_cfa\t6, 0x"),
])
def test_unwind_information(whole: tuple[Spec, Code], old: str, new: str) -> None:
    """A directive that is wrong or missing is refuted, wherever it stands first in a system call or a trap."""
    text = kernel_text(*whole)
    assert old in text
    wrong = unwinding(whole, text.replace(old, new) if old else text, "syscall_64", "vector_13", "nmi_trap")
    assert bool(wrong) is bool(old) and all(w.startswith("unwind") for w in wrong), wrong


def without(text: str, nth: int = 1, after: str = "") -> Callable[[list[str]], list[str]]:
    """Leave out an instruction behind a label."""
    def change(lines: list[str]) -> list[str]:
        start = lines.index(f"{after}:") if after else 0
        place = [i for i, line in enumerate(lines) if i > start and line == text][nth - 1]
        return lines[:place] + lines[place + 1:]
    return change


def swapped(first: str, second: str, after: str) -> Callable[[list[str]], list[str]]:
    def change(lines: list[str]) -> list[str]:
        start = lines.index(f"{after}:")
        a, b = (next(i for i, line in enumerate(lines) if i > start and line == text) for text in (first, second))
        lines = list(lines)
        lines[a], lines[b] = lines[b], lines[a]
        return lines
    return change


@pytest.mark.parametrize(("path", "change", "expected"), [
    ("switch_stack", None, ""),
    ("switch_stack", without("pushq %rbp", after="switch_stack"), "slot: switched."),
    ("switch_stack", swapped("pushq %rbp", "pushq %r12", "switch_stack"), "slot: switched."),
    ("switch_stack", swapped("popq %r14", "popq %r13", "switch_stack"), "is preserved"),
    ("switch_stack", without("movq %rsp, 0x0(%rdi)", after="switch_stack"), "says where this run's frame is"),
    ("switch_stack", without("movq %rsi, %rsp", after="switch_stack"), "sp is where the other run left it"),
    ("thread_start", None, ""),
    ("thread_start", without("movq %r12, %rsi", after="thread_start"), "argument si is r12"),
    ("load_gs", None, ""),
    ("load_gs", without("swapgs", after="load_gs"), "for the caller"),
    ("load_gs", without("swapgs", nth=2, after="load_gs"), "for the caller"),
])
def test_routines(whole: tuple[Spec, Code], path: str, change: Callable[[list[str]], list[str]] | None, expected: str) -> None:
    spec, code = whole
    wrong = refuted(verdicts(spec, image_of(spec, code, "pti", change or (lambda lines: lines)), "pti", path))
    assert any(expected in w for w in wrong) if expected else not wrong, wrong


def test_a_fault_of_a_selector_is_told(tmp_path: Path) -> None:
    """The label that the boundary names has moved behind the instruction that may fault."""
    spec, code = spec_of(edited(("    label change\n    do load_gs_selector\n", "    do load_gs_selector\n    label change\n")), str(tmp_path))
    wrong = refuted(verdicts(spec, image_of(spec, code, "smap"), "smap", "load_gs"))
    assert wrong and all(w.startswith("fixup: a fault of movl") for w in wrong)


@pytest.mark.parametrize("left_out", ["11 ", "13 ", "14 "])
def test_a_fault_of_a_selector_is_told_for_each_vector(left_out: str, whole: tuple[Spec, Code], tmp_path: Path) -> None:
    """The right code, and a boundary that one of the vectors does not come to: it would be taken for a fault with the kernel's GS base."""
    begin = "boundary bad_gs of kernel on 10 11 12 13 14 when"
    (tmp_path / "case.entry").write_text(edited((begin, begin.replace(left_out, ""))))
    spec, (right, code) = load_spec(tmp_path / "case.entry"), whole
    wrong = refuted(verdicts(spec, image_of(right, code, "smap"), "smap", "load_gs"))
    assert wrong and all(w.startswith("fixup: a fault of movl") for w in wrong), wrong


def test_a_fault_of_a_return_is_told(tmp_path: Path) -> None:
    spec, code = spec_of(edited(("bad_iret of kernel on 10 11 12 13 14 17", "bad_iret of kernel on 10 11 13 14 17")), str(tmp_path))
    wrong = refuted(verdicts(spec, image_of(spec, code, "smap"), "smap", "return_to_user"))
    assert wrong and all(w.startswith("fixup: a fault of iretq") for w in wrong)


@pytest.mark.parametrize("fact", ["gs = kernel", "table = kernel"])
def test_what_a_boundary_says_of_a_fault_is_proved(fact: str, whole: tuple[Spec, Code], tmp_path: Path) -> None:
    """The right code against a boundary that says something else of it."""
    subject = fact.split()[0]
    begin = "boundary bad_iret of kernel on 10 11 12 13 14 17 when ip == &iret_user_last if not FRED {\n    arrive gs = user, table = user"
    (tmp_path / "case.entry").write_text(edited((begin, begin.replace(f"{subject} = user", fact))))
    spec, (right, code) = load_spec(tmp_path / "case.entry"), whole
    wrong = refuted(verdicts(spec, image_of(right, code, "pti"), "pti", "return_to_user"))
    assert wrong and all(w.startswith(f"fixup: a fault of iretq finds {fact}, as bad_iret says") for w in wrong), wrong


def test_methods_by_address(tmp_path: Path) -> None:
    """C gives the address of the exit path: the same claims hold, and a jump by another register is refused."""
    spec, code = spec_of(edited(("choose return_64 among sysret, iret", "choose return_64 among sysret, iret by address")), str(tmp_path))
    lines = flat_lines(spec, code, spec.configurations["base"])
    assert "jmpq *%rax" in lines
    assert not refuted(verdicts(spec, image_of(spec, code, "base"), "base", "syscall_64"))
    changed = image_of(spec, code, "base", lambda rows: ["jmpq *%rbx" if r == "jmpq *%rax" else r for r in rows])
    assert refuted(verdicts(spec, changed, "base", "syscall_64"))


def replaced(old: str, new: str) -> Callable[[list[str]], list[str]]:
    """A change of the one line that is so."""
    def change(rows: list[str]) -> list[str]:
        assert rows.count(old) == 1
        return [new if row == old else row for row in rows]
    return change


@pytest.mark.parametrize(("bits", "test"), [(8, "testb %al, %al"), (32, "testl %eax, %eax")])
def test_methods_by_refusal(bits: int, test: str, tmp_path: Path) -> None:
    """C that exists gives 0 for the first method, and any other number of so many bits for the fallback: all of them are tested."""
    (tmp_path / "case.entry").write_text(SPEC.read_text())
    spec = load_spec(tmp_path / "case.entry")
    spec.choices["return_64"] = replace(spec.choices["return_64"], bits=bits, by_refusal=True)
    code = plan_spec(spec)
    lines = flat_lines(spec, code, spec.configurations["base"])
    at = lines.index(test)
    branch = lines[at + 1]
    assert branch.startswith("jnz ")
    found = verdicts(spec, image_of(spec, code, "base"), "base", "syscall_64")
    assert not refuted(found) and {"sysret", "iret"} <= {word for v in found for word in v.claim.text.split()}
    narrower = {"testl %eax, %eax": "testb %al, %al", "testb %al, %al": "testb $1, %al"}[test]
    for change in (replaced(branch, branch.replace("jnz", "jz")), lambda rows: [narrower if i == at else row for i, row in enumerate(rows)]):
        assert refuted(verdicts(spec, image_of(spec, code, "base", change), "base", "syscall_64"))


@pytest.mark.parametrize(("change", "expected"), [
    (None, ""),
    (lambda rows: [r.replace("0xf3, 0x0f, 0x01, 0xca", "0xf2, 0x0f, 0x01, 0xca") for r in rows], "ends with return eretu"),
    (swapped("pushq %rsi", "pushq %rdx", "fred_user_events"), "regs."),
    (lambda rows: ["jmp .Lfred_user_events" if r == "jmp .Lfred_kernel_events" else r for r in rows], "leads to fred_kernel_events"),
])
def test_fred(whole: tuple[Spec, Code], change: Callable[[list[str]], list[str]] | None, expected: str) -> None:
    """The second event model: no GS switch, words above the frame, returns that the first decoder takes for another instruction."""
    spec, code = whole
    wrong = refuted(verdicts(spec, image_of(spec, code, "fred", change or (lambda rows: rows)), "fred", "fred_user_events", "fred_kernel_events"))
    assert any(expected in w for w in wrong) if expected else not wrong, wrong
