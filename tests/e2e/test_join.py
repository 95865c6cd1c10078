"""A second machine joins: a real agent in a namespace of its own, by the one command that a user types."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgek.model.credentials import JoinToken
from tests.e2e.cluster import START_S, Cluster, sh
from tests.e2e.outpost import Outpost

pytestmark = pytest.mark.node

IMAGE = "docker.io/library/nginx:1.27"


@pytest.fixture(scope="module")
def outpost(cluster: Cluster, web_one: Path) -> Iterator[Outpost]:
    """Joined and Ready, with a web server on it and one on the server's own node."""
    outpost = Outpost(cluster, "far")
    try:
        shutil.copy(web_one, outpost.images)
        outpost.start()
        cluster.apply(web("near-web", "box"), web("far-web", "far"))
        cluster.kubectl("wait", "--for=condition=Ready", "pod/near-web", "pod/far-web", "--timeout=60s")
        yield outpost
    finally:
        outpost.remove()


def web(name: str, node: str) -> dict[str, object]:
    container = {"name": "web", "image": IMAGE, "imagePullPolicy": "IfNotPresent"}
    spec = {"nodeName": node, "containers": [container], "terminationGracePeriodSeconds": 1}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def address(cluster: Cluster, pod: str) -> str:
    return cluster.kubectl("get", "pod", pod, "-o", "jsonpath={.status.podIP}")


def packets(node: Cluster) -> int:
    """Sent in VXLAN."""
    link = json.loads(sh(f"ip -n {node.name} -s -j link show flannel.1"))[0]
    return int(link["stats64"]["tx"]["packets"])


def refused(cluster: Cluster, node_name: str, token: str) -> str:
    """What an agent on another machine says before it gives up."""
    stranger = Outpost(cluster, node_name)
    try:
        stranger.start(ready=False, token=token)
        assert stranger.process is not None
        assert stranger.process.wait(START_S) == 2, stranger.log_end()
        stranger.process = None
        return stranger.log_end()
    finally:
        stranger.remove()


def test_pods_of_both_nodes_reach_each_other(cluster: Cluster, outpost: Outpost) -> None:
    before = packets(cluster), packets(outpost)
    assert "far-web" in cluster.kubectl("exec", "near-web", "--", "curl", "-sS", "--max-time", "5", f"http://{address(cluster, 'far-web')}/host")
    assert "near-web" in outpost.http(f"http://{address(cluster, 'near-web')}/host")
    after = packets(cluster), packets(outpost)
    assert after[0] > before[0]
    assert after[1] > before[1]


def test_an_agent_comes_back_without_a_token(cluster: Cluster, outpost: Outpost) -> None:
    before = cluster.get("pod", "far-web")["status"]["containerStatuses"][0]["containerID"]
    lease = cluster.get("lease", "-n", "kube-node-lease", "far")["spec"]["renewTime"]
    outpost.stop()
    outpost.start(joining=False)
    outpost.until(
        lambda: cluster.get("lease", "-n", "kube-node-lease", "far")["spec"]["renewTime"] > lease, START_S, "the agent renews its lease again"
    )
    assert cluster.get("pod", "far-web")["status"]["containerStatuses"][0]["containerID"] == before


def test_a_name_that_is_another_machines_is_refused_with_the_way_out(cluster: Cluster, outpost: Outpost) -> None:
    token = cluster.run("token", *cluster.paths()).strip()
    assert "edgek node forget far" in refused(cluster, "far", token)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [("secret", "not-the-one", "is not this cluster's"), ("authority_hash", "0" * 64, "The token was not sent")],
    ids=["wrong secret", "another authority"],
)
def test_a_wrong_token_is_refused_by_name(cluster: Cluster, field: str, value: str, says: str) -> None:
    token = JoinToken.parse(cluster.run("token", *cluster.paths()).strip())
    parts = {"secret": token.secret, "user": token.user, "authority_hash": token.authority_hash, field: value}
    assert says in refused(cluster, "stranger", str(JoinToken(**parts)))
    assert "stranger" not in cluster.kubectl("get", "nodes")


def test_what_is_asked_of_a_joined_nodes_pods_is_answered(cluster: Cluster, outpost: Outpost) -> None:
    cluster.until(lambda: "start worker process" in cluster.kubectl("logs", "far-web"), 20, "it has said something")
    assert "near-web" in cluster.kubectl("exec", "far-web", "--", "curl", "-sS", "--max-time", "5", f"http://{address(cluster, 'near-web')}/host")


def test_what_is_asked_of_a_node_that_is_away_is_refused_by_its_name(cluster: Cluster, outpost: Outpost) -> None:
    outpost.stop()
    try:
        assert "node 'far' cannot be reached now" in cluster.fails("logs", "far-web")
    finally:
        outpost.start(joining=False)
    outpost.until(lambda: "worker" in cluster.kubectl("logs", "far-web", check=False), START_S, "the node answers again")
