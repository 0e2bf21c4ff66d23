"""One HTML page from what data.py describes: everything a template needs is decided here, as flat lists of words and numbers.

The page holds all that it shows, runs no script, and is a function of its data. All text is escaped by the template engine; characters that
are not printable (and could move text or hide it) are shown as escapes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ..draw.frame import frame_svg
from ..resources import templates
from ..source.finding import printable

Row = dict[str, Any]

FEW = 4                                         # listings of one family that are open at once
FINDINGS = 200                                  # findings on a page; the JSON report has all
NAMES = 6                                       # names in a heading
BYTES = 30                                      # columns of a listing's bytes
EXTRA = {
    "mutants": ("Mutants", "Small changes of the machine code, and whether the proof noticed each. A mutant is killed when a claim is refuted or can "
                           "no longer be decided; one that no claim noticed survived, unless it was proved to do the same as the original."),
    "crosscheck": ("Cross-check with the emulator", "Instruction forms on random states, in the prover's evaluator and in an emulator."),
    "assembled": ("Assembled by", "Which tool made which bytes, and whether they are the same."),
    "compiled": ("Compiled C", "What was proved of the C functions, on the bytes that a compiler made."),
}


def page_html(data: Row, pictures: Sequence[tuple[str, str]] = ()) -> str:
    """The page. `data`: what report_data gives, or the same read back from JSON; `pictures`: (title, SVG) of paths."""
    drawn = [{"title": title, "svg": Markup(svg)} for title, svg in pictures]
    return environment().get_template("report/page.html.j2").render(**_view(_ordered(data)), pictures=drawn)


def environment() -> Environment:
    """Jinja for pages: everything is escaped, and what does not print is shown as an escape."""
    return _environment(str(templates()))


def _ordered(data: Row) -> Row:
    """Configurations in the order of the spec: JSON may have sorted them."""
    names = [c["name"] for c in data["configurations"]]
    def order(table: Row) -> Row:
        return {n: table[n] for n in [*(n for n in names if n in table), *sorted(n for n in table if n not in names)]}
    verdicts = order(data["verdicts"])
    rank = list(verdicts)
    def variants(rows: list[Row]) -> list[Row]:
        return sorted(({**v, "starts": order(v["starts"])} for v in rows), key=lambda v: rank.index(next(iter(v["starts"]))))
    return {**data, "verdicts": verdicts, "code": [{**c, "variants": variants(c["variants"])} for c in data["code"]],
            "coverage": None if data["coverage"] is None else order(data["coverage"])}


@lru_cache(maxsize=2)
def _environment(folder: str) -> Environment:
    return Environment(loader=FileSystemLoader(folder), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=True,
                       keep_trailing_newline=True, finalize=_shown)


def _shown(value: Any) -> Any:
    """What an expression of the template prints: markup of our own as it is, anything else without characters that do not print."""
    if isinstance(value, Markup):
        return value
    text = value if isinstance(value, str) else str(value)
    return printable(text)


def _view(data: Row) -> Row:
    """All sections."""
    families = _Families(data)
    shown, rest = _findings(data)
    return {
        "title": f"{data['spec']['name']}: {_word(data)}",
        "heading": data["image"]["path"] if data["image"] else data["spec"]["name"],
        "state": "ok" if data["green"] else "bad" if data["count"]["refuted"] else "unk",
        "word": _word(data),
        "statement": _statement(data),
        "head": _head(data),
        "summary": _summary(data),
        "not_checked": _not_checked(data),
        "findings": shown,
        "findings_left": rest,
        "families": families.families(),
        "groups": families.groups(),
        "cut": [name for name, v in data["verdicts"].items() if v["listing_cut"]],
        "frames": [{"svg": Markup(frame_svg(f, n)), "name": f["name"], "c_name": f["c_name"], "size": f["size"], "hex": hex(f["size"]),
                    "count": len(f["slots"]), "at": f["at"]} for n, f in enumerate(data["frames"])],
        "assumptions": data["assumptions"],
        "facts": [] if data["contracts"] else data["facts"],        # the contracts say them too
        "declared": {kind: [c for c in data["declared"] if c["kind"] == kind] for kind in ("code", "op")},
        "contracts": _texts(data, "contracts"),
        "patched": _texts(data, "patched"),
        "trusted": data["trusted"],
        "coverage": _coverage(data),
        "extras": [_extra(name, value) for name, value in sorted(data["extra"].items())],
        "configurations": _configurations(data),
    }


# ---- head and summary ----

def _word(data: Row) -> str:
    """The outcome in words."""
    count = data["count"]
    if data["green"]:
        return "proved"
    parts = [f"{count[key]} {key.replace('_', ' ')}" for key in ("refuted", "unknown", "not_checked") if count[key]]
    return "not proved: " + (", ".join(parts) if parts else "a configuration without claims" if count["total"] else "nothing was checked")


def _statement(data: Row) -> str:
    count, names = data["count"], ", ".join(data["verdicts"])
    what = "the image named here" if data["image"] else "the code assembled from this spec"
    where = f"For {what} and configuration{'s' if len(data['verdicts']) > 1 else ''} {names}"
    assuming = f"assuming {data['assumptions'][0]['name']} to {data['assumptions'][-1]['name']}" if data["assumptions"] else "without assumptions"
    assuming += " and the contracts" if data["contracts"] else " and the facts that the spec states" if data["facts"] else ""
    if data["green"]:
        return (f"{where}: every execution of the CPU model from each entry point satisfies the {count['total']} claims listed, {assuming}. "
                "Nothing else is claimed.")
    return f"{where}: {count['proved']} of {count['total']} claims are proved, {assuming}. Nothing is claimed of the rest, nor of what is not checked."


def _head(data: Row) -> list[tuple[str, str]]:
    """What was verified."""
    image, spec = data["image"], data["spec"]
    out = [("Image", image["path"]), ("SHA-256", image["sha256"] or "see the configurations")] if image else [("Image", "assembled from the spec, in memory")]
    out += [("Spec", spec["name"]), ("SHA-256 of the spec", spec["sha256"])]
    out += [("Used files", ", ".join(spec["used"]))] if spec["used"] else []
    out += [("CPU", f"{spec['cpu']}: {spec['cpu_title']}"), ("Made by", f"{data['tool']['name']} {data['tool']['version']}")]
    return out + ([("Date", data["date"])] if data["date"] else [])


def _green(run: Row) -> bool:
    return bool(run["count"]["total"] and run["count"]["total"] == run["count"]["proved"] and not run["not_checked"])


def _tally(count: Row) -> Row:
    """A cell: the state as a class, and in words."""
    total, proved, refuted, unknown = (count.get(key, 0) for key in ("total", "proved", "refuted", "unknown"))
    if not total:
        return {"state": "none", "text": "none", "bad": ""}
    bad = ", ".join(f"{n} {word}" for n, word in ((refuted, "refuted"), (unknown, "unknown")) if n)
    return {"state": "bad" if refuted else "unk" if unknown else "ok", "text": f"{proved} proved" if proved or not bad else "", "bad": bad}


def _summary(data: Row) -> Row:
    """Kinds of claims by configuration."""
    runs = data["verdicts"]
    def plain(values: Iterable[Any]) -> list[Row]:
        return [{"state": "", "text": str(v), "bad": ""} for v in values]
    kinds = sorted({kind for v in runs.values() for kind in v["kinds"]})
    hows = sorted({how for v in runs.values() for how in v["by"]})
    return {
        "columns": list(runs),
        "all": [_tally(v["count"]) for v in runs.values()],
        "kinds": [{"name": kind, "cells": [_tally(v["kinds"].get(kind, {})) for v in runs.values()]} for kind in kinds],
        "not_checked": [{"state": "unk" if v["not_checked"] else "ok", "text": "" if v["not_checked"] else "nothing left out",
                         "bad": f"{len(v['not_checked'])} not checked" if v["not_checked"] else ""} for v in runs.values()],
        "rest": [{"name": f"proved by {how}", "cells": plain(v["by"].get(how, 0) for v in runs.values())} for how in hows]
        + [{"name": "CPU seconds", "cells": plain(f"{v['seconds']:.2f}" for v in runs.values())},
           {"name": "image SHA-256", "cells": plain(v["image"][:16] + "…" for v in runs.values())}],
    }


def _not_checked(data: Row) -> list[Row]:
    """One row a reason: what, and in which configurations. What the image lacks stands with it."""
    out: dict[tuple[str, ...], Row] = {}
    for name, run in data["verdicts"].items():
        reasons: dict[str, dict[str, None]] = {}
        for text in run["not_checked"]:
            who, _, why = text.partition(": ")
            reasons.setdefault(why or text, {})[who if why else ""] = None
        for text in run["missing"] if not _green(run) else ():
            reasons.setdefault(f"missing: {text}", {})[""] = None
        for why, whose in reasons.items():
            who_all = [w for w in whose if w]
            row = out.setdefault((why, *who_all), {"reason": why, "count": len(whose), "who": who_all, "configurations": []})
            row["configurations"].append(name)
    return [{**row, "few": row["count"] <= NAMES} for row in out.values()]


def _findings(data: Row) -> tuple[list[Row], int]:
    """What is refuted or unknown: one row for each different claim, and how many are left out."""
    out: dict[tuple[str, ...], Row] = {}
    sources = {(x["file"], x["line"]): x["text"] for x in data["lines"]}
    for name, run in data["verdicts"].items():
        for v in run["verdicts"]:
            if v["verdict"] == "proved":
                continue
            key = (v["verdict"], v["kind"], v["claim"], v["at"])
            row = out.get(key)
            if row is None:
                row = out[key] = {**v, "state": "bad" if v["verdict"] == "refuted" else "unk", "places": {}, "replay": v.get("replay", ""),
                                  "file": _place(v["at"])[0], "line": _place(v["at"])[1],
                                  "source": sources.get(_place(v["at"]), "").replace("\t", "    "),
                                  "values": [(n, hex(value)) for n, value in v["model"].items()], "configuration": name}
            elif not row["replay"] and v.get("replay"):
                row["replay"] = v["replay"]
            row["places"].setdefault(v["stub"], []).append(name)
    rows = sorted(out.values(), key=lambda r: (r["verdict"] != "refuted", r["file"], r["line"], r["kind"], r["claim"]))
    for row in rows:
        by: dict[tuple[str, ...], list[str]] = {}
        for stub, names in row.pop("places").items():
            by.setdefault(tuple(dict.fromkeys(names)), []).append(stub)
        row["places"] = [{"configurations": ", ".join(names), "stubs": _few(stubs), "all": ", ".join(stubs)} for names, stubs in by.items()]
    return rows[:FINDINGS], max(0, len(rows) - FINDINGS)


def _place(at: str) -> tuple[str, int]:
    """(file, line) of file:line:column."""
    file, line, _ = at.rsplit(":", 2)
    return file, int(line)


def _few(names: list[str]) -> str:
    """The first and the last of many names."""
    return ", ".join(names) if len(names) <= NAMES else f"{', '.join(names[:NAMES - 2])}, … {names[-1]} ({len(names)} in all)"


# ---- entry points ----

class _Families:
    """Entry points that one place of the spec declares are shown together; what several run or say is shown once, under what they share."""

    def __init__(self, data: Row) -> None:
        self.data = data
        self.runs: Row = data["verdicts"]
        places: dict[tuple[str, str], int] = {}
        self.members: list[list[Row]] = []
        self.of: dict[str, int] = {}
        for stub in data["stubs"]:
            number = places.setdefault((stub["at"], stub["kind"]), len(self.members))
            if number == len(self.members):
                self.members.append([])
            self.members[number].append(stub)
            self.of[stub["name"]] = number
        for run in self.runs.values():              # a claim about something that the spec does not name
            for v in run["verdicts"]:
                if v["path"] not in self.of:
                    self.of[v["path"]] = len(self.members)
                    self.members.append([{"name": v["path"], "kind": "", "event": None, "number": None, "at": v["at"], "code": [], "paths": []}])
        self.pieces = {c["label"]: c for c in data["code"]}
        self.paths = {p["name"]: p for p in data["paths"]}
        self.sources = {(x["file"], x["line"]): x["text"] for x in data["lines"]}
        self.claims: list[dict[tuple[str, str, str], Row]] = [{} for _ in self.members]
        self.lines: list[dict[tuple[str, int], list[int]]] = [{} for _ in self.members]
        self._collect()
        self.code_users = {label: frozenset(self.of[s] for s in c["stubs"]) for label, c in self.pieces.items()}
        users: dict[str, set[int]] = {}
        for number, members in enumerate(self.members):
            for name in dict.fromkeys(n for m in members for n in m["paths"]):
                users.setdefault(name, set()).add(number)
        self.path_users = {name: frozenset(u) for name, u in users.items()}
        shared = {u for u in (*self.code_users.values(), *self.path_users.values()) if len(u) > 1}
        self.shared = {u: n for n, u in enumerate(sorted(shared, key=lambda u: (sorted(u)[:1], -len(u), sorted(u))))}

    def _collect(self) -> None:
        """Verdicts by family and claim, and by source line."""
        places: dict[str, tuple[str, int]] = {}
        for run in self.runs.values():
            for v in run["verdicts"]:
                number = self.of[v["path"]]
                proved = v["verdict"] == "proved"
                place = places.get(v["at"]) or places.setdefault(v["at"], _place(v["at"]))
                line = self.lines[number].setdefault(place, [0, 0])
                line[0] += 1
                line[1] += proved
                row = self.claims[number].setdefault((v["kind"], v["claim"], v["at"]), {
                    "text": v["claim"], "line": place[1], "total": 0, "proved": 0, "refuted": 0, "unknown": 0, "arms": {}})
                row["total"] += 1
                row[v["verdict"]] += 1
                row["arms"][v["stub"][len(v["path"]):].strip(" ,")] = None

    def families(self) -> list[Row]:
        left: dict[int, list[str]] = {}
        for name, run in self.runs.items():
            for text in run["not_checked"]:
                who = text.partition(":")[0]
                number = self.of.get(who.split(" from ")[0].split(",")[0])
                if number is not None:
                    left.setdefault(number, []).append(f"{text} ({name})")
        return [self.family(number, members, left.get(number, [])) for number, members in enumerate(self.members)]

    def family(self, number: int, members: list[Row], left: list[str]) -> Row:
        names = [m["name"] for m in members]
        kinds: dict[str, list[Row]] = {}
        for (kind, _, _), row in self.claims[number].items():
            kinds.setdefault(kind, []).append(row)
        count = {key: sum(r[key] for r in self.claims[number].values()) for key in ("total", "proved", "refuted", "unknown")}
        own = frozenset({number})
        code = [self.piece(label) for label in dict.fromkeys(x for m in members for x in m["code"]) if self.code_users[label] == own]
        used = {self.code_users[x] for m in members for x in m["code"]} | {self.path_users[n] for m in members for n in m["paths"]}
        links = sorted((u for u in used if u in self.shared), key=self.shared.__getitem__)
        times = [(name, sum(run["timings"].get(n, 0.0) for n in names)) for name, run in self.runs.items() if any(n in run["timings"] for n in names)]
        tally = _tally(count)
        if left and tally["state"] in ("ok", "none"):
            tally = {"state": "unk", "text": tally["text"] if count["total"] else "", "bad": "not all checked" if count["total"] else "not checked"}
        return {
            "id": f"stub-{number}", "names": names, "title": names[0] if len(names) == 1 else f"{names[0]} … {names[-1]}", "size": len(names),
            "what": _what(members), "at": members[0]["at"], **tally, "total": count["total"], "left": left[:NAMES],
            "times": ", ".join(f"{seconds:.3f} s {name}" for name, seconds in times),
            "left_more": max(0, len(left) - NAMES),
            "code": code[:FEW], "more": code[FEW:], "in_image": any(m["code"] for m in members),
            "spec": self.specs([n for n in dict.fromkeys(x for m in members for x in m["paths"]) if self.path_users[n] == own], own)
            + self.elsewhere(number, members),
            "links": [{"id": f"shared-{self.shared[u]}", "text": self.group_title(u)} for u in links],
            "kinds": [{"kind": kind, **_tally({key: sum(r[key] for r in rows) for key in ("total", "proved", "refuted", "unknown")}),
                       "claims": self._claims(number, rows)} for kind, rows in sorted(kinds.items())],
        }

    def _claims(self, number: int, rows: list[Row]) -> list[Row]:
        every = {arm for row in self.claims[number].values() for arm in row["arms"] if arm}
        return [{"text": r["text"], "line": r["line"], "times": r["total"], **_state(r),
                 "arms": ", ".join(a for a in r["arms"] if a) if every - r["arms"].keys() else ""} for r in rows]

    def groups(self) -> list[Row]:
        """What several families share: the code, beside what the spec says of it."""
        out = []
        for users, number in self.shared.items():
            code = [self.piece(label) for label, u in self.code_users.items() if u == users]
            names = [self.members[n][0]["name"] + (" …" if len(self.members[n]) > 1 else "") for n in sorted(users)]
            out.append({"id": f"shared-{number}", "title": self.group_title(users), "users": _few(names), "all": ", ".join(names), "code": code,
                        "spec": self.specs([name for name, u in self.path_users.items() if u == users], users)})
        return out

    def group_title(self, users: frozenset[int]) -> str:
        labels = [label for label, u in self.code_users.items() if u == users]
        return _few(labels or [name for name, u in self.path_users.items() if u == users])

    def piece(self, label: str) -> Row:
        piece = self.pieces[label]
        return {"label": label, "variants": [_variant(v, len(v["starts"]) < len(self.runs)) for v in piece["variants"]]}

    def specs(self, names: list[str], users: frozenset[int]) -> list[Row]:
        """The source lines of paths, once where several have the same."""
        out: dict[str, Row] = {}
        for name in names:
            path = self.paths[name]
            row = out.get(path["at"])
            if row is not None:
                row["last"] = name
                continue
            parts = [{"file": part["file"], "lines": [self.line(part["file"], line, text, users) for line, text in enumerate(part["lines"], part["first"])]}
                     for part in path["parts"]]
            out[path["at"]] = {"name": name, "last": "", "kind": path["kind"], "parts": parts}
        return [{**row, "name": row["name"] + (f" … {row['last']}" if row["last"] else "")} for row in out.values()]

    def elsewhere(self, number: int, members: list[Row]) -> list[Row]:
        """Lines that claims of a family refer to and that stand in none of its paths: frames, contracts, boundaries."""
        shown = {(part["file"], line) for m in members for n in m["paths"] for part in self.paths[n]["parts"]
                 for line in range(part["first"], part["first"] + len(part["lines"]))}
        files: dict[str, list[Row]] = {}
        for file, line in sorted(self.lines[number].keys() - shown):
            files.setdefault(file, []).append(self.line(file, line, self.sources.get((file, line), ""), frozenset({number})))
        return [{"name": "", "kind": "claims also refer to", "parts": [{"file": file, "lines": lines} for file, lines in files.items()]}] if files else []

    def line(self, file: str, line: int, text: str, users: frozenset[int]) -> Row:
        """A source line with how many claims refer to it."""
        counts = [self.lines[u][file, line] for u in users if (file, line) in self.lines[u]]
        total, proved = sum(c[0] for c in counts), sum(c[1] for c in counts)
        note = "" if not total else str(total) if total == proved else f"{proved}/{total}"
        return {"number": f"{line:5d}", "note": f"{note:>9}", "bad": total != proved, "text": text.replace("\t", "    ")}


def _what(members: list[Row]) -> str:
    """What leads to an entry point."""
    first = members[0]
    event = f" on {first['event']}" if first["event"] else ""
    numbers = [m["number"] for m in members if m["number"] is not None]
    if numbers:
        event += f" {numbers[0]:#x}" + (f" … {numbers[-1]:#x}" if len(numbers) > 1 else "")
    return f"{first['kind']}{event}" + (f", {len(members)} entry points" if len(members) > 1 else "")


def _state(row: Row) -> Row:
    """A claim's state, in words where it is not proved everywhere."""
    if row["proved"] == row["total"]:
        return {"state": "ok", "word": ""}
    word, left = "refuted" if row["refuted"] else "unknown", row["total"] - row["proved"]
    return {"state": "bad" if row["refuted"] else "unk", "word": word if row["total"] == row[word] else f"{word}, {left} of {row['total']} not proved"}


