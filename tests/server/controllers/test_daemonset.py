"""DaemonSets over a few nodes, on a virtual clock."""

from __future__ import annotations

from typing import Any

from edgek.model import kinds, objects
from edgek.model.objects import Object
from edgek.server.controllers.daemonset import DaemonSetController
from tests.fakes.scene import Scene, pod_template, scene

NODES = ("a", "b", "c")


def daemon_set(**spec: Any) -> Object:
    return {
        "metadata": {"name": "agent"},
        "spec": {
            "selector": {"matchLabels": {"app": "agent"}},
            "template": pod_template({"app": "agent"}),
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}},
            "revisionHistoryLimit": 10,
            **spec,
        },
    }


async def add_nodes(cluster: Scene, *names: str, **meta: Any) -> None:
    for name in names:
        await cluster.create(kinds.NODE, {"metadata": {"name": name, **meta}, "spec": {}})
        await cluster.change(kinds.NODE, name, {"spec": {"taints": None}})  # a new node is tainted until it is ready


def where(cluster: Scene) -> list[str]:
    return sorted(pod["spec"]["nodeName"] for pod in cluster.pods())


def images(cluster: Scene) -> set[str]:
    return {pod["spec"]["containers"][0]["image"] for pod in cluster.pods()}


def image(name: str) -> Object:
    return {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": name}]}}}}


async def test_every_node_gets_one_pod_also_one_that_comes_later(autojump_clock: Any) -> None:
    async with scene(DaemonSetController, nodes=NODES) as cluster:
        await add_nodes(cluster, "a", "b")
        await cluster.create(kinds.DAEMON_SET, daemon_set())
        await cluster.settle()
        assert where(cluster) == ["a", "b"]
        await add_nodes(cluster, "c")
        await cluster.settle()
        assert where(cluster) == ["a", "b", "c"]
        assert cluster.get(kinds.DAEMON_SET, "agent")["status"] == {
            "currentNumberScheduled": 3,
            "numberMisscheduled": 0,
            "desiredNumberScheduled": 3,
            "numberReady": 3,
            "observedGeneration": 1,
            "updatedNumberScheduled": 3,
            "numberAvailable": 3,
        }
        (revision,) = cluster.api.all(kinds.CONTROLLER_REVISION)
        assert revision["revision"] == 1
        assert revision["data"]["spec"]["template"]["$patch"] == "replace"
        assert {objects.labels(pod)["controller-revision-hash"] for pod in cluster.pods()} == {objects.labels(revision)["controller-revision-hash"]}
        assert await cluster.writes_in(600) == []


async def test_selectors_and_taints_keep_pods_away_and_drive_them_out(autojump_clock: Any) -> None:
    async with scene(DaemonSetController, nodes=NODES) as cluster:
        await add_nodes(cluster, "a", "b", labels={"disk": "fast"})
        await add_nodes(cluster, "c")
        wanted = daemon_set()
        wanted["spec"]["template"]["spec"]["nodeSelector"] = {"disk": "fast"}
        await cluster.create(kinds.DAEMON_SET, wanted)
        await cluster.settle()
        assert where(cluster) == ["a", "b"]
        await cluster.change(kinds.NODE, "a", {"metadata": {"labels": {"disk": "slow"}}})
        await cluster.change(kinds.NODE, "b", {"spec": {"taints": [{"key": "mine", "effect": "NoSchedule"}]}})
        await cluster.settle()
        assert where(cluster) == ["b"]
        assert cluster.get(kinds.DAEMON_SET, "agent")["status"]["numberMisscheduled"] == 1
        await cluster.change(kinds.NODE, "b", {"spec": {"taints": [{"key": "mine", "effect": "NoExecute"}]}})
        await cluster.settle()
        assert where(cluster) == []


async def test_pods_tolerate_a_node_in_trouble(autojump_clock: Any) -> None:
    async with scene(DaemonSetController, nodes=NODES) as cluster:
        await add_nodes(cluster, "a")
        taints = [
            {"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"},
            {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"},
        ]
        await cluster.change(kinds.NODE, "a", {"spec": {"taints": taints}})
        await cluster.create(kinds.DAEMON_SET, daemon_set())
        await cluster.settle()
        assert where(cluster) == ["a"]
        tolerated = {(each["key"], each["effect"]) for each in cluster.pods()[0]["spec"]["tolerations"]}
        assert ("node.kubernetes.io/unreachable", "NoExecute") in tolerated
        assert len(tolerated) == 6


async def test_an_update_takes_one_node_after_the_other(autojump_clock: Any) -> None:
    fewest = 3
    async with scene(DaemonSetController, nodes=NODES) as cluster:
        await add_nodes(cluster, *NODES)
        await cluster.create(kinds.DAEMON_SET, daemon_set())
        await cluster.settle()

        def count(*_: Any) -> None:
            nonlocal fewest
            fewest = min(fewest, sum(objects.condition_is(pod, "Ready") and not objects.is_deleting(pod) for pod in cluster.pods()))

        cluster.api.before_write = count
        await cluster.change(kinds.DAEMON_SET, "agent", image("agent:2"))
        await cluster.settle()
        assert images(cluster) == {"agent:2"}
        assert fewest == 2
        assert [each["revision"] for each in cluster.api.all(kinds.CONTROLLER_REVISION)] in ([1, 2], [2, 1])


async def test_an_update_that_does_not_start_stops_at_the_first_node(autojump_clock: Any) -> None:
    async with scene(DaemonSetController, nodes=NODES) as cluster:
        cluster.runner.outcome = lambda pod: "hang" if pod["spec"]["containers"][0]["image"] == "broken" else "run"
        await add_nodes(cluster, *NODES)
        await cluster.create(kinds.DAEMON_SET, daemon_set())
        await cluster.settle()
        await cluster.change(kinds.DAEMON_SET, "agent", image("broken"))
        await cluster.settle(100)
        found = [pod["spec"]["containers"][0]["image"] for pod in cluster.pods()]
        assert sorted(found) == ["broken", "web:1", "web:1"]
        status = cluster.get(kinds.DAEMON_SET, "agent")["status"]
        assert (status["updatedNumberScheduled"], status["numberUnavailable"]) == (1, 1)
        await cluster.change(kinds.DAEMON_SET, "agent", image("web:1"))
        await cluster.settle()
        assert images(cluster) == {"web:1"}
        assert sorted(each["revision"] for each in cluster.api.all(kinds.CONTROLLER_REVISION)) == [2, 3]


async def test_with_surge_the_old_pod_goes_after_the_new_one_is_ready(autojump_clock: Any) -> None:
    fewest = 3
    async with scene(DaemonSetController, nodes=NODES) as cluster:
        await add_nodes(cluster, *NODES)
        rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
        await cluster.create(kinds.DAEMON_SET, daemon_set(updateStrategy=rolling))
        await cluster.settle()

        def count(*_: Any) -> None:
            nonlocal fewest
            ready = {pod["spec"]["nodeName"] for pod in cluster.pods() if objects.condition_is(pod, "Ready") and not objects.is_deleting(pod)}
            fewest = min(fewest, len(ready))

        cluster.api.before_write = count
        await cluster.change(kinds.DAEMON_SET, "agent", image("agent:2"))
        await cluster.settle()
        assert where(cluster) == ["a", "b", "c"]
        assert images(cluster) == {"agent:2"}
        assert fewest == 3


async def test_on_delete_waits_for_somebody_to_delete(autojump_clock: Any) -> None:
    async with scene(DaemonSetController, nodes=NODES) as cluster:
        await add_nodes(cluster, "a")
        await cluster.create(kinds.DAEMON_SET, daemon_set(updateStrategy={"type": "OnDelete"}))
        await cluster.settle()
        await cluster.change(kinds.DAEMON_SET, "agent", image("agent:2"))
        await cluster.settle()
        assert images(cluster) == {"web:1"}
        await cluster.client.delete(kinds.POD, objects.name(cluster.pods()[0]), "default")
        await cluster.settle()
        assert images(cluster) == {"agent:2"}


async def test_a_pod_that_failed_is_replaced_and_reported(autojump_clock: Any) -> None:
    async with scene(DaemonSetController, nodes=NODES) as cluster:
        await add_nodes(cluster, "a")
        await cluster.create(kinds.DAEMON_SET, daemon_set())
        await cluster.settle()
        name = objects.name(cluster.pods()[0])
        await cluster.change(kinds.POD, name, {"status": {"phase": "Failed"}}, subresource="status")
        await cluster.settle()
        assert [pod["status"]["phase"] for pod in cluster.pods()] == ["Running"]
        assert ("FailedDaemonPod", f"Found failed daemon pod default/{name} on node a, will try to kill it") in cluster.events()


async def test_old_revisions_beyond_the_limit_are_forgotten(autojump_clock: Any) -> None:
    async with scene(DaemonSetController, nodes=NODES) as cluster:
        await add_nodes(cluster, "a")
        await cluster.create(kinds.DAEMON_SET, daemon_set(revisionHistoryLimit=1))
        for number in range(2, 6):
            await cluster.settle()
            await cluster.change(kinds.DAEMON_SET, "agent", image(f"agent:{number}"))
        await cluster.settle()
        assert sorted(each["revision"] for each in cluster.api.all(kinds.CONTROLLER_REVISION)) == [4, 5]
