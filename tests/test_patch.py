"""`entryc patch` on real sources: what the series is, that git takes it, and every tree that it refuses."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import SPECS, kernel_source
from entryc.cli import main
from entryc.model.build import load_spec
from entryc.model.digest import model_digest

SPEC = SPECS / "linux" / "x86_64.entry"
ASSEMBLY, COMPAT, C = "arch/x86/entry/entry_64.S", "arch/x86/entry/entry_64_compat.S", "arch/x86/entry/common.c"
HEADER, CALLS = "arch/x86/include/asm/idtentry.h", "arch/x86/include/asm/syscall.h"
MAKEFILE, KCONFIG = "arch/x86/entry/Makefile", "arch/x86/Kconfig.debug"
PATCHES = {"6.12": 7, "6.1": 3}
PERSON = "A Person <person@example.org>"
GIT = {"GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org", "GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@example.org",
       "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}


def files_of(version: str, out: Path) -> Path:
    """The files of a kernel that the series reads."""
    for name in ("Makefile", "Kbuild", ASSEMBLY, COMPAT, C, HEADER, CALLS, MAKEFILE, KCONFIG):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(kernel_source(version) / name, out / name)
    return out


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return files_of("6.12", tmp_path / "linux")


@pytest.fixture
def older(tmp_path: Path) -> Path:
    return files_of("6.1", tmp_path / "linux")


both = pytest.mark.parametrize("version", PATCHES)


def run(tree: Path, *more: str) -> int:
    return main(["patch", str(SPEC), "--tree", str(tree), *more])


def series(tree: Path, folder: Path, *more: str) -> Path:
    out = folder / "series.mbox"
    assert run(tree, "-o", str(out), "--from", PERSON, *more) == 0
    return out


def git(tree: Path, *command: str) -> str:
    done = subprocess.run(["git", *command], cwd=tree, env={**os.environ, **GIT}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def contents(tree: Path) -> dict[str, bytes]:
    return {str(p.relative_to(tree)): p.read_bytes() for p in sorted(tree.rglob("*")) if p.is_file() and ".git" not in p.parts}


def edited(tree: Path, name: str, change: Callable[[str], str]) -> None:
    before = (tree / name).read_text()
    after = change(before)
    assert after != before
    (tree / name).write_text(after)


@both
def test_git_takes_it(version: str, tmp_path: Path) -> None:
    """One commit a patch, with the files that --apply makes; the tree is only read."""
    tree = files_of(version, tmp_path / "linux")
    mbox = series(tree, tmp_path)
    before = contents(tree)
    git(tree, "init", "-q")
    git(tree, "add", "-A")
    git(tree, "commit", "-qm", "stock")
    git(tree, "am", "-q", str(mbox))
    assert contents(tree) != before
    subjects = git(tree, "log", "--format=%s", "--reverse").splitlines()[1:]
    assert subjects == re.findall(r"^Subject: \[PATCH \d+/\d+\] (.*)$", mbox.read_text(), re.MULTILINE) and len(subjects) == PATCHES[version]
    other = tmp_path / "other"
    for name, data in before.items():
        (other / name).parent.mkdir(parents=True, exist_ok=True)
        (other / name).write_bytes(data)
    assert run(other, "--apply") == 0
    assert contents(other) == contents(tree)


@both
def test_same_bytes_for_the_same_date(version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = files_of(version, tmp_path / "linux")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    first = series(tree, tmp_path).read_bytes()
    assert b"\nDate: Tue, 14 Nov 2023 22:13:20 -0000\n" in first
    assert series(tree, tmp_path).read_bytes() == first


@both
def test_checkpatch(version: str, tmp_path: Path) -> None:
    """The kernel's own checker, at its strictest. MAINTAINERS: a new file always asks for it."""
    tree = files_of(version, tmp_path / "linux")
    mbox = series(tree, tmp_path, "--signoff")
    assert mbox.read_text().count(f"\n\nSigned-off-by: {PERSON}\n---\n") == PATCHES[version]
    mails = ["From 0000" + part for part in mbox.read_text().split("From 0000")[1:]]
    assert len(mails) == PATCHES[version]
    for number, mail in enumerate(mails):
        file = tmp_path / f"{number}.patch"
        file.write_text(mail)
        done = subprocess.run(["perl", str(kernel_source(version) / "scripts" / "checkpatch.pl"), "--strict", "--no-tree", "--no-summary", "--terse",
                               "--ignore", "FILE_PATH_CHANGES", str(file)], capture_output=True, text=True, check=False)
        assert done.returncode == 0 and not done.stdout.strip(), done.stdout + done.stderr


