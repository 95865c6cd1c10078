from __future__ import annotations

from typing import Any

import pytest

from edgek.agent.kubelet.admission import NodeOffer, refusal, unfit
from edgek.model.objects import Object

NODE = NodeOffer({"disk": "ssd", "size": "7"}, {"cpu": 2.0, "memory": 1024.0}, max_pods=3)


def a_pod(cpu: str = "", *, port: int = 0, **spec: Any) -> Object:
    container: Object = {"name": "c", "resources": {"requests": {"cpu": cpu} if cpu else {}}}
    if port:
        container["ports"] = [{"containerPort": 80, "hostPort": port}]
    return {"metadata": {"name": "web"}, "spec": {"containers": [container], **spec}}


def affinity(key: str, operator: str, *values: str) -> Object:
    term = {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}}


def only(node: str) -> Object:
    """As a DaemonSet's pods say it."""
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}}


@pytest.mark.parametrize(
    ("pod", "others", "reason"),
    [
        (a_pod("1"), [a_pod("1")], None),
        (a_pod("1500m"), [a_pod("1")], "OutOfcpu"),
        (a_pod(), [a_pod()] * 3, "OutOfpods"),
        (a_pod(nodeSelector={"disk": "ssd"}), [], None),
        (a_pod(nodeSelector={"disk": "hdd"}), [], "NodeAffinity"),
        (a_pod(**affinity("size", "Gt", "5")), [], None),
        (a_pod(**affinity("disk", "NotIn", "ssd")), [], "NodeAffinity"),
        (a_pod(**affinity("other", "Exists")), [], "NodeAffinity"),
        (a_pod(nodeName="here", **only("here")), [], None),
        (a_pod(nodeName="here", **only("elsewhere")), [], "NodeAffinity"),
        (a_pod(port=80), [a_pod(port=81)], None),
        (a_pod(port=80), [a_pod(port=80)], "NodePorts"),
        (a_pod(os={"name": "windows"}), [], "PodOSNotSupported"),
        (a_pod(securityContext={"sysctls": [{"name": "net.ipv4.tcp_syncookies", "value": "1"}]}), [], None),
        (a_pod(securityContext={"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}), [], "SysctlForbidden"),
    ],
)
def test_which_pods_the_node_takes(pod: Object, others: list[Object], reason: str | None) -> None:
    verdict = refusal(pod, others, NODE)
    assert (verdict.reason if verdict else None) == reason


def test_a_static_pod_is_always_taken() -> None:
    pod = a_pod("64")
    pod["metadata"]["annotations"] = {"kubernetes.io/config.source": "file"}
    assert refusal(pod, [], NODE) is None


def test_the_message_says_what_is_missing() -> None:
    verdict = refusal(a_pod("1500m"), [a_pod("1")], NODE)
    assert verdict is not None
    assert verdict.message == "Pod was rejected: Node didn't have enough resource: cpu, requested: 1500, used: 1000, capacity: 2000"


@pytest.mark.parametrize(
    ("tolerations", "reason"),
    [
        ([], "TaintToleration"),
        ([{"operator": "Exists"}], None),
        ([{"key": "gone", "operator": "Exists", "effect": "NoExecute"}], None),
        ([{"key": "gone", "value": "yes"}], None),
        ([{"key": "gone", "value": "no"}], "TaintToleration"),
        ([{"key": "gone", "operator": "Exists", "effect": "NoSchedule"}], "TaintToleration"),
    ],
)
def test_a_node_that_drives_pods_away_takes_none(tolerations: list[Object], reason: str | None) -> None:
    node = NodeOffer({}, {}, 3, taints=[{"key": "gone", "value": "yes", "effect": "NoExecute"}, {"key": "other", "effect": "NoSchedule"}])
    verdict = refusal(a_pod(tolerations=tolerations), [], node)
    assert (verdict.reason if verdict else None) == reason


def test_resources_that_do_not_fit_now_or_ever() -> None:
    found = [unfit(a_pod(cpu), [a_pod("1")], NODE) for cpu in ("1", "1500m", "3")]
    assert [verdict.reason if verdict else None for verdict in found] == [None, "Deferred", "Infeasible"]
