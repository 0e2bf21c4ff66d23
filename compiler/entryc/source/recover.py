"""Parsing of a text with mistakes: each mistake is one finding, and what is right is kept.

The good case costs one parse and nothing else. When that fails, the text is cut into items, each is parsed by itself, and in one that
cannot be parsed the mistake is mended if a change is known that lets the parser go on; else the smallest statement around it is left out.
What was left out may have declared names: they are remembered, so that nobody complains about them.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

from lark import Token, Tree, UnexpectedInput
from lark.exceptions import UnexpectedCharacters, UnexpectedToken

from . import version
from .finding import Edit, Finding, Findings
from .forms import TYPES, kind_of
from .limits import check_characters, check_depth, check_tree
from .parse import ended, first_words, parser, words
from .pieces import Brace, Places, Statement, pieces, words_of
from .syntax import CHOICES, Proposal, Wrong, proposals
from .text import SourceFile, Span

MAX_MISTAKES = 20                               # of one file
MAX_TEXT = 300_000                              # characters of a text in which more than the first mistake is looked for
MAX_BRACES = 100
MAX_WORK = 2_000_000                            # characters that are parsed again at most
MAX_TRIAL = 40_000                              # characters of an item in which changes are tried
CODE_BLOCKS = frozenset(("step", "handler step"))


@dataclass
class Lost:
    """What was left out of a text, by the names that it may have declared."""

    names: set[str] = field(default_factory=set)
    inside: set[str] = field(default_factory=set)           # items of which something was left out
    all: bool = False                           # it may have declared anything: the use of a file

    def add(self, other: Lost) -> None:
        """What another text has lost, too."""
        self.names |= other.names
        self.inside |= other.inside
        self.all = self.all or other.all

    def may_be(self, name: str) -> bool:
        """May this name have been declared in what was left out?"""
        head = name.split(".")[0].lstrip("&")
        if self.all or {head, *name.split(".")} & (self.names | self.inside):
            return True
        return any(head.startswith(f"{n}_") or n.startswith(head) for n in self.names if len(n) > 1)


@dataclass
class Parsed:
    """A tree with everything that could be read, and what could not."""

    tree: Tree[Any]
    findings: list[Finding] = field(default_factory=list)
    lost: Lost = field(default_factory=Lost)


def parse_all(language: str, file: SourceFile) -> Parsed:
    """The syntax tree as far as the text can be read. Raises Findings only for what nobody can read: nesting without end, unseen characters."""
    check_characters(file)
    check_depth(file)
    try:
        parsed = Parsed(parser(language).parse(ended(file)))
    except UnexpectedInput as error:
        newer = version.newer(file) if language == "entry" else None
        if newer is not None:
            return Parsed(Tree("start", []), [newer], Lost(all=True))
        if len(file.text) > MAX_TEXT:
            line = min(max(1, error.line), len(file.lines))         # -1: at the end
            first = Span(file, line, max(1, error.column), line, max(1, error.column) + 1)
            return Parsed(Tree("start", []), [Finding("E002", "error", "the text cannot be read from here on", first)], Lost(all=True))
        parsed = _Recovery(language, file).run()
    except RecursionError:
        raise Findings([Finding("E001", "error", "the text is nested too deeply", Span(file, 1, 1, 1, 2))]) from None
    parsed.findings += check_tree(file, parsed.tree)
    return parsed


@dataclass(frozen=True)
class _Stop:
    """Where the parser stopped."""

    at: int
    sign: bool
    accepts: frozenset[str]


class _Recovery:
    def __init__(self, language: str, file: SourceFile) -> None:
        self.language, self.file, self.text = language, file, ended(file)
        self.places = Places(self.text)
        self.out = Parsed(Tree("start", []))
        self.work = 0
        self.shifts: list[tuple[int, int, int]] = []        # changes of the item at hand: where, how many characters went, how many came

    def run(self) -> Parsed:
        items, braces = pieces(self.text, first_words(self.language))
        taken: set[int] = set()
        for item in items:
            mine = [b for b in braces[:MAX_BRACES] if b.at not in taken
                    and (item.start <= b.at <= item.end or (b.sign == "{" and item.start <= b.fix <= item.end))]
            taken |= {b.at for b in mine}
            if self.work > MAX_WORK or len(self.out.findings) >= MAX_MISTAKES:
                self.out.lost.all = True        # the rest is not looked at
                break
            self._item(item, mine)
        for brace in braces:
            if brace.at not in taken and len(self.out.findings) < MAX_MISTAKES:
                self._brace(brace)
        if not self.out.findings:               # no item is wrong by itself: what stands between them is
            self._whole()
        self.out.findings.sort(key=lambda f: (f.span.line, f.span.column) if f.span else (0, 0))
        return self.out

    def _span(self, at: int, end: int) -> Span:
        line, column = self.places.of(at)
        end_line, end_column = self.places.of(max(end, at))
        return Span(self.file, line, column, end_line, end_column + (end <= at))

    def _brace(self, brace: Brace) -> None:
        span = self._span(brace.at, brace.at + 1)
        if brace.sign == "{":
            line = self.places.starts[span.line - 1]
            before = self.text[line:brace.at]
            one_line = self.places.line(brace.fix) == span.line
            where = "in this line" if one_line else f"after line {self.places.line(brace.fix)}"
            new = " }" if one_line else f"\n{before[:len(before) - len(before.lstrip())]}}}"
            self._say("this '{' has no '}'", span, f"it belongs {where}", brace.fix, brace.fix, new)
        elif brace.sign == "}":
            self._say("this '}' closes nothing", span, "leave it out", brace.at, brace.at + 1, "")
        else:
            self._say("the '{' of this block is missing", span, "put it at the end of this line", brace.at, brace.at, " {")

    def _say(self, message: str, span: Span, help: str, start: int, end: int, new: str) -> None:
        there = Span(self.file, *self.places.of(start), *self.places.of(end))
        self.out.findings.append(Finding("E002", "error", message, span, help, edits=(Edit(there, new),)))

    def _whole(self) -> None:
        stop = self._try(self.text)
        at = stop.at if isinstance(stop, _Stop) else 0
        self.out.findings.append(Finding("E002", "error", "the text cannot be read from here on", self._span(at, at + 1)))

    # ---- one item ----

    def _item(self, item: Statement, braces: list[Brace]) -> None:
        text = self.text[item.start:item.end]
        self.shifts = []
        if len(braces) == 1 and len(text) <= MAX_TRIAL and self._one_brace(text, item, braces[0]):
            return
        for brace in sorted(braces, key=lambda b: -b.fix):
            if len(self.out.findings) < MAX_MISTAKES:
                self._brace(brace)
            text = self._paired(text, item, brace)
        gone = False                            # something was left out of this item
        while text.strip():
            if self.work > MAX_WORK or len(self.out.findings) >= MAX_MISTAKES:
                if self._try(text) is not None:
                    self._lose(text, item)
                    return
                break
            stop = self._try(text, item)
            if not isinstance(stop, _Stop):
                self.out.tree.children += stop or []
                return
            statement, around = self._smallest(text, stop.at)
            if statement is None:
                self._report(text, stop, item, Proposal(f"'{text[stop.at:stop.at + 1]}' cannot stand here"), item.start, False)
                self._lose(text, item)
                return
            if gone and text[stop.at:stop.at + 1] == "}":      # a block that is empty now
                text = self._without(text, statement, around, item)
                continue
            proposal = self._chosen(text, stop, statement, around)
            self._report(text, stop, item, proposal, item.start, True)
            if proposal.change is not None:
                start, end, new = proposal.change
                self.shifts.append((start, end - start, len(new)))
                text = text[:start] + new + text[end:]
            else:
                text = self._without(text, statement, around, item)
                gone = True

    def _paired(self, text: str, item: Statement, brace: Brace) -> str:
        """The text of an item with the partner of a brace, or without the brace."""
        place = (brace.fix if brace.sign == "{" else brace.at) - item.start
        new = {"{": " }", "}": " ", "": " {"}[brace.sign]
        went = int(brace.sign == "}")
        self.shifts.insert(0, (place, went, len(new)))
        return text[:place] + new + text[place + went:]

    def _one_brace(self, text: str, item: Statement, brace: Brace) -> bool:
        """A brace is all that is wrong with an item, and what can be done about it is known."""
        if not isinstance(self._try(self._paired(text, item, brace)), _Stop):
            self._brace(brace)
            self.out.tree.children += self._read(self._paired(text, item, brace), item)
            return True
        at = brace.at - item.start
        if brace.sign == "{":                   # it should not be there
            without = f"{text[:at]} {text[at + 1:]}"
            if not isinstance(self._try(without), _Stop):
                self._say("this '{' opens no block", self._span(brace.at, brace.at + 1), "leave it out", brace.at, brace.at + 1, "")
                self.out.tree.children += self._read(without, item)
                return True
        stop = self._try(text)
        if brace.sign == "}" and isinstance(stop, _Stop) and "_LB" in stop.accepts:       # its partner is missing in the same line
            place = len(text[:stop.at].rstrip())
            with_it = f"{text[:place]} {{{text[place:]}"
            if not isinstance(self._try(with_it), _Stop):
                start = item.start + place
                help_text = f"it belongs before '{text[stop.at:].split()[0]}'"
                self._say("the '{' of this block is missing", self._span(start, start + 1), help_text, start, start, " {")
                self.out.tree.children += self._read(with_it, item)
                return True
        self.shifts = []
        return False

    def _read(self, text: str, item: Statement) -> list[Any]:
        trees = self._try(text, item)
        return trees if isinstance(trees, list) else []

    def _try(self, text: str, item: Statement | None = None) -> list[Any] | _Stop | None:
        """What the parser makes of an item: its trees, or where it stopped."""
        self.work += len(text)
        steps = parser(self.language).parse_interactive(text + "\n")
        state = steps.lexer_thread.state
        if item is not None and state is not None:
            line, column = self.places.of(item.start)
            state.line_ctr.line, state.line_ctr.column, state.line_ctr.line_start_pos = line, column, 1 - column
        tokens: list[Token] = []
        try:
            tokens.extend(steps.iter_parse())
            tree = steps.feed_eof(Token("$END", "", start_pos=len(text), line=1, column=1))  # type: ignore[no-untyped-call]
        except UnexpectedInput as error:
            return _glued(tokens, text) or _stop(error, text)
        return list(tree.children) if item is not None else None

    def _smallest(self, text: str, at: int) -> tuple[Statement | None, list[Statement]]:
        """The smallest statement around a place, and those around it, the item first."""
        items, _ = pieces(text, frozenset())
        found: Statement | None = None
        for item in items:
            for one in item.all():
                if one.start <= at <= one.end and (found is None or one.start >= found.start):
                    found = one
        around: list[Statement] = []
        outer = found.around if found is not None else None
        while outer is not None:
            around.insert(0, outer)
            outer = outer.around
        return found, around

    def _chosen(self, text: str, stop: _Stop, statement: Statement, around: list[Statement]) -> Proposal:
        """The likeliest reading whose change lets the parser go on; else the likeliest without one."""
        plain: Proposal | None = None
        every = words(self.language)
        item = around[0].head if around else statement.head
        here = Wrong(text, stop.at, stop.sign, frozenset(_names(self.language, stop.accepts)), _keywords(self.language, stop.accepts), statement,
                     kind_of(self.language, statement.block, item), lambda: self._heads(text[:statement.start]), every, self.language)
        for proposal in proposals(here):
            if proposal.change is None:
                plain = plain or proposal
            elif len(text) <= MAX_TRIAL and self._helps(text, stop.at, proposal):
                return proposal
            if proposal.sure:
                break
        assert plain is not None
        return plain

    def _helps(self, text: str, at: int, proposal: Proposal) -> bool:
        """Does the parser get beyond the mistake with this change?"""
        assert proposal.change is not None
        start, end, new = proposal.change
        changed = text[:start] + new + text[end:]
        stop = self._try(changed)
        if not isinstance(stop, _Stop):
            return True
        mended, _ = self._smallest(changed, start)
        if mended is None or stop.at <= at + len(new) - (end - start):
            return False
        return stop.at > (mended.inner[0].start if mended.inner else mended.end)

    def _heads(self, before: str) -> tuple[str, ...]:
        """The words that may start a statement after this text."""
        self.work += len(before)
        steps = parser(self.language).parse_interactive(before + ("" if before.rstrip()[-1:] in ("{", ";") or before.endswith("\n") else "\n"))
        try:
            for _ in steps.iter_parse():
                pass
        except UnexpectedInput:
            return ()
        return _keywords(self.language, frozenset(steps.accepts()))  # type: ignore[no-untyped-call]

    # ---- what is said, and what is lost ----

    def _back(self, at: int) -> int:
        """An offset in a changed item as an offset in the item."""
        for start, went, came in reversed(self.shifts):
            if at >= start + came:
                at += went - came
            elif at > start:
                at = start
        return at

    def _report(self, text: str, stop: _Stop, item: Statement, proposal: Proposal, base: int, edit: bool) -> None:
        at = proposal.at if proposal.at is not None else stop.at
        here = words_of(text[at:at + 200], at)
        length = len(here[0].text) if here and here[0].at == at and here[0].text != "\n" else 1
        if proposal.change is not None and proposal.change[0] == at and "\n" not in text[at:proposal.change[1]]:
            length = max(1, proposal.change[1] - at)
        span = self._span(base + self._back(at), base + self._back(at + length))
        edits: tuple[Edit, ...] = ()
        if proposal.change is not None and edit:
            start, end, new = proposal.change
            first, last = base + self._back(start), base + self._back(end)
            edits = (Edit(Span(self.file, *self.places.of(first), *self.places.of(last)), new.strip("\n") or new),)
        self.out.findings.append(Finding(proposal.code, "error", proposal.message, span, proposal.help, edits=edits))

    def _without(self, text: str, statement: Statement, around: list[Statement], item: Statement) -> str:
        """The text with a statement blanked; lines and columns stay."""
        old = text[statement.start:statement.end]
        if around:
            self._forget(around, statement, old, item)
        else:
            self._lose(old, item)
        return text[:statement.start] + "".join(c if c == "\n" else " " for c in old) + text[statement.end:]

    def _forget(self, around: list[Statement], statement: Statement, old: str, item: Statement) -> None:
        head = around[0]
        found = [w.text for w in words_of(old)]
        if kind_of(self.language, statement.block, head.head) in CODE_BLOCKS:
            self.out.lost.all = self.out.lost.all or found[-1] == "label"
            found = [b for a, b in itertools.pairwise(found) if a in ("label", "let", "is")]
            self.out.lost.names.update(f"{w.text}_{n}" for w in head.words[1:2] for n in found)
        else:
            self.out.lost.inside.update(w.text for w in head.words[1:2])
        self.out.lost.names.update(n for n in found if n[0].isalpha() or n[0] == "_")

    def _lose(self, text: str, item: Statement) -> None:
        """A whole item is left out."""
        found = [w.text for w in words_of(text)]
        names = [w for w in found if w[0].isalpha() or w[0] == "_"]
        if found[0] not in first_words(self.language):
            self.out.lost.all = self.out.lost.all or len(names) < 2
        elif self._nameless(found):
            self.out.lost.all = True            # who knows what it is called
        elif found[0] in ("entry", "vectors", "path", "exit", "routine", "handler", "kind", "work", "syscalls", "method"):
            names = [found[1], *(b for a, b in itertools.pairwise(found) if a in ("label", "is"))]
        self.out.lost.names.update(names)

    def _nameless(self, found: list[str]) -> bool:
        """An item without the name that it declares, as far as one can see."""
        name = found[found.index("(") - 1] if found[0] == "hook" and "(" in found else "".join(found[1:2])
        known = words(self.language) | TYPES
        gap = any(b == "=" and a in (",", "{", found[0]) for a, b in itertools.pairwise(found))
        return found[0] == "use" or not name.isidentifier() or name in known or gap


def _glued(tokens: list[Token], text: str) -> _Stop | None:
    """A longer word than the one that has to stand there: the lexer has cut it in two."""
    for before, token in itertools.pairwise(tokens[-6:]):
        at = token.start_pos or 0
        if before.end_pos == at and text[at - 1:at].isalnum() and text[at:at + 1].isalnum():
            return _Stop(before.start_pos or 0, False, frozenset((before.type,)))
    return None


def _stop(error: UnexpectedInput, text: str) -> _Stop:
    if isinstance(error, UnexpectedCharacters):
        return _Stop(error.pos_in_stream or 0, True, frozenset(error.allowed or ()))
    at = len(text)
    if isinstance(error, UnexpectedToken):
        at = error.token.start_pos if error.token.start_pos is not None else len(text)
        while error.token.type in ("_SEP", "$END", "_RB") and at and text[at - 1:at].isspace() and error.token.type != "_RB":
            at -= 1
        return _Stop(min(at, len(text)), False, frozenset(error.accepts or error.expected))
    return _Stop(min(at, len(text)), False, frozenset())


def _names(language: str, accepts: frozenset[str]) -> list[str]:
    arrow = {t.name for t in parser(language).terminals if t.pattern.value == "->"}
    return [("__ARROW" if a in arrow else a) for a in accepts]


def _keywords(language: str, accepts: frozenset[str]) -> tuple[str, ...]:
    """The words among terminals."""
    out = {str(t.pattern.value) for t in parser(language).terminals if t.name in accepts and t.pattern.type == "str" and str(t.pattern.value)[0].isalpha()}
    for name in accepts:
        out.update(CHOICES.get(name, ()))
    return tuple(sorted(out))
