"""Pods that nobody else will ever delete: on nodes that are gone, never scheduled but terminating, and finished ones beyond a number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

import trio

from edgek.client.reconcile import Cluster, Watch
from edgek.model import kinds
from edgek.model.objects import Object
from edgek.server.controllers import nodetaints, poddeletion, views
from edgek.server.controllers.views import PodView

QUARANTINE_S = 40.0  # a node that was just deleted may be about to register again
FINISHED = "finished"  # a key that is no pod's: these have a namespace


def presence(node: Object) -> str:
    """Of a Node: that it is there, and whether an operator declared it lost for good."""
    return "out-of-service" if any(each.get("key") == nodetaints.OUT_OF_SERVICE for each in nodetaints.no_execute(node)) else "there"


class PodGcController:
    name: ClassVar[str] = "podgc"
    account: ClassVar[str] = "pod-garbage-collector"
    workers: ClassVar[int] = 2

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._nodes = cluster.informers.of(kinds.NODE, presence)
        self._pods = cluster.informers.of(kinds.POD, views.pod)
        self._missing_since: dict[str, float] = {}  # node -> trio.current_time()

    def watches(self) -> Sequence[Watch]:
        self._pods.add_index("node", views.node_index)
        self._pods.add_index(FINISHED, views.finished_index)
        return [Watch(self._nodes, self._keys_of_node), Watch(self._pods, self._keys_of_pod)]

    async def reconcile(self, key: str) -> float | None:
        if key == FINISHED:
            await self._delete_finished()
            return None
        pod = self._pods.get(key)
        if pod is None:
            return None
        if not pod.node:
            if pod.deleting:
                message = "PodGC: deleting unscheduled terminating pod"
                await self._force(pod, "DeletionByPodGC", message)
            return None
        state = self._nodes.get(pod.node)
        if state is None:
            return await self._collect_orphan(pod)
        if state == "out-of-service" and pod.deleting:
            await self._force(pod, "DeletionByPodGC", "PodGC: node is out-of-service")
        return None

    def _keys_of_node(self, name: str, old: str | None, new: str | None) -> Iterable[str]:
        if new is not None:
            self._missing_since.pop(name, None)
        return [pod.key for pod in self._pods.by_index("node", name)] if new != "there" else ()

    def _keys_of_pod(self, key: str, old: PodView | None, new: PodView | None) -> Iterable[str]:
        if new is None:
            return
        if new.finished and not (old and old.finished):
            yield FINISHED
        if (not new.node and new.deleting) or (new.node and self._nodes.get(new.node) != "there"):
            yield key

    async def _collect_orphan(self, pod: PodView) -> float | None:
        missing_s = trio.current_time() - self._missing_since.setdefault(pod.node, trio.current_time())
        if missing_s < QUARANTINE_S:
            return QUARANTINE_S - missing_s
        if await self._cluster.client.find(kinds.NODE, pod.node) is None:
            await self._force(pod, "DeletionByPodGC", "PodGC: node no longer exists")
        return None

    async def _delete_finished(self) -> None:
        most = self._cluster.settings.finished_pods_most
        excess = self._pods.count(FINISHED, FINISHED) - most
        if most <= 0 or excess <= 0:
            return
        finished = sorted(self._pods.by_index(FINISHED, FINISHED), key=lambda pod: (pod.reason != "Evicted", pod.created, pod.name))
        for pod in finished[:excess]:
            await self._cluster.delete(self._pods, pod.key, pod.uid, grace_s=0)

    async def _force(self, pod: PodView, reason: str, message: str) -> None:
        await poddeletion.delete(self._cluster, self._pods, pod, reason, message, grace_s=0, fails=True)
