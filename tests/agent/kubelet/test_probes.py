"""Probes in scenes: what their answers do to a pod."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio.testing

from edgek.agent.kubelet.probes import Tally, Timing
from tests.agent.kubelet.scene import Node, container, node, pod


class Switch:
    """A command that succeeds while it is on."""

    def __init__(self, here: Node, *, on: bool) -> None:
        self.on = on
        self.asked = 0
        here.runtime.programs["check"] = self._check

    async def _check(self, process: object) -> int:
        await trio.lowlevel.checkpoint()
        self.asked += 1
        return 0 if self.on else 1


def probe(**more: object) -> dict[str, object]:
    return {"exec": {"command": ["check"]}, "periodSeconds": 5, "failureThreshold": 2, **more}


async def test_a_readiness_probe_makes_a_pod_ready_and_not(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        switch = Switch(here, on=False)
        await here.create(pod(containers=[container(readinessProbe=probe())]))
        await here.settle(20)
        assert here.condition("Ready")["status"] == "False"
        assert any(reason == "Unhealthy" and message.startswith("Readiness probe failed") for reason, message in here.events())
        switch.on = True
        await here.settle(6)
        assert here.condition("Ready")["status"] == "True"
        switch.on = False
        await here.settle(6)
        assert here.condition("Ready")["status"] == "True"  # one failure is not two
        await here.settle(5)
        assert here.condition("Ready")["status"] == "False"
        assert here.shown()["restartCount"] == 0


async def test_a_liveness_probe_that_fails_restarts_the_container(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        switch = Switch(here, on=True)
        await here.create(pod(containers=[container(livenessProbe=probe())]))
        await here.settle(20)
        assert here.shown()["restartCount"] == 0
        switch.on = False
        await here.settle(11)
        switch.on = True
        await here.settle(20)
        assert here.shown()["restartCount"] == 1
        assert ("Killing", "Container main failed liveness probe, will be restarted") in here.events()


async def test_a_startup_probe_holds_the_others_back(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        switch = Switch(here, on=False)
        slow = container(startupProbe=probe(failureThreshold=10), livenessProbe={**probe(), "exec": {"command": ["no-such-program"]}})
        await here.create(pod(containers=[slow]))
        await here.settle(30)
        assert here.shown()["started"] is False
        assert here.shown()["restartCount"] == 0  # the liveness probe has not been asked
        switch.on = True
        await here.settle(6)
        assert here.shown()["started"] is True
        await here.settle(12)
        assert here.shown()["restartCount"] == 1


async def test_a_startup_probe_that_never_succeeds_ends_the_container(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        Switch(here, on=False)
        await here.create(pod(containers=[container(startupProbe=probe())], restartPolicy="Never"))
        await here.settle(15)
        assert here.phase() == "Failed"


async def test_a_probe_that_hangs_has_failed(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        hangs = {"exec": {"command": ["stubborn"]}, "timeoutSeconds": 2, "periodSeconds": 5, "failureThreshold": 1}
        await here.create(pod(containers=[container(readinessProbe=hangs)]))
        await here.settle(10)
        assert here.condition("Ready")["status"] == "False"
        assert any("timed out" in message for _, message in here.events())


async def test_of_a_pod_that_ends_only_its_readiness_is_asked(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        switch = Switch(here, on=True)
        alive = {"exec": {"command": ["echo"]}, "periodSeconds": 5, "failureThreshold": 1}
        await here.create(pod(containers=[container("main", "stubborn", readinessProbe=probe(), livenessProbe=alive)]))
        await here.settle(10)
        assert here.condition("Ready")["status"] == "True"
        await here.delete(grace_s=60)
        switch.on = False
        del here.runtime.programs["echo"]  # the liveness probe would fail now
        await here.settle(30)
        assert here.condition("Ready")["status"] == "False"
        assert not any("Liveness" in message for _, message in here.events())
        assert (await here.running()).name == "main"  # it has its grace period


@pytest.mark.parametrize(
    ("answers", "good"),
    [("x", True), ("xx", True), ("xxx", False), ("xxxo", False), ("xxxoo", True), ("xxoxx", True)],
)
def test_answers_count_in_a_row(answers: str, good: bool) -> None:
    tally, timing = Tally(good=True), Timing(failures=3, successes=2)
    for answer in answers:
        tally = tally.counted(answer == "o", timing)
    assert tally.good is good
