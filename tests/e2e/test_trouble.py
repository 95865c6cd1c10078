"""kill -9 at random moments under churn, and a power cut: the cluster settles, nothing healthy is touched, nothing acknowledged is lost.

``EDGEK_TROUBLE_ROUNDS`` and ``EDGEK_TROUBLE_SEED`` make it longer, or another one.
"""

from __future__ import annotations

import os
import random
import shutil
import threading
import time
from pathlib import Path

import attrs
import pytest

from tests.e2e.churn import IMAGES, Ledger, Workloads, deployment
from tests.e2e.clock import FAKETIME, faked
from tests.e2e.cluster import SETTLE_S, Cluster, Failed, restarts
from tests.e2e.direct import DEPLOYMENTS, PODS, Direct, Unanswered

pytestmark = pytest.mark.node

ROUNDS = int(os.environ.get("EDGEK_TROUBLE_ROUNDS", "50"))
SEED = int(os.environ.get("EDGEK_TROUBLE_SEED", "1"))
STEADY = "app=steady"
STEADY_SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "steady"},
    "spec": {"type": "NodePort", "selector": {"app": "steady"}, "ports": [{"port": 80, "nodePort": 30081}]},
}
CLAIM = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "kept"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Mi"}}},
}
JOB = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "once"},
    "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": IMAGES[0], "command": ["true"]}]}}},
}


@attrs.frozen
class Round:
    """Who is killed, and when: seconds after the churn began, and after a start that is itself interrupted (None: it is left in peace)."""

    edgek: bool
    containerd: bool
    after_s: float
    changes: int
    again_after_s: float | None


def plan(seed: int, rounds: int) -> list[Round]:
    chance = random.Random(seed)
    found = []
    for _ in range(rounds):
        edgek, containerd = chance.choice([(True, False), (True, False), (False, True), (True, True)])
        again = chance.uniform(0, 2.0) if edgek and chance.random() < 0.2 else None
        found.append(Round(edgek, containerd, chance.uniform(0, 1.5), chance.randint(1, 3), again))
    return found


class Asking:
    """Somebody who keeps asking a Service from outside, a new connection each time; ``failures`` are what went wrong."""

    def __init__(self, address: str) -> None:
        self.failures: list[str] = []
        self.answers = 0
        self._address = address
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Asking:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._thread.join()

    def _run(self) -> None:
        import http.client

        while not self._enough.wait(0.1):
            connection = http.client.HTTPConnection(self._address, timeout=30)
            try:
                connection.request("GET", "/")
                connection.getresponse().read()
                self.answers += 1
            except OSError as exc:
                self.failures.append(f"{time.strftime('%T')} {exc!r}")
            finally:
                connection.close()


@pytest.fixture
def direct(cluster: Cluster) -> Direct:
    return Direct(cluster)


def containers(direct: Direct, selector: str = STEADY) -> dict[str, tuple[str, int, str]]:
    """Container, restarts and address of each pod by its name."""
    found = {}
    for pod in direct.get(f"{PODS}?labelSelector={selector}")["items"]:
        status = pod["status"]["containerStatuses"][0]
        found[pod["metadata"]["name"]] = status["containerID"], status["restartCount"], pod["status"]["podIP"]
    return found


