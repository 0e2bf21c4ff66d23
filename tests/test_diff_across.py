"""Two CPUs: what means something on any is compared, what has to differ is not, and what only one side has is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import SPECS
from entryc.cli import main
from entryc.diff.compare import Row, mirrored
from entryc.diff.render import whole
from entryc.diff.result import as_data, compared
from entryc.model.build import load_spec

LINUX = SPECS / "linux"
X86, ARM = SPECS / "x86_64-small.entry", SPECS / "arm64.entry"


def lines(old: Path, new: Path) -> list[str]:
    """Rows without the one that names the CPUs."""
    rows = as_data(compared(load_spec(old), load_spec(new)))["rows"]
    assert [r["rule"] for r in rows].count("D001") == 1
    return [f"{r['level']} {r['rule']} {whole(r)}" for r in rows if r["rule"] != "D001"]


# The C side of each CPU's spec, edited: what a port may get wrong.
EDITS = {
    "order": (("SIGPENDING    -> deliver_signal(regs)\n        NOTIFY_RESUME -> notify_resume(regs) clears first",
               "NOTIFY_RESUME -> notify_resume(regs) clears first\n        SIGPENDING    -> deliver_signal(regs)"),
              ["risky D126 exit work to_user: work for SIGPENDING moved: after NOTIFY_RESUME -> notify_resume(regs) clears first, "
               "was after NEED_RESCHED -> schedule()"]),
    "two rows become one": (("        SIGPENDING    -> deliver_signal(regs)\n        NOTIFY_RESUME -> notify_resume(regs) clears first\n",
                             "        SIGPENDING | NOTIFY_RESUME -> deliver_signal(regs)\n"),
                            ["risky D127 exit work to_user: work for SIGPENDING | NOTIFY_RESUME: flag NOTIFY_RESUME added",
                             "risky D125 exit work to_user: work for NOTIFY_RESUME removed: NOTIFY_RESUME -> notify_resume(regs) clears first"]),
    "one-shot": (("notify_resume(regs) clears first", "notify_resume(regs)"),
                 ["risky D131 exit work to_user: work for NOTIFY_RESUME: flag is cleared first: yes → no"]),
    "more passes": (("once irqs off", "repeat irqs on"), ["risky D129 exit work to_kernel: repeated until nothing is left: no → yes",
                                                          "risky D128 exit work to_kernel: interrupts on: no → yes"]),
    "preemption whatever holds": (("regs.pstate & PSR_I == 0 and preemptible()", "regs.pstate & PSR_I == 0"),
                                  ["risky D130 exit work to_kernel: condition: ((regs.flags & IF) != 0) and preemptible() → (regs.pstate & PSR_I) == 0"]),
    "preemption with interrupts off": (("regs.pstate & PSR_I == 0 and preemptible()", "preemptible()"),
                                       ["risky D130 exit work to_kernel: condition: ((regs.flags & IF) != 0) and preemptible() → preemptible()"]),
    "bookkeeping": (("bracket user   { enter user_left(regs); leave user_resumes(regs) }",
                     "bracket user   { enter user_left(regs); leave kernel_resumes(regs), user_resumes(regs) }"),
                    ["risky D123 bracket user: leaving added: kernel_resumes(regs)"]),
    "a flag": (("NOTIFY_RESUME = 2 }", "NOTIFY_RESUME = 2, NOTIFY_SIGNAL = 3 }"),
               ["risky D127 exit work to_user: work for SIGPENDING | NOTIFY_SIGNAL: flag NOTIFY_SIGNAL added",
                "compatible D120 flag NOTIFY_SIGNAL added"]),
    "a system call": (("    9 sys_test(3)\n", "    9 sys_test(2)\n"),
                      ["risky D136 system call table native: system call sys_test: arguments: 3 → 2"]),
    "a hook": (("hook schedule()                               \"run", "hook u64 schedule()                               \"run"),
               ["compatible D121 hook schedule: result: void → u64"]),
    "exit work forgotten": (("    do interrupt(regs)\n    work to_user\n", "    do interrupt(regs)\n"),
                            ["risky D141 way of other events from user mode added: enter user; leave user"]),
    "interrupts on": (("    do interrupt(regs)\n    work to_kernel\n", "    do interrupt(regs)\n    irqs on\n    irqs off\n    work to_kernel\n"),
                      ["risky D141 way of other events from kernel code added: enter kernel; irqs on; irqs off; work to_kernel; leave kernel"]),
    "other bits": (("flags thread { NEED_RESCHED = 0, SIGPENDING = 1", "flags thread { NEED_RESCHED = 5, SIGPENDING = 6"), []),
    "other numbers": (("    9 sys_test(3)\n", "    19 sys_test(3)\n"), []),
    "other names": (("bracket user ", "bracket outside "), []),
}


def edited(name: str, folder: Path) -> Path:
    (old, new), _ = EDITS[name]
    text = ARM.read_text()
    assert old in text, name
    text = text.replace(old, new)
    if name == "a flag":
        text = text.replace("        SIGPENDING    ->", "        SIGPENDING | NOTIFY_SIGNAL ->")
    if name == "other names":
        text = text.replace("enter user\n", "enter outside\n").replace("leave user\n", "leave outside\n").replace("work to_user of", "work out of") \
            .replace("work to_user\n", "work out\n")
    path = folder / "arm64.entry"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", EDITS)
def test_rows(name: str, tmp_path: Path) -> None:
    port = edited(name, tmp_path)
    before = lines(X86, ARM)
    assert [x for x in lines(X86, port) if x not in before] == EDITS[name][1]

    def bare(row: Row) -> tuple[object, ...]:
        return row.rule.code, row.kind, row.places, row.old, row.new
    there, back = (compared(load_spec(a), load_spec(b)).rows for a, b in ((X86, port), (port, X86)))
    assert sorted(map(repr, map(bare, map(mirrored, there)))) == sorted(map(repr, map(bare, back)))


def test_what_has_to_differ_is_not_told() -> None:
    """Two small kernels that mean the same: only hooks differ, which have to know more or less of an event."""
    assert {line.split()[1] for line in lines(X86, ARM)} == {"D121"}


def test_exit_work_of_linux() -> None:
    """The differences that a conversion of one of these to the other's code would make."""
    found = lines(LINUX / "exit-work-x86_64-6.12.entry", LINUX / "exit-work-arm64-6.12.entry")
    assert "risky D125 exit work to_user: work for PATCH_PENDING removed: PATCH_PENDING -> live_patch()" in found
    assert "risky D125 exit work to_user: work for FOREIGN_FPSTATE added: FOREIGN_FPSTATE -> load_fpu()" in found
    assert "risky D132 exit work to_user: look at the flags: function: thread_flags_after_wakeups → thread_flags" in found
    assert not any(line.startswith("breaking") for line in found)


def test_code_of_two_cpus_is_not_compared(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", str(X86), str(ARM), "--effects"]) == 2
    assert "the new side cannot be compared: it is for another CPU" in capsys.readouterr().err


def test_the_specs_of_two_cpus_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", str(X86), str(ARM)]) == 0
    told = capsys.readouterr().out
    assert "D001  CPU: x86_64 → arm64\n" in told
    assert "not compared: what has to differ between CPUs" in told
    assert "*/ at size" not in told, "frames of two CPUs are not drawn as one"
