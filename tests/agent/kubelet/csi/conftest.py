from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder with a short name: that of a socket has at most 107 characters."""
    with tempfile.TemporaryDirectory(prefix="ek-") as folder:
        yield Path(folder)
