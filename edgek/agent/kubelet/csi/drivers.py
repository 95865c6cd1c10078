"""The storage drivers of this node, by name: those that edgek brings, and those that registered by a socket. Volumes see no difference.

A driver is called by ``call``, which has the shape of ``Channel.call``. One that edgek brings is opened at its first call, and costs nothing before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import attrs

from edgek.host.message import Values
from edgek.host.rpc import Method

CALL_MOST_S = 120.0  # as upstream; a driver that takes longer is asked again


class Caller(Protocol):
    """What answers CSI calls: a ``Channel``, or the ``Services`` of a driver in this process. Raises RpcError; can be cancelled."""

    async def call(self, method: Method, values: Mapping[str, Any], *, timeout_s: float | None) -> Values: ...


@attrs.frozen
class BuiltIn:
    """A driver that edgek brings. What a CSINode shows of it is known without opening it; ``open`` is called once, before its first call."""

    name: str
    node_id: str
    open: Callable[[], Caller]
    topology: Mapping[str, str] = attrs.field(factory=dict)
    most_volumes: int = 0  # on this node; 0: no limit


class NotRegistered(Exception):
    """No such driver here now."""


@attrs.define(eq=False)
class Driver:
    """``node_id``, ``topology`` and ``most_volumes`` are what NodeGetInfo says."""

    name: str
    node_id: str
    topology: Mapping[str, str]
    most_volumes: int
    _open: Callable[[], Caller]
    _caller: Caller | None = None
    _can: frozenset[int] | None = None

    async def call(self, method: Method, values: Mapping[str, Any], *, timeout_s: float | None = CALL_MOST_S) -> Values:
        """Raises RpcError."""
        if self._caller is None:
            self._caller = self._open()
        return await self._caller.call(method, values, timeout_s=timeout_s)

    async def can(self, capability: int) -> bool:
        """Whether its node service has an NODE_CAN_... of ``csi/messages.py``. Asked once. Raises RpcError."""
        if self._can is None:
            from edgek.csi import messages

            answer = await self.call(messages.NODE_GET_CAPABILITIES, {})
            self._can = frozenset((each["rpc"] or {}).get("type", 0) for each in answer["capabilities"])
        return capability in self._can


class Drivers:
    """``on_change`` hears the name of a driver that came or went."""

    def __init__(self) -> None:
        self._drivers: dict[str, Driver] = {}
        self._hearers: list[Callable[[str], None]] = []

    def on_change(self, hear: Callable[[str], None]) -> None:
        self._hearers.append(hear)

    def put(self, driver: Driver) -> None:
        """It is there, in place of a former one of its name."""
        self._drivers[driver.name] = driver
        self._tell(driver.name)

    def put_built_in(self, found: BuiltIn) -> None:
        self.put(Driver(found.name, found.node_id, dict(found.topology), found.most_volumes, found.open))

    def drop(self, driver: Driver) -> None:
        """It went, unless another has taken its name."""
        if self._drivers.get(driver.name) is driver:
            del self._drivers[driver.name]
            self._tell(driver.name)

    def find(self, name: str) -> Driver:
        """Raises NotRegistered."""
        found = self._drivers.get(name)
        if found is None:
            raise NotRegistered(f"driver name {name} not found in the list of registered CSI drivers")
        return found

    def all(self) -> list[Driver]:
        return list(self._drivers.values())

    def _tell(self, name: str) -> None:
        for hear in self._hearers:
            hear(name)
