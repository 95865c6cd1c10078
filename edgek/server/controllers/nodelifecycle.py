"""Nodes that fall silent: their conditions become Unknown, their pods not ready, and taints keep new pods away and drive old ones out.

A sign of life is a renewed Lease or a changed Ready condition, timed by our own clock when it is seen: clocks of nodes may be wrong.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import trio

from edgek.client.client import STRATEGIC_MERGE_PATCH
from edgek.client.reconcile import Cluster, Watch
from edgek.host import wallclock
from edgek.model import errors, kinds, objects
from edgek.model.objects import Object
from edgek.server.controllers import nodetaints, podmaking, views
from edgek.server.controllers.conditions import Condition
from edgek.server.controllers.views import PodView

LEASES = "kube-node-lease"
WATCHED = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")


def heartbeat(lease: Object) -> str | None:
    """Of all Leases, when those of nodes were renewed."""
    return str((lease.get("spec") or {}).get("renewTime")) if objects.namespace(lease) == LEASES else None


class NodeLifecycleController:
    name: ClassVar[str] = "nodelifecycle"
    account: ClassVar[str] = "node-controller"
    workers: ClassVar[int] = 2

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._events = cluster.recorder.named("node-controller")
        self._nodes = cluster.informers.of(kinds.NODE, views.node)
        self._leases = cluster.informers.of(kinds.LEASE, heartbeat)
        self._pods = cluster.informers.of(kinds.POD, views.pod)
        self._alive_at: dict[str, float] = {}  # node -> trio.current_time()

    def watches(self) -> Sequence[Watch]:
        self._pods.add_index("node", views.node_index)
        return [Watch(self._nodes, self._keys_of_node), Watch(self._leases, self._lease_renewed)]

    async def reconcile(self, key: str) -> float | None:
        node = self._nodes.get(key)
        if node is None:
            self._alive_at.pop(key, None)
            return None
        silent_s = trio.current_time() - self._alive_at.setdefault(key, trio.current_time())
        wait_s = self._cluster.settings.node_grace_s - silent_s
        if wait_s <= 0:
            node = await self._mark_unknown(node)
        await self._taint(node)
        if _ready(node) == "Unknown":
            await self._mark_pods(key)
            return None  # the next sign of life is a change
        return max(wait_s, 0.1)

    def _keys_of_node(self, key: str, old: Object | None, new: Object | None) -> Iterable[str]:
        yield key
        if new is not None and _said(old) != _said(new):
            self._alive_at[key] = trio.current_time()
        if (_ready(old) == "True") != (_ready(new) == "True"):
            # Whether anybody is ready decides whether the others' pods are driven out.
            yield from (other for other, node in self._nodes.items.items() if _ready(node) != "True")

    def _lease_renewed(self, key: str, old: str | None, new: str | None) -> Iterable[str]:
        """Only noted: nothing is to be done for a node that lives."""
        name = objects.split_key(key)[1]
        if new is not None and name in self._nodes.items:
            self._alive_at[name] = trio.current_time()
        return ()

    async def _mark_unknown(self, node: Object) -> Object:
        shown = (node.get("status") or {}).get("conditions") or []
        conditions = [*shown]
        for type_ in WATCHED:
            at = next((index for index, each in enumerate(conditions) if each.get("type") == type_), None)
            if at is None:
                conditions.append(_unknown(type_, None))
            elif conditions[at].get("status") != "Unknown":
                conditions[at] = _unknown(type_, conditions[at])
        if conditions == shown:
            return node
        was_ready = _ready(node) == "True"
        patch = {"metadata": _guard(node), "status": {"conditions": conditions}}
        node = await self._cluster.patch(self._nodes, objects.name(node), patch, subresource="status")
        if was_ready:
            self._events.normal(kinds.NODE, node, "NodeNotReady", f"Node {objects.name(node)} status is now: NodeNotReady")
        return node

    async def _taint(self, node: Object) -> None:
        evicts = any(_ready(each) == "True" for each in self._nodes.items.values())
        taints = nodetaints.changed(node, nodetaints.wanted(node, evicts=evicts), wallclock.now_rfc3339())
        if taints is None:
            return
        await self._cluster.patch(self._nodes, objects.name(node), {"metadata": _guard(node), "spec": {"taints": taints or None}})

    async def _mark_pods(self, node_name: str) -> None:
        """Nobody can say that they are ready any more: Services must leave them out."""
        await self._pods.synced.wait()  # after a restart a node may be known to be lost before its pods are
        ready = [pod for pod in self._pods.by_index("node", node_name) if pod.ready]
        failures = await podmaking.together([functools.partial(self._mark_pod, pod) for pod in ready])
        for failure in failures:
            if failure is not None and not isinstance(failure, errors.NotFound):
                raise failure

    async def _mark_pod(self, pod: PodView) -> None:
        condition = {"type": "Ready", "status": "False", "lastTransitionTime": wallclock.now_rfc3339()}
        patch = {"metadata": {"uid": pod.uid}, "status": {"conditions": [condition]}}
        await self._cluster.patch(self._pods, pod.key, patch, subresource="status", content_type=STRATEGIC_MERGE_PATCH)
        self._events.warning(kinds.POD, pod.reference(), "NodeNotReady", "Node is not ready")


def _guard(node: Object) -> Object:
    """A patch of this very revision, and of no namesake."""
    return {"resourceVersion": objects.revision(node), "uid": objects.uid(node)}


def _ready(node: Object | None) -> str:
    return str((objects.condition(node, "Ready") or {}).get("status", "")) if node else ""


def _said(node: Object | None) -> Any:
    """What the kubelet said last, apart from what we said in its place."""
    ready = objects.condition(node, "Ready") if node else None
    return None if ready is None or ready.get("status") == "Unknown" else (ready.get("lastHeartbeatTime"), ready.get("status"))


def _unknown(type_: str, had: Condition | None) -> Condition:
    now = wallclock.now_rfc3339()
    reason, message = ("NodeStatusUnknown", "Kubelet stopped posting node status.")
    if had is None:
        reason, message = ("NodeStatusNeverUpdated", "Kubelet never posted node status.")
    seen = (had or {}).get("lastHeartbeatTime", now)
    return {"type": type_, "status": "Unknown", "lastHeartbeatTime": seen, "lastTransitionTime": now, "reason": reason, "message": message}
