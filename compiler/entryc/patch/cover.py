"""The cover letter: what the series does, counted before and after, what stays as it is, what was shown and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..model.spec import Spec
from .assembly import logic
from .dialect import Dialect, Replaced, region_of
from .mail import counts, paragraphs, stat
from .proof import Proof
from .series import Macro, Patch, Series
from .tree import Tree


@dataclass(frozen=True)
class Size:
    """What a symbol's source has: lines besides comments and blanks, conditional branches."""

    lines: int
    branches: int


def size_of(text: str, dialect: Dialect) -> Size:
    lines = [line for line in logic(text).split("\n") if line]
    marks = tuple(dialect.branches)
    return Size(len(lines), sum(any(word in marks for word in line.replace('"', " ").replace(";", " ").split()) for line in lines))


def sizes(patches: Sequence[Patch], dialect: Dialect) -> list[tuple[str, str, Size, Size]]:
    """For each symbol that gives way: file, symbol, before, after."""
    out = []
    for patch in patches:
        for row in (e for e in patch.step.edits if isinstance(e, Replaced)):
            texts = []
            for text in patch.changes[row.file]:
                lines = text.split("\n")
                region = region_of(lines, row, dialect)
                texts.append("\n".join(lines[region.first:region.last]) if region is not None else "")
            out.append((row.file, row.macro if isinstance(row, Macro) else row.symbol, size_of(texts[0], dialect), size_of(texts[1], dialect)))
    return out


def cover(series: Series, patches: Sequence[Patch], tree: Tree, spec: Spec, digest: str, dialect: Dialect, proof: Proof | None) -> str:
    """The text of the letter, without headings of mail."""
    clean = {True: "committed files only", False: "", None: "no git repository: whether it was changed was not checked"}[tree.clean]
    rows = [f"  {symbol:<24} {before.lines:4d} -> {after.lines:4d} {before.branches:8d} -> {after.branches}"
            for _, symbol, before, after in sizes(patches, dialect)]
    asked = [f"--for {spec.version}"] if spec.version != next(iter(spec.versions), "") else []
    name = spec.source.name.rsplit("/", 1)[-1]
    changed = {file: (added, removed) for patch in patches for file, added, removed in counts(patch)}
    parts = [
        f"Subject: [PATCH 0/{len(patches)}] {series.subject}",
        paragraphs(series.message),
        f"Made for Linux {tree.name} ({clean}).\nThe spec is {name}, its model {digest}.",
        "\n".join(["Source lines besides comments, and lines with a conditional branch:", "", *rows]),
        paragraphs("What stays as it is: " + series.stays.strip()) if series.stays else "",
        "\n".join([*_proved(proof), "  entryc verify " + " ".join([name, *asked, *(f"--object {n}" for n in series.objects[tree.short])])]),
        "\n".join(f"  [{n}] {p.step.subject}" for n, p in enumerate(patches, 1)),
        stat([(file, added, removed) for file, (added, removed) in sorted(changed.items())]),
    ]
    return "\n\n".join(p for p in parts if p) + "\n"


def _proved(proof: Proof | None) -> list[str]:
    """What was shown of the machine code; without a report, only how to show it."""
    if proof is None:
        return ["Whether the machine code does what the spec says is not part of this", "letter. It is proved on the objects, after building, by", ""]
    return ["The objects of a build with this series do what the spec says, for all", "values of registers, in each configuration (claims proved, none",
            "refuted, none unknown):", "", *(f"  {name:<12} {claims:6d}" for name, claims in proof.claims), "",
            f"The objects have sha256 {proof.sha256[:16]}. To see it again:", ""]
