"""Host ports: two pods cannot have the same one on an address, and 0.0.0.0 is every address."""

from __future__ import annotations

from edgek.model import requests
from edgek.server.scheduler.snapshot import NodeState, Snapshot
from edgek.server.scheduler.views import Pod


def reject(pod: Pod, node: NodeState, snapshot: Snapshot) -> str:
    taken = [port for port, count in node.ports.items() if count > 0] if pod.ports else []
    return "node(s) didn't have free ports for the requested pod ports" if requests.ports_clash(pod.ports, taken) else ""
