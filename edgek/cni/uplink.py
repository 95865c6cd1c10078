"""By which of its interfaces and addresses this node is reached by the others. Pure: ``choose`` is given what the kernel shows.

A box may have no default route, several, or another one than a minute ago (DHCP, PPP, a cable moved).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network

import attrs

from edgek.host.netlink import Link, Route
from edgek.host.rtnetlink import Address

# Interfaces of containers, bridges and tunnels: nobody outside reaches this machine by them, unless a default route or a flag says so.
INWARD = ("lo", "ek", "flannel", "cni", "docker", "br-", "veth", "virbr", "podman", "kube-", "cali", "lxc")


@attrs.frozen
class Uplink:
    index: int
    name: str
    address: IPv4Address
    mtu: int


@attrs.frozen
class Wish:
    """What the operator said (``--node-ip``, ``--flannel-iface``), and ranges whose addresses are never the node's: those of pods and Services."""

    address: IPv4Address | None = None
    interface: str = ""
    avoid: tuple[IPv4Network, ...] = ()


@attrs.frozen
class Sight:
    """What the kernel shows."""

    links: Sequence[Link]
    addresses: Sequence[tuple[int, Address]]
    routes: Sequence[Route]

    @property
    def has_default_route(self) -> bool:
        return any(route.destination.prefixlen == 0 for route in self.routes)


def choose(wish: Wish, sight: Sight, current: Uplink | None = None) -> Uplink | None:
    """None while there is nothing to choose: no link is up, or what was wished for is not there."""
    for link, preferred in _candidates(wish, sight, current):
        found = _usable(wish, sight, link)
        if wish.address:
            found = [address for address in found if address == wish.address]
        if found:
            ranked = [address for wanted in preferred for address in found if address == wanted]
            return Uplink(link.index, link.name, (ranked or found)[0], link.mtu)
    return None


def outward(avoid: tuple[IPv4Network, ...], sight: Sight) -> list[IPv4Address]:
    """All addresses by which others may reach this machine."""
    links = [link for link in sight.links if link.up and not link.name.startswith(INWARD)]
    return [address for link in links for address in _usable(Wish(avoid=avoid), sight, link)]


def _candidates(wish: Wish, sight: Sight, current: Uplink | None) -> Iterable[tuple[Link, list[Address]]]:
    """Links, the best first, each with addresses that are to be preferred: the one we have, then the one that a route names."""
    links = {link.index: link for link in sight.links if link.up}
    held: list[Address] = [current.address] if current else []
    if wish.interface or wish.address:
        yield from ((link, held) for link in links.values() if wish.interface in ("", link.name))
        return
    for route in sorted(sight.routes, key=lambda route: route.metric):
        if route.destination.prefixlen == 0 and route.index in links:
            yield links[route.index], [*held, *([route.source] if route.source else [])]
    if current and current.index in links:
        yield links[current.index], held
    yield from ((link, held) for link in links.values() if not link.name.startswith(INWARD))


def _usable(wish: Wish, sight: Sight, link: Link) -> list[IPv4Address]:
    return [
        address
        for index, address in sight.addresses
        if index == link.index
        and isinstance(address, IPv4Address)
        and not (address.is_loopback or address.is_link_local or address.is_multicast)
        and not any(address in network for network in wish.avoid)
    ]
