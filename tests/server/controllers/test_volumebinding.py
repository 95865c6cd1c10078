"""Claims find their volumes, keep them, and lose them."""

from __future__ import annotations

from typing import Any

import pytest

from edgek.client.events import Recorder
from edgek.client.informer import Informers
from edgek.client.reconcile import Cluster
from edgek.model import kinds, objects
from edgek.model.objects import Object
from edgek.server.controllers import views
from edgek.server.controllers.volumebinding import VolumeBindingController
from tests.fakes.scene import Scene, scene


def volume(name: str, size: str = "1Gi", **spec: Any) -> Object:
    return {
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": size},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "",
            "hostPath": {"path": f"/srv/{name}"},
            **spec,
        },
    }


def claim(name: str = "data", size: str = "1Gi", **spec: Any) -> Object:
    wanted = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, "storageClassName": "", **spec}
    return {"metadata": {"name": name}, "spec": wanted}


def volume_of(cluster: Scene, name: str = "data") -> str:
    found = cluster.get(kinds.PERSISTENT_VOLUME_CLAIM, name)
    return str(found["spec"].get("volumeName", "")) if found["status"]["phase"] == "Bound" else found["status"]["phase"]


def phase(cluster: Scene, name: str) -> str:
    return str(cluster.get(kinds.PERSISTENT_VOLUME, name)["status"]["phase"])


async def test_the_smallest_volume_that_is_large_enough_is_bound(autojump_clock: Any) -> None:
    async with scene(VolumeBindingController) as cluster:
        for name, size in (("small", "500Mi"), ("large", "10Gi"), ("right", "2Gi")):
            await cluster.create(kinds.PERSISTENT_VOLUME, volume(name, size))
        await cluster.settle()
        assert phase(cluster, "right") == "Available"
        made = await cluster.create(kinds.PERSISTENT_VOLUME_CLAIM, claim(size="1Gi"))
        await cluster.settle()
        assert volume_of(cluster) == "right"
        bound = cluster.get(kinds.PERSISTENT_VOLUME_CLAIM, "data")
        assert bound["status"]["capacity"] == {"storage": "2Gi"}
        assert objects.annotations(bound)["pv.kubernetes.io/bind-completed"] == "yes"
        assert phase(cluster, "right") == "Bound"
        assert cluster.get(kinds.PERSISTENT_VOLUME, "right")["spec"]["claimRef"]["uid"] == objects.uid(made)
        assert await cluster.writes_in(600) == []


async def test_two_claims_never_get_the_same_volume(autojump_clock: Any) -> None:
    async with scene(VolumeBindingController) as cluster:
        await cluster.create(kinds.PERSISTENT_VOLUME, volume("only"))
        await cluster.create(kinds.PERSISTENT_VOLUME_CLAIM, claim("one"))
        await cluster.create(kinds.PERSISTENT_VOLUME_CLAIM, claim("two"))
        await cluster.settle()
        assert sorted([volume_of(cluster, "one"), volume_of(cluster, "two")]) == ["Pending", "only"]
        await cluster.create(kinds.PERSISTENT_VOLUME, volume("another"))
        await cluster.settle()
        assert sorted([volume_of(cluster, "one"), volume_of(cluster, "two")]) == ["another", "only"]


async def test_class_mode_and_selector_must_fit(autojump_clock: Any) -> None:
    async with scene(VolumeBindingController) as cluster:
        await cluster.create(kinds.PERSISTENT_VOLUME, volume("other-class", storageClassName="fast"))
        await cluster.create(kinds.PERSISTENT_VOLUME, volume("other-mode", accessModes=["ReadOnlyMany"]))
        await cluster.create(kinds.PERSISTENT_VOLUME, volume("block", volumeMode="Block"))
        await cluster.create(kinds.PERSISTENT_VOLUME, volume("unlabelled"))
        await cluster.create(kinds.PERSISTENT_VOLUME_CLAIM, claim(selector={"matchLabels": {"disk": "a"}}))
        await cluster.settle()
        assert volume_of(cluster) == "Pending"
        assert ("FailedBinding", "no persistent volumes available for this claim and no storage class is set") in cluster.events()


async def test_a_volume_held_for_a_claim_waits_for_it(autojump_clock: Any) -> None:
    async with scene(VolumeBindingController) as cluster:
        await cluster.create(kinds.PERSISTENT_VOLUME, volume("held", "5Gi", claimRef={"namespace": "default", "name": "data"}))
        await cluster.create(kinds.PERSISTENT_VOLUME, volume("free", "1Gi"))
        await cluster.create(kinds.PERSISTENT_VOLUME_CLAIM, claim("stranger"))
        await cluster.create(kinds.PERSISTENT_VOLUME_CLAIM, claim("data"))
        await cluster.settle()
        assert volume_of(cluster, "stranger") == "free"
        assert volume_of(cluster, "data") == "held"


