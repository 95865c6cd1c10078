"""What a pod asks for in all: what the scheduler counts against a node, the kubelet against itself, a quota against a namespace."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from edgek.model import quantity
from edgek.model.objects import Object


def of_pod(spec: Mapping[str, Any]) -> dict[str, int]:
    """What a pod asks for: resource name → billionths (``quantity.Quantity.nanos``). A limit without a request is one."""
    return _needed(spec, _requests)


def limits_of_pod(spec: Mapping[str, Any]) -> dict[str, int]:
    """What a pod may use, likewise; without those resources that some container may use without limit."""
    every = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    found = _needed(spec, _limits)
    own = _limits(spec)
    return {name: amount for name, amount in found.items() if name in own or all(name in _limits(container) for container in every)}


def _needed(spec: Mapping[str, Any], amounts: Callable[[Mapping[str, Any]], dict[str, int]]) -> dict[str, int]:
    """The containers and sidecars run together; an init container runs beside the sidecars before it; the pod needs the larger of both.

    Its overhead comes on top. What the whole pod asks for (``spec.resources``) counts instead of its containers' where it is given.
    """
    together: Counter[str] = Counter()
    peak: dict[str, int] = {}
    for container in spec.get("initContainers") or ():
        own = amounts(container)
        if container.get("restartPolicy") == "Always":
            together.update(own)
            own = dict(together)
        else:
            own = {name: own.get(name, 0) + together[name] for name in {*own, *together}}
        peak = largest(peak, own)
    for container in spec.get("containers") or ():
        together.update(amounts(container))
    total = largest(peak, together)
    total.update(amounts(spec))
    for name, amount in parsed(spec.get("overhead")).items():
        total[name] = total.get(name, 0) + amount
    return total


def largest(*parts: Mapping[str, int]) -> dict[str, int]:
    """The largest of each resource."""
    return {name: max(part.get(name, 0) for part in parts) for name in sorted({name for part in parts for name in part})}


def parsed(quantities: Mapping[str, Any] | None) -> dict[str, int]:
    """``{"cpu": "250m"}`` → ``{"cpu": 250000000}``."""
    return {name: quantity.parse(str(text)).nanos for name, text in (quantities or {}).items()}


HostPort = tuple[str, str, int]  # host IP, protocol, port
EVERY_ADDRESS = "0.0.0.0"


def host_ports(spec: Mapping[str, Any]) -> frozenset[HostPort]:
    """``(host IP or "0.0.0.0", protocol, port)`` of all containers that stay."""
    found = set()
    for container in _staying(spec):
        for port in container.get("ports") or ():
            if port.get("hostPort"):
                found.add((port.get("hostIP") or EVERY_ADDRESS, port.get("protocol") or "TCP", int(port["hostPort"])))
    return frozenset(found)


def ports_clash(wanted: Iterable[HostPort], taken: Collection[HostPort]) -> bool:
    """Whether one of them is taken: two pods cannot have the same port on an address, and 0.0.0.0 is every address."""
    return any(
        (protocol, number) == (other_protocol, other_number) and (address == other or EVERY_ADDRESS in (address, other))
        for address, protocol, number in wanted
        for other, other_protocol, other_number in taken
    )


def claims(pod_name: str, spec: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the PersistentVolumeClaims that a pod mounts, those made for it included."""
    found = []
    for volume in spec.get("volumes") or ():
        if "persistentVolumeClaim" in volume:
            found.append(volume["persistentVolumeClaim"].get("claimName", ""))
        elif "ephemeral" in volume:
            found.append(f"{pod_name}-{volume['name']}")
    return tuple(found)


def own_claims(pod_name: str, spec: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the PersistentVolumeClaims that are made for a pod, and go with it."""
    return tuple(f"{pod_name}-{volume['name']}" for volume in spec.get("volumes") or () if "ephemeral" in volume)


def _staying(spec: Mapping[str, Any]) -> Iterable[Object]:
    yield from spec.get("containers") or ()
    yield from (c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always")


def _requests(container: Mapping[str, Any]) -> dict[str, int]:
    asked = container.get("resources") or {}
    return {**parsed(asked.get("limits")), **parsed(asked.get("requests"))}


def _limits(container: Mapping[str, Any]) -> dict[str, int]:
    return parsed((container.get("resources") or {}).get("limits"))
