"""From a claim to a directory on a node, and back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from edgek.csi.nfs import Nfs
from edgek.host.rpc import RpcError
from edgek.model import kinds, objects
from edgek.model.local_storage import FINALIZER, FORMER, FORMER_FINALIZER, IN_USE_FINALIZER, MAKE, NFS, NODE_LABEL, TROUBLE
from edgek.model.objects import Object
from edgek.server.controllers.expansion import ExpansionController
from edgek.server.controllers.provisioning import ProvisioningController
from edgek.server.controllers.volumebinding import VolumeBindingController
from edgek.server.controllers.volumeprotection import ClaimProtectionController, VolumeProtectionController
from tests.fakes.keeper import KeeperNode
from tests.fakes.reach import Folder
from tests.fakes.scene import Scene, pod_template, scene
from tests.server.controllers.test_volumebinding import claim, phase, volume_of

ALL = (ProvisioningController, VolumeBindingController, ClaimProtectionController, VolumeProtectionController)
NFS_PLACE = {"server": "files.example", "share": "/exports/"}


@attrs.define
class Storage:
    """A cluster whose nodes keep volumes. A node's agent runs until it is stopped; its disk stays."""

    cluster: Scene
    nursery: trio.Nursery
    folder: Path
    nodes: dict[str, KeeperNode] = attrs.field(factory=dict)
    lives: dict[str, trio.CancelScope] = attrs.field(factory=dict)

    async def add_node(self, name: str, *, runs: bool = True) -> KeeperNode:
        await self.cluster.create(kinds.NODE, {"metadata": {"name": name, "labels": {"kubernetes.io/hostname": f"host-of-{name}"}}, "spec": {}})
        await self.cluster.change(kinds.NODE, name, {"spec": {"taints": None}})  # it is ready
        node = self.nodes[name] = KeeperNode(self.cluster.client, name, self.folder)
        if runs:
            await self.start(name)
        return node

    async def start(self, name: str) -> None:
        scope = self.lives[name] = trio.CancelScope()

        async def live(*, task_status: trio.TaskStatus[None]) -> None:
            with scope:
                await self.nodes[name].run(task_status=task_status)

        await self.nursery.start(live)

    def stop(self, name: str) -> None:
        self.lives.pop(name).cancel()

    async def ask(self, name: str = "data", node: str = "node-1", **spec: Any) -> str:
        """A claim for that node; the name that its volume must have."""
        wanted = claim(name, **{"storageClassName": "local-path", **spec})
        if node:
            wanted["metadata"]["annotations"] = {"volume.kubernetes.io/selected-node": node}
        made = await self.cluster.create(kinds.PERSISTENT_VOLUME_CLAIM, wanted)
        await self.cluster.settle()
        return f"pvc-{objects.uid(made)}"

    async def drop(self, name: str = "data") -> None:
        await self.cluster.client.delete(kinds.PERSISTENT_VOLUME_CLAIM, name, "default")
        await self.cluster.settle()

    def volume(self, name: str) -> Object:
        return self.cluster.get(kinds.PERSISTENT_VOLUME, name)

    def has(self, name: str) -> bool:
        return self.cluster.exists(kinds.PERSISTENT_VOLUME, name)

    def said(self, reason: str) -> list[str]:
        return [message for found, message in self.cluster.events() if found == reason]


@asynccontextmanager
async def storage(folder: Path, *nodes: str, controllers: Sequence[Any] = ALL, **members: Any) -> AsyncIterator[Storage]:
    """``members`` of the class."""
    async with scene(*controllers, nodes=["node-1"]) as cluster, trio.open_nursery() as nursery:
        made = Storage(cluster, nursery, folder)
        wanted = {"provisioner": "hostpath.edgek.io", "volumeBindingMode": "WaitForFirstConsumer", "reclaimPolicy": "Delete", **members}
        await cluster.create(kinds.STORAGE_CLASS, {"metadata": {"name": "local-path"}, **wanted})
        for name in nodes or ("node-1",):
            await made.add_node(name)
        yield made
        nursery.cancel_scope.cancel()


# Made


