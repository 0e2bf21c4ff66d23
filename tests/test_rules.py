"""One tiny bad spec a rule. The expected finding stands at the end of the line that it points to: `### E203 message`.

`=== name` lines separate cases; a line that is one of MACROS stands for a common line. Every finding has to be
expected, and every expected one has to come.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from entryc.model.build import load_spec
from entryc.plan.plan import plan_spec
from entryc.source.finding import Finding, Findings

FOLDER = Path(__file__).parent / "rules"
EXPECTED = re.compile(r"\s*### (E\d+) (.*)$")


MACROS = {
    "%head": 'language 1; arch x86_64; target bare; license "MIT"',
    "%linux": 'language 1; arch x86_64; target linux; license "GPL-2.0"',
    "%arm": 'language 1; arch arm64; target bare; license "MIT"',
    "%frame": "frame regs { gprs; vector = number else 0; error = error_code else 0; hardware }",
    "%vectors": "vectors 0..255 { df = 0; save regs; call trap(regs); restore all; return iretq }",
    "%sys": "setup { star_kernel = 8; star_user = 0x1b; syscall_mask = TF | IF | DF | NT | AC }",
    "%gs": "state gs { user means gs_base == user.gs_base, kernel_gs_base == &percpu; kernel means gs_base == &percpu, kernel_gs_base == user.gs_base;"
           " user -> kernel by swapgs; kernel -> user by swapgs }",
    "%mem": "memory percpu at gs_base needs gs = kernel { tss : task_state; user_sp : word }",
    "%bound": "boundary user { arrive gs = user; leave gs = user }; boundary kernel { arrive gs = kernel; leave gs = kernel }",
    "%stack": "stack task top percpu.tss.sp0 entered by sp0 size 16384",
    "%code": "code c { needs gs = kernel, gprs = cleared, stack = task }",
    "%iret": "exit iret_user of regs to user { restore all; gs = user; return iretq }",
    "%sysret": "exit sysret_64 of regs to user { restore all; sp = regs.sp; gs = user; return sysretq }",
}


def cases() -> list[tuple[str, str]]:
    out = []
    for file in sorted(FOLDER.glob("*.cases")):
        for chunk in re.split(r"^=== ", file.read_text(), flags=re.M)[1:]:
            name, _, text = chunk.partition("\n")
            out.append((f"{file.stem}:{name.strip()}", text))
    return out


def findings_of(path: Path) -> list[Finding]:
    try:
        plan_spec(load_spec(path))
    except Findings as stop:
        return stop.findings
    return []


@pytest.mark.parametrize(("name", "text"), cases(), ids=[c[0] for c in cases()])
def test_rule(name: str, text: str, tmp_path: Path) -> None:
    wanted: list[tuple[int, str, str]] = []
    lines = []
    for number, line in enumerate(text.split("\n"), 1):
        macro = line.split(" ")[0]
        line = MACROS[macro] + line[len(macro):] if macro in MACROS else line
        for match in re.finditer(r"### (E\d+) (.*?)(?= ###|$)", line):
            wanted.append((number, match[1], match[2].strip()))
        lines.append(line.split("###")[0].rstrip())
    assert wanted, "a case without an expected finding proves nothing"
    spec = tmp_path / "case.entry"
    spec.write_text("\n".join(lines))
    got = [(f.span.line if f.span else 0, f.code, f.message) for f in findings_of(spec)]
    for row in wanted:
        assert any(g[0] == row[0] and g[1] == row[1] and row[2] in g[2] for g in got), f"missing {row}; got {got}"
    extra = [g for g in got if not any(g[0] == w[0] and g[1] == w[1] for w in wanted)]
    assert not extra, f"not expected: {extra}"


def test_every_code_has_a_case() -> None:
    """A rule that no case shows is a rule that nobody knows to work."""
    root = Path(__file__).parent.parent / "compiler" / "entryc"
    used: set[str] = set()
    for file in (*(root / "model").glob("build*.py"), root / "model" / "check.py", root / "model" / "context.py", root / "model" / "names.py",
                 *(root / "plan").glob("*.py")):
        used |= set(re.findall(r'"(E\d{3})"', file.read_text()))
    shown = set(re.findall(r"### (E\d{3})", "".join(text for _, text in cases())))
    elsewhere = set((Path(__file__).parent / "rules" / "elsewhere.txt").read_text().split())
    assert used - shown - elsewhere == set()
