"""NoExecute taints: who goes, when, and who may stay after all."""

from __future__ import annotations

from typing import Any

import pytest

from edgek.model import kinds, objects
from edgek.server.controllers.tainteviction import TaintEvictionController
from tests.fakes.scene import Scene, pod_template, scene


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
