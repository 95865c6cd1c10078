"""A claim of the mode ReadWriteOncePod is for one pod at a time, wherever that runs."""

from __future__ import annotations

from edgek.server.scheduler.snapshot import NodeState, Snapshot
from edgek.server.scheduler.views import Pod

IN_USE = "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
ONE_POD = "ReadWriteOncePod"


def reject(pod: Pod, node: NodeState, snapshot: Snapshot) -> str:
    own = {name for name in pod.claims if (claim := snapshot.claim(pod, name)) is not None and ONE_POD in claim.modes}
    if not own:
        return ""
    others = (other for state in snapshot.nodes.values() for other in state.pods.values() if other.uid != pod.uid)
    return IN_USE if any(other.namespace == pod.namespace and own.intersection(other.claims) for other in others) else ""
