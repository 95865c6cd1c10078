"""Quotas are charged before a write is stored."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
import trio

from edgek.model import kinds
from edgek.model.errors import Forbidden
from edgek.model.kinds import Kind
from edgek.server.api import quota
from edgek.server.api.routes import Registry
from edgek.server.api.storage import Objects
from edgek.server.store.memory import MemoryBackend
from tests.server.api.admission.reviewing import named, review
from tests.server.api.written import key, put

POD = named("x", "ns", spec={"containers": [{"name": "c", "resources": {"requests": {"cpu": "100m"}}}]})


async def store_with(hard: dict[str, str], used: dict[str, str] | None, **spec: Any) -> Objects:
    backend = MemoryBackend()
    status = {} if used is None else {"status": {"hard": hard, "used": used}}
    await put(backend, kinds.RESOURCE_QUOTA, named("q", "ns", spec={"hard": hard, **spec}, **status))
    return Objects(backend, Registry())


def used(store: Objects) -> dict[str, str]:
    record = store.backend.get(key(kinds.RESOURCE_QUOTA, "q", "ns"))
    assert record is not None
    found: dict[str, str] = orjson.loads(record.body)["status"]["used"]
    return found


@pytest.mark.parametrize(
    ("hard", "used", "kind", "obj", "why"),
    [
        ({"pods": "1", "requests.cpu": "1"}, {"pods": "1", "requests.cpu": "500m"}, kinds.POD, POD, "exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1"),
        ({"count/configmaps": "0"}, {"count/configmaps": "0"}, kinds.CONFIG_MAP, named("x", "ns"), "exceeded quota: q, requested: count/configmaps=1, used: count/configmaps=0, limited: count/configmaps=0"),
        ({"services.nodeports": "0"}, {"services.nodeports": "0"}, kinds.SERVICE, named("x", "ns", spec={"type": "NodePort", "ports": [{}]}), "exceeded quota: q, requested: services.nodeports=1, used: services.nodeports=0, limited: services.nodeports=0"),
        ({"limits.memory": "1Gi"}, {"limits.memory": "0"}, kinds.POD, POD, "failed quota: q: must specify limits.memory for: c"),
        ({"pods": "1"}, {}, kinds.POD, POD, "status unknown for quota: q, resources: pods"),
    ],
    ids=["pods", "count", "node-ports", "unspecified", "uncounted"],
)  # fmt: skip
async def test_what_a_quota_does_not_allow_is_refused(hard: dict[str, str], used: dict[str, str], kind: Kind, obj: dict[str, Any], why: str) -> None:
    store = await store_with(hard, used)
    with pytest.raises(Forbidden) as caught:
        await quota.charge(store, review(kind, obj))
    assert caught.value.message == f'{kind.plural} "x" is forbidden: {why}'


async def test_what_it_allows_is_counted() -> None:
    store = await store_with({"pods": "2", "requests.cpu": "1"}, {"pods": "0", "requests.cpu": "0"})
    await quota.charge(store, review(kinds.POD, POD))
    assert used(store) == {"pods": "1", "requests.cpu": "100m"}


async def test_of_many_writers_as_many_pass_as_there_is_room() -> None:
    store = await store_with({"pods": "3"}, {"pods": "0"})
    passed: list[int] = []

    async def write(number: int) -> None:
        try:
            await quota.charge(store, review(kinds.POD, named(f"p{number}", "ns", spec={})))
        except Forbidden:
            return
        passed.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(6):
            nursery.start_soon(write, number)
    assert len(passed) == 3
    assert used(store) == {"pods": "3"}


async def test_an_update_is_charged_for_what_it_adds() -> None:
    store = await store_with({"requests.storage": "5Gi"}, {"requests.storage": "1Gi"})
    old, new = (named("c", "ns", spec={"resources": {"requests": {"storage": size}}}) for size in ("1Gi", "3Gi"))
    await quota.charge(store, review(kinds.PERSISTENT_VOLUME_CLAIM, new, operation="UPDATE", old=old))
    assert used(store) == {"requests.storage": "3Gi"}
    await quota.charge(store, review(kinds.PERSISTENT_VOLUME_CLAIM, old, operation="UPDATE", old=new))
    assert used(store) == {"requests.storage": "3Gi"}


async def test_a_quota_that_was_never_counted_holds_nobody_up() -> None:
    await quota.charge(await store_with({"pods": "0"}, None), review(kinds.POD, POD))


async def test_a_quota_for_best_effort_pods_leaves_others_alone() -> None:
    store = await store_with({"pods": "0"}, {"pods": "0"}, scopes=["BestEffort"])
    await quota.charge(store, review(kinds.POD, POD))
    with pytest.raises(Forbidden):
        await quota.charge(store, review(kinds.POD, named("x", "ns", spec={"containers": [{"name": "c"}]})))
