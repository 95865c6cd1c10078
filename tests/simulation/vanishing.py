"""Nodes that vanish and return, for tests of what becomes of pods meanwhile (``edgek.io/when-away``)."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence

import attrs
import trio

from edgek.client.transport import Request
from edgek.model import kinds, objects
from edgek.model.objects import Object
from edgek.model.when_away import ANNOTATION
from tests.fakes.programs import Process
from tests.simulation.cluster import SimulatedCluster
from tests.simulation.machine import SimulatedNode
from tests.simulation.wire import WRITES, Trouble, no_delay, no_trouble
from tests.simulation.workloads import deployment, template

GRACE_S = 5
STOP_S = 60.0
REPLACE_S = 30.0
LATEST_S = 20.0  # by so much a node may know too late that its server is back: nothing needs to be stopped for a shorter time than the rest
PEACE_S = 800.0
SAID = {"one": f"stop={STOP_S:.0f}s", "kept": "keep", "moved": f"replace={REPLACE_S:.0f}s"}
REPLICAS = {"one": 1, "kept": 2, "moved": 2}


@attrs.frozen
class Vanish:
    """A node is there for ``after_s`` more, then ``how`` it vanishes for ``away_s``."""

    how: str
    after_s: float
    away_s: float


@attrs.frozen
class Server:
    """What becomes of the server's parts meanwhile."""

    what: str
    after_s: float
    number: int


@attrs.define
class Census:
    """How many copies of the pod that must run once are running, at every moment."""

    alive: set[object] = attrs.field(factory=set)
    twice: list[str] = attrs.field(factory=list)

    async def alone(self, process: Process) -> int:
        """A program that takes its time to end."""
        me = object()
        self.alive.add(me)
        if len(self.alive) > 1:
            self.twice.append(f"{trio.current_time():.3f} s: {len(self.alive)} copies run")
        try:
            await process.term.wait()
            await trio.sleep(GRACE_S - 1)
            return 0
        finally:
            self.alive.discard(me)


async def furnish(cluster: SimulatedCluster, census: Census) -> None:
    for node in cluster.nodes.values():
        node.runtime.programs["alone"] = census.alone
    for name, said in SAID.items():
        labels = {"app": name}
        made = template(*(["alone"] if name == "one" else []), labels=labels, terminationGracePeriodSeconds=GRACE_S)
        made["metadata"]["annotations"] = {ANNOTATION: said}
        await cluster.create(kinds.DEPLOYMENT, deployment(REPLICAS[name], name, labels=labels, made=made))
    await cluster.settle()


# How a node vanishes. Each returns when it is back.


async def link(cluster: SimulatedCluster, node: SimulatedNode, away_s: float) -> None:
    """Its containers go on."""
    node.wire.cut()
    await trio.sleep(away_s)
    node.wire.mend()


async def power(cluster: SimulatedCluster, node: SimulatedNode, away_s: float) -> None:
    await node.lose_power()
    await trio.sleep(away_s)
    await cluster.boot(node.name)


async def power_then_link(cluster: SimulatedCluster, node: SimulatedNode, away_s: float) -> None:
    """It boots, and its server does not answer."""
    node.wire.cut()
    await node.lose_power()
    await trio.sleep(10)
    await cluster.boot(node.name)
    await trio.sleep(away_s)
    node.wire.mend()


async def crash(cluster: SimulatedCluster, node: SimulatedNode, away_s: float) -> None:
    """The agent is killed, and started again by the machine."""
    await node.stop_agent()
    await trio.sleep(2)
    await cluster.boot(node.name)


async def link_and_crash(cluster: SimulatedCluster, node: SimulatedNode, away_s: float) -> None:
    """The agent is killed while its server does not answer."""
    node.wire.cut()
    await trio.sleep(away_s / 2)
    await crash(cluster, node, 0)
    await trio.sleep(away_s / 2)
    node.wire.mend()


async def dead_agent(cluster: SimulatedCluster, node: SimulatedNode, away_s: float) -> None:
    """Nobody starts the agent again for a while; nobody could stop anything."""
    await node.stop_agent()
    await trio.sleep(away_s)
    await cluster.boot(node.name)


WAYS: Mapping[str, Callable[[SimulatedCluster, SimulatedNode, float], Awaitable[None]]] = {
    each.__name__: each for each in (link, power, power_then_link, crash, link_and_crash, dead_agent)
}
POWER = ("power", "power_then_link")


