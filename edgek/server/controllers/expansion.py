"""Claims that want more than they have: upstream's expand controller, and for edgek's own drivers the resizer, too.

For drivers of others the work is that of their external-resizer, which writes the same states. Ours grow by their keeper
(``agent/local_storage.py``): here it is asked to, and its answer becomes the claim's status.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from edgek.client.reconcile import Cluster, Watch
from edgek.host import wallclock
from edgek.model import errors, kinds, objects, quantity
from edgek.model.local_storage import FORMER, GROW, OWN, PROVISIONED_BY, TROUBLE
from edgek.model.objects import Object
from edgek.server.controllers import views

STORAGE = "storage"
RUNNING, INFEASIBLE = "ControllerResizeInProgress", "ControllerResizeInfeasible"
OURS = ("Resizing", "FileSystemResizePending", "ControllerResizeError", "NodeResizeError")
# A smaller wish may help here; the same one never will.
HOPELESS = tuple(f"rpc error: code = {code} " for code in ("InvalidArgument", "OutOfRange", "NotFound"))


class ExpansionController:
    name: ClassVar[str] = "expansion"
    account: ClassVar[str] = "expand-controller"
    workers: ClassVar[int] = 2

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._events = cluster.recorder.named("volume_expand")
        self._claims = cluster.informers.of(kinds.PERSISTENT_VOLUME_CLAIM, views.whole)
        self._volumes = cluster.informers.of(kinds.PERSISTENT_VOLUME, views.whole)

    def watches(self) -> Sequence[Watch]:
        return [Watch(self._claims, lambda key, old, new: (key,)), Watch(self._volumes, _claim_of)]

    async def reconcile(self, key: str) -> float | None:
        claim = self._claims.get(key)
        if claim is None or objects.is_deleting(claim) or (claim.get("status") or {}).get("phase") != "Bound":
            return None
        volume = self._volumes.get(claim["spec"].get("volumeName") or "")
        if volume is None or (volume["spec"].get("claimRef") or {}).get("uid") != objects.uid(claim):
            return None
        provisioner = objects.annotations(volume).get(PROVISIONED_BY)
        if provisioner in OWN:
            await self._grow(claim, volume)
        elif provisioner == FORMER:
            await self._promise(claim, volume)
        elif wants_more(claim):
            why = "didn't find a plugin capable of expanding the volume; waiting for an external controller to process this PVC"
            self._events.normal(kinds.PERSISTENT_VOLUME_CLAIM, claim, "ExternalExpanding", f"Ignoring the PVC: {why}.")
        return None

    async def _grow(self, claim: Object, volume: Object) -> None:
        """Each step where it is missing: say so, ask the keeper, show what came of it."""
        wanted, asked = requested(claim), objects.annotations(volume).get(GROW)
        if is_more(wanted, capacity(volume)):
            if asked is None:
                message = f"External resizer is resizing volume {objects.name(volume)}"
                self._named(volume).normal(kinds.PERSISTENT_VOLUME_CLAIM, claim, "Resizing", message)
            await self._write_status(claim, under_way(claim, objects.annotations(volume).get(TROUBLE, "") if asked == wanted else ""))
            if asked != wanted:
                await self._mark(volume, {GROW: wanted, TROUBLE: None})
            return
        if asked is not None:
            await self._mark(volume, {GROW: None, TROUBLE: None})  # the wish was taken back
        if await self._write_status(claim, grown(claim, capacity(volume))):
            self._named(volume).normal(kinds.PERSISTENT_VOLUME_CLAIM, claim, "VolumeResizeSuccessful", "Resize volume succeeded")

    async def _promise(self, claim: Object, volume: Object) -> None:
        """A directory from before there were drivers: its size is a number, and no more."""
        if is_more(requested(claim), capacity(volume)):
            spec = {**volume["spec"], "capacity": {STORAGE: requested(claim)}}
            volume = await self._cluster.update(self._volumes, {**volume, "spec": spec})
        await self._write_status(claim, grown(claim, capacity(volume)))

    async def _mark(self, volume: Object, marks: dict[str, str | None]) -> None:
        annotations = {key: value for key, value in {**objects.annotations(volume), **marks}.items() if value is not None}
        await self._cluster.update(self._volumes, {**volume, "metadata": {**volume["metadata"], "annotations": annotations}})

    async def _write_status(self, claim: Object, status: Object) -> bool:
        """Whether it now has what it wants, and had not before."""
        before = claim.get("status") or {}
        if _bare(status) == _bare(before):
            return False
        patch = {**status, **{key: None for key in before if key not in status}}
        try:
            await self._cluster.patch(
                self._claims,
                objects.key(claim),
                {"metadata": {"resourceVersion": objects.revision(claim)}, "status": patch},
                subresource="status",
            )
        except errors.NotFound:
            return False
        return is_more(status["capacity"][STORAGE], (before.get("capacity") or {}).get(STORAGE))

    def _named(self, volume: Object) -> Any:
        return self._cluster.recorder.named(f"external-resizer {objects.annotations(volume)[PROVISIONED_BY]}")


def wants_more(claim: Object) -> bool:
    return is_more(requested(claim), ((claim.get("status") or {}).get("capacity") or {}).get(STORAGE))


def requested(claim: Object) -> str:
    return str(((claim["spec"].get("resources") or {}).get("requests") or {}).get(STORAGE) or "0")


def capacity(volume: Object) -> str:
    return str((volume["spec"].get("capacity") or {}).get(STORAGE) or "0")


def is_more(one: Any, other: Any) -> bool:
    return quantity.parse(str(one)) > quantity.parse(str(other or "0"))


def under_way(claim: Object, trouble: str) -> Object:
    """The status while the driver is at it, or in trouble."""
    status = claim.get("status") or {}
    hopeless = trouble.startswith(HOPELESS)
    conditions = [] if hopeless else [_condition(claim, "Resizing", "")]
    if trouble:
        conditions.append(_condition(claim, "ControllerResizeError", trouble))
    return {
        **status,
        "conditions": [*(each for each in status.get("conditions") or () if each["type"] not in OURS), *conditions],
        "allocatedResources": {**(status.get("allocatedResources") or {}), STORAGE: requested(claim)},
        "allocatedResourceStatuses": {**(status.get("allocatedResourceStatuses") or {}), STORAGE: INFEASIBLE if hopeless else RUNNING},
    }


def grown(claim: Object, size: str) -> Object:
    """The status once the volume has that size; as it is, where there was nothing to do."""
    status: Object = claim.get("status") or {}
    shown = (status.get("capacity") or {}).get(STORAGE)
    if not is_more(size, shown) and not (status.get("allocatedResourceStatuses") or {}).get(STORAGE):
        return status
    left = {key: value for key, value in (status.get("allocatedResourceStatuses") or {}).items() if key != STORAGE}
    conditions = [each for each in status.get("conditions") or () if each["type"] not in OURS]
    kept = {key: value for key, value in status.items() if key not in ("conditions", "allocatedResourceStatuses")}
    if "allocatedResources" in kept:
        kept["allocatedResources"] = {**kept["allocatedResources"], STORAGE: requested(claim)}
    return {
        **kept,
        "capacity": {**(status.get("capacity") or {}), STORAGE: size if is_more(size, shown) else shown},
        **({"conditions": conditions} if conditions else {}),
        **({"allocatedResourceStatuses": left} if left else {}),
    }


def _condition(claim: Object, type_: str, message: str) -> Object:
    before = objects.condition(claim, type_) or {}
    since = before["lastTransitionTime"] if before.get("status") == "True" else wallclock.now_rfc3339()
    return {"type": type_, "status": "True", "lastProbeTime": None, "lastTransitionTime": since, **({"message": message} if message else {})}


def _bare(status: Object) -> Object:
    """Without what the API leaves out."""
    conditions = [{key: value for key, value in each.items() if value is not None} for each in status.get("conditions") or ()]
    return {**{key: value for key, value in status.items() if key != "conditions"}, **({"conditions": conditions} if conditions else {})}


def _claim_of(name: str, old: Object | None, new: Object | None) -> Iterable[str]:
    reference = (new["spec"].get("claimRef") or {}) if new is not None else {}
    if reference:
        yield f"{reference.get('namespace')}/{reference.get('name')}"