def test_nobody_signs_unasked(tree: Path, tmp_path: Path) -> None:
    assert "Signed-off-by" not in series(tree, tmp_path).read_text()


def test_cover_letter(tree: Path, tmp_path: Path) -> None:
    series(tree, tmp_path)
    text = (tmp_path / "series.cover").read_text()
    assert "no git repository: whether it was changed was not checked" in text and "entry_SYSCALL_64 " in text
    digest = re.search(r"its model ([0-9a-f]{16})", text)
    assert digest is not None and digest[1] in (tmp_path / "series.mbox").read_text()
    git(tree, "init", "-q")
    git(tree, "add", "-A")
    git(tree, "commit", "-qm", "stock")
    series(tree, tmp_path)
    assert "committed files only" in (tmp_path / "series.cover").read_text()


def test_nothing_of_a_repository_is_run(tree: Path, tmp_path: Path) -> None:
    """A filter that the tree's repository configures would run when git looks whether a file was changed."""
    git(tree, "init", "-q")
    git(tree, "add", "-A")
    git(tree, "commit", "-qm", "stock")
    git(tree, "config", "filter.evil.clean", f"touch {tmp_path / 'ran'}; cat")
    (tree / ".gitattributes").write_text("* filter=evil\n")
    (tree / C).touch()
    series(tree, tmp_path)
    assert not (tmp_path / "ran").exists() and "committed files only" in (tmp_path / "series.cover").read_text()


def test_cover_letter_has_a_name_of_its_own(tree: Path, tmp_path: Path) -> None:
    assert run(tree, "-o", str(tmp_path / "x.cover"), "--from", PERSON) == 0
    assert (tmp_path / "x.cover").read_text().startswith("From 0000") and (tmp_path / "x.cover.cover").read_text().startswith("Subject: [PATCH 0/")


def test_text(tree: Path) -> None:
    """Code behind a label of two paths stands once; of two arms, the ordinary one is in line, and macros are in both; options that patch nothing are #ifdef."""
    assert run(tree, "--apply") == 0
    compat = (tree / COMPAT).read_text()
    assert compat.count("(sysret32_from_system_call, ") == 1 and compat.count("\tjmp\tsysret32_from_system_call\n") == 1 and compat.count("\tsysretl\n") == 1
    text = (tree / ASSEMBLY).read_text().partition("SYM_CODE_START_LOCAL(common_interrupt_return)\n")[2].partition("native_irq_return_ldt:\n")[0]
    inline, _, arm = text.partition("\tud2\n\n#ifdef CONFIG_MITIGATION_PAGE_TABLE_ISOLATION\n")
    places = [inline.index(part) for part in ("X86_FEATURE_PTI", "STACKLEAK_ERASE\n", "popq\t%rdi", "_done:\n\tUNWIND_HINT_IRET_REGS\n\tswapgs")]
    assert places == sorted(places)
    assert "STACKLEAK_ERASE_NOCLOBBER" in arm and "_done\n#endif\n" in arm
    assert text.count("\tiretq\n") == 1 and re.search(r"#ifdef CONFIG_XEN_PV\n\nSYM_INNER_LABEL\(early_xen_iret_patch, SYM_L_GLOBAL\)\n.*\n#endif\n", text)


