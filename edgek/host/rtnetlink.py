"""How rtnetlink messages are laid out (man 7 rtnetlink): headers, attributes, numbers. Pure; ``netlink.py`` sends them."""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

HEADER = struct.Struct("=IHHII")
ATTRIBUTE = struct.Struct("=HH")
LINK = struct.Struct("=BxHiII")
ADDRESS = struct.Struct("=BBBBI")
ROUTE = struct.Struct("=BBBBBBBBI")
NEIGHBOUR = struct.Struct("=BxxxiHBB")

ERROR, DONE = 2, 3
NEW_LINK, DELETE_LINK, GET_LINK = 16, 17, 18
NEW_ADDRESS, DELETE_ADDRESS, GET_ADDRESS = 20, 21, 22
NEW_ROUTE, DELETE_ROUTE, GET_ROUTE = 24, 25, 26
NEW_NEIGHBOUR, DELETE_NEIGHBOUR, GET_NEIGHBOUR = 28, 29, 30
REQUEST, ACK, REPLACE, EXCLUSIVE, CREATE, DUMP = 1, 4, 0x100, 0x200, 0x400, 0x300

IFF_UP = 1
PERMANENT = 0x80
ON_DEVICE = 2  # NTF_SELF: the device's own table, not that of a bridge above it
ONLINK = 4
SCOPE_UNIVERSE, SCOPE_LINK, SCOPE_HOST, SCOPE_NOWHERE = 0, 253, 254, 255
TABLE_MAIN, UNICAST = 254, 1
FAMILY_BRIDGE = 7


def messages(packet: bytes) -> Iterator[tuple[int, int, bytes]]:
    """``(kind, sequence, body)`` of each."""
    at = 0
    while at + HEADER.size <= len(packet):
        length, kind, _, sequence, _ = HEADER.unpack_from(packet, at)
        yield kind, sequence, packet[at + HEADER.size : at + length]
        at += (max(length, HEADER.size) + 3) & ~3


def attributes(raw: bytes) -> dict[int, bytes]:
    found, at = {}, 0
    while at + ATTRIBUTE.size <= len(raw):
        length, kind = ATTRIBUTE.unpack_from(raw, at)
        found[kind & 0x3FFF] = raw[at + ATTRIBUTE.size : at + length]
        at += (max(length, ATTRIBUTE.size) + 3) & ~3
    return found


def raw(kind: int, value: bytes) -> bytes:
    length = ATTRIBUTE.size + len(value)
    return ATTRIBUTE.pack(length, kind) + value + b"\0" * (-length % 4)


def text(kind: int, value: str) -> bytes:
    return raw(kind, value.encode() + b"\0")


def number(kind: int, value: int) -> bytes:
    return raw(kind, struct.pack("=I", value))


def mac(written: str) -> bytes:
    return bytes.fromhex(written.replace(":", ""))


def as_number(value: bytes | None) -> int:
    """In the machine's byte order; 0 for none."""
    return int.from_bytes(value or b"", sys.byteorder)


def as_text(value: bytes | None) -> str:
    return (value or b"").rstrip(b"\0").decode(errors="replace")


def family(of: Address | Network) -> int:
    return socket.AF_INET if of.version == 4 else socket.AF_INET6
