"""Pods that do not tolerate a NoExecute taint of their node are deleted, those that do for a time after that time.

What ``edgek.io/when-away`` says counts before what a pod tolerates, where its node is lost. A pod that its node stops by itself is only replaced
when it is certain that the node has: the time runs by a clock that nobody sets, from when this process saw the taint, and the last step is refused
by the API if the node has been heard of in between (``agent/kubelet/away.py`` is the other half of this).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

import attrs
import trio

from edgek.client.reconcile import Cluster, Watch
from edgek.host import wallclock
from edgek.model import errors, kinds, objects
from edgek.model.objects import Object
from edgek.model.when_away import NOT_READY, UNREACHABLE
from edgek.server.controllers import nodetaints, poddeletion, views
from edgek.server.controllers.views import PodView


@attrs.frozen
class _Seen:
    """When a taint was first seen."""

    wall: float = attrs.field(factory=wallclock.now)
    steady: float = attrs.field(factory=trio.current_time)


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
    account: ClassVar[str] = "node-controller"
    workers: ClassVar[int] = 4

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._events = cluster.recorder.named("taint-eviction-controller")
        self._nodes = cluster.informers.of(kinds.NODE, taints)
        self._pods = cluster.informers.of(kinds.POD, views.pod)
        self._seen: dict[tuple[str, NoExecute], _Seen] = {}  # by node and taint
        self._doomed: set[str] = set()  # uids of pods whose time runs
        self._unheard: set[str] = set()  # uids of pods that changed their mind while their node was lost: it knows nothing of that

    def watches(self) -> Sequence[Watch]:
        self._pods.add_index("node", views.node_index)
        return [Watch(self._nodes, self._keys_of_node), Watch(self._pods, self._keys_of_pod)]

    async def reconcile(self, key: str) -> float | None:
        pod = self._pods.get(key)
        if pod is None or pod.deleting:
            return None
        left_s = self._left_s(pod)
        if left_s is None:
            if pod.uid in self._doomed:
                self._doomed.discard(pod.uid)
                self._events.normal(kinds.POD, pod.reference(), "TaintManagerEviction", f"Cancelling deletion of Pod {pod.key}")
            return None
        if left_s > 0:
            self._doomed.add(pod.uid)
            return left_s
        revision = await self._still_lost(pod) if pod.when_away is not None and pod.when_away.action == "stop" else ""
        self._doomed.discard(pod.uid)
        self._events.normal(kinds.POD, pod.reference(), "TaintManagerEviction", f"Marking for deletion Pod {pod.key}")
        message = "Taint manager: deleting due to NoExecute taint"
        await poddeletion.delete(self._cluster, self._pods, pod, "DeletionByTaintManager", message, grace_s=None, revision=revision)
        return None

    async def _still_lost(self, pod: PodView) -> str:
        """The pod's revision, at which its node was as our cache has it: a node that is back writes to the pod before it starts it again.

        Raises Conflict when the node's taints are others by now.
        """
        found = await self._cluster.client.get(kinds.POD, pod.name, pod.namespace)
        if taints(await self._cluster.client.get(kinds.NODE, pod.node)) != self._nodes.get(pod.node):
            raise errors.Conflict(f"the taints of node {pod.node!r} have just changed")
        return objects.revision(found)

    def _keys_of_node(self, name: str, old: tuple[NoExecute, ...] | None, new: tuple[NoExecute, ...] | None) -> Iterable[str]:
        current = {(name, each) for each in new or ()}
        for gone in [mark for mark in self._seen if mark[0] == name and mark not in current]:
            del self._seen[gone]
        for mark in current - self._seen.keys():
            self._seen[mark] = _Seen()
        pods = self._pods.by_index("node", name)
        if not new:
            self._unheard.difference_update(pod.uid for pod in pods)
        return [pod.key for pod in pods]

    def _keys_of_pod(self, key: str, old: PodView | None, new: PodView | None) -> Iterable[str]:
        if new is None:
            uid = old.uid if old else ""
            self._doomed.discard(uid)
            self._unheard.discard(uid)
        elif self._nodes.get(new.node):
            if old is not None and old.uid == new.uid and old.when_away != new.when_away:
                self._unheard.add(new.uid)
            yield key

    def _left_s(self, pod: PodView) -> float | None:
        """Seconds until the pod must go, none or less for at once; None for never."""
        left = []
        for taint in self._nodes.get(pod.node) or ():
            seen = self._seen.get((pod.node, taint)) or _Seen()
            limit = self._limit_s(pod, taint)
            if limit is None:
                continue
            if pod.when_away is not None and pod.when_away.action == "stop" and taint.key == UNREACHABLE:
                if pod.uid not in self._unheard:
                    left.append(seen.steady + limit - trio.current_time())
            elif limit <= 0:
                return 0.0
            else:
                # What was stamped by a clock that is ahead of ours counts from now; a clock that was set forward makes no time pass.
                now = wallclock.now()
                began = min(max(taint.added or seen.wall, pod.created), now)
                left.append(began + limit - now + wallclock.jumped_since(began))
        return min(left, default=None)

    def _limit_s(self, pod: PodView, taint: NoExecute) -> float | None:
        """How long the pod may stay with this taint; None for ever."""
        settings, said = self._cluster.settings, pod.when_away
        if said is not None and taint.key in (NOT_READY, UNREACHABLE) and (said.action, said.seconds) != ("replace", None):
            return said.tolerated_s(taint.key, pod.grace_s, settings.not_ready_s if taint.key == NOT_READY else settings.unreachable_s)
        tolerated = [each.seconds for each in pod.tolerations if each.covers(taint.key, taint.value)]
        if not tolerated:
            return 0.0
        limits = [max(0.0, seconds) for seconds in tolerated if seconds is not None]
        return min(limits, default=None)
