"""A whole cluster in one process on a virtual clock: the real API over a store in memory, every controller with the rights of its account, the
real scheduler, and nodes that are real kubelets over runtimes in memory.

    async with open_cluster(folder, nodes=3) as cluster:
        await cluster.create(kinds.DEPLOYMENT, deployment(replicas=3))
        await cluster.settle()

Nothing waits for real: run it under ``trio.testing.MockClock(autojump_threshold=0)``. Nothing may use a thread: a virtual clock does not wait for
one.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import orjson
import trio

from edgek.client import reconcile
from edgek.client.client import Client
from edgek.client.events import Recorder
from edgek.client.informer import Informers
from edgek.client.reconcile import Cluster
from edgek.host import uptime, wallclock
from edgek.model import errors, kinds, objects
from edgek.model.kinds import Kind
from edgek.model.objects import Object
from edgek.server.api import assembly, bootstrap
from edgek.server.api.app import Api
from edgek.server.api.authn import Authenticator
from edgek.server.api.authz import Authorizer
from edgek.server.api.default_objects import Settings
from edgek.server.api.identity import AUTHENTICATED_GROUP, User
from edgek.server.api.tokens import ServiceAccountTokens
from edgek.server.controllers import CONTROLLERS, user_of
from edgek.server.scheduler.loop import Scheduler
from edgek.server.store.backend import Event, Key
from edgek.server.store.memory import MemoryBackend
from tests.fakes.realapi import ADMIN, SIGNING_KEY
from tests.simulation import machine
from tests.simulation.machine import MACHINE, SimulatedNode
from tests.simulation.wire import Exchange, Wire

EPOCH = 1_800_000_000.0
CONTROLLERS_USER = User("system:kube-controller-manager", groups=(AUTHENTICATED_GROUP,))
SCHEDULER_USER = User("system:kube-scheduler", groups=(AUTHENTICATED_GROUP,))
ACCOUNT_GROUPS = ("system:serviceaccounts", "system:serviceaccounts:kube-system", AUTHENTICATED_GROUP)
DEFAULTS = Settings("10.43.0.0/16", "192.0.2.250", 6443, b"client-ca", b"proxy-ca", cluster_dns="10.43.0.10", local_storage=True)
QUIET_S = 20.0  # without a change this long, the cluster has settled; pauses before another try are mostly shorter
SETTLED_WITHIN_S = 1800.0


@attrs.frozen
class Change:
    """What the store was told. ``before`` is the object as it was."""

    at: float
    type: str
    key: Key
    obj: Object
    before: Object | None

    @property
    def is_routine(self) -> bool:
        """What goes on for ever in a cluster at rest, and the notes that nobody works from."""
        return self.key.resource in ("leases.coordination.k8s.io", "events") or (
            self.key.resource == "nodes" and _same_but_beat(self.obj, self.before)
        )


class Store(MemoryBackend):
    """Lets ``observers`` see every change, in order, at the moment at which it happens."""

    def __init__(self) -> None:
        super().__init__()
        self.changes: list[Change] = []
        self.observers: list[Callable[[Change], None]] = []
        self.changed = trio.lowlevel.ParkingLot()

    def publish(self, events: Sequence[Event]) -> None:
        super().publish(events)
        for event in events:
            before = orjson.loads(event.previous.body) if event.previous else None
            change = Change(trio.current_time(), event.type, event.record.key, orjson.loads(event.record.body), before)
            self.changes.append(change)
            for observer in self.observers:
                observer(change)
        self.changed.unpark_all()


class SimulatedCluster:
    def __init__(self, folder: Path, nursery: trio.Nursery) -> None:
        self.folder = folder
        self.nursery = nursery
        self.store = Store()
        self.exchange = Exchange(_make_api(self.store))
        self.client = Client(Wire(self.exchange, ADMIN, "admin"), "test")
        self.nodes: dict[str, SimulatedNode] = {}
        self._parts: dict[str, trio.CancelScope] = {}

    # Its parts.

    async def start(self) -> None:
        await bootstrap.ensure_defaults(Client(Wire(self.exchange, bootstrap.USER, "bootstrap")), DEFAULTS, agents=True)

    async def start_controllers(self) -> None:
        await self._start("controllers", self._run_controllers)

    async def start_scheduler(self) -> None:
        await self._start("scheduler", self._run_scheduler)

    def stop(self, part: str) -> None:
        """``controllers`` or ``scheduler``: as if its process was killed."""
        self._parts.pop(part).cancel()

    async def _start(self, part: str, run: Callable[..., Any]) -> None:
        scope = trio.CancelScope()
        self._parts[part] = scope

        async def live(*, task_status: trio.TaskStatus[None]) -> None:
            with scope:
                await run(task_status=task_status)

        await self.nursery.start(live)

    async def _run_controllers(self, *, task_status: trio.TaskStatus[None]) -> None:
        """As ``roles/server.py`` does it."""
        shared = Client(Wire(self.exchange, CONTROLLERS_USER, "controllers"), "kube-controller-manager")
        informers, recorder = Informers(shared), Recorder(shared, "controllermanager")
        told = reconcile.Settings(root_ca="the CA")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(recorder.run)
            for make in CONTROLLERS:
                own = User(user_of(make), groups=ACCOUNT_GROUPS)
                client = Client(Wire(self.exchange, own, make.name), f"kube-controller-manager/{make.name}")
                nursery.start_soon(reconcile.run, make(Cluster(client, informers, recorder, told)))
            await nursery.start(informers.run)
            task_status.started()

    async def _run_scheduler(self, *, task_status: trio.TaskStatus[None]) -> None:
        client = Client(Wire(self.exchange, SCHEDULER_USER, "scheduler"), "kube-scheduler")
        informers, recorder = Informers(client), Recorder(client, "default-scheduler")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(recorder.run)
            nursery.start_soon(informers.run)
            await nursery.start(Scheduler(client, informers, recorder).run)
            task_status.started()

    def restart_api(self) -> None:
        """Another API over the same store, which has forgotten its history; every watch breaks."""
        self.exchange.api = _make_api(self.store)
        self.store.compact(self.store.revision)
        self.exchange.cut_watches()

    # Nodes.

    async def add_node(self, name: str = "", *, cpus: int = 4) -> SimulatedNode:
        number = len(self.nodes) + 1
        name = name or f"node-{number}"
        fits = attrs.evolve(MACHINE, cpus=cpus)
        node = self.nodes[name] = machine.open_node(name, number, self.folder, self.nursery, self.exchange, fits)
        await node.boot(self.nursery)
        return node

    async def boot(self, name: str) -> None:
        await self.nodes[name].boot(self.nursery)

    # The API, as its administrator.

    async def create(self, kind: Kind, obj: Object, namespace: str = "default") -> Object:
        return await self.client.create(kind, obj, namespace if kind.namespaced else "")

    async def change(self, kind: Kind, name: str, patch: Any, namespace: str = "default", subresource: str = "") -> Object:
        return await self.client.patch(kind, name, patch, namespace if kind.namespaced else "", subresource=subresource)

    async def delete(self, kind: Kind, name: str, namespace: str = "default", **how: Any) -> None:
        await self.client.delete(kind, name, namespace if kind.namespaced else "", **how)

    async def evict(self, name: str, namespace: str = "default") -> bool:
        """Whether the pod may go."""
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": namespace}}
        try:
            await self.client.create(kinds.POD, eviction, namespace, name=name, subresource="eviction")
        except errors.TooManyRequests:
            return False
        return True

    # Looking, without asking the API: nothing of this shows in its books.

    def all(self, kind: Kind, namespace: str = "") -> list[Object]:
        return [orjson.loads(record.body) for record in self.store.list(kind.storage, namespace).records]

    def find(self, kind: Kind, name: str, namespace: str = "default") -> Object | None:
        record = self.store.get(Key(kind.storage, namespace if kind.namespaced else "", name))
        return orjson.loads(record.body) if record else None

    def get(self, kind: Kind, name: str, namespace: str = "default") -> Object:
        found = self.find(kind, name, namespace)
        assert found is not None, f"{kind.name} {name} is not there"
        return found

    def pods(self, namespace: str = "default", *, node: str = "") -> list[Object]:
        return [pod for pod in self.all(kinds.POD, namespace) if node in ("", pod["spec"].get("nodeName", ""))]

    def ready_pods(self, namespace: str = "default") -> list[Object]:
        return [pod for pod in self.pods(namespace) if is_ready(pod)]

    def events(self, reason: str = "") -> list[tuple[str, str]]:
        found = [(event["reason"], event["message"]) for event in self.all(kinds.EVENT)]
        return [each for each in found if reason in ("", each[0])]

    # Waiting.

    async def settle(self, quiet_s: float = QUIET_S, within_s: float = SETTLED_WITHIN_S) -> None:
        """Until nothing but routine has happened for ``quiet_s``."""
        end = trio.current_time() + within_s
        since = trio.current_time()
        while True:
            due = since + quiet_s
            await trio.sleep_until(due)
            last = next((change.at for change in reversed(self.store.changes) if not change.is_routine), 0.0)
            if last <= since:
                return
            assert due < end, f"still busy after {within_s} s: {[(c.type, c.key.resource, c.key.name) for c in self.store.changes[-5:]]}"
            since = last

    async def until(self, shown: Callable[[], bool], within_s: float = 600.0) -> float:
        """Until the store is such that ``shown()`` is true; how long that took."""
        began = trio.current_time()
        with trio.move_on_after(within_s):
            while not shown():
                await self.store.changed.park()
        assert shown(), f"not within {within_s} s: {shown}"
        return trio.current_time() - began

    def changes_since(self, at: float) -> list[Change]:
        return [change for change in self.store.changes if change.at > at]


@asynccontextmanager
async def open_cluster(folder: Path, nodes: int = 0, *, controllers: bool = True, scheduler: bool = True) -> AsyncIterator[SimulatedCluster]:
    """Settled, with so many nodes."""
    former, threads = wallclock.use(lambda: EPOCH + trio.current_time()), threading.active_count()
    former_uptime = uptime.use(trio.current_time)
    (folder / "resolv.conf").write_text("nameserver 192.0.2.53\n")
    try:
        async with trio.open_nursery() as nursery:
            cluster = SimulatedCluster(folder, nursery)
            await cluster.start()
            if controllers:
                await cluster.start_controllers()
            if scheduler:
                await cluster.start_scheduler()
            for _ in range(nodes):
                await cluster.add_node()
            await cluster.settle()
            yield cluster
            assert threading.active_count() <= threads, "something used a thread: a virtual clock does not wait for one"
            nursery.cancel_scope.cancel()
    finally:
        wallclock.use(former)
        uptime.use(former_uptime)


def _make_api(store: Store) -> Api:
    tokens = ServiceAccountTokens(store, SIGNING_KEY, issuer="https://issuer.example")
    return assembly.assemble(store, authenticator=Authenticator(tokens=tokens), authorizer=Authorizer(store), tokens=tokens)


def _same_but_beat(now: Object, before: Object | None) -> bool:
    """A node's status that says the same as five minutes ago."""

    def bare(node: Object) -> Any:
        status = node.get("status") or {}
        conditions = [{**each, "lastHeartbeatTime": ""} for each in status.get("conditions") or ()]
        meta = {**node["metadata"], "resourceVersion": "", "managedFields": []}
        return {**node, "metadata": meta, "status": {**status, "conditions": conditions}}

    return before is not None and bare(now) == bare(before)


def is_ready(pod: Object) -> bool:
    return objects.condition_is(pod, "Ready", "True") and not objects.is_deleting(pod)
