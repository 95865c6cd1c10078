"""What controllers keep of a Pod."""

from __future__ import annotations

import tracemalloc
from typing import Any

import orjson

from edgek.model import alike
from edgek.server.controllers import views

POD: dict[str, Any] = {
    "metadata": {
        "namespace": "default",
        "labels": {"app": "web", "pod-template-hash": "7855cd8cdd"},
        "creationTimestamp": "2027-01-15T08:06:44Z",
        "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-7855cd8cdd", "uid": "8d9583b4", "controller": True}],
    },
    "spec": {
        "nodeName": "node-1",
        "containers": [{"name": "main", "image": "web:1", "ports": [{"name": "http", "containerPort": 80}]}],
        "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}],
        "volumes": [
            {"name": "data", "persistentVolumeClaim": {"claimName": "disk"}},
            {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {}}},
        ],
    },
    "status": {
        "phase": "Running",
        "podIPs": [{"ip": "10.42.0.1"}, {"ip": "fd00::1"}],
        "conditions": [{"type": each, "status": "True", "lastTransitionTime": "2027-01-15T08:06:44Z"} for each in ("Ready", "PodScheduled")],
        "containerStatuses": [{"name": "main", "restartCount": 2, "state": {"terminated": {"exitCode": 3}}}],
    },
}


def numbered(number: int) -> views.PodView:
    obj = orjson.loads(orjson.dumps(POD))
    obj["metadata"] |= {"name": f"web-{number}", "uid": f"0a1b2c3d-{number}"}
    return views.pod(obj)


def test_a_view_says_what_controllers_ask() -> None:
    view = numbered(1)
    assert (view.key, view.owner_kind, view.node, view.restarts) == ("default/web-1", "ReplicaSet", "node-1", 2)
    assert view.ips == ("10.42.0.1", "fd00::1")
    assert view.claims == ("disk", "web-1-scratch")
    assert view.own_claims == ("web-1-scratch",)
    assert view.exit_codes == (("main", 3),)
    assert view.ports == (views.ContainerPort("http", 80, "TCP"),)
    assert view.active


def test_an_empty_pod_has_a_view_too() -> None:
    view = views.pod({"metadata": {"name": "x", "namespace": "y"}})
    assert (view.phase, view.ready, view.node, view.ips) == ("Pending", False, "", ())


def test_of_a_node_neither_its_images_nor_what_it_offers_is_kept() -> None:
    ready = {"type": "Ready", "status": "True"}
    whole = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "node-1", "uid": "u", "resourceVersion": "7", "labels": {"zone": "a"}},
        "spec": {"podCIDR": "10.42.0.0/24", "taints": [{"key": "gpu", "effect": "NoSchedule"}]},
        "status": {"conditions": [ready], "capacity": {"cpu": "4"}, "images": [{"names": ["web:1"]}]},
    }
    kept = views.node(whole)
    assert kept["metadata"] == {"name": "node-1", "uid": "u", "resourceVersion": "7"}
    assert kept["spec"] == whole["spec"]
    assert kept["status"] == {"conditions": [ready]}
    assert views.node({"metadata": {"name": "new"}})["status"] == {"conditions": []}


def test_pods_of_one_owner_share_what_they_have_in_common() -> None:
    numbered(0)
    tracemalloc.start()
    try:
        kept = [numbered(number) for number in range(1000)]
        made = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, views.__file__), tracemalloc.Filter(True, alike.__file__)])
    finally:
        tracemalloc.stop()
    assert kept[0].labels is kept[999].labels
    sizes = [trace.size for trace in made.traces if trace.size < 100_000]  # a table that grew by the way (Python's interned strings) is larger
    assert sum(sizes) / len(kept) < 900  # bytes, with two volumes and two addresses


def test_a_pod_without_labels_has_none_and_not_something_else_that_is_empty() -> None:
    first = views.pod({"metadata": {"name": "a", "namespace": "b"}, "spec": {}})
    second = views.pod({"metadata": {"name": "c", "namespace": "b"}, "spec": {}})
    assert first.labels == second.labels == {}
    assert first.conditions == ()
