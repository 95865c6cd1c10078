"""What a node says it has."""

from __future__ import annotations

from pathlib import Path

import attrs

from edgek.model import quantity
from tests.agent.kubelet.scene import MACHINE, settings


def test_capacity_is_written_as_the_api_shows_it(tmp_path: Path) -> None:
    for memory_bytes in (8 << 30, (8 << 30) + 4096, 3 << 20):
        machine = attrs.evolve(MACHINE, memory_bytes=memory_bytes)
        for shown in (machine.capacity(settings(tmp_path)), machine.allocatable(settings(tmp_path))):
            assert {name: quantity.canonical(value) for name, value in shown.items()} == shown
