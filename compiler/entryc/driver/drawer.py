"""entryc draw: pictures of a spec, written to files or to standard output."""

from __future__ import annotations

import sys
from pathlib import Path

from ..draw.pictures import Picture, path_picture, pictures
from ..model.build import load_spec
from ..model.names import near
from ..model.spec import Spec
from ..plan.code import Code
from ..plan.plan import plan_spec
from ..source.finding import Finding, Findings
from . import output
from .jobs import Speaker

KINDS = ("frame", "paths", "windows", "states")


def draw(path: Path, what: str | None, target: str | None, say: Speaker) -> None:
    """Draw what is asked for: None is all. One picture goes to standard output if no target is given. Raises Findings."""
    spec = load_spec(path)
    code = plan_spec(spec) if spec.target == "bare" else Code(spec.arch)
    chosen = _chosen(spec, code, what)
    texts = {f"{name}.svg": picture.svg() for name, picture in chosen.items()}
    if len(texts) == 1 and target is None and what is not None:
        sys.stdout.write(next(iter(texts.values())))
        return
    place = Path(target) if target is not None else Path("out") / path.stem
    if place.suffix == ".svg" and not place.is_dir():
        if len(texts) > 1:
            raise Findings([Finding("E411", "error", f"{place} is one file, and there are {len(texts)} pictures: {', '.join(chosen)}",
                                    help="name a folder, or say which one: --what " + next(iter(chosen)))])
        texts, place = {place.name: next(iter(texts.values()))}, place.parent
    written = output.write_all(place, texts)
    say.say(f"{place}: {', '.join(texts)}: {len(written.changed)} of {len(texts)} files changed")


def _chosen(spec: Spec, code: Code, what: str | None) -> dict[str, Picture]:
    """The pictures that a word asks for: a kind of picture, a frame, or a path."""
    every = pictures(spec, code)
    if what is None:
        return every
    if what in every:
        return {what: every[what]}
    if what == "frame" and spec.frames:
        return {name: picture for name, picture in every.items() if name.startswith("frame-")}
    if f"frame-{what}" in every:
        return {f"frame-{what}": every[f"frame-{what}"]}
    drawn = [m.path for m in code.moments]
    if what in drawn:
        return {f"path-{what}": path_picture(spec, code, what)}
    if not code.moments and (what in KINDS or what in spec.paths):
        raise Findings([Finding("E411", "error", f"'{what}' cannot be drawn: {spec.name} describes code of target {spec.target}, of which there is no plan",
                                help="what can be drawn: " + ", ".join(every))])
    if what in spec.paths:
        raise Findings([Finding("E411", "error", f"'{what}' has no picture of its own: other entry points have the same body, or no configuration has it",
                                help="drawn: " + ", ".join(dict.fromkeys(drawn)))])
    raise Findings([Finding("E411", "error", f"there is no picture '{what}'", help=near(what, [*KINDS, *spec.frames, *drawn]))])
