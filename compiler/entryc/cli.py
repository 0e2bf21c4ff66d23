"""The command line: entryc init | build | check | fmt | verify | diff | patch | explain | layout | draw | lsp | completion.

Exit status: 0 all is well, 1 findings, 2 wrong use or nothing to work on, 3 a mistake in entryc itself.
"""

from __future__ import annotations

import argparse
import gc
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from . import __version__
from .driver.shell import SHELLS
from .resources import init_names
from .source.finding import Finding, Findings, printable
from .source.formats import FORMATS, wants_colour

if TYPE_CHECKING:
    from .driver.jobs import Speaker

OK, FOUND, USAGE, INTERNAL, INTERRUPTED = 0, 1, 2, 3, 130

EXAMPLES = {
    "build": ("entryc build my.entry", "entryc build my.entry -o kernel/entry --depfile entry.d",
              "entryc build my.entry --check        # in CI: are the committed files right?",
              "entryc build my.entry --prove none --watch"),
    "init": (f"entryc init --arch {init_names()[0]} --dir kernel",),
    "check": ("entryc check my.entry", "entryc check my.entry --fix", "entryc check my.entry --watch", "entryc check my.entry --format sarif > entryc.sarif"),
    "fmt": ("entryc fmt my.entry", "entryc fmt --check specs             # in CI"),
    "verify": ("entryc verify my.entry", "entryc verify my.entry --image kernel.elf --configuration base",
               "entryc verify my.entry --object entry.o --mutants 200 --report proof.html"),
    "diff": ("entryc diff old.entry new.entry", "entryc diff --against HEAD~1 my.entry --fail-on breaking",
             "entryc diff --against v1.0 my.entry --format changelog"),
    "patch": ("entryc patch linux.entry --tree linux-6.12 -o series.mbox", "entryc patch linux.entry --tree linux-6.12 --apply",),
    "draw": ("entryc draw my.entry", "entryc draw my.entry --what paths -o paths.svg"), "lsp": ("entryc lsp",),
    "explain": ("entryc explain E316", "entryc explain                       # all codes"),
    "layout": ("entryc layout my.entry",),
    "completion": ("source <(entryc completion bash)", "entryc completion zsh > ~/.zfunc/_entryc",
                   "entryc completion fish > ~/.config/fish/completions/entryc.fish"),
}


def _arguments() -> argparse.ArgumentParser:
    """The tree of commands and options: help texts, completions and the manual page come from it."""
    parser = _tree()
    action = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    for name, command in action.choices.items():
        command.formatter_class = argparse.RawDescriptionHelpFormatter
        if name in EXAMPLES:
            command.epilog = "\n\n".join(x for x in (command.epilog, "\n".join(["examples:", *(f"  {e}" for e in EXAMPLES[name])])) if x)
    return parser


