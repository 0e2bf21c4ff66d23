"""The two sides of a comparison: a file, or a file as it was in a revision of its git repository, with the files that it uses."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..model.build import load_spec
from ..model.spec import Spec
from ..source.finding import Finding, Findings
from ..source.text import MAX_BYTES

MAX_FILES = 2000


class NotComparable(Exception):
    """A side cannot be read. `side`: old or new; `findings`: what its text has against it, if it was found."""

    def __init__(self, side: str, reason: str, findings: list[Finding] | None = None) -> None:
        super().__init__(reason)
        self.side, self.reason, self.findings = side, reason, findings or []


@dataclass(frozen=True)
class Side:
    """What the user named: `git:REV:PATH`, or a file."""

    name: str                                   # old, new
    text: str
    revision: str | None
    path: str

    @classmethod
    def parse(cls, name: str, text: str) -> Side:
        if not text.startswith("git:"):
            return cls(name, text, None, text)
        revision, _, path = text.removeprefix("git:").partition(":")
        if not revision or not path:
            raise NotComparable(name, f"'{text}' names no file of a revision: write git:REV:PATH, for example git:HEAD~1:specs/my.entry")
        return cls(name, text, revision, path)


@contextmanager
def loaded(side: Side, version: str | None = None) -> Iterator[Spec]:
    """The spec of a side, for a version of its kernel. Raises NotComparable. Its source texts stay valid afterwards."""
    try:
        if side.revision is None:
            yield load_spec(Path(side.path), version=version)
            return
        with tempfile.TemporaryDirectory(prefix="entryc-") as folder:
            root, inside = _checked_out(side, Path(folder))
            yield load_spec(root / inside, f"{side.revision}:{inside}", within=root, version=version)
    except Findings as stop:
        reason = stop.findings[0].message if stop.findings else "it cannot be read"
        raise NotComparable(side.name, reason, stop.findings) from None


def against(path: str, revision: str) -> tuple[Side, Side]:
    """A file now, and the same file in a revision, where it may have had another name."""
    inside, root = _place(Side("old", path, revision, path))
    _commit("old", root, revision)
    known = set(_names("old", root, revision))
    if inside not in known:
        inside = _renamed(root, revision, inside)
    return Side("old", f"git:{revision}:{inside}", revision, str(root / inside)), Side("new", path, None, path)


def _git(side: str, folder: Path, *arguments: str) -> bytes:
    """What git prints. No hook, pager or helper of the repository runs."""
    command = ["git", "-C", str(folder), "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.pager=cat",
               "-c", "diff.external=", "-c", "core.quotePath=false", *arguments]
    clean = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    try:
        done = subprocess.run(command, capture_output=True, env={**clean, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0"}, check=False)
    except FileNotFoundError:
        raise NotComparable(side, "git is not installed here: compare two files instead") from None
    if done.returncode:
        told = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise NotComparable(side, f"git {arguments[0]}: {told[0].removeprefix('fatal: ') if told else 'it failed'}")
    return done.stdout


def _place(side: Side) -> tuple[str, Path]:
    """(path inside of the repository, its root)."""
    path = Path(side.path)
    folder = path.parent
    while not folder.is_dir():                  # a folder that only the revision has
        if folder == folder.parent:
            break
        folder = folder.parent
    root = Path(os.fsdecode(_git(side.name, folder, "rev-parse", "--show-toplevel")).rstrip("\n"))
    whole = Path(os.path.normpath(folder.resolve() / os.path.relpath(path.absolute(), folder.absolute())))
    if not whole.is_relative_to(root.resolve()):
        raise NotComparable(side.name, f"{side.path} is outside of the repository {root}")
    return whole.relative_to(root.resolve()).as_posix(), root


def _commit(side: str, root: Path, revision: str) -> str:
    if revision.startswith("-"):
        raise NotComparable(side, f"'{revision}' is no revision")
    try:
        return _git(side, root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}").decode().strip()
    except NotComparable as problem:
        raise NotComparable(side, problem.reason if "not installed" in problem.reason else f"there is no revision '{revision}' in {root}") from None


def _names(side: str, root: Path, revision: str) -> dict[str, tuple[str, str]]:
    """Path -> (mode, object) of each file in a revision."""
    out: dict[str, tuple[str, str]] = {}
    for row in _git(side, root, "ls-tree", "-r", "-z", "--full-tree", _commit(side, root, revision)).split(b"\0"):
        if row:
            head, _, name = row.partition(b"\t")
            mode, kind, oid = head.decode().split()
            if kind == "blob":
                out[os.fsdecode(name)] = mode, oid
    return out


def _renamed(root: Path, revision: str, inside: str) -> str:
    """What a file that is there now was called in a revision."""
    rows = _git("old", root, "diff", "--no-ext-diff", "--no-textconv", "--name-status", "-z", "--find-renames", revision, "--").split(b"\0")
    names = [os.fsdecode(r) for r in rows]
    for index, status in enumerate(names[:-2]):
        if status[:1] == "R" and status[1:].isdecimal() and names[index + 2] == inside:
            return names[index + 1]
    raise NotComparable("old", f"{inside} is not in revision '{revision}', and no file of it has become {inside}")


def _checked_out(side: Side, folder: Path) -> tuple[Path, str]:
    """The spec files of a revision under a folder, and the path of the spec there."""
    assert side.revision is not None
    inside, root = _place(side)
    files = _names(side.name, root, side.revision)
    if inside not in files:
        raise NotComparable(side.name, f"revision '{side.revision}' has no file {inside}")
    suffix = Path(inside).suffix
    wanted = [n for n in files if Path(n).suffix == suffix and files[n][0] in ("100644", "100755")]
    if inside not in wanted:
        raise NotComparable(side.name, f"{inside} is no regular file in revision '{side.revision}'")
    if len(wanted) > MAX_FILES:
        raise NotComparable(side.name, f"revision '{side.revision}' has more than {MAX_FILES} files that end in {suffix}")
    todo, done = [inside], set[str]()
    here = folder.resolve()
    while todo:                                 # the spec, then what it uses, as far as names in quotes tell
        name = todo.pop()
        if name in done:
            continue
        done.add(name)
        data = _git(side.name, root, "cat-file", "blob", files[name][1])
        target = here / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data[:MAX_BYTES + 1])
        quoted = {part.decode("utf-8", "replace") for part in data.split(b'"')[1::2] if len(part) < 1000}
        near = {os.path.normpath(f"{Path(name).parent.as_posix()}/{q}") for q in quoted}
        todo += [n for n in wanted if n in near]
    return here, inside