async def test_a_volume_is_made_where_the_scheduler_wants_it_and_then_bound(tmp_path: Path, autojump_clock: Any) -> None:
    async with storage(tmp_path, "node-1", "node-2") as found:
        name = await found.ask(node="")
        assert not found.has(name)
        assert found.said("WaitForFirstConsumer") == ["waiting for first consumer to be created before binding"]
        await found.cluster.change(
            kinds.PERSISTENT_VOLUME_CLAIM, "data", {"metadata": {"annotations": {"volume.kubernetes.io/selected-node": "node-2"}}}
        )
        await found.cluster.settle()
        made = found.volume(name)
        assert made["spec"]["csi"] == {"driver": "hostpath.edgek.io", "volumeHandle": name}
        (term,) = made["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
        assert term["matchExpressions"] == [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["host-of-node-2"]}]
        assert objects.finalizers(made) == [IN_USE_FINALIZER, FINALIZER]
        assert objects.annotations(made) == {"pv.kubernetes.io/provisioned-by": "hostpath.edgek.io"}
        assert found.nodes["node-2"].volumes == [name]
        assert found.nodes["node-1"].volumes == []
        assert (volume_of(found.cluster), phase(found.cluster, name)) == (name, "Bound")
        assert found.said("ProvisioningSucceeded") == [f"Successfully provisioned volume {name}"]
        assert await found.cluster.writes_in(2000) == []


async def test_nobody_is_given_a_volume_that_is_not_there_yet(tmp_path: Path, autojump_clock: Any) -> None:
    async with storage(tmp_path) as found:
        found.stop("node-1")
        name = await found.ask()
        assert MAKE in objects.annotations(found.volume(name))
        assert phase(found.cluster, name) == "Pending"
        assert volume_of(found.cluster) == "Pending"
        await found.start("node-1")
        await found.cluster.settle()
        assert volume_of(found.cluster) == name


async def test_a_class_from_before_there_were_drivers_makes_volumes_of_the_driver(tmp_path: Path, autojump_clock: Any) -> None:
    async with storage(tmp_path, provisioner=FORMER) as found:
        name = await found.ask()
        assert volume_of(found.cluster) == name
        assert found.volume(name)["spec"]["csi"]["driver"] == "hostpath.edgek.io"


async def test_a_class_that_binds_at_once_takes_a_node_that_its_topologies_allow(tmp_path: Path, autojump_clock: Any) -> None:
    allowed = [{"matchLabelExpressions": [{"key": "kubernetes.io/hostname", "values": ["host-of-node-2"]}]}]
    async with storage(tmp_path, "node-1", "node-2", volumeBindingMode="Immediate", allowedTopologies=allowed, mountOptions=["noatime"]) as found:
        name = await found.ask(node="")
        assert volume_of(found.cluster) == name
        assert found.nodes["node-2"].volumes == [name]
        assert found.volume(name)["spec"]["mountOptions"] == ["noatime"]


async def test_a_class_whose_topologies_no_node_has_says_so(tmp_path: Path, autojump_clock: Any) -> None:
    nowhere = [{"matchLabelExpressions": [{"key": "kubernetes.io/hostname", "values": ["nobody"]}]}]
    async with storage(tmp_path, "node-1", volumeBindingMode="Immediate", allowedTopologies=nowhere) as found:
        name = await found.ask(node="")
        assert not found.has(name)
        assert found.said("ProvisioningFailed")[0].endswith("error generating accessibility requirements: no available topology found")


async def test_a_hundred_claims_are_served(tmp_path: Path, autojump_clock: Any) -> None:
    async with storage(tmp_path) as found:
        for number in range(100):
            wanted = claim(f"data-{number}", storageClassName="local-path")
            wanted["metadata"]["annotations"] = {"volume.kubernetes.io/selected-node": "node-1"}
            await found.cluster.create(kinds.PERSISTENT_VOLUME_CLAIM, wanted)
        await found.cluster.settle()
        assert all(volume_of(found.cluster, f"data-{number}").startswith("pvc-") for number in range(100))
        assert len(found.nodes["node-1"].volumes) == 100


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_keeper_that_is_killed_around_any_call_goes_on_where_it_was(tmp_path: Path, autojump_clock: Any, when: str) -> None:
    controllers = (*ALL, ExpansionController)
    async with storage(tmp_path, controllers=controllers, allowVolumeExpansion=True) as found:
        node = found.nodes["node-1"]

        def die(call: str) -> None:
            deaths.append(call)
            if deaths.count(call) == 1:
                found.stop("node-1")

        deaths: list[str] = []
        setattr(node.hostpath, when, die)
        name = await found.ask()
        assert volume_of(found.cluster) == "Pending"
        await found.start("node-1")
        await found.cluster.settle()
        assert volume_of(found.cluster) == name
        (node.root / name / "page").write_text("one")
        await found.cluster.change(kinds.PERSISTENT_VOLUME_CLAIM, "data", {"spec": {"resources": {"requests": {"storage": "2Gi"}}}})
        await found.cluster.settle()
        await found.start("node-1")
        await found.cluster.settle()
        assert found.cluster.get(kinds.PERSISTENT_VOLUME_CLAIM, "data")["status"]["capacity"] == {"storage": "2Gi"}
        assert (node.root / name / "page").read_text() == "one"
        await found.drop()
        assert found.has(name)
        await found.start("node-1")
        await found.cluster.settle()
        assert not found.has(name)
        assert node.volumes == []
        assert {call: deaths.count(call) for call in deaths} == {"CreateVolume": 2, "ControllerExpandVolume": 2, "DeleteVolume": 2}


