"""Pods with volumes of a driver, from their start to their end, on a virtual clock: the driver answers in this process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import trio
import trio.testing

from edgek.agent.kubelet.csi.drivers import Driver
from edgek.host.message import Values
from edgek.host.rpc import Method, RpcError
from edgek.model import kinds
from tests.agent.kubelet.scene import Node, container, node, pod

NAME = "near.example.com"
VOLUME: Any = {"name": "v", "csi": {"driver": NAME}}
MOUNT: Any = [{"name": "v", "mountPath": "/v"}]


@attrs.define
class Answering:
    """``hangs`` and ``refuses`` are names of calls."""

    calls: list[str] = attrs.field(factory=list)
    hangs: set[str] = attrs.field(factory=set)
    refuses: set[str] = attrs.field(factory=set)

    async def call(self, method: Method, values: Mapping[str, Any], *, timeout_s: float | None) -> Values:
        word = method.path.rpartition("/")[2]
        self.calls.append(word)
        if word in self.hangs:
            await trio.sleep_forever()
        if word in self.refuses:
            raise RpcError("INTERNAL", "out of order")
        return {"capabilities": []}


async def furnished(here: Node, **about: Any) -> Answering:
    spec = {"attachRequired": False, "volumeLifecycleModes": ["Ephemeral"], **about}
    await here.client.create(kinds.CSI_DRIVER, {"metadata": {"name": NAME}, "spec": spec})
    answering = Answering()
    here.kubelet.storage.drivers.put(Driver(NAME, "id", {}, 0, lambda: answering))
    return answering


async def test_a_volume_is_published_before_and_unpublished_after_the_containers(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        answering = await furnished(here)
        await here.create(pod(volumes=[VOLUME], containers=[container(volumeMounts=MOUNT)]))
        assert (here.phase(), answering.calls) == ("Running", ["NodeGetCapabilities", "NodePublishVolume"])
        await here.delete(grace_s=1)
        await here.settle(5)
        assert here.gone()
        assert answering.calls[-1] == "NodeUnpublishVolume"
        assert not list((here.settings.kubelet_dir / "pods").iterdir())


async def test_a_pod_whose_driver_says_no_tells_it_and_starts_when_it_agrees(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        answering = await furnished(here)
        answering.refuses.add("NodePublishVolume")
        await here.create(pod(volumes=[VOLUME], containers=[container(volumeMounts=MOUNT)]))
        text = 'MountVolume.SetUp failed for volume "v" : rpc error: code = Internal desc = out of order'
        assert ("FailedMount", text) in here.events()
        assert here.phase() == "Pending"
        answering.refuses.clear()
        await here.settle(70)
        assert here.phase() == "Running"


async def test_a_driver_that_wants_to_be_asked_again_is_and_its_hanging_delays_no_deletion(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with node(tmp_path) as here:
        answering = await furnished(here, requiresRepublish=True)
        await here.create(pod(volumes=[VOLUME], containers=[container(volumeMounts=MOUNT)]))
        await here.settle(130)
        assert answering.calls.count("NodePublishVolume") == 3  # and a minute later, and another one
        answering.hangs.add("NodePublishVolume")
        await here.settle(60)
        assert answering.calls.count("NodePublishVolume") == 4
        await here.delete(grace_s=1)
        await here.settle(5)
        assert here.gone()


async def test_a_pod_does_not_end_before_its_volume_is_given_back(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        answering = await furnished(here)
        await here.create(pod(volumes=[VOLUME], containers=[container(volumeMounts=MOUNT)]))
        answering.refuses.add("NodeUnpublishVolume")
        await here.delete(grace_s=1)
        await here.settle(30)
        assert not here.gone()
        assert any(reason == "FailedUnMount" and "out of order" in text for reason, text in here.events())
        assert await here.containers() == [] or all(each.state != "running" for each in await here.containers())
        answering.refuses.clear()
        await here.settle(70)
        assert here.gone()
