"""What a cluster holds from the start, as values: each object, and how to mend one that is there already.

``bootstrap.py`` writes them.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs
import orjson

from edgek.model import kinds, objects, packed
from edgek.model.kinds import Kind
from edgek.model.local_storage import FORMER, HOSTPATH, OWN
from edgek.model.objects import Object
from edgek.server.api.authn import FRONT_PROXY_NAMES

APISERVER_SERVICE = "kubernetes"
NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
PRIORITY_CLASS_TEXTS: Mapping[str, str] = {
    "system-node-critical": "Used for system critical pods that must not be moved from their current node.",
    "system-cluster-critical": "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
}
AUTOUPDATE_SPEC = "apf.kubernetes.io/autoupdate-spec"
DNS_SERVICE = "kube-dns"

# What is there → what should be written instead, or None when it is fine.
Mend = Callable[[Object], Object | None]


@attrs.frozen
class Settings:
    """``advertise_address`` is where nodes reach the API; the authorities are PEM. ``cluster_dns`` empty: no DNS Service."""

    service_cidr: str
    advertise_address: str
    port: int
    client_ca: bytes
    front_proxy_ca: bytes
    cluster_dns: str = ""
    local_storage: bool = False


@attrs.frozen
class Condition:
    """What an object's status should say from the start. Upstream's controllers would; ours is true as soon as the object is there."""

    type: str
    status: str
    reason: str
    message: str

    def holds(self, seen: Object) -> bool:
        return objects.condition_is(seen, self.type, self.status)


AVAILABLE = Condition("Available", "True", "Local", "Local APIServices are always available")
READY = Condition("Ready", "True", "", "Kubernetes Service CIDR is ready")
NOT_DANGLING = Condition("Dangling", "False", "Found", "This FlowSchema references the PriorityLevelConfiguration object and it exists")


@attrs.frozen
class Default:
    kind: Kind
    obj: Object
    mend: Mend = lambda seen: None
    condition: Condition | None = None
    renew: Mend = lambda seen: None  # as mend, for what cannot be changed: it goes, and this comes in its place

    @property
    def key(self) -> tuple[Kind, str, str]:
        return self.kind, objects.namespace(self.obj), objects.name(self.obj)


def all_of(settings: Settings) -> Iterator[Default]:
    """Everything but RBAC (``default_roles.py``) and the namespaces, which must be there first."""
    found = packed.load("objects")
    yield from _priority_classes(found["priorityclasses"])
    for kind in (kinds.PRIORITY_LEVEL_CONFIGURATION, kinds.FLOW_SCHEMA):
        for name, body in found[kind.plural].items():
            yield _flow_control(kind, name, body["spec"])
    yield from _api_services(found["apiservices"])
    cidr = _object(kinds.SERVICE_CIDR, "kubernetes", spec={"cidrs": [settings.service_cidr]})
    yield Default(kinds.SERVICE_CIDR, cidr, condition=READY)
    yield from _apiserver(settings)
    yield _authentication(settings)
    if settings.cluster_dns:
        yield Default(kinds.SERVICE, _dns_service(settings.cluster_dns))
    if settings.local_storage:
        yield _local_storage_class()
        yield from _csi_drivers()


def kept(settings: Settings) -> Iterator[Default]:
    """Without these no pod finds the API, or its volume: they are mended while the server runs, not only when it starts."""
    yield from namespaces()
    yield from _apiserver(settings)
    if settings.local_storage:
        yield from _csi_drivers()


def namespaces() -> Iterator[Default]:
    for name in NAMESPACES:
        yield Default(kinds.NAMESPACE, _object(kinds.NAMESPACE, name))


def held_to(wanted: Object) -> Mend:
    """Whatever ``wanted`` says must be so; what it does not speak of stays as it is."""

    def mend(seen: Object) -> Object | None:
        return None if contains(seen, wanted) else merged(seen, wanted)

    return mend


def contains(seen: Any, wanted: Any) -> bool:
    """Whether everything in ``wanted`` is in ``seen``: servers add members, but no entries to lists."""
    if isinstance(wanted, dict):
        return isinstance(seen, dict) and all(key in seen and contains(seen[key], value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(seen, list) and len(seen) == len(wanted) and all(map(contains, seen, wanted))
    return bool(seen == wanted)


def merged(seen: Object, wanted: Object) -> Object:
    result = dict(seen)
    for key, value in wanted.items():
        here = seen.get(key)
        result[key] = merged(here, value) if isinstance(here, dict) and isinstance(value, dict) else value
    return result


def _object(kind: Kind, name: str, namespace: str = "", *, labels: Mapping[str, str] | None = None, **members: Any) -> Object:
    meta: Object = {"name": name}
    if namespace:
        meta["namespace"] = namespace
    if labels:
        meta["labels"] = dict(labels)
    return {"apiVersion": kind.api_version, "kind": kind.name, "metadata": meta, **members}


def _priority_classes(found: Mapping[str, Object]) -> Iterator[Default]:
    for name, body in found.items():
        yield Default(kinds.PRIORITY_CLASS, _object(kinds.PRIORITY_CLASS, name, **body, description=PRIORITY_CLASS_TEXTS[name]))


def _flow_control(kind: Kind, name: str, spec: Object) -> Default:
    """Kept as we want it until somebody turns the annotation off."""
    wanted = _object(kind, name, spec=spec)
    wanted["metadata"]["annotations"] = {AUTOUPDATE_SPEC: "true"}
    hold = held_to(wanted)
    condition = NOT_DANGLING if kind == kinds.FLOW_SCHEMA else None
    return Default(kind, wanted, lambda seen: hold(seen) if objects.annotations(seen).get(AUTOUPDATE_SPEC) == "true" else None, condition)


def _api_services(found: Mapping[str, Object]) -> Iterator[Default]:
    served = {("", "v1"), *((group, version) for group, versions in kinds.GROUPS for version in versions)}
    for name, body in found.items():
        spec = body["spec"]
        if (spec.get("group", ""), spec["version"]) in served:
            labels = {"kube-aggregator.kubernetes.io/automanaged": "onstart"}
            yield Default(kinds.API_SERVICE, _object(kinds.API_SERVICE, name, labels=labels, spec=spec), condition=AVAILABLE)


def _apiserver(settings: Settings) -> Iterator[Default]:
    """The Service by which pods find the API, and where it leads: no selector, so nobody else keeps its endpoints."""
    first = str(next(ipaddress.ip_network(settings.service_cidr).hosts()))
    port = {"name": "https", "port": settings.port, "protocol": "TCP"}
    spec = {
        "type": "ClusterIP",
        "clusterIP": first,
        "clusterIPs": [first],
        "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": settings.port}],
        "sessionAffinity": "None",
    }
    labels = {"component": "apiserver", "provider": "kubernetes"}
    yield Default(kinds.SERVICE, _object(kinds.SERVICE, APISERVER_SERVICE, "default", labels=labels, spec=spec))

    if ipaddress.ip_address(settings.advertise_address).is_loopback:
        return  # no pod could reach it there, and the API refuses such endpoints

    subsets = [{"addresses": [{"ip": settings.advertise_address}], "ports": [port]}]
    skip_mirror = {"endpointslice.kubernetes.io/skip-mirror": "true"}
    old_way = _object(kinds.ENDPOINTS, APISERVER_SERVICE, "default", labels=skip_mirror, subsets=subsets)
    yield Default(kinds.ENDPOINTS, old_way, held_to(old_way))

    family = "IPv6" if ":" in settings.advertise_address else "IPv4"
    endpoints = [{"addresses": [settings.advertise_address], "conditions": {"ready": True}}]
    named = {"kubernetes.io/service-name": APISERVER_SERVICE}
    slice_ = _object(kinds.ENDPOINT_SLICE, APISERVER_SERVICE, "default", labels=named, addressType=family, endpoints=endpoints, ports=[port])
    yield Default(kinds.ENDPOINT_SLICE, slice_, held_to(slice_))


def _authentication(settings: Settings) -> Default:
    """From which API servers that extend this one learn whom to believe."""
    members = {
        "client-ca-file": settings.client_ca.decode(),
        "requestheader-client-ca-file": settings.front_proxy_ca.decode(),
        "requestheader-allowed-names": _json(list(FRONT_PROXY_NAMES)),
        "requestheader-username-headers": _json(["X-Remote-User"]),
        "requestheader-uid-headers": _json(["X-Remote-Uid"]),
        "requestheader-group-headers": _json(["X-Remote-Group"]),
        "requestheader-extra-headers-prefix": _json(["X-Remote-Extra-"]),
    }
    wanted = _object(kinds.CONFIG_MAP, "extension-apiserver-authentication", "kube-system", data=members)
    return Default(kinds.CONFIG_MAP, wanted, held_to(wanted))


def _dns_service(address: str) -> Object:
    """Holds the address on which every node answers itself (``edgek/dns``): there are no pods behind it."""
    ports = [{"name": name, "port": 53, "protocol": protocol, "targetPort": 53} for name, protocol in (("dns", "UDP"), ("dns-tcp", "TCP"))]
    labels = {"k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS"}
    spec = {"type": "ClusterIP", "clusterIP": address, "clusterIPs": [address], "ports": ports}
    return _object(kinds.SERVICE, DNS_SERVICE, "kube-system", labels=labels, spec=spec)


def _local_storage_class() -> Default:
    """Of a cluster from before there were drivers it is made anew: a class's provisioner cannot be changed. What an operator wrote on it stays."""
    made = _object(kinds.STORAGE_CLASS, "local-path", provisioner=HOSTPATH, reclaimPolicy="Delete", volumeBindingMode="WaitForFirstConsumer")
    made["allowVolumeExpansion"] = True
    made["metadata"]["annotations"] = {"storageclass.kubernetes.io/is-default-class": "true"}

    def renewed(seen: Object) -> Object | None:
        if seen.get("provisioner") != FORMER:
            return None
        meta = {key: value for key, value in objects.metadata(seen).items() if key in ("name", "labels", "annotations")}
        return {**seen, "metadata": meta, "provisioner": HOSTPATH, "allowVolumeExpansion": True}

    return Default(kinds.STORAGE_CLASS, made, renew=renewed)


def _csi_drivers() -> Iterator[Default]:
    """Of the drivers that edgek brings. Volumes need no attaching, and take the group that their pods want.

    Without such an object a volume would wait for an attacher that nobody has. What an operator changes in one is honoured, but for that.
    """
    for name in sorted(OWN):
        spec = {"attachRequired": False, "podInfoOnMount": False, "fsGroupPolicy": "File", "volumeLifecycleModes": ["Persistent"]}
        made = _object(kinds.CSI_DRIVER, name, spec=spec)
        yield Default(kinds.CSI_DRIVER, made, renew=_never_attached)


def _never_attached(seen: Object) -> Object | None:
    spec = seen.get("spec") or {}
    if spec.get("attachRequired") is False:
        return None
    meta = {key: value for key, value in objects.metadata(seen).items() if key in ("name", "labels", "annotations")}
    return {**seen, "metadata": meta, "spec": {**spec, "attachRequired": False}}


def _json(value: list[str]) -> str:
    return orjson.dumps(value).decode()
