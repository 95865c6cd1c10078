"""Services: a stable address before changing pods. Addresses and node ports are handed out by ``service_addresses.py``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgek.model import kinds, objects
from edgek.model.objects import Object
from edgek.server.resources.allocators import Allocators
from edgek.server.resources.base import Resource
from edgek.server.resources.pod_defaults import fill_blanks, fill_members
from edgek.server.resources.service_addresses import allocate, release
from edgek.server.resources.service_update import drop_what_the_type_lacks, keep_allocated, sync_cluster_ips
from edgek.server.resources.validation import names
from edgek.server.resources.validation.fields import STATUS, Errors, FieldError
from edgek.server.resources.validation.services import check_service, check_service_update, is_externally_accessible, is_headless

AFFINITY_TIMEOUT_S = 10800
_OLD_HINTS = "service.kubernetes.io/topology-aware-hints"


class Service(Resource):
    creates_on_update = True

    def __init__(self) -> None:
        super().__init__(kinds.SERVICE)

    def name_problems(self, name: str) -> Sequence[str]:
        return names.dns_label_1035(name)

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        fill_blanks(spec, {"sessionAffinity": "None", "type": "ClusterIP"})
        if spec["sessionAffinity"] == "None":
            spec.pop("sessionAffinityConfig", None)
        elif spec["sessionAffinity"] == "ClientIP":
            fill_members(spec, {"sessionAffinityConfig": {}})
            fill_members(spec["sessionAffinityConfig"], {"clientIP": {}})
            fill_members(spec["sessionAffinityConfig"]["clientIP"], {"timeoutSeconds": AFFINITY_TIMEOUT_S})
        for port in spec.get("ports") or ():
            fill_blanks(port, {"protocol": "TCP"})
            if port.get("targetPort") in (None, 0, ""):
                port["targetPort"] = port.get("port") or 0
        if is_externally_accessible(spec):
            fill_blanks(spec, {"externalTrafficPolicy": "Cluster"})
        if spec["type"] in ("ClusterIP", "NodePort", "LoadBalancer"):
            fill_members(spec, {"internalTrafficPolicy": "Cluster"})
        if spec["type"] == "LoadBalancer":
            fill_members(spec, {"allocateLoadBalancerNodePorts": True})

    def prepare_create(self, obj: Object) -> None:
        super().prepare_create(obj)
        sync_cluster_ips(obj["spec"], None)
        drop_what_the_type_lacks(obj["spec"], None)

    def prepare_update(self, obj: Object, old: Object, subresource: str) -> None:
        super().prepare_update(obj, old, subresource)
        if subresource == "status":
            return
        sync_cluster_ips(obj["spec"], old["spec"])
        keep_allocated(obj["spec"], old["spec"])
        drop_what_the_type_lacks(obj["spec"], old["spec"])

    def validate(self, obj: Object) -> Sequence[FieldError]:
        errors = Errors()
        check_service(errors, obj.get("spec") or {})
        return errors.found

    def validate_update(self, obj: Object, old: Object, subresource: str) -> Sequence[FieldError]:
        errors = Errors()
        if subresource == "status":
            _check_status(errors, obj)
            return errors.found
        check_service_update(errors, obj.get("spec") or {}, old.get("spec") or {})
        return errors.found

    def allocate(self, obj: Object, old: Object | None, allocators: Allocators) -> Sequence[FieldError]:
        return allocate(obj, old, allocators)

    def release(self, obj: Object, kept: Object | None, allocators: Allocators) -> None:
        release(obj, kept, allocators)

    def warnings(self, obj: Object, old: Object | None) -> Sequence[str]:
        if old is not None and obj.get("spec") == old.get("spec") and objects.annotations(obj) == objects.annotations(old):
            return ()
        spec, found = obj.get("spec") or {}, []
        if _OLD_HINTS in objects.annotations(obj):
            found.append(f"annotation {_OLD_HINTS} is deprecated, please use service.kubernetes.io/topology-mode instead")
        if is_headless(spec):
            ignored = {"loadBalancerIP": "spec.loadBalancerIP", "externalIPs": "spec.externalIPs"}
            found += [f"{shown} is ignored for headless services" for name, shown in ignored.items() if spec.get(name)]
            if spec.get("sessionAffinity") not in (None, "", "None"):
                found.append("spec.SessionAffinity is ignored for headless services")
        if spec.get("type") == "ExternalName" and spec.get("externalIPs"):
            found.append('spec.externalIPs is ignored when spec.type is "ExternalName"')
        if spec.get("type") != "ExternalName" and spec.get("externalName"):
            found.append('spec.externalName is ignored when spec.type is not "ExternalName"')
        if spec.get("trafficDistribution") == "PreferClose":
            found.append('spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"')
        return found

    def fields(self, obj: Object) -> Mapping[str, str]:
        spec: Mapping[str, Any] = obj.get("spec") or {}
        return {"spec.clusterIP": spec.get("clusterIP") or "", "spec.type": spec.get("type") or ""}


def _check_status(errors: Errors, service: Object) -> None:
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress")
    at = STATUS / "loadBalancer" / "ingress"
    if ingress and (service.get("spec") or {}).get("type") != "LoadBalancer":
        errors.forbidden(at, "may only be used when `spec.type` is 'LoadBalancer'")
        return
    for index, each in enumerate(ingress or ()):
        if each.get("ip"):
            errors.invalid_each(at[index] / "ip", each["ip"], names.ip(each["ip"]))
        if each.get("hostname"):
            errors.invalid_each(at[index] / "hostname", each["hostname"], names.dns_subdomain(each["hostname"]))
