"""The C in linked images does what the spec says, with every compiler; planted defects are refuted; what cannot be followed is not proved."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from boot import boot, build_kernel, entry_dir
from conftest import ROOT, SPECS, spec_file
from entryc.driver.render import render
from entryc.emit.c_text import c_type, declare, prototype
from entryc.image.c_contract import measure_c_object
from entryc.model.build import load_spec
from entryc.model.spec import Spec
from entryc.plan.plan import plan_spec
from entryc.prove.compiled import Compiled, prove_c
from entryc.prove.verdict import Report
from entryc.source.finding import Findings

COMPILERS = {
    ("x86_64", "gcc"): ("gcc", "-m64", "-mno-red-zone", "-fcf-protection=none"),
    ("x86_64", "clang"): ("clang", "--target=x86_64-unknown-none-elf", "-mno-red-zone"),
    ("arm64", "gcc"): ("aarch64-linux-gnu-gcc", "-mstrict-align", "-mno-outline-atomics"),
    ("arm64", "clang"): ("clang", "--target=aarch64-linux-gnu", "-mstrict-align"),
}
LINKERS = {"x86_64": "ld", "arm64": "aarch64-linux-gnu-ld"}
KERNEL = ("-std=gnu11", "-O2", "-ffreestanding", "-fno-pic", "-fno-stack-protector", "-fno-asynchronous-unwind-tables", "-mgeneral-regs-only", "-w")
BOTH = pytest.mark.parametrize("cc", ["gcc", "clang"])


@cache
def spec_of(name: str) -> Spec:
    return load_spec(spec_file(name))


@cache
def files_of(name: str) -> dict[str, str]:
    return render(spec_of(name), plan_spec(spec_of(name)))


def kernel_side(spec: Spec) -> str:
    """C for what the kernel supplies: functions of which nothing can be known."""
    out = '#include "entry.h"\n'
    for hook in spec.hooks.values():
        params = [declare(c_type(spec, kind), name) for kind, name in hook.params]
        body = '__asm__ volatile("" ::: "memory");' + ("" if hook.result == "void" else " return 0;")
        out += prototype(c_type(spec, hook.result), hook.name, params, "") + " { " + body + " }\n"
    for row in {row.name: row for table in spec.tables.values() for row in table.rows}.values():
        out += prototype("int64_t", row.name, [f"uint64_t a{i}" for i in range(row.count)], "") + " { return 1; }\n"
    return out


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"


@cache
def kernel_object(arch: str, cc: str, header: str, source: str) -> bytes:
    """What the kernel supplies, compiled."""
    with TemporaryDirectory() as folder:
        (Path(folder) / "entry.h").write_text(header)
        (Path(folder) / "kernel.c").write_text(source)
        run(*COMPILERS[arch, cc], *KERNEL, "-c", f"{folder}/kernel.c", "-o", f"{folder}/kernel.o")
        return (Path(folder) / "kernel.o").read_bytes()


def compile_c(spec: Spec, files: dict[str, str], folder: Path, cc: str, *flags: str) -> Path:
    """entry.c as an object. A flag with a slash before it is left out."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("entry.c", "entry.h"):
        (folder / name).write_text(files[name])
    used = [f for f in (*COMPILERS[spec.arch.name, cc], *KERNEL, *flags) if f"/{f}" not in flags and not f.startswith("/")]
    run(*used, "-c", str(folder / "entry.c"), "-o", str(folder / "entry.o"))
    return folder / "entry.o"


def link_c(spec: Spec, files: dict[str, str], folder: Path, cc: str, *flags: str, more: str = "") -> Path:
    """entry.c in a small image, with functions for all hooks and system calls."""
    entry = compile_c(spec, files, folder, cc, *flags)
    (folder / "kernel.o").write_bytes(kernel_object(spec.arch.name, cc, files["entry.h"], kernel_side(spec) + more))
    run(LINKERS[spec.arch.name], "-nostdlib", "-static", "-e", next(iter(spec.handlers)), "-o", str(folder / "kernel.elf"),
        str(entry), str(folder / "kernel.o"))
    return folder / "kernel.elf"


