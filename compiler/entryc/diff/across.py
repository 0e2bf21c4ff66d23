"""Two CPUs: what a kernel's entry means whatever it runs on. Registers, frames, stacks, states and return methods have to differ and are not compared.

Compared are the flags that ask for exit work, by name; exit work: its order, masks, passes, interrupt state, one-shot flags and conditions; bookkeeping
and its order; hooks and their types; system calls by name; and the ways through C, from the entry to the return. What only one side has is named.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from ..model import spec as M
from ..model.expr import Binary, Expr, FrameRef, Reg, SlotRef, show, walk
from ..model.spec import CStep, Spec
from ..model.steps import Call, Goto, Jump, Origin, Step, Through
from . import spelled
from .compare import Row
from .parts import C_SPACES
from .rules import CATEGORIES, LEVELS
from .table import KEY, SPAN, TABLE
from .tree import LEAF, SET, Node, Part, Shape, Walker, group, leaf
from .words import Names, plain

BREAKING, RISKY, COMPATIBLE = LEVELS
COMPARED = ("compared: flags, exit work, bookkeeping, hooks, system calls, and the ways through C", "not compared: what has to differ between CPUs")
MOST = 256                                      # ways through one handler


# ---- attributes ----

def cpu(walker: Walker, owner: Spec, value: Any, rule: str) -> Iterable[Node]:
    yield leaf(value.name, rule, "arch", "CPU", walker.names)


def flag_names(walker: Walker, owner: Spec, value: dict[str, dict[str, int]], rule: str) -> Iterable[Node]:
    """Flags by name: their bits differ."""
    rows = [Node(LEAF, rule, (f,), f"flag {f}", f, "", "", owner.spans.get(f"flag {f}")) for flags in value.values() for f in flags]
    yield group(rows, rule, "flags", "", SET)


def types(walker: Walker, owner: M.Hook, value: tuple[tuple[str, str], ...], rule: str) -> Iterable[Node]:
    """The types of a hook; a frame is a frame, whatever is in it."""
    yield leaf(tuple(_type(walker.names.spec, kind) for kind, _ in value), rule, "types", "types of parameters", walker.names, span=owner.span)


def result(walker: Walker, owner: M.Hook, value: str, rule: str) -> Iterable[Node]:
    yield leaf(_type(walker.names.spec, value), rule, "result", "result", walker.names, span=owner.span)


def _type(spec: Spec, kind: str) -> str:
    return "frame" if kind in spec.frames else "memory block" if kind in spec.memories else kind


def arguments(walker: Walker, owner: M.CallText, value: tuple[Expr, ...], rule: str) -> Iterable[Node]:
    """What a call passes: the frame, or a value that the CPU at hand has somewhere."""
    text = tuple("frame" if isinstance(a, FrameRef) else _tested(a, walker.names) for a in value)
    yield replace(leaf(text, rule, "arguments", "arguments", walker.names, span=owner.span), shown=", ".join(map(show, value)) or "none")


def condition(walker: Walker, owner: M.Work, value: Expr | None, rule: str) -> Iterable[Node]:
    """When work is looked for: the hooks that are asked, and the kinds of saved registers that are looked at."""
    text = " and ".join(sorted(_tested(e, walker.names) for e in _conjuncts(value))) if value is not None else "none"
    yield replace(leaf(value, rule, "condition", "condition", walker.names, span=owner.span), text=text)


def _conjuncts(expr: Expr) -> list[Expr]:
    return [*_conjuncts(expr.a), *_conjuncts(expr.b)] if isinstance(expr, Binary) and expr.op == "and" else [expr]


def _tested(expr: Expr, names: Names) -> str:
    """An expression; where it looks at saved registers, only their kinds."""
    registers = names.spec.arch.registers
    homes = {names.spec.frames[e.frame].slots[e.slot].home if isinstance(e, SlotRef) else e.name for e in walk(expr) if isinstance(e, (SlotRef, Reg))}
    kinds = sorted({registers[h].kind for h in homes if h is not None} | ({"number"} if None in homes else set()))
    return f"what the saved {' and '.join(kinds)} say" if kinds else plain(expr, names)


def system_calls(walker: Walker, owner: M.SyscallTable, value: tuple[M.Syscall, ...], rule: str) -> Iterable[Node]:
    """Functions, and how many arguments they get: numbers differ."""
    rows = {s.name: leaf(s.count, rule, s.name, f"system call {s.name}: arguments", walker.names, span=s.span) for s in value}
    yield group(list(rows.values()), rule, "rows", "", SET)


# ---- ways through C ----

def ways(walker: Walker, owner: Spec, value: dict[str, M.Handler], rule: str) -> Iterable[Node]:
    """What C does from an event to the return, for each who may be interrupted."""
    rows: dict[str, Node] = {}
    for name, origins in _callers(owner).items():
        for origin in sorted(origins):
            for way in _ways(value[name].steps, origin, walker.names):
                table = next((w.removeprefix("syscalls ") for w in way if w.startswith("syscalls ")), "")
                about = f"way of {f'system calls {table}' if table else 'other events'} from {'user mode' if origin == 'user' else 'kernel code'}"
                text = "; ".join(way)
                if way:
                    rows.setdefault(f"{about}: {text}", Node(LEAF, rule, (f"{about}: {text}", about), about, text, text, text, value[name].span))
    yield group(list(rows.values()), rule, "ways", "", SET)


def _callers(spec: Spec) -> dict[str, set[str]]:
    """handler -> user, kernel: who may be interrupted when it runs."""
    found: dict[str, set[str]] = {name: set() for name in spec.handlers}
    seen: set[tuple[str, frozenset[str]]] = set()

    def visit(steps: tuple[Step, ...], origins: frozenset[str]) -> None:
        for s in steps:
            if isinstance(s, Origin):
                visit(s.user, origins & {"user"})
                for arm in (s.kernel, *(inside for _, inside in s.others)):
                    visit(arm, origins & {"kernel"})
            elif isinstance(s, (Call, Jump)) and s.callee in found:
                found[s.callee] |= origins
            elif isinstance(s, (Goto, Through)) and s.path in spec.paths and (s.path, origins) not in seen:
                seen.add((s.path, origins))
                visit(spec.paths[s.path].steps, origins)
    for path in spec.of_kind("entry"):
        visit(path.steps, frozenset(["user", "kernel"] if path.origin in (None, "any") else [path.origin]))
    return found


def _ways(steps: tuple[CStep, ...], origin: str, names: Names) -> set[tuple[str, ...]]:
    """All sequences of bookkeeping, interrupt switches, system calls and exit work that a handler may run."""
    out: set[tuple[str, ...]] = {()}
    for s in steps:
        after: set[tuple[str, ...]]
        if s.verb in C_SPACES:
            after = {(f"{s.verb} {names.of(C_SPACES[s.verb], s.subject)}",)}
        elif s.verb == "irqs":
            after = {(f"irqs {s.subject}",)}
        elif s.verb == "origin":
            after = _ways(s.user if origin == "user" else s.kernel, origin, names)
        elif s.verb == "dispatch":
            after = {way for _, body in s.arms for way in _ways(body, origin, names)}
        else:
            continue
        out = set(sorted(a + b for a in out for b in after)[:MOST])
    return out


# ---- the table ----

NONE = Part("skip", reason="it belongs to the CPU")
NAMED = {"name": KEY, "span": SPAN}


def _by(function: Any, rule: str) -> Part:
    return Part("by", rule, by=function)


def _work_row(r: M.WorkRow) -> str:
    return f"work for {' | '.join(r.flags)}"


ACROSS: dict[type, Shape] = TABLE | {
    M.Spec: replace(TABLE[M.Spec], parts=dict.fromkeys(TABLE[M.Spec].parts, NONE) | {
        "arch": _by(cpu, "D001"), "target": TABLE[M.Spec].parts["target"], "flag_sets": _by(flag_names, "D120"), "hooks": Part("set", "D121"),
        "brackets": Part("set", "D122"), "works": Part("set", "D124"), "tables": Part("set", "D135"), "handlers": _by(ways, "D141")}),
    M.Hook: replace(TABLE[M.Hook], parts=dict.fromkeys(TABLE[M.Hook].parts, NONE) | NAMED | {"result": _by(result, ""), "params": _by(types, "")}),
    M.CallText: replace(TABLE[M.CallText], parts={"name": Part("leaf", "", title="function"), "arguments": _by(arguments, ""), "span": SPAN}),
    M.WorkRow: replace(TABLE[M.WorkRow], parts=TABLE[M.WorkRow].parts | {"call": Part("inside", "D121")}, title=_work_row,
                       keys=lambda r, names: (" ".join(sorted(r.flags)), r.call.name), shown=lambda o, _: spelled.work_row(o)),
    M.Work: replace(TABLE[M.Work], parts=TABLE[M.Work].parts | {"condition": _by(condition, "D130")}),
    M.SyscallTable: replace(TABLE[M.SyscallTable], parts=dict.fromkeys(TABLE[M.SyscallTable].parts, NONE) | NAMED | {"rows": _by(system_calls, "D136")}),
}


def weighed_across(rows: list[Row]) -> list[Row]:
    """Nothing breaks: nobody goes from one CPU to another. Hooks that only one side has are what a port has to know."""
    out: list[Row] = []
    for row in rows:
        if row.rule.code == "D001":
            row = replace(row, notes=COMPARED)
        elif row.rule.code == "D121":
            row = replace(row, weight=(CATEGORIES[1], COMPATIBLE))
        elif row.level == BREAKING:
            row = replace(row, weight=(row.category, RISKY))
        out.append(row)
    return out
