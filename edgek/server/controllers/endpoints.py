"""Endpoints, the older shape of what EndpointSlices say, for those who still read it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from edgek.client.reconcile import Cluster, Watch, own_key
from edgek.model import errors, kinds, objects
from edgek.model.objects import Object
from edgek.server.controllers import podmaking, servicepods, views
from edgek.server.controllers.servicepods import Backend, ServiceView
from edgek.server.controllers.views import PodView

MANAGED_BY = "endpoints.kubernetes.io/managed-by"
BY = "endpoint-controller"
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
ADDRESSES_MOST = 1000  # upstream's limit; the rest is in the EndpointSlices

Ports = tuple[tuple[str, int, str, str], ...]


class EndpointsController:
    name: ClassVar[str] = "endpoints"
    account: ClassVar[str] = "endpoint-controller"
    workers: ClassVar[int] = 5
    interval_s: ClassVar[float] = 0.1

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._services = cluster.informers.of(kinds.SERVICE, servicepods.service)
        self._pods = cluster.informers.of(kinds.POD, views.pod)
        self._endpoints = cluster.informers.of(kinds.ENDPOINTS, views.whole)

    def watches(self) -> Sequence[Watch]:
        self._services.add_index("selector", servicepods.selector_index)
        self._pods.add_index("namespace", views.namespace_index)
        return [
            Watch(self._services, own_key),
            Watch(self._pods, lambda key, old, new: servicepods.keys_of_pod(self._services, old, new)),
            Watch(self._endpoints, _managed_key),
        ]

    async def reconcile(self, key: str) -> float | None:
        view, seen = self._services.get(key), self._endpoints.get(key)
        if view is None:
            if seen is not None and objects.labels(seen).get(MANAGED_BY) == BY:
                await self._cluster.delete(self._endpoints, key, objects.uid(seen))
            return None
        if not view.selector or view.type == "ExternalName":
            return None
        made = _wanted(view, self._pods.by_index("namespace", view.namespace), seen)
        try:
            if seen is None:
                await self._cluster.create(self._endpoints, made)
            elif _says(seen) != _says(made):
                await self._cluster.update(self._endpoints, made)
        except errors.Forbidden as exc:
            if not podmaking.is_terminating_namespace(exc):
                raise
        return None


def _managed_key(key: str, old: Object | None, new: Object | None) -> Iterable[str]:
    if any(objects.labels(each).get(MANAGED_BY) == BY for each in (old, new) if each):
        yield key


def _says(endpoints: Object) -> tuple[Any, ...]:
    return (endpoints.get("subsets") or [], objects.labels(endpoints), objects.annotations(endpoints))


def _wanted(view: ServiceView, pods: Sequence[PodView], seen: Object | None) -> Object:
    found = servicepods.backends(view, pods, view.families[0], terminating=view.publishes_unready)
    labels = {**view.labels, MANAGED_BY: BY}
    if view.headless:
        labels[servicepods.HEADLESS] = ""
    annotations = dict(objects.annotations(seen)) if seen else {}
    annotations.pop(OVER_CAPACITY, None)
    if len(found) > ADDRESSES_MOST:
        annotations[OVER_CAPACITY] = "truncated"
        found = sorted(found, key=lambda backend: not backend.pod.ready)[:ADDRESSES_MOST]
    meta = {**(seen["metadata"] if seen else {"name": view.name, "namespace": view.namespace}), "labels": labels, "annotations": annotations}
    if not annotations:
        del meta["annotations"]
    subsets = _subsets(view, found)
    return {"apiVersion": "v1", "kind": "Endpoints", "metadata": meta, **({"subsets": subsets} if subsets else {})}


def _subsets(view: ServiceView, found: Sequence[Backend]) -> list[dict[str, Any]]:
    """Addresses that share their ports, the ready ones apart from the others; in a fixed order, so that equal is equal."""
    groups: dict[Ports, list[Backend]] = {}
    for backend in found:
        ports = tuple(sorted((port.name, number, port.protocol, port.app_protocol) for port, number in backend.ports))
        if ports or not view.ports:
            groups.setdefault(ports, []).append(backend)
    subsets = []
    for ports, members in sorted(groups.items()):
        members = sorted(members, key=lambda backend: (backend.address, backend.pod.uid))
        ready = [_address(view, each) for each in members if each.pod.ready or view.publishes_unready]
        unready = [_address(view, each) for each in members if not (each.pod.ready or view.publishes_unready)]
        subset: dict[str, Any] = {"addresses": ready, "notReadyAddresses": unready, "ports": [_port(*port) for port in ports]}
        subsets.append({key: value for key, value in subset.items() if value})
    return subsets


def _port(name: str, number: int, protocol: str, app_protocol: str) -> dict[str, Any]:
    return {**({"name": name} if name else {}), "port": number, "protocol": protocol, **({"appProtocol": app_protocol} if app_protocol else {})}


def _address(view: ServiceView, backend: Backend) -> dict[str, Any]:
    pod = backend.pod
    optional = {"hostname": servicepods.hostname(view, pod), "nodeName": pod.node}
    return {
        "ip": backend.address,
        **{key: value for key, value in optional.items() if value},
        "targetRef": {"kind": "Pod", "namespace": pod.namespace, "name": pod.name, "uid": pod.uid},
    }
