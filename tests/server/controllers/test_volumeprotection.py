"""What is in use outlives its deletion."""

from __future__ import annotations

from typing import Any

from edgek.model import kinds, objects
from edgek.server.controllers.volumebinding import VolumeBindingController
from edgek.server.controllers.volumeprotection import ClaimProtectionController, VolumeProtectionController
from tests.fakes.scene import pod_template, scene
from tests.server.controllers.test_volumebinding import claim, volume

ALL = (VolumeBindingController, ClaimProtectionController, VolumeProtectionController)


async def test_a_claim_that_nobody_uses_goes_at_once(autojump_clock: Any) -> None:
    async with scene(*ALL) as cluster:
        await cluster.create(kinds.PERSISTENT_VOLUME_CLAIM, claim())
        await cluster.client.delete(kinds.PERSISTENT_VOLUME_CLAIM, "data", "default")
        await cluster.settle()
        assert not cluster.exists(kinds.PERSISTENT_VOLUME_CLAIM, "data")


async def test_a_pod_that_was_never_bound_to_a_node_does_not_hold_its_claim(autojump_clock: Any) -> None:
    async with scene(*ALL, nodes=()) as cluster:
        await cluster.create(kinds.PERSISTENT_VOLUME_CLAIM, claim())
        volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]
        await cluster.create(kinds.POD, {**pod_template(volumes=volumes), "metadata": {"name": "user"}})
        await cluster.client.delete(kinds.PERSISTENT_VOLUME_CLAIM, "data", "default")
        await cluster.settle()
        assert not cluster.exists(kinds.PERSISTENT_VOLUME_CLAIM, "data")


async def test_a_volume_that_is_bound_waits_for_its_claim(autojump_clock: Any) -> None:
    async with scene(*ALL) as cluster:
        await cluster.create(kinds.PERSISTENT_VOLUME, volume("only"))
        await cluster.create(kinds.PERSISTENT_VOLUME_CLAIM, claim())
        await cluster.settle()
        await cluster.client.delete(kinds.PERSISTENT_VOLUME, "only")
        await cluster.settle()
        assert objects.is_deleting(cluster.get(kinds.PERSISTENT_VOLUME, "only"))
        await cluster.client.delete(kinds.PERSISTENT_VOLUME_CLAIM, "data", "default")
        await cluster.settle()
        assert not cluster.exists(kinds.PERSISTENT_VOLUME, "only")
