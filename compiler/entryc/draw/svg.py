"""What all pictures share: text that cannot break out, coordinates, colours that do not need colour vision, dark and light.

Colours follow the reader's mode: text takes the colour of the surroundings, areas are tints, and a picture opened on its own sets both.
What belongs to user mode is hatched as well; every area carries its value as text or as a title. Widths are counted in characters of a
monospaced font, which is the same on every machine.
"""

from __future__ import annotations

from collections.abc import Iterable
from xml.sax.saxutils import escape as xml_escape

from ..source.finding import printable

GLYPH = 7.25                                    # width of a character at 12 px
SMALL = 6.05                                    # at 10 px

STYLE = """
.picture { color: #1c2128; color-scheme: light dark }
.picture text { font: 12px ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: currentColor }
.picture .small { font-size: 10px }
.picture .dim { fill-opacity: .66 }
.picture .strong { font-weight: 600 }
.picture rect, .picture path { fill: none; stroke: currentColor; stroke-width: 1; stroke-opacity: .45 }
.picture .cpu { fill: currentColor; fill-opacity: .13 }
.picture .some { fill: currentColor; fill-opacity: .05 }
.picture .mark { stroke-opacity: .7 }
.picture .user { fill: #d55e00; fill-opacity: .3; stroke: none }
.picture .kernel { fill: #009e73; fill-opacity: .24; stroke: none }
.picture .other { fill: #0072b2; fill-opacity: .2; stroke: none }
.picture .unknown { fill: currentColor; fill-opacity: .07; stroke: none }
.picture .hatch { stroke: #d55e00; stroke-opacity: .75; stroke-width: 1.4 }
.picture .hatched { stroke: none }
.picture .arrow { stroke-opacity: .6 }
.picture .head { fill: currentColor; fill-opacity: .6; stroke: none }
@media (prefers-color-scheme: dark) { .picture { color: #e0e3e8 } .picture .user { fill-opacity: .4 } .picture .kernel { fill-opacity: .38 }
.picture .other { fill: #56b4e9; fill-opacity: .3 } }
@media print { .picture { color: #000 } }
"""


def escape(text: str) -> str:
    """Any text as content or as an attribute's value."""
    return xml_escape(printable(text.replace("\t", " ")), {'"': "&quot;", "'": "&#39;"})


def short(text: str, most: int) -> str:
    return text if len(text) <= most else text[:most - 1] + "…"


def n(value: float) -> str:
    """A coordinate with at most two decimals, written the same everywhere."""
    return str(value) if isinstance(value, int) else f"{value:.2f}".rstrip("0").rstrip(".")


def line(x: float, y: float, text: str, kind: str = "", end: bool = False, title: str = "") -> str:
    """A line of text that starts, or ends, at x."""
    attributes = (f' class="{kind}"' if kind else "") + (' text-anchor="end"' if end else "")
    return f'<text{attributes} x="{n(x)}" y="{n(y)}">{f"<title>{escape(title)}</title>" if title else ""}{escape(text)}</text>'


def box(x: float, y: float, width: float, height: float, kind: str = "", round: float = 0) -> str:
    attributes = (f' class="{kind}"' if kind else "") + (f' rx="{n(round)}"' if round else "")
    return f'<rect{attributes} x="{n(x)}" y="{n(y)}" width="{n(width)}" height="{n(height)}"/>'


def area(x: float, y: float, width: float, height: float, owner: str, name: str) -> list[str]:
    """A tinted area. owner: user (hatched as well), kernel, other, unknown. `name`: of the picture, for its hatch."""
    out = [box(x, y, width, height, owner)]
    return [*out, f'<rect class="hatched" x="{n(x)}" y="{n(y)}" width="{n(width)}" height="{n(height)}" style="fill:url(#{name}-hatch)"/>'] \
        if owner == "user" else out


def picture(name: str, title: str, description: str, width: float, height: float, body: Iterable[str]) -> str:
    """A whole picture. `name`: letters and digits, keeps the ids of several pictures on a page apart."""
    rows = list(body)
    shared = [text for mark, text in (
        ("hatch", f'<pattern id="{name}-hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
                  '<path class="hatch" d="M0 0V6"/></pattern>'),
        ("head", f'<marker id="{name}-head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" markerUnits="userSpaceOnUse" orient="auto">'
                 '<path class="head" d="M0 0L8 4L0 8z"/></marker>')) if any(f"url(#{name}-{mark})" in row for row in rows)]
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" class="picture" role="img" aria-labelledby="{name}-title {name}-text" '
        f'viewBox="0 0 {n(width)} {n(height)}" width="{n(width)}" height="{n(height)}">',
        f'<title id="{name}-title">{escape(title)}</title>', f'<desc id="{name}-text">{escape(description)}</desc>', f"<style>{STYLE}</style>",
        *([f"<defs>{''.join(shared)}</defs>"] if shared else []), *rows, "</svg>"])


def legend(x: float, y: float, name: str) -> list[str]:
    """What the tints mean, in one line."""
    out: list[str] = []
    for owner, words in (("user", "the user's"), ("kernel", "the kernel's"), ("other", "another value"), ("unknown", "not known")):
        out += [*area(x, y - 10, 22, 13, owner, name), line(x + 28, y, words, "small dim")]
        x += 28 + len(words) * SMALL + 18
    return out
