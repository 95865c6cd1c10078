"""A node that has the pod's images starts it sooner."""

from __future__ import annotations

from edgek.server.scheduler.snapshot import NodeState, Snapshot
from edgek.server.scheduler.views import Pod

LEAST_BYTES = 23 << 20  # below this a pull is quick
MOST_BYTES = 1 << 30  # above this it is slow anyway


def score(pod: Pod, node: NodeState, snapshot: Snapshot) -> float:
    there = sum(node.node.images.get(_full(image), 0) for image in set(pod.images))
    if there < LEAST_BYTES:
        return 0
    return 100 * (min(there, MOST_BYTES * len(pod.images)) - LEAST_BYTES) / (MOST_BYTES * len(pod.images) - LEAST_BYTES)


def _full(image: str) -> str:
    """As the node lists it: with registry and tag."""
    name, _, digest = image.partition("@")
    host, slash, _ = name.partition("/")
    if not slash:
        name = f"docker.io/library/{name}"
    elif "." not in host and ":" not in host and host != "localhost":
        name = f"docker.io/{name}"
    if digest:
        return f"{name}@{digest}"
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"
