"""Reports: one value and one page a run, complete, escaped, the same on every machine; nothing that was not checked looks proved."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from tempfile import mkdtemp
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest
from conftest import ROOT, assemble, small_x86, spec_file
from entryc.draw.frame import frame_svg
from entryc.image.image import Image
from entryc.model.build import load_spec
from entryc.model.spec import Spec
from entryc.plan.plan import plan_spec
from entryc.prove.verify import Report, verify
from entryc.report.data import report_data
from entryc.report.page import page_html
from entryc.run.replay import replay_all

HOSTILE = "</script><img src=x onerror=alert(1)>&amp;\"'`\u202e\x1b[2J"
VOID = {"meta", "br", "hr", "img", "link", "input", "wbr"}
BLOCKS = {"div", "p", "pre", "ul", "dl", "table", "figure", "details", "section", "article", "h2", "h3", "h4"}
Edit = Callable[[list[str]], list[str]]


def reports_of(spec: Spec, edit: Edit | None = None) -> dict[str, Report]:
    code, out = plan_spec(spec), {}
    for name, configuration in spec.configurations.items():
        image = assemble(spec, code, configuration, edit)
        out[name] = verify(spec, image, configuration)
        out[name].replays = replay_all(spec, image, [v for v in out[name].verdicts if v.verdict == "refuted"])
    return out


@cache
def small() -> tuple[Spec, dict[str, Report]]:
    spec = small_x86(Path(mkdtemp()))
    return spec, reports_of(spec)


def exchanged(lines: list[str]) -> list[str]:
    """Two pushes of the system call are exchanged."""
    i, j = lines.index("pushq %r13"), lines.index("pushq %r14")
    out = list(lines)
    out[i], out[j] = out[j], out[i]
    return out


@cache
def refuted() -> tuple[Spec, dict[str, Report]]:
    spec = small_x86(Path(mkdtemp()))
    return spec, reports_of(spec, exchanged)


class Reader(HTMLParser):
    """Checks nesting on the way, and keeps what links and text there are."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.ids: list[str] = []
        self.wanted: set[str] = set()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        assert len({name for name, _ in attrs}) == len(attrs), (tag, attrs)
        for name, value in attrs:
            self.attributes.add(name)
            if name == "id":
                self.ids.append(value or "")
            elif name.startswith("aria-labelledby"):
                self.wanted.update((value or "").split())
            elif name == "href":
                assert (value or "").startswith("#")
                self.wanted.add((value or "")[1:])
        assert tag not in BLOCKS or "p" not in self.open, f"{tag} in p, {self.getpos()}"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert "svg" in self.open, f"<{tag}/> outside of a picture"

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-1:]} at {self.getpos()}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


def checked(page: str) -> Reader:
    """A page is well formed, self-contained and without scripts."""
    reader = Reader(page)
    assert len(set(reader.ids)) == len(reader.ids)
    assert reader.wanted <= set(reader.ids)
    assert not reader.tags & {"script", "link", "img", "iframe", "object", "embed", "form", "base"}
    assert not any(name.startswith("on") or name in ("src", "srcset", "action", "data") for name in reader.attributes)
    assert set(re.findall(r"(?:https?|file|javascript):[^\s\"']*", page)) <= {"http://www.w3.org/2000/svg"}
    assert not re.search(r"url\((?!#)", page) and "@import" not in page
    for picture in re.findall(r"<svg.*?</svg>", page, re.S):
        ElementTree.fromstring(picture)
    return reader


def page_of(spec: Spec, reports: dict[str, Report], **more: Any) -> tuple[dict[str, Any], str, Reader]:
    data = report_data(spec, reports, **more)
    page = page_html(data)
    assert page_html(json.loads(json.dumps(data, sort_keys=True))) == page, "the page is a function of what JSON holds"
    return data, page, checked(page)


