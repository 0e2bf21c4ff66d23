"""What shells and `man` want to know of the command line, made from its argparse tree: completions and the manual page."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from dataclasses import dataclass

from .formatter import SUFFIXES

SHELLS = ("bash", "zsh", "fish")
NAMED = {"SPEC": (".entry",), "OLD NEW": (".entry",), "PATH": SUFFIXES}         # operands: how the files end that they name


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

@dataclass(frozen=True)
class Forms:
    """How a shell is told what to offer for a value; {} stands for the words, or for the ends of files' names."""

    words: str
    folders: str
    files: str
    named: str                                  # files whose names have one of some ends, and folders
    between: str                                # what stands between such ends
    nothing: str

    def of(self, action: argparse.Action) -> str:
        """By what the value is. For a number, a name or a revision: nothing."""
        if action.choices:
            return self.words.format(" ".join(map(str, action.choices)))
        if action.metavar in NAMED:
            return self.named.format(self.between.join(NAMED[action.metavar]))
        return {"DIR": self.folders, "FILE": self.files, "ELF": self.files}.get(str(action.metavar), self.nothing)


def completion(parser: argparse.ArgumentParser, shell: str) -> str:
    """A script for a shell. It starts nothing while one types: all that it knows is in it."""
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](parser)


def _bash(parser: argparse.ArgumentParser) -> str:
    forms = Forms("compgen -W '{}' -- \"$word\"", "compgen -d -- \"$word\"", "compgen -f -- \"$word\"",
                  "compgen -d -- \"$word\"; compgen -f -X '!*{}' -- \"$word\"", "' -- \"$word\"; compgen -f -X '!*", ":")
    first = " ".join([*commands(parser), *(s for a in options(parser) for s in a.option_strings)])
    out = ["# entryc for bash: source <(entryc completion bash)", "_entryc() {",
           "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} command=${COMP_WORDS[1]}", "    COMPREPLY=()",
           "    if [ \"$COMP_CWORD\" -eq 1 ]; then",
           f"        mapfile -t COMPREPLY < <(compgen -W '{first}' -- \"$word\")",
           "        return", "    fi",
           "    if [ \"$word\" = = ]; then word=\"\"; elif [ \"$before\" = = ]; then before=${COMP_WORDS[COMP_CWORD-2]}; fi    # --option=value",
           "    case \"$command $before\" in"]
    for name, (_, sub) in commands(parser).items():
        for action in options(sub):
            if _takes(action):
                out.append(f"        {' | '.join(chr(39) + f'{name} {s}' + chr(39) for s in action.option_strings)}) "
                           f"mapfile -t COMPREPLY < <({forms.of(action)}); return ;;")
    out += ["    esac", "    case \"$command:$word\" in"]
    for name, (_, sub) in commands(parser).items():
        words = " ".join(s for a in options(sub) for s in a.option_strings)
        out.append(f"        {name}:-*) mapfile -t COMPREPLY < <(compgen -W '{words}' -- \"$word\") ;;")
        out += [f"        {name}:*) mapfile -t COMPREPLY < <({forms.of(action)}) ;;" for action in operands(sub)]
    return "\n".join([*out, "    esac", "}", "complete -o filenames -F _entryc entryc", ""])


def _quoted(text: str) -> str:
    return text.replace("'", "'\\''")


def _zsh(parser: argparse.ArgumentParser) -> str:
    def told(text: str) -> str:
        return _quoted(re.sub(r"([\[\]:\\])", r"\\\1", text.replace("%%", "%").replace("%(default)s", "")))

    forms = Forms("({})", "_files -/", "_files", "_files -g \"*({})(-.)\"", "|", " ")
    out = ["#compdef entryc", "# entryc for zsh: entryc completion zsh > a folder of $fpath/_entryc", "_entryc() {", "    local -a rows",
           "    if (( CURRENT == 2 )); then", "        if [[ $PREFIX == -* ]]; then", "            rows=("]
    out += [f"                '{s}:{told(a.help or '')}'" for a in options(parser) for s in a.option_strings]
    out += ["            )", "            _describe -o option rows", "            return", "        fi", "        rows=("]
    out += [f"            '{name}:{told(text)}'" for name, (text, _) in commands(parser).items()]
    out += ["        )", "        _describe command rows", "        return", "    fi", "    local command=$words[2]",
            "    shift words; (( CURRENT-- ))", "    case $command in"]
    for name, (_, sub) in commands(parser).items():
        rows = []
        for action in options(sub):
            value = f":{'value' if action.choices else _metavar(action)}:{forms.of(action)}" if _takes(action) else ""
            again = "*" if isinstance(action, argparse._AppendAction) else ""
            rows += [f"'{again}{s}{'=' if value and s.startswith('--') else ''}[{told(action.help or '')}]{value}'" for s in action.option_strings]
        rows += [f"'{'*' if a.nargs in ('*', '+') else ''}:{a.dest}:{forms.of(a)}'" for a in operands(sub)]
        out += [f"        {name}) _arguments \\", *(f"            {row} \\" for row in rows[:-1]), f"            {rows[-1]} ;;"]
    return "\n".join([*out, "    esac", "}", "if [[ $funcstack[1] == _entryc ]]; then _entryc \"$@\"; else compdef _entryc entryc; fi", ""])


def _fish(parser: argparse.ArgumentParser) -> str:
    forms = Forms("-x -a '{}'", "-x -a '(__fish_complete_directories (commandline -ct))'", "-r -F", "-x -a '(__entryc_named {})'", " ", "-x")

    def row(here: str, action: argparse.Action) -> str:
        short = [f"-s {s[1:]}" for s in action.option_strings if not s.startswith("--")]
        long = [f"-l {s[2:]}" for s in action.option_strings if s.startswith("--")]
        return " ".join([here, *short, *long, *([forms.of(action)] if _takes(action) else []), f"-d '{_quoted((action.help or '').replace('%%', '%'))}'"])

    out = ["# entryc for fish: entryc completion fish > ~/.config/fish/completions/entryc.fish",
           "function __entryc_command", "    set -l words (commandline -opc)", "    test \"$words[2]\" = \"$argv[1]\"", "end",
           "function __entryc_named", "    set -l ends (string join '|' / (string escape --style=regex -- $argv))",
           "    __fish_complete_path (commandline -ct) | string match -r '^[^\\t]*(?:'$ends')(?:\\t.*)?$'", "end",
           "complete -c entryc -f"]
    out += [row("complete -c entryc -n '__entryc_command \"\"'", a) for a in options(parser)]
    for name, (text, sub) in commands(parser).items():
        out.append(f"complete -c entryc -n '__entryc_command \"\"' -a {name} -d '{_quoted(text)}'")
        here = f"complete -c entryc -n '__entryc_command {name}'"
        out += [row(here, action) for action in options(sub)]
        out += [f"{here} {forms.of(action)}" for action in operands(sub) if forms.of(action) != forms.nothing]
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
