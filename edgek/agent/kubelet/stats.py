"""What pods and the node use, as /stats/summary and /metrics/resource tell it. Pure but for reading /proc."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import attrs

from edgek.agent.kubelet import volume_stats
from edgek.agent.kubelet.machine import meminfo
from edgek.agent.kubelet.volume_stats import VolumeUse
from edgek.agent.runtime.runtime import Usage
from edgek.host import wallclock
from edgek.model import objects
from edgek.model.objects import Object

TICK_NS = 10**9 // os.sysconf("SC_CLK_TCK")


@attrs.frozen
class Part:
    """A container with what it uses. ``nano_cores`` is None until there are two samples."""

    pod: Object
    container: str
    started_at: float
    usage: Usage
    nano_cores: int | None


@attrs.frozen
class NodeUse:
    at: float
    cpu_ns: int
    nano_cores: int | None
    memory_total_bytes: int
    memory_available_bytes: int
    memory_working_set_bytes: int
    disk_total_bytes: int
    disk_free_bytes: int
    inodes: int
    inodes_free: int
    booted_at: float


class Rates:
    """CPU use as a rate, from this sample and the one before."""

    def __init__(self) -> None:
        self._before: dict[str, tuple[float, int]] = {}

    def nano_cores(self, key: str, at: float, cpu_ns: int) -> int | None:
        before = self._before.get(key)
        self._before[key] = (at, cpu_ns)
        if before is None or at <= before[0]:
            return None
        return max(0, int((cpu_ns - before[1]) / (at - before[0])))

    def keep(self, keys: Iterable[str]) -> None:
        kept = set(keys)
        self._before = {key: value for key, value in self._before.items() if key in kept}


def node_use(disk: Path, rates: Rates) -> NodeUse:
    now, memory = wallclock.now(), meminfo()
    with open("/proc/stat") as lines:
        fields = next(lines).split()[1:9]
        booted = next((float(line.split()[1]) for line in lines if line.startswith("btime")), now)
    user, nice, system, _, _, irq, soft, steal = (int(field) for field in fields)
    cpu_ns = (user + nice + system + irq + soft + steal) * TICK_NS
    found = os.statvfs(disk)
    available = memory.get("MemAvailable", memory["MemFree"])
    return NodeUse(
        now, cpu_ns, rates.nano_cores("", now, cpu_ns), memory["MemTotal"], available, memory["MemTotal"] - available,
        found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize, found.f_files, found.f_favail, booted,
    )  # fmt: skip


def summary(node_name: str, node: NodeUse, parts: Sequence[Part], volumes: Sequence[VolumeUse] = ()) -> Object:
    """The body of /stats/summary."""
    at = wallclock.rfc3339(node.at)
    file_system = {
        "time": at,
        "availableBytes": node.disk_free_bytes,
        "capacityBytes": node.disk_total_bytes,
        "usedBytes": node.disk_total_bytes - node.disk_free_bytes,
        "inodes": node.inodes,
        "inodesFree": node.inodes_free,
        "inodesUsed": node.inodes - node.inodes_free,
    }
    shown: Object = {
        "nodeName": node_name,
        "startTime": wallclock.rfc3339(node.booted_at),
        "cpu": _cpu(at, node.cpu_ns, node.nano_cores),
        "memory": {
            "time": at,
            "availableBytes": node.memory_available_bytes,
            "usageBytes": node.memory_total_bytes - node.memory_available_bytes,
            "workingSetBytes": node.memory_working_set_bytes,
        },
        "fs": file_system,
        "runtime": {"imageFs": file_system},
    }
    pods = [_pod_stats(found) for found in _by_pod(parts).values()]
    for pod in pods:
        used = [volume_stats.shown(volume, at) for volume in volumes if objects.uid(volume.pod) == pod["podRef"]["uid"]]
        if used:
            pod["volume"] = used
    return {"node": shown, "pods": pods}


def _by_pod(parts: Sequence[Part]) -> Mapping[str, list[Part]]:
    found: dict[str, list[Part]] = {}
    for part in parts:
        found.setdefault(objects.uid(part.pod), []).append(part)
    return found


def _pod_stats(parts: Sequence[Part]) -> Object:
    pod, at = parts[0].pod, wallclock.rfc3339(max(part.usage.at for part in parts))
    rates = [part.nano_cores for part in parts if part.nano_cores is not None]
    return {
        "podRef": {"name": objects.name(pod), "namespace": objects.namespace(pod), "uid": objects.uid(pod)},
        "startTime": (pod.get("status") or {}).get("startTime"),
        "cpu": _cpu(at, sum(part.usage.cpu_ns for part in parts), sum(rates) if rates else None),
        "memory": _memory(at, parts),
        "containers": [
            {
                "name": part.container,
                "startTime": wallclock.rfc3339(part.started_at),
                "cpu": _cpu(wallclock.rfc3339(part.usage.at), part.usage.cpu_ns, part.nano_cores),
                "memory": _memory(wallclock.rfc3339(part.usage.at), [part]),
                "rootfs": {"time": at, "usedBytes": part.usage.writable_bytes},
            }
            for part in parts
        ],
    }


def _cpu(at: str, cpu_ns: int, nano_cores: int | None) -> Object:
    found: Object = {"time": at, "usageCoreNanoSeconds": cpu_ns}
    return found if nano_cores is None else {**found, "usageNanoCores": nano_cores}


def _memory(at: str, parts: Sequence[Part]) -> Object:
    working = sum(part.usage.memory_working_set_bytes for part in parts)
    return {"time": at, "usageBytes": working, "workingSetBytes": working, "rssBytes": sum(part.usage.memory_rss_bytes for part in parts)}


def resource_metrics(node: NodeUse, parts: Sequence[Part]) -> str:
    """The body of /metrics/resource, which metrics-server reads."""
    lines = [
        *_metric("node_cpu_usage_seconds_total", "counter", [("", node.cpu_ns / 1e9, node.at)]),
        *_metric("node_memory_working_set_bytes", "gauge", [("", node.memory_working_set_bytes, node.at)]),
    ]
    each = [(_labels(part), part) for part in parts]
    lines += _metric("container_cpu_usage_seconds_total", "counter", [(label, p.usage.cpu_ns / 1e9, p.usage.at) for label, p in each])
    lines += _metric("container_memory_working_set_bytes", "gauge", [(label, p.usage.memory_working_set_bytes, p.usage.at) for label, p in each])
    lines += _metric("container_start_time_seconds", "gauge", [(label, p.started_at, p.usage.at) for label, p in each])
    pods = [(f'{{namespace="{objects.namespace(group[0].pod)}",pod="{objects.name(group[0].pod)}"}}', group) for group in _by_pod(parts).values()]
    lines += _metric(
        "pod_cpu_usage_seconds_total", "counter", [(label, sum(p.usage.cpu_ns for p in group) / 1e9, group[0].usage.at) for label, group in pods]
    )
    lines += _metric(
        "pod_memory_working_set_bytes",
        "gauge",
        [(label, sum(p.usage.memory_working_set_bytes for p in group), group[0].usage.at) for label, group in pods],
    )
    lines += _metric("resource_scrape_error", "gauge", [("", 0, 0)])
    return "\n".join(lines) + "\n"


def _labels(part: Part) -> str:
    return f'{{container="{part.container}",namespace="{objects.namespace(part.pod)}",pod="{objects.name(part.pod)}"}}'


def _metric(name: str, kind: str, samples: Sequence[tuple[str, float, float]]) -> list[str]:
    lines = [f"{name}{label} {value:.15g}{f' {int(at * 1000)}' if at else ''}" for label, value, at in samples]
    return [f"# TYPE {name} {kind}", *lines] if lines else []
