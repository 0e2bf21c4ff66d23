"""How a kernel writes its entry code: a table of texts, by the names that the spec and the CPU's description use."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..model.arch import Form
from ..model.spec import Spec
from ..resources import templates
from ..source.text import Span
from .assembly import Region, macro_region, part_of, region_between
from .series import Array, Code, Macro, Remove

Replaced = Code | Macro | Array | Remove         # edits that put assembly in place of assembly


@dataclass(frozen=True)
class Feature:
    """A feature that is patched in at boot: its name, and the option that its text needs ("": none)."""

    name: str                                   # "": nothing is patched, the option says all
    option: str


@dataclass(frozen=True)
class Given:
    """C of a function that makes a choice: what stands above it, its head, what it says when the first method is taken, and when it is refused."""

    comment: str
    head: str
    taken: str
    refused: str
    end: list[str]                              # lines before its last brace
    answer: str = ""                            # what it says where a value is the answer itself


@dataclass(frozen=True)
class Dialect:
    """The texts of one kernel on one CPU: templates/TARGET/CPU.toml."""

    lines: Mapping[str, str]
    hints: Mapping[str, str]
    landing: Mapping[str, str]
    features: Mapping[str, Feature]
    forms: Mapping[str, Mapping[str, str]]      # form -> text, cell (the operand that is a word of memory)
    cells: Mapping[str, str]
    constants: Mapping[str, str]
    c: Mapping[str, str]                        # C around choices
    given: Mapping[str, Given]                  # how C gives a choice: "index" or "refusal"
    parameters: Mapping[str, str]               # choice -> what it is given beside the frame
    clauses: Mapping[str, str]                  # METHOD.CLAUSE -> what C asks instead, which implies it
    unless: Mapping[str, tuple[Mapping[str, str], ...]]         # method -> when the kernel never takes it, whatever the frame
    branches: tuple[str, ...]                   # mnemonics of conditional branches
    ops: Mapping[str, Mapping[str, str]]        # op, or STATE = VALUE -> text, inside
    jumps: Mapping[str, str]                    # label -> how a jump to it is written, where that is special
    slots: Mapping[str, str]                    # what the kernel calls the offset of a slot
    symbols: Mapping[str, str]                  # what the kernel calls a place that has another name in the spec

    def whole(self, spec: Spec) -> dict[str, Form]:
        """The ops and changes of state that are one line of text, as forms without effects."""
        return {name: whole_form(spec, name, row["text"], row.get("does", "")) for name, row in self.ops.items()}


def load_dialect(spec: Spec) -> Dialect | None:
    """The dialect of the spec's target and CPU, with the rows of its version in place of the general ones; None: there is none."""
    path = templates() / spec.target / f"{spec.arch.name}.toml"
    if not path.is_file():
        return None
    data: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    for table, rows in data.get("versions", {}).get(spec.version, {}).items():
        data[table] = {**data[table], **rows}
    features = {name: Feature(row.get("name", ""), row.get("option", "")) for name, row in data["features"].items()}
    return Dialect(data["lines"], data["hints"], data["landing"], features, data["forms"], data["cells"], data["constants"],
                   {k: v for k, v in data["c"].items() if isinstance(v, str)}, {how: Given(**data["c"][how]) for how in ("index", "refusal")},
                   data["c"].get("parameter", {}), data.get("clauses", {}),
                   {name: tuple(rows) for name, rows in data.get("unless", {}).items()},
                   tuple(data["count"]["branches"]), data["ops"], data.get("jumps", {}), data.get("slots", {}), data.get("symbols", {}))


def whole_form(spec: Spec, name: str, text: str, does: str) -> Form:
    """A text with operands in braces as an instruction form: operands are general registers or the stack pointer, or the place of the frame.

    `does`: changes of state that the text makes itself, "a = b, c = d", which the op needs.
    """
    kinds = next(p for f in spec.arch.forms.values() for p in f.params.values() if {k.name for k in p} == {"gpr", "sp"})
    parts = [piece.partition("}")[0] for piece in text.split("{")[1:]]
    traits = frozenset(part.strip() for part in does.split(",") if part.strip())
    return Form(f"whole {name}", dict.fromkeys(parts, kinds), "whole", text, {}, (), (), traits, "", Span(spec.source, 1, 1, 1, 2))


def region_of(lines: list[str], edit: Replaced, dialect: Dialect) -> Region | None:
    """The lines that give way; None: they are not there, or more than once."""
    if isinstance(edit, Macro):
        return macro_region(lines, edit.macro)
    region = symbol_region(lines, edit.symbol, dialect)
    return part_of(lines, region, edit.first, edit.last) if region is not None and isinstance(edit, Code) and edit.first else region


def symbol_region(lines: list[str], symbol: str, dialect: Dialect) -> Region | None:
    """Where a symbol's code stands, global or local; None: not exactly once."""
    end = dialect.lines["end"].format(name=symbol)
    found = [region_between(lines, dialect.lines[kind].format(name=symbol), end) for kind in ("entry", "entry_local")]
    return found[0] or found[1]
