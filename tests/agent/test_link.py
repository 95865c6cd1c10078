"""A node's link to its server, over real TLS: where it is dialled, and what the server says of itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio

from edgek.agent import join
from edgek.agent.join import Folder, Membership
from edgek.agent.link import Uplink
from edgek.client.joining import LINK_PATH, Cluster
from edgek.server.api.streams.doors import Doors
from edgek.server.api.streams.link import Links
from tests.fakes.entrance import Joinable, joinable

DEAD, ELSEWHERE = "https://127.0.0.1:1", "https://192.0.2.9:6443"


@attrs.define
class Site:
    """A server that takes links; ``servers`` is what it says of where it is."""

    server: Joinable
    links: Links
    servers: list[str]


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with joinable(tmp_path) as server:
        servers = [f"https://127.0.0.1:{server.port}"]
        links = Links(server.api, Doors(), server.entrance.node_of, lambda: tuple(servers))
        server.entrance.add(LINK_PATH, links)
        yield Site(server, links, servers)


@asynccontextmanager
async def linked(membership: Membership) -> AsyncIterator[None]:
    uplink = Uplink(membership)
    with trio.fail_after(10):
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
