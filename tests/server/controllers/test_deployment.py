"""Deployments with real ReplicaSets below them, on a virtual clock."""

from __future__ import annotations

from typing import Any

import trio

from edgek.model import errors, kinds, objects
from edgek.model.kinds import Kind
from edgek.model.objects import Object
from edgek.server.controllers.deployment import DeploymentController
from edgek.server.controllers.replicaset import ReplicaSetController
from tests.fakes.scene import Scene, pod_template, scene

BOTH = (ReplicaSetController, DeploymentController)


def deployment(replicas: int = 4, **spec: Any) -> Object:
    return {
        "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": pod_template(),
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "revisionHistoryLimit": 10,
            "progressDeadlineSeconds": 600,
            **spec,
        },
    }


def image(name: str) -> Object:
    return {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": name}]}}}}


def sizes(cluster: Scene) -> dict[str, int]:
    """Replicas by revision."""
    sets = cluster.api.all(kinds.REPLICA_SET)
    return {objects.annotations(each)["deployment.kubernetes.io/revision"]: each["spec"]["replicas"] for each in sets}


def condition(cluster: Scene, type_: str) -> tuple[str, str, str]:
    found = objects.condition(cluster.get(kinds.DEPLOYMENT, "web"), type_)
    assert found is not None
    return found["status"], found["reason"], found["message"]


async def test_a_new_deployment_becomes_available_and_complete(autojump_clock: Any) -> None:
    async with scene(*BOTH) as cluster:
        await cluster.create(kinds.DEPLOYMENT, deployment())
        await cluster.settle()
        (made,) = cluster.api.all(kinds.REPLICA_SET)
        value = objects.labels(made)["pod-template-hash"]
        assert objects.name(made) == f"web-{value}"
        assert made["spec"]["selector"]["matchLabels"] == {"app": "web", "pod-template-hash": value}
        assert all(objects.labels(pod)["pod-template-hash"] == value for pod in cluster.pods())
        status = cluster.get(kinds.DEPLOYMENT, "web")["status"]
        counts = {key: count for key, count in status.items() if key != "conditions"}
        assert counts == {
            "observedGeneration": 1,
            "replicas": 4,
            "updatedReplicas": 4,
            "readyReplicas": 4,
            "availableReplicas": 4,
            "terminatingReplicas": 0,
        }
        assert condition(cluster, "Available") == ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
        progress = condition(cluster, "Progressing")
        assert progress == ("True", "NewReplicaSetAvailable", f'ReplicaSet "web-{value}" has successfully progressed.')
        assert ("ScalingReplicaSet", f"Scaled up replica set web-{value} from 0 to 4") in cluster.events()


async def test_an_unchanged_cluster_is_left_alone(autojump_clock: Any) -> None:
    async with scene(*BOTH) as cluster:
        await cluster.create(kinds.DEPLOYMENT, deployment())
        await cluster.settle()
        assert await cluster.writes_in(2000) == []


async def test_a_rolling_update_keeps_within_surge_and_unavailability(autojump_clock: Any) -> None:
    async with scene(*BOTH) as cluster:
        await cluster.create(kinds.DEPLOYMENT, deployment(8))
        await cluster.settle()
        most, fewest_ready = 0, 8

        def count(verb: str, kind: Kind, obj: Object) -> None:
            nonlocal most, fewest_ready
            live = [pod for pod in cluster.pods() if not objects.is_deleting(pod)]
            most = max(most, len(live))
            fewest_ready = min(fewest_ready, sum(objects.condition_is(pod, "Ready") for pod in live))

        cluster.api.before_write = count
        await cluster.change(kinds.DEPLOYMENT, "web", image("web:2"))
        await cluster.settle()
        assert sizes(cluster) == {"1": 0, "2": 8}
        assert {pod["spec"]["containers"][0]["image"] for pod in cluster.pods()} == {"web:2"}
        assert most <= 10
        assert fewest_ready >= 6


async def test_a_rollout_that_cannot_start_keeps_the_old_pods_and_reports_its_deadline(autojump_clock: Any) -> None:
    async with scene(*BOTH) as cluster:
        cluster.runner.outcome = lambda pod: "hang" if pod["spec"]["containers"][0]["image"] == "broken" else "run"
        await cluster.create(kinds.DEPLOYMENT, deployment(4, progressDeadlineSeconds=60))
        await cluster.settle()
        await cluster.change(kinds.DEPLOYMENT, "web", image("broken"))
        await cluster.settle(30)
        assert sizes(cluster) == {"1": 3, "2": 2}
        assert condition(cluster, "Progressing")[1] == "ReplicaSetUpdated"
        await cluster.settle(60)
        state, reason, message = condition(cluster, "Progressing")
        assert (state, reason) == ("False", "ProgressDeadlineExceeded")
        assert message.startswith('ReplicaSet "web-')
        assert message.endswith("has timed out progressing.")
        await cluster.change(kinds.DEPLOYMENT, "web", image("web:1"))
        await cluster.settle()
        assert condition(cluster, "Progressing")[1] == "NewReplicaSetAvailable"


async def test_going_back_to_an_old_template_raises_its_revision(autojump_clock: Any) -> None:
    async with scene(*BOTH) as cluster:
        await cluster.create(kinds.DEPLOYMENT, deployment(2))
        await cluster.settle()
        await cluster.change(kinds.DEPLOYMENT, "web", image("web:2"))
        await cluster.settle()
        await cluster.change(kinds.DEPLOYMENT, "web", image("web:1"))
        await cluster.settle()
        assert sizes(cluster) == {"2": 0, "3": 2}
        assert objects.annotations(cluster.get(kinds.DEPLOYMENT, "web"))["deployment.kubernetes.io/revision"] == "3"
        first = next(each for each in cluster.api.all(kinds.REPLICA_SET) if each["spec"]["replicas"])
        assert objects.annotations(first)["deployment.kubernetes.io/revision-history"] == "1"


async def test_a_paused_deployment_scales_but_does_not_roll(autojump_clock: Any) -> None:
    async with scene(*BOTH) as cluster:
        await cluster.create(kinds.DEPLOYMENT, deployment(2))
        await cluster.settle()
        await cluster.change(kinds.DEPLOYMENT, "web", {"spec": {"paused": True}})
        await cluster.change(kinds.DEPLOYMENT, "web", image("web:2"))
        await cluster.change(kinds.DEPLOYMENT, "web", {"spec": {"replicas": 5}})
        await cluster.settle()
        assert sizes(cluster) == {"1": 5}
        assert condition(cluster, "Progressing") == ("Unknown", "DeploymentPaused", "Deployment is paused")
        await cluster.change(kinds.DEPLOYMENT, "web", {"spec": {"paused": False}})
        await cluster.settle()
        assert sizes(cluster) == {"1": 0, "2": 5}
        assert condition(cluster, "Progressing")[1] == "NewReplicaSetAvailable"


async def test_recreate_starts_new_pods_only_after_the_last_old_one_is_gone(autojump_clock: Any) -> None:
    images_seen: list[set[str]] = []
    async with scene(*BOTH) as cluster:
        await cluster.create(kinds.DEPLOYMENT, deployment(3, strategy={"type": "Recreate"}))
        await cluster.settle()
        cluster.api.before_write = lambda verb, kind, obj: images_seen.append({pod["spec"]["containers"][0]["image"] for pod in cluster.pods()})
        await cluster.change(kinds.DEPLOYMENT, "web", image("web:2"))
        await cluster.settle()
        assert sizes(cluster) == {"1": 0, "2": 3}
        assert {"web:1", "web:2"} not in images_seen
        assert {pod["spec"]["containers"][0]["image"] for pod in cluster.pods()} == {"web:2"}


async def test_scaling_amid_a_rollout_is_shared_in_proportion(autojump_clock: Any) -> None:
    async with scene(*BOTH) as cluster:
        cluster.runner.outcome = lambda pod: "hang" if pod["spec"]["containers"][0]["image"] == "slow" else "run"
        await cluster.create(kinds.DEPLOYMENT, deployment(10))
        await cluster.settle()
        await cluster.change(kinds.DEPLOYMENT, "web", image("slow"))
        await cluster.settle()
        assert sizes(cluster) == {"1": 8, "2": 5}
        await cluster.change(kinds.DEPLOYMENT, "web", {"spec": {"replicas": 20}})
        await cluster.settle()
        assert sum(sizes(cluster).values()) == 25
        assert sizes(cluster) == {"1": 15, "2": 10}


async def test_only_so_many_old_replica_sets_are_kept(autojump_clock: Any) -> None:
    async with scene(*BOTH) as cluster:
        await cluster.create(kinds.DEPLOYMENT, deployment(1, revisionHistoryLimit=2))
        for number in range(2, 7):
            await cluster.settle()
            await cluster.change(kinds.DEPLOYMENT, "web", image(f"web:{number}"))
        await cluster.settle()
        assert sizes(cluster) == {"4": 0, "5": 0, "6": 1}


async def test_a_name_that_another_template_has_taken_is_avoided(autojump_clock: Any) -> None:
    async with scene(*BOTH) as cluster:
        await cluster.create(kinds.DEPLOYMENT, deployment(1))
        await cluster.settle()
        (made,) = cluster.api.all(kinds.REPLICA_SET)
        squatter = {
            "metadata": {"name": objects.name(made)},
            "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "other"}}, "template": pod_template({"app": "other"})},
        }
        await cluster.client.delete(kinds.DEPLOYMENT, "web", "default")
        await cluster.client.delete(kinds.REPLICA_SET, objects.name(made), "default")
        await cluster.settle()
        await cluster.create(kinds.REPLICA_SET, squatter)
        await cluster.create(kinds.DEPLOYMENT, deployment(1))
        await cluster.settle()
        assert cluster.get(kinds.DEPLOYMENT, "web")["status"]["collisionCount"] == 1
        assert len(cluster.api.all(kinds.REPLICA_SET)) == 2


async def test_a_replica_set_without_a_controller_is_adopted(autojump_clock: Any) -> None:
    async with scene(*BOTH) as cluster:
        await cluster.create(kinds.DEPLOYMENT, deployment(2))
        await cluster.settle()
        (made,) = cluster.api.all(kinds.REPLICA_SET)
        await cluster.change(kinds.REPLICA_SET, objects.name(made), {"metadata": {"ownerReferences": None}})
        await cluster.settle()
        owner = cluster.get(kinds.DEPLOYMENT, "web")
        (again,) = cluster.api.all(kinds.REPLICA_SET)
        assert objects.owners(again) == [objects.controller_reference(owner, "apps/v1", "Deployment")]


async def test_a_refused_replica_set_is_reported(autojump_clock: Any) -> None:
    def refuse(verb: str, kind: Kind, obj: Object) -> None:
        if verb == "create" and kind is kinds.REPLICA_SET:
            raise errors.Forbidden("exceeded quota")

    async with scene(*BOTH) as cluster:
        cluster.api.before_write = refuse
        await cluster.create(kinds.DEPLOYMENT, deployment(2))
        await cluster.settle()
        state, reason, message = condition(cluster, "Progressing")
        assert (state, reason) == ("False", "FailedCreate")
        assert message.startswith('Failed to create new replica set "web-')
        assert any(reason == "ReplicaSetCreateError" for reason, _ in cluster.events())
        cluster.api.before_write = None
        await trio.sleep(120)
        assert sizes(cluster) == {"1": 2}
