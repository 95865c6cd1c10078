from __future__ import annotations

import random

import pytest

from edgek.model import kinds
from edgek.model.errors import InternalError
from edgek.model.objects import Object
from edgek.server import resources
from edgek.server.resources.allocators import Allocators, Numbers, static_band
from tests.server.resources.scene import changed, completed, created, table

SERVICE = resources.of(kinds.SERVICE)


def small(**services: Object) -> Allocators:
    """Room for two addresses and three node ports."""
    return Allocators.of("10.43.0.0/30", range(30000, 30003), services.values())


def allocated(allocators: Allocators, changes: dict[str, object] | None = None) -> Object:
    service = created(kinds.SERVICE, changes)
    assert SERVICE.allocate(service, None, allocators) == []
    return service


def refused(allocators: Allocators, changes: dict[str, object]) -> list[str]:
    return [str(problem) for problem in SERVICE.allocate(created(kinds.SERVICE, changes), None, allocators)]


def node_ports(service: Object) -> list[int]:
    return [port["nodePort"] for port in service["spec"]["ports"]]


def test_a_service_gets_an_address_of_the_range() -> None:
    spec = allocated(small())["spec"]
    assert spec["clusterIP"] in ("10.43.0.1", "10.43.0.2")
    assert spec["clusterIPs"] == [spec["clusterIP"]]
    assert (spec["ipFamilies"], spec["ipFamilyPolicy"]) == (["IPv4"], "SingleStack")


def test_two_services_never_have_the_same_address() -> None:
    allocators = small()
    assert allocated(allocators)["spec"]["clusterIP"] != allocated(allocators)["spec"]["clusterIP"]


def test_a_range_can_be_full() -> None:
    allocators = small()
    allocated(allocators)
    allocated(allocators)
    with pytest.raises(InternalError, match="failed to allocate a serviceIP: range is full"):
        allocated(allocators)


def test_what_a_service_held_can_be_had_when_it_is_gone() -> None:
    allocators = small()
    first = allocated(allocators)
    allocated(allocators)
    SERVICE.release(first, None, allocators)
    assert allocated(allocators)["spec"]["clusterIP"] == first["spec"]["clusterIP"]


def test_what_stored_services_hold_is_taken_from_the_start() -> None:
    stored = allocated(small(), {"spec.type": "NodePort", "spec.ports[0].nodePort": 30001})
    allocators = small(stored=stored)
    address = stored["spec"]["clusterIP"]
    taken = f'spec.clusterIPs: Invalid value: ["{address}"]: failed to allocate IP {address}: provided IP is already allocated'
    assert refused(allocators, {"spec.clusterIP": address}) == [taken]
    asked = {"spec.type": "NodePort", "spec.ports[0].nodePort": 30001}
    assert refused(allocators, asked) == ["spec.ports[0].nodePort: Invalid value: 30001: provided port is already allocated"]


@pytest.mark.parametrize("address", ["1.2.3.4", "10.43.0.0", "10.43.0.3", "fd00::1"])
def test_an_address_must_be_one_of_the_range(address: str) -> None:
    (said,) = refused(small(), {"spec.clusterIP": address})
    assert said.endswith(f"failed to allocate IP {address}: the provided network does not match the current range")


def test_a_node_port_must_be_one_of_the_range() -> None:
    asked = {"spec.type": "NodePort", "spec.ports[0].nodePort": 40000}
    said = "spec.ports[0].nodePort: Invalid value: 40000: provided port is not in the valid range. The range of valid ports is 30000-30002"
    assert refused(small(), asked) == [said]


def test_a_refused_service_has_taken_nothing_and_freed_nothing() -> None:
    allocators = small()
    allocated(allocators, {"spec.type": "NodePort", "spec.ports[0].nodePort": 30000})
    addresses, ports = set(allocators.addresses.taken), set(allocators.ports.taken)
    two = [{"name": "a", "port": 80, "nodePort": 30001}, {"name": "b", "port": 81, "nodePort": 30000}]
    assert refused(allocators, {"spec.type": "NodePort", "spec.ports": two}) != []
    assert (allocators.addresses.taken, allocators.ports.taken) == (addresses, ports)


