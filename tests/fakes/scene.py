"""A cluster in one trio run: an API in memory, controllers, and nodes that run pods, on a virtual clock.

async with scene(ReplicaSetController) as cluster:
    await cluster.create(kinds.REPLICA_SET, replica_set(replicas=3))
    await cluster.settle()
    assert len(cluster.pods()) == 3
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio
import trio.testing

from edgek.client import reconcile
from edgek.client.client import Client
from edgek.client.events import Recorder
from edgek.client.informer import Informers
from edgek.client.reconcile import Cluster, Settings
from edgek.host import wallclock
from edgek.model import kinds, objects
from edgek.model.kinds import Kind
from edgek.model.objects import Object
from tests.fakes.nodes import PodRunner
from tests.fakes.realapi import RealApi

EPOCH = 1_800_000_000.0


@attrs.define
class Scene:
    api: RealApi
    client: Client
    runner: PodRunner

    async def create(self, kind: Kind, obj: Object, namespace: str = "default") -> Object:
        """Makes the namespace where it is missing, and for a Pod the account that it runs as."""
        if kind.namespaced:
            await self.api.furnish(namespace, account=kind is kinds.POD)
        return await self.client.create(kind, obj, namespace if kind.namespaced else "")

    async def change(self, kind: Kind, name: str, patch: Any, namespace: str = "default", subresource: str = "") -> Object:
        return await self.client.patch(kind, name, patch, namespace if kind.namespaced else "", subresource=subresource)

    async def settle(self, seconds: float = 1.0) -> None:
        """Let the cluster work until nobody has anything to do, and ``seconds`` more: failed work is tried again within."""
        await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(seconds)
        await trio.testing.wait_all_tasks_blocked()

    def get(self, kind: Kind, name: str, namespace: str = "default") -> Object:
        found = self.api.one(kind, name, namespace)
        assert found is not None, f"{kind.name} {name} is not there"
        return found

    def exists(self, kind: Kind, name: str, namespace: str = "default") -> bool:
        return self.api.one(kind, name, namespace) is not None

    def pods(self, namespace: str = "default") -> list[Object]:
        return self.api.all(kinds.POD, namespace)

    def events(self) -> list[tuple[str, str]]:
        return [(event["reason"], event["message"]) for event in self.api.all(kinds.EVENT)]

    async def writes_in(self, seconds: float) -> list[tuple[str, str, str]]:
        """What is written in the next ``seconds``."""
        before = len(self.api.writes)
        await self.settle(seconds)
        return self.api.writes[before:]


@asynccontextmanager
async def scene(*controllers: Callable[[Cluster], Any], nodes: Sequence[str] = ("node-1",), settings: Settings | None = None) -> AsyncIterator[Scene]:
    former = wallclock.use(lambda: EPOCH + trio.current_time())
    api = RealApi()
    client = Client(api)
    await api.furnish("default", account=True)
    cluster = Cluster(client, Informers(client), Recorder(client, "test"), settings or Settings())
    runner = PodRunner(cluster, list(nodes))
    parts = [controller(cluster) for controller in controllers] + ([runner] if nodes else [])
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cluster.recorder.run)
            for part in parts:
                nursery.start_soon(reconcile.run, part)
            await trio.testing.wait_all_tasks_blocked()  # each has asked for its caches
            await nursery.start(cluster.informers.run)
            yield Scene(api, client, runner)
            nursery.cancel_scope.cancel()
    finally:
        wallclock.use(former)


def pod_template(labels: dict[str, str] | None = None, **spec: Any) -> Object:
    return {"metadata": {"labels": labels or {"app": "web"}}, "spec": {"containers": [{"name": "main", "image": "web:1"}], **spec}}


def owner_reference(owner: Object, *, controller: bool = True) -> dict[str, Any]:
    reference = objects.controller_reference(owner, owner["apiVersion"], owner["kind"])
    return reference if controller else {key: value for key, value in reference.items() if key not in ("controller",)}
