"""README.md and docs/*.md: every command that they show is run, and prints what is shown. `pytest --update` writes what is shown without "…" anew."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import ROOT, kernel, kernel_source
from docs_pages import INDENT, Shell, matches, steps, unmarked
from entryc.patch.series import load_series

# Pages that are made, with everything on them, by tests of their own.
MADE = {"docs/errors.md": "test_explain.py", "docs/mistakes.md": "test_mistakes.py"}
PAGES = ["README.md", *sorted(n for p in (ROOT / "docs").glob("*.md") if (n := str(p.relative_to(ROOT))) not in MADE)]
# Pages that are run as a reader on a new machine would: nothing is installed but the tools of the system.
CLEAN = ("docs/tutorial.md",)
# Seconds for all commands of a page. The tutorial's readers are told that it takes minutes: with both CPUs and the installation, it may not take more.
MOST_SECONDS = 15 * 60
# Pages whose sections each start in the page's folder; on others, a section goes on where the one before it was.
INDEPENDENT = ("README.md",)


class Elsewhere(NamedTuple):
    """A command that is not run here: why, and the file or the test that does the same."""

    page: str
    command: str
    why: str
    where: str


ELSEWHERE = (
    Elsewhere("README.md", ".ci/main        # sets up; builds, proves, links and boots x86-64 and arm64", "is itself a job that runs", ".ci/main"),
    Elsewhere("README.md", ".ci/run         # sets up; linter, type checker, all tests", "is what runs this test", ".ci/run"),
    *(Elsewhere("README.md", command, "entryc is here already", "docs/tutorial.md")
      for command in ("python3 -m venv entryc-env", ". entryc-env/bin/activate")),
    Elsewhere("README.md", "pip install .", "entryc is here already", "tests/test_package.py::test_wheel_works_from_any_folder"),
    Elsewhere("README.md", "entryc verify specs/linux/x86_64-6.12.entry --object entry_64.o --object entry_64_compat.o", "once is enough", "docs/linux.md"),
    Elsewhere("docs/patch.md", "entryc patch specs/linux/x86_64.entry --tree linux-6.1 -o series.mbox", "takes another tree",
              "tests/test_patch.py::test_git_takes_it"),
    Elsewhere("docs/patch.md", "entryc verify specs/linux/x86_64.entry --for 6.1 --object entry_64.o --object entry_64_compat.o --object retpoline.o",
              "takes objects of another kernel", "tests/test_linux_61.py::test_proved"),
    Elsewhere("docs/editors.md", "pip install 'entryc[lsp]'", "pygls is among the tools of the tests", "tests/test_lsp.py::test_a_session"),
    Elsewhere("docs/tutorial.md", "apt-get install -y gcc make git patch python3-venv qemu-system-x86 qemu-system-arm gcc-aarch64-linux-gnu",
              "installs packages of the system: as root, once", ".ci/setup"),
)


def objects(folder: Path) -> None:
    """The objects of stock Linux, as its build makes them."""
    for name in ("entry_64.o", "entry_64_compat.o"):
        (folder / name).symlink_to(kernel("small-6.12") / name)


def linux_tree(folder: Path) -> None:
    """Those files of Linux that a series reads, as a git repository."""
    tree = folder / "linux-6.12"
    for name in ("Makefile", "Kbuild", *load_series(ROOT / "specs" / "linux" / "x86_64.series.toml").files):
        if not (kernel_source("6.12") / name).exists():
            continue                            # the series makes it
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(kernel_source("6.12") / name, tree / name)
    git(tree, "init", "-q")
    git(tree, "add", "-A")
    git(tree, "commit", "-qm", "stock")


def git(folder: Path, *command: str) -> None:
    subprocess.run(["git", "-c", "user.name=Reader", "-c", "user.email=reader@example.org", *command], cwd=folder, check=True)


def readme(folder: Path) -> None:
    """A tree of Linux; a repository in which the last commit gave a spec another comment."""
    linux_tree(folder)
    (folder / "specs").unlink()
    shutil.copytree(ROOT / "specs", folder / "specs")
    small = (ROOT / "specs" / "x86_64-small.entry").read_text()
    git(folder, "init", "-q")
    for text in (small, small + "# reviewed\n"):
        (folder / "specs" / "my.entry").write_text(text)
        git(folder, "add", "specs/my.entry")
        git(folder, "commit", "-qm", "my.entry")


def two_revisions(folder: Path) -> None:
    """my.entry, with a clause that is weaker than origin/main's."""
    small = (ROOT / "specs" / "x86_64-small.entry").read_text()
    git(folder, "init", "-q")
    (folder / "my.entry").write_text(small)
    git(folder, "add", "my.entry")
    git(folder, "commit", "-qm", "my.entry")
    git(folder, "update-ref", "refs/remotes/origin/main", "HEAD")
    (folder / "my.entry").write_text(small.replace("when regs.ip < USER_END ", "when regs.ip <= USER_END"))


def own_kernel(folder: Path) -> None:
    """The example as somebody's own kernel: kernel.entry and entry.S in the folder."""
    shutil.copyfile(ROOT / "examples" / "verify" / "kernel.entry", folder / "kernel.entry")


def checkout(folder: Path) -> None:
    """The repository, as a folder below."""
    (folder / "entryc").symlink_to(ROOT)


