"""Requests that fail, and answers that get lost: in the end the cluster is as wanted, and every pod of a Job was counted once."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio

from edgek.client import reconcile
from edgek.client.client import Client
from edgek.client.events import Recorder
from edgek.client.informer import Informers
from edgek.client.reconcile import Cluster
from edgek.client.transport import Disconnected, Request, Response, StreamResponse
from edgek.host import log, wallclock
from edgek.model import kinds, objects
from edgek.server.controllers import CONTROLLERS
from tests.fakes.nodes import PodRunner
from tests.fakes.realapi import RealApi
from tests.fakes.scene import EPOCH, Scene
from tests.server.controllers.test_daemonset import daemon_set
from tests.server.controllers.test_deployment import deployment, image
from tests.server.controllers.test_endpointslice import service
from tests.server.controllers.test_job import job
from tests.server.controllers.test_nodelifecycle import add_node, keep_alive


@attrs.define
class Troubled:
    """Two writes in five fail while ``troubled``: before anything happened, after it did, or because somebody is said to have been faster."""

    api: RealApi
    chance: random.Random
    troubled: bool = False
    failed: int = 0

    async def request(self, request: Request) -> Response:
        fails = self.troubled and request.method != "GET" and self.chance.random() < 0.4
        self.failed += fails
        how = self.chance.choice(("lost on the way", "answer lost", "conflict")) if fails else ""
        if how == "conflict":
            return Response(409, {}, b'{"kind":"Status","reason":"Conflict","message":"somebody was faster","code":409}')
        if how == "lost on the way":
            raise Disconnected(how)
        answer = await self.api.request(request)
        if how:
            raise Disconnected(how)
        return answer

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[StreamResponse]:
        async with self.api.stream(request) as answer:
            yield answer


@asynccontextmanager
async def troubled_cluster(seed: int) -> AsyncIterator[tuple[Scene, Troubled]]:
    former = wallclock.use(lambda: EPOCH + trio.current_time())
    api = RealApi()
    await api.furnish("default", account=True)
    way = Troubled(api, random.Random(seed))
    shared = Client(way)
    informers, recorder = Informers(shared), Recorder(shared, "test")
    client = Client(api)
    runner = PodRunner(Cluster(client, Informers(client), recorder), ["node-1", "node-2"])
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(recorder.run)
            for make in CONTROLLERS:
                nursery.start_soon(reconcile.run, make(Cluster(shared, informers, recorder)))
            nursery.start_soon(reconcile.run, runner)
            await nursery.start(informers.run)
            await nursery.start(runner.cluster.informers.run)
            yield Scene(api, client, runner), way
            nursery.cancel_scope.cancel()
    finally:
        wallclock.use(former)


@pytest.mark.parametrize("seed", range(4))
async def test_in_the_end_everything_is_as_wanted(autojump_clock: Any, seed: int) -> None:
    log.configure("error")
    try:
        async with troubled_cluster(seed) as (cluster, way), trio.open_nursery() as nursery:
            for name in ("node-1", "node-2"):
                await add_node(cluster, name)
                nursery.start_soon(keep_alive, cluster, name)
            cluster.runner.outcome = lambda pod: "succeed" if "job" in objects.labels(pod) else "run"
            way.troubled = True
            await cluster.create(kinds.DEPLOYMENT, deployment(6))
            await cluster.create(kinds.SERVICE, service())
            await cluster.create(kinds.DAEMON_SET, daemon_set())
            await cluster.create(kinds.JOB, job(parallelism=3, completions=12))
            await cluster.settle(5)
            await cluster.change(kinds.DEPLOYMENT, "web", image("web:2"))
            await cluster.change(kinds.DAEMON_SET, "agent", image("agent:2"))
            await cluster.settle(120)
            way.troubled = False
            await cluster.settle(200)
            assert way.failed > 10
            assert_as_wanted(cluster)
            nursery.cancel_scope.cancel()
    finally:
        log.configure("info")


def assert_as_wanted(cluster: Scene) -> None:
    by_image: dict[str, int] = {}
    for pod in cluster.pods():
        if pod["status"]["phase"] == "Running":
            name = pod["spec"]["containers"][0]["image"]
            by_image[name] = by_image.get(name, 0) + 1
    assert by_image == {"web:2": 6, "agent:2": 2}
    status = cluster.get(kinds.DEPLOYMENT, "web")["status"]
    assert (status["updatedReplicas"], status["availableReplicas"], status["replicas"]) == (6, 6, 6)
    done = cluster.get(kinds.JOB, "work")
    assert objects.condition_is(done, "Complete")
    succeeded = [pod for pod in cluster.pods() if pod["status"]["phase"] == "Succeeded"]
    assert done["status"]["succeeded"] == len(succeeded) >= 12
    assert all(not objects.finalizers(pod) for pod in succeeded)
    targets = {each["targetRef"]["uid"] for slice_ in cluster.api.all(kinds.ENDPOINT_SLICE) for each in slice_["endpoints"] or ()}
    assert targets == {objects.uid(pod) for pod in cluster.pods() if objects.labels(pod).get("app") == "web"}
