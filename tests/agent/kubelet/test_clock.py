"""A board without a battery: its pods start in 1970, and then it hears the time. Nothing stops, nothing starts, nothing is forgotten."""

from __future__ import annotations

from pathlib import Path

import trio
import trio.testing

from edgek.host import wallclock
from tests.agent.kubelet.scene import EPOCH, Node, container, node, pod

BOOT = 120.0


class Calendar:
    def __init__(self) -> None:
        self._by = BOOT
        wallclock.use(lambda: trio.current_time() + self._by)
        self.beat()

    def set(self, seconds: float) -> None:
        """Somebody sets the clock, and the node's next beat notices."""
        self._by = seconds - trio.current_time()
        self.beat()

    def beat(self) -> None:
        wallclock.compare(trio.current_time())


async def ids(here: Node) -> set[str]:
    return {each.id for each in await here.containers() if each.state == "running"}


async def test_pods_with_probes_and_deadlines_do_not_notice(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        calendar = Calendar()
        probe = {"exec": {"command": ["echo"]}, "periodSeconds": 1}
        await here.create(pod("limited", activeDeadlineSeconds=3600))
        await here.create(pod("probed", containers=[container(livenessProbe=probe, readinessProbe=probe)]))
        await here.settle(30)
        before = await ids(here)
        assert len(before) == 2
        calendar.set(EPOCH)
        await here.settle(600)
        assert await ids(here) == before
        assert here.phase("limited") == "Running"
        calendar.set(BOOT)
        await here.settle(600)
        assert await ids(here) == before


async def test_a_deadline_still_ends_when_its_time_has_passed(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        calendar = Calendar()
        await here.create(pod("limited", activeDeadlineSeconds=3600))
        await here.settle(1000)
        calendar.set(EPOCH)
        await here.settle(2500)
        assert here.phase("limited") == "Running"
        await here.settle(200)
        assert here.phase("limited") == "Failed"
        assert here.pod("limited")["status"]["reason"] == "DeadlineExceeded"


async def test_a_container_that_waits_for_its_next_start_does_not_wait_for_years(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        calendar = Calendar()
        calendar.set(EPOCH)
        await here.create(pod("crashing", containers=[container("main", "exit", "1")]))
        await here.settle(60)
        count = here.shown(name="crashing")["restartCount"]
        assert count >= 2
        calendar.set(BOOT)
        await here.settle(400)
        assert here.shown(name="crashing")["restartCount"] > count
        calendar.set(EPOCH)
        await here.settle(1)
        count = here.shown(name="crashing")["restartCount"]
        await here.settle(310)
        assert here.shown(name="crashing")["restartCount"] > count
