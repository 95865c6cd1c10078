"""The scheduler against the real API, on a virtual clock. Nobody runs the pods: what counts is where they are put, when, and what they are told."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from edgek.client.transport import Request
from edgek.model import kinds, objects
from edgek.model.objects import Object
from edgek.server.scheduler import loop
from edgek.server.scheduler.choose import choose
from tests.simulation.cluster import SimulatedCluster, open_cluster
from tests.simulation.wire import Trouble
from tests.simulation.workloads import claim, pod, pod_spec, with_claim


@asynccontextmanager
async def open_scene(folder: Path, *nodes: str, running: bool = True) -> AsyncIterator[SimulatedCluster]:
    """An API, a scheduler (or not yet), and nodes of two CPUs that are no more than objects."""
    async with open_cluster(folder, controllers=False, scheduler=running) as cluster:
        await cluster.create(kinds.SERVICE_ACCOUNT, {"metadata": {"name": "default"}})
        for name in nodes:
            await add_node(cluster, name)
        yield cluster


async def add_node(cluster: SimulatedCluster, name: str, cpu: str = "2") -> None:
    await cluster.create(kinds.NODE, {"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}})
    await cluster.change(kinds.NODE, name, {"spec": {"taints": None}})  # that it is not ready yet
    room = {"cpu": cpu, "memory": "8Gi", "pods": "110"}
    await cluster.change(kinds.NODE, name, {"status": {"capacity": room, "allocatable": room}}, subresource="status")


async def priority_class(cluster: SimulatedCluster, name: str, value: int) -> None:
    await cluster.create(kinds.PRIORITY_CLASS, {"metadata": {"name": name}, "value": value})


def homes(cluster: SimulatedCluster) -> dict[str, str]:
    return {objects.name(each): each["spec"]["nodeName"] for each in cluster.pods() if each["spec"].get("nodeName")}


def said(cluster: SimulatedCluster, name: str) -> tuple[str, str]:
    found = objects.condition(cluster.get(kinds.POD, name), "PodScheduled") or {}
    return found.get("reason", ""), found.get("message", "")


async def gone(cluster: SimulatedCluster, name: str) -> None:
    await cluster.client.delete(kinds.POD, name, "default", grace_s=0)


# In which order.


async def test_the_most_important_pod_is_placed_first_and_among_equals_the_oldest(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_scene(tmp_path, "a", running=False) as cluster:
        await priority_class(cluster, "high", 1000)
        for name, more in (("old", {}), ("young", {}), ("urgent", {"priorityClassName": "high"})):
            await cluster.create(kinds.POD, pod(name, cpu="1", **more))
            await trio.sleep(2)
        await cluster.start_scheduler()
        await cluster.settle()
        assert homes(cluster) == {"urgent": "a", "old": "a"}
        assert said(cluster, "young") == ("Unschedulable", "0/1 nodes are available: 1 Insufficient cpu.")


async def test_when_room_appears_the_most_important_of_those_who_wait_gets_it(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_scene(tmp_path, "a") as cluster:
        await priority_class(cluster, "high", 1000)
        await cluster.create(kinds.POD, pod("first", cpu="2", priorityClassName="high"))
        for name, more in (("waits", {}), ("urgent", {"priorityClassName": "high"})):
            await trio.sleep(2)
            await cluster.create(kinds.POD, pod(name, cpu="2", **more))
        await cluster.settle()
        await gone(cluster, "first")
        await cluster.settle()
        assert homes(cluster) == {"urgent": "a"}


async def test_a_more_important_pod_takes_the_room_of_a_lesser_one(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_scene(tmp_path, "a", "b") as cluster:
        await priority_class(cluster, "high", 1000)
        for name in ("one", "two", "three", "four"):
            await cluster.create(kinds.POD, pod(name, cpu="1", grace_s=0))
            await trio.sleep(2)
        await cluster.create(kinds.POD, pod("urgent", cpu="2", priorityClassName="high"))
        await cluster.settle()
        kept = homes(cluster)
        assert len(kept) == 3
        assert {name for name, node in kept.items() if node == kept["urgent"]} == {"urgent"}
        assert cluster.get(kinds.POD, "urgent")["status"]["nominatedNodeName"] == kept["urgent"]
        told = cluster.events("Preempted")
        assert len(told) == 2
        uid = objects.uid(cluster.get(kinds.POD, "urgent"))
        assert told[0][1] == f"Preempted by pod {uid} on node {kept['urgent']}"


async def test_room_is_made_once_while_those_who_go_take_their_time(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_cluster(tmp_path, nodes=2) as cluster:
        await priority_class(cluster, "high", 1000)
        for name in ("one", "two"):
            await cluster.create(kinds.POD, pod(name, "stubborn", cpu="3", grace_s=60))
        await cluster.settle()
        await cluster.create(kinds.POD, pod("urgent", cpu="3", priorityClassName="high"))
        await trio.sleep(30)
        await cluster.change(kinds.NODE, "node-1", {"metadata": {"labels": {"x": "y"}}})
        await cluster.change(kinds.NODE, "node-2", {"metadata": {"labels": {"x": "y"}}})
        await cluster.settle()
        assert sum(objects.is_deleting(each) for each in cluster.pods()) <= 1
        await trio.sleep(60)
        await cluster.settle()
        assert len(cluster.ready_pods()) == 2
        assert homes(cluster).keys() > {"urgent"}


async def doomed_for(cluster: SimulatedCluster) -> None:
    """``one`` and ``two`` of node ``a`` are on their way out for ``urgent``, which needs all of it."""
    await priority_class(cluster, "high", 1000)
    for name in ("one", "two"):
        await cluster.create(kinds.POD, pod(name, cpu="1", grace_s=30))
    await cluster.settle()
    await cluster.create(kinds.POD, pod("urgent", cpu="2", priorityClassName="high"))
    await cluster.settle()
    assert all(objects.is_deleting(cluster.get(kinds.POD, name)) for name in ("one", "two"))


async def test_room_that_is_made_for_a_pod_goes_to_no_lesser_one(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_scene(tmp_path, "a") as cluster:
        await doomed_for(cluster)
        await cluster.create(kinds.POD, pod("replacement", cpu="1"))
        await gone(cluster, "one")
        await cluster.settle()
        assert homes(cluster) == {"two": "a"}
        await gone(cluster, "two")
        await cluster.settle()
        assert homes(cluster) == {"urgent": "a"}
        assert said(cluster, "replacement") == ("Unschedulable", "0/1 nodes are available: 1 Insufficient cpu.")


async def test_room_stays_promised_when_the_scheduler_begins_anew(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_scene(tmp_path, "a") as cluster:
        await doomed_for(cluster)
        cluster.stop("scheduler")
        await cluster.start_scheduler()
        await cluster.create(kinds.POD, pod("replacement", cpu="1"))
        await gone(cluster, "one")
        await cluster.settle()
        assert homes(cluster) == {"two": "a"}


async def test_room_that_was_made_for_a_pod_that_is_gone_is_anybodys(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_scene(tmp_path, "a") as cluster:
        await doomed_for(cluster)
        await cluster.create(kinds.POD, pod("replacement", cpu="1"))
        await gone(cluster, "one")
        await cluster.settle()
        await gone(cluster, "urgent")
        await cluster.settle()
        assert homes(cluster) == {"two": "a", "replacement": "a"}


async def test_a_pod_that_finds_room_elsewhere_leaves_to_others_what_was_made_for_it(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_scene(tmp_path, "a") as cluster:
        await doomed_for(cluster)
        await cluster.create(kinds.POD, pod("replacement", cpu="1"))
        await gone(cluster, "one")
        await add_node(cluster, "b")
        await cluster.settle()
        assert homes(cluster) == {"two": "a", "replacement": "a", "urgent": "b"}


async def test_a_gated_pod_waits_without_being_tried_and_goes_when_its_gates_are_gone(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_scene(tmp_path, "a") as cluster:
        await cluster.create(kinds.POD, pod("gated", schedulingGates=[{"name": "example.org/check"}]))
        await cluster.settle()
        assert homes(cluster) == {}
        assert said(cluster, "gated")[0] == "SchedulingGated"
        assert cluster.events("FailedScheduling") == []
        await add_node(cluster, "b")
        await cluster.settle()
        assert homes(cluster) == {}
        await cluster.change(kinds.POD, "gated", {"spec": {"schedulingGates": None}})
        await cluster.settle()
        assert homes(cluster) == {"gated": "a"}


async def test_pods_of_another_scheduler_are_left_alone(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_scene(tmp_path, "a") as cluster:
        await cluster.create(kinds.POD, pod("other", schedulerName="mine"))
        await cluster.settle()
        assert homes(cluster) == {}
        assert said(cluster, "other") == ("", "")


# When it tries again.


@pytest.fixture
def tries(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often a node was looked for, by pod."""
    counted: Counter[str] = Counter()

    def counting(one: Any, snapshot: Any) -> Any:
        counted[one.name] += 1
        return choose(one, snapshot)

    monkeypatch.setattr(loop, "choose", counting)
    return counted


