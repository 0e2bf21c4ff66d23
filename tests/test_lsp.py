"""The language server, as an editor sees it: a process, messages, texts that are never saved; and half-typed text of every kind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import SPECS, spec_file
from entryc.driver.examine import examine
from entryc.driver.workspace import Workspace
from entryc.editor.complete import complete
from entryc.editor.hover import hover
from entryc.editor.look import Look
from entryc.source.format import formatted
from lsp_client import Client

SMALL = spec_file("x86_64").read_text()
HEAD = SMALL[:SMALL.index("memory percpu")]
REST = SMALL[SMALL.index("memory percpu"):]
HEAD_LINUX = """language 1; arch x86_64; target linux; license "GPL-2.0"
frame regs { gprs; vector = number else 0; error = error_code else 0; hardware }
method n by fast { when regs.ax == 0 }
method m by out
vectors 0..255 { df = 0; save regs; call trap(regs) -> ch; exit by method among fast, out }
exit out of regs to user { restore all; return iretq }
exit fast of regs to user { restore all; return iretq }
"""


def edited(*changes: tuple[str, str]) -> str:
    text = SMALL
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def test_a_session(tmp_path: Path) -> None:
    """Mistakes are shown where they are; the text that is put right has none; names are explained, found and completed; the process ends with 0."""
    with Client(tmp_path) as client:
        uri = client.open(tmp_path / "my.entry", edited(("goto trap", "goto trapp"), ("gs = kernel\n    percpu.user_sp", "gs = kernell\n    percpu.user_sp")))
        rows = client.diagnostics(uri)
        assert [(r["code"], r["severity"], r["source"]) for r in rows] == [("E203", 1, "entryc")] * 2
        first, second = sorted(rows, key=lambda r: r["range"]["start"]["line"])
        assert first["message"] == "there is no value of state gs 'kernell'\nhelp: did you mean 'kernel'?"
        assert second["range"]["start"] == client.position(uri, "    |goto trapp") and second["range"]["end"] == client.position(uri, "goto trapp|")

        client.change(uri, edited(("gs = kernel\n    percpu.user_sp = sp", "percpu.user_sp = sp\n    gs = kernel")))
        (row,) = client.diagnostics(uri)                        # a rule of order: the plan is made as well
        assert row["code"] == "E316" and row["message"].endswith("help: put gs = kernel before this step")

        client.change(uri, SMALL)
        assert client.diagnostics(uri) == []

        for mark, wanted in (
                ("save regs { ss = USER_DS, s|p", ["**slot** `regs.sp`: offset 160 (0xa0), 8 bytes", "interrupted `sp`, pushed by the CPU", "176 bytes"]),
                ("clear |all\n    call do_syscall", []),
                ("percpu.|user_sp = sp", ["**word** `percpu.user_sp`: offset 104 (0x68), 8 bytes"]),
                ("    |gs = kernel\n    percpu", ["**state** `gs`", "`gs_base == &percpu`", "`user -> kernel` by `swapgs`", "holds whichever base"]),
                ("gs = |kernel\n    percpu", ["**value** `kernel` of state `gs`", "`kernel_gs_base == user.gs_base`"]),
                ("stack = |task\n    label", ["**stack** `task`: 16384 bytes, top in `percpu.tss.sp0`", "TSS.RSP0"]),
                ("    |stack = task\n    label", ["after it: stack = task, gs = kernel, gs_spec = fenced"]),
                ("ac = 0 if |SMAP\n    df", ["**feature** `SMAP`: the CPU has CLAC", "on in smap"]),
                ("    |ac = 0 if SMAP\n    df", ["**flag bit** `ac`: bit 18 of `flags`", "after it (in trap, from any): stack = "]),
                ("entry syscall_64 on |syscall from", ["**event** `syscall`: from user", "lost: "]),
                ("return |sysretq", ["**return** `sysretq`: to user", "CVE-2012-0217"]),
                ("ip = |cx", ["**register** `cx`: general register", "`ecx` (32 bits)", "argument 4 of C functions"]),
                ("among sysret_64, |iret_user", ["**exit** `iret_user`: to user by `iretq`"]),
                ("choose return_64 among |sysret", ["**method** `sysret`: by `sysret_64`", "- `regs.cx == regs.ip`: SYSRET loads ip from cx"]),
                ("hook bool |preemptible", ["**hook** `preemptible`: the interrupted kernel code holds nothing that forbids a switch"]),
                ("high_ip           \"CVE|-2012", [])):
            text = client.hover(uri, mark)
            assert all(w in text for w in wanted) and bool(text) == bool(wanted), (mark, text)

        for mark, found in (("goto |trap", ("my.entry", "trap")), ("exit by method among |sysret_64", ("my.entry", "sysret_64")),
                            ("save |regs {", ("my.entry", "regs")), ("    |gs = kernel\n    percpu", ("my.entry", "gs")),
                            ("cs = |USER_CS,", ("my.entry", "USER_CS")), ("when regs.|cx ==", ("my.entry", "cx")), ("when |regs.cx ==", ("my.entry", "regs")),
                            ("choose return_64 among |sysret", ("my.entry", "sysret")), ("if |SMAP\n    df", ("my.entry", "SMAP")),
                            ("call |do_syscall_64", ("my.entry", "do_syscall_64")), ("work |to_user\n    leave user\n    choose", ("my.entry", "to_user")),
                            ("loose -> fenced by |lfence", ("x86_64.arch", "lfence")), ("on |syscall from user", ("x86_64.arch", "syscall")),
                            ("return |sysretq", ("x86_64.arch", "sysretq"))):
            assert client.definition(uri, mark) == [found], mark
        assert client.definition(uri, "goto trap|\n}") == [("my.entry", "trap")] and client.definition(uri, "CVE|-2019") == []

        assert client.completion(uri, "goto |trap") == ["trap"]
        assert client.completion(uri, "exit by method among |sysret_64") == ["sysret_64", "iret_user", "iret_kernel"]
        assert client.completion(uri, "gs = |kernel\n    percpu") == ["user", "kernel"]
        assert client.completion(uri, "stack = |task\n    label") == ["task"]
        assert client.completion(uri, "choose return_64 among |sysret") == ["sysret", "iret"]
        assert client.completion(uri, "ac = 0 if |SMAP\n    df")[:2] == ["SMAP", "not"]
        assert "cr2" in client.completion(uri, "let address = |cr2") or "address" in client.completion(uri, "let |address = cr2")
        slots = client.completion(uri, "regs.|cx == regs.ip")
        assert slots[:2] == ["r15", "r14"] and {"vector", "error", "ss"} <= set(slots) and "percpu" not in slots
        steps = client.completion(uri, "    |clear all\n    call do_syscall")
        assert {"save", "restore", "clear", "call", "goto", "exit", "from", "gs", "percpu"} <= set(steps) and not {"entry", "boundary", "hook"} & set(steps)
        items = client.completion(uri, "|vectors 0..255 raised")
        assert {"entry", "vectors", "frame", "boundary"} <= set(items) and "restore" not in items
        assert client.completion(uri, "CVE|-2019-1125") == []

        symbols = client.ask("textDocument/documentSymbol", {"textDocument": {"uri": uri}})
        kinds = {(s["name"], s["detail"]): s for s in symbols}
        assert {("regs", "frame"), ("syscall_64", "entry point"), ("trap", "path"), ("vectors 0..255", "entry point"), ("gs", "state")} <= set(kinds)
        assert [c["name"] for c in kinds["gs", "state"]["children"]] == ["user", "kernel"]
        assert client.shutdown() == 0


def test_quick_fixes(tmp_path: Path) -> None:
    """What a finding proposes is offered where it stands, and mends it: a name, a step in another place, a part that another file uses."""
    (tmp_path / "parts").mkdir()
    with Client(tmp_path) as client:
        assert client.capabilities["codeActionProvider"]["codeActionKinds"] == ["quickfix"]
        uri = client.open(tmp_path / "my.entry", edited(("goto trap", "goto trapp"), ("gs = kernel\n    percpu.user_sp", "gs = kernell\n    percpu.user_sp")))
        left = client.diagnostics(uri)
        for title in ("did you mean 'kernel'?", "did you mean 'trap'?"):
            row = min(left, key=lambda r: r["range"]["start"]["line"])
            (action,) = client.actions(uri, row["range"])
            assert (action["title"], action["kind"], action["isPreferred"]) == (title, "quickfix", True) and action["diagnostics"] == [row]
            assert [*action["edit"]["changes"]] == [uri] and client.actions(uri, row["range"], ["refactor"]) == []
            client.change(uri, client.edited(uri, action["edit"]["changes"][uri]))
            assert client.actions(uri, row["range"]) == []      # the text is another one now, and nothing was found in it yet
            left = client.diagnostics(uri)
        assert left == [] and client.texts[uri][1] == SMALL
        assert client.actions(uri, {"start": {"line": 0, "character": 0}, "end": {"line": 1000, "character": 0}}) == []

        client.change(uri, edited(("    gs = kernel\n    percpu.user_sp = sp", "    percpu.user_sp = sp")))
        row = client.diagnostics(uri)[0]
        (action,) = client.actions(uri, row["range"])
        assert (action["title"], row["code"]) == ("put gs = kernel before this step", "E316")
        assert client.edited(uri, action["edit"]["changes"][uri]) == SMALL

        inner, outer = tmp_path / "parts" / "rest.entry", tmp_path / "whole.entry"
        inner.write_text(REST)
        whole = client.open(outer, HEAD + 'use "parts/rest.entry"\n')
        part = client.open(inner, REST.replace("goto trap", "goto trapp"))
        (row,) = client.diagnostics(part)
        (action,) = client.actions(part, row["range"])
        assert [*action["edit"]["changes"]] == [part] and client.edited(part, action["edit"]["changes"][part]) == REST
        assert client.diagnostics(whole) == []
        assert client.shutdown() == 0
    assert inner.read_text() == REST


def test_quick_fixes_of_texts_with_versions(tmp_path: Path) -> None:
    """An editor that takes versions gets them, so that it can refuse an edit of an older text; line ends are those of the text."""
    text = edited(("    gs = kernel\n    percpu.user_sp = sp", "    percpu.user_sp = sp"))
    with Client(tmp_path, versions=True) as client:
        uri = client.open(tmp_path / "my.entry", SMALL)
        client.change(uri, text.replace("\n", "\r\n"))
        row = client.diagnostics(uri)[0]
        (action,) = client.actions(uri, row["range"])
        (change,) = action["edit"]["documentChanges"]
        assert change["textDocument"] == {"uri": uri, "version": 2} and [e["newText"] for e in change["edits"]] == ["gs = kernel\r\n    "]
        assert client.shutdown() == 0


def test_a_kernels_spec_is_known_as_it_is_now(tmp_path: Path) -> None:
    """Of code that exists nothing is planned: what is known of its spec is of its last text without errors."""
    text = HEAD_LINUX + "choose u32 ch among n, m\n"
    with Client(tmp_path) as client:
        uri = client.open(tmp_path / "my.entry", text)
        assert client.diagnostics(uri) == []
        assert "C returns 1 for `n`, 0 for `m`" in client.hover(uri, "choose u32 c|h")
        client.change(uri, text.replace("n, m\n", "n, m by refusal\n"))
        assert client.diagnostics(uri) == []
        assert "C returns 0 for `n`, anything else for `m`" in client.hover(uri, "choose u32 c|h")
        assert client.shutdown() == 0


def test_unsaved_files_are_used(tmp_path: Path) -> None:
    """A spec and a part of it, both changed and never saved; a mistake in the part is shown in the part, and names lead from one to the other."""
    (tmp_path / "parts").mkdir()
    part, whole = tmp_path / "parts" / "rest.entry", tmp_path / "my.entry"
    part.write_text("nonsense\n")
    whole.write_text(HEAD + 'use "parts/rest.entry"\n')
    with Client(tmp_path) as client:
        inner = client.open(part, REST)                         # only the part is open: the spec that uses it is found
        assert client.diagnostics(inner) == []
        assert client.definition(inner, "cs = |USER_CS,") == [("my.entry", "USER_CS")]
        assert "offset 160" in client.hover(inner, "save regs { ss = USER_DS, s|p")
        client.change(inner, REST.replace("goto trap", "goto nowhere"))
        assert [r["code"] for r in client.diagnostics(inner)] == ["E203"]
        outer = client.open(whole, HEAD.replace("USER_END = ", "USERS_END = ") + 'use "parts/rest.entry"\n')
        client.diagnostics(outer)
        client.change(inner, REST)
        assert [(r["code"], r["message"].split("\n")[0]) for r in client.diagnostics(inner)] == [("E203", "nothing is called 'USER_END'")]
        assert client.shutdown() == 0
    assert part.read_text() == "nonsense\n"


def test_columns_count_as_the_editor_counts(tmp_path: Path) -> None:
    """UTF-16 by default: a character outside of the first plane counts twice."""
    text = SMALL.replace('"CVE-2012-0217: #GP in ring 0 on the user\'s stack"', '"𝄞𝄞"; when nothing == 0')
    with Client(tmp_path) as client:
        uri = client.open(tmp_path / "my.entry", text)
        (row,) = client.diagnostics(uri)
        assert row["range"]["start"] == client.position(uri, "|nothing == 0")
        assert client.definition(uri, "when |nothing") == []
        assert client.shutdown() == 0


@pytest.mark.parametrize("text", [
    'use  "𝔘.entry" # 𝔘\nconst A=1', "const A = 1\n\n\n\n", "const  A = 1\r\nconst B = 2\r\n", "# only\n\n  # this", "const A = 1;;\n"])
def test_formatting(text: str, tmp_path: Path) -> None:
    """The edits give what `entryc fmt` writes; a second time there are none, and none for what cannot be parsed."""
    with Client(tmp_path) as client:
        assert client.capabilities["documentFormattingProvider"]
        uri = client.open(tmp_path / "f.entry", text)
        wanted = formatted(text, "f.entry")
        assert client.formatted(uri).replace("\r\n", "\n") == wanted
        client.change(uri, wanted)
        assert client.format(uri) == []
        client.change(uri, "const  =\n")
        assert client.format(uri) is None
        client.change(uri, "")
        assert client.format(uri) is None
        assert client.shutdown() == 0


def test_a_part_looks_around_itself_only(tmp_path: Path) -> None:
    """Outside of the editor's folders, specs are looked for in the folder of a part and the one above it: not in all that is below."""
    (tmp_path / "a" / "parts").mkdir(parents=True)
    (tmp_path / "a" / "deep").mkdir()
    part = tmp_path / "a" / "parts" / "p.entry"
    part.write_text("const A = 1\n")
    for folder, name in ((tmp_path / "a", "parts/p.entry"), (tmp_path / "a" / "deep", "../parts/p.entry")):
        (folder / "root.entry").write_text(f'language 1; arch x86_64; target bare\nuse "{name}"\n')
    (tmp_path / "a" / "loop.entry").symlink_to("loop.entry")
    assert Workspace().roots(part) == [tmp_path / "a" / "root.entry"]
    assert len(Workspace([tmp_path]).roots(part)) == 2


