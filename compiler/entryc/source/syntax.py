"""What is wrong with a statement that cannot be parsed, in words, with the cures that may help."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .forms import SUBJECTS, example, homes
from .pieces import Statement, Word, words_of
from .version import LANGUAGE, odd

Change = tuple[int, int, str]                   # from, to, what stands there then

# Terminals of the grammars that stand for a few words, and those of which one starts a value.
CHOICES = {"BOUND": ("user", "kernel"), "ARRIVAL": ("arrive", "leave"), "SIDE": ("enter", "leave"), "PASS": ("repeat", "once"), "ONOFF": ("on", "off"),
           "SOURCE": ("number", "error_code"), "ORIGIN": ("user", "kernel", "any"), "FIXUP": ("fault", "fixup"), "ALL": ("all",), "NOT": ("not",),
           "PRESET": ("preset",), "PARANOID": ("paranoid",),
           "CALLED": ("called",), "ALONE": ("alone",), "CLEARS": ("clears first",), "BY_ADDRESS": ("by address",),
           "BY_REFUSAL": ("by refusal",)}
VALUE = frozenset(("INT", "TYPE", "TILDE", "MINUS"))
SIGNS = {"EQUAL": "=", "COLON": ":", "_COMMA": ",", "RPAR": ")", "RSQB": "]", "LPAR": "(", "_LB": "{", "__ARROW": "->"}
AROUND = 10_000                                 # characters behind a mistake that are looked at


@dataclass(frozen=True)
class Proposal:
    """One way to see a mistake. With a change it counts only when the text can be parsed further with it."""

    message: str
    help: str | None = None
    change: Change | None = None
    at: int | None = None                       # where it is, if not where the parser stopped
    sure: bool = False                          # no other reading is looked at
    code: str = "E002"


@dataclass(frozen=True)
class Wrong:
    """Where the parser stopped in a text."""

    text: str
    at: int
    sign: bool                                  # at a character that starts no word
    accepts: frozenset[str]                     # terminals that could stand there
    keywords: tuple[str, ...]                   # those of them that are words
    statement: Statement
    kind: str                                   # of the statement, such as "step"
    heads: Callable[[], tuple[str, ...]]        # words that such a statement may start with
    every: frozenset[str]                       # all words of the language
    language: str


def proposals(wrong: Wrong) -> Iterator[Proposal]:
    """Ways to see it, the likeliest first. The last has no change."""
    return _Mistake(wrong).all()


def near(word: str, known: tuple[str, ...] | list[str], cutoff: float = 0.7) -> str | None:
    """The known word that was meant."""
    if not word.replace("_", "").isalnum():
        return None
    if word.lower() in known and word not in known:
        return word.lower()
    found = difflib.get_close_matches(word, known, 1, cutoff)
    return found[0] if found and found[0] != word else None


class _Mistake:
    def __init__(self, wrong: Wrong) -> None:
        self.w = wrong
        self.text, self.at, self.accepts = wrong.text, wrong.at, wrong.accepts
        first, last = wrong.statement.start, min(wrong.statement.end, wrong.at + AROUND)
        self.words = [x for x in words_of(wrong.text[first:last], first) if x.text != "\n"]
        self.got = next((x for x in self.words if x.at == wrong.at), None)
        before = [x for x in self.words if x.end <= wrong.at]
        self.before: Word | None = before[-1] if before else None
        self.form = self._form()

    def _form(self) -> str | None:
        shown = example(self.w.language, self.w.kind, self.w.statement.head)
        return f"for example: {shown}" if shown else None

    def all(self) -> Iterator[Proposal]:
        if self.w.statement.head == "language" and self.w.kind == "item" and self.words[0].end <= self.at:
            yield from self._version()
        yield from self._habits()
        if self.w.sign:
            yield from self._signs()
            yield Proposal(f"the character {self.text[self.at:self.at + 1]!r} has no meaning here", self.form)
            return
        inside = next((x for x in self.words if x.at < self.at < x.end), None)
        if inside is not None and inside.text[0].isdigit():
            yield Proposal(f"'{inside.text}' is no number", "numbers are decimal, or hexadecimal with 0x", None, inside.at, True)
        near_by = [x for x in self.words if x.at <= self.at][-3:]
        for one, two in itertools.pairwise(near_by):
            if one.text == two.text and one.text[0].isalpha():
                yield Proposal(f"'{one.text}' stands twice", None, (one.end, two.end, ""), two.at)
        yield from self._first_word()
        if self.got is None:
            yield from self._end()
            yield Proposal(f"the {self.w.kind} ends too early: something is missing after {self._last()}", self.form)
            return
        yield from self._within()
        yield Proposal(f"'{self.got.text}' cannot stand {self._where()}", self.form)

    def _where(self) -> str:
        return f"after {self._last()}" if self.before is not None else "here"

    def _last(self) -> str:
        if self.before is None:
            return "its start"
        if self.before.text.startswith('"'):
            return "the text"
        dotted = re.compile(r"[A-Za-z0-9_.]*$").search(self.text, max(self.w.statement.start, self.before.end - 80), self.before.end)
        return f"'{dotted[0] if dotted is not None and dotted[0] else self.before.text}'"

    def _version(self) -> Iterator[Proposal]:
        """A version statement that is none: it is mended, so that the rest is read as the version that there is."""
        start, end = self.words[0].end, self.words[-1].end
        given = self.text[start:end].strip()
        place = end - len(given) if given else start
        for new in (f" {LANGUAGE}", f" {LANGUAGE};"):
            yield Proposal(odd(given), f"write: language {LANGUAGE}", (start, end, new), place, code="E208")

    # ---- what people write who know other languages ----

    def _habits(self) -> Iterator[Proposal]:
        line_end = self.text.find("\n", self.at)
        line_end = len(self.text) if line_end < 0 else line_end
        gap = re.compile(r"\}[\s;]*\n[\s;]*else\b").search(self.text, self.text.rfind("}", 0, max(self.at, 1)), self.at + 5)
        if gap is not None:
            yield Proposal("'else' stands in the line of the '}' before it", None,
                           (gap.start(), gap.end() - 4, "\n" * gap[0].count("\n") + "} "), gap.end() - 4)
        here = self.text[self.at:line_end]
        if here.startswith("//"):
            yield Proposal("a comment starts with '#'", None, (self.at, self.at + 2, "#"))
        if here.startswith("/*"):
            whole = here.rstrip().endswith("*/")
            yield Proposal("a comment starts with '#' and ends with the line", None,
                           (self.at, line_end, "#" + here.rstrip()[2:-2].rstrip()) if whole else None)
        for word, other in (("&&", "and"), ("||", "or")):
            place = self.text.rfind(word, self.w.statement.start, self.at + 2)
            if place >= 0 and "\n" not in self.text[place:self.at]:
                yield Proposal(f"'{word}' is written '{other}'", None, (place, place + 2, f" {other} " if self.text[place - 1:place] != " " else other), place)
        if here.startswith("!"):
            yield Proposal("'!' is written 'not'", None, (self.at, self.at + 1, "not "))

    def _signs(self) -> Iterator[Proposal]:
        """A character that starts no word."""
        line_end = self.text.find("\n", self.at)
        here = self.text[self.at:len(self.text) if line_end < 0 else line_end].rstrip()
        if here[0] == '"':
            message = "a text in quotes has no end on this line"
            for end in (len(here), *(m.start() for m in re.finditer(r"\s*[;}]", here))):
                yield Proposal(message, "put '\"' at its end", (self.at + end, self.at + end, '"'))
            yield Proposal(message, "leave it out, or put '\"' at the end of the text", (self.at, self.at + 1, ""))
            yield Proposal(message, "put '\"' at its end")
        if here[0] in "'“”‘’":
            close = next((i for i, c in enumerate(here[1:], 1) if c in "'“”‘’"), None)
            yield Proposal('a text stands in "…"', None, (self.at, self.at + close + 1, f'"{here[1:close]}"') if close else None)

    # ---- the first word ----

    def _first_word(self) -> Iterator[Proposal]:
        w, statement = self.w, self.w.statement
        if not self.words:
            return
        first = self.words[0]
        assigns = len(self.words) > 1 and self.words[1].text in ("=", ".", ":", "==")
        if w.at not in (first.at, *(x.at for x in self.words[1:2])) or assigns or statement.head in ("{", "}"):
            return
        heads = w.heads()
        if first.text in heads:
            return
        known = [kind for kind in homes(w.language, first.text) if kind != w.kind]
        meant = near(first.text, heads) if not known else None
        if meant is not None:
            yield Proposal(f"there is no {w.kind} '{first.text}'", f"did you mean '{meant}'?", (first.at, first.end, meant), first.at)
        if first.text[0].isalpha() and (w.at == first.at or not self._takes_names(heads)):
            if meant is not None:
                yield Proposal(f"there is no {w.kind} '{first.text}'", f"did you mean '{meant}'?", None, first.at)
            elif known:
                yield Proposal(f"'{first.text}' starts {_a(known[0])}, which cannot stand here", self._place(known[0]), None, first.at, True)
            elif heads:
                value = f"; to give it a value: {first.text} = {self.words[1].text}" if len(self.words) == 2 and w.at != first.at else ""
                yield Proposal(f"there is no {w.kind} '{first.text}'", f"{_a(w.kind)} starts with {_listed(heads)}{value}", None, first.at, True)

    def _takes_names(self, heads: tuple[str, ...]) -> bool:
        """After a name that starts a statement, was this one meant to be more than a misspelt word?"""
        return self.got is None or not (self.got.text[0].isalnum() or self.got.text[0] in "_\"(")

    def _place(self, kind: str) -> str:
        return {"item": "an item stands outside of all blocks", "step": "steps stand in the body of an entry point, a path, an exit or a routine",
                "handler step": "it stands in the body of a handler"}.get(kind, f"{_a(kind)} stands in a block of its own kind")

    # ---- the statement ends too early ----

    def _end(self) -> Iterator[Proposal]:
        a, last, at = self.accepts, self._last(), self.before.end if self.before is not None else self.at
        if "_LB" in a:
            after = re.compile(r"[\s;]*\{").match(self.text, at)
            if after is not None:
                yield Proposal("the '{' of a block stands in the line before the block", None, (at, after.end(), " {" + "\n" * after[0].count("\n")), at)
        if "RPAR" in a and self._unclosed("(", ")"):
            yield Proposal(f"')' is missing after {last}", None, (at, at, ")"))
        if "RSQB" in a and self._unclosed("[", "]"):
            yield Proposal(f"']' is missing after {last}", None, (at, at, "]"))
        if "LPAR" in a and "NAME" not in a:
            yield Proposal(f"the arguments are missing after {last}", self.form, (at, at, "()"))
            yield Proposal(f"the arguments are missing after {last}", self.form)
        if a >= VALUE:
            yield Proposal(f"a value is missing after {last}", self.form)
        elif "NAME" in a and "_SEP" not in a:
            yield Proposal(f"a name is missing after {last}", self.form)
        elif "EQUAL" in a and "_SEP" not in a:
            yield Proposal(f"'=' and a value are missing after {self._subject()}", self.form)
        elif "STRING" in a and "_SEP" not in a:
            yield Proposal(f"a text in quotes is missing after {last}", self.form)
        elif "INT" in a and "_SEP" not in a:
            yield Proposal(f"a number is missing after {last}", self.form)
        elif "_LB" in a:
            yield Proposal(f"a block '{{ … }}' is missing after {last}", self.form)
        elif len(self.w.keywords) == 1:
            yield Proposal(f"'{self.w.keywords[0]}' is missing after {last}", self.form)

    def _unclosed(self, opens: str, closes: str) -> bool:
        texts = [x.text for x in self.words if x.at < self.at]
        return texts.count(opens) > texts.count(closes)

    def _subject(self) -> str:
        name = SUBJECTS.get(self.w.kind)
        return f"{name} {self._last()}" if name and self.before is self.words[0] else self._last()

    # ---- another word than expected ----

    def _within(self) -> Iterator[Proposal]:
        a, got, last = self.accepts, self.got, self._last()
        assert got is not None
        if got.text == "==" and "EQUAL" in a:
            yield Proposal(f"'=' is expected after {self._subject()}: '==' compares", None, (got.at, got.end, "="))
        if got.text == "=":
            yield Proposal("a condition compares with '=='", None, (got.at, got.end, "=="))
        if got.text == "-" and self.before is not None and self.before.end == got.at:
            whole = re.compile(r"[A-Za-z0-9_]+(-[A-Za-z0-9_]+)+").match(self.text, self.before.at)
            if whole is not None:
                yield Proposal(f"'{whole[0]}' is no name: a name has letters, digits and '_'", f"did you mean '{whole[0].replace('-', '_')}'?",
                               (whole.start(), whole.end(), whole[0].replace("-", "_")), whole.start())
        meant = near(got.text, self.w.keywords)
        if meant is not None:
            yield Proposal(f"'{got.text}' cannot stand {self._where()}", f"did you mean '{meant}'?", (got.at, got.end, meant))
        if "_SEP" in a:
            yield from self._splits(got)
        if "STRING" in a and got.text[0] != '"':
            end = self.words[-1].end
            quoted = self.text[got.at:end]
            if "\n" not in quoted and '"' not in quoted:
                yield Proposal("a text stands in quotes", self.form, (got.at, end, f'"{quoted}"'))
        yield from self._missing(got)
        if got.text in (",", ";", ":", "=", "(", ")", "]", "and"):
            end = got.end + (self.text[got.end:got.end + 1] == " ")
            yield Proposal(f"'{got.text}' cannot stand {self._where()}", self.form, (got.at, end, "" if got.text != "," else " "))
        if "NAME" in a and got.text in self.w.every and not a >= VALUE:
            yield Proposal(f"'{got.text}' is a word of the language here and cannot be a name", "choose another name")
        if "_SEP" not in a:
            if len(self.w.keywords) == 1 and self.before is not None and self.before.text == self.w.keywords[0]:
                yield Proposal(f"a name is missing before '{self.before.text}'", self.form, None, self.before.at)
            if self.before is None:
                yield Proposal(f"'{got.text}' cannot stand here", self.form)
            if a >= VALUE:
                yield Proposal(f"a value is expected after {last}, not '{got.text}'", self.form)
            elif "NAME" in a and not self.w.keywords:
                yield Proposal(f"a name is expected after {last}, not '{got.text}'", self.form)
            elif "INT" in a:
                yield Proposal(f"a number is expected after {last}, not '{got.text}'", self.form)
            elif "STRING" in a:
                yield Proposal(f"a text in quotes is expected after {last}", self.form)
            elif len(self.w.keywords) == 1 and len(a) == 1:
                yield Proposal(f"'{self.w.keywords[0]}' is expected after {last}, not '{got.text}'", self.form)

    def _splits(self, got: Word) -> Iterator[Proposal]:
        """Two statements in one line."""
        if got.text == ",":
            yield Proposal(f"{_a(self.w.kind)} ends with ';' or a new line, not with ','", None, (got.at, got.end, ";"))
        if got.text in self.w.heads() or got.text in (")", "]"):
            if got.text[0].isalpha():
                yield Proposal(f"{_a(self.w.kind)} ends with ';' or a new line", None, (self.before.end if self.before else got.at, got.at, "; "))

    def _missing(self, got: Word) -> Iterator[Proposal]:
        """A sign was left out."""
        for name, sign in SIGNS.items():
            if name not in self.accepts or sign == got.text:
                continue
            at = self.before.end if self.before is not None else got.at
            subject = self._subject() if sign in ("=", ":") else self._last()
            shown = f"'{sign}' is expected after {subject}"
            if sign == "{":
                continue
            if sign == "(":
                yield Proposal(f"the arguments are missing after {subject}", self.form, (at, at, "()"))
                continue
            gap = {"=": " = ", ":": " : ", ",": ", ", "->": " -> "}.get(sign, sign)
            yield Proposal(shown, None, (at, got.at, gap) if gap != sign else (at, at, sign))
        if "EQUAL" in self.accepts and "_SEP" not in self.accepts and "_RB" not in self.accepts:
            yield Proposal(f"'=' is expected after {self._subject()}, not '{got.text}'", self.form)


def _a(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _listed(words: tuple[str, ...]) -> str:
    shown = list(words[:6])
    if len(words) > len(shown):
        return f"{', '.join(shown)}, …"
    return f"{', '.join(shown[:-1])} or {shown[-1]}" if len(shown) > 1 else shown[0]