def test_proved() -> None:
    spec, reports = small()
    data, page, reader = page_of(spec, reports)
    assert data["green"] and data["count"]["proved"] == data["count"]["total"] == sum(len(r.verdicts) for r in reports.values())
    assert f"satisfies the {data['count']['total']} claims listed, assuming A1 to A" in reader.text
    assert "No claim is refuted or unknown." in reader.text and "No entry point or routine" in reader.text
    assert [a["name"] for a in data["assumptions"]] == [f"A{n}" for n in range(1, len(data["assumptions"]) + 1)]
    for name in ("syscall_64", "vector_7 … vector_9", "return_to_user", "base", "smap", "struct regs"):
        assert name in reader.text, name
    assert "callq do_syscall_64" in reader.text and "entry syscall_64 on syscall from user {" in reader.text
    described = report_data.__globals__["__doc__"]
    assert all(re.search(rf"^    {key} ", described, re.M) for key in data), "the schema names every field"
    assert not re.search(r"class=\"[^\"]*\b(bad|unk)\b", page.partition("<body>")[2])


def test_what_is_trusted() -> None:
    spec, reports = small()
    data, _, reader = page_of(spec, reports)
    assert [p["name"] for p in data["trusted"]["packages"]] == ["pypcode", "capstone", "z3-solver", "pyelftools"]
    assert all(p["version"] and p["version"] in reader.text for p in data["trusted"]["packages"])
    rows = {r["form"]: r for r in data["trusted"]["overlay"]}
    assert set(rows) == {"swapgs", "push_gs", "iretq", "sysretq", "int3"}
    assert rows["swapgs"]["count"] == 4 and "SDM" in rows["swapgs"]["manual"] and rows["swapgs"]["manual"] in reader.text
    assert {"syscall", "vector"} == {e["name"] for e in data["trusted"]["events"]}


def test_claims_of_the_page_are_those_of_the_reports() -> None:
    spec, reports = refuted()
    data, _, reader = page_of(spec, reports)
    for name, report in reports.items():
        run = data["verdicts"][name]
        assert [(v["stub"], v["kind"], v["claim"], v["verdict"]) for v in run["verdicts"]] == \
            [(v.claim.stub, v.claim.kind, v.claim.text, v.verdict) for v in report.verdicts]
        assert {v["path"] for v in run["verdicts"]} == {s["name"] for s in data["stubs"]}
        assert sum(k["total"] for k in run["kinds"].values()) == run["count"]["total"]
        old = report.as_dict()
        assert run.keys() >= old.keys() and all(new.items() >= row.items() for new, row in zip(run["verdicts"], old["verdicts"], strict=True))
    assert all(v.claim.text in reader.text for r in reports.values() for v in r.verdicts)


def test_refuted() -> None:
    spec, reports = refuted()
    data, _, reader = page_of(spec, reports)
    assert not data["green"]
    assert "not proved: 4 refuted" in reader.text and "satisfies the" not in reader.text
    assert "refuted: regs.r14 = interrupted.r14" in reader.text
    assert re.search(r"replayed: in the emulator the slot is 0x\w+ where 0x\w+ has to be", reader.text)
    assert re.search(r"For example, in configuration base: interrupted\.r13 = 0x", reader.text)
    assert "base, smap: syscall_64" in reader.text


def test_not_checked_is_never_green() -> None:
    spec, reports = small()
    report = reports["smap"]
    without = Image(report.image.segments, {n: a for n, a in report.image.symbols.items() if n != "vector_8"}, report.image.sha256)
    data, _, reader = page_of(spec, {"smap": verify(spec, without, spec.configurations["smap"])})
    assert not data["green"] and data["count"]["refuted"] == 0
    assert "not proved: 1 not checked" in reader.text and "the image has no symbol vector_8" in reader.text
    assert "no: nothing is claimed" in reader.text, "the other configuration of the spec"