def test_killed_at_random_moments_under_churn_it_settles_and_forgets_nothing(cluster: Cluster, direct: Direct) -> None:
    before = cluster.empty()
    cluster.apply(
        deployment("steady", 2, IMAGES[0], livenessProbe={"exec": {"command": ["true"]}, "periodSeconds": 1, "timeoutSeconds": 5}), STEADY_SERVICE
    )
    cluster.ready(STEADY, 2)
    untouched = containers(direct)
    ledger, workloads = Ledger(direct, SEED), Workloads(direct, SEED)

    with Asking(f"{cluster.inside_ip}:30081") as asking:
        for number, each in enumerate(plan(SEED, ROUNDS)):
            began = time.monotonic()
            trouble(cluster, each, ledger, workloads)
            settle(cluster, workloads, f"round {number}, {each}")
            ledger.audit()
            assert containers(direct) == untouched, f"round {number}, {each} touched healthy pods"
            assert asking.failures == [], f"round {number}, {each}"
            print(f"round {number:3} {time.monotonic() - began:5.1f} s, {ledger.acknowledged} acknowledged, {asking.answers} answers, {each}")

    cluster.kubectl("delete", "deployments,services,configmaps", "--all", "--timeout=60s", timeout_s=70)
    cluster.until(lambda: not cluster.pods(), SETTLE_S, "all pods are gone")
    cluster.until(lambda: leftovers(cluster, before) == "", 30, "nothing is left", lambda: leftovers(cluster, before))


def trouble(cluster: Cluster, each: Round, ledger: Ledger, workloads: Workloads) -> None:
    """One round: churn, the kill in the middle of it, and edgek started again as a service manager would."""
    due = threading.Timer(each.after_s, strike, (cluster, each))
    ledger.start()
    due.start()
    try:
        for _ in range(each.changes):
            workloads.change()
    except Unanswered:
        pass  # that was the moment
    finally:
        due.join()
        ledger.stop()
    if each.edgek and each.again_after_s is not None:
        cluster.start(ready=False)
        again = threading.Timer(each.again_after_s, cluster.kill)
        again.start()
        again.join()
    if each.edgek:
        cluster.start(ready=False)


def strike(cluster: Cluster, each: Round) -> None:
    if each.containerd:
        cluster.kill_containerd()
    if each.edgek:
        cluster.kill()


def settle(cluster: Cluster, workloads: Workloads, when: str) -> None:
    why = ["not looked at yet"]

    def heard() -> bool:
        try:
            workloads.insist()
        except Unanswered as exc:
            why[0] = str(exc)
            return False
        return True

    def settled() -> bool:
        why[0] = workloads.settled()
        return not why[0] and cluster.is_ready()

    cluster.until(heard, SETTLE_S, f"{when}: edgek answers", lambda: why[0])
    cluster.until(settled, SETTLE_S, f"{when}: all is as wanted", lambda: why[0])


def leftovers(cluster: Cluster, before: dict[str, set[str]]) -> str:
    after = {**cluster.traces(), "containers": set(cluster.ctr("containers", "list", "-q").split()), "shims": cluster.shims()}
    return "\n".join(f"{what}: left {sorted(found - before.get(what, set()))}" for what, found in after.items() if found - before.get(what, set()))


def test_after_a_power_cut_all_pods_come_back_with_their_data_and_what_was_done_is_not_done_again(cluster: Cluster, direct: Direct) -> None:
    keeper = deployment("keeper", 1, IMAGES[0], volumeMounts=[{"name": "v", "mountPath": "/data"}, {"name": "e", "mountPath": "/scratch"}])
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "kept"}}, {"name": "e", "emptyDir": {}}]
    keeper["spec"]["template"]["spec"]["volumes"] = volumes
    cluster.apply(CLAIM, keeper, deployment("steady", 2, IMAGES[0]), STEADY_SERVICE, JOB)
    cluster.ready("app=keeper", 1)
    cluster.ready(STEADY, 2)
    cluster.kubectl("wait", "--for=condition=Complete", "job/once", "--timeout=60s", timeout_s=70)
    cluster.kubectl("exec", "deployment/keeper", "--", "sh", "-c", "echo kept >/data/file; echo too >/scratch/file; echo gone >/tmp/file")
    before, done = uids(cluster), containers(direct, "job-name=once")

    cluster.power_cut()
    cluster.start()
    # Until the node has looked at them, the pods are shown as they were.
    again = "app in (keeper,steady)"
    cluster.until(lambda: restarts(cluster.pods(again)) == 3, SETTLE_S, "all three have been started again", lambda: str(containers(direct)))
    cluster.ready(again, 3)

    assert uids(cluster) == before, "they are the same pods"
    assert cluster.kubectl("exec", "deployment/keeper", "--", "cat", "/data/file", "/scratch/file") == "kept\ntoo"
    with pytest.raises(Failed, match="No such file"):
        cluster.kubectl("exec", "deployment/keeper", "--", "cat", "/tmp/file")
    assert containers(direct, "job-name=once") == done
    assert cluster.http(f"http://{cluster.inside_ip}:30081/", outside=True).strip() == "one"
    assert cluster.kubectl("exec", "deployment/keeper", "--", "curl", "-sS", "--max-time", "5", "http://steady/") == "one"
    cluster.kubectl("delete", "deployments,services,jobs,pvc", "--all", "--timeout=60s", timeout_s=70)
    cluster.until(lambda: not cluster.pods(), SETTLE_S, "all pods are gone")


