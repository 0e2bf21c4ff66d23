"""Input that means harm: huge numbers, deep texts, files that never end, texts and names that try to become code, damaged object files."""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import signal
import struct
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from types import FrameType

import fuzzing
import pytest
from conftest import SPECS
from entryc import cli
from entryc.cli import main
from entryc.driver import jobs
from entryc.emit.fragment import UNSPEAKABLE, depfile, escape
from entryc.image.elf import parse_binary
from entryc.model.load_arch import load_arch
from entryc.source.finding import Findings
from entryc.source.text import UNSEEN

SEED = int(os.environ.get("ENTRYC_SEED", "1"))
HEAD = 'language 1; arch x86_64; target bare; license "MIT"\n'
FRAME = "frame regs { gprs; vector = number; error = error_code else 0; hardware }\n"
BODY = "{ df = 0; save regs; call trap(regs); restore all; return iretq }\n"
START = HEAD + FRAME
VECTORS = "vectors 7..9 " + BODY
WHOLE = START + VECTORS


@pytest.fixture(autouse=True)
def net() -> Iterator[None]:
    """The last net: a limit of the compiler should have ended it."""
    def late(number: int, frame: FrameType | None) -> None:
        raise AssertionError("no end after five minutes: the compiler lacks a limit")
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(300)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def many(pattern: str, count: int, between: str = "; ") -> str:
    return between.join(pattern.format(i) for i in range(count))


