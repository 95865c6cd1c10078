"""Trouble for a simulated cluster: what can be done to it, and what must be true once it is left in peace."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any

import attrs
import trio

from edgek.client.transport import Request
from edgek.model import errors, kinds, objects, quantity
from edgek.model.objects import Object
from tests.simulation.cluster import Change, SimulatedCluster, is_ready
from tests.simulation.machine import SimulatedNode
from tests.simulation.wire import WRITES, Trouble, no_delay, no_trouble
from tests.simulation.workloads import budget, claim, daemon_set, deployment, image, job, service, template, with_claim

PEACE_S = 1000.0  # lost nodes are given up after 350 s, crashed containers wait for 300 s at most
COMPLETIONS = 3
SHOP = "shop"
URGENT = {"app": "urgent"}
QUOTA = {"metadata": {"name": "most"}, "spec": {"hard": {"pods": "100"}}}


@attrs.frozen
class Step:
    """``what`` names an operation below, ``number`` chooses among what there is, ``wait_s`` passes afterwards."""

    what: str
    number: int
    wait_s: float


async def furnish(cluster: SimulatedCluster) -> None:
    await cluster.create(kinds.RESOURCE_QUOTA, QUOTA)
    await cluster.create(kinds.SERVICE, service())
    await cluster.create(kinds.POD_DISRUPTION_BUDGET, budget(maxUnavailable=1))
    await cluster.create(kinds.DEPLOYMENT, deployment(4, made=template(cpu="1")))
    await cluster.create(kinds.PRIORITY_CLASS, {"metadata": {"name": "high"}, "value": 1000})
    urgent = template(labels=URGENT, cpu="2", priorityClassName="high")
    await cluster.create(kinds.DEPLOYMENT, deployment(0, "urgent", labels=URGENT, made=urgent))
    await cluster.create(kinds.DAEMON_SET, daemon_set())
    await cluster.create(kinds.JOB, job("work", "sleep", "20", completions=COMPLETIONS, parallelism=2, backoffLimit=1000))


# What can be done.


def _pod(cluster: SimulatedCluster, number: int) -> Object | None:
    pods = cluster.pods()
    return pods[number % len(pods)] if pods else None


def _node(cluster: SimulatedCluster, number: int) -> SimulatedNode:
    return list(cluster.nodes.values())[number % len(cluster.nodes)]


async def scale(cluster: SimulatedCluster, number: int) -> None:
    await cluster.change(kinds.DEPLOYMENT, "web", {"spec": {"replicas": number % 8}})


async def scale_urgent(cluster: SimulatedCluster, number: int) -> None:
    """Pods that take the room of others; there is enough for all when all nodes are there."""
    await cluster.change(kinds.DEPLOYMENT, "urgent", {"spec": {"replicas": number % 3}})


async def update(cluster: SimulatedCluster, number: int) -> None:
    await cluster.change(kinds.DEPLOYMENT, "web", {"spec": {"template": template(cpu="1", image=f"web:{number % 3}")}})


async def delete_pod(cluster: SimulatedCluster, number: int) -> None:
    pod = _pod(cluster, number)
    if pod is not None:
        await cluster.client.delete(kinds.POD, objects.name(pod), "default", grace_s=0 if number % 3 == 0 else None)


async def evict_pod(cluster: SimulatedCluster, number: int) -> None:
    pod = _pod(cluster, number)
    if pod is not None:
        await cluster.evict(objects.name(pod))


async def update_daemons(cluster: SimulatedCluster, number: int) -> None:
    await cluster.change(kinds.DAEMON_SET, "agent", image(f"agent:{number % 3}"))


async def lose_power(cluster: SimulatedCluster, number: int) -> None:
    await _node(cluster, number).lose_power()


async def kill_agent(cluster: SimulatedCluster, number: int) -> None:
    await _node(cluster, number).stop_agent()


async def boot(cluster: SimulatedCluster, number: int) -> None:
    node = _node(cluster, number)
    if not node.is_on:
        await cluster.boot(node.name)


async def cut_wire(cluster: SimulatedCluster, number: int) -> None:
    _node(cluster, number).wire.cut()
    cluster.exchange.cut_watches(_node(cluster, number).wire)


async def mend_wire(cluster: SimulatedCluster, number: int) -> None:
    _node(cluster, number).wire.mend()


async def delete_node(cluster: SimulatedCluster, number: int) -> None:
    await cluster.client.delete(kinds.NODE, _node(cluster, number).name)


async def cordon(cluster: SimulatedCluster, number: int) -> None:
    await cluster.change(kinds.NODE, _node(cluster, number).name, {"spec": {"unschedulable": number % 2 == 0 or None}})


async def crash(cluster: SimulatedCluster, number: int) -> None:
    """A container ends by itself."""
    runtime = _node(cluster, number).runtime
    running = [each for each in await runtime.containers() if each.state == "running"]
    if running:
        runtime.end(running[number % len(running)].id, 1)


async def restart_runtime(cluster: SimulatedCluster, number: int) -> None:
    runtime = _node(cluster, number).runtime
    runtime.go_away()
    await trio.sleep(3)
    runtime.come_back()


async def restart_controllers(cluster: SimulatedCluster, number: int) -> None:
    cluster.stop("controllers")
    await trio.sleep(number % 3)
    await cluster.start_controllers()


async def restart_scheduler(cluster: SimulatedCluster, number: int) -> None:
    cluster.stop("scheduler")
    await trio.sleep(number % 3)
    await cluster.start_scheduler()


async def restart_api(cluster: SimulatedCluster, number: int) -> None:
    cluster.restart_api()


async def cut_watches(cluster: SimulatedCluster, number: int) -> None:
    cluster.exchange.cut_watches()


async def compact(cluster: SimulatedCluster, number: int) -> None:
    cluster.store.compact(cluster.store.revision)


async def storm(cluster: SimulatedCluster, number: int) -> None:
    """A part of all writes goes wrong, until the next time."""
    draw = random.Random(number)

    def trouble(who: str, request: Request) -> Trouble:
        if who == "admin" or request.method not in WRITES or draw.random() > 0.2:
            return ""
        return draw.choice(("request lost", "answer lost", "conflict"))

    calm = number % 3 == 0
    cluster.exchange.trouble = no_trouble if calm else trouble


async def slow_down(cluster: SimulatedCluster, number: int) -> None:
    """Requests, answers and what watches tell take their time, until the next time: caches are old."""
    draw = random.Random(number)
    most_s = (0.0, 0.05, 0.5, 3.0)[number % 4]
    cluster.exchange.delay_s = lambda who: 0.0 if who == "admin" else draw.uniform(0, most_s)


async def delete_web(cluster: SimulatedCluster, number: int) -> None:
    await cluster.delete(kinds.DEPLOYMENT, "web", propagation=("Background", "Foreground", "Orphan")[number % 3])


async def make_web(cluster: SimulatedCluster, number: int) -> None:
    with suppress(errors.AlreadyExists):
        await cluster.create(kinds.DEPLOYMENT, deployment(number % 6, made=template(cpu="1")))


async def open_shop(cluster: SimulatedCluster, number: int) -> None:
    """A namespace of its own, with files."""
    with suppress(errors.AlreadyExists):
        await cluster.create(kinds.NAMESPACE, {"metadata": {"name": SHOP}})
    with suppress(errors.AlreadyExists, errors.Forbidden):  # the namespace may be on its way out
        await cluster.create(kinds.PERSISTENT_VOLUME_CLAIM, claim(), SHOP)
        await cluster.create(kinds.DEPLOYMENT, deployment(1, made=template(**with_claim()), strategy={"type": "Recreate"}), SHOP)


async def close_shop(cluster: SimulatedCluster, number: int) -> None:
    await cluster.delete(kinds.NAMESPACE, SHOP)


async def nothing(cluster: SimulatedCluster, number: int) -> None:
    """Time passes."""


OPERATIONS: dict[str, Callable[[SimulatedCluster, int], Awaitable[None]]] = {
    each.__name__: each
    for each in (
        nothing, scale, scale_urgent, update, delete_pod, evict_pod, update_daemons, lose_power, kill_agent, boot, cut_wire, mend_wire, delete_node, cordon,
        crash, restart_runtime, restart_controllers, restart_scheduler, restart_api, cut_watches, compact, storm, slow_down,
        delete_web, make_web, open_shop, close_shop,
    )
}  # fmt: skip


async def carry_out(cluster: SimulatedCluster, steps: list[Step]) -> None:
    for step in steps:
        with suppress(errors.NotFound, errors.Conflict):  # somebody was faster: an administrator shrugs
            await OPERATIONS[step.what](cluster, step.number)
        await trio.sleep(step.wait_s)


async def make_peace(cluster: SimulatedCluster) -> None:
    """Everything is repaired and switched on, and has the time it needs."""
    cluster.exchange.trouble, cluster.exchange.delay_s = no_trouble, no_delay
    for node in cluster.nodes.values():
        node.wire.mend()
        if cluster.find(kinds.NODE, node.name) is None:
            await node.stop_agent()  # a node that was deleted is registered at the next start of its agent
        if not node.is_on:
            await cluster.boot(node.name)
    await trio.sleep(5)
    for node in cluster.nodes.values():
        await cluster.change(kinds.NODE, node.name, {"spec": {"unschedulable": None}})
    await cluster.until(lambda: not objects.is_deleting(cluster.find(kinds.DEPLOYMENT, "web") or {}))
    await make_web(cluster, 4)
    await trio.sleep(PEACE_S)
    await cluster.settle()


# What must be true.


def watch_room(cluster: SimulatedCluster) -> list[str]:
    """Fills with every moment at which a node had been given more than it has."""
    found: list[str] = []
    given: dict[str, tuple[str, int]] = {}
    room = 4000

    def look(change: Change) -> None:
        if change.key.resource != "pods":
            return
        given.pop(change.key.name, None)
        pod = change.obj
        if change.type != "DELETED" and pod["spec"].get("nodeName") and pod["status"].get("phase") not in ("Succeeded", "Failed"):
            given[change.key.name] = pod["spec"]["nodeName"], _cpu(pod)
        used: Counter[str] = Counter()
        for node, millis in given.values():
            used[node] += millis
        found.extend(f"{change.at:.3f} s: {node} was given {millis}m" for node, millis in used.items() if millis > room)

    cluster.store.observers.append(look)
    return found


def _cpu(pod: Object) -> int:
    texts = [c.get("resources", {}).get("requests", {}).get("cpu", "0") for c in pod["spec"]["containers"]]
    return sum(quantity.parse(text).millis for text in texts)


async def faults(cluster: SimulatedCluster) -> list[str]:
    """Everything that is not as it was asked for."""
    found = [*_faults_of_pods(cluster), *_faults_of_owners(cluster), *_faults_of_statuses(cluster), *_faults_of_shop(cluster)]
    for node in cluster.nodes.values():
        wanted = {objects.uid(pod) for pod in cluster.pods("", node=node.name) if pod["status"].get("phase") == "Running"}
        running = {box.uid for box in await node.runtime.sandboxes() if box.ready}
        if running != wanted:
            found.append(f"{node.name} runs {len(running)} pods, should {len(wanted)}: {running ^ wanted}")
    return found


def _faults_of_pods(cluster: SimulatedCluster) -> Iterator[str]:
    for name in ("web", "urgent"):
        wanted = cluster.get(kinds.DEPLOYMENT, name)["spec"]
        pods = [pod for pod in cluster.pods() if objects.labels(pod).get("app") == name]
        ready = [pod for pod in pods if is_ready(pod)]
        if len(pods) != wanted["replicas"] or len(ready) != wanted["replicas"]:
            yield f"{len(pods)} pods of {name}, {len(ready)} of them ready, wanted {wanted['replicas']}"
        wrong = {_image(pod["spec"]) for pod in pods} - {_image(wanted["template"]["spec"])}
        if wrong:
            yield f"pods of {name} with {wrong}"
    daemons = Counter(pod["spec"].get("nodeName") for pod in cluster.ready_pods() if objects.labels(pod).get("app") == "agent")
    if daemons != Counter(list(cluster.nodes)):
        yield f"daemons on {daemons}"
    names = {objects.name(node) for node in cluster.all(kinds.NODE)}
    for pod in cluster.pods(""):
        if pod["spec"].get("nodeName") not in names:
            yield f"pod {objects.name(pod)} is on {pod['spec'].get('nodeName')!r}"
        if objects.is_deleting(pod):
            yield f"pod {objects.name(pod)} is still being deleted"


def _faults_of_owners(cluster: SimulatedCluster) -> Iterator[str]:
    everything = [(kind, obj) for kind in kinds.KINDS for obj in cluster.all(kind)]
    uids = {objects.uid(obj) for _, obj in everything}
    for kind, obj in everything:
        for owner in objects.metadata(obj).get("ownerReferences") or ():
            if owner["uid"] not in uids:
                yield f"{kind.resource} {objects.name(obj)} belongs to {owner['kind']} {owner['name']}, which is gone"
        if objects.is_deleting(obj):
            yield f"{kind.resource} {objects.name(obj)} does not go: {objects.finalizers(obj)}"


def _faults_of_statuses(cluster: SimulatedCluster) -> Iterator[str]:
    web = [pod for pod in cluster.ready_pods() if objects.labels(pod).get("app") == "web"]
    addresses = sorted(pod["status"]["podIP"] for pod in web)
    slices = [each for each in cluster.all(kinds.ENDPOINT_SLICE) if objects.labels(each).get("kubernetes.io/service-name") == "web"]
    shown = sorted(e["addresses"][0] for each in slices for e in each.get("endpoints") or () if e["conditions"]["ready"])
    if shown != addresses:
        yield f"the Service shows {shown}, ready are {addresses}"
    subsets = cluster.get(kinds.ENDPOINTS, "web").get("subsets") or ()
    listed = sorted(a["ip"] for subset in subsets for a in subset.get("addresses") or ())
    if listed != addresses:
        yield f"the Endpoints show {listed}, ready are {addresses}"
    status = cluster.get(kinds.DEPLOYMENT, "web")["status"]
    counts = tuple(status.get(key, 0) for key in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"))
    if counts != (len(web),) * 4:
        yield f"web says {counts}, there are {len(web)}"
    sets = [each for each in cluster.all(kinds.REPLICA_SET, "default") if objects.labels(each)["app"] == "web"]
    active = [each for each in sets if each["spec"]["replicas"]]
    if len(active) > 1:
        yield f"{len(active)} ReplicaSets are active"
    kept = cluster.get(kinds.POD_DISRUPTION_BUDGET, "web")["status"]
    allowed = 1 if web else 0
    if (kept["currentHealthy"], kept["disruptionsAllowed"], kept.get("disruptedPods") or {}) != (len(web), allowed, {}):
        yield f"the budget says {kept}"
    used = cluster.get(kinds.RESOURCE_QUOTA, "most")["status"]["used"]["pods"]
    counted = sum(pod["status"].get("phase") not in ("Succeeded", "Failed") for pod in cluster.pods())
    if used != str(counted):
        yield f"the quota counts {used} pods, there are {counted}"
    done = cluster.get(kinds.JOB, "work")
    if not objects.condition_is(done, "Complete", "True") or done["status"].get("succeeded") != COMPLETIONS:
        yield f"the job says {done['status']}"
    for node in cluster.all(kinds.NODE):
        if not objects.condition_is(node, "Ready", "True") or node["spec"].get("taints"):
            yield f"{objects.name(node)} is {objects.condition(node, 'Ready')}, {node['spec'].get('taints')}"


def _faults_of_shop(cluster: SimulatedCluster) -> Iterator[str]:
    volumes = [objects.name(each) for each in cluster.all(kinds.PERSISTENT_VOLUME)]
    let_go = {each["involvedObject"]["name"] for each in cluster.all(kinds.EVENT) if each["reason"] == "VolumeAbandoned"}
    folders = [name for node in cluster.nodes.values() for name in node.volumes if name not in let_go]
    if cluster.find(kinds.NAMESPACE, SHOP) is None:
        left = [f"{kind.resource} {objects.name(obj)}" for kind in kinds.KINDS if kind.namespaced for obj in cluster.all(kind, SHOP)]
        if left or volumes or folders:
            yield f"the shop is closed, but there are {left}, {volumes}, {folders}"
    elif cluster.find(kinds.DEPLOYMENT, "web", SHOP) is not None:
        ready = cluster.ready_pods(SHOP)
        if (len(ready), len(volumes), len(folders)) != (1, 1, 1):
            yield f"the shop has {len(ready)} ready pods, {volumes}, {folders}"


def _image(spec: dict[str, Any]) -> str:
    return str(spec["containers"][0]["image"])
