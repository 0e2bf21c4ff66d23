"""Machine code before it is text: instruction forms with their operands, labels, places.

A Code is a flat list of lines in address order; the plan's steps are still attached, so that
byte, form, step and spec line stay one chain.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..model.arch import Arch, Form
from ..model.spec import Configuration
from ..model.surroundings import Guard
from ..source.text import Span

Value = str | int                               # register family, label or function name; immediate


@dataclass(frozen=True)
class Unwound:
    """Where the interrupted registers are at one point: the frame's end lies `below` bytes above sp, and (register, offset from it) for those in memory.

    A register that is not named still holds its value; one without an offset is not known.
    """

    below: int
    rules: tuple[tuple[str, int | None], ...]
    link: bool = False                          # the word at sp is the return address of a called path; `below` counts it
    frame: str = field(default="", compare=False)           # whose end that is; "": of what the CPU pushed


@dataclass(frozen=True)
class Insn:
    """One instruction. Operands are given in the order of the form's parameters."""

    form: Form
    operands: tuple[Value, ...]
    guard: Guard = frozenset()
    comment: str = ""                           # what the reader wants to know: the slot's name
    span: Span | None = None                    # the spec line that asked for it
    step: str = ""                              # id of the plan step
    unwound: Unwound | None = None              # before it; None: sp is not near a frame
    constant: str = ""                          # the name that the spec gives to its immediate operand

    def operand(self, name: str) -> Value:
        return self.operands[list(self.form.params).index(name)]


@dataclass(frozen=True)
class LabelLine:
    """A label; `entry` ones are symbols that hardware or C enters, `local` ones never leave the file."""

    name: str
    kind: str                                   # entry, exit, inner, local, alias (a local name of the symbol before it)
    guard: Guard = frozenset()
    comment: str = ""


@dataclass(frozen=True)
class AlignLine:
    """Padding up to a multiple of `bytes`."""

    bytes: int
    guard: Guard = frozenset()


@dataclass(frozen=True)
class OrgLine:
    """Padding up to `offset` bytes after label `start`."""

    start: str
    offset: int
    guard: Guard = frozenset()


Line = Insn | LabelLine | AlignLine | OrgLine


@dataclass(frozen=True)
class Moment:
    """What is so after a step of a path: for pictures and tables. `arm`: who was interrupted, where the path tells it."""

    path: str
    arm: str
    text: str                                   # the step as the spec has it
    stack: str
    states: tuple[tuple[str, str], ...]
    before: tuple[str, tuple[tuple[str, str], ...]]     # stack and states before it
    code: int                                   # instructions that it became, but for those that nothing reaches
    kind: str                                   # step, call, exit, return
    span: Span                                  # of the step


@dataclass(frozen=True)
class DecisionSite:
    """A decision in assembly: its kind, where, and what does not exist yet there."""

    kind: str
    path: str
    span: Span
    missing: tuple[str, ...]


@dataclass
class Code:
    """All entry code of a spec, every guard still present; every decision in it, over all configurations; what is so along each path, in one."""

    arch: Arch
    lines: list[Line] = field(default_factory=list)
    decisions: list[DecisionSite] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)

    def flat(self, configuration: Configuration) -> list[Line]:
        """The lines of one configuration."""
        return [line for line in self.lines if configuration.holds(line.guard)]

    @property
    def externs(self) -> list[str]:
        """Functions that the code calls but does not define, sorted."""
        defined = {line.name for line in self.lines if isinstance(line, LabelLine)}
        used: set[str] = set()
        for line in self.lines:
            if isinstance(line, Insn):
                for kinds, value in zip(line.form.params.values(), line.operands, strict=True):
                    if isinstance(value, str) and any(k.name in ("function", "label") for k in kinds):
                        used.add(value)
        return sorted(used - defined)


def number(value: int) -> str:
    """Every number is printed in hexadecimal: one assembler reads decimals in the wrong radix."""
    return f"-{-value:#x}" if value < 0 else f"{value:#x}"


def spell(arch: Arch, insn: Insn, dialect: str = "") -> str:
    """The text of an instruction in a dialect ("" is the native one, "keystone" and others as .arch rows say)."""
    text = insn.form.spellings.get(dialect, insn.form.text)
    out, i = [], 0
    values = dict(zip(insn.form.params, insn.operands, strict=True))
    while i < len(text):
        if text[i] == "{":
            end = text.index("}", i)
            name, _, width = text[i + 1:end].partition(".")
            value = values[name]
            if isinstance(value, int):
                out.append(number(value))
            elif value in arch.registers:
                register = arch.registers[value]
                out.append(register.views[int(width)] if width else register.text)
            else:
                out.append(value)
            i = end + 1
        else:
            out.append(text[i])
            i += 1
    return "".join(out)
