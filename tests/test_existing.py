"""Code that exists: objects made from hand-written assembly are proved against a spec, planted bugs are refuted, and nothing empty is proved."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT
from entryc.cli import main
from entryc.image.elf import read_binary
from entryc.model.build import load_spec
from entryc.prove.verify import Report, verify

EXAMPLE = ROOT / "examples" / "verify"


def proved(folder: Path, code: str, spec_text: str | None = None) -> Report:
    """The report on assembly text."""
    source, out = folder / "entry.S", folder / "entry.o"
    source.write_text(code)
    subprocess.run(["as", "--64", "-o", str(out), str(source)], check=True, capture_output=True)
    path = folder / "kernel.entry"
    path.write_text(spec_text if spec_text is not None else (EXAMPLE / "kernel.entry").read_text())
    spec = load_spec(path)
    low = frozenset(c.symbol for m in spec.memories.values() if m.base for c in m.cells.values() if c.symbol)
    return verify(spec, read_binary(spec.arch, [out], low).image(), spec.configurations["base"])


def changed(old: str, new: str, last: bool = False) -> str:
    """The example's code with one change."""
    code = (EXAMPLE / "entry.S").read_text()
    assert old in code
    at = code.rindex(old) if last else code.index(old)
    return code[:at] + new + code[at + len(old):]


def test_the_example_is_proved(tmp_path: Path) -> None:
    report = proved(tmp_path, (EXAMPLE / "entry.S").read_text())
    assert report.green, report.summary()
    assert len((EXAMPLE / "kernel.entry").read_text().splitlines()) <= 41


BUGS = {
    "no swapgs on entry": ("syscall_entry:\n\tswapgs\n", "syscall_entry:\n"),
    "user sp not parked": ("\tmovq\t%rsp, %gs:cpu_scratch\n", ""),
    "wrong stack": ("\tmovq\t%gs:cpu_stack, %rsp\n", "\tmovq\t%gs:cpu_scratch, %rsp\n"),
    "two pushes swapped": ("\tpushq\t%r12\n\tpushq\t%r13\n", "\tpushq\t%r13\n\tpushq\t%r12\n"),
    "a register not cleared": ("ebx, ebp,", "ebp,"),
    "no fence": ("1:\tlfence\n", "1:\n"),
    "no swapgs on exit": ("\tswapgs\n\tsysretq", "\tsysretq"),
    "no speculation stop": ("\tsysretq\n\tint3\n", "\tsysretq\n"),
    "always sysret": ("\ttestb\t%al, %al\n\tjz\tto_user\n", ""),
    "iret and sysret exchanged": ("\tjz\tto_user\n", "\tjnz\tto_user\n"),
    "direction flag": ("\tcld\n", ""),
    "origin test inverted": ("\tjz\t1f\n", "\tjnz\t1f\n"),
    "wrong cs tested": ("$0x3, 0x88(%rsp)", "$0x3, 0x90(%rsp)"),
    "kernel return swaps gs": ("\trestore_rest\n\taddq\t$0x8, %rsp\n\tiretq\n", "\trestore_rest\n\taddq\t$0x8, %rsp\n\tswapgs\n\tiretq\n"),
    "sp from the wrong slot": ("movq\t0x20(%rsp), %rsp", "movq\t0x28(%rsp), %rsp"),
    "wrong selector": ("pushq\t$0x2b", "pushq\t$0x23"),
}


@pytest.mark.parametrize("name", BUGS)
def test_planted_bugs_are_refuted(name: str, tmp_path: Path) -> None:
    old, new = BUGS[name]
    report = proved(tmp_path, changed(old, new, last=name == "kernel return swaps gs"))
    assert report.count("refuted") > 0
    assert not report.green


HEAD = '\t.section .entry.text, "ax"\n\t.globl syscall_entry, timer_entry\n'
EMPTY = {
    "ud2": HEAD + "syscall_entry:\ntimer_entry:\n\tud2\n",
    "jump to self": HEAD + "syscall_entry:\ntimer_entry:\n\tjmp syscall_entry\n",
    "bare ret": HEAD + "syscall_entry:\ntimer_entry:\n\tret\n",
    "call then hlt": HEAD + "syscall_entry:\n\tcall handle_syscall\n\thlt\ntimer_entry:\n\tcall handle_timer\n\thlt\n",
    "empty symbols": HEAD + "\tnop\nsyscall_entry:\ntimer_entry:\n",
    "padding": HEAD + "syscall_entry:\ntimer_entry:\n\t.skip 64, 0xcc\n",
}


@pytest.mark.parametrize("name", EMPTY)
def test_nothing_empty_is_proved(name: str, tmp_path: Path) -> None:
    report = proved(tmp_path, EMPTY[name])
    assert not report.green
    stubs = {v.claim.stub.split(" ")[0] for v in report.verdicts if v.verdict != "proved"}
    assert stubs >= {"syscall_entry", "timer_entry"}


