"""All pictures of a spec, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..model.spec import Spec
from ..plan.code import Code
from .along import Along
from .frame import frame_row, frame_svg
from .paths import paths_svg
from .states import states_svg
from .windows import windows_svg


@dataclass(frozen=True)
class Picture:
    """A picture that can be drawn."""

    title: str
    svg: Callable[[], str]


def pictures(spec: Spec, code: Code) -> dict[str, Picture]:
    """paths, windows, states, and frame-NAME for each frame. Without a plan (code that exists), only what needs none."""
    along = Along(spec, code)
    out = {"paths": Picture("the graph of paths", lambda: paths_svg(along))}
    if code.moments:
        out |= {"windows": Picture("windows", lambda: windows_svg(along)), "states": Picture("states along paths", lambda: states_svg(along))}
    return out | {f"frame-{name}": _frame(spec, name) for name in spec.frames}


def path_picture(spec: Spec, code: Code, name: str) -> Picture:
    """The states along one path."""
    return Picture(f"states along {name}", lambda: states_svg(Along(spec, code), name))


def _frame(spec: Spec, name: str) -> Picture:
    return Picture(f"frame {name}", lambda: frame_svg(frame_row(spec, spec.frames[name])) + "\n")
