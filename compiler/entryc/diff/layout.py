"""Frames and memory blocks of two revisions side by side, for those that differ: what pahole would show of both."""

from __future__ import annotations

from dataclasses import dataclass

from ..model.spec import Frame, Memory, Spec


@dataclass(frozen=True)
class Line:
    """A member. Offsets and sizes in bytes; None where the side does not have it."""

    name: str
    old: tuple[int, int] | None                 # offset, size
    new: tuple[int, int] | None

    @property
    def mark(self) -> str:
        """"+" new, "-" gone, "~" elsewhere or of another size, " " the same."""
        return "+" if self.old is None else "-" if self.new is None else " " if self.old == self.new else "~"


@dataclass(frozen=True)
class Delta:
    """A struct that differs: members in the order of the new one, those that are gone where they were."""

    name: str
    lines: tuple[Line, ...]
    old_size: int | None
    new_size: int | None


def deltas(old: Spec, new: Spec) -> list[Delta]:
    """The frames and blocks whose layout differs."""
    tables = [(_frames(old), _frames(new)), (_blocks(old), _blocks(new))]
    out = []
    for before, after in tables:
        for name in [*after, *(n for n in before if n not in after)]:
            a, b = before.get(name), after.get(name)
            if a != b:
                out.append(_delta(name, a, b))
    return out


_Struct = tuple[int, dict[str, tuple[int, int]]]


def _frames(spec: Spec) -> dict[str, _Struct]:
    def members(frame: Frame) -> dict[str, tuple[int, int]]:
        return {s.name: (s.offset, spec.arch.word_bytes) for s in frame.slots.values()}
    return {f.c_name: (f.size, members(f)) for f in spec.frames.values()}


def _blocks(spec: Spec) -> dict[str, _Struct]:
    def members(memory: Memory) -> dict[str, tuple[int, int]]:
        return {m.name: (m.offset, m.size) for m in memory.members}
    return {f"struct {m.name}": (m.size, members(m)) for m in spec.memories.values() if m.members}


def _delta(name: str, a: _Struct | None, b: _Struct | None) -> Delta:
    before, after = (a[1] if a else {}), (b[1] if b else {})
    lines = [Line(n, before.get(n), place) for n, place in after.items()]
    for gone in (n for n in before if n not in after):
        earlier = list(before)[:list(before).index(gone)]
        at = next((i + 1 for e in reversed(earlier) for i, line in enumerate(lines) if line.name == e), 0)
        lines.insert(at, Line(gone, before[gone], None))
    return Delta(name, tuple(lines), a[0] if a else None, b[0] if b else None)
