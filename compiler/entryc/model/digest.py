"""One number for what a spec means: the same whatever its comments, blanks, files and order of files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from ..source.text import SourceFile, Span
from .arch import Arch
from .spec import Spec

TEXTS = frozenset({"name", "source", "used", "spans", "version", "versions"})       # of a spec: where its text lies, and for what it was read


def model_digest(spec: Spec) -> str:
    """Sixteen hexadecimal digits of SHA-256 over the model, the CPU by its name."""
    state = hashlib.sha256()
    for part in _parts(spec):
        state.update(part.encode() + b"\0")
    return state.hexdigest()[:16]


def _parts(value: Any) -> Iterator[str]:
    if isinstance(value, (Span, SourceFile)):
        return
    if isinstance(value, Arch):
        yield value.name
    elif is_dataclass(value) and not isinstance(value, type):
        yield type(value).__name__
        for field in fields(value):
            late = field.metadata.get("later") and getattr(value, field.name) == field.default
            if not (isinstance(value, Spec) and field.name in TEXTS) and not late:
                yield field.name
                yield from _parts(getattr(value, field.name))
    elif isinstance(value, Mapping):
        for key in sorted(value, key=str):
            yield str(key)
            yield from _parts(value[key])
    elif isinstance(value, (set, frozenset)):
        yield from sorted(" ".join(_parts(item)) for item in value)
    elif isinstance(value, (list, tuple)):
        yield str(len(value))
        for item in value:
            yield from _parts(item)
    else:
        yield repr(value)
