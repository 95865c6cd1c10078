"""How a pod's packets reach the pods of other nodes: the protocol, and the ways there are.

A backend is told of the other nodes and makes the kernel agree. ``none`` is for one machine, or for a network that routes pod ranges by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network
from typing import Protocol

import attrs
import trio


@attrs.frozen
class Peer:
    """Another node."""

    name: str
    address: IPv4Address
    pod_range: IPv4Network


class Backend(Protocol):
    overhead_bytes: int  # of each packet: a pod's MTU is the uplink's without it

    async def apply(self, own_range: IPv4Network, peers: Sequence[Peer]) -> None:
        """Make routes be these and no others. May be called again with the same."""
        ...


class OnlyHere:
    """No routes to other nodes."""

    overhead_bytes = 0

    async def apply(self, own_range: IPv4Network, peers: Sequence[Peer]) -> None:
        await trio.lowlevel.checkpoint()


BACKENDS: dict[str, type[Backend]] = {"none": OnlyHere}
