"""A cache that follows the API, whatever happens on the way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from edgek.client.client import Client
from edgek.client.informer import Informer, Informers
from edgek.client.transport import Disconnected, Request, Response, StreamResponse
from edgek.model import errors, kinds, objects
from edgek.model.objects import Object
from tests.fakes.realapi import RealApi


@attrs.define
class Unsteady:
    """A way to the API that breaks when told to."""

    api: RealApi
    broken: bool = False
    expire: bool = False
    refuse: errors.ApiError | None = None
    attempts: int = 0
    lists: int = 0
    _scopes: list[trio.CancelScope] = attrs.field(factory=list)

    def cut(self) -> None:
        """Every stream ends without a word."""
        for scope in self._scopes:
            scope.cancel()

    async def request(self, request: Request) -> Response:
        self.attempts += 1
        if self.broken:
            raise Disconnected("nobody there")
        self.lists += 1
        return await self.api.request(request)

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[StreamResponse]:
        self.attempts += 1
        if self.broken:
            raise Disconnected("nobody there")
        if self.expire:
            self.expire = False
            raise errors.Expired("too old")
        if self.refuse:
            refusal, self.refuse = self.refuse, None
            raise refusal
        async with self.api.stream(request) as answer:
            yield _Breakable(answer, self._scopes)


@attrs.frozen
class _Breakable:
    below: StreamResponse
    scopes: list[trio.CancelScope]

    @property
    def status(self) -> int:
        return self.below.status

    @property
    def headers(self) -> Any:
        return self.below.headers

    async def read(self) -> bytes:
        return await self.below.read()

    def chunks(self) -> AsyncIterator[bytes]:
        return self.below.chunks()

    async def lines(self) -> AsyncIterator[bytes]:
        lines = self.below.lines()
        while True:
            line: bytes | None = None
            with trio.CancelScope() as scope:
                self.scopes.append(scope)
                line = await anext(lines, None)
            if scope.cancelled_caught:
                raise Disconnected("cut")
            if line is None:
                return
            yield line


def value(obj: Object) -> str | None:
    """Of a ConfigMap, one value; those without it are left out."""
    return (obj.get("data") or {}).get("v")


def by_first_letter(view: str) -> tuple[str, ...]:
    return (view[:1],)


async def put(client: Client, name: str, text: str, **meta: Any) -> None:
    await client.create(kinds.CONFIG_MAP, {"metadata": {"name": name, "namespace": "default", **meta}, "data": {"v": text}})


async def change(client: Client, name: str, patch: Any) -> Object:
    return await client.patch(kinds.CONFIG_MAP, name, patch, "default")


@attrs.frozen
class Scene:
    way: Unsteady
    client: Client
    informer: Informer[str]
    told: list[tuple[str, str | None, str | None]]


@asynccontextmanager
async def scene() -> AsyncIterator[Scene]:
    api = RealApi()
    await api.furnish("default", account=False)
    client, way = Client(api), Unsteady(api)
    await put(client, "first", "one")
    informer = Informer(Client(way), kinds.CONFIG_MAP, value)
    told: list[tuple[str, str | None, str | None]] = []
    informer.add_handler(lambda key, old, new: told.append((key, old, new)))
    informer.add_index("letter", by_first_letter)
    async with trio.open_nursery() as nursery:
        await nursery.start(informer.run)
        yield Scene(way, client, informer, told)
        nursery.cancel_scope.cancel()


async def settle(seconds: float = 0) -> None:
    await trio.testing.wait_all_tasks_blocked()
    await trio.sleep(seconds)
    await trio.testing.wait_all_tasks_blocked()


async def test_it_is_full_when_it_has_started_and_follows_afterwards(autojump_clock: Any) -> None:
    async with scene() as s:
        assert s.informer.items == {"default/first": "one"}
        await put(s.client, "second", "two")
        await change(s.client, "first", {"data": {"v": "uno"}})
        await s.client.delete(kinds.CONFIG_MAP, "second", "default")
        await settle()
        assert s.informer.items == {"default/first": "uno"}
        assert s.told == [
            ("default/first", None, "one"),
            ("default/second", None, "two"),
            ("default/first", "one", "uno"),
            ("default/second", "two", None),
        ]


async def test_a_change_that_the_view_does_not_show_is_not_told(autojump_clock: Any) -> None:
    async with scene() as s:
        s.told.clear()
        await change(s.client, "first", {"metadata": {"labels": {"a": "b"}}})
        await settle()
        assert s.told == []


async def test_what_a_view_leaves_out_is_gone_for_those_who_look(autojump_clock: Any) -> None:
    async with scene() as s:
        await change(s.client, "first", {"data": {"v": None}})
        await settle()
        assert s.informer.items == {}
        assert s.told[-1] == ("default/first", "one", None)


async def test_an_index_follows_its_views(autojump_clock: Any) -> None:
    async with scene() as s:
        await put(s.client, "second", "other")
        await settle()
        assert sorted(s.informer.by_index("letter", "o")) == ["one", "other"]
        await change(s.client, "second", {"data": {"v": "zebra"}})
        await settle()
        assert s.informer.by_index("letter", "o") == ["one"]
        assert s.informer.count("letter", "z") == 1
        await s.client.delete(kinds.CONFIG_MAP, "second", "default")
        await settle()
        assert s.informer.count("letter", "z") == 0


async def test_a_handler_that_comes_late_hears_of_everything_there(autojump_clock: Any) -> None:
    async with scene() as s:
        late: list[tuple[str, str | None, str | None]] = []
        s.informer.add_handler(lambda key, old, new: late.append((key, old, new)))
        assert late == [("default/first", None, "one")]


async def test_when_history_is_gone_it_lists_again_and_tells_what_it_missed(autojump_clock: Any) -> None:
    async with scene() as s:
        s.way.broken = True
        s.way.cut()
        await settle()
        await s.client.delete(kinds.CONFIG_MAP, "first", "default")
        await put(s.client, "second", "two")
        s.way.broken, s.way.expire = False, True
        await settle(30)
        assert s.informer.items == {"default/second": "two"}
        assert s.told[1:] == [("default/first", "one", None), ("default/second", None, "two")]


async def test_after_a_broken_way_it_goes_on_where_it_was_and_lists_nothing(autojump_clock: Any) -> None:
    async with scene() as s:
        before = s.way.lists
        for number in range(5):
            s.way.broken = True
            s.way.cut()
            await settle(20)
            await change(s.client, "first", {"data": {"v": f"missed {number}"}})
            await put(s.client, f"new-{number}", "made")
            s.way.broken = False
            await settle(20)
            assert s.informer.items["default/first"] == f"missed {number}"
        await s.client.delete(kinds.CONFIG_MAP, "new-0", "default")
        await settle()
        assert s.way.lists == before
        assert sorted(s.informer.items) == ["default/first", *(f"default/new-{number}" for number in range(1, 5))]
        assert len(s.told) == len(set(s.told)) == 1 + 5 + 5 + 1, "everything once"


@pytest.mark.parametrize(
    ("refusal", "lists"),
    [
        (errors.Expired("too old"), 1),
        (errors.InternalError("it fell over"), 1),
        (errors.NotFound("it is not served now"), 1),
        (errors.ServiceUnavailable("not now"), 0),
        (errors.TooManyRequests("not now"), 0),
    ],
)
async def test_it_lists_again_when_it_is_told_that_it_cannot_go_on(refusal: errors.ApiError, lists: int, autojump_clock: Any) -> None:
    async with scene() as s:
        before, s.way.refuse = s.way.lists, refusal
        s.way.cut()
        await put(s.client, "second", "two")
        await settle(30)
        assert s.way.lists - before == lists
        assert s.informer.items == {"default/first": "one", "default/second": "two"}


async def test_a_server_that_was_set_back_is_listed_again(autojump_clock: Any) -> None:
    """Its revisions are behind those that we have heard: to wait for those would be to hear nothing for long."""
    async with scene() as s:
        before = s.way.lists
        s.informer.revision = str(int(s.informer.revision) + 1000)
        s.way.cut()
        await settle(30)
        assert s.way.lists == before + 1
        await put(s.client, "second", "two")
        await settle()
        assert "default/second" in s.informer.items


async def test_while_nobody_answers_it_asks_ever_more_seldom(autojump_clock: Any) -> None:
    async with scene() as s:
        s.way.broken = True
        s.way.cut()
        before = s.way.attempts
        await settle(1000)
        assert 60 < s.way.attempts - before < 250  # ten seconds apart in the end, five to fifteen by chance
        s.way.broken = False
        await settle(20)
        await put(s.client, "second", "two")
        await settle()
        assert "default/second" in s.informer.items


async def test_one_who_wrote_can_wait_until_the_cache_shows_it(autojump_clock: Any) -> None:
    async with scene() as s:
        made = await change(s.client, "first", {"data": {"v": "written"}})
        await s.informer.until_at(objects.revision(made))
        assert s.informer.items["default/first"] == "written"
        s.way.broken = True
        s.way.cut()
        await settle()
        made = await change(s.client, "first", {"data": {"v": "unseen"}})
        with trio.move_on_after(1) as waited:
            await s.informer.until_at(objects.revision(made))
        assert waited.cancelled_caught
        s.way.broken = False
        await s.informer.until_at(objects.revision(made))
        assert s.informer.items["default/first"] == "unseen"


async def test_a_cache_asked_for_later_is_started_and_one_forgotten_is_stopped(autojump_clock: Any) -> None:
    api = RealApi()
    await api.furnish("default", account=False)
    client = Client(api)
    informers = Informers(client)
    first = informers.of(kinds.CONFIG_MAP, value)
    assert informers.of(kinds.CONFIG_MAP, value) is first
    async with trio.open_nursery() as nursery:
        await nursery.start(informers.run)
        namespaces = informers.of(kinds.NAMESPACE, objects.name)
        await namespaces.synced.wait()
        assert namespaces.items == {"default": "default"}
        informers.forget(kinds.CONFIG_MAP, value)
        await put(client, "unheard", "x")
        await settle()
        assert first.items == {}
        nursery.cancel_scope.cancel()
