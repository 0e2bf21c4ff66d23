"""What the commands do: the only place that knows all stages."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..model.build import load_spec
from ..model.spec import Configuration, Spec
from ..plan.code import Code
from ..plan.plan import plan_spec
from ..source.finding import Collector, Finding, Findings, printable
from . import output, render

if TYPE_CHECKING:
    from ..image.image import Image
    from ..prove.verdict import Report


WANTED, WANTED_OF_SAMPLE = 0.99, 0.97           # of the mutants that are not equivalent; a sample is an estimate


@dataclass
class Speaker:
    """Progress and results for people: quiet, normal or verbose; progress lines only on a terminal."""

    quiet: bool = False
    verbose: bool = False
    _open: bool = field(default=False, init=False)

    def say(self, text: str) -> None:
        if not self.quiet:
            self._clear()
            print("\n".join(map(printable, text.split("\n"))))

    def detail(self, text: str) -> None:
        if self.verbose:
            self.say(text)

    def progress(self, text: str) -> None:
        """One line that the next one replaces."""
        if not self.quiet and sys.stderr.isatty():
            sys.stderr.write("\r\x1b[K" + printable(text)[:78])
            sys.stderr.flush()
            self._open = True

    def _clear(self) -> None:
        if self._open:
            sys.stderr.write("\r\x1b[K")
            self._open = False


@dataclass
class Record:
    """What a run found, for its report."""

    spec: Spec
    code: Code
    image: str | None = None
    reports: dict[str, Report] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    moved: Callable[[str], Image] | None = None         # the code of a configuration where an emulator can run it


def _load(path: Path, constants: dict[str, int] | None = None, version: str | None = None) -> tuple[Spec, Code, list[Finding]]:
    """A spec with its plan. A spec that describes a kernel's own code has none."""
    spec = load_spec(path, constants=constants, version=version)
    collector = Collector()
    if spec.target != "bare":
        return spec, Code(spec.arch), []
    code = plan_spec(spec, collector)
    return spec, code, collector.findings


def check(path: Path, say: Speaker) -> list[Finding]:
    """Read, plan and render, for each version that the spec names; nothing is written."""
    loaded = _load(path)
    findings = _check(path, say, *loaded)
    for version in loaded[0].versions[1:]:
        findings += _check(path, say, *_load(path, version=version))
    return findings


def _check(path: Path, say: Speaker, spec: Spec, code: Code, findings: list[Finding]) -> list[Finding]:
    shown = f"{path} for {spec.version}" if len(spec.versions) > 1 else str(path)
    if spec.target != "bare":
        from .patcher import made
        symbols = made(path, spec)
        of_them = f", code for {', '.join(symbols)}" if symbols is not None else ""
        say.say(f"{shown}: {len(spec.of_kind('entry'))} entry points of target {spec.target}{of_them}, {len(spec.configurations)} configuration(s): no error")
        return findings
    render.render(spec, code)                   # what C cannot express shows only here
    count = sum(1 for line in code.lines if hasattr(line, "form"))
    say.say(f"{shown}: {len(spec.of_kind('entry'))} entry points, {count} instructions, {len(spec.configurations)} configuration(s): no error")
    return findings


def layout_text(path: Path, version: str | None = None) -> str:
    """Frames and memory in the shape that kernel people read."""
    from ..emit.layout import emit_layout
    return emit_layout(load_spec(path, version=version))


def build(path: Path, out: Path, say: Speaker, *, check: bool = False, prove: bool = True, report: str | None = None,
          depfile: str | None = None, version: str | None = None) -> list[Finding]:
    """Everything: text, assembled by all assemblers at hand, disciplined, proved; written only when no error was found."""
    started = time.process_time()
    spec, code, findings = _load(path, version=version)
    if spec.target != "bare":
        raise Findings([Finding("E405", "error", f"{path} describes code of target {spec.target}: nothing is written for it",
                                help="prove the code that it describes: entryc verify SPEC --object FILE, or --image FILE")])
    files = render.render(spec, code)
    if check:
        findings += output.stale(out, files)
        if not findings:
            say.say(f"{out}: {len(files)} files are what {path} gives")
        return findings
    record = Record(spec, code)
    if prove:
        from .assembled import assemble_all
        results = assemble_all(spec, code, files, say)
        findings += results.findings
        record.extra["assembled"] = results.rows
        say.say(results.table)
        _say_decisions(spec, code, say)
        if not any(f.level == "error" for f in findings):
            findings += _prove(spec, results.images, say, record, results.objects)
    if any(f.level == "error" for f in findings):
        say.say(f"{out}: nothing written")
        return findings
    written = output.write_all(out, files)
    if depfile:
        render.write_depfile(Path(depfile), path, out, spec)
    say.say(f"{out}: {len(written.changed)} of {len(files)} files changed")
    say.detail(f"CPU time {time.process_time() - started:.2f} s")
    _report(report, record)
    return findings


