"""Ask on a link who holds an address, and hear who answers: ARP frames (RFC 826) by a packet socket.

The kernel of the machine that is asked answers by itself: no program runs there for it, and no filter of IP packets hears of it.
"""

from __future__ import annotations

import errno
import socket
import struct
from ipaddress import IPv4Address

import attrs
import trio

from edgek.host import rtnetlink as wire

_PROTOCOL = 0x0806
_ETHERNET = struct.Struct("!6s6sH")
_BODY = struct.Struct("!HHBBH6s4s6s4s")
_QUESTION, _ANSWER = 1, 2
_FRAME_BYTES = 128
_AWAY = (errno.ENETDOWN, errno.ENXIO, errno.ENODEV)  # the link went


@attrs.frozen
class Station:
    address: IPv4Address
    mac: str


class Asker:
    """On one link of the namespace in which it was made, by whatever thread. Close it. Raises OSError where the link is not there."""

    def __init__(self, link: str) -> None:
        self._raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, 0)
        try:
            self._raw.bind((link, _PROTOCOL))
        except OSError:
            self._raw.close()
            raise

    def close(self) -> None:
        self._raw.close()

    def ask(self, source: Station, target: Station) -> None:
        """Send one frame to the target alone. It may be lost on its way, as any. Raises OSError."""
        mine, theirs = wire.mac(source.mac), wire.mac(target.mac)
        body = _BODY.pack(1, 0x0800, 6, 4, _QUESTION, mine, source.address.packed, theirs, target.address.packed)
        self._raw.send(_ETHERNET.pack(theirs, mine, _PROTOCOL) + body)

    async def answers(self) -> set[IPv4Address]:
        """Wait, and then all who answered meanwhile; none of them also where the link went."""
        await trio.lowlevel.wait_readable(self._raw)
        found: set[IPv4Address] = set()
        while True:
            try:
                frame = self._raw.recv(_FRAME_BYTES)
            except BlockingIOError:
                return found
            except OSError as error:
                if error.errno not in _AWAY:
                    raise
                return found
            answer = _answer(frame)
            if answer is not None:
                found.add(answer)


def _answer(frame: bytes) -> IPv4Address | None:
    """Who speaks in it; None for what is no answer."""
    if len(frame) < _ETHERNET.size + _BODY.size:
        return None
    hardware, protocol, _, _, operation, _, address, _, _ = _BODY.unpack_from(frame, _ETHERNET.size)
    return IPv4Address(address) if (hardware, protocol, operation) == (1, 0x0800, _ANSWER) else None
