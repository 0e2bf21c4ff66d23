"""A run's report as one plain value: what `--report FILE` holds, and what the page is made of.

Names of fields are stable. Numbers are integers or seconds as floats, addresses are integers, `at` is "file:line:column".

    schema          1; a change that breaks readers gives another number
    tool            {name, version} of what made the report
    date            UTC, ISO 8601; null unless SOURCE_DATE_EPOCH or the caller gives one
    spec            {name, sha256 (of the text read), used: [files], cpu, cpu_title, cpu_sha256, target, license}
    image           {path, sha256}; null for code that was assembled for the proof: then each configuration has an image of its own
    green           every claim of every configuration of this report is proved, and nothing is listed as not checked
    count           {total, proved, refuted, unknown, not_checked} over all configurations
    configurations  [{name, at, features: [names], proved_here}]; all that the spec names. proved_here: this report is about it too
    features        [{name, kind, number, meaning, at}]
    verdicts        configuration -> {image (sha256), seconds, count, kinds: {kind: count}, by: {how: claims}, timings: {entry point: seconds},
                    not_checked: [text], missing: [text], assumptions: {A1: text}, listing_cut,
                    verdicts: [{stub, path, kind, claim, at, verdict, by, and unless proved: detail, model: {name: value}, replay?}]}
                    stub: the entry point and where it arrives from; path: the entry point; verdict: proved, refuted, unknown
    lines           [{file, line, text}]: every source line that a claim refers to
    assumptions     [{name, text}], A1 … An of all reports
    facts           [{text, reason, when, at}] that the spec assumes of its kernel, and what it says that C promises
    declared        [{name, kind: code|op, text: [lines], at}]: what C and called assembly need, keep and change
    contracts       text -> [configurations]: what is believed of the code around, if the reports say it
    patched         text -> [configurations]: what changes the code while the kernel runs, if the images say it
    trusted         {packages: [{name, version, role}], overlay: [{form, text, manual, count}], plain: [{mnemonic, count}],
                    events: [{name, manual}], returns: [{name, manual}]}
    frames          [{name, c_name, size, word, at, slots: [{name, offset, size, kind, origin, hardware}]}], lowest address first
    stubs           [{name, kind, event, number, at, code: [labels], paths: [names], configurations: [names]}]: entry points and routines
    paths           [{name, kind, at, parts: [{file, first, lines: [text]}]}]: what the spec says of each path that a stub goes through
    code            [{label, stubs: [names], variants: [{starts: {configuration: address}, rows}]}]; configurations with the same code share a variant.
                    rows: {offset, bytes, text, form?, labels? (symbols inside), gap? (bytes skipped before), open? ([configurations] in
                    which nothing was proved about it)}
    coverage        configuration -> [{symbol, address, size, looked_at, padding, uncovered, open: [{offset, size, bytes, text, reached}]}], bytes;
                    null when the reports do not say what was run. reached: following branches both ways leads there
    extra           name -> anything the caller gave: "mutants" (see prove/mutate.py), "assembled", "crosscheck", …
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Set
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path as File
from typing import Any

from .. import __version__
from ..draw.frame import frame_row
from ..model.digest import model_digest
from ..model.expr import show
from ..model.spec import Path, Spec
from ..model.steps import ExitTo, Goto, Through, flat_steps
from ..model.surroundings import Guard, StateNeed
from ..prove.verify import ASSUMPTIONS, Report
from ..source.text import SourceFile, Span
from .code import Listing, Piece, listing

SCHEMA = 1
VERDICTS = ("proved", "refuted", "unknown")
PACKAGES = (("pypcode", "lifter: what plain instructions do"), ("capstone", "decoder: which instructions the bytes are"),
            ("z3-solver", "solver: claims that are not decided by equal terms"), ("pyelftools", "ELF reader: which bytes lie where, and symbols"))

Row = dict[str, Any]


def report_data(spec: Spec, reports: Mapping[str, Report], *, image: File | str | None = None, sha256: str | None = None,
                extra: Mapping[str, Any] | None = None, date: str | None = None) -> Row:
    """Everything that a report says. `reports`: by configuration; `image`: the file they are about, if there is one; `sha256`: its hash, if not theirs."""
    hashes = {r.image.sha256 for r in reports.values()}
    listings = {name: listing(spec, r.image, r.configuration, getattr(r, "covered", None)) for name, r in reports.items()}
    verdicts = {name: _verdicts(spec, r, listings[name]) for name, r in reports.items()}
    stubs, paths = _stubs(spec, reports, listings)
    return {
        "schema": SCHEMA,
        "tool": {"name": "entryc", "version": __version__},
        "date": date or _epoch(),
        "spec": {"name": spec.source.name, "sha256": _hash(spec.source), "model": model_digest(spec), "used": list(spec.used),
                 "cpu": spec.arch.name, "cpu_title": spec.arch.title,
                 "cpu_sha256": _hash(spec.arch.source), "target": spec.target, "license": spec.license},
        "image": None if image is None else {"path": str(image), "sha256": sha256 or (hashes.pop() if len(hashes) == 1 else None)},
        "green": bool(reports) and all(v["count"]["total"] and v["count"]["total"] == v["count"]["proved"] and not v["not_checked"] for v in verdicts.values()),
        "count": {key: sum(v["count"][key] for v in verdicts.values()) for key in ("total", *VERDICTS, "not_checked")},
        "configurations": [{"name": c.name, "at": str(c.span), "features": sorted(c.features), "proved_here": c.name in reports}
                           for c in spec.configurations.values()],
        "features": [{"name": f.name, "kind": f.kind, "number": f.number, "meaning": f.meaning, "at": str(f.span)} for f in spec.features.values()],
        "verdicts": verdicts,
        "lines": _lines(reports),
        "assumptions": [{"name": key, "text": text} for key, text in {k: t for v in verdicts.values() for k, t in v["assumptions"].items()}.items()],
        "facts": _facts(spec),
        "declared": _declared(spec),
        "contracts": _by_text({name: getattr(r, "contracts", None) or () for name, r in reports.items()}),
        "patched": _by_text({name: getattr(r.image, "notes", ()) for name, r in reports.items()}),
        "trusted": _trusted(spec, listings),
        "frames": [frame_row(spec, f) for f in spec.frames.values()],
        "stubs": stubs,
        "paths": paths,
        "code": _code(listings),
        "coverage": None if any(x.coverage is None for x in listings.values()) else {name: x.coverage for name, x in listings.items()},
        "extra": dict(extra or {}),
    }


def _epoch() -> str | None:
    """The date that the surroundings ask for: without it a page is the same on every day."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not text.isdecimal() or int(text) >= 1 << 35:
        return None
    return datetime.fromtimestamp(int(text), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _hash(source: SourceFile) -> str:
    return hashlib.sha256(source.text.encode()).hexdigest()


def _when(guard: Guard) -> str:
    return " and ".join(name if wanted else f"not {name}" for name, wanted in sorted(guard))


# ---- verdicts ----

def _verdicts(spec: Spec, report: Report, code: Listing) -> Row:
    """One configuration."""
    replays: dict[int, str] = getattr(report, "replays", {})
    rows: list[Row] = []
    kinds: dict[str, dict[str, int]] = {}
    by: dict[str, int] = {}
    paths: dict[str, str] = {}
    for v in report.verdicts:
        claim = v.claim
        if claim.stub not in paths:
            paths[claim.stub] = _path_of(spec, claim.stub)
        row: Row = {"stub": claim.stub, "path": paths[claim.stub], "kind": claim.kind, "claim": claim.text, "at": str(claim.span),
                    "verdict": v.verdict, "by": v.by}
        if v.verdict != "proved":
            row |= {"detail": claim.detail, "model": dict(sorted(v.model.items()))}
            if id(claim) in replays:
                row["replay"] = replays[id(claim)]
        rows.append(row)
        count = kinds.setdefault(claim.kind, dict.fromkeys(("total", *VERDICTS), 0))
        count["total"] += 1
        count[v.verdict] += 1
        if v.verdict == "proved":
            by[v.by] = by.get(v.by, 0) + 1
    return {"image": report.image.sha256, "seconds": round(report.seconds, 3),
            "count": {**{key: sum(k[key] for k in kinds.values()) for key in ("total", *VERDICTS)}, "not_checked": len(report.not_checked)},
            "kinds": dict(sorted(kinds.items())), "by": dict(sorted(by.items())),
            "timings": {name: round(seconds, 4) for name, seconds in (getattr(report, "timings", None) or {}).items()},
            "not_checked": list(report.not_checked), "assumptions": dict(getattr(report, "assumptions", None) or ASSUMPTIONS),
            "missing": list(getattr(report, "missing", ())), "listing_cut": code.cut, "verdicts": rows}


def _lines(reports: Mapping[str, Report]) -> list[Row]:
    found = {(v.claim.span.file.name, v.claim.span.line): v.claim.span for r in reports.values() for v in r.verdicts}
    return [{"file": file, "line": line, "text": span.snippet} for (file, line), span in sorted(found.items())]


def _path_of(spec: Spec, stub: str) -> str:
    """The entry point of "NAME from kernel, on its own stack"."""
    found = [n for n in (stub, stub.split(" from ")[0], stub.split(",")[0], stub.split(" ")[0]) if n in spec.paths]
    return found[0] if found else stub


# ---- what the spec says ----

def _stubs(spec: Spec, reports: Mapping[str, Report], listings: Mapping[str, Listing]) -> tuple[list[Row], list[Row]]:
    """Entry points and routines in the order written, and the paths that they go through."""
    stubs: list[Row] = []
    paths: dict[str, Row] = {}
    for path in spec.paths.values():
        if path.kind not in ("entry", "routine"):
            continue
        names = _through(spec, path)
        for name in names:
            if name not in paths:
                paths[name] = {"name": name, "kind": spec.paths[name].kind, "at": str(spec.paths[name].span), "parts": _parts(spec.paths[name])}
        labels = dict.fromkeys(label for code in listings.values() for label in code.stubs.get(path.name, ()))
        stubs.append({"name": path.name, "kind": path.kind, "event": path.event.name if path.event is not None else None, "number": path.number,
                      "at": str(path.span), "code": list(labels), "paths": names,
                      "configurations": [name for name, r in reports.items() if r.configuration.holds(path.guard)]})
    return stubs, list(paths.values())


def _through(spec: Spec, path: Path) -> list[str]:
    """A path, and all that it goes on to."""
    out: dict[str, None] = {}
    todo = [path.name]
    while todo:
        name = todo.pop(0)
        if name in out or name not in spec.paths:
            continue
        out[name] = None
        for step in flat_steps(spec.paths[name].steps):
            if isinstance(step, (Goto, Through)):
                todo.append(step.path)
            elif isinstance(step, ExitTo):
                todo.extend(step.targets)
    return list(out)


def _parts(path: Path) -> list[Row]:
    """The source lines of a path: where it is declared, and steps that stand elsewhere."""
    wanted: dict[str, tuple[SourceFile, set[int]]] = {}
    for span in (path.span, *(s.span for s in flat_steps(path.steps))):
        wanted.setdefault(span.file.name, (span.file, set()))[1].update(range(span.line, span.end_line + 1))
    out: list[Row] = []
    for file, lines in wanted.values():
        runs: list[list[int]] = []
        for line in sorted(lines):
            if runs and line <= runs[-1][1] + 3:            # comments and closing braces between steps
                runs[-1][1] = line
            else:
                runs.append([line, line])
        for first, last in runs:
            if not first <= path.span.line <= last or file is not path.span.file:
                first, last = _block(file, first, last)
            out.append({"file": file.name, "first": first, "lines": file.lines[first - 1:last]})
    return sorted(out, key=lambda p: (p["file"] != path.span.file.name, not p["first"] <= path.span.line < p["first"] + len(p["lines"]), p["first"]))


def _block(file: SourceFile, first: int, last: int) -> tuple[int, int]:
    """With the line that opens a block of steps and the one that closes it."""
    if first > 1 and file.lines[first - 2].split("#")[0].rstrip().endswith("{"):
        first -= 1
    if last < len(file.lines) and file.lines[last].strip() == "}":
        last += 1
    return first, last


def _facts(spec: Spec) -> list[Row]:
    """What the spec assumes: of the kernel, and of what C does to a frame."""
    out = [{"text": show(a.condition), "reason": a.reason, "when": _when(a.guard), "at": str(a.span)} for a in spec.assumes]
    promises: dict[tuple[str, str], Span] = {}
    for path in spec.paths.values():
        if path.given is not None:
            promises.setdefault((f"after C, before {path.name}: {show(path.given)}", path.reason), path.span)
        for step in flat_steps(path.steps):
            if isinstance(step, ExitTo) and step.given is not None:
                promises.setdefault((f"after C, in {path.name}: {show(step.given)}", step.reason), step.span)
    return out + [{"text": text, "reason": reason, "when": "", "at": str(span)} for (text, reason), span in promises.items()]


def _by_text(lines: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """Each text once, with the configurations that it belongs to."""
    out: dict[str, list[str]] = {}
    for name, texts in lines.items():
        for text in dict.fromkeys(texts):
            out.setdefault(text, []).append(name)
    return out


def _declared(spec: Spec) -> list[Row]:
    """What C code and called assembly need, keep and change."""
    out: list[Row] = []
    for name, needs in spec.contracts.items():
        text = [f"needs {_need(n)}" for n in needs]
        text += [f"keeps {' '.join(spec.keeps[name])}"] if spec.keeps.get(name) else []
        text += [f"the stack is a multiple of {spec.aligns[name]}"] if name in spec.aligns else []
        out.append({"name": name, "kind": "code", "text": text, "at": str(needs[0].span) if needs else ""})
    for op in spec.ops.values():
        text = [f"calls {op.symbol}" + (f", if {_when(op.guard)}" if op.guard else ""), *(f"needs {_need(n)}" for n in op.needs)]
        text += [f"clobbers {' '.join(op.clobbers)}"] if op.clobbers else []
        text += [f"sets {_need(n)}" for n in op.sets] + [f"writes {show(e)}" for e in op.writes]
        text += [f"promises {show(condition)}: {reason}" for condition, reason in op.promises] + (["returns"] if op.returns else [])
        out.append({"name": op.name, "kind": "op", "text": text, "at": str(op.span)})
    return out


def _need(need: StateNeed) -> str:
    return f"{need.subject} = {need.value}" + (f" but {' '.join(need.but)}" if need.but else "") + (f", if {_when(need.guard)}" if need.guard else "")


# ---- what has to be believed ----

def _trusted(spec: Spec, listings: Mapping[str, Listing]) -> Row:
    """Tools, and the rows of the .arch file that are the semantics of what these stubs run."""
    most: dict[str, int] = {}
    plain: dict[str, int] = {}
    for code in listings.values():
        for table, counts in ((most, code.forms), (plain, code.plain)):
            for name, count in counts.items():
                table[name] = max(table.get(name, 0), count)
    forms = [spec.arch.forms[name] for name in sorted(most) if "overlay" in spec.arch.forms[name].traits]
    events = {p.event.name: p.event.manual for p in spec.paths.values() if p.event is not None}
    returns = {row.name: row.manual for row in map(spec.return_of, spec.paths.values()) if row is not None}
    return {"packages": [{"name": name, "version": installed(name), "role": role} for name, role in PACKAGES],
            "overlay": [{"form": f.name, "text": f.text, "manual": f.manual, "count": most[f.name]} for f in forms],
            "plain": [{"mnemonic": name, "count": count} for name, count in sorted(plain.items())],
            "events": [{"name": name, "manual": manual} for name, manual in sorted(events.items())],
            "returns": [{"name": name, "manual": manual} for name, manual in sorted(returns.items())]}


def installed(name: str) -> str | None:
    """The version of a package; None when it is not there."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


# ---- code ----

def _code(listings: Mapping[str, Listing]) -> list[Row]:
    """Every piece once, with the configurations that have it as it is."""
    out: dict[str, Row] = {}
    variants: dict[str, dict[Any, Row]] = {}
    for name, code in listings.items():
        for piece in code.pieces.values():
            row = out.setdefault(piece.label, {"label": piece.label, "stubs": {}, "variants": []})
            known = variants.setdefault(piece.label, {})
            variant = known.get(piece.key)
            if variant is None:
                variant = known[piece.key] = {"starts": {}, "rows": [dict(r) for r in piece.rows]}
                row["variants"].append(variant)
            variant["starts"][name] = piece.start
            _mark_open(variant["rows"], piece, name, code.looked)
        for stub, labels in code.stubs.items():
            for label in labels:
                out[label]["stubs"][stub] = None
    return [{**row, "stubs": list(row["stubs"])} for row in out.values()]


def _mark_open(rows: list[Row], piece: Piece, configuration: str, looked: Set[int] | None) -> None:
    """Note the instructions that no proof looked at in a configuration."""
    if looked is not None:
        for row, address in zip(rows, piece.addresses, strict=True):
            if address not in looked:
                row.setdefault("open", []).append(configuration)
