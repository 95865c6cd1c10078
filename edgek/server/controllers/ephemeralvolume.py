"""Claims for the ephemeral volumes of pods: made for the pod, owned by it, gone with it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from edgek.client.reconcile import Cluster, Watch
from edgek.model import errors, kinds, objects
from edgek.model.objects import Object
from edgek.server.controllers import podmaking, views
from edgek.server.controllers.views import PodView


class EphemeralVolumeController:
    name: ClassVar[str] = "ephemeralvolume"
    account: ClassVar[str] = "ephemeral-volume-controller"
    workers: ClassVar[int] = 1

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._events = cluster.recorder.named("ephemeral-volume-controller")
        self._pods = cluster.informers.of(kinds.POD, views.pod)
        self._claims = cluster.informers.of(kinds.PERSISTENT_VOLUME_CLAIM, views.whole)

    def watches(self) -> Sequence[Watch]:
        return [Watch(self._pods, _with_ephemeral), Watch(self._claims, self._pod_of_lost)]

    async def reconcile(self, key: str) -> float | None:
        view = self._pods.get(key)
        if view is None or not view.active or all(self._claims.get(f"{view.namespace}/{name}") for name in view.own_claims):
            return None
        pod = await self._cluster.client.find(kinds.POD, view.name, view.namespace)
        if pod is None or objects.uid(pod) != view.uid:
            return None
        for volume in pod["spec"].get("volumes") or ():
            if volume.get("ephemeral"):
                await self._ensure(pod, volume)
        return None

    async def _ensure(self, pod: Object, volume: Object) -> None:
        name = f"{objects.name(pod)}-{volume['name']}"
        seen = self._claims.get(f"{objects.namespace(pod)}/{name}")
        if seen is not None:
            if (objects.controller_of(seen) or {}).get("uid") != objects.uid(pod):
                message = f"PVC {objects.key(seen)} was not created for pod {objects.key(pod)} (pod is not owner)"
                self._events.warning(kinds.POD, pod, "FailedBinding", f"ephemeral volume {volume['name']}: {message}")
            return
        template = volume["ephemeral"]["volumeClaimTemplate"]
        meta = template.get("metadata") or {}
        owner = objects.controller_reference(pod, "v1", "Pod")
        made = {
            "metadata": {**{key: meta[key] for key in ("labels", "annotations") if meta.get(key)}, "name": name, "ownerReferences": [owner]},
            "spec": template["spec"],
        }
        made["metadata"]["namespace"] = objects.namespace(pod)
        try:
            await self._cluster.create(self._claims, made)
        except (errors.Forbidden, errors.Invalid) as exc:
            if isinstance(exc, errors.Forbidden) and podmaking.is_terminating_namespace(exc):
                return
            self._events.warning(kinds.POD, pod, "FailedBinding", f"ephemeral volume {volume['name']}: create PVC {objects.key(made)}: {exc}")
            raise

    def _pod_of_lost(self, key: str, old: Object | None, new: Object | None) -> Iterable[str]:
        owner = objects.controller_of(old) if old is not None and new is None else None
        if owner and owner.get("kind") == "Pod":
            yield f"{objects.split_key(key)[0]}/{owner['name']}"


def _with_ephemeral(key: str, old: PodView | None, new: PodView | None) -> Iterable[str]:
    if new is not None and new.own_claims:
        yield key
