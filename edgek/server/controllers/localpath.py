"""Volumes of the provisioner ``edgek.io/local-path``: a directory on the node where their first pod runs.

Here the PersistentVolume is made and deleted; the directory is the node's. See README.md for who does what.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from edgek.client.reconcile import Cluster, Watch
from edgek.model import errors, kinds, objects
from edgek.model.local_storage import FINALIZER, NODE_LABEL, PROVISIONER
from edgek.model.objects import Object
from edgek.server.controllers import placement, views, volume_match
from edgek.server.controllers.volumebinding import SELECTED_NODE
from edgek.server.controllers.volumeprotection import VOLUME_FINALIZER

PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
HOSTNAME = "kubernetes.io/hostname"
ACCESS_MODES = frozenset({"ReadWriteOnce", "ReadWriteOncePod"})

CLAIM = "claim|"
VOLUME = "volume|"


class LocalPathController:
    name: ClassVar[str] = "localpath"
    workers: ClassVar[int] = 2

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._events = cluster.recorder.named(PROVISIONER)
        self._claims = cluster.informers.of(kinds.PERSISTENT_VOLUME_CLAIM, views.whole)
        self._volumes = cluster.informers.of(kinds.PERSISTENT_VOLUME, views.whole)
        self._classes = cluster.informers.of(kinds.STORAGE_CLASS, views.whole)
        self._nodes = cluster.informers.of(kinds.NODE, placement.place)

    def watches(self) -> Sequence[Watch]:
        return [
            Watch(self._claims, lambda key, old, new: (CLAIM + key,)),
            Watch(self._volumes, lambda key, old, new: (VOLUME + key,)),
            Watch(self._nodes, self._keys_of_node),
        ]

    async def reconcile(self, key: str) -> float | None:
        if key.startswith(VOLUME):
            volume = self._volumes.get(key.removeprefix(VOLUME))
            if volume is not None and objects.annotations(volume).get(PROVISIONED_BY) == PROVISIONER:
                await self._reclaim(volume)
            return None
        claim = self._claims.get(key.removeprefix(CLAIM))
        if claim is not None and not claim["spec"].get("volumeName") and not objects.is_deleting(claim):
            await self._provision(claim)
        return None

    def _keys_of_node(self, name: str, old: Any, new: Any) -> Iterable[str]:
        """A node that is gone can delete no directory: its volumes are let go. One that comes may be waited for."""
        if new is None:
            return [VOLUME + key for key, volume in self._volumes.items.items() if objects.is_deleting(volume)]
        return [CLAIM + key for key, claim in self._claims.items.items() if not claim["spec"].get("volumeName")] if old is None else ()

    async def _provision(self, claim: Object) -> None:
        storage_class = self._classes.get(volume_match.storage_class(claim))
        if storage_class is None or storage_class.get("provisioner") != PROVISIONER:
            return
        node = self._node(claim, storage_class)
        name = f"pvc-{objects.uid(claim)}"
        if node is None or self._volumes.get(name) is not None:
            return
        problem = _problem(claim)
        if problem:
            message = f'failed to provision volume with StorageClass "{objects.name(storage_class)}": {problem}'
            self._events.warning(kinds.PERSISTENT_VOLUME_CLAIM, claim, "ProvisioningFailed", message)
            return
        try:
            await self._cluster.create(self._volumes, _volume(name, claim, storage_class, node, self._cluster.settings.local_path))
        except errors.AlreadyExists:
            return
        self._events.normal(kinds.PERSISTENT_VOLUME_CLAIM, claim, "ProvisioningSucceeded", f"Successfully provisioned volume {name}")

    def _node(self, claim: Object, storage_class: Object) -> placement.Place | None:
        """Where the scheduler wants it; for a class that binds at once, the first node."""
        chosen = objects.annotations(claim).get(SELECTED_NODE, "")
        if chosen or storage_class.get("volumeBindingMode") == "WaitForFirstConsumer":
            return self._nodes.get(chosen)
        return min(self._nodes.items.values(), key=lambda place: (bool(place.taints), place.name), default=None)

    async def _reclaim(self, volume: Object) -> None:
        phase = (volume.get("status") or {}).get("phase")
        if objects.is_deleting(volume):
            if FINALIZER in objects.finalizers(volume) and not self._has_node(volume) and VOLUME_FINALIZER not in objects.finalizers(volume):
                await self._let_go(volume)
        elif phase == "Released" and volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete":
            await self._cluster.delete(self._volumes, objects.name(volume), objects.uid(volume))

    def _has_node(self, volume: Object) -> bool:
        return any(volume_match.reaches(volume, node) for node in self._nodes.items.values())

    async def _let_go(self, volume: Object) -> None:
        kept = [each for each in objects.finalizers(volume) if each != FINALIZER]
        try:
            await self._cluster.update(self._volumes, {**volume, "metadata": {**volume["metadata"], "finalizers": kept}})
        except errors.NotFound:
            return
        self._events.warning(kinds.PERSISTENT_VOLUME, volume, "VolumeAbandoned", "The node is gone, and the directory with it")


def _problem(claim: Object) -> str:
    modes = set(claim["spec"].get("accessModes") or ())
    if not modes <= ACCESS_MODES:
        return f"a directory of one node cannot be {', '.join(sorted(modes - ACCESS_MODES))}; use ReadWriteOnce"
    if claim["spec"].get("volumeMode") == "Block":
        return "a directory is no block device; use volumeMode Filesystem"
    return "claim.spec.selector is not supported" if claim["spec"].get("selector") else ""


def _volume(name: str, claim: Object, storage_class: Object, node: placement.Place, base: str) -> Object:
    namespace = objects.namespace(claim)
    here = {"key": HOSTNAME, "operator": "In", "values": [node.labels.get(HOSTNAME, node.name)]}
    reference = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": namespace,
        "name": objects.name(claim),
        "uid": objects.uid(claim),
        "resourceVersion": objects.revision(claim),
    }
    spec: dict[str, Any] = {
        "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
        "accessModes": claim["spec"].get("accessModes") or ["ReadWriteOnce"],
        "persistentVolumeReclaimPolicy": storage_class.get("reclaimPolicy") or "Delete",
        "storageClassName": objects.name(storage_class),
        "volumeMode": "Filesystem",
        "claimRef": reference,
        "hostPath": {"path": f"{base}/{name}_{namespace}_{objects.name(claim)}", "type": "DirectoryOrCreate"},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
    }
    labels = {NODE_LABEL: node.name}
    meta = {"name": name, "labels": labels, "annotations": {PROVISIONED_BY: PROVISIONER}, "finalizers": [VOLUME_FINALIZER, FINALIZER]}
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": meta, "spec": spec}
