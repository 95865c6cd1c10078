"""Events as ``kubectl describe`` shows them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from edgek.client import events
from edgek.client.client import Client
from edgek.client.events import Recorder
from edgek.client.transport import Disconnected, Request, Response, StreamResponse
from edgek.host import wallclock
from edgek.model import errors, kinds
from edgek.model.kinds import Kind
from edgek.model.objects import Object
from tests.fakes.realapi import RealApi

POD: Object = {"metadata": {"name": "web", "namespace": "default", "uid": "u-1"}}
NODE: Object = {"metadata": {"name": "node-1", "uid": "u-2"}}


@asynccontextmanager
async def recording() -> AsyncIterator[tuple[RealApi, Recorder]]:
    api = RealApi()
    await api.furnish("default", account=False)
    recorder = Recorder(Client(api), "kubelet", "node-1")
    async with trio.open_nursery() as nursery:
        await nursery.start(recorder.run)
        yield api, recorder
        nursery.cancel_scope.cancel()


async def test_an_event_names_its_object_and_its_source(autojump_clock: Any) -> None:
    async with recording() as (api, recorder):
        recorder.warning(kinds.POD, POD, "BackOff", "Back-off restarting failed container", field_path="spec.containers{main}")
        recorder.named("scheduler").normal(kinds.NODE, NODE, "Seen", "It is there")
        await trio.testing.wait_all_tasks_blocked()
        found = {each["reason"]: each for each in api.all(kinds.EVENT)}
        event = found["BackOff"]
        assert (event["type"], event["count"], event["metadata"]["namespace"]) == ("Warning", 1, "default")
        assert event["involvedObject"] == {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": "web",
            "namespace": "default",
            "uid": "u-1",
            "fieldPath": "spec.containers{main}",
        }
        assert event["source"] == {"component": "kubelet", "host": "node-1"}
        assert found["Seen"]["source"]["component"] == "scheduler"
        assert found["Seen"]["metadata"]["namespace"] == "default"


async def test_the_same_again_raises_the_count_for_ten_minutes(autojump_clock: Any) -> None:
    async with recording() as (api, recorder):
        for _ in range(3):
            recorder.normal(kinds.POD, POD, "Pulled", "Image is there")
            await trio.sleep(60)
        assert [each["count"] for each in api.all(kinds.EVENT)] == [3]
        await trio.sleep(events.AGGREGATE_S)
        recorder.normal(kinds.POD, POD, "Pulled", "Image is there")
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(each["count"] for each in api.all(kinds.EVENT)) == [1, 3]


async def test_an_event_that_was_deleted_meanwhile_begins_again(autojump_clock: Any) -> None:
    async with recording() as (api, recorder):
        recorder.normal(kinds.POD, POD, "Pulled", "Image is there")
        await trio.testing.wait_all_tasks_blocked()
        await Client(api).delete_all(kinds.EVENT, "default")
        recorder.normal(kinds.POD, POD, "Pulled", "Image is there")
        await trio.testing.wait_all_tasks_blocked()
        assert [each["count"] for each in api.all(kinds.EVENT)] == [1]


async def test_recording_never_fails_the_one_who_records(autojump_clock: Any) -> None:
    def refuse(verb: str, kind: Kind, obj: Object) -> None:
        raise errors.InternalError("the disk is full")

    async with recording() as (api, recorder):
        api.before_write = refuse
        recorder.normal(kinds.POD, POD, "Pulled", "Image is there")
        await trio.testing.wait_all_tasks_blocked()
        api.before_write = None
        recorder.normal(kinds.POD, POD, "Started", "It runs")
        await trio.testing.wait_all_tasks_blocked()
        assert [each["reason"] for each in api.all(kinds.EVENT)] == ["Started"]


async def test_when_nobody_sends_the_newest_are_dropped_with_a_line(autojump_clock: Any, capsys: Any) -> None:
    api = RealApi()
    recorder = Recorder(Client(api), "kubelet")
    for number in range(events.QUEUE + 1):
        recorder.normal(kinds.POD, POD, "Pulled", str(number))
    assert "event dropped" in capsys.readouterr().err


async def test_long_messages_are_cut(autojump_clock: Any) -> None:
    async with recording() as (api, recorder):
        recorder.normal(kinds.POD, POD, "Pulled", "x" * 5000)
        await trio.testing.wait_all_tasks_blocked()
        assert [len(each["message"]) for each in api.all(kinds.EVENT)] == [events.MESSAGE_MOST]


async def test_what_is_recorded_while_no_server_answers_arrives_once_with_its_time(autojump_clock: Any) -> None:
    async with recording() as (api, recorder):
        line = Line(api)
        recorder._client = Client(line)
        recorder.normal(kinds.POD, POD, "Pulled", "Image is there")
        await trio.testing.wait_all_tasks_blocked()
        line.cut = "before"
        began = wallclock.now()
        for _ in range(4):
            recorder.normal(kinds.POD, POD, "Pulled", "Image is there")
            recorder.warning(kinds.POD, POD, "BackOff", "It crashed")
            await trio.sleep(100)
        line.cut = "after"  # the server does what it is asked, and its answers are lost
        await trio.sleep(60)
        line.cut = ""
        await trio.sleep(60)
        found = {each["reason"]: each for each in api.all(kinds.EVENT)}
        assert len(api.all(kinds.EVENT)) == 2
        assert (found["Pulled"]["count"], found["BackOff"]["count"]) == (5, 4)
        assert wallclock.parse(found["BackOff"]["firstTimestamp"]) == pytest.approx(began, abs=2)
        assert wallclock.parse(found["BackOff"]["lastTimestamp"]) == pytest.approx(began + 300, abs=2)


@pytest.fixture(autouse=True)
def virtual_calendar() -> Iterator[None]:
    former = wallclock.use(lambda: 1_800_000_000.0 + trio.current_time())
    yield
    wallclock.use(former)


class Line:
    """A Transport that may be cut: before a request arrives, or before its answer comes back."""

    def __init__(self, api: RealApi) -> None:
        self._api = api
        self.cut = ""

    async def request(self, request: Request) -> Response:
        if self.cut == "before":
            raise Disconnected("the line is cut")
        answer = await self._api.request(request)
        if self.cut == "after":
            raise Disconnected("the answer was lost")
        return answer

    def stream(self, request: Request) -> AbstractAsyncContextManager[StreamResponse]:
        return self._api.stream(request)