async def test_a_volume_held_for_a_claim_is_not_bound_where_it_is_too_small(autojump_clock: Any) -> None:
    async with scene(VolumeBindingController) as cluster:
        await cluster.create(kinds.PERSISTENT_VOLUME, volume("held", "1Gi", claimRef={"namespace": "default", "name": "data"}))
        await cluster.create(kinds.PERSISTENT_VOLUME, volume("free", "2Gi"))
        await cluster.create(kinds.PERSISTENT_VOLUME_CLAIM, claim("data", "2Gi"))
        await cluster.settle()
        assert volume_of(cluster, "data") == "free"
        assert phase(cluster, "held") == "Available"


MISFITS: list[tuple[dict[str, Any], str]] = [
    ({"size": "1Mi"}, "requested PV is too small"),
    ({"storageClassName": "fast"}, "storageClassName does not match"),
    ({"volumeMode": "Block"}, "incompatible volumeMode"),
    ({"accessModes": ["ReadOnlyMany"]}, "incompatible accessMode"),
]


@pytest.mark.parametrize(("offered", "why"), MISFITS, ids=[why for _, why in MISFITS])
async def test_a_claim_that_names_a_volume_which_does_not_fit_says_why(offered: dict[str, Any], why: str, autojump_clock: Any) -> None:
    async with scene(VolumeBindingController) as cluster:
        await cluster.create(kinds.PERSISTENT_VOLUME, volume("chosen", **offered))
        await cluster.create(kinds.PERSISTENT_VOLUME_CLAIM, claim(volumeName="chosen"))
        await cluster.settle()
        assert volume_of(cluster) == "Pending"
        assert ("VolumeMismatch", f'Cannot bind to requested volume "chosen": {why}') in cluster.events()


async def test_a_claim_of_a_class_that_makes_no_volumes_waits_for_one_and_says_so(autojump_clock: Any) -> None:
    async with scene(VolumeBindingController) as cluster:
        await cluster.create(kinds.STORAGE_CLASS, {"metadata": {"name": "disks"}, "provisioner": "kubernetes.io/no-provisioner"})
        await cluster.create(kinds.PERSISTENT_VOLUME_CLAIM, claim(storageClassName="disks"))
        await cluster.settle()
        assert set(cluster.events()) == {("ProvisioningFailed", "no volume plugin matched name: kubernetes.io/no-provisioner")}
        await cluster.create(kinds.PERSISTENT_VOLUME, volume("disk", storageClassName="disks"))
        await cluster.settle()
        assert volume_of(cluster) == "disk"


async def test_a_claim_without_a_class_gets_the_default_class_when_there_is_one(autojump_clock: Any) -> None:
    async with scene(VolumeBindingController) as cluster:
        for name, named in (("later", None), ("never", "")):
            await cluster.create(kinds.PERSISTENT_VOLUME_CLAIM, claim(name, storageClassName=named))
        await cluster.settle()
        assert [reason for reason, _ in cluster.events()] == ["FailedBinding", "FailedBinding"]
        marked = {"name": "fast", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}
        await cluster.create(kinds.STORAGE_CLASS, {"metadata": marked, "provisioner": "disks.example"})
        await cluster.settle()
        assert cluster.get(kinds.PERSISTENT_VOLUME_CLAIM, "later")["spec"]["storageClassName"] == "fast"
        assert cluster.get(kinds.PERSISTENT_VOLUME_CLAIM, "never")["spec"]["storageClassName"] == ""
        assert await cluster.writes_in(600) == []


async def test_a_claim_may_name_its_volume(autojump_clock: Any) -> None:
    async with scene(VolumeBindingController) as cluster:
        await cluster.create(kinds.PERSISTENT_VOLUME_CLAIM, claim(volumeName="chosen"))
        await cluster.settle()
        assert cluster.get(kinds.PERSISTENT_VOLUME_CLAIM, "data")["status"]["phase"] == "Pending"
        await cluster.create(kinds.PERSISTENT_VOLUME, volume("chosen"))
        await cluster.settle()
        assert volume_of(cluster) == "chosen"


async def test_a_volume_whose_claim_is_gone_is_released_and_not_given_to_a_namesake(autojump_clock: Any) -> None:
    async with scene(VolumeBindingController) as cluster:
        await cluster.create(kinds.PERSISTENT_VOLUME, volume("only"))
        await cluster.create(kinds.PERSISTENT_VOLUME_CLAIM, claim())
        await cluster.settle()
        await cluster.change(kinds.PERSISTENT_VOLUME_CLAIM, "data", {"metadata": {"finalizers": None}})
        await cluster.client.delete(kinds.PERSISTENT_VOLUME_CLAIM, "data", "default")
        await cluster.settle()
        assert phase(cluster, "only") == "Released"
        await cluster.create(kinds.PERSISTENT_VOLUME_CLAIM, claim())
        await cluster.settle()
        assert volume_of(cluster) == "Pending"
        assert phase(cluster, "only") == "Released"


