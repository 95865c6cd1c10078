"""Forget what the kernel remembers of UDP flows, by ctnetlink: UDP has no end, so a flow to something that is gone would go there for ever.

One look at the table serves any number of wishes, and needs no program. Blocks, as all of ``netlink.py`` does; acts in the namespace of the thread.
Numbers from linux/netfilter/nfnetlink_conntrack.h.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from collections.abc import Collection
from ipaddress import IPv4Address

import attrs

from edgek.host import rtnetlink as wire
from edgek.host.netlink import TIMEOUT_S, NetlinkError, Request, Socket

_NETFILTER = 12
_GET, _DELETE = (1 << 8) | 1, (1 << 8) | 2
_HEADER = struct.Struct(">BBH")  # family, version, resource
_ORIGINAL, _REPLY, _ID, _NESTED = 1, 2, 12, 0x8000
_IP, _PROTOCOL = 1, 2
_SOURCE, _DESTINATION = 1, 2
_NUMBER, _DESTINATION_PORT = 1, 3


@attrs.frozen
class Flow:
    """UDP packets sent to ``port`` at ``destination`` (None: any) that are passed on to ``endpoint`` (None: to whomever)."""

    port: int
    destination: IPv4Address | None = None
    endpoint: IPv4Address | None = None


@attrs.frozen
class _Seen:
    destination: IPv4Address
    port: int
    answers: IPv4Address  # who answers: the endpoint, where the destination was translated
    tuple: bytes
    identifier: bytes

    def is_of(self, flow: Flow) -> bool:
        return flow.destination in (None, self.destination) and flow.endpoint in (None, self.answers)


def forget_udp(flows: Collection[Flow]) -> int:
    """How many entries were removed. Raises OSError."""
    by_port: dict[int, list[Flow]] = {}
    for flow in flows:
        by_port.setdefault(flow.port, []).append(flow)
    removed = 0
    with contextlib.closing(_open()) as raw:
        kernel = Socket(raw)
        header = _HEADER.pack(socket.AF_INET, 0, 0)
        entries = kernel.dump(Request(_GET, wire.DUMP, header, "list flows"))
        for seen in filter(None, map(_udp, entries)):
            if any(seen.is_of(flow) for flow in by_port.get(seen.port, ())):
                body = header + wire.raw(_ORIGINAL | _NESTED, seen.tuple) + wire.raw(_ID, seen.identifier)
                removed += _delete(kernel, Request(_DELETE, 0, body, f"forget a flow to {seen.destination}:{seen.port}"))
    return removed


def _open() -> socket.socket:
    raw = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETFILTER)
    raw.settimeout(TIMEOUT_S)
    return raw


def _delete(kernel: Socket, request: Request) -> bool:
    try:
        kernel.run(request)
    except NetlinkError as error:
        if error.errno != errno.ENOENT:  # it ended by itself meanwhile
            raise
        return False
    return True


def _udp(entry: bytes) -> _Seen | None:
    found = wire.attributes(entry[_HEADER.size :])
    original = wire.attributes(found[_ORIGINAL])
    protocol = wire.attributes(original[_PROTOCOL])
    if protocol[_NUMBER][0] != socket.IPPROTO_UDP:
        return None
    destination = IPv4Address(wire.attributes(original[_IP])[_DESTINATION])
    answers = IPv4Address(wire.attributes(wire.attributes(found[_REPLY])[_IP])[_SOURCE])
    return _Seen(destination, int.from_bytes(protocol[_DESTINATION_PORT], "big"), answers, found[_ORIGINAL], found[_ID])