# Refused


async def test_a_full_disk_is_told_and_waited_for(tmp_path: Path, autojump_clock: Any) -> None:
    async with storage(tmp_path) as found:
        name = await found.ask(size="4Ei")
        (message,) = found.said("ProvisioningFailed")
        assert message.startswith('failed to provision volume with StorageClass "local-path": rpc error: code = ResourceExhausted desc = ')
        assert volume_of(found.cluster) == "Pending"
        assert objects.annotations(found.volume(name))[TROUBLE] in message
        await found.drop()
        assert not found.has(name)
        assert found.nodes["node-1"].volumes == []


async def test_a_driver_that_fails_for_a_while_is_asked_again_and_the_trouble_is_forgotten(tmp_path: Path, autojump_clock: Any) -> None:
    async with storage(tmp_path) as found:
        trouble = ["UNAVAILABLE", "UNAVAILABLE", "INTERNAL"]

        def fail(call: str) -> None:
            if trouble:
                raise RpcError(trouble.pop(), "the disk sulks")

        found.nodes["node-1"].hostpath.before = fail
        name = await found.ask()
        await found.cluster.settle(60)
        assert volume_of(found.cluster) == name
        assert TROUBLE not in objects.annotations(found.volume(name))
        assert found.said("ProvisioningFailed")[0].endswith("rpc error: code = Internal desc = the disk sulks")


async def test_a_defect_at_one_volume_ends_neither_its_node_nor_the_work_on_it(tmp_path: Path, autojump_clock: Any) -> None:
    async with storage(tmp_path) as found:
        trouble = [RecursionError("maximum recursion depth exceeded")]

        def fail(call: str) -> None:
            if trouble:
                raise trouble.pop()

        found.nodes["node-1"].hostpath.before = fail
        name = await found.ask()
        await found.cluster.settle(60)
        assert volume_of(found.cluster) == name


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"accessModes": ["ReadWriteMany"]}, "hostpath.edgek.io has not the access mode ReadWriteMany, it has ReadWriteOnce, ReadWriteOncePod"),
        ({"volumeMode": "Block"}, "hostpath.edgek.io has no block volumes: volumeMode must be Filesystem"),
        ({"selector": {"matchLabels": {"a": "b"}}}, "claim Selector is not supported"),
        (
            {"dataSource": {"kind": "PersistentVolumeClaim", "name": "nobody"}},
            "error getting handle for DataSource Type PersistentVolumeClaim by Name nobody: "
            'error getting PVC nobody from api server: persistentvolumeclaims "nobody" not found',
        ),
        (
            {"dataSource": {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "monday"}},
            "a volume cannot begin as a copy of a VolumeSnapshot, only of a PersistentVolumeClaim",
        ),
    ],
    ids=["an access mode that it has not", "a block volume", "a selector", "a source that is not there", "a snapshot"],
)
async def test_what_cannot_be_is_refused_with_the_reason(tmp_path: Path, autojump_clock: Any, spec: dict[str, Any], why: str) -> None:
    async with storage(tmp_path) as found:
        name = await found.ask(**spec)
        assert not found.has(name)
        assert found.said("ProvisioningFailed") == [f'failed to provision volume with StorageClass "local-path": {why}']
        assert volume_of(found.cluster) == "Pending"


