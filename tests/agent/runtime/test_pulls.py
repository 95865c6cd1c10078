"""Pulling over a link that breaks, by the real containerd from a registry that breaks off."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from functools import partial

import pytest
import trio

from edgek import config as configuration
from edgek.agent.runtime import containerd, service
from edgek.agent.runtime import messages_containerd as services
from edgek.agent.runtime.cri import CriRuntime
from edgek.agent.runtime.pulls import KEPT_S, LEASE_PREFIX, Patience, Progress, Pulls
from edgek.agent.runtime.runtime import RuntimeFailure
from edgek.config import Config
from edgek.host import wallclock
from edgek.host.rpc import Channel, RpcError
from tests.fakes import images
from tests.fakes.registry import Break, Registry, open_registry

LAYER_BYTES = 3_000_000


@pytest.mark.parametrize(
    ("before", "after", "worth"),
    [
        (Progress(), Progress(open=1, open_bytes=100_000), True),
        (Progress(), Progress(open=1, open_bytes=100), False),
        (Progress(open=1, open_bytes=100_000), Progress(finished=1), True),
        (Progress(finished=1, open=1, open_bytes=100_000), Progress(finished=1, open=1, open_bytes=100_000), False),
    ],
    ids=["much of a layer came", "next to nothing came", "a layer is finished", "it stands where it stood"],
)
def test_another_try_at_once_is_for_those_that_get_somewhere(before: Progress, after: Progress, worth: bool) -> None:
    assert after.is_worth_more_than(before) == worth


def test_unpacking_takes_the_time_it_takes() -> None:
    assert not Progress(finished=3).depends_on_the_link
    assert Progress(finished=3, open=1).depends_on_the_link
    assert Progress().depends_on_the_link


node = [pytest.mark.root, pytest.mark.node]


@pytest.fixture(scope="module")
def config() -> Iterator[Config]:
    with tempfile.TemporaryDirectory(prefix="edgek-pl-") as folder:
        made = configuration.load(
            {"data_dir": f"{folder}/d", "run_dir": f"{folder}/r", "private_registry": f"{folder}/none.yaml"}, {}, None, "node-1"
        )
        yield made
        trio.run(containerd.stop, service.child_of(made, made.run_dir / "cni.sock"))


@pytest.fixture
async def runtime(config: Config) -> AsyncIterator[CriRuntime]:
    with trio.fail_after(120):
        async with trio.open_nursery() as nursery:
            yield await nursery.start(partial(service.run, config, config.run_dir / "cni.sock"))
            nursery.cancel_scope.cancel()


@pytest.fixture
async def channel(runtime: CriRuntime, config: Config) -> AsyncIterator[Channel]:
    channel = Channel(f"unix://{config.runtime_socket}", services.NAMESPACE)
    yield channel
    channel.close()


@pytest.fixture
def registry() -> Iterator[Registry]:
    with open_registry() as registry:
        registry.add("team/app:1", images.docker_archive("unused:1", {"content": os.urandom(LAYER_BYTES)}))
        yield registry


def image(registry: Registry) -> str:
    return f"{registry.address}/team/app:1"


async def leases(channel: Channel) -> list[str]:
    found = await channel.call(services.LIST_LEASES, {}, timeout_s=10)
    return [each["id"] for each in found["leases"] if each["id"].startswith(LEASE_PREFIX)]


def assert_no_byte_came_twice(registry: Registry) -> None:
    """What was sent of the one layer adds up to it, piece by piece."""
    (digest,) = {digest for digest, _, _ in registry.sent}
    end = 0
    for _, first, count in registry.sent:
        assert first == end, registry.sent
        end += count
    assert end == len(registry.blobs[digest])


class TestARealContainerd:
    pytestmark = node

    async def test_a_layer_goes_on_where_the_connection_was_reset(self, runtime: CriRuntime, registry: Registry, channel: Channel) -> None:
        before = await leases(channel)
        registry.breaks += [Break(700_000), Break(300_000), Break(900_000)]
        pulled = await runtime.pull_image(image(registry), ())
        assert await runtime.image(image(registry)) == pulled
        assert [count for _, _, count in registry.sent[:3]] == [700_000, 300_000, 900_000]
        assert_no_byte_came_twice(registry)
        assert await leases(channel) == before, "nothing is held for it any more"

    async def test_a_layer_goes_on_in_the_next_pull_after_one_that_gave_up(self, runtime: CriRuntime, registry: Registry, channel: Channel) -> None:
        before = len(await leases(channel))
        registry.breaks += [Break(700_000), Break(20_000)]
        with pytest.raises(RuntimeFailure, match="connection reset by peer"):
            await runtime.pull_image(image(registry), ())
        assert len(await leases(channel)) == before + 1
        await runtime.pull_image(image(registry), ())
        assert_no_byte_came_twice(registry)

    async def test_a_layer_goes_on_after_containerd_was_killed(self, runtime: CriRuntime, registry: Registry, config: Config) -> None:
        registry.breaks += [Break(700_000), Break(20_000)]
        with pytest.raises(RuntimeFailure):
            await runtime.pull_image(image(registry), ())
        os.kill(int((config.run_dir / "containerd.pid").read_text().split()[0]), 9)
        events = runtime.events()
        await runtime.wait_until_there(30)
        await events.aclose()
        await runtime.pull_image(image(registry), ())
        assert_no_byte_came_twice(registry)

    async def test_a_connection_that_falls_silent_is_given_up_and_the_layer_goes_on(self, channel: Channel, registry: Registry) -> None:
        registry.breaks += [Break(700_000, "silence")]
        await Pulls(channel, Patience(stalled_s=1, look_s=0.2)).pull(image(registry), None)
        assert_no_byte_came_twice(registry)

    async def test_as_long_as_something_comes_it_goes_on(self, channel: Channel, registry: Registry) -> None:
        registry.breaks += [Break(LAYER_BYTES // 16, "slow")]
        began, stalled_s = trio.current_time(), 3.0
        await Pulls(channel, Patience(stalled_s=stalled_s, look_s=0.2)).pull(image(registry), None)
        assert trio.current_time() - began > stalled_s, "longer than it may be silent"
        assert len(registry.sent) == 1

    async def test_silence_from_the_start_is_a_failure_that_says_so(self, channel: Channel, registry: Registry) -> None:
        registry.breaks += [Break(0, "silence"), Break(0, "silence")]
        with pytest.raises(RpcError, match="nothing came for 1 s"):
            await Pulls(channel, Patience(stalled_s=1, look_s=0.2)).pull(image(registry), None)

    async def test_an_image_that_is_not_there_leaves_nothing_behind(self, runtime: CriRuntime, registry: Registry, channel: Channel) -> None:
        before = await leases(channel)
        with pytest.raises(RuntimeFailure):
            await runtime.pull_image(f"{registry.address}/team/other:1", ())
        assert await leases(channel) == before

    async def test_parts_that_nobody_asked_for_again_are_forgotten(self, channel: Channel, registry: Registry) -> None:
        registry.breaks += [Break(700_000), Break(20_000)]
        with pytest.raises(RpcError):
            await Pulls(channel).pull(image(registry), None)
        assert len(await leases(channel)) >= 1
        real = wallclock.use(lambda: real() + KEPT_S + 60)
        try:
            with pytest.raises(RpcError):
                await Pulls(channel).pull(f"{registry.address}/team/other:1", None)
        finally:
            wallclock.use(real)
        assert await leases(channel) == []

    async def test_parts_go_when_the_room_is_needed(self, runtime: CriRuntime, registry: Registry, channel: Channel) -> None:
        registry.breaks += [Break(700_000), Break(20_000)]
        with pytest.raises(RuntimeFailure):
            await runtime.pull_image(image(registry), ())
        await runtime.drop_partial_pulls()
        assert await leases(channel) == []
        await runtime.pull_image(image(registry), ())
        assert await runtime.image(image(registry)) is not None

    async def test_a_layer_that_was_tampered_with_on_the_way_is_refused(self, runtime: CriRuntime, registry: Registry) -> None:
        registry.breaks += [Break(700_000), Break(20_000)]
        with pytest.raises(RuntimeFailure):
            await runtime.pull_image(image(registry), ())
        (digest,) = {digest for digest, _, _ in registry.sent}
        registry.blobs[digest] = registry.blobs[digest][:-20_000] + bytes(20_000)
        with pytest.raises(RuntimeFailure, match="unexpected commit digest"):
            await runtime.pull_image(image(registry), ())
        assert await runtime.image(image(registry)) is None
