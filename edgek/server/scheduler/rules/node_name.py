"""A pod that names its node (a DaemonSet's, by ``metadata.name``) goes nowhere else. ``spec.nodeName`` never comes here: that pod is placed."""

from __future__ import annotations

from edgek.server.scheduler.snapshot import NodeState, Snapshot
from edgek.server.scheduler.views import Pod


def reject(pod: Pod, node: NodeState, snapshot: Snapshot) -> str:
    return "node(s) didn't match the requested node name" if pod.node and pod.node != node.node.name else ""
