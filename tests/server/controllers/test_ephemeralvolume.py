"""Claims made for the ephemeral volumes of pods."""

from __future__ import annotations

from typing import Any

from edgek.model import kinds, objects
from edgek.server.controllers.ephemeralvolume import EphemeralVolumeController
from tests.fakes.scene import pod_template, scene

TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}


async def test_a_pod_gets_its_claim_and_gets_it_back(autojump_clock: Any) -> None:
    async with scene(EphemeralVolumeController) as cluster:
        volumes = [{"name": "scratch", "ephemeral": {"volumeClaimTemplate": TEMPLATE}}]
        pod = await cluster.create(kinds.POD, {**pod_template(volumes=volumes), "metadata": {"name": "user"}})
        await cluster.settle()
        claim = cluster.get(kinds.PERSISTENT_VOLUME_CLAIM, "user-scratch")
        assert objects.owners(claim) == [objects.controller_reference(pod, "v1", "Pod")]
        assert objects.labels(claim) == {"a": "b"}
        await cluster.change(kinds.PERSISTENT_VOLUME_CLAIM, "user-scratch", {"metadata": {"finalizers": None}})
        await cluster.client.delete(kinds.PERSISTENT_VOLUME_CLAIM, "user-scratch", "default")
        await cluster.settle()
        assert cluster.exists(kinds.PERSISTENT_VOLUME_CLAIM, "user-scratch")


async def test_a_pod_whose_claim_is_refused_says_why_and_gets_it_once_it_may(autojump_clock: Any) -> None:
    async with scene(EphemeralVolumeController) as cluster:
        small = {"limits": [{"type": "PersistentVolumeClaim", "max": {"storage": "1Mi"}}]}
        await cluster.create(kinds.LIMIT_RANGE, {"metadata": {"name": "small"}, "spec": small})
        volumes = [{"name": "scratch", "ephemeral": {"volumeClaimTemplate": TEMPLATE}}]
        await cluster.create(kinds.POD, {**pod_template(volumes=volumes), "metadata": {"name": "user"}})
        await cluster.settle()
        ((reason, message),) = set(cluster.events())
        assert reason == "FailedBinding"
        assert message.startswith("ephemeral volume scratch: create PVC default/user-scratch: ")
        assert message.endswith("maximum storage usage per PersistentVolumeClaim is 1Mi, but request is 1Gi")
        await cluster.client.delete(kinds.LIMIT_RANGE, "small", "default")
        await cluster.settle(1000)
        assert cluster.exists(kinds.PERSISTENT_VOLUME_CLAIM, "user-scratch")
