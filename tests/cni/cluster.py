"""Nodes of a pod network without containers: machines on a switch, each with a real NodeNetwork, pods as namespaces, and an API in memory."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import attrs
import trio

from edgek.client.client import STRATEGIC_MERGE_PATCH, Client
from edgek.cni.network import PodNetwork
from edgek.cni.node_network import NodeNetwork, Settings
from edgek.cni.reach import Pace
from edgek.cni.uplink import Wish
from edgek.host import netlink
from edgek.model import kinds, objects
from tests.fakes.api import FakeApi
from tests.fakes.machines import ANSWER_S, Greeter, Machine, Switch, ask, namespace
from tests.fakes.realapi import RealApi

CLUSTER, SERVICES = IPv4Network("10.42.0.0/16"), IPv4Network("10.43.0.0/16")
PATIENCE_S = 60.0
QUICK = Pace(answer_s=0.6, pause_first_s=0.1, pause_most_s=0.2, watched_s=0.3)
IP_MTU_DISCOVER, IP_PMTUDISC_DO, IP_HEADER_BYTES = 10, 2, 20


@attrs.frozen
class Pod:
    name: str
    place: Path
    address: IPv4Address


class Node:
    """Runs from ``start`` until ``stop``; what it set in the kernel stays."""

    def __init__(self, cluster: Cluster, machine: Machine, number: int, backend: str) -> None:
        self.name = machine.name
        self.machine = machine
        self.range = IPv4Network(f"10.42.{number}.0/24")
        self.pods: list[Pod] = []
        self.heard: list[str] = []
        self.wish = Wish(avoid=(CLUSTER, SERVICES))
        self.backend = backend
        self.external: IPv4Address | None = None
        self._cluster = cluster
        self._folder = cluster.folder / machine.name
        self._scope = trio.CancelScope()

    async def start(self) -> None:
        self.attached = PodNetwork(self._folder / "pods", worker=self.machine.worker)  # type: ignore[arg-type]
        own, memory = (IPv4Address("10.43.0.10"),), self._folder / "network.json"
        settings = Settings(self.name, self.backend, CLUSTER, memory, SERVICES, self.wish, own=own, external=self.external, pace=QUICK)
        api = Client(self._cluster.api)  # type: ignore[arg-type]
        self.network = NodeNetwork(settings, api, self.attached, lambda address: self.heard.append(str(address)), self.machine.worker)
        self._scope = trio.CancelScope()
        await self._cluster.nursery.start(self._run)

    async def _run(self, *, task_status: trio.TaskStatus[None]) -> None:
        with self._scope:
            await self.network.run(task_status=task_status)

    def stop(self) -> None:
        self._scope.cancel()

    async def pod(self, name: str) -> Pod:
        """One more pod, which greets on port 8080."""
        await until(lambda: self.attached.gateway is not None)
        place = self._cluster.stack.enter_context(namespace(name))
        attachment = await self.attached.attach(name, str(place), "eth0")
        pod = Pod(name, place, attachment.address)
        self._cluster.stack.enter_context(contextlib.closing(Greeter(place, name, str(pod.address))))
        self.pods.append(pod)
        return pod

    def routes(self) -> dict[str, str]:
        """Destinations of our routes, and by way of what."""
        lines = [line.split() for line in self.machine.ip("route show proto 237").splitlines()]
        return {words[0]: words[words.index("via") + 1] for words in lines if "via" in words}

    def forwardings(self) -> set[str]:
        """Machines in the forwarding table."""
        listed = self.machine.sh("bridge fdb show dev flannel.1").split()
        return {listed[at + 1] for at, word in enumerate(listed) if word == "dst"}

    def neighbours(self) -> set[str]:
        return {line.split()[0] for line in self.machine.ip("neigh show dev flannel.1 nud permanent").splitlines()}


class Cluster:
    def __init__(
        self, switch: Switch, stack: contextlib.ExitStack, nursery: trio.Nursery, folder: Path, api: FakeApi | RealApi | None = None
    ) -> None:
        self.switch = switch
        self.stack = stack
        self.nursery = nursery
        self.folder = folder
        self.api = api or FakeApi()
        self.nodes: list[Node] = []

    async def registered(self, name: str, backend: str = "vxlan") -> Node:
        """A machine with a Node object and a range, on which nothing runs yet."""
        node = Node(self, self.switch.machine(name), len(self.nodes), backend)
        self.nodes.append(node)
        (self.folder / name).mkdir()
        meta = {"name": name, "annotations": {"volumes.kubernetes.io/controller-managed-attach-detach": "true"}}  # as every kubelet has
        await self.client.create(kinds.NODE, {"metadata": meta, "spec": {"podCIDR": str(node.range), "podCIDRs": [str(node.range)]}})
        return node

    async def node(self, name: str, backend: str = "vxlan") -> Node:
        """A machine that joins."""
        node = await self.registered(name, backend)
        await node.start()
        await until(lambda: node.attached.gateway is not None and node.network.at_rest)
        return node

    @property
    def client(self) -> Client:
        return Client(self.api)  # type: ignore[arg-type]

    def annotations(self, name: str) -> dict[str, str]:
        node = self.api.one(kinds.NODE, name)
        assert node is not None
        return {key: value for key, value in node["metadata"]["annotations"].items() if key.startswith("flannel")}

    async def says(self, name: str, ready: bool) -> None:
        """What the node's kubelet would say."""
        condition = {"type": "Ready", "status": "True" if ready else "False"}
        await self.client.patch(kinds.NODE, name, {"status": {"conditions": [condition]}}, subresource="status", content_type=STRATEGIC_MERGE_PATCH)

    def condition(self, name: str) -> dict[str, str]:
        """What the node says of its network."""
        node = self.api.one(kinds.NODE, name)
        assert node is not None
        return objects.condition(node, "NetworkUnavailable") or {}

    async def joined(self) -> None:
        """Every node reaches every other."""
        ranges = {str(node.range) for node in self.nodes}
        await until(lambda: all(set(node.routes()) == ranges - {str(node.range)} for node in self.nodes))


