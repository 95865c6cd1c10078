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
import struct
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import TypeVar

import attrs

T = TypeVar("T")
Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

OWN_NAMESPACE = Path("/proc/thread-self/ns/net")
_CLONE_NEWNET = 0x40000000
_ANSWER_BYTES = 256 * 1024
_TIMEOUT_S = 10.0  # the kernel answers at once, or holds its one lock for a crowd of dying interfaces

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")
_NEIGHBOUR = struct.Struct("=BxxxiHBB")

_ERROR, _DONE = 2, 3
_NEW_LINK, _DELETE_LINK, _GET_LINK = 16, 17, 18
_NEW_ADDRESS, _DELETE_ADDRESS, _GET_ADDRESS = 20, 21, 22
_NEW_ROUTE, _DELETE_ROUTE, _GET_ROUTE = 24, 25, 26
_NEW_NEIGHBOUR, _DELETE_NEIGHBOUR = 28, 29
_REQUEST, _ACK, _REPLACE, _EXCLUSIVE, _CREATE, _DUMP = 1, 4, 0x100, 0x200, 0x400, 0x300

_IFF_UP = 1
_PERMANENT = 0x80
_ONLINK = 4
_SCOPE_UNIVERSE, _SCOPE_LINK = 0, 253
_TABLE_MAIN, _BY_ADMINISTRATOR, _UNICAST = 254, 4, 1


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
    index: int
    name: str
    mac: str
    mtu: int
    up: bool


@attrs.frozen
class Route:
    destination: Network
    gateway: Address | None
    index: int


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
        """All of them in one system call, in order. Raises NetlinkError for the first that failed; the others were carried out."""
        waiting = {}
        packet = bytearray()
        for request in requests:
            self._sequence += 1
            waiting[self._sequence] = request
            packet += self._packed(request, request.flags | _REQUEST | _ACK)
        self._raw.send(packet)
        failed: NetlinkError | None = None
        while waiting:
            for kind, sequence, body in _messages(self._raw.recv(_ANSWER_BYTES)):
                asked = waiting.pop(sequence, None)
                if kind == _ERROR and asked is not None:
                    failed = failed or _refused(body, asked)
        if failed is not None:
            raise failed

    def dump(self, request: Request) -> list[bytes]:
        """The bodies of all the kernel has of a kind."""
        self._sequence += 1
        self._raw.send(self._packed(request, request.flags | _REQUEST))
        bodies: list[bytes] = []
        while True:
            for kind, _, body in _messages(self._raw.recv(_ANSWER_BYTES)):
                if kind == _DONE:
                    return bodies
                if kind == _ERROR:
                    raise _refused(body, request) or NetlinkError(errno.EIO, f"no answer to: {request.says}")
                bodies.append(body)
                if not request.flags & _DUMP:
                    return bodies

    def link(self, name: str) -> Link | None:
        """The interface of this name."""
        request = Request(_GET_LINK, 0, _LINK.pack(0, 0, 0, 0, 0) + _text(3, name), f"get link {name}")
        try:
            return _link(self.dump(request)[0])
        except NetlinkError as error:
            if error.errno == errno.ENODEV:
                return None
            raise

    def links(self) -> list[Link]:
        return [_link(body) for body in self.dump(Request(_GET_LINK, _DUMP, _LINK.pack(0, 0, 0, 0, 0), "list links"))]

    def addresses(self) -> list[tuple[int, Address]]:
        """``(interface index, address)``."""
        found = []
        for body in self.dump(Request(_GET_ADDRESS, _DUMP, _ADDRESS.pack(0, 0, 0, 0, 0), "list addresses")):
            attributes = _attributes(body[_ADDRESS.size :])
            raw = attributes.get(2) or attributes.get(1)
            if raw:
                found.append((_ADDRESS.unpack_from(body)[4], ip_address(raw)))
        return found

    def routes(self) -> list[Route]:
        """Of the main table."""
        found = []
        for body in self.dump(Request(_GET_ROUTE, _DUMP, _ROUTE.pack(socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0), "list routes")):
            _, length, _, _, table, *_ = _ROUTE.unpack_from(body)
            attributes = _attributes(body[_ROUTE.size :])
            if table == _TABLE_MAIN:
                gateway = ip_address(attributes[5]) if 5 in attributes else None
                index = int.from_bytes(attributes.get(4, b""), "little")
                found.append(Route(ip_network((attributes.get(1, b"\0\0\0\0"), length)), gateway, index))
        return found

    def _packed(self, request: Request, flags: int) -> bytes:
        return _HEADER.pack(_HEADER.size + len(request.body), request.kind, flags, self._sequence, 0) + request.body


def add_veth(name: str, mac: str, mtu: int, peer: str, peer_mac: str, peer_namespace: int) -> Request:
    """A pair: ``name`` here and up, ``peer`` in the namespace of that descriptor and down (up from here is refused with ENOTCONN)."""
    far = _LINK.pack(0, 0, 0, 0, 0) + _text(3, peer) + _number(4, mtu) + _raw(1, _mac(peer_mac)) + _number(28, peer_namespace)
    kind = _text(1, "veth") + _raw(2, _raw(1, far))
    body = _LINK.pack(0, 0, 0, _IFF_UP, _IFF_UP) + _text(3, name) + _number(4, mtu) + _raw(1, _mac(mac)) + _raw(18, kind)
    return Request(_NEW_LINK, _CREATE | _EXCLUSIVE, body, f"add veth {name} to {peer}")


