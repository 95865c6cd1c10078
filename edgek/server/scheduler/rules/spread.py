"""Pods of one owner spread over the nodes, where nothing stronger says otherwise."""

from __future__ import annotations

from edgek.server.scheduler.snapshot import NodeState, Snapshot
from edgek.server.scheduler.views import Pod


def score(pod: Pod, node: NodeState, snapshot: Snapshot) -> float:
    if not pod.owner_uid:
        return 100
    siblings = sum(other.owner_uid == pod.owner_uid for other in node.pods.values())
    return 100 / (1 + siblings)
