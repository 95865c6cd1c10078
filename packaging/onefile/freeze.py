"""edgek itself, with a Python of its own: an environment with exactly what is pinned, frozen by PyInstaller."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import programs
from pins import Pins
from targets import Target

HERE = Path(__file__).parent
ONLY_PINNED = ("--quiet", "--require-hashes", "--only-binary", ":all:")
SITE = Path("lib", "python3.11", "site-packages")
MOMENT = "1767225600"  # what every file that carries a time is told: 2026-01-01


def version(source: Path) -> str:
    found = re.search(r'^version = "(.+)"$', (source / "pyproject.toml").read_text(), re.MULTILINE)
    assert found
    return found[1]


def environment(work: Path, pins: Pins) -> Path:
    """The Python of an environment that holds what is pinned and nothing else."""
    python = work / "python" / "bin" / "python3"
    if _is_stale(work, pins):
        subprocess.run([sys.executable, "-m", "venv", "--clear", work / "python"], check=True)
        subprocess.run([python, "-m", "pip", "install", *ONLY_PINNED, "-r", _written(work, pins)], check=True)
        _keep(work)
    return python


def foreign_environment(work: Path, pins: Pins, target: Target, pip: Path) -> Path:
    """The same of the target's Python. ``pip`` is a Python of this machine's that has pip: under emulation that would take minutes."""
    folder = work / "python"
    if _is_stale(work, pins):
        shutil.rmtree(folder, ignore_errors=True)
        target.run(["python3", "-m", "venv", "--without-pip", folder])
        tags = [word for tag in target.arch.wheels for word in ("--platform", tag)]
        where = ("--no-deps", "--python-version", "3.11", *tags, "--target", folder / SITE)
        subprocess.run([pip, "-m", "pip", "install", *ONLY_PINNED, *where, "-r", _written(work, pins)], check=True)
        _keep(work)
    return folder / "bin" / "python3"


def _is_stale(work: Path, pins: Pins) -> bool:
    kept = work / "requirements.txt"
    return not (work / "python").exists() or not kept.exists() or kept.read_text() != pins.requirements()


def _written(work: Path, pins: Pins) -> Path:
    work.mkdir(parents=True, exist_ok=True)
    fresh = work / "requirements.new"
    fresh.write_text(pins.requirements())
    return fresh


def _keep(work: Path) -> None:
    """What was installed counts from now on."""
    (work / "requirements.new").rename(work / "requirements.txt")


def freeze(work: Path, tree: Path, source: Path, python: Path, target: Target) -> None:
    """``tree/edgek`` and ``tree/_internal``."""
    out = work / "frozen"
    shim = work / "shim"
    programs.shim(target, shim)
    settings = {
        "EDGEK_SOURCE": str(source),
        "EDGEK_SHIM": str(shim),
        "PYTHONHASHSEED": "0",
        "SOURCE_DATE_EPOCH": MOMENT,
        "PYTHONPATH": f"{source}:{source / 'packaging'}",
    }
    command = [python, "-m", "PyInstaller", "--noconfirm", "--clean", "--log-level", "WARN", "--distpath", out, "--workpath", work / "pyinstaller"]
    target.run([*command, HERE / "edgek.spec"], settings)
    shutil.copytree(out / "edgek", tree, symlinks=True, dirs_exist_ok=True)


if sys.version_info[:2] != (3, 11):
    raise SystemExit(f"packaging/build.sh: the pinned packages are for Python 3.11, this is {sys.version.split()[0]}: set PYTHON to a 3.11")
