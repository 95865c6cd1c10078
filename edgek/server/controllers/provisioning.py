"""Volumes of edgek's own drivers: made for claims, kept by a node, and deleted when nobody wants them.

Here the PersistentVolume comes and goes; calling the driver is its keeper's, a node (``agent/local_storage.py``). README.md says who does what.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import trio

from edgek.client.reconcile import Cluster, Watch
from edgek.model import errors, kinds, objects
from edgek.model.local_storage import (
    FINALIZER,
    FORMER,
    FORMER_FINALIZER,
    GROW,
    HOSTPATH,
    MAKE,
    NODE_LABEL,
    OWN,
    PROVISIONED_BY,
    TROUBLE,
    driver_of,
    handle,
    is_being_made,
    size_bytes,
)
from edgek.model.objects import Object
from edgek.server.controllers import placement, views, volume_making, volume_match
from edgek.server.controllers.volume_making import CannotMake, Copied
from edgek.server.controllers.volumebinding import SELECTED_NODE
from edgek.server.controllers.volumeprotection import VOLUME_FINALIZER

CLAIM = "claim|"
VOLUME = "volume|"
GONE_S = 60.0  # so long a node that is not there may be one that lives, and registers again: its volumes are not given up
AGAIN_S = 600.0  # trouble that lasts is told again, for Events grow old
AWAY = frozenset({"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable", "node.kubernetes.io/out-of-service"})


class ProvisioningController:
    name: ClassVar[str] = "provisioning"
    account: ClassVar[str] = "persistent-volume-binder"
    workers: ClassVar[int] = 4

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._claims = cluster.informers.of(kinds.PERSISTENT_VOLUME_CLAIM, views.whole)
        self._volumes = cluster.informers.of(kinds.PERSISTENT_VOLUME, views.whole)
        self._classes = cluster.informers.of(kinds.STORAGE_CLASS, views.whole)
        self._nodes = cluster.informers.of(kinds.NODE, placement.place)
        self._gone: dict[str, float] = {}  # by volume: since when its node is not there
        self._begun: set[str] = set()  # names of volumes whose being made has been seen: their claims are told the end of it

    def watches(self) -> Sequence[Watch]:
        return [
            Watch(self._claims, self._keys_of_claim),
            Watch(self._volumes, self._keys_of_volume),
            Watch(self._classes, lambda key, old, new: self._unbound()),
            Watch(self._nodes, self._keys_of_node),
        ]

    async def reconcile(self, key: str) -> float | None:
        if key.startswith(VOLUME):
            volume = self._volumes.get(key.removeprefix(VOLUME))
            if volume is None or objects.annotations(volume).get(PROVISIONED_BY) not in (*OWN, FORMER):
                self._begun.discard(key.removeprefix(VOLUME))
                self._gone.pop(key.removeprefix(VOLUME), None)
                return None
            self._follow(volume)
            pauses = (await self._reclaim(volume), await self._see_to(volume))
            return min((each for each in pauses if each is not None), default=None)
        claim = self._claims.get(key.removeprefix(CLAIM))
        if claim is not None and not claim["spec"].get("volumeName") and not objects.is_deleting(claim):
            await self._provision(claim)
        return None

    # --- who is concerned ---------------------------------------------------------------------------------------------------------------

    def _keys_of_claim(self, key: str, old: Object | None, new: Object | None) -> Iterable[str]:
        yield CLAIM + key
        for each in filter(None, (old, new)):
            yield VOLUME + volume_making.name_for(each)
        if new is not None and new["spec"].get("volumeName"):
            yield from (CLAIM + other for other in self._copies_of(new))

    def _copies_of(self, source: Object) -> list[str]:
        """Claims that wait for this one, to begin as copies of it."""
        namespace, name = objects.namespace(source), objects.name(source)
        wait = [(key, claim) for key, claim in self._claims.items.items() if not claim["spec"].get("volumeName")]
        return [
            key for key, claim in wait if objects.namespace(claim) == namespace and (claim["spec"].get("dataSourceRef") or {}).get("name") == name
        ]

    def _keys_of_volume(self, name: str, old: Object | None, new: Object | None) -> Iterable[str]:
        yield VOLUME + name
        reference = (old["spec"].get("claimRef") or {}) if old is not None and new is None else {}
        if reference:
            yield f"{CLAIM}{reference.get('namespace')}/{reference.get('name')}"

    def _keys_of_node(self, name: str, old: Any, new: Any) -> Iterable[str]:
        """Work of a node that is gone, or away, may have to be somebody else's. One that comes may be waited for."""
        if old is None or new is None or _is_away(old) != _is_away(new):
            yield from (VOLUME + key for key, volume in self._volumes.items.items() if objects.is_deleting(volume) or is_being_made(volume))
        if new is not None and (old is None or _is_away(old)):
            yield from self._unbound()

    def _unbound(self) -> list[str]:
        return [CLAIM + key for key, claim in self._claims.items.items() if not claim["spec"].get("volumeName")]

    # --- making -------------------------------------------------------------------------------------------------------------------------

    async def _provision(self, claim: Object) -> None:
        storage_class = self._classes.get(volume_match.storage_class(claim))
        driver = driver_of(str((storage_class or {}).get("provisioner") or ""))
        if storage_class is None or not driver or self._volumes.get(volume_making.name_for(claim)) is not None:
            return
        if storage_class.get("volumeBindingMode") == "WaitForFirstConsumer" and not objects.annotations(claim).get(SELECTED_NODE):
            return
        try:
            volume_making.check(driver, claim)
            source = self._source(claim)
            if source is not None:
                volume_making.check_copy(driver, claim, source)
            keeper = self._keeper(driver, claim, storage_class, source)
            if keeper is None:
                return
            wanted = volume_making.volume(driver, claim, storage_class, keeper, source)
        except CannotMake as problem:
            self._say_failed(driver, claim, str(problem))
            return
        try:
            await self._cluster.create(self._volumes, wanted)
        except errors.AlreadyExists:
            return

    def _follow(self, volume: Object) -> None:
        """Say when it begins to be made, and when it is."""
        name, reference, said = objects.name(volume), volume["spec"].get("claimRef") or {}, self._named(volume)
        key = f"{reference.get('namespace')}/{reference.get('name')}"
        claim = self._claims.get(key)
        if is_being_made(volume):
            if name not in self._begun and claim is not None:
                said.normal(kinds.PERSISTENT_VOLUME_CLAIM, claim, "Provisioning", f'External provisioner is provisioning volume for claim "{key}"')
            self._begun.add(name)
        elif name in self._begun:
            self._begun.discard(name)
            if claim is not None:
                said.normal(kinds.PERSISTENT_VOLUME_CLAIM, claim, "ProvisioningSucceeded", f"Successfully provisioned volume {name}")

    def _keeper(self, driver: str, claim: Object, storage_class: Object, source: Copied | None) -> placement.Place | None:
        """For hostpath where the scheduler wants it, or where its source is; for a class that binds at once, the first node. Raises CannotMake."""
        chosen = objects.annotations(claim).get(SELECTED_NODE, "")
        if driver != HOSTPATH:
            return self._somebody(chosen)
        if source is not None and chosen not in ("", source.keeper):
            raise CannotMake(f"the source PVC is on node {source.keeper}, a copy cannot be on node {chosen}")
        if chosen or source is not None:
            return self._nodes.get(chosen or (source.keeper if source else ""))
        allowed = [place for place in self._nodes.items.values() if volume_match.allows(storage_class, place.labels)]
        if not allowed and storage_class.get("allowedTopologies"):
            raise CannotMake("error generating accessibility requirements: no available topology found")
        return min(allowed, key=lambda place: (bool(place.taints), place.name), default=None)

    def _somebody(self, first: str = "") -> placement.Place | None:
        """A node that is there: the first one if it can be."""
        present = [place for place in self._nodes.items.values() if not _is_away(place)]
        return min(present, key=lambda place: (place.name != first, bool(place.taints), place.name), default=None)

    def _source(self, claim: Object) -> Copied | None:
        """Raises CannotMake."""
        said = claim["spec"].get("dataSourceRef") or claim["spec"].get("dataSource")
        if not said:
            return None
        if said.get("kind") != "PersistentVolumeClaim" or said.get("apiGroup"):
            raise CannotMake(f"a volume cannot begin as a copy of a {said.get('kind')}, only of a PersistentVolumeClaim")
        if said.get("namespace") not in (None, "", objects.namespace(claim)):
            raise CannotMake("a source PVC must be in the claim's own namespace")
        prefix = f"error getting handle for DataSource Type PersistentVolumeClaim by Name {said['name']}:"
        source = self._claims.get(f"{objects.namespace(claim)}/{said['name']}")
        if source is None:
            raise CannotMake(f'{prefix} error getting PVC {said["name"]} from api server: persistentvolumeclaims "{said["name"]}" not found')
        if objects.is_deleting(source):
            raise CannotMake(f"{prefix} the PVC {said['name']} is being deleted")
        volume = self._volumes.get(source["spec"].get("volumeName") or "")
        if volume is None or (source.get("status") or {}).get("phase") != "Bound":
            phase = (source.get("status") or {}).get("phase")
            raise CannotMake(f"{prefix} the PVC {said['name']} must be bound to a PV for cloning: it is in state {phase}")
        csi = volume["spec"].get("csi") or {}
        capacity = size_bytes(volume["spec"]["capacity"]["storage"])
        return Copied(csi.get("driver", ""), handle(volume), capacity, objects.labels(volume).get(NODE_LABEL, ""))

    def _say_failed(self, driver: str, claim: Object, problem: str) -> None:
        message = f'failed to provision volume with StorageClass "{volume_match.storage_class(claim)}": {problem}'
        self._cluster.recorder.named(driver).warning(kinds.PERSISTENT_VOLUME_CLAIM, claim, "ProvisioningFailed", message)

    # --- deleting -----------------------------------------------------------------------------------------------------------------------

    async def _reclaim(self, volume: Object) -> float | None:
        """Seconds after which to look again."""
        phase, wait_s = (volume.get("status") or {}).get("phase"), self._wait_s(volume)
        if objects.is_deleting(volume):
            held = {FINALIZER, FORMER_FINALIZER}.intersection(objects.finalizers(volume))
            if held and wait_s == 0 and VOLUME_FINALIZER not in objects.finalizers(volume):
                await self._let_go(volume)
            return wait_s or None
        if is_being_made(volume):
            if wait_s == 0 or not await self._is_wanted(volume):
                await self._cluster.delete(self._volumes, objects.name(volume), objects.uid(volume))
                return None
            return wait_s
        if phase == "Released" and volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete":
            await self._cluster.delete(self._volumes, objects.name(volume), objects.uid(volume))
        return None

    def _wait_s(self, volume: Object) -> float | None:
        """None while there is a node for it. Else seconds until it is given up; 0: it is."""
        if self._can_be_kept(volume):
            self._gone.pop(objects.name(volume), None)
            return None
        since = self._gone.setdefault(objects.name(volume), trio.current_time())
        return max(0.0, since + GONE_S - trio.current_time())

    def _can_be_kept(self, volume: Object) -> bool:
        """Whether there is a node, here or away, that can do what is to be done for it."""
        if not volume["spec"].get("nodeAffinity") or objects.labels(volume).get(NODE_LABEL, "") in self._nodes.items:
            return True
        return any(volume_match.reaches(volume, node) for node in self._nodes.items.values())

    async def _is_wanted(self, volume: Object) -> bool:
        """Its claim is there. What the cache does not show is asked for: it may be older than the volume."""
        reference = volume["spec"].get("claimRef") or {}
        claim = self._claims.get(f"{reference.get('namespace')}/{reference.get('name')}")
        if claim is None or objects.uid(claim) != reference.get("uid"):
            claim = await self._cluster.client.find(kinds.PERSISTENT_VOLUME_CLAIM, reference.get("name", ""), reference.get("namespace", ""))
        if claim is None or objects.uid(claim) != reference.get("uid") or objects.is_deleting(claim):
            return False
        return claim["spec"].get("volumeName") in (None, "", objects.name(volume))  # it may have found another meanwhile

    async def _let_go(self, volume: Object) -> None:
        kept = [each for each in objects.finalizers(volume) if each not in (FINALIZER, FORMER_FINALIZER)]
        try:
            await self._cluster.update(self._volumes, {**volume, "metadata": {**volume["metadata"], "finalizers": kept}})
        except errors.NotFound:
            return
        self._named(volume).warning(kinds.PERSISTENT_VOLUME, volume, "VolumeAbandoned", "The node is gone, and the directory with it")

    # --- work that waits ----------------------------------------------------------------------------------------------------------------

    async def _see_to(self, volume: Object) -> float | None:
        """A keeper that is there, for a volume that any node can work on; and what troubles it, told to the user."""
        volume = self._volumes.get(objects.name(volume)) or {}
        marks = objects.annotations(volume)
        if not (objects.is_deleting(volume) or MAKE in marks or GROW in marks):
            return None
        keeper = self._nodes.get(objects.labels(volume).get(NODE_LABEL, ""))
        if not volume["spec"].get("nodeAffinity") and (keeper is None or _is_away(keeper)):
            other = self._somebody()
            if other is not None:
                labels = {**objects.labels(volume), NODE_LABEL: other.name}
                await self._cluster.update(self._volumes, {**volume, "metadata": {**volume["metadata"], "labels": labels}})
        if not marks.get(TROUBLE):
            return None
        self._tell(volume, marks[TROUBLE])
        return AGAIN_S

    def _tell(self, volume: Object, trouble: str) -> None:
        if objects.is_deleting(volume):
            self._named(volume).warning(kinds.PERSISTENT_VOLUME, volume, "VolumeFailedDelete", trouble)
            return
        reference = volume["spec"].get("claimRef") or {}
        claim = self._claims.get(f"{reference.get('namespace')}/{reference.get('name')}")
        if claim is None:
            return
        if is_being_made(volume):
            self._say_failed(objects.annotations(volume)[PROVISIONED_BY], claim, trouble)
        else:
            message = f'resize volume "{objects.name(volume)}" by resizer "{objects.annotations(volume)[PROVISIONED_BY]}" failed: {trouble}'
            self._named(volume).warning(kinds.PERSISTENT_VOLUME_CLAIM, claim, "VolumeResizeFailed", message)

    def _named(self, volume: Object) -> Any:
        return self._cluster.recorder.named(objects.annotations(volume)[PROVISIONED_BY])


def _is_away(node: placement.Place) -> bool:
    return any(taint.key in AWAY for taint in node.taints)
