"""CPU and memory of a pod's containers, from what its spec asks to what cgroups are told. Pure.

The formulas are upstream's (``pkg/kubelet/cm``): 1024 shares a CPU, a quota in 100 ms periods, and an OOM score that falls with the memory asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from edgek.agent.runtime.runtime import Resources
from edgek.model import quality, quantity
from edgek.model import requests as model_requests
from edgek.model.objects import Object

PERIOD_US = 100_000
QUOTA_LEAST_US = 1000
SHARES_LEAST = 2
SHARES_MOST = 262_144
GUARANTEED_OOM = -997
BEST_EFFORT_OOM = 1000
BURSTABLE_OOM = (2, 999)


def amount(resources: Mapping[str, Any] | None, section: str, name: str) -> float:
    """``requests`` or ``limits`` of a container in whole units (CPUs, bytes); 0 where it says nothing."""
    found = ((resources or {}).get(section) or {}).get(name)
    return 0.0 if found is None else number(str(found))


def number(text: str) -> float:
    """A quantity as a plain number."""
    return quantity.parse(text).nanos / quantity.NANO


def qos_class(pod: Object) -> str:
    """Guaranteed, Burstable or BestEffort."""
    return quality.quality_class(pod.get("spec") or {})


def shares(cpus: float) -> int:
    return max(SHARES_LEAST, min(SHARES_MOST, int(cpus * 1024)))


def quota_us(cpus: float) -> int:
    """0 where there is no limit."""
    return max(QUOTA_LEAST_US, int(cpus * PERIOD_US)) if cpus else 0


def oom_score_adj(pod: Object, container: Object, capacity_bytes: int) -> int:
    if (pod.get("spec") or {}).get("priority", 0) >= 2_000_000_000:
        return GUARANTEED_OOM
    qos = qos_class(pod)
    if qos == "Guaranteed":
        return GUARANTEED_OOM
    if qos == "BestEffort":
        return BEST_EFFORT_OOM
    asked = amount(container.get("resources"), "requests", "memory")
    low, high = BURSTABLE_OOM
    return max(low, min(high, 1000 - int(1000 * asked / max(capacity_bytes, 1))))


def of_container(pod: Object, container: Object, capacity_bytes: int) -> Resources:
    asked = container.get("resources")
    limit = amount(asked, "limits", "cpu")
    return Resources(
        cpu_shares=shares(amount(asked, "requests", "cpu") or limit),
        cpu_quota_us=quota_us(limit),
        cpu_period_us=PERIOD_US,
        memory_limit_bytes=int(amount(asked, "limits", "memory")),
        oom_score_adj=oom_score_adj(pod, container, capacity_bytes),
    )


@attrs.frozen
class PodShare:
    """What a whole pod gets: values of its cgroup. 0 means no limit."""

    cpu_shares: int
    cpu_quota_us: int
    memory_limit_bytes: int


def of_pod(pod: Object) -> PodShare:
    """Limits hold for the pod only where every container has one."""
    cpu, memory = requests(pod, "cpu"), limits(pod, "memory")
    limit = limits(pod, "cpu")
    return PodShare(shares(cpu or limit), quota_us(limit), int(memory))


def requests(pod: Object, name: str) -> float:
    """What the scheduler counts, in whole units."""
    return model_requests.of_pod(pod.get("spec") or {}).get(name, 0) / quantity.NANO


def limits(pod: Object, name: str) -> float:
    """0 where some container has no limit."""
    return model_requests.limits_of_pod(pod.get("spec") or {}).get(name, 0) / quantity.NANO
