"""A pod's quality of service: who is evicted first when a node runs short (https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from edgek.model.quantity import ZERO, Quantity
from edgek.server.resources.validation.compute import QOS_RESOURCES
from edgek.server.resources.validation.values import quantity

QualityClass = Literal["Guaranteed", "Burstable", "BestEffort"]


def quality_class(spec: Mapping[str, Any]) -> QualityClass:
    """Guaranteed: everyone limits CPU and memory and asks for just that. BestEffort: nobody asks for anything."""
    if spec.get("resources"):
        owners: list[Mapping[str, Any]] = [spec]
    else:
        owners = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    requests: dict[str, Quantity] = {}
    limits: dict[str, Quantity] = {}
    guaranteed = True
    for owner in owners:
        _add(requests, owner, "requests")
        guaranteed &= _add(limits, owner, "limits") == set(QOS_RESOURCES)
    if not requests and not limits:
        return "BestEffort"
    if guaranteed and requests == limits:
        return "Guaranteed"
    return "Burstable"


def _add(total: dict[str, Quantity], owner: Mapping[str, Any], kind: str) -> set[str]:
    """Add an owner's CPU and memory to ``total``; returns which of them it names."""
    found = set()
    for name in QOS_RESOURCES:
        amount = quantity(((owner.get("resources") or {}).get(kind) or {}).get(name))
        if amount.nanos > 0:
            total[name] = total.get(name, ZERO) + amount
            found.add(name)
    return found
