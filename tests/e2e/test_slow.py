"""Nodes on bad ways to their server: one loses every tenth packet in each direction, one takes 300 ms each way, and one does both.

They are full nodes: they join, stay Ready, run pods, and what kubectl carries to and fro is carried byte for byte.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.e2e.cluster import REPOSITORY, START_S, Cluster, sh
from tests.e2e.outpost import Outpost

pytestmark = pytest.mark.node

IMAGE = "docker.io/library/nginx:1.27"
GRACE_S = 20.0  # a node that is silent for so long is lost: two renewals of its lease, the second a little late
DELAY_S = 0.3  # each way
LOSS = "numgen inc mod 10 == 0 counter drop"  # not at random: ten in a row would be the end of any link


@attrs.frozen
class Fault:
    loses: bool
    delay_s: float
    payload: int  # bytes; TCP gets slow when ways are long and lose much


FAULTS = {
    "lossy": Fault(loses=True, delay_s=0, payload=3_000_000),
    "long": Fault(loses=False, delay_s=DELAY_S, payload=2_000_000),
    "both": Fault(loses=True, delay_s=DELAY_S, payload=40_000),
}


class Faraway(Outpost):
    """A node whose cable is a relay."""

    def __init__(self, server: Cluster, node_name: str, fault: Fault) -> None:
        self.fault = fault
        super().__init__(server, node_name)

    def _connect(self) -> None:
        number = self.inside_ip.split(".")[2]
        self.inside_ip, self.outside_ip = f"198.19.{number}.2", f"198.19.{number}.1"
        cable = f"to{self.name}"
        sh(f"ip netns add {self.name}; ip -n {self.name} link set lo up")
        argv = [sys.executable, "-m", "tests.e2e.slow_link", self.server.name, cable, self.name, "eth0", str(self.fault.delay_s)]
        self.relay = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
        assert self.relay.stdout is not None
        assert self.relay.stdout.readline() == "ready\n"
        for namespace, device, address in ((self.server.name, cable, self.outside_ip), (self.name, "eth0", self.inside_ip)):
            sh(f"ip -n {namespace} addr add {address}/30 dev {device}; ip -n {namespace} link set {device} up")
            if self.fault.loses:
                rules = f"add table ip {cable}; add chain ip {cable} in {{ type filter hook prerouting priority -310; }}"
                sh(f"nsenter --net=/run/netns/{namespace} nft '{rules}; add rule ip {cable} in iifname {device} {LOSS}'")
        sh(f"ip -n {self.name} route add {self.server.inside_ip} via {self.outside_ip}")

    def lost(self) -> int:
        """Packets, of those towards the node."""
        found = sh(f"nsenter --net=/run/netns/{self.name} nft list table ip to{self.name}")
        return int(found.split("packets ")[1].split()[0])

    def remove(self) -> None:
        super().remove()
        self.relay.kill()
        self.relay.communicate()
        with contextlib.suppress(subprocess.CalledProcessError):
            sh(f"nsenter --net=/run/netns/{self.server.name} nft delete table ip to{self.name}")


def pod(node: str) -> dict[str, Any]:
    container = {"name": "c", "image": IMAGE, "imagePullPolicy": "IfNotPresent"}
    spec = {"nodeName": node, "terminationGracePeriodSeconds": 1, "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": node}, "spec": spec}


@attrs.frozen
class World:
    server: Cluster
    nodes: dict[str, Faraway]
    ready_since: dict[str, str]
    flood: subprocess.Popen[bytes]
    began: float = attrs.field(factory=time.monotonic)


@pytest.fixture(scope="module")
def world(web_one: Path) -> Iterator[World]:
    """All have joined, at the same time: most of what they do is waiting."""
    with contextlib.ExitStack() as leaving:
        server = Cluster("--disable-agent", "--node-monitor-grace-period", f"{GRACE_S:.0f}s")
        leaving.callback(server.remove)
        server.start()
        nodes = {}
        for name, fault in FAULTS.items():
            nodes[name] = Faraway(server, name, fault)
            leaving.callback(nodes[name].remove)
            shutil.copy(web_one, nodes[name].images)
            nodes[name].start(ready=False)
        server.until(lambda: bool(server.kubectl("get", "serviceaccount", "default", "--ignore-not-found")), START_S, "there is an account")
        for name, node in nodes.items():
            server.until(node.is_ready, START_S, f"{name} is Ready", node.log_end)
            server.apply(pod(name))
        flood = leaving.enter_context(flooded(server, "both"))
        yield World(server, nodes, {name: ready_since(server, name) for name in nodes}, flood)


@contextlib.contextmanager
def flooded(server: Cluster, name: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command there says more than its way carries, for as long as the other nodes have their turn."""
    server.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s", timeout_s=70)
    argv = server.inside("kubectl", "--kubeconfig", server.kubeconfig, "exec", name, "--", "cat", "/dev/zero")
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as saying:
        try:
            yield saying
        finally:
            saying.kill()


