"""What is on the disk after a kill, an error, a second writer: the old build, the new one, or a folder that says it is neither. The next build mends it."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import ROOT
from entryc.cli import main
from entryc.driver import output
from entryc.source.finding import Findings

SEED = int(os.environ.get("ENTRYC_SEED", "1"))
HEAD = """language 1; arch x86_64; target bare; license "MIT"
frame regs { gprs; vector = number; error = error_code else 0; hardware }
feature ONE : build
feature TWO : build
"""
OLD = HEAD + "configuration base { }\nconfiguration one { ONE }\nvectors 7..9 { df = 0; save regs; call trap(regs); restore all; return iretq }\n"
NEW = HEAD + "configuration base { }\nconfiguration two { TWO }\nvectors 7..9 { df = 0; save regs; call other(regs); restore all; return iretq }\n"


def content(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()} if folder.exists() else {}


def build(text: str, out: Path, *more: str) -> int:
    spec = out.parent / "u.entry"
    spec.write_text(text)
    return main(["build", "-q", "--prove", "none", str(spec), "-o", str(out), *more])


def in_child(work: Callable[[], int], wait: Callable[[int], None] = lambda pid: None) -> int:
    """The wait status of a child that does the work: the command, without the time that imports take. What it says goes nowhere."""
    pid = os.fork()
    if pid == 0:
        status = 99
        try:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
            status = work()
        finally:
            os._exit(status)
    wait(pid)
    return os.waitpid(pid, 0)[1]


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """The files of both specs."""
    out = []
    for text in (OLD, NEW):
        folder = tmp_path_factory.mktemp("whole") / "out"
        assert build(text, folder) == 0
        out.append(content(folder))
    assert "entry.one.s" in out[0] and "entry.one.s" not in out[1] and "entry.two.s" in out[1]
    return out[0], out[1]


def texts(files: dict[str, bytes]) -> dict[str, str]:
    return {name: data.decode() for name, data in files.items()}


def is_told(folder: Path, *whole: dict[str, bytes]) -> None:
    """A folder is one of the builds, or it has no manifest."""
    now = {name: data for name, data in content(folder).items() if not name.startswith(".entryc-")}
    if "manifest.json" in now:
        listed = json.loads(now["manifest.json"])["files"]
        assert {n: hashlib.sha256(d).hexdigest() for n, d in now.items() if n != "manifest.json"} == listed
        assert now in whole
    elif now:
        assert output.stale(folder, {name: data.decode() for name, data in whole[-1].items()})


EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.scandir")


def at_event(number: int, act: Callable[[], None]) -> None:
    """From now on, act before the `number`-th thing that this process does to files."""
    left = [number]

    def hook(event: str, _: tuple[object, ...]) -> None:
        if event in EVENTS:
            left[0] -= 1
            if left[0] == 0:
                act()
    sys.addaudithook(hook)


def steps_of(folder: Path, files: dict[str, bytes]) -> int:
    """How many things a write does to files."""
    def work() -> int:
        count = [0]

        def hook(event: str, _: tuple[object, ...]) -> None:
            count[0] += event in EVENTS
        sys.addaudithook(hook)
        output.write_all(folder, texts(files))
        return min(count[0], 250)
    return os.waitstatus_to_exitcode(in_child(work))


@pytest.mark.parametrize("there", ["nothing", "old", "half"])
def test_killed_before_each_step(there: str, builds: tuple[dict[str, bytes], dict[str, bytes]], tmp_path: Path) -> None:
    """Not at random: a kill before every single thing that a write does. "half": a killed build is killed again, with another spec."""
    old, new = builds

    def start(folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        if there != "nothing":
            output.write_all(folder, texts(old))
        if there == "half":
            in_child(lambda: (at_event(half, lambda: os.kill(os.getpid(), signal.SIGKILL)), output.write_all(folder, texts(new)), 0)[2])
            assert "manifest.json" not in content(folder)

    out, total = tmp_path / "out", 0
    if there == "half":
        output.write_all(out, texts(old))
        half = steps_of(out, new) - 6
    start(out)
    wanted = old if there == "half" else new
    total = steps_of(out, wanted)
    assert 40 < total < 250
    mixed = 0
    for number in range(1, total + 1):
        start(out)
        status = in_child(lambda: (at_event(number, lambda: os.kill(os.getpid(), signal.SIGKILL)), output.write_all(out, texts(wanted)), 0)[2])  # noqa: B023
        assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        is_told(out, old, new)
        mixed += "manifest.json" not in content(out)
        output.write_all(out, texts(wanted))
        assert content(out) == wanted, f"killed before step {number}"
    assert mixed, "no kill came between the renames: this test has to be repaired"


def test_killed_at_random(builds: tuple[dict[str, bytes], dict[str, bytes]], tmp_path: Path) -> None:
    """The whole command, killed at moments that the seed chooses."""
    out = tmp_path / "out"
    chance = random.Random(SEED)
    print(f"ENTRYC_SEED={SEED}")
    started = time.monotonic()
    assert in_child(lambda: build(OLD, out)) == 0
    whole = time.monotonic() - started
    for number in range(12):
        text, files = ((NEW, builds[1]), (OLD, builds[0]))[number % 2]

        def kill(pid: int) -> None:
            time.sleep(whole * chance.uniform(0, 1.1))
            os.kill(pid, signal.SIGKILL)
        in_child(lambda: build(text, out), kill)  # noqa: B023
        is_told(out, *builds)
        if number % 4 == 3:
            assert build(text, out) == 0 and content(out) == files


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_end(number: signal.Signals, builds: tuple[dict[str, bytes], dict[str, bytes]], tmp_path: Path) -> None:
    """Ctrl-C never leaves a folder between two builds."""
    old, new = builds
    out = tmp_path / "out"
    output.write_all(out, texts(old))
    total, seen = steps_of(out, new), set()
    heeded = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL         # a shell starts what runs in the background without
    for step in range(1, total + 1, 3):
        output.write_all(out, texts(old))
        in_child(lambda: (signal.signal(number, heeded), at_event(step, lambda: os.kill(os.getpid(), number)),      # noqa: B023
                          output.write_all(out, texts(new)), 0)[3])
        now = {n: d for n, d in content(out).items() if not n.startswith(".entryc-")}
        assert now in (old, new)
        seen.add(now == new)
    assert seen == {False, True}


@pytest.mark.parametrize("call", ["replace", "unlink", "fsync", "chmod"])
def test_an_error_at_each_call(call: str, builds: tuple[dict[str, bytes], dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full, or broken, at any moment: a message, and a folder that tells what it is."""
    old, new = builds
    out = tmp_path / "out"
    for number in range(1, 40):
        output.write_all(out, texts(old))
        real, left = getattr(os, call), [number]

        def failing(*arguments: object, **named: object) -> object:
            left[0] -= 1                                        # noqa: B023
            if left[0] == 0:                                    # noqa: B023
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(*arguments, **named)                    # noqa: B023
        monkeypatch.setattr(os, call, failing)
        try:
            output.write_all(out, texts(new))
            failed = False
        except Findings as stop:
            failed = True
            assert [f.code for f in stop.findings] == ["E402"] and "the disk is full" in stop.findings[0].message
            assert ("it has no manifest.json" in stop.findings[0].message) == ("manifest.json" not in content(out))
        monkeypatch.undo()
        is_told(out, old, new)
        if left[0] > 0:
            break
        assert failed or call == "fsync" or call == "unlink"    # a folder that cannot be synchronised, litter that stays: no reason to stop
        output.write_all(out, texts(new))
        assert content(out) == new
    else:
        pytest.fail("a write that never ends")
    assert number > 2


