"""The prover does not read the plan: a plan that is corrupted after the model was built gives bytes that are refuted.

Dropping is done for every instruction, which also shows that each one is needed by some claim.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import SPECS, assemble, small_x86
from entryc.model.build import load_spec
from entryc.model.spec import Spec
from entryc.plan.code import Code, Insn, Line, Value
from entryc.plan.plan import plan_spec
from entryc.plan.select import register_fits
from entryc.prove.verify import verify

SEEDS = 130


def spec_of(name: str, folder: Path) -> tuple[Spec, str]:
    return (small_x86(folder), "smap") if name == "x86_64" else (load_spec(SPECS / "arm64.entry"), "base")


def insns(code: Code) -> list[int]:
    return [i for i, line in enumerate(code.lines) if isinstance(line, Insn)]


def retargeted(spec: Spec, insn: Insn, rng: random.Random) -> Insn | None:
    """One operand becomes another one that the form can hold."""
    options: list[tuple[int, Value]] = []
    for index, (kinds, value) in enumerate(zip(insn.form.params.values(), insn.operands, strict=True)):
        if isinstance(value, int):
            options += [(index, value + step) for step in (8, -8, 1) if any(k.holds(value + step) for k in kinds)]
        elif value in spec.arch.registers:
            options += [(index, r) for r in spec.arch.registers if r != value and register_fits(spec.arch, kinds, r)]
    if not options:
        return None
    index, value = rng.choice(options)
    operands = list(insn.operands)
    operands[index] = value
    return replace(insn, operands=tuple(operands))


def exchanged(lines: list[Line], rng: random.Random, spec: Spec) -> list[Line] | None:
    """Two instructions of the same form exchange their operands: two slots, two registers, two targets."""
    at = [i for i, line in enumerate(lines) if isinstance(line, Insn) and line.operands]
    first = rng.choice(at)
    a = lines[first]
    assert isinstance(a, Insn)
    near = [i for i in at if abs(i - first) < 12 and i != first and lines[i].form is a.form and lines[i].operands != a.operands]  # type: ignore[union-attr]
    if not near or a.form.role == "clear":
        return None
    second = rng.choice(near)
    b = lines[second]
    assert isinstance(b, Insn)
    out = list(lines)
    # One operand only: exchanging all of them would just change the order of two instructions that may commute.
    index = rng.choice([i for i, (v, w) in enumerate(zip(a.operands, b.operands, strict=True)) if v != w])
    out[first] = replace(a, operands=(*a.operands[:index], b.operands[index], *a.operands[index + 1:]))
    out[second] = replace(b, operands=(*b.operands[:index], a.operands[index], *b.operands[index + 1:]))
    return out if out != lines else None


def corruptions(spec: Spec, code: Code, kind: str, seeds: int) -> Iterator[tuple[str, Code]]:
    if kind == "drop":
        for index in insns(code):
            yield f"drop {code.lines[index]}", Code(code.arch, code.lines[:index] + code.lines[index + 1:])
        return
    for seed in range(seeds):
        rng = random.Random(seed)
        lines: list[Line] | None = None
        while lines is None:
            if rng.random() < 0.6:
                index = rng.choice(insns(code))
                old = code.lines[index]
                assert isinstance(old, Insn)
                new = retargeted(spec, old, rng)
                lines = [*code.lines[:index], new, *code.lines[index + 1:]] if new is not None else None
            else:
                lines = exchanged(code.lines, rng, spec)
        yield f"seed {seed}", Code(code.arch, lines)


@pytest.mark.parametrize(("name", "kind"), [("x86_64", "drop"), ("x86_64", "change"), ("arm64", "change")])
def test_corrupt_plan_is_refuted(name: str, kind: str, tmp_path: Path) -> None:
    spec, configuration_name = spec_of(name, tmp_path)
    configuration = spec.configurations[configuration_name]
    code = plan_spec(spec)
    right = assemble(spec, code, configuration)
    assert verify(spec, right, configuration).green, "the untouched plan has to be proved first"
    survivors, changed = [], 0
    for what, corrupt in corruptions(spec, code, kind, SEEDS):
        try:
            image = assemble(spec, corrupt, configuration)
        except AssertionError:
            continue                            # not even an assembler takes it
        if image.segments == right.segments:
            continue
        changed += 1
        if verify(spec, image, configuration).green:
            survivors.append(what)
    assert changed >= (100 if kind == "change" else 60)
    assert survivors == []
