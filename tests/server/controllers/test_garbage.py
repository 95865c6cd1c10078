"""What becomes of dependents when their owners go: background, foreground, orphan, cycles."""

from __future__ import annotations

from typing import Any

from edgek.model import kinds, objects
from edgek.model.objects import Object
from edgek.server.controllers.garbage import GarbageController
from tests.fakes.scene import Scene, owner_reference, scene


async def thing(cluster: Scene, name: str, *owners: Object, finalizers: tuple[str, ...] = (), blocks: bool = True) -> Object:
    """A ConfigMap, which no other controller cares for."""
    references = [{**owner_reference(owner, controller=False), "blockOwnerDeletion": blocks} for owner in owners]
    meta = {"name": name, "ownerReferences": references, "finalizers": list(finalizers)}
    return await cluster.create(kinds.CONFIG_MAP, {"metadata": {key: value for key, value in meta.items() if value}})


def names(cluster: Scene) -> set[str]:
    return {objects.name(obj) for obj in cluster.api.all(kinds.CONFIG_MAP)}


async def delete(cluster: Scene, name: str, propagation: str) -> None:
    await cluster.client.delete(kinds.CONFIG_MAP, name, "default", propagation=propagation)
    await cluster.settle()


async def test_dependents_of_dependents_go_in_the_background(autojump_clock: Any) -> None:
    async with scene(GarbageController) as cluster:
        owner = await thing(cluster, "owner")
        child = await thing(cluster, "child", owner)
        await thing(cluster, "grandchild", child)
        await thing(cluster, "stranger")
        await cluster.settle()
        assert names(cluster) == {"owner", "child", "grandchild", "stranger"}
        await delete(cluster, "owner", "Background")
        assert names(cluster) == {"stranger"}


async def test_in_the_foreground_the_owner_goes_last(autojump_clock: Any) -> None:
    async with scene(GarbageController) as cluster:
        owner = await thing(cluster, "owner")
        child = await thing(cluster, "child", owner, finalizers=("my/hold",))
        await thing(cluster, "grandchild", child)
        await cluster.settle()
        await delete(cluster, "owner", "Foreground")
        assert names(cluster) == {"owner", "child"}
        await cluster.change(kinds.CONFIG_MAP, "child", {"metadata": {"finalizers": None}})
        await cluster.settle()
        assert names(cluster) == set()


async def test_a_dependent_that_does_not_block_is_not_waited_for(autojump_clock: Any) -> None:
    async with scene(GarbageController) as cluster:
        owner = await thing(cluster, "owner")
        await thing(cluster, "child", owner, finalizers=("my/hold",), blocks=False)
        await cluster.settle()
        await delete(cluster, "owner", "Foreground")
        assert names(cluster) == {"child"}


async def test_orphans_stay_and_forget_their_owner(autojump_clock: Any) -> None:
    async with scene(GarbageController) as cluster:
        owner = await thing(cluster, "owner")
        await thing(cluster, "child", owner)
        await cluster.settle()
        await delete(cluster, "owner", "Orphan")
        assert names(cluster) == {"child"}
        assert objects.owners(cluster.get(kinds.CONFIG_MAP, "child")) == []


async def test_with_another_owner_left_only_the_reference_goes(autojump_clock: Any) -> None:
    async with scene(GarbageController) as cluster:
        one, other = await thing(cluster, "one"), await thing(cluster, "other")
        await thing(cluster, "child", one, other)
        await cluster.settle()
        await delete(cluster, "one", "Background")
        assert [each["name"] for each in objects.owners(cluster.get(kinds.CONFIG_MAP, "child"))] == ["other"]


async def test_a_cycle_is_deleted_in_the_foreground(autojump_clock: Any) -> None:
    async with scene(GarbageController) as cluster:
        first = await thing(cluster, "first")
        second = await thing(cluster, "second", first)
        third = await thing(cluster, "third", second)
        await cluster.change(kinds.CONFIG_MAP, "first", {"metadata": {"ownerReferences": [owner_reference(third)]}})
        await cluster.settle()
        await delete(cluster, "first", "Foreground")
        assert names(cluster) == set()


async def test_an_owner_with_the_same_name_but_another_uid_is_no_owner(autojump_clock: Any) -> None:
    async with scene(GarbageController) as cluster:
        owner = await thing(cluster, "owner")
        await thing(cluster, "child", {**owner, "metadata": {**owner["metadata"], "uid": "of-a-former-life"}})
        await cluster.settle()
        assert names(cluster) == {"owner"}


async def test_an_owner_of_an_unknown_kind_is_left_to_those_who_know(autojump_clock: Any) -> None:
    async with scene(GarbageController) as cluster:
        await thing(cluster, "child", {"apiVersion": "example.com/v1", "kind": "Unheard", "metadata": {"name": "x", "uid": "y"}})
        await cluster.settle()
        assert names(cluster) == {"child"}


async def test_an_owner_in_another_namespace_is_no_owner_and_is_reported(autojump_clock: Any) -> None:
    async with scene(GarbageController) as cluster:
        owner = await cluster.create(kinds.CONFIG_MAP, {"metadata": {"name": "owner"}}, "elsewhere")
        await thing(cluster, "child", owner)
        await cluster.settle()
        assert names(cluster) == {"owner"}
        assert [reason for reason, _ in cluster.events()] == ["OwnerRefInvalidNamespace"]


async def test_a_cluster_scoped_object_with_a_namespaced_owner_is_left_alone(autojump_clock: Any) -> None:
    async with scene(GarbageController) as cluster:
        owner = await thing(cluster, "owner")
        await cluster.create(kinds.PRIORITY_CLASS, {"metadata": {"name": "urgent", "ownerReferences": [owner_reference(owner)]}})
        await cluster.settle()
        await delete(cluster, "owner", "Background")
        assert cluster.exists(kinds.PRIORITY_CLASS, "urgent")


async def test_an_unchanged_cluster_is_left_alone(autojump_clock: Any) -> None:
    async with scene(GarbageController) as cluster:
        await thing(cluster, "child", await thing(cluster, "owner"))
        assert await cluster.writes_in(1000) == []
