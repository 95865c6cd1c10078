"""Services and their endpoints as those who carry traffic see them: one view, and so one cache, for the proxy and for DNS."""

from __future__ import annotations

from typing import Any

import attrs

from edgek.model import objects
from edgek.model.objects import Object

SERVICE_NAME = "kubernetes.io/service-name"
NONE = "None"


@attrs.frozen
class ServicePort:
    name: str
    protocol: str  # TCP, UDP, SCTP
    port: int
    node_port: int  # 0: none


@attrs.frozen
class Service:
    """``cluster_ip`` is empty for ExternalName; ``headless`` says that it is ``None``. ``external_name`` is empty for all
    other types, which may carry one along."""

    namespace: str
    name: str
    type: str
    cluster_ip: str
    headless: bool
    external_name: str
    external_ips: tuple[str, ...]
    balancer_ips: tuple[str, ...]
    ports: tuple[ServicePort, ...]
    affinity_s: int  # of ClientIP affinity; 0: none
    internal_local: bool
    external_local: bool
    health_check_port: int

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"


@attrs.frozen
class Endpoint:
    """One backend. ``serving`` stays true while it terminates, until it fails its probe."""

    address: str
    ready: bool
    serving: bool
    terminating: bool
    hostname: str
    node: str
    pod: str  # namespace/name, empty where it is no pod


@attrs.frozen
class Slice:
    """An EndpointSlice of a Service; ``ports`` are ``(name, protocol, port)``."""

    namespace: str
    service: str
    address_type: str
    ports: tuple[tuple[str, str, int], ...]
    endpoints: tuple[Endpoint, ...]

    @property
    def service_key(self) -> str:
        return f"{self.namespace}/{self.service}"


def service(obj: Object) -> Service:
    spec = obj.get("spec") or {}
    address = spec.get("clusterIP") or ""
    affinity = ((spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}).get("timeoutSeconds") or 10800
    ingress = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    return Service(
        namespace=objects.namespace(obj),
        name=objects.name(obj),
        type=spec.get("type") or "ClusterIP",
        cluster_ip="" if address == NONE else address,
        headless=address == NONE,
        external_name=spec.get("externalName") or "" if spec.get("type") == "ExternalName" else "",
        external_ips=tuple(spec.get("externalIPs") or ()),
        balancer_ips=tuple(entry["ip"] for entry in ingress if entry.get("ip")),
        ports=tuple(
            ServicePort(p.get("name") or "", p.get("protocol") or "TCP", int(p["port"]), int(p.get("nodePort") or 0)) for p in spec.get("ports") or ()
        ),
        affinity_s=int(affinity) if spec.get("sessionAffinity") == "ClientIP" else 0,
        internal_local=spec.get("internalTrafficPolicy") == "Local",
        external_local=spec.get("externalTrafficPolicy") == "Local",
        health_check_port=int(spec.get("healthCheckNodePort") or 0),
    )


def slice_(obj: Object) -> Slice | None:
    """None for a slice that belongs to no Service."""
    name = objects.labels(obj).get(SERVICE_NAME)
    if not name:
        return None
    return Slice(
        namespace=objects.namespace(obj),
        service=name,
        address_type=obj.get("addressType") or "IPv4",
        ports=tuple((p.get("name") or "", p.get("protocol") or "TCP", int(p.get("port") or 0)) for p in obj.get("ports") or ()),
        endpoints=tuple(_endpoint(e) for e in obj.get("endpoints") or () if e.get("addresses")),
    )


def decode_service(found: dict[str, Any]) -> Service:
    """Of ``attrs.asdict`` and JSON. Raises KeyError, TypeError."""
    listed = {name: tuple(found[name]) for name in ("external_ips", "balancer_ips")}
    return Service(**{**found, **listed, "ports": tuple(ServicePort(**port) for port in found["ports"])})


def decode_slice(found: dict[str, Any]) -> Slice:
    """Of ``attrs.asdict`` and JSON. Raises KeyError, TypeError, ValueError."""
    ports = tuple((str(name), str(protocol), int(port)) for name, protocol, port in found["ports"])
    return Slice(**{**found, "ports": ports, "endpoints": tuple(Endpoint(**each) for each in found["endpoints"])})


def by_service(view: Slice) -> tuple[str, ...]:
    """The index by which a Service's slices are found: ``informer.add_index("service", by_service)``."""
    return (view.service_key,)


def _endpoint(raw: Object) -> Endpoint:
    conditions = raw.get("conditions") or {}
    ready = conditions.get("ready") is not False  # absent means ready
    serving = conditions.get("serving")
    target = raw.get("targetRef") or {}
    return Endpoint(
        address=raw["addresses"][0],
        ready=ready,
        serving=ready if serving is None else bool(serving),
        terminating=bool(conditions.get("terminating")),
        hostname=raw.get("hostname") or "",
        node=raw.get("nodeName") or "",
        pod=f"{target.get('namespace', '')}/{target.get('name', '')}" if target.get("kind") == "Pod" else "",
    )
