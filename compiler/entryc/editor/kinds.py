"""Which kinds of names can stand at a place. One table for completion, for what a name means, and for where it is declared."""

from __future__ import annotations

from .place import Place

REGISTER, FLAG_BIT, VALUE, SLOT, WORD = "register", "flag bit", "value", "slot", "word"
EXPRESSION = ("constant", "frame", "memory", REGISTER, FLAG_BIT, "flag mask", "symbol", "label")
FACT = ("state", FLAG_BIT)
PLACE = ("state", FLAG_BIT, "frame", "memory", REGISTER)        # what a step can assign to
FUNCTION = ("handler", "hook", "system call")
BODIES = frozenset(["entry", "vectors", "kind", "path", "exit", "routine"])

# (innermost block, last keyword) -> kinds; "*": any block; "": no block, or no keyword yet.
TABLE: dict[tuple[str, str], tuple[str, ...]] = {
    ("*", "if"): ("feature",), ("*", "not"): ("feature",), ("*", "goto"): ("path",), ("*", "through"): ("path",), ("*", "exit"): ("exit",),
    ("*", "return"): ("return",), ("*", "save"): ("frame",), ("*", "drop"): ("frame",), ("*", "reframe"): ("frame",), ("*", "adopt"): ("frame",),
    ("*", "restore"): (REGISTER,), ("*", "clear"): (REGISTER,), ("*", "using"): (REGISTER,), ("*", "keeping"): (REGISTER,), ("*", "but"): (REGISTER,),
    ("*", "loses"): (REGISTER,), ("*", "changes"): (REGISTER,), ("*", "clobbers"): (REGISTER,), ("*", "call"): FUNCTION, ("*", "jump"): FUNCTION,
    ("*", "as"): ("contract", "kind"), ("*", "do"): ("op",), ("*", "insn"): ("form",), ("*", "landing"): ("form",), ("*", "keeps"): ("state",),
    ("*", "needs"): FACT, ("*", "sets"): FACT, ("*", "where"): FACT, ("*", "loads"): FACT, ("*", "arrive"): FACT, ("*", "in"): ("region",),
    ("*", "takes"): EXPRESSION, ("*", "within"): EXPRESSION, ("*", "when"): EXPRESSION, ("*", "given"): EXPRESSION, ("*", "at"): EXPRESSION,
    ("*", "among"): ("exit",), ("*", "from"): ("boundary", "frame"), ("*", "writes"): ("frame",), ("*", "stack"): ("stack",), ("*", "require"): EXPRESSION,
    ("", "among"): ("method",), ("", "by"): ("exit", "hardware stack"), ("", "on"): ("event", REGISTER), ("", "of"): ("frame", "flags"),
    ("", "top"): ("memory",), ("", "entered"): ("hardware stack",), ("", "at"): (REGISTER,), ("", "("): ("frame",), ("", "->"): ("choice",),
    ("", "read"): ("hook",), ("", "clear"): ("hook",), ("", "decides"): (), ("", "hook"): ("frame", "memory"), ("", "alias"): ("memory",),
    ("", "bottom"): ("memory",), ("", "assume"): EXPRESSION,
    ("configuration", ""): ("feature",), ("setup", ""): ("setup value",), ("after", ""): FACT,
    ("frame", ""): (REGISTER,), ("frame", "is"): (REGISTER,), ("hardware", ""): (REGISTER,),
    ("memory", ":"): ("structure",), ("memory", "of"): ("choice",), ("memory", "at"): ("symbol",), ("memory", "holds"): EXPRESSION,
    ("state", "->"): (VALUE,), ("state", ""): (VALUE,), ("state", "by"): ("form", "op"), ("state", "of"): ("memory",), ("state", "means"): EXPRESSION,
    ("boundary", "leave"): FACT, ("boundary", "stack"): ("region",),
    ("bracket", "enter"): ("hook",), ("bracket", "leave"): ("hook",), ("repeat", ""): ("flag",), ("once", ""): ("flag",),
    ("repeat", "->"): ("hook",), ("once", "->"): ("hook",), ("repeat", "|"): ("flag",), ("once", "|"): ("flag",),
    ("syscalls", "number"): ("frame",), ("syscalls", "args"): ("frame",), ("syscalls", "result"): ("frame",), ("syscalls", "missing"): EXPRESSION,
    ("handler", ""): ("frame",), ("handler", "enter"): ("bracket",), ("handler", "leave"): ("bracket",), ("handler", "syscalls"): ("system calls",),
    ("handler", "work"): ("work",), ("handler", "choose"): ("choice",), ("handler", "do"): ("hook",), ("handler", "else"): ("hook",),
    ("dispatch", "->"): ("hook",), ("op", "decide"): (), ("save", ""): (SLOT,), ("save", ","): (SLOT,),
    ("path", "by"): ("op",), ("path", "->"): ("choice", "frame"), ("path", "on"): ("stack",), ("path", ""): PLACE, ("op", ""): PLACE,
}


def block_of(place: Place) -> str:
    """The innermost block that says what can stand there: arms and conditions are like what is around them."""
    for head in reversed(place.blocks):
        if head not in ("from", "if", "else", "dispatch") or (head == "dispatch" and "handler" in place.blocks):
            return "path" if head in BODIES else head
    return "path" if place.blocks else ""


def subject_of(place: Place) -> str:
    """What gets a value, right behind its `=`: gs in `gs = `, stack in `needs stack = `."""
    words = place.statement
    if len(words) < 2 or words[-1].text != "=" or words[-1].type != "keyword":
        return ""
    return words[-2].text


def expected(place: Place) -> tuple[str, ...]:
    """The kinds of names that can stand at a place of a spec; empty: nothing is known about it."""
    block, keyword, words = block_of(place), place.keyword, place.statement
    if subject_of(place):
        return ("stack",) if subject_of(place) == "stack" else (VALUE, *EXPRESSION)
    if block == "save" and words and (words[-1].text == "," or not words):
        return (SLOT,)
    if words and words[-1].text == "," and keyword in ("=", "") and block in ("", "after", "boundary", "code", "memory", "op") and _in_facts(place):
        return FACT
    if block == "frame" and keyword == "=":
        return EXPRESSION
    if block == "" and words and words[0].text == "exit" and keyword == "exit":
        return ()
    if block == "path" and not words:
        return PLACE
    found = TABLE.get((block, keyword), TABLE.get(("*", keyword)))
    if found is not None:
        return found
    return EXPRESSION if keyword and not keyword[0].isalpha() else ()


def _in_facts(place: Place) -> bool:
    """Is the statement a list of facts, such as needs gs = kernel, gs_spec = fenced?"""
    return place.statement[0].text in ("needs", "arrive", "leave", "sets", "loads", "memory", "region") or (place.blocks[-1:] == ("after",))
