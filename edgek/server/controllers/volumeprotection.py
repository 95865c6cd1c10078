"""Volumes in use outlive their deletion: a claim while a pod has it, a volume while a claim has it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from edgek.client.informer import Informer
from edgek.client.reconcile import Cluster, Watch, own_key
from edgek.model import errors, kinds, objects
from edgek.model.objects import Object
from edgek.server.controllers import views
from edgek.server.controllers.views import PodView

CLAIM_FINALIZER = "kubernetes.io/pvc-protection"
VOLUME_FINALIZER = "kubernetes.io/pv-protection"


class ClaimProtectionController:
    name: ClassVar[str] = "pvcprotection"
    account: ClassVar[str] = "pvc-protection-controller"
    workers: ClassVar[int] = 1

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._claims = cluster.informers.of(kinds.PERSISTENT_VOLUME_CLAIM, views.whole)
        self._pods = cluster.informers.of(kinds.POD, views.pod)

    def watches(self) -> Sequence[Watch]:
        self._pods.add_index("claim", _claims_of)
        return [Watch(self._claims, own_key), Watch(self._pods, _claims_of_gone)]

    async def reconcile(self, key: str) -> float | None:
        claim = self._claims.get(key)
        if claim is None or _is_kept(claim) or any(pod.node for pod in self._pods.by_index("claim", key)):
            return None
        namespace, name = objects.split_key(key)
        # A pod may have been bound to a node a moment ago, which the cache does not show yet: what is deleted now stays deleted.
        for pod in (await self._cluster.client.list(kinds.POD, namespace)).items:
            view = views.pod(pod)
            if view.node and name in view.claims:
                return None
        await _remove_finalizer(self._cluster, self._claims, claim, CLAIM_FINALIZER)
        return None


class VolumeProtectionController:
    name: ClassVar[str] = "pvprotection"
    account: ClassVar[str] = "pv-protection-controller"
    workers: ClassVar[int] = 1

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._volumes = cluster.informers.of(kinds.PERSISTENT_VOLUME, views.whole)

    def watches(self) -> Sequence[Watch]:
        return [Watch(self._volumes, own_key)]

    async def reconcile(self, key: str) -> float | None:
        volume = self._volumes.get(key)
        if volume is not None and objects.is_deleting(volume) and (volume.get("status") or {}).get("phase") != "Bound":
            await _remove_finalizer(self._cluster, self._volumes, volume, VOLUME_FINALIZER)
        return None


def _is_kept(claim: Object) -> bool:
    """Only a claim that is being deleted and still protected is to be looked at."""
    return not objects.is_deleting(claim) or CLAIM_FINALIZER not in objects.finalizers(claim)


def _claims_of(pod: PodView) -> Iterable[str]:
    return [f"{pod.namespace}/{claim}" for claim in pod.claims]


def _claims_of_gone(key: str, old: PodView | None, new: PodView | None) -> Iterable[str]:
    return _claims_of(old) if old is not None and (new is None or new.uid != old.uid) else ()


async def _remove_finalizer(cluster: Cluster, informer: Informer[Any], obj: Object, gone: str) -> None:
    kept = [each for each in objects.finalizers(obj) if each != gone]
    if kept == objects.finalizers(obj):
        return
    try:
        await cluster.update(informer, {**obj, "metadata": {**obj["metadata"], "finalizers": kept}})
    except errors.NotFound:
        return
