"""entryc lsp: the language server, over standard input and output. What it says comes from workspace.py and editor/; here is the protocol only."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lsprotocol import types as lsp
from pygls import uris
from pygls.lsp.server import LanguageServer
from pygls.workspace import PositionCodec, ServerTextPosition

from .. import __version__
from ..editor.complete import complete
from ..editor.hover import hover
from ..editor.index import Name, declared
from ..editor.look import Where
from ..source.finding import Finding, Findings
from ..source.format import changes
from ..source.text import Span, resolved
from .examine import Examined, examine, read_text
from .workspace import Workspace, language_of

PAUSE = 0.25                                    # seconds without a key before a spec is looked at again

SEVERITY = {"error": lsp.DiagnosticSeverity.Error, "warning": lsp.DiagnosticSeverity.Warning, "note": lsp.DiagnosticSeverity.Information}
SYMBOLS = {
    "frame": lsp.SymbolKind.Struct, "memory": lsp.SymbolKind.Struct, "structure": lsp.SymbolKind.Struct, "state": lsp.SymbolKind.Enum,
    "value": lsp.SymbolKind.EnumMember, "flag": lsp.SymbolKind.EnumMember, "flag mask": lsp.SymbolKind.EnumMember, "slot": lsp.SymbolKind.Field,
    "word": lsp.SymbolKind.Field, "field": lsp.SymbolKind.Field, "constant": lsp.SymbolKind.Constant, "setting": lsp.SymbolKind.Constant,
    "feature": lsp.SymbolKind.Boolean, "configuration": lsp.SymbolKind.Object, "entry point": lsp.SymbolKind.Event, "event": lsp.SymbolKind.Event,
    "path": lsp.SymbolKind.Function, "exit": lsp.SymbolKind.Function, "routine": lsp.SymbolKind.Function, "kind": lsp.SymbolKind.Function,
    "handler": lsp.SymbolKind.Function, "hook": lsp.SymbolKind.Interface, "system call": lsp.SymbolKind.Interface, "method": lsp.SymbolKind.Method,
    "return": lsp.SymbolKind.Method, "op": lsp.SymbolKind.Operator, "form": lsp.SymbolKind.Operator, "label": lsp.SymbolKind.Key,
}
COMPLETIONS = {
    "keyword": lsp.CompletionItemKind.Keyword, "frame": lsp.CompletionItemKind.Struct, "memory": lsp.CompletionItemKind.Struct,
    "slot": lsp.CompletionItemKind.Field, "word": lsp.CompletionItemKind.Field, "state": lsp.CompletionItemKind.Enum,
    "value": lsp.CompletionItemKind.EnumMember, "constant": lsp.CompletionItemKind.Constant, "flag mask": lsp.CompletionItemKind.Constant,
    "register": lsp.CompletionItemKind.Variable, "flag bit": lsp.CompletionItemKind.Variable, "path": lsp.CompletionItemKind.Function,
    "exit": lsp.CompletionItemKind.Function, "handler": lsp.CompletionItemKind.Function, "hook": lsp.CompletionItemKind.Interface,
    "method": lsp.CompletionItemKind.Method, "return": lsp.CompletionItemKind.Method, "event": lsp.CompletionItemKind.Event,
    "op": lsp.CompletionItemKind.Operator, "form": lsp.CompletionItemKind.Operator, "feature": lsp.CompletionItemKind.Property,
}


class Server(LanguageServer):
    """One session."""

    def __init__(self) -> None:
        super().__init__("entryc", __version__, text_document_sync_kind=lsp.TextDocumentSyncKind.Incremental)
        self.open = Workspace()
        self.uris: dict[Path, str] = {}         # as the editor spells them
        self.versions: dict[Path, int | None] = {}
        self.published: set[Path] = set()
        self.dirty: dict[Path, None] = {}
        self.timer: asyncio.TimerHandle | None = None
        self.running: asyncio.Task[None] | None = None
        self.pool = ThreadPoolExecutor(1)       # specs are looked at one after another, beside the conversation

    # ---- texts and places ----

    def path(self, uri: str) -> Path:
        """The file of a document; for one without a file, a path that names nothing on the disk."""
        plain = uris.to_fs_path(uri) if uri.startswith("file:") else None
        path = resolved(Path(plain) if plain and "\0" not in plain else Path("/", uri.replace(":", "/")))
        self.uris.setdefault(path, uri)
        return path

    def uri(self, path: Path) -> str:
        return self.uris.get(path) or uris.from_fs_path(str(path)) or path.as_uri()

    @property
    def codec(self) -> PositionCodec:
        return self.workspace.position_codec

    def place(self, path: Path, position: lsp.Position) -> tuple[int, int]:
        """Line and column in characters, both from 0."""
        lines = (read_text(path, self.open.texts) or "").split("\n")
        at = self.codec.position_from_client_units(lines, position)
        return at.line, at.character

    def range(self, path: Path, line: int, column: int, end_line: int, end_column: int) -> lsp.Range:
        """A range in the editor's units."""
        lines = (read_text(path, self.open.texts) or "").split("\n")

        def position(row: int, character: int) -> lsp.Position:
            row = max(0, min(row, len(lines) - 1))
            return self.codec.position_to_client_units(lines, ServerTextPosition(row, min(character, len(lines[row]))))
        return lsp.Range(position(line, column), position(end_line, end_column))

    def start(self, path: Path, line: int) -> lsp.Position:
        """Where a line starts; behind the last one, where the text ends."""
        lines = (read_text(path, self.open.texts) or "").split("\n")
        at = ServerTextPosition(line, 0) if line < len(lines) else ServerTextPosition(len(lines) - 1, len(lines[-1]))
        return self.codec.position_to_client_units(lines, at)

    def location(self, where: Where) -> lsp.Location:
        return lsp.Location(self.uri(where.path), self.range(where.path, where.line, where.column, where.end_line, where.end_column))

    # ---- looking at specs ----

    def changed(self, path: Path, pause: float = PAUSE) -> None:
        """A text changed: its specs are looked at after a pause."""
        self.dirty |= dict.fromkeys(self.open.roots(path, search=not pause))
        if self.timer is not None:
            self.timer.cancel()
        self.timer = asyncio.get_running_loop().call_later(pause, self._start)

    def _start(self) -> None:
        if self.running is None or self.running.done():
            self.running = asyncio.get_running_loop().create_task(self._look())

    async def _look(self) -> None:
        while self.dirty:
            root = next(iter(self.dirty))
            del self.dirty[root]
            versions = dict(self.versions)
            result = await asyncio.get_running_loop().run_in_executor(self.pool, examine, root, dict(self.open.texts))
            self.open.keep(result)
            self.publish(result.files.keys() | {root} | set(result.places.values()), versions)

    def publish(self, paths: Iterable[Path], versions: dict[Path, int | None]) -> None:
        """Send what is found in some files; an empty list takes back what was sent before."""
        for path in sorted(paths):
            rows = [self.diagnostic(path, finding, result) for finding, result in self.open.findings(path)]
            if rows or path in self.published or path in self.open.texts:
                (self.published.add if rows else self.published.discard)(path)
                self.text_document_publish_diagnostics(lsp.PublishDiagnosticsParams(self.uri(path), rows, versions.get(path)))

    def diagnostic(self, path: Path, finding: Finding, result: Examined) -> lsp.Diagnostic:
        """A finding as the protocol has it."""
        related = [lsp.DiagnosticRelatedInformation(location, label) for label, span in finding.related
                   if (location := self.span(span, result)) is not None]
        at = self.span(finding.span, result) if finding.span is not None else None
        return lsp.Diagnostic(range=at.range if at is not None else self.range(path, 0, 0, 0, 1), severity=SEVERITY.get(finding.level),
                              code=finding.code, source="entryc", message=finding.message + (f"\nhelp: {finding.help}" if finding.help else ""),
                              related_information=related or None)

    def span(self, span: Span, result: Examined) -> lsp.Location | None:
        path = result.places.get(span.file.name)
        return self.location(Where(path, span.line - 1, span.column - 1, span.end_line - 1, span.end_column - 1)) if path is not None else None

    def action(self, path: Path, finding: Finding, result: Examined, asked: lsp.Range) -> lsp.CodeAction | None:
        """The edits of a finding in a range, for files that still have the text in which it was found; with their line ends."""
        at = self.span(finding.span, result) if finding.span is not None and finding.edits else None
        if at is None or not _meet(at.range, asked):
            return None
        changes: dict[Path, list[lsp.TextEdit]] = {}
        for edit in finding.edits:
            place, where = result.places.get(edit.span.file.name), self.span(edit.span, result)
            if place is None or where is None or read_text(place, self.open.texts) != edit.span.file.text:
                return None
            changes.setdefault(place, []).append(lsp.TextEdit(where.range, edit.text.replace("\n", self.line_end(place))))
        whole = lsp.WorkspaceEdit(document_changes=[
            lsp.TextDocumentEdit(lsp.OptionalVersionedTextDocumentIdentifier(self.uri(place), self.versions.get(place)), [*rows])
            for place, rows in changes.items()]) if self.takes_versions else lsp.WorkspaceEdit(changes={self.uri(p): rows for p, rows in changes.items()})
        return lsp.CodeAction(finding.help or f"mend {finding.code}", kind=lsp.CodeActionKind.QuickFix, is_preferred=True,
                              diagnostics=[self.diagnostic(path, finding, result)], edit=whole)

    @property
    def takes_versions(self) -> bool:
        """Does the editor take edits that say of which version of a text they are?"""
        asked = self.client_capabilities.workspace
        return bool(asked and asked.workspace_edit and asked.workspace_edit.document_changes)

    def line_end(self, path: Path) -> str:
        """As the editor has them; a text that it has not opened is edited as it was read."""
        return "\r\n" if path in self.open.texts and "\r\n" in self.workspace.get_text_document(self.uri(path)).source else "\n"


