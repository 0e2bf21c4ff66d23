"""Proofs: the shipped specs are proved, planted bugs are refuted by name and replay, nothing vacuous is called proved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import SPECS, assemble, small_x86, spec_file
from entryc.driver.assembled import LOW, assemble_flat_images
from entryc.image.image import Image
from entryc.model.build import load_spec
from entryc.model.spec import Spec
from entryc.plan.code import Insn, LabelLine, spell
from entryc.plan.plan import plan_spec
from entryc.prove import terms as T
from entryc.prove.contracts import contracts
from entryc.prove.verify import Report, verify
from entryc.run.crosscheck import crosscheck
from entryc.run.replay import replay_all
from entryc.source.finding import Findings

Edit = Callable[[list[str]], list[str]]


def at(lines: list[str], text: str, which: int) -> int:
    return [i for i, line in enumerate(lines) if line == text][which]


def drop(text: str, which: int = 0) -> Edit:
    def edit(lines: list[str]) -> list[str]:
        index = at(lines, text, which)
        return lines[:index] + lines[index + 1:]
    return edit


def replace(text: str, new: str, which: int = 0) -> Edit:
    def edit(lines: list[str]) -> list[str]:
        index = at(lines, text, which)
        return [*lines[:index], new, *lines[index + 1:]]
    return edit


def swap(a: str, b: str) -> Edit:
    def edit(lines: list[str]) -> list[str]:
        out = list(lines)
        i, j = at(lines, a, 0), at(lines, b, 0)
        out[i], out[j] = out[j], out[i]
        return out
    return edit


PLANTED: list[tuple[str, Edit, str]] = [
    ("x86_64", swap("pushq %r13", "pushq %r14"), "regs.r14 = interrupted.r14"),
    ("x86_64", swap("popq %r15", "popq %r14"), "r15 = regs.r15"),
    ("x86_64", replace("pushq $-0x26", "pushq $-0x38"), "regs.ax = 0xffffffffffffffda"),
    ("x86_64", replace("pushq $0x2b", "pushq $0x33"), "regs.cs = 0x2b"),
    ("x86_64", replace("pushq $0x9", "pushq $0xa"), "regs.vector = 0x9"),
    ("x86_64", drop("swapgs", 1), "gs = user for user code: gs_base == user.gs_base"),
    ("x86_64", drop("lfence", 0), "gs_spec = fenced when C starts"),
    ("x86_64", drop("lfence", 1), "gs_spec = fenced when C starts"),
    ("x86_64", drop("cld"), "df = 0 when C starts"),
    ("x86_64", drop("clac"), "ac = 0 when C starts"),
    ("x86_64", drop("xorl %ebp, %ebp"), "bp holds no user value when C starts"),
    ("x86_64", replace("movq %gs:0x4, %rsp", "lfence"), "only declared memory is touched"),
    ("x86_64", replace("movq 0x28(%rsp), %rsp", "movq 0x20(%rsp), %rsp"), "sp = regs.sp"),
    ("x86_64", drop("addq $0x10, %rsp"), "ip = regs.ip"),
    ("x86_64", replace("pushq $0x23", "movq %rax, %gs:0x70\npushq $0x23"), "nothing is written in percpu but user_sp"),
    ("x86_64", replace("int3", "nop"), "int3 follows sysretq"),
    ("x86_64", replace("jz .Liret_user", "jnz .Liret_user"), "sysretq is reached for sysret"),
    ("x86_64", replace("testb $0x3, 0x90(%rsp)", "testb $0x3, 0x98(%rsp)"), "gs = kernel when C starts: gs_base == &percpu"),
    ("x86_64", replace("call do_trap", "call do_syscall_64"), "ends with call do_trap"),
    ("arm64", drop("msr elr_el1, x21"), "ip = regs.pc"),
    ("arm64", drop("msr spsr_el1, x22"), "flags = regs.pstate"),
    ("arm64", drop("msr sp_el0, x23"), "sp = regs.sp"),
    ("arm64", drop("msr sp_el0, x28"), "current = set when C starts: sp_el0 == percpu.current"),
    ("arm64", drop("mov x5, xzr"), "x5 holds no user value when C starts"),
    ("arm64", drop("isb"), "isb follows eret"),
    ("arm64", drop("add sp, sp, #0x120"), "sp is what it was before the event"),
    ("arm64", replace("b .Lel0_64_irq", "b .Lel0_64_sync"), "the table's slot 0x480 leads to el0_64_irq"),
]


def spec_for(name: str, folder: Path) -> tuple[Spec, str]:
    return (small_x86(folder), "smap") if name == "x86_64" else (load_spec(spec_file(name)), "base")


def proved(name: str, folder: Path, edit: Edit | None = None) -> tuple[Spec, Image, Report]:
    spec, configuration = spec_for(name, folder)
    image = assemble(spec, plan_spec(spec), spec.configurations[configuration], edit)
    return spec, image, verify(spec, image, spec.configurations[configuration])


@pytest.mark.parametrize("name", ["x86_64", "arm64", "unikernel"])
def test_shipped_specs_are_proved(name: str) -> None:
    spec = load_spec(spec_file(name))
    code = plan_spec(spec)
    for configuration in spec.configurations.values():
        report = verify(spec, assemble(spec, code, configuration), configuration)
        assert report.green, report.summary()
        assert report.findings() == []


@pytest.mark.parametrize(("name", "edit", "claim"), PLANTED, ids=[f"{n}-{c}" for n, _, c in PLANTED])
def test_planted_bug_is_refuted(name: str, edit: Edit, claim: str, tmp_path: Path) -> None:
    _, _, report = proved(name, tmp_path, edit)
    assert not report.green
    assert claim in {v.claim.text for v in report.verdicts if v.verdict == "refuted"}


@pytest.mark.parametrize(("name", "edit", "place"), [
    ("x86_64", swap("pushq %r13", "pushq %r14"), "the slot is"), ("x86_64", swap("popq %r15", "popq %r14"), "r15 is"),
    ("x86_64", drop("swapgs", 1), "gs_base is"), ("arm64", drop("msr sp_el0, x28"), "sp_el0 is")])
def test_refutation_replays(name: str, edit: Edit, place: str, tmp_path: Path) -> None:
    spec, image, report = proved(name, tmp_path, edit)
    shown = replay_all(spec, image, [v for v in report.verdicts if v.verdict == "refuted"])
    assert any(text.startswith(f"replayed: in the emulator {place}") for text in shown.values()), shown
    assert not any("not confirmed" in text for text in shown.values()), shown


def test_entry_points_of_one_configuration(tmp_path: Path) -> None:
    """Guarded vectors are there in the one configuration, absent in the other, and proved in both."""
    path = tmp_path / "guarded.entry"
    header, frame, vectors = (SPECS / "unikernel.entry").read_text().splitlines()[:3]
    path.write_text("\n".join([header, "feature DEBUG : build", "configuration plain { }", "configuration debug { DEBUG }", frame,
                               vectors.replace("0..255", "0..3"), vectors.replace("0..255", "4..5 if DEBUG").replace("trap", "other"), ""]))
    spec = load_spec(path)
    code = plan_spec(spec)
    for name, present in (("plain", False), ("debug", True)):
        image = assemble(spec, code, spec.configurations[name])
        assert ("vector_4" in image.symbols) is present
        assert verify(spec, image, spec.configurations[name]).green


def test_jump_into_c_has_the_stack_of_a_call(tmp_path: Path) -> None:
    path = tmp_path / "jump.entry"
    text = (SPECS / "unikernel.entry").read_text()
    path.write_text(text.replace("0..255", "7..9").replace("call trap(regs); restore all; return iretq", "jump trap(regs)"))
    spec = load_spec(path)
    code, configuration = plan_spec(spec), spec.configurations["base"]
    assert verify(spec, assemble(spec, code, configuration), configuration).green
    assert not verify(spec, assemble(spec, code, configuration, drop("addq $-0x8, %rsp")), configuration).green


CLAUSES = ["regs.cx == regs.ip", "regs.r11 == regs.flags", "regs.cs == USER_CS", "regs.ss == USER_DS", "regs.ip < USER_END", "regs.flags & (RF | TF) == 0"]


@pytest.mark.parametrize("clause", CLAUSES)
def test_deleting_a_sysret_clause_is_refuted(clause: str, tmp_path: Path) -> None:
    """What the hardware demands is in the .arch file: no spec can remove it."""
    text = spec_file("x86_64").read_text().replace("vectors 0..255 raised by user 3 4 {", "vectors 7..9 {")
    lines = [line for line in text.split("\n") if f"when {clause} " not in line]
    assert len(lines) == len(text.split("\n")) - 1
    path = tmp_path / "weak.entry"
    path.write_text("\n".join(lines))
    spec = load_spec(path)
    report = verify(spec, assemble(spec, plan_spec(spec), spec.configurations["base"]), spec.configurations["base"])
    assert report.count("refuted") >= 1


@pytest.mark.parametrize("body", [["ud2"], ["here: jmp here"], ["ret"], ["call do_syscall_64", "hlt"], ["lfence"], ["fninit"], [".byte 0x06"], ["rdmsr"]],
                         ids=["ud2", "self-jump", "ret", "call-hlt", "nothing", "no-row", "undecodable", "opaque"])
def test_nothing_vacuous_is_proved(body: list[str], tmp_path: Path) -> None:
    def edit(lines: list[str]) -> list[str]:
        start = lines.index("syscall_64:")
        return [*lines[:start + 1], *body, *lines[start + 1:]]
    _, _, report = proved("x86_64", tmp_path, edit)
    if body != ["lfence"]:
        assert not report.green
        assert any(v.claim.stub == "syscall_64" and v.verdict != "proved" for v in report.verdicts)
    else:
        assert report.green, "an instruction without effect refutes nothing"


def test_missing_symbol_is_not_checked(tmp_path: Path) -> None:
    spec, image, _ = proved("x86_64", tmp_path)
    without = Image(image.segments, {n: a for n, a in image.symbols.items() if n != "vector_8"}, image.sha256)
    report = verify(spec, without, spec.configurations["smap"])
    assert not report.green
    assert any("vector_8" in f.message for f in report.findings())


def test_right_bytes_under_the_wrong_symbol(tmp_path: Path) -> None:
    spec, image, _ = proved("x86_64", tmp_path)
    wrong = Image(image.segments, {**image.symbols, "vector_7": image.symbols["vector_9"]}, image.sha256)
    report = verify(spec, wrong, spec.configurations["smap"])
    assert "regs.vector = 0x7" in {v.claim.text for v in report.verdicts if v.verdict == "refuted"}


@pytest.mark.parametrize("name", ["x86_64", "arm64"])
def test_prover_and_emulator_agree(name: str, tmp_path: Path) -> None:
    spec, configuration = spec_for(name, tmp_path)
    images = assemble_flat_images(spec, plan_spec(spec), {configuration: spec.configurations[configuration]}, LOW)
    table = crosscheck(spec, images, 60)
    assert table.findings() == []
    checked = {r.form for r in table.rows.values() if not r.manual}
    assert len(checked) >= 10
    assert {r.form for r in table.rows.values() if r.manual} <= {"int3", "iretq", "lfence", "sysretq", "dsb_nsh", "eret", "isb"}


def test_crosscheck_can_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an addition that is off by one, the tables differ."""
    from entryc.prove import machine
    spec, configuration = spec_for("arm64", tmp_path)
    images = assemble_flat_images(spec, plan_spec(spec), {configuration: spec.configurations[configuration]}, LOW)
    right = machine.pcode

    def wrong(name: str, a: list[T.Term], width: int) -> T.Term:
        return T.add(right(name, a, width), T.const(1, width)) if name == "INT_ADD" else right(name, a, width)

    monkeypatch.setattr(machine, "pcode", wrong)
    assert crosscheck(spec, images, 20).findings() != []


