"""`entryc patch`: a series of patches for a tree, from the spec and the series file beside it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from jinja2 import TemplateNotFound

from .. import __version__
from ..model.build import load_spec
from ..model.digest import model_digest
from ..model.spec import Frame, Spec
from ..patch.apply import apply_series
from ..patch.cover import cover
from ..patch.dialect import Dialect, load_dialect
from ..patch.kernel_c import KernelC
from ..patch.kernel_code import plan_kernel_code, together
from ..patch.kernel_text import KernelText
from ..patch.mail import Sender, mbox
from ..patch.proof import load_proof
from ..patch.series import Array, Code, Macro, Series, load_series
from ..patch.stubs import Stubs
from ..patch.tree import open_tree, refused, version_of
from ..resources import filled
from ..source.finding import Collector, printable
from . import output
from .jobs import Speaker

PERSON = re.compile(r"[^<>\r\n\0]{1,100} <[^<>@\s]{1,100}@[^<>@\s]{1,200}>")


@dataclass(frozen=True)
class Asked:
    """What the command line asks for."""

    spec: Path
    tree: Path
    out: Path | None
    sender: str | None
    signed: bool
    apply: bool
    proof: Path | None = None


def patch(asked: Asked, say: Speaker) -> int:
    """Write the series, or change the tree. Raises Findings."""
    if asked.out is None and not asked.apply:
        raise refused("E003", "nothing to do: neither a file for the series nor --apply is given", "entryc patch SPEC --tree DIR -o series.mbox")
    spec = load_spec(asked.spec)
    dialect = load_dialect(spec)
    if dialect is None:
        raise refused("E384", f"there are no patches for target {spec.target} on {spec.arch.title}", "entryc build writes whole files for target bare")
    series = load_series(asked.spec.with_name(asked.spec.stem + ".series.toml"))
    sender = _sender(asked) if asked.out is not None else None
    version = version_of(asked.tree, series.versions)
    series, (spec, dialect) = series.of(version.short), _read_for(asked.spec, version.short, spec, dialect)
    tree = open_tree(asked.tree, version, series.files)
    texts = _Texts(spec, dialect, series)
    proof = load_proof(asked.proof, texts.digest) if asked.proof is not None else None
    patches = apply_series(series, tree, dialect, texts)
    if asked.out is not None and sender is not None:
        written = output.write_all(asked.out.parent, {
            asked.out.name: mbox(series, patches, sender, f"entryc {__version__}"),
            (asked.out.name if asked.out.suffix == ".cover" else asked.out.stem) + ".cover": cover(series, patches, tree, spec, texts.digest, dialect, proof)})
        say.say(f"{asked.out}: {len(patches)} patch{'es' * (len(patches) != 1)} for Linux {tree.name}, model {texts.digest}"
                + ("" if written.changed else ": nothing changed"))
    if tree.clean is None:
        print(printable(f"entryc: {asked.tree} is no git repository: whether its files are as released was not checked"), file=sys.stderr)
    if asked.apply:
        output.write_all(asked.tree, {name: text for name, text in tree.texts.items() if name in series.files})
        say.say(f"{asked.tree}: {', '.join(series.files)} changed")
    return 0


def _read_for(path: Path, version: str, spec: Spec, dialect: Dialect) -> tuple[Spec, Dialect]:
    """The spec and its dialect for the version of the tree. Raises Findings: the spec names others."""
    if not spec.versions or spec.version == version:
        return spec, dialect
    spec = load_spec(path, version=version)
    return spec, load_dialect(spec) or dialect


def made(path: Path, spec: Spec) -> list[str] | None:
    """The symbols that the series of a spec makes code for in its version, planned and written; None: it has no series. Raises Findings."""
    beside = path.with_name(path.stem + ".series.toml")
    dialect = load_dialect(spec)
    if dialect is None or not beside.exists():
        return None
    series = load_series(beside)
    series = series.of(spec.version) if spec.version else series
    texts = _Texts(spec, dialect, series)
    out = []
    for edit in (edit for step in series.steps for edit in step.edits):
        if isinstance(edit, Code):
            texts.code(edit.paths, edit.made)
        elif isinstance(edit, Macro | Array):
            texts.stubs(edit)
        if isinstance(edit, Code | Macro | Array):
            out.append(edit.macro if isinstance(edit, Macro) else edit.symbol)
    return out


class _Texts:
    """What the series puts into the tree, made from the spec."""

    def __init__(self, spec: Spec, dialect: Dialect, series: Series) -> None:
        self.spec, self.dialect, self.series, self.digest = spec, dialect, series, model_digest(spec)
        self.made: dict[tuple[str, ...], dict[str, list[str]]] = {}

    def code(self, paths: tuple[str, ...], symbol: str) -> list[str]:
        texts = self.symbols(paths)
        if symbol not in texts:
            raise refused("E384", f"the series wants the code of {symbol}, which the spec does not make")
        return texts[symbol]

    def symbols(self, paths: tuple[str, ...]) -> dict[str, list[str]]:
        """The text of paths that are planned together. A called path is planned with all that go through it."""
        unknown = [name for name in paths if name not in self.spec.paths]
        if unknown:
            raise refused("E384", f"the series names the path {unknown[0]}, which the spec does not have")
        wanted = tuple(sorted(together(self.spec, paths)))
        if wanted not in self.made:
            collector = Collector()
            planned = plan_kernel_code(self.spec, self.dialect, wanted, collector)
            self.made[wanted] = KernelText(self.spec, self.dialect, planned, collector, self.digest).symbols()
            collector.stop_if_failed()
        return self.made[wanted]

    def stubs(self, edit: Macro | Array) -> list[str]:
        """Text that entry points share; all of them lead to one called path."""
        made = Stubs(self.spec, self.dialect, self.symbols((edit.through,)), KernelText.origin_line(self.dialect, self.digest))
        return made.macro(edit) if isinstance(edit, Macro) else made.array(edit)

    def choice(self, name: str, counted: bool) -> list[str]:
        if name not in self.spec.choices:
            raise refused("E384", f"the series names the choice {name}, which the spec does not have")
        return KernelC(self.spec, self.dialect).choice(self.spec.choices[name], self.frame_of(name), counted)

    def frame_of(self, choice: str) -> Frame:
        """The frame that a choice looks at: what its exits restore."""
        return self.spec.frames[self.spec.paths[self.spec.methods[self.spec.choices[choice].methods[0]].exit].frame or ""]

    def call(self, name: str) -> str:
        return KernelC(self.spec, self.dialect).call(self.spec.choices[name], self.frame_of(name))

    def template(self, name: str) -> str:
        counts = KernelC(self.spec, self.dialect).counts(self.series.choices)
        try:
            return filled(f"{self.spec.target}/{name}.j2", {"counts": counts})
        except TemplateNotFound:
            raise refused("E384", f"the series wants a file made from {name}, which does not exist") from None


def _sender(asked: Asked) -> Sender:
    """Who the mails are from, and when: --from, else git's author; SOURCE_DATE_EPOCH, else now."""
    name = asked.sender
    if name is None:
        try:
            found = subprocess.run(["git", "var", "GIT_AUTHOR_IDENT"], capture_output=True, check=False)
            name = found.stdout.decode("utf-8").rpartition(">")[0] + ">" if found.returncode == 0 else ""
        except (OSError, UnicodeDecodeError):
            name = ""
    if not PERSON.fullmatch(name):
        raise refused("E387", "who sends the patches is not known" if asked.sender is None else f"'{asked.sender}' is no name with an address",
                      'write: --from "NAME <MAIL>"')
    date = os.environ.get("SOURCE_DATE_EPOCH", "")
    return Sender(name, int(date) if date.isascii() and date.isdigit() and len(date) < 12 else int(time.time()), asked.signed)
