"""Taints: NoSchedule and NoExecute keep pods away that do not tolerate them, PreferNoSchedule only where there is a choice."""

from __future__ import annotations

from edgek.server.scheduler.snapshot import NodeState, Snapshot
from edgek.server.scheduler.views import Pod, Taint


def reject(pod: Pod, node: NodeState, snapshot: Snapshot) -> str:
    for taint in node.node.taints:
        if taint.effect in ("NoSchedule", "NoExecute") and not _tolerated(pod, taint):
            return f"node(s) had untolerated taint {{{taint.key}: {taint.value}}}"
    return ""


def score(pod: Pod, node: NodeState, snapshot: Snapshot) -> float:
    unwanted = sum(taint.effect == "PreferNoSchedule" and not _tolerated(pod, taint) for taint in node.node.taints)
    return 100 / (1 + unwanted)


def _tolerated(pod: Pod, taint: Taint) -> bool:
    return any(toleration.tolerates(taint) for toleration in pod.tolerations)