def test_nothing_at_all_is_not_green() -> None:
    spec, reports = small()
    data, _, reader = page_of(spec, {})
    assert not data["green"] and "not proved: nothing was checked" in reader.text
    empty = replace(reports["base"], verdicts=[])
    data, _, reader = page_of(spec, {"base": empty, "smap": reports["smap"]})
    assert not data["green"] and "a configuration without claims" in reader.text


def test_bytes_without_a_claim() -> None:
    spec = small_x86(Path(mkdtemp()))
    def dead(lines: list[str]) -> list[str]:
        index = lines.index("sysretq")
        return [*lines[:index + 2], "movq %rax, %rbx", *lines[index + 2:]]
    data, _, reader = page_of(spec, reports_of(spec, dead))
    row = next(r for r in data["coverage"]["base"] if r["symbol"] == "sysret_64")
    assert [(o["text"], o["reached"], o["size"]) for o in row["open"]] == [("movq %rax, %rbx", False, 3)]
    assert row["looked_at"] + row["padding"] + row["uncovered"] == row["size"]
    assert f"sysret_64 3 of {row['size']} bytes not covered" in reader.text
    spec, reports = small()
    data, _, reader = page_of(spec, reports)
    assert all(r["uncovered"] == 0 for rows in data["coverage"].values() for r in rows), "what stands behind a return is claimed"


def test_code_that_branches_lead_to_and_no_path_runs() -> None:
    spec, reports = small()
    report = reports["base"]
    fewer = replace(report, covered=frozenset(sorted(report.covered)[:-1]))
    data, _, reader = page_of(spec, {"base": fewer})
    last = max(report.covered)
    assert [o["reached"] for r in data["coverage"]["base"] for o in r["open"]] == [True]
    assert f"{last:x}" in reader.text and "← no claim" in reader.text and "a branch leads here" in reader.text


def test_reports_without_coverage_and_times() -> None:
    spec, reports = small()
    bare = {n: SimpleNamespace(spec=r.spec, configuration=r.configuration, image=r.image, verdicts=r.verdicts, seconds=r.seconds, not_checked=[])
            for n, r in reports.items()}
    data, page, _ = page_of(spec, bare)                      # type: ignore[arg-type]
    assert data["coverage"] is None and 'id="coverage"' not in page and "no claim" not in page.partition("<body>")[2]
    assert data["green"]


def test_same_code_is_shown_once(tmp_path: Path) -> None:
    text = spec_file("x86_64").read_text().replace("vectors 0..255 raised by user 3 4 {", "vectors 7..9 {")
    path = tmp_path / "five.entry"
    path.write_text(text.replace("configuration base { }", "configuration base { }\nconfiguration b { }\nconfiguration c { }\nconfiguration d { }"))
    spec = load_spec(path, "five.entry")
    data, page, reader = page_of(spec, reports_of(spec))
    assert list(data["verdicts"]) == ["base", "b", "c", "d", "smap"]
    code = {c["label"]: c for c in data["code"]}
    assert len(code["syscall_64"]["variants"]) == 1 and len(code["syscall_64"]["variants"][0]["starts"]) == 5
    assert [list(v["starts"]) for v in code["trap"]["variants"]] == [["base", "b", "c", "d"], ["smap"]]
    assert len(code["iret_kernel"]["variants"]) == 1, "the same bytes at two addresses"
    assert page.count(">syscall_64</code></figcaption>") == 2, "the code and the spec lines of it, once each"
    assert re.search(r"base at 0x\w+, b at 0x\w+, c at 0x\w+, d at 0x\w+, smap at 0x\w+", reader.text)
    assert len(page) < 120_000


@pytest.mark.parametrize("name", ["unikernel", "arm64"])
def test_shipped_specs(name: str) -> None:
    spec = load_spec(spec_file(name))
    data, page, _ = page_of(spec, reports_of(spec))
    assert data["green"] and len(page) < 1_000_000
    assert all(s["code"] for s in data["stubs"])
    assert all(r["uncovered"] == 0 for r in data["coverage"]["base"])
    assert page.count("<svg") == len(spec.frames)


