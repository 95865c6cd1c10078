"""Half of our users' smallest board: edgek, containerd, its shims and ten small pods below one cgroup of 256 MB, for five minutes."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import attrs

from tests.bench import box
from tests.bench.box import Box
from tests.bench.figures import at_most

LINES = {"oom_kills": at_most(0), "restarts": at_most(0), "pods_not_running": at_most(0)}
LIMIT_MB = 256
PODS = 10
HOLD_S = 300.0
LOOK_S = 10.0


def measure() -> dict[str, float]:
    group = Group.make(f"edgek-bench-{os.getpid()}", LIMIT_MB << 20)
    node = Box("--cgroup-root", f"/{group.name}/pods")
    try:
        with group.entered():
            node.cluster.start()
        access = node.access()
        node.wait_for_account()
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
    finally:
        node.cluster.remove()
        group.remove()


@attrs.frozen
class Group:
    """A memory cgroup, of either version of cgroups."""

    name: str
    folder: Path
    unified: bool

    @classmethod
    def make(cls, name: str, limit_bytes: int) -> Group:
        root = Path("/sys/fs/cgroup")
        unified = (root / "cgroup.controllers").exists()
        folder = root / name if unified else root / "memory" / name
        group = cls(name, folder, unified)
        folder.mkdir()
        if unified:
            (folder / "cgroup.subtree_control").write_text("+memory +cpu +pids")
        else:
            (folder / "memory.use_hierarchy").write_text("1")
        (folder / ("memory.max" if unified else "memory.limit_in_bytes")).write_text(str(limit_bytes))
        return group

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """What this process starts meanwhile is born inside; memory that it has already stays where it is."""
        home = self.folder / "node"
        home.mkdir(exist_ok=True)
        before = self._own()
        (home / "cgroup.procs").write_text(str(os.getpid()))
        try:
            yield
        finally:
            (before / "cgroup.procs").write_text(str(os.getpid()))

    def anonymous_mb(self) -> float:
        """What cannot be dropped and read again."""
        stat = _lines(self.folder / "memory.stat")
        return stat["anon" if self.unified else "total_rss"] / 2**20

    def peak_mb(self) -> float:
        """Page cache included."""
        file = self.folder / ("memory.peak" if self.unified else "memory.max_usage_in_bytes")
        return int(file.read_text()) / 2**20 if file.exists() else 0.0

    def oom_kills(self) -> int:
        return sum(_lines(file).get("oom_kill", 0) for file in self._files("memory.events" if self.unified else "memory.oom_control"))

    def remove(self) -> None:
        for folder, _, _ in os.walk(self.folder, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(folder)

    def _files(self, name: str) -> list[Path]:
        return [self.folder / name] if self.unified else list(self.folder.rglob(name))

    def _own(self) -> Path:
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if self.unified and not controllers:
                return Path("/sys/fs/cgroup") / path.lstrip("/")
            if controllers == "memory":
                return Path("/sys/fs/cgroup/memory") / path.lstrip("/")
        raise AssertionError("this process is in no memory cgroup")


def _lines(file: Path) -> dict[str, int]:
    return {name: int(value) for name, _, value in (line.partition(" ") for line in file.read_text().splitlines())}
