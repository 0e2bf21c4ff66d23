"""C functions that put the frame of interrupted user code on another stack, and give back where it is now."""

from __future__ import annotations

from ..model.build_steps import flat_steps
from ..model.expr import CellRef, SlotRef
from ..model.spec import Call, Frame, Spec
from ..model.surroundings import Move
from .c_text import Block, refuse


def movers(spec: Spec) -> dict[str, Call]:
    """The functions that assembly calls for this, by name."""
    out: dict[str, Call] = {}
    for path in spec.paths.values():
        for step in flat_steps(path.steps):
            if isinstance(step, Call) and step.move is not None:
                out.setdefault(step.callee, step)
    return out


def emit_mover(spec: Spec, call: Call) -> Block:
    """One function: word by word, from the frame's end down, since old and new frame may overlap there."""
    move = call.move
    assert move is not None
    frame = spec.frames[move.frame]
    top = _top(spec, call, move)
    pointer = f"{frame.c_name} *"
    out: Block = [f"/* The frame goes to the top of stack {move.stack}. From its end down: the two may overlap. */",
                  f"ENTRY_CODE {pointer}{call.callee}({pointer}{frame.name})", "{",
                  f"\t{pointer}to = ({pointer})(uintptr_t){top} - 1;"]
    if isinstance(move.at, SlotRef):
        out.append(f"\tconst uint64_t *from = (const uint64_t *)(uintptr_t){frame.name}->{move.at.slot};")
    out.append("")
    for slot in reversed(frame.slots.values()):
        source = f"from[{_index(frame, move, slot.name)}]" if slot.name in move.but else f"{frame.name}->{slot.name}"
        out.append(f"\tto->{slot.name} = {source};")
    return [*out, "\treturn to;", "}", ""]


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
