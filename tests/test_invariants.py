"""The page of invariants is complete and true to the tests that it names; historic bugs, planted, are refuted by general claims."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import ROOT
from test_existing import EXAMPLE, changed, proved

PAGE = (ROOT / "docs" / "invariants.md").read_text()


def test_every_invariant_stands_once() -> None:
    assert re.findall(r"^\| (I-\d+) \|", PAGE, flags=re.M) == [f"I-{n}" for n in range(1, 81)]
    assert re.findall(r"^\| (A-\d+) \|", PAGE, flags=re.M) == [f"A-{n}" for n in range(1, 10)]


def test_every_row_has_a_status() -> None:
    for row in re.findall(r"^\| [IA]-\d+ \|.*$", PAGE, flags=re.M):
        _, _, _, status, shown, _ = (cell.strip() for cell in row.split("|"))
        assert status.startswith(("checked", "partly", "not checked yet: ", "out of reach, because ")), row
        assert bool(shown) or not status.startswith(("checked", "partly")), row


def test_every_test_named_exists() -> None:
    named = set(re.findall(r"`(tests/\w+\.py)::(\w+)`", PAGE))
    assert named
    for file, name in named:
        assert f"def {name}(" in (ROOT / file).read_text(), f"{file}::{name}"


def test_every_message_named_exists() -> None:
    known = "".join(f.read_text() for f in (ROOT / "compiler" / "entryc").rglob("*.py"))
    for code in set(re.findall(r"\b[EDP]\d{3}\b", PAGE)):
        assert f'"{code}"' in known, code


# What went wrong once, on the example: (code changed from, to, spec changed from, to, kind of the claim that notices).
HISTORIC = {
    "CVE-2012-0217": ("", "", "regs.ip < 0x7ffffffff000 and ", "", "legality"),                            # SYSRET to a non-canonical address
    "CVE-2014-4699": ("", "", "regs.cx == regs.ip and ", "", "return"),                                    # SYSRET with an ip that ptrace had changed
    "CVE-2006-0744": ("\ttestb\t%al, %al\n\tjz\tto_user\n", "", "", "", "ending"),                       # SYSRET whatever the frame says
    "CVE-2014-9322": ("\taddq\t$0x8, %rsp\n\tswapgs\n\tiretq", "\taddq\t$0x8, %rsp\n\tiretq", "", "", "state"),     # IRET with the wrong GS
    "CVE-2019-1125": ("1:\tlfence\n", "1:\n", "", "", "state"),                                            # no fence behind a conditional SWAPGS
    "CVE-2009-2910": ("\tpopq\t%r9\n", "\taddq\t$0x8, %rsp\n", "", "", "return"),                          # r9 comes back with what the kernel had in it
    "CVE-2018-14678": ("\tpushq\t%rbx\n", "\tpushq\t%rbp\n", "", "", "slot"),                              # rbx is not kept
    "speculation-with-user-values": ("r8d, r9d, r10d", "r9d, r10d", "", "", "clear"),
    "suffix": ("sysretq", "sysretl", "", "", "ending"),                                                    # the assembler was left to guess
    "wrong-frame-word": ("movq\t0x20(%rsp), %rsp", "movq\t0x18(%rsp), %rsp", "", "", "return"),
    "nested-before-gs": ("syscall_entry:\n\tswapgs\n", "syscall_entry:\n\tsti\n\tswapgs\n", "", "", "memory"),      # interrupts before GS is set
    "error-code-missing": ("\tpushq\t$-1\t\t\t\t# no number\n", "", "", "", "stack"),                       # the frame is shifted by a word
}


@pytest.mark.parametrize("name", HISTORIC)
def test_historic_bugs(name: str, tmp_path: Path) -> None:
    old, new, spec_old, spec_new, kind = HISTORIC[name]
    code = changed(old, new) if old else (EXAMPLE / "entry.S").read_text()
    text = (EXAMPLE / "kernel.entry").read_text()
    assert spec_old in text
    report = proved(tmp_path, code, text.replace(spec_old, spec_new) if spec_old else text)
    assert not report.green
    assert kind in {v.claim.kind for v in report.verdicts if v.verdict == "refuted"}, {v.claim.kind for v in report.verdicts if v.verdict != "proved"}
