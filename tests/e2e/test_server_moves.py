"""The server's address changes while it runs: it is found again, by its certificate's names, by the nodes, and by the pods, and nothing is restarted."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator

import pytest

from tests.e2e.cluster import REPOSITORY, START_S, Cluster, sh
from tests.e2e.outpost import Outpost

pytestmark = pytest.mark.node

FORMER, SECOND, THIRD = "203.0.113.1", "203.0.113.65", "203.0.113.129"


class Roaming(Cluster):
    """A server that nobody told which address is its own, on a network where others are too."""

    def _connect(self) -> None:
        super()._connect()
        self.inside_ip = FORMER
        sh(f"ip -n {self.name} addr flush dev eth0")
        self.hold(FORMER)

    def hold(self, address: str) -> None:
        sh(f"ip -n {self.name} addr add {address}/26 dev eth0; ip -n {self.name} route replace default dev eth0 src {address}")

    def lose(self, address: str) -> None:
        sh(f"ip -n {self.name} addr del {address}/26 dev eth0")

    def start(self, *, ready: bool = True) -> None:
        argv = self.edgek("server", *self.paths(), "--write-kubeconfig", self.kubeconfig, "--node-name", "box", "--disable-agent")
        self.flags = ("--disable-agent",)
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(argv, stdout=out, stderr=out, start_new_session=True, cwd=REPOSITORY, env=dict(os.environ))
        self.until(self.is_ready, START_S, "the API answers")

    def endpoints(self) -> list[str]:
        found = json.loads(self.kubectl("get", "endpointslice", "kubernetes", "-o", "json"))
        return [address for endpoint in found["endpoints"] for address in endpoint["addresses"]]


class OnTheSameNetwork(Outpost):
    """A node that reaches every address of the server over one cable."""

    def _connect(self) -> None:
        super()._connect()
        for address in (FORMER, SECOND, THIRD):
            sh(f"ip -n {self.name} route replace {address} via {self.outside_ip}")


@pytest.fixture(scope="module")
def server() -> Iterator[Roaming]:
    server = Roaming()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="module")
def node(server: Roaming) -> Iterator[Outpost]:
    node = OnTheSameNetwork(server, "far")
    try:
        node.start()
        yield node
    finally:
        node.remove()


def kept(node: Outpost) -> list[str]:
    found: list[str] = json.loads((node.data / "agent" / "cluster.json").read_bytes())["servers"]
    return found


def answers_as(server: Roaming, address: str) -> bool:
    """By that address, with a certificate that names it."""
    authority = server.data / "server" / "tls" / "server-ca.crt"
    argv = server.inside("curl", "-s", "--cacert", authority, "--max-time", "3", "-o", "/dev/null", f"https://{address}:6443/readyz")
    return subprocess.run(argv, check=False).returncode == 0


def test_a_node_says_how_it_stands(server: Roaming, node: Outpost) -> None:
    assert node.run("status", *node.paths()).startswith(f"Node far of https://{FORMER}:6443: it is Ready\n")
    found = json.loads(node.run("status", *node.paths(), "-o", "json"))
    assert (found["node"], found["problem"]) == ("far", "")
    assert {part["part"] for part in found["cost"]} >= {"edgek", "containerd"}
    node.stop()
    try:
        assert "edgek does not run" in node.run("status", *node.paths(), code=1).splitlines()[0]
    finally:
        node.start(joining=False)


def test_a_further_address_is_told_while_the_former_is_still_there(server: Roaming, node: Outpost) -> None:
    assert server.endpoints() == [FORMER]
    assert f"https://{FORMER}:6443" in kept(node)
    sh(f"ip -n {server.name} addr add {SECOND}/26 dev eth0")
    node.until(lambda: f"https://{SECOND}:6443" in kept(node), 10, "the node was told of the second address", server.log_end)
    server.until(lambda: answers_as(server, SECOND), 10, "its certificate names it")
    assert server.endpoints() == [FORMER], "a second one does not change what others are told"


def test_a_server_that_lost_its_address_is_found_by_what_its_nodes_keep(server: Roaming, node: Outpost) -> None:
    pid = server.pid()
    server.lose(FORMER)
    server.hold(SECOND)
    server.until(lambda: server.endpoints() == [SECOND], 10, "the endpoints of the API follow", server.log_end)
    lease = server.get("lease", "-n", "kube-node-lease", "far")["spec"]["renewTime"]
    node.until(
        lambda: server.get("lease", "-n", "kube-node-lease", "far")["spec"]["renewTime"] > lease, START_S, "the node is there again", node.log_end
    )
    assert server.pid() == pid
    node.until(lambda: kept(node)[0] == f"https://{SECOND}:6443", 10, "the node keeps where it is now")


def test_a_node_that_was_away_meanwhile_is_shown_the_way_by_one_word(server: Roaming, node: Outpost) -> None:
    node.stop()
    server.hold(THIRD)
    server.lose(SECOND)
    server.until(lambda: server.endpoints() == [THIRD], 10, "the endpoints of the API follow", server.log_end)
    sh(f"ip -n {server.name} addr del {node.outside_ip}/30 dev to{node.name}; ip -n {server.name} addr add 10.99.0.1/30 dev to{node.name}")
    sh(f"ip -n {server.name} route add {node.inside_ip} dev to{node.name}; ip -n {node.name} route replace {THIRD} dev eth0")
    argv = node.edgek("agent", *node.paths(), "--join", f"https://{THIRD}:6443", "--node-ip", node.inside_ip, "--node-name", "far")
    with node.log.open("ab") as out:
        node.process = subprocess.Popen(argv, stdout=out, stderr=out, start_new_session=True, cwd=REPOSITORY)
    lease = server.get("lease", "-n", "kube-node-lease", "far")["spec"]["renewTime"]
    node.until(lambda: server.get("lease", "-n", "kube-node-lease", "far")["spec"]["renewTime"] > lease, START_S, "it is back", node.log_end)
    assert kept(node)[0] == f"https://{THIRD}:6443"
