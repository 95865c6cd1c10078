"""The rules of a service: ports, addresses, affinity, traffic policies."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from edgek.server.resources.validation import names
from edgek.server.resources.validation.containers import PROTOCOLS
from edgek.server.resources.validation.fields import SPEC, Errors, Path, items
from edgek.server.resources.validation.goview import dumped
from edgek.server.resources.validation.selectors import check_label_map

TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
AFFINITIES = ("ClientIP", "None")
FAMILIES = ("IPv4", "IPv6")
FAMILY_POLICIES = ("PreferDualStack", "RequireDualStack", "SingleStack")
TRAFFIC_POLICIES = ("Cluster", "Local")
DISTRIBUTIONS = ("PreferClose", "PreferSameNode", "PreferSameZone")
HEADLESS = "None"
LONGEST_AFFINITY_S = 86400
KUBELET_PORT = 10250
_EXTERNAL_ONLY = "may not be set for ExternalName services"
_LB_ONLY = "may only be used when `type` is 'LoadBalancer'"

Spec = Mapping[str, Any]


def is_headless(spec: Spec) -> bool:
    first: str | None = (spec.get("clusterIPs") or [spec.get("clusterIP")])[0]
    return first == HEADLESS


def has_cluster_ip(spec: Spec) -> bool:
    return spec.get("type") in ("ClusterIP", "NodePort", "LoadBalancer")


def has_node_ports(spec: Spec) -> bool:
    """Whether the type has them; a load balancer may do without."""
    return spec.get("type") in ("NodePort", "LoadBalancer")


def is_externally_accessible(spec: Spec) -> bool:
    return has_node_ports(spec) or (spec.get("type") == "ClusterIP" and bool(spec.get("externalIPs")))


def needs_health_check(spec: Spec) -> bool:
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def check_service(errors: Errors, spec: Spec) -> None:
    kind = spec.get("type") or ""
    if not spec.get("ports") and not is_headless(spec) and kind != "ExternalName":
        errors.required(SPEC / "ports")
    _check_of_type(errors, spec, kind)
    _check_ports(errors, spec)
    check_label_map(errors, SPEC / "selector", spec.get("selector"))
    _check_affinity(errors, spec)
    if kind != "ExternalName":
        _check_cluster_ips(errors, spec)
    for place, address in items(spec, "externalIPs", SPEC):
        errors.invalid_each(place, address, names.ip(address))
    errors.choice(SPEC / "type", kind, TYPES)
    if kind == "ClusterIP":
        for place, port in items(spec, "ports", SPEC):
            if port.get("nodePort"):
                errors.forbidden(place / "nodePort", "may not be used when `type` is 'ClusterIP'")
    _check_duplicates(errors, spec)
    _check_load_balancer(errors, spec, kind)
    _check_policies(errors, spec, kind)


def check_service_update(errors: Errors, new: Spec, old: Spec) -> None:
    _check_kept_address(errors, new, old)
    before, now = old.get("loadBalancerClass"), new.get("loadBalancerClass")
    if old.get("type") == "LoadBalancer" == new.get("type") and before != now:
        errors.invalid(SPEC / "loadBalancerClass", now, "may not change once set")
    check_service(errors, new)


def _check_kept_address(errors: Errors, new: Spec, old: Spec) -> None:
    """The first address is for life; a second one may come and go."""
    if "ExternalName" in (new.get("type"), old.get("type")):
        return
    addresses, before = new.get("clusterIPs") or [], old.get("clusterIPs") or []
    if before and addresses[:1] != before[:1]:
        errors.invalid((SPEC / "clusterIPs")[0], addresses, "may not change once set")


def _check_of_type(errors: Errors, spec: Spec, kind: str) -> None:
    if kind in ("LoadBalancer", "NodePort") and is_headless(spec):
        errors.invalid((SPEC / "clusterIPs")[0], HEADLESS, f"may not be set to 'None' for {kind} services")
    if kind == "LoadBalancer":
        for place, port in items(spec, "ports", SPEC):
            if port.get("port") == KUBELET_PORT:
                errors.invalid(place, KUBELET_PORT, f"may not expose port {KUBELET_PORT} externally since it is used by kubelet")
    if kind != "ExternalName":
        return
    for member in ("clusterIPs", "ipFamilies", "ipFamilyPolicy"):
        if spec.get(member):
            errors.forbidden(SPEC / member, _EXTERNAL_ONLY)
    name = (spec.get("externalName") or "").removesuffix(".")
    if name:
        errors.invalid_each(SPEC / "externalName", name, names.dns_subdomain(name))
    else:
        errors.required(SPEC / "externalName")


def _check_ports(errors: Errors, spec: Spec) -> None:
    several = len(spec.get("ports") or ()) > 1
    seen: set[str] = set()
    for place, port in items(spec, "ports", SPEC):
        name, number, target = port.get("name") or "", port.get("port") or 0, port.get("targetPort") or 0
        if name:
            errors.invalid_each(place / "name", name, names.dns_label(name))
            if name in seen:
                errors.duplicate(place / "name", name)
            seen.add(name)
        elif several:
            errors.required(place / "name")
        errors.invalid_each(place / "port", number, names.port_number(number))
        if not port.get("protocol"):
            errors.required(place / "protocol")
        else:
            errors.choice(place / "protocol", port["protocol"], PROTOCOLS)
        errors.invalid_each(place / "targetPort", target, names.port(target))
        if protocol := port.get("appProtocol"):
            errors.invalid_each(place / "appProtocol", protocol, names.qualified_name(protocol))


def _check_affinity(errors: Errors, spec: Spec) -> None:
    affinity, config, at = spec.get("sessionAffinity") or "", spec.get("sessionAffinityConfig"), SPEC / "sessionAffinityConfig"
    errors.choice(SPEC / "sessionAffinity", affinity, AFFINITIES)
    if affinity == "None" and config is not None:
        errors.forbidden(at, "must not be set when session affinity is None")
    if affinity != "ClientIP":
        return
    timeout = ((config or {}).get("clientIP") or {}).get("timeoutSeconds")
    if timeout is None:
        errors.required(at, "when session affinity type is ClientIP")
    elif not 0 < timeout <= LONGEST_AFFINITY_S:
        errors.invalid(at / "clientIP" / "timeoutSeconds", timeout, f"must be greater than 0 and less than {LONGEST_AFFINITY_S}")


def _check_cluster_ips(errors: Errors, spec: Spec) -> None:
    if spec.get("ipFamilyPolicy") is not None:
        errors.choice(SPEC / "ipFamilyPolicy", spec["ipFamilyPolicy"], FAMILY_POLICIES)
    families: list[str] = spec.get("ipFamilies") or []
    for place, family in items(spec, "ipFamilies", SPEC):
        errors.choice(place, family, FAMILIES)
        if families.count(family) > 1:
            errors.duplicate(place, family)
    addresses, at = spec.get("clusterIPs") or [], SPEC / "clusterIPs"
    if not addresses:
        if spec.get("clusterIP"):
            errors.required(at)
        return
    if addresses[0] != (spec.get("clusterIP") or ""):
        errors.invalid(at, addresses, "first value must match `clusterIP`")
    if addresses[0] == HEADLESS:
        if len(addresses) > 1:
            errors.invalid(at, addresses, "'None' must be the first and only value")
        return
    problems = [(at[index], address, names.ip(address)) for index, address in enumerate(addresses)]
    for place, address, found in problems:
        errors.invalid_each(place, address, found)
    if len(addresses) > 2:
        errors.invalid(at, addresses, "may only hold up to 2 values")
    if not any(found for *_, found in problems):
        _check_families_fit(errors, at, addresses, families)


def _check_families_fit(errors: Errors, at: Path, addresses: list[str], families: list[str]) -> None:
    for index, (address, family) in enumerate(zip(addresses, families, strict=False)):
        if family in FAMILIES and family != f"IPv{ipaddress.ip_address(address).version}":
            errors.invalid(at[index], address, f"expected an {family} value as indicated by `ipFamilies[{index}]`")


def _check_duplicates(errors: Errors, spec: Spec) -> None:
    node_ports: set[tuple[str, int]] = set()
    ports: set[tuple[str, int]] = set()
    for place, port in items(spec, "ports", SPEC):
        protocol = port.get("protocol") or ""
        if number := port.get("nodePort"):
            if (protocol, number) in node_ports:
                errors.duplicate(place / "nodePort", dumped("ServicePort", {"protocol": protocol, "nodePort": number}))
            node_ports.add((protocol, number))
    for place, port in items(spec, "ports", SPEC):
        identity = (port.get("protocol") or "", port.get("port") or 0)
        if identity in ports:
            errors.duplicate(place, dumped("ServicePort", {"protocol": identity[0], "port": identity[1]}))
        ports.add(identity)


def _check_load_balancer(errors: Errors, spec: Spec, kind: str) -> None:
    ranges = spec.get("loadBalancerSourceRanges") or ()
    if ranges and kind != "LoadBalancer":
        errors.forbidden(SPEC / "loadBalancerSourceRanges", _LB_ONLY)
    for place, cidr in items(spec, "loadBalancerSourceRanges", SPEC):
        errors.invalid_each(place, cidr, names.cidr(cidr.strip()))
    allocate = spec.get("allocateLoadBalancerNodePorts")
    if allocate is not None and kind != "LoadBalancer":
        errors.forbidden(SPEC / "allocateLoadBalancerNodePorts", _LB_ONLY)
    name = spec.get("loadBalancerClass")
    if name is None:
        return
    if kind != "LoadBalancer":
        errors.forbidden(SPEC / "loadBalancerClass", _LB_ONLY)
    else:
        errors.invalid_each(SPEC / "loadBalancerClass", name, names.qualified_name(name))


def _check_policies(errors: Errors, spec: Spec, kind: str) -> None:
    external, at = spec.get("externalTrafficPolicy") or "", SPEC / "externalTrafficPolicy"
    if is_externally_accessible(spec):
        errors.choice(at, external, TRAFFIC_POLICIES)
    elif external:
        errors.invalid(at, external, "may only be set for externally-accessible services")
    if spec.get("healthCheckNodePort") and not needs_health_check(spec):
        detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        errors.invalid(SPEC / "healthCheckNodePort", spec["healthCheckNodePort"], detail)
    internal = spec.get("internalTrafficPolicy")
    if internal is not None:
        errors.choice(SPEC / "internalTrafficPolicy", internal, TRAFFIC_POLICIES)
    elif kind in ("ClusterIP", "NodePort", "LoadBalancer"):
        errors.required(SPEC / "internalTrafficPolicy")
    if spec.get("trafficDistribution") is not None:
        errors.choice(SPEC / "trafficDistribution", spec["trafficDistribution"], DISTRIBUTIONS)
