import pytest
import trio

from edgek.client.informer import Informer
from edgek.client.transport import Request
from edgek.model import errors, kinds, objects
from edgek.server.api import local
from tests.server.api.running import config_map, running


async def test_an_error_inside_a_watch_comes_out_as_it_is() -> None:
    server = await running()
    with pytest.raises(errors.Conflict):
        async with server.client.watch(kinds.CONFIG_MAP, revision=str(server.backend.revision)):
            raise errors.Conflict("mine")


async def test_leaving_a_watch_ends_it_on_both_sides() -> None:
    server = await running()
    before = set(server.backend._watchers)
    async with server.client.watch(kinds.CONFIG_MAP, revision=str(server.backend.revision)):
        await trio.testing.wait_all_tasks_blocked()
        assert set(server.backend._watchers) - before == {("configmaps", "")}
    assert set(server.backend._watchers) == before


async def test_a_refused_watch_is_an_answer() -> None:
    server = await running()
    async with server.transport().stream(Request("GET", "/api/v1/nothing", (("watch", "1"),))) as answer:
        assert answer.status == 404
        assert b"NotFound" in await answer.read()


async def test_a_reader_that_sleeps_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "PENDING_LINES", 3)
    server = await running()
    async with server.client.watch(kinds.CONFIG_MAP, "default", revision=str(server.backend.revision)) as events:
        await trio.testing.wait_all_tasks_blocked()
        for number in range(5):
            await server.client.create(kinds.CONFIG_MAP, config_map(f"x{number}"))
        assert [event async for event in events] == []


async def test_an_informer_follows_in_process(nursery: trio.Nursery) -> None:
    server = await running()
    informer = Informer(server.client, kinds.CONFIG_MAP, objects.name)
    await nursery.start(informer.run)
    await server.client.create(kinds.CONFIG_MAP, config_map())
    await trio.testing.wait_all_tasks_blocked()
    assert informer.get("default/x") == "x"
