"""Two hundred nodes that lose their server at the same moment: real links to a real server, without machines behind them.

``EDGEK_AGENTS`` is how many.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio

from edgek import config as settings
from edgek.agent import join
from edgek.agent.link import Uplink
from edgek.client.client import Client
from edgek.client.informer import Informer
from edgek.client.link_transport import LinkTransport
from edgek.model import kinds, objects
from tests.e2e.cluster import PATIENCE, START_S, Cluster
from tests.e2e.held import Held

pytestmark = pytest.mark.node

AGENTS = int(os.environ.get("EDGEK_AGENTS", "200"))
JOINING = 8  # at the same time
BACK_S = 20.0  # on a machine that is busy with two hundred agents in one process; on a virtual clock they are held to the second
MEMORY_EACH_MB = 0.5  # of the server, for a link and what is watched over it


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    server = Cluster("--disable-agent")
    try:
        server.start()
        yield server
    finally:
        server.remove()


@attrs.define
class Agent:
    """A link, and the watches of a node."""

    uplink: Uplink
    informers: list[Informer[str]]
    ups: list[float] = attrs.field(factory=list)  # time.monotonic() of each link

    @classmethod
    async def joined(cls, server: Cluster, token: str, folder: Path, name: str) -> Agent:
        given = {"join": f"https://{server.inside_ip}:6443", "token": token, "node_name": name, "data_dir": str(folder / name)}
        (folder / "none.yaml").write_text("")
        uplink = Uplink(await join.enter(settings.load(given, {}, folder / "none.yaml", "host")))
        client = Client(LinkTransport(uplink, None), "kubelet")  # type: ignore[arg-type]
        pods = Informer(client, kinds.POD, objects.name, fields=f"spec.nodeName={name}")
        agent = cls(uplink, [pods, *(Informer(client, kind, objects.name) for kind in (kinds.SERVICE, kinds.ENDPOINT_SLICE, kinds.NODE))])
        uplink.when_up = agent._count
        return agent

    def _count(self) -> None:
        self.ups.append(time.monotonic())

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.uplink.run)
            for informer in self.informers:
                nursery.start_soon(informer.run)


@asynccontextmanager
async def crowd(server: Cluster, folder: Path) -> AsyncIterator[list[Agent]]:
    token = await trio.to_thread.run_sync(lambda: server.run("token", *server.paths()).strip())
    agents: list[Agent] = []
    limit = trio.CapacityLimiter(JOINING)

    async def add(number: int) -> None:
        async with limit:
            agents.append(await Agent.joined(server, token, folder, f"node-{number}"))

    async with trio.open_nursery() as nursery:
        for number in range(AGENTS):
            nursery.start_soon(add, number)
    async with trio.open_nursery() as nursery:
        for agent in agents:
            nursery.start_soon(agent.run)
        yield agents
        nursery.cancel_scope.cancel()


async def until_all_watch(agents: list[Agent]) -> None:
    with trio.fail_after(PATIENCE * START_S):
        while not all(agent.uplink.is_up() and agent.uplink._link.streams == len(agent.informers) for agent in agents):  # type: ignore[union-attr]
            await trio.sleep(0.1)


async def held(server: Cluster) -> Held:
    return await trio.to_thread.run_sync(Held.of, server)


async def held_again(server: Cluster, before: Held) -> Held:
    """What is closed is gone a moment later; what it holds in the end is no more than before, or it is shown as it is."""
    with trio.move_on_after(30):
        while not (found := await held(server)).no_more_than(before):
            await trio.sleep(0.5)
    return found


def ready_at(server: Cluster) -> float:
    """Start it; when it answered."""
    server.start(ready=False)
    server.until(lambda: server.kubectl("get", "--raw", "/readyz", check=False) == "ok", START_S, "the server answers")
    return time.monotonic()


async def test_two_hundred_agents_are_back_in_seconds_and_the_server_holds_what_it_held_before(server: Cluster, tmp_path: Path) -> None:
    alone = await held(server)
    async with crowd(server, tmp_path) as agents:
        await until_all_watch(agents)
        before = await held(server)
        for kind in ("stop", "kill"):
            await trio.to_thread.run_sync(getattr(server, kind))
            answered = await trio.to_thread.run_sync(ready_at, server)
            await until_all_watch(agents)
            back = sorted(agent.ups[-1] - answered for agent in agents)
            busiest = max(sum(at <= other < at + 1 for other in back) for at in back)
            after = await held_again(server, before)
            print(f"{kind}: the first link {back[0]:.1f} s after it answered, the last {back[-1]:.1f} s; {busiest} in the busiest second; {after}")
            assert back[-1] < BACK_S
            assert after.no_more_than(before)
        for agent in agents:
            agent.uplink.moved()
        await trio.sleep(0.5)
        await until_all_watch(agents)
        again = await held_again(server, after)
        assert again.no_more_than(after)
    left = await held_again(server, attrs.evolve(alone, threads=1000, memory_mb=math.inf))
    print(f"alone {alone}\nwith all of them {before}\nafter all this {again}\nalone again {left}")
    assert (before.memory_mb - alone.memory_mb) / AGENTS < MEMORY_EACH_MB
    assert sum(left.files.values()) <= sum(alone.files.values()) + 3
    assert left.connections <= alone.connections + 1