def test_hostile_text(tmp_path: Path) -> None:
    """Names, strings and symbols are data wherever they come from."""
    text = spec_file("x86_64").read_text().replace("vectors 0..255 raised by user 3 4 {", "vectors 7..9 {   # </pre><script>alert(2)</script>")
    assert "the CPU has CLAC" in text
    text = text.replace("the CPU has CLAC", "</td></script><b onclick=alert(3)>&quot;")
    path = tmp_path / "hostile.entry"
    path.write_text(text)
    spec = load_spec(path, f"{HOSTILE}.entry")
    report = reports_of(spec)["base"]
    start = report.image.symbols["trap"]
    image = Image(report.image.segments, {**report.image.symbols, f"x{HOSTILE}": start + 1, f"y{HOSTILE}": start + 5}, report.image.sha256)
    claims = [replace(v, verdict="refuted", claim=replace(v.claim, stub=f"{HOSTILE} from {HOSTILE}", kind=HOSTILE, text=HOSTILE, detail=HOSTILE),
                      by=HOSTILE, model={HOSTILE: 1}) for v in report.verdicts[:2]]
    again = replace(report, image=image, verdicts=[*report.verdicts, *claims], not_checked=[f"{HOSTILE}: {HOSTILE}", HOSTILE],
                    replays={id(claims[0].claim): HOSTILE})
    extra = {HOSTILE: {HOSTILE: HOSTILE}, "mutants": {"survivors": [{HOSTILE: HOSTILE, "address": 1}], "kinds": {HOSTILE: {HOSTILE: 1}}}, "assembled": HOSTILE}
    data, page, reader = page_of(spec, {"base": again}, image=f"/tmp/{HOSTILE}", sha256=HOSTILE, extra=extra, date=HOSTILE)
    assert not re.search(r"<(script|img|b on)", page)
    assert "\u202e" not in page and "\x1b" not in page
    assert "</script><img src=x onerror=alert(1)>&amp;\"'`\\x202e\\x1b[2J" in reader.text
    assert "</pre><script>alert(2)</script>" in reader.text and "<b onclick=alert(3)>" in reader.text
    frame = data["frames"][0] | {"name": HOSTILE, "c_name": HOSTILE}
    frame["slots"][3] |= {"name": HOSTILE, "origin": HOSTILE * 10}
    picture = frame_svg(frame)
    assert ElementTree.fromstring(picture).tag.endswith("svg") and "<img" not in picture and "\x1b" not in picture


def test_frame_picture() -> None:
    spec, reports = small()
    frame = report_data(spec, reports)["frames"][0]
    tree = ElementTree.fromstring(frame_svg(frame))
    space = {"s": "http://www.w3.org/2000/svg"}
    rows = [(float(g.find("s:rect", space).attrib["y"]), [t.text for t in g.findall("s:text", space)],             # type: ignore[union-attr]
             g.find("s:rect", space).attrib.get("class")) for g in tree.findall("s:g", space)]                     # type: ignore[union-attr]
    assert [y for y, _, _ in rows] == sorted(y for y, _, _ in rows)
    assert [texts[:3] for _, texts, _ in rows] == [[f"+{s['offset']:#x}", str(s["offset"]), s["name"]] for s in reversed(frame["slots"])]
    assert {texts[2] for _, texts, kind in rows if kind == "cpu"} == {"ip", "cs", "flags", "sp", "ss"}
    words = [t.text for t in tree.findall("s:text", space)]
    assert "pushed by the CPU" in words and "saved by the entry code" in words
    assert next(texts[3] for _, texts, _ in rows if texts[2] == "vector") == "the vector's number, else NO_VECTOR"
    assert "prefers-color-scheme: dark" in frame_svg(frame) and frame_svg(frame) == frame_svg(frame)


