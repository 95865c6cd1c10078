from __future__ import annotations

import base64
from typing import Any

import pytest

from edgek.agent.kubelet.environment import ConfigError, Found, Surroundings, environment, expand, expand_all, references
from edgek.client.services import Service, service
from edgek.model import kinds
from edgek.model.objects import Object

AROUND = Surroundings(("192.0.2.1",), ("10.42.0.5",), (), {"cpu": "4", "memory": "1Gi"})
POD = {
    "metadata": {"name": "web", "namespace": "default", "uid": "u", "labels": {"app": "x"}, "annotations": {"example.org/a": "b"}},
    "spec": {"nodeName": "n", "serviceAccountName": "sa"},
}
OBJECTS: Found = {
    (kinds.CONFIG_MAP, "cm"): {"data": {"a": "1", "b": "2"}},
    (kinds.SECRET, "s"): {"kind": "Secret", "data": {"p": base64.b64encode(b"hush").decode()}},
    (kinds.CONFIG_MAP, "none"): None,
}


def made(*env: Object, found: Found = OBJECTS, around: Surroundings = AROUND, **container: Any) -> dict[str, str]:
    return environment(POD, {"name": "main", "env": list(env), **container}, found, around)


def source(name: str, **value_from: Any) -> Object:
    return {"name": name, "valueFrom": value_from}


def test_values_refer_to_those_before_them() -> None:
    assert made({"name": "A", "value": "x"}, {"name": "B", "value": "$(A)-$(C)-$$(A)"}, {"name": "C"}) == {"A": "x", "B": "x-$(C)-$(A)", "C": ""}


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("metadata.name", "web"),
        ("metadata.uid", "u"),
        ("metadata.labels['app']", "x"),
        ("metadata.annotations['example.org/a']", "b"),
        ("metadata.labels['absent']", ""),
        ("spec.nodeName", "n"),
        ("spec.serviceAccountName", "sa"),
        ("status.hostIP", "192.0.2.1"),
        ("status.podIPs", "10.42.0.5"),
        ("metadata.labels", 'app="x"'),
    ],
)
def test_fields_of_the_pod(path: str, wanted: str) -> None:
    assert made(source("A", fieldRef={"fieldPath": path})) == {"A": wanted}


@pytest.mark.parametrize(
    ("reference", "wanted"),
    [
        ({"resource": "limits.cpu"}, "2"),
        ({"resource": "limits.cpu", "divisor": "1m"}, "1500"),
        ({"resource": "requests.memory", "divisor": "1Mi"}, "64"),
        ({"resource": "limits.memory", "divisor": "1Mi"}, "1024"),
    ],
    ids=["rounded up", "in millis", "divided", "the node's where there is no limit"],
)
def test_resources_of_the_container(reference: Object, wanted: str) -> None:
    limits = {"limits": {"cpu": "1500m"}, "requests": {"memory": "64Mi"}}
    assert made(source("A", resourceFieldRef=reference), resources=limits) == {"A": wanted}


def test_keys_and_whole_objects() -> None:
    whole = [{"configMapRef": {"name": "cm"}, "prefix": "P_"}, {"secretRef": {"name": "s"}}]
    key = source("A", configMapKeyRef={"name": "cm", "key": "a"})
    assert made(key, envFrom=whole) == {"P_a": "1", "P_b": "2", "p": "hush", "A": "1"}


def test_what_is_missing_is_said_and_what_is_optional_is_left_out() -> None:
    with pytest.raises(ConfigError, match='configmap "none" not found'):
        made(source("A", configMapKeyRef={"name": "none", "key": "a"}))
    with pytest.raises(ConfigError, match="couldn't find key z in ConfigMap default/cm"):
        made(source("A", configMapKeyRef={"name": "cm", "key": "z"}))
    assert made(source("A", configMapKeyRef={"name": "none", "key": "a", "optional": True})) == {}
    assert made(envFrom=[{"configMapRef": {"name": "none", "optional": True}}]) == {}


def test_references_are_found_before_they_are_read() -> None:
    container = {"env": [source("A", secretKeyRef={"name": "s", "key": "p"})], "envFrom": [{"configMapRef": {"name": "cm"}}]}
    assert references(container) == {(kinds.SECRET, "s"), (kinds.CONFIG_MAP, "cm")}


def offered(namespace: str, name: str, address: str, port_name: str, port: int) -> Service:
    spec = {"clusterIP": address, "ports": [{"name": port_name, "port": port}]}
    return service({"metadata": {"namespace": namespace, "name": name}, "spec": spec})


def test_services_of_the_namespace_are_told() -> None:
    services = (
        offered("default", "kubernetes", "10.43.0.1", "https", 443),
        offered("default", "my-db", "10.43.0.9", "", 5432),
        offered("other", "far", "10.43.0.8", "", 1),
    )
    around = Surroundings((), (), services)
    found = made(around=around)
    assert found["KUBERNETES_SERVICE_HOST"] == "10.43.0.1"
    assert found["KUBERNETES_SERVICE_PORT_HTTPS"] == "443"
    assert found["MY_DB_PORT_5432_TCP"] == "tcp://10.43.0.9:5432"
    assert not any(name.startswith("FAR") for name in found)
    pod = {**POD, "spec": {"enableServiceLinks": False}}
    assert "MY_DB_SERVICE_HOST" not in environment(pod, {"name": "main"}, {}, around)


def test_a_headless_service_has_no_address_to_tell() -> None:
    found = made(around=Surroundings((), (), (offered("default", "headless", "None", "", 80),)))
    assert not any(name.startswith("HEADLESS") for name in found)


def test_dollars() -> None:
    assert expand("$$(A) $(A) $(B) $A $", {"A": "1"}) == "$(A) 1 $(B) $A $"


def test_where_nothing_may_stay_unknown() -> None:
    assert expand_all("$(A)/x-$$(B)", {"A": "1"}) == "1/x-$(B)"
    with pytest.raises(ConfigError, match='missing value for "B"'):
        expand_all("$(A)/$(B)", {"A": "1"})