def test_text_of_stubs(tree: Path) -> None:
    """One text for all entry points of a kind; the frame grows around the return address of what they call; what was right by hand stays."""
    assert run(tree, "--apply") == 0
    text = (tree / ASSEMBLY).read_text()
    body = re.search(r"\.macro idtentry_body cfunc has_error_code:req\n(.*?)\.endm", text, re.DOTALL)
    assert body is not None and re.sub(r"\s*/\*.*?\*/|\t", "", body[1]).split("\n") == [
        "", 'ALTERNATIVE "call error_entry; movq %rax, %rsp", "call xen_error_entry", X86_FEATURE_XENPV', "ENCODE_FRAME_POINTER", "UNWIND_HINT_REGS",
        "movq%rsp, %rdi", ".if \\has_error_code == 1", "movqORIG_RAX(%rsp), %rsi", "movq$-1, ORIG_RAX(%rsp)", ".endif", "call\\cfunc", "REACHABLE",
        "jmperror_return", ""]
    room = "\n\tpushq\t5*8(%rsp)\n\t.endr\n\tUNWIND_HINT_IRET_REGS offset=8\n.L\\asmsym\\()_from_user:"
    assert room in text.partition(".macro idtentry vector asmsym ")[2].partition(".endm")[0]
    called = text.partition("SYM_CODE_START(error_entry)\n")[2].partition("SYM_CODE_END(error_entry)")[0]
    places = [called.index(part) for part in ("pushq\t%rsi", "movq\tRDI-RSI(%rsp), %rsi", "movq\t%rdi, RDI-RSI(%rsp)", "offset=3*8", "UNWIND_HINT_REGS",
                                              "POINTER 8")]
    assert places == sorted(places) and called.count("pushq\t%rsi") == 2 and called.count("\tjmp\tsync_regs\n") == 2
    table = (tree / HEADER).read_text().partition("SYM_CODE_START(irq_entries_start)\n")[2].partition("SYM_CODE_END(irq_entries_start)")[0]
    assert ".rept\tNR_EXTERNAL_VECTORS\n\tUNWIND_HINT_IRET_REGS\n0 :\n\tENDBR\n\t.byte\t0x6a, vector" in table and "jmp\tasm_common_interrupt\n" in table
    assert (kernel_source("6.12") / COMPAT).read_text().partition("SYM_CODE_START(int80_emulation)")[2] == (tree / COMPAT).read_text().partition(
        "SYM_CODE_START(int80_emulation)")[2]


def test_text_of_an_older_kernel(older: Path) -> None:
    """The same paths with that kernel's names; what C says decides, and assembly looks at the frame no more."""
    assert run(older, "--apply") == 0
    text = (older / ASSEMBLY).read_text().partition("SYM_CODE_START(entry_SYSCALL_64)\n")[2].partition("SYM_CODE_END(entry_SYSCALL_64)\n")[0]
    for part in ("PER_CPU_VAR(cpu_current_top_of_stack), %rsp", "UNWIND_HINT_EMPTY", "#ifdef CONFIG_PAGE_TABLE_ISOLATION",
                 "SWITCH_TO_USER_CR3_STACK scratch_reg=%rdi", "\ttestl\t%eax, %eax"):
        assert part in text
    assert "cmp" not in text and "pcpu_hot" not in text and "END_OF_STACK" not in text
    assert "return_32" not in (older / C).read_text() and "RETURN_32" not in (older / "arch/x86/entry/return_count.h").read_text()


VALUE = "return regs->flags & (X86_EFLAGS_RF | X86_EFLAGS_TF);"


SYSRET = "parts/x86_64-sysret-6.12.entry"


