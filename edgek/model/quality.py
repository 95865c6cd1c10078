"""A pod's quality of service: who is evicted first when a node runs short (https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from edgek.model.quantity import ZERO, Quantity, QuantityError, parse

QOS_RESOURCES = ("cpu", "memory")

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
        asked = owner.get("resources") or {}
        limit = (asked.get("limits") or {}).get(name)  # a limit without a request is one
        amount = _quantity((asked.get(kind) or {}).get(name) or limit if kind == "requests" else limit)
        if amount.nanos > 0:
            total[name] = total.get(name, ZERO) + amount
            found.add(name)
    return found


def _quantity(text: str | None) -> Quantity:
    """What is no quantity counts as nothing: somebody else says so."""
    try:
        return parse(str(text or "0"))
    except QuantityError:
        return ZERO
