"""This node among the others: its address towards them, its pod range, its routes to theirs, and what it publishes for them.

It looks when a Node object changed, or when the kernel says that links, addresses or routes did, and at no other time. A look makes everything right,
whatever it was before: an interface that somebody deleted, an address that DHCP changed, entries of nodes that are gone. Pods are never touched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import attrs
import trio

from edgek.client.client import STRATEGIC_MERGE_PATCH, Client
from edgek.client.informer import Informer
from edgek.client.transport import Disconnected
from edgek.cni import ask, nodes, remembered, setup, uplink
from edgek.cni.backend import Backend, Here
from edgek.cni.backends import BACKENDS
from edgek.cni.network import PodNetwork
from edgek.cni.reach import Pace, Reach, Verdict
from edgek.cni.remembered import Remembered
from edgek.cni.uplink import Sight, Uplink, Wish
from edgek.host import log, netlink, wallclock
from edgek.host.netlink import Link, Route
from edgek.host.netwatch import Monitor
from edgek.host.worker import Threads, Worker
from edgek.model import errors, kinds
from edgek.model.conditions import NETWORK_UNAVAILABLE

SETTLE_S = 0.1  # the kernel's changes come in crowds: an address goes, its routes, the next address comes
RETRY_S = 2.0  # after the kernel refused something
PUBLISH_RETRY_FIRST_S, PUBLISH_RETRY_MOST_S = 0.2, 10.0
DEFAULT_MTU = 1500  # of pods that are made while no uplink has ever been there
PODS_LINKS = "ek"  # what the interfaces of pods begin with: they come and go, and are none of our business here


@attrs.frozen
class Settings:
    """``own`` are further addresses that this node holds on ``lo`` (the one where its DNS answers); ``memory`` is the file of ``remembered.py``;
    ``external`` is by which address other nodes send to this one where a router stands before it."""

    node_name: str
    backend: str
    cluster: IPv4Network
    memory: Path
    services: IPv4Network | None = None
    wish: Wish = attrs.field(factory=Wish)
    own: tuple[IPv4Address, ...] = ()
    external: IPv4Address | None = None
    pace: Pace = attrs.field(factory=Pace)


class NodeNetwork:
    """``address_changed`` is called in the event loop with this node's address towards the others, when it is known and whenever it changes."""

    def __init__(
        self,
        settings: Settings,
        client: Client,
        pods: PodNetwork,
        address_changed: Callable[[IPv4Address], None] = lambda address: None,
        worker: Threads | None = None,
    ) -> None:
        self._settings = settings
        self._client = client
        self._pods = pods
        self._address_changed = address_changed
        self._worker = worker or Worker(1)
        self._backend: Backend = BACKENDS[settings.backend]()
        self._known = Remembered()
        self._unsaved = False  # the file does not hold it
        self._uplink: Uplink | None = None
        self._problems: frozenset[str] = frozenset()
        self._wake = trio.Event()
        self._publish = trio.Event()
        self._looking = True
        threads, pace = self._worker, settings.pace
        self._reach = Reach(partial(ask.ask, threads, pace.answer_s), partial(ask.traffic, threads), self._changed, pace)
        self.nodes = Informer(client, kinds.NODE, nodes.view)

    @property
    def at_rest(self) -> bool:
        """Has everything been done that is known of?"""
        return not self._looking and not self._wake.is_set()

    @property
    def uplink(self) -> Uplink | None:
        return self._uplink

    @property
    def verdict(self) -> Verdict | None:
        """Whether packets get through to the others; None while that is not known."""
        return self._reach.verdict

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Started after the first look, with what was remembered: the server need not be there. What was set stays when this ends."""
        self._known = await self._worker.run(remembered.read, self._settings.memory)
        monitor = await self._worker.run(Monitor)
        try:
            async with trio.open_nursery() as nursery:
                self.nodes.add_handler(lambda *_: self._wake.set())
                nursery.start_soon(self._listen, monitor)
                await nursery.start(self._follow)
                nursery.start_soon(self.nodes.run)
                nursery.start_soon(self._keep_published)
                nursery.start_soon(self._reach.run)
                task_status.started()
        finally:
            monitor.close()

    async def _listen(self, monitor: Monitor) -> None:
        while True:
            if any(_concerns_us(change) for change in await monitor.changes()):
                await trio.sleep(SETTLE_S)
                self._wake.set()

    async def _follow(self, *, task_status: trio.TaskStatus[None]) -> None:
        while True:
            self._looking, self._wake = True, trio.Event()
            right = await self._look()
            self._looking = False
            task_status.started()
            with trio.move_on_after(RETRY_S if not right else float("inf")):
                await self._wake.wait()
            task_status = trio.TASK_STATUS_IGNORED

    async def _look(self) -> bool:
        """Make everything as it should be. False when that has to be tried again."""
        known, refused = self._wanted()
        former = self._pods.gateway
        try:
            seen, problems = await self._worker.run(self._make_right, known)
        except OSError as error:
            self._report({f"the kernel refused: {error}"})
            return False
        self._report({*problems, *refused, *([] if seen else [_nowhere(self._settings.wish)])})
        if known.pod_range is not None:
            mtu = next((each.mtu for each in (seen, self._uplink) if each), DEFAULT_MTU)
            self._pods.use(str(known.pod_range), mtu - self._backend.overhead_bytes)
            if former not in (None, self._pods.gateway):
                await self._worker.run(_let_go, former)
        if known != self._known or self._unsaved:
            await self._remember(known)
        self._take(seen)
        self._judge(known, seen)
        self._publish.set()
        return True

    async def _remember(self, known: Remembered) -> None:
        """On a full disk: with the next look. This process knows it all the same."""
        self._known = known
        try:
            await self._worker.run(remembered.write, self._settings.memory, known)
            self._unsaved = False
        except OSError as error:
            if not self._unsaved:
                log.warning("cannot keep what a start without a server needs", file=self._settings.memory, error=error)
            self._unsaved = True

    def _wanted(self) -> tuple[Remembered, list[str]]:
        """What the API says; before it has said anything, what was remembered."""
        if not self.nodes.synced.is_set():
            return self._known, []
        found, refused = nodes.peers(self.nodes.items.values(), self._settings.node_name, self._backend, self._settings.cluster)
        own = self.nodes.get(self._settings.node_name)
        if own and own.pod_range:
            return Remembered(IPv4Network(own.pod_range), found), refused
        former = self._known.pod_range
        taken = any(peer.pod_range == former for peer in found)  # this node was deleted, and another one has its range by now
        return Remembered(None if taken else former, found), refused

    def _make_right(self, known: Remembered) -> tuple[Uplink | None, Sequence[str]]:
        """In a worker thread. None for the uplink while there is none: routes to others stay as they are then."""
        settings = self._settings
        with netlink.open_socket() as kernel:
            sight = Sight(kernel.links(), kernel.addresses(), kernel.routes())
            seen = uplink.choose(settings.wish, sight, self._uplink)
            gateway = known.pod_range.network_address + 1 if known.pod_range else None
            setup.hold(kernel, sight, gateway, settings.own, settings.services, seen.address if seen else gateway)
            self._pods.mend(kernel, sight.routes)
            if seen is None or known.pod_range is None:
                return seen, ()
            return seen, self._backend.apply(kernel, Here(settings.node_name, known.pod_range, seen), known.peers)

    def _take(self, seen: Uplink | None) -> None:
        former, self._uplink = self._uplink, seen or self._uplink
        if seen is None or seen == former:
            return
        if former is None or seen.address != former.address:
            log.info("node address", address=seen.address, interface=seen.name, mtu=seen.mtu)
            self._address_changed(seen.address)

    def _judge(self, known: Remembered, seen: Uplink | None) -> None:
        """Whether those that are said to live are reached: of others, nothing can be told."""
        if not self.nodes.synced.is_set() or seen is None or known.pod_range is None:
            self._reach.away()
            return
        living = {node.name for node in self.nodes.items.values() if node.ready}
        asked = [peer for peer in known.peers if peer.name in living and self._backend.answers(peer)]
        self._reach.consider(Here(self._settings.node_name, known.pod_range, seen), asked)

    def _report(self, problems: set[str]) -> None:
        for problem in sorted(problems - self._problems):
            log.warning("pod network", problem=problem)
        self._problems = frozenset(problems)

    # Publishing.

    def _changed(self) -> None:
        self._publish.set()

    async def _keep_published(self) -> None:
        """So that others find us. Tried until the server takes it; put back when somebody took it away."""
        await self.nodes.synced.wait()
        pause_s = PUBLISH_RETRY_FIRST_S
        while True:
            self._publish = trio.Event()
            try:
                await self._say()
                pause_s = PUBLISH_RETRY_FIRST_S
            except (errors.ApiError, Disconnected) as error:
                log.debug("pod network not published yet", error=error)
                with trio.move_on_after(pause_s):
                    await self._publish.wait()
                pause_s = min(pause_s * 2, PUBLISH_RETRY_MOST_S)
                continue
            await self._publish.wait()

    async def _say(self) -> None:
        own = self.nodes.get(self._settings.node_name)
        if own is None or self._uplink is None:
            return
        address = self._settings.external if self._settings.external and self._backend.routable else self._uplink.address
        wanted = nodes.announcement(self._backend, own.name, address, own.told)
        if any(own.told.get(name) != value for name, value in wanted.items()):
            await self._client.patch(kinds.NODE, own.name, {"metadata": {"annotations": wanted}})
        if self._reach.verdict is not None and self._backend.type:
            await self._show(own, nodes.condition(self._reach.verdict))

    async def _show(self, own: nodes.NodeView, wanted: Mapping[str, str]) -> None:
        """The node's condition: written when it is another one, and at no other time."""
        if not nodes.differs(wanted, own.condition):
            return
        now, before = wallclock.now_rfc3339(), own.condition or {}
        since = before.get("lastTransitionTime", now) if before.get("status") == wanted["status"] else now
        shown = {"type": NETWORK_UNAVAILABLE, **wanted, "lastHeartbeatTime": now, "lastTransitionTime": since}
        await self._client.patch(kinds.NODE, own.name, {"status": {"conditions": [shown]}}, subresource="status", content_type=STRATEGIC_MERGE_PATCH)
        (log.info if wanted["reason"] == nodes.UP else log.warning)("pod network", reason=wanted["reason"], message=wanted["message"])


def _concerns_us(change: Link | Route | None) -> bool:
    if isinstance(change, Link):
        return not change.name.startswith(PODS_LINKS)
    if isinstance(change, Route):
        return change.destination.version == 4 and change.destination.prefixlen < 32
    return True


def _nowhere(wish: Wish) -> str:
    asked = " and ".join(
        [*([f"--node-ip {wish.address}"] if wish.address else []), *([f"--flannel-iface {wish.interface}"] if wish.interface else [])]
    )
    return f"no interface that is up has an address{f' as asked for by {asked}' if asked else ''}: other nodes cannot be reached"


def _let_go(address: IPv4Address) -> None:
    with netlink.open_socket() as kernel:
        setup.let_go(kernel, address)
