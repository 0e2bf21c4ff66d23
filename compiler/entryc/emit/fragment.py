"""Make: a fragment for the kernel's build, and the rule that says which files an output was made from."""

from __future__ import annotations

from collections.abc import Iterable

from ..model.spec import Spec
from .notice import notice

FRAGMENT = """\
# Set entry-dir to the folder of this file, include it after your first rule, and link $(entry-objects).
# Features are -DCONFIG_<name> in CFLAGS. With ENTRY_SPEC set, the files follow the spec.
entry-dir     ?= .
entry-sources := entry.S entry.c entry_init.c
entry-objects := $(entry-sources:%=%.o)
entry-cflags  := -I$(entry-dir)

$(entry-objects): %.o: $(entry-dir)/% $(entry-dir)/entry.h
	$(CC) $(CFLAGS) $(entry-cflags) -c -o $@ $<

ifdef ENTRY_SPEC
ENTRYC        ?= entryc
$(entry-dir)/manifest.json: $(ENTRY_SPEC)
	$(ENTRYC) build --quiet --depfile $(entry-dir)/entry.d -o $(entry-dir) $(ENTRY_SPEC)
	@touch $@
$(addprefix $(entry-dir)/,$(entry-sources) entry.h): $(entry-dir)/manifest.json ;
-include $(entry-dir)/entry.d
endif
"""


def emit_fragment(spec: Spec) -> str:
    """entry.mk: what a kernel's Makefile includes."""
    return notice(spec, "# {}") + "\n" + FRAGMENT


def escape(name: str) -> str:
    """A file name as make reads it in a rule."""
    return name.replace("\\", "\\\\").replace(" ", "\\ ").replace("#", "\\#").replace("$", "$$").replace("\n", "\\n")


def depfile(target: str, sources: Iterable[str]) -> str:
    """A make rule `target: sources`, each source also a target of its own, so that a removed file is no error."""
    names = [escape(s) for s in sources]
    return f"{escape(target)}: {' '.join(names)}\n" + "".join(f"{n}:\n" for n in names)
