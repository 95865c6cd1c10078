"""A cluster that has nothing to do does nothing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import trio

from edgek.model import kinds, objects
from tests.simulation.cluster import SimulatedCluster, open_cluster
from tests.simulation.workloads import budget, claim, daemon_set, deployment, job, pod, service, with_claim

HOUR_S = 3600.0
LEASES = "leases.coordination.k8s.io"
# What a watch costs an hour: it lives half an hour at least, and is asked for again at its end.
WATCHES_AN_HOUR = 3


async def at_rest(cluster: SimulatedCluster) -> tuple[Counter[str], Counter[str], int]:
    """What is written in an hour, by resource; who asked for what else; and how many watches were opened."""
    began, asked_before = trio.current_time(), len(cluster.exchange.asked)
    await trio.sleep(HOUR_S)
    asked = cluster.exchange.asked[asked_before:]
    written = Counter(change.key.resource for change in cluster.changes_since(began))
    others = Counter(f"{each.who} {each.method} {each.path}" for each in asked if not each.watch and not _is_beat(each.path))
    return written, others, sum(each.watch for each in asked)


def _is_beat(path: str) -> bool:
    return path.startswith("/apis/coordination.k8s.io/") or (path.startswith("/api/v1/nodes/") and path.endswith("/status"))


async def test_in_an_hour_of_rest_only_the_nodes_write_that_they_live(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_cluster(tmp_path, nodes=2) as cluster:
        await cluster.create(kinds.DEPLOYMENT, deployment(3))
        await cluster.create(kinds.SERVICE, service())
        await cluster.create(kinds.POD_DISRUPTION_BUDGET, budget(minAvailable=2))
        await cluster.create(kinds.DAEMON_SET, daemon_set())
        await cluster.create(kinds.JOB, job("work", "exit", "0"))
        await cluster.create(kinds.PERSISTENT_VOLUME_CLAIM, claim())
        await cluster.create(kinds.POD, pod("user", **with_claim()))
        await cluster.settle()
        watched = sum(1 for each in cluster.exchange.asked if each.watch)
        written, others, watches = await at_rest(cluster)
        assert set(written) == {LEASES, "nodes"}
        assert abs(written[LEASES] - 2 * HOUR_S / 10) <= 2
        assert abs(written["nodes"] - 2 * HOUR_S / 300) <= 2
        # The tokens of pods are renewed before their hour is over.
        assert {key.rsplit("/", 1)[1] for key in others} <= {"token"}
        assert sum(others.values()) <= 2 * len(cluster.pods())
        assert watches <= WATCHES_AN_HOUR * watched


async def test_a_pod_that_fits_nowhere_says_why_and_is_left_alone_until_there_is_room(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_cluster(tmp_path, nodes=2) as cluster:
        await cluster.create(kinds.POD, pod("large", cpu="6"))
        await cluster.settle()
        said = objects.condition(cluster.get(kinds.POD, "large"), "PodScheduled")
        assert said is not None
        assert (said["status"], said["reason"], said["message"]) == ("False", "Unschedulable", "0/2 nodes are available: 2 Insufficient cpu.")
        assert cluster.events("FailedScheduling") == [("FailedScheduling", "0/2 nodes are available: 2 Insufficient cpu.")]
        written, others, _ = await at_rest(cluster)
        assert (set(written), others) == ({LEASES, "nodes"}, {})
        await cluster.add_node(cpus=8)
        await cluster.until(lambda: len(cluster.ready_pods()) == 1, within_s=15)
        assert cluster.get(kinds.POD, "large")["spec"]["nodeName"] == "node-3"


async def test_a_crashing_container_is_retried_ever_less(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_cluster(tmp_path, nodes=1) as cluster:
        await cluster.create(kinds.POD, pod("wrong", "exit", "1"))
        await trio.sleep(1800)
        began = trio.current_time()
        await trio.sleep(1800)
        (status,) = cluster.get(kinds.POD, "wrong")["status"]["containerStatuses"]
        assert 8 <= status["restartCount"] <= 16
        written = Counter(change.key.resource for change in cluster.changes_since(began))
        assert written["pods"] <= 6 * 3, "six tries in half an hour, each seen to begin, to end and to wait"
