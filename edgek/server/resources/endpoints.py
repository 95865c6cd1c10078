"""Where a service's pods answer: Endpoints, and the EndpointSlices that took their place."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

from edgek.model import kinds
from edgek.model.objects import Object
from edgek.server.resources.base import Resource
from edgek.server.resources.pod_defaults import fill_blanks, fill_members
from edgek.server.resources.validation import names
from edgek.server.resources.validation.containers import PROTOCOLS
from edgek.server.resources.validation.fields import Errors, FieldError, Path, items

MOST_ENDPOINTS = 1000
MOST_ADDRESSES = 100
MOST_PORTS = 20000
ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")


class Endpoints(Resource):
    creates_on_update = True
    deprecated = ("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",)

    def __init__(self) -> None:
        super().__init__(kinds.ENDPOINTS)

    def default(self, obj: Object) -> None:
        for subset in obj.get("subsets") or ():
            for port in subset.get("ports") or ():
                fill_blanks(port, {"protocol": "TCP"})

    def validate(self, obj: Object) -> Sequence[FieldError]:
        errors = Errors()
        for place, subset in items(obj, "subsets", Path()):
            if not subset.get("addresses") and not subset.get("notReadyAddresses"):
                errors.required(place, "must specify `addresses` or `notReadyAddresses`")
            for member in ("addresses", "notReadyAddresses"):
                for address_place, address in items(subset, member, place):
                    _check_address(errors, address_place, address)
            several = len(subset.get("ports") or ()) > 1
            for port_place, port in items(subset, "ports", place):
                _check_port(errors, port_place, port, named=several)
        return errors.found


def _check_address(errors: Errors, at: Path, address: Mapping[str, Any]) -> None:
    ip = address.get("ip") or ""
    problems = names.ip(ip)
    errors.invalid_each(at / "ip", ip, problems)
    if name := address.get("hostname"):
        errors.invalid_each(at / "hostname", name, names.dns_label(name))
    if name := address.get("nodeName"):
        errors.invalid_each(at / "nodeName", name, names.dns_subdomain(name))
    # Upstream looks twice, in two wordings.
    if problems:
        errors.invalid(at / "ip", ip, "must be a valid IP address")
    else:
        check_reachable(errors, at / "ip", ip)


def check_reachable(errors: Errors, at: Path, ip: str) -> None:
    """Not an address that means "here" or "everyone": pointing a service there would open the node's own ports."""
    address = ipaddress.ip_address(ip)
    if address.is_unspecified:
        errors.invalid(at, ip, f"may not be unspecified ({ip})")
    if address.is_loopback:
        errors.invalid(at, ip, "may not be in the loopback range (127.0.0.0/8, ::1/128)")
    if address.is_link_local:
        errors.invalid(at, ip, "may not be in the link-local range (169.254.0.0/16, fe80::/10)")
    if address.is_multicast and (address.version == 6 or ip.startswith("224.0.0.")):
        errors.invalid(at, ip, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)")


def _check_port(errors: Errors, at: Path, port: Mapping[str, Any], *, named: bool) -> None:
    name = port.get("name") or ""
    if named and not name:
        errors.required(at / "name")
    elif name:
        errors.invalid_each(at / "name", name, names.dns_label(name))
    errors.invalid_each(at / "port", port.get("port") or 0, names.port_number(port.get("port") or 0))
    if not port.get("protocol"):
        errors.required(at / "protocol")
    else:
        errors.choice(at / "protocol", port["protocol"], PROTOCOLS)
    if protocol := port.get("appProtocol"):
        errors.invalid_each(at / "appProtocol", protocol, names.qualified_name(protocol))


class EndpointSlice(Resource):
    generation_of = ("endpoints", "ports", "addressType")

    def __init__(self) -> None:
        super().__init__(kinds.ENDPOINT_SLICE)

    def default(self, obj: Object) -> None:
        obj["endpoints"] = obj.get("endpoints") or None
        obj["ports"] = obj.get("ports") or None
        for endpoint in obj["endpoints"] or ():
            if endpoint.get("conditions") is None:
                endpoint["conditions"] = {}
        for port in obj["ports"] or ():
            fill_members(port, {"name": ""})
            fill_blanks(port, {"protocol": "TCP"})

    def validate(self, obj: Object) -> Sequence[FieldError]:
        errors = Errors()
        kind = obj.get("addressType") or ""
        if not kind:
            errors.required(Path("addressType"))
        else:
            errors.choice(Path("addressType"), kind, ADDRESS_TYPES)
        if len(obj.get("endpoints") or ()) > MOST_ENDPOINTS:
            errors.too_many(Path("endpoints"), len(obj["endpoints"]), MOST_ENDPOINTS)
            return errors.found
        for place, endpoint in items(obj, "endpoints", Path()):
            _check_endpoint(errors, place, endpoint, kind)
        _check_slice_ports(errors, obj)
        return errors.found

    def validate_update(self, obj: Object, old: Object, subresource: str) -> Sequence[FieldError]:
        errors = Errors(list(self.validate(obj)))
        errors.immutable(Path("addressType"), obj.get("addressType"), old.get("addressType"))
        return errors.found


def _check_endpoint(errors: Errors, at: Path, endpoint: Mapping[str, Any], kind: str) -> None:
    addresses = endpoint.get("addresses") or ()
    if not addresses:
        errors.required(at / "addresses", "must contain at least 1 address")
    elif len(addresses) > MOST_ADDRESSES:
        errors.too_many(at / "addresses", len(addresses), MOST_ADDRESSES)
    for place, address in items(endpoint, "addresses", at):
        _check_slice_address(errors, place, address, kind)
    for member, check in (("nodeName", names.dns_subdomain), ("hostname", names.dns_label)):
        if endpoint.get(member) is not None:
            errors.invalid_each(at / member, endpoint[member], check(endpoint[member]))


def _check_slice_address(errors: Errors, at: Path, address: str, kind: str) -> None:
    if kind == "FQDN":
        errors.invalid_each(at, address, names.dns_subdomain(address))
        return
    problems = names.ip(address)
    errors.invalid_each(at, address, problems)
    if problems:
        return
    version = ipaddress.ip_address(address).version
    if kind in ("IPv4", "IPv6") and kind != f"IPv{version}":
        errors.invalid(at, address, f"must be a valid {kind} address")
    check_reachable(errors, at, address)


def _check_slice_ports(errors: Errors, obj: Object) -> None:
    if len(obj.get("ports") or ()) > MOST_PORTS:
        errors.too_many(Path("ports"), len(obj["ports"]), MOST_PORTS)
        return
    seen: set[str] = set()
    for place, port in items(obj, "ports", Path()):
        name = port.get("name") or ""
        if name:
            errors.invalid_each(place / "name", name, names.dns_label(name))
        if name in seen:
            errors.duplicate(place / "name", name)
        seen.add(name)
        if not port.get("protocol"):
            errors.required(place / "protocol")
        else:
            errors.choice(place / "protocol", port["protocol"], PROTOCOLS)
        if protocol := port.get("appProtocol"):
            errors.invalid_each(place / "appProtocol", protocol, names.qualified_name(protocol))
