"""The parts of an agent: a node of a cluster whose server is elsewhere. It joins, then it is a node like any other."""

from __future__ import annotations

from collections.abc import Iterator

import trio

from edgek.agent import join
from edgek.agent.link import Uplink
from edgek.client.client import Client
from edgek.client.https import HttpsTransport
from edgek.client.link_transport import LinkTransport
from edgek.config import Config
from edgek.host import addresses, service
from edgek.host.service import Service
from edgek.roles import anew
from edgek.roles.agent import Agent


class Member:
    """Which parts run is known once the node has joined, so all of them stand below one service. ``make`` makes the node that it is then."""

    def __init__(self, config: Config, make: type[Agent] = Agent) -> None:
        self.config = config
        self._make = make

    def services(self) -> Iterator[Service]:
        yield Service("agent", self.run)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        node_ip = self.config.node_ip or addresses.primary()
        membership = await join.enter(self.config)
        anew.lighten()
        uplink = Uplink(membership)
        membership.linked = uplink.is_up
        direct = HttpsTransport(membership.choice)
        transport = LinkTransport(uplink, direct)

        def client(name: str) -> Client:
            return Client(transport, name)

        agent = self._make(membership.config, node_ip, client, uplink.open_door, may_be_alone=True)
        agent.moved, agent.is_taken = uplink.moved, uplink.is_taken

        def linked() -> None:
            direct.hang_up()  # one connection is enough
            agent.report()

        uplink.when_up = linked
        services = [Service("membership", membership.run), Service("link", uplink.run), *agent.services()]
        try:
            await service.run(services, task_status=task_status)
        finally:
            direct.close()
