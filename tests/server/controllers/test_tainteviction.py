"""NoExecute taints: who goes, when, and who may stay after all."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from edgek.host import wallclock
from edgek.model import errors, kinds, objects
from edgek.model.kinds import Kind
from edgek.model.objects import Object
from edgek.model.when_away import ANNOTATION, MARGIN_S
from edgek.server.controllers.tainteviction import TaintEvictionController
from tests.fakes.scene import EPOCH, Scene, pod_template, scene


async def pod(cluster: Scene, name: str, *tolerations: dict[str, Any]) -> None:
    template = pod_template(tolerations=list(tolerations))
    await cluster.create(kinds.POD, {**template, "metadata": {"name": name}})


def names(cluster: Scene) -> set[str]:
    return {objects.name(each) for each in cluster.pods()}


TAINT = {"spec": {"taints": [{"key": "maintenance", "value": "now", "effect": "NoExecute"}]}}


@pytest.mark.parametrize(
    ("toleration", "stays_s"),
    [
        ({"key": "maintenance", "operator": "Exists"}, None),
        ({"operator": "Exists"}, None),
        ({"key": "maintenance", "value": "now", "effect": "NoExecute"}, None),
        ({"key": "maintenance", "value": "later", "effect": "NoExecute"}, 0),
        ({"key": "maintenance", "operator": "Exists", "effect": "NoSchedule"}, 0),
        ({"key": "maintenance", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}, 60),
        ({"key": "maintenance", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0}, 0),
    ],
)
async def test_a_pod_stays_as_long_as_it_tolerates(autojump_clock: Any, toleration: dict[str, Any], stays_s: float | None) -> None:
    async with scene(TaintEvictionController) as cluster:
        await cluster.create(kinds.NODE, {"metadata": {"name": "node-1"}, "spec": {}})
        await pod(cluster, "it", toleration)
        await cluster.settle()
        await cluster.change(kinds.NODE, "node-1", TAINT)
        await cluster.settle(5)
        assert names(cluster) == (set() if stays_s == 0 else {"it"})
        await cluster.settle(100)
        assert names(cluster) == ({"it"} if stays_s is None else set())


async def test_a_taint_that_goes_in_time_spares_the_pod(autojump_clock: Any) -> None:
    async with scene(TaintEvictionController) as cluster:
        await cluster.create(kinds.NODE, {"metadata": {"name": "node-1"}, "spec": {}})
        await pod(cluster, "it", {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60})
        await cluster.settle()
        await cluster.change(kinds.NODE, "node-1", TAINT)
        await cluster.settle(30)
        await cluster.change(kinds.NODE, "node-1", {"spec": {"taints": None}})
        await cluster.settle(100)
        assert names(cluster) == {"it"}
        assert ("TaintManagerEviction", "Cancelling deletion of Pod default/it") in cluster.events()


async def test_a_pod_that_comes_late_gets_its_time_too(autojump_clock: Any) -> None:
    async with scene(TaintEvictionController) as cluster:
        await cluster.create(kinds.NODE, {"metadata": {"name": "node-1"}, "spec": TAINT["spec"]})
        await cluster.settle(1000)
        await pod(cluster, "late", {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60})
        await cluster.settle(50)
        assert names(cluster) == {"late"}
        await cluster.settle(20)
        assert names(cluster) == set()


def lost(*keys: str) -> dict[str, Any]:
    return {"spec": {"taints": [{"key": f"node.kubernetes.io/{key}", "effect": "NoExecute", "timeAdded": wallclock.now_rfc3339()} for key in keys]}}


async def said_pod(cluster: Scene, said: str, **spec: Any) -> None:
    template = pod_template(terminationGracePeriodSeconds=5, **spec)
    await cluster.create(kinds.POD, {**template, "metadata": {"name": "it", "annotations": {ANNOTATION: said}}})


@pytest.mark.parametrize(
    ("said", "taint", "stays_s"),
    [
        ("replace=60s", "unreachable", 60),
        ("replace=60s", "not-ready", 60),
        ("replace=0s", "unreachable", 0),
        ("replace", "unreachable", 300),
        ("keep", "unreachable", None),
        ("keep", "not-ready", None),
        ("stop=1m", "unreachable", 60 + 5 + MARGIN_S),
        ("stop=1m", "not-ready", None),
    ],
)
async def test_a_pod_says_itself_how_long_it_stays_on_a_lost_node(autojump_clock: Any, said: str, taint: str, stays_s: float | None) -> None:
    async with scene(TaintEvictionController) as cluster:
        await cluster.create(kinds.NODE, {"metadata": {"name": "node-1"}, "spec": {}})
        await said_pod(cluster, said)
        await cluster.settle()
        await cluster.change(kinds.NODE, "node-1", lost(taint))
        if stays_s:
            await cluster.settle(stays_s - 2)
            assert names(cluster) == {"it"}
        await cluster.settle(3 if stays_s is not None else 100_000)
        assert names(cluster) == ({"it"} if stays_s is None else set())


async def test_what_a_pod_says_of_lost_nodes_keeps_it_on_no_node_that_drives_it_out_for_another_reason(autojump_clock: Any) -> None:
    async with scene(TaintEvictionController) as cluster:
        await cluster.create(kinds.NODE, {"metadata": {"name": "node-1"}, "spec": {}})
        await said_pod(cluster, "keep")
        await cluster.settle()
        await cluster.change(kinds.NODE, "node-1", TAINT)
        await cluster.settle(5)
        assert names(cluster) == set()


async def test_a_pod_may_change_its_mind_while_its_node_is_lost(autojump_clock: Any) -> None:
    async with scene(TaintEvictionController) as cluster:
        await cluster.create(kinds.NODE, {"metadata": {"name": "node-1"}, "spec": {}})
        await said_pod(cluster, "keep")
        await cluster.settle()
        await cluster.change(kinds.NODE, "node-1", lost("unreachable"))
        await cluster.settle(1000)
        await cluster.change(kinds.POD, "it", {"metadata": {"annotations": {ANNOTATION: "replace=10m"}}})
        await cluster.settle(5)
        assert names(cluster) == set()


async def test_a_clock_that_jumps_does_not_replace_a_pod_that_its_node_has_not_stopped_yet(autojump_clock: Any) -> None:
    async with scene(TaintEvictionController) as cluster:
        await cluster.create(kinds.NODE, {"metadata": {"name": "node-1"}, "spec": {}})
        await said_pod(cluster, "stop=10m")
        await cluster.settle()
        await cluster.change(kinds.NODE, "node-1", lost("unreachable"))
        await cluster.settle(60)
        former = wallclock.use(lambda: 2_000_000_000.0)
        await cluster.change(kinds.POD, "it", {"metadata": {"labels": {"look": "again"}}})
        await cluster.settle(500)
        assert names(cluster) == {"it"}
        wallclock.use(former)


async def test_a_pod_to_which_its_node_writes_meanwhile_is_looked_at_once_more(autojump_clock: Any) -> None:
    """A node that is back writes to the pod before it starts it again: at that very moment one of the two must lose."""
    refused: list[Object] = []

    def node_is_faster(verb: str, kind: Kind, body: Object) -> None:
        if kind is kinds.POD and "DisruptionTarget" in str(body) and not refused:
            assert body["metadata"]["resourceVersion"]
            refused.append(body)
            raise errors.Conflict("the node wrote it first")

    async with scene(TaintEvictionController) as cluster:
        await cluster.create(kinds.NODE, {"metadata": {"name": "node-1"}, "spec": {}})
        await said_pod(cluster, "stop=1m")
        await cluster.settle()
        cluster.api.before_write = node_is_faster
        await cluster.change(kinds.NODE, "node-1", lost("unreachable"))
        await cluster.settle(94.999)
        assert names(cluster) == {"it"}
        await cluster.settle(5)
        assert refused
        assert names(cluster) == set()


async def test_a_node_that_was_never_told_to_stop_a_pod_is_not_expected_to_have_done_so(autojump_clock: Any) -> None:
    """The pod changed its mind while its node was lost: two would run."""
    async with scene(TaintEvictionController) as cluster:
        await cluster.create(kinds.NODE, {"metadata": {"name": "node-1"}, "spec": {}})
        await said_pod(cluster, "keep")
        await cluster.settle()
        await cluster.change(kinds.NODE, "node-1", lost("unreachable"))
        await cluster.settle(1000)
        await cluster.change(kinds.POD, "it", {"metadata": {"annotations": {ANNOTATION: "stop=1m"}}})
        await cluster.settle(1000)
        assert names(cluster) == {"it"}
        await cluster.change(kinds.NODE, "node-1", {"spec": {"taints": None}})
        await cluster.settle(100)
        await cluster.change(kinds.NODE, "node-1", lost("unreachable"))
        await cluster.settle(100)
        assert names(cluster) == set()


async def test_a_clock_that_is_set_forward_replaces_no_pod_before_its_time(autojump_clock: Any) -> None:
    async with scene(TaintEvictionController) as cluster:
        await cluster.create(kinds.NODE, {"metadata": {"name": "node-1"}, "spec": {}})
        await said_pod(cluster, "replace=10m")
        await cluster.settle()
        wallclock.compare(trio.current_time())
        await cluster.change(kinds.NODE, "node-1", lost("unreachable"))
        await cluster.settle(60)
        set_forward_s = 86400.0
        former = wallclock._Clock.source
        wallclock._Clock.source = staticmethod(lambda: EPOCH + set_forward_s + trio.current_time())
        wallclock.compare(trio.current_time())  # as a node does with every beat
        await cluster.change(kinds.POD, "it", {"metadata": {"labels": {"look": "again"}}})
        await cluster.settle(500)
        assert names(cluster) == {"it"}
        await cluster.settle(60)
        assert names(cluster) == set()
        wallclock._Clock.source = former
