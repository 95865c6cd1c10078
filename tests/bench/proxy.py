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

import trio

from edgek.agent.proxy.loop import Proxy, Settings
from tests.bench.caches import Caches
from tests.bench.figures import at_most
from tests.bench.process import Process
from tests.e2e.cluster import REPOSITORY, sh

LINES = {"program_10000_s": at_most(1), "change_one_ms": at_most(2)}
SERVICES = 10_000
CHANGES = 30
SETTINGS = Settings("box", "10.42.0.0/16")


def measure() -> dict[str, float]:
    namespace = f"ek-{uuid.uuid4().hex[:6]}"
    sh(f"ip netns add {namespace}")
    try:
        argv = ["nsenter", f"--net=/run/netns/{namespace}", sys.executable, "-m", "tests.bench.proxy"]
        found: dict[str, float] = json.loads(subprocess.run(argv, check=True, capture_output=True, text=True, cwd=REPOSITORY).stdout)
        return found
    finally:
        sh(f"ip netns del {namespace}")


class Watched(Proxy):
    """Says when the kernel has acknowledged."""

    told = trio.Event()

    async def _run(self, text: str) -> None:
        await super()._run(text)
        self.told.set()


async def _inside() -> dict[str, float]:
    found: dict[str, float] = {}
    async with trio.open_nursery() as nursery:
        first, caches = Caches(), Caches()  # the first proxy loads what every one needs
        first.fill(1)
        await nursery.start(Proxy(SETTINGS, first.services, first.slices).run)
        caches.fill(SERVICES)
        memory, cpu, began = Process(os.getpid()).memory_mb()["resident"], time.process_time(), time.monotonic()
        proxy = Watched(SETTINGS, caches.services, caches.slices)
        await nursery.start(proxy.run)
        found["program_10000_s"] = time.monotonic() - began
        found["program_10000_cpu_s"] = time.process_time() - cpu
        found["program_10000_mb"] = Process(os.getpid()).memory_mb()["resident"] - memory
        took, cpu = [], time.process_time()
        for number in range(CHANGES):
            began = time.monotonic()
            proxy.told = trio.Event()
            caches.endpoints(number, ready=False)
            await proxy.told.wait()
            took.append((time.monotonic() - began) * 1000)
        cpu = (time.process_time() - cpu) / CHANGES
        found |= {"change_one_ms": statistics.median(took), "change_one_best_ms": min(took), "change_one_cpu_ms": cpu * 1000}
        began, proxy.told = time.monotonic(), trio.Event()
        for number in range(1000):
            caches.endpoints(number + CHANGES, ready=False)
        await proxy.told.wait()
        found["change_1000_ms"] = (time.monotonic() - began) * 1000
        nursery.cancel_scope.cancel()
    return found


if __name__ == "__main__":
    print(json.dumps(trio.run(_inside)))
