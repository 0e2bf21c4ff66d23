"""Verdicts of one configuration on one image, and how they are told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..image.image import Image
from ..model.spec import Configuration, Spec
from ..source.finding import Finding
from .claim import Claim
from .terms import Term

ASSUMPTIONS = (
    ("A1", "the CPU takes events and returns as its .arch file says"),
    ("A2", "declared memory blocks and stacks do not overlap, and stacks have room for a frame"),
    ("A3", "code arrives from user mode and from the kernel as the boundary blocks say"),
    ("A4", "C functions follow the C ABI and leave the states of their contract as they found them"),
    ("A5", "C returns the index of a method only when the clauses of that method hold of the frame"),
    ("A6", "plain instructions do what the lifter says; entryc verify --crosscheck compares them with an emulator"),
    ("A7", "what strikes between two instructions leaves registers and memory as they were: each entry point is proved by itself"),
)


@dataclass(frozen=True)
class Verdict:
    """proved, refuted or unknown, with the values that refute."""

    claim: Claim
    verdict: str
    by: str                                     # identity, solver, or why it is unknown
    model: dict[str, int] = field(default_factory=dict)


@dataclass
class Report:
    """All verdicts of one configuration on one image."""

    spec: Spec
    configuration: Configuration
    image: Image
    verdicts: list[Verdict]
    seconds: float
    not_checked: list[str]
    replays: dict[int, str] = field(default_factory=dict)       # id of a refuted claim -> what the emulator showed
    missing: list[str] = field(default_factory=list)            # words that the spec places at symbols that the image lacks
    queries: dict[tuple[Term, ...], str] = field(default_factory=dict)          # what the solver was asked, and answered
    contracts: list[str] = field(default_factory=list)          # what is believed of the code around
    covered: frozenset[int] = frozenset()       # addresses of the instructions that some path ran
    timings: dict[str, float] = field(default_factory=dict)     # CPU seconds by entry point, without the solver's part at the end

    def count(self, verdict: str) -> int:
        return sum(1 for v in self.verdicts if v.verdict == verdict)

    @property
    def green(self) -> bool:
        """Every claim proved, and there was something to prove."""
        return bool(self.verdicts) and all(v.verdict == "proved" for v in self.verdicts) and not self.not_checked

    def summary(self) -> str:
        kinds: dict[str, list[int]] = {}
        for v in self.verdicts:
            kinds.setdefault(v.claim.kind, []).append(int(v.verdict == "proved"))
        solver = sum(1 for v in self.verdicts if v.by == "solver")
        lines = [f"configuration {self.configuration.name}: {self.count('proved')} of {len(self.verdicts)} claims proved "
                 f"({solver} by the solver), {self.count('refuted')} refuted, {self.count('unknown')} unknown"
                 f"  [image sha256 {self.image.sha256[:16]}]"]
        lines += ["  " + ", ".join(f"{kind} {sum(rows)}/{len(rows)}" for kind, rows in sorted(kinds.items()))]
        lines += [f"  not checked: {text}" for text in self.not_checked]
        lines += [f"  missing: {text}" for text in self.missing] if not self.green else []
        return "\n".join(lines)

    def table(self) -> str:
        """Every claim on a line."""
        return "\n".join(f"{v.verdict:8} {v.claim.stub:24} {v.claim.kind:9} {v.claim.text}" for v in self.verdicts)

    def findings(self) -> list[Finding]:
        """What is not proved, one finding for each different claim."""
        out: list[Finding] = []
        seen: set[tuple[str, str, str]] = set()
        for v in self.verdicts:
            key = (v.claim.kind, v.claim.text, v.verdict)
            if v.verdict == "proved" or key in seen:
                continue
            seen.add(key)
            code = "P101" if v.verdict == "refuted" else "P102"
            values = ", ".join(f"{name} = {value:#x}" for name, value in sorted(v.model.items())[:4])
            help = [v.claim.detail, f"for example with {values}" if values else "", v.by if v.verdict == "unknown" else "", self.replays.get(id(v.claim), "")]
            out.append(Finding(code, "error", f"{v.verdict}: in {v.claim.stub}, configuration {self.configuration.name}: {v.claim.text}", v.claim.span,
                               "; ".join(part for part in help if part),
                               data={"stub": v.claim.stub, "kind": v.claim.kind, "model": v.model}))
        out += [Finding("P103", "error", f"not checked: {text}") for text in self.not_checked]
        return out

    def as_dict(self) -> dict[str, Any]:
        return {"image": self.image.sha256, "seconds": round(self.seconds, 3), "not_checked": self.not_checked,
                "assumptions": dict(ASSUMPTIONS),
                "verdicts": [{"stub": v.claim.stub, "kind": v.claim.kind, "claim": v.claim.text, "at": str(v.claim.span), "verdict": v.verdict,
                              "by": v.by, **({"detail": v.claim.detail, "model": v.model} if v.verdict != "proved" else {})} for v in self.verdicts]}
