"""A cgroup that a whole node stands in, of either version of cgroups: limits its memory, and counts what all of it costs."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import attrs

ROOT = Path("/sys/fs/cgroup")
CONTROLLERS = ("memory", "cpuacct")
_numbers = itertools.count()


@attrs.frozen
class Group:
    """``name`` is what ``--cgroup-root`` may stand below."""

    name: str
    unified: bool

    @classmethod
    def make(cls, limit_bytes: int = 0) -> Group:
        group = cls(f"edgek-bench-{os.getpid()}-{next(_numbers)}", (ROOT / "cgroup.controllers").exists())
        for folder in group._folders():
            folder.mkdir()
            (folder / "node").mkdir()
        if group.unified:
            (group._of("memory") / "cgroup.subtree_control").write_text("+memory +cpu +pids")
        else:
            (group._of("memory") / "memory.use_hierarchy").write_text("1")
        if limit_bytes:
            (group._of("memory") / ("memory.max" if group.unified else "memory.limit_in_bytes")).write_text(str(limit_bytes))
        return group

    @property
    def pods(self) -> str:
        """A value for ``--cgroup-root``."""
        return f"/{self.name}/pods"

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """What this process starts meanwhile is born inside; memory that it has already stays where it is."""
        before = [_own(controller, self.unified) for controller in self._controllers()]
        for folder in self._folders():
            (folder / "node" / "cgroup.procs").write_text(str(os.getpid()))
        try:
            yield
        finally:
            for folder in before:
                (folder / "cgroup.procs").write_text(str(os.getpid()))

    def cpu_s(self) -> float:
        """Of everything that ran in it, ended processes too."""
        if self.unified:
            return _lines(self._of("cpuacct") / "cpu.stat")["usage_usec"] / 1e6
        return int((self._of("cpuacct") / "cpuacct.usage").read_text()) / 1e9

    def anonymous_mb(self) -> float:
        """What cannot be dropped and read again."""
        stat = _lines(self._of("memory") / "memory.stat")
        return stat["anon" if self.unified else "total_rss"] / 2**20

    def peak_mb(self) -> float:
        """Page cache included."""
        file = self._of("memory") / ("memory.peak" if self.unified else "memory.max_usage_in_bytes")
        return int(file.read_text()) / 2**20 if file.exists() else 0.0

    def oom_kills(self) -> int:
        folder = self._of("memory")
        files = [folder / "memory.events"] if self.unified else list(folder.rglob("memory.oom_control"))
        return sum(_lines(file).get("oom_kill", 0) for file in files)

    def remove(self) -> None:
        """From every hierarchy: runc makes a container's cgroup in all of them."""
        for top in (ROOT / self.name, *ROOT.glob(f"*/{self.name}")):
            for folder, _, _ in os.walk(top, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)

    def _controllers(self) -> tuple[str, ...]:
        return CONTROLLERS[:1] if self.unified else CONTROLLERS

    def _of(self, controller: str) -> Path:
        return ROOT / self.name if self.unified else ROOT / controller / self.name

    def _folders(self) -> list[Path]:
        return [self._of(controller) for controller in self._controllers()]


def _own(controller: str, unified: bool) -> Path:
    """Where this process stands."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if unified and not controllers:
            return ROOT / path.lstrip("/")
        if controller in controllers.split(","):
            return ROOT / controller / path.lstrip("/")
    raise AssertionError(f"this process is in no cgroup of {controller}")


def _lines(file: Path) -> dict[str, int]:
    return {name: int(value) for name, _, value in (line.partition(" ") for line in file.read_text().splitlines())}
