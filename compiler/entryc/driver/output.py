"""Files on disk: each written whole or not at all, only when it differs; a folder's manifest is there only while it is true of the folder.

What POSIX gives is a rename that replaces one file as a whole; there is none for several. Between the first and the last rename a kill leaves
old files beside new ones. So that nobody takes that for a build, the manifest goes before the first file changes and comes back, new, after
the last: a folder with a manifest is what that manifest says. Without one, `--check` fails, make stops, and the next build finishes the work:
a journal, there while the manifest is not, names the files of both builds, so that none of either is left over.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import signal
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from ..source.finding import Finding, Findings

LAST = "manifest.json"
PREFIX = ".entryc-"
JOURNAL = ".entryc-journal"
PATIENCE = 30.0                                 # seconds that a build waits for another one to finish writing


@dataclass(frozen=True)
class Written:
    """What a write did: names of files that changed, and of those that were right already."""

    changed: tuple[str, ...]
    same: tuple[str, ...]


def stale(folder: Path, files: dict[str, str]) -> list[Finding]:
    """What `--check` finds: files that are missing, differ from what the spec gives, or were left by an earlier spec."""
    out: list[Finding] = []
    for name in sorted(files):
        target = folder / name
        try:
            mode = target.stat().st_mode
            if not stat.S_ISREG(mode):
                message = f"{target} is no regular file"
            elif _same(target, files[name]):
                continue
            else:
                message = f"{target} is not what the spec gives"
        except FileNotFoundError:
            message = f"{target} is missing"
        except OSError as error:
            message = f"{target} cannot be read: {_reason(error)}"
        out.append(Finding("E401", "error", message, help="run entryc build without --check"))
    return out + [Finding("E401", "error", f"{folder / name} was left by an earlier build: the spec does not give it",
                          help="run entryc build without --check") for name in _left(folder, files)]


def write_all(folder: Path, files: dict[str, str], modes: Mapping[str, int] = MappingProxyType({})) -> Written:
    """Put the files into the folder. All texts are on disk under temporary names before the first is renamed. Raises Findings.

    `modes`: access modes of files that do not get the usual one.

    With a manifest among them they are a build: files that an earlier build made, and this one does not, are removed, unless somebody changed them.
    """
    made: list[Path] = []
    pending: dict[str, str] = {}
    try:
        made = _made(folder)
        with _alone(folder):
            for name in files:
                if (folder / name).exists() and not (folder / name).is_file():
                    raise Findings([Finding("E402", "error", f"{folder / name} cannot be written: it is no regular file")])
            changed = [n for n in sorted(files) if not _same(folder / n, files[n])]
            gone = _left(folder, files)
            for name in changed:
                pending[name] = _temporary(folder, files[name], modes.get(name))
            if LAST in files and (len(changed) > 1 or gone):
                if LAST not in pending:
                    pending[LAST] = _temporary(folder, files[LAST])
                pending[JOURNAL] = _temporary(folder, _journal(folder, files[LAST]))
            if pending or LAST in files:
                with _uninterrupted():
                    _put(folder, pending, gone)
            return Written(tuple(changed), tuple(n for n in sorted(files) if n not in changed))
    except OSError as error:
        half = LAST in files and os.path.lexists(folder / JOURNAL) and not os.path.lexists(folder / LAST)
        place = folder / next(iter(files)) if len(files) == 1 else folder
        message = f"{place} cannot be written: {_reason(error)}" + (f"; some of its files are new, and it has no {LAST}" if half else "")
        raise Findings([Finding("E402", "error", message, help="build again when this is mended" if half else "choose another folder")]) from None
    finally:
        for temporary in pending.values():
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        for place in reversed(made):            # made for nothing, if nothing is in it
            with contextlib.suppress(OSError):
                place.rmdir()


def rewrite(path: Path, text: str) -> None:
    """Put other text into a file that is there: through links, whole or not at all, with the mode that it has. Raises Findings."""
    target = path.resolve()
    try:
        mode = stat.S_IMODE(target.stat().st_mode)
        write_all(target.parent, {target.name: text}, {target.name: mode})
    except OSError as error:
        raise Findings([Finding("E402", "error", f"{path} cannot be written: {_reason(error)}", help="the file is as it was")]) from None
    except Findings as stop:
        raise Findings([replace(f, help="the file is as it was") for f in stop.findings]) from None


def _put(folder: Path, pending: dict[str, str], gone: list[str]) -> None:
    """The temporary files to their names: with a journal, between the old manifest's end and the new one. What is done is taken out of `pending`."""
    journal = JOURNAL in pending
    if journal:
        os.replace(pending[JOURNAL], folder / JOURNAL)
        del pending[JOURNAL]
        with contextlib.suppress(FileNotFoundError):
            os.unlink(folder / LAST)
        _to_disk(folder)
    for name in sorted(n for n in pending if n != LAST):
        os.replace(pending[name], folder / name)
        del pending[name]
    for name in gone:
        os.unlink(folder / name)
    if LAST in pending:
        _to_disk(folder)
        os.replace(pending[LAST], folder / LAST)
        del pending[LAST]
    if journal:
        _to_disk(folder)
    with contextlib.suppress(OSError):          # not there, or it stays: beside a manifest it says nothing
        os.unlink(folder / JOURNAL)


