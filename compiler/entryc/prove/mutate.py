"""Small changes of machine code, and whether the proof notices each one.

A mutant is a change of what is decoded at one or two addresses: an instruction dropped, doubled, exchanged with the next one, or decoded
from bytes with one bit flipped (another register, number, condition, width or operation, whatever the bit means). It is killed
when some claim of some configuration is no longer proved. One that no claim notices is compared with the original code (equal.py).
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..image.image import Image
from ..image.lift import LONGEST, Instruction, Lifter
from ..model.spec import Configuration, Path, Spec
from .equal import Equal
from .pcode import pure
from .solver import Solver
from .state import State
from .verify import Run

BESIDE = 1 << 56                                # addresses of instructions that a mutant puts between others
KINDS = ("drop", "double", "swap", "pair", "flip")
NUMBER = re.compile(r"-?(?:0x[0-9a-f]+|\b\d+)")


@dataclass(frozen=True)
class Mutant:
    """What is decoded instead: address -> instructions that stand there, in order."""

    kind: str                                   # drop, double, swap, pair, or what a flipped bit changed
    address: int
    text: str
    patch: tuple[tuple[int, tuple[Instruction, ...], int], ...]         # (address, instructions, where they go on; 0: where each says)

    @property
    def touched(self) -> tuple[Instruction, ...]:
        return tuple(i for _, instructions, _ in self.patch for i in instructions)


@dataclass
class Outcome:
    """What became of a mutant: killed (by a refuted or an unknown claim), equivalent, or survived."""

    mutant: Mutant
    verdict: str
    by: str = ""


@dataclass
class Score:
    """All outcomes of a run."""

    outcomes: list[Outcome] = field(default_factory=list)
    population: int = 0
    same: int = 0                               # flips that give the same instruction again

    def count(self, verdict: str) -> int:
        return sum(1 for o in self.outcomes if o.verdict == verdict)

    @property
    def ratio(self) -> float:
        """Killed, of those that are not proved equivalent."""
        rest = len(self.outcomes) - self.count("equivalent")
        return (self.count("refuted") + self.count("unknown")) / rest if rest else 1.0

    def summary(self) -> str:
        return (f"{len(self.outcomes)} mutants of {self.population}: {self.count('refuted')} refuted, {self.count('unknown')} stopped as unknown, "
                f"{self.count('equivalent')} proved equivalent, {self.count('survived')} survived: {100 * self.ratio:.2f} % of the others killed"
                + (f"; {self.same} flips give the same instruction" if self.same else ""))

    def as_dict(self) -> dict[str, Any]:
        kinds = sorted({o.mutant.kind for o in self.outcomes})
        return {"population": self.population, "same": self.same, "ratio": round(self.ratio, 5),
                "kinds": {k: {v: sum(1 for o in self.outcomes if o.mutant.kind == k and o.verdict == v)
                              for v in ("refuted", "unknown", "equivalent", "survived")} for k in kinds},
                "survivors": [{"kind": o.mutant.kind, "address": o.mutant.address, "text": o.mutant.text, "by": o.by}
                              for o in self.outcomes if o.verdict == "survived"]}


class Patched:
    """A lifter with a mutant in it."""

    def __init__(self, lifter: Lifter, mutant: Mutant) -> None:
        self.lifter = lifter
        self.changed: dict[int, Instruction] = {}
        for number, (address, instructions, end) in enumerate(mutant.patch):
            if not instructions:
                size = lifter.at(address).size
                self.changed[address] = Instruction(address, size, "", "(dropped)", (), None, {}, None, True, end or None)
            for index, instruction in enumerate(instructions):
                at = address if index == 0 else BESIDE + 64 * number + index
                last = index == len(instructions) - 1
                after = (end or None) if last else BESIDE + 64 * number + index + 1
                self.changed[at] = replace(instruction, following=after)

    def at(self, address: int) -> Instruction:
        return self.changed.get(address) or self.lifter.at(address)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.lifter, name)


@dataclass
class _Group:
    """Entry points that run the same shared code: one is tried first."""

    path: Path
    covered: frozenset[int]
    starts: list[State]
    first: bool = True                          # tried before the others that run the same shared code


class Mutation:
    """Mutants of the code that the entry points of a spec run, over all configurations given."""

    def __init__(self, spec: Spec, images: dict[str, Image]) -> None:
        self.spec, self.images = spec, images
        self.solvers = {name: Solver() for name in images}
        self.lifters = {name: Lifter(spec.arch, image) for name, image in images.items()}
        self.all: set[int] = set()
        self.groups: dict[str, list[_Group]] = {name: self._baseline(spec.configurations[name], image) for name, image in images.items()}

    def _baseline(self, configuration: Configuration, image: Image) -> list[_Group]:
        """Unmutated code has to be proved first. Entry points whose code differs in nothing but where it starts are one group."""
        name, found = configuration.name, dict[tuple[Any, ...], _Group]()
        whole = Run(self.spec, image, configuration, self.lifters[name], self.solvers[name])
        for path in whole.paths():
            run = Run(self.spec, image, configuration, self.lifters[name], self.solvers[name], keep=True)
            run.path(path)
            bad = [c for c in run.claims if self.solvers[name].decide(c).verdict != "proved"]
            if bad or run.not_checked:
                raise ValueError(f"{path.name} is not proved in configuration {name}: mutants would say nothing")
            own = [a for a in run.covered if path.placed is None or not 0 <= a - run.address(path) < 64]
            key = (frozenset(own), path.placed[0]) if path.placed else (frozenset(own), path.name)
            found.setdefault(key, _Group(path, frozenset(run.covered), run.starts or []))
        groups = list(found.values())
        self.all.update(a for g in groups for a in g.covered)
        shared = Counter(a for g in groups for a in g.covered)
        seen: set[frozenset[int]] = set()
        for group in groups:
            common = frozenset(a for a in group.covered if shared[a] > 1)
            group.first = common not in seen
            seen.add(common)
        return sorted(groups, key=lambda g: not g.first)

    # ---- the population ----

    def addresses(self) -> list[int]:
        return sorted(self.all)

    def instruction(self, address: int) -> tuple[Instruction, Lifter]:
        """What stands at an address in the first configuration that runs it."""
        for name, groups in self.groups.items():
            if any(address in g.covered for g in groups):
                return self.lifters[name].at(address), self.lifters[name]
        raise KeyError(address)

    def names(self) -> list[tuple[str, int, int]]:
        """(kind, address, bit) of every mutant."""
        out: list[tuple[str, int, int]] = []
        for address in self.addresses():
            instruction, _ = self.instruction(address)
            if instruction.form is None and not instruction.ops:
                continue                        # padding of patched places is no part of the code
            out += [("drop", address, 0), ("double", address, 0), ("swap", address, 0), ("pair", address, 0)]
            out += [("flip", address, bit) for bit in range(8 * instruction.size)]
        return out

    def make(self, kind: str, address: int, bit: int) -> Mutant | None:
        """The mutant of a name; None when the code allows none, or it is the same code."""
        first, lifter = self.instruction(address)
        end = address + first.size
        if kind == "drop":
            return Mutant("drop", address, first.text, ((address, (), end),))
        if kind == "double":
            return None if _leaves(first) or _calls(first) else Mutant("double", address, first.text, ((address, (first, first), end),))
        if kind in ("swap", "pair"):
            if end not in self.all or _leaves(first):
                return None
            second, _ = self.instruction(end)
            if kind == "swap" and (_calls(first) or _calls(second)):
                return None                     # a call leaves the address behind it: elsewhere, it would be another call
            if kind == "pair":
                return Mutant("pair", address, f"{first.text}; {second.text}", ((address, (), end), (end, (), end + second.size)))
            return None if first.data == second.data or any(i.form is None and not i.ops for i in (first, second)) else Mutant(
                "swap", address, f"{first.text}; {second.text}", ((address, (second, first), end + second.size),))
        data = bytearray(lifter.image.bytes_at(address, LONGEST))
        data[bit // 8] ^= 1 << (bit % 8)
        other = lifter.lift(address, bytes(data))
        trusted = first.form is None or "overlay" not in first.form.traits          # what its operations say is all that it does
        if other.size == first.size and other.ops == first.ops and (other.text == first.text or (trusted and other.ops and not _overlaid(other))):
            return None
        return Mutant(_kind(first, other), address, f"{first.text} → {other.text}", ((address, (other,), 0),))

    # ---- verdicts ----

    def judge(self, mutant: Mutant) -> Outcome:
        """Is it killed by some claim of some configuration, proved equivalent in all, or does it survive?"""
        places = {address for address, _, _ in mutant.patch}
        why = self._kill(mutant, places, True)
        if why is not None:
            return why
        # One that changes an instruction with effects outside of the registers is never called equivalent, nor one that exchanges two of them.
        first = [self.instruction(a)[0] for a, _, _ in mutant.patch]
        changed = [not pure(i) for i in (*mutant.touched, *(first if mutant.kind != "swap" else ()))]
        if sum(changed) <= int(mutant.kind == "swap"):
            for name, groups in self.groups.items():
                for group in groups:
                    if places & group.covered:
                        difference = Equal(self.spec, self.spec.configurations[name], self.lifters[name], Patched(self.lifters[name], mutant),
                                           self.solvers[name]).differs(group.starts, places)
                        if difference is not None:
                            return self._kill(mutant, places, False) or Outcome(mutant, "survived", f"{name}, {group.path.name}: {difference}")
            return Outcome(mutant, "equivalent")
        return self._kill(mutant, places, False) or Outcome(mutant, "survived", "it touches memory, a contract or the way on: not called equivalent")

    def _kill(self, mutant: Mutant, places: set[int], first: bool) -> Outcome | None:
        """Is it noticed by an entry point: of those tried first, or of the others?"""
        for name, groups in self.groups.items():
            for group in groups:
                if group.first is first and places & group.covered:
                    why = self._killed(name, group.path, mutant)
                    if why is not None:
                        return Outcome(mutant, *why)
        return None

    def _killed(self, name: str, path: Path, mutant: Mutant) -> tuple[str, str] | None:
        solver = self.solvers[name]
        run = Run(self.spec, self.images[name], self.spec.configurations[name], Patched(self.lifters[name], mutant), solver)  # type: ignore[arg-type]
        run.path(path)
        if run.not_checked:
            return "unknown", f"{name}: {run.not_checked[0]}"
        for claim in run.claims:
            verdict = solver.decide(claim)
            if verdict.verdict != "proved":
                return verdict.verdict, f"{name}, {claim.stub}: {claim.text}"
        return None

    def run(self, names: Iterable[tuple[str, int, int]]) -> Iterator[Outcome]:
        for kind, address, bit in names:
            mutant = self.make(kind, address, bit)
            if mutant is not None:
                yield self.judge(mutant)


def sample(names: Sequence[tuple[str, int, int]], count: int, seed: int) -> list[tuple[str, int, int]]:
    """A seeded choice: half of it flips, half the rest, so that the many flips do not crowd out the others."""
    rng = random.Random(seed)
    flips, others = [n for n in names if n[0] == "flip"], [n for n in names if n[0] != "flip"]
    half = count // 2
    return sorted(rng.sample(flips, min(len(flips), count - half)) + rng.sample(others, min(len(others), half)), key=lambda n: (n[1], n[0], n[2]))


def _calls(instruction: Instruction) -> bool:
    return any(op.name == "CALL" for op in instruction.ops)


def _overlaid(instruction: Instruction) -> bool:
    return instruction.form is not None and "overlay" in instruction.form.traits


def _leaves(instruction: Instruction) -> bool:
    """Does it always go on elsewhere?"""
    return any(op.name in ("BRANCH", "RETURN", "BRANCHIND") for op in instruction.ops) or (
        instruction.form is not None and instruction.form.role in ("return", "stop"))


def _kind(before: Instruction, after: Instruction) -> str:
    """What a flipped bit changed."""
    if after.problem is not None or after.size != before.size:
        return "length"
    if after.mnemonic != before.mnemonic:
        jumps = all(any(op.name == "CBRANCH" for op in i.ops) for i in (before, after))
        return "condition" if jumps else "operation"
    return "number" if NUMBER.sub("#", before.text) == NUMBER.sub("#", after.text) else "register"
