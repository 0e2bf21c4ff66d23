"""Kernel text of a plan: macros, alternatives, unwind hints, as the dialect's table has them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from ..model.arch import Arch
from ..model.spec import Path, Spec
from ..model.surroundings import Guard
from ..plan.calls import RETURN
from ..plan.code import Insn, LabelLine, Line
from ..source.finding import Collector
from .dialect import Dialect
from .kernel_code import KernelCode

COMMENT = 48                                    # the column of comments
WIDTH = 100                                     # of a line with its comment
SHORT = 3                                       # instructions that fit into one alternative
ENDS = ("stop", "jump", "return")               # roles of what no code comes after


class KernelText:
    """Writes the lines of a plan, symbol by symbol."""

    def __init__(self, spec: Spec, dialect: Dialect, planned: KernelCode, collector: Collector, digest: str) -> None:
        self.digest = digest
        self.spec, self.dialect, self.planned, self.collector = spec, dialect, planned, collector
        self.arch = spec.arch
        self.sp = spec.arch.of_kind("stack")
        self.whole_frames = {f.size for f in spec.frames.values() if {*spec.arch.gprs} <= {s.home for s in f.slots.values()} and f.hardware}
        self.local: set[str] = set()              # labels of the symbol at hand
        self.jumped: set[str] = set()           # those that its code jumps to
        self.labels = 0
        self.told = ""                          # what the unwinder was told last: complete, hardware
        self.called = False                     # the symbol at hand is a called path
        self.in_string = False                  # names of the preprocessor cannot be used
        self.number: int | None = None          # that of the stub at hand, in a table of them
        self.waiting: list[str] = []            # arms that stand where no code falls into them

    def symbols(self) -> dict[str, list[str]]:
        """The text of each entry point, with what follows it up to the next one."""
        out: dict[str, list[str]] = {}
        current: list[Line] = []
        name = ""
        for line in (*self.planned.code.lines, None):
            if line is None or (isinstance(line, LabelLine) and (line.kind == "entry" or (line.kind == "exit" and (not name or self.apart(line, current))))):
                if name:
                    out[name] = self.symbol(name, current)
                name, current = (line.name, []) if line is not None else ("", [])
            elif isinstance(line, (Insn, LabelLine)):
                current.append(line)
        return out

    def apart(self, label: LabelLine, before: Sequence[Line]) -> bool:
        """Is this a path of its own: no code falls into it?"""
        last = next((line for line in reversed(before) if isinstance(line, Insn)), None)
        return self.spec.paths[label.name].kind == "path" and last is not None and (last.form.role in ENDS or last.form.name == f"whole {RETURN}")

    def symbol(self, name: str, lines: Sequence[Line]) -> list[str]:
        texts = self.dialect.lines
        path = self.spec.paths[name]
        self.told, self.labels, self.waiting, self.called = "", 0, [], path.called
        self.number = path.number if path.placed is not None else None
        self.local = {line.name for line in lines if isinstance(line, LabelLine)}
        self.jumped = {v for line in lines if isinstance(line, Insn) for v in line.operands if isinstance(v, str) and v.startswith(".L")}
        if path.called:
            self.told = "called"
            start = [texts["entry"].format(name=name), self.origin(), "\t" + texts["after_label"], "\t" + self.dialect.hints["called"], ""]
            return [*start, *self.spaced(self.runs(name, list(self.shown(lines)))), texts["end"].format(name=name)]
        if path.number is not None or (path.kind == "path" and path.frame is None):
            return [*self.stub_start(path), *self.stub(name, list(self.shown(lines)))]
        if path.kind == "path":
            start = [texts["entry_local"].format(name=name), self.origin(), "\t" + self.dialect.hints["complete"]]
            self.told = "complete"
            return [*start, *self.runs(name, list(self.shown(lines))), texts["end"].format(name=name)]
        if path.event is None:                  # part of a symbol that stays: exits, each with a label that others know
            code = [line for line in lines if not isinstance(line, LabelLine) or line.kind != "alias"]
            return [*self.exit_label(name, self.origin()), *self.runs(name, code)]
        event = path.event.name.rstrip("0123456789") if path.event is not None else ""
        out = [texts["entry"].format(name=name), self.origin()]
        if event in self.dialect.hints:
            out.append("\t" + self.dialect.hints[event])
        if self.spec.landing is not None:
            out += ["\t" + self.dialect.landing[self.spec.landing[0]], ""]
        return [*out, *self.runs(name, list(self.shown(lines))), texts["end"].format(name=name)]

    def stub(self, name: str, lines: list[Line]) -> list[str]:
        """The code of a vector up to where it goes on. Words that are pushed again and again make room: what the CPU saved lies below them then."""
        out: list[str] = []
        for _, rows in groupby(lines, key=lambda line: line if isinstance(line, Insn) else id(line)):
            run = list(rows)
            first = run[0]
            if len(run) == 1 or not isinstance(first, Insn) or first.unwound is None:
                out += self.runs(name, run)
                continue
            above = _number(first.unwound.below - self.hardware_bytes(), self.arch.word_bytes)
            out += _lines(self.dialect.lines["again"].format(count=len(run), insn=self.insn(first)))
            out.append("\t" + self.dialect.hints["hardware_above"].format(offset=above))
        return out

    def stub_start(self, path: Path) -> list[str]:
        """What stands in front of the code of a vector, or of what several vectors go on with: only the hardware frame is there, and a word more."""
        hints = self.dialect.hints
        if path.placed is not None:
            hint = hints["placed"]
        elif path.number is None or (path.event is not None and path.event.pushes_error(path.number)):
            hint = hints["vector_with_word"]
        else:
            hint = hints.get(f"vector_{path.number}", hints["vector"])
        landing = self.dialect.landing[self.spec.landing[0]] if self.spec.landing is not None and path.number is not None else self.dialect.lines["after_label"]
        return ["\t" + hint, "\t" + landing]

    def origin(self) -> str:
        """The one comment that says where the code is from."""
        return self.origin_line(self.dialect, self.digest)

    @staticmethod
    def origin_line(dialect: Dialect, digest: str) -> str:
        return "\t" + dialect.lines["comment"].format(text=dialect.lines["origin"].format(digest=digest))

    def spaced(self, lines: list[str]) -> list[str]:
        """A blank line where code ends and other code begins."""
        ends = {self.dialect.lines["jump"].split(" ")[0], self.dialect.ops.get(RETURN, {}).get("text", "").split("\n")[-1]}
        out: list[str] = []
        for line in lines:
            if out and line.endswith(":") and "".join(out[-1].split()[:1]) in ends - {""}:
                out.append("")
            out.append(line)
        return out

    def exit_label(self, name: str, *remarks: str) -> list[str]:
        """C or other code comes here with a frame at the stack pointer."""
        self.told = "complete"
        return [*self.label(name), *remarks, "\t" + self.dialect.hints["complete"]]

    def label(self, name: str) -> list[str]:
        return [self.dialect.lines["global"].format(name=name), "\t" + self.dialect.lines["after_label"]]

    def runs(self, name: str, lines: list[Line]) -> list[str]:
        """Runs of lines under one condition; one under the opposite of the next is the ordinary way, and the other arm stands beside."""
        runs = [(guard, [line for _, line in rows]) for guard, rows in groupby(self.guarded(lines), key=lambda row: row[0])]
        out: list[str] = []
        index = 0
        while index < len(runs):
            guard, run = runs[index]
            other = runs[index + 1] if index + 1 < len(runs) else None
            if other is not None and len(guard) == 1 and other[0] == frozenset((f, not on) for f, on in guard):
                end = run if self.is_short(run) else run[-len(other[1]):]
                if self.is_short(end) and self.is_short(other[1]):              # what comes before the end is jumped over
                    if run[:-len(end)]:
                        out += self.run(name, guard, run[:-len(end)])
                    (feature, wanted), = guard
                    on, off = (self.quoted(rows) for rows in ((end, other[1]) if wanted else (other[1], end)))
                    out += self.alternative(off, on, self.dialect.features[feature].name)
                    index += 2
                    continue
                out += self.arms(name, *(run, other[1]) if next(iter(guard))[1] else (other[1], run), feature=next(iter(guard))[0])
                index += 2
                continue
            out += self.run(name, guard, run)
            index += 1
        return out

    def arms(self, name: str, on: list[Line], off: list[Line], feature: str) -> list[str]:
        """The arm without the feature in line, the one with it where nothing falls into it."""
        row = self.dialect.features[feature]
        arm = f".L{name}_{feature.lower()}"
        told = self.told
        jump = self.alternative("", self.dialect.lines["jump"].format(label=arm), row.name)
        inline = [*_under(row.option, jump), *(text for line in off for text in self.line(line, False)), f"{arm}_done:"]
        self.told = told
        beside = [f"{arm}:", *(text for line in on for text in self.line(line, True)), "\t" + _tabbed(self.dialect.lines["jump"].format(label=f"{arm}_done"))]
        self.waiting += ["", *_under(row.option, beside), ""]
        self.told = told
        return inline

    def alternative(self, off: str, on: str, feature: str) -> list[str]:
        """Code for a feature, and without it: on more than one line where one would be too long."""
        line = "\t" + self.dialect.lines["alternative"].format(off=off, on=on, feature=feature)
        long = self.dialect.lines["long_alternative"].format(off=off, on=on, feature=feature)
        return [line] if len(line.expandtabs(8)) <= WIDTH else ["\t" + part for part in long.split("\n")]

    def guarded(self, lines: list[Line]) -> list[tuple[Guard, Line]]:
        """The condition that text is needed for: a macro that asks for a feature itself stands under that of its neighbours."""
        out: list[tuple[Guard, Line]] = []
        for index, line in enumerate(lines):
            guard = line.guard
            if isinstance(line, Insn) and line.form.role == "whole":
                least = guard - self.own(line.form.name.removeprefix("whole "))
                beside = [out[-1][0]] if out else []
                beside += [other.guard for other in lines[index + 1:] if not (isinstance(other, Insn) and other.form.role == "whole")][:1]
                guard = next((g for g in beside if least <= g <= guard), least)
            out.append((guard, line))
        return out

    def own(self, name: str) -> Guard:
        """What an op or a change of state is there for."""
        op = self.spec.inlines.get(name) or self.spec.ops.get(name)
        states = [s for s in self.spec.states.values() if name.startswith(f"{s.name} = ") or any(t.inline == name for t in s.transitions)]
        return frozenset().union(op.guard if op is not None else (), *(s.guard for s in states))

    def shown(self, lines: Sequence[Line]) -> Iterator[Line]:
        """Lines that are written: labels that nothing jumps to are not."""
        for line in lines:
            if isinstance(line, LabelLine) and (line.kind == "exit" or (line.kind in ("alias", "local") and line.name not in self.jumped)):
                continue
            yield line

    def run(self, name: str, guard: Guard, lines: list[Line]) -> list[str]:
        """Lines under one condition."""
        insns = [line for line in lines if isinstance(line, Insn)]
        if not guard or (insns and all(self.asks(line) for line in insns)):
            return [text for line in lines for text in self.line(line, False)]
        if guard <= {(f, True) for f, known in self.dialect.features.items() if not known.name}:
            (option, _), = guard
            return _under(self.dialect.features[option].option, [text for line in lines for text in self.line(line, False)])
        if len(guard) > 1 or next(iter(guard))[0] not in self.dialect.features:
            what = ", ".join(("" if wanted else "not ") + feature for feature, wanted in sorted(guard))
            self.collector.error("E370", f"there is no kernel text for code that is there if {what}", insns[0].span,
                                 "a feature with a name in the target's table, one at a time")
            return []
        (feature, wanted), = guard
        row = self.dialect.features[feature]
        if self.is_short(lines):
            text = self.quoted(lines)
            off, on = ("", text) if wanted else (text, "")
            return self.alternative(off, on, row.name)
        self.labels += 1
        label = f".L{name}_{'no_' if wanted else ''}{feature.lower()}" + (f"_{self.labels}" if self.labels > 1 else "")
        jump = self.dialect.lines["jump"].format(label=label)
        texts = [self.line(line, True) for line in lines]
        stays = "{first}" in self.dialect.lines["stay"] and self.is_short(lines[:1]) and len(texts[0]) == 1        # more: hints belong to it
        stay = self.dialect.lines["stay"].format(first=self.quoted(lines[:1])) if stays else ""
        off, on = (jump, stay) if wanted else (stay, jump)
        out = self.alternative(off, on, row.name)
        out += [text for part in texts[1 if stays else 0:] for text in part]
        out = _under(row.option, [*out, f"{label}:"])
        return [*out, "\t" + self.dialect.hints["none"]] if any(self.sets_sp(line) for line in insns) else out      # whether the arm is built or not

    def is_short(self, lines: list[Line]) -> bool:
        """Do these fit into one alternative?"""
        return len(lines) <= SHORT and all(isinstance(line, Insn) and not self.asks(line) for line in lines)

    def quoted(self, lines: list[Line]) -> str:
        """Instructions inside a string, where names of the preprocessor mean nothing."""
        self.in_string = True
        out = "; ".join(self.insn(line) for line in lines if isinstance(line, Insn))
        self.in_string = False
        return out

    def asks(self, line: Insn) -> bool:
        """A macro that asks for the feature itself."""
        return line.form.role == "whole"

    def sets_sp(self, line: Insn) -> bool:
        """Does it load the stack pointer from elsewhere?"""
        return line.form.role == "restore" and "d" in line.form.params and line.operand("d") == self.sp

    def line(self, line: Line, inside: bool) -> list[str]:
        if isinstance(line, LabelLine):
            if line.kind == "exit":
                return ["", *self.exit_label(line.name)]
            if line.kind == "inner":
                self.told = "complete" if self.told == "hardware" else self.told            # others come here with other things told
                return ["", *self.label(line.name)]
            return [f"{line.name}:"]
        assert isinstance(line, Insn)
        out = self.around_return(line) if self.called else []
        if not self.told and line.unwound is not None and self.is_complete(line):
            self.told = "complete"
            out.append("\t" + self.dialect.hints["complete"])
        elif self.told != "hardware" and line.form.role != "adjust" and line.unwound is not None and self.is_hardware(line):
            self.told = "hardware"
            out.append("\t" + self.dialect.hints["hardware"])
        if line.form.role == "whole":
            row = self.dialect.ops[line.form.name.removeprefix("whole ")]
            text = row.get("inside", row["text"]) if inside else row.get("called", row["text"]) if self.called else row["text"]
            values = {name: str(v) if isinstance(v, int) else self.arch.registers[v].text for name, v in zip(line.form.params, line.operands, strict=True)}
            return [*out, *_lines(text.format(**values))]
        if line.form.role == "jump" and line.operands[0] in self.dialect.jumps:
            return [*out, *_lines(self.dialect.jumps[str(line.operands[0])])]
        out.append(self.commented("\t" + self.numbered(line), line.comment if line.form.role != "decide" or line.form.effects == () else ""))
        if line.form.role in ENDS and self.waiting and not inside:
            out += self.waiting
            self.waiting = []
        if inside and self.sets_sp(line):
            out.append("\t" + self.dialect.hints["none"])
        return out

    def around_return(self, line: Insn) -> list[str]:
        """What is told in a called path, whose frame grows around the return address."""
        if line.unwound is None:
            return []
        if self.told == "called" and not line.unwound.link:
            self.told = "open"
            return ["\t" + self.dialect.hints["hardware_above"].format(offset=_number(line.unwound.below - self.hardware_bytes(), self.arch.word_bytes)), ""]
        if self.told == "open" and self.is_complete(line):
            self.told = "whole"
            return ["\t" + self.dialect.hints["complete"]]
        if self.told == "whole" and line.unwound.link:
            self.told = "complete"
            return ["\t" + self.dialect.lines["framed"].format(offset=self.arch.word_bytes), ""]
        return []

    def hardware_bytes(self) -> int:
        """What the CPU pushes, or a return pops."""
        return max(len(f.hardware) for f in self.spec.frames.values()) * self.arch.word_bytes

    def is_complete(self, line: Insn) -> bool:
        """The stack pointer is at the start of a frame that has all general registers and what the CPU saves."""
        assert line.unwound is not None
        return line.unwound.below in self.whole_frames

    def is_hardware(self, line: Insn) -> bool:
        """The stack pointer is at what a return by frame pops."""
        assert line.unwound is not None
        frames = [f for f in self.spec.frames.values() if f.size in self.whole_frames]
        return self.told != "" and any(line.unwound.below == len(f.hardware) * self.arch.word_bytes for f in frames)

    def insn(self, line: Insn) -> str:
        """One instruction without its comment."""
        row = self.dialect.forms.get(line.form.name)
        text = row["text"] if row is not None else line.form.text
        values: dict[str, str] = {}
        for name, value in zip(line.form.params, line.operands, strict=True):
            if row is not None and row.get("cell") == name:
                word = self.planned.words[int(value)]
                values[name] = self.dialect.cells.get(word, word)
            elif isinstance(value, int) and (slot := self.slot(line, name, value)) != "":
                values[name] = slot
            elif isinstance(value, int):
                values[name] = (self.dialect.constants.get(line.constant, "") if not self.in_string else "") or _number(value, self.arch.word_bytes)
            elif value in self.arch.registers:
                values[name] = value
            else:
                values[name] = self.place(value)
        return _filled(self.arch, text, values)

    def slot(self, line: Insn, name: str, value: int) -> str:
        """An offset from the stack pointer to a slot of the frame there, as the kernel writes it: by the slot's name, less that of what lies lowest."""
        base = line.operand("b") if "b" in line.form.params else None
        frame = next((f for f in self.spec.frames.values() if f.size in self.whole_frames), None)
        if self.in_string or name != "o" or base != self.sp or line.unwound is None or frame is None or line.unwound.frame not in ("", frame.name) or \
                line.form.params.keys() <= {"b", "o"}:
            return ""
        names = {s.offset: self.dialect.slots[s.name] for s in frame.slots.values() if s.name in self.dialect.slots}
        lowest = frame.size - line.unwound.below
        wanted = names.get(lowest + value, "")
        if not wanted or (lowest > 0 and lowest not in names) or (lowest + value == 0 and line.form.role == "move"):        # that is the frame itself
            return ""
        if lowest == 0:
            return wanted
        return f"{wanted}-{names[lowest]}" if lowest > 0 else f"{wanted}+{-lowest}"

    def numbered(self, line: Insn) -> str:
        """An instruction; in a table of stubs, the one that saves the number is the same for all."""
        if self.number is not None and line.form.role == "save" and any(isinstance(v, int) and v & 0xff == self.number for v in line.operands):
            return self.dialect.lines["number"]
        return _tabbed(self.insn(line))

    def place(self, label: str) -> str:
        """What the kernel calls a place: other symbols by their name, some of its own labels otherwise than the spec."""
        other = label.removeprefix(".L")
        return other if other in self.spec.paths and label not in self.local else self.dialect.symbols.get(label, label)

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


def _under(option: str, lines: list[str]) -> list[str]:
    """Lines that are there with an option of the build."""
    return [f"#ifdef {option}", *lines, "#endif"] if option else lines


def _lines(text: str) -> list[str]:
    """The lines of a text: labels and the preprocessor's stand at the left."""
    return [part if part.endswith(":") or part.startswith("#") else "\t" + _tabbed(part) for part in text.split("\n")]


def _number(value: int, word: int) -> str:
    """Offsets of words as kernels write them: 5*8; zero as nothing to add."""
    if value and value % word == 0 and abs(value) > word:
        return f"{value // word}*{word}"
    return str(value)


def _tabbed(text: str) -> str:
    mnemonic, _, operands = text.partition(" ")
    return f"{mnemonic}\t{operands}" if operands and mnemonic.islower() else text


