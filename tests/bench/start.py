"""Start to node Ready: from nothing (containerd and an image to import included) and warm; and how long ``edgek --version`` takes."""

from __future__ import annotations

import statistics
import subprocess
import time
from datetime import datetime

from tests.bench.box import Box
from tests.bench.connection import Connection
from tests.bench.figures import at_most
from tests.e2e.cluster import REPOSITORY, SOURCE

LINES = {"from_nothing_s": at_most(3), "version_ms": at_most(60)}
ROUNDS = 3
VERSION_ROUNDS = 15
START_S = 60.0
POLL_S = 0.02


def measure() -> dict[str, float]:
    nothing, warm, reboot = [], [], []
    for _ in range(ROUNDS):
        box = Box()
        try:
            nothing.append(to_ready(box))
            box.cluster.stop()
            warm.append(to_ready(box))  # containerd was left running, as an upgrade leaves it
            box.cluster.stop()
            box.cluster.kill_containerd()
            reboot.append(to_ready(box))
        finally:
            box.cluster.remove()
    return {
        "from_nothing_s": statistics.median(nothing),
        "warm_s": statistics.median(warm),
        "warm_without_containerd_s": statistics.median(reboot),
        "version_ms": statistics.median(version_ms() for _ in range(VERSION_ROUNDS)),
    }


def to_ready(box: Box) -> float:
    """Until the node is Ready by a word of this start: its lease is renewed by then."""
    began, now = time.monotonic(), time.time()
    box.cluster.start(ready=False)
    with _connected(box, began) as client:
        while not _is_ready(client, now):
            assert time.monotonic() < began + START_S, f"the node is not Ready after {START_S} s:\n{box.cluster.log_end()}"
            time.sleep(POLL_S)
    return time.monotonic() - began


def _connected(box: Box, began: float) -> Connection:
    while time.monotonic() < began + START_S:
        try:
            return box.access().connect()
        except OSError:  # no kubeconfig, no server, or the link just coming up
            time.sleep(POLL_S)
    raise AssertionError(f"the API does not answer after {START_S} s:\n{box.cluster.log_end()}")


def _is_ready(client: Connection, since: float) -> bool:
    node = client.ask("GET", "/api/v1/nodes/box")
    if node["kind"] != "Node":
        return False
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"].get("conditions", ()))
    lease = client.ask("GET", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/box")
    renewed = (lease.get("spec") or {}).get("renewTime")
    return ready and renewed is not None and datetime.fromisoformat(renewed).timestamp() >= since


def version_ms(*command: str) -> float:
    began = time.monotonic()
    subprocess.run([*(command or SOURCE), "--version"], check=True, capture_output=True, cwd=REPOSITORY)
    return (time.monotonic() - began) * 1000
