"""Which address of the node's pod range goes to which container. Pure; ``network.py`` remembers it across restarts.

Addresses are handed out in turn, the longest unused first: a connection to a pod that is gone should not reach another one.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network


class NoAddressLeft(Exception):
    """All addresses of the range are in use."""


class Pool:
    """Of ``10.42.3.0/24``: the first is the node's own towards its pods, the last is not used."""

    def __init__(self, network: IPv4Network, taken: Mapping[str, IPv4Address] | None = None) -> None:
        self.network = network
        self._held = dict(taken or {})
        self._next = max((int(address) for address in self._held.values() if address in network), default=int(self.gateway)) + 1

    @property
    def gateway(self) -> IPv4Address:
        return self.network.network_address + 1

    def take(self, container_id: str) -> IPv4Address:
        """The container's address; the same one when asked again. Raises NoAddressLeft."""
        if container_id in self._held:
            return self._held[container_id]
        first, last = int(self.network.network_address) + 2, int(self.network.broadcast_address) - 1
        used = {int(address) for address in self._held.values()}
        for step in range(last - first + 1):
            candidate = first + (self._next - first + step) % (last - first + 1)
            if candidate not in used:
                self._next = candidate + 1
                self._held[container_id] = IPv4Address(candidate)
                return self._held[container_id]
        raise NoAddressLeft(f"all {last - first + 1} addresses of {self.network} are in use by pods of this node")

    def free(self, container_id: str) -> None:
        """Success also when it has none."""
        self._held.pop(container_id, None)
