"""A node on its own: its power comes back while its server is away, and it is a node all the same, by what it kept.

Then the link comes back: nothing is restarted needlessly, what happened meanwhile is told, and what was deleted meanwhile goes. ``EDGEK_FLAPS`` is how
often the link flaps.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.clock import FAKETIME, faked
from tests.e2e.cluster import START_S, Cluster, Failed, sh
from tests.e2e.held import Held
from tests.e2e.local import began, running, within
from tests.e2e.outpost import Outpost

pytestmark = pytest.mark.node

IMAGE = "docker.io/library/nginx:1.27"
TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount/token"
ALONE_S = 60.0  # from power to pods: containerd's start, and the time for which a server is waited for
FLAPS = int(os.environ.get("EDGEK_FLAPS", "50"))
READY_AGAIN_S = 15.0  # the benchmark has a finer line; this is what it takes on a machine that is busy with other things


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
        "livenessProbe": {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 1, "timeoutSeconds": 5},
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
RUNNING = ("keeper", "other", "crashing", "spare", "leaving", "forgotten")


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
    kept = far.data / "agent" / "copies"
    for name, what in (("services", "keeper"), ("endpointslices", address)):
        far.until(lambda file=kept / f"{name}.json", what=what: file.exists() and what in file.read_text(), 30, f"{name} are kept")  # type: ignore[misc]
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

    former = running(far)["crashing"]
    os.kill(former.pid, signal.SIGKILL)
    far.until(lambda: running(far).get("crashing", former).id != former.id, 30, "a crashed container is restarted by its policy", far.log_end)
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


def lease(cluster: Cluster) -> str:
    """When it was renewed last; nothing where a server that was killed has forgotten it."""
    return cluster.kubectl("get", "lease", "-n", "kube-node-lease", "far", "-o", "jsonpath={.spec.renewTime}", check=False)


def events(cluster: Cluster, name: str, reason: str, since: float) -> list[dict[str, Any]]:
    fields = f"involvedObject.name={name},reason={reason}"
    return [each for each in cluster.get("events", "--field-selector", fields)["items"] if stamp(each["lastTimestamp"]) >= since]


def test_a_server_that_was_away_hears_within_seconds_and_once_what_happened_meanwhile(cluster: Cluster, far: Outpost) -> None:
    before, count = began(far), restarted(cluster, "other")
    killed = int(time.time())
    cluster.kill()
    os.kill(running(far)["other"].pid, signal.SIGKILL)
    far.until(lambda: "other" in running(far) and running(far)["other"].id != before["other"][0], 90, "it restarts", far.log_end)
    renewed = time.time()
    cluster.start(ready=False)
    cluster.until(lambda: cluster.kubectl("get", "--raw", "/readyz", check=False) == "ok", START_S, "the server answers")
    answered = time.time()
    cluster.until(lambda: stamp(lease(cluster)) > renewed and far.is_ready(), 30, "the node is Ready again", far.log_end)
    took_s = stamp(lease(cluster)) - answered  # by the node's own stamp: kubectl takes its time, too
    print(f"Ready again {took_s:.1f} s after the server answered")
    assert took_s < READY_AGAIN_S, far.log_end()
    cluster.until(lambda: restarted(cluster, "other") == count + 1, 15, "the restart is told", far.log_end)
    # What it heard before it was killed it may have forgotten: events live in memory.
    cluster.until(lambda: bool(events(cluster, "other", "Started", killed)), 20, "the event is told", lambda: cluster.kubectl("get", "events"))
    time.sleep(3)
    assert len(events(cluster, "other", "Started", killed)) == 1, "and told once"
    assert events(cluster, "keeper", "Started", killed) == []
    assert {name: found for name, found in began(far).items() if name != "other"} == {k: v for k, v in before.items() if k != "other"}


def stamp(text: str) -> float:
    return datetime.fromisoformat(text).timestamp() if text else 0.0


def flap(far: Outpost, times: int) -> None:
    """In turn: the cable out while the agent's connections break, so that the server is left with half of each; and connections broken on both ends."""
    for number in range(times):
        if number % 2:
            far.cut()
        sh(f"nsenter --net=/run/netns/{far.name} ss -Ktn dport = 6443")
        time.sleep(0.3)
        far.mend()
        time.sleep(0.4)


def test_a_flapping_link_leaves_nothing_behind(cluster: Cluster, far: Outpost) -> None:
    """Connections, files, threads and memory of both ends; and the pods did not notice."""
    untouched = began(far)
    flap(far, 10)  # what is loaded or pooled the first time is there after these
    settle(cluster, far)
    before = {node.name: Held.of(node) for node in (cluster, far)}
    flap(far, FLAPS)
    settle(cluster, far)
    after: dict[str, Held] = {}

    def settled() -> bool:
        after.update({node.name: Held.of(node) for node in (cluster, far)})
        return all(after[name].no_more_than(before[name]) for name in before)

    far.until(settled, 60, "nothing is left of it", lambda: f"before {before}\nafter  {after}")
    print(f"before {before}\nafter  {after}")
    assert began(far) == untouched


def settle(cluster: Cluster, far: Outpost) -> None:
    now = time.time()
    cluster.until(lambda: stamp(lease(cluster)) > now and far.is_ready(), 60, "the lease is renewed", far.log_end)
    cluster.until(lambda: "worker" in cluster.kubectl("logs", "keeper", check=False), 30, "the node answers", far.log_end)


@pytest.mark.skipif(FAKETIME is None, reason="needs the package faketime")
def test_a_board_that_boots_in_1970_is_a_node_and_stays_one_when_it_hears_the_time(cluster: Cluster, far: Outpost) -> None:
    before, clock = began(far), far.folder / "clock"
    far.stop()
    newest = json.loads((far.data / "agent" / "seen.json").read_text())["newest"]
    clock.write_text("@1970-01-01 00:02:00\n")
    far.environment = faked(clock)
    far.start(ready=False, joining=False)
    cluster.until(lambda: lease(cluster).startswith("1970-") and far.is_ready(), START_S, "it is Ready, in 1970", far.log_end)
    os.kill(running(far)["spare"].pid, signal.SIGKILL)
    far.until(lambda: "spare" in running(far) and running(far)["spare"].id != before["spare"][0], 60, "containers restart in 1970")
    began_1970 = began(far)
    clock.write_text(time.strftime("@%Y-%m-%d %H:%M:%S\n"))
    cluster.until(lambda: lease(cluster) > newest, 30, "its lease shows the time", far.log_end)
    cluster.until(far.is_ready, 10, "it is Ready")
    assert "the clock was set" in far.log.read_text()
    line = f'curl -sS -o /dev/null -w "%{{http_code}}" -k -H "Authorization: Bearer $(cat {TOKEN})" https://kubernetes.default.svc/api'
    until_answered(cluster, lambda: cluster.kubectl("exec", "keeper", "--", "sh", "-c", line), "200", "the token is good", 30)
    time.sleep(3)  # for whatever would be set off by the jump
    assert began(far) == began_1970
    assert {name: found for name, found in before.items() if name != "spare"}.items() <= began_1970.items()
    far.stop()
    far.environment = {}
    far.start(joining=False)
    assert began(far) == began_1970