def _say_decisions(spec: Spec, code: Code, say: Speaker) -> None:
    sites = code.decisions
    say.say(f"decisions in assembly: {len(sites)} of {sum(d.most for d in spec.decisions.values())} declared")
    for site in sites:
        reason = spec.decisions[site.kind].reason if site.kind in spec.decisions else "not declared"
        say.say(f"  {site.kind:8} in {site.path} ({site.span}): {reason}")
        for missing in site.missing:
            say.detail(f"           does not exist yet: {missing}")


def _prove(spec: Spec, images: dict[str, Image], say: Speaker, record: Record, objects: Mapping[str, bytes] | None = None) -> list[Finding]:
    """Prove each image. `objects`: what the kernel text was assembled to, with its unwind information."""
    from ..prove.contracts import contracts
    from ..prove.unwind import read_table
    from ..prove.verify import verify as prove_image
    from .assembled import BASE
    findings: list[Finding] = []
    for name, image in images.items():
        say.progress(f"proving configuration {name} …")
        rows = read_table(spec.arch, objects[name], BASE) if objects is not None and name in objects else None
        report = prove_image(spec, image, spec.configurations[name], rows)
        refuted = [v for v in report.verdicts if v.verdict == "refuted"]
        if refuted:
            from ..run.replay import replay_all
            moved = record.moved(name) if record.moved is not None else None
            if moved is None and spec.target != "bare":
                report.replays = {id(v.claim): "not replayed: linked code cannot be moved to where the emulator runs code" for v in refuted}
            else:
                report.replays = replay_all(spec, moved or image, refuted, spec.configurations[name], moved is not None)
        findings += report.findings()
        say.say(report.summary())
        if say.verbose:
            say.say(report.table())
        report.contracts = contracts(spec, spec.configurations[name])
        record.reports[name] = report
    return findings


def verify(path: Path, say: Speaker, *, image: str | None = None, objects: Sequence[str] = (), configuration: str | None = None, crosscheck: int = 0,
           mutants: str | None = None, recheck: int = 0, smt2: str | None = None, seed: int = 1, report: str | None = None,
           constants: Sequence[str] = (), version: str | None = None) -> list[Finding]:
    """Prove the flat form of every configuration, a linked image, or objects."""
    spec, code, findings = _load(path, _constants(constants), version)
    if configuration is not None and configuration not in spec.configurations:
        raise Findings([Finding("E403", "error", f"the spec has no configuration '{configuration}'",
                                help="known: " + ", ".join(spec.configurations))])
    if mutants is not None and mutants != "all" and not mutants.isdecimal():
        raise Findings([Finding("E406", "error", f"--mutants takes a number or 'all', not '{mutants}'")])
    wanted = {n: c for n, c in spec.configurations.items() if configuration in (None, n)}
    record = Record(spec, code, image or ", ".join(objects) or None)
    images = _images(spec, code, wanted, image, objects, say, record)
    findings += _prove(spec, images, say, record)
    if findings and len(spec.versions) > 1:
        say.say(f"the spec was read for version {spec.version}; for another one: --for " + "|".join(v for v in spec.versions if v != spec.version))
    if image is not None and spec.handlers:
        findings += _compiled(spec, Path(image), wanted, say, record)
    _say_trust(images, say, record)
    if crosscheck > 0:
        from ..run.crosscheck import crosscheck as run_crosscheck
        from .assembled import LOW, assemble_flat_images
        if objects and record.moved is not None:
            from ..prove.verify import verify as prove_image
            low = {name: record.moved(name) for name in wanted}
            table = run_crosscheck(spec, low, crosscheck, {n: prove_image(spec, i, wanted[n]).covered for n, i in low.items()})
        elif spec.target != "bare":
            raise Findings([Finding("E409", "error", "linked code cannot be run beside the emulator: it lies where that runs no code",
                                    help="give the objects: --object")])
        else:
            table = run_crosscheck(spec, assemble_flat_images(spec, code, wanted, LOW), crosscheck)
        say.say(table.text())
        findings += table.findings()
        record.extra["crosscheck"] = table.as_dict()
    if smt2 is not None or recheck > 0:
        findings += _solver(record, recheck, smt2, seed, say)
    if mutants is not None:
        findings += _mutants(spec, images, mutants, seed, say, record, bool(findings))
    _report(report, record)
    return findings


