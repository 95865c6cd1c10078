"""How a pod's packets reach the pods of other nodes: the protocol, and what the ways to do it share.

A backend is told of this node and the others, and makes the kernel agree: it looks at what is there and changes only what differs. It blocks for a
millisecond, in a worker thread, in the network namespace of the node. ``none`` is for one machine, or for a network that routes pod ranges by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network
from typing import Protocol

import attrs

from edgek.cni.uplink import Uplink
from edgek.host.netlink import Link, Request, Route, Socket, delete_link, delete_route, set_route

ROUTE_PROTOCOL = 237  # who set a route: by this number we know ours again, and an administrator can (ip route show proto 237)
DEVICE = "flannel.1"  # flannel's name, as tools and firewalls' zones know it
OURS = "edgek"  # the alias of links that we made: others are never deleted
NO_DATA = "null"  # what flannel publishes for a backend that has nothing to say


@attrs.frozen
class Peer:
    """Another node, as it published itself."""

    name: str
    address: IPv4Address
    pod_range: IPv4Network
    data: str = NO_DATA


@attrs.frozen
class Here:
    """This node."""

    name: str
    pod_range: IPv4Network
    uplink: Uplink


class Backend(Protocol):
    type: str  # flannel's word, in the annotation ``backend-type``; empty: nothing is published
    overhead_bytes: int  # of each packet: a pod's MTU is the uplink's without it
    routable: bool  # whether other nodes may send to an address of ours that stands before a router (``--node-external-ip``)

    def data(self, node_name: str) -> str:
        """What this node publishes in the annotation ``backend-data``."""
        ...

    def answers(self, peer: Peer) -> bool:
        """Whether that node can be asked through the tunnel (``ask.py``) if it is reached."""
        ...

    def apply(self, kernel: Socket, here: Here, peers: Sequence[Peer]) -> Sequence[str]:
        """Make routes be these and no others. What could not be done, for the log. Raises OSError: try again."""
        ...


class OnlyHere:
    """No routes to other nodes."""

    type = ""
    overhead_bytes = 0
    routable = False

    def data(self, node_name: str) -> str:
        return NO_DATA

    def answers(self, peer: Peer) -> bool:
        return False

    def apply(self, kernel: Socket, here: Here, peers: Sequence[Peer]) -> Sequence[str]:
        remove_device(kernel)
        kernel.run(*route_changes({}, kernel.routes()))
        return ()


def route_changes(wanted: Mapping[IPv4Network, Request], seen: Iterable[Route], right: Iterable[IPv4Network] = ()) -> list[Request]:
    """Requests by which exactly the wanted destinations have routes of ours; those in ``right`` are as they should be."""
    kept = set(right)
    stale = [route.destination for route in seen if is_ours(route) and route.destination not in wanted]
    return [
        *(delete_route(destination, protocol=ROUTE_PROTOCOL) for destination in stale),
        *(request for destination, request in wanted.items() if destination not in kept),
    ]


def routes_to(wanted: Mapping[IPv4Network, IPv4Address], index: int, seen: Sequence[Route], *, onlink: bool) -> list[Request]:
    """Requests by which each range is reached by its gateway on that link, and nothing else by a route of ours."""
    right = {route.destination for route in seen if is_ours(route) and route.index == index and wanted.get(_v4(route)) == route.gateway}
    asked = {
        destination: set_route(destination, index, gateway=gateway, onlink=onlink, protocol=ROUTE_PROTOCOL) for destination, gateway in wanted.items()
    }
    return route_changes(asked, seen, right=[each for each in asked if each in right])


def is_ours(route: Route) -> bool:
    """Whether it leads to another node by our doing."""
    return route.protocol == ROUTE_PROTOCOL and route.gateway is not None


def remove_device(kernel: Socket) -> None:
    """Take away the VXLAN interface that another backend of ours left."""
    link = kernel.link(DEVICE)
    if link is not None and belongs_to_us(link):
        kernel.run(delete_link(DEVICE))


def belongs_to_us(link: Link) -> bool:
    return link.type == "vxlan" and link.alias == OURS


def _v4(route: Route) -> IPv4Network:
    assert isinstance(route.destination, IPv4Network)
    return route.destination
