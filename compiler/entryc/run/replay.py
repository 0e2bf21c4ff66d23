"""Counterexamples in the emulator: the code runs from the claim's start with the values that refute it, and one place is looked at."""

from __future__ import annotations

from collections.abc import Sequence

from ..image.image import Image
from ..image.lift import Lifter
from ..model.spec import Configuration, Spec
from ..prove import terms as T
from ..prove.claim import Witness
from ..prove.machine import Machine
from ..prove.state import State
from ..prove.verify import Run, Verdict
from .emulator import Emulator, NotHere

MOST = 8
STEPS = 4096
CODE = 0x1000_0000
HIGHEST = 1 << 32                               # code below runs where it is
PLACES = (0x1000_0000, 0x1800_0000, 0x1_0000)   # where objects are put for a replay: the emulator runs no code at the top of the address space
MEMORY = 0x4000_0000
STRIDE = 0x10_0000


def lowered(spec: Spec, image: Image, configuration: Configuration, refuted: Sequence[Verdict]) -> dict[int, Verdict]:
    """The same refuted claims of the same code at addresses where the emulator can run it, by the identity of each."""
    run = Run(spec, image, configuration)
    stubs = {v.claim.stub.split(" ")[0].rstrip(",") for v in refuted}
    for path in run.paths():
        if path.name in stubs:
            run.path(path)
    found = {(c.stub, c.kind, c.text): c for c in run.claims}
    out: dict[int, Verdict] = {}
    for verdict in refuted:
        claim = found.get((verdict.claim.stub, verdict.claim.kind, verdict.claim.text))
        again = run.solver.decide(claim) if claim is not None else None
        if again is not None and again.verdict == "refuted":
            out[id(verdict.claim)] = again
    return out


def replay_all(spec: Spec, image: Image, refuted: Sequence[Verdict], configuration: Configuration | None = None, moved: bool = False) -> dict[int, str]:
    """For the first different refuted claims: what the emulator showed, by the claim's identity. `moved`: the image is the same code elsewhere."""
    out: dict[int, str] = {}
    configuration = configuration or next(iter(spec.configurations.values()))
    places = lowered(spec, image, configuration, refuted) if moved else {id(v.claim): v for v in refuted}
    seen: set[str] = set()
    for verdict in refuted:
        if verdict.claim.text in seen or len(out) >= MOST:
            continue
        seen.add(verdict.claim.text)
        if verdict.claim.witness is None:
            out[id(verdict.claim)] = "not replayed: the claim is about the path, not about one place"
            continue
        here = places.get(id(verdict.claim))
        if here is None:
            out[id(verdict.claim)] = "not replayed: the claim holds where the emulator can run the code"
            continue
        try:
            out[id(verdict.claim)] = replay(spec, image, here, configuration)
        except NotHere as reason:
            out[id(verdict.claim)] = f"not replayed: the emulator cannot: {reason}"
    return out


def _values(state: State, model: dict[str, int]) -> dict[str, int]:
    """The model, with every memory base at an address that the emulator can map, and distinct values where the model leaves a choice."""
    values = dict(model)
    for index, base in enumerate(sorted((b for b in state.regions if b.value is None), key=lambda t: str(t.aux)), 1):
        values[str(base.aux)] = MEMORY + index * STRIDE
    return values


def _fill(values: dict[str, int], term: T.Term) -> None:
    for leaf in T.leaves(term):
        name = str(leaf.aux)
        if name not in values:
            values[name] = (0x0101_0101 * (len(values) + 1)) & ((1 << leaf.width) - 1)


def replay(spec: Spec, image: Image, verdict: Verdict, configuration: Configuration | None = None) -> str:
    """Run a refuted claim's witness. Raises NotHere when the emulator cannot run it."""
    witness = verdict.claim.witness
    assert isinstance(witness, Witness)
    lifter = Lifter(spec.arch, image)
    machine = Machine(spec, configuration or next(iter(spec.configurations.values())), lifter, lambda _: True)
    state = witness.start.copy()
    values = _values(state, verdict.model)
    terms = {name: machine.read(state, name) for name in spec.arch.registers if name != spec.arch.of_kind("pc")}
    for term in (*terms.values(), witness.wanted, *([witness.word] if witness.word is not None else [])):
        _fill(values, term)
    emulator = Emulator(spec.arch)
    first = min(start for start, _ in image.segments)
    code = first if first < HIGHEST else CODE
    for start, data in image.segments:
        emulator.code(start - first + code, data)
    for base, region in state.regions.items():
        at = values[str(base.aux)] if base.value is None else base.value
        for low, high in [(p.low, p.high) for p in region.parts] or [(region.low, region.high)]:
            emulator.map(at + low, high - low + 16)
        for offset, term in region.seeds.items():
            _fill(values, term)
            if region.low <= offset < region.high:
                emulator.store(at + offset, T.evaluate(term, values).to_bytes(term.width // 8, "little"))
        for offset, (term, part) in region.content.cells.items():
            _fill(values, term)
            emulator.store(at + offset, bytes([T.evaluate(term, values) >> (8 * part) & 0xFF]))
    flags = spec.arch.registers[spec.arch.of_kind("flags")]
    for name, term in terms.items():
        if spec.arch.registers[name].kind in ("gpr", "stack", "system") and emulator.can(name):
            emulator.write(name, T.evaluate(term, values))
    known = sum(1 << bit for bit in flags.lifter_bits.values())
    emulator.write(flags.name, emulator.initial_flags & ~known | T.evaluate(terms[flags.name], values) & known & flags.facts["defined"])
    stop = witness.stop - first + code
    emulator.run(state.pc - first + code, stop, STEPS)
    if emulator.pc != stop:
        return f"not replayed: the emulator stopped at {emulator.pc - code + first:#x}"
    if witness.register is not None:
        if not emulator.can(witness.register):
            raise NotHere(f"it has no register {witness.register}")
        place, actual = witness.register, emulator.read(witness.register)
    else:
        assert witness.word is not None
        address = T.evaluate(witness.word, values)
        place, actual = "the slot", int.from_bytes(emulator.load(address, 8), "little")
    wanted = T.evaluate(witness.wanted, values)
    if actual == wanted:
        return f"replayed: not confirmed, {place} is {actual:#x} in the emulator as it has to be"
    return f"replayed: in the emulator {place} is {actual:#x} where {wanted:#x} has to be"
