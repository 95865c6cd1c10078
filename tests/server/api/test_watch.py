"""Scenes of watching through the whole API, on a virtual clock."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
import trio

from edgek.client.transport import Request
from edgek.model import errors, kinds, objects
from edgek.server.api import watch
from tests.server.api.running import Running, config_map, running

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


@asynccontextmanager
async def watching(server: Running, *, accept: str = "", path: str = CONFIG_MAPS, **query: str) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
    request = Request("GET", path, (("watch", "true"), *query.items()), {"accept": accept})

    async def events(lines: AsyncIterator[bytes]) -> AsyncIterator[dict[str, Any]]:
        async for line in lines:
            yield orjson.loads(line)

    async with server.transport().stream(request) as answer:
        assert answer.status == 200, await answer.read()
        yield events(answer.lines())


async def heard(server: Running, **query: str) -> list[tuple[str, str]]:
    """All events of a watch that ends by itself: type and name, or what else tells it apart."""
    async with watching(server, **query) as events:
        return [(event["type"], objects.name(event["object"])) async for event in events]


def revision(server: Running) -> str:
    return str(server.backend.revision)


async def test_changes_come_in_order_with_what_they_changed(autojump_clock: object) -> None:
    server = await running()
    start = revision(server)
    async with watching(server, resourceVersion=start) as events:
        await server.client.create(kinds.CONFIG_MAP, config_map())
        await server.client.patch(kinds.CONFIG_MAP, "x", {"data": {"a": "2"}}, "default")
        await server.client.delete(kinds.CONFIG_MAP, "x", "default")
        got = [await anext(events) for _ in range(3)]
    assert [event["type"] for event in got] == ["ADDED", "MODIFIED", "DELETED"]
    assert [event["object"]["data"]["a"] for event in got] == ["1", "2", "2"]
    revisions = [int(objects.revision(event["object"])) for event in got]
    assert revisions == sorted(set(revisions))


async def test_the_past_is_told_from_any_revision_that_is_kept(autojump_clock: object) -> None:
    server = await running()
    start = revision(server)
    for name in ("a", "b", "c"):
        await server.client.create(kinds.CONFIG_MAP, config_map(name))
    assert await heard(server, resourceVersion=start, timeoutSeconds="1") == [("ADDED", "a"), ("ADDED", "b"), ("ADDED", "c")]


async def test_a_long_past_is_told_without_loss(autojump_clock: object) -> None:
    server = await running()
    start = revision(server)
    for number in range(3 * watch.DRAIN_EVERY + 1):
        await server.client.create(kinds.CONFIG_MAP, config_map(f"x{number:04d}"))
    told = await heard(server, resourceVersion=start, timeoutSeconds="1")
    assert [name for _, name in told] == [f"x{number:04d}" for number in range(3 * watch.DRAIN_EVERY + 1)]


async def test_a_revision_before_all_history_is_an_error_in_the_stream() -> None:
    server = await running()
    async with watching(server, resourceVersion="1") as events:
        got = [event async for event in events]
    assert [event["type"] for event in got] == ["ERROR"]
    assert (got[0]["object"]["code"], got[0]["object"]["reason"]) == (410, "Expired")
    with pytest.raises(errors.Expired):
        async with server.client.watch(kinds.CONFIG_MAP, "default", revision="1") as changes:
            await anext(changes)


async def test_a_revision_to_come_is_waited_for_as_upstream_does(autojump_clock: object) -> None:
    server = await running()
    to_come = str(server.backend.revision + 1000)
    async with watching(server, resourceVersion=to_come, timeoutSeconds="5") as events:
        await server.client.create(kinds.CONFIG_MAP, config_map())
        assert [event async for event in events] == []


async def test_our_own_parts_are_told_that_the_history_they_know_is_lost() -> None:
    server = await running()
    with pytest.raises(errors.Expired, match="ahead of this server's"):
        async with server.client.watch(kinds.CONFIG_MAP, "default", revision=str(server.backend.revision + 1)) as changes:
            await anext(changes)


async def test_without_a_revision_the_present_comes_first(autojump_clock: object) -> None:
    server = await running()
    await server.client.create(kinds.CONFIG_MAP, config_map("there"))
    async with watching(server, timeoutSeconds="5") as events:
        first = await anext(events)
        await server.client.create(kinds.CONFIG_MAP, config_map("new"))
        second = await anext(events)
    assert [(e["type"], objects.name(e["object"])) for e in (first, second)] == [("ADDED", "there"), ("ADDED", "new")]


async def test_a_watch_list_ends_its_beginning_with_a_marked_bookmark(autojump_clock: object) -> None:
    server = await running()
    await server.client.create(kinds.CONFIG_MAP, config_map("there"))
    query = {"sendInitialEvents": "true", "allowWatchBookmarks": "true", "resourceVersionMatch": "NotOlderThan"}
    async with watching(server, **query) as events:
        assert (await anext(events))["type"] == "ADDED"
        mark = await anext(events)
    assert mark["type"] == "BOOKMARK"
    assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert mark["object"]["metadata"]["resourceVersion"] == revision(server)


async def test_an_object_enters_and_leaves_a_selector(autojump_clock: object) -> None:
    server = await running()
    start = revision(server)
    await server.client.create(kinds.CONFIG_MAP, config_map(labels={"g": "2"}))
    await server.client.patch(kinds.CONFIG_MAP, "x", {"metadata": {"labels": {"g": "1"}}}, "default")
    left = await server.client.patch(kinds.CONFIG_MAP, "x", {"metadata": {"labels": {"g": "3"}}}, "default")
    async with watching(server, resourceVersion=start, labelSelector="g=1", timeoutSeconds="1") as events:
        got = [event async for event in events]
    assert [event["type"] for event in got] == ["ADDED", "DELETED"]
    # What left is shown as it was, at the revision of its leaving.
    assert objects.labels(got[1]["object"]) == {"g": "1"}
    assert objects.revision(got[1]["object"]) == objects.revision(left)


async def test_an_idle_watch_hears_a_bookmark_when_there_is_something_to_learn(autojump_clock: object) -> None:
    server = await running()
    async with watching(server, allowWatchBookmarks="true", resourceVersion=revision(server)) as events:
        await server.client.create(kinds.SECRET, {"metadata": {"name": "other", "namespace": "default"}})
        began = trio.current_time()
        mark = await anext(events)
    assert (mark["type"], mark["object"]["metadata"]["resourceVersion"]) == ("BOOKMARK", revision(server))
    assert trio.current_time() - began < 2 * watch.BOOKMARK_S


async def test_a_watch_ends_when_its_time_is_up(autojump_clock: object) -> None:
    server = await running()
    began = trio.current_time()
    assert await heard(server, resourceVersion=revision(server), allowWatchBookmarks="true", timeoutSeconds="30") == []
    assert trio.current_time() - began == pytest.approx(30)


async def test_tables_carry_their_columns_once(autojump_clock: object) -> None:
    server = await running()
    for name in ("a", "b"):
        await server.client.create(kinds.CONFIG_MAP, config_map(name))
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io"
    async with watching(server, accept=accept, timeoutSeconds="1") as events:
        got = [event["object"] async for event in events]
    assert [table["rows"][0]["cells"][0] for table in got] == ["a", "b"]
    assert [bool(table.get("columnDefinitions")) for table in got] == [True, False]


async def test_a_watch_of_one_namespace_hears_nothing_of_others(autojump_clock: object) -> None:
    server = await running()
    await server.client.create(kinds.NAMESPACE, {"metadata": {"name": "other"}})
    start = revision(server)
    await server.client.create(kinds.CONFIG_MAP, {"metadata": {"name": "far", "namespace": "other"}})
    await server.client.create(kinds.CONFIG_MAP, config_map("near"))
    assert await heard(server, resourceVersion=start, timeoutSeconds="1") == [("ADDED", "near")]
    assert await heard(server, path="/api/v1/configmaps", resourceVersion=start, timeoutSeconds="1") == [("ADDED", "far"), ("ADDED", "near")]


async def test_one_event_is_encoded_once_for_all_who_hear_it(autojump_clock: object, monkeypatch: pytest.MonkeyPatch) -> None:
    server = await running()
    made: list[bytes] = []

    class Counted(watch.Line):
        def __init__(self, line: bytes) -> None:
            made.append(line)
            super().__init__(line)

    monkeypatch.setattr(watch, "Line", Counted)
    start = revision(server)
    async with watching(server, resourceVersion=start) as one, watching(server, resourceVersion=start, labelSelector="!none") as other:
        await server.client.create(kinds.CONFIG_MAP, config_map())
        assert await anext(one) == await anext(other)
    assert len(made) == 1
