"""A series as mails that `git am` takes, byte for byte the same for the same date, and its cover letter."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import formatdate
from textwrap import wrap

from .series import Patch, Series

CONTEXT = 3                                     # lines around a change


@dataclass(frozen=True)
class Sender:
    """Who sends: "Name <mail>", seconds since 1970, and whether the mails are signed off by them."""

    name: str
    date: int
    signed: bool


def changed(patch: Patch) -> list[tuple[str, tuple[str, str]]]:
    """The files of which something changes: what a step finds as it would make it, it leaves."""
    return sorted((name, texts) for name, texts in patch.changes.items() if texts[0] != texts[1])


def _lines(text: str) -> list[str]:
    """Lines as git has them: a form feed ends none."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def diff_of(patch: Patch) -> str:
    """A unified diff with the headings that git writes."""
    out: list[str] = []
    for name, (before, after) in changed(patch):
        out += [f"diff --git a/{name} b/{name}\n", *(["new file mode 100644\n", "--- /dev/null\n"] if not before else [f"--- a/{name}\n"]), f"+++ b/{name}\n"]
        for index, line in enumerate(difflib.unified_diff(_lines(before), _lines(after), n=CONTEXT)):
            if index > 1:
                out.append(line if line.endswith("\n") else line + "\n\\ No newline at end of file\n")
    return "".join(out)


def counts(patch: Patch) -> list[tuple[str, int, int]]:
    """For each file: lines added, lines removed."""
    rows = []
    for name, (before, after) in changed(patch):
        lines = list(difflib.unified_diff(_lines(before), _lines(after), n=0))[2:]
        rows.append((name, sum(x.startswith("+") for x in lines), sum(x.startswith("-") for x in lines)))
    return rows


def stat(rows: Sequence[tuple[str, int, int]]) -> str:
    """The summary under the message of a mail."""
    width = max((len(name) for name, _, _ in rows), default=0)
    out = [f" {name:<{width}} | {added + removed:4d} {'+' * min(added, 20)}{'-' * min(removed, 20)}" for name, added, removed in rows]
    added, removed = sum(r[1] for r in rows), sum(r[2] for r in rows)
    files = f"{len(rows)} file{'s' * (len(rows) != 1)} changed"
    return "\n".join([*out, f" {files}, {added} insertions(+), {removed} deletions(-)"])


def paragraphs(text: str) -> str:
    """A message in lines of at most 72 columns; indented lines stay."""
    out = []
    for block in text.strip().split("\n\n"):
        out.append(block if block.startswith((" ", "\t")) else "\n".join(wrap(" ".join(block.split()), 72)))
    return "\n\n".join(out)


def mail(sender: Sender, subject: str, body: str) -> str:
    """One mail of an mbox."""
    return "\n".join(["From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001", f"From: {sender.name}",
                      f"Date: {formatdate(sender.date, localtime=False)}", f"Subject: {subject}",
                      "MIME-Version: 1.0", "Content-Type: text/plain; charset=UTF-8", "Content-Transfer-Encoding: 8bit", "", body]) + "\n"


def mbox(series: Series, patches: Sequence[Patch], sender: Sender, generator: str) -> str:
    """The patches, one mail each."""
    out = []
    for number, patch in enumerate(patches, 1):
        signed = f"\n\nSigned-off-by: {sender.name}" if sender.signed else ""
        body = f"{paragraphs(patch.step.message)}{signed}\n---\n{stat(counts(patch))}\n\n{diff_of(patch)}-- \n{generator}\n"
        out.append(mail(sender, f"[PATCH {number}/{len(patches)}] {patch.step.subject}", body))
    return "".join(out)
