"""Files on disk: each written whole or not at all, only when it differs, the manifest last."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ..source.finding import Finding, Findings

LAST = "manifest.json"


@dataclass(frozen=True)
class Written:
    """What a write did: names of files that changed, and of those that were right already."""

    changed: tuple[str, ...]
    same: tuple[str, ...]


def stale(folder: Path, files: dict[str, str]) -> list[Finding]:
    """What `--check` finds: files that are missing or differ from what the spec gives."""
    out: list[Finding] = []
    for name in sorted(files):
        target = folder / name
        try:
            if target.read_text("utf-8") == files[name]:
                continue
            message = f"{target} is not what the spec gives"
        except FileNotFoundError:
            message = f"{target} is missing"
        except (OSError, UnicodeDecodeError) as error:
            message = f"{target} cannot be read: {error}"
        out.append(Finding("E401", "error", message, help="run entryc build without --check"))
    return out


def write_all(folder: Path, files: dict[str, str]) -> Written:
    """Put the files into the folder. All texts are on disk under temporary names before the first is renamed. Raises Findings."""
    pending: list[tuple[str, str]] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in files:
            if (folder / name).exists() and not (folder / name).is_file():
                raise Findings([Finding("E402", "error", f"{folder / name} cannot be written: it is no regular file")])
        changed = [n for n in sorted(files, key=lambda n: (n == LAST, n)) if not _same(folder / n, files[n])]
        for name in changed:
            pending.append((_temporary(folder, files[name]), name))
        for temporary, name in list(pending):
            os.replace(temporary, folder / name)
            pending.remove((temporary, name))
        return Written(tuple(sorted(changed)), tuple(sorted(set(files) - set(changed))))
    except OSError as error:
        reason = "the disk is full" if error.errno == errno.ENOSPC else (error.strerror or str(error)).lower()
        raise Findings([Finding("E402", "error", f"{folder} cannot be written: {reason}", help="choose another folder")]) from None
    finally:
        for temporary, _ in pending:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def _same(target: Path, text: str) -> bool:
    data = text.encode()
    try:
        return target.stat().st_size == len(data) and target.read_bytes() == data
    except OSError:
        return False


def _temporary(folder: Path, text: str) -> str:
    handle, name = tempfile.mkstemp(prefix=".entryc-", dir=folder)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(text.encode())
            out.flush()
            os.fsync(out.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(name, 0o666 & ~mask)
    except OSError:
        os.unlink(name)
        raise
    return name
