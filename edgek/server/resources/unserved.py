"""What is stored and then nothing happens: kinds whose controllers edgek does not have (yet), said to whoever creates one.

Given to the API of a whole cluster as its ``notices``. An API alone, without controllers, has nothing to say here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgek.model import kinds
from edgek.model.kinds import Kind
from edgek.model.objects import Object

Notices = Callable[[Kind, Object, Object | None], Sequence[str]]

_UNSERVED: dict[Kind, str] = {
    kinds.STATEFUL_SET: "no pods are made for a StatefulSet",
    kinds.CRON_JOB: "a CronJob starts no Jobs",
    kinds.HORIZONTAL_POD_AUTOSCALER: "a HorizontalPodAutoscaler scales nothing",
    kinds.HORIZONTAL_POD_AUTOSCALER_V1: "a HorizontalPodAutoscaler scales nothing",
    kinds.NETWORK_POLICY: "a NetworkPolicy is not enforced: traffic flows as if it were not there",
    kinds.INGRESS: "no controller serves an Ingress unless you install one",
}
_NO_BALANCER = "type LoadBalancer gets no external address; the service answers on its cluster IP and node ports"


def no_notices(kind: Kind, obj: Object, old: Object | None) -> Sequence[str]:
    return ()


def notices(kind: Kind, obj: Object, old: Object | None) -> Sequence[str]:
    """Said once, when an object comes into being or becomes what is not served."""
    if kind is kinds.SERVICE:
        became = _is_balancer(obj) and not (old is not None and _is_balancer(old))
        return (f"edgek: {_NO_BALANCER}",) if became else ()
    text = _UNSERVED.get(kind)
    return (f"edgek: {text}",) if text and old is None else ()


def _is_balancer(service: Object) -> bool:
    """One that waits for edgek: other implementations announce themselves by a class."""
    spec = service.get("spec") or {}
    return spec.get("type") == "LoadBalancer" and not spec.get("loadBalancerClass")