async def label_a_pod(cluster: SimulatedCluster) -> None:
    await cluster.change(kinds.POD, "there", {"metadata": {"labels": {"tier": "back"}}})


async def label_a_node(cluster: SimulatedCluster) -> None:
    await cluster.change(kinds.NODE, "a", {"metadata": {"labels": {"disk": "ssd"}}})


async def beat_of_a_node(cluster: SimulatedCluster) -> None:
    ready = {"type": "Ready", "status": "True", "lastHeartbeatTime": "2027-01-15T09:00:00Z"}
    await cluster.change(kinds.NODE, "a", {"status": {"conditions": [ready]}}, subresource="status")


async def place_a_small_pod(cluster: SimulatedCluster) -> None:
    await cluster.create(kinds.POD, pod("small"))


async def remove_a_pod(cluster: SimulatedCluster) -> None:
    await gone(cluster, "there")


async def finish_a_pod(cluster: SimulatedCluster) -> None:
    await cluster.change(kinds.POD, "there", {"status": {"phase": "Succeeded"}}, subresource="status")


async def make_a_claim(cluster: SimulatedCluster) -> None:
    await cluster.create(kinds.PERSISTENT_VOLUME_CLAIM, claim())


async def another_node(cluster: SimulatedCluster) -> None:
    await add_node(cluster, "b")