def make_server() -> Server:
    """The server with all that it answers."""
    server = Server()

    @server.feature(lsp.INITIALIZED)
    def initialized(ls: Server, _params: lsp.InitializedParams) -> None:
        ls.open.folders = [resolved(Path(path)) for f in ls.workspace.folders.values() if (path := uris.to_fs_path(f.uri))]

    @server.feature(lsp.TEXT_DOCUMENT_DID_OPEN)
    async def opened(ls: Server, params: lsp.DidOpenTextDocumentParams) -> None:
        path = ls.path(params.text_document.uri)
        ls.uris[path] = params.text_document.uri
        _take(ls, path)
        ls.changed(path, 0)

    @server.feature(lsp.TEXT_DOCUMENT_DID_CHANGE)
    async def changed(ls: Server, params: lsp.DidChangeTextDocumentParams) -> None:
        path = ls.path(params.text_document.uri)
        _take(ls, path)
        ls.changed(path)

    @server.feature(lsp.TEXT_DOCUMENT_DID_SAVE)
    async def saved(ls: Server, params: lsp.DidSaveTextDocumentParams) -> None:
        ls.changed(ls.path(params.text_document.uri), 0)

    @server.feature(lsp.TEXT_DOCUMENT_DID_CLOSE)
    async def closed(ls: Server, params: lsp.DidCloseTextDocumentParams) -> None:
        path = ls.path(params.text_document.uri)
        before = set(ls.published)
        ls.open.close(path)
        ls.versions.pop(path, None)
        ls.publish(before | {path}, ls.versions)
        for root in ls.open.roots(path):        # a file that others use counts again as it is on the disk
            if root in ls.open.done:
                ls.changed(path, 0)

    @server.feature(lsp.TEXT_DOCUMENT_HOVER)
    def hovered(ls: Server, params: lsp.HoverParams) -> lsp.Hover | None:
        path = ls.path(params.text_document.uri)
        text = hover(ls.open.look(path), *ls.place(path, params.position))
        return lsp.Hover(lsp.MarkupContent(lsp.MarkupKind.Markdown, text)) if text else None

    @server.feature(lsp.TEXT_DOCUMENT_DEFINITION)
    def definition(ls: Server, params: lsp.DefinitionParams) -> list[lsp.Location]:
        path = ls.path(params.text_document.uri)
        look = ls.open.look(path)
        found = look.at(*ls.place(path, params.position))
        return [ls.location(w) for w in look.where(found[0])] if found is not None else []

    @server.feature(lsp.TEXT_DOCUMENT_COMPLETION, lsp.CompletionOptions(trigger_characters=["."]))
    def completion(ls: Server, params: lsp.CompletionParams) -> lsp.CompletionList:
        path = ls.path(params.text_document.uri)
        offers = complete(ls.open.look(path), *ls.place(path, params.position))
        return lsp.CompletionList(is_incomplete=False, items=[
            lsp.CompletionItem(o.text, kind=COMPLETIONS.get(o.kind, lsp.CompletionItemKind.Reference),
                               detail=" ".join(p for p in (o.kind, o.detail) if p), sort_text=f"{o.kind == 'keyword':d}{index:05d}")
            for index, o in enumerate(offers)])

    @server.feature(lsp.TEXT_DOCUMENT_FORMATTING)
    def formatting(ls: Server, params: lsp.DocumentFormattingParams) -> list[lsp.TextEdit] | None:
        path = ls.path(params.text_document.uri)
        text = read_text(path, ls.open.texts) or ""
        if not text.strip():
            return None
        try:
            rows = changes(text, f"{path}")
        except Findings:                        # what cannot be parsed stays as it is: the findings say why
            return None
        return [lsp.TextEdit(lsp.Range(ls.start(path, first), ls.start(path, last)), new) for first, last, new in rows]

    @server.feature(lsp.TEXT_DOCUMENT_CODE_ACTION, lsp.CodeActionOptions(code_action_kinds=[lsp.CodeActionKind.QuickFix]))
    def actions(ls: Server, params: lsp.CodeActionParams) -> list[lsp.CodeAction]:
        path = ls.path(params.text_document.uri)
        if params.context.only is not None and not any(kind in ("", lsp.CodeActionKind.QuickFix) for kind in params.context.only):
            return []
        found = (ls.action(path, finding, result, params.range) for finding, result in ls.open.findings(path))
        return [row for row in found if row is not None]

    @server.feature(lsp.TEXT_DOCUMENT_DOCUMENT_SYMBOL)
    def symbols(ls: Server, params: lsp.DocumentSymbolParams) -> list[lsp.DocumentSymbol]:
        path = ls.path(params.text_document.uri)
        return _symbols(ls, path, declared(language_of(path), read_text(path, ls.open.texts) or ""))

    return server


