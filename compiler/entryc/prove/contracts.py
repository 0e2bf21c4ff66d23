"""What a proof takes on trust of the code around the entry paths, said in words: functions, called assembly, boundaries, promises."""

from __future__ import annotations

from ..model.expr import show
from ..model.spec import Configuration, Spec
from ..model.steps import Call, ExitTo, Jump, flat_steps
from ..model.surroundings import StateNeed


def contracts(spec: Spec, configuration: Configuration) -> list[str]:
    """One line for each thing that is believed and not proved, in this configuration."""
    out = [f"assumed: {show(a.condition)}: {a.reason}" for a in spec.assumes if configuration.holds(a.guard)]
    for name, boundary in spec.boundaries.items():
        if configuration.holds(boundary.guard):
            when = f" when {show(boundary.condition)}" if boundary.condition is not None else ""
            only = f"; only vectors {', '.join(map(str, sorted(boundary.numbers)))} strike there" if boundary.numbers else ""
            out.append(f"boundary {name}{when}: arrives with {_facts(spec, configuration, boundary.arrive)}{only}")
    grouped: dict[str, list[str]] = {}
    for name, text in dict.fromkeys(_called(spec, configuration)):
        grouped.setdefault(text, []).append(name)
    out += [f"{', '.join(names)}{text}" for text, names in grouped.items()]
    for op in spec.ops.values():
        if configuration.holds(op.guard):
            parts = [f"sets {_facts(spec, configuration, op.sets)}"] if op.sets else []
            parts += [f"clobbers {' '.join(op.clobbers)}"] if op.clobbers else []
            parts += [f"writes {', '.join(map(show, op.writes))}"] if op.writes else []
            parts += [f"{show(p)}: {why}" for p, why in op.promises] + (["returns"] if op.returns else [])
            parts += [f"runs when {show(op.when)}"] if op.when is not None else []
            out.append(f"{op.symbol} is not followed: " + ("; ".join(parts) or "it changes nothing"))
    if not any(b.condition is not None for b in spec.boundaries.values()):
        for path in spec.of_kind("exit"):
            row = spec.return_of(path)
            if row is not None and row.raises and path.origin == "user" and configuration.holds(path.guard):
                out.append(f"{row.name} in {path.name} does not fault: the spec has no special boundary that tells it")
    for path in spec.of_kind("exit"):
        if path.given is not None:
            out.append(f"where {path.name} is taken, {show(path.given)}: {path.reason}")
    return out


def _called(spec: Spec, configuration: Configuration) -> list[tuple[str, str]]:
    """(name, what is believed of it)."""
    out: list[tuple[str, str]] = []
    for path in spec.paths.values():
        for step in flat_steps(path.steps):
            if not configuration.holds(step.guard):
                continue
            if isinstance(step, Call) and step.move is not None:
                but = f", with {', '.join(step.move.but)} written anew" if step.move.but else ""
                out.append((step.callee, f": copies the frame to the top of stack {step.move.stack}{but}, and returns its address (contract {step.contract})"))
            elif isinstance(step, Call) and spec.target != "bare":
                keeps = spec.keeps.get(step.contract, ())
                made = spec.choices.get(step.binds or "")
                choice = f", returns the method of {step.binds}" if step.binds else ""
                if made is not None and made.by_refusal:
                    choice = f", returns for {step.binds} {made.bits} bits: 0 for {made.methods[0]}, all else for {made.methods[1]}"
                out.append((step.callee, f": contract {step.contract}" + (f", which keeps {', '.join(keeps)}" if keeps else "") + choice))
            elif isinstance(step, Jump) and spec.target != "bare":
                out.append((step.callee, f": contract {step.contract}, does not return"))
            elif isinstance(step, ExitTo) and step.given is not None:
                out.append((path.name, f": {show(step.given)}: {step.reason}"))
    return out


def _facts(spec: Spec, configuration: Configuration, facts: tuple[StateNeed, ...]) -> str:
    return ", ".join(f"{f.subject} = {f.value}" for f in facts if spec.applies(f, configuration)) or "nothing special"
