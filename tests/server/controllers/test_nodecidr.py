"""Each node gets its part of the pod range."""

from __future__ import annotations

from typing import Any

from edgek.client.reconcile import Settings
from edgek.model import kinds
from edgek.server.controllers.nodecidr import NodeCidrController
from tests.fakes.scene import Scene, scene


def parts(cluster: Scene) -> dict[str, str]:
    return {node["metadata"]["name"]: node["spec"].get("podCIDR", "") for node in cluster.api.all(kinds.NODE)}


async def add(cluster: Scene, name: str, **spec: Any) -> None:
    await cluster.create(kinds.NODE, {"metadata": {"name": name}, "spec": spec})


async def test_parts_never_overlap_and_are_given_once(autojump_clock: Any) -> None:
    async with scene(NodeCidrController, nodes=(), settings=Settings(pod_cidr="10.42.0.0/16")) as cluster:
        await add(cluster, "has-one", podCIDR="10.42.0.0/24", podCIDRs=["10.42.0.0/24"])
        for name in ("a", "b"):
            await add(cluster, name)
            await cluster.settle()
        assert parts(cluster) == {"has-one": "10.42.0.0/24", "a": "10.42.1.0/24", "b": "10.42.2.0/24"}
        assert cluster.get(kinds.NODE, "a")["spec"]["podCIDRs"] == ["10.42.1.0/24"]
        assert await cluster.writes_in(100) == []


async def test_parts_of_another_size_are_left_to_those_who_have_them(autojump_clock: Any) -> None:
    async with scene(NodeCidrController, nodes=(), settings=Settings(pod_cidr="10.42.0.0/16")) as cluster:
        await add(cluster, "wide", podCIDR="10.42.0.0/23", podCIDRs=["10.42.0.0/23"])
        await add(cluster, "narrow", podCIDR="10.42.2.128/25", podCIDRs=["10.42.2.128/25", "fd00::/64"])
        await add(cluster, "a")
        await cluster.settle()
        assert parts(cluster)["a"] == "10.42.3.0/24"


async def test_a_node_for_which_nothing_is_left_waits_until_another_goes(autojump_clock: Any) -> None:
    async with scene(NodeCidrController, nodes=(), settings=Settings(pod_cidr="10.42.0.0/24")) as cluster:
        await add(cluster, "first")
        await cluster.settle()
        await add(cluster, "second")
        await cluster.settle()
        assert parts(cluster)["second"] == ""
        assert ("CIDRNotAvailable", "Node second status is now: CIDRNotAvailable") in cluster.events()
        await cluster.client.delete(kinds.NODE, "first")
        await cluster.settle()
        assert parts(cluster) == {"second": "10.42.0.0/24"}
