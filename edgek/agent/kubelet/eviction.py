"""When the node runs short of something: which condition to show, and which pod has to go. Pure but for reading the signals.

The thresholds are upstream's hard ones. A condition stays for five minutes after its cause has gone, so that it does not flap.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import attrs

from edgek.agent.kubelet import resources
from edgek.agent.kubelet.lifecycle import Verdict, is_static
from edgek.agent.kubelet.machine import meminfo
from edgek.host import trees
from edgek.model.objects import Object

CRITICAL_PRIORITY = 2_000_000_000
TRANSITION_S = 300.0


@attrs.frozen
class Signal:
    """Something that can run out. ``floor`` is a share of ``total``, or an amount where it is above 1."""

    name: str
    resource: str
    condition: str
    floor: float

    def threshold(self, total: float) -> float:
        return self.floor if self.floor > 1 else self.floor * total


SIGNALS = (
    Signal("memory.available", "memory", "MemoryPressure", 100 << 20),
    Signal("nodefs.available", "ephemeral-storage", "DiskPressure", 0.10),
    Signal("nodefs.inodesFree", "inodes", "DiskPressure", 0.05),
    Signal("imagefs.available", "ephemeral-storage", "DiskPressure", 0.15),
    Signal("imagefs.inodesFree", "inodes", "DiskPressure", 0.05),
    Signal("pid.available", "pids", "PIDPressure", 0.05),
)


@attrs.frozen
class Level:
    """How much there is of a signal's resource, and how much of that is left."""

    total: float
    left: float


@attrs.frozen
class Shortage:
    signal: Signal
    level: Level


def read_levels(node_fs: Path, image_fs: Path) -> dict[str, Level]:
    memory = meminfo()
    found = {"memory.available": Level(memory["MemTotal"], memory.get("MemAvailable", memory["MemFree"])), "pid.available": _pids()}
    for prefix, path in (("nodefs", node_fs), ("imagefs", image_fs)):
        try:
            stat = os.statvfs(path)
        except OSError:
            continue
        found[f"{prefix}.available"] = Level(stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize)
        if stat.f_files:
            found[f"{prefix}.inodesFree"] = Level(stat.f_files, stat.f_favail)
    return found


def _pids() -> Level:
    most = float(Path("/proc/sys/kernel/pid_max").read_text())
    present = float(Path("/proc/loadavg").read_text().split()[3].partition("/")[2])
    return Level(most, most - present)


def shortages(levels: Mapping[str, Level]) -> list[Shortage]:
    """What is below its threshold, in the order of SIGNALS."""
    return [Shortage(s, levels[s.name]) for s in SIGNALS if s.name in levels and levels[s.name].left < s.threshold(levels[s.name].total)]


@attrs.frozen
class Pressures:
    """Which conditions hold, and since when their cause was last seen. Immutable: ``seen`` gives the next one."""

    last: Mapping[str, float] = attrs.field(factory=dict)

    def seen(self, short: Sequence[Shortage], now: float) -> Pressures:
        kept = {name: at for name, at in self.last.items() if now - at < TRANSITION_S}
        return Pressures({**kept, **{s.signal.condition: now for s in short}})

    @property
    def conditions(self) -> frozenset[str]:
        return frozenset(self.last)


@attrs.frozen
class Candidate:
    """A pod with what it uses now of the resource that is short."""

    pod: Object
    using: float


def victim(shortage: Shortage, candidates: Sequence[Candidate]) -> Candidate | None:
    """Who goes first: those that use more than they asked for, of them the least important, of them the greediest."""
    name = shortage.signal.resource

    def rank(candidate: Candidate) -> tuple[bool, int, float]:
        asked = resources.requests(candidate.pod, name) if name in ("memory", "ephemeral-storage") else 0.0
        return candidate.using <= asked, int((candidate.pod.get("spec") or {}).get("priority") or 0), asked - candidate.using

    eligible = [c for c in candidates if not _critical(c.pod)]
    return min(eligible, key=rank, default=None)


def verdict(shortage: Shortage, candidate: Candidate) -> Verdict:
    """In upstream's words."""
    name, level = shortage.signal.resource, shortage.level
    floor = shortage.signal.threshold(level.total)
    text = f"The node was low on resource: {name}. Threshold quantity: {_shown(floor)}, available: {_shown(level.left)}. "
    asked = resources.requests(candidate.pod, name) if name in ("memory", "ephemeral-storage") else 0.0
    if candidate.using > asked:
        container = candidate.pod["spec"]["containers"][0]["name"]
        text += f"Container {container} was using {_shown(candidate.using)}, request is {_shown(asked)}, has larger consumption of {name}. "
    return Verdict("Evicted", text, grace_s=1.0)


def _shown(amount: float) -> str:
    return f"{int(amount) // 1024}Ki" if amount >= 1024 else f"{int(amount)}"


def _critical(pod: Object) -> bool:
    return is_static(pod) or int((pod.get("spec") or {}).get("priority") or 0) >= CRITICAL_PRIORITY


def overfull(pod: Object, sizes: Mapping[str, int]) -> Verdict | None:
    """The verdict on a pod with an emptyDir beyond its sizeLimit. ``sizes`` are bytes by volume name."""
    for volume in (pod.get("spec") or {}).get("volumes") or ():
        limit = (volume.get("emptyDir") or {}).get("sizeLimit")
        if limit and sizes.get(volume["name"], 0) > resources.number(str(limit)):
            return Verdict("Evicted", f'Usage of EmptyDir volume "{volume["name"]}" exceeds the limit "{limit}". ', grace_s=1.0)
    return None


def greedy(pod: Object, writable: Mapping[str, int]) -> Verdict | None:
    """The verdict on a pod with a container beyond its ephemeral-storage limit. ``writable``: bytes by container, its layer and its logs."""
    for container in (pod.get("spec") or {}).get("containers") or ():
        limit = resources.amount(container.get("resources"), "limits", "ephemeral-storage")
        if limit and writable.get(container["name"], 0) > limit:
            shown = container["resources"]["limits"]["ephemeral-storage"]
            text = f'Container {container["name"]} exceeded its local ephemeral storage limit "{shown}". '
            return Verdict("Evicted", text, grace_s=1.0)
    return None


def has_storage_limit(pod: Object) -> bool:
    containers = (pod.get("spec") or {}).get("containers") or ()
    return any(resources.amount(c.get("resources"), "limits", "ephemeral-storage") for c in containers)


def limited_volumes(pod: Object) -> list[str]:
    """Disk-backed emptyDirs that have a limit; those in memory are limited by the kernel."""
    return [
        str(volume["name"])
        for volume in (pod.get("spec") or {}).get("volumes") or ()
        if (volume.get("emptyDir") or {}).get("sizeLimit") and not volume["emptyDir"].get("medium")
    ]


def folder_bytes(path: Path) -> int:
    """What is in a folder, as the disk counts it."""
    total = 0
    try:
        for folder, names in trees.walk(path):
            for name in names:
                with suppress(FileNotFoundError):  # gone meanwhile
                    total += os.stat(name, dir_fd=folder, follow_symlinks=False).st_blocks * 512
    except OSError:
        return total  # what could be looked at: it is measured again
    return total
