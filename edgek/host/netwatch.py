"""Hear from the kernel that links, addresses or routes changed, without asking again and again."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator

import trio

from edgek.host import rtnetlink as wire
from edgek.host.netlink import Link, Route, as_link, as_route

_GROUPS = 0x1 | 0x10 | 0x40  # RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE. Not neighbours: those of a LAN come and go all the time
_BUFFER_BYTES = 64 * 1024


class Monitor:
    """Of the namespace in which it was made, by whatever thread. Close it."""

    def __init__(self) -> None:
        self._raw = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
        self._raw.bind((0, _GROUPS))

    def close(self) -> None:
        self._raw.close()

    async def changes(self) -> list[Link | Route | None]:
        """Wait, and then all that gathered: what was changed, made or deleted. None stands for an address, and for what was missed."""
        while True:
            await trio.lowlevel.wait_readable(self._raw)
            found = list(self._gathered())
            if found:
                return found

    def _gathered(self) -> Iterator[Link | Route | None]:
        while True:
            try:
                packet = self._raw.recv(_BUFFER_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                yield None  # more came than the socket holds
                continue
            for kind, _, body in wire.messages(packet):
                if kind in (wire.NEW_LINK, wire.DELETE_LINK):
                    yield as_link(body)
                elif kind in (wire.NEW_ROUTE, wire.DELETE_ROUTE):
                    route = as_route(body)
                    if route is not None:
                        yield route
                else:
                    yield None
