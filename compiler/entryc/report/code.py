"""The code of entry points as a report shows it: what they can run, in pieces that start at symbols, and the bytes that no proof looked at.

Branches are followed on the bytes alone, both ways, so a piece also holds instructions that no execution of the model runs. Nothing here decides
what is proved.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Set
from dataclasses import dataclass, field
from typing import Any

from ..image.image import Image
from ..image.lift import Instruction, Lifter
from ..model.spec import VECTOR_TABLE, Configuration, Path, Spec
from ..model.steps import Call, Jump, flat_steps

MOST = 20_000                                   # instructions of an image that are followed
LARGEST = 1 << 14                               # bytes of a piece that are looked at for what no proof ran
FAR = 1 << 20                                   # from here on, a symbol says nothing about an address

Row = dict[str, Any]


@dataclass(frozen=True)
class Piece:
    """Instructions from a symbol, or from where an entry point starts, up to the next one. `rows` are described in data.py."""

    label: str
    start: int
    rows: tuple[Row, ...]
    addresses: tuple[int, ...]

    @property
    def key(self) -> tuple[Any, ...]:
        """What it is apart from where it lies."""
        return self.label, tuple(tuple(row.items()) for row in self.rows)


@dataclass
class Listing:
    """The code of one configuration. `stubs`: labels of the pieces of each entry point, in the order in which they are run."""

    pieces: dict[str, Piece] = field(default_factory=dict)
    stubs: dict[str, list[str]] = field(default_factory=dict)
    looked: Set[int] | None = None              # addresses of instructions that something was proved about
    coverage: list[Row] | None = None
    forms: dict[str, int] = field(default_factory=dict)         # form -> instructions that are one
    plain: dict[str, int] = field(default_factory=dict)         # mnemonic -> instructions that are taken as the lifter has them
    cut: bool = False                                           # more instructions than a report lists


def listing(spec: Spec, image: Image, configuration: Configuration, covered: Set[int] | None) -> Listing:
    """The code that the entry points and routines of a configuration can run. `covered`: addresses of instructions that some proof ran."""
    return _Reader(spec, image, configuration, covered).read()


class _Reader:
    def __init__(self, spec: Spec, image: Image, configuration: Configuration, covered: Set[int] | None) -> None:
        self.spec, self.image, self.configuration = spec, image, configuration
        self.covered = covered
        self.lifter = Lifter(spec.arch, image)
        callees = {s.callee for p in spec.paths.values() for s in flat_steps(p.steps) if isinstance(s, (Call, Jump))}
        known = callees | {op.symbol for op in spec.ops.values()}
        self.outside = {image.symbols[name] for name in known | image.externs if name in image.symbols}         # C, and code known by contract
        self.names = self._names(known)
        self.symbols = sorted(self.names)
        self.next: dict[int, tuple[tuple[int, ...], bool]] = {}        # address -> (where it can go on, does it run into what follows)
        self.targets: set[int] = set()
        self.marks: list[int] = []
        self.out = Listing()

    def _names(self, known: Set[str]) -> dict[int, list[str]]:
        """The symbols at each address, the best name first: one of the spec, then one that is no marker, then the shortest."""
        out: dict[int, list[str]] = {}
        for name, address in self.image.symbols.items():
            out.setdefault(address, []).append(name)
        for names in out.values():
            if len(names) > 1:
                names.sort(key=lambda n: (n not in self.spec.paths, n not in known, n.startswith("_"), len(n), n))
        return out

    # ---- following ----

    def read(self) -> Listing:
        starts: dict[str, list[int]] = {}
        for path in self.spec.paths.values():
            if path.kind in ("entry", "routine") and self.configuration.holds(path.guard):
                places = self.starts(path)
                if places:
                    starts[path.name] = places
        order = {name: self.follow(places) for name, places in starts.items()}
        self.marks = self._marks({place for places in starts.values() for place in places})
        reached = {a for addresses in order.values() for a in addresses}
        reached |= self.behind(reached)
        groups: dict[int, list[int]] = {}
        for address in sorted(reached):
            groups.setdefault(self.mark(address), []).append(address)
        labels = {start: self.name(start) for start in groups}
        for start, addresses in groups.items():
            self.out.pieces[labels[start]] = self.piece(labels[start], start, addresses)
        for name, addresses in order.items():
            self.out.stubs[name] = list(dict.fromkeys(labels[self.mark(a)] for a in addresses))
        for address in sorted(reached):
            found = self.lifter.at(address)
            if found.form is not None:
                self.out.forms[found.form.name] = self.out.forms.get(found.form.name, 0) + 1
            elif found.plain:
                self.out.plain[found.mnemonic] = self.out.plain.get(found.mnemonic, 0) + 1
        if self.covered is not None:
            self.out.looked = set(self.covered) | self.behind(self.covered) | {p for places in starts.values() for p in places[1:]}
            self.out.coverage = self.coverage(reached, self.out.looked)
        return self.out

    def starts(self, path: Path) -> list[int]:
        """Where an entry point starts, and the slot of a vector table that leads to it."""
        symbol, shift = path.placed or (path.name, 0)
        if symbol not in self.image.symbols or symbol in self.image.externs:
            return []
        out = [self.image.symbols[symbol] + shift]
        if path.event is not None and path.event.found[0] == "table" and VECTOR_TABLE in self.image.symbols:
            out.append(self.image.symbols[VECTOR_TABLE] + path.event.found[1])
        return out

    def follow(self, starts: list[int]) -> list[int]:
        """All addresses that can be reached, straight on first."""
        seen: dict[int, None] = {}
        todo = starts[::-1]
        while todo:
            at = todo.pop()
            while at not in seen:
                if at not in self.next:
                    if len(self.next) >= MOST:
                        self.out.cut = True
                        break
                    self.next[at] = self.successors(at)
                seen[at] = None
                others, straight = self.next[at]
                todo.extend(others)
                if not straight:
                    break
                at += self.lifter.at(at).size
        return list(seen)

    def successors(self, address: int) -> tuple[tuple[int, ...], bool]:
        found = self.lifter.at(address)
        if not found.size or (found.form is not None and found.form.role in ("return", "stop")):
            return (), False
        for op in found.ops:
            if op.name in ("RETURN", "BRANCHIND"):
                return (), False
            if op.name in ("BRANCH", "CBRANCH", "CALL") and op.inputs[0].space == "ram":
                target = op.inputs[0].offset
                self.targets.add(target)
                inside = target not in self.outside and bool(self.image.bytes_at(target, 1))
                return ((target,) if inside else ()), op.name != "BRANCH"
        return (), True

    def behind(self, addresses: Iterable[int]) -> set[int]:
        """Instructions right behind a return that keep the CPU from running on: a claim of their own is about them."""
        out: set[int] = set()
        for address in addresses:
            found = self.lifter.at(address)
            if found.form is None or found.form.role != "return":
                continue
            row = next((r for r in self.spec.arch.returns if r.name == found.form.name), None)
            for name in row.stops if row is not None else ():
                address += found.size
                found = self.lifter.at(address)
                if found.form is None or found.form.name != name:
                    break
                out.add(address)
        return out

    # ---- pieces ----

    def _marks(self, starts: set[int]) -> list[int]:
        """Where pieces start: entry points, paths of the spec, targets, and symbols that no followed code runs into from before."""
        own = starts | {self.image.symbols[n] for n in self.spec.paths if n in self.image.symbols}
        inner = {a + self.lifter.at(a).size for a, (_, straight) in self.next.items() if straight} & self.next.keys()
        ends = {low for low, _ in self.image.segments}
        return sorted(own | ends | {a for a in self.symbols if a not in inner or a in self.targets})

    def mark(self, address: int) -> int:
        index = bisect_right(self.marks, address) - 1
        return self.marks[index] if index >= 0 else address

    def name(self, address: int) -> str:
        """symbol + offset: how people find an address."""
        index = bisect_right(self.symbols, address) - 1
        if index < 0 or address - self.symbols[index] > FAR:
            return f"{address:#x}"
        symbol = self.symbols[index]
        return self.names[symbol][0] + (f" + {address - symbol:#x}" if address != symbol else "")

    def text(self, found: Instruction) -> str:
        """As decoded, with the name of where it goes to: the same code elsewhere looks the same."""
        text = found.text
        for op in found.ops:
            if op.name in ("BRANCH", "CBRANCH", "CALL") and op.inputs[0].space == "ram":
                number = f"{op.inputs[0].offset:#x}"
                return text.replace(f"#{number}", number).replace(number, self.name(op.inputs[0].offset))
        return text

    def row(self, start: int, address: int) -> Row:
        found = self.lifter.at(address)
        size = found.size or 1
        row: Row = {"offset": address - start, "bytes": self.image.bytes_at(address, size).hex(" "),
                    "text": self.text(found) if found.size else "(not decoded)"}
        if found.form is not None:
            row["form"] = found.form.name
        return row

    def piece(self, label: str, start: int, addresses: list[int]) -> Piece:
        rows, before = [], start
        for address in addresses:
            row = self.row(start, address)
            if address > before:
                row["gap"] = address - before
            inner = [n for n in self.names.get(address, []) if n != label]
            if inner:
                row["labels"] = ", ".join(inner)
            rows.append(row)
            before = address + (self.lifter.at(address).size or 1)
        return Piece(label, start, tuple(rows), tuple(addresses))

    # ---- what no proof looked at ----

    def coverage(self, reached: Set[int], looked: Set[int]) -> list[Row]:
        order = sorted(looked)
        out = []
        for start in sorted({self.mark(a) for a in reached | looked}):
            data = self.image.bytes_at(start, self.length(start))
            row: Row = {"symbol": self.name(start), "address": start, "size": len(data), "looked_at": 0, "padding": 0, "open": []}
            at = start
            while at < start + len(data):
                if at in looked:
                    size = self.lifter.at(at).size or 1
                    row["looked_at"] += size
                elif padding := self.padding(data, at - start, order, start):
                    size = padding
                    row["padding"] += size
                elif at - start >= LARGEST:
                    size = self.until(order, at, start + len(data)) - at
                    row["open"].append({"offset": at - start, "size": size, "bytes": "", "text": "(not listed)", "reached": False})
                else:
                    size = min(self.lifter.at(at).size or 1, self.until(order, at, start + len(data)) - at)
                    shown = self.row(start, at)
                    row["open"].append({"offset": at - start, "size": size, "bytes": self.image.bytes_at(at, size).hex(" "), "text": shown["text"],
                                        "reached": at in reached})
                at += size
            row["uncovered"] = sum(r["size"] for r in row["open"])
            out.append(row)
        return out

    def length(self, start: int) -> int:
        """Up to the next piece, or the end of the segment."""
        index = bisect_right(self.marks, start)
        end = next((low + len(data) for low, data in self.image.segments if low <= start < low + len(data)), start)
        return min(self.marks[index], end) - start if index < len(self.marks) else end - start

    def until(self, order: list[int], at: int, end: int) -> int:
        index = bisect_right(order, at)
        return min(order[index], end) if index < len(order) else end

    def padding(self, data: bytes, offset: int, order: list[int], start: int) -> int:
        """How many bytes of padding stand at an offset, up to what a proof looked at."""
        index = bisect_left(order, start + offset)
        end = min(len(data), order[index] - start) if index < len(order) else len(data)
        count = 0
        while offset + count < end and data[offset + count] == self.spec.arch.padding:
            count += 1
        return count
