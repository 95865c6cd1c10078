"""The pods' interfaces on this node: routed veth pairs, no bridge.

A pod has ``eth0`` with its address as a /32 and one route to everything by way of 169.254.1.1, a neighbour that exists only as a permanent entry
pointing at the host's end of the pair. The host has one route per pod. Neither side ever asks by ARP, nothing depends on bridge netfilter, and a pod
reaches itself and its neighbours through Services as it reaches anyone.

Interfaces live as long as their namespace, and so does what we remember of them: one small file per pod below /run, never on the disk.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, ip_network
from pathlib import Path

import attrs
import orjson
import trio

from edgek.cni.ipam import Pool
from edgek.cni.mappings import HostPort, Mappings
from edgek.host import files, netlink
from edgek.host.worker import Worker

GATEWAY = IPv4Address("169.254.1.1")
EVERYWHERE = ip_network("0.0.0.0/0")
HOST_MAC = "ee:ee:ee:ee:ee:ee"  # of every host end: each pair is a link of its own
LOOPBACK_INDEX = 1
NAME_BYTES = 11  # of hash; a name of an interface has at most 15 characters


class NotReady(Exception):
    """The node has no pod range yet: the API server has not been asked, or has not answered."""


@attrs.frozen
class Attachment:
    """What we know of one pod's interface."""

    container_id: str
    netns: str
    interface: str
    address: IPv4Address
    host_interface: str
    mac: str
    ports: tuple[HostPort, ...] = ()
    pod: str = ""  # its uid, where the runtime says it


class PodNetwork:
    """``state_dir`` is on /run. Give it the pod range before it can attach anything."""

    def __init__(self, state_dir: Path, mtu: int = 1500, worker: Worker | None = None) -> None:
        self.mappings = Mappings()
        self._state = state_dir
        self._mtu = mtu
        self._worker = worker or Worker(2)
        self._pool: Pool | None = None
        self._attachments: dict[str, Attachment] = {}
        self._expected: dict[str, IPv4Address] = {}
        self.ranged = trio.Event()  # there is a pod range
        self._load()

    @property
    def gateway(self) -> IPv4Address | None:
        """The node's own address towards its pods."""
        return self._pool.gateway if self._pool else None

    def use(self, pod_range: str, mtu: int) -> None:
        """Hand out addresses of this range from now on. May be called again."""
        network = IPv4Network(pod_range)
        self._mtu = mtu
        if self._pool is None or self._pool.network != network:
            self._pool = Pool(network, {each.container_id: each.address for each in self._attachments.values()})
            self.ranged.set()
            self._pool.expect({each.pod: each.address for each in self._attachments.values() if each.pod} | self._expected)

    def expect(self, addresses: Mapping[str, IPv4Address]) -> None:
        """Pods, by their uids, that are about to be started and had these addresses before."""
        self._expected |= addresses
        if self._pool is not None:
            self._pool.expect(addresses)

    def attachments(self) -> Sequence[Attachment]:
        return list(self._attachments.values())

    async def attach(self, container_id: str, netns: str, interface: str, ports: Sequence[HostPort] = (), pod: str = "") -> Attachment:
        """Give the namespace its interface. Raises NotReady, NoAddressLeft, OSError; after a failure nothing is left."""
        if self._pool is None:
            raise NotReady("this node has no pod range yet; the pod is tried again")
        address = self._pool.take(container_id, pod)
        mac = f"0a:58:{address.packed.hex(':')}"
        attachment = Attachment(container_id, netns, interface, address, host_name(container_id), mac, tuple(ports), pod)
        try:
            await self._worker.run(_connect, attachment, self._mtu, self._pool.gateway)
        except OSError:
            self._pool.free(container_id)
            raise
        self._attachments[container_id] = attachment
        files.write_atomically(self._state / container_id, _encode(attachment))  # tmpfs: microseconds
        if ports:
            self._tell()
        return attachment

    async def detach(self, container_id: str) -> None:
        """Forget it. The interface goes with its namespace (removing it by hand would hold us up for 20 ms). May be called again."""
        await trio.lowlevel.checkpoint()
        former = self._attachments.pop(container_id, None)
        if self._pool is not None:
            self._pool.free(container_id)
        (self._state / container_id).unlink(missing_ok=True)
        if former is not None and former.ports:
            self._tell()

    async def check(self, container_id: str) -> Attachment:
        """Raises OSError when the interface is not as it was made."""
        attachment = self._attachments.get(container_id)
        if attachment is None:
            raise OSError(errno.ENODEV, f"container {container_id} has no interface of ours")
        await self._worker.run(_verify, attachment)
        return attachment

    def mend(self, kernel: netlink.Socket, routes: Sequence[netlink.Route]) -> None:
        """Put routes to pods back that went with the node's own address, which is their source. Blocks; raises OSError."""
        there = {route.destination for route in routes}
        for attachment in self.attachments():
            link = kernel.link(attachment.host_interface) if ip_network(f"{attachment.address}/32") not in there else None
            if link is not None and self._pool is not None:
                kernel.run(*_host_side(attachment, link, self._pool.gateway))

    async def loopback(self, netns: str) -> None:
        await self._worker.run(_loopback, netns)

    def _tell(self) -> None:
        self.mappings.replace({each.address: each.ports for each in self._attachments.values() if each.ports})

    def _load(self) -> None:
        """What an earlier run of ours attached; of namespaces that are gone, nothing."""
        self._state.mkdir(parents=True, exist_ok=True, mode=0o700)
        for file in self._state.iterdir():
            attachment = _decode(file.read_bytes()) if not file.name.startswith(".") else None
            if attachment is not None and Path(attachment.netns).exists():
                self._attachments[attachment.container_id] = attachment
            else:
                file.unlink()
        self._tell()