def test_a_pod_deleted_while_the_box_was_dark_is_gone_when_it_is_back(cluster: Cluster, direct: Direct) -> None:
    """The deletion is acknowledged, then the power is cut before the container has ended."""
    before = cluster.empty()
    cluster.apply(deployment("steady", 2, IMAGES[0], grace_s=30, lifecycle={"preStop": {"sleep": {"seconds": 20}}}))
    cluster.ready(STEADY, 2)
    direct.delete(f"{DEPLOYMENTS}/steady")
    cluster.until(lambda: all(pod["metadata"].get("deletionTimestamp") for pod in cluster.pods()), 20, "the pods are being ended")
    cluster.power_cut()
    cluster.start()
    cluster.until(lambda: not cluster.pods(), 30, "the pods are gone")
    cluster.until(lambda: leftovers(cluster, before) == "", 30, "nothing is left", lambda: leftovers(cluster, before))


def uids(cluster: Cluster) -> dict[str, str]:
    return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in cluster.pods()}


@pytest.mark.skipif(FAKETIME is None, reason="needs the package faketime")
def test_a_node_that_learns_the_time_only_after_its_pods_run_leaves_them_in_peace(web_one: Path) -> None:
    """A board without a battery: 1970 at boot, and minutes later the time server answers."""
    board = Cluster()
    clock = board.folder / "clock"
    clock.write_text("@1970-01-01 00:02:00\n")
    board.environment = faked(clock)
    try:
        shutil.copy(web_one, board.images)
        board.start()
        direct = Direct(board)
        board.apply(
            deployment("steady", 2, IMAGES[0], livenessProbe={"httpGet": {"path": "/", "port": 80}, "periodSeconds": 1, "timeoutSeconds": 5}),
            STEADY_SERVICE,
        )
        board.ready(STEADY, 2)
        before = containers(direct)
        clock.write_text("@2027-03-01 12:00:00\n")
        board.until(lambda: heartbeat(direct).startswith("2027-03-01"), 40, "the node's lease shows the new time", lambda: heartbeat(direct))
        board.ready(STEADY, 2)
        assert containers(direct) == before
        assert board.is_ready()
        board.kubectl("scale", "deployment/steady", "--replicas=3")
        board.ready(STEADY, 3)
        ask = (
            'curl -sS -o /dev/null -w "%{http_code}" --cacert $A/ca.crt -H "Authorization: Bearer $(cat $A/token)" https://kubernetes.default.svc/api'
        )
        line = f"A=/var/run/secrets/kubernetes.io/serviceaccount; {ask}"
        old = next(iter(before))
        board.until(lambda: board.kubectl("exec", old, "--", "sh", "-c", line) == "200", 90, "an old pod's token was renewed")
        board.kill()
        board.start()
        board.ready(STEADY, 3)
        assert {name: found for name, found in containers(direct).items() if name in before} == before
    finally:
        board.remove()


def heartbeat(direct: Direct) -> str:
    stamp: str = direct.get("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/box")["spec"]["renewTime"]
    return stamp