def _reason(error: OSError) -> str:
    return "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else (error.strerror or str(error)).lower()


def _made(folder: Path) -> list[Path]:
    """Make the folder and what is above it; gives back what was not there."""
    wanted = [p for p in (folder, *folder.parents) if not p.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return list(reversed(wanted))


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One writer at a time in a folder; a killed one holds nothing. What killed ones left is removed. Where locks are not to be had, without."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:                             # a folder that may be written, but not read
        yield
        return
    try:
        locked, until = False, time.monotonic() + PATIENCE
        while not locked:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                locked = True
            except BlockingIOError:
                if time.monotonic() > until:
                    raise Findings([Finding("E402", "error", f"{folder} cannot be written: another entryc is writing to it")]) from None
                time.sleep(0.01)
            except OSError:                     # this file system has no locks
                break
        if locked:
            for row in os.scandir(folder):
                if row.name.startswith(PREFIX) and row.name != JOURNAL and row.is_file(follow_symlinks=False):
                    with contextlib.suppress(OSError):
                        os.unlink(row.path)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C and polite requests to end wait until the renames are done."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _listed(text: str | bytes) -> dict[str, list[str]]:
    """The files that a manifest or journal names, with the digests that they may have. Empty: it is none of ours."""
    try:
        rows = json.loads(text)["files"]
        return {n: [d] if isinstance(d, str) else [str(x) for x in d] for n, d in rows.items() if n.startswith("entry.") and n == os.path.basename(n)}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _known(folder: Path) -> dict[str, list[str]]:
    """The files that earlier builds made in a folder, with the digests that they had."""
    out: dict[str, list[str]] = {}
    for name in (LAST, JOURNAL):
        with contextlib.suppress(OSError):
            for file, digests in _listed(_content(folder / name)).items():
                out[file] = [*out.get(file, ()), *digests]
    return out


def _journal(folder: Path, manifest: str) -> str:
    known = _known(folder)
    for file, digests in _listed(manifest).items():
        known[file] = [*known.get(file, ()), *digests]
    return json.dumps({"files": {name: sorted(set(digests)) for name, digests in sorted(known.items())}}) + "\n"


def _left(folder: Path, files: dict[str, str]) -> list[str]:
    """Files of earlier builds that nobody changed and that are not among the new ones. None when the new ones are no build."""
    out: list[str] = []
    for name, digests in _known(folder).items() if LAST in files else ():
        with contextlib.suppress(OSError):
            if name not in files and not (folder / name).is_symlink() and hashlib.sha256(_content(folder / name)).hexdigest() in digests:
                out.append(name)
    return sorted(out)


def _content(target: Path) -> bytes:
    """The bytes of a file that is no larger than what entryc writes. Raises OSError."""
    row = target.stat()
    if not stat.S_ISREG(row.st_mode) or row.st_size > 64 << 20:
        raise OSError(errno.EINVAL, "no file of ours")
    return target.read_bytes()


def _bytes(text: str) -> bytes:
    """UTF-8; names of files may hold other bytes."""
    return text.encode("utf-8", "surrogateescape")


def _same(target: Path, text: str) -> bool:
    data = _bytes(text)
    try:
        row = target.stat()
        return stat.S_ISREG(row.st_mode) and row.st_size == len(data) and target.read_bytes() == data
    except OSError:
        return False


def _to_disk(folder: Path) -> None:
    """What the folder lists, as far as the file system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _temporary(folder: Path, text: str, mode: int | None = None) -> str:
    handle, name = tempfile.mkstemp(prefix=PREFIX, dir=folder)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(_bytes(text))
            out.flush()
            os.fsync(out.fileno())
        if mode is None:
            mask = os.umask(0)
            os.umask(mask)
            mode = 0o666 & ~mask
        os.chmod(name, mode)
    except BaseException:
        os.unlink(name)
        raise
    return name
