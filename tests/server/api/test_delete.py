"""Scenes of deleting through the whole API, on a store in memory."""

import pytest

from edgek.client.transport import Request
from edgek.host import wallclock
from edgek.model import errors, kinds, objects
from tests.server.api.running import Running, config_map, running


async def bound_pod(server: Running, grace_s: int = 30, **meta: object) -> None:
    spec = {"containers": [{"name": "c", "image": "i"}], "nodeName": "n", "terminationGracePeriodSeconds": grace_s}
    await server.client.create(kinds.POD, {"metadata": {"name": "p", "namespace": "default", **meta}, "spec": spec})


async def test_a_plain_object_goes_at_once() -> None:
    server = await running()
    made = await server.client.create(kinds.CONFIG_MAP, config_map())
    answer = await server.client.delete(kinds.CONFIG_MAP, "x", "default")
    assert (answer["kind"], answer["status"], answer["details"]["uid"]) == ("Status", "Success", objects.uid(made))
    assert await server.client.find(kinds.CONFIG_MAP, "x", "default") is None


async def test_a_precondition_protects_another_object_of_that_name() -> None:
    server = await running()
    made = await server.client.create(kinds.CONFIG_MAP, config_map())
    with pytest.raises(errors.Conflict, match="does not match the UID in record"):
        await server.client.delete(kinds.CONFIG_MAP, "x", "default", uid="other")
    with pytest.raises(errors.Conflict, match="does not match the ResourceVersion in record"):
        await server.client.delete(kinds.CONFIG_MAP, "x", "default", revision="1")
    await server.client.delete(kinds.CONFIG_MAP, "x", "default", uid=objects.uid(made), revision=objects.revision(made))


async def test_a_finalizer_holds_an_object_until_it_is_taken_off() -> None:
    server = await running()
    await server.client.create(kinds.CONFIG_MAP, config_map(finalizers=["example.com/f"]))
    going = await server.client.delete(kinds.CONFIG_MAP, "x", "default")
    assert objects.is_deleting(going)
    again = await server.client.delete(kinds.CONFIG_MAP, "x", "default")
    assert objects.revision(again) == objects.revision(going)
    with pytest.raises(errors.Invalid, match="no new finalizers can be added"):
        await server.client.patch(kinds.CONFIG_MAP, "x", {"metadata": {"finalizers": ["example.com/f", "example.com/g"]}}, "default")
    await server.client.patch(kinds.CONFIG_MAP, "x", {"metadata": {"finalizers": None}}, "default")
    assert await server.client.find(kinds.CONFIG_MAP, "x", "default") is None


@pytest.mark.parametrize(("policy", "finalizer"), [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")])
async def test_a_propagation_policy_leaves_the_object_to_the_garbage_collector(policy: str, finalizer: str) -> None:
    server = await running()
    await server.client.create(kinds.CONFIG_MAP, config_map())
    going = await server.client.delete(kinds.CONFIG_MAP, "x", "default", propagation=policy)
    assert objects.finalizers(going) == [finalizer]


async def test_background_takes_back_what_foreground_began() -> None:
    server = await running()
    await server.client.create(kinds.CONFIG_MAP, config_map())
    await server.client.delete(kinds.CONFIG_MAP, "x", "default", propagation="Foreground")
    await server.client.delete(kinds.CONFIG_MAP, "x", "default", propagation="Background")
    assert await server.client.find(kinds.CONFIG_MAP, "x", "default") is None


async def test_a_bound_pod_stays_for_its_grace_which_can_only_shrink() -> None:
    server = await running()
    now = 1_800_000_000.0
    former = wallclock.use(lambda: now)
    try:
        await bound_pod(server)
        first = (await server.client.delete(kinds.POD, "p", "default"))["metadata"]
        longer = (await server.client.delete(kinds.POD, "p", "default", grace_s=60))["metadata"]
        shorter = (await server.client.delete(kinds.POD, "p", "default", grace_s=5))["metadata"]
    finally:
        wallclock.use(former)
    assert (first["deletionGracePeriodSeconds"], first["deletionTimestamp"]) == (30, wallclock.rfc3339(now + 30))
    assert first["generation"] == 2
    assert longer == first
    assert (shorter["deletionGracePeriodSeconds"], shorter["deletionTimestamp"]) == (5, wallclock.rfc3339(now + 5))
    await server.client.delete(kinds.POD, "p", "default", grace_s=0)
    assert await server.client.find(kinds.POD, "p", "default") is None


async def test_a_pod_that_never_ran_goes_at_once() -> None:
    server = await running()
    spec = {"containers": [{"name": "c", "image": "i"}]}
    await server.client.create(kinds.POD, {"metadata": {"name": "p", "namespace": "default"}, "spec": spec})
    answer = await server.client.delete(kinds.POD, "p", "default")
    assert (answer["kind"], answer["metadata"]["deletionGracePeriodSeconds"]) == ("Pod", 0)
    assert await server.client.find(kinds.POD, "p", "default") is None


async def test_a_finalizer_holds_a_pod_beyond_its_grace() -> None:
    server = await running()
    await bound_pod(server, finalizers=["example.com/f"])
    await server.client.delete(kinds.POD, "p", "default", grace_s=0)
    assert objects.is_deleting(await server.client.get(kinds.POD, "p", "default"))


async def test_a_namespace_goes_when_it_was_finalized() -> None:
    server = await running()
    await server.client.create(kinds.NAMESPACE, {"metadata": {"name": "n"}})
    going = await server.client.delete(kinds.NAMESPACE, "n")
    assert (going["status"]["phase"], going["spec"]["finalizers"]) == ("Terminating", ["kubernetes"])
    with pytest.raises(errors.Forbidden, match="being terminated"):
        await server.client.create(kinds.CONFIG_MAP, {"metadata": {"name": "x", "namespace": "n"}})
    with pytest.raises(errors.AlreadyExists, match="object is being deleted"):
        await server.client.create(kinds.NAMESPACE, {"metadata": {"name": "n"}})
    going["spec"]["finalizers"] = []
    await server.client.update(kinds.NAMESPACE, going, subresource="finalize")
    assert await server.client.find(kinds.NAMESPACE, "n") is None


async def test_a_collection_is_deleted_by_selector() -> None:
    server = await running()
    await server.client.create(kinds.CONFIG_MAP, config_map("a", labels={"go": "1"}))
    await server.client.create(kinds.CONFIG_MAP, config_map("b", labels={"go": "1"}))
    await server.client.create(kinds.CONFIG_MAP, config_map("c"))
    request = Request("DELETE", "/api/v1/namespaces/default/configmaps", (("labelSelector", "go=1"),))
    answer = await server.transport().request(request)
    assert answer.status == 200
    left = await server.client.list(kinds.CONFIG_MAP, "default")
    assert [objects.name(obj) for obj in left.items] == ["c"]
