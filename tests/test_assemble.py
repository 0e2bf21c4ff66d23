"""Assemblers: the guards around Keystone, the second assembler, and that a difference is never green."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import spec_file
from entryc.assemble import keystone, second
from entryc.driver import assembled
from entryc.emit.asm import flat_lines, kernel_text
from entryc.model.arch import Arch
from entryc.model.build import load_spec
from entryc.model.load_arch import load_arch
from entryc.model.spec import Spec
from entryc.plan.code import Code, LabelLine
from entryc.plan.plan import plan_spec
from entryc.source.finding import Collector

SPECS = Path(__file__).parents[1] / "specs"
NAMES = sorted(p.stem for p in SPECS.glob("*.entry"))
BASE = assembled.BASE


class Quiet:
    """A speaker that says nothing."""

    def progress(self, text: str) -> None:
        pass


@pytest.fixture(scope="module")
def x86() -> Arch:
    return load_arch("x86_64")


@pytest.fixture(scope="module")
def arm() -> Arch:
    return load_arch("arm64")


def planned(name: str) -> tuple[Spec, Code]:
    spec = load_spec(spec_file(name))
    return spec, plan_spec(spec, Collector())


def raw(arch: Arch, text: str) -> keystone.Result:
    """The engine without the lint."""
    return keystone._run(arch.tools["keystone"], text, BASE)


# ---- what the engine does wrong, and that the guard stands before it ----

def test_radix(x86: Arch) -> None:
    """A decimal is read in base 16: 0x10 instead of 10, and no error."""
    assert raw(x86, "addq $10, %rsp").data == bytes.fromhex("4883c410")
    refused = keystone.assemble(x86, ["addq $10, %rsp"], BASE, {})
    assert refused.data is None and refused.error is not None and "base 16" in refused.error
    assert keystone.assemble(x86, ["addq $0xa, %rsp"], BASE, {}).data == bytes.fromhex("4883c40a")


def test_absolute_segment_address(x86: Arch) -> None:
    """%gs:disp becomes relative to the instruction pointer: another address, and no error."""
    right = bytes.fromhex("65488924 2514000000")
    assert raw(x86, "movq %rsp, %gs:0x14").data != right
    refused = keystone.assemble(x86, ["movq %rsp, %gs:0x14"], BASE, {})
    assert refused.data is None and refused.error is not None and "instruction pointer" in refused.error
    assert keystone.assemble(x86, ["movq %rsp, %gs:0x14(,%riz,0x1)"], BASE, {}).data == right


def test_silent_empty(x86: Arch) -> None:
    """Code is dropped without an error: no bytes are a failure."""
    dropped = raw(x86, "nop\n.section .text\nnop")
    assert dropped.data is None and dropped.error == "no bytes and no error came back"
    assert keystone.assemble(x86, [], BASE, {}).data is None


def test_a_crash_stays_in_the_child(x86: Arch) -> None:
    crashed = raw(x86, ".text\nnop")
    assert crashed.data is None and crashed.error is not None


def test_settings_do_not_leak(x86: Arch, arm: Arch) -> None:
    """The radix of one CPU's engine reaches the next one through freed memory: no engine shares a process."""
    first = keystone.assemble(arm, ["movz x0, #0x10", "ldr x1, [sp, #0x18]"], BASE, {})
    assert keystone.assemble(x86, ["addq $0x10, %rsp"], BASE, {}).data is not None
    assert keystone.assemble(arm, ["movz x0, #0x10", "ldr x1, [sp, #0x18]"], BASE, {}).data == first.data == bytes.fromhex("000280d2e10f40f9")
    probe = "import sys; from entryc.driver import assembled; sys.exit('keystone' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", probe], check=False).returncode == 0


