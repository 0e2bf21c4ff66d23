"""Whatever a text is, `check` ends: with success or with findings. A bounded run; ENTRYC_FUZZ=N times as much, ENTRYC_SEED=S other texts.

A text that once broke something is a case of its own, in test_hostile.py or among the rules.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import fuzzing
import pytest
from entryc.driver import jobs
from entryc.emit.c_text import comment
from entryc.emit.fragment import depfile
from entryc.model.load_arch import read_arch
from entryc.source.finding import Finding, Findings, printable, render_json, render_text
from entryc.source.parse import parse
from entryc.source.text import UNSEEN, SourceFile
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

SEED = int(os.environ.get("ENTRYC_SEED", "1"))
TIMES = int(os.environ.get("ENTRYC_FUZZ", "1"))
QUIET = jobs.Speaker(quiet=True)
BOUNDED = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck), print_blob=True)


@pytest.fixture(autouse=True)
def net() -> Iterator[None]:
    """The last net: what the limits of the compiler do not end, a signal does, and the test has failed."""
    def late(number: int, frame: FrameType | None) -> None:
        raise AssertionError("no end after ten minutes: the compiler lacks a limit")
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(600 * TIMES)
    print(f"ENTRYC_SEED={SEED} ENTRYC_FUZZ={TIMES}")
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def ends(text: str, path: Path, work: Callable[[Path], list[Finding]]) -> list[Finding]:
    """The findings of a text. An exception that is no Findings fails the test, with the text in the message."""
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        findings = work(path)
    except Findings as stop:
        assert stop.findings, f"refused without a reason:\n{text}"
        findings = stop.findings
    except Exception as problem:
        raise AssertionError(f"{type(problem).__name__} for the text\n{text}") from problem
    shown = render_text(findings) + render_json(findings)
    assert not UNSEEN.search(shown.replace("\n", "")), f"the terminal would obey\n{text}"
    assert len(shown) < 4_000_000
    return findings


def arch(path: Path) -> list[Finding]:
    read_arch(path)
    return []


def checked(path: Path) -> list[Finding]:
    return jobs.check(path, QUIET)


@pytest.mark.parametrize("part", range(4))
def test_changed_specs(part: int, tmp_path: Path) -> None:
    """Tokens, lines, numbers, texts and subtrees of shipped specs, deleted, doubled, exchanged."""
    accepted = 0
    for number in range(100 * TIMES):
        chance = random.Random(f"{SEED} spec {part} {number}")
        accepted += not ends(fuzzing.mutated(chance, "entry", fuzzing.bases()), tmp_path / "x.entry", checked)
    assert accepted, "no text was in the language: such texts test the parser only"


def test_changed_cpus(tmp_path: Path) -> None:
    for number in range(100 * TIMES):
        chance = random.Random(f"{SEED} arch {number}")
        ends(fuzzing.mutated(chance, "arch", fuzzing.arches()), tmp_path / "x.arch", arch)


def test_texts_of_the_grammar(tmp_path: Path) -> None:
    """Derivations of the grammar. They are in the language, but for what the parser asks beyond it."""
    parsed = 0
    names = fuzzing.names_of(fuzzing.bases()["x86_64-small"])
    for number in range(400 * TIMES):
        chance = random.Random(f"{SEED} grammar {number}")
        text = fuzzing.grammar("entry").text(chance, "start", names)
        for head in ("", 'language 1; arch x86_64; target bare; license "MIT"\n') if number % 2 else ("",):
            findings = ends(head + text, tmp_path / "x.entry", checked)
            parsed += not {f.code for f in findings} & {"E001", "E002"}
    assert parsed > 100


def test_the_seed_gives_the_texts() -> None:
    """The same texts on every machine and Python: what fails in one place can be repeated in another."""
    first, again = (fuzzing.mutated(random.Random("7"), "entry", fuzzing.bases()) for _ in range(2))
    assert first == again != fuzzing.mutated(random.Random("8"), "entry", fuzzing.bases())


@seed(SEED)
@settings(BOUNDED, max_examples=300 * TIMES)
@given(st.text(max_size=200))
def test_any_text_parses_or_is_refused(text: str) -> None:
    for language in ("entry", "arch"):
        try:
            parse(language, SourceFile("x", text))
        except Findings as stop:
            assert render_text(stop.findings)


HOSTILE = st.text(st.one_of(st.characters(), st.sampled_from("*/\\?\n\r\x1b\u2028\u202e#$%<>&|`'\"{}-;:= ")), max_size=40)


@seed(SEED)
@settings(BOUNDED, max_examples=500 * TIMES)
@given(HOSTILE)
def test_comments_hold_any_text(text: str) -> None:
    safe = comment(text)
    assert f"/* {safe} */".count("*/") == 1 and "/*" not in safe and "??" not in safe and "\\" not in safe and not UNSEEN.search(safe)
    safe.encode("utf-8")


@seed(SEED)
@settings(BOUNDED, max_examples=500 * TIMES)
@given(HOSTILE)
def test_messages_are_lines(text: str) -> None:
    shown = printable(text)
    assert not UNSEEN.search(shown)
    assert shown == text or UNSEEN.search(text)
    assert len(render_text([Finding("E000", "error", text, help=text or "x")]).split("\n")) == 3
    assert len(depfile("x", [text]).split("\n")) <= 5
