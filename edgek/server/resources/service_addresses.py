"""Hand out what a service needs of the cluster: addresses, node ports, a port for health checks."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

import attrs

from edgek.model.errors import InternalError
from edgek.model.objects import Object
from edgek.server.resources.allocators import Allocators, Full, cluster_ips, held_ports
from edgek.server.resources.validation.fields import SPEC, Errors, FieldError, items
from edgek.server.resources.validation.services import has_cluster_ip, has_node_ports, is_headless, needs_health_check

OUTSIDE = "the provided network does not match the current range"
TAKEN_ADDRESS = "provided IP is already allocated"
TAKEN_PORT = "provided port is already allocated"
FAMILY = "IPv4"  # the one family of the cluster's service range
OTHER_FAMILY = "IPv6"


@attrs.define
class _Taking:
    """What one allocation took so far, so that it can be undone. ``held`` are the numbers that the service had before."""

    allocators: Allocators
    held_addresses: set[str]
    held_ports: set[int]
    addresses: list[int] = attrs.field(factory=list)
    ports: list[int] = attrs.field(factory=list)

    def undo(self) -> None:
        for address in self.addresses:
            self.allocators.addresses.free(address)
        for port in self.ports:
            self.allocators.ports.free(port)

    def take_address(self, address: str) -> str:
        """The reason why not, if it cannot be had."""
        if address in self.held_addresses:
            return ""
        number = -1 if ":" in address else int(ipaddress.IPv4Address(address))
        if number not in self.allocators.addresses.span:
            return OUTSIDE
        if not self.allocators.addresses.is_free(number):
            return TAKEN_ADDRESS
        self.allocators.addresses.take(number)
        self.addresses.append(number)
        return ""

    def take_port(self, port: int) -> str:
        """The reason why not, if it cannot be had. Two protocols of one service may share a port."""
        if port in self.held_ports or port in self.ports:
            return ""
        span = self.allocators.ports.span
        if port not in span:
            return f"provided port is not in the valid range. The range of valid ports is {span[0]}-{span[-1]}"
        if not self.allocators.ports.is_free(port):
            return TAKEN_PORT
        self.allocators.ports.take(port)
        self.ports.append(port)
        return ""

    def take_any_address(self) -> str:
        number = self.allocators.addresses.take_any()
        self.addresses.append(number)
        return str(ipaddress.IPv4Address(number))

    def take_any_port(self) -> int:
        port = self.allocators.ports.take_any()
        self.ports.append(port)
        return port


def allocate(service: Object, old: Object | None, allocators: Allocators) -> Sequence[FieldError]:
    """Take and write in what is missing. With problems, nothing is taken. Raises ``InternalError`` when a range is full."""
    errors, spec, before = Errors(), service["spec"], old or {}
    taking = _Taking(allocators, set(cluster_ips(before)), held_ports(before))
    _choose_families(errors, spec)
    steps = (("serviceIP", _take_addresses), ("nodePort", _take_ports))
    for what, step in steps:
        if errors.found:
            break
        try:
            step(errors, spec, taking)
        except Full as full:
            taking.undo()
            raise InternalError(f"Internal error occurred: failed to allocate a {what}: range is full") from full
    if errors.found:
        taking.undo()
    return errors.found


def release(service: Object, kept: Object | None, allocators: Allocators) -> None:
    """Give back what ``service`` holds and ``kept`` does not."""
    for address in set(cluster_ips(service)) - set(cluster_ips(kept or {})):
        allocators.addresses.free(int(ipaddress.IPv4Address(address)))
    for port in held_ports(service) - held_ports(kept or {}):
        allocators.ports.free(port)


def _choose_families(errors: Errors, spec: Object) -> None:
    """One family, IPv4. Two are possible only where nothing must be allocated: for a headless service that selects no pods."""
    if not has_cluster_ip(spec):
        return
    families = spec.get("ipFamilies") or []
    open_headless = is_headless(spec) and not spec.get("selector")
    if spec.get("ipFamilyPolicy") is None:
        spec["ipFamilyPolicy"] = "RequireDualStack" if open_headless else "SingleStack"
    if open_headless:
        families = families or [FAMILY]
        if len(families) < 2 and spec["ipFamilyPolicy"] != "SingleStack":
            families = [*families, OTHER_FAMILY if families[0] == FAMILY else FAMILY]
        spec["ipFamilies"] = families
        return
    for index, family in enumerate(families):
        if family != FAMILY:
            errors.invalid((SPEC / "ipFamilies")[index], family, "not configured on this cluster")
    if spec["ipFamilyPolicy"] == "RequireDualStack":
        errors.invalid(SPEC / "ipFamilyPolicy", "RequireDualStack", "this cluster is not configured for dual-stack services")
    spec["ipFamilies"] = families or [FAMILY]


def _take_addresses(errors: Errors, spec: Object, taking: _Taking) -> None:
    if not has_cluster_ip(spec) or is_headless(spec):
        return
    asked = spec.get("clusterIPs") or []
    if not asked:
        address = taking.take_any_address()
        spec["clusterIP"], spec["clusterIPs"] = address, [address]
    for address in asked:
        if problem := taking.take_address(address):
            errors.invalid(SPEC / "clusterIPs", asked, f"failed to allocate IP {address}: {problem}")


def _take_ports(errors: Errors, spec: Object, taking: _Taking) -> None:
    """First those that are asked for, so that none of them is given to another port of the same service."""
    ports = list(items(spec, "ports", SPEC)) if has_node_ports(spec) else []
    for at, port in ports:
        if port.get("nodePort") and (problem := taking.take_port(port["nodePort"])):
            errors.invalid(at / "nodePort", port["nodePort"], problem)
    check = needs_health_check(spec)
    if check and spec.get("healthCheckNodePort") and (problem := taking.take_port(spec["healthCheckNodePort"])):
        errors.invalid(SPEC / "healthCheckNodePort", spec["healthCheckNodePort"], problem)
    if errors.found:
        return
    if spec.get("allocateLoadBalancerNodePorts") is not False:
        for _, port in ports:
            if not port.get("nodePort"):
                port["nodePort"] = taking.take_any_port()
    if check and not spec.get("healthCheckNodePort"):
        spec["healthCheckNodePort"] = taking.take_any_port()
