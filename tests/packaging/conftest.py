"""Boxes to install on, and the launcher that packed files begin with."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packaging.box import Box
from tests.packaging.onefile import ONEFILE


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="session")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("launcher") / "launch"
    if shutil.which("gcc") is None or not Path("/usr/include/zstd.h").exists():
        pytest.skip("needs gcc and libzstd-dev")
    subprocess.run(["gcc", "-O1", "-Wall", "-Werror", "-o", built, ONEFILE / "launch.c", "-lzstd"], check=True)
    return built
