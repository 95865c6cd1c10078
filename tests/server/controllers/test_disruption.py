"""How many pods a budget lets go."""

from __future__ import annotations

from typing import Any

from edgek.host import wallclock
from edgek.model import kinds, objects
from edgek.model.objects import Object
from edgek.server.controllers.deployment import DeploymentController
from edgek.server.controllers.disruption import DisruptionController
from edgek.server.controllers.replicaset import ReplicaSetController
from tests.fakes.scene import Scene, pod_template, scene
from tests.server.controllers.test_deployment import deployment

ALL = (DeploymentController, ReplicaSetController, DisruptionController)


def budget(**spec: Any) -> Object:
    return {"metadata": {"name": "web"}, "spec": {"selector": {"matchLabels": {"app": "web"}}, **spec}}


def counts(cluster: Scene) -> tuple[int, int, int, int]:
    """(allowed, healthy, desired, expected)"""
    status = cluster.get(kinds.POD_DISRUPTION_BUDGET, "web")["status"]
    return status["disruptionsAllowed"], status["currentHealthy"], status["desiredHealthy"], status["expectedPods"]


async def test_a_share_counts_from_what_the_deployment_wants(autojump_clock: Any) -> None:
    async with scene(*ALL) as cluster:
        await cluster.create(kinds.DEPLOYMENT, deployment(10))
        await cluster.create(kinds.POD_DISRUPTION_BUDGET, budget(maxUnavailable="25%"))
        await cluster.settle()
        assert counts(cluster) == (3, 10, 7, 10)
        found = objects.condition(cluster.get(kinds.POD_DISRUPTION_BUDGET, "web"), "DisruptionAllowed")
        assert found is not None
        assert (found["status"], found["reason"], found["observedGeneration"]) == ("True", "SufficientPods", 1)
        assert await cluster.writes_in(600) == []
        await cluster.change(kinds.POD_DISRUPTION_BUDGET, "web", {"spec": {"maxUnavailable": None, "minAvailable": "100%"}})
        await cluster.settle()
        assert counts(cluster) == (0, 10, 10, 10)
        found = objects.condition(cluster.get(kinds.POD_DISRUPTION_BUDGET, "web"), "DisruptionAllowed")
        assert found is not None
        assert (found["status"], found["reason"], found["observedGeneration"]) == ("False", "InsufficientPods", 2)


async def test_a_number_counts_from_the_pods_that_are_there(autojump_clock: Any) -> None:
    async with scene(*ALL) as cluster:
        for number in range(3):
            await cluster.create(kinds.POD, {**pod_template(), "metadata": {"name": f"web-{number}", "labels": {"app": "web"}}})
        await cluster.create(kinds.POD_DISRUPTION_BUDGET, budget(minAvailable=2))
        await cluster.settle()
        assert counts(cluster) == (1, 3, 2, 3)
        unready = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
        await cluster.change(kinds.POD, "web-0", unready, subresource="status")
        await cluster.settle()
        assert counts(cluster) == (0, 2, 2, 3)


async def test_a_pod_whose_eviction_was_allowed_does_not_count_until_it_proves_to_stay(autojump_clock: Any) -> None:
    async with scene(*ALL) as cluster:
        for number in range(3):
            await cluster.create(kinds.POD, {**pod_template(), "metadata": {"name": f"web-{number}", "labels": {"app": "web"}}})
        await cluster.create(kinds.POD_DISRUPTION_BUDGET, budget(minAvailable=1))
        await cluster.settle()
        allowed = {"status": {"disruptedPods": {"web-0": wallclock.now_rfc3339()}, "disruptionsAllowed": 1}}
        await cluster.change(kinds.POD_DISRUPTION_BUDGET, "web", allowed, subresource="status")
        await cluster.settle(60)
        assert counts(cluster)[:2] == (1, 2)
        await cluster.settle(70)
        assert counts(cluster)[:2] == (2, 3)
        assert "disruptedPods" not in cluster.get(kinds.POD_DISRUPTION_BUDGET, "web")["status"]
        assert any(reason == "NotDeleted" for reason, _ in cluster.events())


async def test_pods_of_an_unknown_controller_may_not_be_disturbed(autojump_clock: Any) -> None:
    async with scene(*ALL) as cluster:
        owner = {"apiVersion": "example.com/v1", "kind": "Unheard", "name": "x", "uid": "y", "controller": True}
        meta = {"name": "web-0", "labels": {"app": "web"}, "ownerReferences": [owner]}
        await cluster.create(kinds.POD, {**pod_template(), "metadata": meta})
        await cluster.create(kinds.POD_DISRUPTION_BUDGET, budget(maxUnavailable=1))
        await cluster.settle()
        assert counts(cluster)[0] == 0
        found = objects.condition(cluster.get(kinds.POD_DISRUPTION_BUDGET, "web"), "DisruptionAllowed")
        assert found is not None
        assert (found["reason"], found["message"]) == ("SyncFailed", 'found no controllers for pod "web-0"')


async def test_a_budget_without_pods_allows_nothing(autojump_clock: Any) -> None:
    async with scene(*ALL) as cluster:
        await cluster.create(kinds.POD_DISRUPTION_BUDGET, budget(minAvailable=0))
        await cluster.settle()
        assert counts(cluster) == (0, 0, 0, 0)
        assert ("NoPods", "No matching pods found") in cluster.events()
