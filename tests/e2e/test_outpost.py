"""A second machine joins, behind a router that lets nobody in: it is a full node for everything the API asks of it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster import START_S, Cluster
from tests.e2e.outpost import Outpost

pytestmark = pytest.mark.node

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web"},
    "spec": {
        "nodeName": "far",
        "containers": [{"name": "c", "image": "nginx:1.27", "imagePullPolicy": "IfNotPresent", "ports": [{"containerPort": 80}]}],
    },
}


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    cluster = Cluster()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.remove()


@pytest.fixture(scope="module")
def outpost(server: Cluster, web_one: Path) -> Iterator[Outpost]:
    outpost = Outpost(server, "far", behind_nat=True)
    try:
        (outpost.images / web_one.name).write_bytes(web_one.read_bytes())
        outpost.start()
        server.apply(POD)
        server.until(lambda: phase(server) == "Running", 60, "the pod runs", lambda: server.kubectl("describe", "pod", "web") + outpost.log_end())
        yield outpost
    finally:
        outpost.remove()


def phase(server: Cluster) -> str:
    return server.kubectl("get", "pod", "web", "-o", "jsonpath={.status.phase}")


def test_the_router_lets_nobody_in(server: Cluster, outpost: Outpost) -> None:
    """Or else the tests below would show nothing."""
    argv = server.inside("curl", "-sS", "--max-time", "2", f"http://{outpost.inside_ip}:10250/")
    assert "timed out" in subprocess.run(argv, capture_output=True, text=True, check=False).stderr


def test_logs_come_over_the_link(server: Cluster, outpost: Outpost) -> None:
    server.until(lambda: "nginx" in server.kubectl("logs", "web"), 20, "it has said something")


def test_commands_run_over_the_link_with_their_input_and_exit_code(server: Cluster, outpost: Outpost) -> None:
    assert server.kubectl("exec", "-i", "web", "--", "cat", stdin="typed\n" * 50_000).count("typed") == 50_000
    assert "exit code 7" in server.fails("exec", "web", "--", "sh", "-c", "exit 7")


def test_ports_are_forwarded_and_proxied_over_the_link(server: Cluster, outpost: Outpost) -> None:
    process = subprocess.Popen(
        server.inside("kubectl", "--kubeconfig", server.kubeconfig, "port-forward", "pod/web", ":80"), stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        port = process.stdout.readline().split("127.0.0.1:")[1].split(" ")[0]
        assert "one" in server.http(f"http://127.0.0.1:{port}/")
    finally:
        process.terminate()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    assert "one" in server.kubectl("get", "--raw", "/api/v1/namespaces/default/pods/web:80/proxy/")
    assert server.kubectl("get", "--raw", "/api/v1/nodes/far/proxy/healthz") == "ok"


def test_a_restarted_server_finds_its_node_again_and_the_pod_did_not_notice(server: Cluster, outpost: Outpost) -> None:
    started = "jsonpath={.status.containerStatuses[0].state.running.startedAt}"
    before = server.kubectl("get", "pod", "web", "-o", started)
    server.stop()
    server.start()
    server.until(lambda: "nginx" in server.kubectl("logs", "web", check=False), 20, "the node is linked again", outpost.log_end)
    assert server.kubectl("get", "pod", "web", "-o", started) == before


def test_a_node_that_was_deleted_while_it_lives_registers_again(server: Cluster, outpost: Outpost) -> None:
    uid = server.kubectl("get", "node", "far", "-o", "jsonpath={.metadata.uid}")
    server.kubectl("delete", "node", "far")
    path = "jsonpath={.metadata.uid}"
    server.until(
        lambda: server.kubectl("get", "node", "far", "-o", path, check=False) not in ("", uid) and outpost.is_ready(),
        60,
        "the node is there again",
        outpost.log_end,
    )


def test_a_second_machine_of_that_name_is_refused(server: Cluster, outpost: Outpost) -> None:
    twin = Outpost(server, "far")
    try:
        twin.start(ready=False)
        assert twin.process is not None
        assert twin.process.wait(START_S) == 2
        assert "edgek node forget far" in twin.log_end()
        twin.process = None
    finally:
        twin.remove()
