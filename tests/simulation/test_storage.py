"""Claims that wait for their first consumer, and volumes that tie pods to nodes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgek.model import kinds, objects
from edgek.model.objects import Object
from tests.simulation import storage_trouble
from tests.simulation.cluster import SimulatedCluster, open_cluster
from tests.simulation.trouble import Step
from tests.simulation.workloads import claim, pod, with_claim

SEARCHED = int(os.environ.get("TROUBLE", "0"))
EXAMPLES = SEARCHED or 4  # about two seconds each

LOCAL_CLASS = {"metadata": {"name": "disks"}, "provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "WaitForFirstConsumer"}


def local_disk(name: str, node: str, size: str = "10Gi") -> Object:
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    return {
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": size},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "disks",
            "persistentVolumeReclaimPolicy": "Retain",
            "local": {"path": "/tmp"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        },
    }


def phase(cluster: SimulatedCluster, name: str = "work") -> str:
    return str(cluster.get(kinds.PERSISTENT_VOLUME_CLAIM, name)["status"]["phase"])


async def test_a_claim_waits_for_its_first_consumer_and_is_made_where_that_runs(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_cluster(tmp_path, nodes=2) as cluster:
        await cluster.create(kinds.PERSISTENT_VOLUME_CLAIM, claim())
        await cluster.settle()
        assert phase(cluster) == "Pending"
        await cluster.create(kinds.POD, pod("user", **with_claim()))
        await cluster.until(lambda: len(cluster.ready_pods()) == 1, within_s=30)
        assert phase(cluster) == "Bound"
        (volume,) = cluster.all(kinds.PERSISTENT_VOLUME)
        home = cluster.get(kinds.POD, "user")["spec"]["nodeName"]
        assert volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"][0]["values"] == [home]


async def test_the_next_pod_with_the_claim_runs_where_the_volume_is(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_cluster(tmp_path, nodes=3) as cluster:
        await cluster.create(kinds.PERSISTENT_VOLUME_CLAIM, claim())
        await cluster.create(kinds.POD, pod("first", cpu="1", **with_claim()))
        await cluster.settle()
        home = cluster.get(kinds.POD, "first")["spec"]["nodeName"]
        await cluster.delete(kinds.POD, "first")
        await cluster.create(kinds.POD, pod("heavy", cpu="2", nodeName=home))
        await cluster.create(kinds.POD, pod("second", cpu="1", **with_claim()))
        await cluster.settle()
        assert cluster.get(kinds.POD, "second")["spec"]["nodeName"] == home


async def test_a_deleted_claim_waits_for_its_pod_and_takes_its_volume_along(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_cluster(tmp_path, nodes=1) as cluster:
        await cluster.create(kinds.PERSISTENT_VOLUME_CLAIM, claim())
        await cluster.create(kinds.POD, pod("user", **with_claim()))
        await cluster.settle()
        assert len(cluster.nodes["node-1"].volumes) == 1
        await cluster.delete(kinds.PERSISTENT_VOLUME_CLAIM, "work")
        await cluster.settle()
        assert phase(cluster) == "Bound"
        await cluster.delete(kinds.POD, "user")
        await cluster.settle()
        assert cluster.find(kinds.PERSISTENT_VOLUME_CLAIM, "work") is None
        assert cluster.all(kinds.PERSISTENT_VOLUME) == []
        assert cluster.nodes["node-1"].volumes == []


async def test_a_pod_goes_to_the_node_that_has_a_disk_for_it(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_cluster(tmp_path, nodes=3) as cluster:
        await cluster.create(kinds.STORAGE_CLASS, LOCAL_CLASS)
        await cluster.create(kinds.PERSISTENT_VOLUME, local_disk("small", "node-1", "1Gi"))
        await cluster.create(kinds.PERSISTENT_VOLUME, local_disk("large", "node-3"))
        await cluster.create(kinds.PERSISTENT_VOLUME_CLAIM, claim(storage_class="disks", size="5Gi"))
        await cluster.create(kinds.POD, pod("user", **with_claim()))
        await cluster.settle()
        assert cluster.get(kinds.POD, "user")["spec"].get("nodeName") == "node-3"
        assert cluster.get(kinds.PERSISTENT_VOLUME_CLAIM, "work")["spec"]["volumeName"] == "large"


async def test_a_pod_without_a_disk_anywhere_says_so_and_runs_when_one_appears(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_cluster(tmp_path, nodes=2) as cluster:
        await cluster.create(kinds.STORAGE_CLASS, LOCAL_CLASS)
        await cluster.create(kinds.PERSISTENT_VOLUME_CLAIM, claim(storage_class="disks"))
        await cluster.create(kinds.POD, pod("user", **with_claim()))
        await cluster.settle()
        scheduled = objects.condition(cluster.get(kinds.POD, "user"), "PodScheduled")
        assert scheduled is not None
        assert scheduled["message"] == "0/2 nodes are available: 2 node(s) didn't find available persistent volumes to bind."
        await cluster.create(kinds.PERSISTENT_VOLUME, local_disk("late", "node-2"))
        await cluster.settle()
        assert cluster.get(kinds.POD, "user")["spec"].get("nodeName") == "node-2"


async def test_room_that_a_pod_waits_for_its_volume_on_is_kept_for_it(tmp_path: Path, autojump_clock: Any) -> None:
    """The volume will be on that node only: whoever took the room meanwhile would keep the pod out for ever."""
    async with open_cluster(tmp_path, nodes=1) as cluster:
        await cluster.create(kinds.PERSISTENT_VOLUME_CLAIM, claim())
        cluster.stop("controllers")  # so nobody makes the volume yet
        await cluster.create(kinds.POD, pod("user", cpu="3", **with_claim()))
        await cluster.settle()
        await cluster.create(kinds.POD, pod("greedy", cpu="3"))
        await cluster.settle()
        await cluster.start_controllers()
        await cluster.settle()
        assert [objects.name(each) for each in cluster.ready_pods()] == ["user"]


async def test_a_pod_whose_node_dies_before_its_volume_is_made_finds_another(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_cluster(tmp_path, nodes=2) as cluster:
        await cluster.create(kinds.PERSISTENT_VOLUME_CLAIM, claim())
        cluster.stop("controllers")
        await cluster.create(kinds.POD, pod("user", **with_claim()))
        await cluster.settle()
        chosen = objects.annotations(cluster.get(kinds.PERSISTENT_VOLUME_CLAIM, "work"))["volume.kubernetes.io/selected-node"]
        await cluster.nodes[chosen].lose_power()
        await cluster.delete(kinds.NODE, chosen)
        await cluster.settle()
        await cluster.start_controllers()
        await cluster.settle()
        (user,) = cluster.ready_pods()
        assert user["spec"]["nodeName"] != chosen


# What is done to storage comes three times as often as what is done to the cluster.
names = st.sampled_from([*sorted(storage_trouble.OPERATIONS), *2 * storage_trouble.TO_STORAGE])
steps = st.builds(Step, names, st.integers(0, 1000), st.sampled_from([0.0, 0.01, 0.1, 0.5, 3.0, 20.0, 400.0]))


async def live_through(folder: Path, plan: list[Step]) -> list[str]:
    async with open_cluster(folder, nodes=2) as cluster:
        return await storage_trouble.carry_out(cluster, plan)


@settings(
    max_examples=EXAMPLES,
    derandomize=not SEARCHED,
    database=None,
    deadline=None,
    print_blob=False,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(plan=st.lists(steps, min_size=25, max_size=50))
def test_no_volume_is_lost_or_left_behind_whatever_happens(tmp_path: Path, plan: list[Step]) -> None:
    folder = tmp_path / "cluster"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    assert trio.run(live_through, folder, plan, clock=trio.testing.MockClock(autojump_threshold=0)) == []