def test_full_disk(builds: tuple[dict[str, bytes], dict[str, bytes]], tmp_path: Path) -> None:
    """A limit on the size of files, kept by the kernel: half a file was written when it says no."""
    out = tmp_path / "out"
    assert build(OLD, out) == 0

    def work() -> int:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
        return build(NEW, out)
    assert os.waitstatus_to_exitcode(in_child(work)) == 1
    assert content(out) == builds[0]
    shutil.rmtree(out)
    assert os.waitstatus_to_exitcode(in_child(work)) == 1
    assert not out.exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB and 64 inodes. The mount is in a namespace of its own, which goes when its only process ends; /proc leads there."""
    place = tmp_path / "disk"
    place.mkdir()
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    holder = subprocess.Popen(["unshare", "--mount", "--propagation", "private", *user, "sh", "-c",
                               'mount -t tmpfs -o size=256k,nr_inodes=64 small "$0" && echo mounted && exec cat', str(place)],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert holder.stdin is not None and holder.stdout is not None
    try:
        said = holder.stdout.readline()
        assert said == "mounted\n", f"this test needs root, or user namespaces: {said}"
        yield Path(f"/proc/{holder.pid}/root") / place.relative_to("/")
    finally:
        holder.stdin.close()
        holder.wait()


def fill(disk: Path, what: str, left: int) -> None:
    """Leave so many free blocks, or inodes."""
    (disk / "filler").mkdir()
    row = os.statvfs(disk)
    if what == "blocks":
        (disk / "filler" / "blocks").write_bytes(bytes((row.f_bfree - left) * row.f_frsize))
        assert os.statvfs(disk).f_bfree == left
    else:
        for number in range(row.f_ffree - left):
            (disk / "filler" / str(number)).touch()
        assert os.statvfs(disk).f_ffree == left


@pytest.mark.parametrize("what", ["blocks", "inodes"])
def test_a_disk_that_is_full(what: str, builds: tuple[dict[str, bytes], dict[str, bytes]], small_disk: Path, tmp_path: Path,
                             capsys: pytest.CaptureFixture[str]) -> None:
    """A real one, with one more block or inode free each time until the build fits: each earlier one leaves the old build whole, and nothing else."""
    old, new = builds
    out, spec, command = small_disk / "out", tmp_path / "u.entry", ["build", "-q", "--prove", "none", str(tmp_path / "u.entry"), "-o", str(small_disk / "out")]

    def refused() -> None:
        assert main(command) == 1
        said = capsys.readouterr().err
        assert said.startswith(f"error[E402]: {out} cannot be written: the disk is full\n"), said

    spec.write_text(NEW)
    fill(small_disk, what, 0)
    refused()
    assert not out.exists()
    for left in range(100):
        shutil.rmtree(small_disk / "filler")
        output.write_all(out, texts(old))
        fill(small_disk, what, left)
        if left and main(command) == 0:
            break
        capsys.readouterr()
        refused()
        assert content(out) == old
    assert left > 4 and content(out) == new


@pytest.mark.parametrize("command", [["fmt", "u.entry"], ["build", "-q", "--prove", "none", "u.entry", "-o", "OUT", "--report", "target.json"],
                                     ["diff", "u.entry", "UNIKERNEL", "-o", "target.json"], ["draw", "u.entry", "--what", "paths", "-o", "target.svg"]],
                         ids=lambda c: c[0])
def test_other_files_on_a_full_disk(command: list[str], small_disk: Path, tmp_path: Path) -> None:
    """What else is written, over a file that is there already: a message, a status, and the old file. Run where the disk is mounted."""
    (small_disk / "u.entry").write_text(OLD.replace("feature ONE : build", "feature   ONE :   build"))
    for name in ("target.json", "target.svg"):
        (small_disk / name).write_text("old\n")
    before = content(small_disk)
    fill(small_disk, "blocks", 0)
    inside = [str(ROOT / "specs" / "unikernel.entry") if word == "UNIKERNEL" else str(tmp_path / "out") if word == "OUT" else word for word in command]
    done = subprocess.run(["nsenter", "--target", small_disk.parts[2], "--mount", *([] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]),
                           "sh", "-c", 'cd "$0" && exec "$@"', str(tmp_path / "disk"), sys.executable, "-m", "entryc", *inside],
                          capture_output=True, text=True, check=False)
    shutil.rmtree(small_disk / "filler")
    written = inside[-1] if inside[-1] != str(tmp_path / "out") else "target.json"
    assert done.returncode == (2 if command[0] == "diff" else 1) and done.stdout == "", done
    assert f"{written} cannot be written: the disk is full" in done.stderr
    assert content(small_disk) == before


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users reach."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


def test_read_only_folder(builds: tuple[dict[str, bytes], dict[str, bytes]], open_folder: Path) -> None:
    out = open_folder / "out"
    assert build(OLD, out) == 0
    before = content(out)
    out.chmod(0o555)
    spec = open_folder / "u.entry"
    spec.write_text(NEW)

    def work() -> int:
        if os.geteuid() == 0:
            os.setuid(65534)                    # root may write everywhere
        return main(["build", "-q", "--prove", "none", str(spec), "-o", str(out)])
    assert os.waitstatus_to_exitcode(in_child(work)) == 1
    out.chmod(0o755)
    assert content(out) == before == builds[0]


def test_two_builds_at_once(builds: tuple[dict[str, bytes], dict[str, bytes]], tmp_path: Path) -> None:
    out = tmp_path / "out"
    for _ in range(40):
        children = []
        for files in builds:
            pid = os.fork()
            if pid == 0:
                status = 1
                try:
                    output.write_all(out, texts(files))
                    status = 0
                finally:
                    os._exit(status)
            children.append(pid)
        assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0]
        assert content(out) in builds


def test_somebody_else_is_writing(builds: tuple[dict[str, bytes], dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    output.write_all(out, texts(builds[0]))
    handle = os.open(out, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    monkeypatch.setattr(output, "PATIENCE", 0.05)
    with pytest.raises(Findings, match="another entryc is writing to it"):
        output.write_all(out, texts(builds[1]))
    os.close(handle)
    assert content(out) == builds[0]


def test_linked_folder(builds: tuple[dict[str, bytes], dict[str, bytes]], tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").symlink_to("elsewhere")
    assert build(OLD, tmp_path / "out") == 0 and build(NEW, tmp_path / "out") == 0
    assert (tmp_path / "out").is_symlink() and content(tmp_path / "elsewhere") == builds[1]
    (tmp_path / "nowhere").symlink_to("gone")
    assert build(NEW, tmp_path / "nowhere") == 1 and not (tmp_path / "gone").exists()


@pytest.mark.parametrize("kind", ["folder", "fifo", "device", "link to a device"])
def test_something_else_in_the_place_of_a_file(kind: str, builds: tuple[dict[str, bytes], dict[str, bytes]], tmp_path: Path,
                                               capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert build(OLD, out) == 0
    place = out / "entry.h"
    place.unlink()
    if kind == "folder":
        place.mkdir()
    elif kind == "fifo":
        os.mkfifo(place)
    elif kind == "device" and os.geteuid() == 0:
        os.mknod(place, 0o20666, os.makedev(1, 5))
    else:
        place.symlink_to("/dev/zero")
    before = {p.name: p.read_bytes() for p in out.iterdir() if p.name != "entry.h"}
    assert build(NEW, out) == 1
    assert "entry.h cannot be written: it is no regular file" in capsys.readouterr().err
    assert build(NEW, out, "--check") == 1
    assert "entry.h is no regular file" in capsys.readouterr().err
    assert {p.name: p.read_bytes() for p in out.iterdir() if p.name != "entry.h"} == before


def test_a_file_behind_a_link_is_not_written(builds: tuple[dict[str, bytes], dict[str, bytes]], tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert build(OLD, out) == 0
    (tmp_path / "mine").write_text("mine\n")
    (out / "entry.h").unlink()
    (out / "entry.h").symlink_to(tmp_path / "mine")
    assert build(NEW, out) == 0
    assert content(out) == builds[1] and (tmp_path / "mine").read_text() == "mine\n" and not (out / "entry.h").is_symlink()


def test_what_an_earlier_spec_left(builds: tuple[dict[str, bytes], dict[str, bytes]], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A configuration that is gone goes from the folder, too; what somebody changed, or wrote, stays."""
    out = tmp_path / "out"
    assert build(OLD, out) == 0
    (out / "mine.c").write_text("mine\n")
    assert build(NEW, out, "--check") == 1
    assert "entry.one.s was left by an earlier build" in capsys.readouterr().err
    assert build(NEW, out) == 0
    assert content(out) == builds[1] | {"mine.c": b"mine\n"}
    (out / "entry.two.s").write_text("changed\n")
    assert build(OLD, out) == 0
    assert content(out) == builds[0] | {"mine.c": b"mine\n", "entry.two.s": b"changed\n"}