def prove(spec: Spec, image: Path, configuration: str = "base") -> Compiled:
    return prove_c(spec, image, spec.configurations[configuration])


def text(result: Compiled) -> str:
    """What is not proved."""
    rows = [f"{v.verdict}: {v.claim.stub}: {v.claim.kind}: {v.claim.text} ({v.claim.detail or v.by})" for v in result.verdicts if v.verdict != "proved"]
    return "\n".join([*dict.fromkeys(rows), *result.not_checked])


def edited(name: str, pattern: str, replacement: str) -> dict[str, str]:
    """The files of a shipped spec with one edit of entry.c."""
    files = dict(files_of(name))
    files["entry.c"], count = re.subn(pattern, replacement, files["entry.c"], count=1)
    assert count == 1, f"{pattern} fits nothing in entry.c"
    return files


# ---- the shipped kernels ----

@cache
def whole_spec() -> Spec:
    return load_spec(SPECS / "x86_64.entry")


@cache
def whole_files() -> dict[str, str]:
    return render(whole_spec(), plan_spec(whole_spec()))


@pytest.mark.parametrize("configuration", ["pti", "fred"])
def test_the_whole_spec(configuration: str, tmp_path: Path) -> None:
    """All gates: their C is proved too."""
    spec, files = whole_spec(), whole_files()
    image = link_c(spec, files, tmp_path, "gcc", *(f"-DCONFIG_{f}" for f in sorted(spec.configurations[configuration].features)))
    result = prove(spec, image, configuration)
    assert len(result.verdicts) > 2000 and not text(result), text(result)


@pytest.mark.parametrize(("arch", "configuration", "cc"), [
    ("x86_64", "base", "gcc"), ("x86_64", "smap", "gcc"), ("x86_64", "smap", "clang"), ("arm64", "base", "gcc"), ("arm64", "base", "clang")])
def test_the_example_kernels_are_proved(arch: str, configuration: str, cc: str, tmp_path: Path) -> None:
    """Every claim, on the C as it lies in the image that boots; a second, simpler walk finds the same use of the stack."""
    if shutil.which(cc) is None:
        pytest.fail(f"no {cc}")
    image = build_kernel(arch, configuration, entry_dir(arch), tmp_path, cc=cc if cc == "clang" else "")
    spec = load_spec(SPECS / f"{arch}.entry")
    result = prove(spec, image, configuration)
    assert result.green, text(result)
    moved = {"regs_to_task", "bad_iret_to_task"} if arch == "x86_64" else set()
    assert {v.claim.stub for v in result.verdicts} == set(spec.handlers) | moved
    wanted = {"work", "number", "steps", "frame", "memory", "abi"} | ({"method", "counter", "ending", "moved"} if spec.choices else {"ending"})
    assert {v.claim.kind for v in result.verdicts} == wanted
    measured = measure_c_object(spec, image, jumps=result.jumps)
    assert not measured.findings
    assert measured.depth == result.depth


def test_a_kernel_whose_c_gives_the_address_of_the_exit_path(tmp_path: Path) -> None:
    """Proved on the linked kernel, where the addresses are known; all scenarios pass; another address is refuted."""
    text_of = (SPECS / "x86_64.entry").read_text()
    for choice in ("choose return_64 among sysret, iret", "choose return_32 among sysret_compat, iret"):
        assert choice in text_of
        text_of = text_of.replace(choice, f"{choice} by address")
    (tmp_path / "case.entry").write_text(text_of)
    spec = load_spec(tmp_path / "case.entry")
    for name, content in render(spec, plan_spec(spec)).items():
        (tmp_path / name).write_text(content)
    kernel = build_kernel("x86_64", "pti", tmp_path, tmp_path / "build", quick=True)
    result = prove(spec, kernel, "pti")
    assert result.green, text(result)
    booted = boot("x86_64", "pti", kernel)
    assert booted.all_passed, booted.text()
    source = tmp_path / "entry.c"
    changed, count = re.subn(r"return \(uintptr_t\)sysret_64;", "return (uintptr_t)sysret_32;", source.read_text())
    assert count == 1
    source.write_text(changed)
    wrong = prove(spec, build_kernel("x86_64", "pti", tmp_path, tmp_path / "build", quick=True), "pti")
    assert {v.claim.kind for v in wrong.verdicts if v.verdict == "refuted"} >= {"method"}, text(wrong)