def test_frame_with_a_hole() -> None:
    slots = [{"name": "a", "offset": 8, "size": 8, "kind": "c", "origin": "written by C", "hardware": False}]
    picture = frame_svg({"name": "f", "c_name": "struct f", "size": 32, "word": 8, "slots": slots})
    assert "hole of 16 bytes" in picture and "hole of 8 bytes" in picture and ElementTree.fromstring(picture) is not None


def test_extra_sections() -> None:
    spec, reports = small()
    mutants = {"population": 9000, "same": 3, "ratio": 0.99871, "kinds": {"drop": {"refuted": 10, "survived": 1}},
               "survivors": [{"kind": "drop", "address": 0x81000000, "text": "nop", "by": "smap"}]}
    _, page, reader = page_of(spec, reports, extra={"mutants": mutants, "assembled": [{"tool": "gas", "result": "382 bytes"}]})
    assert 'id="extra-mutants"' in page and "99.87 %" in reader.text and "0x81000000" in reader.text and "382 bytes" in reader.text
    _, page, _ = page_of(spec, reports)
    assert "Mutants" not in page
    _, _, reader = page_of(spec, reports, extra={"mutants": {"survivors": []}})
    assert "survivors: none" in reader.text


def test_contracts_and_what_patches_the_code() -> None:
    spec, reports = small()
    data, _, reader = page_of(spec, reports)
    assert {c["name"]: c["kind"] for c in data["declared"]} == {"c": "code"} and data["contracts"] == data["patched"] == {}
    assert "gs_spec = fenced; needs gprs = cleared" in reader.text and "Believed" not in reader.text
    lines = {"base": ["do_trap: contract c", "x is not followed"], "smap": ["do_trap: contract c"]}
    said = {name: SimpleNamespace(**vars(r) | {"contracts": lines[name], "image": replace(r.image, notes=("alternatives: applied",))})
            for name, r in reports.items()}
    data, _, reader = page_of(spec, said)                    # type: ignore[arg-type]
    assert data["contracts"] == {"do_trap: contract c": ["base", "smap"], "x is not followed": ["base"]}
    assert data["patched"] == {"alternatives: applied": ["base", "smap"]}
    assert "x is not followed only base" in reader.text and "alternatives: applied" in reader.text


def test_date_only_when_given(monkeypatch: pytest.MonkeyPatch) -> None:
    spec, reports = small()
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    assert report_data(spec, reports)["date"] is None and "<dt>Date</dt>" not in page_of(spec, reports)[1]
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert report_data(spec, reports)["date"] == "2023-11-14T22:13:20Z" and "2023-11-14T22:13:20Z" in page_of(spec, reports)[1]
    assert report_data(spec, reports, date="yesterday")["date"] == "yesterday"
    for wrong in ("soon", "-1", "9" * 30, ""):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", wrong)
        assert report_data(spec, reports)["date"] is None


MAKE = """
import sys
sys.path.insert(0, {tests!r})
from test_report import page_html, refuted, report_data
spec, reports = refuted()
for report in reports.values():
    report.seconds, report.timings = 0.0, {{}}
sys.stdout.write(page_html(report_data(spec, reports, image="vmlinux")))
"""


def test_same_bytes_in_every_process() -> None:
    """Times apart, two runs give one page, whatever the order of sets."""
    environment = {k: v for k, v in os.environ.items() if k != "SOURCE_DATE_EPOCH"}
    pages = [subprocess.run([sys.executable, "-c", MAKE.format(tests=str(ROOT / "tests"))], env={**environment, "PYTHONHASHSEED": seed, "PYTHONUTF8": "1"},
                            capture_output=True, check=True, text=True, encoding="utf-8").stdout for seed in ("1", "2")]
    assert pages[0].splitlines() == pages[1].splitlines() and pages[0] == pages[1]
    assert "<h1>vmlinux</h1>" in pages[0]
