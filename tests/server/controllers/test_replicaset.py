"""ReplicaSets on a virtual clock, with an API in memory and nodes that run pods at once."""

from __future__ import annotations

from typing import Any

from edgek.model import errors, kinds, objects
from edgek.model.kinds import Kind
from edgek.model.objects import Object
from edgek.server.controllers.replicaset import ReplicaSetController
from edgek.server.controllers.replicationcontroller import ReplicationControllerController
from tests.fakes.scene import owner_reference, pod_template, scene


def replica_set(replicas: int, **spec: Any) -> Object:
    return {
        "metadata": {"name": "web"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": pod_template(), **spec},
    }


async def test_it_creates_as_many_pods_as_wanted_and_counts_them(autojump_clock: Any) -> None:
    async with scene(ReplicaSetController) as cluster:
        await cluster.create(kinds.REPLICA_SET, replica_set(20))
        await cluster.settle()
        assert len(cluster.pods()) == 20
        made = cluster.get(kinds.REPLICA_SET, "web")
        assert made["status"] == {
            "replicas": 20,
            "fullyLabeledReplicas": 20,
            "readyReplicas": 20,
            "availableReplicas": 20,
            "observedGeneration": 1,
            "terminatingReplicas": 0,
        }
        reference = objects.controller_of(cluster.pods()[0])
        assert reference == owner_reference(made)
        assert ("SuccessfulCreate", f"Created pod: {objects.name(cluster.pods()[0])}") in cluster.events()


async def test_an_unchanged_cluster_is_left_alone(autojump_clock: Any) -> None:
    async with scene(ReplicaSetController) as cluster:
        await cluster.create(kinds.REPLICA_SET, replica_set(3))
        await cluster.settle()
        assert await cluster.writes_in(600) == []


async def test_scaling_down_deletes_the_pods_that_are_missed_least(autojump_clock: Any) -> None:
    async with scene(ReplicaSetController) as cluster:
        cluster.runner.outcome = lambda pod: "hang" if len(cluster.pods()) > 2 else "run"
        await cluster.create(kinds.REPLICA_SET, replica_set(2))
        await cluster.settle()
        running = {objects.name(pod) for pod in cluster.pods()}
        await cluster.change(kinds.REPLICA_SET, "web", {"spec": {"replicas": 5}})
        await cluster.settle()
        await cluster.change(kinds.REPLICA_SET, "web", {"spec": {"replicas": 2}})
        await cluster.settle()
        assert {objects.name(pod) for pod in cluster.pods()} == running


async def test_a_pod_that_ended_is_replaced(autojump_clock: Any) -> None:
    async with scene(ReplicaSetController) as cluster:
        await cluster.create(kinds.REPLICA_SET, replica_set(2))
        await cluster.settle()
        name = objects.name(cluster.pods()[0])
        await cluster.change(kinds.POD, name, {"status": {"phase": "Failed"}}, subresource="status")
        await cluster.settle()
        assert sum(pod["status"]["phase"] == "Running" for pod in cluster.pods()) == 2
        assert cluster.get(kinds.REPLICA_SET, "web")["status"]["replicas"] == 2


async def test_a_pod_without_a_controller_is_adopted_and_one_relabelled_is_released(autojump_clock: Any) -> None:
    async with scene(ReplicaSetController) as cluster:
        await cluster.create(kinds.POD, {**pod_template(), "metadata": {"name": "lonely", "labels": {"app": "web"}}})
        made = await cluster.create(kinds.REPLICA_SET, replica_set(2))
        await cluster.settle()
        assert len(cluster.pods()) == 2
        assert objects.owners(cluster.get(kinds.POD, "lonely")) == [owner_reference(made)]
        await cluster.change(kinds.POD, "lonely", {"metadata": {"labels": {"app": "other"}}})
        await cluster.settle()
        assert objects.owners(cluster.get(kinds.POD, "lonely")) == []
        assert len(cluster.pods()) == 3


async def test_a_refused_pod_is_tried_in_small_numbers_and_reported(autojump_clock: Any) -> None:
    refusing = True
    tried = 0

    def refuse(verb: str, kind: Kind, obj: Object) -> None:
        nonlocal tried
        if refusing and verb == "create" and kind is kinds.POD:
            tried += 1
            raise errors.Forbidden("exceeded quota")

    async with scene(ReplicaSetController) as cluster:
        cluster.api.before_write = refuse
        await cluster.create(kinds.REPLICA_SET, replica_set(100))
        await cluster.settle()
        assert 1 < tried < 12
        (condition,) = cluster.get(kinds.REPLICA_SET, "web")["status"]["conditions"]
        assert (condition["type"], condition["status"], condition["reason"]) == ("ReplicaFailure", "True", "FailedCreate")
        assert condition["message"] == "exceeded quota"
        assert ("FailedCreate", "Error creating: exceeded quota") in cluster.events()
        refusing = False
        await cluster.settle(120)
        assert len(cluster.pods()) == 100
        assert "conditions" not in cluster.get(kinds.REPLICA_SET, "web")["status"]


async def test_a_terminating_namespace_is_no_reason_to_try_again(autojump_clock: Any) -> None:
    async with scene(ReplicaSetController) as cluster:
        await cluster.create(kinds.NAMESPACE, {"metadata": {"name": "going"}})
        await cluster.create(kinds.REPLICA_SET, replica_set(0), "going")
        await cluster.client.delete(kinds.NAMESPACE, "going")
        await cluster.change(kinds.REPLICA_SET, "web", {"spec": {"replicas": 3}}, "going")
        await cluster.settle()
        assert cluster.pods("going") == []
        assert await cluster.writes_in(100) == []


async def test_a_pod_is_available_only_after_min_ready_seconds(autojump_clock: Any) -> None:
    async with scene(ReplicaSetController) as cluster:
        await cluster.create(kinds.REPLICA_SET, replica_set(1, minReadySeconds=30))
        await cluster.settle(25)
        assert "availableReplicas" not in cluster.get(kinds.REPLICA_SET, "web")["status"]
        await cluster.settle(10)
        assert cluster.get(kinds.REPLICA_SET, "web")["status"]["availableReplicas"] == 1


async def test_a_set_that_is_being_deleted_makes_no_pods(autojump_clock: Any) -> None:
    async with scene(ReplicaSetController) as cluster:
        wanted = replica_set(0)
        wanted["metadata"]["finalizers"] = ["keep/it"]
        await cluster.create(kinds.REPLICA_SET, wanted)
        await cluster.client.delete(kinds.REPLICA_SET, "web", "default")
        await cluster.change(kinds.REPLICA_SET, "web", {"spec": {"replicas": 3}})
        await cluster.settle()
        assert cluster.pods() == []


async def test_a_replication_controller_works_like_it(autojump_clock: Any) -> None:
    async with scene(ReplicationControllerController) as cluster:
        wanted = {"metadata": {"name": "web"}, "spec": {"replicas": 2, "selector": {"app": "web"}, "template": pod_template()}}
        await cluster.create(kinds.REPLICATION_CONTROLLER, wanted)
        await cluster.settle()
        assert len(cluster.pods()) == 2
        assert objects.owners(cluster.pods()[0])[0]["kind"] == "ReplicationController"
        assert "terminatingReplicas" not in cluster.get(kinds.REPLICATION_CONTROLLER, "web")["status"]


async def test_a_node_whose_clock_is_ahead_does_not_hold_up_availability(autojump_clock: Any) -> None:
    async with scene(ReplicaSetController) as cluster:
        await cluster.create(kinds.REPLICA_SET, replica_set(1, minReadySeconds=20))
        await cluster.settle()
        ready = {"status": {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2038-01-01T00:00:00Z"}]}}
        await cluster.change(kinds.POD, objects.name(cluster.pods()[0]), ready, subresource="status")
        await cluster.settle(25)
        assert cluster.get(kinds.REPLICA_SET, "web")["status"]["availableReplicas"] == 1
