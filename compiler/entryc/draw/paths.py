"""The graph of paths: entry points on the left, exits on the right, between them what they go through; bars show whose stack and states are in use."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from ..model.spec import Path, Spec
from ..model.steps import Call, ExitTo, Goto, Jump, Origin, Step, Through, flat_steps
from ..model.surroundings import ANY
from .along import Along, Stage, words
from .layers import Edge, Node, Plan, arrange
from .svg import SMALL, area, box, escape, legend, line, n, picture, short

WIDTH, TOP, BAR, HEAD = 218, 96, 13, 36         # of a node; where nodes start; height of a bar; of a node's title
MARGIN, LABEL = 14, 54                          # left and right of the picture; room for the bars' names
METHOD, CALLED = "method", "called"             # what a way may be called
DASHES = {METHOD: "5 3", CALLED: "1 3"}
MOST_CALLS = 3
MOST_APART = 4                                  # entry points with one body and different C functions that are drawn apart


@dataclass
class Box:
    """A path as the graph shows it. `ways`: targets with what the way is called, by arm."""

    path: Path
    title: str
    facts: str
    stages: list[Stage]
    calls: dict[str, list[str]] = field(default_factory=dict)           # arm -> C functions
    ways: list[tuple[str, str, str]] = field(default_factory=list)      # (arm, target, label)


def paths_svg(along: Along, name: str = "paths") -> str:
    """The picture. Without a plan (code that exists), paths have no bars."""
    boxes = boxes_of(along)
    heads = along.switched
    nodes = [Node(b.path.name, _rank(b), WIDTH, _height(b, heads)) for b in boxes]
    known = {b.path.name for b in boxes}
    edges = [Edge(b.path.name, target, _port(b, arm, heads), label) for b in boxes for arm, target, label in b.ways if target in known]
    plan = arrange(nodes, edges, gap=44, space=16)
    right = max((p.x + WIDTH for p in plan.places.values()), default=0) + 2 * MARGIN
    bottom = max((p.y + p.height for p in plan.places.values()), default=0)
    title = f"Paths of {along.spec.name}" + (f", configuration {along.configuration.name}" if along.stages else "")
    told = ["bars: from arrival to the end of each path"] if along.stages else []
    told += ["dashed: C chooses the method", *(["dotted: calls it, and goes on when it comes back"] if any(e.label == CALLED for e in edges) else [])]
    body = [line(MARGIN, 30, title, "strong"), line(MARGIN, 50, "; ".join(told), "dim"),
            *legend(MARGIN, 74, name)]
    body += _arrows(plan, name)
    for b in boxes:
        place = plan.places[b.path.name]
        body += _box(along, b, heads, place.x + MARGIN, place.y + TOP, name)
    return picture(name, title, _describe(boxes), max(right, 560), bottom + TOP + MARGIN, body) + "\n"


def boxes_of(along: Along) -> list[Box]:
    """The paths that are drawn: entry points with the same body once."""
    spec, planned = along.spec, dict[str, list[Stage]]()
    for stage in along.stages:
        planned.setdefault(stage.path, []).append(stage)
    bodies: dict[object, list[Path]] = {}
    for path in spec.paths.values():
        if along.configuration.holds(path.guard) or not along.stages:
            bodies.setdefault(_body(path) if path.kind == "entry" else path.name, []).append(path)
    for key, paths in list(bodies.items()):     # a few that differ in the C that they call are drawn apart
        functions = dict.fromkeys(map(_functions, paths))
        if 1 < len(functions) <= MOST_APART:
            del bodies[key]
            bodies |= {(key, f): [p for p in paths if _functions(p) == f] for f in functions}
    of_body = {_body(p): planned[p.name] for p in reversed(spec.paths.values()) if p.kind == "entry" and p.name in planned}
    through = {s.path for p in spec.paths.values() for s in flat_steps(p.steps) if isinstance(s, Through)}
    wanted = {s.path for p in spec.paths.values() for s in flat_steps(p.steps) if isinstance(s, Goto)}
    out: list[Box] = []
    for paths in bodies.values():
        path = paths[0]
        if path.kind == "path" and path.name in through - wanted and not path.called:
            continue                            # its steps stand in other paths
        row = Box(path, _title(paths), _facts(spec, paths),
                  planned.get(path.name) or of_body.get(_body(path), []))
        _ways(along, row)
        for other in paths[1:]:                 # what others of the body call
            more = Box(other, "", "", row.stages)
            _ways(along, more)
            for arm, names in more.calls.items():
                row.calls[arm] = list(dict.fromkeys([*row.calls.get(arm, []), *names]))
        out.append(row)
    order = {name: i for i, name in enumerate(spec.paths)}
    return sorted(out, key=lambda b: order[b.path.name])


def _title(paths: list[Path]) -> str:
    """The name of a path; of several, the first and the last if they are numbered, else how many there are."""
    if len(paths) == 1:
        return paths[0].name
    numbered = all(p.number is not None and p.name.endswith(f"_{p.number}") for p in paths)
    return f"{paths[0].name} … {paths[-1].name}" if numbered else f"{paths[0].name} and {len(paths) - 1} more"


def _body(path: Path) -> tuple[object, ...]:
    """Entry points of one kind have the same: their steps stand at the same places and lead to the same paths."""
    steps = flat_steps(path.steps)
    ways = [s.targets if isinstance(s, ExitTo) else s.path for s in steps if isinstance(s, (Goto, Through, ExitTo))]
    return (path.kind, path.origin, path.stack, path.paranoid, *((s.span.file.name, s.span.line, s.span.column) for s in path.steps), *ways)


def _functions(path: Path) -> tuple[str, ...]:
    return tuple(s.callee for s in flat_steps(path.steps) if isinstance(s, (Call, Jump)))


def _facts(spec: Spec, paths: list[Path]) -> str:
    """What a path is, in a few words; of entry points with the same body, what they have in common."""
    path = paths[0]
    if path.kind == "entry" and path.event is not None:
        events = {p.event.name for p in paths if p.event is not None}
        where = (f", stack {path.stack}" if path.stack else "") + (", paranoid" if path.paranoid else "")
        return (path.event.name if len(events) == 1 else f"{len(events)} events") + f" from {path.origin}{where}"
    if path.kind == "exit":
        row = spec.return_of(path)
        return f"to {path.origin}" + (f" by {row.name}" if row is not None else "")
    return {"routine": "called by C", "path": "called, comes back" if path.called else "shared"}.get(path.kind, path.kind)


def _ways(along: Along, row: Box) -> None:
    """Where a path goes on, and what C it calls, for each of its arms."""
    def add(steps: Iterable[Step], arm: str) -> None:
        for step in steps:
            if not along.configuration.holds(step.guard) and row.stages:
                continue
            if isinstance(step, Origin):
                for name, inside in (("user", step.user), ("kernel", step.kernel), *step.others):
                    add(inside, name)
            elif isinstance(step, Goto):
                row.ways.append((arm, step.path, ""))
            elif isinstance(step, Through):
                if along.spec.paths[step.path].called:
                    row.ways.append((arm, step.path, CALLED))
                else:                           # its steps stand here
                    add(along.spec.paths[step.path].steps, arm)
            elif isinstance(step, ExitTo):
                row.ways += [(arm, target, METHOD if step.by_method else "") for target in step.targets]
            elif isinstance(step, (Call, Jump)):
                row.calls.setdefault(arm, []).append(step.callee)
    add(row.path.steps, "")


def _rank(b: Box) -> int | None:
    """Entry points and routines come first, exits last; the others as their ways lead."""
    return 0 if b.path.kind in ("entry", "routine") else -1 if b.path.kind == "exit" else None


# ---- a box ----

def _arms(b: Box) -> list[str]:
    """The arms of a path in order, as its rows show them: the common steps first."""
    names = [s.arm for s in b.stages] or [""]
    extra = [arm for arm in dict.fromkeys([*b.calls, *(a for a, _, _ in b.ways)]) if arm and arm not in names]
    return [*dict.fromkeys(names), *extra]


def _bars(b: Box, arm: str, heads: list[str]) -> list[str]:
    """The columns of an arm of which something is known."""
    stage = _stage(b, arm)
    return [h for h in heads if stage is not None and not {"?", ANY}.issuperset(stage.values[h])]


def _stage(b: Box, arm: str) -> Stage | None:
    return next((s for s in b.stages if s.arm == arm), None)


def _calls(b: Box, arm: str) -> list[str]:
    """The C functions of an arm; those outside of arms belong to the first row."""
    names = b.calls.get(arm, []) + (b.calls.get("", []) if arm and arm == _arms(b)[0] else [])
    names = list(dict.fromkeys(names))
    return names if len(names) <= MOST_CALLS else [*names[:MOST_CALLS - 1], f"… {len(names) - MOST_CALLS + 1} more"]


def _arm_height(b: Box, arm: str, heads: list[str]) -> int:
    bars = len(_bars(b, arm, heads)) or int(_stage(b, arm) is not None)
    return 16 * (len(_arms(b)) > 1) + BAR * bars + 14 * len(_calls(b, arm)) + 6


def _height(b: Box, heads: list[str]) -> int:
    return HEAD + sum(_arm_height(b, arm, heads) for arm in _arms(b)) + 4


def _port(b: Box, arm: str, heads: list[str]) -> int:
    """The height at which a way leaves: the middle of its arm."""
    y = HEAD
    for name in _arms(b):
        height = _arm_height(b, name, heads)
        if name == arm or (not arm and name == _arms(b)[0]):
            return y + height // 2
        y += height
    return HEAD // 2


def _box(along: Along, b: Box, heads: list[str], x: float, y: float, name: str) -> list[str]:
    height = _height(b, heads)
    out = [f"<g><title>{escape(f'{b.title}: {b.facts}')}</title>", box(x, y, WIDTH, height, round=4)]
    side = {"user": "user", "kernel": "kernel"}.get(b.path.origin or "", "") if b.path.kind in ("entry", "exit") else ""
    if side:
        out += area(x + (1 if b.path.kind == "entry" else WIDTH - 6), y + 1, 5, height - 2, side, name)
    out += [line(x + 12, y + 16, _fitting(b.title, 27), "strong", title=b.title), line(x + 12, y + 29, short(b.facts, 32), "small dim", title=b.facts)]
    at = y + HEAD
    for arm in _arms(b):
        if len(_arms(b)) > 1:
            out.append(line(x + 12, at + 11, short(f"from {arm}" if arm else "common", 30), "small strong"))
            at += 16
        stage, bars = _stage(b, arm), _bars(b, arm, heads)
        if stage is not None and not bars:
            out.append(line(x + 12, at + 9, "nothing known yet" if arm == ANY else "nothing known", "small dim"))
            at += BAR
        for head in bars:
            out += _bar(along, stage, head, x + 12, at, name) if stage is not None else []
            at += BAR
        for call in _calls(b, arm):
            out.append(line(x + 12, at + 11, short(call if call.startswith("…") else f"C {call}", 32), "small", title=call))
            at += 14
        at += 6
    return [*out, "</g>"]


def _fitting(title: str, most: int) -> str:
    """A title in so many characters; what is said of how many there are stays."""
    head, more, count = title.partition(" and ")
    return short(head, most - len(more + count)) + more + count


def _bar(along: Along, stage: Stage, head: str, x: float, y: float, name: str) -> list[str]:
    """One column of a stage from left to right: runs of the same value."""
    values = stage.values[head]
    whole = WIDTH - LABEL - 24
    out = [line(x, y + 9, short(head, 8), "small dim", title=head)]
    start = 0
    while start < len(values):
        end = start
        while end < len(values) and values[end] == values[start]:
            end += 1
        left, right = x + LABEL + whole * start / len(values), x + LABEL + whole * end / len(values)
        fits = int((right - left - 4) / SMALL)
        out += [f"<g><title>{escape(words(head, values[start]))}</title>", *area(left, y, right - left - 1, BAR - 2, along.owner(head, values[start]), name)]
        if fits >= min(len(values[start]), 3):
            out.append(line(left + 3, y + 9, short(values[start], fits), "small"))
        out.append("</g>")
        start = end
    return out


def _arrows(plan: Plan, name: str) -> list[str]:
    """Ways as lines; where several share a piece, it is drawn once. Dashed or dotted: all that go there are of that kind."""
    pieces: dict[tuple[tuple[float, float], tuple[float, float], bool], set[str]] = {}
    for way in plan.ways:
        points = [(x + MARGIN, y + TOP) for x, y in way.points]
        for a, b in pairwise(points):
            key = (a, b, b == points[-1])
            pieces.setdefault(key, set()).add(way.edge.label)
    out: list[str] = []
    for ((left, top), (right, bottom), last), labels in pieces.items():
        dashes = DASHES.get(next(iter(labels))) if len(labels) == 1 else None
        middle = n((left + right) / 2)
        way_there = f"H{n(right)}" if top == bottom else f"C{middle} {n(top)} {middle} {n(bottom)} {n(right)} {n(bottom)}"
        out.append('<path class="arrow"' + (f' stroke-dasharray="{dashes}"' if dashes else "") + f' d="M{n(left)} {n(top)}{way_there}"'
                   + (f' marker-end="url(#{name}-head)"' if last else "") + "/>")
    return out


def _describe(boxes: list[Box]) -> str:
    """The graph in words."""
    out: list[str] = []
    for b in boxes:
        ways = [target + (f" ({label})" if label else "") for _, target, label in b.ways]
        calls = [c for names in b.calls.values() for c in names]
        out.append(f"{b.title}, {b.facts}" + (f", calls {', '.join(dict.fromkeys(calls))}" if calls else "")
                   + (f", goes to {', '.join(dict.fromkeys(ways))}" if ways else "") + ".")
    return " ".join(out)
