"""Where a server is: by which address others reach it, what its certificate names, where agents find it again. It follows the machine while it runs.

A cable is moved, DHCP has another address: the API is told by its new address, and nothing is restarted. What the operator said stays as it is.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Network

import trio

from edgek.cni import uplink
from edgek.cni.uplink import Sight, Uplink, Wish
from edgek.config import Config
from edgek.host import addresses, log, netlink
from edgek.host.netlink import Link, Route
from edgek.host.netwatch import Monitor
from edgek.host.worker import Worker

SETTLE_S = 0.2  # one address goes, and the next one comes
TOLD_MOST = 8  # addresses that agents keep of a server
ANYWHERE = "0.0.0.0"

Listener = Callable[[], Awaitable[None]]


class Whereabouts:
    """``node_ip`` is this machine's address towards others; ``others`` are the further ones by which it may be reached from outside."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._wish = Wish(
            address=ipaddress.IPv4Address(config.node_ip) if "." in config.node_ip else None,
            interface=config.flannel_iface,
            avoid=(IPv4Network(config.cluster_cidr), IPv4Network(config.service_cidr)),
        )
        self._uplink: Uplink | None = None
        self.node_ip = config.node_ip or addresses.primary()
        self.others: tuple[str, ...] = ()
        self._take(*self._look())

    @property
    def advertised(self) -> str:
        """The address of the API that pods and nodes are told."""
        config = self._config
        bound = config.bind_address if config.bind_address not in (ANYWHERE, "127.0.0.1") else ""
        return config.advertise_address or bound or self.node_ip

    @property
    def servers(self) -> tuple[str, ...]:
        """URLs for agents to keep, the best first: addresses, and the names that the operator knows the server by."""
        config = self._config
        listens = self.others if config.bind_address == ANYWHERE else ()
        hosts = dict.fromkeys([self.advertised, *config.tls_san, *([self.node_ip] if listens else []), *listens])
        return tuple(f"https://{host}:{config.https_listen_port}" for host in [host for host in hosts if not host.startswith("*")][:TOLD_MOST])

    @property
    def names(self) -> list[str]:
        """Everything by which the API may be called, for its certificate."""
        config = self._config
        service_ip = str(ipaddress.ip_network(config.service_cidr)[1])
        inside = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", f"kubernetes.default.svc.{config.cluster_domain}"]
        outside = ["localhost", "127.0.0.1", config.node_name, self.node_ip, self.advertised, *config.tls_san, *self.others]
        bound = [config.bind_address] if config.bind_address != ANYWHERE else []
        return list(dict.fromkeys([*inside, service_ip, *outside, *bound]))

    async def run(self, moved: Listener, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """``moved`` is awaited whenever something is different."""
        worker = Worker(1)
        monitor = await worker.run(Monitor)
        try:
            task_status.started()
            while True:  # a first look: something may have changed before we listened
                if self._take(*await worker.run(self._look)):
                    log.info("the server has other addresses", advertised=self.advertised, others=",".join(self.others))
                    await moved()
                while not any(map(_concerns_us, await monitor.changes())):
                    continue
                await trio.sleep(SETTLE_S)
        finally:
            monitor.close()

    def _look(self) -> tuple[Uplink | None, tuple[str, ...]]:
        """Blocks for a millisecond."""
        with netlink.open_socket() as kernel:
            sight = Sight(kernel.links(), kernel.addresses(), kernel.routes())
        anywhere = uplink.outward(self._wish.avoid, sight)
        return uplink.choose(self._wish, sight, self._uplink), tuple(str(address) for address in anywhere)

    def _take(self, seen: Uplink | None, anywhere: tuple[str, ...]) -> bool:
        """Whether anything is different. A machine whose only cable is out stays where it was."""
        before = self.node_ip, self.others
        self._uplink = seen or self._uplink
        if seen is not None:
            self.node_ip = str(seen.address)
        self.others = tuple(address for address in anywhere if address != self.node_ip) if anywhere else self.others
        return (self.node_ip, self.others) != before


def _concerns_us(change: Link | Route | None) -> bool:
    """Addresses, and the default route that chooses among them. Links and routes of pods come and go."""
    return change is None or (isinstance(change, Route) and change.destination.prefixlen == 0)
