"""All output files of a spec as texts. A function of the spec alone."""

from __future__ import annotations

from pathlib import Path

from .. import resources
from ..draw.pictures import pictures
from ..emit.asm import flat_text, kernel_text
from ..emit.fragment import depfile, emit_fragment
from ..emit.handlers import emit_handlers
from ..emit.header import emit_header
from ..emit.init import emit_init
from ..emit.layout import emit_layout
from ..emit.listing import emit_listing
from ..emit.manifest import emit_manifest
from ..emit.overview import emit_overview
from ..model.spec import Spec
from ..plan.code import Code
from ..source.text import file_name
from . import output


def render(spec: Spec, code: Code) -> dict[str, str]:
    """File name to text."""
    drawn = pictures(spec, code)
    images = {f"entry.{name}.svg" if name != "states" else "entry.svg": (draw.title, draw.svg()) for name, draw in drawn.items()}
    files = {
        "entry.S": kernel_text(spec, code),
        "entry.h": emit_header(spec, code),
        "entry.c": emit_handlers(spec),
        "entry_init.c": emit_init(spec),
        "entry.layout": emit_layout(spec),
        "entry.lst": emit_listing(spec, code),
        "entry.mk": emit_fragment(spec),
        "entry.md": emit_overview(spec, code, [(title, file) for file, (title, _) in images.items()]),
        **{file: text for file, (_, text) in images.items()},
    }
    for configuration in spec.configurations.values():
        files[f"entry.{configuration.name}.s"] = flat_text(spec, code, configuration)
    files["manifest.json"] = emit_manifest(spec, files)
    return files


def write_depfile(target: Path, spec_path: Path, out: Path, spec: Spec) -> None:
    """A make rule: the manifest depends on the spec, the files that it uses, and the CPU description."""
    used = sorted({file_name(spec_path), file_name(resources.arch_file(spec.arch.name)), *spec.used})
    output.write_all(target.parent, {target.name: depfile(file_name(out / output.LAST), used)})
