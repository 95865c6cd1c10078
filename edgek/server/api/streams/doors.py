"""The doors of the nodes that can be reached now. A node's door is opened here when its kubelet runs, and taken away when the node is gone."""

from __future__ import annotations

from edgek.client.node import NodeDoor
from edgek.model import errors


class Doors:
    """Implements ``client.node.NodeDirectory``."""

    def __init__(self) -> None:
        self._doors: dict[str, NodeDoor] = {}

    def open(self, node_name: str, door: NodeDoor) -> None:
        """A later door of the same node replaces the earlier one."""
        self._doors[node_name] = door

    def close(self, node_name: str, door: NodeDoor) -> None:
        """Nothing happens where another door has taken its place."""
        if self._doors.get(node_name) is door:
            del self._doors[node_name]

    def door(self, node_name: str) -> NodeDoor:
        """Raises ServiceUnavailable."""
        found = self._doors.get(node_name)
        if found is None:
            raise errors.ServiceUnavailable(
                f"node {node_name!r} cannot be reached now: its edgek is not running, or is still starting, or its link is broken; try again"
            )
        return found