async def test_a_claim_whose_class_is_missing_is_served_once_it_is_there(tmp_path: Path, autojump_clock: Any) -> None:
    async with storage(tmp_path) as found:
        name = await found.ask(storageClassName="later")
        assert found.said("ProvisioningFailed") == ['storageclass.storage.k8s.io "later" not found']
        await found.cluster.create(kinds.STORAGE_CLASS, {"metadata": {"name": "later"}, "provisioner": "hostpath.edgek.io"})
        await found.cluster.settle()
        assert volume_of(found.cluster) == name


# Copied


async def test_a_claim_may_begin_as_a_copy_of_another(tmp_path: Path, autojump_clock: Any) -> None:
    async with storage(tmp_path) as found:
        source = await found.ask()
        (tmp_path / "node-1" / source / "page").write_text("one")
        name = await found.ask("copy", size="2Gi", dataSource={"kind": "PersistentVolumeClaim", "name": "data"})
        assert volume_of(found.cluster, "copy") == name
        assert (tmp_path / "node-1" / name / "page").read_text() == "one"


async def test_a_copy_waits_until_its_source_is_bound(tmp_path: Path, autojump_clock: Any) -> None:
    async with storage(tmp_path) as found:
        name = await found.ask("copy", dataSource={"kind": "PersistentVolumeClaim", "name": "data"})
        assert not found.has(name)
        await found.ask()
        assert volume_of(found.cluster, "copy") == name


async def test_a_copy_cannot_be_smaller_than_its_source(tmp_path: Path, autojump_clock: Any) -> None:
    async with storage(tmp_path) as found:
        await found.ask(size="2Gi")
        name = await found.ask("copy", size="1Gi", dataSource={"kind": "PersistentVolumeClaim", "name": "data"})
        assert not found.has(name)
        assert "must be greater than or equal in size to the specified PVC data source" in found.said("ProvisioningFailed")[0]


# Deleted


async def test_a_deleted_claim_lets_its_pod_finish_and_then_takes_its_volume_along(tmp_path: Path, autojump_clock: Any) -> None:
    async with storage(tmp_path) as found:
        name = await found.ask()
        volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]
        await found.cluster.create(kinds.POD, {**pod_template(volumes=volumes), "metadata": {"name": "user"}})
        await found.cluster.settle()
        await found.drop()
        assert objects.is_deleting(found.cluster.get(kinds.PERSISTENT_VOLUME_CLAIM, "data"))
        assert found.nodes["node-1"].volumes == [name]
        await found.cluster.client.delete(kinds.POD, "user", "default")
        await found.cluster.settle()
        assert not found.cluster.exists(kinds.PERSISTENT_VOLUME_CLAIM, "data")
        assert not found.has(name)
        assert found.nodes["node-1"].volumes == []


async def test_what_is_to_be_retained_outlives_its_claim_and_even_its_object(tmp_path: Path, autojump_clock: Any) -> None:
    async with storage(tmp_path, reclaimPolicy="Retain") as found:
        name = await found.ask()
        await found.drop()
        assert phase(found.cluster, name) == "Released"
        await found.cluster.client.delete(kinds.PERSISTENT_VOLUME, name)
        await found.cluster.settle()
        assert not found.has(name)
        assert found.nodes["node-1"].volumes == [name]


async def test_a_volume_whose_object_is_deleted_while_a_claim_has_it_stays(tmp_path: Path, autojump_clock: Any) -> None:
    async with storage(tmp_path) as found:
        name = await found.ask()
        await found.cluster.client.delete(kinds.PERSISTENT_VOLUME, name)
        await found.cluster.settle(600)
        assert objects.is_deleting(found.volume(name))
        assert found.nodes["node-1"].volumes == [name]
        await found.drop()
        assert not found.has(name)
        assert found.nodes["node-1"].volumes == []


async def test_a_volume_that_is_still_mounted_stays_and_says_so(tmp_path: Path, autojump_clock: Any) -> None:
    async with storage(tmp_path) as found:
        name = await found.ask()
        node = found.nodes["node-1"]
        node.book.bind(node.root / name, tmp_path / "somewhere", read_only=False, flags=0)
        await found.drop()
        assert node.volumes == [name]
        (message,) = found.said("VolumeFailedDelete")
        assert message == f"rpc error: code = FailedPrecondition desc = volume '{name}' is in use: mounted at {tmp_path / 'somewhere'}"
        node.book.unmount(tmp_path / "somewhere")
        await found.cluster.settle(120)
        assert not found.has(name)
        assert node.volumes == []


