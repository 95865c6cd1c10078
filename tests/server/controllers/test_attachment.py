"""Volumes are attached where pods use them, and taken away when nobody does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from edgek.model import kinds, objects
from edgek.model.objects import Object
from edgek.server.controllers.attachment import AttachmentController, attachment_name
from edgek.server.controllers.volumebinding import VolumeBindingController
from tests.fakes.scene import Scene, pod_template, scene
from tests.server.controllers.test_volumebinding import claim, volume

NAME = "kubernetes.io/csi/disks.example^disk-1"


@asynccontextmanager
async def cluster_with_disk(*modes: str, attach: bool = True) -> AsyncIterator[Scene]:
    async with scene(AttachmentController, VolumeBindingController, nodes=["node-1"]) as cluster:
        for name in ("node-1", "node-2"):
            await cluster.create(kinds.NODE, {"metadata": {"name": name}, "spec": {}})
            await ready(cluster, name, "True")
        await cluster.create(kinds.CSI_DRIVER, {"metadata": {"name": "disks.example"}, "spec": {"attachRequired": attach}})
        disk = volume("disk", csi={"driver": "disks.example", "volumeHandle": "disk-1"}, accessModes=list(modes or ("ReadWriteOnce",)))
        del disk["spec"]["hostPath"]
        await cluster.create(kinds.PERSISTENT_VOLUME, disk)
        await cluster.create(kinds.PERSISTENT_VOLUME_CLAIM, claim(accessModes=list(modes or ("ReadWriteOnce",))))
        await cluster.settle()
        yield cluster


async def ready(cluster: Scene, node: str, status: str) -> None:
    await cluster.change(kinds.NODE, node, {"status": {"conditions": [{"type": "Ready", "status": status}]}}, subresource="status")


async def use(cluster: Scene, name: str, node: str) -> None:
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]
    cluster.runner.nodes[:] = [node]
    await cluster.create(kinds.POD, {**pod_template(volumes=volumes), "metadata": {"name": name}})
    await cluster.settle()


async def leave(cluster: Scene, name: str) -> None:
    await cluster.client.delete(kinds.POD, name, "default")
    await cluster.settle()


async def in_use(cluster: Scene, node: str, *names: str) -> None:
    await cluster.change(kinds.NODE, node, {"status": {"volumesInUse": list(names)}}, subresource="status")
    await cluster.settle()


def attachments(cluster: Scene) -> list[Object]:
    return cluster.api.all(kinds.VOLUME_ATTACHMENT)


def nodes_of(cluster: Scene) -> list[str]:
    return sorted(each["spec"]["nodeName"] for each in attachments(cluster))


async def fulfil(cluster: Scene, **status: Any) -> None:
    for each in attachments(cluster):
        await cluster.change(kinds.VOLUME_ATTACHMENT, objects.name(each), {"status": {"attached": True, **status}}, subresource="status")
    await cluster.settle()


async def test_a_volume_is_attached_for_its_pod_and_the_node_is_told(autojump_clock: Any) -> None:
    async with cluster_with_disk() as cluster:
        await use(cluster, "user", "node-1")
        (made,) = attachments(cluster)
        assert objects.name(made) == attachment_name("disks.example", "disk-1", "node-1")
        assert made["spec"] == {"attacher": "disks.example", "nodeName": "node-1", "source": {"persistentVolumeName": "disk"}}
        await fulfil(cluster)
        assert cluster.get(kinds.NODE, "node-1")["status"]["volumesAttached"] == [{"name": NAME, "devicePath": ""}]
        assert ("SuccessfulAttachVolume", 'AttachVolume.Attach succeeded for volume "disk" ') in cluster.events()
        assert await cluster.writes_in(2000) == []


async def test_it_stays_until_the_node_no_longer_uses_it(autojump_clock: Any) -> None:
    async with cluster_with_disk() as cluster:
        await use(cluster, "user", "node-1")
        await fulfil(cluster)
        await in_use(cluster, "node-1", NAME)
        await leave(cluster, "user")
        await cluster.settle(3600)
        assert nodes_of(cluster) == ["node-1"]
        await in_use(cluster, "node-1")
        assert nodes_of(cluster) == []


async def test_a_volume_for_one_node_waits_until_the_other_has_let_go(autojump_clock: Any) -> None:
    async with cluster_with_disk() as cluster:
        await use(cluster, "first", "node-1")
        await in_use(cluster, "node-1", NAME)
        await use(cluster, "second", "node-2")
        assert nodes_of(cluster) == ["node-1"]
        why = "Volume is already exclusively attached to one node and can't be attached to another"
        assert ("FailedAttachVolume", f'Multi-Attach error for volume "disk" {why}') in cluster.events()
        await leave(cluster, "first")
        await in_use(cluster, "node-1")
        assert nodes_of(cluster) == ["node-2"]


async def test_a_volume_for_many_is_attached_to_many(autojump_clock: Any) -> None:
    async with cluster_with_disk("ReadWriteMany") as cluster:
        await use(cluster, "first", "node-1")
        await use(cluster, "second", "node-2")
        assert nodes_of(cluster) == ["node-1", "node-2"]


async def test_a_dead_node_loses_it_after_six_minutes(autojump_clock: Any) -> None:
    async with cluster_with_disk() as cluster:
        await use(cluster, "user", "node-1")
        await in_use(cluster, "node-1", NAME)
        await ready(cluster, "node-1", "Unknown")
        await leave(cluster, "user")
        await cluster.settle(340)
        assert nodes_of(cluster) == ["node-1"]
        await cluster.settle(30)
        assert nodes_of(cluster) == []


async def test_a_node_that_is_out_of_service_loses_it_at_once(autojump_clock: Any) -> None:
    async with cluster_with_disk() as cluster:
        await use(cluster, "user", "node-1")
        await in_use(cluster, "node-1", NAME)
        await ready(cluster, "node-1", "Unknown")
        await leave(cluster, "user")
        taints = [{"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}]
        await cluster.change(kinds.NODE, "node-1", {"spec": {"taints": taints}})
        await cluster.settle()
        assert nodes_of(cluster) == []


async def test_a_driver_that_needs_no_attaching_gets_none(autojump_clock: Any) -> None:
    async with cluster_with_disk(attach=False) as cluster:
        await use(cluster, "user", "node-1")
        assert attachments(cluster) == []


async def test_why_it_cannot_be_attached_is_told(autojump_clock: Any) -> None:
    async with cluster_with_disk() as cluster:
        await use(cluster, "user", "node-1")
        await fulfil(cluster, attached=False, attachError={"message": "rpc error: code = Internal desc = no"})
        said = ("FailedAttachVolume", 'AttachVolume.Attach failed for volume "disk" : rpc error: code = Internal desc = no')
        assert said in cluster.events()


async def test_attachments_of_others_are_left_alone(autojump_clock: Any) -> None:
    async with cluster_with_disk() as cluster:
        spec = {"attacher": "disks.example", "nodeName": "node-1", "source": {"persistentVolumeName": "disk"}}
        await cluster.create(kinds.VOLUME_ATTACHMENT, {"metadata": {"name": "by-hand"}, "spec": spec})
        await cluster.settle(3600)
        assert nodes_of(cluster) == ["node-1"]