async def test_a_claim_whose_volume_is_gone_is_lost(autojump_clock: Any) -> None:
    async with scene(VolumeBindingController) as cluster:
        await cluster.create(kinds.PERSISTENT_VOLUME, volume("only"))
        await cluster.create(kinds.PERSISTENT_VOLUME_CLAIM, claim())
        await cluster.settle()
        await cluster.change(kinds.PERSISTENT_VOLUME, "only", {"metadata": {"finalizers": None}})
        await cluster.client.delete(kinds.PERSISTENT_VOLUME, "only")
        await cluster.settle()
        assert cluster.get(kinds.PERSISTENT_VOLUME_CLAIM, "data")["status"]["phase"] == "Lost"
        assert any(reason == "ClaimLost" for reason, _ in cluster.events())


async def test_a_claim_of_a_class_is_marked_for_its_provisioner(autojump_clock: Any) -> None:
    async with scene(VolumeBindingController) as cluster:
        await cluster.create(kinds.STORAGE_CLASS, {"metadata": {"name": "cloud"}, "provisioner": "example.com/disk"})
        await cluster.create(kinds.PERSISTENT_VOLUME_CLAIM, claim(storageClassName="cloud"))
        await cluster.settle()
        marks = objects.annotations(cluster.get(kinds.PERSISTENT_VOLUME_CLAIM, "data"))
        assert marks["volume.kubernetes.io/storage-provisioner"] == "example.com/disk"
        assert any(reason == "ExternalProvisioning" for reason, _ in cluster.events())


async def test_a_volume_that_nobody_made_cannot_be_deleted_and_says_so(autojump_clock: Any) -> None:
    async with scene(VolumeBindingController) as cluster:
        await cluster.create(kinds.PERSISTENT_VOLUME, volume("only", persistentVolumeReclaimPolicy="Delete"))
        await cluster.create(kinds.PERSISTENT_VOLUME_CLAIM, claim())
        await cluster.settle()
        await cluster.change(kinds.PERSISTENT_VOLUME_CLAIM, "data", {"metadata": {"finalizers": None}})
        await cluster.client.delete(kinds.PERSISTENT_VOLUME_CLAIM, "data", "default")
        await cluster.settle()
        assert phase(cluster, "only") == "Failed"
        why = 'error getting deleter volume plugin for volume "only": no deletable volume plugin matched'
        assert ("VolumeFailedDelete", why) in cluster.events()
        assert cluster.get(kinds.PERSISTENT_VOLUME, "only")["status"]["message"] == why
        assert await cluster.writes_in(600) == []


async def test_a_claim_that_only_an_old_cache_misses_keeps_its_volume(autojump_clock: Any) -> None:
    """A server that has just started may know a volume before it knows the claim: what it then released would be deleted."""
    async with scene() as cluster:
        made = await cluster.create(kinds.PERSISTENT_VOLUME_CLAIM, claim())
        reference = {"kind": "PersistentVolumeClaim", "namespace": "default", "name": "data", "uid": objects.uid(made)}
        bound = volume("provisioned", claimRef=reference, persistentVolumeReclaimPolicy="Delete")
        await cluster.create(kinds.PERSISTENT_VOLUME, bound)
        behind = Cluster(cluster.client, Informers(cluster.client), Recorder(cluster.client, "test"))
        controller = VolumeBindingController(behind)
        behind.informers.of(kinds.PERSISTENT_VOLUME, views.whole)._set("provisioned", cluster.get(kinds.PERSISTENT_VOLUME, "provisioned"))
        before = len(cluster.api.writes)
        await controller.reconcile("volume|provisioned")
        assert len(cluster.api.writes) == before


async def test_what_an_external_provisioner_made_is_bound_and_left_to_it_in_the_end(autojump_clock: Any) -> None:
    async with scene(VolumeBindingController) as cluster:
        await cluster.create(kinds.STORAGE_CLASS, {"metadata": {"name": "cloud"}, "provisioner": "example.com/disk"})
        made = await cluster.create(kinds.PERSISTENT_VOLUME_CLAIM, claim(storageClassName="cloud"))
        reference = {"kind": "PersistentVolumeClaim", "namespace": "default", "name": "data", "uid": objects.uid(made)}
        theirs = volume("pvc-1", storageClassName="cloud", claimRef=reference, persistentVolumeReclaimPolicy="Delete")
        theirs["metadata"]["annotations"] = {"pv.kubernetes.io/provisioned-by": "example.com/disk"}
        await cluster.create(kinds.PERSISTENT_VOLUME, theirs)
        await cluster.settle()
        assert (volume_of(cluster), phase(cluster, "pvc-1")) == ("pvc-1", "Bound")
        await cluster.change(kinds.PERSISTENT_VOLUME_CLAIM, "data", {"metadata": {"finalizers": None}})
        await cluster.client.delete(kinds.PERSISTENT_VOLUME_CLAIM, "data", "default")
        await cluster.settle()
        assert phase(cluster, "pvc-1") == "Released"
        assert not objects.is_deleting(cluster.get(kinds.PERSISTENT_VOLUME, "pvc-1"))
