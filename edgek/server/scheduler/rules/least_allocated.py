"""Of the nodes on which a pod fits, the one with most room left is best."""

from __future__ import annotations

from edgek.server.scheduler.snapshot import NodeState, Snapshot
from edgek.server.scheduler.views import Pod

# What a pod that asks for nothing is counted as, so that such pods spread too: 100m and 200 MB, as upstream does.
UNASKED = {"cpu": 10**8, "memory": 200 * 2**20 * 10**9}


def share(pod: Pod, node: NodeState, resource: str) -> float:
    """How much of this resource would be taken, 0 to 1."""
    allocatable = node.node.allocatable.get(resource, 0)
    if not allocatable:
        return 1.0
    wanted = pod.requests.get(resource) or UNASKED[resource]
    return min(1.0, (node.used[resource] + node.silent[resource] * UNASKED[resource] + wanted) / allocatable)


def score(pod: Pod, node: NodeState, snapshot: Snapshot) -> float:
    return sum(100 * (1 - share(pod, node, resource)) for resource in UNASKED) / len(UNASKED)
