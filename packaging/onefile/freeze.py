"""edgek itself, with a Python of its own: an environment with exactly what is pinned, frozen by PyInstaller."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import programs
from pins import Pins

HERE = Path(__file__).parent
MOMENT = "1767225600"  # what every file that carries a time is told: 2026-01-01


def version(source: Path) -> str:
    found = re.search(r'^version = "(.+)"$', (source / "pyproject.toml").read_text(), re.MULTILINE)
    assert found
    return found[1]


def environment(work: Path, pins: Pins) -> Path:
    """The Python of an environment that holds what is pinned and nothing else."""
    folder = work / "python"
    python = folder / "bin" / "python3"
    wanted = pins.requirements()
    list_file = work / "requirements.txt"
    if not python.exists() or not list_file.exists() or list_file.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        work.mkdir(parents=True, exist_ok=True)
        venv.create(folder, with_pip=True)
        fresh = work / "requirements.new"
        fresh.write_text(wanted)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--require-hashes", "--only-binary", ":all:", "-r", fresh], check=True)
        fresh.rename(list_file)
    return python


def freeze(work: Path, tree: Path, source: Path, python: Path) -> None:
    """``tree/edgek`` and ``tree/_internal``."""
    out = work / "frozen"
    made_for_this = source / "edgek" / "cni" / "shim"
    programs.shim(made_for_this)
    settings = {
        **os.environ,
        "EDGEK_SOURCE": str(source),
        "PYTHONHASHSEED": "0",
        "SOURCE_DATE_EPOCH": MOMENT,
        "PYTHONPATH": f"{source}:{source / 'packaging'}",
    }
    command = [python, "-m", "PyInstaller", "--noconfirm", "--clean", "--log-level", "WARN", "--distpath", out, "--workpath", work / "pyinstaller"]
    try:
        subprocess.run([*command, HERE / "edgek.spec"], check=True, env=settings)
    finally:
        made_for_this.unlink()
    shutil.copytree(out / "edgek", tree, symlinks=True, dirs_exist_ok=True)


if sys.version_info[:2] != (3, 11):
    raise SystemExit(f"packaging/build.sh: the pinned packages are for Python 3.11, this is {sys.version.split()[0]}: set PYTHON to a 3.11")
