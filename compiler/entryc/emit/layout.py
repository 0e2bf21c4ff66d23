"""Frames and memory blocks in the shape that kernel people read: members with offset and size, totals, where each value comes from."""

from __future__ import annotations

from ..model.expr import show
from ..model.spec import Frame, Memory, Slot, Spec
from .c_text import comment


def emit_layout(spec: Spec) -> str:
    """All frames, then all memory blocks."""
    parts = [_frame(spec, f) for f in spec.frames.values()] + [_memory(m) for m in spec.memories.values()]
    return "\n".join(parts)


def _source(slot: Slot) -> str:
    if slot.source == "home":
        return f"interrupted {slot.home}" + (", pushed by the CPU where it pushes" if slot.hardware else "")
    if slot.source == "c":
        return "written by C"
    text = {"number": "the vector's number", "error_code": "the CPU's error code", "value": ""}[slot.source]
    other = show(slot.other) if slot.other is not None else ""
    return f"{text}, else {other}" if text and other else text or other


def _row(declaration: str, offset: int, size: int, note: str = "") -> str:
    return f"        {declaration + ';':32} /* {offset:5d} {size:5d} */" + (f"  {comment(note)}" if note else "")


def _frame(spec: Spec, frame: Frame) -> str:
    rows = [f"{frame.c_name} {{", *(_row(f"uint64_t {s.name}", s.offset, spec.arch.word_bytes, _source(s)) for s in frame.slots.values())]
    aligned = "" if frame.size % spec.arch.abi.align else f", a multiple of {spec.arch.abi.align}"
    return "\n".join([*rows, "", f"        /* size: {frame.size}{aligned}, members: {len(frame.slots)} */", "};", ""])


def _memory(memory: Memory) -> str:
    rows = [f"struct {memory.name} {{  /* at {memory.base} */"]
    at = 0
    for member in memory.members:
        if member.offset > at:
            rows.append(f"        /* hole: {member.offset - at} bytes */")
        kind = "uint64_t" if member.kind in ("word", "counters") else f"struct {member.kind}"
        name = f"{member.name}[{member.size // 8}]" if member.kind == "counters" else member.name
        rows.append(_row(f"{kind} {name}", member.offset, member.size))
        at = member.offset + member.size
    return "\n".join([*rows, "", f"        /* size: {memory.size}, members: {len(memory.members)} */", "};", ""])
