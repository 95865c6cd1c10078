"""The proxy with the real kernel: real packets between namespaces made for the test."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
import uuid
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
import trio

from edgek.agent.proxy import loop
from edgek.agent.proxy.loop import Proxy, Settings
from edgek.client import services
from edgek.client.informer import Informer
from edgek.cni.mappings import HostPort, Mappings
from edgek.host import netlink
from edgek.model import kinds
from tests.fakes.machines import ANSWER_S, Echo, Greeter, Inside, ask_by_udp

pytestmark = pytest.mark.root

HOST_MAC = "ee:ee:ee:ee:ee:ee"
NODE_IP, OUTSIDE_IP = "192.0.2.1", "192.0.2.2"


def sh(line: str) -> str:
    return subprocess.run(line, shell=True, check=True, capture_output=True, text=True).stdout


class Box:
    """A node with two pods behind it and a client outside, each a network namespace."""

    def __init__(self) -> None:
        tag = uuid.uuid4().hex[:6]
        self.names = {role: f"ek{tag}-{role}" for role in ("node", "out", "a", "b")}
        self.pods = {"a": "10.42.0.5", "b": "10.42.0.6"}
        self.servers: list[socket.socket] = []

    def path(self, role: str) -> Path:
        return Path("/run/netns") / self.names[role]

    def build(self) -> None:
        node, out = self.names["node"], self.names["out"]
        for name in self.names.values():
            sh(f"ip netns add {name}; ip -n {name} link set lo up")
        sh(f"ip -n {node} link add out type veth peer name eth0 netns {out}")
        sh(f"ip -n {node} addr add {NODE_IP}/24 dev out; ip -n {node} link set dev out up; ip -n {node} route add default via {OUTSIDE_IP}")
        sh(f"ip -n {out} addr add {OUTSIDE_IP}/24 dev eth0; ip -n {out} link set eth0 up; ip -n {out} route add 10.43.0.0/16 via {NODE_IP}")
        sh(f"ip netns exec {node} sysctl -qw net.ipv4.ip_forward=1")
        sh(f"ip -n {node} addr add 10.42.0.1/32 dev lo")
        for role, address in self.pods.items():
            pod = self.names[role]
            sh(f"ip -n {node} link add pod-{role} address {HOST_MAC} type veth peer name eth0 netns {pod}; ip -n {node} link set pod-{role} up")
            sh(f"ip -n {node} route add {address}/32 dev pod-{role} src 10.42.0.1")
            sh(f"ip -n {pod} addr add {address}/32 dev eth0; ip -n {pod} link set eth0 up")
            sh(f"ip -n {pod} route add 169.254.1.1 dev eth0 scope link; ip -n {pod} route add default via 169.254.1.1 onlink dev eth0")
            sh(f"ip -n {pod} neigh add 169.254.1.1 lladdr {HOST_MAC} dev eth0 nud permanent")  # a proxy's answer by ARP comes late on purpose
            sh(f"ip netns exec {node} sysctl -qw net.ipv4.conf.pod-{role}.route_localnet=1")  # as for each pod with host ports
            self.serve(role, address)

    def serve(self, role: str, address: str) -> None:
        """Answer each connection on port 8080 with the pod's name and the client's address."""
        listener = netlink.in_namespace(self.path(role), lambda: socket.create_server((address, 8080)))
        self.servers.append(listener)

        def work() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, client = listener.accept()
                    with connection, contextlib.suppress(OSError):
                        connection.sendall(f"{role} {client[0]}".encode())

        threading.Thread(target=work, daemon=True).start()

    def ask(self, role: str, address: str, port: int, source: str = "", timeout_s: float = ANSWER_S) -> str:
        """What a client in that namespace is answered. Raises OSError when it is refused or nobody answers in time."""

        def connect() -> str:
            with socket.create_connection((address, port), timeout_s, source_address=(source, 0) if source else None) as connection:
                return connection.recv(100).decode()

        return netlink.in_namespace(self.path(role), connect)

    def close(self) -> None:
        for listener in self.servers:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        for name in self.names.values():
            sh(f"ip netns del {name}")


@pytest.fixture
def box() -> Iterator[Box]:
    box = Box()
    try:
        box.build()
        yield box
    finally:
        box.close()


class World:
    def __init__(self, box: Box) -> None:
        self.box = box
        self.services: Informer[services.Service] = Informer(None, kinds.SERVICE, services.service)  # type: ignore[arg-type]
        self.slices: Informer[services.Slice] = Informer(None, kinds.ENDPOINT_SLICE, services.slice_)  # type: ignore[arg-type]
        self.services.synced.set()
        self.slices.synced.set()
        self.mappings = Mappings()
        self.proxy = Proxy(Settings("box", "10.42.0.0/16"), self.services, self.slices, self.mappings, worker=Inside(box.path("node")))

    def service(self, **spec: Any) -> None:
        spec = {"clusterIP": "10.43.0.7", "ports": [{"port": 80, "name": "http", "nodePort": 30080}], "type": "NodePort", **spec}
        self.services._set("default/web", services.service({"metadata": {"namespace": "default", "name": "web"}, "spec": spec}))

    def endpoints(self, *roles: str) -> None:
        listed = [{"addresses": [self.box.pods[role]], "nodeName": "box", "conditions": {"ready": True}} for role in roles]
        meta = {"namespace": "default", "name": "web-x", "labels": {"kubernetes.io/service-name": "web"}}
        ports = [{"name": "http", "port": 8080}, {"name": "udp", "port": 8080, "protocol": "UDP"}]
        self.slices._set("default/web-x", services.slice_({"metadata": meta, "ports": ports, "endpoints": listed}))

    async def ask(self, role: str, address: str = "10.43.0.7", port: int = 80, source: str = "", timeout_s: float = ANSWER_S) -> str:
        return await trio.to_thread.run_sync(self.box.ask, role, address, port, source, timeout_s)

    def host_ports(self, **ports: HostPort) -> None:
        self.mappings.replace({IPv4Address(self.box.pods[role]): (port,) for role, port in ports.items()})

    async def written(self) -> None:
        """Until the kernel has been told all that changed."""
        with trio.fail_after(20):
            while not self.proxy.at_rest:
                await trio.sleep(0.001)


@pytest.fixture
async def world(box, nursery) -> World:
    world = World(box)
    world.service()
    world.endpoints("a", "b")
    await nursery.start(world.proxy.run)
    return world


async def test_traffic_reaches_every_endpoint_by_every_way(world):
    ways = [("a", "10.43.0.7", 80), ("node", "10.43.0.7", 80), ("out", NODE_IP, 30080), ("a", NODE_IP, 30080), ("node", NODE_IP, 30080)]
    for way in ways:
        assert {(await world.ask(*way)).split()[0] for _ in range(30)} == {"a", "b"}, way


async def test_a_pod_reaches_itself_through_its_service(world):
    world.endpoints("a")
    await world.written()
    assert await world.ask("a") == "a 10.42.0.1"


async def test_the_client_is_seen_with_a_local_policy_and_hidden_otherwise(world):
    assert (await world.ask("out", NODE_IP, 30080)).split()[1] != OUTSIDE_IP
    world.service(externalTrafficPolicy="Local")
    await world.written()
    assert (await world.ask("out", NODE_IP, 30080)).split()[1] == OUTSIDE_IP


async def test_without_endpoints_the_connection_is_refused_at_once(world):
    world.endpoints()
    await world.written()
    for way in [("a", "10.43.0.7", 80), ("node", "10.43.0.7", 80), ("out", NODE_IP, 30080)]:
        with pytest.raises(ConnectionRefusedError):
            await world.ask(*way)


@pytest.mark.parametrize("filters", [False, True], ids=["where it translates", "by filters, as an old kernel must"])
async def test_refusing_works_in_both_ways(box, nursery, filters: bool):
    world = World(box)
    world.proxy = Proxy(Settings("box", "10.42.0.0/16", filters=filters), world.services, world.slices, worker=Inside(box.path("node")))
    world.service()
    world.endpoints()
    await nursery.start(world.proxy.run)
    assert ("refuse-forward" in sh(f"ip netns exec {box.names['node']} nft list table ip edgek")) == filters
    for way in [("a", "10.43.0.7", 80), ("node", "10.43.0.7", 80), ("out", NODE_IP, 30080)]:
        with pytest.raises(ConnectionRefusedError):
            await world.ask(*way)
    world.endpoints("b")
    await world.written()
    assert (await world.ask("a")).split()[0] == "b"


async def test_a_client_stays_with_its_endpoint_while_that_is_there(world):
    world.service(sessionAffinity="ClientIP")
    await world.written()
    first = {(await world.ask("out", NODE_IP, 30080)).split()[0] for _ in range(20)}
    assert len(first) == 1
    other = ({"a", "b"} - first).pop()
    world.endpoints(other)
    await world.written()
    assert (await world.ask("out", NODE_IP, 30080)).split()[0] == other
    world.endpoints("a", "b")
    await world.written()
    assert {(await world.ask("out", NODE_IP, 30080)).split()[0] for _ in range(20)} == {other}


async def test_a_client_by_udp_stays_with_its_endpoint_too(world):
    world.service(sessionAffinity="ClientIP", ports=[{"port": 80, "name": "udp", "protocol": "UDP", "nodePort": 30080}])
    await world.written()
    with contextlib.ExitStack() as stack:
        for role, address in world.box.pods.items():
            stack.enter_context(contextlib.closing(Echo(world.box.path(role), role, address)))
        for way in [("out", NODE_IP, 30080), ("node", "10.43.0.7", 80)]:
            assert len({(await ask_by_udp(world.box.path(way[0]), *way[1:])).split()[0] for _ in range(20)}) == 1


async def test_ports_of_the_host_lead_to_their_pods_by_address_and_protocol(world):
    """As upstream has it: one port, three pods behind it in their ways."""
    world.host_ports(a=HostPort("tcp", 54323, 8080, "127.0.0.1"), b=HostPort("tcp", 54323, 8080, NODE_IP))
    await world.written()
    await until_written(world, "127.0.0.1 . tcp . 54323")
    assert (await world.ask("node", "127.0.0.1", 54323)).split()[0] == "a"
    assert (await world.ask("node", NODE_IP, 54323)).split()[0] == "b"
    assert (await world.ask("out", NODE_IP, 54323)).split()[0] == "b"
    assert (await world.ask("node", "127.0.0.1", 54323, source=NODE_IP)).split()[0] == "a"
    world.host_ports(a=HostPort("udp", 54323, 8080))
    await until_written(world, "udp . 54323")
    with contextlib.closing(Echo(world.box.path("a"), "echo", world.box.pods["a"])):
        for role, address in [("node", NODE_IP), ("out", NODE_IP), ("b", NODE_IP), ("node", "127.0.0.1")]:
            assert (await ask_by_udp(world.box.path(role), address, 54323)).startswith("echo ")


async def test_nobody_else_speaks_to_what_listens_on_loopback_here(world):
    with contextlib.closing(Greeter(world.box.path("node"), "secret", "127.0.0.1")):
        assert await world.ask("node", "127.0.0.1", 8080) == "secret 127.0.0.1"
        sh(f"ip -n {world.box.names['a']} addr flush dev lo; ip -n {world.box.names['a']} route add 127.0.0.1/32 dev eth0 src {world.box.pods['a']}")
        sh(f"ip netns exec {world.box.names['a']} sysctl -qw net.ipv4.conf.eth0.route_localnet=1")
        with pytest.raises(TimeoutError):
            await world.ask("a", "127.0.0.1", 8080, timeout_s=1)


async def until_written(world: World, words: str) -> None:
    with trio.fail_after(20):
        while words not in sh(f"ip netns exec {world.box.names['node']} nft list table ip edgek"):
            await trio.sleep(0.01)


async def test_a_deleted_service_is_gone(world):
    world.services._set("default/web", None)
    await world.written()
    with pytest.raises(OSError):
        await world.ask("node")
    assert "10.43.0.7" not in sh(f"ip netns exec {world.box.names['node']} nft list table ip edgek")


async def test_a_change_is_written_alone_and_leaves_the_rest_of_the_table(world):
    def nft(words: str) -> str:
        return sh(f"ip netns exec {world.box.names['node']} nft {words}")

    nft("'add element ip edgek hairpin { 192.0.2.9 . 192.0.2.9 }'")  # gone, if the table is ever written as a whole
    ports = [{"port": 80, "name": "http", "nodePort": 30080}, {"port": 80, "name": "udp", "protocol": "UDP", "nodePort": 30081}]
    for spec in ({"ports": ports}, {"ports": ports, "sessionAffinity": "ClientIP"}, {"ports": ports, "externalTrafficPolicy": "Local"}, {}):
        for roles in (("a", "b"), ("b",), (), ("a",)):
            world.service(**spec)
            world.endpoints(*roles)
            await world.written()
    assert "192.0.2.9" in nft("list set ip edgek hairpin")


async def test_a_table_that_somebody_damaged_is_written_anew(world):
    sh(f"ip netns exec {world.box.names['node']} nft flush map ip edgek endpoints")
    world.endpoints("b")
    await world.written()
    assert (await world.ask("a")).split()[0] == "b"


async def test_what_comes_after_a_rest_is_written_as_before(world, monkeypatch):
    monkeypatch.setattr(loop, "REST_S", 0.0)
    for roles in (("b",), ("a", "b"), ("a",)):
        world.endpoints(*roles)
        await world.written()
    assert (await world.ask("b")).split()[0] == "a"