@pytest.mark.parametrize(("file", "old", "new", "as_value"), (
    (SYSRET, "SYSRET takes ip from cx", "ip is in cx", True),
    ("x86_64.entry", "choose u32 return_64", "choose u8 return_64", False),             # RF lies above
    (SYSRET, "when regs.flags & (RF | TF) == 0", "when regs.flags & (RF | TF) <= 1", False),
    (SYSRET, "when regs.flags & (RF | TF) == 0", "when regs.flags & regs.ax == 0", False),
))
def test_the_last_clause_is_the_answer(file: str, old: str, new: str, as_value: bool, older: Path, tmp_path: Path) -> None:
    """What is left of a test is handed back as it is, where no bit of it gets lost; else 0 or 1. Counted or not, it is the same."""
    folder = copied(tmp_path)
    edited(folder, file, lambda text: text.replace(old, new, 1))
    assert main(["patch", str(folder / "x86_64.entry"), "--tree", str(older), "-o", str(tmp_path / "x.mbox"), "--from", PERSON]) == 0
    first, counted, _ = (tmp_path / "x.mbox").read_text().split("\nSubject: ")[1:]
    for text in (first, counted):
        assert (VALUE in text) == as_value and (re.search(r"\n[ +]\treturn 0;\n[ +]\n[ +]refused:\n", text) is None) == as_value
    both = "+\tif (unlikely(" + VALUE[7:-1] + "))\n+\t\tcount_return(RETURN_64_RF_OR_TF);\n+\telse\n+\t\tcount_return(RETURN_64_SYSRET);\n+\n"
    assert (both in counted) == as_value


def test_long_alternatives(older: Path) -> None:
    """More than one line where one would be too long, and nothing to fill up with: both texts are of the same length, and an arm starts in its alternative."""
    assert run(older, "--apply") == 0
    text = (older / ASSEMBLY).read_text()
    assert '\tALTERNATIVE "movq 0(%rsp), %rdi; movq 5*8(%rsp), %rsp", \\\n\t\t"movq 0(%rsp), %rdi; movq 8(%rsp), %rsp", X86_FEATURE_PTI\n' in text
    assert '\tALTERNATIVE "jmp .Lentry_SYSCALL_64_no_pti", "movq %rsp, %rdi", X86_FEATURE_PTI\n' in text