@pytest.mark.parametrize(("level", "arch", "cc"), [("-O0", "x86_64", "gcc"), ("-O0", "arm64", "clang"), ("-O3", "x86_64", "clang"), ("-O3", "arm64", "gcc")])
def test_other_optimisations_are_proved(level: str, arch: str, cc: str, tmp_path: Path) -> None:
    spec = spec_of(arch)
    result = prove(spec, link_c(spec, files_of(arch), tmp_path, cc, level))
    assert result.green, text(result)


@pytest.mark.parametrize(("arch", "cc"), [("x86_64", "gcc"), ("arm64", "gcc")])
def test_jump_tables_are_followed(arch: str, cc: str, tmp_path: Path) -> None:
    """A dispatch that compilers make a table of: each place that it leads to is walked, and the table is not one of system calls."""
    source = spec_file(arch).read_text()
    source = source.replace("hook user_exception", "".join(f"hook h{i}(regs)\n" for i in range(12)) + "hook user_exception", 1)
    source, count = re.subn(r"(\n +(?:14|EC_SVC64) +-> )", "".join(f"\n{i} -> h{i}(regs)" for i in range(12)) + r"\1", source, count=1)
    assert count == 1
    (tmp_path / "case.entry").write_text(source)
    spec = load_spec(tmp_path / "case.entry")
    image = link_c(spec, render(spec, plan_spec(spec)), tmp_path, cc)
    result = prove(spec, image)
    assert result.green, text(result)
    assert [len(targets) > 10 for targets in result.jumps.values()] == [True]
    assert [f.code for f in measure_c_object(spec, image).findings] == ["E436"]
    measured = measure_c_object(spec, image, jumps=result.jumps)
    assert not measured.findings and measured.depth == result.depth


@pytest.mark.parametrize("rows", [(0,), (0, 2, 3, 7), tuple(range(60))], ids=["one", "gaps", "many"])
def test_other_tables_are_proved(rows: tuple[int, ...], tmp_path: Path) -> None:
    source, count = re.subn(r"    0 sys_exit\(1\)\n(.*\n)*?    9 sys_test\(3\)\n", "".join(f"    {n} call_{n}({n % 7})\n" for n in rows),
                            spec_file("x86_64").read_text())
    assert count == 1
    (tmp_path / "case.entry").write_text(source)
    spec = load_spec(tmp_path / "case.entry")
    result = prove(spec, link_c(spec, render(spec, plan_spec(spec)), tmp_path, "gcc"))
    assert result.green, text(result)


# ---- planted defects: kind of the claim that is refuted, name, edit of entry.c ----

