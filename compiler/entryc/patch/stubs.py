"""Text that many entry points share: assembler macros and tables of stubs, made from the code of each of them, which has to be the same."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from ..model.spec import Path, Spec
from ..plan.calls import through
from .assembly import logic
from .dialect import Dialect
from .series import Arm, Array, Macro
from .tree import refused

PREFIX = "asm_"                                 # of an entry point's symbol: the rest is its C function


class Stubs:
    """`symbols`: the text of each entry point, from what the unwinder is told at its start on."""

    def __init__(self, spec: Spec, dialect: Dialect, symbols: Mapping[str, list[str]], origin: str) -> None:
        self.spec, self.dialect, self.symbols, self.origin = spec, dialect, symbols, origin

    def macro(self, edit: Macro) -> list[str]:
        """The lines between those that begin and end a macro."""
        arms: list[tuple[str, list[str]]] = []
        taken: set[str] = set()
        for arm in edit.arms:
            names = [n for n in self.symbols if n not in taken and self.is_of(self.spec.paths[n], arm)]
            if not names:
                raise refused("E384", f"no entry point of the spec fits an arm of macro {edit.macro}: {' '.join(arm.paths)}")
            taken.update(names)
            arms.append((arm.when, self.common(edit.macro, [self.piece(name, edit, arm) for name in names], names)))
        body = arms[0][1] if len(arms) == 1 else self.chosen(arms)
        if edit.symbol:
            entry, end = self.dialect.lines["entry"].format(name=edit.symbol), self.dialect.lines["end_stub"].format(name=edit.symbol)
            return [*(f"\t{line}" for line in edit.lead), entry, self.origin, *body, "", *end.split("\n")]
        return [self.origin, *body]

    def is_of(self, path: Path, arm: Arm) -> bool:
        if not any(fnmatchcase(path.name, pattern) for pattern in arm.paths) or path.called:
            return False
        pushed = path.event is not None and path.event.pushes_error(path.number)
        return not arm.error_code or pushed is (arm.error_code == "pushed")

    def piece(self, name: str, edit: Macro, arm: Arm) -> list[str]:
        """One entry point's share, with the macro's parameters in place of its names."""
        lines = self.symbols[name]
        if edit.through and not (edit.symbol and arm.whole):
            text = self.dialect.ops.get(through(edit.through), {}).get("text", "")
            first = "\t" + text.split("\n")[0]
            if not text or first not in lines:
                raise refused("E384", f"macro {edit.macro} goes through {edit.through}, but the text of {name} does not")
            at = lines.index(first)
            lines = [*lines[:at], "", "\t" + edit.goes_on] if edit.symbol else lines[at:]
        function = name.removeprefix(PREFIX)
        out: list[str] = []
        for line in lines:
            text = line.replace(f".L{name}", f".L{edit.symbol}\\()")
            text = re.sub(rf"\b{re.escape(name)}\b", lambda _: edit.symbol, text)
            text = re.sub(rf"\b{re.escape(function)}\b", lambda _: "\\cfunc", text)
            out.append(text)
            if text == "\t" + self.dialect.lines["call"].format(function="\\cfunc"):         # it may be one that does not return
                out.append("\t" + self.dialect.lines["after_call"])
        return out

    def common(self, what: str, pieces: Sequence[list[str]], names: Sequence[str]) -> list[str]:
        """What all of them are."""
        for piece, name in zip(pieces, names, strict=True):
            if logic("\n".join(piece)) != logic("\n".join(pieces[0])):
                a, b = next((pair for pair in zip([*pieces[0], ""], [*piece, ""], strict=False) if logic(pair[0]) != logic(pair[1])), ("", ""))
                raise refused("E389", f"{what} cannot be one text: {names[0]} has '{a.strip()}' where {name} has '{b.strip()}'",
                              "give one of them an arm of its own in the series")
        return pieces[0]

    def chosen(self, arms: Sequence[tuple[str, list[str]]]) -> list[str]:
        """Arms by conditions that the assembler knows; the last one is for all others. What all of them begin and end with stands once."""
        texts = [lines for _, lines in arms]
        first = 0
        while all(len(t) > first and t[first] == texts[0][first] for t in texts):
            first += 1
        last = 0
        while all(len(t) > first + last and t[-1 - last] == texts[0][-1 - last] for t in texts):
            last += 1
        head, tail = texts[0][:first], texts[0][len(texts[0]) - last:]
        out: list[str] = list(head)
        arms = [(when, lines[first:len(lines) - last]) for when, lines in arms]
        if not arms[-1][1]:
            arms = arms[:-1]
        for index, (when, lines) in enumerate(arms):
            word = ".if" if index == 0 else ".elseif" if when else ".else"
            out += [f"\t{word} {when}".rstrip(), *lines]
        return [*out, "\t.endif", *tail]

    def array(self, edit: Array) -> list[str]:
        """A table of stubs at one symbol, each with its number."""
        names = [n for n in self.symbols if (placed := self.spec.paths[n].placed) is not None and placed[0] == edit.symbol]
        if not names:
            raise refused("E384", f"no vector of the spec has its place at {edit.symbol}")
        lines = self.dialect.lines
        hint, *rest = self.common(edit.symbol, [self.symbols[name] for name in names], names)
        start = lines["array_start"].format(first=edit.first, count=edit.count)
        return [lines["entry"].format(name=edit.symbol), self.origin, *start.split("\n"), hint, lines["array_label"], *rest, *lines["array_end"].split("\n"),
                lines["end"].format(name=edit.symbol)]
