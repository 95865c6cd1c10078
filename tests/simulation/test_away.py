"""``edgek.io/when-away``: what becomes of pods while their node is without the server, and when it comes back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from edgek.host import wallclock
from edgek.model import errors, kinds, objects
from edgek.model.objects import Object
from edgek.model.when_away import ANNOTATION, MARGIN_S
from tests.simulation.cluster import SimulatedCluster, open_cluster
from tests.simulation.machine import SimulatedNode
from tests.simulation.test_nodes import LOST_S
from tests.simulation.workloads import deployment, pod, template

GRACE_S = 5
STOP_S = 120.0


def said(text: str, **spec: Any) -> Object:
    made = template(terminationGracePeriodSeconds=GRACE_S, **spec)
    made["metadata"]["annotations"] = {ANNOTATION: text}
    return made


async def running(cluster: SimulatedCluster) -> dict[str, list[tuple[str, int]]]:
    """By node, the containers that run: of which pod (its uid), and at which attempt."""
    return {name: await running_on(node) for name, node in cluster.nodes.items()}


async def running_on(node: SimulatedNode) -> list[tuple[str, int]]:
    return sorted((each.labels["io.kubernetes.pod.uid"], each.attempt) for each in await node.runtime.containers() if each.state == "running")


async def home(cluster: SimulatedCluster) -> SimulatedNode:
    """Where the one pod is."""
    (found,) = cluster.pods()
    return cluster.nodes[found["spec"]["nodeName"]]


async def test_a_pod_that_is_kept_stays_what_it_is_however_long_its_node_is_away(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_cluster(tmp_path, nodes=2) as cluster:
        await cluster.create(kinds.DEPLOYMENT, deployment(1, made=said("keep")))
        await cluster.settle()
        before, uids = await running(cluster), {objects.uid(each) for each in cluster.pods()}
        node = await home(cluster)
        node.wire.cut()
        await trio.sleep(5000)
        assert {objects.uid(each) for each in cluster.pods()} == uids
        node.wire.mend()
        await cluster.settle()
        assert {objects.uid(each) for each in cluster.ready_pods()} == uids
        assert await running(cluster) == before


async def test_a_pod_is_replaced_after_the_time_it_says(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_cluster(tmp_path, nodes=2) as cluster:
        await cluster.create(kinds.DEPLOYMENT, deployment(1, made=said("replace=30s")))
        await cluster.settle()
        (await home(cluster)).wire.cut()
        took_s = await cluster.until(lambda: any(objects.is_deleting(each) for each in cluster.pods()))
        assert LOST_S - 10 + 30 <= took_s <= LOST_S + 30 + 1
        await cluster.until(lambda: len(cluster.ready_pods()) == 1, within_s=20)


async def test_a_node_stops_a_pod_in_time_and_the_cluster_replaces_it_later(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_cluster(tmp_path, nodes=2) as cluster:
        await cluster.create(kinds.DEPLOYMENT, deployment(1, made=said("stop=2m")))
        await cluster.settle()
        node = await home(cluster)
        other = next(each for each in cluster.nodes.values() if each is not node)
        node.wire.cut()
        await trio.sleep(STOP_S - 11)
        assert len((await running(cluster))[node.name]) == 1
        await trio.sleep(11 + GRACE_S)
        assert (await running(cluster))[node.name] == []
        assert len(cluster.pods()) == 1, "it is the node's for a while yet"
        took_s = await cluster.until(lambda: len(cluster.ready_pods()) == 1)
        assert took_s >= LOST_S - 10 + MARGIN_S - 1
        assert len((await running(cluster))[other.name]) == 1
        node.wire.mend()
        await cluster.settle()
        assert (await running(cluster))[node.name] == []
        assert len(cluster.pods()) == len(cluster.ready_pods()) == 1
        assert node.kubelet is not None
        assert node.kubelet.copies.pods() == []


async def test_a_stopped_pod_runs_again_when_the_server_is_back_in_time(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_cluster(tmp_path, nodes=2) as cluster:
        await cluster.create(kinds.DEPLOYMENT, deployment(1, made=said("stop=2m")))
        await cluster.settle()
        uid, node = objects.uid(cluster.pods()[0]), await home(cluster)
        node.wire.cut()
        await trio.sleep(STOP_S + GRACE_S)
        assert (await running(cluster))[node.name] == []
        node.wire.mend()
        took_s = await cluster.until(lambda: len(cluster.ready_pods()) == 1)
        assert took_s < 30
        await cluster.settle()
        assert [objects.uid(each) for each in cluster.ready_pods()] == [uid]
        assert (await running(cluster))[node.name] == [(uid, 1)]
        condition = objects.condition(cluster.pods()[0], "edgek.io/Stopped")
        assert condition is not None
        assert condition["status"] == "False"


async def test_a_short_outage_stops_nothing(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_cluster(tmp_path, nodes=2) as cluster:
        await cluster.create(kinds.DEPLOYMENT, deployment(1, made=said("stop=2m")))
        await cluster.settle()
        before, node = await running(cluster), await home(cluster)
        for _ in range(5):
            node.wire.cut()
            await trio.sleep(STOP_S - 20)
            node.wire.mend()
            await trio.sleep(60)
        await cluster.settle()
        assert await running(cluster) == before


async def test_an_agent_that_is_killed_while_the_server_is_away_knows_since_when_it_is(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_cluster(tmp_path, nodes=2) as cluster:
        await cluster.create(kinds.DEPLOYMENT, deployment(1, made=said("stop=2m")))
        await cluster.settle()
        node = await home(cluster)
        node.wire.cut()
        await trio.sleep(STOP_S - 50)
        await node.stop_agent()
        await trio.sleep(3)
        await cluster.boot(node.name)
        await trio.sleep(20)
        assert len((await running(cluster))[node.name]) == 1, "its time is not over yet"
        await trio.sleep(STOP_S - (STOP_S - 50 + 3 + 20) + 10 + GRACE_S)
        assert (await running(cluster))[node.name] == []


async def test_a_killed_agent_whose_server_answers_restarts_nothing(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_cluster(tmp_path, nodes=2) as cluster:
        await cluster.create(kinds.DEPLOYMENT, deployment(1, made=said("stop=30s")))
        await cluster.settle()
        before, node = await running(cluster), await home(cluster)
        for down_s in (1, 40):
            await node.stop_agent()
            await trio.sleep(down_s)
            await cluster.boot(node.name)
            await cluster.settle()
            assert await running(cluster) == before


async def test_a_node_that_boots_without_its_server_does_not_know_whether_it_may_run_such_a_pod(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_cluster(tmp_path, nodes=1) as cluster:
        await cluster.create(kinds.DEPLOYMENT, deployment(1, made=said("stop=10m")))
        await cluster.create(kinds.POD, pod("plain"))
        await cluster.settle()
        node = cluster.nodes["node-1"]
        node.wire.cut()
        await node.lose_power()
        await trio.sleep(20)
        await cluster.boot("node-1")
        await trio.sleep(100)
        plain = objects.uid(cluster.get(kinds.POD, "plain"))
        assert [uid for uid, _ in (await running(cluster))["node-1"]] == [plain]
        node.wire.mend()
        await cluster.settle()
        assert len((await running(cluster))["node-1"]) == 2
        assert len(cluster.ready_pods()) == 2


async def test_a_wall_clock_that_jumps_stops_nothing_and_spares_nothing(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_cluster(tmp_path, nodes=2) as cluster:
        await cluster.create(kinds.DEPLOYMENT, deployment(1, made=said("stop=2m")))
        await cluster.settle()
        before, node = await running(cluster), await home(cluster)
        former = wallclock.use(lambda: 1_900_000_000.0 + trio.current_time())
        await trio.sleep(60)
        assert await running(cluster) == before
        node.wire.cut()
        await trio.sleep(60)
        wallclock.use(lambda: 1_700_000_000.0 + trio.current_time())
        await trio.sleep(STOP_S - 60 + GRACE_S)
        assert (await running(cluster))[node.name] == []
        wallclock.use(former)


async def test_a_pod_that_runs_once_fails_when_it_is_stopped(tmp_path: Path, autojump_clock: Any) -> None:
    """Whatever its exit code says, it did not come to its end."""
    async with open_cluster(tmp_path, nodes=1) as cluster:
        made = pod("once", restartPolicy="OnFailure", terminationGracePeriodSeconds=GRACE_S)
        made["metadata"]["annotations"] = {ANNOTATION: "stop=30s"}
        await cluster.create(kinds.POD, made)
        await cluster.settle()
        node = cluster.nodes["node-1"]
        node.wire.cut()
        await trio.sleep(60)
        node.wire.mend()
        await cluster.settle()
        status = cluster.get(kinds.POD, "once")["status"]
        assert (status["phase"], status["reason"]) == ("Failed", "ServerAway")


@pytest.mark.parametrize("text", ["stop=5s", "never", "replace=5"])
async def test_what_the_annotation_cannot_say_is_refused_in_pods_and_in_templates(text: str, tmp_path: Path, autojump_clock: Any) -> None:
    async with open_cluster(tmp_path) as cluster:
        made = pod("it")
        made["metadata"]["annotations"] = {ANNOTATION: text}
        with pytest.raises(errors.Invalid, match=r"edgek\.io/when-away.*" + text):
            await cluster.create(kinds.POD, made)
        with pytest.raises(errors.Invalid, match=r"edgek\.io/when-away.*" + text):
            await cluster.create(kinds.DEPLOYMENT, deployment(1, made=said(text)))
