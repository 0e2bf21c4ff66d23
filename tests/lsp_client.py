"""A client of the language server protocol, as small as a test needs: one process, messages in order."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

Row = dict[str, Any]


class Client:
    """A session over standard input and output. Each wait ends by a message, or by the end of the process."""

    def __init__(self, folder: Path, *, encodings: tuple[str, ...] = (), versions: bool = False) -> None:
        self.process = subprocess.Popen([sys.executable, "-m", "entryc.cli", "lsp"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder)
        self.number = 0
        self.texts: dict[str, tuple[int, str]] = {}
        self.waiting: list[Row] = []
        general: Row = {"general": {"positionEncodings": list(encodings)}} if encodings else {}
        general |= {"workspace": {"workspaceEdit": {"documentChanges": True}}} if versions else {}
        self.capabilities = self.ask("initialize", {"processId": None, "rootUri": folder.as_uri(), "capabilities": general,
                                                    "workspaceFolders": [{"uri": folder.as_uri(), "name": "test"}]})["capabilities"]
        self.tell("initialized", {})

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def send(self, message: Row) -> None:
        data = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self.process.stdin is not None
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(data), data))
        self.process.stdin.flush()

    def read(self) -> Row:
        assert self.process.stdout is not None
        length = 0
        while (line := self.process.stdout.readline().strip()) or not length:
            assert line or self.process.poll() is None, "the server has gone"
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        row: Row = json.loads(self.process.stdout.read(length))
        return row

    def until(self, wanted: Callable[[Row], bool]) -> Row:
        """The first message that is wanted; the others are kept."""
        for index, row in enumerate(self.waiting):
            if wanted(row):
                return self.waiting.pop(index)
        while True:
            row = self.read()
            if wanted(row):
                return row
            self.waiting.append(row)

    def ask(self, method: str, params: Any) -> Any:
        self.number += 1
        number = self.number
        self.send({"id": number, "method": method, "params": params})
        answer = self.until(lambda row: row.get("id") == number and "method" not in row)
        assert "error" not in answer, answer
        return answer["result"]

    def tell(self, method: str, params: Any) -> None:
        self.send({"method": method, "params": params})

    # ---- documents ----

    def open(self, path: Path, text: str | None = None) -> str:
        uri = path.as_uri()
        content = path.read_text() if text is None else text
        self.texts[uri] = (1, content)
        self.tell("textDocument/didOpen", {"textDocument": {"uri": uri, "languageId": path.suffix[1:], "version": 1, "text": content}})
        return uri

    def change(self, uri: str, text: str) -> None:
        version = self.texts[uri][0] + 1
        self.texts[uri] = (version, text)
        self.tell("textDocument/didChange", {"textDocument": {"uri": uri, "version": version}, "contentChanges": [{"text": text}]})

    def diagnostics(self, uri: str) -> list[Row]:
        """What the server says of the text as it is now."""
        version = self.texts[uri][0]
        row = self.until(lambda r: r.get("method") == "textDocument/publishDiagnostics" and r["params"]["uri"] == uri
                         and r["params"].get("version") == version)
        rows: list[Row] = row["params"]["diagnostics"]
        return rows

    def position(self, uri: str, mark: str) -> Row:
        """Where a text stands: `|` in the mark is the place in it. UTF-16 units, as the protocol has it."""
        before, _, after = mark.partition("|")
        text = self.texts[uri][1]
        assert text.count(before + after) == 1, f"{mark} stands {text.count(before + after)} times"
        lines = text[:text.index(before + after) + len(before)].split("\n")
        return {"line": len(lines) - 1, "character": len(lines[-1].encode("utf-16-le")) // 2}

    def at(self, method: str, uri: str, mark: str) -> Any:
        return self.ask(f"textDocument/{method}", {"textDocument": {"uri": uri}, "position": self.position(uri, mark)})

    def hover(self, uri: str, mark: str) -> str:
        found = self.at("hover", uri, mark)
        return "" if found is None else str(found["contents"]["value"])

    def definition(self, uri: str, mark: str) -> list[tuple[str, str]]:
        """(file name, the text of the range) of each place."""
        out = []
        for row in self.at("definition", uri, mark):
            path = Path(row["uri"].removeprefix("file://"))
            text = self.texts[row["uri"]][1] if row["uri"] in self.texts else path.read_text()
            start, end = row["range"]["start"], row["range"]["end"]
            assert start["line"] == end["line"]
            out.append((path.name, text.split("\n")[start["line"]][start["character"]:end["character"]]))
        return out

    def completion(self, uri: str, mark: str) -> list[str]:
        return [item["label"] for item in self.at("completion", uri, mark)["items"]]

    def format(self, uri: str) -> list[Row] | None:
        edits: list[Row] | None = self.ask("textDocument/formatting", {"textDocument": {"uri": uri}, "options": {"tabSize": 4, "insertSpaces": True}})
        return edits

    def actions(self, uri: str, place: Row, only: list[str] | None = None) -> list[Row]:
        """What the server offers to do at a range."""
        context = {"diagnostics": [], **({"only": only} if only is not None else {})}
        rows: list[Row] = self.ask("textDocument/codeAction", {"textDocument": {"uri": uri}, "range": place, "context": context})
        return rows

    def formatted(self, uri: str) -> str:
        return self.edited(uri, self.format(uri) or [])

    def edited(self, uri: str, edits: list[Row]) -> str:
        """A text as it is after edits from top to bottom. They do not overlap."""
        text = self.texts[uri][1].encode("utf-16-le")
        starts = [0]
        for line in self.texts[uri][1].split("\n"):
            starts.append(starts[-1] + len(line.encode("utf-16-le")) + 2)

        def place(position: Row) -> int:
            at: int = starts[position["line"]] + 2 * position["character"]
            assert at <= len(text), "behind the end of the text"
            return at
        last = len(text) + 1
        for edit in reversed(edits):
            start, end = place(edit["range"]["start"]), place(edit["range"]["end"])
            assert start <= end < last
            text, last = text[:start] + edit["newText"].encode("utf-16-le") + text[end:], start + 1
        return text.decode("utf-16-le")

    def shutdown(self) -> int:
        assert self.ask("shutdown", None) is None
        self.tell("exit", None)
        return self.process.wait(60)
