from __future__ import annotations

import gzip
from pathlib import Path

import attrs
import trio
import trio.testing

from edgek.agent.kubelet import rotation
from edgek.host.worker import InLine
from tests.agent.kubelet.scene import node, pod


def test_former_files_are_compressed_and_the_oldest_go(tmp_path: Path) -> None:
    log = tmp_path / "0.log"
    log.touch()
    for day in range(1, 8):
        (tmp_path / f"0.log.2026010{day}T000000Z").write_text(f"day {day}")
    rotation.tidy(log, keep=5)
    assert sorted(found.name for found in tmp_path.iterdir()) == [
        "0.log",
        "0.log.20260104T000000Z.gz",
        "0.log.20260105T000000Z.gz",
        "0.log.20260106T000000Z.gz",
        "0.log.20260107T000000Z",
    ]
    assert gzip.decompress((tmp_path / "0.log.20260105T000000Z.gz").read_bytes()) == b"day 5"


async def test_a_log_that_grew_too_long_is_moved_aside_and_reopened(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        await here.create(pod())
        here.kubelet.settings = attrs.evolve(here.kubelet.settings, log_max_bytes=100)
        path = Path((await here.running()).log_path)
        await InLine().run(path.write_bytes, b"x" * 100)
        await rotation.check(here.kubelet, InLine())
        assert ("reopen_log", (await here.running()).id) not in here.runtime.calls
        await InLine().run(path.write_bytes, b"x" * 101)
        await rotation.check(here.kubelet, InLine())
        assert here.runtime.calls[-1] == ("reopen_log", (await here.running()).id)
        assert len(list(path.parent.glob("0.log.*"))) == 1


async def test_a_log_that_cannot_be_reopened_stays_where_it_is(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    from edgek.agent.runtime.runtime import RuntimeFailure

    async with node(tmp_path) as here:
        await here.create(pod())
        here.kubelet.settings = attrs.evolve(here.kubelet.settings, log_max_bytes=100)
        path = Path((await here.running()).log_path)
        await InLine().run(path.write_bytes, b"x" * 101)
        here.runtime.failures["reopen_log"] = [RuntimeFailure("container is not running")]
        await rotation.check(here.kubelet, InLine())
        assert rotation.size(path) == 101
