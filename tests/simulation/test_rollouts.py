"""Deployments on real nodes: what their users were promised holds at every step of the way."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from edgek.model import kinds, objects
from edgek.model.objects import Object
from tests.simulation.cluster import Change, SimulatedCluster, is_ready, open_cluster
from tests.simulation.workloads import deployment, image, service, template

RUNNING: Any = {"strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}}


def broken_promises(cluster: SimulatedCluster, *, most: int, least: int) -> list[str]:
    """Fills while the cluster lives: moments at which there were more pods than allowed, or fewer that were available."""
    found: list[str] = []

    def look(change: Change) -> None:
        if change.key.resource != "pods":
            return
        pods = [pod for pod in cluster.pods() if not objects.is_deleting(pod)]
        ready = sum(is_ready(pod) for pod in pods)
        if len(pods) > most or ready < least:
            found.append(f"{change.at:.3f} s: {len(pods)} pods, {ready} of them ready, after {change.type} {change.key.name}")

    cluster.store.observers.append(look)
    return found


def images(cluster: SimulatedCluster) -> list[str]:
    return sorted(pod["spec"]["containers"][0]["image"] for pod in cluster.pods())


def slow_to_be_ready(cluster: SimulatedCluster, seconds: float) -> None:
    for node in cluster.nodes.values():
        node.runtime.delays_s["start_container"] = seconds


async def test_a_rollout_keeps_surge_and_availability_at_every_step(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_cluster(tmp_path, nodes=3) as cluster:
        await cluster.create(kinds.DEPLOYMENT, deployment(6, **RUNNING))
        await cluster.settle()
        slow_to_be_ready(cluster, 3.0)
        broken = broken_promises(cluster, most=7, least=5)
        await cluster.change(kinds.DEPLOYMENT, "web", image("web:2"))
        await cluster.settle()
        assert broken == []
        assert images(cluster) == ["web:2"] * 6
        status = cluster.get(kinds.DEPLOYMENT, "web")["status"]
        assert (status["updatedReplicas"], status["readyReplicas"], status["availableReplicas"]) == (6, 6, 6)
        assert objects.condition_is(cluster.get(kinds.DEPLOYMENT, "web"), "Progressing", "True")


async def test_a_rollout_of_what_cannot_start_stops_where_it_is_and_can_be_undone(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_cluster(tmp_path, nodes=2) as cluster:
        await cluster.create(kinds.DEPLOYMENT, deployment(4, **RUNNING, progressDeadlineSeconds=60))
        await cluster.settle()
        for node in cluster.nodes.values():
            node.runtime.pulls_anything = False
        broken = broken_promises(cluster, most=5, least=3)
        await cluster.change(kinds.DEPLOYMENT, "web", image("missing:1"))
        await trio.sleep(120)
        assert not objects.condition_is(cluster.get(kinds.DEPLOYMENT, "web"), "Progressing", "True")
        assert images(cluster) == ["missing:1"] * 2 + ["web:1"] * 3
        await cluster.change(kinds.DEPLOYMENT, "web", image("web:1"))  # what kubectl rollout undo does
        await cluster.settle()
        assert broken == []
        assert images(cluster) == ["web:1"] * 4
        sets = {objects.annotations(each)["deployment.kubernetes.io/revision"]: each["spec"]["replicas"] for each in cluster.all(kinds.REPLICA_SET)}
        assert sets == {"2": 0, "3": 4}
        assert objects.condition_is(cluster.get(kinds.DEPLOYMENT, "web"), "Progressing", "True")


async def test_another_update_in_the_middle_of_one_ends_with_the_newest(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_cluster(tmp_path, nodes=2) as cluster:
        await cluster.create(kinds.DEPLOYMENT, deployment(5, **RUNNING))
        await cluster.settle()
        slow_to_be_ready(cluster, 5.0)
        broken = broken_promises(cluster, most=6, least=4)
        for number in (2, 3, 4):
            await cluster.change(kinds.DEPLOYMENT, "web", image(f"web:{number}"))
            await trio.sleep(7)
        await cluster.settle()
        assert broken == []
        assert images(cluster) == ["web:4"] * 5


@pytest.mark.parametrize("seed", range(3))
async def test_old_caches_break_no_promise(seed: int, tmp_path: Path, autojump_clock: Any) -> None:
    """Requests and what watches tell take up to a second, each its own time."""
    draw = random.Random(seed)
    async with open_cluster(tmp_path, nodes=2) as cluster:
        await cluster.create(kinds.DEPLOYMENT, deployment(5, **RUNNING))
        await cluster.settle()
        cluster.exchange.delay_s = lambda who: 0.0 if who == "admin" else draw.uniform(0, 1)
        broken = broken_promises(cluster, most=6, least=4)
        for number in (2, 3):
            await cluster.change(kinds.DEPLOYMENT, "web", image(f"web:{number}"))
            await trio.sleep(9)
        await cluster.settle()
        assert broken == []
        assert images(cluster) == ["web:3"] * 5


async def test_recreate_never_runs_both_versions(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_cluster(tmp_path, nodes=2) as cluster:
        await cluster.create(kinds.DEPLOYMENT, deployment(3, strategy={"type": "Recreate"}))
        await cluster.settle()
        mixed: list[list[str]] = []
        watch_mixtures(cluster, mixed.append)
        await cluster.change(kinds.DEPLOYMENT, "web", image("web:2"))
        await cluster.settle()
        assert mixed == []
        assert images(cluster) == ["web:2"] * 3


def watch_mixtures(cluster: SimulatedCluster, tell: Callable[[list[str]], object]) -> None:
    def look(change: Change) -> None:
        if change.key.resource == "pods" and len(set(images(cluster))) > 1:
            tell(images(cluster))

    cluster.store.observers.append(look)


async def test_a_service_always_has_a_ready_address_during_a_rollout(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_cluster(tmp_path, nodes=2) as cluster:
        await cluster.create(kinds.SERVICE, service())
        await cluster.create(kinds.DEPLOYMENT, deployment(2, strategy={"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}))
        await cluster.settle()
        slow_to_be_ready(cluster, 2.0)
        counts: list[int] = []
        cluster.store.observers.append(lambda change: counts.append(len(ready_addresses(cluster))))
        await cluster.change(kinds.DEPLOYMENT, "web", image("web:2"))
        await cluster.settle()
        assert min(counts) >= 1
        assert ready_addresses(cluster) == sorted(pod["status"]["podIP"] for pod in cluster.pods())


def ready_addresses(cluster: SimulatedCluster, name: str = "web") -> list[str]:
    slices = [each for each in cluster.all(kinds.ENDPOINT_SLICE) if objects.labels(each).get("kubernetes.io/service-name") == name]
    return sorted(e["addresses"][0] for each in slices for e in each.get("endpoints") or () if e["conditions"]["ready"])


async def test_a_pod_that_fails_its_readiness_probe_holds_the_rollout_up(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_cluster(tmp_path, nodes=2) as cluster:
        await cluster.create(kinds.DEPLOYMENT, deployment(2, **RUNNING))
        await cluster.settle()
        await cluster.change(kinds.DEPLOYMENT, "web", {"spec": {"template": never_ready()}})
        await cluster.settle(quiet_s=45)
        old = [pod for pod in cluster.ready_pods() if pod["spec"]["containers"][0]["image"] == "web:1"]
        assert len(old) == 1
        assert len(cluster.pods()) == 3


def never_ready() -> Object:
    probe = {"exec": {"command": ["exit", "1"]}, "periodSeconds": 5}
    return template(image="web:2", container={"readinessProbe": probe})
