"""A pod goes where its volumes are, or can be made.

A bound claim ties the pod to the nodes of its volume. An unbound one of a class that waits for its first consumer is bound to a volume that is free
there, or made there, where the class allows it and the driver says that there is room; any other unbound claim must be bound first. A copy of a
directory is made where that is.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgek.model import placement, selectors
from edgek.model.local_storage import HOSTPATH
from edgek.server.scheduler.snapshot import NodeState, Snapshot
from edgek.server.scheduler.views import Claim, Node, Pod, StorageClass, Volume

ELSEWHERE = "node(s) had volume node affinity conflict"
NONE_FREE = "node(s) didn't find available persistent volumes to bind"
NO_ROOM = "node(s) did not have enough free storage"


def refuse(pod: Pod, snapshot: Snapshot) -> str:
    """Claims that let the pod go nowhere yet."""
    for name in pod.claims:
        claim = snapshot.claim(pod, name)
        if claim is None and name in pod.own_claims:
            return f'waiting for ephemeral volume controller to create the persistentvolumeclaim "{name}"'
        if claim is None:
            return f'persistentvolumeclaim "{name}" not found'
        if claim.deleting:
            return f'persistentvolumeclaim "{name}" is being deleted'
        if not claim.volume and not waits_for_consumer(claim, snapshot):
            return "pod has unbound immediate PersistentVolumeClaims"
    return ""


def reject(pod: Pod, node: NodeState, snapshot: Snapshot) -> str:
    claims = [claim for name in pod.claims if (claim := snapshot.claim(pod, name)) is not None]
    for claim in claims:
        if claim.volume:
            volume = snapshot.volumes.get(claim.volume)
            if volume is None:
                return f'node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s) "{claim.volume}"'
            if not reaches(volume, node.node):
                return ELSEWHERE
    return _reject_unbound([claim for claim in claims if not claim.volume], node, snapshot)


def _reject_unbound(claims: Sequence[Claim], node: NodeState, snapshot: Snapshot) -> str:
    """Each needs a volume of its own that is free here, or can be made here. What was asked for elsewhere is being made there."""
    taken: set[str] = set()
    for claim in sorted(claims, key=lambda each: each.size):
        storage_class = snapshot.classes[claim.storage_class]
        can_be_made = storage_class.provisions and allows(storage_class, node.node)
        if storage_class.provisions and _is_copy_from_elsewhere(claim, storage_class, node.node, snapshot):
            return ELSEWHERE
        if storage_class.provisions and claim.selected_node != node.node.name and claim.selected_node in snapshot.nodes:
            return ELSEWHERE
        free = [each for each in snapshot.volumes.values() if each.name not in taken and _suits(claim, each) and reaches(each, node.node)]
        if free:
            taken.add(min(free, key=lambda each: (each.size, each.name)).name)
        elif not can_be_made:
            return NONE_FREE
        elif not has_room(claim, storage_class, node.node, snapshot):
            return NO_ROOM
    return ""


def allows(storage_class: StorageClass, node: Node) -> bool:
    """Whether the class makes volumes there: any of its allowedTopologies fits."""
    return not storage_class.topologies or any(
        all(node.labels.get(each.get("key", "")) in (each.get("values") or ()) for each in term.get("matchLabelExpressions") or ())
        for term in storage_class.topologies
    )


def has_room(claim: Claim, storage_class: StorageClass, node: Node, snapshot: Snapshot) -> bool:
    """Whether a volume as large can be made there, by what its driver publishes; of a driver that publishes nothing it is assumed."""
    if not snapshot.tracked.get(storage_class.driver):
        return True
    return any(
        each.storage_class == storage_class.name and each.size >= claim.size and each.nodes.matches(node.labels)
        for each in snapshot.capacities.values()
    )


def _is_copy_from_elsewhere(claim: Claim, storage_class: StorageClass, node: Node, snapshot: Snapshot) -> bool:
    """Only for directories of a node: how others copy is for their drivers to say."""
    if not claim.source or storage_class.driver != HOSTPATH:
        return False
    source = snapshot.claims.get(f"{claim.namespace}/{claim.source}")
    volume = snapshot.volumes.get(source.volume) if source is not None else None
    return volume is not None and not reaches(volume, node)


def _suits(claim: Claim, volume: Volume) -> bool:
    if volume.size < claim.size or volume.volume_mode != claim.volume_mode:
        return False
    if volume.claim:
        return volume.claim == claim.key and not volume.released  # held for it beforehand
    return (
        volume.available
        and volume.storage_class == claim.storage_class
        and claim.modes <= volume.modes
        and (claim.selector is None or selectors.of_dict_or_nothing(claim.selector).matches(volume.labels))
    )


def reaches(volume: Volume, node: Node) -> bool:
    return not volume.node_terms or any(placement.matches(term, node.name, node.labels) for term in volume.node_terms)


def waits_for_consumer(claim: Claim, snapshot: Snapshot) -> bool:
    found = snapshot.classes.get(claim.storage_class)
    return found is not None and found.waits
