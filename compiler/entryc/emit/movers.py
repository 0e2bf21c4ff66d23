"""C functions that put the frame of interrupted user code on another stack, and give back where it is now."""

from __future__ import annotations

from ..model.expr import CellRef, SlotRef
from ..model.spec import Frame, Spec
from ..model.steps import Call
from ..model.surroundings import Move
from .c_text import Block, refuse


def emit_mover(spec: Spec, call: Call) -> Block:
    """One function: word by word, from the frame's end down.

    Old and new frame may overlap. C lets a compiler believe that two structures never overlap in part; words it has to take as they come.
    """
    move = call.move
    assert move is not None
    frame = spec.frames[move.frame]
    top = _top(spec, call, move)
    pointer = f"{frame.c_name} *"
    words = frame.size // spec.arch.word_bytes
    out: Block = [f"/* The frame goes to the top of stack {move.stack}. Words, from its end down: the two may overlap. */",
                  f"ENTRY_CODE {pointer}{call.callee}({pointer}{frame.name})", "{",
                  f"\tuint64_t *to = (uint64_t *)(uintptr_t){top} - {words};",
                  f"\tconst uint64_t *old = (const uint64_t *){frame.name};"]
    if isinstance(move.at, SlotRef):
        out.append(f"\tconst uint64_t *from = (const uint64_t *)(uintptr_t){frame.name}->{move.at.slot};")
    out.append("")
    for slot in reversed(frame.slots.values()):
        at = slot.offset // spec.arch.word_bytes
        source = f"from[{_index(frame, move, slot.name)}]" if slot.name in move.but else f"old[{at}]"
        out.append(f"\tto[{at}] = {source};\t\t/* {slot.name} */")
    return [*out, f"\treturn ({pointer})to;", "}", ""]


def _index(frame: Frame, move: Move, slot: str) -> int:
    """Where a word is in what a return instruction would have read."""
    order = [s for s in frame.slots if s in move.but]
    return order.index(slot)


def _top(spec: Spec, call: Call, move: Move) -> str:
    """The C expression for the top of the stack."""
    top = spec.stacks[move.stack].top
    if not isinstance(top, CellRef):
        raise refuse("E504", f"C cannot tell where stack '{move.stack}' is", call.span, "say where its top is kept: stack NAME top MEMORY.WORD …")
    hook = next((h.name for h in spec.hooks.values() if h.result == top.memory and not h.params), None)
    if hook is None:
        raise refuse("E504", f"C cannot reach '{top.memory}.{top.cell}', the top of stack '{move.stack}'", call.span,
                     f"declare a hook that returns its address: hook {top.memory} this_cpu()")
    return f"{hook}()->{top.cell}"
