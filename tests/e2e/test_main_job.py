"""What everybody does first: a Deployment behind a Service, from the first apply to nothing left."""

from __future__ import annotations

import json
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import SETTLE_S, Cluster, Failed, restarts

pytestmark = pytest.mark.node

ONE, TWO = "nginx:1.27", "nginx:1.28"
WEB = "app=nginx"


def deployment(replicas: int = 2, image: str = ONE) -> dict[str, Any]:
    container = {
        "name": "nginx",
        "image": image,
        "ports": [{"containerPort": 80}],
        "readinessProbe": {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 1, "timeoutSeconds": 5},
        "lifecycle": {"preStop": {"sleep": {"seconds": 4}}},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "nginx-deployment", "labels": {"app": "nginx"}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "nginx"}},
            "template": {"metadata": {"labels": {"app": "nginx"}}, "spec": {"containers": [container]}},
        },
    }


SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "nginx"},
    "spec": {"type": "NodePort", "selector": {"app": "nginx"}, "ports": [{"port": 80, "nodePort": 30080}]},
}


class Load(threading.Thread):
    """Requests one after another, a new connection each, from outside to the NodePort, until told to stop."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url = url
        self.answers: list[str] = []
        self.failures: list[str] = []
        self._enough = threading.Event()

    def run(self) -> None:
        while not self._enough.is_set():
            done = subprocess.run(["curl", "-sS", "--fail", "--max-time", "30", self.url], capture_output=True, text=True, check=False)
            if done.returncode:
                self.failures.append(done.stderr)
            else:
                self.answers.append(done.stdout.strip())

    def stop(self) -> None:
        self._enough.set()
        self.join()


def test_a_deployment_behind_a_service_from_apply_to_nothing_left(cluster: Cluster, tmp_path: Path) -> None:
    before = cluster.empty()
    cluster.apply(deployment(), SERVICE)
    cluster.ready(WEB, 2)

    reachable_by_every_way(cluster)
    cluster.kubectl("scale", "deployment/nginx-deployment", "--replicas=5")
    cluster.ready(WEB, 5)
    rolls_without_a_failed_request(cluster)
    cluster.kubectl("rollout", "undo", "deployment/nginx-deployment")
    cluster.kubectl("rollout", "status", "deployment/nginx-deployment", "--timeout=60s", timeout_s=70)
    # The last pods of the former version serve on for as long as it takes to tell the proxy that they are ending.
    answer = f"http://{cluster.inside_ip}:30080/"
    cluster.until(lambda: {cluster.http(answer, outside=True).strip() for _ in range(10)} == {"one"}, 10, "all answers come from the former version")
    cluster.ready(WEB, 5)  # the former pods are gone
    assert restarts(cluster.pods(WEB)) == 0
    tells_about_itself(cluster)

    cluster.kubectl("delete", "deployment/nginx-deployment", "service/nginx", "--timeout=60s", timeout_s=70)
    cluster.until(lambda: not cluster.pods(), SETTLE_S, "all pods are gone")
    cluster.until(lambda: cluster.traces() == before, 20, "nothing is left", lambda: difference(before, cluster.traces()))


def reachable_by_every_way(cluster: Cluster) -> None:
    address = cluster.kubectl("get", "service", "nginx", "-o", "jsonpath={.spec.clusterIP}")
    names = {pod["metadata"]["name"] for pod in cluster.pods(WEB)}
    # Pods are Ready a moment before the proxy hears of it.
    cluster.until(lambda: who_answers(cluster, f"http://{address}/host") == names, 10, "all pods answer behind the Service")
    assert cluster.http(f"http://{address}/").strip() == "one"
    assert cluster.http(f"http://{cluster.inside_ip}:30080/", outside=True).strip() == "one"
    for name in ("nginx", "nginx.default", "nginx.default.svc.cluster.local"):
        assert cluster.kubectl("exec", "deployment/nginx-deployment", "--", "curl", "-sS", "--max-time", "5", f"http://{name}/") == "one"


def who_answers(cluster: Cluster, url: str) -> set[str]:
    """Of 30 requests; nobody where one fails."""
    try:
        return {cluster.http(url).split()[0] for _ in range(30)}
    except Failed:
        return set()


def rolls_without_a_failed_request(cluster: Cluster) -> None:
    load = Load(f"http://{cluster.inside_ip}:30080/")
    load.start()
    cluster.kubectl("set", "image", "deployment/nginx-deployment", f"nginx={TWO}")
    cluster.kubectl("rollout", "status", "deployment/nginx-deployment", "--timeout=90s", timeout_s=100)
    load.stop()
    assert load.failures == []
    assert load.answers[0] == "one"
    cluster.until(lambda: cluster.http(load.url, outside=True).strip() == "two", 10, "answers come from the new version")


def tells_about_itself(cluster: Cluster) -> None:
    described = cluster.kubectl("describe", "deployment", "nginx-deployment")
    assert "NewReplicaSetAvailable" in described
    assert "ScalingReplicaSet" in cluster.kubectl("get", "events")
    assert "GET /" in cluster.kubectl("logs", "-l", WEB, "--tail=-1")
    found = json.loads(
        subprocess.run(cluster.edgek("status", *cluster.paths(), "-o", "json"), capture_output=True, check=True, cwd=Path(__file__).parents[2]).stdout
    )
    assert found["healthy"]
    assert found["pods"]["states"]["Running"] == 5
    assert {part["part"] for part in found["cost"]} == {"edgek", "containerd", "shims"}


def difference(before: dict[str, set[str]], after: dict[str, set[str]]) -> str:
    return "\n".join(f"{what}: left {sorted(after[what] - before[what])}, missing {sorted(before[what] - after[what])}" for what in before)


def test_a_pod_is_entered_copied_to_and_from_and_debugged(cluster: Cluster, tmp_path: Path) -> None:
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "box", "labels": {"app": "box"}},
            "spec": {"containers": [{"name": "c", "image": ONE}], "terminationGracePeriodSeconds": 1},
        }
    )
    cluster.ready("app=box", 1)
    payload = tmp_path / "payload"
    payload.write_bytes(bytes(range(256)) * 4096)
    assert cluster.kubectl("exec", "-i", "box", "--", "sh", "-c", "cat >/tmp/in; wc -c </tmp/in", stdin=payload.read_bytes()).strip() == str(
        payload.stat().st_size
    )
    cluster.kubectl("cp", str(payload), "box:/tmp/there")
    cluster.kubectl("cp", "box:/tmp/there", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == payload.read_bytes()
    with pytest.raises(Failed, match="exit code 7"):
        cluster.kubectl("exec", "box", "--", "sh", "-c", "exit 7")
    cluster.kubectl("debug", "box", f"--image={ONE}", "--container=doctor", "--", "sh", "-c", "echo well; sleep 60")
    cluster.until(lambda: cluster.kubectl("logs", "box", "-c", "doctor", check=False) == "well", 30, "the ephemeral container ran")
    forward = subprocess.Popen(
        cluster.inside("kubectl", "--kubeconfig", cluster.kubeconfig, "port-forward", "pod/box", "18080:80"), stdout=subprocess.PIPE, text=True
    )
    try:
        assert forward.stdout
        assert "Forwarding from" in forward.stdout.readline()
        assert cluster.http("http://127.0.0.1:18080/").strip() == "one"
    finally:
        forward.terminate()
        forward.wait()
    cluster.kubectl("delete", "pod", "box", "--timeout=30s")


def test_a_claim_keeps_a_pods_data(cluster: Cluster) -> None:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Mi"}}},
    }
    mounts = {"volumeMounts": [{"name": "v", "mountPath": "/data"}], "name": "c", "image": ONE}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "keeper", "labels": {"app": "keeper"}},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [mounts],
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}],
        },
    }
    cluster.apply(claim, pod)
    cluster.ready("app=keeper", 1)
    cluster.kubectl("exec", "keeper", "--", "sh", "-c", "echo kept >/data/file")
    cluster.kubectl("delete", "pod", "keeper", "--timeout=30s")
    cluster.apply(pod)
    cluster.ready("app=keeper", 1)
    assert cluster.kubectl("exec", "keeper", "--", "cat", "/data/file") == "kept"
    cluster.kubectl("delete", "pod/keeper", "pvc/data", "--timeout=60s", timeout_s=70)
    cluster.until(lambda: not cluster.get("pv")["items"], 30, "the volume is gone")
    assert [each.name for each in (cluster.data / "storage").iterdir()] == [".edgek"]  # the driver's own
