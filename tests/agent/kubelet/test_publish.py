from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
import trio.testing

from edgek.agent.kubelet.publish import PASSING_S, Publisher
from edgek.client.client import Client
from edgek.client.transport import Disconnected
from edgek.model import errors, kinds
from edgek.model.kinds import Kind
from edgek.model.objects import Object
from tests.fakes.api import FakeApi


def status(phase: str, **more: object) -> Object:
    return {"phase": phase, "conditions": [{"type": "Ready", "status": "True"}], **more}


@asynccontextmanager
async def publisher() -> AsyncIterator[tuple[FakeApi, Client, Publisher, Object]]:
    api = FakeApi()
    client = Client(api)
    pod = await client.create(kinds.POD, {"metadata": {"name": "web"}, "spec": {"nodeName": "n", "containers": []}}, "default")
    async with trio.open_nursery() as nursery:
        made = Publisher(client, lambda uid: pod)  # a view that never learns of changes: the worst one
        await nursery.start(made.run)
        yield api, client, made, pod
        nursery.cancel_scope.cancel()


def written(api: FakeApi) -> int:
    return sum(1 for _, resource, _ in api.writes if resource == "pods/status")


async def test_what_the_api_shows_already_is_not_written(autojump_clock: trio.testing.MockClock) -> None:
    async with publisher() as (api, _, made, pod):
        made.say(pod, {"phase": "Pending"})
        await trio.sleep(1)
        assert written(api) == 0


async def test_conditions_of_others_are_kept_and_a_conflict_is_not_the_end(autojump_clock: trio.testing.MockClock) -> None:
    async with publisher() as (api, client, made, pod):
        other = {"status": {"conditions": [{"type": "example.org/gate", "status": "True"}]}}
        await client.patch(kinds.POD, "web", other, "default", subresource="status")
        made.say(pod, status("Running"))
        await trio.sleep(1)
        found = api.one(kinds.POD, "web")
        assert found is not None
        assert [c["type"] for c in found["status"]["conditions"]] == ["Ready", "example.org/gate"]
        assert found["status"]["phase"] == "Running"


async def test_what_is_passing_is_said_only_if_it_stays(autojump_clock: trio.testing.MockClock) -> None:
    async with publisher() as (api, _, made, pod):
        made.say(pod, status("Pending", message="a"), passing=True)
        await trio.sleep(PASSING_S / 2)
        made.say(pod, status("Running"))
        await trio.sleep(5)
        assert written(api) == 1
        made.say(pod, status("Running", message="slow"), passing=True)
        await trio.sleep(PASSING_S * 2)
        assert written(api) == 2


async def test_what_cannot_be_said_is_said_later(autojump_clock: trio.testing.MockClock) -> None:
    async with publisher() as (api, _, made, pod):
        refusals = [errors.ServiceUnavailable("not now") for _ in range(5)]

        def refuse(verb: str, kind: Kind, obj: Object) -> None:
            if refusals:
                raise refusals.pop()

        api.before_write = refuse
        made.say(pod, status("Failed"), finish=True)
        await trio.sleep(5)
        assert api.one(kinds.POD, "web") is None


def away(verb: str, kind: Kind, obj: Object) -> None:
    raise Disconnected("nobody answers")


async def test_however_long_the_server_was_away_it_hears_the_newest_word_soon_after(autojump_clock: trio.testing.MockClock) -> None:
    async with publisher() as (api, _, made, pod):
        api.before_write = away
        for number in range(3600):
            made.say(pod, status("Running", message=str(number)))
            await trio.sleep(1)
        api.before_write = None
        await trio.sleep(5)
        found = api.one(kinds.POD, "web")
        assert found is not None
        assert found["status"]["message"] == "3599"
        assert written(api) == 1
