"""The eviction of a pod: what its budget allows, once, whoever writes at the same time."""

from __future__ import annotations

from typing import Any

import pytest

from edgek.model import errors, kinds, objects
from edgek.server.store.backend import Draft, Key, Record
from tests.server.api.running import Running, running

RUNNING = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}


async def guarded(allowed: int) -> Running:
    """A ready pod ``p``, and a budget ``b`` that lets so many go."""
    server = await running()
    spec = {"containers": [{"name": "c", "image": "i"}], "nodeName": "n"}
    await server.client.create(kinds.POD, {"metadata": {"name": "p", "namespace": "default", "labels": {"a": "b"}}, "spec": spec})
    await server.client.patch(kinds.POD, "p", {"status": RUNNING}, "default", subresource="status")
    budget = {"metadata": {"name": "b", "namespace": "default"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}}}
    await server.client.create(kinds.POD_DISRUPTION_BUDGET, budget)
    status = {"observedGeneration": 1, "disruptionsAllowed": allowed, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1}
    await server.client.patch(kinds.POD_DISRUPTION_BUDGET, "b", {"status": status}, "default", subresource="status")
    return server


async def evict(server: Running, **preconditions: str) -> None:
    eviction: dict[str, Any] = {"metadata": {"name": "p"}}
    if preconditions:
        eviction["deleteOptions"] = {"preconditions": preconditions}
    await server.client.create(kinds.POD, eviction, "default", name="p", subresource="eviction")


async def left(server: Running) -> int:
    budget = await server.client.get(kinds.POD_DISRUPTION_BUDGET, "b", "default")
    return int(budget["status"]["disruptionsAllowed"])


async def test_a_budget_holds_up_an_eviction() -> None:
    server = await guarded(0)
    with pytest.raises(errors.TooManyRequests) as refused:
        await evict(server)
    assert refused.value.causes[0].message == "The disruption budget b needs 1 healthy pods and has 1 currently"
    assert not objects.is_deleting(await server.client.get(kinds.POD, "p", "default"))


async def test_a_pod_that_may_go_says_why_it_goes() -> None:
    server = await guarded(1)
    await evict(server)
    gone = await server.client.get(kinds.POD, "p", "default")
    assert objects.is_deleting(gone)
    assert objects.condition_is(gone, "DisruptionTarget")
    assert await left(server) == 0


async def test_a_kubelet_that_writes_at_the_same_time_costs_the_budget_nothing() -> None:
    server = await guarded(1)
    update, raced = server.backend.update, []

    async def racing(key: Key, draft: Draft, *, expected: int) -> Record:
        if key.resource == kinds.POD.storage and not raced:
            raced.append(key)
            await server.client.patch(kinds.POD, "p", {"status": {"message": "busy"}}, "default", subresource="status")
        return await update(key, draft, expected=expected)

    server.backend.update = racing  # type: ignore[method-assign]
    await evict(server)
    assert raced
    gone = await server.client.get(kinds.POD, "p", "default")
    assert objects.is_deleting(gone)
    assert gone["status"]["message"] == "busy"
    assert await left(server) == 0


async def test_an_eviction_of_this_very_revision_is_one() -> None:
    server = await guarded(1)
    await evict(server, resourceVersion=objects.revision(await server.client.get(kinds.POD, "p", "default")))
    assert objects.is_deleting(await server.client.get(kinds.POD, "p", "default"))


@pytest.mark.parametrize("preconditions", [{"uid": "another"}, {"resourceVersion": "1"}], ids=str)
async def test_an_eviction_of_another_pod_spends_nothing_and_says_nothing(preconditions: dict[str, str]) -> None:
    server = await guarded(1)
    with pytest.raises(errors.Conflict):
        await evict(server, **preconditions)
    assert await left(server) == 1
    assert not objects.condition_is(await server.client.get(kinds.POD, "p", "default"), "DisruptionTarget")
