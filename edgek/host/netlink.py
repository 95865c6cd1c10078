"""Links, addresses, routes and neighbours by raw rtnetlink, in any network namespace.

A whole pod's interface costs half a millisecond this way (18 ms with pyroute2, which forks for a namespace and costs 20 MB besides). Everything here
blocks: call it in a worker thread. A socket belongs to the namespace in which it was made, whatever thread uses it later.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
import sys
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, ip_address, ip_network
from pathlib import Path
from typing import TypeVar

import attrs

from edgek.host import rtnetlink as wire
from edgek.host.rtnetlink import Address, Network

T = TypeVar("T")

OWN_NAMESPACE = Path("/proc/thread-self/ns/net")
BY_ADMINISTRATOR = 4  # RTPROT_STATIC: who set a route
_CLONE_NEWNET = 0x40000000
_ANSWER_BYTES = 256 * 1024
TIMEOUT_S = 10.0  # the kernel answers at once, or holds its one lock for a crowd of dying interfaces
_AT_ONCE = 100  # requests in one system call: the answers of more would not fit into the socket's buffer, where each takes a page's share


class NetlinkError(OSError):
    """The kernel refused; ``errno`` says why, the text what was asked."""


@attrs.frozen
class Request:
    """One message to the kernel. ``says`` is for the error."""

    kind: int
    flags: int
    body: bytes
    says: str


@attrs.frozen
class Link:
    """``type`` is what made it (veth, vxlan, bridge), empty for hardware; ``details`` are that type's own attributes; ``alias`` is a free text."""

    index: int
    name: str
    mac: str
    mtu: int
    up: bool
    type: str = ""
    alias: str = ""
    details: bytes = attrs.field(default=b"", repr=False)


@attrs.frozen
class Route:
    """``protocol`` says who set it, ``source`` is the address that this machine's own packets get, ``metric`` the lower the better."""

    destination: Network
    gateway: Address | None
    index: int
    source: Address | None = None
    metric: int = 0
    protocol: int = BY_ADMINISTRATOR


@attrs.frozen
class Neighbour:
    address: Address
    mac: str
    permanent: bool


