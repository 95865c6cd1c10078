"""CPU and memory of a pod's containers, from what its spec asks to what cgroups are told. Pure.

The formulas are upstream's (``pkg/kubelet/cm``): 1024 shares a CPU, a quota in 100 ms periods, and an OOM score that falls with the memory asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from edgek.agent.runtime.runtime import Resources
from edgek.model import quantity
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
    spec = pod.get("spec") or {}
    own = spec.get("resources")
    if own and (own.get("requests") or own.get("limits")):
        return _qos([own])
    return _qos([c.get("resources") or {} for c in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ()))])


def _qos(parts: Iterable[Mapping[str, Any]]) -> str:
    guaranteed, anything = True, False
    for part in parts:
        for name in ("cpu", "memory"):
            limit = amount(part, "limits", name)
            request = amount(part, "requests", name) or limit
            anything = anything or bool(limit or request)
            guaranteed = guaranteed and bool(limit) and limit == request
    if not anything:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


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
    """What the scheduler counts: all containers together, or the largest init container with the sidecars before it, and the overhead."""
    return _total(pod, "requests", name, every=False)


def limits(pod: Object, name: str) -> float:
    """0 where some container has no limit."""
    return _total(pod, "limits", name, every=True)


def _total(pod: Object, section: str, name: str, *, every: bool) -> float:
    spec = pod.get("spec") or {}
    overhead = number(str((spec.get("overhead") or {}).get(name, "0")))
    own = amount(spec.get("resources"), section, name)
    if own:
        return own + overhead
    regular = [_want(c, section, name) for c in spec.get("containers") or ()]
    first = [(_want(c, section, name), c.get("restartPolicy") == "Always") for c in spec.get("initContainers") or ()]
    if every and not all([*regular, *(value for value, _ in first)]):
        return 0.0
    sidecars, most = 0.0, 0.0
    for value, stays in first:
        most = max(most, sidecars + value)
        sidecars += value if stays else 0.0
    found = max(most, sidecars + sum(regular))
    return found + overhead if found or not every else 0.0


def _want(container: Object, section: str, name: str) -> float:
    found = amount(container.get("resources"), section, name)
    if section == "requests":
        return found or amount(container.get("resources"), "limits", name)
    return found
