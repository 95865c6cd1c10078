"""10,000 Services in the kernel: from the proxy's cache to the kernel's acknowledgement, all of them and one that changes.

    nsenter --net=... python -m tests.bench.proxy

measures in the network namespace it stands in and prints the figures.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
import uuid
from typing import Any

import trio

from edgek.agent.proxy.loop import Proxy, Settings
from tests.bench.caches import Caches
from tests.bench.figures import at_most
from tests.bench.process import Process
from tests.e2e.cluster import REPOSITORY, sh

LINES = {"program_10000_s": at_most(1), "change_one_ms": at_most(2)}
SERVICES = 10_000
CHANGES = 30
POLL_S = 0.0001


def measure() -> dict[str, float]:
    namespace = f"ek-{uuid.uuid4().hex[:6]}"
    sh(f"ip netns add {namespace}")
    try:
        argv = ["nsenter", f"--net=/run/netns/{namespace}", sys.executable, "-m", "tests.bench.proxy"]
        found: dict[str, float] = json.loads(subprocess.run(argv, check=True, capture_output=True, text=True, cwd=REPOSITORY).stdout)
        return found
    finally:
        sh(f"ip netns del {namespace}")


async def _inside() -> dict[str, float]:
    found: dict[str, float] = {}
    async with trio.open_nursery() as nursery:
        first, caches = Caches(), Caches()
        first.fill(1)
        await nursery.start(Proxy(Settings("box", "10.42.0.0/16"), first.services, first.slices).run)  # loads what all of them need
        caches.fill(SERVICES)
        memory, cpu, began = Process(os.getpid()).memory_mb()["resident"], time.process_time(), time.monotonic()
        proxy = Proxy(Settings("box", "10.42.0.0/16"), caches.services, caches.slices)
        await nursery.start(proxy.run)
        found["program_10000_s"] = time.monotonic() - began
        found["program_10000_cpu_s"] = time.process_time() - cpu
        found["program_10000_mb"] = Process(os.getpid()).memory_mb()["resident"] - memory
        await _settled(proxy)
        took = []
        for number in range(CHANGES):
            began = time.monotonic()
            caches.endpoints(number, ready=False)
            await _settled(proxy)
            took.append((time.monotonic() - began) * 1000)
        found |= {"change_one_ms": statistics.median(took), "change_one_max_ms": max(took)}
        for number in range(SERVICES):
            caches.endpoints(number, ready=number >= CHANGES)
        began = time.monotonic()
        for number in range(1000):
            caches.endpoints(number + CHANGES, ready=False)
        await _settled(proxy)
        found["change_1000_ms"] = (time.monotonic() - began) * 1000
        nursery.cancel_scope.cancel()
    return found


async def _settled(proxy: Any) -> None:
    while not proxy.at_rest:
        await trio.sleep(POLL_S)


if __name__ == "__main__":
    print(json.dumps(trio.run(_inside)))