async def test_a_claim_that_goes_while_its_volume_is_made_leaves_nothing_behind(tmp_path: Path, autojump_clock: Any) -> None:
    async with storage(tmp_path, reclaimPolicy="Retain") as found:
        found.stop("node-1")
        name = await found.ask()
        await found.drop()
        assert objects.is_deleting(found.volume(name))
        await found.start("node-1")
        await found.cluster.settle()
        assert not found.has(name)
        assert found.nodes["node-1"].volumes == []


async def test_a_node_that_is_away_deletes_when_it_is_back(tmp_path: Path, autojump_clock: Any) -> None:
    async with storage(tmp_path) as found:
        name = await found.ask()
        found.stop("node-1")
        await found.drop()
        await found.cluster.settle(3600)
        assert found.has(name)
        await found.start("node-1")
        await found.cluster.settle()
        assert not found.has(name)
        assert found.nodes["node-1"].volumes == []


async def test_a_volume_of_a_node_that_is_gone_is_let_go(tmp_path: Path, autojump_clock: Any) -> None:
    async with storage(tmp_path) as found:
        name = await found.ask()
        found.stop("node-1")
        await found.drop()
        await found.cluster.client.delete(kinds.NODE, "node-1")
        await found.cluster.settle(50)
        assert found.has(name)  # it may be about to register again
        await found.cluster.settle(20)
        assert not found.has(name)
        assert found.said("VolumeAbandoned") == ["The node is gone, and the directory with it"]


async def test_what_a_node_that_is_gone_did_not_make_is_made_where_the_scheduler_wants_it_then(tmp_path: Path, autojump_clock: Any) -> None:
    async with storage(tmp_path, "node-1", "node-2") as found:
        found.stop("node-1")
        name = await found.ask()
        await found.cluster.client.delete(kinds.NODE, "node-1")
        elsewhere = {"metadata": {"annotations": {"volume.kubernetes.io/selected-node": "node-2"}}}
        await found.cluster.change(kinds.PERSISTENT_VOLUME_CLAIM, "data", elsewhere)
        await found.cluster.settle(30)
        assert volume_of(found.cluster) == "Pending"  # the node may be about to register again
        await found.cluster.settle(60)
        assert volume_of(found.cluster) == name
        assert found.nodes["node-2"].volumes == [name]


async def test_a_volume_from_before_there_were_drivers_is_deleted_with_its_directory(tmp_path: Path, autojump_clock: Any) -> None:
    async with storage(tmp_path) as found:
        folder = tmp_path / "node-1" / "pvc-1_default_data"
        folder.mkdir(parents=True)
        bound = await found.cluster.create(kinds.PERSISTENT_VOLUME_CLAIM, claim(storageClassName="local-path", volumeName="pvc-1"))
        old = {
            "metadata": {
                "name": "pvc-1",
                "labels": {NODE_LABEL: "node-1"},
                "annotations": {"pv.kubernetes.io/provisioned-by": FORMER},
                "finalizers": [FORMER_FINALIZER],
            },
            "spec": {
                "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Delete",
                "storageClassName": "local-path",
                "claimRef": {"kind": "PersistentVolumeClaim", "namespace": "default", "name": "data", "uid": objects.uid(bound)},
                "hostPath": {"path": str(folder), "type": "DirectoryOrCreate"},
            },
        }
        await found.cluster.create(kinds.PERSISTENT_VOLUME, old)
        await found.cluster.settle()
        assert volume_of(found.cluster) == "pvc-1"
        assert folder.exists()
        await found.drop()
        assert not found.has("pvc-1")
        assert not folder.exists()


# Kept by any node


async def test_a_class_of_an_export_tells_the_node_where_the_volume_is(tmp_path: Path, autojump_clock: Any) -> None:
    place = {**NFS_PLACE, "subDir": "${pvc.metadata.namespace}/${pvc.metadata.name}"}
    async with storage(tmp_path, provisioner="nfs.edgek.io", volumeBindingMode="Immediate", parameters=place) as found:
        found.stop("node-1")
        name = await found.ask(node="", accessModes=["ReadWriteMany"])
        csi = found.volume(name)["spec"]["csi"]
        assert csi["volumeHandle"] == f"files.example#/exports##{name}"
        assert csi["volumeAttributes"] == {"server": "files.example", "share": "/exports", "subDir": "default/data"}
        assert "nodeAffinity" not in found.volume(name)["spec"]