ON_AND_OFF = (r"(NOTIFY_RESUME\)\)\)\n)\t\t\treturn;", r"\1\t\t\treturn (void)({ ENTRY_IRQS_ON(); ENTRY_IRQS_OFF(); });")
READ_LATE = (r'(\t__asm__ volatile\("movq %%cr2[^\n]*\n)(\tif \(entry_from_user\(regs\)\) \{\n\t\tuser_left\(regs\);\n)', r"\2\1")
DEFECTS = [
    ("method", "a clause dropped", r"\tif \(!\(regs->ip < USER_END\)\)\n\t\treturn \w+;\n", ""),
    ("method", "<= for <", r"regs->ip < USER_END\)\)", "regs->ip <= USER_END))"),
    ("method", "another slot", r"regs->cx == regs->ip\)\)", "regs->cx == regs->di))"),
    ("method", "another constant", r"regs->ss == USER_DS\)\)", "regs->ss == USER_CS))"),
    ("method", "methods exchanged", r"refusal < 0\)", "refusal >= 0)"),
    ("method", "an index that no method has", r"return \(uint8_t\)choose_return_64\(regs\);", "return choose_return_64(regs) ? 1 : regs->r8 == 7 ? 2 : 0;"),
    ("steps", "the method chosen before the last hook", r"\tuser_resumes\(regs\);\n\treturn \(uint8_t\)choose_return_64\(regs\);",
     "\tuint8_t method = choose_return_64(regs);\n\tuser_resumes(regs);\n\treturn method;"),
    ("frame", "the frame changed after the choice", r"\t\tcounts->returned\[RETURN_64_SYSRET\]\+\+;",
     "\t\tcounts->returned[RETURN_64_SYSRET]++;\n\t\t((struct regs *)regs)->r15 = 0;"),
    ("counter", "another counter", r"counts->returned\[RETURN_64_SYSRET\]\+\+", "counts->returned[RETURN_64_IRET]++"),
    ("memory", "a write beside the counters", r"counts->returned\[RETURN_64_SYSRET\]\+\+", "counts->returned[RETURN_64_SYSRET]++, counts->current = 0"),
    ("number", "> for >=", r"if \(number >= 10\)", "if (number > 10)"),
    ("number", "no range check", r"if \(number >= 10\) \{\n.*\n.*\n\t\}\n", ""),
    ("number", "no mask", r"\tnumber &= native_mask\(number, 10\);\n", ""),
    ("number", "a mask for one more", r"native_mask\(number, 10\)", "native_mask(number, 11)"),
    ("number", "another index", r"native_table\[number\]", "native_table[number ^ 1]"),
    ("number", "half of the number", r"uint64_t number = regs->error;", "uint64_t number = (uint32_t)regs->error;"),
    ("number", "another missing value", r"\(uint64_t\)-38", "(uint64_t)-37"),
    ("number", "half of the result", r"regs->ax = \(uint64_t\)native_table", "regs->ax = (uint32_t)native_table"),
    ("number", "arguments exchanged", r"sys_write\(regs->di, regs->si\)", "sys_write(regs->si, regs->di)"),
    ("number", "rows exchanged", r"\[1\] = native_sys_write,\n\t\[2\] = native_sys_yield", "[2] = native_sys_write,\n\t[1] = native_sys_yield"),
    ("work", "no second look at the flags", r"\t\tENTRY_IRQS_OFF\(\);\n\t\}\n\}", "\t\tENTRY_IRQS_OFF();\n\t\treturn;\n\t}\n}"),
    ("work", "an end after a thousand rounds", r"for \(;;\) \{", "for (int round = 0; round < 1000; round++) {"),
    ("work", "an end after a thousand rounds, counted on the stack", r"for \(;;\) \{", "for (volatile int round = 0; round < 1000; round++) {"),
    ("work", "flags read with interrupts on", r"\t\tENTRY_IRQS_OFF\(\);\n\t\}\n\}", "\t}\n}"),
    ("work", "interrupts let in after the last look", *ON_AND_OFF),
    ("work", "a flag that is not looked at", r"\(NEED_RESCHED \| SIGPENDING \| NOTIFY_RESUME\)", "(NEED_RESCHED | NOTIFY_RESUME)"),
    ("work", "cleared too late", r"thread_flags_clear\(NOTIFY_RESUME\);\n\t\t\tnotify_resume\(regs\);",
     "notify_resume(regs);\n\t\t\tthread_flags_clear(NOTIFY_RESUME);"),
    ("work", "another flag cleared", r"thread_flags_clear\(NOTIFY_RESUME\)", "thread_flags_clear(SIGPENDING)"),
    ("work", "the condition left out", r"\tif \(!\(\(\(regs->flags & ENTRY_IF\) != 0\) && preemptible\(\)\)\)\n\t\treturn;\n", ""),
    ("work", "interrupts on on the way to the kernel", r"\t\tpreempt_schedule\(\);\n", "\t\tpreempt_schedule();\n\tENTRY_IRQS_ON();\n"),
    ("steps", "the wrong origin", r"if \(entry_from_user\(regs\)\)", "if (!entry_from_user(regs))"),
    ("steps", "a range too short", r"case 32 \.\.\. 255:", "case 33 ... 255:"),
    ("steps", "the address read too late", *READ_LATE),
]
# On the other CPU, with the other compiler.
MORE_DEFECTS = [
    ("number", "no mask", r"\tnumber &= native_mask\(number, 10\);\n", ""),
    ("number", "> for >=", r"if \(number >= 10\)", "if (number > 10)"),
    ("work", "flags read with interrupts on", r"\t\tENTRY_IRQS_OFF\(\);\n\t\}\n\}", "\t}\n}"),
    ("work", "interrupts let in after the last look", *ON_AND_OFF),
    ("steps", "another class of events", r"case EC_SVC64:", "case 0x11:"),
]


