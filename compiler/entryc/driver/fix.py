"""`entryc check --fix`: edits that findings propose, put into the files that they are about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..source.edits import applied
from ..source.finding import Finding
from ..source.text import SourceFile
from . import output

ROUNDS = 20


@dataclass
class Fixed:
    """What was mended, in the order in which it was, and what is left."""

    done: list[Finding] = field(default_factory=list)
    left: list[Finding] = field(default_factory=list)
    undone: bool = False                        # the edits made it no better: the files are as they were


def errors(findings: Sequence[Finding]) -> int:
    return sum(1 for f in findings if f.level == "error")


def fix(check: Callable[[], list[Finding]]) -> Fixed:
    """Check and mend until nothing proposes an edit. Files are as they were when that gives no fewer errors. Raises Findings for files that cannot be written.

    A cure may show the next error, so that edits go in rounds; each round writes every file whole.
    """
    first = left = check()
    done: list[Finding] = []
    before: dict[Path, bytes] = {}
    seen: set[frozenset[tuple[str, str]]] = set()
    for _ in range(ROUNDS):
        chosen = [f for f in left if f.edits]
        files = {e.span.file.name: e.span.file for f in chosen for e in f.edits}
        texts = {name: applied(file, (e for f in chosen for e in f.edits)) for name, file in files.items() if _as_read(file)}
        state = frozenset(texts.items())
        if not texts or state in seen:
            break
        seen.add(state)
        for name, text in texts.items():
            target = Path(name).resolve()
            old = before.setdefault(target, target.read_bytes())
            _write(target, text, old)
        done += [f for f in chosen if any(e.span.file.name in texts for e in f.edits)]
        left = check()
    if done and errors(left) >= errors(first):
        for target, old in before.items():
            output.rewrite(target, old.decode("utf-8"))
        return Fixed([], first, True)
    return Fixed(done, left)


def _as_read(file: SourceFile) -> bool:
    """The file is there as it was read: not the text of another place, not edited meanwhile."""
    path = Path(file.name)
    return path.is_file() and path.read_bytes().decode("utf-8-sig", "replace").replace("\r\n", "\n") == file.text


def _write(target: Path, text: str, old: bytes) -> None:
    """With the line ends and the byte order mark that the file had."""
    if b"\r\n" in old:
        text = text.replace("\n", "\r\n")
    output.rewrite(target, ("\ufeff" if old.startswith(b"\xef\xbb\xbf") else "") + text)
