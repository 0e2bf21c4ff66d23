"""The plan of entry code that goes into a kernel: some paths of a spec, with the kernel's own macros for ops, in any combination of features."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from ..model.spec import Configuration, Spec
from ..model.steps import Through, flat_steps
from ..plan.code import Code
from ..plan.plan import leading_to, plan_spec
from ..source.finding import Collector
from .dialect import Dialect

SPREAD = 1 << 20                                # between symbols, so that an offset says whose it is


@dataclass(frozen=True)
class KernelCode:
    """A plan, and which word of memory each offset in it means ("percpu.tss.sp2")."""

    code: Code
    words: dict[int, str]


def together(spec: Spec, names: Iterable[str]) -> tuple[str, ...]:
    """Paths, with all that has to be planned with them: what leads to a called one, and the called ones that those go through."""
    out = dict.fromkeys(names)
    for name in (todo := list(out)):
        path = spec.paths[name]
        through = [s.path for s in flat_steps(path.steps) if isinstance(s, Through) and spec.paths[s.path].called]
        more = [n for n in (*(leading_to(spec, name) if path.called else ()), *through) if n not in out]
        out.update(dict.fromkeys(more))
        todo += more
    return tuple(out)


def plan_kernel_code(spec: Spec, dialect: Dialect, paths: Iterable[str], collector: Collector) -> KernelCode:
    """Plan these entry points and exits; what they lead to beside is the kernel's own. Raises Findings.

    The kernel is built once for all features: a configuration with all of them comes first, so that the written order is the order of the text
    whatever is on. Where steps are there without a feature, one with all but that feature comes next.
    """
    words: dict[int, str] = {}
    memories = {}
    at = SPREAD
    for name, memory in spec.memories.items():
        cells = {}
        starts: dict[str, int] = {}
        for cell in memory.cells.values():
            start = starts.setdefault(cell.symbol or "", at)
            at = max(at, start + SPREAD)
            cells[cell.name] = replace(cell, offset=start + cell.offset)
            words[start + cell.offset] = f"{name}.{cell.name}"
        memories[name] = replace(memory, cells=cells)
    every = Configuration("every", frozenset(spec.features), next(iter(spec.configurations.values())).span)
    extra = {"every": every}
    for feature in sorted({f for name in paths for step in flat_steps(spec.paths[name].steps) for f, wanted in step.guard if not wanted}):
        extra[f"every but {feature}"] = replace(every, name=f"every but {feature}", features=every.features - {feature})
    laid_out = replace(spec, memories=memories, configurations={**extra, **spec.configurations})
    code = plan_spec(laid_out, collector, dialect.whole(spec), frozenset(paths))
    return KernelCode(code, words)