PREPARED: dict[str, Callable[[Path], None]] = {
    "README.md": readme, "docs/diff.md": two_revisions, "docs/linux.md": objects, "docs/patch.md": linux_tree, "docs/verify-your-own.md": own_kernel,
    "docs/tutorial.md": checkout,
}


@pytest.mark.parametrize("page", [p for p in PAGES if steps((ROOT / p).read_text())])
def test_page(page: str, tmp_path: Path, update: bool) -> None:
    text = (ROOT / page).read_text()
    if page not in CLEAN:
        for name in ("specs", "examples", "templates"):
            (tmp_path / name).symlink_to(ROOT / name)
    PREPARED.get(page, lambda folder: None)(tmp_path)
    elsewhere = {e.command for e in ELSEWHERE if e.page == page}
    wrong, section = [], ""
    lines: list[str | None] = list(text.split("\n"))
    shell = Shell(tmp_path, MOST_SECONDS, clean=page in CLEAN)
    try:
        for step in steps(text):
            if step.command in elsewhere:
                continue
            if page in INDEPENDENT and step.section != section:
                section = step.section
                shell.run(f"cd '{tmp_path}'")
            status, printed = shell.run(step.command)
            at = f"{page}:{step.line}: {step.command}\nexit status {status}, prints\n" + "\n".join(printed)
            assert status is not None, at
            if update and step.shown and not any("…" in line for line in step.shown):
                lines[step.first:step.last] = ["\n".join((INDENT + line).rstrip() for line in printed).rstrip("\n"), *[None] * (step.last - step.first - 1)]
            elif (status != 0) != step.fails or (step.shown and not matches(step.shown, printed)):
                wrong.append(at)
    finally:
        shell.close()
    if update:
        (ROOT / page).write_text("\n".join(line for line in lines if line is not None))
    assert not wrong, "\n\n".join(wrong)


@pytest.mark.parametrize("page", PAGES)
def test_nothing_is_shown_without_its_command(page: str) -> None:
    assert unmarked((ROOT / page).read_text()) == []


def anchors(page: Path) -> set[str]:
    """The names of a page's headings, as links spell them."""
    return {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in re.findall(r"^#+ (.*)$", page.read_text(), re.M)}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    here = ROOT / page
    for link in re.findall(r"\]\(([^)\s]+)\)", here.read_text()):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = (here.parent / file) if file else here
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("entry", ELSEWHERE, ids=lambda e: f"{e.page} {e.command.split()[0]}")
def test_elsewhere_is_true(entry: Elsewhere) -> None:
    """The command is on the page once, and what is said to run it is there."""
    assert sum(s.command == entry.command for s in steps((ROOT / entry.page).read_text())) == 1
    assert len(entry.why) > 10
    file, _, test = entry.where.partition("::")
    text = (ROOT / file).read_text()
    if file in PAGES:
        assert entry.command in {s.command for s in steps(text)} - {e.command for e in ELSEWHERE if e.page == file}
    elif test:
        assert f"def {test}(" in text
    elif packages := re.fullmatch(r"apt-get install -y (.*)", entry.command):
        assert set(packages[1].split()) <= set(re.findall(r"[\w.+-]+", text)), "the tests run with what is installed there"
    else:
        assert entry.command.startswith(file)


PAGE = """# Title

    $ cat > a <<'END'
    one
    END
    $ cat a
    one

Text, then code:

    int one;

    $ false && entryc
    error[E1]: …

      more
    …
"""


def test_commands_are_found() -> None:
    found = steps(PAGE)
    assert [s.command for s in found] == ["cat > a <<'END'\none\nEND", "cat a", "false && entryc"]
    assert [s.shown for s in found] == [(), ("one",), ("error[E1]: …", "", "  more", "…")]
    assert [s.fails for s in found] == [False, False, True]
    assert unmarked(PAGE) == []
    assert unmarked(PAGE.replace("int one;", "entryc check x")) == ["11:     entryc check x"]
    assert unmarked(PAGE.replace("int one;", "x: error[E1]: y")) == ["11:     x: error[E1]: y"]


@pytest.mark.parametrize(("shown", "printed", "same"), [
    (["a"], ["a "], True),
    (["a"], ["a", "b"], False),
    (["a", "…"], ["a", "b", "c"], True),
    (["a", "…"], ["a"], False),
    (["…", "c"], ["a", "b", "c"], True),
    (["a … c"], ["a b c"], True),
    (["a … c"], ["a", "c"], False),
    (["[image sha256 …]"], ["[image sha256 0123456789abcdef]"], True),
    (["GNU assembler (Debian) 2.40  8 bytes"], ["GNU assembler (Other) 2.43  8 bytes"], True),
    (["GNU assembler (Debian) 2.40  8 bytes"], ["GNU assembler (Debian) 2.40  9 bytes"], False),
])
def test_what_matches(shown: list[str], printed: list[str], same: bool) -> None:
    assert matches(tuple(shown), printed) is same


def test_the_shell_tells_how_a_command_ended(tmp_path: Path) -> None:
    shell = Shell(tmp_path, 60)
    try:
        assert shell.run("cd /; X=1; printf 'a\\nb'") == (0, ["a", "b"])
        assert shell.run("echo $X $PWD; (exit 3)") == (3, ["1 /"])
        assert shell.run("exit 1")[0] is None
    finally:
        shell.close()
