"""From a claim to a directory on a node, and back."""

from __future__ import annotations

from typing import Any

from edgek.client.reconcile import Settings
from edgek.model import kinds, objects
from edgek.server.controllers.localpath import LocalPathController
from edgek.server.controllers.volumebinding import VolumeBindingController
from edgek.server.controllers.volumeprotection import ClaimProtectionController, VolumeProtectionController
from tests.fakes.scene import Scene, pod_template, scene
from tests.server.controllers.test_volumebinding import claim, phase, volume_of

ALL = (LocalPathController, VolumeBindingController, ClaimProtectionController, VolumeProtectionController)


async def furnish(cluster: Scene, **spec: Any) -> str:
    """A node, the class, and a claim for that node; the name that its volume must have."""
    await cluster.create(kinds.NODE, {"metadata": {"name": "node-1", "labels": {"kubernetes.io/hostname": "host-1"}}, "spec": {}})
    storage_class = {"metadata": {"name": "local-path"}, "provisioner": "edgek.io/local-path", "volumeBindingMode": "WaitForFirstConsumer"}
    await cluster.create(kinds.STORAGE_CLASS, {**storage_class, "reclaimPolicy": "Delete"})
    made = await cluster.create(kinds.PERSISTENT_VOLUME_CLAIM, claim(storageClassName="local-path", **spec))
    await cluster.settle()
    return f"pvc-{objects.uid(made)}"


async def choose_node(cluster: Scene) -> None:
    chosen = {"metadata": {"annotations": {"volume.kubernetes.io/selected-node": "node-1"}}}
    await cluster.change(kinds.PERSISTENT_VOLUME_CLAIM, "data", chosen)
    await cluster.settle()


async def test_a_directory_is_promised_once_the_scheduler_chose_a_node(autojump_clock: Any) -> None:
    async with scene(*ALL, settings=Settings(local_path="/data/storage")) as cluster:
        name = await furnish(cluster)
        assert volume_of(cluster) == "Pending"
        assert ("WaitForFirstConsumer", "waiting for first consumer to be created before binding") in cluster.events()
        await choose_node(cluster)
        assert volume_of(cluster) == name
        made = cluster.get(kinds.PERSISTENT_VOLUME, name)
        assert made["spec"]["hostPath"] == {"path": f"/data/storage/{name}_default_data", "type": "DirectoryOrCreate"}
        (term,) = made["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
        assert term["matchExpressions"] == [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["host-1"]}]
        assert "edgek.io/local-path" in objects.finalizers(made)
        assert phase(cluster, name) == "Bound"
        assert await cluster.writes_in(600) == []


async def test_a_deleted_claim_lets_its_pod_finish_and_then_the_node_delete_the_directory(autojump_clock: Any) -> None:
    async with scene(*ALL) as cluster:
        name = await furnish(cluster)
        await choose_node(cluster)
        volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]
        await cluster.create(kinds.POD, {**pod_template(volumes=volumes), "metadata": {"name": "user"}})
        await cluster.settle()
        await cluster.client.delete(kinds.PERSISTENT_VOLUME_CLAIM, "data", "default")
        await cluster.settle()
        assert objects.is_deleting(cluster.get(kinds.PERSISTENT_VOLUME_CLAIM, "data"))
        await cluster.client.delete(kinds.POD, "user", "default")
        await cluster.settle()
        assert not cluster.exists(kinds.PERSISTENT_VOLUME_CLAIM, "data")
        waiting = cluster.get(kinds.PERSISTENT_VOLUME, name)
        assert objects.is_deleting(waiting)
        assert objects.finalizers(waiting) == ["edgek.io/local-path"]
        await cluster.change(kinds.PERSISTENT_VOLUME, name, {"metadata": {"finalizers": None}})
        assert not cluster.exists(kinds.PERSISTENT_VOLUME, name)


async def test_a_volume_of_a_node_that_is_gone_is_let_go(autojump_clock: Any) -> None:
    async with scene(*ALL) as cluster:
        name = await furnish(cluster)
        await choose_node(cluster)
        await cluster.client.delete(kinds.PERSISTENT_VOLUME_CLAIM, "data", "default")
        await cluster.settle()
        assert cluster.exists(kinds.PERSISTENT_VOLUME, name)
        await cluster.client.delete(kinds.NODE, "node-1")
        await cluster.settle()
        assert not cluster.exists(kinds.PERSISTENT_VOLUME, name)


async def test_what_one_directory_cannot_be_is_refused_with_the_reason(autojump_clock: Any) -> None:
    async with scene(*ALL) as cluster:
        await furnish(cluster, accessModes=["ReadWriteMany"])
        await choose_node(cluster)
        assert volume_of(cluster) == "Pending"
        (message,) = [message for reason, message in cluster.events() if reason == "ProvisioningFailed"]
        assert message == (
            'failed to provision volume with StorageClass "local-path": a directory of one node cannot be ReadWriteMany; use ReadWriteOnce'
        )