def _compiled(spec: Spec, image: Path, wanted: dict[str, Configuration], say: Speaker, record: Record) -> list[Finding]:
    """The C of a linked kernel: what its handlers do, and the contract that they were built under."""
    from ..image.c_contract import measure_c_object
    from ..prove.compiled import DISCHARGES, prove_c
    from ..prove.verdict import Report
    findings: list[Finding] = []
    for name, configuration in wanted.items():
        say.progress(f"proving the C of configuration {name} …")
        done = prove_c(spec, image, configuration)
        report = Report(spec, configuration, done.image, done.verdicts, done.seconds, done.not_checked)
        built = measure_c_object(spec, image, jumps=done.jumps)
        depth = max(done.depth.values(), default=0)
        claimed = " and ".join([*DISCHARGES, *(f"what {name} does" for name in spec.movers())])
        say.say("compiled C, " + report.summary() + (f"\n  uses at most {depth} bytes of stack; proved: {claimed}" if report.green else ""))
        findings += report.findings() + built.findings
        record.extra.setdefault("compiled C", {})[name] = {
            "claims": len(done.verdicts), "proved": report.count("proved"), "refuted": report.count("refuted"), "unknown": report.count("unknown"),
            "not checked": done.not_checked, "stack": done.depth, "assumptions": dict(done.assumptions), "build contract": [f.message for f in built.findings]}
        say.detail(report.table())
    from ..prove.compiled import ASSUMPTIONS as BELIEVED
    say.say("assuming of C:\n" + "\n".join(f"  {key}: {text}" for key, text in BELIEVED))
    return findings


def _constants(rows: Sequence[str]) -> dict[str, int]:
    """NAME=NUMBER, as given on the command line."""
    out: dict[str, int] = {}
    for row in rows:
        name, _, value = row.partition("=")
        if not re.fullmatch(r"0x[0-9A-Fa-f]{1,16}|0|[1-9][0-9]{0,19}", value) or int(value, 0) >> 64:
            raise Findings([Finding("E407", "error", f"'{row}' is not NAME=NUMBER", help="for example: --const TOP_OF_STACK=0x10")])
        out[name] = int(value, 0)
    return out


def _say_trust(images: dict[str, Image], say: Speaker, record: Record) -> None:
    """Assumptions, contracts, and what patches the code: said once, with the configurations that they belong to."""
    from ..prove.verify import ASSUMPTIONS
    say.say("assuming:\n" + "\n".join(f"  {key}: {text}" for key, text in ASSUMPTIONS))
    lines: dict[str, list[str]] = {}
    for name, report in record.reports.items():
        for line in report.contracts:
            lines.setdefault(line, []).append(name)
    if lines:
        say.say("by contract:\n" + "\n".join(f"  {line}" + ("" if len(names) == len(images) else f"  [{', '.join(names)}]") for line, names in lines.items()))
    notes: dict[str, list[str]] = {}
    for name, image in images.items():
        for note in image.notes:
            notes.setdefault(note, []).append(name)
    if notes:
        say.say("what changes the code while the kernel runs:\n" + "\n".join(
            f"  {note}" + ("" if len(names) == len(images) else f"  [{', '.join(names)}]") for note, names in notes.items()))


def _solver(record: Record, recheck: int, smt2: str | None, seed: int, say: Speaker) -> list[Finding]:
    """What the solver was asked: written to files, and a part of it asked again of another one."""
    from ..prove.recheck import Missing, files
    from ..prove.recheck import recheck as ask
    queries = {conditions: answer for report in record.reports.values() for conditions, answer in report.queries.items()}
    if smt2 is not None:
        written = output.write_all(Path(smt2), files(queries))
        say.say(f"{smt2}: {len(queries)} questions, {len(written.changed)} files changed")
    if recheck <= 0:
        return []
    try:
        asked, wrong = ask(queries, recheck, seed)
    except Missing as problem:
        raise Findings([Finding("E408", "error", str(problem))]) from None
    say.say(f"second solver: {asked} of {len(queries)} answers asked again, {len(wrong)} disagree (seed {seed})")
    record.extra["second solver"] = {"asked": asked, "of": len(queries), "disagree": wrong, "seed": seed}
    return [Finding("P106", "error", f"two solvers disagree: {text}") for text in wrong]