def _take(ls: Server, path: Path) -> None:
    """The editor's text counts from now on, not the file's."""
    document = ls.workspace.get_text_document(ls.uri(path))
    ls.open.texts[path] = document.source.replace("\r\n", "\n")
    ls.versions[path] = document.version


def _meet(a: lsp.Range, b: lsp.Range) -> bool:
    """Do two ranges touch?"""
    return a.start <= b.end and b.start <= a.end


def _symbols(ls: Server, path: Path, names: list[Name]) -> list[lsp.DocumentSymbol]:
    """The outline: items, with what they declare below them."""
    out: list[lsp.DocumentSymbol] = []
    items: dict[str, list[lsp.DocumentSymbol]] = {}
    for name in names:
        own = ls.range(path, name.line, name.column, name.line, name.end_column)
        whole = ls.range(path, name.start, 0, name.end, 1 << 30)
        row = lsp.DocumentSymbol(name.name, SYMBOLS.get(name.kind, lsp.SymbolKind.Variable), whole, own, detail=name.kind, children=[])
        if name.inside and name.inside in items:
            items[name.inside].append(row)
        else:
            out.append(row)
            items[name.name] = list(row.children or ())
            row.children = items[name.name]
    return out


def serve() -> int:
    """Talk to an editor until it says exit."""
    make_server().start_io(sys.stdin.buffer, sys.stdout.buffer)
    return 0
