"""Pods that do not tolerate a NoExecute taint of their node are deleted, those that do for a time after that time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

import attrs

from edgek.client.reconcile import Cluster, Watch
from edgek.host import wallclock
from edgek.model import kinds
from edgek.model.objects import Object
from edgek.server.controllers import nodetaints, poddeletion, views
from edgek.server.controllers.views import PodView


@attrs.frozen
class NoExecute:
    key: str
    value: str
    added: float  # seconds since the epoch, 0 when nobody said


def taints(node: Object) -> tuple[NoExecute, ...] | None:
    """Of a Node, its NoExecute taints; nodes without any are left out."""
    found = tuple(NoExecute(each.get("key", ""), each.get("value") or "", views.stamp(each.get("timeAdded"))) for each in nodetaints.no_execute(node))
    return found or None


class TaintEvictionController:
    name: ClassVar[str] = "tainteviction"
    workers: ClassVar[int] = 4

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._events = cluster.recorder.named("taint-eviction-controller")
        self._nodes = cluster.informers.of(kinds.NODE, taints)
        self._pods = cluster.informers.of(kinds.POD, views.pod)
        self._since: dict[tuple[str, str, str], float] = {}  # node, key, value of a taint without a time -> when it was first seen
        self._doomed: set[str] = set()  # uids of pods whose time runs

    def watches(self) -> Sequence[Watch]:
        self._pods.add_index("node", views.node_index)
        return [Watch(self._nodes, self._keys_of_node), Watch(self._pods, self._keys_of_pod)]

    async def reconcile(self, key: str) -> float | None:
        pod = self._pods.get(key)
        if pod is None or pod.deleting:
            return None
        deadline = self._deadline(pod)
        if deadline is None:
            if pod.uid in self._doomed:
                self._doomed.discard(pod.uid)
                self._events.normal(kinds.POD, pod.reference(), "TaintManagerEviction", f"Cancelling deletion of Pod {pod.key}")
            return None
        wait_s = deadline - wallclock.now()
        if wait_s > 0:
            self._doomed.add(pod.uid)
            return wait_s
        self._doomed.discard(pod.uid)
        self._events.normal(kinds.POD, pod.reference(), "TaintManagerEviction", f"Marking for deletion Pod {pod.key}")
        await poddeletion.delete(
            self._cluster, self._pods, pod, "DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint", grace_s=None
        )
        return None

    def _keys_of_node(self, name: str, old: tuple[NoExecute, ...] | None, new: tuple[NoExecute, ...] | None) -> Iterable[str]:
        current = {(name, each.key, each.value) for each in new or ()}
        for gone in [mark for mark in self._since if mark[0] == name and mark not in current]:
            del self._since[gone]
        for mark in current:
            self._since.setdefault(mark, wallclock.now())
        return [pod.key for pod in self._pods.by_index("node", name)]

    def _keys_of_pod(self, key: str, old: PodView | None, new: PodView | None) -> Iterable[str]:
        if new is None:
            self._doomed.discard(old.uid if old else "")
        elif self._nodes.get(new.node):
            yield key

    def _deadline(self, pod: PodView) -> float | None:
        """When the pod must go, in seconds since the epoch; None for never."""
        deadlines: list[float] = []
        for taint in self._nodes.get(pod.node) or ():
            tolerated = [each.seconds for each in pod.tolerations if each.covers(taint.key, taint.value)]
            if not tolerated:
                return 0.0
            limits = [seconds for seconds in tolerated if seconds is not None]
            if limits:
                began = taint.added or self._since.get((pod.node, taint.key, taint.value), wallclock.now())
                # What was stamped by a clock that is ahead of ours counts from now.
                deadlines.append(min(max(began, pod.created), wallclock.now()) + max(0.0, min(limits)))
        return min(deadlines, default=None)
