"""A Ready node at rest: memory with no pods and with 30, CPU, wake-ups and bytes written over a minute."""

from __future__ import annotations

import time

from tests.bench import box
from tests.bench.box import Box
from tests.bench.figures import at_most

LINES = {"resident_mb": at_most(105), "cpu_percent": at_most(0.5), "database_writes": at_most(0)}
SETTLE_S = 15.0
REST_S = 60.0
PODS = 30


def measure() -> dict[str, float]:
    with box.started() as node:
        time.sleep(SETTLE_S)
        found = memory(node, "")
        found |= at_rest(node, "")
        access = node.access()
        for first in range(0, PODS, 10):
            box.run_pods(access, [f"rest-{number}" for number in range(first, first + 10)])
        time.sleep(SETTLE_S)
        return found | memory(node, f"_{PODS}_pods") | at_rest(node, f"_{PODS}_pods")


def memory(node: Box, suffix: str) -> dict[str, float]:
    own = node.server.memory_mb()
    return {
        f"resident{suffix}_mb": own["resident"],
        f"anonymous{suffix}_mb": own["anonymous"],
        f"containerd{suffix}_mb": node.containerd.memory_mb()["resident"],
        f"shims{suffix}_mb": sum(shim.memory_mb()["share"] for shim in node.shims),
        f"threads{suffix}": float(node.server.threads()),
    }


def at_rest(node: Box, suffix: str) -> dict[str, float]:
    server, containerd = node.server, node.containerd
    database, began = node.database_written(), time.monotonic()
    cpu, written, switches = (server.cpu_s(), containerd.cpu_s()), (server.written_bytes(), containerd.written_bytes()), server.switches()
    time.sleep(REST_S)
    spent = time.monotonic() - began
    return {
        f"cpu{suffix}_percent": (server.cpu_s() - cpu[0]) / spent * 100,
        f"containerd_cpu{suffix}_percent": (containerd.cpu_s() - cpu[1]) / spent * 100,
        f"wake_ups{suffix}_per_s": (server.switches() - switches) / spent,
        f"written{suffix}_bytes": float(server.written_bytes() - written[0]),
        f"containerd_written{suffix}_bytes": float(containerd.written_bytes() - written[1]),
        f"database_writes{suffix}": float(node.database_written() != database),
    }