def host_name(container_id: str) -> str:
    return f"ek{hashlib.sha256(container_id.encode()).hexdigest()[:NAME_BYTES]}"


def _connect(attachment: Attachment, mtu: int, source: IPv4Address) -> None:
    """In a worker thread."""
    namespace = os.open(attachment.netns, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with netlink.open_socket() as host:
            _add_pair(host, attachment, mtu, namespace)
            try:
                with netlink.open_socket(attachment.netns) as pod:
                    _set_up_pod(pod, attachment)
                _set_up_host(host, attachment, source)
            except OSError:
                host.run(netlink.delete_link(attachment.host_interface))
                raise
    finally:
        os.close(namespace)


def _add_pair(host: netlink.Socket, attachment: Attachment, mtu: int, namespace: int) -> None:
    name, inside = attachment.host_interface, attachment.interface
    request = netlink.add_veth(name, HOST_MAC, mtu, inside, attachment.mac, namespace)
    try:
        host.run(request)
    except netlink.NetlinkError as error:
        if error.errno != errno.EEXIST:
            raise
        # An earlier attempt for this container got this far and nobody heard of its end.
        host.run(netlink.delete_link(name))
        host.run(request)


def _set_up_pod(pod: netlink.Socket, attachment: Attachment) -> None:
    link = _found(pod, attachment.interface)
    pod.run(
        netlink.set_up(LOOPBACK_INDEX),
        netlink.add_address(link.index, attachment.address, 32),
        netlink.set_up(link.index),
        netlink.set_neighbour(link.index, GATEWAY, HOST_MAC),
        netlink.set_route(ip_network(f"{GATEWAY}/32"), link.index),
        netlink.set_route(EVERYWHERE, link.index, gateway=GATEWAY),
    )


def _set_up_host(host: netlink.Socket, attachment: Attachment, source: IPv4Address) -> None:
    if any(port.host_ip in ("", "127.0.0.1") for port in attachment.ports):
        # Or what the node sends to 127.0.0.1:<host port> could not go out there. The Service proxy's table keeps everybody else from using it.
        (Path("/proc/sys/net/ipv4/conf") / attachment.host_interface / "route_localnet").write_text("1")
    host.run(*_host_side(attachment, _found(host, attachment.host_interface), source))


def _host_side(attachment: Attachment, link: netlink.Link, source: IPv4Address) -> Sequence[netlink.Request]:
    return (
        netlink.set_neighbour(link.index, attachment.address, attachment.mac),
        netlink.set_route(ip_network(f"{attachment.address}/32"), link.index, source=source),
    )


def _verify(attachment: Attachment) -> None:
    with netlink.open_socket(attachment.netns) as pod:
        link = _found(pod, attachment.interface)
        if not link.up or (link.index, attachment.address) not in pod.addresses():
            raise OSError(errno.EADDRNOTAVAIL, f"{attachment.interface} of {attachment.container_id} is down or has lost {attachment.address}")
    with netlink.open_socket() as host:
        _found(host, attachment.host_interface)


def _loopback(netns: str) -> None:
    with netlink.open_socket(netns) as pod:
        pod.run(netlink.set_up(LOOPBACK_INDEX))


def _found(where: netlink.Socket, name: str) -> netlink.Link:
    link = where.link(name)
    if link is None:
        raise OSError(errno.ENODEV, f"the interface {name} is gone")
    return link


def _encode(attachment: Attachment) -> bytes:
    return orjson.dumps(attrs.asdict(attachment), default=str)


def _decode(raw: bytes) -> Attachment | None:
    """None for a file that a power cut, or a stranger, left."""
    try:
        values = orjson.loads(raw)
        ports = tuple(HostPort(**port) for port in values.pop("ports"))
        return Attachment(**{**values, "address": IPv4Address(values["address"])}, ports=ports)
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return None
