"""Kernel text of a plan: macros, alternatives, unwind hints, as the dialect's table has them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from ..model.arch import Arch
from ..model.spec import Spec
from ..model.surroundings import Guard
from ..plan.code import Insn, LabelLine, Line
from ..source.finding import Collector
from .dialect import Dialect
from .kernel_code import KernelCode

COMMENT = 48                                    # the column of comments
WIDTH = 100                                     # of a line with its comment
SHORT = 3                                       # instructions that fit into one alternative


class KernelText:
    """Writes the lines of a plan, symbol by symbol."""

    def __init__(self, spec: Spec, dialect: Dialect, planned: KernelCode, collector: Collector, digest: str) -> None:
        self.digest = digest
        self.spec, self.dialect, self.planned, self.collector = spec, dialect, planned, collector
        self.arch = spec.arch
        self.sp = spec.arch.of_kind("stack")
        self.whole_frames = {f.size for f in spec.frames.values() if {*spec.arch.gprs} <= {s.home for s in f.slots.values()} and f.hardware}
        self.jumped = {v for line in planned.code.lines if isinstance(line, Insn) for v in line.operands if isinstance(v, str) and v.startswith(".L")}
        self.labels = 0
        self.complete = False                   # the unwinder was told of a frame of all registers

    def symbols(self) -> dict[str, list[str]]:
        """The text of each entry point, with what follows it up to the next one."""
        out: dict[str, list[str]] = {}
        current: list[Line] = []
        name = ""
        for line in (*self.planned.code.lines, None):
            if line is None or (isinstance(line, LabelLine) and line.kind == "entry"):
                if name:
                    out[name] = self.symbol(name, current)
                name, current = (line.name, []) if line is not None else ("", [])
            elif isinstance(line, (Insn, LabelLine)):
                current.append(line)
        return out

    def symbol(self, name: str, lines: Sequence[Line]) -> list[str]:
        texts = self.dialect.lines
        path = self.spec.paths[name]
        event = path.event.name.rstrip("0123456789") if path.event is not None else ""
        out = [texts["entry"].format(name=name), "\t" + texts["comment"].format(text=texts["origin"].format(digest=self.digest))]
        self.complete, self.labels = False, 0
        if event in self.dialect.hints:
            out.append("\t" + self.dialect.hints[event])
        if self.spec.landing is not None:
            out += ["\t" + self.dialect.landing[self.spec.landing[0]], ""]
        for guard, run in groupby(self.shown(lines), key=_guard):
            out += self.run(name, guard, list(run))
        return [*out, texts["end"].format(name=name)]

    def shown(self, lines: Sequence[Line]) -> Iterator[Line]:
        """Lines that are written: labels that nothing jumps to are not."""
        for line in lines:
            if isinstance(line, LabelLine) and (line.kind == "exit" or (line.kind in ("alias", "local") and line.name not in self.jumped)):
                continue
            yield line

    def run(self, name: str, guard: Guard, lines: list[Line]) -> list[str]:
        """Lines under one condition."""
        insns = [line for line in lines if isinstance(line, Insn)]
        if not guard or all(self.asks(line) for line in insns):
            return [text for line in lines for text in self.line(line, False)]
        if len(guard) > 1 or next(iter(guard))[0] not in self.dialect.features:
            what = ", ".join(("" if wanted else "not ") + feature for feature, wanted in sorted(guard))
            self.collector.error("E370", f"there is no kernel text for code that is there if {what}", insns[0].span,
                                 "a feature with a name in the target's table, one at a time")
            return []
        (feature, wanted), = guard
        row = self.dialect.features[feature]
        if len(lines) <= SHORT and not any(self.asks(line) for line in insns) and len(insns) == len(lines):
            text = "; ".join(self.insn(line) for line in insns)
            off, on = ("", text) if wanted else (text, "")
            return ["\t" + self.dialect.lines["alternative"].format(off=off, on=on, feature=row.name)]
        self.labels += 1
        label = f".L{name}_{'no_' if wanted else ''}{feature.lower()}" + (f"_{self.labels}" if self.labels > 1 else "")
        jump = self.dialect.lines["jump"].format(label=label)
        off, on = (jump, "") if wanted else ("", jump)
        out = ["\t" + self.dialect.lines["alternative"].format(off=off, on=on, feature=row.name)]
        out += [text for line in lines for text in self.line(line, True)]
        out.append(f"{label}:")
        if any(self.sets_sp(line) for line in insns):
            out.append("\t" + self.dialect.hints["none"])
        return [f"#ifdef {row.option}", *out, "#endif"] if row.option else out

    def asks(self, line: Insn) -> bool:
        """A macro that asks for the feature itself."""
        return line.form.role == "whole"

    def sets_sp(self, line: Insn) -> bool:
        """Does it load the stack pointer from elsewhere?"""
        return line.form.role == "restore" and "d" in line.form.params and line.operand("d") == self.sp

    def line(self, line: Line, inside: bool) -> list[str]:
        if isinstance(line, LabelLine):
            if line.kind == "inner":
                used = self.dialect.lines["global"].format(name=line.name)
                return ["", used, "\t" + self.dialect.lines["after_label"]]
            return [f"{line.name}:"]
        assert isinstance(line, Insn)
        out = []
        if not self.complete and line.unwound is not None and self.is_complete(line):
            self.complete = True
            out.append("\t" + self.dialect.hints["complete"])
        if line.form.role == "whole":
            row = self.dialect.ops[line.form.name.removeprefix("whole ")]
            text = row.get("inside", row["text"]) if inside else row["text"]
            values = {name: self.arch.registers[str(v)].text for name, v in zip(line.form.params, line.operands, strict=True)}
            return [*out, *(part if part.endswith(":") else "\t" + _tabbed(part) for part in text.format(**values).split("\n"))]
        out.append(self.commented("\t" + _tabbed(self.insn(line)), line.comment))
        if inside and self.sets_sp(line):
            out.append("\t" + self.dialect.hints["none"])
        return out

    def is_complete(self, line: Insn) -> bool:
        """The stack pointer is at the start of a frame that has all general registers and what the CPU saves."""
        assert line.unwound is not None
        return line.unwound.below in self.whole_frames

    def insn(self, line: Insn) -> str:
        """One instruction without its comment."""
        row = self.dialect.forms.get(line.form.name)
        text = row["text"] if row is not None else line.form.text
        values: dict[str, str] = {}
        for name, value in zip(line.form.params, line.operands, strict=True):
            if row is not None and row.get("cell") == name:
                word = self.planned.words[int(value)]
                values[name] = self.dialect.cells.get(word, word)
            elif isinstance(value, int):
                values[name] = self.dialect.constants.get(line.constant, "") or _number(value, self.arch.word_bytes)
            elif value in self.arch.registers:
                values[name] = value
            else:
                values[name] = value if value.removeprefix(".L") not in self.spec.paths or self.placed(value) else value.removeprefix(".L")
        return _filled(self.arch, text, values)

    def placed(self, label: str) -> bool:
        """A local label of the plan."""
        return any(isinstance(line, LabelLine) and line.name == label for line in self.planned.code.lines)

    def commented(self, text: str, comment: str) -> str:
        if not comment:
            return text
        width = len(text.expandtabs(8))
        remark = self.dialect.lines["comment"].format(text=self.said(comment))
        if max(width + 1, COMMENT) + len(remark) > WIDTH:
            return f"\t{remark}\n{text}"
        return text + "\t" * max(1, (COMMENT - width + 7) // 8) + remark

    def said(self, comment: str) -> str:
        """Slots as C calls them."""
        frame, dot, slot = comment.partition(".")
        known = self.spec.frames.get(frame)
        return f"{known.c_name.split()[-1]}->{slot}" if dot and known is not None and slot in known.slots and known.c_name else comment


def _filled(arch: Arch, text: str, values: dict[str, str]) -> str:
    out = text
    for name, value in values.items():
        if value in arch.registers:
            register = arch.registers[value]
            out = out.replace("{" + name + "}", register.text)
            for width, view in register.views.items():
                out = out.replace("{" + f"{name}.{width}" + "}", view)
        else:
            out = out.replace("{" + name + "}", value)
    return out


def _number(value: int, word: int) -> str:
    """Offsets of words as kernels write them: 5*8; zero as nothing to add."""
    if value and value % word == 0 and abs(value) > word:
        return f"{value // word}*{word}"
    return str(value)


def _tabbed(text: str) -> str:
    mnemonic, _, operands = text.partition(" ")
    return f"{mnemonic}\t{operands}" if operands and mnemonic.islower() else text


def _guard(line: Line) -> Guard:
    return line.guard