@pytest.mark.parametrize("line", [
    "addq $10, %rsp", "pushq $-38", "movq 40(%rsp), %rax", ".balign 16, 0xcc", ".long 10", "1:", "jmp 1f", "b 1b", "b 2f", "movl $0b11, %eax",
    "movl $10h, %eax",
    "pushq %gs: 0x14", "nop; .text", "nop\n.text",
    "pushq %gs:0x14", "movq %fs:-0x8, %rax", "movq %gs:cell, %rax", "incl %ds:0x10",
    ".text", ".section .entry.text", "\t.pushsection .x", ".size a, . - a",
    ".include \"x\"", ".align 0x10", ".inst 0xd503201f",
])
def test_lint_refuses(line: str) -> None:
    assert keystone.lint([line]) is not None


@pytest.mark.parametrize("line", [
    "addq $0x10, %rsp", "pushq $-0x26", "movq 0x28(%rsp), %r10", "xorl %r8d, %r8d", ".balign 0x10, 0xcc", ".org start + 0x80, 0xd4", "vector_10:", ".L1:",
    "jmp .L1",
    "pushq %gs:0x14(,%riz,0x1)", "movq %gs:cell(%rip), %rax", "stp x29, x30, [sp, #0x10]", "mov x10, xzr", "msr daifset, #0xf", ".byte 0xf3, 0x0f",
    "movq %cr2, %rdi", "addq $0x8, %rsp /* 8 bytes */",
])
def test_lint_accepts(line: str) -> None:
    assert keystone.lint([line]) is None


# ---- the child process ----

