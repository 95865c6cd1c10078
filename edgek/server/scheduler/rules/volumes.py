"""A pod goes where its volumes are, or can be made.

A bound claim ties the pod to the nodes of its volume. An unbound one of a class that waits for its first consumer can be made anywhere (or bound to a
volume that is free there); any other unbound claim must be bound first.
"""

from __future__ import annotations

from edgek.server.scheduler.rules import node_affinity
from edgek.server.scheduler.snapshot import NodeState, Snapshot
from edgek.server.scheduler.views import Claim, Node, Pod, Volume

LOST = "node(s) had volume node affinity conflict"


def reject(pod: Pod, node: NodeState, snapshot: Snapshot) -> str:
    for name in pod.claims:
        claim = snapshot.claim(pod, name)
        if claim is None:
            return f'persistentvolumeclaim "{name}" not found'
        if claim.deleting:
            return f'persistentvolumeclaim "{name}" is being deleted'
        if claim.volume:
            volume = snapshot.volumes.get(claim.volume)
            if volume is None:
                return f'node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s) "{claim.volume}"'
            if not reaches(volume, node.node):
                return LOST
        elif not waits_for_consumer(claim, snapshot):
            return "pod has unbound immediate PersistentVolumeClaims"
        elif claim.selected_node and claim.selected_node != node.node.name and claim.selected_node in snapshot.nodes:
            return LOST
    return ""


def reaches(volume: Volume, node: Node) -> bool:
    return not volume.node_terms or any(node_affinity.matches(term, node) for term in volume.node_terms)


def waits_for_consumer(claim: Claim, snapshot: Snapshot) -> bool:
    found = snapshot.classes.get(claim.storage_class)
    return found is not None and found.waits
