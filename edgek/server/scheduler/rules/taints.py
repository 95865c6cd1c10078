"""Taints: NoSchedule and NoExecute keep pods away that do not tolerate them, PreferNoSchedule only where there is a choice."""

from __future__ import annotations

from edgek.model.placement import untolerated
from edgek.server.scheduler.snapshot import NodeState, Snapshot
from edgek.server.scheduler.views import Pod


def reject(pod: Pod, node: NodeState, snapshot: Snapshot) -> str:
    for taint in untolerated(node.node.taints, pod.tolerations):
        if taint.effect in ("NoSchedule", "NoExecute"):
            return f"node(s) had untolerated taint {{{taint.key}: {taint.value}}}"
    return ""


def score(pod: Pod, node: NodeState, snapshot: Snapshot) -> float:
    unwanted = sum(taint.effect == "PreferNoSchedule" for taint in untolerated(node.node.taints, pod.tolerations))
    return 100 / (1 + unwanted)