async def annotate_the_pod(cluster: SimulatedCluster) -> None:
    await cluster.change(kinds.POD, "waits", {"metadata": {"annotations": {"note": "x"}}})


HAPPENINGS: list[tuple[Callable[[SimulatedCluster], Any], bool]] = [
    (remove_a_pod, True),
    (finish_a_pod, True),
    (another_node, True),
    (label_a_node, True),
    (beat_of_a_node, False),
    (label_a_pod, False),
    (place_a_small_pod, False),
    (make_a_claim, False),
    (annotate_the_pod, False),
]


@pytest.mark.parametrize(("happen", "helps"), HAPPENINGS, ids=[each.__name__ for each, _ in HAPPENINGS])
async def test_a_pod_without_room_is_tried_again_only_when_there_may_be_room(
    happen: Callable[[SimulatedCluster], Any], helps: bool, tmp_path: Path, tries: Counter[str], autojump_clock: Any
) -> None:
    async with open_scene(tmp_path, "a") as cluster:
        await cluster.create(kinds.POD, pod("there", cpu="1"))
        await cluster.create(kinds.POD, pod("waits", cpu="2"))
        await cluster.settle()
        assert said(cluster, "waits")[0] == "Unschedulable"
        before = tries["waits"]
        await happen(cluster)
        await cluster.settle()
        assert (tries["waits"] > before) is helps
        asked = len(cluster.exchange.asked)
        await trio.sleep(1000)
        assert [each for each in cluster.exchange.asked[asked:] if each.who == "scheduler"] == []


