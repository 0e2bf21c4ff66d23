"""The command line: entryc init | build | check | verify | diff | patch | explain | layout. Exit status 0 fine, 1 findings, 2 usage or nothing to work on."""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Sequence
from pathlib import Path

from . import __version__
from .resources import init_names
from .source.finding import Finding, Findings, render_json, render_text

OK, FOUND, USAGE = 0, 1, 2


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="entryc", description="Compile the entry and exit paths of a kernel from one spec, and prove the bytes.",
        epilog="Exit status: 0 all is well, 1 findings (errors, stale files, refuted or unknown claims, differences at --fail-on), 2 wrong use.")
    parser.add_argument("--version", action="version", version=f"entryc {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("spec", metavar="SPEC", help="the .entry file")
    shared.add_argument("--format", choices=("text", "json"), default="text", help="how findings are written (default: text)")
    volume = shared.add_mutually_exclusive_group()
    volume.add_argument("-q", "--quiet", action="store_true", help="say nothing but findings")
    volume.add_argument("-v", "--verbose", action="store_true", help="say every step and list every claim")

    build = commands.add_parser("build", parents=[shared], help="write assembly, C and headers; assemble, check and prove them")
    build.add_argument("-o", "--out", metavar="DIR", help="where the files go (default: out/SPEC)")
    build.add_argument("--check", action="store_true", help="write nothing; fail when a file in DIR is not what the spec gives")
    build.add_argument("--prove", choices=("all", "none"), default="all", help="prove the assembled bytes (default), or only write")
    build.add_argument("--report", metavar="FILE", help="write tools, verdicts and times as JSON")
    build.add_argument("--depfile", metavar="FILE", help="write a make rule with the files that were read")

    init = commands.add_parser("init", help="write a small kernel to begin with: spec, C, start-up code, Makefile")
    init.add_argument("--arch", metavar="CPU", required=True, help=f"one of {', '.join(init_names())}")
    init.add_argument("--dir", metavar="DIR", default=".", help="where the files go (default: this folder); nothing is overwritten")
    init.add_argument("-q", "--quiet", action="store_true", help="say nothing but findings")

    commands.add_parser("check", parents=[shared], help="read the spec and plan its paths; write nothing")

    verify = commands.add_parser("verify", parents=[shared], help="prove the machine code, of the build or of an image")
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
        "diff", help="say what a change of spec means",
        description="Compare what two specs mean: rows with category and level, from the model and never from the text.",
        epilog="A side is a file, or git:REV:PATH: the file as it was in a revision, with the files that it used there. "
               "Exit status: 0; 1 with differences at the level of --fail-on; 2 when the sides could not be compared."))
    _patch(commands.add_parser(
        "patch", parents=[shared], help="write patches that put generated entry code into a kernel's tree",
        description="Make entry code from the spec for the tree that is given, as a series of mails for `git am`. "
                    "The tree is only read, unless --apply is given."))
    explain = commands.add_parser("explain", help="say what a rule of diff is about")
    explain.add_argument("code", metavar="CODE", help="for example D111")

    commands.add_parser("layout", parents=[shared], help="show frames and memory with offsets and sizes")
    return parser


def _diff(diff: argparse.ArgumentParser) -> None:
    diff.add_argument("paths", metavar="OLD NEW", nargs="*", help="two specs; with --against, one")
    diff.add_argument("--against", metavar="REV", help="compare the spec with itself as it was in this revision, whatever it was called there")
    diff.add_argument("--format", choices=("text", "json", "markdown", "html", "changelog"), default="text", help="how rows are written (default: text)")
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
        gc.disable()                            # a program that ends soon: collecting garbage would cost a tenth of its time
    try:
        run = {"diff": _compare, "explain": _compare, "init": _begin, "patch": _make_patches}.get(options.command, _run)
        return run(options)
    except Findings as stop:
        _show(stop.findings, getattr(options, "format", "text"))
        return FOUND if any(f.span for f in stop.findings) or (stop.findings and stop.findings[0].code not in ("E003",)) else USAGE
    except KeyboardInterrupt:
        print("entryc: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return FOUND
    except OSError as problem:                  # standard output, above all: what is read and written otherwise has messages of its own
        print(f"entryc: {(problem.strerror or str(problem)).lower()}{f': {problem.filename}' if problem.filename else ''}", file=sys.stderr)
        return USAGE


def _show(findings: Sequence[Finding], form: str) -> None:
    if form == "json":
        sys.stdout.write(render_json(findings))
    else:
        sys.stderr.write(render_text(findings))


def _compare(options: argparse.Namespace) -> int:
    from .driver import differ
    if options.command == "explain":
        return differ.explain(options.code)
    if options.rules:
        return differ.rules()
    try:
        return differ.diff(differ.Asked(tuple(options.paths), options.against, options.format, options.fail_on, options.accept, options.effects,
                                        options.prove, options.configuration, options.output, options.verbose, options.quiet))
    except Findings as stop:                    # 1 would say that the sides differ
        sys.stderr.write(render_text(stop.findings))
        return USAGE


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
    return patcher.patch(asked, Speaker(quiet=options.quiet or options.format == "json", verbose=options.verbose))


def _run(options: argparse.Namespace) -> int:
    from .driver import jobs
    say = jobs.Speaker(quiet=options.quiet or options.format == "json", verbose=options.verbose)
    path = Path(options.spec)
    if options.command == "check":
        findings = jobs.check(path, say)
    elif options.command == "layout":
        from .driver.jobs import layout_text
        sys.stdout.write(layout_text(path))
        return OK
    elif options.command == "build":
        out = Path(options.out) if options.out else Path("out") / path.stem
        findings = jobs.build(path, out, say, check=options.check, prove=options.prove == "all", report=options.report, depfile=options.depfile)
    else:
        findings = jobs.verify(path, say, image=options.image, objects=options.object or [], configuration=options.configuration,
                               crosscheck=options.crosscheck, mutants="all" if options.all else options.mutants,
                               recheck=options.recheck, smt2=options.dump_smt2, seed=options.seed, report=options.report, constants=options.const or [])
    if options.format == "json" or findings:
        _show(findings, options.format)
    return FOUND if any(f.level == "error" for f in findings) else OK


if __name__ == "__main__":
    sys.exit(main())
