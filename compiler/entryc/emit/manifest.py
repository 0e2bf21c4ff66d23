"""manifest.json: what was made from what. It depends on the spec and the CPU description alone."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from ..model.spec import Spec
from ..source.version import LANGUAGE


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def emit_manifest(spec: Spec, files: dict[str, str]) -> str:
    """The manifest of the files given."""
    entries: list[dict[str, Any]] = []
    for path in spec.of_kind("entry"):
        row: dict[str, Any] = {"symbol": path.name, "event": path.event.name if path.event else "", "from": path.origin}
        if path.number is not None:
            row["number"] = path.number
            row["user_may_raise"] = path.user_may_raise
        entries.append(row)
    data = {
        "language": LANGUAGE, "arch": spec.arch.name, "target": spec.target, "license": spec.license,
        "spec_sha256": digest(spec.source.text), "arch_sha256": digest(spec.arch.source.text),
        "configurations": {c.name: sorted(c.features) for c in spec.configurations.values()},
        "files": {name: digest(text) for name, text in sorted(files.items())},
        "entries": entries,
        "routines": [p.name for p in spec.of_kind("routine")],
        "frames": {f.name: {"c_name": f.c_name, "size": f.size, "slots": {s.name: s.offset for s in f.slots.values()}} for f in spec.frames.values()},
        "setup": {name: hex(value) for name, (value, _) in spec.setup.items()},
        "decisions": {d.kind: d.most for d in spec.decisions.values()},
        "hooks": sorted(spec.hooks),
    }
    return json.dumps(data, indent=1, sort_keys=True) + "\n"
