"""Nodes that fall silent, and what becomes of their pods."""

from __future__ import annotations

from typing import Any

import trio

from edgek.host import wallclock
from edgek.model import kinds, objects
from edgek.server.controllers.nodelifecycle import NodeLifecycleController
from edgek.server.controllers.podgc import PodGcController
from edgek.server.controllers.replicaset import ReplicaSetController
from edgek.server.controllers.tainteviction import TaintEvictionController
from tests.fakes.scene import Scene, scene
from tests.server.controllers.test_replicaset import replica_set

ALL = (NodeLifecycleController, TaintEvictionController, PodGcController, ReplicaSetController)
TOLERATED = [
    {"key": f"node.kubernetes.io/{state}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
    for state in ("not-ready", "unreachable")
]


async def add_node(cluster: Scene, name: str) -> None:
    await cluster.create(kinds.NODE, {"metadata": {"name": name}, "spec": {}})
    await say_ready(cluster, name, "True")
    await cluster.create(kinds.LEASE, {"metadata": {"name": name}, "spec": {"renewTime": wallclock.now_micro()}}, "kube-node-lease")


async def say_ready(cluster: Scene, name: str, state: str) -> None:
    now = wallclock.now_rfc3339()
    condition = {"type": "Ready", "status": state, "lastHeartbeatTime": now, "lastTransitionTime": now, "reason": "KubeletReady", "message": ""}
    await cluster.change(kinds.NODE, name, {"status": {"conditions": [condition]}}, subresource="status")


async def keep_alive(cluster: Scene, name: str) -> None:
    while True:
        await trio.sleep(10)
        await cluster.change(kinds.LEASE, name, {"spec": {"renewTime": wallclock.now_micro()}}, "kube-node-lease")


def taints(cluster: Scene, name: str) -> set[tuple[str, str]]:
    found = cluster.get(kinds.NODE, name)["spec"].get("taints") or []
    return {(each["key"].removeprefix("node.kubernetes.io/"), each["effect"]) for each in found}


async def test_a_silent_node_becomes_unknown_and_tainted_and_recovers(autojump_clock: Any) -> None:
    async with scene(*ALL, nodes=()) as cluster, trio.open_nursery() as nursery:
        await add_node(cluster, "loud")
        await add_node(cluster, "silent")
        nursery.start_soon(keep_alive, cluster, "loud")
        await cluster.settle(40)
        assert taints(cluster, "silent") == set()
        await cluster.settle(10)
        node = cluster.get(kinds.NODE, "silent")
        ready = objects.condition(node, "Ready")
        assert ready is not None
        assert (ready["status"], ready["reason"], ready["message"]) == (
            "Unknown",
            "NodeStatusUnknown",
            "Kubelet stopped posting node status.",
        )
        pressure = objects.condition(node, "DiskPressure")
        assert pressure is not None
        assert pressure["reason"] == "NodeStatusNeverUpdated"
        assert taints(cluster, "silent") == {("unreachable", "NoSchedule"), ("unreachable", "NoExecute")}
        assert taints(cluster, "loud") == set()
        assert ("NodeNotReady", "Node silent status is now: NodeNotReady") in cluster.events()
        await say_ready(cluster, "silent", "True")
        await cluster.settle()
        assert taints(cluster, "silent") == set()
        nursery.cancel_scope.cancel()


async def test_a_lost_node_has_its_pods_replaced_after_the_time_they_tolerate(autojump_clock: Any) -> None:
    async with scene(*ALL, nodes=("loud", "silent")) as cluster, trio.open_nursery() as nursery:
        await add_node(cluster, "loud")
        await add_node(cluster, "silent")
        nursery.start_soon(keep_alive, cluster, "loud")
        wanted = replica_set(2)
        wanted["spec"]["template"]["spec"]["tolerations"] = TOLERATED
        await cluster.create(kinds.REPLICA_SET, wanted)
        await cluster.settle()
        assert {pod["spec"]["nodeName"] for pod in cluster.pods()} == {"loud", "silent"}
        cluster.runner.nodes.remove("silent")
        cluster.runner.stops = False
        await cluster.settle(60)
        (lost,) = [pod for pod in cluster.pods() if pod["spec"]["nodeName"] == "silent"]
        assert objects.condition_is(lost, "Ready", "False")
        await cluster.settle(280)
        assert len(cluster.pods()) == 2
        await cluster.settle(30)
        (lost,) = [pod for pod in cluster.pods() if pod["spec"]["nodeName"] == "silent"]
        assert objects.is_deleting(lost)
        disrupted = objects.condition(lost, "DisruptionTarget")
        assert disrupted is not None
        assert disrupted["reason"] == "DeletionByTaintManager"
        assert sum(pod["spec"]["nodeName"] == "loud" for pod in cluster.pods()) == 2
        assert ("TaintManagerEviction", f"Marking for deletion Pod default/{objects.name(lost)}") in cluster.events()
        await cluster.client.delete(kinds.NODE, "silent")
        await cluster.settle(60)
        assert {pod["spec"]["nodeName"] for pod in cluster.pods()} == {"loud"}
        nursery.cancel_scope.cancel()


async def test_while_no_node_is_ready_nobody_is_driven_out(autojump_clock: Any) -> None:
    async with scene(*ALL, nodes=()) as cluster:
        await add_node(cluster, "one")
        await add_node(cluster, "other")
        await cluster.settle(120)
        for name in ("one", "other"):
            assert taints(cluster, name) == {("unreachable", "NoSchedule")}
        await say_ready(cluster, "one", "True")
        await cluster.settle()
        assert taints(cluster, "one") == set()
        assert taints(cluster, "other") == {("unreachable", "NoSchedule"), ("unreachable", "NoExecute")}


async def test_a_node_that_says_it_is_not_ready_or_short_of_disk_is_tainted(autojump_clock: Any) -> None:
    async with scene(*ALL, nodes=()) as cluster:
        await add_node(cluster, "loud")
        await add_node(cluster, "ill")
        conditions = [{"type": "Ready", "status": "False"}, {"type": "DiskPressure", "status": "True"}]
        await cluster.change(kinds.NODE, "ill", {"status": {"conditions": conditions}}, subresource="status")
        await cluster.change(kinds.NODE, "ill", {"spec": {"unschedulable": True, "taints": [{"key": "mine", "effect": "NoSchedule"}]}})
        await cluster.settle()
        assert taints(cluster, "ill") == {
            ("mine", "NoSchedule"),
            ("unschedulable", "NoSchedule"),
            ("not-ready", "NoSchedule"),
            ("not-ready", "NoExecute"),
            ("disk-pressure", "NoSchedule"),
        }


async def test_nodes_that_live_are_left_alone(autojump_clock: Any) -> None:
    async with scene(*ALL, nodes=()) as cluster, trio.open_nursery() as nursery:
        await add_node(cluster, "loud")
        nursery.start_soon(keep_alive, cluster, "loud")
        await cluster.settle()
        written = await cluster.writes_in(1000)
        assert {resource for _, resource, _ in written} == {"leases.coordination.k8s.io"}
        nursery.cancel_scope.cancel()