@pytest.mark.parametrize("name", ["loop", "a\0b", "x" * 300])
def test_uses_that_lead_nowhere(name: str, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    spec = tmp_path / "s.entry"
    found = examine(spec, {spec: f'language 1\nuse "{name}"\n'}).findings
    assert {f.code for f in found} & {"E003", "E007"}


def test_documents_that_are_no_files(tmp_path: Path) -> None:
    """Texts that were never saved, or whose names no file can have, are texts like others."""
    with Client(tmp_path) as client:
        for uri in ("untitled:Untitled-1", "file:///a%00b.entry", "git:/foo.entry?HEAD", "file:///dev/stdin"):
            client.texts[uri] = (1, "const A = 1\n")
            client.tell("textDocument/didOpen", {"textDocument": {"uri": uri, "languageId": "entry", "version": 1, "text": "const A = 1\n"}})
            assert "E207" in {row["code"] for row in client.diagnostics(uri)} and "const" in client.completion(uri, "|const"), uri
        assert client.shutdown() == 0


def test_half_typed_text_over_the_wire(tmp_path: Path) -> None:
    """Each text comes as a change; after each the server still answers, and what is right in a text is still known."""
    hostile = ["", "\n", "{", "}" * 50, "-" * 500, "(" * 3000, "\0", '"', "entry", "use \"my.entry\"", "use \"/\"", "a.b.c.d = ", "\ufeff" + SMALL,
               SMALL.replace("\n", "\r\n"), SMALL[:len(SMALL) // 2], SMALL.replace("{", "("), "language 1; arch no; target bare", "é" * 100]
    with Client(tmp_path) as client:
        uri = client.open(tmp_path / "my.entry", "x")
        for text in hostile:
            client.change(uri, text)
            client.diagnostics(uri)
            for method in ("hover", "definition", "completion"):
                client.ask(f"textDocument/{method}", {"textDocument": {"uri": uri}, "position": {"line": 0, "character": min(3, len(text))}})
            client.ask("textDocument/documentSymbol", {"textDocument": {"uri": uri}})
        client.ask("textDocument/hover", {"textDocument": {"uri": uri}, "position": {"line": 10_000, "character": 10_000}})
        client.change(uri, edited(("goto trap", "goto ")))       # one item is half-typed, the others are known
        assert [r["code"] for r in client.diagnostics(uri)] == ["E002"]
        assert client.completion(uri, "goto |\n}") == ["trap"]
        assert client.definition(uri, "among |sysret_64") == [("my.entry", "sysret_64")]
        assert client.shutdown() == 0


@pytest.mark.parametrize("name", ["x86_64-small.entry", "arm64.entry", "arch/arm64.arch"])
def test_every_prefix_is_answered(name: str) -> None:
    """A file as it is typed: what stands at its end is asked for."""
    path = (SPECS / name).resolve()
    text = path.read_text()
    language = path.suffix[1:]
    whole = examine(path, {})
    assert whole.findings == []
    for end in range(0, len(text), len(text) // 40 + 1):
        part = text[:end]
        line, column = part.count("\n"), len(part) - part.rfind("\n") - 1
        look = Look(language, path, part, {path: part}, whole.spec, whole.code, whole.places)
        complete(look, line, column)
        hover(look, line, max(0, column - 1))


def test_cpu_description(tmp_path: Path) -> None:
    """An .arch file has diagnostics, an outline and definitions as well."""
    text = (SPECS / "arch" / "arm64.arch").read_text()
    with Client(tmp_path) as client:
        uri = client.open(tmp_path / "arm64.arch", text)
        assert client.diagnostics(uri) == []
        assert client.definition(uri, "irqs on |daifclr") == [("arm64.arch", "daifclr")]
        client.change(uri, text.replace("irqs on ", "irqs on no_", 1))
        assert [r["code"] for r in client.diagnostics(uri)] == ["E103"]
        symbols = client.ask("textDocument/documentSymbol", {"textDocument": {"uri": uri}})
        assert {"register", "form", "event", "return"} <= {s["detail"] for s in symbols}
        assert client.shutdown() == 0


def test_without_pygls() -> None:
    """The extra is not installed: what to install, exit status 2."""
    done = subprocess.run([sys.executable, "-c", "import sys; sys.modules['lsprotocol'] = None; from entryc.cli import main; sys.exit(main(['lsp']))"],
                          capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "entryc: the language server needs pygls: pip install 'entryc[lsp]'\n"
