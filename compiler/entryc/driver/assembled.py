"""Assemble every form of every configuration with every tool at hand, and compare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..assemble import discipline, keystone, second
from ..assemble.decode import second_name
from ..emit.asm import SECTION, flat_lines
from ..image.image import Image
from ..model.spec import Configuration, Spec
from ..plan.code import Code
from ..source.finding import Finding

if TYPE_CHECKING:
    from .jobs import Speaker

BASE = 0xFFFFFFFF81000000
EXTERNS = 0x400000
LOW = 0x10000000                                # where the emulator can fetch


@dataclass
class Results:
    """What ran on what, with the images to prove: one a configuration, whose bytes all assemblers agree on."""

    findings: list[Finding] = field(default_factory=list)
    rows: list[dict[str, str]] = field(default_factory=list)
    images: dict[str, Image] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)     # what the kernel text was assembled to

    def add(self, artifact: str, configuration: str, tool: str, result: str) -> None:
        self.rows.append({"artifact": artifact, "configuration": configuration, "tool": tool, "result": result})

    @property
    def table(self) -> str:
        widths = [max(len(row[key]) for row in self.rows) for key in ("artifact", "configuration", "tool")]
        return "\n".join(f"{r['artifact']:{widths[0]}}  {r['configuration']:{widths[1]}}  {r['tool']:{widths[2]}}  {r['result']}" for r in self.rows)


def externs(code: Code, base: int = BASE) -> dict[str, int]:
    """Test addresses for what the code calls."""
    return {name: base + EXTERNS + index * 0x1000 for index, name in enumerate(code.externs)}


def assemble_all(spec: Spec, code: Code, files: Mapping[str, str], say: Speaker) -> Results:
    """Flat form by Keystone and by the others, kernel form by those that preprocess; bytes and symbols compared; discipline."""
    results = Results()
    tools = second.assemblers(spec.arch)
    if not tools:
        results.findings.append(Finding("A301", "error", f"no second assembler for {spec.arch.name} is on this machine",
                                        help=f"install GNU binutils ({spec.arch.tools['gas'][0]}-as), clang with lld, or the ziglang wheel"))
    symbols = externs(code)
    for configuration in spec.configurations.values():
        say.progress(f"assembling configuration {configuration.name} …")
        _configuration(spec, code, configuration, files, tools, symbols, results)
    return results


def _configuration(spec: Spec, code: Code, configuration: Configuration, files: Mapping[str, str], tools: list[second.Tool],
                   symbols: dict[str, int], results: Results) -> None:
    name, reference = configuration.name, None
    for tool in tools:
        done, image = second.assemble_flat(spec.arch, tool, flat_lines(spec, code, configuration), BASE, symbols)
        reference = _compare("flat", name, done, image, reference, results)
    flat = keystone.assemble(spec.arch, flat_lines(spec, code, configuration, "keystone"), BASE, symbols)
    reference = _compare("flat", name, flat, None, reference, results)
    for tool in tools:
        if tool.preprocess is None:
            results.add("kernel text", name, tool.name, "not assembled: no C preprocessor beside it")
            continue
        done, image = second.assemble_kernel_text(spec.arch, tool, files["entry.S"], SECTION, BASE, symbols, sorted(configuration.features))
        _compare("kernel text", name, done, image, reference, results)
        if done.object is not None:
            results.objects.setdefault(name, done.object)
    if reference is not None:
        results.images[name] = reference
        checked = discipline.check(spec, reference, configuration, frozenset(symbols))
        results.findings += checked.findings
        roles = ", ".join(f"{count} {role}" for role, count in sorted(checked.roles.items()))
        results.add("discipline", name, f"capstone and {second_name(spec.arch)}", f"{'failed' if checked.findings else roles}")
        stubs = {n: a for n, a in reference.symbols.items() if n in spec.paths}
        sites = "; ".join(f"{kind} at {nearest(stubs, address)}" for address, kind in sorted(checked.decisions.items()))
        results.add("decisions", name, "on the bytes", sites or "none")


def _compare(artifact: str, configuration: str, done: keystone.Result, image: Image | None, reference: Image | None, results: Results) -> Image | None:
    """Keep the first image; every later result has to have its bytes and symbols."""
    if done.data is None:
        results.add(artifact, configuration, done.tool, f"not assembled: {done.error}")
        results.findings.append(Finding("A302", "error", f"{artifact}, configuration {configuration}: not assembled by {done.tool}: {done.error}"))
        return reference
    if reference is None:
        results.add(artifact, configuration, done.tool, f"{len(done.data)} bytes")
        return image
    expected = reference.segments[0][1]
    difference = next((i for i, (a, b) in enumerate(zip(done.data, expected, strict=False)) if a != b), None)
    if difference is None and len(done.data) != len(expected):
        difference = min(len(done.data), len(expected))
    if difference is not None:
        near = nearest(reference.symbols, BASE + difference)
        results.add(artifact, configuration, done.tool, f"other bytes from {near} on")
        results.findings.append(Finding("A303", "error", f"{artifact}, configuration {configuration}: {done.tool} gives other bytes from {near} on"))
        return reference
    wrong = sorted(n for n in {*reference.symbols, *image.symbols} if image.symbols.get(n) != reference.symbols.get(n)) if image is not None else []
    if wrong:
        results.findings.append(Finding("A304", "error", f"{artifact}, configuration {configuration}: symbol {wrong[0]} is elsewhere"))
    results.add(artifact, configuration, done.tool, f"{len(done.data)} bytes, the same")
    return reference


def nearest(symbols: Mapping[str, int], address: int) -> str:
    """symbol + offset: how people find an address."""
    before = [(place, name) for name, place in symbols.items() if place <= address]
    if not before:
        return f"{address:#x}"
    place, name = max(before, key=lambda row: row[0])
    return name if place == address else f"{name} + {address - place:#x}"


def assemble_flat_images(spec: Spec, code: Code, configurations: Mapping[str, Configuration], base: int = BASE) -> dict[str, Image]:
    """One image a configuration, by the first assembler that works. Raises Findings."""
    from ..source.finding import Findings
    symbols = externs(code, base)
    out: dict[str, Image] = {}
    for name, configuration in configurations.items():
        lines = flat_lines(spec, code, configuration)
        reasons: list[str] = []
        for tool in second.assemblers(spec.arch):
            done, image = second.assemble_flat(spec.arch, tool, lines, base, symbols)
            if image is not None:
                out[name] = image
                break
            reasons.append(f"{done.tool}: {done.error}")
        if name not in out:
            raise Findings([Finding("A301", "error", "the code was assembled by no tool: " + ("; ".join(reasons) or "none found"),
                                    help=f"install GNU binutils ({spec.arch.tools['gas'][0]}-as), clang with lld, or the ziglang wheel")])
    return out
