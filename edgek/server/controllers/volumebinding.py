"""PersistentVolumes and the claims that are bound to them.

A volume says whose it is (``claimRef``), then the claim says which volume it has (``volumeName``): a claim is bound when both agree, and either
half can be done again. Making volumes is for provisioners: here a claim is only marked for one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from edgek.client.reconcile import Cluster, Watch
from edgek.host import wallclock
from edgek.model import default_class, kinds, objects
from edgek.model.local_storage import PROVISIONED_BY, is_being_made
from edgek.model.objects import Object
from edgek.server.controllers import placement, views, volume_match

COMPLETED = "pv.kubernetes.io/bind-completed"
BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
PROVISIONER = "volume.kubernetes.io/storage-provisioner"
PROVISIONER_BETA = "volume.beta.kubernetes.io/storage-provisioner"
NO_PROVISIONER = "kubernetes.io/no-provisioner"

VOLUME = "volume|"  # begins the keys of volumes; those of claims have a namespace


class VolumeBindingController:
    """One worker: two claims must not choose the same volume."""

    name: ClassVar[str] = "volumebinding"
    account: ClassVar[str] = "persistent-volume-binder"
    workers: ClassVar[int] = 1

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._events = cluster.recorder.named("persistentvolume-controller")
        self._claims = cluster.informers.of(kinds.PERSISTENT_VOLUME_CLAIM, views.whole)
        self._volumes = cluster.informers.of(kinds.PERSISTENT_VOLUME, views.whole)
        self._classes = cluster.informers.of(kinds.STORAGE_CLASS, views.whole)
        self._nodes = cluster.informers.of(kinds.NODE, placement.place)

    def watches(self) -> Sequence[Watch]:
        return [
            Watch(self._claims, self._keys_of_claim),
            Watch(self._volumes, self._keys_of_volume),
            Watch(self._classes, lambda key, old, new: self._unbound()),
        ]

    async def reconcile(self, key: str) -> float | None:
        if key.startswith(VOLUME):
            volume = self._volumes.get(key.removeprefix(VOLUME))
            if volume is not None:
                await self._sync_volume(volume)
            return None
        claim = self._claims.get(key)
        if claim is None:
            return None
        if claim["spec"].get("volumeName"):
            await self._sync_bound(claim)
        elif not objects.is_deleting(claim):
            await self._sync_unbound(claim)
        return None

    # --- who is concerned ---------------------------------------------------------------------------------------------------------------

    def _keys_of_claim(self, key: str, old: Object | None, new: Object | None) -> Iterable[str]:
        yield key
        for claim in filter(None, (old, new)):
            if claim["spec"].get("volumeName"):
                yield VOLUME + claim["spec"]["volumeName"]
        if new is None:
            yield from (VOLUME + name for name, volume in self._volumes.items.items() if _claim_key(volume) == key)

    def _keys_of_volume(self, name: str, old: Object | None, new: Object | None) -> Iterable[str]:
        yield VOLUME + name
        for volume in filter(None, (old, new)):
            if _claim_key(volume):
                yield _claim_key(volume)
        for key, claim in self._claims.items.items():
            if claim["spec"].get("volumeName") == name:
                yield key
        if new is not None and not new["spec"].get("claimRef"):
            yield from self._unbound()

    def _unbound(self) -> list[str]:
        return [key for key, claim in self._claims.items.items() if not claim["spec"].get("volumeName")]

    # --- claims -------------------------------------------------------------------------------------------------------------------------

    async def _sync_unbound(self, claim: Object) -> None:
        class_name = volume_match.storage_class(claim)
        found_class = self._classes.get(class_name) if class_name else None
        node_name = objects.annotations(claim).get(SELECTED_NODE, "")
        waits = bool(found_class) and (found_class or {}).get("volumeBindingMode") == "WaitForFirstConsumer" and not node_name
        node = self._nodes.get(node_name) if node_name else None
        volume = volume_match.best(claim, self._volumes.items.values(), node, only_held=waits)
        if volume is not None:
            await self._bind(claim, volume)
        elif waits:
            self._tell(claim, "WaitForFirstConsumer", "waiting for first consumer to be created before binding")
        elif not class_name:
            await self._classify(claim)
        elif found_class is None:
            self._events.warning(kinds.PERSISTENT_VOLUME_CLAIM, claim, "ProvisioningFailed", f'storageclass.storage.k8s.io "{class_name}" not found')
        elif found_class["provisioner"] == NO_PROVISIONER:
            why = f"no volume plugin matched name: {NO_PROVISIONER}"
            self._events.warning(kinds.PERSISTENT_VOLUME_CLAIM, claim, "ProvisioningFailed", why)
        else:
            await self._ask(claim, found_class["provisioner"])

    async def _classify(self, claim: Object) -> None:
        """One that names no class gets the default class, once there is one; an empty name is a wish, too: none."""
        named = claim["spec"].get("storageClassName") is not None or volume_match.BETA_CLASS in objects.annotations(claim)
        default = "" if named else default_class.newest_default(self._classes.items.values(), default_class.STORAGE)
        if default:
            await self._cluster.update(self._claims, {**claim, "spec": {**claim["spec"], "storageClassName": default}})
        else:
            self._tell(claim, "FailedBinding", "no persistent volumes available for this claim and no storage class is set")

    async def _ask(self, claim: Object, provisioner: str) -> None:
        marks = {PROVISIONER: provisioner, PROVISIONER_BETA: provisioner}
        if not marks.items() <= objects.annotations(claim).items():
            claim = await self._annotate(claim, marks)
        message = f"Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the system administrator."
        hint = " If volume creation is delayed, please verify that the provisioner is running and correctly registered."
        self._tell(claim, "ExternalProvisioning", message + hint)

    async def _sync_bound(self, claim: Object) -> None:
        name = claim["spec"]["volumeName"]
        volume = self._volumes.get(name)
        was_bound = COMPLETED in objects.annotations(claim)
        if volume is None:
            if was_bound:
                await self._lose(claim, "ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!")
            return
        if not volume["spec"].get("claimRef"):
            if was_bound:
                await self._lose(claim, "ClaimLost", "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!")
            elif why := volume_match.misfit(claim, volume):
                self._events.warning(kinds.PERSISTENT_VOLUME_CLAIM, claim, "VolumeMismatch", f'Cannot bind to requested volume "{name}": {why}')
            else:
                await self._bind(claim, volume)
        elif volume_match.is_held_for(volume, claim):
            await self._bind(claim, volume)
        elif was_bound:
            await self._lose(claim, "ClaimMisbound", "Two claims are bound to the same volume, this one is bound incorrectly")
        else:
            self._events.warning(kinds.PERSISTENT_VOLUME_CLAIM, claim, "FailedBinding", f'volume "{name}" already bound to a different claim.')

    async def _bind(self, claim: Object, volume: Object) -> None:
        """All steps, each only where it is missing."""
        if objects.is_deleting(claim) and not claim["spec"].get("volumeName"):
            return
        reference = volume["spec"].get("claimRef") or {}
        if reference.get("uid") != objects.uid(claim):
            volume = await self._hold(volume, claim, by_us=not reference)
        await self._set_phase(volume, "Bound")
        marks = {COMPLETED: "yes"} if claim["spec"].get("volumeName") else {COMPLETED: "yes", BY_CONTROLLER: "yes"}
        annotations = {**objects.annotations(claim), **marks}
        if annotations != objects.annotations(claim) or claim["spec"].get("volumeName") != objects.name(volume):
            spec = {**claim["spec"], "volumeName": objects.name(volume)}
            claim = await self._cluster.update(self._claims, {**claim, "metadata": {**claim["metadata"], "annotations": annotations}, "spec": spec})
        status = {
            **(claim.get("status") or {}),
            "phase": "Bound",
            "accessModes": volume["spec"].get("accessModes") or [],
            "capacity": (claim.get("status") or {}).get("capacity") or volume["spec"].get("capacity") or {},
        }
        if status != claim.get("status"):
            await self._cluster.update(self._claims, {**claim, "status": status}, "status")

    async def _lose(self, claim: Object, reason: str, message: str) -> None:
        status = {key: value for key, value in (claim.get("status") or {}).items() if key not in ("accessModes", "capacity")}
        if status.get("phase") != "Lost":
            await self._cluster.update(self._claims, {**claim, "status": {**status, "phase": "Lost"}}, "status")
            self._events.warning(kinds.PERSISTENT_VOLUME_CLAIM, claim, reason, message)

    async def _annotate(self, claim: Object, marks: dict[str, str]) -> Object:
        annotations = {**objects.annotations(claim), **marks}
        return await self._cluster.update(self._claims, {**claim, "metadata": {**claim["metadata"], "annotations": annotations}})

    def _tell(self, claim: Object, reason: str, message: str) -> None:
        self._events.normal(kinds.PERSISTENT_VOLUME_CLAIM, claim, reason, message)

    # --- volumes ------------------------------------------------------------------------------------------------------------------------

    async def _sync_volume(self, volume: Object) -> None:
        reference = volume["spec"].get("claimRef")
        if is_being_made(volume):
            return
        if not reference or not reference.get("uid"):
            await self._set_phase(volume, "Available")
            return
        claim = self._claims.get(_claim_key(volume))
        if claim is None or objects.uid(claim) != reference["uid"]:
            await self._release(volume)
        elif claim["spec"].get("volumeName") == objects.name(volume):
            await self._set_phase(volume, "Bound")
        elif claim["spec"].get("volumeName"):
            await self._give_up(volume)

    async def _release(self, volume: Object) -> None:
        """Its claim is gone, and by the policy Delete what it holds will be, too: so a cache that may be older than the volume is not believed."""
        phase, reference = (volume.get("status") or {}).get("phase"), volume["spec"]["claimRef"]
        if phase not in ("Released", "Failed"):
            claim = await self._cluster.client.find(kinds.PERSISTENT_VOLUME_CLAIM, reference.get("name", ""), reference.get("namespace", ""))
            if claim is not None and objects.uid(claim) == reference["uid"]:
                return  # the cache is about to show it
            volume = await self._set_phase(volume, "Released")
        marks, policy = objects.annotations(volume), volume["spec"].get("persistentVolumeReclaimPolicy")
        if policy == "Delete" and phase != "Failed" and PROVISIONED_BY not in marks and not objects.is_deleting(volume):
            message = f'error getting deleter volume plugin for volume "{objects.name(volume)}": no deletable volume plugin matched'
            await self._set_phase(volume, "Failed", message)  # nobody made it, so nobody can delete it
            self._events.warning(kinds.PERSISTENT_VOLUME, volume, "VolumeFailedDelete", message)

    async def _give_up(self, volume: Object) -> None:
        """Its claim took another volume. What we bound we unbind; what an operator or a provisioner bound stays for them to see."""
        if BY_CONTROLLER not in objects.annotations(volume):
            await self._set_phase(volume, "Released")
            return
        annotations = {key: value for key, value in objects.annotations(volume).items() if key != BY_CONTROLLER}
        spec = {key: value for key, value in volume["spec"].items() if key != "claimRef"}
        volume = await self._cluster.update(self._volumes, {**volume, "metadata": {**volume["metadata"], "annotations": annotations}, "spec": spec})
        await self._set_phase(volume, "Available")

    async def _hold(self, volume: Object, claim: Object, *, by_us: bool) -> Object:
        reference = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "namespace": objects.namespace(claim),
            "name": objects.name(claim),
            "uid": objects.uid(claim),
            "resourceVersion": objects.revision(claim),
        }
        meta = volume["metadata"]
        if by_us:
            meta = {**meta, "annotations": {**objects.annotations(volume), BY_CONTROLLER: "yes"}}
        return await self._cluster.update(self._volumes, {**volume, "metadata": meta, "spec": {**volume["spec"], "claimRef": reference}})

    async def _set_phase(self, volume: Object, phase: str, message: str = "") -> Object:
        status: dict[str, Any] = volume.get("status") or {}
        if status.get("phase") == phase:
            return volume
        kept = {key: value for key, value in status.items() if key != "message"}
        told = {"message": message} if message else {}
        made = {**kept, **told, "phase": phase, "lastPhaseTransitionTime": wallclock.now_rfc3339()}
        return await self._cluster.update(self._volumes, {**volume, "status": made}, "status")


def _claim_key(volume: Object) -> str:
    reference = volume["spec"].get("claimRef") or {}
    return f"{reference.get('namespace')}/{reference.get('name')}" if reference else ""
