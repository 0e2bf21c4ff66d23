"""`entryc init`: a small kernel to begin with, as files in a folder."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from ..resources import init_files, init_names
from ..source.finding import Finding, Findings
from . import output
from .jobs import Speaker


def init(cpu: str, folder: str, say: Speaker) -> None:
    """Write the files, all or none; what is there already is never overwritten. Raises Findings."""
    if cpu not in init_names():
        raise _refused("E450", f"there is no first kernel for CPU {cpu!r}", f"--arch takes one of {', '.join(init_names())}")
    if not folder or not folder.isprintable():
        raise _refused("E451", f"{folder!r} is no name for a folder", "printable characters only; without --dir, the files go into this folder")
    files = init_files(cpu)
    there = [name for name in sorted(files) if os.path.lexists(Path(folder) / name)]
    if there:
        raise _refused("E452", f"files of that name are in {folder} already: {', '.join(there)}",
                       "entryc init overwrites nothing: choose another folder with --dir")
    output.write_all(Path(folder), files)
    say.say(f"{folder}: {len(files)} files: {', '.join(sorted(files))}")
    say.say(f"next:{'' if folder == '.' else f' cd {shlex.quote(folder)};'} entryc build kernel.entry; make; make run")


def _refused(code: str, message: str, way_out: str) -> Findings:
    return Findings([Finding(code, "error", message, help=way_out)])
