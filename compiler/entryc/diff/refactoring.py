"""Which entry points a change touches, what is proved of each, and the conclusion: a refactoring, or not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..model.spec import Configuration, Path, Spec
from ..model.steps import ExitTo, Goto, Through, flat_steps
from ..prove.solver import Solver
from ..prove.state import Stuck
from .compare import Row, paired
from .effects import Made, Piece, pieces
from .notes import CODE_ONLY
from .renames import pair_names
from .rules import CATEGORIES, LEVELS
from .same import Watch, alike
from .table import TABLE
from .tree import Walker

Data = dict[str, Any]


def path_pairs(old: Spec, new: Spec) -> list[tuple[Path, Path]]:
    """Which path of the old revision is which of the new one."""
    before, after = pair_names(old, new)
    first, second = ([Walker(TABLE, names).item(p, "", "") for p in names.spec.paths.values()] for names in (before, after))
    return [(a.source, b.source) for a, b in ((first[i], second[j]) for i, j in paired(first, second, ordered=False))
            if isinstance(a.source, Path) and isinstance(b.source, Path)]


def symbol_names(old: Spec, new: Spec) -> dict[str, str]:
    """Symbols of paths in the new revision -> in the old one."""
    return {b.name: a.name for a, b in path_pairs(old, new)}


def reached(spec: Spec, path: Path) -> set[str]:
    """The names of the paths that a path can go through, itself included."""
    out: set[str] = set()
    todo = [path.name]
    while todo:
        name = todo.pop()
        if name in out or name not in spec.paths:
            continue
        out.add(name)
        for step in flat_steps(spec.paths[name].steps):
            if isinstance(step, (Goto, Through)):
                todo.append(step.path)
            elif isinstance(step, ExitTo):
                todo += step.targets
    return out


def same(old: Made, new: Made, names: Mapping[str, str], only: str | None) -> Data:
    """The proof, configuration by configuration, of every entry point and routine whose code differs in both revisions."""
    pairs = path_pairs(old.spec, new.spec)
    rows: dict[tuple[Any, ...], Data] = {}
    count, configurations = 0, []
    for name, configuration in new.spec.configurations.items():
        if only not in (None, name):
            continue
        if name not in old.spec.configurations:
            rows[(name,)] = {"names": [], "configurations": [name], "verdict": "differs", "detail": "only the new revision has it", "state": {}}
            continue
        configurations.append(name)
        touched = _touched(old, new, names, old.spec.configurations[name], configuration, pairs)
        if not touched:
            continue
        solver = Solver()
        watches = [Watch(m.spec, m.images[name], m.spec.configurations[name], solver) for m in (old, new)]
        found = alike(watches[0], watches[1], touched, solver)
        while True:
            try:
                path, verdict, detail, state, compared = next(found)
            except StopIteration:
                break
            except Stuck as problem:            # the machine cannot follow it: no verdict
                rows[(name, str(problem))] = {"names": [], "configurations": [name], "verdict": "unknown", "detail": str(problem), "state": {}}
                break
            count += compared
            row = rows.setdefault((verdict, detail, tuple(state.items())), {
                "names": [], "configurations": [], "verdict": verdict, "detail": detail, "state": state})
            row["names"] += [path.name] if path.name not in row["names"] else []
            row["configurations"] += [name] if name not in row["configurations"] else []
        for side, made, other in (("old", old, {a.name for a, _ in pairs}), ("new", new, {b.name for _, b in pairs})):
            alone = [p.name for p in made.spec.paths.values() if p.kind in ("entry", "routine") and configuration.holds(p.guard) and p.name not in other]
            if alone:
                row = rows.setdefault((side,), {"names": alone, "configurations": [], "verdict": "differs", "detail": f"only the {side} revision has it",
                                                "state": {}})
                row["configurations"].append(name)
    return {"configurations": configurations, "stubs": list(rows.values()), "comparisons": count, "conclusion": ""}


STEPS = frozenset(["D026", "D070", "D080", "D081", "D082", "D083", "D084", "D085", "D086", "D090", "D092", "D095", "D097", "D098", "D099"])
MEANT = (CATEGORIES[0], *CATEGORIES[2:4])       # user ABI, security, behaviour
PROVED = "proved: C, user mode and interrupted kernel code see no difference"


def weighed(rows: list[Row], result: Data) -> list[Row]:
    """Rows about steps weigh as code only, where the machine code is proved to behave as before."""
    if any(r["verdict"] != "proved" for r in result["stubs"]):
        return rows
    out = [replace(r, notes=(*r.notes, PROVED), weight=CODE_ONLY) if r.rule.code in STEPS and r.level != LEVELS[-1] else r for r in rows]
    return sorted(out, key=lambda r: LEVELS.index(r.level))


def _touched(old: Made, new: Made, names: Mapping[str, str], before: Configuration, after: Configuration,
             pairs: list[tuple[Path, Path]]) -> list[tuple[Path, Path]]:
    """Entry points and routines with other instructions on some way that they can take."""
    mine, theirs = pieces(old, before), pieces(new, after)

    def code(piece: Piece | None) -> list[str] | None:
        return None if piece is None else [text for _, text in piece.rows]

    def differs(a: Path, b: Path) -> bool:
        here = {names.get(n, n): theirs.get(n) for n in reached(new.spec, b)}
        there = {n: mine.get(n) for n in reached(old.spec, a)}
        return any(code(here.get(n)) != code(there.get(n)) for n in {*here, *there})
    return [(a, b) for a, b in pairs if b.kind in ("entry", "routine") and before.holds(a.guard) and after.holds(b.guard) and differs(a, b)]


def concluded(rows: list[Row], result: Data) -> str:
    """A refactoring, or not: the machine code behaves as before, and nothing else that the spec says means something else."""
    verdicts = {r["verdict"] for r in result["stubs"]}
    if "differs" in verdicts:
        return "no refactoring: the machine code behaves otherwise"
    if "unknown" in verdicts:
        return "not proved: see what is unknown"
    code = f"proved, by {result['comparisons']} comparisons, for all values of registers, slots and memory" if verdicts else "every instruction is the same"
    meant, c_abi = (sorted({r.rule.code for r in weighed(rows, result) if r.category in names}) for names in (MEANT, CATEGORIES[1:2]))
    if meant:
        return f"no refactoring: the assembly behaves alike ({code}), but the spec means something else: {', '.join(meant)}"
    return f"refactoring: {code}" + (f"; C has to be compiled anew: {', '.join(c_abi)}" if c_abi else "")
