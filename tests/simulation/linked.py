"""The real link, both its ends, in a simulated cluster: connections are in memory, everything above them is what runs on machines.

A ``LinkedWire`` is a node's way to the API, like a ``Wire``, but what is cut and mended is the cable below it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio

from edgek.agent.link import Uplink
from edgek.client.https import CONNECT_S, Choice
from edgek.client.joining import LINK_PATH, Cluster
from edgek.client.link_transport import LinkTransport
from edgek.client.transport import Disconnected, Request, Response, StreamResponse
from edgek.model import errors
from edgek.server.api import responses
from edgek.server.api.http import Peer
from edgek.server.api.identity import User
from edgek.server.api.responses import Answer, Upgrade
from edgek.server.api.streams.doors import Doors
from edgek.server.api.streams.link import Links
from tests.fakes.cable import End, Way
from tests.simulation import machine
from tests.simulation.cluster import SimulatedCluster
from tests.simulation.machine import SimulatedNode
from tests.simulation.wire import Asked, Exchange

CLUSTER = Cluster((), "10.52.0.0/16", "10.53.0.0/16", "10.53.0.10", "example.internal", "none")


@attrs.frozen
class Dialled:
    at: float  # trio.current_time()
    who: str
    taken: bool  # or there was nobody


class Site:
    """A server's end of links. While it does not ``listen``, who dials is refused."""

    def __init__(self, nursery: trio.Nursery, exchange: Exchange | None = None) -> None:
        self._nursery = nursery
        self._exchange = exchange
        self.dials: list[Dialled] = []
        self.listens = True
        self.doors = Doors()
        self.links = Links(self, self.doors, lambda request, peer: peer.address, tuple)  # type: ignore[arg-type]

    async def handle_as(self, request: Request, user: User) -> Answer:
        assert self._exchange is not None, "nobody asks anything here"
        watches = request.arg("watch") == "true"
        self._exchange.asked.append(Asked(trio.current_time(), user.name, request.method, request.path, watches))
        return await self._exchange.api.handle_as(request, user)

    async def dial(self, way: Way, who: str) -> End:
        self.dials.append(Dialled(trio.current_time(), who, self.listens and way.up))
        with trio.move_on_after(CONNECT_S) as waited:
            await way.until_up()
            await trio.sleep(2 * way.delay_s)
        if waited.cancelled_caught:
            raise Disconnected("no answer")
        if not self.listens:
            raise Disconnected("connection refused")
        near, far = way.connect()
        self._nursery.start_soon(self._accept, far, who)
        return near

    async def _accept(self, channel: End, who: str) -> None:
        read = b""
        while b"\r\n\r\n" not in read:
            more = await channel.receive_some()
            if not more:
                channel.close()
                return
            read += more
        head, _, leftover = read.partition(b"\r\n\r\n")
        channel.push_back(leftover)
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
        try:
            answer = await self.links(Request("GET", LINK_PATH, headers=headers), Peer(who))
            assert isinstance(answer, Upgrade)
            await answer.run(channel)  # type: ignore[arg-type]
        except errors.ApiError as exc:
            body = responses.error(exc).body
            await channel.send_all(f"HTTP/1.1 {exc.code} Refused\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
        except trio.BrokenResourceError:
            channel.close()


@attrs.frozen
class _Server:
    """For a Choice."""

    site: Site
    way: Way
    who: str

    async def dial(self) -> End:
        return await self.site.dial(self.way, self.who)


class _Member:
    """As ``agent.join.Membership``, with nothing on a disk."""

    def __init__(self, server: _Server) -> None:
        self.choice = Choice(server)  # type: ignore[arg-type]
        self.cluster = CLUSTER
        self.refusal = ""

    def learn(self, cluster: Cluster) -> None:
        pass

    def learn_authorities(self, told: str) -> None:
        pass

    def doubted(self) -> None:
        pass

    def note_refusal(self, why: str) -> None:
        self.refusal = why


class _NoOtherWay:
    async def request(self, request: Request) -> Response:
        raise AssertionError(f"{request.path} was asked beside the link")

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[StreamResponse]:
        raise AssertionError(f"{request.path} was asked beside the link")
        yield


class LinkedWire(LinkTransport):
    def __init__(self, site: Site, nursery: trio.Nursery, who: str, delay_s: float = 0.0) -> None:
        self._site, self._who = site, who
        self.way = Way(nursery, delay_s)
        self.member = _Member(_Server(site, self.way, who))
        self.uplink = Uplink(self.member)  # type: ignore[arg-type]
        super().__init__(self.uplink, _NoOtherWay())
        nursery.start_soon(self.uplink.run)

    def cut(self) -> None:
        """Nothing comes through any more, and nobody is told."""
        self.way.cut()

    def mend(self) -> None:
        self.way.mend()

    def leave(self, nursery: trio.Nursery, delay_s: float = 0.0) -> None:
        """For another network: what was sent from the former address arrives nowhere, and the server is told nothing."""
        self.way.cut()
        self.way = Way(nursery, delay_s)
        self.member.choice = Choice(_Server(self._site, self.way, self._who))  # type: ignore[arg-type]


async def add_node(cluster: SimulatedCluster, site: Site, name: str, delay_s: float = 0.0) -> SimulatedNode:
    """A node that is linked as real ones are."""
    node = machine.open_node(name, len(cluster.nodes) + 1, cluster.folder, cluster.nursery, cluster.exchange)
    wire = LinkedWire(site, cluster.nursery, name, delay_s)
    node.wire = wire  # type: ignore[assignment]

    def linked() -> None:
        if node.keeper is not None:
            node.keeper.wake()

    wire.uplink.when_up = linked
    cluster.nodes[name] = node
    await node.boot(cluster.nursery)
    return node