# What becomes of the server.


async def restart_controllers(cluster: SimulatedCluster, number: int) -> None:
    cluster.stop("controllers")
    await trio.sleep(number % 20)
    await cluster.start_controllers()


async def restart_api(cluster: SimulatedCluster, number: int) -> None:
    cluster.restart_api()


async def slow_down(cluster: SimulatedCluster, number: int) -> None:
    """Requests, answers and what watches tell take their time: caches are old."""
    draw, most_s = random.Random(number), (0.0, 0.05, 0.5, 3.0)[number % 4]
    cluster.exchange.delay_s = lambda who: 0.0 if who == "admin" else draw.uniform(0, most_s)


async def storm(cluster: SimulatedCluster, number: int) -> None:
    """A part of all writes goes wrong."""
    draw = random.Random(number)

    def trouble(who: str, request: Request) -> Trouble:
        if who == "admin" or request.method not in WRITES or draw.random() > 0.3:
            return ""
        return draw.choice(("request lost", "answer lost", "conflict"))

    cluster.exchange.trouble = no_trouble if number % 3 == 0 else trouble


SERVER: Mapping[str, Callable[[SimulatedCluster, int], Awaitable[None]]] = {
    each.__name__: each for each in (restart_controllers, restart_api, slow_down, storm)
}


async def live(cluster: SimulatedCluster, nodes: Sequence[Sequence[Vanish]], server: Sequence[Server]) -> None:
    """Every node, and the server, has its own fate. Then all is well again."""

    async def of_node(node: SimulatedNode, fate: Sequence[Vanish]) -> None:
        for each in fate:
            await trio.sleep(each.after_s)
            await WAYS[each.how](cluster, node, each.away_s)

    async def of_server() -> None:
        for each in server:
            await trio.sleep(each.after_s)
            await SERVER[each.what](cluster, each.number)

    async with trio.open_nursery() as nursery:
        for node, fate in zip(cluster.nodes.values(), nodes, strict=True):
            nursery.start_soon(of_node, node, fate)
        nursery.start_soon(of_server)
    cluster.exchange.trouble, cluster.exchange.delay_s = no_trouble, no_delay
    await trio.sleep(PEACE_S)
    await cluster.settle()


# What must be true.


def places(cluster: SimulatedCluster, app: str) -> dict[str, str]:
    """By uid, where the pods of an app are."""
    pods = [pod for pod in cluster.pods() if objects.labels(pod).get("app") == app]
    return {objects.uid(pod): pod["spec"]["nodeName"] for pod in pods}


async def faults(cluster: SimulatedCluster, kept: dict[str, str], nodes: Sequence[Sequence[Vanish]], *, calm: bool) -> list[str]:
    """``kept``: where the pods were that are to be kept. ``calm``: nothing but the nodes had trouble."""
    found = []
    for app, replicas in REPLICAS.items():
        ready = [pod for pod in cluster.ready_pods() if objects.labels(pod)["app"] == app]
        if len(ready) != replicas or len(places(cluster, app)) != replicas:
            found.append(f"{len(places(cluster, app))} pods of {app}, {len(ready)} of them ready")
    if places(cluster, "kept") != kept:
        found.append(f"the pods to be kept are {places(cluster, 'kept')}, were {kept}")
    for node, fate in zip(cluster.nodes.values(), nodes, strict=True):
        wanted = {objects.uid(pod) for pod in cluster.pods(node=node.name)}
        running = {box.uid for box in await node.runtime.sandboxes() if box.ready}
        if running != wanted:
            found.append(f"{node.name} runs {running}, should run {wanted}")
        found += [
            f"{pod['metadata']['name']} was restarted on {node.name}" for pod in cluster.pods(node=node.name) if _needlessly(pod, fate, calm=calm)
        ]
    return found


def _needlessly(pod: Object, fate: Sequence[Vanish], *, calm: bool) -> bool:
    """Whether it was restarted though its node always had power, and it was never to be stopped."""
    restarts = sum(each["restartCount"] for each in pod["status"].get("containerStatuses") or ())
    if not restarts or any(each.how in POWER for each in fate):
        return False
    return objects.labels(pod)["app"] != "one" or (calm and sum(each.away_s for each in fate) < STOP_S - LATEST_S)
