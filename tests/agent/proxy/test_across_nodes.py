"""Services whose endpoints are on other nodes: three nodes with a pod network and a proxy each, and a client outside."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
import trio

from edgek.agent.proxy.loop import Proxy, Settings
from edgek.client import services
from edgek.client.informer import Informers
from edgek.model import kinds
from tests.cni.cluster import Cluster, Node, until
from tests.fakes.machines import GATEWAY, Echo, Greeter, ask, ask_by_udp, open_switch

pytestmark = pytest.mark.root

SERVICE_IP, NODE_PORT = "10.43.0.7", 30080


class World:
    """Each node has one pod; the Service's endpoints are what ``endpoints`` says."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.proxies: list[Proxy] = []

    async def proxy(self, node: Node) -> None:
        informers = Informers(self.cluster.client)
        known, slices = informers.of(kinds.SERVICE, services.service), informers.of(kinds.ENDPOINT_SLICE, services.slice_)
        proxy = Proxy(Settings(node.name, "10.42.0.0/16"), known, slices, worker=node.machine.worker)
        self.cluster.nursery.start_soon(informers.run)
        await self.cluster.nursery.start(proxy.run)
        self.proxies.append(proxy)

    async def service(self, **spec: Any) -> None:
        spec = {"clusterIP": SERVICE_IP, "ports": [{"port": 80, "name": "http", "nodePort": NODE_PORT}], "type": "NodePort", **spec}
        meta = {"name": "web", "namespace": "default"}
        await self.cluster.client.create(kinds.SERVICE, {"metadata": meta, "spec": spec}, "default")

    async def endpoints(self, *found: tuple[Node, str | IPv4Address]) -> None:
        listed = [{"addresses": [str(address)], "nodeName": node.name, "conditions": {"ready": True}} for node, address in found]
        meta = {"name": "web-x", "namespace": "default", "labels": {services.SERVICE_NAME: "web"}}
        ports = [{"name": "http", "port": 8080}, {"name": "udp", "port": 8080, "protocol": "UDP"}]
        slice_ = {"metadata": meta, "addressType": "IPv4", "ports": ports, "endpoints": listed}
        await self.cluster.client.create(kinds.ENDPOINT_SLICE, slice_, "default")
        rules = [node.machine for node in self.cluster.nodes]
        await until(
            lambda: all("endpoints" in each.sh("nft list table ip edgek") and SERVICE_IP in each.sh("nft list table ip edgek") for each in rules)
        )
        await until(lambda: all(proxy.at_rest for proxy in self.proxies))


