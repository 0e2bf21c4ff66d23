"""What shells and `man` want to know of the command line, made from its argparse tree: completions and the manual page."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator

SHELLS = ("bash", "zsh", "fish")


def commands(parser: argparse.ArgumentParser) -> dict[str, tuple[str, argparse.ArgumentParser]]:
    """Name -> (what it does, its parser)."""
    action = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    helps = {c.dest: c.help or "" for c in action._choices_actions}
    return {name: (helps.get(name, ""), sub) for name, sub in action.choices.items()}


def options(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    return (a for a in parser._actions if a.option_strings and a.help != argparse.SUPPRESS)


def operands(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    return (a for a in parser._actions if not a.option_strings and not isinstance(a, argparse._SubParsersAction))


def _takes(action: argparse.Action) -> bool:
    return action.nargs != 0


def _metavar(action: argparse.Action) -> str:
    if action.choices:
        return "{" + ",".join(map(str, action.choices)) + "}"
    return str(action.metavar or action.dest.upper())


# ---- completion ----

def completion(parser: argparse.ArgumentParser, shell: str) -> str:
    """A script for a shell. It starts nothing while one types: all that it knows is in it."""
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](parser)


def _bash(parser: argparse.ArgumentParser) -> str:
    first = " ".join([*commands(parser), *(s for a in options(parser) for s in a.option_strings)])
    out = ["# entryc for bash: source <(entryc completion bash)", "_entryc() {",
           "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} command=${COMP_WORDS[1]}", "    COMPREPLY=()",
           "    if [ \"$COMP_CWORD\" -eq 1 ]; then",
           f"        mapfile -t COMPREPLY < <(compgen -W '{first}' -- \"$word\")",
           "        return", "    fi", "    case \"$command $before\" in"]
    for name, (_, sub) in commands(parser).items():
        for action in options(sub):
            if _takes(action):
                what = f"-W '{' '.join(map(str, action.choices))}'" if action.choices else "-f"
                out.append(f"        {' | '.join(chr(39) + f'{name} {s}' + chr(39) for s in action.option_strings)}) "
                           f"mapfile -t COMPREPLY < <(compgen {what} -- \"$word\"); return ;;")
    out += ["    esac", "    case \"$command:$word\" in"]
    for name, (_, sub) in commands(parser).items():
        words = " ".join(s for a in options(sub) for s in a.option_strings)
        out.append(f"        {name}:-*) mapfile -t COMPREPLY < <(compgen -W '{words}' -- \"$word\") ;;")
        fixed = [str(c) for a in operands(sub) for c in a.choices or ()]
        out.append(f"        {name}:*) mapfile -t COMPREPLY < <(compgen " + (f"-W '{' '.join(fixed)}'" if fixed else "-f") + " -- \"$word\") ;;")
    return "\n".join([*out, "    esac", "}", "complete -o filenames -F _entryc entryc", ""])


def _quoted(text: str) -> str:
    return text.replace("'", "'\\''")


def _zsh(parser: argparse.ArgumentParser) -> str:
    def told(text: str) -> str:
        return _quoted(re.sub(r"([\[\]:\\])", r"\\\1", text.replace("%%", "%").replace("%(default)s", "")))

    out = ["#compdef entryc", "# entryc for zsh: entryc completion zsh > a folder of $fpath/_entryc", "_entryc() {", "    local -a rows",
           "    if (( CURRENT == 2 )); then", "        rows=("]
    out += [f"            '{name}:{told(text)}'" for name, (text, _) in commands(parser).items()]
    out += ["        )", "        _describe command rows", "        return", "    fi", "    local command=$words[2]",
            "    shift words; (( CURRENT-- ))", "    case $command in"]
    for name, (_, sub) in commands(parser).items():
        rows = []
        for action in options(sub):
            value = ""
            if _takes(action):
                value = f":{_metavar(action) if not action.choices else 'value'}:" + (f"({' '.join(map(str, action.choices))})" if action.choices else "_files")
            rows += [f"'{s}[{told(action.help or '')}]{value}'" for s in action.option_strings]
        fixed = [str(c) for a in operands(sub) for c in a.choices or ()]
        rows.append(f"'*:value:({' '.join(fixed)})'" if fixed else "'*:file:_files'")
        out += [f"        {name}) _arguments \\", *(f"            {row} \\" for row in rows[:-1]), f"            {rows[-1]} ;;"]
    return "\n".join([*out, "    esac", "}", "_entryc \"$@\"", ""])


def _fish(parser: argparse.ArgumentParser) -> str:
    out = ["# entryc for fish: entryc completion fish > ~/.config/fish/completions/entryc.fish", "complete -c entryc -f -n __fish_use_subcommand"]
    for name, (text, sub) in commands(parser).items():
        out.append(f"complete -c entryc -n __fish_use_subcommand -a {name} -d '{_quoted(text)}'")
        here = f"complete -c entryc -n '__fish_seen_subcommand_from {name}'"
        for action in options(sub):
            short = [f"-s {s[1:]}" for s in action.option_strings if not s.startswith("--")]
            long = [f"-l {s[2:]}" for s in action.option_strings if s.startswith("--")]
            value = [f"-x -a '{' '.join(map(str, action.choices))}'"] if action.choices else ["-r -F"] if _takes(action) else []
            out.append(" ".join([here, *short, *long, *value, f"-d '{_quoted((action.help or '').replace('%%', '%'))}'"]))
        fixed = [str(c) for a in operands(sub) for c in a.choices or ()]
        out.append(f"{here} -f -a '{' '.join(fixed)}'" if fixed else f"{here} -F")
    return "\n".join([*out, ""])


# ---- the manual page ----

def _roff(text: str) -> str:
    text = text.replace("%%", "%").replace("\\", "\\e").replace("-", "\\-")
    return "\n".join("\\&" + line if line.startswith((".", "'")) else line for line in text.split("\n"))


def _rows(parser: argparse.ArgumentParser) -> list[str]:
    out = []
    for action in options(parser):
        names = ", ".join(f"\\fB{_roff(s)}\\fR" for s in action.option_strings)
        out += [".TP", names + (f" \\fI{_roff(_metavar(action))}\\fR" if _takes(action) else ""), _roff(action.help or "")]
    return out


def manual(parser: argparse.ArgumentParser, version: str) -> str:
    """The manual page entryc(1)."""
    short = (parser.description or "").split(".")[0].lower()
    out = [f'.TH ENTRYC 1 "" "entryc {version}" "User Commands"', ".SH NAME", f"entryc \\- {_roff(short)}",
           ".SH SYNOPSIS", ".B entryc", "\\fICOMMAND\\fR [\\fIOPTION\\fR ...] [\\fIFILE\\fR ...]",
           ".SH DESCRIPTION", _roff(parser.description or ""), ".SH OPTIONS",
           *_rows(parser), ".SH COMMANDS"]
    for name, (text, sub) in commands(parser).items():
        given = " ".join(f"\\fI{_roff(str(a.metavar or a.dest))}\\fR" for a in operands(sub))
        out += [f".SS \\fBentryc {name}\\fR {given}", _roff(sub.description or text), *_rows(sub)]
        if sub.epilog:
            out += [".PP", ".nf", _roff(sub.epilog.strip()), ".fi"]
    return "\n".join([*out, ".SH EXIT STATUS", ".TP", "0", "all is well",
                      ".TP", "1",
                      "findings: errors, stale files, refuted or unknown claims, differences at \\-\\-fail\\-on",
                      ".TP", "2", "wrong use, or nothing to work on", ".TP", "3", "a mistake in entryc itself", ".SH ENVIRONMENT",
                      ".TP", "NO_COLOR, FORCE_COLOR", "no colours, or colours also where no terminal reads them; \\-\\-color goes before both",
                      ".TP", "ENTRYC_DEBUG", "set to 1: show where entryc itself went wrong",
                      ".TP", "XDG_CACHE_HOME", "where parser tables are kept", ""])