def in_namespace(path: Path | str, function: Callable[[], T]) -> T:
    """Call it with this thread inside the network namespace; what it opens there stays there. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open(OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        away = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(libc, away, str(path))
        finally:
            os.close(away)
        try:
            return function()
        finally:
            _enter(libc, home, "our own namespace")
    finally:
        os.close(home)


def in_fresh_namespace(function: Callable[[], T]) -> T:
    """Call it with this thread inside a network namespace that holds nothing but a loopback link, and goes when nobody is in it. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open(OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.unshare(_CLONE_NEWNET) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        try:
            return function()
        finally:
            _enter(libc, home, "our own namespace")
    finally:
        os.close(home)


@contextlib.contextmanager
def open_socket(namespace: Path | str | None = None) -> Iterator[Socket]:
    """To the kernel's routing, of our namespace or another."""
    raw = in_namespace(namespace, _rtnetlink) if namespace else _rtnetlink()
    with contextlib.closing(raw):
        yield Socket(raw)


class Socket:
    def __init__(self, raw: socket.socket) -> None:
        self._raw = raw
        self._sequence = 0

    def run(self, *requests: Request) -> None:
        """All of them in few system calls, in order. Raises NetlinkError for the first that failed; the others were carried out."""
        failed: NetlinkError | None = None
        for start in range(0, len(requests), _AT_ONCE):
            failed = self._run(requests[start : start + _AT_ONCE]) or failed
        if failed is not None:
            raise failed

    def _run(self, requests: tuple[Request, ...]) -> NetlinkError | None:
        waiting = {}
        packet = bytearray()
        for request in requests:
            self._sequence += 1
            waiting[self._sequence] = request
            packet += self._packed(request, request.flags | wire.REQUEST | wire.ACK)
        self._raw.send(packet)
        failed: NetlinkError | None = None
        while waiting:
            for kind, sequence, body in wire.messages(self._raw.recv(_ANSWER_BYTES)):
                asked = waiting.pop(sequence, None)
                if kind == wire.ERROR and asked is not None:
                    failed = failed or _refused(body, asked)
        return failed

    def dump(self, request: Request) -> list[bytes]:
        """The bodies of all the kernel has of a kind."""
        self._sequence += 1
        self._raw.send(self._packed(request, request.flags | wire.REQUEST))
        bodies: list[bytes] = []
        while True:
            for kind, _, body in wire.messages(self._raw.recv(_ANSWER_BYTES)):
                if kind == wire.DONE:
                    return bodies
                if kind == wire.ERROR:
                    raise _refused(body, request) or NetlinkError(errno.EIO, f"no answer to: {request.says}")
                bodies.append(body)
                if not request.flags & wire.DUMP:
                    return bodies

    def link(self, name: str) -> Link | None:
        """The interface of this name."""
        request = Request(wire.GET_LINK, 0, wire.LINK.pack(0, 0, 0, 0, 0) + wire.text(3, name), f"get link {name}")
        try:
            return as_link(self.dump(request)[0])
        except NetlinkError as error:
            if error.errno == errno.ENODEV:
                return None
            raise

    def packets(self, name: str) -> tuple[int, int] | None:
        """How many a link has sent and received since it was made; None for one that is not there."""
        request = Request(wire.GET_LINK, 0, wire.LINK.pack(0, 0, 0, 0, 0) + wire.text(3, name), f"get link {name}")
        try:
            counted = wire.attributes(self.dump(request)[0][wire.LINK.size :])[23]
        except NetlinkError as error:
            if error.errno == errno.ENODEV:
                return None
            raise
        return int.from_bytes(counted[8:16], sys.byteorder), int.from_bytes(counted[:8], sys.byteorder)

    def links(self) -> list[Link]:
        return [as_link(body) for body in self.dump(Request(wire.GET_LINK, wire.DUMP, wire.LINK.pack(0, 0, 0, 0, 0), "list links"))]

    def addresses(self) -> list[tuple[int, Address]]:
        """``(interface index, address)``."""
        found = []
        for body in self.dump(Request(wire.GET_ADDRESS, wire.DUMP, wire.ADDRESS.pack(0, 0, 0, 0, 0), "list addresses")):
            attributes = wire.attributes(body[wire.ADDRESS.size :])
            raw = attributes.get(2) or attributes.get(1)
            if raw:
                found.append((wire.ADDRESS.unpack_from(body)[4], ip_address(raw)))
        return found

    def routes(self) -> list[Route]:
        """Those of IPv4, of the main table."""
        body = wire.ROUTE.pack(socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)
        found = (as_route(answer) for answer in self.dump(Request(wire.GET_ROUTE, wire.DUMP, body, "list routes")))
        return [route for route in found if route is not None]

    def neighbours(self, index: int) -> list[Neighbour]:
        """Those of IPv4 on one link."""
        found = []
        body = wire.NEIGHBOUR.pack(socket.AF_INET, 0, 0, 0, 0)
        for answer in self.dump(Request(wire.GET_NEIGHBOUR, wire.DUMP, body, "list neighbours")):
            _, at, state, _, _ = wire.NEIGHBOUR.unpack_from(answer)
            attributes = wire.attributes(answer[wire.NEIGHBOUR.size :])
            if at == index and 1 in attributes:
                found.append(Neighbour(ip_address(attributes[1]), attributes.get(2, b"").hex(":"), bool(state & wire.PERMANENT)))
        return found

    def _packed(self, request: Request, flags: int) -> bytes:
        return wire.HEADER.pack(wire.HEADER.size + len(request.body), request.kind, flags, self._sequence, 0) + request.body


def add_veth(name: str, mac: str, mtu: int, peer: str, peer_mac: str, peer_namespace: int) -> Request:
    """A pair: ``name`` here and up, ``peer`` in the namespace of that descriptor and down (up from here is refused with ENOTCONN)."""
    far = wire.LINK.pack(0, 0, 0, 0, 0) + wire.text(3, peer) + wire.number(4, mtu) + wire.raw(1, wire.mac(peer_mac)) + wire.number(28, peer_namespace)
    kind = wire.text(1, "veth") + wire.raw(2, wire.raw(1, far))
    body = wire.LINK.pack(0, 0, 0, wire.IFF_UP, wire.IFF_UP) + wire.text(3, name) + wire.number(4, mtu) + wire.raw(1, wire.mac(mac))
    return Request(wire.NEW_LINK, wire.CREATE | wire.EXCLUSIVE, body + wire.raw(18, kind), f"add veth {name} to {peer}")


def set_up(index: int) -> Request:
    return Request(wire.NEW_LINK, 0, wire.LINK.pack(0, 0, index, wire.IFF_UP, wire.IFF_UP), f"set link {index} up")


def set_mtu(index: int, mtu: int) -> Request:
    return Request(wire.NEW_LINK, 0, wire.LINK.pack(0, 0, index, 0, 0) + wire.number(4, mtu), f"set the MTU of link {index} to {mtu}")


def delete_link(name: str) -> Request:
    """Takes 20 ms: the kernel waits for all its processors."""
    return Request(wire.DELETE_LINK, 0, wire.LINK.pack(0, 0, 0, 0, 0) + wire.text(3, name), f"delete link {name}")


def add_address(index: int, address: Address, prefix: int, label: str = "", *, as_source: bool = True) -> Request:
    """Success also when it is there. ``label`` (IPv4 only) says whose it is: it begins with the link's name, a colon follows.

    Without ``as_source`` it is answered for, but nothing that leaves the machine gets it as its source unless it asks for that.
    """
    scope = wire.SCOPE_UNIVERSE if as_source else wire.SCOPE_HOST
    body = wire.ADDRESS.pack(wire.family(address), prefix, 0, scope, index) + wire.raw(2, address.packed) + wire.raw(1, address.packed)
    body += wire.text(3, label) if label else b""
    return Request(wire.NEW_ADDRESS, wire.CREATE | wire.REPLACE, body, f"add address {address}/{prefix} to link {index}")


def delete_address(index: int, address: Address, prefix: int) -> Request:
    body = wire.ADDRESS.pack(wire.family(address), prefix, 0, wire.SCOPE_UNIVERSE, index) + wire.raw(2, address.packed)
    return Request(wire.DELETE_ADDRESS, 0, body, f"delete address {address}/{prefix} of link {index}")


def set_route(
    destination: Network,
    index: int,
    *,
    gateway: Address | None = None,
    source: Address | None = None,
    onlink: bool = True,
    protocol: int = BY_ADMINISTRATOR,
) -> Request:
    """Add or replace. With ``onlink`` a gateway is taken to be on the link, whatever the addresses say; without, the kernel checks."""
    scope = wire.SCOPE_UNIVERSE if gateway else wire.SCOPE_LINK
    flags = wire.ONLINK if gateway and onlink else 0
    body = wire.ROUTE.pack(wire.family(destination), destination.prefixlen, 0, 0, wire.TABLE_MAIN, protocol, scope, wire.UNICAST, flags)
    body += wire.raw(1, destination.network_address.packed) + wire.number(4, index)
    body += wire.raw(5, gateway.packed) if gateway else b""
    body += wire.raw(7, source.packed) if source else b""
    return Request(wire.NEW_ROUTE, wire.CREATE | wire.REPLACE, body, f"set route {destination} via {gateway or 'link'} on link {index}")


def delete_route(destination: Network, *, protocol: int = 0) -> Request:
    """With ``protocol`` only one that was set under it."""
    body = wire.ROUTE.pack(wire.family(destination), destination.prefixlen, 0, 0, wire.TABLE_MAIN, protocol, wire.SCOPE_NOWHERE, 0, 0)
    return Request(wire.DELETE_ROUTE, 0, body + wire.raw(1, destination.network_address.packed), f"delete route {destination}")


def set_neighbour(index: int, address: Address, mac: str) -> Request:
    """A permanent entry: nobody has to ask."""
    body = wire.NEIGHBOUR.pack(wire.family(address), index, wire.PERMANENT, 0, 0) + wire.raw(1, address.packed) + wire.raw(2, wire.mac(mac))
    return Request(wire.NEW_NEIGHBOUR, wire.CREATE | wire.REPLACE, body, f"set neighbour {address} at {mac} on link {index}")


def delete_neighbour(index: int, address: Address) -> Request:
    body = wire.NEIGHBOUR.pack(wire.family(address), index, 0, 0, 0) + wire.raw(1, address.packed)
    return Request(wire.DELETE_NEIGHBOUR, 0, body, f"delete neighbour {address} on link {index}")


def as_link(body: bytes) -> Link:
    """What the kernel says of a link, asked or on its own."""
    _, _, index, flags, _ = wire.LINK.unpack_from(body)
    found = wire.attributes(body[wire.LINK.size :])
    about = wire.attributes(found.get(18, b""))
    return Link(
        index,
        wire.as_text(found.get(3)),
        found.get(1, b"").hex(":"),
        wire.as_number(found.get(4)),
        bool(flags & wire.IFF_UP),
        wire.as_text(about.get(1)),
        wire.as_text(found.get(20)),
        about.get(2, b""),
    )


def as_route(body: bytes) -> Route | None:
    """None for one that is not of the main table."""
    family, length, _, _, table, protocol, *_ = wire.ROUTE.unpack_from(body)
    if table != wire.TABLE_MAIN:
        return None
    found = wire.attributes(body[wire.ROUTE.size :])
    gateway, source = (ip_address(found[kind]) if kind in found else None for kind in (5, 7))
    anywhere = IPv4Address(0).packed if family == socket.AF_INET else bytes(16)
    destination = ip_network((found.get(1, anywhere), length))
    return Route(destination, gateway, wire.as_number(found.get(4)), source, wire.as_number(found.get(6)), protocol)


def _rtnetlink() -> socket.socket:
    raw = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    raw.settimeout(TIMEOUT_S)
    return raw


def _enter(libc: ctypes.CDLL, descriptor: int, name: str) -> None:
    if libc.setns(descriptor, _CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), name)


def _refused(body: bytes, asked: Request) -> NetlinkError | None:
    code = -int.from_bytes(body[:4], "little", signed=True)
    return NetlinkError(code, f"{os.strerror(code)}: {asked.says}") if code else None