def _variant(variant: Row, named: bool) -> Row:
    """A listing. Addresses are offsets when configurations have the same code at different places. `named`: not all have it."""
    starts = variant["starts"]
    places = dict.fromkeys(starts.values())
    one = next(iter(places)) if len(places) == 1 else None
    heading = ", ".join(f"{name} at {start:#x}" for name, start in starts.items()) if one is None else ", ".join(starts) if named else ""
    width = min(BYTES, max((len(r["bytes"]) for r in variant["rows"]), default=0))
    last = max((r["offset"] for r in variant["rows"]), default=0)
    digits = len(f"{one + last:x}") if one is not None else len(f"+{last:#x}")
    rows = []
    for r in variant["rows"]:
        address = f"{one + r['offset']:x}" if one is not None else f"+{r['offset']:#x}"
        still = r.get("open", [])
        note = "" if not still else "no claim" if len(still) == len(starts) else f"no claim in {', '.join(still)}"
        rows.append({"address": f"{address:>{digits}}", "bytes": f"{r['bytes']:{width}}", "text": r["text"], "labels": r.get("labels", ""),
                     "gap": r.get("gap", 0), "open": note})
    return {"heading": heading, "rows": rows}


# ---- coverage, extras, configurations ----

def _coverage(data: Row) -> Row | None:
    """Symbols with bytes that nothing was proved about; the others as names. Configurations that agree share a row."""
    if data["coverage"] is None:
        return None
    merged: dict[tuple[Any, ...], Row] = {}
    for name, rows in data["coverage"].items():
        for row in rows:
            shape = tuple((o["offset"], o["bytes"], o["text"]) for o in row["open"])
            found = merged.setdefault((row["symbol"], row["size"], row["looked_at"], row["padding"], shape), {**row, "configurations": []})
            found["configurations"].append(name)
    listed = []
    for row in (r for r in merged.values() if r["uncovered"]):
        lines = [{"offset": f"+{o['offset']:#x}", "bytes": f"{o['bytes']:{BYTES}}", "text": o["text"],
                  "note": "a branch leads here" if o["reached"] else ""} for o in row["open"]]
        listed.append({**row, "lines": lines, "configurations": ", ".join(row["configurations"])})
    totals = [{"name": name, "size": sum(r["size"] for r in rows), "looked_at": sum(r["looked_at"] for r in rows), "padding": sum(r["padding"] for r in rows),
               "uncovered": sum(r["uncovered"] for r in rows)} for name, rows in data["coverage"].items()]
    clean = list(dict.fromkeys(r["symbol"] for r in merged.values() if not r["uncovered"]))
    return {"totals": totals, "rows": listed, "clean": clean}


