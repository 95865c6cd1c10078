"""What objects take of a quota."""

from __future__ import annotations

from typing import Any

import pytest

from edgek.model import kinds, quota
from edgek.model.kinds import Kind


def used(kind: Kind, obj: dict[str, Any]) -> dict[str, str]:
    return {name: str(amount) for name, amount in quota.usage(kind, obj).items()}


def container(cpu: str, **more: Any) -> dict[str, Any]:
    return {"name": "c", "resources": {"requests": {"cpu": cpu}}, **more}


def test_every_object_counts_and_some_by_their_bare_name_too() -> None:
    assert used(kinds.CONFIG_MAP, {}) == {"count/configmaps": "1", "configmaps": "1"}
    assert used(kinds.DEPLOYMENT, {}) == {"count/deployments.apps": "1"}


def test_a_pod_takes_what_it_requests_and_what_it_may_grow_to() -> None:
    resources = {"requests": {"cpu": "100m", "example.com/gpu": "1"}, "limits": {"memory": "1Gi"}}
    found = used(kinds.POD, {"spec": {"containers": [{"resources": resources}, {"resources": resources}]}})
    assert found == {
        "count/pods": "1",
        "pods": "1",
        "cpu": "200m",
        "requests.cpu": "200m",
        "requests.example.com/gpu": "2",
        "limits.memory": "2Gi",
    }


def test_a_pod_that_has_ended_takes_only_its_name() -> None:
    assert used(kinds.POD, {"spec": {"containers": [container("1")]}, "status": {"phase": "Succeeded"}}) == {"count/pods": "1"}


@pytest.mark.parametrize(
    ("spec", "cpu"),
    [
        ({"containers": [container("100m"), container("200m")]}, "300m"),
        ({"containers": [container("100m")], "initContainers": [container("500m"), container("400m")]}, "500m"),
        ({"containers": [container("100m")], "initContainers": [container("50m", restartPolicy="Always"), container("500m")]}, "550m"),
        ({"containers": [container("100m")], "initContainers": [container("50m", restartPolicy="Always")]}, "150m"),
        ({"containers": [container("100m")], "overhead": {"cpu": "10m"}}, "110m"),
        ({"containers": [container("100m")], "resources": {"requests": {"cpu": "300m"}}, "overhead": {"cpu": "10m"}}, "310m"),
    ],
    ids=["together", "the greediest init", "sidecars run along", "sidecars stay", "overhead", "the pod as a whole"],
)
def test_a_pod_needs_what_it_needs_at_its_greediest(spec: dict[str, Any], cpu: str) -> None:
    assert used(kinds.POD, {"spec": spec})["requests.cpu"] == cpu


@pytest.mark.parametrize(
    ("spec", "balancers", "ports"),
    [
        ({"type": "ClusterIP", "ports": [{}]}, "0", "0"),
        ({"type": "NodePort", "ports": [{}, {}]}, "0", "2"),
        ({"type": "LoadBalancer", "ports": [{}]}, "1", "1"),
        ({"type": "LoadBalancer", "ports": [{}], "allocateLoadBalancerNodePorts": False}, "1", "0"),
    ],
)
def test_a_service_takes_the_ports_that_it_opens_on_nodes(spec: dict[str, Any], balancers: str, ports: str) -> None:
    found = used(kinds.SERVICE, {"spec": spec})
    assert (found["services.loadbalancers"], found["services.nodeports"]) == (balancers, ports)


def test_a_claim_takes_its_size_of_its_class_as_well() -> None:
    found = used(kinds.PERSISTENT_VOLUME_CLAIM, {"spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "1Gi"}}}})
    assert (found["requests.storage"], found["fast.storageclass.storage.k8s.io/requests.storage"]) == ("1Gi", "1Gi")
    assert str(found["fast.storageclass.storage.k8s.io/persistentvolumeclaims"]) == "1"


ENDS, STAYS = (
    {"spec": {"activeDeadlineSeconds": 5, "containers": [container("1")]}},
    {"spec": {"containers": [{"name": "c"}], "priorityClassName": "high"}},
)


@pytest.mark.parametrize(
    ("scope", "fits_ends", "fits_stays"),
    [
        ({"scopes": ["Terminating"]}, True, False),
        ({"scopes": ["NotTerminating"]}, False, True),
        ({"scopes": ["BestEffort"]}, False, True),
        ({"scopes": ["NotBestEffort", "Terminating"]}, True, False),
        ({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]}}, False, True),
        ({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "NotIn", "values": ["high"]}]}}, True, False),
        ({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "DoesNotExist"}]}}, True, False),
        ({}, True, True),
    ],
)
def test_a_scope_picks_its_pods(scope: dict[str, Any], fits_ends: bool, fits_stays: bool) -> None:
    assert (quota.applies({"spec": scope}, kinds.POD, ENDS), quota.applies({"spec": scope}, kinds.POD, STAYS)) == (fits_ends, fits_stays)


@pytest.mark.parametrize(
    "pod",
    [
        {"containers": [{"name": "c", "resources": {"requests": {"cpu": "0"}}}]},
        {"containers": [{"name": "c"}], "overhead": {"cpu": "10m"}},
    ],
    ids=str,
)
def test_asking_for_nothing_is_best_effort_however_it_is_said(pod: dict[str, Any]) -> None:
    assert quota.applies({"spec": {"scopes": ["BestEffort"]}}, kinds.POD, {"spec": pod})


def test_what_the_whole_pod_asks_for_is_no_best_effort() -> None:
    whole = {"containers": [{"name": "c"}], "resources": {"requests": {"cpu": "1"}}}
    assert not quota.applies({"spec": {"scopes": ["BestEffort"]}}, kinds.POD, {"spec": whole})


def test_a_scoped_quota_is_for_pods_only() -> None:
    assert not quota.applies({"spec": {"scopes": ["NotTerminating"]}}, kinds.CONFIG_MAP, {})
    assert quota.applies({"spec": {}}, kinds.CONFIG_MAP, {})


def test_who_says_nothing_of_a_limited_resource_is_named() -> None:
    pod = {"spec": {"containers": [{"name": "a", "resources": {"requests": {"cpu": "1"}}}, {"name": "b"}]}}
    assert quota.unspecified(["requests.cpu", "limits.memory", "pods"], pod) == {"a": ["limits.memory"], "b": ["limits.memory", "requests.cpu"]}
