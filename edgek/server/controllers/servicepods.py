"""Services and the pods behind them, for all that makes endpoints: views, and which change concerns which Service."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from edgek.client.informer import Informer
from edgek.model import objects
from edgek.model.objects import Object
from edgek.server.controllers.views import PodView

HEADLESS = "service.kubernetes.io/headless"


@attrs.frozen
class ServicePort:
    name: str
    port: int
    target: int | str
    protocol: str
    app_protocol: str


@attrs.frozen
class ServiceView:
    namespace: str
    name: str
    uid: str
    labels: Mapping[str, str]
    selector: Mapping[str, str]
    type: str
    headless: bool
    ports: tuple[ServicePort, ...]
    publishes_unready: bool
    families: tuple[str, ...]
    distribution: str  # trafficDistribution

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    def reference(self) -> dict[str, Any]:
        return {"apiVersion": "v1", "kind": "Service", "name": self.name, "uid": self.uid, "controller": True, "blockOwnerDeletion": True}


@attrs.frozen
class Backend:
    """A pod behind a Service: its address, and the service ports as this pod serves them."""

    pod: PodView
    address: str
    ports: tuple[tuple[ServicePort, int], ...]


def service(obj: Object) -> ServiceView:
    spec = obj.get("spec") or {}
    return ServiceView(
        namespace=objects.namespace(obj),
        name=objects.name(obj),
        uid=objects.uid(obj),
        labels=objects.labels(obj),
        selector=spec.get("selector") or {},
        type=spec.get("type") or "ClusterIP",
        headless=spec.get("clusterIP") == "None",
        ports=tuple(_port(each) for each in spec.get("ports") or ()),
        publishes_unready=bool(spec.get("publishNotReadyAddresses")),
        families=tuple(spec.get("ipFamilies") or ("IPv4",)),
        distribution=spec.get("trafficDistribution") or "",
    )


def _port(port: Mapping[str, Any]) -> ServicePort:
    target = port.get("targetPort") or port["port"]
    return ServicePort(port.get("name") or "", port["port"], target, port.get("protocol") or "TCP", port.get("appProtocol") or "")


def selector_index(view: ServiceView) -> tuple[str, ...]:
    """One label of the selector: a pod's Services are among those found by its labels."""
    first = min(view.selector.items(), default=None)
    return (f"{view.namespace}/{first[0]}={first[1]}",) if first else ()


def keys_of_pod(services: Informer[ServiceView], old: PodView | None, new: PodView | None) -> set[str]:
    """The Services that a change of a pod concerns."""
    found = set()
    for pod in filter(None, (old, new)):
        for key, value in pod.labels.items():
            for view in services.by_index("selector", f"{pod.namespace}/{key}={value}"):
                if selects(view, pod):
                    found.add(view.key)
    return found


def selects(view: ServiceView, pod: PodView) -> bool:
    return pod.namespace == view.namespace and view.selector.items() <= pod.labels.items()


def backends(view: ServiceView, pods: Iterable[PodView], family: str, *, terminating: bool) -> list[Backend]:
    """The pods with an address of this family that have not ended, ``terminating`` ones on request; the oldest name first."""
    found = []
    for pod in sorted(pods, key=lambda pod: pod.name):
        address = next((ip for ip in pod.ips if (":" in ip) == (family == "IPv6")), "")
        if address and not pod.finished and (terminating or not pod.deleting) and selects(view, pod):
            found.append(Backend(pod, address, tuple(_served(view, pod))))
    return found


def hostname(view: ServiceView, pod: PodView) -> str:
    """The name under which the pod is found below the Service's, if it asked for one."""
    return pod.hostname if pod.hostname and pod.subdomain == view.name else ""


def _served(view: ServiceView, pod: PodView) -> Iterable[tuple[ServicePort, int]]:
    for port in view.ports:
        if isinstance(port.target, int):
            yield port, port.target
            continue
        number = next((each.port for each in pod.ports if each.name == port.target and each.protocol == port.protocol), 0)
        if number:
            yield port, number
