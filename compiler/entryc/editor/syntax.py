"""Highlighting for editors, made from the grammars: which words there are, which of them start an item or a step.

Most words are reserved only where they mean something: a slot may be called flags. So words that start something are matched at the start of a
statement only, and no word is matched where it is a part of a dotted name or gets a value.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from ..source.parse import parser
from .items import heads
from .place import place_at, terminal_words, words_after

LANGUAGES = {"entry": ("entry", "entryc spec", (".entry",)), "arch": ("entryarch", "entryc CPU description", (".arch",))}
BODIES = {"entry": ("path p { ", "handler h(f) { ", "op o { "), "arch": ()}
CONDITIONS = frozenset(["if", "else", "not", "and", "or", "when", "because"])
MADE = "made from grammar/ by entryc: change the grammar, then run tests/test_editors.py --update"


@dataclass(frozen=True)
class Words:
    """The words of a language, sorted."""

    items: tuple[str, ...]                      # start an item
    steps: tuple[str, ...]                      # start a step
    conditions: tuple[str, ...]
    types: tuple[str, ...]
    others: tuple[str, ...]

    @property
    def all(self) -> frozenset[str]:
        return frozenset((*self.items, *self.steps, *self.conditions, *self.types, *self.others))

    @property
    def nested(self) -> tuple[str, ...]:
        """Words that start an item and nothing else: they do so inside of a condition's braces, too. A language without steps has no such braces."""
        return tuple(w for w in self.items if w not in self.steps and w not in self.others) if self.steps else ()


def words_of(language: str) -> Words:
    """The words of a grammar in groups. What starts a statement and stands inside of others, too, is in two."""
    terminals = parser(language).terminals
    every = {part for t in terminals for word in terminal_words(t) for part in word.split()}
    types = {w for t in terminals if t.name in ("TYPE", "RESULT") for w in terminal_words(t)}
    items = set(heads(language)) - CONDITIONS
    steps = {w for body in BODIES[language] for w in words_after(language, place_at(language, body, 0, len(body)))} - CONDITIONS - types
    rest = (every - items - steps - types - CONDITIONS) | (_inner(language) & (items | steps))
    return Words(tuple(sorted(items)), tuple(sorted(steps)), tuple(sorted(every & CONDITIONS)), tuple(sorted(types)),
                 tuple(sorted(rest)))


def _inner(language: str) -> set[str]:
    """The words that can stand behind the first one of a statement."""
    names = {t.name: terminal_words(t) for t in parser(language).terminals}
    rules = parser(language).rules
    behind = {symbol.name for rule in rules for symbol in rule.expansion[1:]}
    behind |= {rule.expansion[0].name for rule in rules if rule.expansion and rule.origin.name in behind}
    return {word for name in behind & names.keys() for word in names[name]}


# ---- Vim ----

def vim_syntax(language: str) -> str:
    """syntax/NAME.vim."""
    name, title, _ = LANGUAGES[language]
    words = words_of(language)

    def word(group: str, names: tuple[str, ...], start: str, not_before: str = ".") -> list[str]:
        return [rf"syntax match {name}{group} /\v{start}<%({'|'.join(names[i:i + 12])})>%(\s*%(\=|[{not_before}]))@!/" for i in range(0, len(names), 12)]

    free = r"[.]@1<!"                           # not a part of a dotted name
    rows = [f'" Vim syntax file: {title}. {MADE}', 'if exists("b:current_syntax")', "  finish", "endif", "",
            rf"syntax match {name}Operator /->\|\.\.\|[=!<>]=\|[-+&|^~<>=]/",
            rf"syntax match {name}Number /\<\%(0x[0-9A-Fa-f_]\+\|[0-9][0-9_]*\)\>/",
            rf"syntax match {name}Constant /\<[A-Z][A-Z0-9_]\+\>/",
            rf"syntax match {name}Name /\<[A-Za-z_][A-Za-z0-9_]*\%(\.[A-Za-z_][A-Za-z0-9_]*\)\+/ contains={name}Constant",
            *word("Word", words.others, free), *word("Type", words.types, free), *word("Condition", words.conditions, free),
            *word("Step", words.steps, r"%(^\s+|[;{]\s*)\zs"), *word("Item", words.items, r"%(^|;\s*)\zs"),
            *word("Item", words.nested, r"%(^\s+|\{\s*)\zs", ".:"),
            f'syntax region {name}Text start=/"/ end=/"/ oneline', rf"syntax match {name}Comment /#.*/ contains=@Spell,{name}Todo",
            f"syntax keyword {name}Todo TODO FIXME XXX contained", "syntax sync minlines=200", ""]
    links = {"Comment": "Comment", "Todo": "Todo", "Text": "String", "Number": "Number", "Constant": "Constant", "Operator": "Operator",
             "Name": "Identifier", "Word": "Keyword", "Type": "Type", "Condition": "Conditional", "Step": "Statement", "Item": "Structure"}
    rows += [f"highlight default link {name}{group} {target}" for group, target in links.items()]
    return "\n".join([*rows, "", f'let b:current_syntax = "{name}"']) + "\n"