async def test_an_export_keeps_volumes_for_any_node_and_a_dead_server_is_told_and_waited_for(tmp_path: Path, autojump_clock: Any) -> None:
    immediate = {"provisioner": NFS, "volumeBindingMode": "Immediate", "parameters": NFS_PLACE, "mountOptions": ["vers=4.2", "noatime"]}
    async with storage(tmp_path, controllers=(*ALL, ExpansionController), allowVolumeExpansion=True, **immediate) as found:
        export = Folder(tmp_path / "export")
        calls = found.nodes["node-1"].put(NFS, lambda: Nfs(reach=export))
        export.down = True
        name = await found.ask(node="", accessModes=["ReadWriteMany"])
        why = 'failed to provision volume with StorageClass "local-path": rpc error: code = DeadlineExceeded desc = files.example does not answer'
        assert found.said("ProvisioningFailed") == [why]
        assert volume_of(found.cluster) == "Pending"
        export.down = False
        await found.cluster.settle(120)
        assert volume_of(found.cluster) == name
        made = found.volume(name)["spec"]
        assert made["csi"]["volumeHandle"] == f"files.example#/exports#vers=4.2#{name}"
        assert made["csi"]["volumeAttributes"] == {"server": "files.example", "share": "/exports", "subDir": name}
        (export.path / name / "page").write_text("one")
        copy = await found.ask("copy", node="", size="2Gi", dataSource={"kind": "PersistentVolumeClaim", "name": "data"})
        assert (export.path / copy / "page").read_text() == "one"
        await found.cluster.change(kinds.PERSISTENT_VOLUME_CLAIM, "data", {"spec": {"resources": {"requests": {"storage": "2Gi"}}}})
        await found.cluster.settle()
        assert found.cluster.get(kinds.PERSISTENT_VOLUME_CLAIM, "data")["status"]["capacity"] == {"storage": "2Gi"}
        for each in ("data", "copy"):
            await found.drop(each)
        assert not found.has(name)
        assert [each.name for each in export.path.iterdir() if each.name != ".edgek"] == []
        assert calls.calls[-1] == "DeleteVolume"


async def test_work_on_an_export_passes_to_another_node_when_its_keeper_is_away(tmp_path: Path, autojump_clock: Any) -> None:
    async with storage(tmp_path, "node-1", "node-2", provisioner="nfs.edgek.io", volumeBindingMode="Immediate", parameters=NFS_PLACE) as found:
        for name in ("node-1", "node-2"):
            found.stop(name)
        name = await found.ask(node="")
        assert objects.labels(found.volume(name))[NODE_LABEL] == "node-1"
        taints = [{"key": "node.kubernetes.io/unreachable", "effect": "NoSchedule"}]
        await found.cluster.change(kinds.NODE, "node-1", {"spec": {"taints": taints}})
        await found.cluster.settle()
        assert objects.labels(found.volume(name))[NODE_LABEL] == "node-2"


@pytest.mark.parametrize(
    ("provisioner", "parameters", "why"),
    [
        (NFS, {"server": "files.example"}, "share is a required parameter"),
        (NFS, {**NFS_PLACE, "subDir": "../../etc"}, "subDir '../../etc' does not lie below the share, or is ours"),
        (NFS, {**NFS_PLACE, "subDir": "${pvc.metadata.nonsense}"}, "subDir '${pvc.metadata.nonsense}' has a pattern that is none of"),
        (NFS, {**NFS_PLACE, "onDelete": "burn"}, "invalid value burn for OnDelete, supported values are delete, retain, archive"),
        ("hostpath.edgek.io", {"path": "/etc"}, "rpc error: code = InvalidArgument desc = hostpath.edgek.io knows no parameter 'path'"),
    ],
    ids=["no share", "a path outside the share", "an unknown pattern", "an unknown policy", "a parameter that it has not"],
)
async def test_a_class_that_says_nonsense_is_told_so(
    tmp_path: Path, autojump_clock: Any, provisioner: str, parameters: dict[str, str], why: str
) -> None:
    async with storage(tmp_path, provisioner=provisioner, volumeBindingMode="Immediate", parameters=parameters) as found:
        await found.ask(node="")
        (said,) = found.said("ProvisioningFailed")
        assert said.startswith(f'failed to provision volume with StorageClass "local-path": {why}')
        assert volume_of(found.cluster) == "Pending"
        await found.drop()
        assert found.cluster.api.all(kinds.PERSISTENT_VOLUME) == []
        assert found.nodes["node-1"].volumes == []