def test_an_exit_that_is_never_reached(tmp_path: Path) -> None:
    report = proved(tmp_path, changed("\tcall\thandle_timer\n", "\tcall\thandle_timer\n2:\tjmp\t2b\n"))
    assert any(v.claim.kind == "ending" and v.verdict != "proved" for v in report.verdicts if v.claim.stub.startswith("timer_entry"))
    assert not report.green


def test_right_bytes_under_the_wrong_symbols(tmp_path: Path) -> None:
    code = (EXAMPLE / "entry.S").read_text().replace("syscall_entry:", "X:").replace("timer_entry:", "syscall_entry:").replace("X:", "timer_entry:")
    assert proved(tmp_path, code).count("refuted") > 0


def test_contradictory_assumptions(tmp_path: Path) -> None:
    text = (EXAMPLE / "kernel.entry").read_text()
    for extra in ('assume 1 == 2 "never"\n', 'assume &cpu == 8 "here"\nassume &cpu == 16 "and there"\n'):
        report = proved(tmp_path, (EXAMPLE / "entry.S").read_text(), text + extra)
        assert not report.green
        assert any("contradict" in line for line in report.not_checked)


def test_a_missing_entry_point_is_not_proved(tmp_path: Path) -> None:
    report = proved(tmp_path, (EXAMPLE / "entry.S").read_text().replace("timer_entry", "other_entry"))
    assert not report.green
    assert report.not_checked == ["timer_entry: the image has no symbol timer_entry"]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "entry.o"
    subprocess.run(["as", "--64", "-o", str(out), str(EXAMPLE / "entry.S")], check=True)
    spec = str(EXAMPLE / "kernel.entry")
    assert main(["verify", spec, "--object", str(out), "--mutants", "150", "--seed", "3"]) == 0
    said = capsys.readouterr().out
    assert "0 refuted, 0 unknown" in said
    assert "by contract:" in said
    assert "mutants of" in said
    assert main(["verify", spec, "--image", str(out)]) == 1
    assert "verify it with --object" in capsys.readouterr().err
    assert main(["verify", spec]) == 1
    assert "say where that code is" in capsys.readouterr().err
    assert main(["build", spec, "-o", str(tmp_path / "out")]) == 1
    assert "nothing is written" in capsys.readouterr().err
    assert main(["check", spec]) == 0
    assert main(["verify", spec, "--object", str(out), "--const", "NOBODY=1"]) == 1
    assert main(["verify", spec, "--object", str(out), "--const", "KERNEL_CS"]) == 1
    assert main(["verify", spec, "--object", str(out), "--mutants", "some"]) == 1


def test_refuted_claims_are_replayed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The emulator runs the object, put where it can run it, and shows what the proof says."""
    source, out = tmp_path / "entry.S", tmp_path / "entry.o"
    source.write_text(changed("\tpushq\t%r12\n\tpushq\t%r13\n", "\tpushq\t%r13\n\tpushq\t%r12\n"))
    subprocess.run(["as", "--64", "-o", str(out), str(source)], check=True)
    assert main(["verify", str(EXAMPLE / "kernel.entry"), "--object", str(out)]) == 1
    assert capsys.readouterr().err.count("replayed: in the emulator the slot is") >= 2


def test_questions_are_written_and_asked_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "entry.o"
    subprocess.run(["as", "--64", "-o", str(out), str(EXAMPLE / "entry.S")], check=True)
    questions, page, data = tmp_path / "smt2", tmp_path / "page.html", tmp_path / "data.json"
    command = ["verify", str(EXAMPLE / "kernel.entry"), "--object", str(out)]
    assert main([*command, "--recheck", "20", "--dump-smt2", str(questions), "--report", str(page)]) == 0
    said = capsys.readouterr().out
    assert "answers asked again, 0 disagree" in said
    files = sorted(questions.iterdir())
    assert files and all("(set-info :status " in f.read_text() and "(check-sat)" in f.read_text() for f in files)
    assert "syscall_entry" in page.read_text()
    assert main([*command, "--report", str(data)]) == 0
    assert json.loads(data.read_text())["green"] is True
    again = tmp_path / "again"
    assert main([*command, "--dump-smt2", str(again)]) == 0
    assert [f.name for f in sorted(again.iterdir())] == [f.name for f in files]


def test_what_a_nested_event_would_find(tmp_path: Path) -> None:
    """After C, nothing is known of cr2: an event there does not find what its boundary says."""
    text = (EXAMPLE / "kernel.entry").read_text() + "state fault { none means cr2 == 0 }\nboundary anywhere of kernel { arrive fault = any }\n"
    nested = proved(tmp_path, (EXAMPLE / "entry.S").read_text(), text)
    assert any("finds fault in none of its values" in v.claim.detail for v in nested.verdicts if v.verdict == "refuted")
