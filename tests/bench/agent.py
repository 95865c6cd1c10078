"""Machines that joined a server, on cables of their own: what one costs at rest with ten pods, how soon it is Ready, how soon both are after a restart.

What crosses a cable is counted by its interface: whatever is said there, by whom, and what TCP adds to it. Of each packet the 14 bytes of its Ethernet
header are taken off.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import time
from collections.abc import Iterator
from datetime import datetime

import attrs

from tests.bench import box
from tests.bench.connection import Access, Connection, administrator
from tests.bench.figures import at_most
from tests.bench.process import Process
from tests.e2e.cluster import Cluster, sh
from tests.e2e.outpost import Outpost
from tests.fakes import images

LINES = {
    "join_to_ready_s": at_most(3),
    "restart_to_ready_s": at_most(5),
    "to_agent_bytes_per_s": at_most(60),
    "from_agent_bytes_per_s": at_most(60),
    "resident_mb": at_most(70),
    "cpu_percent": at_most(0.3),
    "written_bytes": at_most(0),
}
NAMES = ("near", "far")
PODS = 10
SETTLE_S = 60.0
REST_S = 120.0
READY_S = 60.0
RESTARTS = 3
POLL_S = 0.02
ETHERNET = 14  # bytes of a header
NODES = "/api/v1/nodes"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"


def measure() -> dict[str, float]:
    with joined() as (server, outposts, joins):
        access = administrator(server.kubeconfig, server.inside_ip)
        names = [f"rest-{number}" for number in range(PODS)]
        _run_on(server, access, names, NAMES[0])
        time.sleep(SETTLE_S)
        found = {"join_to_ready_s": statistics.median(joins), **at_rest(outposts[0])}
        restarts = [_restart(server) for _ in range(RESTARTS)]
        return {**found, "restart_to_ready_s": statistics.median(restarts), "slowest_restart_to_ready_s": max(restarts)}


@contextlib.contextmanager
def joined() -> Iterator[tuple[Cluster, list[Outpost], list[float]]]:
    """A server that runs no pods, and the agents that joined it; how long each took until it was Ready."""
    server = Cluster("--disable-agent")
    outposts: list[Outpost] = []
    try:
        server.start()
        access, token = administrator(server.kubeconfig, server.inside_ip), server.run("token", *server.paths()).strip()
        joins = []
        for name in NAMES:
            outposts.append(outpost := Outpost(server, name))
            (outpost.images / "box.tar").write_bytes(images.busybox(box.IMAGE))
            began, now = time.monotonic(), time.time()
            outpost.start(ready=False, token=token)
            _until_ready(access, [name], now, outpost)
            joins.append(time.monotonic() - began)
        server.until(lambda: bool(server.kubectl("get", "serviceaccount", "default", "--ignore-not-found")), READY_S, "the default account is there")
        yield server, outposts, joins
    finally:
        for outpost in outposts:
            outpost.remove()
        server.remove()


@attrs.frozen
class Traffic:
    """Bytes and packets since the cable is there, as the agent's end sees it."""

    received: int
    received_packets: int
    sent: int
    sent_packets: int

    @classmethod
    def of(cls, outpost: Outpost) -> Traffic:
        counted = json.loads(sh(f"ip -n {outpost.name} -j -s link show eth0"))[0]["stats64"]
        return cls(counted["rx"]["bytes"], counted["rx"]["packets"], counted["tx"]["bytes"], counted["tx"]["packets"])


def at_rest(outpost: Outpost, rest_s: float = REST_S) -> dict[str, float]:
    assert outpost.process is not None
    agent = Process(outpost.process.pid)
    before, cpu, written, switches, began = Traffic.of(outpost), agent.cpu_s(), agent.written_bytes(), agent.switches(), time.monotonic()
    time.sleep(rest_s)
    after, spent = Traffic.of(outpost), time.monotonic() - began
    packets = (after.received_packets - before.received_packets, after.sent_packets - before.sent_packets)
    memory = agent.memory_mb()
    return {
        "to_agent_bytes_per_s": (after.received - before.received - ETHERNET * packets[0]) / spent,
        "from_agent_bytes_per_s": (after.sent - before.sent - ETHERNET * packets[1]) / spent,
        "to_agent_packets_per_s": packets[0] / spent,
        "from_agent_packets_per_s": packets[1] / spent,
        "resident_mb": memory["resident"],
        "anonymous_mb": memory["anonymous"],
        "cpu_percent": (agent.cpu_s() - cpu) / spent * 100,
        "wake_ups_per_s": (agent.switches() - switches) / spent,
        "threads": float(agent.threads()),
        "written_bytes": float(agent.written_bytes() - written),
    }


def _run_on(server: Cluster, access: Access, names: list[str], node: str) -> None:
    with access.connect() as client:
        for name in names:
            wanted = box.pod(name)
            wanted["spec"]["nodeName"] = node
            client.ask("POST", box.PODS, wanted, 201)
        deadline = time.monotonic() + READY_S
        while any(pod["status"].get("phase") != "Running" for pod in client.ask("GET", box.PODS)["items"]):
            assert time.monotonic() < deadline, f"the pods do not run:\n{server.log_end()}"
            time.sleep(0.2)


def _restart(server: Cluster) -> float:
    """From the new process to a word of each agent that it lives, said to this very server."""
    server.stop()
    began, now = time.monotonic(), time.time()
    server.start(ready=False)
    _until_ready(administrator(server.kubeconfig, server.inside_ip), NAMES, now, server)
    return time.monotonic() - began


def _until_ready(access: Access, names: list[str] | tuple[str, ...], since: float, told: Cluster) -> None:
    """By a word said after ``since``: their leases are renewed by then."""
    deadline = time.monotonic() + READY_S
    client: Connection | None = None
    while client is None or not all(_is_ready(client, name, since) for name in names):
        assert time.monotonic() < deadline, f"{names} are not Ready after {READY_S} s:\n{told.log_end()}"
        time.sleep(POLL_S)
        with contextlib.suppress(OSError, EOFError):
            client = client or access.connect()
    client.sock.close()


def _is_ready(client: Connection, name: str, since: float) -> bool:
    found = {node["metadata"]["name"]: node for node in client.ask("GET", NODES)["items"]}
    conditions = (found.get(name, {}).get("status") or {}).get("conditions", ())
    if not any(c["type"] == "Ready" and c["status"] == "True" for c in conditions):
        return False
    renewed = (client.ask("GET", f"{LEASES}/{name}").get("spec") or {}).get("renewTime")
    return renewed is not None and datetime.fromisoformat(renewed).timestamp() >= since
