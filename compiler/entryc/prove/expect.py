"""What the spec says must happen, read off the model alone: calls with their contract, and the returns after them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ..model.spec import Call, Clause, Configuration, ExitTo, Frame, Goto, Jump, Origin, Path, ReturnStep, Save, Set, Spec, Step


@dataclass(frozen=True)
class Exit:
    """A return after the call. `index`: what C returns to get it (None: C has no choice); `clauses`: what then holds of the frame."""

    path: Path
    step: ReturnStep
    index: int | None
    method: str
    clauses: tuple[Clause, ...]


@dataclass
class Outline:
    """One way through the entry code, for one origin."""

    path: Path
    origin: str
    saves: list[Save] = field(default_factory=list)
    moves: list[Set] = field(default_factory=list)
    target: Call | Jump | None = None
    exits: list[Exit] = field(default_factory=list)

    @property
    def frame_name(self) -> str | None:
        return self.saves[0].frame if self.saves else self.path.frame

    def frame(self, spec: Spec) -> Frame | None:
        return spec.frames[self.frame_name] if self.frame_name else None


def origins(path: Path) -> tuple[str, ...]:
    """Who can be interrupted by the event of an entry point."""
    return ("user", "kernel") if path.origin == "any" else (path.origin or "kernel",)


def outline(spec: Spec, path: Path, origin: str, configuration: Configuration) -> Outline:
    """Follow the written steps of an entry point or routine for one origin."""
    out = Outline(path, origin)
    for where, step in _steps(spec, path, path.steps, origin, configuration):
        if isinstance(step, Save):
            out.saves.append(step)
        elif isinstance(step, Set):
            out.moves.append(step)
        elif isinstance(step, (Call, Jump)):
            out.target = step
        elif isinstance(step, ExitTo):
            out.exits += _exits(spec, step, out.target, configuration)
        elif isinstance(step, ReturnStep):
            out.exits.append(Exit(where, step, None, step.name, ()))
    return out


def _steps(spec: Spec, path: Path, steps: tuple[Step, ...], origin: str, configuration: Configuration) -> Iterator[tuple[Path, Step]]:
    for step in steps:
        if not configuration.holds(step.guard):
            continue
        if isinstance(step, Goto):
            target = spec.paths[step.path]
            yield from _steps(spec, target, target.steps, origin, configuration)
        elif isinstance(step, Origin):
            yield from _steps(spec, path, step.user if origin == "user" else step.kernel, origin, configuration)
        else:
            yield path, step


def _exits(spec: Spec, step: ExitTo, target: Call | Jump | None, configuration: Configuration) -> list[Exit]:
    out: list[Exit] = []
    handler = spec.handlers.get(target.callee) if target is not None else None
    choice = spec.choices.get(handler.choice) if handler is not None and handler.choice else None
    for position, name in enumerate(step.targets):
        path = spec.paths[name]
        returns = [s for s in path.steps if isinstance(s, ReturnStep) and configuration.holds(s.guard)]
        index = len(step.targets) - 1 - position if step.by_method else None
        method = spec.methods[choice.methods[position]] if choice is not None and step.by_method else None
        for found in returns[:1]:
            out.append(Exit(path, found, index, method.name if method else name, method.clauses if method else ()))
    return out
