"""A node that is away: its pods do what they say, by its own clock; and one that is forgotten is a stranger from then on."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import START_S, Cluster
from tests.e2e.local import began, running
from tests.e2e.outpost import Outpost

pytestmark = pytest.mark.node

GRACE_S = 15  # the least that may be asked for
STOP_S = 30  # likewise


def pod(name: str, said: str) -> dict[str, Any]:
    container = {"name": "web", "image": "docker.io/library/nginx:1.27", "imagePullPolicy": "IfNotPresent"}
    spec = {"nodeName": "far", "terminationGracePeriodSeconds": 1, "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "annotations": {"edgek.io/when-away": said}}, "spec": spec}


@pytest.fixture(scope="module")
def server(web_one: Path) -> Iterator[Cluster]:
    cluster = Cluster("--node-monitor-grace-period", f"{GRACE_S}s", "--default-unreachable-toleration-seconds", "3600")
    try:
        (cluster.images / web_one.name).write_bytes(web_one.read_bytes())
        cluster.start()
        yield cluster
    finally:
        cluster.remove()


@pytest.fixture(scope="module")
def far(server: Cluster, web_one: Path) -> Iterator[Outpost]:
    outpost = Outpost(server, "far")
    try:
        (outpost.images / web_one.name).write_bytes(web_one.read_bytes())
        outpost.start()
        server.apply(pod("single", f"stop={STOP_S}s"), pod("kept", "keep"))
        server.kubectl("wait", "--for=condition=Ready", "pod/single", "pod/kept", "--timeout=60s", timeout_s=70)
        yield outpost
    finally:
        outpost.remove()


def test_what_a_pod_cannot_say_is_refused_with_the_way_out(server: Cluster) -> None:
    said = server.fails("run", "it", "--image=none", "--annotations=edgek.io/when-away=stop=5s")
    assert 'metadata.annotations[edgek.io/when-away]: Invalid value: "stop=5s"' in said
    assert "at least 30s" in said


def test_a_node_without_its_server_stops_the_pod_that_says_so_and_starts_it_again_when_the_server_is_back(server: Cluster, far: Outpost) -> None:
    before = began(far)
    uid = server.kubectl("get", "pod", "single", "-o", "jsonpath={.metadata.uid}")
    cut = time.monotonic()
    far.cut()
    state = "jsonpath={.status.conditions[?(@.type=='Ready')].status}"
    server.until(lambda: server.kubectl("get", "node", "far", "-o", state) == "Unknown", GRACE_S + 5, "the node is known to be lost")
    assert {*running(far)} == {"single", "kept"}
    far.kill()  # its next process knows since when the server is away
    far.start(ready=False, joining=False)
    far.until(lambda: {*running(far)} == {"kept"}, STOP_S + 40, "its time is over", far.log_end)
    print(f"stopped {time.monotonic() - cut:.1f} s after the cut")
    assert time.monotonic() - cut > STOP_S - 11
    assert server.kubectl("get", "pod", "single", "-o", "jsonpath={.metadata.deletionTimestamp}") == ""

    far.mend()
    server.until(far.is_ready, START_S, "the node is Ready again", far.log_end)
    far.until(lambda: {*running(far)} == {"single", "kept"}, 40, "it runs again", far.log_end)
    shown = "jsonpath={.metadata.uid} {.status.containerStatuses[0].restartCount}"
    server.until(lambda: server.kubectl("get", "pod", "single", "-o", shown) == f"{uid} 1", 20, "and the API says so", far.log_end)
    assert began(far)["kept"] == before["kept"], "the other did not notice"


def test_a_drained_node_gives_its_pods_away_and_takes_pods_again(server: Cluster, far: Outpost) -> None:
    server.kubectl("cordon", "box")
    server.apply(web())
    server.kubectl("rollout", "status", "deployment/web", "--timeout=60s", timeout_s=70)
    assert where(server) == {"far"}
    server.kubectl("uncordon", "box")
    server.kubectl("drain", "far", "--pod-selector=app=web", "--timeout=60s", timeout_s=70)
    server.kubectl("rollout", "status", "deployment/web", "--timeout=60s", timeout_s=70)
    assert where(server) == {"box"}
    server.kubectl("uncordon", "far")


def test_pods_of_a_dead_node_are_replaced_and_cleared_when_it_comes_back(server: Cluster, far: Outpost) -> None:
    server.kubectl("cordon", "box")
    server.kubectl("rollout", "restart", "deployment/web")
    server.kubectl("rollout", "status", "deployment/web", "--timeout=60s", timeout_s=70)
    assert where(server) == {"far"}
    server.kubectl("uncordon", "box")
    far.power_cut()
    server.until(lambda: where(server) == {"box"}, GRACE_S + 30, "they run elsewhere", lambda: server.kubectl("get", "pods", "-o", "wide"))
    far.start(joining=False)
    far.until(lambda: {*running(far)} == {"single", "kept"}, 60, "only its own run there", far.log_end)
    server.until(lambda: server.kubectl("get", "pods", "-l", "app=web", "-o", "name").count("pod/") == 2, 30, "the lost ones are gone")


def web() -> dict[str, Any]:
    """Two pods that are replaced as soon as their node is lost."""
    made = pod("web", "replace=0s")
    made["spec"].pop("nodeName")
    template = {"metadata": {"labels": {"app": "web"}, "annotations": made["metadata"]["annotations"]}, "spec": made["spec"]}
    spec = {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}


def where(server: Cluster) -> set[str]:
    """The nodes on which ready pods of the deployment are; nothing before there are two."""
    nodes = [
        each["spec"]["nodeName"]
        for each in json.loads(server.kubectl("get", "pods", "-l", "app=web", "-o", "json"))["items"]
        if "deletionTimestamp" not in each["metadata"]
        and any(found["type"] == "Ready" and found["status"] == "True" for found in each["status"].get("conditions") or ())
    ]
    return set(nodes) if len(nodes) == 2 else set()


def test_a_forgotten_node_is_a_stranger_until_it_joins_again(server: Cluster, far: Outpost) -> None:
    said = server.run("node", *server.paths(), "forget", "far")
    assert "far is forgotten" in said
    far.until(lambda: "was forgotten, or is another machine by now" in far.log_end(), 20, "it is told", far.log_end)
    far.stop()
    assert server.kubectl("get", "node", "far", "--ignore-not-found") == "", "it has not come back by itself"
    far.start()
