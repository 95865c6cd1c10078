"""A cordoned node takes no new pods, but those that tolerate it."""

from __future__ import annotations

from edgek.model.placement import Taint
from edgek.server.scheduler.snapshot import NodeState, Snapshot
from edgek.server.scheduler.views import Pod

CORDONED = Taint("node.kubernetes.io/unschedulable", "", "NoSchedule")


def reject(pod: Pod, node: NodeState, snapshot: Snapshot) -> str:
    if not node.node.unschedulable or any(toleration.tolerates(CORDONED) for toleration in pod.tolerations):
        return ""
    return "node(s) were unschedulable"