def ready_since(server: Cluster, name: str) -> str:
    return server.kubectl("get", "node", name, "-o", "jsonpath={.status.conditions[?(@.type=='Ready')]['status','lastTransitionTime']}")


@pytest.fixture(scope="module", params=FAULTS)
def there(request: pytest.FixtureRequest, world: World) -> Faraway:
    """With its pod, which runs."""
    node = world.nodes[str(request.param)]
    world.server.kubectl("wait", "--for=condition=Ready", f"pod/{node.node_name}", "--timeout=60s", timeout_s=70)
    if node.node_name == "both":
        time.sleep(max(0.0, world.began + GRACE_S - time.monotonic()))
        assert world.flood.poll() is None, "it has gone on all the while"
        assert ready_since(world.server, "both") == world.ready_since["both"]
        world.flood.kill()
    return node


def test_logs_and_commands_come_through(world: World, there: Faraway) -> None:
    world.server.until(lambda: "nginx" in world.server.kubectl("logs", there.node_name), 20, "it has said something")
    assert world.server.kubectl("exec", "-i", there.node_name, "--", "cat", stdin="typed") == "typed"
    assert "exit code 7" in world.server.fails("exec", there.node_name, "--", "sh", "-c", "exit 7")


def test_files_are_copied_both_ways_and_served_through_forwarded_ports_byte_for_byte(world: World, there: Faraway, tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(random.Random(1).randbytes(there.fault.payload))
    world.server.kubectl("cp", str(tmp_path / "there"), f"{there.node_name}:/srv/big", timeout_s=120)
    world.server.kubectl("cp", f"{there.node_name}:/srv/big", str(tmp_path / "back"), timeout_s=120)
    assert (tmp_path / "back").read_bytes() == (tmp_path / "there").read_bytes()
    assert forwarded(world, there) == (tmp_path / "there").read_bytes()


def forwarded(world: World, there: Faraway) -> bytes:
    """What the pod serves, asked for through kubectl."""
    argv = world.server.inside("kubectl", "--kubeconfig", world.server.kubeconfig, "port-forward", f"pod/{there.node_name}", ":80")
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as forwarding:
        try:
            assert forwarding.stdout is not None
            port = forwarding.stdout.readline().split("127.0.0.1:")[1].split(" ")[0]
            ask = world.server.inside("curl", "-sS", "--fail", "--max-time", "120", f"http://127.0.0.1:{port}/big")
            return subprocess.run(ask, capture_output=True, check=True).stdout
        finally:
            forwarding.kill()


def test_all_the_while_they_were_ready_by_the_link_that_they_had(world: World) -> None:
    """Last: by now the time is long over after which a silent node is lost."""
    assert time.monotonic() > world.began + GRACE_S
    assert {name: ready_since(world.server, name) for name in world.nodes} == world.ready_since
    assert all(since.startswith("True") for since in world.ready_since.values())
    assert {name: node.lost() > 10 for name, node in world.nodes.items() if node.fault.loses} == {"lossy": True, "both": True}
    assert {name: node.log.read_text().count(" linked ") for name, node in world.nodes.items()} == dict.fromkeys(world.nodes, 1)
