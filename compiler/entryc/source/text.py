"""Source files and spans: where every fact of a spec was written."""

from __future__ import annotations

import errno
import os
import re
import stat
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

MAX_BYTES = 4_000_000

# What moves the cursor, ends a line elsewhere than in a spec, or shows text in another order than it has. Written out: Python's own notion of
# what prints depends on its version. Half surrogates are bytes of file names that are no UTF-8.
UNSEEN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]")


def file_name(path: str | os.PathLike[str]) -> str:
    """A file's name as text that depends on its bytes alone, not on the locale: UTF-8, other bytes as half surrogates."""
    return os.fsencode(path).decode("utf-8", "surrogateescape")


def resolved(path: Path) -> Path:
    """Where a path leads; one that leads nowhere, such as links in a circle or a name that no file can have, as it is."""
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError):
        return path.absolute()


def read_bytes(path: Path, most: int) -> bytes:
    """All of a regular file. Raises OSError for what is none (a pipe or a device may never end), and for more than `most` bytes."""
    row = path.stat()
    if not stat.S_ISREG(row.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file")
    if row.st_size > most:
        raise OSError(errno.EFBIG, f"it is larger than {most} bytes")
    return path.read_bytes()


class Unreadable(Exception):
    """A file cannot be used as source text; the message says why, in words for the user."""


def decoded(data: bytes, shown: str) -> str:
    """The characters of a file, line ends and byte order mark as they are. Raises Unreadable for what is too large or not UTF-8."""
    if len(data) > MAX_BYTES:
        raise Unreadable(f"{shown} is larger than {MAX_BYTES} bytes")
    if b"\0" in data:
        raise Unreadable(f"{shown} is not text: it contains a NUL byte")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Unreadable(f"{shown} is not UTF-8: byte {error.start} cannot be decoded") from None


def source_text(text: str) -> str:
    """Text with the line ends that the languages know, without a byte order mark."""
    return text.removeprefix("\ufeff").replace("\r\n", "\n")


@dataclass(frozen=True)
class SourceFile:
    """One text, with the name that messages use for it."""

    name: str
    text: str = field(repr=False)

    @cached_property
    def lines(self) -> list[str]:
        return self.text.split("\n")

    @classmethod
    def read(cls, path: Path, name: str | None = None, pipe: bool = False) -> SourceFile:
        """Read a UTF-8 file. `pipe`: it may come from another program. Raises Unreadable for what is missing, no file, too large, binary or empty."""
        shown = name or str(path)
        try:
            mode = path.stat().st_mode
            if stat.S_ISDIR(mode):
                raise Unreadable(f"{shown} is a directory")
            if not (stat.S_ISREG(mode) or (pipe and stat.S_ISFIFO(mode))):
                raise Unreadable(f"{shown} is no regular file")
            with path.open("rb") as handle:
                data = handle.read(MAX_BYTES + 1)
        except FileNotFoundError:
            raise Unreadable(f"{shown} does not exist") from None
        except (OSError, ValueError) as error:
            raise Unreadable(f"{shown} cannot be read: {getattr(error, 'strerror', None) or error}") from None
        return cls.of(decoded(data, shown), shown)

    @classmethod
    def of(cls, text: str, name: str) -> SourceFile:
        """A text that is at hand, such as an editor's buffer. Raises Unreadable for what is too large, binary or empty."""
        if len(text) > MAX_BYTES:
            raise Unreadable(f"{name} is larger than {MAX_BYTES} bytes")
        if "\0" in text:
            raise Unreadable(f"{name} is not text: it contains a NUL byte")
        text = source_text(text)
        if not text.strip():
            raise Unreadable(f"{name} is empty")
        return cls(name, text)


@dataclass(frozen=True)
class Span:
    """A half-open range of one source file; lines and columns count from 1."""

    file: SourceFile = field(repr=False, compare=False)
    line: int
    column: int
    end_line: int
    end_column: int

    def __str__(self) -> str:
        return f"{self.file.name}:{self.line}:{self.column}"

    @property
    def snippet(self) -> str:
        """The first source line of the span."""
        lines = self.file.lines
        return lines[self.line - 1] if 0 < self.line <= len(lines) else ""
