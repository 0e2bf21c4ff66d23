"""The child process that holds Keystone: one CPU, one text, JSON in and out. A crash here is a failed assembly, no more."""

from __future__ import annotations

import json
import os
import sys


def main() -> int:
    """Read {arch, mode, syntax, text, base} from standard input; write {bytes, count, error, version}."""
    result = os.dup(1)
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)                          # the library prints errors to the terminal
    os.dup2(silent, 2)
    request = json.load(sys.stdin)
    answer: dict[str, object] = {"bytes": None, "count": 0, "error": None, "version": None}
    try:
        import keystone
        if not hasattr(keystone, "Ks"):
            answer["error"] = "the installed package 'keystone' is another one; install keystone-engine"
        else:
            answer["version"] = keystone.__version__
            engine = keystone.Ks(getattr(keystone, request["arch"]), getattr(keystone, request["mode"]))
            if request["syntax"]:
                engine.syntax = getattr(keystone, request["syntax"])
            encoded, count = engine.asm(request["text"], request["base"])
            if not encoded:
                answer["error"] = "no bytes and no error came back"
            else:
                answer["bytes"], answer["count"] = bytes(encoded).hex(), count
    except ImportError as problem:
        answer["error"] = f"keystone-engine is not installed: {problem}"
    except Exception as problem:                # KsError is defined only when the import worked
        answer["error"] = str(problem)
    os.write(result, json.dumps(answer).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
