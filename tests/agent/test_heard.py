"""What was heard of Services and endpoints: kept with few writes, and gone by when nobody answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from edgek.agent import heard
from edgek.agent.heard import Heard
from edgek.client import services
from edgek.client.client import Client
from edgek.client.informer import Informer
from edgek.client.services import Service, Slice
from edgek.client.transport import Disconnected, Request
from edgek.host import files
from edgek.host.worker import InLine
from edgek.model import kinds
from edgek.model.objects import Object
from tests.fakes.api import FakeApi


class Line(FakeApi):
    """An API that can be cut off."""

    cut = False

    async def request(self, request: Request):  # type: ignore[no-untyped-def]  # as FakeApi's
        if self.cut:
            raise Disconnected("nobody answers")
        return await super().request(request)


def service(name: str, address: str = "10.43.0.7") -> Object:
    spec = {"clusterIP": address, "externalIPs": ["192.0.2.9"], "ports": [{"name": "http", "port": 80, "nodePort": 30080}]}
    return {"metadata": {"name": name, "namespace": "default"}, "spec": spec}


@asynccontextmanager
async def hearing(api: Line, file: Path) -> AsyncIterator[Informer[Service]]:
    informer = Informer(Client(api), kinds.SERVICE, services.service)
    async with trio.open_nursery() as nursery:
        await nursery.start(Heard(informer, file, services.decode_service, InLine()).run)
        nursery.start_soon(informer.run)
        yield informer
        nursery.cancel_scope.cancel()


def content(file: Path) -> bytes:
    return file.read_bytes()


def mode(file: Path) -> int:
    return file.stat().st_mode & 0o777


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "copies" / "services.json"


async def test_what_was_heard_is_gone_by_when_no_server_answers(file: Path, autojump_clock: trio.testing.MockClock) -> None:
    api = Line()
    await Client(api).create(kinds.SERVICE, service("web"))
    async with hearing(api, file) as informer:
        await trio.sleep(60)
        before = dict(informer.items)
    assert mode(file) == 0o600
    api.cut = True
    async with hearing(api, file) as informer:
        await trio.sleep(heard.SEED_AFTER_S - 1)
        assert not informer.synced.is_set()
        await trio.sleep(2)
        assert informer.synced.is_set()
        assert dict(informer.items) == before
        assert before["default/web"].ports[0].node_port == 30080
        api.cut = False
        await Client(api).delete(kinds.SERVICE, "web", "default")
        await trio.sleep(60)
        assert dict(informer.items) == {}


async def test_a_server_that_answers_is_believed_at_once(file: Path, autojump_clock: trio.testing.MockClock) -> None:
    api = Line()
    await Client(api).create(kinds.SERVICE, service("old"))
    async with hearing(api, file):
        await trio.sleep(60)
    await Client(api).delete(kinds.SERVICE, "old", "default")
    async with hearing(api, file) as informer:
        await informer.synced.wait()
        assert dict(informer.items) == {}


async def test_a_day_of_changes_is_some_hundred_writes_and_a_day_of_rest_is_none(
    file: Path, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    api, writes, write = Line(), list[Path](), files.write_atomically

    def counted(path: Path, content: bytes | str, mode: int = 0o644) -> None:
        writes.append(path)
        write(path, content, mode)

    monkeypatch.setattr(files, "write_atomically", counted)
    client = Client(api)
    await client.create(kinds.SERVICE, service("web"))
    async with hearing(api, file):
        await trio.sleep(86_400)
        assert len(writes) == 1
        for number in range(2880):
            await client.patch(kinds.SERVICE, "web", {"spec": {"clusterIP": f"10.43.1.{number % 250}"}}, "default")
            await trio.sleep(30)
        assert 100 < len(writes) < 200
        await trio.sleep(86_400)
        rested = len(writes)
        await trio.sleep(86_400)
        assert len(writes) == rested
        await client.patch(kinds.SERVICE, "web", {"spec": {"clusterIP": "10.43.2.1"}}, "default")
        await trio.sleep(heard.PAUSE_FIRST_S + 1)
        assert b"10.43.2.1" in content(file)


async def test_what_waits_is_written_when_the_node_stops(file: Path, autojump_clock: trio.testing.MockClock) -> None:
    api = Line()
    async with hearing(api, file) as informer:
        await informer.synced.wait()
        await Client(api).create(kinds.SERVICE, service("late"))
        await trio.testing.wait_all_tasks_blocked()
    assert b"late" in content(file)


async def test_a_full_disk_is_said_once_and_tried_again(
    file: Path, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(path: Path, content: bytes | str, mode: int = 0o644) -> None:
        raise OSError(28, "No space left on device")

    api = Line()
    await Client(api).create(kinds.SERVICE, service("web"))
    with monkeypatch.context() as patched:
        patched.setattr(files, "write_atomically", full)
        async with hearing(api, file):
            await trio.sleep(7200)
            assert capsys.readouterr().err.count("No space left") == 1
            patched.undo()
            await trio.sleep(heard.PAUSE_MOST_S + 1)
            assert b"web" in content(file)


async def test_a_strangers_file_is_nothing(file: Path, autojump_clock: trio.testing.MockClock) -> None:
    files.write_atomically(file, '{"default/web": {"name": 1}}')
    api = Line()
    api.cut = True
    async with hearing(api, file) as informer:
        await trio.sleep(60)
        assert not informer.synced.is_set()


async def test_a_slice_is_the_same_after_the_disk(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    obj: Object = {
        "metadata": {"name": "web-x", "namespace": "default", "labels": {services.SERVICE_NAME: "web"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 80}],
        "endpoints": [{"addresses": ["10.42.0.5"], "conditions": {"ready": True}, "targetRef": {"kind": "Pod", "namespace": "default", "name": "a"}}],
    }
    api, kept = Line(), tmp_path / "slices.json"
    await Client(api).create(kinds.ENDPOINT_SLICE, obj)

    async def shown() -> dict[str, Slice]:
        informer = Informer(Client(api), kinds.ENDPOINT_SLICE, services.slice_)
        async with trio.open_nursery() as nursery:
            await nursery.start(Heard(informer, kept, services.decode_slice, InLine()).run)
            nursery.start_soon(informer.run)
            await trio.sleep(60)
            nursery.cancel_scope.cancel()
        return dict(informer.items)

    before = await shown()
    api.cut = True
    assert await shown() == before
    assert before["default/web-x"] == services.slice_(obj)
