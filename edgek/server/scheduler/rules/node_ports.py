"""Host ports: two pods cannot have the same one on an address, and 0.0.0.0 is every address."""

from __future__ import annotations

from edgek.server.scheduler.snapshot import NodeState, Snapshot
from edgek.server.scheduler.views import Pod

ANY = "0.0.0.0"


def reject(pod: Pod, node: NodeState, snapshot: Snapshot) -> str:
    taken = [port for port, count in node.ports.items() if count > 0] if pod.ports else []
    for address, protocol, number in pod.ports:
        for other, other_protocol, other_number in taken:
            if (protocol, number) == (other_protocol, other_number) and (address == other or ANY in (address, other)):
                return "node(s) didn't have free ports for the requested pod ports"
    return ""
