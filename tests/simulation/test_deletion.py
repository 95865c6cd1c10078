"""What goes when something goes: dependents, namespaces, and the work of pods."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import trio

from edgek.model import kinds, objects
from tests.simulation.cluster import Change, SimulatedCluster, open_cluster
from tests.simulation.workloads import budget, claim, daemon_set, deployment, job, pod, service, with_claim

NAMESPACED = [kind for kind in kinds.KINDS if kind.namespaced and "list" in kind.verbs]


def left_in(cluster: SimulatedCluster, namespace: str) -> list[str]:
    return [f"{kind.resource} {objects.name(obj)}" for kind in NAMESPACED for obj in cluster.all(kind, namespace)]


async def test_a_deleted_namespace_takes_everything_in_it_along(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_cluster(tmp_path, nodes=2) as cluster:
        await cluster.create(kinds.NAMESPACE, {"metadata": {"name": "shop"}})
        await cluster.until(lambda: cluster.find(kinds.SERVICE_ACCOUNT, "default", "shop") is not None)
        await cluster.create(kinds.DEPLOYMENT, deployment(3), "shop")
        await cluster.create(kinds.DAEMON_SET, daemon_set(), "shop")
        await cluster.create(kinds.JOB, job("work", "sleep", "1000"), "shop")
        await cluster.create(kinds.SERVICE, service(), "shop")
        await cluster.create(kinds.POD_DISRUPTION_BUDGET, budget(minAvailable=3), "shop")
        await cluster.create(kinds.PERSISTENT_VOLUME_CLAIM, claim(), "shop")
        await cluster.create(kinds.POD, pod("user", **with_claim()), "shop")
        await cluster.create(kinds.CONFIG_MAP, {"metadata": {"name": "words"}, "data": {"a": "b"}}, "shop")
        await cluster.settle()
        assert len(cluster.ready_pods("shop")) == 7
        await cluster.delete(kinds.NAMESPACE, "shop")
        await cluster.until(lambda: cluster.find(kinds.NAMESPACE, "shop") is None, within_s=120)
        assert left_in(cluster, "shop") == []
        await cluster.settle()
        assert left_in(cluster, "shop") == []
        assert cluster.all(kinds.PERSISTENT_VOLUME) == []
        for node in cluster.nodes.values():
            assert await node.runtime.containers() == []


async def test_in_the_background_the_owner_goes_first_and_then_what_it_owned(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_cluster(tmp_path, nodes=1) as cluster:
        await cluster.create(kinds.DEPLOYMENT, deployment(3))
        await cluster.settle()
        await cluster.delete(kinds.DEPLOYMENT, "web", propagation="Background")
        assert cluster.find(kinds.DEPLOYMENT, "web") is None
        await cluster.settle()
        assert (cluster.all(kinds.REPLICA_SET), cluster.pods()) == ([], [])


async def test_in_the_foreground_the_owner_goes_last(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_cluster(tmp_path, nodes=1) as cluster:
        await cluster.create(kinds.DEPLOYMENT, deployment(3))
        await cluster.settle()
        order: list[str] = []

        def look(change: Change) -> None:
            if change.type == "DELETED" and change.key.resource in ("deployments.apps", "replicasets.apps", "pods"):
                order.append(change.key.resource)

        cluster.store.observers.append(look)
        await cluster.delete(kinds.DEPLOYMENT, "web", propagation="Foreground")
        await cluster.settle()
        assert order == ["pods"] * 3 + ["replicasets.apps", "deployments.apps"]


async def test_orphans_go_on_and_can_be_adopted(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_cluster(tmp_path, nodes=1) as cluster:
        await cluster.create(kinds.DEPLOYMENT, deployment(3))
        await cluster.settle()
        before = {objects.uid(each) for each in cluster.pods()}
        await cluster.delete(kinds.DEPLOYMENT, "web", propagation="Orphan")
        await cluster.settle()
        (left,) = cluster.all(kinds.REPLICA_SET)
        assert not objects.metadata(left).get("ownerReferences")
        assert {objects.uid(each) for each in cluster.ready_pods()} == before
        await cluster.create(kinds.DEPLOYMENT, deployment(3))
        await cluster.settle()
        assert {objects.uid(each) for each in cluster.ready_pods()} == before
        assert len(cluster.all(kinds.REPLICA_SET)) == 1


async def test_a_pod_has_its_grace_and_its_name_is_free_only_afterwards(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_cluster(tmp_path, nodes=1) as cluster:
        await cluster.create(kinds.POD, pod("web", "stubborn", grace_s=30))
        await cluster.settle()
        await cluster.delete(kinds.POD, "web")
        took_s = await cluster.until(lambda: cluster.find(kinds.POD, "web") is None)
        assert 30 <= took_s < 33


async def test_a_job_of_failing_pods_ends_at_its_backoff_limit(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_cluster(tmp_path, nodes=1) as cluster:
        await cluster.create(kinds.JOB, job("work", "exit", "1", backoffLimit=2))
        await cluster.until(lambda: objects.condition_is(cluster.get(kinds.JOB, "work"), "Failed", "True"), within_s=300)
        await cluster.settle()
        failed = objects.condition(cluster.get(kinds.JOB, "work"), "Failed")
        assert failed is not None
        assert failed["reason"] == "BackoffLimitExceeded"
        assert cluster.get(kinds.JOB, "work")["status"]["failed"] == 3
        assert [each["status"]["phase"] for each in cluster.pods()] == ["Failed"] * 3
        assert not any(objects.finalizers(each) for each in cluster.pods())


async def test_a_job_runs_as_many_as_it_may_until_all_are_done(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_cluster(tmp_path, nodes=2) as cluster:
        most = 0

        def look(change: Change) -> None:
            nonlocal most
            most = max(most, sum(each["status"].get("phase") in ("Pending", "Running") for each in cluster.pods()))

        cluster.store.observers.append(look)
        await cluster.create(kinds.JOB, job("work", "sleep", "10", completions=5, parallelism=2, ttlSecondsAfterFinished=60))
        await cluster.until(lambda: objects.condition_is(cluster.get(kinds.JOB, "work"), "Complete", "True"), within_s=120)
        assert most == 2
        assert cluster.get(kinds.JOB, "work")["status"]["succeeded"] == 5
        await trio.sleep(70)
        assert cluster.find(kinds.JOB, "work") is None
        assert cluster.pods() == []


async def test_a_job_survives_the_loss_of_its_node(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_cluster(tmp_path, nodes=2) as cluster:
        await cluster.create(kinds.JOB, job("work", "sleep", "600"))
        await cluster.settle()
        (first,) = cluster.pods()
        node = first["spec"]["nodeName"]
        await cluster.nodes[node].lose_power()
        await cluster.delete(kinds.NODE, node)
        await cluster.until(lambda: objects.condition_is(cluster.get(kinds.JOB, "work"), "Complete", "True"), within_s=2000)
        assert cluster.get(kinds.JOB, "work")["status"]["succeeded"] == 1
