"""A node that boots without its server, and hears of it again: on a virtual clock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import attrs
import trio
import trio.testing

from edgek.agent.kubelet.loop import OFFLINE_AFTER_S, Kubelet
from edgek.client.client import Client
from edgek.client.transport import Disconnected, Request, Response, StreamResponse
from edgek.model import kinds, objects
from tests.agent.kubelet.scene import Node, container, fresh_kubelet, node, pod
from tests.fakes.api import FakeApi


class Line:
    """The way to the server, cut until it is mended."""

    def __init__(self, api: FakeApi) -> None:
        self._api = api
        self.cut = True

    async def request(self, request: Request) -> Response:
        if self.cut:
            raise Disconnected("no route to host")
        return await self._api.request(request)

    def stream(self, request: Request) -> AbstractAsyncContextManager[StreamResponse]:
        return self._api.stream(request)


@attrs.define
class Alone:
    line: Line
    kubelet: Kubelet
    expected: dict[str, str]


@asynccontextmanager
async def booting(here: Node, folder: Path, *, taken: bool = False) -> AsyncIterator[Alone]:
    """The machine starts again, and nobody answers; or ``taken``: another machine is this node, as the server says."""
    here.die()
    await here.settle()
    here.runtime.reboot()
    line = Line(here.api)
    kubelet = fresh_kubelet(folder, Client(line), here.runtime, here.mounter)
    made = Alone(line, kubelet, {})
    kubelet.expect = made.expected.update
    kubelet.is_taken = lambda: taken
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kubelet.recorder.run)
        await nursery.start(kubelet.run)
        await here.settle(OFFLINE_AFTER_S + 5)
        yield made
        nursery.cancel_scope.cancel()


async def ids(here: Node) -> dict[str, str]:
    return {each.labels["io.kubernetes.pod.name"]: each.id for each in await here.containers() if each.state == "running"}


async def test_pods_run_again_with_the_addresses_that_they_had(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        await here.create(pod("one"))
        await here.create(pod("two", hostNetwork=True))
        had = here.pod("one")["status"]["podIP"]
        async with booting(here, tmp_path) as alone:
            assert set(await ids(here)) == {"one", "two"}
            assert alone.expected[objects.uid(here.pod("one"))] == had


async def test_when_the_server_is_back_nothing_is_restarted_what_was_deleted_goes_and_what_happened_is_told(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with node(tmp_path) as here:
        for name in ("steady", "crashing", "leaving", "forgotten"):
            await here.create(pod(name))
        async with booting(here, tmp_path) as alone:
            here.runtime.end((await ids(here))["crashing"], 1)
            await here.settle(60)
            await here.client.delete(kinds.POD, "leaving", "default", grace_s=5)
            await here.client.delete(kinds.POD, "forgotten", "default", grace_s=0)
            before = await ids(here)
            assert set(before) == {"steady", "crashing", "leaving", "forgotten"}
            alone.line.cut = False
            await here.settle(30)
            assert await ids(here) == {name: before[name] for name in ("steady", "crashing")}
            assert here.gone("leaving")
            assert here.shown(name="steady")["containerID"].endswith(before["steady"])
            assert (here.shown(name="steady")["restartCount"], here.shown(name="crashing")["restartCount"]) == (1, 2)
            assert here.phase("steady") == "Running"
            started = [event for event in here.api.all(kinds.EVENT) if event["reason"] == "Started" and event["involvedObject"]["name"] == "crashing"]
            assert sum(event["count"] for event in started) == 3, "at first, after the boot, and after the crash"


async def test_hours_alone_are_told_in_a_few_words(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """A container that crashes all day is told in a few words."""
    async with node(tmp_path) as here:
        await here.create(pod("crashing", containers=[container("main", "exit", "1")]))
        async with booting(here, tmp_path) as alone:
            await here.settle(2 * 3600)
            before = len(here.api.writes)
            alone.line.cut = False
            await here.settle(30)
            assert here.shown(name="crashing")["restartCount"] > 20
            assert len(here.api.writes) - before < 30


async def test_a_copy_of_a_node_that_is_there_starts_none_of_its_pods(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        await here.create(pod("only-one", containers=[container("main")]))
        async with booting(here, tmp_path, taken=True) as copy:
            assert not [each for each in await here.runtime.containers() if each.state == "running"]
            copy.line.cut = False  # the other machine is gone
            await here.settle(30)
            assert here.phase("only-one") == "Running"
