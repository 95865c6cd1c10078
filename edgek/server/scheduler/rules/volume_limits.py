"""A node can have only so many volumes of a driver: what its CSINode says."""

from __future__ import annotations

from collections.abc import Iterator

from edgek.server.scheduler.snapshot import NodeState, Snapshot
from edgek.server.scheduler.views import Pod

TOO_MANY = "node(s) exceed max volume count"


def reject(pod: Pod, node: NodeState, snapshot: Snapshot) -> str:
    most = snapshot.most_volumes.get(node.node.name) if pod.claims else None
    if not most:
        return ""
    wanted = set(_volumes(pod, snapshot))
    there = {each for other in node.pods.values() for each in _volumes(other, snapshot)}
    for driver, limit in most.items():
        new = sum(1 for each in wanted - there if each[0] == driver)
        if new and new + sum(1 for each in there if each[0] == driver) > limit:
            return TOO_MANY
    return ""


def _volumes(pod: Pod, snapshot: Snapshot) -> Iterator[tuple[str, str]]:
    """Each as driver and id. One that is still to be made counts by its claim."""
    for name in pod.claims:
        claim = snapshot.claim(pod, name)
        if claim is None:
            continue
        volume = snapshot.volumes.get(claim.volume)
        if volume is not None:
            if volume.driver:
                yield volume.driver, volume.handle
        elif not claim.volume and claim.storage_class in snapshot.classes:
            yield snapshot.classes[claim.storage_class].driver, claim.key