def refuted(name: str, kind: str, pattern: str, replacement: str, folder: Path, cc: str) -> None:
    result = prove(spec_of(name), link_c(spec_of(name), edited(name, pattern, replacement), folder, cc))
    assert kind in {v.claim.kind for v in result.verdicts if v.verdict == "refuted"}, text(result)


@pytest.mark.parametrize(("kind", "name", "pattern", "replacement"), DEFECTS, ids=[row[1].replace(" ", "_") for row in DEFECTS])
def test_a_planted_defect_is_refuted(kind: str, name: str, pattern: str, replacement: str, tmp_path: Path) -> None:
    refuted("x86_64", kind, pattern, replacement, tmp_path, "gcc")


@pytest.mark.parametrize(("kind", "name", "pattern", "replacement"), MORE_DEFECTS, ids=[row[1].replace(" ", "_") for row in MORE_DEFECTS])
def test_a_planted_defect_is_refuted_elsewhere(kind: str, name: str, pattern: str, replacement: str, tmp_path: Path) -> None:
    refuted("arm64", kind, pattern, replacement, tmp_path, "clang")


MOVED = [
    ("a word left out", r"\tto\[9\] = old\[9\];.*\n", ""),
    ("another word", r"to\[9\] = old\[9\]", "to[9] = old[8]"),
    ("words exchanged in what was returned with", r" = from\[3\]", " = from[4]"),
    ("the old address", r"return \(struct regs \*\)to;", "return regs;"),
    ("one place too low", r"->task_top - 22;", "->task_top - 23;"),
    ("another stack", r"this_cpu\(\)->task_top", "this_cpu()->tss.sp0"),
    ("a word of the old frame cleared", r"\treturn \(struct regs \*\)to;", "\tregs->ax = 0;\n\treturn (struct regs *)to;"),
    ("from its start up, which only matters where the two overlap", r"(\tto\[21\] = old\[21\].*\n)((?:\tto\[.*\n)+)", r"\tto[0] = old[0];\n\2\1"),
]


@pytest.mark.parametrize(("name", "pattern", "replacement"), MOVED, ids=[row[0].replace(" ", "_") for row in MOVED])
def test_a_frame_that_does_not_arrive_is_refuted(name: str, pattern: str, replacement: str, tmp_path: Path) -> None:
    """A function that C enters with the frame on one stack, and that gives it back on another."""
    spec, files = whole_spec(), dict(whole_files())
    files["entry.c"], count = re.subn(pattern, replacement, files["entry.c"], count=1)
    assert count == 1
    result = prove(spec, link_c(spec, files, tmp_path, "gcc"))
    wrong = [v for v in result.verdicts if v.verdict != "proved"]
    assert {v.claim.kind for v in wrong} >= {"moved"} and {v.claim.stub for v in wrong} <= {"regs_to_task", "bad_iret_to_task"}, text(result)
    assert ("refuted" in {v.verdict for v in wrong}) == (name != "another stack"), text(result)      # nothing is known of what lies there


# ---- what cannot be followed is never proved ----

