"""From Services and endpoints to elements: every branch of the policies, as values."""

from __future__ import annotations

from typing import Any

from edgek.agent.proxy import program, rules
from edgek.agent.proxy.ledger import Ledger
from edgek.agent.proxy.rules import CHAIN, Element, Node
from edgek.client import services

NODE = Node("box")


def service(**spec: Any) -> services.Service:
    spec = {"clusterIP": "10.43.0.7", "ports": [{"port": 80, "name": "http"}], **spec}
    return services.service({"metadata": {"namespace": "default", "name": "web"}, "spec": spec})


def slices(*endpoints: tuple[str, str] | tuple[str, str, dict[str, bool]]) -> list[services.Slice]:
    listed = [{"addresses": [e[0]], "nodeName": e[1], "conditions": e[2] if len(e) > 2 else {"ready": True}} for e in endpoints]
    labels = {"kubernetes.io/service-name": "web"}
    view = services.slice_(
        {"metadata": {"namespace": "default", "name": "web-x", "labels": labels}, "ports": [{"name": "http", "port": 8080}], "endpoints": listed}
    )
    assert view
    return [view]


def elements(*args: Any, node: Node = NODE, **spec: Any) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for name, key, value in rules.of_service(service(**spec), slices(*args), node):
        found.setdefault(name, {})[key] = value
    return found


TWO = (("10.42.0.5", "box"), ("10.42.1.6", "other"))


def test_a_service_is_balanced_over_its_endpoints():
    found = elements(*TWO)
    assert found["services"] == {"10.43.0.7 . tcp . 80": "goto pick-2"}
    assert found["endpoints"] == {"10.43.0.7 . tcp . 80 . 0": "10.42.0.5 . 8080", "10.43.0.7 . tcp . 80 . 1": "10.42.1.6 . 8080"}
    assert "numgen random mod 2" in found[CHAIN]["pick-2"]
    assert "masquerade" not in found[CHAIN]["pick-2"] and "mark" not in found[CHAIN]["pick-2"]


def test_a_pod_of_this_node_may_reach_itself():
    assert elements(*TWO)["hairpin"] == {"10.42.0.5 . 10.42.0.5": ""}


def test_without_endpoints_a_service_is_refused():
    assert elements() == {"no_endpoints": {"10.43.0.7 . tcp . 80": ""}}
    assert elements(type="NodePort", ports=[{"port": 80, "name": "http", "nodePort": 30080}])["no_node_endpoints"] == {"tcp . 30080": ""}


def test_what_is_not_ready_gets_nothing():
    assert "no_endpoints" in elements(("10.42.0.5", "box", {"ready": False}))


def test_when_all_are_ending_those_that_still_serve_do():
    ending = {"ready": False, "serving": True, "terminating": True}
    assert elements(("10.42.0.5", "box", ending))["endpoints"] == {"10.43.0.7 . tcp . 80 . 0": "10.42.0.5 . 8080"}
    both = elements(("10.42.0.5", "box", ending), ("10.42.0.6", "box"))
    assert list(both["endpoints"].values()) == ["10.42.0.6 . 8080"]


NODE_PORT = {"type": "NodePort", "ports": [{"port": 80, "name": "http", "nodePort": 30080}]}


def test_a_node_port_takes_on_the_nodes_address_unless_its_policy_is_local():
    found = elements(*TWO, **NODE_PORT)
    assert found["node_ports"] == {"tcp . 30080": "goto ext-node-2"}
    assert f"meta mark | {rules.MASQUERADE:#x}" in found[CHAIN]["ext-node-2"]
    local = elements(*TWO, **NODE_PORT, externalTrafficPolicy="Local")
    assert local["node_ports"] == {"tcp . 30080": "goto pick-node-1"}
    assert local["node_endpoints"] == {"tcp . 30080 . 0": "10.42.0.5 . 8080"}


def test_a_local_policy_without_a_local_endpoint_drops():
    away = ("10.42.1.6", "other")
    assert elements(away, **NODE_PORT, externalTrafficPolicy="Local")["node_ports"] == {"tcp . 30080": "drop"}
    assert elements(away, internalTrafficPolicy="Local")["services"] == {"10.43.0.7 . tcp . 80": "drop"}


