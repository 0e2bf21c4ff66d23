"""Pictures: what they show is what the plan says; they are well formed, described in words, safe with any name, and the same everywhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import pytest
from conftest import SPECS, spec_file
from entryc.cli import main
from entryc.draw.along import Along
from entryc.draw.layers import Edge, Node, arrange
from entryc.draw.paths import boxes_of
from entryc.draw.pictures import path_picture, pictures
from entryc.draw.svg import picture
from entryc.draw.windows import windows_of
from entryc.model.build import load_spec
from entryc.plan.code import Code
from entryc.plan.plan import plan_spec

SPACE = "{http://www.w3.org/2000/svg}"
NAMES = ("x86_64", "x86_64-small", "arm64", "unikernel")
HOSTILE = "</text><script>alert(1)</script>&amp;\"'\u202e\x1b[2J"


@cache
def along(name: str) -> Along:
    spec = load_spec(SPECS / f"{name}.entry")
    return Along(spec, plan_spec(spec))


@cache
def drawn(name: str) -> dict[str, str]:
    return {key: p.svg() for key, p in pictures(along(name).spec, along(name).code).items()}


def text_of(svg: str) -> list[str]:
    return [e.text or "" if e.find(f"{SPACE}title") is None else (e.find(f"{SPACE}title").tail or "")      # type: ignore[union-attr]
            for e in ElementTree.fromstring(svg).iter(f"{SPACE}text")]


@pytest.mark.parametrize("name", NAMES)
def test_every_picture_is_whole(name: str) -> None:
    """Well formed; a title and a description that its label names; no script, nothing from elsewhere; all within its frame."""
    assert {"paths", "windows", "states"} <= set(drawn(name)) and len(drawn(name)) == 3 + len(along(name).spec.frames)
    for key, svg in drawn(name).items():
        tree = ElementTree.fromstring(svg)
        ids = [e.attrib["id"] for e in tree.iter() if "id" in e.attrib]
        assert len(ids) == len(set(ids)) and tree.attrib["aria-labelledby"].split() == [tree[0].attrib["id"], tree[1].attrib["id"]]
        assert tree[0].tag == f"{SPACE}title" and tree[0].text and tree[1].tag == f"{SPACE}desc" and tree[1].text, key
        assert {e.tag.removeprefix(SPACE) for e in tree.iter()} <= set("svg title desc style defs pattern marker g rect path text".split())
        assert not re.search(r"(?:href|src|on[a-z]+)=|url\((?!#)|@import", svg)
        assert set(re.findall(r"url\(#([^)]+)\)", svg)) <= set(ids)
        width, height = float(tree.attrib["width"]), float(tree.attrib["height"])
        for rect in (e for e in tree.iter(f"{SPACE}rect") if "x" in e.attrib):
            x, y, w, h = (float(rect.attrib[a]) for a in ("x", "y", "width", "height"))
            assert x >= 0 and y >= 0 and w > 0 and h > 0 and x + w <= width and y + h <= height, (key, rect.attrib)
        for text in tree.iter(f"{SPACE}text"):
            assert 0 <= float(text.attrib["x"]) < width and 0 < float(text.attrib["y"]) < height, (key, text.attrib)


def test_states_are_those_of_the_plan() -> None:
    """SYSCALL of the small kernel, by hand: each column before and after each step."""
    stage = next(s for s in along("x86_64-small").stages if s.path == "syscall_64")
    assert [m.text.split()[0] for m in stage.moments] == ["gs", "percpu.user_sp", "stack", "save", "clear", "call", "exit"]
    assert stage.values["stack"] == ["user"] * 3 + ["task"] * 5 and stage.values["gs"] == ["user"] + ["kernel"] * 7
    assert stage.values["gs_spec"] == ["fenced"] * 7 + ["loose"]
    owners = along("x86_64-small").owner
    assert [owners("gs", v) for v in ("user", "kernel", "?")] == ["user", "kernel", "unknown"]
    assert [owners("stack", v) for v in ("user", "task", "interrupted", "any")] == ["user", "kernel", "other", "unknown"]
    assert owners("gs_spec", "fenced") == owners("gs_spec", "loose") == "other"             # user mode has what the kernel wants
    words = text_of(drawn("x86_64-small")["states"])
    assert "on arrival" in words and "gs = kernel" in words and words.count("syscall_64") == 1


def test_windows_are_where_something_is_the_users() -> None:
    rows = {w.stage.title: (w.first, w.last, w.code, w.lacking) for w in windows_of(along("x86_64-small"))}
    assert rows == {"syscall_64": (0, 3, 3, ("stack", "gs")), "trap from user": (0, 1, 1, ("gs",)), "sysret_64": (2, 4, 2, ("stack", "gs")),
                    "iret_user": (2, 3, 2, ("gs",))}
    assert all("table" in w.lacking for w in windows_of(along("x86_64")) if w.stage.path in ("syscall_64", "sysret_64", "iret_user"))
    assert windows_of(along("unikernel")) == [] and "none: no step of any path runs while something is the user's" in text_of(drawn("unikernel")["windows"])


def test_graph_has_every_path_and_way() -> None:
    boxes = {b.path.name: b for b in boxes_of(along("x86_64-small"))}
    assert {n: [(arm, target, label) for arm, target, label in b.ways] for n, b in boxes.items() if b.ways} == {
        "syscall_64": [("", "sysret_64", "method"), ("", "iret_user", "method")], "vector_0": [("", "trap", "")],
        "trap": [("user", "iret_user", ""), ("kernel", "iret_kernel", "")], "return_to_user": [("", "iret_user", "")]}
    assert boxes["vector_0"].title == "vector_0 … vector_255" and boxes["trap"].calls == {"user": ["do_trap"], "kernel": ["do_trap"]}
    titles = [b.title for b in boxes_of(along("arm64"))]
    assert "el0_64_sync" in titles and "el1t_sync and 3 more" in titles and len(titles) == 10
    svg = ElementTree.fromstring(drawn("x86_64-small")["paths"])
    arrows = [p for p in svg.iter(f"{SPACE}path") if p.attrib.get("class") == "arrow"]
    assert sum("marker-end" in p.attrib for p in arrows) == 5 and any("stroke-dasharray" in p.attrib for p in arrows)


def test_graph_of_code_that_exists() -> None:
    """There is no plan: paths and ways without bars."""
    spec = load_spec(SPECS / "linux" / "x86_64-6.12.entry")
    some = pictures(spec, Code(spec.arch))
    assert set(some) == {"paths", *(f"frame-{n}" for n in spec.frames)}
    svg = some["paths"].svg()
    words = text_of(svg)
    boxes = {b.path.name: b for b in boxes_of(Along(spec, Code(spec.arch)))}
    assert ("", "error_entry", "called") in boxes["asm_exc_invalid_tss"].ways and boxes["error_entry"].facts == "called, comes back"
    assert "paranoid_enter" not in boxes                        # its steps stand in other paths, with where they lead
    assert 'stroke-dasharray="1 3"' in svg and "dotted: calls it, and goes on when it comes back" in words[1]
    assert "entry_SYSCALL_64" in words and "C do_syscall_64" in words and "stack" not in words
    spec = load_spec(SPECS / "linux" / "x86_64.entry")          # entry points of one kind that lead to different paths are drawn apart
    boxes = boxes_of(Along(spec, Code(spec.arch)))
    led_to = {target for b in boxes for _, target, _ in b.ways}
    assert {b.path.name for b in boxes if b.path.kind in ("path", "exit")} <= led_to


@pytest.mark.parametrize("name", ["x86_64", "arm64"])
def test_boxes_do_not_touch(name: str) -> None:
    tree = ElementTree.fromstring(drawn(name)["paths"])
    rects = [tuple(float(e.attrib[a]) for a in ("x", "y", "width", "height")) for e in tree.iter(f"{SPACE}rect") if e.attrib.get("rx") == "4"]
    assert len(rects) == len(boxes_of(along(name)))
    for i, (x, y, w, h) in enumerate(rects):
        assert all(x + w < a or a + c < x or y + h < b or b + d < y for a, b, c, d in rects[:i])


def test_layers() -> None:
    """Ways cross as little as they can, pass columns between nodes, and go backwards without an end to it."""
    nodes = [Node("a", 0, 10, 40), Node("b", 0, 10, 40), Node("m", None, 10, 100), Node("x", -1, 10, 20), Node("y", -1, 10, 20)]
    edges = [Edge("a", "y", 20), Edge("b", "m", 20), Edge("m", "x", 50), Edge("m", "m", 1)]
    plan = arrange(nodes, edges, gap=30, space=10)
    place = plan.places
    assert [place[n].x for n in "abmxy"] == [0, 0, 40, 80, 80]
    assert place["a"].y < place["b"].y and place["y"].y < place["x"].y                     # not in the order given: they would cross
    way = next(w for w in plan.ways if w.edge.target == "y")
    lane = way.points[1][1]
    assert len(way.points) == 4 and not place["m"].y <= lane <= place["m"].y + 100
    assert min(p.y for p in place.values()) >= 0


def test_any_name_is_harmless() -> None:
    svg = picture("p", HOSTILE, HOSTILE, 100, 100, [])
    assert "<script" not in svg and "\x1b" not in svg and "\u202e" not in svg
    spec = load_spec(spec_file("x86_64"))
    code = plan_spec(spec)
    spec.name = HOSTILE
    code.moments = [type(m)(m.path + HOSTILE, HOSTILE, HOSTILE, HOSTILE, m.states, m.before, m.code, m.kind, m.span) for m in code.moments]
    for path in spec.paths.values():
        path.name += HOSTILE
    spec.paths = {path.name: path for path in spec.paths.values()}
    for key, p in pictures(spec, code).items():
        svg = p.svg()
        ElementTree.fromstring(svg)
        assert "<script" not in svg and "\x1b" not in svg and "\u202e" not in svg, key


def test_same_bytes_with_another_hash_seed(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "entryc", "draw", "-q", str(spec_file("x86_64")), "-o", str(tmp_path)], check=True,
                   env={**os.environ, "PYTHONHASHSEED": "123", "LC_ALL": "C", "TZ": "Asia/Kathmandu"})
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {f"{key}.svg": svg for key, svg in drawn("x86_64-small").items()}


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    spec, svg = str(spec_file("x86_64")), drawn("x86_64-small")

    def run(*arguments: str) -> tuple[int, str, str]:
        status = main(["draw", spec, *arguments])
        return status, *capsys.readouterr()
    assert run("--what", "paths") == (0, svg["paths"], "")
    assert run("--what", "regs") == run("--what", "frame") == (0, svg["frame-regs"], "")
    assert run("--what", "trap")[1] == path_picture(along("x86_64-small").spec, along("x86_64-small").code, "trap").svg()
    assert run("--what", "windows", "-o", str(tmp_path / "new" / "w.svg"))[0] == 0 and (tmp_path / "new" / "w.svg").read_text() == svg["windows"]
    monkeypatch.chdir(tmp_path)
    assert run()[:2] == (0, "out/x86_64-small: paths.svg, windows.svg, states.svg, frame-regs.svg: 4 of 4 files changed\n")
    assert run()[1].endswith("0 of 4 files changed\n")
    status, out, error = run("--what", "path")
    assert (status, out) == (1, "") and error == "error[E411]: there is no picture 'path'\n        help: did you mean 'paths'?\n"
    assert run("--what", "vector_3")[2].startswith("error[E411]: 'vector_3' has no picture of its own: other entry points have the same body")
    assert "E411" in run("-o", "one.svg")[2] and not (tmp_path / "one.svg").exists()
    spec = str(SPECS / "linux" / "x86_64-6.12.entry")
    assert "of which there is no plan" in run("--what", "windows")[2] and run("--what", "paths")[0] == 0
