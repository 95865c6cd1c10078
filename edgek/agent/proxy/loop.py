"""The Service proxy: keeps the kernel's table as the Services, their endpoints and the pods' host ports want it.

It writes when something changed and at no other time. Changes that arrive together become one transaction; one that the kernel refuses is followed by
writing the whole table anew, which needs nothing of what is there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address
from typing import Protocol

import attrs
import trio

from edgek.agent.proxy import program, rules
from edgek.agent.proxy.ledger import Change, Ledger
from edgek.client.informer import Informer
from edgek.client.services import Service, Slice, by_service
from edgek.host import conntrack, kernel, log
from edgek.host.conntrack import Flow
from edgek.host.nft import Nft, NftError
from edgek.host.worker import Threads, Worker

REFUSES_IN_TRANSLATION = (5, 9)  # kernels from then on: see ``program.py``
REST_S = 10.0  # without a change: then what speaks nftables gives its memory back (`Nft.rest`)
RETRY_S = 5.0  # after the kernel refused even the whole table
HOST_PORTS = "\0host ports"  # their owner in the ledger: no Service is called that


class PodPort(Protocol):
    """One host port of a pod, as the pod network knows it (``cni.mappings.HostPort``)."""

    @property
    def protocol(self) -> str: ...
    @property
    def host_port(self) -> int: ...
    @property
    def container_port(self) -> int: ...
    @property
    def host_ip(self) -> str: ...


class HostPorts(Protocol):
    """Where host ports come from (``cni.mappings.Mappings``)."""

    @property
    def current(self) -> Mapping[IPv4Address, Sequence[PodPort]]: ...
    @property
    def changed(self) -> trio.Event: ...


@attrs.frozen
class Settings:
    node_name: str
    cluster_cidr: str
    own_addresses: frozenset[str] = frozenset()
    filters: bool = attrs.field(factory=lambda: kernel.version() < REFUSES_IN_TRANSLATION)


class Proxy:
    def __init__(
        self,
        settings: Settings,
        services: Informer[Service],
        slices: Informer[Slice],
        host_ports: HostPorts | None = None,
        worker: Threads | None = None,
    ) -> None:
        self._settings = settings
        self._node = rules.Node(settings.node_name, settings.own_addresses)
        self._services = services
        self._slices = slices
        self._host_ports = host_ports
        self._ledger = Ledger()
        self._dirty: set[str] = set()
        self._work = trio.Event()
        self._worker = worker or Worker(1)
        self._nft: Nft | None = None
        self._writing = True

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the table for ever; it stays when this ends, so that traffic flows while edgek restarts. Raises OSError without libnftables."""
        self._nft = await self._worker.run(Nft)
        self._slices.add_index("service", by_service)
        self._services.add_handler(lambda key, old, new: self._mark(key))
        self._slices.add_handler(lambda key, old, new: self._mark(*(view.service_key for view in (old, new) if view)))
        await self._services.synced.wait()
        await self._slices.synced.wait()
        async with trio.open_nursery() as nursery:
            if self._host_ports:
                nursery.start_soon(self._follow_host_ports, self._host_ports)
                self._dirty.add(HOST_PORTS)
            self._take_changes()
            await self._write_whole()
            task_status.started()
            while True:
                self._writing = False
                await self._wait_for_work()
                self._writing = True
                await self._write(self._take_changes())

    async def _wait_for_work(self) -> None:
        with trio.move_on_after(REST_S):
            await self._work.wait()
            return
        assert self._nft is not None
        await self._worker.run(self._nft.rest)
        await self._work.wait()

    @property
    def at_rest(self) -> bool:
        """Has the kernel been told everything?"""
        return not self._writing and not self._dirty

    def _mark(self, *keys: str) -> None:
        self._dirty.update(keys)
        self._work.set()

    async def _follow_host_ports(self, source: HostPorts) -> None:
        while True:
            changed = source.changed
            self._mark(HOST_PORTS)
            await changed.wait()

    def _take_changes(self) -> Change:
        """What the kernel must be told since the last time."""
        dirty, self._dirty = self._dirty, set()
        self._work = trio.Event()
        total = Change()
        for key in sorted(dirty):
            change = self._ledger.set(key, self._wanted(key))
            total.removed += change.removed
            total.added += change.added
        return _netted(total)

    def _wanted(self, key: str) -> tuple[rules.Element, ...]:
        if key == HOST_PORTS:
            return self._wanted_host_ports()
        service = self._services.get(key)
        if service is None:
            return ()
        return rules.of_service(service, self._slices.by_index("service", key), self._node)

    def _wanted_host_ports(self) -> tuple[rules.Element, ...]:
        found: dict[tuple[str, str], rules.Element] = {}
        for address, ports in self._host_ports.current.items() if self._host_ports else ():
            for port in ports:
                own = rules.HostPort(port.host_ip, port.protocol.lower(), port.host_port, str(address), port.container_port)
                for element in rules.of_host_port(own):
                    found.setdefault(element[:2], element)
        return tuple(found.values())

    async def _write(self, change: Change) -> None:
        if not change:
            return
        try:
            await self._run(program.difference(change.removed, change.added))
        except NftError as exc:
            log.warning("the kernel refused a change of the Services; writing them all", error=exc)
            await self._write_whole()
        await self._forget_flows(change)

    async def _write_whole(self) -> None:
        while True:
            try:
                await self._run(program.whole(self._ledger.elements(), self._settings.cluster_cidr, filters=self._settings.filters))
                return
            except NftError as exc:
                log.error("the kernel refuses the Services", error=exc, retry_s=RETRY_S)
                await trio.sleep(RETRY_S)

    async def _run(self, text: str) -> None:
        assert self._nft is not None
        await self._worker.run(self._nft.run, text)

    async def _forget_flows(self, change: Change) -> None:
        """UDP has no end: a flow to an endpoint that is gone would go there for as long as it is used."""
        gone = rules.udp_addresses(change.removed) - rules.udp_addresses(change.added)
        flows = [Flow(port, _address(service), _address(endpoint)) for endpoint, service, port in gone]
        for name, key, _ in change.removed:
            parts = key.split(" . ")
            if name in ("no_endpoints", "no_node_endpoints") and "udp" in parts:
                flows.append(Flow(int(parts[-1]), _address(parts[0]) if name == "no_endpoints" else None))
        if not flows:
            return
        try:
            await self._worker.run(conntrack.forget_udp, flows)
        except OSError as exc:
            log.warning("stale UDP flows were not removed", error=exc)


def _address(text: str) -> IPv4Address | None:
    return IPv4Address(text) if text else None


def _netted(change: Change) -> Change:
    """What was removed for one Service and added for another in the same turn has not changed."""
    both = set(change.removed) & set(change.added)
    if not both:
        return change
    return Change([e for e in change.removed if e not in both], [e for e in change.added if e not in both])
