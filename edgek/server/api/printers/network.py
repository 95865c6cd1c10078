"""Services and what leads to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from edgek.model import objects
from edgek.model.objects import Object
from edgek.server.api.printers import cells
from edgek.server.api.printers.cells import NONE, UNSET, spec, status

_CLASS_ANNOTATION = "kubernetes.io/ingress.class"


def service(obj: Object, now: datetime) -> list[Any]:
    wanted = spec(obj)
    ips = wanted.get("clusterIPs") or [wanted.get("clusterIP") or NONE]
    ports = ",".join(map(_port, wanted.get("ports") or ())) or NONE
    where = [wanted.get("type", ""), ips[0], _external(obj), ports]
    return [cells.name(obj), *where, cells.age(obj, now), cells.labels(wanted.get("selector"))]


def _port(port: Mapping[str, Any]) -> str:
    node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
    return f"{port.get('port', 0)}{node_port}/{port.get('protocol', 'TCP')}"


def _external(obj: Object) -> str:
    wanted = spec(obj)
    match wanted.get("type"):
        case "ExternalName":
            return str(wanted.get("externalName", ""))
        case "LoadBalancer":
            balancers = _balancers(obj)
            found = ",".join(filter(None, [balancers, *(wanted.get("externalIPs") or ())]))
            return found or "<pending>"
    return ",".join(wanted.get("externalIPs") or ()) or NONE


def _balancers(obj: Object) -> str:
    ingress = (status(obj).get("loadBalancer") or {}).get("ingress") or ()
    return ",".join(sorted({found.get("ip") or found.get("hostname") or "" for found in ingress} - {""}))


def endpoints(obj: Object, now: datetime) -> list[Any]:
    shown = cells.shortened(list(_endpoints(obj))) if obj.get("subsets") else NONE
    return [cells.name(obj), shown, cells.age(obj, now)]


def _endpoints(obj: Object) -> Iterable[str]:
    for subset in obj.get("subsets") or ():
        addresses = [address.get("ip", "") for address in subset.get("addresses") or ()]
        ports = subset.get("ports") or ()
        if not ports:
            yield from addresses
        for port in ports:
            for ip in addresses:
                yield f"[{ip}]:{port.get('port')}" if ":" in ip else f"{ip}:{port.get('port')}"


def endpoint_slice(obj: Object, now: datetime) -> list[Any]:
    ports = [str(port["port"]) if port.get("port") is not None else "*" for port in obj.get("ports") or ()]
    addresses = [address for endpoint in obj.get("endpoints") or () for address in endpoint.get("addresses") or ()]
    shown = [cells.shortened(ports) or UNSET, cells.shortened(addresses) or UNSET]
    return [cells.name(obj), obj.get("addressType", ""), *shown, cells.age(obj, now)]


def ingress(obj: Object, now: datetime) -> list[Any]:
    wanted = spec(obj)
    class_name = wanted.get("ingressClassName") or objects.annotations(obj).get(_CLASS_ANNOTATION) or NONE
    hosts = [rule["host"] for rule in wanted.get("rules") or () if rule.get("host")]
    ports = "80, 443" if wanted.get("tls") else "80"
    return [cells.name(obj), class_name, cells.shortened(hosts) or "*", _balancers(obj), ports, cells.age(obj, now)]


def ingress_class(obj: Object, now: datetime) -> list[Any]:
    parameters = spec(obj).get("parameters")
    shown = NONE
    if parameters:
        group = f".{parameters['apiGroup']}" if parameters.get("apiGroup") else ""
        shown = f"{parameters.get('kind', '')}{group}/{parameters.get('name', '')}"
    return [cells.name(obj), spec(obj).get("controller", ""), shown, cells.age(obj, now)]


def network_policy(obj: Object, now: datetime) -> list[Any]:
    return [cells.name(obj), cells.selector(spec(obj).get("podSelector") or {}), cells.age(obj, now)]


def ip_address(obj: Object, now: datetime) -> list[Any]:
    """Upstream gives a cell more than there are columns."""
    parent = spec(obj).get("parentRef") or {}
    resource = ".".join(filter(None, (parent.get("resource", ""), parent.get("group", ""))))
    shown = "/".join(filter(None, (resource, parent.get("namespace", ""), parent.get("name", ""))))
    return [cells.name(obj), shown or NONE, cells.age(obj, now)]


def service_cidr(obj: Object, now: datetime) -> list[Any]:
    return [cells.name(obj), ",".join(spec(obj).get("cidrs") or ()), cells.age(obj, now)]
