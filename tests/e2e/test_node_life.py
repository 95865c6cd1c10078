"""A node that is away: its pods do what they say, by its own clock; and one that is forgotten is a stranger from then on."""

from __future__ import annotations

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
def server() -> Iterator[Cluster]:
    cluster = Cluster("--node-monitor-grace-period", f"{GRACE_S}s", "--default-unreachable-toleration-seconds", "3600")
    try:
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


def test_a_forgotten_node_is_a_stranger_until_it_joins_again(server: Cluster, far: Outpost) -> None:
    said = server.run("node", *server.paths(), "forget", "far")
    assert "far is forgotten" in said
    far.until(lambda: "was forgotten, or is another machine by now" in far.log_end(), 20, "it is told", far.log_end)
    far.stop()
    assert server.kubectl("get", "node", "far", "--ignore-not-found") == "", "it has not come back by itself"
    far.start()
