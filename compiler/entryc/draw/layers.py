"""A graph in columns: nodes by how far they are from the start, ways between neighbours only, few crossings. Small integers, no chance."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

ROUNDS = 12
LANE = 10                                       # height of a way that passes a column


@dataclass(frozen=True)
class Node:
    """rank: the column; None: as its ways lead; -1: the last one."""

    name: str
    rank: int | None
    width: int
    height: int


@dataclass(frozen=True)
class Edge:
    """From the right side of a node, `port` below its top, to the left side of another one."""

    source: str
    target: str
    port: int
    label: str = ""


@dataclass
class Place:
    """Where a node, or a way that passes a column, is."""

    x: float = 0
    y: float = 0
    height: int = LANE
    entry: int = LANE // 2                      # where ways come in, below the top


@dataclass(frozen=True)
class Way:
    """An edge with the points that it goes through."""

    edge: Edge
    points: tuple[tuple[float, float], ...]


@dataclass
class Plan:
    """The drawing: where nodes are and how ways go."""

    places: dict[str, Place] = field(default_factory=dict)
    ways: list[Way] = field(default_factory=list)


def arrange(nodes: list[Node], edges: list[Edge], gap: int, space: int) -> Plan:
    """Columns `gap` apart, nodes at least `space` apart. Edges that lead backwards are left out of the ranking and drawn straight."""
    ranks = _ranks(nodes, edges)
    columns: list[list[str]] = [[] for _ in range(max(ranks.values(), default=0) + 1)]
    places = {n.name: Place(height=n.height, entry=18) for n in nodes}
    for node in nodes:
        columns[ranks[node.name]].append(node.name)
    chains: list[list[str]] = []
    for edge in edges:                          # ways to one target share their lanes
        chain = [edge.source]
        for rank in range(ranks[edge.source] + 1, ranks[edge.target]):
            lane = f"{rank}>{edge.target}"
            if lane not in places:
                places[lane] = Place()
                columns[rank].append(lane)
            chain.append(lane)
        chains.append([*chain, edge.target])
    links = sorted({(a, b, edge.port if a == edge.source else LANE // 2) for edge, chain in zip(edges, chains, strict=True)
                    for a, b in pairwise(chain)})
    _order(columns, links)
    width = max((n.width for n in nodes), default=0)
    _settle(columns, links, places, space)
    for index, column in enumerate(columns):
        for name in column:
            places[name].x = index * (width + gap)
    plan = Plan({n.name: places[n.name] for n in nodes})
    for edge, chain in zip(edges, chains, strict=True):
        points: list[tuple[float, float]] = [(places[edge.source].x + width, places[edge.source].y + edge.port)]
        for lane in chain[1:-1]:
            y = places[lane].y + LANE / 2
            points += [(places[lane].x - 2, y), (places[lane].x + width + 2, y)]
        points.append((places[edge.target].x, places[edge.target].y + places[edge.target].entry))
        plan.ways.append(Way(edge, tuple(points)))
    return plan


def _ranks(nodes: list[Node], edges: list[Edge]) -> dict[str, int]:
    """The longest way from the start, for nodes without a rank of their own; the last column holds those of rank -1 alone."""
    ranks = {n.name: n.rank if n.rank is not None and n.rank >= 0 else 1 for n in nodes}
    free = {n.name for n in nodes if n.rank is None}
    for _ in range(len(nodes)):
        before = dict(ranks)
        for edge in edges:
            if edge.target in free and edge.source != edge.target and ranks[edge.source] + 1 < len(nodes):
                ranks[edge.target] = max(ranks[edge.target], ranks[edge.source] + 1)
        if ranks == before:
            break
    last = max((r for name, r in ranks.items() if name in free or r == 0), default=0) + 1
    return {n.name: last if n.rank == -1 else ranks[n.name] for n in nodes}


def _order(columns: list[list[str]], links: list[tuple[str, str, int]]) -> None:
    """Each column by the middle of its neighbours, to and fro."""
    for number in range(ROUNDS):
        forward = number % 2 == 0
        for index in range(1, len(columns)) if forward else range(len(columns) - 2, -1, -1):
            other = columns[index - 1 if forward else index + 1]
            at = {name: i for i, name in enumerate(other)}
            middles: dict[str, float] = {}
            for position, name in enumerate(columns[index]):
                if forward:
                    near = [at[a] + port / 10_000 for a, b, port in links if b == name and a in at]
                else:
                    near = [float(at[b]) for a, b, _ in links if a == name and b in at]
                middles[name] = sum(near) / len(near) if near else float(position)
            columns[index].sort(key=lambda name: middles[name])         # a stable sort: equals stay as they were


def _settle(columns: list[list[str]], links: list[tuple[str, str, int]], places: dict[str, Place], space: int) -> None:
    """Heights: stacked first, then each node as near to the middle of its ways as its neighbours in the column allow."""
    for column in columns:
        y: float = 0
        for name in column:
            places[name].y = y
            y += places[name].height + space
    for number in range(ROUNDS):
        for index in range(1, len(columns)) if number % 2 == 0 else range(len(columns) - 2, -1, -1):
            wanted: list[float] = []
            for name in columns[index]:
                place = places[name]
                if number % 2 == 0:
                    near = [places[a].y + port - place.entry for a, b, port in links if b == name]
                else:
                    near = [places[b].y + places[b].entry - port for a, b, port in links if a == name]
                wanted.append(sum(near) / len(near) if near else place.y)
            _spread(columns[index], wanted, places, space)
    lowest = min((p.y for p in places.values()), default=0)
    for place in places.values():
        place.y = float(round(place.y - lowest))


def _spread(column: list[str], wanted: list[float], places: dict[str, Place], space: int) -> None:
    """Put a column's nodes where they want to be, in order and without touching: groups that would touch move together."""
    groups: list[tuple[float, float, list[str]]] = []       # (top, height with the space below, names)
    for name, y in zip(column, wanted, strict=True):
        group = (y, float(places[name].height + space), [name])
        while groups and groups[-1][0] + groups[-1][1] > group[0]:
            top, height, names = groups.pop()
            count, more = len(names), len(group[2])
            middle = (top * count + (group[0] - height) * more) / (count + more)
            group = (middle, height + group[1], [*names, *group[2]])
        groups.append(group)
    for top, _, names in groups:
        for name in names:
            places[name].y = top
            top += places[name].height + space
