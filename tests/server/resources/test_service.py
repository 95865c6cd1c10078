from __future__ import annotations

from typing import Any

import pytest

from edgek.model import kinds
from edgek.server import resources
from tests.server.resources.scene import ABSENT, created, problems, table, updated

SERVICE = resources.of(kinds.SERVICE)


def test_a_service_says_what_it_means() -> None:
    assert created(kinds.SERVICE)["spec"] == {
        "selector": {"app": "a"},
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
        "sessionAffinity": "None",
        "type": "ClusterIP",
        "internalTrafficPolicy": "Cluster",
    }


def test_session_affinity_lasts_three_hours() -> None:
    spec = created(kinds.SERVICE, {"spec.sessionAffinity": "ClientIP"})["spec"]
    assert spec["sessionAffinityConfig"] == {"clientIP": {"timeoutSeconds": 10800}}


@pytest.mark.parametrize(
    ("changes", "said"),
    table(
        {
            "a service has ports": ({"spec.ports": ABSENT}, ["spec.ports: Required value"]),
            "several ports have names": (
                {"spec.ports": [{"port": 80}, {"port": 81}]},
                ["spec.ports[0].name: Required value", "spec.ports[1].name: Required value"],
            ),
            "a port is said once": (
                {"spec.ports": [{"name": "a", "port": 80}, {"name": "b", "port": 80}]},
                [
                    'spec.ports[1]: Duplicate value: {"Name":"","Protocol":"TCP","AppProtocol":null,"Port":80,"TargetPort":0,"NodePort":0}',
                ],
            ),
            "a node port is not for cluster addresses": (
                {"spec.ports[0].nodePort": 30001},
                ["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
            ),
            "an outside name has to be given": ({"spec": {"type": "ExternalName"}}, ["spec.externalName: Required value"]),
            "an outside name has no address": (
                {"spec": {"type": "ExternalName", "externalName": "a.b", "clusterIP": "10.43.9.9"}},
                ["spec.clusterIPs: Forbidden: may not be set for ExternalName services"],
            ),
            "the first address is the address": (
                {"spec.clusterIP": "None", "spec.clusterIPs": ["1.2.3.4"]},
                ['spec.clusterIPs: Invalid value: ["1.2.3.4"]: first value must match `clusterIP`'],
            ),
            "traffic from outside has no policy where there is none": (
                {"spec.externalTrafficPolicy": "Local"},
                ['spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services'],
            ),
            "the kubelets port is not for the world": (
                {"spec.type": "LoadBalancer", "spec.ports[0].port": 10250},
                ["spec.ports[0]: Invalid value: 10250: may not expose port 10250 externally since it is used by kubelet"],
            ),
        }
    ),
)
def test_a_service_is_refused(changes: dict[str, Any], said: list[str]) -> None:
    assert problems(kinds.SERVICE, changes) == said


def with_address(**more: Any) -> dict[str, Any]:
    return {"spec.clusterIP": "10.43.1.2", "spec.clusterIPs": ["10.43.1.2"], **more}


def test_an_address_that_is_not_mentioned_stays() -> None:
    service, said = updated(kinds.SERVICE, {"spec.clusterIP": ABSENT, "spec.clusterIPs": ABSENT}, with_address())
    assert said == []
    assert service["spec"]["clusterIPs"] == ["10.43.1.2"]


def test_families_that_are_not_mentioned_stay() -> None:
    families = {"spec.ipFamilies": ["IPv4"], "spec.ipFamilyPolicy": "SingleStack"}
    service, said = updated(kinds.SERVICE, {"spec.ipFamilies": ABSENT, "spec.ipFamilyPolicy": ABSENT}, with_address(**families))
    assert said == []
    assert (service["spec"]["ipFamilies"], service["spec"]["ipFamilyPolicy"]) == (["IPv4"], "SingleStack")


def test_an_address_is_for_life() -> None:
    _, said = updated(kinds.SERVICE, {"spec.clusterIP": "None", "spec.clusterIPs": ["None"]}, with_address())
    assert said == ['spec.clusterIPs[0]: Invalid value: ["None"]: may not change once set']


def test_a_service_that_becomes_a_name_loses_its_address_without_a_word() -> None:
    service, said = updated(kinds.SERVICE, {"spec.type": "ExternalName", "spec.externalName": "a.b"}, with_address())
    assert said == []
    assert service["spec"].keys() == {"selector", "ports", "sessionAffinity", "type", "externalName"}


def test_a_node_port_that_is_not_mentioned_stays_with_its_port() -> None:
    before = with_address(**{"spec.type": "NodePort", "spec.ports[0].nodePort": 30080})
    service, said = updated(kinds.SERVICE, {"spec.ports": [{"port": 80, "name": "renamed"}]}, before)
    assert said == []
    assert service["spec"]["ports"][0]["nodePort"] == 30080


def test_a_balancers_class_is_for_life() -> None:
    before = with_address(**{"spec.type": "LoadBalancer", "spec.loadBalancerClass": "example.com/a"})
    _, said = updated(kinds.SERVICE, {"spec.loadBalancerClass": "example.com/b"}, before)
    assert said == ['spec.loadBalancerClass: Invalid value: "example.com/b": may not change once set']


def test_only_a_balancer_can_say_where_it_is_reached() -> None:
    ingress = {"status.loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}
    _, said = updated(kinds.SERVICE, ingress, with_address(), subresource="status")
    assert said == ["status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is 'LoadBalancer'"]
    assert updated(kinds.SERVICE, ingress, with_address(**{"spec.type": "LoadBalancer"}), subresource="status")[1] == []


def test_what_a_headless_service_ignores_is_told() -> None:
    service = created(kinds.SERVICE, {"spec.clusterIP": "None", "spec.sessionAffinity": "ClientIP"})
    assert list(SERVICE.warnings(service, None)) == ["spec.SessionAffinity is ignored for headless services"]
