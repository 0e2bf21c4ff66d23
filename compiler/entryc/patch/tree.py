"""The tree that a series is made against: which kernel it is, its files as text, and whether it is as its owner committed it."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from ..source.finding import Finding, Findings

LARGEST = 4 << 20                               # bytes of one source file
VERSION = re.compile(r"^(VERSION|PATCHLEVEL|SUBLEVEL|EXTRAVERSION)[ \t]*=[ \t]*(\S*)[ \t]*$", re.MULTILINE)


def refused(code: str, message: str, help: str | None = None) -> Findings:
    """One finding without a place in the spec."""
    return Findings([Finding(code, "error", message, help=help)])


@dataclass
class Tree:
    """A kernel's source tree. It is read, never written: edits live in `texts` until they are a series."""

    root: Path
    short: str                                  # 6.12
    name: str                                   # 6.12.117
    clean: bool | None                          # None: not checked, the tree is no git repository
    texts: dict[str, str] = field(default_factory=dict)

    def read(self, name: str) -> str:
        """The text of a file, with the edits made so far. Raises Findings: no such file, not text, not in the tree."""
        if name not in self.texts:
            self.texts[name] = read_text(self.root, name)
        return self.texts[name]

    def has(self, name: str) -> bool:
        """Is there such a file, or anything else of that name? Raises Findings when it would not lie in the tree."""
        if not (self.root / name).parent.resolve().is_relative_to(self.root.resolve()):
            raise refused("E381", f"{name} would not lie in the tree", "a symbolic link: take the tree as it was released")
        return name in self.texts or os.path.lexists(self.root / name)


def read_text(root: Path, name: str) -> str:
    """The text of a file of a tree."""
    path = root / name
    try:
        if not path.resolve(strict=True).is_relative_to(root.resolve()):
            raise refused("E381", f"{name} of the tree leads out of it", "a symbolic link: take the tree as it was released")
        if not path.is_file() or path.stat().st_size > LARGEST:
            raise refused("E381", f"{name} of the tree is no source file")
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise refused("E381", f"the tree has no {name}") from None
    except UnicodeDecodeError:
        raise refused("E381", f"{name} of the tree is no text") from None
    except OSError as problem:
        raise refused("E381", f"{name} of the tree cannot be read: {(problem.strerror or str(problem)).lower()}") from None


@dataclass(frozen=True)
class Version:
    """Which kernel a tree is: 6.12, and in full."""

    short: str
    name: str                                   # 6.12.117


def version_of(root: Path, wanted: tuple[str, ...]) -> Version:
    """The version of the tree at a path. `wanted`: those that the series is for ("6.12"). Raises Findings: no kernel, another version."""
    try:
        makefile = read_text(root, "Makefile")
    except Findings:
        raise refused("E380", f"{root} is no Linux tree: it has no Makefile", "give the top of an unpacked kernel: --tree DIR") from None
    parts = dict(VERSION.findall(makefile))
    numbers = [parts.get(key, "") for key in ("VERSION", "PATCHLEVEL", "SUBLEVEL")]
    if not all(n.isascii() and n.isdigit() and len(n) < 6 for n in numbers) or not (root / "Kbuild").is_file():
        raise refused("E380", f"{root} is no Linux tree: its Makefile names no version", "give the top of an unpacked kernel: --tree DIR")
    major, minor, point = (int(n) for n in numbers)
    name = f"{major}.{minor}.{point}{parts.get('EXTRAVERSION', '')}"
    if not re.fullmatch(r"[\w.+~-]{1,60}", name, re.ASCII):
        raise refused("E380", f"{root} is no Linux tree: its EXTRAVERSION is no part of a version")
    if f"{major}.{minor}" not in wanted:
        raise refused("E382", f"the tree is Linux {name}; the series is made for {' and '.join(wanted)}", "any last number will do, these two have to fit")
    return Version(f"{major}.{minor}", name)


def open_tree(root: Path, version: Version, touched: tuple[str, ...]) -> Tree:
    """The tree at a path. `touched`: files that must be as they were committed. Raises Findings: they have changes that were not committed."""
    return Tree(root, version.short, version.name, _clean(root, touched))


def _clean(root: Path, touched: tuple[str, ...]) -> bool | None:
    """Are these files as they were committed? None: no repository has them. Raises Findings when they were changed."""
    if not (root / ".git").exists():
        return None
    there = {name for name in touched if os.path.lexists(root / name)}
    staged = _git(root, "ls-files", "--stage", "-z", "--", *touched)         # MODE HASH STAGE<tab>NAME
    committed = _git(root, "ls-tree", "-r", "-z", "HEAD", "--", *touched)    # MODE blob HASH<tab>NAME
    if staged is None or committed is None:
        return None
    index = {name: (words[1], words[2]) for words, name in map(_row, staged)}
    head = {name: words[2] for words, name in map(_row, committed)}
    if not there <= index.keys():
        return None
    changed = [name for name in sorted(index.keys() | head.keys()) if name not in head or index.get(name) != (head[name], "0")
               or _hash(root / name, len(head[name])) != head[name]]
    if changed:
        names = ", ".join(changed[:4])
        raise refused("E383", f"the tree has changes in {names} that were not committed", "commit or stash them first")
    return True


def _row(text: str) -> tuple[list[str], str]:
    words, _, name = text.partition("\t")
    return words.split(" "), name


def _hash(path: Path, digits: int) -> str:
    """What git calls a file's contents. It is not asked: it would run the filters that a repository configures."""
    try:
        if path.is_symlink():
            data = os.fsencode(os.readlink(path))
        elif path.is_file() and path.stat().st_size <= LARGEST:
            data = path.read_bytes()
        else:
            return ""
    except OSError:
        return ""
    return hashlib.new("sha1" if digits == 40 else "sha256", b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _git(root: Path, *arguments: str) -> list[str] | None:
    """What git answers, in pieces; None: it cannot. Only lists are asked for: nothing that the repository configures is run, nothing fetched."""
    environment = {name: value for name, value in os.environ.items() if name not in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")}
    environment |= {"GIT_ALLOW_PROTOCOL": "none", "GIT_NO_LAZY_FETCH": "1"}
    try:
        done = subprocess.run(["git", "--literal-pathspecs", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-C", str(root), *arguments],
                              capture_output=True, check=False, timeout=120, env=environment)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return [row for row in done.stdout.decode("utf-8", "replace").split("\0") if row] if done.returncode == 0 else None
