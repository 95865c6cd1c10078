"""Trouble for the volumes of a simulated cluster: claims and their pods come and go while everything fails, and nothing is lost or left behind."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import trio

from edgek.model import errors, kinds, objects
from edgek.model.local_storage import HOSTPATH, NODE_LABEL, is_being_made
from edgek.model.objects import Object
from tests.simulation import trouble
from tests.simulation.cluster import Change, SimulatedCluster, is_ready
from tests.simulation.trouble import Step
from tests.simulation.wire import no_delay, no_trouble
from tests.simulation.workloads import claim, pod, with_claim

NAMES = ("a", "b", "c")
PEACE_S = 1000.0
MARK = "written"
KEPT_CLASS = {
    "metadata": {"name": "kept"},
    "provisioner": HOSTPATH,
    "reclaimPolicy": "Retain",
    "volumeBindingMode": "WaitForFirstConsumer",
    "allowVolumeExpansion": True,
}


def _name(number: int) -> str:
    return NAMES[number % len(NAMES)]


async def make_claim(cluster: SimulatedCluster, number: int) -> None:
    with suppress(errors.AlreadyExists):
        await cluster.create(kinds.PERSISTENT_VOLUME_CLAIM, claim(_name(number), storage_class="kept" if number % 4 == 0 else ""))


async def use_claim(cluster: SimulatedCluster, number: int) -> None:
    with suppress(errors.AlreadyExists):
        await cluster.create(kinds.POD, pod(_name(number), **with_claim(_name(number))))


async def make_and_use(cluster: SimulatedCluster, number: int) -> None:
    await make_claim(cluster, number)
    await use_claim(cluster, number)


async def drop_claim(cluster: SimulatedCluster, number: int) -> None:
    await cluster.client.delete(kinds.PERSISTENT_VOLUME_CLAIM, _name(number), "default")


async def drop_pod(cluster: SimulatedCluster, number: int) -> None:
    await cluster.client.delete(kinds.POD, _name(number), "default", grace_s=0 if number % 3 == 0 else None)


async def drop_volume(cluster: SimulatedCluster, number: int) -> None:
    volumes = cluster.all(kinds.PERSISTENT_VOLUME)
    if volumes:
        await cluster.client.delete(kinds.PERSISTENT_VOLUME, objects.name(volumes[number % len(volumes)]))


async def grow(cluster: SimulatedCluster, number: int) -> None:
    with suppress(errors.Forbidden, errors.Invalid):  # it is not bound yet, or that large already
        size = {"spec": {"resources": {"requests": {"storage": f"{number % 5 + 1}Gi"}}}}
        await cluster.change(kinds.PERSISTENT_VOLUME_CLAIM, _name(number), size)


TO_STORAGE = ("make_claim", "use_claim", "make_and_use", "drop_claim", "drop_pod", "drop_volume", "grow")
OPERATIONS: dict[str, Callable[[SimulatedCluster, int], Awaitable[None]]] = {
    each.__name__: each
    for each in (
        make_claim, use_claim, make_and_use, drop_claim, drop_pod, drop_volume, grow,
        trouble.nothing, trouble.lose_power, trouble.kill_agent, trouble.boot, trouble.cut_wire, trouble.mend_wire, trouble.delete_node,
        trouble.restart_controllers, trouble.restart_scheduler, trouble.restart_api, trouble.cut_watches, trouble.compact, trouble.storm,
        trouble.slow_down,
    )
}  # fmt: skip


@attrs.define
class Witness:
    """Writes into each volume once, when its claim has it, and looks after it from then on.

    ``let_go`` are volumes that went while their node was not in the cluster: their directories stay where nobody reaches them.
    """

    cluster: SimulatedCluster
    marked: dict[str, str] = attrs.field(factory=dict)  # by volume: the uid of its claim
    found: list[str] = attrs.field(factory=list)
    let_go: set[str] = attrs.field(factory=set)

    def hear(self, change: Change) -> None:
        is_volume = change.key.resource == kinds.PERSISTENT_VOLUME.storage
        if change.type == "DELETED" and is_volume and self.cluster.find(kinds.NODE, objects.labels(change.obj).get(NODE_LABEL, "")) is None:
            self.let_go.add(change.key.name)

    def look(self) -> None:
        folders = self._folders()
        for volume in self.cluster.all(kinds.PERSISTENT_VOLUME):
            name = objects.name(volume)
            if (volume.get("status") or {}).get("phase") == "Bound" and name not in self.marked and name in folders:
                (folders[name] / MARK).write_text(name)
                self.marked[name] = volume["spec"]["claimRef"]["uid"]
        claims = {objects.uid(each) for each in self.cluster.all(kinds.PERSISTENT_VOLUME_CLAIM)}
        for name, claim_uid in self.marked.items():
            is_there = name in folders and (folders[name] / MARK).exists()
            if not is_there and claim_uid in claims:
                self.found.append(f"{trio.current_time():.3f} s: the data of {name} is gone, its claim is not")
            if name in folders and not is_there:
                self.found.append(f"{trio.current_time():.3f} s: {name} was emptied")

    def _folders(self) -> dict[str, Path]:
        return {name: node.storage / name for node in self.cluster.nodes.values() for name in node.volumes}


async def carry_out(cluster: SimulatedCluster, steps: list[Step]) -> list[str]:
    """What was wrong, then and in the end."""
    await cluster.create(kinds.STORAGE_CLASS, KEPT_CLASS)
    witness = Witness(cluster)
    cluster.store.observers.append(witness.hear)
    kept: set[str] = set()
    for step in steps:
        with suppress(errors.NotFound, errors.Conflict):
            await OPERATIONS[step.what](cluster, step.number)
        await trio.sleep(step.wait_s)
        witness.look()
        kept |= {objects.name(each) for each in cluster.all(kinds.PERSISTENT_VOLUME) if each["spec"]["persistentVolumeReclaimPolicy"] == "Retain"}
    await make_peace(cluster)
    witness.look()
    return witness.found + list(faults(cluster, witness, kept))


async def make_peace(cluster: SimulatedCluster) -> None:
    cluster.exchange.trouble, cluster.exchange.delay_s = no_trouble, no_delay
    for node in cluster.nodes.values():
        node.wire.mend()
        if not node.is_on:
            await cluster.boot(node.name)
    await trio.sleep(5)
    for node in cluster.nodes.values():
        if cluster.find(kinds.NODE, node.name) is None:
            await node.stop_agent()
            await cluster.boot(node.name)
    await trio.sleep(PEACE_S)
    await cluster.settle()


def faults(cluster: SimulatedCluster, witness: Witness, kept: set[str]) -> Iterator[str]:
    volumes = {objects.name(each): each for each in cluster.all(kinds.PERSISTENT_VOLUME)}
    claims = {objects.name(each): each for each in cluster.all(kinds.PERSISTENT_VOLUME_CLAIM)}
    for name in {name for node in cluster.nodes.values() for name in node.volumes} - volumes.keys() - kept - witness.let_go:
        yield f"the directory {name} is left behind"
    lost = {each for each in witness.marked if each in kept} - {name for node in cluster.nodes.values() for name in node.volumes}
    for name in lost:
        yield f"{name} was to be retained"
    for name, volume in volumes.items():
        yield from _faults_of_volume(name, volume, {objects.uid(each) for each in claims.values()})
    for name, found in claims.items():
        yield from _faults_of_claim(cluster, name, found)


def _faults_of_volume(name: str, volume: Object, claims: set[str]) -> Iterator[str]:
    is_claimed = volume["spec"]["claimRef"]["uid"] in claims
    if is_being_made(volume):
        yield f"volume {name} is still being made"
    if objects.is_deleting(volume) and not is_claimed:
        yield f"volume {name} does not go: {objects.finalizers(volume)}"
    if not is_claimed and volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete":
        yield f"volume {name} belongs to nobody"


def _faults_of_claim(cluster: SimulatedCluster, name: str, found: Object) -> Iterator[str]:
    user: Any = cluster.find(kinds.POD, name)
    if objects.is_deleting(found) and user is None:
        yield f"claim {name} does not go: {objects.finalizers(found)}"
    if user is None or objects.is_deleting(found):
        return
    status = found["status"]
    if status["phase"] != "Bound":
        yield f"claim {name} is {status['phase']}"
    elif not is_ready(user) and user["status"].get("phase") not in ("Failed", "Succeeded"):
        yield f"pod {name} is {user['status']}"
    if status["phase"] == "Bound" and (status["capacity"] != found["spec"]["resources"]["requests"] or status.get("conditions")):
        yield f"claim {name} wants {found['spec']['resources']['requests']} and has {status}"