def _tree() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="entryc", description="Compile the entry and exit paths of a kernel from one spec, and prove the bytes.",
        epilog="Exit status: 0 all is well, 1 findings (errors, stale files, refuted or unknown claims, differences at --fail-on), 2 wrong use, "
               "3 a mistake in entryc itself.")
    parser.add_argument("--version", action="version", version=f"entryc {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("spec", metavar="SPEC", help="the .entry file")
    shared.add_argument("--format", choices=tuple(FORMATS), default="text", help="how findings are written (default: text)")
    _colour(shared)
    version = argparse.ArgumentParser(add_help=False)
    version.add_argument("--for", dest="version", metavar="VERSION", help="read the spec for this version of the kernel (default: the first that it names)")
    volume = shared.add_mutually_exclusive_group()
    volume.add_argument("-q", "--quiet", action="store_true", help="say nothing but findings")
    volume.add_argument("-v", "--verbose", action="store_true", help="say every step and list every claim")

    build = commands.add_parser("build", parents=[shared, version], help="write assembly, C and headers; assemble, check and prove them")
    build.add_argument("-o", "--out", metavar="DIR", help="where the files go (default: out/SPEC)")
    build.add_argument("--check", action="store_true", help="write nothing; fail when a file in DIR is not what the spec gives")
    build.add_argument("--prove", choices=("all", "none"), default="all", help="prove the assembled bytes (default), or only write")
    build.add_argument("--report", metavar="FILE", help="write tools, verdicts and times as JSON")
    build.add_argument("--depfile", metavar="FILE", help="write a make rule with the files that were read")

    build.add_argument("--watch", action="store_true", help="build again whenever the spec or a file that it uses changes")

    init = commands.add_parser("init", help="write a small kernel to begin with: spec, C, start-up code, Makefile")
    init.add_argument("--arch", metavar="CPU", required=True, help=f"one of {', '.join(init_names())}")
    init.add_argument("--dir", metavar="DIR", default=".", help="where the files go (default: this folder); nothing is overwritten")
    init.add_argument("-q", "--quiet", action="store_true", help="say nothing but findings")

    check = commands.add_parser("check", parents=[shared], help="read the spec, for each version that it names, and plan its paths; write nothing")
    how = check.add_mutually_exclusive_group()
    how.add_argument("--fix", action="store_true", help="put the edits that findings propose into the files, and say which")
    how.add_argument("--watch", action="store_true", help="check again whenever the spec or a file that it uses changes")

    _format(commands.add_parser(
        "fmt", help="write specs as they should stand: indentation, blanks, columns",
        description="Format specs in place: .entry files, and .arch files too. Comments and line breaks stay; the meaning never changes.",
        epilog="Exit status: 0; 1 with --check when a file is not formatted, or when one cannot be parsed; 2 when there is nothing to format."))

    verify = commands.add_parser("verify", parents=[shared, version], help="prove the machine code, of the build or of an image")
    source = verify.add_mutually_exclusive_group()
    source.add_argument("--image", metavar="ELF", help="prove the code in this linked kernel instead of the flat form")
    source.add_argument("--object", metavar="ELF", action="append", help="prove the code in this object file; repeat it for files that belong together")
    verify.add_argument("--configuration", metavar="NAME", help="only this configuration")
    verify.add_argument("--const", metavar="NAME=N", action="append", help="replace a constant of the spec, such as an offset that this build has elsewhere")
    verify.add_argument("--crosscheck", metavar="N", type=int, default=0, help="also run every instruction form on N random states beside the emulator")
    verify.add_argument("--mutants", metavar="N", help="also change the code in N ways (or: all) and see that each change is noticed")
    verify.add_argument("--recheck", metavar="N", type=int, default=0, help="ask N of the solver's answers again of a second solver (Bitwuzla)")
    verify.add_argument("--dump-smt2", metavar="DIR", help="write each question that the solver was asked as an SMT-LIB file")
    depth = verify.add_mutually_exclusive_group()
    depth.add_argument("--fast", action="store_true", help="only the claims (default)")
    depth.add_argument("--all", action="store_true", help="also every mutant: is each instruction needed?")
    verify.add_argument("--seed", metavar="S", type=int, default=1, help="which N are chosen (default: 1)")
    verify.add_argument("--report", metavar="FILE", help="write verdicts and times as JSON, or as a page when FILE ends in .html")

    _diff(commands.add_parser(
        "diff", parents=[version], help="say what a change of spec means",
        description="Compare what two specs mean: rows with category and level, from the model and never from the text.",
        epilog="A side is a file, or git:REV:PATH: the file as it was in a revision, with the files that it used there. "
               "Exit status: 0; 1 with differences at the level of --fail-on; 2 when the sides could not be compared."))
    _patch(commands.add_parser(
        "patch", parents=[shared], help="write patches that put generated entry code into a kernel's tree",
        description="Make entry code from the spec for the tree that is given, as a series of mails for `git am`. "
                    "The tree is only read, unless --apply is given."))
    explain = commands.add_parser("explain", help="say why something is an error, with an example and its cure")
    explain.add_argument("code", metavar="CODE", nargs="?", help="for example E316, or D111, a rule of diff (default: list all)")

    draw = commands.add_parser("draw", parents=[shared], help="draw frames, the graph of paths, states along paths, and windows, as SVG")
    draw.add_argument("--what", metavar="WHAT", help="frame, paths, windows, states, or the name of a frame or path (default: all pictures)")
    draw.add_argument("-o", "--output", metavar="FILE", help="a file for one picture, or a folder (default: one goes to standard output, all to out/SPEC)")

    commands.add_parser("lsp", help="the language server, for editors: over standard input and output")

    commands.add_parser("layout", parents=[shared, version], help="show frames and memory with offsets and sizes")

    completion = commands.add_parser("completion", help="write a script that completes commands, options and files in a shell")
    completion.add_argument("shell", metavar="SHELL", choices=SHELLS, help="bash, zsh or fish")
    return parser


def _format(fmt: argparse.ArgumentParser) -> None:
    fmt.add_argument("paths", metavar="PATH", nargs="+", help="files, folders with specs in them, or - to read standard input and write standard output")
    fmt.add_argument("--check", action="store_true", help="write nothing; fail, and name the files that are not formatted")
    fmt.add_argument("--diff", action="store_true", help="write nothing; print what would change")
    fmt.add_argument("--format", choices=tuple(FORMATS), default="text", help="how findings are written (default: text)")
    _colour(fmt)
    fmt.add_argument("-q", "--quiet", action="store_true", help="say nothing but findings")


def _colour(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--color", choices=("auto", "always", "never"), default="auto",
                        help="colours in text: on a terminal (default), always or never; NO_COLOR and FORCE_COLOR are respected")


def _diff(diff: argparse.ArgumentParser) -> None:
    diff.add_argument("paths", metavar="OLD NEW", nargs="*", help="two specs; with --against, one")
    diff.add_argument("--against", metavar="REV", help="compare the spec with itself as it was in this revision, whatever it was called there")
    diff.add_argument("--format", choices=("text", "json", "markdown", "html", "changelog", "sarif", "github"), default="text",
                      help="how rows are written (default: text)")
    _colour(diff)
    diff.add_argument("-o", "--output", metavar="FILE", help="write to FILE, whole or not at all")
    diff.add_argument("--fail-on", choices=("breaking", "risky", "any"), help="exit with 1 when a row has this level or a worse one")
    diff.add_argument("--accept", metavar="FILE", help="a TOML file of rows that were looked at, each with its reason")
    diff.add_argument("--effects", action="store_true", help="also what becomes of the generated code: instructions, bytes, stack, C")
    diff.add_argument("--prove", action="store_true", help="also prove, where machine code differs, that both behave alike; or show what separates them")
    diff.add_argument("--configuration", metavar="NAME", help="effects and proof of this configuration only")
    diff.add_argument("--rules", action="store_true", help="list the rules and exit")
    volume = diff.add_mutually_exclusive_group()
    volume.add_argument("-q", "--quiet", action="store_true", help="print nothing: only the exit status")
    volume.add_argument("-v", "--verbose", action="store_true", help="with --effects: the assembly of both, step by step")


def _patch(patch: argparse.ArgumentParser) -> None:
    patch.add_argument("--tree", metavar="DIR", required=True, help="the kernel's source")
    patch.add_argument("-o", "--output", metavar="FILE", help="write the series to FILE, and its cover letter beside it")
    patch.add_argument("--from", dest="sender", metavar="PERSON", help='who sends it: "NAME <MAIL>" (default: as git has it)')
    patch.add_argument("--signoff", action="store_true", help="add a Signed-off-by line of that person to each patch")
    patch.add_argument("--proof", metavar="FILE", help="a report of entryc verify on objects built with this series: its result goes into the cover letter")
    patch.add_argument("--apply", action="store_true", help="change the files of the tree")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    try:
        options = _arguments().parse_args(argv)
    except SystemExit as stop:
        return int(stop.code or 0)
    if argv is None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")       # a locale may have no letter for an arrow
        gc.disable()                            # a program that ends soon: collecting garbage would cost a tenth of its time
    try:
        run = {"diff": _compare, "explain": _explain, "patch": _make_patches, "completion": _completion, "fmt": _format_files, "init": _begin,
               "lsp": _serve, "draw": _draw}.get(options.command, _run)
        return run(options)
    except Findings as stop:
        _show(stop.findings, options)
        return FOUND if any(f.span for f in stop.findings) or (stop.findings and stop.findings[0].code not in ("E003",)) else USAGE
    except KeyboardInterrupt:
        print("entryc: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        if argv is None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)        # who read has gone: what is left in the buffer goes nowhere
        return FOUND
    except MemoryError:
        print("entryc: there is not enough memory for this", file=sys.stderr)
        return USAGE
    except OSError as problem:                  # standard output, above all: what is read and written otherwise has messages of its own
        print(printable(f"entryc: {(problem.strerror or str(problem)).lower()}{f': {problem.filename}' if problem.filename else ''}"), file=sys.stderr)
        return USAGE
    except Exception as problem:                # the only place for what nobody thought of
        if os.environ.get("ENTRYC_RAISE"):      # the tests: whatever comes here is a mistake of entryc
            raise
        return internal(problem)


def internal(problem: Exception) -> int:
    """The last resort: something that nobody thought of. One line, unless ENTRYC_DEBUG asks for more."""
    if os.environ.get("ENTRYC_DEBUG", "0") not in ("", "0"):
        import traceback
        traceback.print_exception(problem)
    text = printable(" ".join(f"{type(problem).__name__}: {problem}".split())[:200])
    print(f"entryc: this is a mistake in entryc {__version__}, please report it: {text} (ENTRYC_DEBUG=1 shows where)", file=sys.stderr)
    return INTERNAL


def _show(findings: Sequence[Finding], options: argparse.Namespace) -> None:
    form = getattr(options, "format", "text")
    stream = sys.stderr if form not in FORMATS or form == "text" else sys.stdout
    colour = wants_colour(getattr(options, "color", "auto"), stream.isatty())
    stream.write(FORMATS.get(form, FORMATS["text"])(findings, colour))


def _explain(options: argparse.Namespace) -> int:
    from .driver.explain import explain
    return explain(options.code)


def _completion(options: argparse.Namespace) -> int:
    from .driver.shell import completion
    sys.stdout.write(completion(_arguments(), options.shell))
    return OK


def _compare(options: argparse.Namespace) -> int:
    from .driver import differ
    if options.rules:
        return differ.rules()
    try:
        return differ.diff(differ.Asked(tuple(options.paths), options.against, options.format, options.fail_on, options.accept, options.effects,
                                        options.prove, options.configuration, options.output, options.verbose, options.quiet, options.version,
                                        wants_colour(options.color, sys.stdout.isatty())))
    except Findings as stop:                    # 1 would say that the sides differ
        _show(stop.findings, options)
        return USAGE


def _format_files(options: argparse.Namespace) -> int:
    from .driver import formatter
    from .driver.jobs import Speaker
    findings = formatter.run(formatter.Asked(tuple(options.paths), options.check, options.diff), Speaker(quiet=options.quiet or options.format != "text"))
    if findings:
        raise Findings(findings)
    return OK


def _begin(options: argparse.Namespace) -> int:
    from .driver import starter
    from .driver.jobs import Speaker
    starter.init(options.arch, options.dir, Speaker(quiet=options.quiet))
    return OK


def _make_patches(options: argparse.Namespace) -> int:
    from .driver import patcher
    from .driver.jobs import Speaker
    asked = patcher.Asked(Path(options.spec), Path(options.tree), Path(options.output) if options.output else None, options.sender, options.signoff,
                          options.apply, Path(options.proof) if options.proof else None)
    return patcher.patch(asked, Speaker(quiet=options.quiet or options.format != "text", verbose=options.verbose))


def _draw(options: argparse.Namespace) -> int:
    from .driver import drawer
    from .driver.jobs import Speaker
    drawer.draw(Path(options.spec), options.what, options.output, Speaker(quiet=options.quiet or options.format != "text", verbose=options.verbose))
    return OK


def _serve(_options: argparse.Namespace) -> int:
    try:
        from .driver import server
    except ModuleNotFoundError as missing:
        if str(missing.name).split(".")[0] not in ("pygls", "lsprotocol"):
            raise
        print("entryc: the language server needs pygls: pip install 'entryc[lsp]'", file=sys.stderr)
        return USAGE
    gc.enable()                                 # a program that runs for long
    return server.serve()


def _run(options: argparse.Namespace) -> int:
    from .driver import jobs
    say = jobs.Speaker(quiet=options.quiet or options.format != "text", verbose=options.verbose)
    path = Path(options.spec)
    if options.command == "layout":
        sys.stdout.write(jobs.layout_text(path, options.version))
        return OK
    if getattr(options, "watch", False):
        return _watch(options, path, say)
    if options.command == "check" and options.fix:
        return _fix(options, path, say)
    findings = _findings(options, path, say)
    if options.format != "text" or findings:
        _show(findings, options)
    return FOUND if any(f.level == "error" for f in findings) else OK


def _findings(options: argparse.Namespace, path: Path, say: Speaker) -> list[Finding]:
    from .driver import jobs
    if options.command == "check":
        return jobs.check(path, say)
    if options.command == "build":
        out = Path(options.out) if options.out else Path("out") / path.stem
        return jobs.build(path, out, say, check=options.check, prove=options.prove == "all", report=options.report, depfile=options.depfile,
                          version=options.version)
    return jobs.verify(path, say, image=options.image, objects=options.object or [], configuration=options.configuration,
                       crosscheck=options.crosscheck, mutants="all" if options.all else options.mutants,
                       recheck=options.recheck, smt2=options.dump_smt2, seed=options.seed, report=options.report, constants=options.const or [],
                       version=options.version)


def _found(options: argparse.Namespace, path: Path, say: Speaker) -> list[Finding]:
    """What a command finds, also when it stops."""
    try:
        return _findings(options, path, say)
    except Findings as stop:
        return stop.findings


def _watch(options: argparse.Namespace, path: Path, say: Speaker) -> int:
    from .driver.fix import errors
    from .driver.watch import watch
    gc.enable()                                 # this one does not end soon

    def run() -> int:
        findings = _found(options, path, say)
        if options.format != "text" or findings:
            _show(findings, options)
        return errors(findings)
    return watch(path, run)


def _fix(options: argparse.Namespace, path: Path, say: Speaker) -> int:
    from .driver.fix import errors, fix
    from .driver.jobs import Speaker
    fixed = fix(lambda: _found(options, path, Speaker(quiet=True)))
    for f in fixed.done:
        say.say(f"{f.span}: {f.code}: {f.message}: {f.help or 'mended'}")
    if fixed.undone:
        say.say(f"{path}: the edits made it no better: nothing changed")
    elif not fixed.done:
        say.say(f"{path}: nothing to mend")
    else:
        say.say(f"{path}: {len(fixed.done)} mended, {errors(fixed.left)} error(s) left")
    if options.format != "text" or fixed.left:
        _show(fixed.left, options)
    return FOUND if errors(fixed.left) else OK


if __name__ == "__main__":
    sys.exit(main())
