"""Make: a fragment for the kernel's build, and the rule that says which files an output was made from."""

from __future__ import annotations

from collections.abc import Iterable

from ..model.spec import Spec
from .notice import notice


def emit_fragment(spec: Spec) -> str:
    """entry.mk: set entry-dir before including it."""
    return "\n".join([
        notice(spec, "# {}"),
        "# include $(entry-dir)/entry.mk; link $(entry-objects). Regenerate: make entry-update ENTRYC=entryc ENTRY_SPEC=….entry",
        "entry-dir ?= .",
        "entry-objects := entry.S.o entry.c.o entry_init.c.o",
        "entry-cflags := -I$(entry-dir)",
        "",
        "entry.S.o: $(entry-dir)/entry.S $(entry-dir)/entry.h",
        "\t$(CC) $(CFLAGS) $(entry-cflags) -c -o $@ $<",
        "entry.c.o: $(entry-dir)/entry.c $(entry-dir)/entry.h",
        "\t$(CC) $(CFLAGS) $(entry-cflags) -c -o $@ $<",
        "entry_init.c.o: $(entry-dir)/entry_init.c $(entry-dir)/entry.h",
        "\t$(CC) $(CFLAGS) $(entry-cflags) -c -o $@ $<",
        "",
        ".PHONY: entry-update",
        "entry-update:",
        "\t$(ENTRYC) build --quiet -o $(entry-dir) $(ENTRY_SPEC)", ""])


def escape(name: str) -> str:
    """A file name as make reads it in a rule."""
    return name.replace("\\", "\\\\").replace(" ", "\\ ").replace("#", "\\#").replace("$", "$$").replace("\n", "\\n")


def depfile(target: str, sources: Iterable[str]) -> str:
    """A make rule `target: sources`, each source also a target of its own, so that a removed file is no error."""
    names = [escape(s) for s in sources]
    return f"{escape(target)}: {' '.join(names)}\n" + "".join(f"{n}:\n" for n in names)
