"""Host ports of pods, for whoever translates addresses on this node: the current ones, and when they change."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address

import attrs
import trio


@attrs.frozen
class HostPort:
    protocol: str  # tcp, udp, sctp
    host_port: int
    container_port: int
    host_ip: str = ""  # empty: every address of the node


class Mappings:
    """``current`` by pod address. A reader takes ``changed`` before it reads, and waits for it after."""

    def __init__(self) -> None:
        self._current: Mapping[IPv4Address, tuple[HostPort, ...]] = {}
        self.changed = trio.Event()

    @property
    def current(self) -> Mapping[IPv4Address, tuple[HostPort, ...]]:
        return self._current

    def replace(self, current: Mapping[IPv4Address, tuple[HostPort, ...]]) -> None:
        if current != self._current:
            self._current = current
            self.changed.set()
            self.changed = trio.Event()
