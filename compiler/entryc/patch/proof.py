"""What `entryc verify --report` found on objects that were built from the series: taken into the cover letter, if it is about this model and green."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..source.text import read_bytes
from .tree import refused

LARGEST = 256 << 20


@dataclass(frozen=True)
class Proof:
    """Claims by configuration, all of them proved, and the hash of what they are about."""

    claims: tuple[tuple[str, int], ...]
    sha256: str


def load_proof(path: Path, digest: str) -> Proof:
    """Read a report. Raises Findings: no report, about another model, or not all proved."""
    try:
        data: Any = json.loads(read_bytes(path, LARGEST).decode("utf-8"))
        model, green = data["spec"]["model"], data["green"]
        claims = tuple((str(row["name"]), int(data["verdicts"][row["name"]]["count"]["proved"])) for row in data["configurations"] if row["proved_here"])
        left_out = [row["name"] for row in data["configurations"] if not row["proved_here"]]
        sha256 = str(data["image"]["sha256"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as problem:
        raise refused("E388", f"{path} is no report of entryc verify: {type(problem).__name__}",
                      "entryc verify SPEC --object FILE … --report FILE.json writes one") from None
    if model != digest:
        raise refused("E388", f"{path} is about another model: {model}, the series is made from {digest}", "build with this series, and prove that")
    if green is not True or left_out:
        raise refused("E388", f"{path} does not show all of it proved" + (f": {', '.join(left_out)} left out" if left_out else ""))
    return Proof(claims, sha256)
