"""Pods that nobody else deletes."""

from __future__ import annotations

from typing import Any

from edgek.client.reconcile import Settings
from edgek.model import kinds, objects
from edgek.server.controllers.podgc import PodGcController
from tests.fakes.scene import Scene, pod_template, scene


async def pod(cluster: Scene, name: str, **spec: Any) -> None:
    await cluster.create(kinds.POD, {**pod_template(**spec), "metadata": {"name": name}})


def names(cluster: Scene) -> set[str]:
    return {objects.name(each) for each in cluster.pods()}


async def test_finished_pods_beyond_the_limit_go_the_oldest_first(autojump_clock: Any) -> None:
    async with scene(PodGcController, settings=Settings(finished_pods_most=2)) as cluster:
        await cluster.create(kinds.NODE, {"metadata": {"name": "node-1"}, "spec": {}})
        cluster.runner.outcome = lambda pod: "succeed"
        for number in range(5):
            await pod(cluster, f"job-{number}")
            await cluster.settle(2)
        assert names(cluster) == {"job-3", "job-4"}


async def test_pods_of_a_node_that_is_gone_fail_and_go(autojump_clock: Any) -> None:
    async with scene(PodGcController) as cluster:
        await cluster.create(kinds.NODE, {"metadata": {"name": "node-1"}, "spec": {}})
        await pod(cluster, "web")
        held = cluster.get(kinds.POD, "web")
        await cluster.client.update(kinds.POD, {**held, "metadata": {**held["metadata"], "finalizers": ["my/hold"]}})
        await cluster.settle()
        await cluster.client.delete(kinds.NODE, "node-1")
        await cluster.settle(30)
        assert not objects.is_deleting(cluster.get(kinds.POD, "web"))
        await cluster.settle(15)
        lost = cluster.get(kinds.POD, "web")
        assert objects.is_deleting(lost)
        assert lost["status"]["phase"] == "Failed"
        condition = objects.condition(lost, "DisruptionTarget")
        assert condition is not None
        assert (condition["reason"], condition["message"]) == ("DeletionByPodGC", "PodGC: node no longer exists")


async def test_a_node_that_comes_back_in_time_keeps_its_pods(autojump_clock: Any) -> None:
    async with scene(PodGcController) as cluster:
        await cluster.create(kinds.NODE, {"metadata": {"name": "node-1"}, "spec": {}})
        await pod(cluster, "web")
        await cluster.settle()
        await cluster.client.delete(kinds.NODE, "node-1")
        await cluster.settle(30)
        await cluster.create(kinds.NODE, {"metadata": {"name": "node-1"}, "spec": {}})
        await cluster.settle(100)
        assert names(cluster) == {"web"}


async def test_terminating_pods_of_a_node_out_of_service_go_at_once(autojump_clock: Any) -> None:
    async with scene(PodGcController) as cluster:
        await cluster.create(kinds.NODE, {"metadata": {"name": "node-1"}, "spec": {}})
        await pod(cluster, "web")
        await cluster.settle()
        cluster.runner.stops = False
        await cluster.client.delete(kinds.POD, "web", "default")
        await cluster.settle(60)
        assert names(cluster) == {"web"}
        taints = [{"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"}]
        await cluster.change(kinds.NODE, "node-1", {"spec": {"taints": taints}})
        await cluster.settle()
        assert names(cluster) == set()
