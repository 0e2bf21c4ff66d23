"""entry.lst: every instruction beside the spec line that asked for it, so that a reviewer can walk from code to spec and back."""

from __future__ import annotations

from ..model.spec import Spec
from ..model.surroundings import Guard
from ..plan.code import Code, Insn, LabelLine, spell
from .c_text import comment


def emit_listing(spec: Spec, code: Code) -> str:
    """One line an instruction: text, spec line, role, guard; a spec line's text where it starts."""
    out = [f"# {spec.arch.title}. Columns: instruction, spec line, role, present when."]
    shown: int | None = None
    for line in code.lines:
        if isinstance(line, LabelLine) and line.kind in ("entry", "exit", "inner"):
            out += ["", f"{line.name}:"] if line.kind != "inner" else [f"{line.name}:"]
            shown = None
        elif isinstance(line, Insn):
            number = line.span.line if line.span is not None else None
            if number != shown and line.span is not None:
                out.append(f"  ; {number}: {comment(line.span.snippet.split('#')[0])}")
                shown = number
            out.append(f"    {spell(spec.arch, line):40} {number or '':>5}  {line.form.role:8} {_when(line.guard)}".rstrip())
    return "\n".join(out) + "\n"


def _when(guard: Guard) -> str:
    return " and ".join(name if wanted else f"not {name}" for name, wanted in sorted(guard))
