"""Which service addresses and node ports are taken: the only state that resources have, kept by the write path.

It is built from the store's services at start and changed by ``Service.allocate`` and ``Service.release``, all in one event loop, so a check and the
taking that follows cannot be torn apart. Like upstream, chosen numbers come from the upper part of a range, so that those who ask for a certain one
have the lower part for themselves (https://kubernetes.io/docs/reference/networking/virtual-ips/#avoiding-collisions).
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Iterable, Iterator

import attrs

from edgek.model.objects import Object

DEFAULT_SERVICE_CIDR = "10.43.0.0/16"
DEFAULT_NODE_PORTS = range(30000, 32768)
TRIES = 32  # random draws before a band is searched from one end to the other


class Full(Exception):
    """Every number of the range is taken."""


@attrs.define
class Numbers:
    """A range of numbers, its lower ``static`` ones left to those who ask for them by name."""

    span: range
    static: int
    taken: set[int] = attrs.field(factory=set)
    draw: random.Random = attrs.field(factory=random.Random)

    def is_free(self, number: int) -> bool:
        return number in self.span and number not in self.taken

    def take(self, number: int) -> None:
        self.taken.add(number)

    def take_any(self) -> int:
        """A free number, taken. Raises ``Full``."""
        for band in (self.span[self.static :], self.span[: self.static]):
            number = self._free_in(band)
            if number is not None:
                self.take(number)
                return number
        raise Full

    def free(self, number: int) -> None:
        self.taken.discard(number)

    def _free_in(self, band: range) -> int | None:
        if not band:
            return None
        for _ in range(TRIES):
            number = self.draw.choice(band)
            if number not in self.taken:
                return number
        return next((number for number in band if number not in self.taken), None)


@attrs.define
class Allocators:
    """The addresses of ``service_cidr`` (IPv4) and the node ports. Addresses are counted as the numbers that they are."""

    addresses: Numbers
    ports: Numbers
    service_cidr: ipaddress.IPv4Network

    @classmethod
    def of(cls, service_cidr: str = DEFAULT_SERVICE_CIDR, node_ports: range = DEFAULT_NODE_PORTS, services: Iterable[Object] = ()) -> Allocators:
        """What is free beside ``services``."""
        network = ipaddress.IPv4Network(service_cidr)
        first, last = int(network.network_address), int(network.broadcast_address)
        hosts = range(first + 1, last)
        made = cls(
            addresses=Numbers(hosts, static=static_band(len(hosts), divisor=16, most=256)),
            ports=Numbers(node_ports, static=static_band(len(node_ports), divisor=32, most=128)),
            service_cidr=network,
        )
        for service in services:
            for address in cluster_ips(service):
                made.addresses.take(int(ipaddress.IPv4Address(address)))
            for port in held_ports(service):
                made.ports.take(port)
        return made


def static_band(size: int, *, divisor: int, most: int) -> int:
    """How many of a range's lower numbers are never handed out while there are others."""
    if size < 16:
        return 0
    return min(max(16, size // divisor), most)


def cluster_ips(service: Object) -> Iterator[str]:
    """The IPv4 addresses that a service holds."""
    for address in (service.get("spec") or {}).get("clusterIPs") or ():
        if address and address != "None" and ":" not in address:
            yield address


def held_ports(service: Object) -> set[int]:
    """The node ports that a service holds, its health check included. Two protocols may share one."""
    spec = service.get("spec") or {}
    ports = {port.get("nodePort") or 0 for port in spec.get("ports") or ()} | {spec.get("healthCheckNodePort") or 0}
    return ports - {0}
