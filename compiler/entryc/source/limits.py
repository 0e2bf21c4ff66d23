"""What text may not have, whatever its grammar: characters that nobody sees, nesting without end, numbers with no value or two."""

from __future__ import annotations

from typing import Any

from lark import Token, Tree

from .finding import MAX_FINDINGS, Finding, Findings
from .parse import span_of
from .text import UNSEEN, SourceFile, Span

MAX_DEPTH = 100                                 # of brackets and signs
MAX_TREE = 250                                  # of the syntax tree: what reads it calls itself


def check_characters(file: SourceFile) -> None:
    """What a reader does not see has no place in a spec, not even in comments and texts. Raises Findings."""
    wrong: list[Finding] = []
    for number, line in enumerate(file.lines, 1):
        found = UNSEEN.search(line)
        if found is not None and len(wrong) < MAX_FINDINGS:
            column = found.start() + 1
            wrong.append(Finding("E007", "error", f"the character U+{ord(found[0]):04X} cannot be seen", Span(file, number, column, number, column + 1),
                                 "leave it out"))
    if wrong:
        raise Findings(wrong)


def check_depth(file: SourceFile) -> None:
    """Raises Findings for brackets and signs that are nested too deeply for what works on trees."""
    depth = run = 0
    for number, line in enumerate(file.lines, 1):
        for column, char in enumerate(line.split("#", 1)[0], 1):
            depth += (char in "([{") - (char in ")]}")
            run = run + 1 if char in "-~&" else (run if char == " " else 0)
            if depth > MAX_DEPTH or run > MAX_DEPTH:
                raise Findings([Finding("E001", "error", "the text is nested too deeply", Span(file, number, column, number, column + 1))])


def check_tree(file: SourceFile, tree: Tree[Any]) -> list[Finding]:
    """Findings about numbers: each has one reading, and 64 bits hold it; what is none becomes 0. Raises Findings for a part that is nested too deeply."""
    wrong: list[Finding] = []
    todo: list[tuple[Tree[Any], int]] = [(tree, 0)]
    while todo:
        node, depth = todo.pop()
        if depth > MAX_TREE:
            raise Findings([Finding("E001", "error", "the text is nested too deeply", span_of(file, node), "give a part of it a name: const NAME = …")])
        for index, child in enumerate(node.children):
            if isinstance(child, Tree):
                todo.append((child, depth + 1))
            elif isinstance(child, Token) and child.type == "INT":
                problem = _number(file, child)
                if problem is not None:
                    wrong.append(problem)
                    node.children[index] = Token.new_borrow_pos("INT", "0", child)
    return sorted(wrong, key=lambda f: (f.span.line, f.span.column) if f.span else (0, 0))


def _number(file: SourceFile, token: Token) -> Finding | None:
    digits = token.replace("_", "")
    shown = str(token) if len(token) <= 40 else f"{token[:40]}…"
    if digits == "0x":
        return Finding("E012", "error", f"{shown} is no number", span_of(file, token))
    if digits.startswith("0") and digits != "0" and not digits.startswith("0x"):
        return Finding("E012", "error", f"{shown} starts with a zero: C would read it in base 8", span_of(file, token),
                       "write it without the zero, or as a hexadecimal number")
    if len(digits.removeprefix("0x").lstrip("0")) > 20 or int(digits, 0) >> 64:
        return Finding("E010", "error", f"the number {shown} does not fit in 64 bits", span_of(file, token))
    return None