def test_external_addresses_are_served_like_node_ports():
    found = elements(*TWO, externalIPs=["192.0.2.9"])
    assert found["services"]["192.0.2.9 . tcp . 80"] == "goto ext-2"


def test_an_address_that_this_node_serves_itself_is_left_alone():
    assert elements(*TWO, node=Node("box", frozenset({"10.43.0.7"}))) == {"hairpin": {"10.42.0.5 . 10.42.0.5": ""}}


def test_headless_and_external_services_have_no_elements():
    assert elements(*TWO, clusterIP="None") == {}
    assert elements(*TWO, type="ExternalName", clusterIP="", externalName="example.org") == {}


def test_affinity_numbers_belong_to_endpoints_and_not_to_places():
    affinity = {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}}}
    both, one = elements(*TWO, **affinity), elements(TWO[1], **affinity)
    number = rules.backend_number(("10.42.1.6", 8080))
    assert both["affine_endpoints"][f"10.43.0.7 . tcp . 80 . {number:#x}"] == "10.42.1.6 . 8080"
    assert one["affine_endpoints"] == {f"10.43.0.7 . tcp . 80 . {number:#x}": "10.42.1.6 . 8080"}
    assert "timeout 60s" in next(iter(one[CHAIN].values()))


def test_removed_udp_endpoints_are_named_for_the_connection_table():
    gone: list[Element] = [
        ("endpoints", "10.43.0.10 . udp . 53 . 0", "10.42.0.5 . 5353"),
        ("node_endpoints", "udp . 30053 . 0", "10.42.0.5 . 5353"),
        ("endpoints", "10.43.0.7 . tcp . 80 . 0", "10.42.0.5 . 8080"),
    ]
    assert rules.udp_addresses(gone) == {("10.42.0.5", "10.43.0.10", 53), ("10.42.0.5", "", 30053)}


class TestLedger:
    def test_only_what_differs_is_changed(self):
        ledger = Ledger()
        ledger.set("web", rules.of_service(service(), slices(*TWO), NODE))
        change = ledger.set("web", rules.of_service(service(), slices(TWO[0], ("10.42.1.9", "other")), NODE))
        assert change.removed == [("endpoints", "10.43.0.7 . tcp . 80 . 1", "10.42.1.6 . 8080")]
        assert change.added == [("endpoints", "10.43.0.7 . tcp . 80 . 1", "10.42.1.9 . 8080")]

    def test_what_two_want_stays_until_the_second_lets_go(self):
        ledger = Ledger()
        shared = ("hairpin", "10.42.0.5 . 10.42.0.5", "")
        assert ledger.set("a", [shared]).added == [shared]
        assert not ledger.set("b", [shared])
        assert not ledger.set("a", [])
        assert ledger.set("b", []).removed == [shared]
        assert list(ledger.elements()) == []

    def test_who_came_second_takes_over_what_the_first_lets_go(self):
        ledger = Ledger()
        first, second = ("services", "192.0.2.9 . tcp . 80", "goto ext-1"), ("services", "192.0.2.9 . tcp . 80", "goto ext-2")
        ledger.set("a", [first])
        assert not ledger.set("b", [second])
        change = ledger.set("a", [])
        assert (change.removed, change.added) == ([first], [second])


def test_a_change_is_one_program_with_chains_before_what_jumps_to_them():
    new = [("services", "10.43.0.7 . tcp . 80", "goto pick-1"), (CHAIN, "pick-1", "accept;")]
    old = [("services", "10.43.0.7 . tcp . 80", "goto pick-2"), (CHAIN, "pick-2", "accept;")]
    assert program.difference(old, new).splitlines() == [
        "add chain ip edgek pick-1 { accept; }",
        "delete element ip edgek services { 10.43.0.7 . tcp . 80 }",
        "add element ip edgek services { 10.43.0.7 . tcp . 80 : goto pick-1 }",
        "delete chain ip edgek pick-2",
    ]
