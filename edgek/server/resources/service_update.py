"""What an update of a service keeps of the old one: addresses and ports it did not mention, and nothing that its new type cannot have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgek.model.objects import Object
from edgek.server.resources.validation.services import has_cluster_ip, has_node_ports, is_externally_accessible, needs_health_check

Spec = Mapping[str, Any]


def sync_cluster_ips(spec: Object, old: Spec | None) -> None:
    """``clusterIP`` is the older, single form of ``clusterIPs``; whoever writes only that means both."""
    if old is None:
        if spec.get("clusterIP") and not spec.get("clusterIPs"):
            spec["clusterIPs"] = [spec["clusterIP"]]
        return
    if (spec.get("clusterIPs") or []) != (old.get("clusterIPs") or []):
        return
    if spec.get("clusterIP") == old.get("clusterIP"):
        return
    if spec.get("clusterIP"):
        spec["clusterIPs"] = [spec["clusterIP"], *(spec.get("clusterIPs") or [])[1:]]
    else:
        spec.pop("clusterIPs", None)


def keep_allocated(spec: Object, old: Spec) -> None:
    """Fill in what was handed out before and is not asked to change."""
    if has_cluster_ip(old) and has_cluster_ip(spec):
        if not spec.get("clusterIP") and old.get("clusterIP"):
            spec["clusterIP"] = old["clusterIP"]
        if not spec.get("clusterIPs") and spec.get("clusterIP") == old.get("clusterIP") and old.get("clusterIPs"):
            spec["clusterIPs"] = list(old["clusterIPs"])
        for member in ("ipFamilies", "ipFamilyPolicy"):
            if not spec.get(member) and old.get(member):
                spec[member] = old[member]
    if has_node_ports(old) and has_node_ports(spec):
        _keep_node_ports(spec, old)
    if needs_health_check(old) and needs_health_check(spec) and not spec.get("healthCheckNodePort") and old.get("healthCheckNodePort"):
        spec["healthCheckNodePort"] = old["healthCheckNodePort"]


def _keep_node_ports(spec: Object, old: Spec) -> None:
    """Ports are told apart by protocol and number."""
    held = {(port.get("protocol"), port.get("port")): port.get("nodePort") for port in old.get("ports") or ()}
    used = {port.get("nodePort") for port in spec.get("ports") or ()}
    for port in spec.get("ports") or ():
        before = held.get((port.get("protocol"), port.get("port")))
        if not port.get("nodePort") and before and before not in used:
            port["nodePort"] = before


def drop_what_the_type_lacks(spec: Object, old: Spec | None) -> None:
    """Drop members that only the old type had, where the client just sent them back; what it changed it must answer for in validation."""
    if old is None:
        return
    if has_cluster_ip(old) and not has_cluster_ip(spec):
        _drop_same(spec, old, "clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy")
    if has_node_ports(old) and not has_node_ports(spec):
        _drop_node_ports(spec, old)
    if needs_health_check(old) and not needs_health_check(spec):
        _drop_same(spec, old, "healthCheckNodePort")
    if old.get("type") == "LoadBalancer" and spec.get("type") != "LoadBalancer":
        _drop_same(spec, old, "allocateLoadBalancerNodePorts", "loadBalancerClass")
    if is_externally_accessible(old) and not is_externally_accessible(spec):
        _drop_same(spec, old, "externalTrafficPolicy")
    if old.get("type") != "ExternalName" and spec.get("type") == "ExternalName":
        _drop_same(spec, old, "internalTrafficPolicy")


def _drop_same(spec: Object, old: Spec, *members: str) -> None:
    for member in members:
        if spec.get(member) == old.get(member):
            spec.pop(member, None)


def _drop_node_ports(spec: Object, old: Spec) -> None:
    held = {port.get("nodePort") for port in old.get("ports") or ()}
    for port in spec.get("ports") or ():
        if port.get("nodePort") in held:
            port.pop("nodePort", None)
