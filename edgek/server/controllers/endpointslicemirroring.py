"""EndpointSlices for Endpoints that somebody wrote by hand for a Service without a selector."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from edgek.client.reconcile import Cluster, Watch, own_key
from edgek.model import errors, kinds, objects
from edgek.model.objects import Object
from edgek.server.controllers import podmaking, servicepods, slices, slicing, views

BY = "endpointslicemirroring-controller.k8s.io"
SKIP = "endpointslice.kubernetes.io/skip-mirror"
LEADER = "control-plane.alpha.kubernetes.io/leader"
SUBSET_MOST = 1000  # addresses of a subset that are mirrored, upstream's limit
NOT_COPIED = frozenset({"kubectl.kubernetes.io/last-applied-configuration", "endpoints.kubernetes.io/last-change-trigger-time"})


class EndpointSliceMirroringController:
    name: ClassVar[str] = "endpointslicemirroring"
    account: ClassVar[str] = "endpointslicemirroring-controller"
    workers: ClassVar[int] = 2

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._services = cluster.informers.of(kinds.SERVICE, servicepods.service)
        self._endpoints = cluster.informers.of(kinds.ENDPOINTS, views.whole)
        self._slices = slicing.cache(cluster)

    def watches(self) -> Sequence[Watch]:
        return [
            Watch(self._endpoints, own_key),
            Watch(self._services, own_key),
            Watch(self._slices, lambda key, old, new: slicing.keys_of_slice(BY, old, new)),
        ]

    async def reconcile(self, key: str) -> float | None:
        endpoints, service = self._endpoints.get(key), self._services.get(key)
        existing = slicing.managed(self._slices, key, BY)
        wanted: list[tuple[slices.Frame, dict[slices.Ports, list[slices.Endpoint]]]] = []
        if endpoints is not None and service is not None and not service.selector and _is_mirrored(endpoints):
            for family in ("IPv4", "IPv6"):
                found = _mirrored(endpoints, family)
                if found:
                    wanted.append((_frame(endpoints, family), found))
        if not wanted and not existing:
            return None
        try:
            await slicing.carry_out(self._cluster, self._slices, existing, wanted)
        except errors.Forbidden as exc:
            if not podmaking.is_terminating_namespace(exc):
                raise
        return None


def _is_mirrored(endpoints: Object) -> bool:
    return objects.labels(endpoints).get(SKIP) != "true" and LEADER not in objects.annotations(endpoints) and not objects.is_deleting(endpoints)


def _mirrored(endpoints: Object, family: str) -> dict[slices.Ports, list[slices.Endpoint]]:
    found: dict[slices.Ports, list[slices.Endpoint]] = {}
    for subset in endpoints.get("subsets") or ():
        ports = slices.ports_of(subset)
        members = [*_members(subset, "addresses", True, family), *_members(subset, "notReadyAddresses", False, family)]
        if members:
            found.setdefault(ports, []).extend(members[:SUBSET_MOST])
    return found


def _members(subset: dict[str, Any], member: str, ready: bool, family: str) -> Iterable[slices.Endpoint]:
    for address in subset.get(member) or ():
        if (":" in address["ip"]) == (family == "IPv6"):
            optional = {key: address.get(key) for key in ("hostname", "nodeName", "targetRef")}
            yield {"addresses": [address["ip"]], "conditions": {"ready": ready}, **{key: value for key, value in optional.items() if value}}


def _frame(endpoints: Object, family: str) -> slices.Frame:
    labels = {**objects.labels(endpoints), slices.SERVICE_NAME: objects.name(endpoints), slices.MANAGED_BY: BY}
    annotations = {key: value for key, value in objects.annotations(endpoints).items() if key not in NOT_COPIED}
    owner = objects.controller_reference(endpoints, "v1", "Endpoints")
    return slices.Frame(objects.namespace(endpoints), objects.name(endpoints), labels, annotations, owner, family)