def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    (tmp_path / "keystone.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


ENGINE = """
__version__ = "0"
KS_ARCH_X86 = KS_MODE_64 = KS_OPT_SYNTAX_ATT = 0
class Ks:
    def __init__(self, arch, mode): pass
    def asm(self, text, base): {}
"""


@pytest.mark.parametrize(("module", "message"), [
    ("raise ImportError('no')", "not installed"),
    ("VERSION = 3", "another one"),
    (ENGINE.format("import os; os.abort()"), "crashed"),
    (ENGINE.format("return None, 0"), "no bytes"),
    (ENGINE.format("raise ValueError('odd')"), "odd"),
    (ENGINE.format("import time; time.sleep(30)"), "no answer within"),
])
def test_no_engine_is_never_green(x86: Arch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, message: str) -> None:
    fake(tmp_path, monkeypatch, module)
    monkeypatch.setattr(keystone, "SECONDS", 2)
    result = keystone.assemble(x86, ["nop"], BASE, {})
    assert result.data is None
    assert result.error is not None and message in result.error


def test_chatter_of_the_engine_is_no_answer(x86: Arch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path, monkeypatch, ENGINE.format("print('error: x'); import os; os.write(1, b'noise'); return [144], 1"))
    assert keystone.assemble(x86, ["nop"], BASE, {}).data == b"\x90"


def test_a_module_of_the_current_folder_is_not_the_engine(x86: Arch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "keystone.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    assert keystone.assemble(x86, ["nop"], BASE, {}).data == b"\x90"


def test_the_bad_line_is_named(x86: Arch) -> None:
    lines = ["start:", "nop", "pushq %rax", "endbr99", "popq %rax", "jmp start"]
    result = keystone.assemble(x86, lines, BASE, {})
    assert result.data is None and result.error is not None and "'endbr99'" in result.error


def test_calls_far_behind_aligned_code(x86: Arch, arm: Arch) -> None:
    """The engine resolves absolute symbols against the wrong fragment once the text is aligned."""
    ext = {"ext": BASE + 0x400000}
    data = keystone.assemble(x86, ["nop", ".balign 0x40, 0xcc", "x:", "call ext"], BASE, ext).data
    assert data is not None and data[0x40:] == b"\xe8" + (0x400000 - 0x45).to_bytes(4, "little")
    data = keystone.assemble(arm, ["nop", ".balign 0x40, 0xd4", "x:", "bl ext"], BASE, ext).data
    assert data is not None and data[0x40:] == (0x94000000 | (0x400000 - 0x40) // 4).to_bytes(4, "little")


# ---- all assemblers over the shipped specs ----

def tools_or_skip(arch: Arch) -> list[second.Tool]:
    found = second.assemblers(arch)
    if not found:
        pytest.fail(f"no second assembler for {arch.name} on this machine")
    return found


@pytest.mark.parametrize("name", NAMES)
def test_shipped_specs(name: str) -> None:
    spec, code = planned(name)
    tools = tools_or_skip(spec.arch)
    results = assembled.assemble_all(spec, code, {"entry.S": kernel_text(spec, code)}, Quiet())  # type: ignore[arg-type]
    assert results.findings == []
    assert set(results.images) == set(spec.configurations)
    rows = {(r["artifact"], r["configuration"], r["tool"]) for r in results.rows}
    for configuration in spec.configurations:
        assert {("flat", configuration, t.name) for t in tools} <= rows
        assert any(a == "flat" and c == configuration and t.startswith("keystone") for a, c, t in rows)
    assert len([r for r in results.rows if r["result"].endswith("the same")]) >= len(spec.configurations) * (2 * len(tools) - 1)


def test_two_assemblers_agree_on_symbols() -> None:
    spec, code = planned("x86_64")
    tools = tools_or_skip(spec.arch)
    if len(tools) < 2:
        pytest.fail("only one second assembler")
    lines = flat_lines(spec, code, spec.configurations["smap"])
    images = [second.assemble_flat(spec.arch, t, lines, BASE, assembled.externs(code))[1] for t in tools[:2]]
    assert images[0] is not None and images[1] is not None
    names = {line.name for line in code.lines if isinstance(line, LabelLine) and line.kind not in ("local", "alias")} & set(images[0].symbols)
    assert len(names) > 256
    assert {n: images[0].symbols[n] for n in names} == {n: images[1].symbols[n] for n in names}


def codes(spec: Spec, code: Code, kernel: str | None = None) -> set[str]:
    spec.configurations = dict(list(spec.configurations.items())[:1])
    files = {"entry.S": kernel if kernel is not None else kernel_text(spec, code)}
    return {f.code for f in assembled.assemble_all(spec, code, files, Quiet()).findings}  # type: ignore[arg-type]


def test_other_bytes_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    spec, code = planned("arm64")
    tools_or_skip(spec.arch)
    honest = keystone.assemble

    def lying(*arguments: object) -> keystone.Result:
        result = honest(*arguments)  # type: ignore[arg-type]
        assert result.data is not None
        return keystone.Result(result.data[:-4] + b"\0\0\0\0", None, result.tool)
    monkeypatch.setattr(keystone, "assemble", lying)
    assert codes(spec, code) == {"A303"}


def test_kernel_text_that_differs_is_found() -> None:
    spec, code = planned("arm64")
    if not any(t.preprocess for t in tools_or_skip(spec.arch)):
        pytest.fail("no C preprocessor beside an assembler")
    text = kernel_text(spec, code)
    assert "\tisb" in text
    assert codes(spec, code, text.replace("\tisb", "\tdsb\tnsh", 1)) == {"A303"}


def test_code_in_another_section_is_found() -> None:
    spec, code = planned("arm64")
    if not any(t.preprocess for t in tools_or_skip(spec.arch)):
        pytest.fail("no C preprocessor beside an assembler")
    assert codes(spec, code, kernel_text(spec, code) + '\t.section .hidden.text, "ax"\n\tisb\n') == {"A302"}


def test_missing_engine_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, code = planned("arm64")
    tools_or_skip(spec.arch)
    fake(tmp_path, monkeypatch, "raise ImportError('no')")
    assert codes(spec, code) == {"A302"}


def test_no_second_assembler_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    spec, code = planned("arm64")
    monkeypatch.setattr(second, "assemblers", lambda arch: [])
    assert "A301" in codes(spec, code)
    assert second.assemblers(spec.arch) == []


def test_no_tool_on_the_path(x86: Arch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(second, "find_spec", lambda name: None)
    assert second.assemblers(x86) == []


def test_a_refusal_of_the_second_assembler_is_told(x86: Arch) -> None:
    for tool in tools_or_skip(x86):
        result, image = second.assemble_flat(x86, tool, ["nonsense %rax"], BASE, {})
        assert image is None and result.data is None and result.error
        result, image = second.assemble_flat(x86, tool, ["call nowhere"], BASE, {})
        assert image is None and result.error
