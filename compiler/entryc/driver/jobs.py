"""What the commands do: the only place that knows all stages."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..model.build import load_spec
from ..model.spec import Configuration, Spec
from ..plan.code import Code
from ..plan.plan import decision_sites, plan_spec
from ..source.finding import Collector, Finding, Findings
from . import output, render

if TYPE_CHECKING:
    from ..image.image import Image


@dataclass
class Speaker:
    """Progress and results for people: quiet, normal or verbose; progress lines only on a terminal."""

    quiet: bool = False
    verbose: bool = False
    _open: bool = field(default=False, init=False)

    def say(self, text: str) -> None:
        if not self.quiet:
            self._clear()
            print(text)

    def detail(self, text: str) -> None:
        if self.verbose:
            self.say(text)

    def progress(self, text: str) -> None:
        """One line that the next one replaces."""
        if not self.quiet and sys.stderr.isatty():
            sys.stderr.write("\r\x1b[K" + text[:78])
            sys.stderr.flush()
            self._open = True

    def _clear(self) -> None:
        if self._open:
            sys.stderr.write("\r\x1b[K")
            self._open = False


def _load(path: Path) -> tuple[Spec, Code, list[Finding]]:
    spec = load_spec(path)
    collector = Collector()
    code = plan_spec(spec, collector)
    return spec, code, collector.findings


def check(path: Path, say: Speaker) -> list[Finding]:
    """Read, plan and render; nothing is written."""
    spec, code, findings = _load(path)
    render.render(spec, code)                   # what C cannot express shows only here
    count = sum(1 for line in code.lines if hasattr(line, "form"))
    say.say(f"{path}: {len(spec.of_kind('entry'))} entry points, {count} instructions, {len(spec.configurations)} configuration(s): no error")
    return findings


def layout_text(path: Path) -> str:
    """Frames and memory in the shape that kernel people read."""
    from ..emit.layout import emit_layout
    return emit_layout(load_spec(path))


def build(path: Path, out: Path, say: Speaker, *, check: bool = False, prove: bool = True, report: str | None = None,
          depfile: str | None = None) -> list[Finding]:
    """Everything: text, assembled by all assemblers at hand, disciplined, proved; written only when no error was found."""
    started = time.process_time()
    spec, code, findings = _load(path)
    files = render.render(spec, code)
    if check:
        findings += output.stale(out, files)
        if not findings:
            say.say(f"{out}: {len(files)} files are what {path} gives")
        return findings
    record: dict[str, Any] = {"spec": str(path)}
    if prove:
        from .assembled import assemble_all
        results = assemble_all(spec, code, files, say)
        findings += results.findings
        record["assembled"] = results.rows
        say.say(results.table)
        _say_decisions(spec, say)
        if not any(f.level == "error" for f in findings):
            findings += _prove(spec, results.images, say, record)
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


def _say_decisions(spec: Spec, say: Speaker) -> None:
    sites = decision_sites(spec)
    say.say(f"decisions in assembly: {len(sites)} of {sum(d.most for d in spec.decisions.values())} declared")
    for site in sites:
        reason = spec.decisions[site.kind].reason if site.kind in spec.decisions else "not declared"
        say.say(f"  {site.kind:8} in {site.path} ({site.span}): {reason}")
        for missing in site.missing:
            say.detail(f"           does not exist yet: {missing}")


def _prove(spec: Spec, images: dict[str, Image], say: Speaker, record: dict[str, Any]) -> list[Finding]:
    from ..prove.verify import verify as prove_image
    findings: list[Finding] = []
    record["verdicts"] = {}
    for name, image in images.items():
        say.progress(f"proving configuration {name} …")
        report = prove_image(spec, image, spec.configurations[name])
        refuted = [v for v in report.verdicts if v.verdict == "refuted"]
        if refuted:
            from ..run.replay import replay_all
            report.replays = replay_all(spec, image, refuted)
        findings += report.findings()
        say.say(report.summary())
        if say.verbose:
            say.say(report.table())
        record["verdicts"][name] = report.as_dict()
    return findings


def verify(path: Path, say: Speaker, *, image: str | None = None, configuration: str | None = None, crosscheck: int = 0,
           report: str | None = None) -> list[Finding]:
    """Prove the flat form of every configuration, or a linked image."""
    spec, code, findings = _load(path)
    if configuration is not None and configuration not in spec.configurations:
        raise Findings([Finding("E403", "error", f"the spec has no configuration '{configuration}'",
                                help="known: " + ", ".join(spec.configurations))])
    wanted = {n: c for n, c in spec.configurations.items() if configuration in (None, n)}
    record: dict[str, Any] = {"spec": str(path)}
    images = _images(spec, code, wanted, image, say)
    findings += _prove(spec, images, say, record)
    from ..prove.verify import ASSUMPTIONS
    say.say("assuming:\n" + "\n".join(f"  {key}: {text}" for key, text in ASSUMPTIONS))
    if crosscheck > 0:
        from ..run.crosscheck import crosscheck as run_crosscheck
        from .assembled import LOW, assemble_flat_images
        table = run_crosscheck(spec, assemble_flat_images(spec, code, wanted, LOW), crosscheck)
        say.say(table.text())
        findings += table.findings()
        record["crosscheck"] = table.as_dict()
    _report(report, record)
    return findings


def _images(spec: Spec, code: Code, wanted: dict[str, Configuration], image: str | None, say: Speaker) -> dict[str, Image]:
    if image is not None:
        from ..image.elf import read_image
        loaded = read_image(spec.arch, Path(image))
        say.say(f"image {image}: sha256 {loaded.sha256}")
        if len(wanted) > 1:
            raise Findings([Finding("E404", "error", "an image has one configuration", help="choose it: --configuration " + "|".join(wanted))])
        return dict.fromkeys(wanted, loaded)
    from .assembled import assemble_flat_images
    return assemble_flat_images(spec, code, wanted)


def _report(target: str | None, record: dict[str, Any]) -> None:
    if target is not None:
        output.write_all(Path(target).parent, {Path(target).name: json.dumps(record, indent=1, sort_keys=True) + "\n"})
