"""``nodeSelector`` and node affinity: required terms reject, preferred ones score."""

from __future__ import annotations

from edgek.model import placement
from edgek.server.scheduler.snapshot import NodeState, Snapshot
from edgek.server.scheduler.views import Pod


def reject(pod: Pod, node: NodeState, snapshot: Snapshot) -> str:
    name, labels = node.node.name, node.node.labels
    chosen = all(labels.get(key) == value for key, value in pod.node_selector.items())
    if chosen and placement.affinity_selects(pod.affinity, name, labels):
        return ""
    return "node(s) didn't match Pod's node affinity/selector"


def score(pod: Pod, node: NodeState, snapshot: Snapshot) -> float:
    affinity = pod.affinity.get("nodeAffinity") or {}
    preferred = affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
    name, labels = node.node.name, node.node.labels
    most = sum(max(item.get("weight", 0), 0) for item in preferred)
    reached = sum(item.get("weight", 0) for item in preferred if placement.matches(item.get("preference") or {}, name, labels))
    return 100 * reached / most if most else 0