async def test_a_pod_that_waits_for_a_claim_is_tried_again_when_it_is_there(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_scene(tmp_path, "a") as cluster:
        await cluster.create(kinds.POD, pod("user", **with_claim()))
        await cluster.settle()
        assert said(cluster, "user") == ("Unschedulable", '0/1 nodes are available: persistentvolumeclaim "work" not found.')
        await cluster.create(kinds.PERSISTENT_VOLUME_CLAIM, claim())
        await cluster.settle()
        chosen = objects.annotations(cluster.get(kinds.PERSISTENT_VOLUME_CLAIM, "work"))
        assert chosen["volume.kubernetes.io/selected-node"] == "a"


async def test_a_pod_whose_volume_is_long_in_coming_says_what_it_waits_for(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_scene(tmp_path, "a") as cluster:
        await cluster.create(kinds.PERSISTENT_VOLUME_CLAIM, claim())
        await cluster.create(kinds.POD, pod("user", **with_claim()))
        await trio.sleep(loop.VOLUMES_SLOW_S / 2)
        assert said(cluster, "user") == ("", "")  # most volumes are there by then
        await trio.sleep(loop.VOLUMES_SLOW_S)
        why = 'running PreBind plugin "VolumeBinding": binding volumes: persistentvolumeclaim "work" is not bound yet, its events say why'
        assert said(cluster, "user") == ("SchedulerError", why)
        await trio.sleep(loop.VOLUMES_S)
        assert said(cluster, "user") == ("SchedulerError", loop.VOLUMES_LATE)
        events = (await cluster.client.list(kinds.EVENT, "default")).items
        assert [each["message"] for each in events if each["reason"] == "FailedScheduling"] == [why, loop.VOLUMES_LATE]


async def test_a_pod_that_wants_company_goes_when_company_has_come(tmp_path: Path, autojump_clock: Any) -> None:
    term = {"labelSelector": {"matchLabels": {"app": "db"}}, "topologyKey": "kubernetes.io/hostname"}
    near = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    async with open_scene(tmp_path, "a", "b") as cluster:
        await cluster.create(kinds.POD, pod("shy", affinity=near))
        await cluster.settle()
        assert said(cluster, "shy") == ("Unschedulable", "0/2 nodes are available: 2 node(s) didn't match pod affinity rules.")
        await cluster.create(kinds.POD, pod("db", labels={"app": "db"}, nodeName="b"))
        await cluster.settle()
        assert homes(cluster) == {"db": "b", "shy": "b"}


async def test_a_namesake_of_a_deleted_pod_is_a_pod_of_its_own(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_scene(tmp_path, "a") as cluster:
        await cluster.create(kinds.POD, pod("web", cpu="5"))
        await cluster.settle()
        await gone(cluster, "web")
        await cluster.create(kinds.POD, pod("web", cpu="1"))
        await cluster.settle()
        assert homes(cluster) == {"web": "a"}


# What goes wrong.


def once(trouble: Trouble, concerns: Callable[[Request], bool]) -> Callable[[str, Request], Trouble]:
    left = [trouble]

    def happens(who: str, request: Request) -> Trouble:
        return left.pop() if left and who == "scheduler" and concerns(request) else ""

    return happens


def is_binding(request: Request) -> bool:
    return request.path.endswith("/binding")


@pytest.mark.parametrize("trouble", ["request lost", "answer lost", "conflict"])
async def test_a_binding_that_failed_is_made_again_and_gives_no_room_twice(trouble: Trouble, tmp_path: Path, autojump_clock: Any) -> None:
    async with open_scene(tmp_path, "a") as cluster:
        await priority_class(cluster, "high", 1000)  # so that it is the first one's turn again
        cluster.exchange.trouble = once(trouble, is_binding)
        await cluster.create(kinds.POD, pod("first", cpu="2", priorityClassName="high"))
        await trio.sleep(0.1)
        await cluster.create(kinds.POD, pod("second", cpu="2"))
        await cluster.settle()
        assert homes(cluster) == {"first": "a"}
        assert said(cluster, "second")[0] == "Unschedulable"
        await gone(cluster, "first")
        await cluster.settle()
        assert homes(cluster) == {"second": "a"}


async def test_a_pod_that_is_deleted_while_its_binding_fails_frees_its_room(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_scene(tmp_path, "a") as cluster:
        cluster.exchange.trouble = once("request lost", is_binding)
        await cluster.create(kinds.POD, pod("first", cpu="2"))
        await trio.sleep(0.1)
        await gone(cluster, "first")
        await cluster.create(kinds.POD, pod("second", cpu="2"))
        await cluster.settle()
        assert homes(cluster) == {"second": "a"}


async def test_why_a_pod_waits_is_said_even_when_nobody_listened_at_first(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_scene(tmp_path, "a") as cluster:
        cluster.exchange.trouble = once("request lost", lambda request: request.path.endswith("/status"))
        await cluster.create(kinds.POD, pod("large", cpu="3"))
        await cluster.settle()
        assert said(cluster, "large") == ("Unschedulable", "0/1 nodes are available: 1 Insufficient cpu.")


async def test_a_pod_that_waits_for_storage_is_tried_again_when_its_driver_says_that_there_is_some(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_scene(tmp_path, "a") as cluster:
        await cluster.create(kinds.CSI_DRIVER, {"metadata": {"name": "disks.example"}, "spec": {"storageCapacity": True}})
        made = {"metadata": {"name": "disks"}, "provisioner": "disks.example", "volumeBindingMode": "WaitForFirstConsumer"}
        await cluster.create(kinds.STORAGE_CLASS, made)
        await cluster.create(kinds.PERSISTENT_VOLUME_CLAIM, claim(storage_class="disks"))
        await cluster.create(kinds.POD, pod("user", **with_claim()))
        await cluster.settle()
        assert said(cluster, "user") == ("Unschedulable", "0/1 nodes are available: 1 node(s) did not have enough free storage.")
        room = {"metadata": {"name": "room"}, "storageClassName": "disks", "nodeTopology": {"matchLabels": {"kubernetes.io/hostname": "a"}}}
        await cluster.create(kinds.CSI_STORAGE_CAPACITY, {**room, "capacity": "1Ki"})
        await cluster.settle()
        assert loop.SELECTED_NODE not in objects.annotations(cluster.get(kinds.PERSISTENT_VOLUME_CLAIM, "work"))
        await cluster.change(kinds.CSI_STORAGE_CAPACITY, "room", {"capacity": "1Ti"})
        await cluster.settle()
        assert objects.annotations(cluster.get(kinds.PERSISTENT_VOLUME_CLAIM, "work"))[loop.SELECTED_NODE] == "a"


async def test_the_node_of_a_claim_is_written_even_when_that_failed_at_first(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_scene(tmp_path, "a") as cluster:
        cluster.exchange.trouble = once("request lost", lambda request: "persistentvolumeclaims" in request.path and request.method == "PATCH")
        await cluster.create(kinds.PERSISTENT_VOLUME_CLAIM, claim())
        await cluster.create(kinds.POD, pod("user", **with_claim()))
        await cluster.settle()
        assert "volume.kubernetes.io/selected-node" in objects.annotations(cluster.get(kinds.PERSISTENT_VOLUME_CLAIM, "work"))


async def test_room_is_not_kept_for_ever_for_a_pod_whose_volume_nobody_makes(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_scene(tmp_path, "a") as cluster:
        await cluster.create(kinds.PERSISTENT_VOLUME_CLAIM, claim())
        await cluster.create(kinds.POD, pod("user", cpu="2", **with_claim()))
        await cluster.create(kinds.POD, pod("other", cpu="2"))
        await cluster.settle()
        assert homes(cluster) == {}
        await trio.sleep(loop.VOLUMES_S)
        assert homes(cluster) == {"other": "a"}


async def test_a_new_scheduler_knows_what_the_old_one_gave_away(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_scene(tmp_path, "a", "b") as cluster:
        for number in range(3):
            await cluster.create(kinds.POD, pod(f"web-{number}", cpu="1"))
        await cluster.settle()
        cluster.stop("scheduler")
        await cluster.create(kinds.POD, pod("large", cpu="2"))
        await cluster.create(kinds.POD, pod("small", cpu="1"))
        await cluster.start_scheduler()
        await cluster.settle()
        assert Counter(homes(cluster).values()) == {"a": 2, "b": 2}
        assert said(cluster, "large") == ("Unschedulable", "0/2 nodes are available: 2 Insufficient cpu.")


# Where to.


async def test_two_hundred_pods_are_spread_evenly_over_five_nodes(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_scene(tmp_path, running=False) as cluster:
        for name in "abcde":
            await add_node(cluster, name, cpu="8")
        async with trio.open_nursery() as nursery:
            for number in range(200):
                nursery.start_soon(cluster.create, kinds.POD, pod(f"web-{number}", cpu="100m"))
        await cluster.start_scheduler()
        await cluster.settle(2)
        assert Counter(homes(cluster).values()) == dict.fromkeys("abcde", 40)
        bindings = [each for each in cluster.exchange.asked if each.path.endswith("/binding")]
        assert len(bindings) == 200, "each is bound once"


async def test_two_pods_are_never_given_the_same_room(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_scene(tmp_path, "a", "b") as cluster:
        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(cluster.create, kinds.POD, pod(f"web-{number}", cpu="700m"))
        await cluster.settle()
        assert Counter(homes(cluster).values()) == {"a": 2, "b": 2}


# What it says.


async def test_an_event_tells_where_a_pod_went(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_scene(tmp_path, "a") as cluster:
        await cluster.create(kinds.POD, pod("web"))
        await cluster.settle()
        assert cluster.events() == [("Scheduled", "Successfully assigned default/web to a")]
        (event,) = cluster.all(kinds.EVENT)
        assert (event["source"]["component"], event["involvedObject"]["name"]) == ("default-scheduler", "web")


async def test_why_a_pod_waits_is_said_once_and_anew_when_it_changes(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_scene(tmp_path, "a", "b", "c") as cluster:
        await cluster.change(kinds.NODE, "c", {"spec": {"taints": [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]}})
        await cluster.create(kinds.POD, pod("large", cpu="3"))
        await cluster.settle()
        first = "0/3 nodes are available: 1 node(s) had untolerated taint {gpu: yes}, 2 Insufficient cpu."
        assert cluster.events("FailedScheduling") == [("FailedScheduling", first)]
        since = (objects.condition(cluster.get(kinds.POD, "large"), "PodScheduled") or {})["lastTransitionTime"]
        await cluster.change(kinds.NODE, "a", {"metadata": {"labels": {"x": "y"}}})
        await cluster.settle()
        assert len(cluster.events("FailedScheduling")) == 1
        await cluster.change(kinds.NODE, "a", {"spec": {"unschedulable": True}})
        await cluster.settle()
        second = "0/3 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint {gpu: yes}, 1 node(s) were unschedulable."
        assert said(cluster, "large") == ("Unschedulable", second)
        assert len(cluster.events("FailedScheduling")) == 2
        shown = objects.condition(cluster.get(kinds.POD, "large"), "PodScheduled") or {}
        assert shown["lastTransitionTime"] == since, "it was not schedulable all the time"


async def test_without_any_node_a_pod_waits_for_the_first_one(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_scene(tmp_path) as cluster:
        await cluster.create(kinds.POD, pod("web"))
        await cluster.settle()
        assert said(cluster, "web") == ("Unschedulable", "no nodes available to schedule pods")
        await add_node(cluster, "a")
        await cluster.settle()
        assert homes(cluster) == {"web": "a"}
        scheduled: Object = objects.condition(cluster.get(kinds.POD, "web"), "PodScheduled") or {}
        assert scheduled["status"] == "True"


async def test_host_ports_are_given_once_to_a_node(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_scene(tmp_path, "a", "b") as cluster:
        for number in range(3):
            spec = pod_spec(container={"ports": [{"containerPort": 80, "hostPort": 80}]})
            await cluster.create(kinds.POD, {"metadata": {"name": f"edge-{number}"}, "spec": spec})
        await cluster.settle()
        assert sorted(homes(cluster).values()) == ["a", "b"]
        (waits,) = {"edge-0", "edge-1", "edge-2"} - homes(cluster).keys()
        assert said(cluster, waits)[1] == "0/2 nodes are available: 2 node(s) didn't have free ports for the requested pod ports."


IN = {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["x"]}]}
HOSTNAME = "kubernetes.io/hostname"
ODD_PODS: dict[str, dict[str, Any]] = {
    "nothing special": {},
    "an affinity without terms": {"affinity": {"nodeAffinity": {}, "podAffinity": {}, "podAntiAffinity": {}}},
    "an empty affinity": {"affinity": {}},
    "a number in an affinity": {
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [{"matchExpressions": [{"key": "cores", "operator": "Gt", "values": ["3"]}]}, {}]
                },
                "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": IN}],
            }
        }
    },
    "neighbours in all namespaces": {
        "affinity": {
            "podAntiAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": HOSTNAME, "namespaceSelector": {}}],
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {"weight": 5, "podAffinityTerm": {"topologyKey": "zone", "labelSelector": {"matchLabels": {"a": "b"}}}}
                ],
            }
        }
    },
    "spreading by labels of its own": {
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": HOSTNAME, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {}, "minDomains": 2},
            {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"},
        ]
    },
    "tolerations of every sort": {"tolerations": [{"operator": "Exists"}, {"key": "a", "effect": "NoExecute", "tolerationSeconds": 5}]},
    "an ephemeral claim": {
        "volumes": [
            {
                "name": "v",
                "ephemeral": {"volumeClaimTemplate": {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}},
            }
        ]
    },
}


async def test_whatever_the_api_lets_through_does_not_stop_the_scheduler(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_scene(tmp_path, "a") as cluster:
        await cluster.create(kinds.NODE, {"metadata": {"name": "bare"}})
        await cluster.create(kinds.NODE, {"metadata": {"name": "odd"}, "spec": {"taints": [{"key": "k", "effect": "PreferNoSchedule"}]}})
        disk = {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/tmp"}}
        await cluster.create(kinds.PERSISTENT_VOLUME, {"metadata": {"name": "disk"}, "spec": disk})
        for number, spec in enumerate(ODD_PODS.values()):
            await cluster.create(kinds.POD, {"metadata": {"name": f"odd-{number}"}, "spec": pod_spec(**spec)})
            await cluster.create(kinds.POD, pod(f"labelled-{number}", **spec))
        await cluster.settle()
        assert None not in [objects.condition(each, "PodScheduled") for each in cluster.pods()], "each was tried"
        await add_node(cluster, "b", cpu="64")
        await cluster.create(kinds.POD, pod("last", cpu="16"))
        await cluster.settle()
        assert homes(cluster)["last"] == "b"
