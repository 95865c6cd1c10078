"""Does the pod fit beside what is there? Requests count, not use."""

from __future__ import annotations

from edgek.server.scheduler.snapshot import ONE, PODS, NodeState, Snapshot
from edgek.server.scheduler.views import Pod


def reject(pod: Pod, node: NodeState, snapshot: Snapshot) -> str:
    """Several lacks are several reasons, joined with ``, `` as upstream counts them apart."""
    allocatable = node.node.allocatable
    lacking = []
    if node.used[PODS] + ONE > allocatable.get(PODS, 0):
        lacking.append("Too many pods")
    for name, wanted in pod.requests.items():
        if wanted > 0 and node.used[name] + wanted > allocatable.get(name, 0):
            lacking.append(f"Insufficient {name}")
    return ", ".join(lacking)
