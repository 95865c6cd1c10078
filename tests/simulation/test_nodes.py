"""Nodes that die, come back, are drained, come and go; and what becomes of their pods."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from edgek.model import kinds, objects
from tests.simulation.cluster import Change, SimulatedCluster, is_ready, open_cluster
from tests.simulation.test_rollouts import ready_addresses
from tests.simulation.wire import no_delay
from tests.simulation.workloads import budget, daemon_set, deployment, pod, service, template

LOST_S = 45.0  # until a silent node is called lost
TOLERATED_S = 300.0  # that pods stay on a lost node, by default


def by_node(cluster: SimulatedCluster) -> dict[str, int]:
    return {name: len(cluster.pods(node=name)) for name in cluster.nodes}


async def test_a_lost_node_has_its_pods_replaced_within_the_time_they_tolerate(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_cluster(tmp_path, nodes=3) as cluster:
        await cluster.create(kinds.SERVICE, service())
        await cluster.create(kinds.DEPLOYMENT, deployment(6))
        await cluster.settle()
        assert by_node(cluster) == {"node-1": 2, "node-2": 2, "node-3": 2}
        died = trio.current_time()
        await cluster.nodes["node-2"].lose_power()
        took_s = await cluster.until(lambda: not objects.condition_is(cluster.get(kinds.NODE, "node-2"), "Ready", "True"))
        assert LOST_S - 10 <= took_s <= LOST_S
        await trio.sleep(5)
        assert len(ready_addresses(cluster)) == 4, "its pods must leave the Service at once"
        await cluster.until(lambda: len(cluster.ready_pods()) == 6)
        assert TOLERATED_S <= trio.current_time() - died <= LOST_S + TOLERATED_S + 15
        await cluster.settle(2)
        assert len(ready_addresses(cluster)) == 6
        doomed = cluster.pods(node="node-2")
        assert doomed, "nobody knows whether they still run"
        assert all(objects.is_deleting(each) for each in doomed)


async def test_a_node_that_returns_is_cleared_of_the_pods_that_were_replaced(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_cluster(tmp_path, nodes=2) as cluster:
        await cluster.create(kinds.DEPLOYMENT, deployment(4))
        await cluster.settle()
        node = cluster.nodes["node-2"]
        await node.stop_agent()  # its containers run on: the network is gone, say
        await trio.sleep(LOST_S + TOLERATED_S + 60)
        assert len(cluster.ready_pods()) == 4
        assert len(await node.runtime.containers()) == 2
        await cluster.boot("node-2")
        await cluster.settle()
        assert await node.runtime.containers() == []
        assert cluster.pods(node="node-2") == []
        assert len(cluster.ready_pods()) == 4
        assert cluster.get(kinds.NODE, "node-2")["spec"].get("taints") is None


async def test_a_short_outage_moves_nothing(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_cluster(tmp_path, nodes=2) as cluster:
        await cluster.create(kinds.SERVICE, service())
        await cluster.create(kinds.DEPLOYMENT, deployment(4))
        await cluster.settle()
        before = {objects.uid(each) for each in cluster.pods()}
        cluster.nodes["node-1"].wire.cut()
        await trio.sleep(120)
        assert len(ready_addresses(cluster)) == 2
        cluster.nodes["node-1"].wire.mend()
        await cluster.settle()
        assert {objects.uid(each) for each in cluster.ready_pods()} == before
        assert len(ready_addresses(cluster)) == 4
        containers = await cluster.nodes["node-1"].runtime.containers()
        assert [(each.state, each.attempt) for each in containers] == [("running", 0)] * 2


async def test_a_rebooted_node_starts_its_pods_again(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_cluster(tmp_path, nodes=2) as cluster:
        await cluster.create(kinds.DEPLOYMENT, deployment(4))
        await cluster.settle()
        before = {objects.uid(each) for each in cluster.pods()}
        await cluster.nodes["node-1"].lose_power()
        await trio.sleep(20)
        await cluster.boot("node-1")
        await cluster.settle()
        assert {objects.uid(each) for each in cluster.ready_pods()} == before
        restarts = [status["restartCount"] for each in cluster.pods(node="node-1") for status in each["status"]["containerStatuses"]]
        assert restarts == [1, 1]


async def test_pods_of_a_deleted_node_are_replaced_and_forgotten(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_cluster(tmp_path, nodes=2) as cluster:
        await cluster.create(kinds.DEPLOYMENT, deployment(4))
        await cluster.settle()
        await cluster.nodes["node-2"].lose_power()
        await cluster.delete(kinds.NODE, "node-2")
        await cluster.until(lambda: len(cluster.pods()) == 4 == len(cluster.ready_pods()) and not cluster.pods(node="node-2"), within_s=60)


async def test_a_deleted_node_that_lives_registers_again_or_gives_its_pods_up_as_it_was_told(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_cluster(tmp_path, nodes=3) as cluster:
        await cluster.create(kinds.DEPLOYMENT, deployment(6))
        quiet = cluster.nodes["node-2"]
        await quiet.stop_agent()
        quiet.settings = attrs.evolve(quiet.settings, register_node=False)
        await cluster.boot("node-2")
        await cluster.settle()
        assert by_node(cluster) == {"node-1": 2, "node-2": 2, "node-3": 2}
        before = {objects.uid(each) for each in cluster.pods(node="node-1")}
        for name in ("node-1", "node-2"):
            await cluster.delete(kinds.NODE, name)
        await trio.sleep(120)
        await cluster.settle()
        assert {objects.name(each) for each in cluster.all(kinds.NODE)} == {"node-1", "node-3"}
        assert before <= {objects.uid(each) for each in cluster.ready_pods()}, "they did not notice"
        assert len(cluster.ready_pods()) == 6
        assert [each for each in await quiet.runtime.containers() if each.state == "running"] == []


async def test_when_every_node_is_lost_no_pod_is_driven_out(tmp_path: Path, autojump_clock: Any) -> None:
    """Then it is the server that is cut off, not they."""
    async with open_cluster(tmp_path, nodes=2) as cluster:
        await cluster.create(kinds.DEPLOYMENT, deployment(4))
        await cluster.settle()
        before = {objects.uid(each) for each in cluster.pods()}
        for node in cluster.nodes.values():
            node.wire.cut()
        await trio.sleep(1200)
        assert {objects.uid(each) for each in cluster.pods()} == before
        assert not any(objects.is_deleting(each) for each in cluster.pods())
        for node in cluster.nodes.values():
            node.wire.mend()
        await cluster.settle()
        assert {objects.uid(each) for each in cluster.ready_pods()} == before


async def drain(cluster: SimulatedCluster, name: str) -> float:
    """As kubectl does it: cordon, then evict, asking again every five seconds where a budget says no; how long it took."""
    began = trio.current_time()
    await cluster.change(kinds.NODE, name, {"spec": {"unschedulable": True}})
    while left := [each for each in cluster.pods(node=name) if not objects.is_deleting(each)]:
        for each in left:
            await cluster.evict(objects.name(each))
        await trio.sleep(5)
    return trio.current_time() - began


async def test_a_drain_takes_no_more_pods_at_once_than_the_budget_allows(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_cluster(tmp_path, nodes=3) as cluster:
        for node in cluster.nodes.values():
            node.runtime.delays_s["start_container"] = 4.0
        await cluster.create(kinds.DEPLOYMENT, deployment(6))
        await cluster.create(kinds.POD_DISRUPTION_BUDGET, budget(minAvailable=5))
        await cluster.settle()
        short: list[str] = []

        def look(change: Change) -> None:
            ready = sum(is_ready(each) for each in cluster.pods())
            if change.key.resource == "pods" and ready < 5:
                short.append(f"{change.at}: {ready} ready")

        cluster.store.observers.append(look)
        took_s = await drain(cluster, "node-1")
        await cluster.settle()
        assert short == []
        assert took_s > 5, "both pods at once would break the budget"
        assert len(cluster.ready_pods()) == 6
        assert cluster.pods(node="node-1") == []


@pytest.mark.parametrize("seed", range(3))
async def test_two_drains_at_once_and_old_caches_break_no_budget(seed: int, tmp_path: Path, autojump_clock: Any) -> None:
    draw = random.Random(seed)
    async with open_cluster(tmp_path, nodes=3) as cluster:
        await cluster.create(kinds.DEPLOYMENT, deployment(6))
        await cluster.create(kinds.POD_DISRUPTION_BUDGET, budget(minAvailable=5))
        await cluster.settle()
        cluster.exchange.delay_s = lambda who: 0.0 if who == "admin" else draw.uniform(0, 2)
        least = 6

        def look(change: Change) -> None:
            nonlocal least
            least = min(least, sum(is_ready(each) for each in cluster.pods()))

        cluster.store.observers.append(look)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drain, cluster, "node-1")
            nursery.start_soon(drain, cluster, "node-2")
        cluster.exchange.delay_s = no_delay
        await cluster.settle()
        assert least == 5
        assert {each["spec"]["nodeName"] for each in cluster.ready_pods()} == {"node-3"}


async def test_a_budget_that_allows_nothing_holds_a_drain_up(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_cluster(tmp_path, nodes=2) as cluster:
        await cluster.create(kinds.DEPLOYMENT, deployment(2))
        await cluster.create(kinds.POD_DISRUPTION_BUDGET, budget(maxUnavailable=0))
        await cluster.settle()
        before = {objects.uid(each) for each in cluster.ready_pods()}
        with trio.move_on_after(300):
            await drain(cluster, "node-1")
        assert {objects.uid(each) for each in cluster.ready_pods()} == before


async def test_a_daemon_set_follows_nodes_that_come_and_go(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_cluster(tmp_path, nodes=2) as cluster:
        await cluster.create(kinds.DAEMON_SET, daemon_set())
        await cluster.settle()
        assert by_node(cluster) == {"node-1": 1, "node-2": 1}
        await cluster.add_node()
        await cluster.settle()
        assert by_node(cluster) == {"node-1": 1, "node-2": 1, "node-3": 1}
        await cluster.nodes["node-1"].lose_power()
        await cluster.delete(kinds.NODE, "node-1")
        await trio.sleep(60)
        assert by_node(cluster) == {"node-1": 0, "node-2": 1, "node-3": 1}
        await cluster.boot("node-1")
        await cluster.settle()
        assert by_node(cluster) == {"node-1": 1, "node-2": 1, "node-3": 1}
        status = cluster.get(kinds.DAEMON_SET, "agent")["status"]
        assert (status["desiredNumberScheduled"], status["numberReady"]) == (3, 3)


async def test_daemons_stay_on_lost_and_on_cordoned_nodes(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_cluster(tmp_path, nodes=2) as cluster:
        await cluster.create(kinds.DAEMON_SET, daemon_set())
        await cluster.settle()
        before = {objects.uid(each) for each in cluster.pods()}
        await cluster.change(kinds.NODE, "node-1", {"spec": {"unschedulable": True}})
        cluster.nodes["node-2"].wire.cut()
        await trio.sleep(500)
        assert {objects.uid(each) for each in cluster.pods()} == before
        assert not any(objects.is_deleting(each) for each in cluster.pods())


async def test_a_pod_that_tolerates_a_lost_node_for_a_time_of_its_own_leaves_after_that(tmp_path: Path, autojump_clock: Any) -> None:
    hasty = {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 10}
    async with open_cluster(tmp_path, nodes=2) as cluster:
        await cluster.create(kinds.DEPLOYMENT, deployment(2, made=template(tolerations=[hasty])))
        await cluster.settle()
        cluster.nodes["node-1"].wire.cut()
        took_s = await cluster.until(lambda: any(objects.is_deleting(each) for each in cluster.pods(node="node-1")))
        assert LOST_S - 10 <= took_s <= LOST_S + 15
        await cluster.until(lambda: len(cluster.ready_pods()) == 2, within_s=20)


async def test_a_taint_that_drives_out_drives_out_only_those_who_do_not_tolerate_it(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_cluster(tmp_path, nodes=1) as cluster:
        await cluster.create(kinds.POD, pod("plain"))
        await cluster.create(kinds.POD, pod("special", tolerations=[{"key": "work", "operator": "Exists"}]))
        await cluster.settle()
        await cluster.change(kinds.NODE, "node-1", {"spec": {"taints": [{"key": "work", "effect": "NoExecute"}]}})
        await cluster.settle()
        assert [objects.name(each) for each in cluster.pods()] == ["special"]