@pytest.mark.parametrize(("steps", "code"), (("gs = kernel; gs_spec = fenced", "E370"), ("gs = kernel", "E331")))
def test_a_call_in_an_arm_that_goes_on(steps: str, code: str, tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The last call of an arm is not that of the called path, where steps come behind the arm: these are reached, whatever else is wrong."""
    folder = copied(tmp_path)
    edited(folder, "parts/x86_64-6.12-vectors.entry",
           lambda text: text.replace("from bad_gs { gs = kernel }", f"from bad_gs {{ {steps}; call more(regs) as early }}"))
    assert main(["patch", str(folder / "x86_64.entry"), "--tree", str(tree), "-o", str(tmp_path / "x.mbox"), "--from", PERSON]) == 1
    said = capsys.readouterr().err
    assert re.findall(r"error\[(E\d+)\]", said) == [code], said


START = "SYM_CODE_START(entry_SYSCALL_64)"
COSMETIC = {
    "comments": (ASSEMBLY, lambda t: t.replace(START, START + "\n\t/* a remark\n\t * of two lines */")),
    "form feeds": (ASSEMBLY, lambda t: t.replace(START, "/* a page\f\u2028 */\n" + START)),
    "blanks": (ASSEMBLY, lambda t: re.sub(r"\n\tswapgs\n", "\n        swapgs   \n", t, count=1)),
    "neighbours": (ASSEMBLY, lambda t: t.replace(START, f"SYM_CODE_START(new_one)\n\tnop\nSYM_CODE_END(new_one)\n\n{START}")),
    "comments of C": (C, lambda t: re.sub(r"\n\tif \(unlikely\(regs->cx ", r"\n\t// a remark\g<0>", t, count=1)),
    "other functions": (C, lambda t: t + "\nstatic int more(void)\n{\n\treturn 1;\n}\n"),
    "what stays of a symbol": (ASSEMBLY, lambda t: t.replace("\nnative_irq_return_ldt:\n", "\nnative_irq_return_ldt:\n\tnop\n")),
    "last number": ("Makefile", lambda t: re.sub(r"(?m)^SUBLEVEL = .*$", "SUBLEVEL = 999", t)),
}


@pytest.mark.parametrize("name", COSMETIC)
def test_what_does_not_matter(name: str, tree: Path, tmp_path: Path) -> None:
    file, change = COSMETIC[name]
    edited(tree, file, change)
    mbox = series(tree, tmp_path)
    git(tree, "init", "-q")
    git(tree, "add", "-A")
    git(tree, "commit", "-qm", "changed")
    git(tree, "am", "-q", str(mbox))


def without(name: str) -> Callable[[Path], None]:
    return lambda tree: (tree / name).unlink()


def change(name: str, before: str, after: str) -> Callable[[Path], None]:
    return lambda tree: edited(tree, name, lambda text: text.replace(before, after))


def outside(tree: Path) -> None:
    (tree.parent / "elsewhere.S").write_bytes((tree / ASSEMBLY).read_bytes())
    (tree / ASSEMBLY).unlink()
    (tree / ASSEMBLY).symlink_to(tree.parent / "elsewhere.S")


def applied(tree: Path) -> None:
    assert run(tree, "--apply") == 0


def half(tree: Path) -> None:
    text = (tree / ASSEMBLY).read_bytes()
    applied(tree)
    (tree / ASSEMBLY).write_bytes(text)


def uncommitted(tree: Path) -> None:
    git(tree, "init", "-q")
    git(tree, "add", "-A")
    git(tree, "commit", "-qm", "stock")
    edited(tree, C, lambda text: text + "\n")


def staged(tree: Path) -> None:
    """As committed on disk, but not in the index."""
    text = (tree / C).read_text()
    uncommitted(tree)
    git(tree, "add", C)
    (tree / C).write_text(text)


REFUSED = {
    "no Makefile": (without("Makefile"), "E380", "is no Linux tree"),
    "another Makefile": (lambda tree: (tree / "Makefile").write_text("all:\n\tcc x.c\n"), "E380", "names no version"),
    "another version": (change("Makefile", "PATCHLEVEL = 12", "PATCHLEVEL = 11"), "E382",
                        r"the tree is Linux 6\.11\.\d+; the series is made for 6\.12 and 6\.1"),
    "a version of older files": (change("Makefile", "PATCHLEVEL = 12", "PATCHLEVEL = 1"), "E385", f"the end of do_syscall_64 in {C} is not the code"),
    "a file is missing": (without(C), "E381", f"the tree has no {C}"),
    "no text": (lambda tree: (tree / ASSEMBLY).write_bytes(b"\xff\xfe"), "E381", f"{ASSEMBLY} of the tree is no text"),
    "a link to elsewhere": (outside, "E381", f"{ASSEMBLY} of the tree leads out of it"),
    "an instruction": (change(ASSEMBLY, "\tmovslq\t%eax, %rsi", "\tmovl\t%eax, %esi"), "E385", f"entry_SYSCALL_64 in {ASSEMBLY} is not the code"),
    "a condition": (change(ASSEMBLY, "entry_SYSRETQ_unsafe_stack, SYM_L_GLOBAL)", "entry_SYSRETQ_unsafe_stack, SYM_L_LOCAL)"), "E385", "not the code"),
    "a part of a symbol": (change(ASSEMBLY, "\tpushq\t6*8(%rdi)", "\tpushq\t5*8(%rdi)"), "E385", f"common_interrupt_return in {ASSEMBLY} is not the code"),
    "a macro": (change(ASSEMBLY, "\t\t.rept\t6\n", "\t\t.rept\t7\n"), "E385", f"idtentry in {ASSEMBLY} is not the code"),
    "no macro": (change(ASSEMBLY, ".macro idtentry_irq vector", ".macro idtentry_irqs vector"), "E385", "has no code of idtentry_irq"),
    "a table": (change(HEADER, "\tjmp\tasm_spurious_interrupt", "\tjmp\tasm_common_interrupt"), "E385", f"spurious_entries_start in {HEADER} is not the code"),
    "what was right by hand": (change(COMPAT, "\tjmp do_int80_emulation", "\tjmp do_int80_syscall"), "E385", f"int80_emulation in {COMPAT} is not the code"),
    "no symbol": (change(ASSEMBLY, "SYM_CODE_START(entry_SYSCALL_64)", "SYM_CODE_START(entry_SYSCALL)"), "E385", "has no code of entry_SYSCALL_64"),
    "a clause": (change(C, "regs->r11 != regs->flags", "regs->r11 == regs->flags"), "E385", f"the end of do_syscall_64 in {C} is not the code"),
    "no function": (change(C, "bool do_syscall_64(", "bool do_syscall("), "E385", "has no function do_syscall_64"),
    "no call": (lambda tree: edited(tree, C, lambda t: t.replace("\tsyscall_exit_to_user_mode(regs);\n", "", 1)), "E385", "does not call syscall_exit"),
    "a line": (change(MAKEFILE, "+= syscall_x32.o", "+= syscall_x32.o more.o"), "E385", f"{MAKEFILE} has the line"),
    "applied already": (applied, "E386", "is there already"),
    "half applied": (half, "E386", "is there already"),
    "staged": (staged, "E383", f"the tree has changes in {C} that were not committed"),
    "not committed": (uncommitted, "E383", f"the tree has changes in {C} that were not committed"),
}


REFUSED_OLDER = {
    "a check in assembly": (change(ASSEMBLY, "\ttestq\t$(X86_EFLAGS_RF|X86_EFLAGS_TF), %r11", "\ttestq\t$(X86_EFLAGS_RF), %r11"), "E385",
                            f"entry_SYSCALL_64 in {ASSEMBLY} is not the code"),
    "an end of the C function": (change(C, "\tsyscall_exit_to_user_mode(regs);\n}\n#endif\n\n", "\tsyscall_exit_to_user_mode(regs);\n\tmore();\n}\n#endif\n\n"),
                                 "E385", f"the end of do_syscall_64 in {C} is not the code"),
    "a declaration": (change(CALLS, "void do_syscall_64(", "long do_syscall_64("), "E385", r"has the line 'void do_syscall_64\(.*' 0 times"),
    "files of a newer kernel": (change("Makefile", "PATCHLEVEL = 1\n", "PATCHLEVEL = 12\n"), "E385", f"the end of do_syscall_64 in {C} is not the code"),
    "applied already": (applied, "E386", "is there already"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(*REFUSED[name], tree, tmp_path, capsys)


@pytest.mark.parametrize("name", REFUSED_OLDER)
def test_older_refused(name: str, older: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(*REFUSED_OLDER[name], older, tmp_path, capsys)


def refused(spoil: Callable[[Path], None], code: str, message: str, tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil(tree)
    before = contents(tree)
    capsys.readouterr()
    for more in (["--apply"], ["-o", str(tmp_path / "series.mbox"), "--from", PERSON]):
        assert run(tree, *more) != 0
        said = capsys.readouterr().err
        assert f"error[{code}]" in said and re.search(message, said), said
        assert "Traceback" not in said
    assert contents(tree) == before and not (tmp_path / "series.mbox").exists() and not (tmp_path / "series.cover").exists()


def test_asked_for_nothing(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tree) == 2 and "nothing to do" in capsys.readouterr().err


@pytest.mark.parametrize("person", ["", "me", "me <me>", "A <a@b>\nBcc: c@d", "<a@example.org>"])
def test_who_sends(person: str, tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tree, "-o", str(tmp_path / "x.mbox"), "--from", person) == 1 and "error[E387]" in capsys.readouterr().err


def test_other_specs(tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for spec, message in ((SPECS / "x86_64.entry", "there are no patches for target bare"), (SPECS / "linux" / "x86_64-6.12.entry", "no series belongs")):
        assert main(["patch", str(spec), "--tree", str(tree), "-o", str(tmp_path / "x.mbox"), "--from", PERSON]) == 1
        assert message in capsys.readouterr().err


def copied(folder: Path) -> Path:
    """The specs, to be changed."""
    shutil.copytree(SPECS, folder / "specs")
    return folder / "specs" / "linux"


BAD = {
    "no text for a feature": ("x86_64.entry", "    if PTI {", "    di = sp if SMAP\n    if PTI {", "E370", "no kernel text for code that is there if SMAP"),
    "no C for a clause": ("parts/x86_64-sysret-6.12.entry", "when regs.cs == USER_CS", "when s8 regs.cs == USER_CS", "E371", "no kernel C for s8 regs.cs"),
    "a wrong order": ("x86_64.entry", "    gs = kernel\n    percpu.tss.sp2 = sp\n", "    percpu.tss.sp2 = sp\n    gs = kernel\n", "E316",
                      "cannot be reached here"),
    "a series that is no TOML": ("x86_64.series.toml", "versions = ", "versions ", "E384", "cannot be read"),
    "a step for no version": ("x86_64.series.toml", 'only    = ["6.12"]', 'only    = ["6.13"]', "E384", "only 6.13, which is none of its versions"),
    "no version in the spec": ("x86_64.entry", 'version V6_12 "6.12"', 'version V6_12 "6.11"', "E229", "the spec names no version 6.12"),
    "a subject of two lines": ("x86_64.series.toml", 'subject = "x86/entry: Entry and', 'subject = "x86/entry: Entry and\\n', "E384", "a subject is one line"),
    "no kind": ("x86_64.series.toml", 'kind   = "code"', 'kind   = "kode"', "E384", "cannot be read: 'kode'"),
    "an unknown key": ("x86_64.series.toml", "counted  = true", "counter  = true", "E384", "cannot be read: 'counter'"),
    "a wrong type": ("x86_64.series.toml", 'known    = ["2dd9f0e8effa9368"]', "known    = 2", "E384", "cannot be read: known = 2"),
    "no text in a list": ("x86_64.series.toml", '"sysret_64"]', "64]", "E384", "cannot be read: paths = "),
    "a file elsewhere": ("x86_64.series.toml", '"arch/x86/entry/return_count.h"', '"../return_count.h"', "E381", "would not lie in the tree"),
    "no template": ("x86_64.series.toml", 'template = "return_count.h"', 'template = "../linux/return_count.h"', "E384", "made from ../linux/return_count.h"),
    "an unknown path": ("x86_64.series.toml", '"sysret_64"', '"sysret"', "E384", "the series names the path sysret,"),
    "an unknown choice": ("x86_64.series.toml", 'choice   = "return_64"\nknown', 'choice   = "return_65"\nknown', "E384", "names the choice return_65,"),
    "a part without an end": ("x86_64.series.toml", 'last   = "iretq"', 'last   = ""', "E384", "first without last"),
    "a part that is not there": ("x86_64.series.toml", 'last   = "iretq"', 'last   = "iretl"', "E385", "has no code of common_interrupt_return"),
    "an arm that nothing fits": ("x86_64.series.toml", 'paths = ["asm_exc_int3"]', 'paths = ["asm_exc_int4"]', "E384",
                                 "fits an arm of macro idtentry: asm_exc_int4"),
    "no place for a table": ("x86_64.series.toml", 'symbol  = "irq_entries_start"', 'symbol  = "irq_entries"', "E384", "has its place at irq_entries"),
    "an arm that is no table": ("x86_64.series.toml", 'arms    = [{ paths = ["asm_common_interrupt", "asm_spurious_interrupt"] }]', 'arms = ["x"]', "E384",
                                "cannot be read: dictionary"),
    "an arm's key": ("x86_64.series.toml", '{ when = ', '{ wenn = ', "E384", "cannot be read: 'wenn'"),
    "entry points that differ": ("parts/x86_64-6.12-vectors.entry", "on vector 4  as exception(exc_overflow)",
                                 "on vector 4 { ac = 0 if SMAP; df = 0; save regs.orig_ax; through error_entry; do clear_history; call exc_overflow(regs); "
                                 "goto error_return }",
                                 "E389", "idtentry_body cannot be one text: asm_exc_divide_error has 'movq\t%rsp, %rdi"),
    "another frame at the call": ("parts/x86_64-6.12-vectors.entry", "    save regs.orig_ax\n    through error_entry\n    call f",
                                  "    through error_entry\n    call f", "E351", "'error_entry' is reached with different frames"),
    "a called path that saves nothing": ("parts/x86_64-6.12-vectors.entry", "path error_entry called {\n    save regs\n", "path error_entry called {\n", "E317",
                                         "cx holds the only copy of the interrupted cx"),
    "a called path without a frame": ("parts/x86_64-6.12-vectors.entry", "call sync_regs(regs) as early -> regs on task\n    }\n    from kernel",
                                      "do clear_history\n    }\n    from kernel", "E357", "the called path 'error_entry' ends without a frame to give back"),
    "too much room": ("parts/x86_64-6.12-vectors.entry", "room 48", "room 56", "E312", "room is made for as much as lies on the stack here: 48 bytes"),
    "a called path that keeps the user's registers": ("parts/x86_64-6.12-vectors.entry", "    clear all but ax di ", "    clear cx # ",
                                                      "E332", "C would see the interrupted"),
    "a symbol that is not made": ("x86_64.series.toml", '["entry_SYSCALL_64", "sysret_64"]', '["sysret_64"]', "E384", "wants the code of entry_SYSCALL_64"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_specs_and_series(name: str, tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, before, after, code, message = BAD[name]
    folder = copied(tmp_path)
    edited(folder, file, lambda text: text.replace(before, after, 1))
    assert main(["patch", str(folder / "x86_64.entry"), "--tree", str(tree), "-o", str(tmp_path / "x.mbox"), "--from", PERSON]) == 1
    said = capsys.readouterr().err
    assert f"error[{code}]" in said and message in said, said
    assert not (tmp_path / "x.mbox").exists()


REPORT = {"spec": {"model": "0" * 16}, "green": True, "image": {"sha256": "ab" * 32}, "configurations": [{"name": "none", "proved_here": True}],
          "verdicts": {"none": {"count": {"proved": 7}}}}
NO_PROOF = {
    "no file": (None, "is no report of entryc verify: FileNotFoundError"),
    "no JSON": ("{", "is no report of entryc verify: JSONDecodeError"),
    "another JSON": ("[1]", "is no report of entryc verify: TypeError"),
    "another model": (json.dumps(REPORT), "is about another model: 0000000000000000, the series is made from"),
    "not proved": (json.dumps(REPORT | {"spec": {"model": "DIGEST"}, "green": False}), "does not show all of it proved"),
    "only some": (json.dumps(REPORT | {"spec": {"model": "DIGEST"}, "configurations": [{"name": "none", "proved_here": False}]}), "none left out"),
}


@pytest.mark.parametrize("name", NO_PROOF)
def test_no_proof(name: str, tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is no proof of this series is not put into its letter."""
    text, message = NO_PROOF[name]
    report = tmp_path / "report.json"
    if text is not None:
        report.write_text(text.replace("DIGEST", model_digest(load_spec(SPEC))))
    assert run(tree, "-o", str(tmp_path / "x.mbox"), "--from", PERSON, "--proof", str(report)) == 1
    said = capsys.readouterr().err
    assert "error[E388]" in said and message in said
    assert not (tmp_path / "x.mbox").exists()


def test_check_plans_what_the_series_makes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(SPEC)]) == 0
    said = capsys.readouterr().out
    assert re.search(r"for 6\.12: .* code for entry_SYSCALL_64, entry_SYSENTER_compat,", said) and re.search(r"for 6\.1: .* code for entry_SYSCALL_64, 5", said)
    folder = copied(tmp_path)
    edited(folder, "x86_64.entry", lambda text: text.replace("    gs = kernel\n    percpu.tss.sp2 = sp\n", "    percpu.tss.sp2 = sp\n    gs = kernel\n"))
    assert main(["check", str(folder / "x86_64.entry")]) == 1 and "error[E316]" in capsys.readouterr().err


def test_the_digest_is_of_the_meaning(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    before = model_digest(load_spec(SPEC))
    edited(folder, "x86_64.entry", lambda text: text.replace("\n    gs = kernel\n", "\n\n    # a remark\n    gs  =  kernel\n"))
    assert model_digest(load_spec(folder / "x86_64.entry")) == before
    edited(folder, "parts/x86_64-6.12-machine.entry", lambda text: text.replace("TOP_OF_STACK = 0x18", "TOP_OF_STACK = 0x20"))
    assert model_digest(load_spec(folder / "x86_64.entry")) != before
