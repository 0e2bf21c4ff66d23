"""The compiler knows no CPU: no register, mnemonic or CPU id in Python, and no output that depends on a name."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from conftest import ROOT, SPECS, spec_file
from entryc import resources
from entryc.driver.render import render
from entryc.model.build import load_spec
from entryc.model.load_arch import load_arch
from entryc.plan.plan import plan_spec

# Words of a CPU description that are also plain English, Python, or the language's own vocabulary.
COMMON = frozenset("""
C N a b c d f i n s v z add and adjust align base branch call clear error flags frame in ip jmp jump load mark mov move not or
pc pop push return save sp stack store str sub swap syscall test vector x xor
""".split())


def cpu_words() -> set[str]:
    words: set[str] = set()
    for name in resources.arch_names():
        arch = load_arch(name)
        words |= {name, *arch.setups, *arch.hwstacks, *arch.structs, *arch.events}
        for register in arch.registers.values():
            words |= {register.name, *register.views.values(), *register.bits, *register.places}
        for form in arch.forms.values():
            words |= {form.name, *form.decodes}
    return words - COMMON


def words_of(tree: ast.AST) -> set[tuple[str, int]]:
    out: set[tuple[str, int]] = set()
    docstrings = {id(node.body[0].value) for node in ast.walk(tree)
                  if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and node.body
                  and isinstance(node.body[0], ast.Expr) and isinstance(node.body[0].value, ast.Constant)}
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            out.add((node.value, line))
            if re.fullmatch(r"[\w .,%$]*", node.value) and len(node.value) < 24:
                out |= {(word, line) for word in node.value.split()}
        elif isinstance(node, ast.Name):
            out.add((node.id, line))
        elif isinstance(node, ast.Attribute):
            out.add((node.attr, line))
        elif isinstance(node, ast.arg):
            out.add((node.arg, line))
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            out.add((node.name, line))
    return out


@pytest.mark.parametrize("file", sorted((ROOT / "compiler").rglob("*.py")), ids=lambda f: str(f.relative_to(ROOT / "compiler")))
def test_no_cpu_in_python(file: Path) -> None:
    words = cpu_words()
    found = sorted((line, word) for word, line in words_of(ast.parse(file.read_text())) if word in words)
    assert found == []


@pytest.mark.parametrize("file", sorted((ROOT / "compiler").rglob("*.py")), ids=lambda f: str(f.relative_to(ROOT / "compiler")))
def test_no_cpu_in_comments(file: Path) -> None:
    """Nor in docstrings and paths; a library may be called after one."""
    names = "|".join([*resources.arch_names(), "x86", "i386", "amd64", "aarch64", "armv8", "riscv"])
    assert re.findall(rf"(?i)(?:{names})", file.read_text().replace("iced_x86", "")) == []


def test_no_branch_on_the_cpu() -> None:
    """Nothing compares the name of the CPU with anything."""
    for file in (ROOT / "compiler").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Compare):
                for side in [node.left, *node.comparators]:
                    assert not re.search(r"\barch\.name$", ast.unparse(side)), f"{file}:{node.lineno}: {ast.unparse(node)}"


RENAMED = {
    "x86_64": {"gs": "which_base", "gs_spec": "guess", "kernel": None, "task": "main_stack", "regs": "saved", "percpu": "block", "trap": "anything",
               "iret_user": "leave_slow", "sysret_64": "leave_fast", "iret_kernel": "leave_back", "syscall_64": "gate", "user_stack": "danger"},
    "arm64": {"task": "main_stack", "regs": "saved", "eret_user": "leave_out", "eret_kernel": "leave_back"},
}


@pytest.mark.parametrize("name", sorted(RENAMED))
def test_alpha_renaming(name: str, tmp_path: Path) -> None:
    """With all states, stacks, frames, paths and the CPU renamed, the outputs are the same but for the names."""
    names = {k: v for k, v in RENAMED[name].items() if v}
    def rename(text: str) -> str:
        for old, new in names.items():
            text = re.sub(rf"(?<![\w.]){old}(?!\w)", new, text)
        return text
    text = spec_file(name).read_text()
    (tmp_path / f"{name}.entry").write_text(text)
    renamed = tmp_path / "renamed" / f"{name}.entry"
    renamed.parent.mkdir()
    renamed.write_text(rename(text))
    before, after = (plan_spec(load_spec(p, f"{name}.entry")) for p in (tmp_path / f"{name}.entry", renamed))
    def shape(code: object) -> list[tuple[str, tuple[object, ...]]]:
        out = []
        for line in code.lines:  # type: ignore[attr-defined]
            if hasattr(line, "form"):
                out.append((line.form.name, tuple("label" if isinstance(o, str) and o not in load_arch(name).registers else o for o in line.operands)))
            else:
                out.append((type(line).__name__, ()))
        return out
    assert shape(before) == shape(after)
    spec = load_spec(renamed, f"{name}.entry")
    files = render(spec, after)
    assert all(not re.search(r"(?<![\w.])(iret_user|sysret_64|eret_user|regs)(?!\w)", text) for n, text in files.items() if n.endswith((".S", ".s")))


def test_renamed_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU under another name gives the same assembly."""
    data = tmp_path / "data"
    for folder in ("grammar", "templates", "specs"):
        (data / folder).mkdir(parents=True)
    for file in (ROOT / "grammar").glob("*.lark"):
        (data / "grammar" / file.name).write_text(file.read_text())
    (data / "specs" / "arch").mkdir()
    (data / "specs" / "arch" / "zebra.arch").write_text(re.sub(r"^arch arm64", "arch zebra", (SPECS / "arch" / "arm64.arch").read_text(), flags=re.M))
    spec_file = tmp_path / "zebra.entry"
    spec_file.write_text((SPECS / "arm64.entry").read_text().replace("arch arm64", "arch zebra"))
    expected = plan_spec(load_spec(SPECS / "arm64.entry"))
    load_arch.cache_clear()
    monkeypatch.setattr(resources, "root", lambda: data)
    got = plan_spec(load_spec(spec_file))
    load_arch.cache_clear()
    assert [(getattr(a, "form", a), getattr(a, "operands", ())) for a in map(_plain, got.lines)] == \
        [(getattr(a, "form", a), getattr(a, "operands", ())) for a in map(_plain, expected.lines)]


def _plain(line: object) -> object:
    return (line.form.name, line.operands) if hasattr(line, "form") else line  # type: ignore[attr-defined]
