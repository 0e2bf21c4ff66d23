"""The descriptions of exit work under specs/linux say what built kernels do: mask, order, interrupts, one-shot flags, passes, bookkeeping.

Every flag alone, every pair, all at once, and each flag coming up while each piece of work runs: the calls of the kernel's machine code are those predicted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import lru_cache

import exit_work as X
import pytest
from conftest import SPECS, kernel
from entryc.model.build import load_spec
from entryc.model.spec import Spec

LINUX = SPECS / "linux"
NAMES = sorted(X.PLANS)


@lru_cache(maxsize=8)
def spec_of(name: str) -> Spec:
    return load_spec(LINUX / f"exit-work-{name}.entry")


@pytest.fixture(scope="module", params=NAMES)
def image(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> X.Image:
    name = request.param
    plan = X.PLANS[name]
    return X.Image(plan, spec_of(name), kernel(plan.variant), tmp_path_factory.mktemp(name))


def test_each_description_is_checked() -> None:
    assert {p.stem for p in LINUX.glob("exit-work-*.entry")} == {f"exit-work-{n}" for n in NAMES}


def clears(spec: Spec) -> dict[str, int]:
    """The work of a flag that is not one-shot takes the flag away when it is done."""
    return {X.symbols(spec, row.call.name)[-1]: X.bits(spec, work, row.flags) for work in spec.works.values() for row in work.rows
            if not row.clears_first}


def masks(spec: Spec) -> list[int]:
    """Each bit of the flag word alone, each pair of the described flags, all of them, none."""
    known = [1 << b for b in spec.flag_sets["thread"].values()]
    return [0, *(1 << b for b in range(32)), *(a | b for a in known for b in known if a < b), sum(known)]


def user_cases(spec: Spec) -> Iterator[X.Case]:
    known = [1 << b for b in spec.flag_sets["thread"].values()]
    gone = clears(spec)
    for flags in masks(spec):
        yield X.Case(flags=flags, clears=gone)
    for work in spec.works.values():
        for row in work.rows if work.name.startswith("to_user") and work.repeat else ():
            mine, first = X.bits(spec, work, row.flags), X.symbols(spec, row.call.name)[0]
            for late in known:                  # comes up while the row's work runs; or that of the row does, with another one waiting
                yield X.Case(flags=mine, clears=gone, raises={first: late})
                yield X.Case(flags=mine | late, clears=gone, raises={first: mine})


def seen(image: X.Image, case: X.Case) -> tuple[list[X.Event], list[X.Event], list[bool]]:
    """A round trip, without what stands for a look at the flags."""
    inward, outward, reads = image.round_trip(case)
    look = {s for w in image.spec.works.values() for s in image.spec.hooks[w.read.name].symbols}
    assert not look or case.origin == "kernel" or outward[0].what in look, outward
    return inward, [e for e in outward if e.what not in look], reads


def check(image: X.Image, case: X.Case, bracket: str) -> None:
    inward, outward, reads = seen(image, case)
    spec = image.spec
    assert inward == X.bookkeeping(spec, bracket, "enter"), case
    assert outward == X.bookkeeping(spec, "handled", "enter") + X.predicted(spec, case) + X.bookkeeping(spec, bracket, "leave"), case
    if case.origin == "user":
        assert reads[-1] is False, "the last look at the flags is made with interrupts off"


def test_way_to_user_mode(image: X.Image) -> None:
    cases = list(user_cases(image.spec))
    assert len(cases) > 60
    for case in cases:
        check(image, case, "user")


def test_way_to_kernel_code(image: X.Image) -> None:
    """Every flag, with interrupts of the interrupted code on and off, with and without what forbids a switch, before and after boot."""
    for flags in masks(image.spec):
        for on in (True, False):
            for count in (0, 1, 0x10000):
                for final in (True, False):
                    case = X.Case("kernel", on, flags=flags, preempt_count=count, finalized=final, clears=clears(image.spec))
                    check(image, case, "kernel" if on else "kernel_irqs_off")


def test_idle_loop(image: X.Image) -> None:
    bracket = "kernel_idle" if "kernel_idle" in image.spec.brackets else "kernel"
    inward, outward, _ = image.round_trip(X.Case("kernel", idle=True))
    assert inward == X.bookkeeping(image.spec, bracket, "enter")
    assert outward == X.bookkeeping(image.spec, "handled", "enter") + X.bookkeeping(image.spec, bracket, "leave")


def wrong(spec: Spec) -> Iterator[tuple[str, Spec]]:
    """Descriptions that are not true."""
    work = spec.works["to_user"]
    rows = work.rows

    def other(**changes: object) -> Spec:
        return dataclasses.replace(spec, works={**spec.works, "to_user": dataclasses.replace(work, **changes)})     # type: ignore[arg-type]
    yield "order", other(rows=(rows[1], rows[0], *rows[2:]))
    yield "row dropped", other(rows=rows[:-1])
    yield "flag dropped", other(rows=tuple(dataclasses.replace(r, flags=r.flags[:1]) for r in rows))
    yield "interrupts", other(irqs_on=False)
    yield "one pass", other(repeat=False)
    yield "one-shot", other(rows=tuple(dataclasses.replace(r, clears_first=not r.clears_first) if "NOTIFY_RESUME" in r.flags else r for r in rows))
    yield "alone", other(rows=(dataclasses.replace(rows[0], alone=not rows[0].alone), *rows[1:]))
    yield "its interrupts", other(rows=(dataclasses.replace(rows[0], irqs_on=None if rows[0].irqs_on is not None else False), *rows[1:]))
    user = spec.brackets["user"]
    yield "bookkeeping", dataclasses.replace(spec, brackets={**spec.brackets, "user": dataclasses.replace(user, leave=(*user.leave[1:], user.leave[0]))})


def test_wrong_descriptions_are_refused(image: X.Image) -> None:
    right = image.spec
    cases = list(user_cases(right))
    for name, spec in wrong(right):
        image.spec = spec
        try:
            with pytest.raises(AssertionError):
                for case in cases:
                    check(image, case, "user")
                pytest.fail(f"a wrong {name} is not noticed", pytrace=False)
        finally:
            image.spec = right


def test_conditions_of_preemption_are_refused_when_wrong(image: X.Image) -> None:
    right = image.spec
    work = right.works["to_kernel"]
    image.spec = dataclasses.replace(right, works={**right.works, "to_kernel": dataclasses.replace(work, condition=None)})
    try:
        with pytest.raises(AssertionError):
            test_way_to_kernel_code(image)
    finally:
        image.spec = right
