"""A node's link to its server, over real TLS: where it is dialled, what the server says of itself, and what is left when it breaks again and again."""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import ssl
import struct
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing

from edgek.agent import join
from edgek.agent.link import Uplink
from edgek.agent.membership import Folder, Membership
from edgek.client.client import Client
from edgek.client.https import HttpsTransport
from edgek.client.informer import Informer
from edgek.client.joining import LINK_PATH, RENEW_PATH, Cluster
from edgek.client.link_calls import BrokenOff
from edgek.client.link_transport import LinkTransport
from edgek.client.node import ContainerRef, LogOptions
from edgek.client.transport import Disconnected
from edgek.host import pki, wallclock
from edgek.model import errors, kinds, objects
from edgek.server.api.streams.doors import Doors
from edgek.server.api.streams.link import Links
from tests.fakes.entrance import Joinable, joinable
from tests.fakes.hurry import Hurry

DEAD, ELSEWHERE = "https://127.0.0.1:1", "https://192.0.2.9:6443"


@attrs.define
class Site:
    """A server that takes links; ``servers`` is what it says of where it is."""

    server: Joinable
    links: Links
    doors: Doors
    servers: list[str]


@pytest.fixture
def hurry() -> Hurry:
    return Hurry(40)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with joinable(tmp_path) as server:
        servers = [f"https://127.0.0.1:{server.port}"]
        doors = Doors()
        links = Links(server.api, doors, server.entrance.node_of, lambda: tuple(servers))
        server.entrance.add(LINK_PATH, links)
        yield Site(server, links, doors, servers)


@asynccontextmanager
async def linked(membership: Membership) -> AsyncIterator[None]:
    uplink = Uplink(membership)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            await nursery.start(uplink.run)
            assert await uplink.current() is not None
            yield
            nursery.cancel_scope.cancel()


def kept(membership: Membership) -> tuple[str, ...]:
    return Cluster.decode(membership.folder.cluster.read_bytes()).servers


async def test_what_a_server_says_of_itself_at_the_door_is_kept(site: Site) -> None:
    site.servers.append(ELSEWHERE)
    membership = await join.enter(site.server.config())
    async with linked(membership):
        assert kept(membership) == membership.cluster.servers == tuple(site.servers)


async def test_a_linked_node_is_told_where_its_server_is_now(site: Site) -> None:
    membership = await join.enter(site.server.config())
    async with linked(membership):
        site.servers.append(ELSEWHERE)
        await site.links.tell_servers()
        assert kept(membership) == membership.cluster.servers == tuple(site.servers)
        assert len(membership.choice) == 2


async def test_all_addresses_are_tried_in_one_go(site: Site) -> None:
    membership = await join.enter(site.server.config())
    membership.learn(attrs.evolve(membership.cluster, servers=(DEAD, DEAD.replace(":1", ":2"), *site.servers)))
    again = await join.enter(site.server.config(join="", token=""))
    assert str(again.choice.current) in DEAD
    async with linked(again):
        assert f"https://{again.choice.current}" == site.servers[0]


async def test_a_server_that_says_nothing_of_itself_takes_nothing_away(site: Site) -> None:
    membership = await join.enter(site.server.config())
    before = membership.cluster.servers
    site.servers.clear()
    async with linked(membership):
        await site.links.tell_servers()
        assert membership.cluster.servers == before
        assert Folder(site.server.config().agent_dir).cluster.exists()


