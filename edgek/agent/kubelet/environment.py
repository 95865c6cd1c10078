"""A container's environment: ``env``, ``envFrom``, the services of the namespace, ``$(VAR)``. Pure, given the objects that are referred to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from edgek.agent.kubelet.resources import amount, number
from edgek.client.services import Service
from edgek.model import kinds, objects
from edgek.model.kinds import Kind
from edgek.model.objects import Object

REFERENCE = re.compile(r"\$(\$|\([^()]*\))")
SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['(.+)'\]")
Found = Mapping[tuple[Kind, str], Object | None]


class ConfigError(Exception):
    """The container cannot be made from what its spec refers to: CreateContainerConfigError."""


@attrs.frozen
class Surroundings:
    """What a container may ask of its pod and its node."""

    host_ips: tuple[str, ...]
    pod_ips: tuple[str, ...]
    services: tuple[Service, ...] = ()
    allocatable: Mapping[str, str] = attrs.field(factory=dict)


def references(container: Object) -> set[tuple[Kind, str]]:
    """The ConfigMaps and Secrets that the environment is made from."""
    found: set[tuple[Kind, str]] = set()
    for source in container.get("envFrom") or ():
        found |= {(kind, source[key]["name"]) for key, kind in (("configMapRef", kinds.CONFIG_MAP), ("secretRef", kinds.SECRET)) if source.get(key)}
    for entry in container.get("env") or ():
        source = entry.get("valueFrom") or {}
        pairs = (("configMapKeyRef", kinds.CONFIG_MAP), ("secretKeyRef", kinds.SECRET))
        found |= {(kind, source[key]["name"]) for key, kind in pairs if source.get(key)}
    return found


def environment(pod: Object, container: Object, found: Found, around: Surroundings) -> dict[str, str]:
    """Raises ConfigError. Later sources win, as upstream: services, then envFrom, then env."""
    links = (pod.get("spec") or {}).get("enableServiceLinks")
    result = service_variables(around.services, objects.namespace(pod), all_of_namespace=links is not False)
    for source in container.get("envFrom") or ():
        result.update(_from(pod, source, found))
    for entry in container.get("env") or ():
        value = _value(pod, container, entry, found, around, result)
        if value is not None:
            result[entry["name"]] = value
    return result


def _from(pod: Object, source: Object, found: Found) -> dict[str, str]:
    prefix = source.get("prefix") or ""
    key, kind = ("configMapRef", kinds.CONFIG_MAP) if source.get("configMapRef") else ("secretRef", kinds.SECRET)
    reference = source[key]
    obj = found.get((kind, reference["name"]))
    if obj is None:
        if reference.get("optional"):
            return {}
        raise ConfigError(f'{kind.singular} "{reference["name"]}" not found')
    return {prefix + name: value for name, value in texts(obj).items()}


def texts(obj: Object) -> dict[str, str]:
    """The entries of a ConfigMap or Secret as text."""
    return {name: value.decode(errors="surrogateescape") for name, value in contents(obj).items()}


def contents(obj: Object) -> dict[str, bytes]:
    """The entries of a ConfigMap or Secret."""
    import base64

    if obj.get("kind") == "Secret" or "type" in obj:
        return {name: base64.b64decode(value) for name, value in (obj.get("data") or {}).items()}
    plain = {name: value.encode() for name, value in (obj.get("data") or {}).items()}
    return plain | {name: base64.b64decode(value) for name, value in (obj.get("binaryData") or {}).items()}


def _value(pod: Object, container: Object, entry: Object, found: Found, around: Surroundings, known: Mapping[str, str]) -> str | None:
    source = entry.get("valueFrom")
    if not source:
        return expand(entry.get("value") or "", known)
    if source.get("fieldRef"):
        return field(pod, source["fieldRef"]["fieldPath"], around)
    if source.get("resourceFieldRef"):
        return resource_field(pod, container, source["resourceFieldRef"], around.allocatable)
    for key, kind in (("configMapKeyRef", kinds.CONFIG_MAP), ("secretKeyRef", kinds.SECRET)):
        if source.get(key):
            return _keyed(pod, kind, source[key], found)
    raise ConfigError(f"variable {entry['name']!r}: this kind of valueFrom is not supported")


def _keyed(pod: Object, kind: Kind, reference: Object, found: Found) -> str | None:
    obj = found.get((kind, reference["name"]))
    if obj is None and not reference.get("optional"):
        raise ConfigError(f'{kind.singular} "{reference["name"]}" not found')
    values = texts(obj) if obj else {}
    if reference["key"] not in values:
        if reference.get("optional"):
            return None
        raise ConfigError(f"couldn't find key {reference['key']} in {kind.name} {objects.namespace(pod)}/{reference['name']}")
    return values[reference["key"]]


def field(pod: Object, path: str, around: Surroundings) -> str:
    """A field of the pod, as the downward API names it."""
    subscript = SUBSCRIPT.fullmatch(path)
    if subscript:
        entries = objects.labels(pod) if subscript[1] == "labels" else objects.annotations(pod)
        return entries.get(subscript[2], "")
    spec = pod.get("spec") or {}
    simple = {
        "metadata.name": objects.name(pod),
        "metadata.namespace": objects.namespace(pod),
        "metadata.uid": objects.uid(pod),
        "spec.nodeName": spec.get("nodeName") or "",
        "spec.serviceAccountName": spec.get("serviceAccountName") or "",
        "status.hostIP": around.host_ips[0] if around.host_ips else "",
        "status.hostIPs": ",".join(around.host_ips),
        "status.podIP": around.pod_ips[0] if around.pod_ips else "",
        "status.podIPs": ",".join(around.pod_ips),
    }
    if path in simple:
        return simple[path]
    if path in ("metadata.labels", "metadata.annotations"):
        entries = objects.labels(pod) if path == "metadata.labels" else objects.annotations(pod)
        return "\n".join(f"{key}={_go_quoted(value)}" for key, value in sorted(entries.items()))
    raise ConfigError(f"unsupported fieldPath: {path}")


def _go_quoted(text: str) -> str:
    import orjson

    return orjson.dumps(text).decode()


def resource_field(pod: Object, container: Object, reference: Object, allocatable: Mapping[str, str]) -> str:
    """``limits.cpu`` and its like, divided and rounded up; a missing limit is what the node has."""
    name = reference.get("containerName")
    spec = pod.get("spec") or {}
    if name:
        container = next((c for c in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())) if c["name"] == name), container)
    section, _, resource = str(reference["resource"]).partition(".")
    value = amount(container.get("resources"), section, resource)
    if not value and section == "limits" and resource in allocatable:
        value = number(str(allocatable[resource]))
    if not value and section == "requests":
        value = amount(container.get("resources"), "limits", resource)
    divisor = number(str(reference.get("divisor") or "0")) or 1.0
    return str(-int(-round(value / divisor, 9) // 1))


def service_variables(services: Iterable[Service], namespace: str, *, all_of_namespace: bool) -> dict[str, str]:
    """Docker-links style variables; ``kubernetes`` is always among them."""
    found: dict[str, str] = {}
    for service in sorted(services, key=lambda s: (s.namespace != "default", s.name)):
        kubernetes = service.namespace == "default" and service.name == "kubernetes"
        if service.ports and service.cluster_ip and (kubernetes or (all_of_namespace and service.namespace == namespace)):
            found.update(_variables(service))
    return found


def _variables(service: Service) -> dict[str, str]:
    prefix = service.name.upper().replace("-", "_").replace(".", "_")
    protocol, port = service.ports[0].protocol, service.ports[0].port
    host = f"[{service.cluster_ip}]" if ":" in service.cluster_ip else service.cluster_ip
    found = {f"{prefix}_SERVICE_HOST": service.cluster_ip, f"{prefix}_SERVICE_PORT": str(port)}
    for each in service.ports:
        if each.name:
            found[f"{prefix}_SERVICE_PORT_{each.name.upper().replace('-', '_')}"] = str(each.port)
    found[f"{prefix}_PORT"] = f"{protocol.lower()}://{host}:{port}"
    for each in service.ports:
        protocol = each.protocol.lower()
        stem = f"{prefix}_PORT_{each.port}_{each.protocol}"
        found |= {stem: f"{protocol}://{host}:{each.port}", f"{stem}_PROTO": protocol, f"{stem}_PORT": str(each.port)}
        found[f"{stem}_ADDR"] = service.cluster_ip
    return found


def expand(text: str, known: Mapping[str, str]) -> str:
    """``$(VAR)`` becomes its value, ``$$`` a dollar; what is not known stays as it is."""

    def replace(match: re.Match[str]) -> str:
        inner: Any = match[1]
        if inner == "$":
            return "$"
        return known.get(inner[1:-1], match[0])

    return REFERENCE.sub(replace, text)


def expand_all(text: str, known: Mapping[str, str]) -> str:
    """As ``expand``, for places where nothing may stay unknown. Raises ConfigError."""
    missing = [match[1][1:-1] for match in REFERENCE.finditer(text) if match[1] != "$" and match[1][1:-1] not in known]
    if missing:
        raise ConfigError(f'missing value for "{missing[0]}"')
    return expand(text, known)