@pytest.fixture(params=["vxlan", "host-gw"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    with open_switch() as switch, contextlib.ExitStack() as stack:
        async with trio.open_nursery() as nursery:
            cluster = Cluster(switch, stack, nursery, tmp_path)
            world = World(cluster)
            for name in ("one", "two", "three"):
                node = await cluster.node(name, request.param)
                await node.pod(f"pod-{name}")
                await world.proxy(node)
            await cluster.joined()
            yield world
            nursery.cancel_scope.cancel()


async def test_a_service_is_reached_from_pods_hosts_and_outside_wherever_its_endpoint_is(world: World) -> None:
    one, two, three = world.cluster.nodes
    await world.service()
    await world.endpoints((two, two.pods[0].address))
    assert await ask(one.pods[0].place, SERVICE_IP, 80) == f"pod-two {one.pods[0].address}"  # from pod to pod nothing is hidden
    for node in (one, two, three):
        assert (await ask(node.machine.place, SERVICE_IP, 80)).startswith("pod-two ")
        assert (await ask(world.cluster.switch.place, node.machine.address, NODE_PORT)).startswith("pod-two ")
        assert (await ask(three.pods[0].place, node.machine.address, NODE_PORT)).startswith("pod-two ")


async def test_one_port_of_a_service_carries_tcp_and_udp(world: World) -> None:
    one, two, three = world.cluster.nodes
    http, udp = {"port": 80, "name": "http", "nodePort": NODE_PORT}, {"port": 80, "name": "udp", "protocol": "UDP", "nodePort": NODE_PORT}
    pod = two.pods[0]
    await world.service(ports=[http, udp])
    await world.endpoints((two, pod.address))
    with contextlib.closing(Echo(pod.place, "echo", str(pod.address))):
        for node in (one, two, three):
            for place in (node.pods[0].place, node.machine.place):
                assert (await ask(place, SERVICE_IP, 80)).startswith("pod-two ")
                assert (await ask_by_udp(place, SERVICE_IP, 80)).startswith("echo ")
                assert (await ask_by_udp(place, three.machine.address, NODE_PORT)).startswith("echo ")


async def test_what_comes_out_of_the_tunnel_can_be_answered_through_it(world: World) -> None:
    """A host's own packets to a pod elsewhere come from the pod network, or answers would go by another way, which routers and filters refuse."""
    one, two, _ = world.cluster.nodes
    await world.service()
    await world.endpoints((two, two.pods[0].address))
    for each in world.cluster.nodes:
        each.machine.sh("sysctl -qw net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.default.rp_filter=1")
    seen_from = {"vxlan": str(one.range.network_address), "host-gw": one.machine.address}[one.backend]
    assert await ask(one.machine.place, SERVICE_IP, 80) == f"pod-two {seen_from}"
    assert (await ask(one.machine.place, two.pods[0].address)).startswith("pod-two ")


async def test_with_the_policy_local_the_client_is_seen_and_other_nodes_are_silent(world: World) -> None:
    one, two, _ = world.cluster.nodes
    await world.service(externalTrafficPolicy="Local")
    await world.endpoints((two, two.pods[0].address))
    outside = world.cluster.switch.place
    assert await ask(outside, two.machine.address, NODE_PORT) == f"pod-two {GATEWAY}"
    with pytest.raises(OSError):
        await ask(outside, one.machine.address, NODE_PORT, timeout_s=1)


async def test_an_endpoint_in_another_hosts_network_is_reached_from_pods_and_hosts(world: World) -> None:
    one, two, three = world.cluster.nodes
    with contextlib.closing(Greeter(two.machine.place, "host-two", two.machine.address)):
        await world.service()
        await world.endpoints((two, two.machine.address))
        for place in (one.pods[0].place, two.pods[0].place, one.machine.place, two.machine.place, three.machine.place):
            assert (await ask(place, SERVICE_IP, 80)).startswith("host-two ")


async def test_what_leaves_the_cluster_comes_from_its_node(world: World) -> None:
    one = world.cluster.nodes[0]
    with contextlib.closing(Greeter(world.cluster.switch.place, "outside", GATEWAY)):
        assert await ask(one.pods[0].place, GATEWAY) == f"outside {one.machine.address}"
    with contextlib.closing(Greeter(world.cluster.nodes[1].machine.place, "host-two", world.cluster.nodes[1].machine.address)):
        assert await ask(one.pods[0].place, world.cluster.nodes[1].machine.address) == f"host-two {one.machine.address}"


async def test_a_strict_firewall_of_the_host_is_left_as_it_is(world: World) -> None:
    """Ours is a table of our own: what the administrator drops stays dropped, and no rule of his changes."""
    one, two, _ = world.cluster.nodes
    one.machine.sh("nft add table inet theirs")
    one.machine.sh("nft 'add chain inet theirs input { type filter hook input priority 0; policy drop; }'")
    one.machine.sh("nft add rule inet theirs input udp dport 8472 accept")
    one.machine.sh("nft add rule inet theirs input ct state established accept")
    before = one.machine.sh("nft list table inet theirs")
    await world.service()
    await world.endpoints((two, two.pods[0].address))
    assert (await ask(one.pods[0].place, SERVICE_IP, 80)).startswith("pod-two ")
    assert (await ask(two.pods[0].place, one.pods[0].address)).startswith("pod-one ")  # forwarded: not the host's business
    assert (await ask(one.machine.place, SERVICE_IP, 80)).startswith("pod-two ")
    assert one.machine.sh("nft list table inet theirs") == before