@pytest.mark.parametrize(("name", "believed"), [("x86_64-small", True), ("x86_64", False), ("arm64", False)])
def test_faults_of_returns_that_nothing_tells_are_said_to_be_believed(name: str, believed: bool) -> None:
    spec = load_spec(SPECS / f"{name}.entry")
    said = contracts(spec, spec.configurations["base"])
    assert ("iretq in iret_user does not fault: the spec has no special boundary that tells it" in said) == believed, said


FORMS = (("    label safe_stack\n", "    label is syscall_on_its_stack\n"),
         ("    save regs { ss = USER_DS, sp = percpu.user_sp, flags = r11, cs = USER_CS, ip = cx, error = ax, ax = -ENOSYS }\n",
          "    save regs.hardware { ss = USER_DS, sp = percpu.user_sp, flags = r11, cs = USER_CS, ip = cx }\n    label framed\n"
          "    save regs { error = ax, ax = -ENOSYS }\n"),
         ("    clear all\n", "    clear all but ax\n"),
         ("gprs = cleared, df = 0", "gprs = cleared but ax, df = 0"))


def test_forms_of_labels_saves_and_clears(tmp_path: Path) -> None:
    """Labels with names of their own, saves in parts, registers that are left as they are: the code has them, and is proved."""
    text = spec_file("x86_64").read_text().replace("vectors 0..255 raised by user 3 4 {", "vectors 7..9 raised by user 9 {")
    for before, after in FORMS:
        assert before in text
        text = text.replace(before, after, 1)
    path = tmp_path / "forms.entry"
    path.write_text(text)
    spec = load_spec(path, "forms.entry")
    code = plan_spec(spec)
    names = [line.name for line in code.lines if isinstance(line, LabelLine)]
    assert "syscall_on_its_stack" in names and "syscall_64_framed" in names and "syscall_64_safe_stack" not in names
    report = verify(spec, assemble(spec, code, spec.configurations["smap"]), spec.configurations["smap"])
    assert report.green, report.summary()
    assert not [line for line in code.lines if isinstance(line, Insn) and line.step.startswith("Clear") and spell(spec.arch, line) == "xorl %eax, %eax"
                and line.span is not None and "but ax" in line.span.snippet]


def test_clear_but_is_refused_where_c_would_see_it(tmp_path: Path) -> None:
    path = tmp_path / "seen.entry"
    path.write_text(spec_file("x86_64").read_text().replace("    clear all\n", "    clear all but ax\n", 1))
    with pytest.raises(Findings) as refused:
        plan_spec(load_spec(path, "seen.entry"))
    assert [(f.code, f.message) for f in refused.value.findings] == [("E332", "C would see the interrupted ax")]