def _texts(data: Row, field: str) -> list[Row]:
    """Texts with their configurations, named where not all have them. JSON may have sorted the texts, so they are sorted here."""
    every = len(data["verdicts"])
    return [{"text": text, "configurations": "" if len(names) == every else ", ".join(n for n in data["verdicts"] if n in names)}
            for text, names in sorted(data[field].items())]


def _extra(name: str, value: Any) -> Row:
    """A section for what the caller gave: numbers and words as pairs, lists of rows and rows by name as tables."""
    title, text = EXTRA.get(name, (name, ""))
    pairs: list[tuple[str, str]] = []
    tables: list[Row] = []
    if isinstance(value, dict) and value and all(isinstance(v, dict) for v in value.values()):
        tables.append(_table("", [{"": key, **row} for key, row in sorted(value.items())]))
    elif isinstance(value, dict):
        for key, part in sorted(value.items()):
            if isinstance(part, dict) and part and all(isinstance(v, dict) for v in part.values()):
                tables.append(_table(key, [{"": k, **row} for k, row in sorted(part.items())]))
            elif isinstance(part, list):
                tables.append(_table(key, [row if isinstance(row, dict) else {"": row} for row in part]))
            elif isinstance(part, dict):
                pairs += [(f"{key}: {k}", _plain(k, v)) for k, v in sorted(part.items())]
            else:
                pairs.append((key, _plain(key, part)))
    elif isinstance(value, list):
        tables.append(_table("", [row if isinstance(row, dict) else {"": row} for row in value]))
    else:
        pairs.append((title, _plain("", value)))
    return {"id": f"extra-{name}" if name in EXTRA else "", "title": title, "text": text, "pairs": pairs, "tables": tables}


def _table(title: str, rows: list[Row]) -> Row:
    columns = sorted({key for row in rows for key in row})
    return {"title": title, "columns": [c.replace("_", " ") for c in columns], "rows": [[_plain(c, row.get(c, "")) for c in columns] for row in rows]}


def _plain(name: str, value: Any) -> str:
    """A value as a reader expects it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and name == "ratio":
        return f"{100 * value:.2f} %"
    if isinstance(value, int) and name == "address":
        return hex(value)
    return ", ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)


def _configurations(data: Row) -> Row:
    """Which features each configuration has."""
    names = [c["name"] for c in data["configurations"]]
    rows = [{**f, "cells": ["yes" if f["name"] in c["features"] else "no" for c in data["configurations"]]} for f in data["features"]]
    return {"names": names, "features": rows, "proved_here": [c["proved_here"] for c in data["configurations"]],
            "images": [(name, run["image"]) for name, run in data["verdicts"].items()]}