@pytest.mark.parametrize("manifest", ["", "[]", '{"files": 1}', '{"files": {"entry.c": 1, "../u.entry": "x", "entry./../../u.entry": "x"}}', "[" * 100000])
def test_a_manifest_that_is_none(manifest: str, builds: tuple[dict[str, bytes], dict[str, bytes]], tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert build(OLD, out) == 0
    digest = hashlib.sha256((tmp_path / "u.entry").read_bytes()).hexdigest()
    (out / "manifest.json").write_text(manifest.replace('"x"', f'"{digest}"'))
    (out / "entry.one.s").unlink()
    assert build(NEW, out) == 0
    assert content(out) == builds[1] and (tmp_path / "u.entry").exists()


ELSEWHERE = [
    {"PYTHONHASHSEED": "1", "LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8", "TZ": "Asia/Kathmandu", "SPEC": "x86_64-small"},
    {"PYTHONHASHSEED": "77", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "TZ": "America/St_Johns", "SPEC": "x86_64"},
]


# The command after setlocale, as a program does that goes by the locale in all: its numbers, its order of letters, its dates. An unknown locale is an error.
LOCAL = """import locale, os
assert locale.setlocale(locale.LC_ALL, "") == os.environ["LC_ALL"] and (locale.localeconv()["decimal_point"] == ",") == os.environ["LC_ALL"].startswith("tr")
import sys; from entryc.cli import main; sys.exit(main())"""


@pytest.mark.parametrize("environment", ELSEWHERE, ids=["Turkish", "ASCII"])
def test_same_bytes_elsewhere(environment: dict[str, str], tmp_path: Path) -> None:
    """Another checkout, folder, locale, time zone, hash seed, umask: the files are those that are committed, and a comparison says the same."""
    home = tmp_path / "another place, with spaces: 1 $ #"
    for name in ("compiler", "grammar", "templates", "specs"):
        shutil.copytree(ROOT / name, home / name, ignore=shutil.ignore_patterns("__pycache__"))

    if environment["LC_ALL"] != "C":
        subprocess.run(["localedef", "-i", "tr_TR", "-f", "UTF-8", str(tmp_path / environment["LC_ALL"])], check=True)      # the machine need not have it
        environment = environment | {"LOCPATH": str(tmp_path)}

    def run(where: Path, *arguments: str) -> bytes:
        how, more = (["-c", LOCAL], environment) if where == home else (["-m", "entryc"], {})
        done = subprocess.run([sys.executable, *how, *arguments], cwd=where, capture_output=True, check=False, umask=umask,
                              env={**os.environ, "PYTHONPATH": str(where / "compiler"), **more})
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout
    umask = 0o077
    name = environment["SPEC"]
    run(home, "build", "-q", "--prove", "none", f"specs/{name}.entry", "-o", "out")
    assert content(home / "out") == content(ROOT / "out" / name)
    assert {p.stat().st_mode & 0o777 for p in (home / "out").iterdir()} == {0o600}
    umask = 0o022
    asked = ("diff", "--format", "json", "specs/linux/exit-work-x86_64-6.12.entry", "specs/linux/exit-work-arm64-6.12.entry")
    assert run(home, *asked) == run(ROOT, *asked)


def test_names_that_are_not_ascii(tmp_path: Path) -> None:
    """A spec with such a name, read in a locale that has no such letters."""
    folder = tmp_path / "Käfig ☃"
    folder.mkdir()
    (folder / "größe.entry").write_text(OLD.replace("feature ONE : build", 'feature ONE : build "ein ß, ein ☃"'), "utf-8")
    subprocess.run([sys.executable, "-m", "entryc", "build", "-q", "--prove", "none", "größe.entry", "-o", "Ausgabe ß"], cwd=folder, check=True,
                   env={**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"})
    assert "from größe.entry:" in (folder / "Ausgabe ß" / "entry.S").read_text("utf-8")
    subprocess.run([sys.executable, "-m", "entryc", "build", "-q", "--check", "größe.entry", "-o", "Ausgabe ß"], cwd=folder, check=True)
