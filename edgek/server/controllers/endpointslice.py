"""EndpointSlices: the addresses behind every Service that selects pods. A slice that would not change is not written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from edgek.client.reconcile import Cluster, Watch, own_key
from edgek.model import errors, kinds, objects
from edgek.model.objects import Object
from edgek.server.controllers import podmaking, servicepods, slices, slicing, views
from edgek.server.controllers.servicepods import Backend, ServiceView
from edgek.server.controllers.views import PodView

BY = "endpointslice-controller.k8s.io"
ZONE = "topology.kubernetes.io/zone"


def zone(node: Object) -> str | None:
    """Of a Node, only its zone; nodes without one are left out."""
    return objects.labels(node).get(ZONE)


class EndpointSliceController:
    name: ClassVar[str] = "endpointslice"
    account: ClassVar[str] = "endpointslice-controller"
    workers: ClassVar[int] = 5
    interval_s: ClassVar[float] = 0.1

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._services = cluster.informers.of(kinds.SERVICE, servicepods.service)
        self._pods = cluster.informers.of(kinds.POD, views.pod)
        self._slices = slicing.cache(cluster)
        self._zones = cluster.informers.of(kinds.NODE, zone)

    def watches(self) -> Sequence[Watch]:
        self._services.add_index("selector", servicepods.selector_index)
        self._pods.add_index("namespace", views.namespace_index)
        self._pods.add_index("node", views.node_index)
        return [
            Watch(self._services, own_key),
            Watch(self._pods, lambda key, old, new: servicepods.keys_of_pod(self._services, old, new)),
            Watch(self._slices, lambda key, old, new: slicing.keys_of_slice(BY, old, new)),
            Watch(self._zones, self._keys_of_node),
        ]

    async def reconcile(self, key: str) -> float | None:
        view = self._services.get(key)
        existing = slicing.managed(self._slices, key, BY)
        if view is None:
            await slicing.carry_out(self._cluster, self._slices, existing, [])
            return None
        if not view.selector or view.type == "ExternalName":
            return None
        pods = self._pods.by_index("namespace", view.namespace)
        wanted = [(_frame(view, family), self._endpoints(view, pods, family)) for family in view.families]
        try:
            await slicing.carry_out(self._cluster, self._slices, existing, wanted)
        except errors.Forbidden as exc:
            if not podmaking.is_terminating_namespace(exc):
                raise
        return None

    def _keys_of_node(self, name: str, old: Any, new: Any) -> Iterable[str]:
        for pod in self._pods.by_index("node", name):
            yield from servicepods.keys_of_pod(self._services, None, pod)

    def _endpoints(self, view: ServiceView, pods: Sequence[PodView], family: str) -> dict[slices.Ports, list[slices.Endpoint]]:
        found: dict[slices.Ports, list[slices.Endpoint]] = {}
        for backend in servicepods.backends(view, pods, family, terminating=True):
            ports = tuple(sorted((port.name, number, port.protocol, port.app_protocol) for port, number in backend.ports))
            found.setdefault(ports, []).append(self._endpoint(view, backend))
        return found

    def _endpoint(self, view: ServiceView, backend: Backend) -> slices.Endpoint:
        pod = backend.pod
        ready = view.publishes_unready or (pod.ready and not pod.deleting)
        zone = self._zones.get(pod.node)
        hints = _hints(view, pod.node, zone) if ready else None
        optional = {"hostname": servicepods.hostname(view, pod), "nodeName": pod.node, "zone": zone, "hints": hints}
        return {
            "addresses": [backend.address],
            "conditions": {"ready": ready, "serving": pod.ready, "terminating": pod.deleting},
            "targetRef": {"kind": "Pod", "namespace": pod.namespace, "name": pod.name, "uid": pod.uid},
            **{key: value for key, value in optional.items() if value},
        }


def _hints(view: ServiceView, node: str, zone: str | None) -> dict[str, Any]:
    """Which clients should use this endpoint, for a Service that prefers near ones."""
    hints: dict[str, Any] = {}
    if view.distribution in ("PreferClose", "PreferSameZone", "PreferSameNode") and zone:
        hints["forZones"] = [{"name": zone}]
    if view.distribution == "PreferSameNode" and node:
        hints["forNodes"] = [{"name": node}]
    return hints


def _frame(view: ServiceView, family: str) -> slices.Frame:
    labels = {key: value for key, value in view.labels.items() if key not in (slices.SERVICE_NAME, slices.MANAGED_BY, servicepods.HEADLESS)}
    labels |= {slices.SERVICE_NAME: view.name, slices.MANAGED_BY: BY}
    if view.headless:
        labels[servicepods.HEADLESS] = ""
    return slices.Frame(view.namespace, view.name, labels, {}, view.reference(), family)
