"""Versions of a kernel: a spec is read for one of them, and what it says of the others is left out before anything is resolved."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lark import Token, Tree

from ..source.finding import Finding, Findings
from ..source.parse import span_of
from ..source.text import SourceFile, Span
from .names import Node, first, near, text_of, tokens, trees

GUARDS = {"guard": True, "guard_not": False}
BLOCKS = {"guarded": "body", "op_guarded": "op_body"}


@dataclass
class Versions:
    """The versions that a spec has named so far, and the one that is wanted; without a wish, the first."""

    wanted: str | None = None
    named: dict[str, str] = field(default_factory=dict)         # NAME -> "6.12"

    @property
    def chosen(self) -> str:
        return self.wanted if self.wanted is not None else next(iter(self.named.values()), "")

    def add(self, file: SourceFile, node: Node) -> None:
        """An item `version NAME "…"`. Raises Findings."""
        name, text = str(tokens(node, "NAME")[0]), text_of(tokens(node, "STRING")[0])
        if name in self.named or text in self.named.values() or not text:
            raise _refused(f"version {name} \"{text}\" is named twice" if text else f"version {name} has no text", span_of(file, node))
        self.named[name] = text

    def on(self, name: str) -> bool | None:
        """Is this the version at hand? None: it is no version."""
        return self.named[name] == self.chosen if name in self.named else None

    def items(self, file: SourceFile, node: Node) -> list[Node]:
        """What an item `if NAME { … } else { … }` stands for. Raises Findings."""
        token = tokens(node, "NAME")[0]
        on = self.on(str(token))
        if on is None:
            raise _refused(f"there is no version '{token}' before this", span_of(file, token),
                           near(str(token), self.named) or "items depend on versions only, steps and rows on features, too: version NAME \"6.12\"")
        arms = trees(node, "items")
        return trees(arms[0]) if on else trees(arms[1]) if len(arms) > 1 else []

    def fits(self, node: Node) -> bool:
        """Is an item there in the version at hand? What it has for others is taken out of it."""
        if not self.named:
            return True
        return self._fits(node)

    def _fits(self, node: Node) -> bool:
        for kind in GUARDS:
            guard = first(node, kind)
            name = next((t for t in tokens(guard, "NAME")), None) if guard is not None else None
            on = self.on(str(name)) if name is not None else None
            if on is not None and guard is not None:
                if on is not GUARDS[str(guard.data)]:
                    return False
                node.children = [None if child is guard else child for child in node.children]
        node.children = self._kept(node.children)
        return True

    def _kept(self, children: list[Any]) -> list[Any]:
        """Of some steps or rows, those of the version at hand; what depends on others becomes None, blocks become what is in them."""
        out: list[Any] = []
        for child in children:
            if not isinstance(child, Tree):
                out.append(child)
            elif child.data in BLOCKS and self.on(_name(child)) is not None:
                out += [step for step in self._kept(self._arm(child)) if step is not None]
            else:
                out.append(child if self._fits(child) else None)
        return out

    def _arm(self, block: Node) -> list[Any]:
        """The steps of a block that depends on a version."""
        arms = trees(block, BLOCKS[str(block.data)])
        if self.on(_name(block)):
            return list(arms[0].children)
        return list(arms[1].children) if len(arms) > 1 else []

    def check(self, span: Span) -> None:
        """Raises Findings when the version that is wanted was not named."""
        if self.wanted is not None and self.wanted not in self.named.values():
            raise _refused(f"the spec names no version {self.wanted}", span,
                           f"known: {', '.join(self.named.values())}" if self.named else "it is the same for all versions")


def _name(block: Node) -> str:
    return str(next(c for c in block.children if isinstance(c, Token)))


def _refused(message: str, span: Span, help: str | None = None) -> Findings:
    return Findings([Finding("E229", "error", message, span, help)])
