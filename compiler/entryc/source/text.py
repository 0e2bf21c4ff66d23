"""Source files and spans: where every fact of a spec was written."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

MAX_BYTES = 4_000_000


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
    def read(cls, path: Path, name: str | None = None) -> SourceFile:
        """Read a UTF-8 file. Raises Unreadable for what is missing, too large, binary or empty."""
        shown = name or str(path)
        try:
            if path.is_dir():
                raise Unreadable(f"{shown} is a directory")
            with path.open("rb") as handle:
                data = handle.read(MAX_BYTES + 1)
        except FileNotFoundError:
            raise Unreadable(f"{shown} does not exist") from None
        except OSError as error:
            raise Unreadable(f"{shown} cannot be read: {error.strerror or error}") from None
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