def vim_detect() -> str:
    """ftdetect/entry.vim."""
    rows = [f"autocmd BufNewFile,BufRead *{end} setfiletype {name}" for name, _, ends in LANGUAGES.values() for end in ends]
    return "\n".join([f'" Vim file types of entryc. {MADE}', *rows]) + "\n"


def vim_plugin(language: str) -> str:
    """ftplugin/NAME.vim."""
    settings = r"commentstring=#\ %s comments=:# shiftwidth=4 softtabstop=4 expandtab"
    return "\n".join([f'" Vim settings: {LANGUAGES[language][1]}. {MADE}', 'if exists("b:did_ftplugin")', "  finish", "endif", "let b:did_ftplugin = 1",
                      f"setlocal {settings}", 'let b:undo_ftplugin = "setlocal cms< com< sw< sts< et<"', ""])


# ---- TextMate: VS Code and others ----

def textmate(language: str) -> str:
    """A TextMate grammar as JSON."""
    name, title, ends = LANGUAGES[language]
    words = words_of(language)

    def either(names: tuple[str, ...]) -> str:
        return "|".join(names)

    alone = r"(?![A-Za-z0-9_])(?!\s*(?:=(?!=)|\.(?!\.)))"
    free = r"(?<![A-Za-z0-9_.])"
    declaring = tuple(w for w in words.items if w not in words.steps)
    inside = rf"|(?:^\s+|(?<=\{{))\s*({either(words.nested)})(?!\s*:)" if words.nested else ""
    groups = 4 if inside else 3                 # the last is the item's name
    steps: list[dict[str, object]] = [{"match": rf"(?:^\s+|(?<=[;{{]))\s*({either(words.steps)}){alone}",
                                       "captures": {"1": {"name": f"keyword.control.{name}"}}}] if words.steps else []
    patterns: list[dict[str, object]] = [
        {"name": f"comment.line.number-sign.{name}", "match": "#.*$"},
        {"name": f"string.quoted.double.{name}", "match": r'"[^"\n]*"'},
        {"match": rf"(?:^({either(words.items)})|(?<=;)\s*({either(declaring)}){inside}){alone}(?:\s+([A-Za-z_][A-Za-z0-9_]*))?",
         "captures": {**{str(n): {"name": f"keyword.declaration.{name}"} for n in range(1, groups)},
                      str(groups): {"name": f"entity.name.function.{name}"}}},
        *steps,
        {"name": f"constant.numeric.{name}", "match": r"(?<![A-Za-z0-9_])(?:0x[0-9A-Fa-f_]+|[0-9][0-9_]*)(?![A-Za-z0-9_])"},
        {"name": f"variable.other.member.{name}", "match": rf"{free}[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)+"},
        {"name": f"constant.other.{name}", "match": rf"{free}[A-Z][A-Z0-9_]+(?![A-Za-z0-9_])"},
        {"name": f"keyword.control.conditional.{name}", "match": rf"{free}(?:{either(words.conditions)}){alone}"},
        {"name": f"storage.type.{name}", "match": rf"{free}(?:{either(words.types)}){alone}"},
        {"name": f"keyword.other.{name}", "match": rf"{free}(?:{either(words.others)}){alone}"},
        {"name": f"keyword.operator.{name}", "match": r"->|\.\.|==|!=|<=|>=|<<|>>|[-+&|^~<>=]"},
    ]
    return json.dumps({"information_for_contributors": [MADE], "name": title, "scopeName": f"source.{name}",
                       "fileTypes": [e[1:] for e in ends], "patterns": patterns}, indent=2) + "\n"


def editor_files() -> dict[str, str]:
    """What is made for editors: the path below editors/ -> text."""
    out = {"vim/ftdetect/entry.vim": vim_detect()}
    for language, (name, _, _) in LANGUAGES.items():
        out[f"vim/syntax/{name}.vim"] = vim_syntax(language)
        out[f"vim/ftplugin/{name}.vim"] = vim_plugin(language)
        out[f"vscode/syntaxes/{name}.tmLanguage.json"] = textmate(language)
    return out
