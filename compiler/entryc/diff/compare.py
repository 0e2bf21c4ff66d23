"""Two trees to rows: what came, went, changed, moved. The comparison of (b, a) is the mirror of that of (a, b)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from ..source.text import Span
from .rules import MIRROR, RULES, Rule
from .tree import ITEM, LEAF, LIST, SET, Node


@dataclass(frozen=True)
class Row:
    """One difference. `places`: where it is so; `what`: what differs there; old and new as the reader sees them ("" where there is none)."""

    rule: Rule
    kind: str
    places: tuple[str, ...]
    what: str
    old: str
    new: str
    old_span: Span | None
    new_span: Span | None
    notes: tuple[str, ...] = ()
    weight: tuple[str, str] | None = None       # (category, level), where it is not the rule's
    pair: tuple[object, object] = field(default=(None, None), compare=False)    # the model's objects
    owner: tuple[object, object] = field(default=(None, None), compare=False)   # the innermost places

    @property
    def category(self) -> str:
        return (self.weight or self.rule.weigh(self.kind))[0]

    @property
    def level(self) -> str:
        return (self.weight or self.rule.weigh(self.kind))[1]

    @property
    def span(self) -> Span | None:
        return self.new_span or self.old_span


def mirrored(row: Row) -> Row:
    """The same difference, seen from the other side."""
    return replace(row, kind=MIRROR.get(row.kind, row.kind), old=row.new, new=row.old, old_span=row.new_span, new_span=row.old_span,
                   pair=row.pair[::-1], owner=row.owner[::-1])


def compare(old: Node, new: Node) -> list[Row]:
    """The rows of two trees, in the order of the model."""
    swapped = old.text > new.text               # pairs are found from one side, so that both directions find the same ones
    rows = _Comparison().run(new, old) if swapped else _Comparison().run(old, new)
    return grouped([mirrored(r) for r in rows] if swapped else rows)


class _Comparison:
    def __init__(self) -> None:
        self.rows: list[Row] = []

    def run(self, a: Node, b: Node) -> list[Row]:
        self.visit(a, b, _At())
        return self.rows

    def visit(self, a: Node, b: Node, at: _At) -> None:
        if a.text == b.text:
            return
        if a.kind == LEAF:
            self.leaf(a, b, at)
            return
        inner = at.into(a, b)
        if a.kind == ITEM:
            theirs = {c.keys[0]: c for c in b.children}
            for child in a.children:
                if child.keys[0] in theirs:
                    self.visit(child, theirs.pop(child.keys[0]), inner)
                else:
                    self.one(child, None, inner)
            for child in theirs.values():
                self.one(None, child, inner)
        else:
            self.members(a, b, inner)

    def members(self, a: Node, b: Node, at: _At) -> None:
        pairs = paired(a.children, b.children, ordered=a.kind == LIST)
        rows: list[tuple[int, Node | None, Node | None, bool]] = []
        moved = _moved(pairs) if a.kind == LIST else set()
        for i, j in pairs:
            rows.append((i, a.children[i], b.children[j], i in moved))
        rows += [(i, n, None, False) for i, n in enumerate(a.children) if i not in {p[0] for p in pairs}]
        rows.sort(key=lambda r: r[0])
        rows += [(0, None, n, False) for j, n in enumerate(b.children) if j not in {p[1] for p in pairs}]
        for _, mine, his, is_moved in rows:
            if mine is not None and his is not None:
                if is_moved:
                    self.put(RULES[mine.order or mine.rule], "moved", at, mine, his, _after(a, mine), _after(b, his))
                self.visit(mine, his, at)
            else:
                self.one(mine, his, at)

    def one(self, a: Node | None, b: Node | None, at: _At) -> None:
        """Something that only one side has. A collection comes or goes with its members."""
        node = a if a is not None else b
        assert node is not None
        if node.kind in (SET, LIST) and not node.shown and node.children and not node.title:
            for child in node.children:
                self.one(child if a is not None else None, child if b is not None else None, at)
            return
        if node.kind in (SET, LIST) and not node.children and not node.shown and not node.title:
            return
        shown = node.shown or _content(node)
        self.put(RULES[node.rule], "removed" if a is not None else "added", at, a, b, shown if a is not None else "", shown if b is not None else "")

    def leaf(self, a: Node, b: Node, at: _At) -> None:
        kind = "changed"
        if a.value is not None and b.value is not None:
            both_bool = isinstance(a.source, bool) and isinstance(b.source, bool)
            up, down = ("added", "removed") if both_bool else ("raised", "lowered")
            kind = up if b.value > a.value else down
        elif "none" in (a.text, b.text):
            kind = "added" if a.text == "none" else "removed"
        old, new = (a.shown, b.shown) if a.shown != b.shown else (a.exact, b.exact)
        self.put(RULES[a.rule], kind, at, a, b, old, new)

    def put(self, rule: Rule, kind: str, at: _At, a: Node | None, b: Node | None, old: str, new: str) -> None:
        node = a if a is not None else b
        assert node is not None
        kind = "changed" if kind in ("raised", "lowered") and kind not in rule.levels else kind
        called = node.title or (node.shown if kind == "moved" else "")
        what = ": ".join([*at.titles, called] if called else at.titles) or node.shown
        self.rows.append(Row(rule, kind, (at.place,) if at.place else (), what, old, new,
                             (a.span if a is not None else None) or at.spans[0], (b.span if b is not None else None) or at.spans[1],
                             pair=(a.source if a is not None else None, b.source if b is not None else None), owner=at.owner))


@dataclass(frozen=True)
class _At:
    """Where the comparison is: the place, and titles within it."""

    place: str = ""
    titles: tuple[str, ...] = ()
    spans: tuple[Span | None, Span | None] = (None, None)
    owner: tuple[object, object] = (None, None)

    def into(self, a: Node, b: Node) -> _At:
        spans = (a.span or self.spans[0], b.span or self.spans[1])
        if a.place:
            return _At(b.title, (), spans, (a.source, b.source))
        return replace(self, titles=(*self.titles, a.title) if a.title else self.titles, spans=spans)


def _content(node: Node) -> str:
    """What a node without a text of its own holds."""
    if node.kind in (SET, LIST):
        return "; ".join(c.shown or c.title for c in node.children)
    return ""


def _after(parent: Node, node: Node) -> str:
    """"after X", "first"."""
    index = next(i for i, c in enumerate(parent.children) if c is node)
    if index == 0:
        return "first"
    before = parent.children[index - 1]
    return f"after {before.shown or before.title}"


# ---- who is who ----

def paired(a: Sequence[Node], b: Sequence[Node], ordered: bool) -> list[tuple[int, int]]:
    """Pairs of indices: equal ones first (in order, where order matters), then those with the same key."""
    pairs = common([_whole(n) for n in a], [_whole(n) for n in b]) if ordered else []
    for key in [_whole, *(_key(k) for k in range(max((len(n.keys) for n in (*a, *b)), default=0)))]:
        free: dict[str, list[int]] = {}
        taken = {j for _, j in pairs}
        for j, node in enumerate(b):
            if j not in taken and key(node):
                free.setdefault(key(node), []).append(j)
        mine = {i for i, _ in pairs}
        for i, node in enumerate(a):
            if i not in mine and free.get(key(node)):
                pairs.append((i, free[key(node)].pop(0)))
    return sorted(pairs)


def _whole(node: Node) -> str:
    return f"{node.keys[0]}\0{node.text}"


def _key(index: int) -> Callable[[Node], str]:
    return lambda n: n.keys[index] if index < len(n.keys) else ""


def common(a: Sequence[str], b: Sequence[str]) -> list[tuple[int, int]]:
    """A longest common subsequence, as pairs of indices."""
    head = 0
    while head < min(len(a), len(b)) and a[head] == b[head]:
        head += 1
    tail = 0
    while tail < min(len(a), len(b)) - head and a[-1 - tail] == b[-1 - tail]:
        tail += 1
    x, y = a[head:len(a) - tail], b[head:len(b) - tail]
    best = [[0] * (len(y) + 1) for _ in range(len(x) + 1)]
    for i in range(len(x) - 1, -1, -1):
        for j in range(len(y) - 1, -1, -1):
            best[i][j] = best[i + 1][j + 1] + 1 if x[i] == y[j] else max(best[i + 1][j], best[i][j + 1])
    out, i, j = [(k, k) for k in range(head)], 0, 0
    while i < len(x) and j < len(y):
        if x[i] == y[j]:
            out.append((head + i, head + j))
            i, j = i + 1, j + 1
        elif best[i + 1][j] >= best[i][j + 1]:
            i += 1
        else:
            j += 1
    return out + [(len(a) - k, len(b) - k) for k in range(tail, 0, -1)]


def _moved(pairs: list[tuple[int, int]]) -> set[int]:
    """The indices that are not in a longest run that keeps its order."""
    best: list[tuple[int, int]] = []            # for each pair: (length of the run that ends here, previous pair)
    for k, (_, j) in enumerate(pairs):
        length, before = max(((best[p][0], p) for p in range(k) if pairs[p][1] < j), default=(0, -1), key=lambda x: x[0])
        best.append((length + 1, before))
    if not best:
        return set()
    at = max(range(len(best)), key=lambda k: best[k][0])
    kept: set[int] = set()
    while at >= 0:
        kept.add(pairs[at][0])
        at = best[at][1]
    return {i for i, _ in pairs} - kept


# ---- drawing together ----

def grouped(rows: list[Row]) -> list[Row]:
    """One row for the same difference in many places; what follows from another row is left out."""
    members = {(r.places, r.kind, r.what.removeprefix("member ").split(":")[0]) for r in rows if r.what.startswith("member ")}
    out: dict[tuple[object, ...], Row] = {}
    for row in rows:
        kind, _, about = row.what.partition(" ")
        name, _, part = about.partition(": ")
        if kind in ("word", "counters") and part in ("", "offset", "size") and (row.places, row.kind, name.split(".")[0]) in members:
            continue
        key = (row.rule.code, row.kind, row.what, row.old, row.new, row.weight)
        if key in out:
            out[key] = replace(out[key], places=(*out[key].places, *(p for p in row.places if p not in out[key].places)))
        else:
            out[key] = row
    return list(out.values())
