"""Make: a fragment for the kernel's build, and the rule that says which files an output was made from."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..model.spec import Spec
from .notice import notice

UNSPEAKABLE = re.compile(r"[\x00-\x1f]")       # names that a rule of make cannot hold

FRAGMENT = """\
# Set entry-dir to the folder of this file, include it after your first rule, and link $(entry-objects).
# Features are -DCONFIG_<name> in CFLAGS. With ENTRY_SPEC set, the files follow the spec.
# Without a manifest the files are of a build that was cut off: make stops, or builds again.
entry-dir     ?= .
entry-sources := entry.S entry.c entry_init.c
entry-objects := $(entry-sources:%=%.o)
entry-cflags  := -I$(entry-dir)

$(entry-objects): %.o: $(entry-dir)/% $(entry-dir)/entry.h | $(entry-dir)/manifest.json
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


def escape(name: str, target: bool) -> str:
    """A file name as make reads it in a rule, before or behind the colon: backslashes count only before a character that means something."""
    special = r"(\\*)([ #:*?\[\]%])" if target else r"(\\*)([ #:*?\[\]|])"
    name = re.sub(special, r"\1\1\\\2", name.replace("$", "$$"))
    return ("./" if name.startswith("~") else "") + name.replace("=", "$(entry-equals)").replace(";", "\\\\\\;")


def depfile(target: str, sources: Iterable[str]) -> str:
    """A make rule `target: sources`, each source also a target of its own, so that a removed file is no error.

    Make has no spelling for a name with a tab or the end of a line in it: such a source is left out, and there is no rule for such a target.
    """
    names = [s for s in sources if not UNSPEAKABLE.search(s)]
    if UNSPEAKABLE.search(target):
        return "# The target has a name that make cannot spell.\n"
    rule = f"{escape(target, True)}: {' '.join(escape(n, False) for n in names)}\n" + "".join(f"{escape(n, True)}:\n" for n in names)
    return ("entry-equals := =\n" if "$(entry-equals)" in rule else "") + rule
