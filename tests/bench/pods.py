"""Pod created -> Running, as a watcher of the API sees it: one at a time and 20 at once, beside raw CRI calls, turn about."""

from __future__ import annotations

import contextlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import attrs

from tests.bench import box
from tests.bench.cgroup import Group
from tests.bench.figures import at_most, spread
from tests.e2e.cluster import REPOSITORY, sh
from tests.fakes import node

LINES = {"above_floor_p50_ms": at_most(90), "20_at_once_s": at_most(2)}
ONE_BY_ONE = 20
ROUNDS_AT_ONCE = 3
AT_ONCE = 20
SETTLE_S = 2.0


def measure() -> dict[str, float]:
    alone, floor_alone, together, floor_together = list[float](), list[float](), list[list[float]](), list[list[float]]()
    everything, below = Group.make(), Group.make()
    with box.started(group=everything) as real, floor(below) as raw:
        access = real.access()
        box.run_pods(access, ["warm"])
        raw.start(1)
        box.delete_pods(access)
        for number in range(ONE_BY_ONE):
            alone += box.run_pods(access, [f"one-{number}"])
            box.delete_pods(access)
            floor_alone += raw.start(1)
        cpu, own_cpu, floor_cpu = list[float](), list[float](), list[float]()
        for turn in range(ROUNDS_AT_ONCE):
            time.sleep(SETTLE_S)
            before = everything.cpu_s(), real.server.cpu_s()
            together.append(box.run_pods(access, [f"turn-{turn}-{number}" for number in range(AT_ONCE)]))
            time.sleep(SETTLE_S)
            cpu.append(everything.cpu_s() - before[0])
            own_cpu.append(real.server.cpu_s() - before[1])
            box.delete_pods(access)
            floor_together.append(raw.start(AT_ONCE))
            floor_cpu.append(raw.cpu_s)
    found = spread("one", (s * 1000 for s in alone), "ms") | spread("floor_one", (s * 1000 for s in floor_alone), "ms")
    found["above_floor_p50_ms"] = found["one_p50_ms"] - found["floor_one_p50_ms"]
    found["20_at_once_s"] = sorted(times[-1] for times in together)[ROUNDS_AT_ONCE // 2]
    found["floor_20_at_once_s"] = sorted(times[-1] for times in floor_together)[ROUNDS_AT_ONCE // 2]
    # Does not depend on what else the machine does: two cores cannot be quicker than half of it.
    found["20_at_once_cpu_s"] = statistics.median(cpu)
    found["floor_20_at_once_cpu_s"] = statistics.median(floor_cpu)
    found["server_20_at_once_cpu_s"] = statistics.median(own_cpu)
    return found


@attrs.define
class Floor:
    process: subprocess.Popen[str]
    cpu_s: float = 0.0  # of the newest start, containerd and the containers included

    def start(self, pods: int) -> list[float]:
        """Seconds until each ran."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(f"{pods}\n")
        self.process.stdin.flush()
        took: list[float]
        took, self.cpu_s = json.loads(self.process.stdout.readline())
        return took


@contextlib.contextmanager
def floor(group: Group) -> Iterator[Floor]:
    """In a network namespace of its own."""
    folder = Path(tempfile.mkdtemp(prefix="ek-fl-", dir="/tmp"))
    namespace = folder.name
    sh(f"ip netns add {namespace}; ip -n {namespace} link set lo up")
    argv = ["nsenter", f"--net=/run/netns/{namespace}", sys.executable, "-m", "tests.bench.floor", str(folder), group.name]
    try:
        with group.entered():
            process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
        with process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n", "the floor did not start"
            yield Floor(process)
    finally:
        node.put_away(folder)
        sh(f"ip netns del {namespace}")
        shutil.rmtree(folder, ignore_errors=True)
        group.remove()
