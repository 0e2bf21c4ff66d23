"""The wheel: built from the tree, installed in a fresh environment, used from another folder."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

from conftest import ROOT


def test_wheel_works_from_any_folder(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path), str(ROOT)], check=True)
    wheel = next(tmp_path.glob("*.whl"))
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in ("entryc/data/grammar/entry.lark", "entryc/data/specs/x86_64.entry", "entryc/data/specs/arch/arm64.arch",
                   "entryc/data/templates/x86_64/entry_init.c.j2", "entryc/data/templates/init/arm64/kernel.entry",
                   "entryc/py.typed", "entryc/codes.toml"):
        assert wanted in names
    assert any(name.endswith(".data/data/share/man/man1/entryc.1") for name in names)
    assert sum(name.endswith(".tables") for name in names) == 2, "the parser tables are built ahead"
    home = tmp_path / "home"
    home.mkdir()
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    subprocess.run([str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", str(wheel)], check=True)
    spec = home / "mine.entry"
    spec.write_text((ROOT / "specs" / "unikernel.entry").read_text())
    environment = {"HOME": str(home), "PATH": f"{tmp_path / 'venv' / 'bin'}:/usr/bin:/bin"}
    done = subprocess.run(["entryc", "build", "mine.entry"], cwd=home, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 refuted, 0 unknown" in done.stdout
    assert (home / "out" / "mine" / "entry.S").is_file()
    assert not (home / ".cache").exists(), "tables in the wheel are used, not built again"
