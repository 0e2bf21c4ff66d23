"""`--watch`: run again whenever the spec, or a file that it uses, has other content."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

from ..model.files import MAX_FILES
from ..source.text import MAX_BYTES, read_bytes

USE = re.compile(r'^[^#\n]*?\buse\s+"([^"\n]+)"', re.M)
PAUSE = 0.2                                     # seconds between two looks: a few stat calls each


def sources(path: Path) -> list[Path]:
    """The spec and the files that it uses, as far as they can be read: a spec that is wrong is watched, too."""
    found: dict[str, Path] = {}                 # by where their links lead
    todo = [path]
    while todo and len(found) <= MAX_FILES:
        file = todo.pop()
        place = os.path.realpath(file)          # links in a circle are no error here
        if place in found:
            continue
        found[place] = file
        with contextlib.suppress(OSError):
            todo += [file.parent / name for name in USE.findall(read_bytes(file, MAX_BYTES).decode("utf-8", "replace")) if "\0" not in name]
    return list(found.values())


def _stamps(files: list[Path]) -> list[tuple[int, int, int] | None]:
    out: list[tuple[int, int, int] | None] = []
    for file in files:
        try:
            row = file.stat()
            out.append((row.st_mtime_ns, row.st_size, row.st_ino))
        except OSError:
            out.append(None)
    return out


def _content(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(str(file).encode())
        try:
            digest.update(read_bytes(file, MAX_BYTES))
        except OSError:
            digest.update(b"\0missing")
    return digest.hexdigest()


def watch(path: Path, run: Callable[[], int]) -> int:
    """Run once, and again after each change, until interrupted. `run` gives the number of errors, and has shown them."""
    while True:
        files = sources(path)
        stamps, content = _stamps(files), _content(files)
        count = run()
        said = "no error" if not count else "1 error" if count == 1 else f"{count} errors"
        sys.stdout.flush()
        print(f"[{time.strftime('%H:%M:%S')}] {path}: {said}; watching {len(files)} file{'s' * (len(files) > 1)}", file=sys.stderr, flush=True)
        while True:
            now = _stamps(files)
            if now != stamps:
                stamps = now
                if _content(files) != content:
                    break
            time.sleep(PAUSE)
