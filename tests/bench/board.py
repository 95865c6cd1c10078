"""Half of our users' smallest board: edgek, containerd, its shims and ten small pods below one cgroup of 256 MB, for five minutes."""

from __future__ import annotations

import time

from tests.bench import box
from tests.bench.cgroup import Group
from tests.bench.figures import at_most

LINES = {"oom_kills": at_most(0), "restarts": at_most(0), "pods_not_running": at_most(0)}
LIMIT_MB = 256
PODS = 10
HOLD_S = 300.0
LOOK_S = 10.0


def measure() -> dict[str, float]:
    group = Group.make(limit_bytes=LIMIT_MB << 20)
    with box.started(group=group) as node:
        access = node.access()
        for number in range(PODS):
            box.run_pods(access, [f"board-{number}"])
        worst, until = 0.0, time.monotonic() + HOLD_S
        while time.monotonic() < until:
            time.sleep(LOOK_S)
            worst = max(worst, group.anonymous_mb())
        pods = node.cluster.pods()
        return {
            "limit_mb": float(LIMIT_MB),
            "anonymous_mb": worst,
            "peak_mb": group.peak_mb(),
            "oom_kills": float(group.oom_kills()),
            "pods_not_running": float(PODS - sum(pod["status"]["phase"] == "Running" for pod in pods)),
            "restarts": float(sum(status["restartCount"] for pod in pods for status in pod["status"]["containerStatuses"])),
        }