def set_up(index: int) -> Request:
    return Request(_NEW_LINK, 0, _LINK.pack(0, 0, index, _IFF_UP, _IFF_UP), f"set link {index} up")


def delete_link(name: str) -> Request:
    """Takes 20 ms: the kernel waits for all its processors."""
    return Request(_DELETE_LINK, 0, _LINK.pack(0, 0, 0, 0, 0) + _text(3, name), f"delete link {name}")


def add_address(index: int, address: Address, prefix: int, label: str = "") -> Request:
    """Success also when it is there. ``label`` (IPv4 only) says whose it is: it begins with the link's name, a colon follows."""
    body = _ADDRESS.pack(_family(address), prefix, 0, _SCOPE_UNIVERSE, index) + _raw(2, address.packed) + _raw(1, address.packed)
    body += _text(3, label) if label else b""
    return Request(_NEW_ADDRESS, _CREATE | _REPLACE, body, f"add address {address}/{prefix} to link {index}")


def delete_address(index: int, address: Address, prefix: int) -> Request:
    body = _ADDRESS.pack(_family(address), prefix, 0, _SCOPE_UNIVERSE, index) + _raw(2, address.packed)
    return Request(_DELETE_ADDRESS, 0, body, f"delete address {address}/{prefix} of link {index}")


def set_route(destination: Network, index: int, *, gateway: Address | None = None, source: Address | None = None) -> Request:
    """Add or replace. A gateway is taken to be on the link, whatever the addresses say."""
    scope = _SCOPE_UNIVERSE if gateway else _SCOPE_LINK
    flags = _ONLINK if gateway else 0
    body = _ROUTE.pack(_family(destination), destination.prefixlen, 0, 0, _TABLE_MAIN, _BY_ADMINISTRATOR, scope, _UNICAST, flags)
    body += _raw(1, destination.network_address.packed) + _number(4, index)
    body += _raw(5, gateway.packed) if gateway else b""
    body += _raw(7, source.packed) if source else b""
    return Request(_NEW_ROUTE, _CREATE | _REPLACE, body, f"set route {destination} via {gateway or 'link'} on link {index}")


def delete_route(destination: Network) -> Request:
    body = _ROUTE.pack(_family(destination), destination.prefixlen, 0, 0, _TABLE_MAIN, 0, 255, 0, 0) + _raw(1, destination.network_address.packed)
    return Request(_DELETE_ROUTE, 0, body, f"delete route {destination}")


def set_neighbour(index: int, address: Address, mac: str) -> Request:
    """A permanent entry: nobody has to ask."""
    body = _NEIGHBOUR.pack(_family(address), index, _PERMANENT, 0, 0) + _raw(1, address.packed) + _raw(2, _mac(mac))
    return Request(_NEW_NEIGHBOUR, _CREATE | _REPLACE, body, f"set neighbour {address} at {mac} on link {index}")


def delete_neighbour(index: int, address: Address) -> Request:
    body = _NEIGHBOUR.pack(_family(address), index, 0, 0, 0) + _raw(1, address.packed)
    return Request(_DELETE_NEIGHBOUR, 0, body, f"delete neighbour {address} on link {index}")


def _rtnetlink() -> socket.socket:
    raw = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    raw.settimeout(_TIMEOUT_S)
    return raw


def _enter(libc: ctypes.CDLL, descriptor: int, name: str) -> None:
    if libc.setns(descriptor, _CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), name)


def _messages(packet: bytes) -> Iterator[tuple[int, int, bytes]]:
    at = 0
    while at < len(packet):
        length, kind, _, sequence, _ = _HEADER.unpack_from(packet, at)
        yield kind, sequence, packet[at + _HEADER.size : at + length]
        at += (length + 3) & ~3


def _refused(body: bytes, asked: Request) -> NetlinkError | None:
    code = -int.from_bytes(body[:4], "little", signed=True)
    return NetlinkError(code, f"{os.strerror(code)}: {asked.says}") if code else None


def _link(body: bytes) -> Link:
    _, _, index, flags, _ = _LINK.unpack_from(body)
    attributes = _attributes(body[_LINK.size :])
    name = attributes[3].rstrip(b"\0").decode()
    return Link(index, name, attributes.get(1, b"").hex(":"), int.from_bytes(attributes.get(4, b""), "little"), bool(flags & _IFF_UP))


def _attributes(raw: bytes) -> dict[int, bytes]:
    found, at = {}, 0
    while at + _ATTRIBUTE.size <= len(raw):
        length, kind = _ATTRIBUTE.unpack_from(raw, at)
        found[kind & 0x3FFF] = raw[at + _ATTRIBUTE.size : at + length]
        at += (max(length, _ATTRIBUTE.size) + 3) & ~3
    return found


def _raw(kind: int, value: bytes) -> bytes:
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + b"\0" * (-length % 4)


def _text(kind: int, value: str) -> bytes:
    return _raw(kind, value.encode() + b"\0")


def _number(kind: int, value: int) -> bytes:
    return _raw(kind, value.to_bytes(4, "little"))


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _family(of: Address | Network) -> int:
    return socket.AF_INET if of.version == 4 else socket.AF_INET6
