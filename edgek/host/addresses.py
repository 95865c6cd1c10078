"""This machine's own addresses, without asking anybody outside."""

from __future__ import annotations

import fcntl
import socket
import struct

SIOCGIFADDR = 0x8915
OUTSIDE = "192.0.2.1"  # TEST-NET-1: connecting a UDP socket there sends nothing, and shows which address would be used


def primary() -> str:
    """The address by which others most likely reach us: that of the default route, else the first that is not loopback, else loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((OUTSIDE, 9))
            return str(probe.getsockname()[0])
        except OSError:
            pass  # no default route: an edge box may have none
    return next((address for address in of_interfaces().values() if not address.startswith("127.")), "127.0.0.1")


def of_interfaces() -> dict[str, str]:
    """The first IPv4 address of each interface that has one."""
    found = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(control.fileno(), SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
            except OSError:
                continue  # it has none
            found[name] = socket.inet_ntoa(answer[20:24])
    return found
