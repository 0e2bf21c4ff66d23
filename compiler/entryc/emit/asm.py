"""Assembly text: the kernel form (C preprocessor, sections, unwind information) and the flat form of one configuration."""

from __future__ import annotations

from ..model.spec import Configuration, Spec
from ..model.surroundings import Guard
from ..plan.code import AlignLine, Code, Insn, LabelLine, Line, OrgLine, number, spell
from .cfi import Directives
from .notice import notice

SECTION = ".entry.text"

MACROS = """\
#define ENTRY_START(name)	.globl name; .type name, STT_NOTYPE; name: .cfi_startproc simple; .cfi_signal_frame
#define ENTRY_END(name)		.cfi_endproc; .size name, . - name
#define ENTRY_INNER(name)	.globl name; name:
"""


def kernel_text(spec: Spec, code: Code) -> str:
    """entry.S: what the target's own build assembles. Each save and restore names its slot."""
    out = [notice(spec, "/* {} */"), "",
           "/* Saves and restores, nothing else: whatever decides or computes is in entry.c. */", "", MACROS,
           f'\t.section {SECTION}, "ax"']
    unwind = Directives(spec)
    opened: list[tuple[str, Guard]] = []
    guard: Guard = frozenset()
    for line in code.lines:
        wanted: Guard = getattr(line, "guard", frozenset())
        if opened and (isinstance(line, AlignLine) or (isinstance(line, LabelLine) and line.kind in ("entry", "exit"))):
            guard = _switch(out, guard, opened[-1][1])          # it ends under the condition that it started under
            out += _end(opened)
        guard = _switch(out, guard, wanted)
        if isinstance(line, AlignLine):
            out += ["", f"\t.balign\t{number(line.bytes)}, {number(spec.arch.padding)}"]
        elif isinstance(line, OrgLine):
            out.append(f"\t.org\t{line.start} + {number(line.offset)}, {number(spec.arch.padding)}")
        elif isinstance(line, LabelLine):
            out += _label(line, opened, unwind)
        else:
            if opened:
                out += [f"\t{d}" for d in unwind.before(line)]
            out.append(_insn(spec, line))
    if opened:
        guard = _switch(out, guard, opened[-1][1])
    out += _end(opened) + _close(guard)
    out += ["", "\t.section .note.GNU-stack, \"\", %progbits"]
    return "\n".join(out) + "\n"


def _switch(out: list[str], guard: Guard, wanted: Guard) -> Guard:
    """From lines under one condition to lines under another."""
    if wanted != guard:
        out += _close(guard) + _open(wanted)
    return wanted


def _open(guard: Guard) -> list[str]:
    return ["#if " + " && ".join(("" if wanted else "!") + f"defined(CONFIG_{name})" for name, wanted in sorted(guard))] if guard else []


def _close(guard: Guard) -> list[str]:
    return ["#endif"] if guard else []


def _end(opened: list[tuple[str, Guard]]) -> list[str]:
    return [f"ENTRY_END({opened.pop()[0]})"] if opened else []


def _label(line: LabelLine, opened: list[tuple[str, Guard]], unwind: Directives) -> list[str]:
    if line.kind in ("local", "alias"):
        return [f"{line.name}:"]
    if line.kind == "inner":
        return [f"ENTRY_INNER({line.name})"]
    comment = f"\t\t/* {line.comment} */" if line.comment else ""
    opened.append((line.name, line.guard))
    return [f"ENTRY_START({line.name}){comment}", *(f"\t{d}" for d in unwind.start(line.guard))]


def _insn(spec: Spec, line: Insn) -> str:
    text = spell(spec.arch, line)
    mnemonic, _, operands = text.partition(" ")
    body = f"\t{mnemonic}\t{operands}" if operands else f"\t{mnemonic}"
    if not line.comment:
        return body
    width = 8 + max(8, (len(mnemonic) // 8 + 1) * 8) + len(operands) if operands else 8 + len(mnemonic)
    return body + "\t" * max(1, (48 - width + 7) // 8) + f"/* {line.comment} */"


def flat_lines(spec: Spec, code: Code, configuration: Configuration, dialect: str = "") -> list[str]:
    """One configuration without preprocessor, sections and macros: labels, instructions, alignment; all numbers hexadecimal."""
    out: list[str] = []
    for line in code.flat(configuration):
        out += _flat(spec, line, dialect)
    return out


def _flat(spec: Spec, line: Line, dialect: str) -> list[str]:
    if isinstance(line, AlignLine):
        return [f".balign {number(line.bytes)}, {number(spec.arch.padding)}"]
    if isinstance(line, OrgLine):
        return [f".org {line.start} + {number(line.offset)}, {number(spec.arch.padding)}"]
    if isinstance(line, LabelLine):
        return [f"{line.name}:"]
    return [spell(spec.arch, line, dialect)]


def flat_text(spec: Spec, code: Code, configuration: Configuration) -> str:
    """The flat form as a file: for assemblers that know no private macros."""
    out = [notice(spec, "/* {} */"), f"/* Configuration: {configuration.name}. */", ""]
    for line in code.flat(configuration):
        if isinstance(line, LabelLine) and line.kind not in ("local", "alias"):
            out.append(f"\t.globl\t{line.name}")
        comment = f"\t/* {line.comment} */" if isinstance(line, Insn) and line.comment else ""
        out += [(text if text.endswith(":") else "\t" + text.replace(" ", "\t", 1)) + comment for text in _flat(spec, line, "")]
    return "\n".join(out) + "\n"
