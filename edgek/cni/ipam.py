"""Which address of the node's pod range goes to which container. Pure; ``network.py`` remembers it across restarts.

Addresses are handed out in turn, the longest unused first: a connection to a pod that is gone should not reach another one. A pod that asks
again, for a new sandbox or after a boot, gets the address it had last: while no server answers, others know it by nothing else.
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
        self._had: dict[str, IPv4Address] = {}  # by pod: the address it had last, or has
        self._next = max((int(address) for address in self._held.values() if address in network), default=int(self.gateway)) + 1

    @property
    def gateway(self) -> IPv4Address:
        return self.network.network_address + 1

    def expect(self, addresses: Mapping[str, IPv4Address]) -> None:
        """These pods are going to ask, and had these addresses: others get them only when nothing else is left."""
        first, last = self._bounds
        self._had |= {pod: address for pod, address in addresses.items() if first <= int(address) <= last}

    def take(self, container_id: str, pod: str = "") -> IPv4Address:
        """The container's address; the same one when asked again. ``pod`` is told apart by its uid. Raises NoAddressLeft."""
        if container_id not in self._held:
            address = self._held[container_id] = self._free_for(pod)
            self._had = {other: had for other, had in self._had.items() if had != address}
            if pod:
                self._had[pod] = address
        return self._held[container_id]

    def _free_for(self, pod: str) -> IPv4Address:
        used, had = set(self._held.values()), set(self._had.values())
        if pod in self._had and self._had[pod] not in used:
            return self._had[pod]
        first, last = self._bounds
        turn = [IPv4Address(first + (self._next - first + step) % (last - first + 1)) for step in range(last - first + 1)]
        found = next((each for each in turn if each not in used | had), None) or next((each for each in turn if each not in used), None)
        if found is None:
            raise NoAddressLeft(f"all {last - first + 1} addresses of {self.network} are in use by pods of this node")
        self._next = int(found) + 1
        return found

    @property
    def _bounds(self) -> tuple[int, int]:
        return int(self.network.network_address) + 2, int(self.network.broadcast_address) - 1

    def free(self, container_id: str) -> None:
        """Success also when it has none."""
        self._held.pop(container_id, None)
