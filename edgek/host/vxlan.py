"""A VXLAN interface and its forwarding table: which machine has which hardware address. Blocks, as all of ``netlink.py`` does.

https://www.rfc-editor.org/rfc/rfc7348; numbers from linux/if_link.h and linux/neighbour.h.
"""

from __future__ import annotations

import array
import fcntl
import socket
import struct
from ipaddress import IPv4Address

import attrs

from edgek.host import kernel
from edgek.host import rtnetlink as wire
from edgek.host.netlink import Link, Request, Socket

OVERHEAD_BYTES = 50  # around each packet: Ethernet 14, IPv4 20, UDP 8, VXLAN 8
_SIOCETHTOOL = 0x8946
_SET_TX_CHECKSUM = 0x17
_CHECKSUM_MENDED = (5, 7)  # kernels from then on compute the sum of a translated and encapsulated packet right


@attrs.frozen
class Vxlan:
    """``lower`` is the index of the link that carries it, ``local`` the address from which it sends."""

    identifier: int
    lower: int
    local: IPv4Address
    port: int
    learning: bool = False


@attrs.frozen
class Forwarding:
    """Frames for ``mac`` go to the machine at ``machine``."""

    mac: str
    machine: IPv4Address


def add(name: str, vxlan: Vxlan, mac: str, mtu: int, alias: str) -> tuple[Request, Request]:
    """Make it, up, and mark it with ``alias`` (which cannot be given at once). The hardware address is given, so udev leaves it alone."""
    about = wire.number(1, vxlan.identifier) + wire.number(3, vxlan.lower) + wire.raw(4, vxlan.local.packed)
    about += wire.raw(7, bytes([vxlan.learning])) + wire.raw(15, struct.pack(">H", vxlan.port))
    kind = wire.raw(18, wire.text(1, "vxlan") + wire.raw(2, about))
    flags = wire.LINK.pack(0, 0, 0, wire.IFF_UP, wire.IFF_UP)
    body = flags + wire.text(3, name) + wire.number(4, mtu) + wire.raw(1, wire.mac(mac)) + kind
    named = wire.LINK.pack(0, 0, 0, 0, 0) + wire.text(3, name)
    return (
        Request(wire.NEW_LINK, wire.CREATE | wire.EXCLUSIVE, body, f"add VXLAN {name}"),
        Request(wire.NEW_LINK, 0, named + wire.text(20, alias), f"mark link {name} as {alias}"),
    )


def of(link: Link) -> Vxlan | None:
    """What a link is like as a VXLAN; None for one that is none, or that sends by IPv6."""
    if link.type != "vxlan":
        return None
    found = wire.attributes(link.details)
    local = found.get(4)
    if local is None:
        return None
    port = int.from_bytes(found.get(15, b""), "big")
    return Vxlan(wire.as_number(found.get(1)), wire.as_number(found.get(3)), IPv4Address(local), port, bool(found.get(7, b"\0")[0]))


def forwardings(place: Socket, index: int) -> list[Forwarding]:
    """The permanent entries of a link's own table."""
    found = []
    body = wire.NEIGHBOUR.pack(wire.FAMILY_BRIDGE, 0, 0, 0, 0)
    for answer in place.dump(Request(wire.GET_NEIGHBOUR, wire.DUMP, body, "list forwarding entries")):
        _, at, state, _, _ = wire.NEIGHBOUR.unpack_from(answer)
        attributes = wire.attributes(answer[wire.NEIGHBOUR.size :])
        machine = attributes.get(1)
        if at == index and state & wire.PERMANENT and machine is not None and len(machine) == 4:
            found.append(Forwarding(attributes.get(2, b"").hex(":"), IPv4Address(machine)))
    return found


def set_forwarding(index: int, entry: Forwarding) -> Request:
    """Add, or move to another machine."""
    return Request(wire.NEW_NEIGHBOUR, wire.CREATE | wire.REPLACE, _forwarding(index, entry), f"set {entry.mac} at {entry.machine} on link {index}")


def delete_forwarding(index: int, entry: Forwarding) -> Request:
    return Request(wire.DELETE_NEIGHBOUR, 0, _forwarding(index, entry), f"delete {entry.mac} at {entry.machine} on link {index}")


def mend_checksums(name: str, release: str = "") -> bool:
    """Let the machine, not the interface, compute checksums where the kernel is older than 5.7; true where that was needed.

    Those kernels send a wrong sum for what was translated and then encapsulated, and connections across nodes wait for minutes (kubernetes#88986).
    """
    if kernel.version(release) >= _CHECKSUM_MENDED:
        return False
    command = array.array("I", (_SET_TX_CHECKSUM, 0))
    request = struct.pack("16sP", name.encode(), command.buffer_info()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control.fileno(), _SIOCETHTOOL, request.ljust(40, b"\0"))
    return True


def _forwarding(index: int, entry: Forwarding) -> bytes:
    head = wire.NEIGHBOUR.pack(wire.FAMILY_BRIDGE, index, wire.PERMANENT, wire.ON_DEVICE, 0)
    return head + wire.raw(1, entry.machine.packed) + wire.raw(2, wire.mac(entry.mac))