async def test_a_link_ends_with_the_certificate_behind_it_and_is_dialled_again_with_the_new_one(
    site: Site, monkeypatch: pytest.MonkeyPatch, hurry: Hurry, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as short:
        short.setattr(pki, "LEAF_DAYS", 1)
        membership = await join.enter(site.server.config())
    first = membership.folder.client.read_bytes()
    uplink = Uplink(membership)
    ups = 0

    def count() -> None:
        nonlocal ups
        ups += 1

    uplink.when_up = count
    former = wallclock.use(time.time)
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(uplink.run)
            assert await uplink.current(patient=True) is not None
            await membership.renew()
            assert membership.folder.client.read_bytes() != first
            await trio.sleep(60)
            assert (ups, uplink.is_up()) == (1, True), "an open link stays as it is"
            wallclock.use(lambda: time.time() + 2 * pki.DAY_S)
            with trio.fail_after(600):
                while ups == 1:
                    await trio.sleep(1)
            await trio.sleep(60)
            assert (ups, uplink.is_up()) == (2, True)
            nursery.cancel_scope.cancel()
    finally:
        wallclock.use(former)
    assert "the certificate of the other end was good until" in capsys.readouterr().err


@attrs.define
class Doubting:
    """Stands for the membership."""

    doubts: int = 0

    def doubted(self) -> None:
        self.doubts += 1


def alert() -> ssl.SSLError:
    found = ssl.SSLError(1, "[SSL: SSLV3_ALERT_CERTIFICATE_EXPIRED] sslv3 alert certificate expired (_ssl.c:2580)")
    found.reason = "SSLV3_ALERT_CERTIFICATE_EXPIRED"
    return found


@pytest.mark.parametrize(
    ("hang_ups", "doubts"),
    [
        ([ConnectionResetError("reset")] * 2, 0),
        ([ConnectionResetError("reset")] * 3, 1),
        ([alert()], 1),
        ([trio.TooSlowError(), BrokenOff("no answer")], 0),
    ],
)
def test_a_server_that_hangs_up_has_to_say_so_or_to_do_it_again_before_the_certificate_is_doubted(hang_ups: list[Exception], doubts: int) -> None:
    """For a new one costs both ends a library of 12 MB, and a way that flaps hangs up all the time."""
    membership = Doubting()
    uplink = Uplink(membership)  # type: ignore[arg-type]
    for each in hang_ups:
        uplink._wonder(each)
    assert membership.doubts == doubts


@pytest.mark.parametrize("way", ["link", "https"])
async def test_a_server_that_stops_in_good_order_leaves_watches_where_its_next_life_begins(tmp_path: Path, way: str) -> None:
    async with trio.open_nursery() as nursery:
        async with joinable(tmp_path) as server:
            server.entrance.add(LINK_PATH, Links(server.api, Doors(), server.entrance.node_of, lambda: (f"https://127.0.0.1:{server.port}",)))
            membership = await join.enter(server.config())
            uplink = Uplink(membership)
            transport = LinkTransport(uplink, None) if way == "link" else HttpsTransport(membership.choice)  # type: ignore[arg-type]
            if way == "link":
                nursery.start_soon(uplink.run)
            informer = Informer(Client(transport), kinds.SERVICE, objects.name)
            await nursery.start(informer.run)
            await server.client.create(kinds.NAMESPACE, {"metadata": {"name": "of-no-concern"}})
            last = objects.revision((await server.client.list(kinds.NAMESPACE)).items[-1])
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert int(informer.revision) < int(last), "it was told nothing: it watches something else"
        with trio.fail_after(20):
            await informer.until_at(last)
        nursery.cancel_scope.cancel()


async def test_a_node_that_was_forgotten_asks_for_nothing_more_and_knocks_calmly(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    membership = await join.enter(site.server.config())
    await site.server.client.delete(kinds.SECRET, "far.node-password.edgek", "kube-system")
    uplink = Uplink(membership)
    transport = LinkTransport(uplink, HttpsTransport(membership.choice))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(uplink.run)
        with trio.fail_after(5):
            while not membership.config.refusal_file.exists():
                await trio.sleep(0.01)
        with pytest.raises(Disconnected, match="was forgotten"):
            await Client(transport).list(kinds.SERVICE)
        before = len(site.server.heard)
        await trio.sleep(2)
        assert len(site.server.heard) == before
        nursery.cancel_scope.cancel()
    assert "start the agent with --token" in membership.config.refusal_file.read_text()
    assert capsys.readouterr().err.count("error no link to the server") == 1


# Flapping.


class Door:
    """Of a node that logs for ever."""

    async def logs(self, ref: ContainerRef, options: LogOptions) -> AsyncIterator[bytes]:
        while True:
            yield b"a line\n"
            await trio.sleep(0.5)


@attrs.frozen
class Held:
    """What this process holds, and with it both ends: the server's and the node's."""

    files: int
    sockets: int
    threads: int
    tasks: int
    streams: int
    memory_kb: int

    @classmethod
    def now(cls, site: Site, uplink: Uplink) -> Held:
        gc.collect()
        names = [os.readlink(each) for each in map(str, Path("/proc/self/fd").iterdir()) if os.path.islink(each)]
        ours, theirs = uplink._link, site.links._links.get("far")
        links = [each for each in (ours, theirs and theirs.link) if each is not None]
        return cls(
            len(names),
            sum(name.startswith("socket:") for name in names),
            threading.active_count(),
            trio.lowlevel.current_statistics().tasks_living,
            sum(link.streams for link in links),
            int(Path("/proc/self/statm").read_text().split()[1]) * 4,
        )

    def is_of(self, before: Held) -> bool:
        """Threads that look names up come and go: they end when they are idle."""
        return self.threads <= before.threads and attrs.evolve(self, memory_kb=0, threads=0) == attrs.evolve(before, memory_kb=0, threads=0)


def reset_by_node(site: Site, uplink: Uplink) -> None:
    """As when its machine is cut off: the server is told nothing but a reset."""
    assert uplink._link is not None
    sock = uplink._link._channel._sock  # type: ignore[attr-defined]
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.shutdown(socket.SHUT_RDWR)


def ended_by_server(site: Site, uplink: Uplink) -> None:
    site.links.end("far", "a flap")


def ended_by_node(site: Site, uplink: Uplink) -> None:
    uplink.moved()


FLAPS = (reset_by_node, ended_by_server, ended_by_node)


async def test_two_hundred_flaps_leave_nothing_on_either_end(site: Site, hurry: Hurry) -> None:
    """With a watch of the node, and a log that somebody reads, over each of the links."""
    uplink = Uplink(await join.enter(site.server.config()))
    uplink.open_door("far", Door())  # type: ignore[arg-type]
    informer = Informer(Client(LinkTransport(uplink, None)), kinds.SERVICE, objects.name)  # type: ignore[arg-type]
    read = 0

    async def follow() -> None:
        nonlocal read
        while True:
            with contextlib.suppress(errors.ServiceUnavailable):
                async with contextlib.aclosing(site.doors.door("far").logs(ContainerRef("n", "p", "u", "c"), LogOptions())) as lines:
                    async for _ in lines:
                        read += 1
            await trio.sleep(0.05)

    async def settled() -> Held:
        with trio.fail_after(3000):
            seen = read
            while not uplink.is_up() or read == seen:
                await trio.sleep(0.2)
            await trio.sleep(20)  # pauses before another watch are over
        return Held.now(site, uplink)

    async def settled_as(before: Held) -> Held:
        with trio.move_on_after(3000):
            while not (after := await settled()).is_of(before):
                await trio.sleep(1)
        return after

    async def flap(times: int) -> None:
        for number in range(times):
            await uplink.current(patient=True)
            await trio.sleep(number % 7 * 0.1)
            if uplink.is_up():
                FLAPS[number % 3](site, uplink)
                while uplink.is_up():
                    await trio.sleep(0.05)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(uplink.run)
        await nursery.start(informer.run)
        nursery.start_soon(follow)
        await flap(20)
        before, dialled = await settled(), len(site.server.heard)
        await flap(200)
        after = await settled_as(before)
        print(f"before {before}\nafter  {after}")
        assert len(site.server.heard) - dialled >= 200
        assert not [request for request in site.server.heard if request.path == RENEW_PATH]
        assert after.is_of(before)
        assert after.memory_kb - before.memory_kb < 3000
        nursery.cancel_scope.cancel()