def _mutants(spec: Spec, images: dict[str, Image], mutants: str, seed: int, say: Speaker, record: Record, failed: bool) -> list[Finding]:
    """Small changes of the code: each one has to be noticed."""
    from ..prove.mutate import Mutation, Score, sample
    if failed:
        return [Finding("P105", "error", "no mutants: the code itself is not proved, so that they would say nothing")]
    mutation = Mutation(spec, images)
    names = mutation.names()
    chosen = names if mutants == "all" else sample(names, int(mutants), seed)
    score = Score(population=len(names))
    for number, outcome in enumerate(mutation.run(chosen), 1):
        score.outcomes.append(outcome)
        say.progress(f"mutant {number} of at most {len(chosen)} …")
    score.same = len(chosen) - len(score.outcomes)
    say.say(score.summary() + ("" if mutants == "all" else f" (seed {seed})"))
    idle = [o.mutant for o in score.outcomes if o.mutant.kind == "drop" and o.verdict in ("survived", "equivalent")]
    say.say(f"  {len(idle)} of {sum(1 for o in score.outcomes if o.mutant.kind == 'drop')} single instructions are needed by no claim"
            + (": " + "; ".join(f"{m.address:#x} {m.text}" for m in idle[:20]) if idle else ""))
    for outcome in score.outcomes:
        if outcome.verdict == "survived":
            say.say(f"  survived: {outcome.mutant.kind} at {outcome.mutant.address:#x}: {outcome.mutant.text} ({outcome.by})")
    record.extra["mutants"] = {**score.as_dict(), "seed": seed}
    wanted = WANTED if mutants == "all" else WANTED_OF_SAMPLE
    if score.ratio < wanted:
        return [Finding("P104", "error", f"only {100 * score.ratio:.2f} % of the mutants that are not proved equivalent are noticed, "
                                         f"{100 * wanted:.0f} % are wanted")]
    return []


def _images(spec: Spec, code: Code, wanted: dict[str, Configuration], image: str | None, objects: Sequence[str], say: Speaker,
            record: Record) -> dict[str, Image]:
    """The code of each configuration: of files, patched for it, or assembled here."""
    if image is not None or objects:
        from ..image.elf import read_binary
        low = frozenset(c.symbol for m in spec.memories.values() if m.base for c in m.cells.values() if c.symbol)
        binary = read_binary(spec.arch, [Path(image)] if image is not None else [Path(o) for o in objects], low)
        if binary.relocatable != (image is None):
            raise Findings([Finding("E410", "error", f"{binary.name} is " + ("not linked" if binary.relocatable else "linked"),
                                    help="verify it with " + ("--object" if binary.relocatable else "--image"))])
        say.say(f"{'image' if image is not None else 'objects'} {binary.name}: sha256 {binary.sha256}")
        if len(wanted) > 1 and any(f.kind == "build" and any(f.name in c.features for c in wanted.values())
                                   and not all(f.name in c.features for c in wanted.values()) for f in spec.features.values()):
            raise Findings([Finding("E404", "error", "this code was built for one configuration", help="choose it: --configuration " + "|".join(wanted))])
        features = {name: frozenset(spec.features[f].number or 0 for f in c.features if spec.features[f].number is not None) for name, c in wanted.items()}
        if objects:
            def moved(name: str) -> Image:
                from ..run.replay import PLACES
                return read_binary(spec.arch, [Path(o) for o in objects], low, PLACES).image(features[name])
            record.moved = moved
        return {name: binary.image(features[name]) for name in wanted}
    if spec.target != "bare":
        raise Findings([Finding("E405", "error", f"the spec describes code of target {spec.target}: say where that code is",
                                help="--object FILE for objects, --image FILE for a linked kernel")])
    from .assembled import assemble_flat_images
    return assemble_flat_images(spec, code, wanted)


def _report(target: str | None, record: Record) -> None:
    """Write what was found, as JSON or as a page."""
    if target is None:
        return
    from ..report.data import report_data
    data = report_data(record.spec, record.reports, image=record.image, extra=record.extra)
    text = _page(record, data) if Path(target).suffix in (".html", ".htm") else json.dumps(data, indent=1, sort_keys=True) + "\n"
    output.write_all(Path(target).parent, {Path(target).name: text})


def _page(record: Record, data: dict[str, Any]) -> str:
    """The report as a page, with pictures of the paths."""
    from ..draw.pictures import pictures
    from ..report.page import page_html
    drawn = pictures(record.spec, record.code)
    return page_html(data, [(drawn[name].title, drawn[name].svg()) for name in ("paths", "windows") if name in drawn])
