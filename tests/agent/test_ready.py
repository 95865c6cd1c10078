"""Whether a node is ready, in the words that people and programs look for."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing

from edgek.agent import ready
from edgek.agent.ready import Readiness
from edgek.agent.runtime.runtime import RuntimeCondition, RuntimeFailure
from tests.fakes.runtime import FakeRuntime, open_runtime


@pytest.fixture
async def runtime() -> AsyncIterator[FakeRuntime]:
    async with open_runtime() as opened:
        yield opened


async def test_all_is_well(runtime: FakeRuntime, autojump_clock: trio.testing.MockClock) -> None:
    readiness = Readiness(runtime)
    assert await readiness.look() == ""
    assert readiness.version == ("fake", "1.0")


async def test_a_network_that_is_not_ready_is_said_as_upstream_says_it(runtime: FakeRuntime, autojump_clock: trio.testing.MockClock) -> None:
    why = "Network plugin returns error: cni plugin not initialized"
    runtime.network = RuntimeCondition("NetworkReady", False, "NetworkPluginNotReady", why)
    assert await Readiness(runtime).look() == (
        "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady "
        "message:Network plugin returns error: cni plugin not initialized"
    )


async def test_without_a_pod_range_the_network_is_not_ready(runtime: FakeRuntime, autojump_clock: trio.testing.MockClock) -> None:
    found = await Readiness(runtime, lambda: False).look()
    assert found.startswith("container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:")


async def test_one_that_has_been_silent_for_long_is_unhealthy_too(runtime: FakeRuntime, autojump_clock: trio.testing.MockClock) -> None:
    readiness = Readiness(runtime)
    await readiness.look()
    runtime.go_away()
    await trio.sleep(ready.ACTIVE_S - 1)
    assert (await readiness.look()).startswith("container runtime is down: ")
    await trio.sleep(3)
    assert (await readiness.look()).endswith("PLEG is not healthy: pleg was last seen active 3m2s ago; threshold is 3m0s]")


async def test_the_version_is_asked_for_again_when_the_runtime_was_away(runtime: FakeRuntime, autojump_clock: trio.testing.MockClock) -> None:
    readiness = Readiness(runtime)
    for _ in range(3):
        await readiness.look()
    assert [name for name, _ in runtime.calls].count("version") == 1
    runtime.go_away()
    await readiness.look()
    runtime.come_back()
    assert await readiness.look() == ""
    assert [name for name, _ in runtime.calls].count("version") == 2


async def test_images_that_cannot_be_listed_are_listed_the_next_time(runtime: FakeRuntime, autojump_clock: trio.testing.MockClock) -> None:
    runtime.add_image("example.org/box:1")
    runtime.failures["images"] = [RuntimeFailure("not now")]
    readiness = Readiness(runtime)
    assert await readiness.look() == "container runtime status check failed: not now"
    assert await readiness.look() == ""
    assert len(readiness.images) == 1
    readiness.images_changed()
    runtime.delays_s["images"] = 100.0
    assert await readiness.look() == ""
    runtime.delays_s.clear()
    runtime.add_image("example.org/box:2")
    await readiness.look()
    assert len(readiness.images) == 2
