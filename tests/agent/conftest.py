"""What several of these tests start from."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edgek.host import wallclock
from tests.fakes.entrance import Joinable, joinable


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Joinable]:
    floor = wallclock._Clock.floor  # nodes keep the newest time that they have seen, and some of these see the future
    async with joinable(tmp_path) as found:
        yield found
    wallclock._Clock.floor = floor
