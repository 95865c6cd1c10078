from datetime import UTC, datetime

import pytest

from edgek.server.api.printers import pods

NOW = datetime(2020, 1, 1, 1, 0, tzinfo=UTC)


def seen(name="c", *, ready=False, restarts=0, last=None, started=None, **state):
    found = {"name": name, "ready": ready, "restartCount": restarts, "state": state}
    if last:
        found["lastState"] = {"terminated": {"exitCode": 1, "finishedAt": last}}
    if started is not None:
        found["started"] = started
    return found


def pod(spec=None, meta=None, **status):
    return {
        "metadata": {"name": "x", "creationTimestamp": "2020-01-01T00:00:00Z", **(meta or {})},
        "spec": {"containers": [{"name": "c"}], **(spec or {})},
        "status": {"phase": "Running", **status},
    }


INIT = {"initContainers": [{"name": "i"}]}
SIDECAR = {"initContainers": [{"name": "s", "restartPolicy": "Always"}]}
RUNNING = {"running": {}}


@pytest.mark.parametrize(
    ("obj", "ready", "state", "restarts"),
    [
        (pod(phase="Pending"), "0/1", "Pending", "0"),
        (pod(containerStatuses=[seen(ready=True, **RUNNING)]), "1/1", "Running", "0"),
        (pod(containerStatuses=[seen(ready=True, restarts=3, last="2020-01-01T00:30:00Z", **RUNNING)]), "1/1", "Running", "3 (30m ago)"),
        (pod(containerStatuses=[seen(restarts=5, waiting={"reason": "CrashLoopBackOff"})]), "0/1", "CrashLoopBackOff", "5"),
        (pod(phase="Failed", containerStatuses=[seen(terminated={"exitCode": 2, "reason": "Error"})]), "0/1", "Error", "0"),
        (pod(phase="Failed", containerStatuses=[seen(terminated={"exitCode": 3})]), "0/1", "ExitCode:3", "0"),
        (pod(phase="Failed", containerStatuses=[seen(terminated={"exitCode": 137, "signal": 9})]), "0/1", "Signal:9", "0"),
        (pod(phase="Failed", reason="Evicted"), "0/1", "Evicted", "0"),
        (pod(conditions=[{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}], phase="Pending"), "0/1", "SchedulingGated", "0"),
        (pod(INIT, phase="Pending", initContainerStatuses=[seen("i", **RUNNING)]), "0/1", "Init:0/1", "0"),
        (pod(INIT, phase="Pending", initContainerStatuses=[seen("i", terminated={"exitCode": 1})]), "0/1", "Init:ExitCode:1", "0"),
        (pod(INIT, initContainerStatuses=[seen("i", restarts=2, waiting={"reason": "CrashLoopBackOff"})]), "0/1", "Init:CrashLoopBackOff", "2"),
        (
            pod(INIT, initContainerStatuses=[seen("i", terminated={"exitCode": 0})], containerStatuses=[seen(ready=True, **RUNNING)]),
            "1/1",
            "Running",
            "0",
        ),
        (
            pod(
                SIDECAR,
                initContainerStatuses=[seen("s", ready=True, restarts=1, started=True, **RUNNING)],
                containerStatuses=[seen(ready=True, **RUNNING)],
            ),
            "2/2",
            "Running",
            "1",
        ),
        (
            pod(
                {"containers": [{"name": "a"}, {"name": "b"}]},
                containerStatuses=[seen("a", terminated={"reason": "Completed"}), seen("b", ready=True, **RUNNING)],
            ),
            "1/2",
            "NotReady",
            "0",
        ),
        (pod(meta={"deletionTimestamp": "2020-01-01T00:59:00Z"}), "0/1", "Terminating", "0"),
        (pod(meta={"deletionTimestamp": "2020-01-01T00:59:00Z"}, reason="NodeLost"), "0/1", "Unknown", "0"),
        (pod(meta={"deletionTimestamp": "2020-01-01T00:59:00Z"}, phase="Succeeded"), "0/1", "Succeeded", "0"),
    ],
)
def test_a_pod_says_how_it_fares(obj, ready, state, restarts):
    assert pods.pod(obj, NOW)[:5] == ["x", ready, state, restarts, "60m"]


def test_the_wide_columns_say_where_it_is():
    gates = {"readinessGates": [{"conditionType": "g"}, {"conditionType": "h"}], "nodeName": "n"}
    obj = pod(gates, podIPs=[{"ip": "10.1.1.1"}], conditions=[{"type": "g", "status": "True"}])
    assert pods.pod(obj, NOW)[5:] == ["10.1.1.1", "n", "<none>", "1/2"]
    assert pods.pod(pod(), NOW)[5:] == ["<none>"] * 4


def test_a_row_says_that_its_pod_is_over():
    assert pods.pod_conditions(pod()) == []
    assert [condition["reason"] for phase in ("Succeeded", "Failed") for condition in pods.pod_conditions(pod(phase=phase))] == [
        "Succeeded",
        "Failed",
    ]