FIRST = r"\tuser_left\(regs\);"
UNKNOWN = [
    ("a table in memory that can be written", "x86_64", r"static int64_t \(\*const native_table", "int64_t (*native_table", "neither its stack"),
    ("flags that are read once", "x86_64", r"for \(;;\) \{\n(\t\tuint64_t flags = thread_flags\(\);)", r"\1\n\tfor (;;) {", "a loop"),
    ("an instruction that nobody describes", "x86_64", FIRST, '__asm__ volatile("rdtsc" ::: "rax", "rdx"); user_left(regs);', "rdtsc"),
    ("a hint with an effect", "arm64", FIRST, '__asm__ volatile("hint #25" ::: "x30"); user_left(regs);', "neither the lifter nor"),
    ("a system register written", "arm64", FIRST, '__asm__ volatile("msr sp_el0, xzr"); user_left(regs);', "sp_el0"),
    ("interrupts let in by another instruction", "arm64", FIRST, '__asm__ volatile("msr daif, xzr"); user_left(regs);', "daif"),
    ("a function that the spec does not declare", "x86_64", FIRST, "extern void stranger(void); stranger(); user_left(regs);", "stranger"),
    ("a vector register", "x86_64", FIRST, '__asm__ volatile("movq %%rax, %%xmm0" ::: "memory"); user_left(regs);', "xmm0"),
]


@pytest.mark.parametrize(("name", "arch", "pattern", "replacement", "reason"), UNKNOWN, ids=[row[0].replace(" ", "_") for row in UNKNOWN])
def test_what_cannot_be_followed_is_unknown(name: str, arch: str, pattern: str, replacement: str, reason: str, tmp_path: Path) -> None:
    spec = spec_of(arch)
    result = prove(spec, link_c(spec, edited(arch, pattern, replacement), tmp_path, "gcc", more="void stranger(void); void stranger(void) { }\n"))
    unknown = [v.by for v in result.verdicts if v.verdict == "unknown"]
    assert unknown and any(re.search(reason, by, re.IGNORECASE) for by in unknown), text(result)


def test_a_missing_function_is_not_checked(tmp_path: Path) -> None:
    image = link_c(spec_of("x86_64"), files_of("x86_64"), tmp_path, "gcc")
    run("objcopy", "--redefine-sym", "do_trap=other", str(image))
    result = prove(spec_of("x86_64"), image)
    assert not result.green and result.not_checked == ["do_trap: the image has no such symbol"]


def test_objects_and_other_files_are_refused(tmp_path: Path) -> None:
    compile_c(spec_of("x86_64"), files_of("x86_64"), tmp_path, "gcc")
    for path in (tmp_path / "entry.o", ROOT / "LICENSE"):
        with pytest.raises(Findings) as stop:
            prove(spec_of("x86_64"), path)
        assert [f.code for f in stop.value.findings] == ["E410"]


def test_values_that_refute_are_shown(tmp_path: Path) -> None:
    """The values are of the frame when the handler returns: the claim is false for them. The verdicts go into the report that the assembly's go into."""
    files = edited("x86_64", r"regs->ip < USER_END\)\)", "regs->ip <= USER_END))")
    result = prove(spec_of("x86_64"), link_c(spec_of("x86_64"), files, tmp_path, "gcc"))
    row = next(v for v in result.verdicts if v.verdict == "refuted" and "USER_END" in v.claim.text)
    assert 0x7ffffffff000 in row.model.values()
    assert row.claim.span.snippet.strip().startswith("when regs.ip < USER_END")
    spec = spec_of("x86_64")
    report = Report(spec, spec.configurations["base"], result.image, result.verdicts, result.seconds, result.not_checked)
    assert {f.code for f in report.findings()} == {"P101"} and not report.green
    assert any("sysret only when regs.ip < USER_END" in f.message and f.span is not None for f in report.findings())


def test_a_table_under_another_name_is_not_taken_for_proved(tmp_path: Path) -> None:
    """Without its symbol, nobody knows that the words read are those of the spec's table."""
    image = link_c(spec_of("x86_64"), files_of("x86_64"), tmp_path, "gcc")
    run("objcopy", "--strip-symbol", "native_table", str(image))
    result = prove(spec_of("x86_64"), image)
    assert not result.green and any(v.verdict == "unknown" and v.claim.kind == "number" for v in result.verdicts), text(result)
