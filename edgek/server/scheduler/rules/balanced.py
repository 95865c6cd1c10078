"""A node whose CPU and memory would be used alike is better than one that would run out of one of them."""

from __future__ import annotations

from edgek.server.scheduler.rules.least_allocated import share
from edgek.server.scheduler.snapshot import NodeState, Snapshot
from edgek.server.scheduler.views import Pod


def score(pod: Pod, node: NodeState, snapshot: Snapshot) -> float:
    return 100 * (1 - abs(share(pod, node, "cpu") - share(pod, node, "memory")) / 2)