TOO_MUCH = {
    "a long sum": (WHOLE + "const A = " + many("1", 3000, "+"), "E001", "nested too deeply"),
    "casts of casts": (WHOLE + "const A = " + "u8 " * 3000 + "1", "E001", "nested too deeply"),
    "not not": (WHOLE + "assume " + "not " * 3000 + '1 == 1 "x"', "E001", "nested too deeply"),
    "brackets": (WHOLE + "const A = " + "(" * 5000, "E001", "nested too deeply"),
    "ifs": (START + "feature A : build\nvectors 7..9 { " + "if A { " * 300 + "df = 0" + " }" * 300 + " }", "E001", "nested too deeply"),
    "a huge number": (WHOLE + "const A = 1" + "0" * 5000, "E010", "does not fit in 64 bits"),
    "a huge number in base 16": (WHOLE + "const A = 0x1" + "0" * 5000, "E010", "does not fit in 64 bits"),
    "a number in base 8": (WHOLE + "stack s entered by sp0 size 010000", "E012", "starts with a zero"),
    "half a number": (WHOLE + "const A = 0x_", "E012", "is no number"),
    "vectors": (START + "vectors 0..0xffffffffffffffff " + BODY, "E234", "are not within 0..255"),
    "configurations": (WHOLE + many("feature F{0} : build", 7, "\n") + "\n" + many("configuration c{0} {{ }}", 101, "\n"), "E004", "100 configurations"),
    "slots": (HEAD + "frame regs { gprs; " + many("s{0} = {0}", 1200) + "; error = error_code else 0; hardware }\n" + VECTORS, "E004", "1000 slots"),
    "members": (WHOLE + "memory m at gs_base { " + many("m{0} : word", 1200) + " }", "E004", "1000 members"),
    "items": (WHOLE + many("const C{0} = 1", 20001, "\n"), "E004", "20000 items"),
    "paths": (START + "vectors 7..9 { df = 0; goto p0 }\n" + many("path p{0} {{ goto p0 }}", 5100, "\n"), "E004", "5000 paths"),
    "system calls": (WHOLE + "syscalls t { number regs.ax; args regs.di; result regs.ax; missing 1; 0xffffffffffffffff f(1) }", "E260", "end at 4095"),
    "findings": (WHOLE + many("const C{0} = NOTHING", 600, "\n"), "E006", "more than 500 findings"),
    "alignment": (WHOLE + "code c { align 0x8000000000000000 }", "E221", "cannot be aligned"),
    "a base that no C can set": (WHOLE + "memory m at ax { a : word }", "E514", "cannot make ax point to memory 'm'"),
    "a base without a number": (WHOLE + "memory m at cr3 { a : word }", "E514", "cannot make cr3 point to memory 'm'"),
    "an escape": (WHOLE + "# \x1b[2J", "E007", "the character U+001B cannot be seen"),
    "text from right to left": (WHOLE + 'feature A : build "\u202eevil"', "E007", "the character U+202E cannot be seen"),
    "half a line end": (WHOLE + "# hidden\rconst A = 1", "E007", "the character U+000D cannot be seen"),
    "another line end": (WHOLE + "# x\u2028const A = 1", "E007", "the character U+2028 cannot be seen"),
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_too_much(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, code, message = TOO_MUCH[name]
    path = tmp_path / "x.entry"
    path.write_text(text + "\n", "utf-8", newline="")
    assert main(["check", str(path)]) == 1
    said = capsys.readouterr().err
    assert f"error[{code}]" in said and message in said
    assert len(said) < 200_000, "nobody reads that"


def test_a_long_line_is_shown_around_its_mark(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.entry"
    path.write_text(WHOLE.rstrip("\n") + ";" + " " * 100_000 + "const A = NOTHING\n")
    assert main(["check", str(path)]) == 1
    _, line, caret = capsys.readouterr().err.splitlines()[:3]
    assert len(line) < 300 and line[caret.index("^"):].startswith("NOTHING")


# ---- files ----

def used(folder: Path, what: str) -> Path:
    path = folder / "x.entry"
    path.write_text(WHOLE + f'use "{what}"\n')
    return path


def chain(folder: Path) -> str:
    for number in range(250):
        (folder / f"{number}.entry").write_text(f'use "{number + 1}.entry"\n')
    return "0.entry"


def tree(folder: Path) -> str:
    """Each file uses the next one twice: 2 to the 28th, if they were read each time."""
    for number in range(28):
        (folder / f"{number}.entry").write_text(f'use "{number + 1}.entry"\nuse "./{number + 1}.entry"\n')
    (folder / "28.entry").write_text("const DEEP = 1\nconst DEEP = 1\n")
    return "0.entry"


def wide(folder: Path) -> str:
    (folder / "wide.entry").write_text("".join(f'use "w{n}.entry"\n' for n in range(201)))
    for number in range(201):
        (folder / f"w{number}.entry").write_text(f"const W{number} = 1\n")
    return "wide.entry"


def fifo(folder: Path) -> str:
    os.mkfifo(folder / "fifo")
    return "fifo"


def linked(folder: Path) -> str:
    (folder / "a").symlink_to("b")
    (folder / "b").symlink_to("a")
    return "a"


def circle(folder: Path) -> str:
    (folder / "y.entry").write_text('use "x.entry"\n')
    return "y.entry"


def huge(folder: Path) -> str:
    with (folder / "huge").open("wb") as handle:
        handle.truncate(1 << 40)
    return "huge"


USES: dict[str, tuple[Callable[[Path], str], str, str]] = {
    "a circle": (circle, "E005", "use each other in a circle"), "a long chain": (chain, "E005", "more than 32 files use each other in a row"),
    "many": (wide, "E005", "more than 200 files"), "twice each": (tree, "E201", "constant 'DEEP' is declared twice"),
    "a device": (lambda _: "/dev/zero", "E003", "is no regular file"), "a pipe": (fifo, "E003", "is no regular file"),
    "a folder": (lambda _: ".", "E003", "is a directory"), "links in a circle": (linked, "E003", "cannot be read"),
    "a long name": (lambda _: "n" * 300, "E003", "cannot be read"), "a terabyte": (huge, "E003", "is larger than"),
    "nothing": (lambda _: "", "E003", "is a directory"), "not there": (lambda _: "../../no\\such%file", "E003", "does not exist"),
}


@pytest.mark.parametrize("name", USES)
def test_used_files(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make, code, message = USES[name]
    assert main(["check", str(used(tmp_path, make(tmp_path)))]) == 1
    said = capsys.readouterr().err
    assert f"error[{code}]" in said and message in said, said


def test_a_spec_may_come_from_a_pipe(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "entryc", "check", "-q", "/dev/stdin"], input=WHOLE.encode(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


SPECIAL = [("/dev/zero", "no regular file"), (".", "regular file"), ("fifo", "no regular file"), ("gone", "no such file"), ("huge", "larger than")]


@pytest.mark.parametrize(("file", "message"), SPECIAL)
def test_files_that_are_none(file: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fifo(tmp_path)
    huge(tmp_path)
    Path("x.entry").write_text(WHOLE)
    for arguments in (["verify", "-q", "x.entry", "--object", file], ["verify", "-q", "x.entry", "--image", file]):
        assert main(arguments) in (1, 2)
        assert message in capsys.readouterr().err.lower()
    assert main(["diff", "x.entry", "x.entry", "--accept", file]) == 2
    assert main(["diff", "x.entry", file if file != "fifo" else "/dev/null"]) == 2


# ---- texts that would like to be code ----

TEXTS = ["*/ int evil; /*", "\\", "ends with \\", "??/", "%s %n $(shell touch evil)", "${evil} `touch evil`", "# evil", "<script>evil()</script>", "]]>", "-->",
         "{{ 7 * 7 }}", "{% include 'evil' %}", "| a | b |", "' OR 1=1 --", "&lt;&amp;", "[x](javascript:evil)", "![x](//evil)", "\N{SNOWMAN} ü", "x" * 5000]


def with_texts(first: int) -> str:
    """The small x86-64 spec with one of the texts in every place that takes one."""
    texts = itertools.cycle(TEXTS[first:] + TEXTS[:first])

    def hostile(match: re.Match[str]) -> str:
        return match[0] if match[1] in ("license", "is") else f'{match[1]} "evil text {next(texts)}"'
    return re.sub(r'(\S+) +"[^"\n]*"', hostile, fuzzing.bases()["x86_64-small"])


@pytest.mark.parametrize("first", [0, 9])
def test_texts_stay_texts(first: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.entry").write_text(with_texts(first), "utf-8")
    assert main(["build", "-v", "--prove", "none", "x.entry", "-o", "out", "--report", "report.html"]) == 0, capsys.readouterr().err
    files = {p.name: p.read_text("utf-8") for p in Path("out").iterdir()}
    assert not any(UNSEEN.search(line) for file in files.values() for line in file.split("\n"))
    compiler = ["gcc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-ffreestanding", "-mgeneral-regs-only", "-c", "-o", os.devnull]
    for file in ("entry.S", "entry.c", "entry_init.c"):
        done = subprocess.run([*compiler, f"out/{file}"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert "evil" in files["entry.c"] and "evil" in files["entry.h"] and "evil" in files["entry.md"], "no text came that far: this test has to be repaired"
    code = subprocess.run(["gcc", "-E", "-P", "-ffreestanding", "out/entry.c"], capture_output=True, text=True, check=True).stdout
    assert "evil" not in code and "49" not in files["entry.h"]
    assert not re.search(r"(?<!\\)<script|(?<!\\)\[x\]\(", files["entry.md"].partition("-->")[2])
    ElementTree.fromstring(files["entry.svg"])
    json.loads(files["manifest.json"])
    assert subprocess.run(["make", "-n", "-f", "out/entry.mk", "entry-dir=out"], capture_output=True, check=False).returncode == 0
    page = Path("report.html").read_text("utf-8")
    assert "<script" not in page and "<img" not in page
    assert not Path("evil").exists()


@pytest.mark.parametrize("text", [t for t in TEXTS if t.isascii() and len(t) < 100])
def test_comparisons_keep_texts(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    methods = ("exit a of regs to user { restore all; return iretq }\nmethod slow by a\nmethod fast by a { when regs.ax == 0 refusing big \"REASON\" }\n"
               "choose way among fast, slow\n")
    for name, reason in (("old", "another reason"), ("new", text)):
        Path(f"{name}.entry").write_text(HEAD.replace("bare", "linux") + FRAME + methods.replace("REASON", reason))
    for form in ("text", "markdown", "html", "json", "changelog"):
        assert main(["diff", "old.entry", "new.entry", "--format", form]) == 0, capsys.readouterr().err
        said = capsys.readouterr().out
        assert "\x1b" not in said
        if form == "html":
            assert "<script" not in said and "<img" not in said
        elif form == "markdown":
            assert "<script" not in said and not re.search(r"(?<!\\)\[x\]\(", said)
            assert all(len(re.findall(r"(?<!\\)\|", row)) == 5 for row in said.splitlines() if row.startswith("| D"))
        elif form == "json":
            json.loads(said)


NAMES = ["a b", "a'b", "a$(touch evil)b", "a%b", "a#b", "a:b", "a=b", "a;touch evil", "a|b", "a*b", "a\\b", "--help", "-->", "{{ 7 }}", "<script>",
         "\x1b[31mred", "a\nb", "a\u202eb", "ü", "a\udcffb", "n" * 240]


@pytest.mark.parametrize("name", NAMES)
def test_names_of_files(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A spec's file name reaches outputs, messages and make."""
    (tmp_path / f"{name}.entry").write_text(WHOLE)
    out = tmp_path / name
    spec = os.path.join(tmp_path, f"{name}.entry")
    assert main(["build", "-v", "--prove", "none", spec, "-o", str(out), "--depfile", str(tmp_path / "rules.d")]) == 0, capsys.readouterr().err
    assert main(["check", spec]) == 0 and main(["layout", spec]) == 0
    (tmp_path / f"{name}.entry").write_text(WHOLE + "const A = B\n")
    assert main(["check", spec]) == 1
    said = capsys.readouterr()
    assert not any(UNSEEN.search(line) for line in (said.out + said.err).split("\n"))
    files = {p.name: p.read_text("utf-8") for p in out.iterdir()}
    assert not any(UNSEEN.search(line) for file in files.values() for line in file.split("\n"))
    comment, _, rest = files["entry.md"].partition("-->")
    assert comment.endswith("edit the spec, not this file. ") and not re.search(r"(?<!\\)<script", rest)
    ElementTree.fromstring(files["entry.svg"])
    assert subprocess.run(["gcc", "-c", "-o", os.devnull, str(out / "entry.S")], check=False).returncode == 0
    done = subprocess.run(["make", "-f", "rules.d", "-n"], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0 or (UNSPEAKABLE.search(name) and b"No targets" in done.stderr), done.stderr
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("name", ["a b", "a#b", "a$b", "a$(shell touch evil)b", "a%b", "a:b", "a;touch evil", "a|b", "a*b", "a?b", "a[b]c", "a\\b", "a\\ b",
                                  "~x", "a&b", "a`touch evil`b", "a\\#b", "(x)", "a\\\\%b", "ü", "%"])
def test_make_reads_the_names(name: str, tmp_path: Path) -> None:
    """By make itself: a target that is up to date, one that is not, and a source that has gone."""
    for target, source in (("out", name), (name, "source")):
        (tmp_path / target).touch()
        (tmp_path / source).touch()
        (tmp_path / "Makefile").write_text(depfile(target, [source]) + f"{escape(target, True)}:\n\t@:\n")

        def stale() -> int:
            return subprocess.run(["make", "-rRq", "--", target], cwd=tmp_path, capture_output=True, check=False).returncode  # noqa: B023
        os.utime(tmp_path / source, (1, 1))
        assert stale() == 0
        os.utime(tmp_path / target, (0, 0))
        assert stale() == 1
        (tmp_path / source).unlink()
        assert stale() == 1
        assert not (tmp_path / "evil").exists()


def test_an_equals_sign_is_no_assignment(tmp_path: Path) -> None:
    (tmp_path / "rules.d").write_text(depfile("SHELL=evil", ["CC=evil"]))
    (tmp_path / "Makefile").write_text("include rules.d\nall:\n\t@echo '$(SHELL) $(CC)'\n.DEFAULT_GOAL := all\n")
    assert "evil" not in subprocess.run(["make"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout


# ---- object files ----

@lru_cache(maxsize=1)
def objects(folder: Path) -> tuple[bytes, bytes]:
    """An object and a linked file of a small spec, with its C."""
    spec = folder / "x.entry"
    spec.write_text(WHOLE + "hook trap_c(regs)\nhandler trap(regs) { do trap_c(regs) }\n")
    assert main(["build", "-q", "--prove", "none", str(spec), "-o", str(folder / "out")]) == 0
    (folder / "k.c").write_text("void trap_c(void *p) { (void)p; }\nvoid _start(void) { }\n")
    options = ["-O2", "-ffreestanding", "-mno-red-zone", "-mgeneral-regs-only", "-fno-stack-protector", "-fcf-protection=none", "-fno-pic", "-mcmodel=kernel",
               "-fno-asynchronous-unwind-tables"]
    for source, target in (("out/entry.S", "s.o"), ("out/entry.c", "c.o"), ("k.c", "k.o")):
        subprocess.run(["gcc", *options, "-c", source, "-o", target], cwd=folder, check=True)
    subprocess.run(["ld", "-z", "max-page-size=4096", "-Ttext=0xffffffff81000000", "-o", "k.elf", "s.o", "c.o", "k.o"], cwd=folder, check=True)
    return (folder / "s.o").read_bytes(), (folder / "k.elf").read_bytes()


@pytest.fixture(scope="module")
def elves(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes, bytes]:
    folder = tmp_path_factory.mktemp("elf")
    return folder / "x.entry", *objects(folder)


VALUES = (0, 1, 2, 3, 8, 0x7F, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 0x8000000000000000, 0xFFFFFFFFFFFFFFFF, 0xFFFFFFFF81000000)


def damaged(chance: random.Random, data: bytes) -> bytes:
    """Cut off, or with fields of its headers and bytes of its sections replaced."""
    out = bytearray(data)
    start, = struct.unpack_from("<Q", out, 40)
    count, = struct.unpack_from("<H", out, 60)
    if chance.randrange(8) == 0:
        return bytes(out[:chance.randrange(len(out))])
    for _ in range(chance.choice((1, 1, 2, 4))):
        at, size = chance.choice(((chance.randrange(4, 64), 2), (start + 64 * chance.randrange(count) + chance.choice((0, 4, 40, 44)), 4),
                                  (start + 64 * chance.randrange(count) + chance.choice((8, 16, 24, 32, 48, 56)), 8), (64 + chance.randrange(200), 8),
                                  (chance.randrange(len(out)), 1), (chance.randrange(len(out) - 8), 8)))
        value = chance.choice((*VALUES, chance.randrange(len(out)), chance.getrandbits(64)))
        out[at:at + size] = (value & (1 << 8 * size) - 1).to_bytes(size, "little")
    return bytes(out)


def test_intact_files_are_proved(elves: tuple[Path, bytes, bytes]) -> None:
    spec = elves[0]
    assert main(["verify", "-q", str(spec), "--object", str(spec.parent / "s.o")]) == 0
    assert main(["verify", "-q", str(spec), "--image", str(spec.parent / "k.elf")]) == 0


def test_damaged_files_are_read_or_refused(elves: tuple[Path, bytes, bytes]) -> None:
    arch, read = load_arch("x86_64"), 0
    for number in range(800):
        chance = random.Random(f"{SEED} elf {number}")
        try:
            parse_binary(arch, [("x", damaged(chance, elves[1 + number % 2]))]).image()
            read += 1
        except Findings as stop:
            assert stop.findings
    assert 50 < read < 750


def test_damaged_files_through_all_of_verify(elves: tuple[Path, bytes, bytes], tmp_path: Path) -> None:
    """What the reader lets pass meets the prover, the emulator and the reader of compiled C."""
    spec, path = elves[0], tmp_path / "x.elf"
    for number in range(20):
        path.write_bytes(damaged(random.Random(f"{SEED} verify {number}"), elves[1 + number % 2]))
        try:
            jobs.verify(spec, jobs.Speaker(quiet=True), **({"image": str(path)} if number % 2 else {"objects": [str(path)]}))
        except Findings as stop:
            assert stop.findings


# ---- the one catch-all ----

def test_a_defect_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, exit status 3, no traceback; in tests it is raised."""
    def broken(*_: object, **__: object) -> None:
        raise KeyError("nobody thought of \x1b[2J this")
    monkeypatch.setattr(jobs, "check", broken)
    with pytest.raises(KeyError):
        main(["check", str(SPECS / "unikernel.entry")])
    monkeypatch.delenv("ENTRYC_RAISE")
    assert main(["check", str(SPECS / "unikernel.entry")]) == cli.INTERNAL == 3
    said = capsys.readouterr()
    assert said.out == "" and len(said.err.splitlines()) == 1
    assert "this is a mistake in entryc" in said.err and "KeyError" in said.err and "please report" in said.err and "\x1b" not in said.err


def test_it_exists_once() -> None:
    catching = {p.name: p.read_text().count("except Exception") for p in Path(cli.__file__).parent.rglob("*.py")}
    assert {name: count for name, count in catching.items() if count} == {
        "cli.py": 1,
        "parse.py": 1,                          # a cache that cannot be read: the tables are made again
        "c_contract.py": 1,                     # a damaged file: E430
        "keystone_child.py": 1,                 # a child's answer: not assembled
    }
