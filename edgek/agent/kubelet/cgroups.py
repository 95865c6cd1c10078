"""The cgroups of whole pods: made with their limits before the sandbox, removed after it. Version 1 and version 2.

The runtime makes the groups of containers below these; nobody else would remove the pods' own.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

from edgek.agent.kubelet.resources import PERIOD_US, PodShare

V2_CONTROLLERS = ("cpu", "memory", "pids", "cpuset", "io")


class Cgroups:
    """``mount`` is where the kernel shows them."""

    def __init__(self, mount: Path = Path("/sys/fs/cgroup")) -> None:
        self._mount = mount
        self.unified = (mount / "cgroup.controllers").exists()

    def ensure(self, path: str, share: PodShare) -> None:
        """Make the group of a pod and set its limits; may be called again with others. Raises OSError."""
        if self.unified:
            self._ensure_unified(path, share)
            return
        cpu, memory = self._mount / "cpu" / path.lstrip("/"), self._mount / "memory" / path.lstrip("/")
        if (self._mount / "cpu").is_dir():
            cpu.mkdir(parents=True, exist_ok=True)
            _write(cpu / "cpu.shares", share.cpu_shares)
            _write(cpu / "cpu.cfs_quota_us", share.cpu_quota_us or -1)
        if (self._mount / "memory").is_dir():
            memory.mkdir(parents=True, exist_ok=True)
            _write(memory / "memory.limit_in_bytes", share.memory_limit_bytes or -1)

    def _ensure_unified(self, path: str, share: PodShare) -> None:
        at = self._mount
        for part in Path(path.lstrip("/")).parts:
            self._delegate(at)
            at = at / part
            at.mkdir(exist_ok=True)
        self._delegate(at)
        _write(at / "cpu.weight", 1 + ((share.cpu_shares - 2) * 9999) // 262142)
        _write(at / "cpu.max", f"{share.cpu_quota_us or 'max'} {PERIOD_US}")
        _write(at / "memory.max", share.memory_limit_bytes or "max")

    def _delegate(self, at: Path) -> None:
        """Let groups below this one have controllers of their own."""
        present = (at / "cgroup.controllers").read_text().split()
        wanted = " ".join(f"+{name}" for name in V2_CONTROLLERS if name in present)
        if wanted:
            _write(at / "cgroup.subtree_control", wanted)

    def remove(self, path: str) -> None:
        """Remove the group of a pod everywhere; what still has processes stays, and is tried again with the next call."""
        for hierarchy in self._hierarchies():
            top = hierarchy / path.lstrip("/")
            if top.is_dir():
                for folder, _, _ in os.walk(top, topdown=False):
                    _rmdir(Path(folder))

    def pods(self, kubepods: str) -> set[str]:
        """The uids of all pods that have a group below ``kubepods``."""
        return {
            found.name.removeprefix("pod")
            for hierarchy in self._hierarchies()
            for pattern in ("pod*", "burstable/pod*", "besteffort/pod*")
            for found in (hierarchy / kubepods.lstrip("/")).glob(pattern)
        }

    def _hierarchies(self) -> Iterator[Path]:
        if self.unified:
            yield self._mount
        elif self._mount.is_dir():
            yield from (found for found in self._mount.iterdir() if found.is_dir() and not found.is_symlink() and (found / "cgroup.procs").exists())


def _rmdir(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError as exc:
        if exc.errno not in (errno.EBUSY, errno.ENOENT):
            raise


def _write(file: Path, value: object) -> None:
    """In one write(2), whose errors count: a refused value shows only there."""
    try:
        descriptor = os.open(file, os.O_WRONLY)
    except FileNotFoundError:
        return  # a controller that this kernel does not have
    try:
        os.write(descriptor, f"{value}".encode())
    finally:
        os.close(descriptor)