async def until(true: Callable[[], bool]) -> None:
    with trio.fail_after(PATIENCE_S):
        while not await trio.to_thread.run_sync(true):
            await trio.sleep(0.01)


async def greeting(pod: Pod, other: Pod, *, timeout_s: float = ANSWER_S) -> str:
    return await ask(pod.place, other.address, timeout_s=timeout_s)


async def fails(pod: Pod, other: Pod) -> bool:
    try:
        await greeting(pod, other, timeout_s=1)
    except OSError:
        return True
    return False


async def all_pairs_talk(pods: list[Pod]) -> None:
    """Each pod reaches each other, which sees its own address: nothing is translated between pods."""
    for pod in pods:
        for other in pods:
            if pod is not other:
                assert await greeting(pod, other) == f"{other.name} {pod.address}", (pod.name, other.name)


async def pings(pod: Pod, address: IPv4Address, size_bytes: int) -> bool:
    """Whether one packet of that size, not to be cut on its way, is answered within a second."""

    def ping() -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as icmp:
            icmp.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
            icmp.settimeout(1)
            echo = struct.pack("!BBHHH", 8, 0, 0, 77, 1).ljust(size_bytes - IP_HEADER_BYTES, b"\0")
            words = struct.unpack(f"!{len(echo) // 2}H", echo[: len(echo) & ~1])
            total = sum(words)
            checksum = ~(total + (total >> 16)) & 0xFFFF
            try:
                icmp.sendto(echo[:2] + checksum.to_bytes(2, "big") + echo[4:], (str(address), 0))
                return len(icmp.recv(65536)) == size_bytes
            except OSError:
                return False

    return await trio.to_thread.run_sync(netlink.in_namespace, pod.place, ping)
