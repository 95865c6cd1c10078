"""Ingresses, their classes, and network policies."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

from edgek.model import kinds, objects
from edgek.model.objects import Object
from edgek.server.resources.base import Resource
from edgek.server.resources.pod_defaults import fill_blanks, fill_members
from edgek.server.resources.validation import names
from edgek.server.resources.validation.fields import SPEC, Errors, FieldError, Path, items
from edgek.server.resources.validation.selectors import check_label_selector

OLD_CLASS = "kubernetes.io/ingress.class"
PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_BAD_IN_PATH = ("//", "/./", "/../", "%2f", "%2F")
_BAD_AT_END = ("/..", "/.")
LONGEST_CONTROLLER = 250

Spec = Mapping[str, Any]


class Ingress(Resource):
    generation_of = ("spec",)

    def __init__(self) -> None:
        super().__init__(kinds.INGRESS)

    def validate(self, obj: Object) -> Sequence[FieldError]:
        errors = Errors()
        _check_ingress(errors, obj.get("spec") or {})
        old, new = objects.annotations(obj).get(OLD_CLASS), (obj.get("spec") or {}).get("ingressClassName")
        if old is not None and new is not None and old != new:
            errors.invalid(Path("annotations") / OLD_CLASS, old, "must match `ingressClassName` when both are specified")
        return errors.found

    def validate_update(self, obj: Object, old: Object, subresource: str) -> Sequence[FieldError]:
        errors = Errors()
        if subresource != "status":
            _check_ingress(errors, obj.get("spec") or {})
        return errors.found

    def warnings(self, obj: Object, old: Object | None) -> Sequence[str]:
        if old is None and OLD_CLASS in objects.annotations(obj):
            return (f"annotation \"{OLD_CLASS}\" is deprecated, please use 'spec.ingressClassName' instead",)
        return ()


def _check_ingress(errors: Errors, spec: Spec) -> None:
    if not spec.get("rules") and spec.get("defaultBackend") is None:
        errors.invalid(SPEC, spec.get("rules"), "either `defaultBackend` or `rules` must be specified")
    if spec.get("defaultBackend") is not None:
        _check_backend(errors, SPEC / "defaultBackend", spec["defaultBackend"])
    for place, rule in items(spec, "rules", SPEC):
        _check_rule(errors, place, rule)
    for place, tls in items(spec, "tls", SPEC):
        for host_place, host in items(tls, "hosts", place):
            errors.invalid_each(host_place, host, _host_problems(host))
        if tls.get("secretName"):
            errors.invalid_each(place / "secretName", tls["secretName"], names.dns_subdomain(tls["secretName"]))
    if spec.get("ingressClassName") is not None:
        errors.invalid_each(SPEC / "ingressClassName", spec["ingressClassName"], names.dns_subdomain(spec["ingressClassName"]))


def _host_problems(host: str) -> list[str]:
    return names.wildcard_subdomain(host) if "*" in host else names.dns_subdomain(host)


def _check_rule(errors: Errors, at: Path, rule: Spec) -> None:
    host = rule.get("host") or ""
    if host:
        if not names.ip(host):
            errors.invalid(at / "host", host, "must be a DNS name, not an IP address")
        errors.invalid_each(at / "host", host, _host_problems(host))
    if rule.get("http") is None:
        return
    if not rule["http"].get("paths"):
        errors.required(at / "http" / "paths")
    for place, path in items(rule["http"], "paths", at / "http"):
        _check_path(errors, place, path)
        _check_backend(errors, place / "backend", path.get("backend") or {})


def _check_path(errors: Errors, at: Path, rule: Spec) -> None:
    kind, path = rule.get("pathType"), rule.get("path") or ""
    if kind is None:
        errors.required(at / "pathType", "pathType must be specified")
        return
    errors.choice(at / "pathType", kind, PATH_TYPES)
    if not path.startswith("/") and (path or kind in ("Exact", "Prefix")):
        errors.invalid(at / "path", path, "must be an absolute path")
    if kind not in ("Exact", "Prefix"):
        return
    for bad in _BAD_IN_PATH:
        if bad in path:
            errors.invalid(at / "path", path, f"must not contain '{bad}'")
    for bad in _BAD_AT_END:
        if path.endswith(bad):
            errors.invalid(at / "path", path, f"cannot end with '{bad}'")


def _check_backend(errors: Errors, at: Path, backend: Spec) -> None:
    service, resource = backend.get("service"), backend.get("resource")
    if service is not None and resource is not None:
        errors.invalid(at, "", "cannot set both resource and service backends")
    elif resource is not None:
        for member in ("kind", "name"):
            if not resource.get(member):
                errors.required(at / "resource" / member)
    elif service is not None:
        _check_service_backend(errors, at, service)
    else:
        errors.invalid(at, "", "resource or service backend is required")


def _check_service_backend(errors: Errors, at: Path, service: Spec) -> None:
    name, port = service.get("name") or "", service.get("port") or {}
    if name:
        errors.invalid_each(at / "service" / "name", name, names.dns_label(name))
    else:
        errors.required(at / "service" / "name")
    if port.get("name") and port.get("number"):
        errors.invalid(at, "", "cannot set both port name & port number")
    elif port.get("name"):
        errors.invalid_each(at / "service" / "port" / "name", port["name"], names.port_name(port["name"]))
    elif port.get("number"):
        errors.invalid_each(at / "service" / "port" / "number", port["number"], names.port_number(port["number"]))
    else:
        errors.required(at, "port name or number is required")


class IngressClass(Resource):
    generation_of = ("spec",)

    def __init__(self) -> None:
        super().__init__(kinds.INGRESS_CLASS)

    def default(self, obj: Object) -> None:
        parameters = (obj.get("spec") or {}).get("parameters")
        if parameters is not None:
            fill_blanks(parameters, {"scope": "Cluster"})

    def validate(self, obj: Object) -> Sequence[FieldError]:
        errors, spec = Errors(), obj.get("spec") or {}
        controller = spec.get("controller") or ""
        errors.invalid_each(SPEC / "controller", controller, names.domain_prefixed_path(controller))
        if len(controller) > LONGEST_CONTROLLER:
            errors.too_long(SPEC / "controller", LONGEST_CONTROLLER)
        if spec.get("parameters") is not None:
            _check_parameters(errors, SPEC / "parameters", spec["parameters"])
        return errors.found

    def validate_update(self, obj: Object, old: Object, subresource: str) -> Sequence[FieldError]:
        errors = Errors(list(self.validate(obj)))
        errors.immutable(SPEC / "controller", (obj.get("spec") or {}).get("controller"), (old.get("spec") or {}).get("controller"))
        return errors.found


def _check_parameters(errors: Errors, at: Path, parameters: Spec) -> None:
    for member in ("kind", "name"):
        if not parameters.get(member):
            errors.required(at / member)
    scope, namespace = parameters.get("scope"), parameters.get("namespace")
    if scope is None:
        errors.required(at / "scope")
        return
    errors.choice(at / "scope", scope, ("Cluster", "Namespace"))
    if scope == "Namespace" and not namespace:
        errors.required(at / "namespace", "`parameters.scope` is set to 'Namespace'")
    if scope == "Cluster" and namespace is not None:
        errors.forbidden(at / "namespace", "`parameters.scope` is set to 'Cluster'")


class NetworkPolicy(Resource):
    generation_of = ("spec",)

    def __init__(self) -> None:
        super().__init__(kinds.NETWORK_POLICY)

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        for direction in ("ingress", "egress"):
            for rule in spec.get(direction) or ():
                for port in rule.get("ports") or ():
                    fill_members(port, {"protocol": "TCP"})
        if not spec.get("policyTypes"):
            spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]

    def validate(self, obj: Object) -> Sequence[FieldError]:
        errors, spec = Errors(), obj.get("spec") or {}
        check_label_selector(errors, SPEC / "podSelector", spec.get("podSelector"))
        for direction, peers in (("ingress", "from"), ("egress", "to")):
            for place, rule in items(spec, direction, SPEC):
                for port_place, port in items(rule, "ports", place):
                    _check_policy_port(errors, port_place, port)
                for peer_place, peer in items(rule, peers, place):
                    _check_peer(errors, peer_place, peer)
        types = spec.get("policyTypes") or ()
        if len(types) > 2:
            errors.invalid(SPEC / "policyTypes", types, "may not specify more than two policyTypes")
            return errors.found
        for place, kind in items(spec, "policyTypes", SPEC):
            errors.choice(place, kind, ("Ingress", "Egress"))
        return errors.found


def _check_policy_port(errors: Errors, at: Path, port: Spec) -> None:
    number, last = port.get("port"), port.get("endPort")
    if port.get("protocol") is not None:
        errors.choice(at / "protocol", port["protocol"], ("TCP", "UDP", "SCTP"))
    if number is not None:
        errors.invalid_each(at / "port", number, names.port(number))
        if isinstance(number, int) and last is not None:
            if last < number:
                errors.invalid(at / "endPort", last, "must be greater than or equal to `port`")
            errors.invalid_each(at / "endPort", last, names.port_number(last))
        elif last is not None:
            errors.invalid(at / "endPort", last, "may not be specified when `port` is non-numeric")
    elif last is not None:
        errors.invalid(at / "endPort", last, "may not be specified when `port` is not specified")


def _check_peer(errors: Errors, at: Path, peer: Spec) -> None:
    given = [name for name in ("podSelector", "namespaceSelector", "ipBlock") if peer.get(name) is not None]
    for name in ("podSelector", "namespaceSelector"):
        check_label_selector(errors, at / name, peer.get(name))
    if (block := peer.get("ipBlock")) is not None:
        _check_block(errors, at / "ipBlock", block)
    if not given:
        errors.required(at, "must specify a peer")
    elif "ipBlock" in given and len(given) > 1:
        errors.forbidden(at, "may not specify both ipBlock and another peer")


def _check_block(errors: Errors, at: Path, block: Spec) -> None:
    cidr = block.get("cidr") or ""
    if not cidr:
        errors.required(at / "cidr")
        return
    problems = names.cidr(cidr)
    errors.invalid_each(at / "cidr", cidr, problems)
    if problems:
        return
    whole: Any = ipaddress.ip_network(cidr, strict=False)
    for place, without in items(block, "except", at):
        found = names.cidr(without)
        errors.invalid_each(place, without, found)
        part: Any = None if found else ipaddress.ip_network(without, strict=False)
        if part is not None and (part.version != whole.version or not part.subnet_of(whole) or part == whole):
            errors.invalid(place, without, "must be a strict subset of `cidr`")