def test_two_protocols_of_a_service_may_share_a_node_port() -> None:
    ports = [{"name": "a", "port": 53, "nodePort": 30002}, {"name": "b", "port": 53, "protocol": "UDP", "nodePort": 30002}]
    assert node_ports(allocated(small(), {"spec.type": "NodePort", "spec.ports": ports})) == [30002, 30002]


def test_a_chosen_port_is_not_given_to_another_port_of_the_same_service() -> None:
    ports = [{"name": "a", "port": 80}, {"name": "b", "port": 81}, {"name": "c", "port": 82, "nodePort": 30000}]
    assert sorted(node_ports(allocated(small(), {"spec.type": "NodePort", "spec.ports": ports}))) == [30000, 30001, 30002]


def test_a_balancer_that_keeps_traffic_on_the_node_has_a_port_for_health_checks() -> None:
    spec = allocated(small(), {"spec.type": "LoadBalancer", "spec.externalTrafficPolicy": "Local"})["spec"]
    assert spec["healthCheckNodePort"] in range(30000, 30003)
    assert spec["healthCheckNodePort"] != spec["ports"][0]["nodePort"]


def test_a_balancer_may_do_without_node_ports() -> None:
    spec = allocated(small(), {"spec.type": "LoadBalancer", "spec.allocateLoadBalancerNodePorts": False})["spec"]
    assert "nodePort" not in spec["ports"][0]


@pytest.mark.parametrize(
    ("changes", "families", "policy"),
    table(
        {
            "a headless service takes no address": ({}, ["IPv4"], "SingleStack"),
            "and where it selects nothing it may have both families": ({"spec.selector": {}}, ["IPv4", "IPv6"], "RequireDualStack"),
        }
    ),
)
def test_headless_services(changes: dict[str, object], families: list[str], policy: str) -> None:
    allocators = small()
    spec = allocated(allocators, {"spec.clusterIP": "None", **changes})["spec"]
    assert (spec["ipFamilies"], spec["ipFamilyPolicy"], spec["clusterIPs"]) == (families, policy, ["None"])
    assert not allocators.addresses.taken


def test_an_update_keeps_the_address_and_gives_back_what_the_new_type_has_not() -> None:
    allocators = small()
    old = allocated(allocators, {"spec.type": "NodePort"})
    new = completed(kinds.SERVICE, changed(old, {"spec.type": "ClusterIP"}))
    SERVICE.prepare_update(new, old, "")
    assert SERVICE.problems(new, old) == []
    assert SERVICE.allocate(new, old, allocators) == []
    SERVICE.release(old, new, allocators)
    assert new["spec"]["clusterIP"] == old["spec"]["clusterIP"]
    assert not allocators.ports.taken
    assert len(allocators.addresses.taken) == 1


@pytest.mark.parametrize(
    ("size", "divisor", "most", "band"),
    table(
        {
            "a small range has none": (8, 16, 256, 0),
            "at least sixteen": (254, 16, 256, 16),
            "then a part of it": (2768, 32, 128, 86),
            "but not more than enough": (65534, 16, 256, 256),
        }
    ),
)
def test_the_part_of_a_range_that_is_left_to_those_who_ask(size: int, divisor: int, most: int, band: int) -> None:
    assert static_band(size, divisor=divisor, most=most) == band


def test_the_lower_part_is_drawn_from_last() -> None:
    numbers = Numbers(range(10), static=8, draw=random.Random(1))
    drawn = [numbers.take_any() for _ in range(10)]
    assert set(drawn[:2]) == {8, 9}
    assert sorted(drawn) == list(range(10))
