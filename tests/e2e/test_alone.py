"""A node on its own: its power comes back while its server is away, and it is a node all the same, by what it kept.

Then the link comes back: nothing is restarted needlessly, what happened meanwhile is told, and what was deleted meanwhile goes.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import START_S, Cluster, Failed
from tests.e2e.local import began, running, within
from tests.e2e.outpost import Outpost

pytestmark = pytest.mark.node

IMAGE = "docker.io/library/nginx:1.27"
TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount/token"
ALONE_S = 60.0  # from power to pods: containerd's start, and the time for which a server is waited for
READY_AGAIN_S = 5.0  # the benchmark's line


def pod(name: str, container: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """On the far node, with the web server."""
    spec = {
        "nodeName": "far",
        "terminationGracePeriodSeconds": 1,
        "containers": [{"name": "web", "image": IMAGE, "imagePullPolicy": "IfNotPresent", **(container or {})}],
        **more,
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec}


KEEPER = pod(
    "keeper",
    {
        "env": [{"name": "HIDDEN", "valueFrom": {"secretKeyRef": {"name": "hidden", "key": "word"}}}],
        "envFrom": [{"configMapRef": {"name": "settings"}}],
        "volumeMounts": [{"name": name, "mountPath": f"/{name}"} for name in ("secret", "settings", "scratch")],
        "livenessProbe": {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 1},
    },
    volumes=[
        {"name": "secret", "secret": {"secretName": "hidden"}},
        {"name": "settings", "configMap": {"name": "settings"}},
        {"name": "scratch", "emptyDir": {}},
    ],
)
BESIDE = (
    {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hidden"}, "stringData": {"word": "sesame"}},
    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"COLOUR": "green"}},
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "keeper"},
        "spec": {"type": "NodePort", "selector": {"app": "keeper"}, "ports": [{"port": 80, "nodePort": 30090}]},
    },
)
RUNNING = ("keeper", "other", "crashing", "leaving", "forgotten")


@pytest.fixture(scope="module")
def far(cluster: Cluster, web_one: Path) -> Iterator[Outpost]:
    """Joined, with pods."""
    outpost = Outpost(cluster, "far")
    try:
        shutil.copy(web_one, outpost.images)
        outpost.start()
        cluster.apply(*BESIDE, KEEPER, *map(pod, RUNNING[1:]), pod("once", {"command": ["true"]}, restartPolicy="Never"))
        cluster.kubectl("wait", "--for=condition=Ready", *(f"pod/{name}" for name in RUNNING), "--timeout=60s", timeout_s=70)
        cluster.kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/once", "--timeout=30s")
        cluster.kubectl("exec", "keeper", "--", "sh", "-c", "echo mine >/scratch/file")
        yield outpost
    finally:
        outpost.remove()


def until_answered(node: Cluster, ask: Callable[[], str], wanted: str, what: str, timeout_s: float = ALONE_S) -> None:
    heard = [""]

    def so() -> bool:
        try:
            heard[0] = ask()
        except Failed as exc:
            heard[0] = str(exc)
        return heard[0].strip() == wanted

    node.until(so, timeout_s, what, lambda: heard[0])


def status(cluster: Cluster, name: str) -> dict[str, Any]:
    found: dict[str, Any] = cluster.get("pod", name)["status"]
    return found


def test_a_power_cut_without_a_server_costs_nothing_but_the_time_it_takes_to_boot(cluster: Cluster, far: Outpost) -> None:
    token = cluster.kubectl("exec", "keeper", "--", "cat", TOKEN)
    address = status(cluster, "keeper")["podIP"]
    cluster.until(lambda: "keeper" in within(far, "other", "curl -sS http://keeper/host"), 20, "the Service answers")
    far.power_cut()
    far.cut()
    cluster.kubectl("delete", "pod", "leaving", "--wait=false")
    cluster.kubectl("delete", "pod", "forgotten", "--force", "--grace-period=0")
    started = time.monotonic()
    far.start(ready=False, joining=False)

    far.until(lambda: set(running(far)) == set(RUNNING), ALONE_S, "all pods run again, and none that had ended", lambda: str(running(far)))
    print(f"all pods run {time.monotonic() - started:.1f} s after the start")
    seen = within(far, "keeper", f"echo $HIDDEN $COLOUR $(cat /secret/word /settings/COLOUR /scratch/file); cat {TOKEN}").split("\n")
    assert seen == ["sesame green sesamegreenmine", token]
    assert within(far, "keeper", "echo $KEEPER_SERVICE_HOST").startswith("10.43.")
    until_answered(far, lambda: within(far, "other", "curl -sS --max-time 2 http://keeper/host"), "keeper one", "names and Services answer")
    assert far.http("http://127.0.0.1:30090/host".replace("127.0.0.1", far.inside_ip)).strip() == "keeper one"
    assert address in within(far, "keeper", "hostname -i || getent hosts keeper"), "pods keep their addresses: others know them by these"

    os.kill(running(far)["crashing"].pid, signal.SIGKILL)
    far.until(lambda: "crashing" not in running(far), 10, "it is dead")
    far.until(lambda: "crashing" in running(far), 20, "a crashed container is restarted by its policy", far.log_end)
    before = began(far)

    far.mend()
    cluster.until(far.is_ready, START_S, "the node is Ready again", far.log_end)
    for name in ("leaving", "forgotten"):
        far.until(lambda name=name: name not in running(far), 30, f"{name} ends")  # type: ignore[misc]
    cluster.until(lambda: not cluster.kubectl("get", "pod", "leaving", "--ignore-not-found"), 30, "it is gone from the API")
    ids = {name: before[name][0] for name in ("keeper", "other", "crashing")}
    cluster.until(
        lambda: all(status(cluster, name)["containerStatuses"][0]["containerID"].endswith(identity) for name, identity in ids.items()),
        30,
        "the API shows what runs now",
        lambda: cluster.kubectl("get", "pods", "-o", "wide") + far.log_end(),
    )
    assert {name: restarted(cluster, name) for name in ids} == {"keeper": 1, "other": 1, "crashing": 2}
    assert status(cluster, "once")["phase"] == "Succeeded"
    assert {name: found for name, found in began(far).items() if name in ids} == {name: before[name] for name in ids}, (
        "nothing is restarted needlessly"
    )
    # Kept or new, its token is one that the server takes.
    line = f'curl -sS -o /dev/null -w "%{{http_code}}" -k -H "Authorization: Bearer $(cat {TOKEN})" https://kubernetes.default.svc/api'
    until_answered(cluster, lambda: cluster.kubectl("exec", "keeper", "--", "sh", "-c", line), "200", "the token is good", 30)


def restarted(cluster: Cluster, name: str) -> int:
    return int(status(cluster, name)["containerStatuses"][0]["restartCount"])
