"""What the API shows of a pod, from what the runtime shows."""

from __future__ import annotations

from typing import Any

import pytest

from edgek.agent.kubelet.actions import Wait
from edgek.agent.kubelet.lifecycle import Circumstances, Health, Seen, Verdict
from edgek.agent.kubelet.status import same, status
from edgek.model.objects import Object
from tests.agent.kubelet.values import NOW, a_pod, a_sandbox, init, ran, seen, sidecar

HOST = ("192.0.2.1",)


def shown(pod: Object, sight: Seen, waits: tuple[Wait, ...] = (), *, over: bool = False, **changes: Any) -> Object:
    return status(pod, sight, Circumstances(NOW, **changes), waits, HOST, over=over)


def condition(found: Object, type_: str) -> tuple[str, str, str]:
    value = next(c for c in found["conditions"] if c["type"] == type_)
    return value["status"], value.get("reason", ""), value.get("message", "")


PHASES: list[tuple[str, Object, Seen, str]] = [
    ("nothing yet", a_pod(), seen(boxes=()), "Pending"),
    ("a sandbox only", a_pod(), seen(), "Pending"),
    ("all run", a_pod("a", "b"), seen(ran("a"), ran("b")), "Running"),
    ("one of two runs", a_pod("a", "b"), seen(ran("a")), "Pending"),
    ("initialising", a_pod(init=(init("i"),)), seen(ran("i")), "Pending"),
    ("an init container failed for good", a_pod(init=(init("i"),), restartPolicy="Never"), seen(ran("i", "exited", 1)), "Failed"),
    ("an init container will be tried again", a_pod(init=(init("i"),)), seen(ran("i", "exited", 1)), "Pending"),
    ("ended, and starts again", a_pod(), seen(ran("main", "exited", 1)), "Running"),
    ("one ended, one runs", a_pod("a", "b", restartPolicy="Never"), seen(ran("a", "exited", 1), ran("b")), "Running"),
    ("all succeeded", a_pod("a", "b", restartPolicy="OnFailure"), seen(ran("a", "exited"), ran("b", "exited")), "Succeeded"),
    ("one failed for good", a_pod("a", "b", restartPolicy="Never"), seen(ran("a", "exited", 1), ran("b", "exited")), "Failed"),
    ("one failed and will be tried again", a_pod("a", restartPolicy="OnFailure"), seen(ran("a", "exited", 1)), "Running"),
    ("what has failed stays failed", a_pod(phase="Failed"), seen(ran("main")), "Failed"),
]


@pytest.mark.parametrize(("pod", "sight", "wanted"), [row[1:] for row in PHASES], ids=[row[0] for row in PHASES])
def test_the_phase(pod: Object, sight: Seen, wanted: str) -> None:
    assert shown(pod, sight)["phase"] == wanted


def test_a_running_pod_in_full() -> None:
    found = shown(a_pod(), seen(ran("main")))
    assert found["containerStatuses"] == [
        {
            "name": "main",
            "state": {"running": {"startedAt": "1970-01-01T00:04:10Z"}},
            "lastState": {},
            "ready": True,
            "restartCount": 0,
            "image": "main:1",
            "imageID": "main@sha256:1",
            "containerID": "containerd://main-0",
            "started": True,
        }
    ]
    assert (found["hostIP"], found["hostIPs"], found["podIP"], found["podIPs"]) == (
        "192.0.2.1",
        [{"ip": "192.0.2.1"}],
        "10.42.0.5",
        [{"ip": "10.42.0.5"}],
    )
    assert (found["qosClass"], found["observedGeneration"], found["startTime"]) == ("BestEffort", 2, "1970-01-01T02:46:40Z")
    types = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"]
    assert [(c["type"], c["status"]) for c in found["conditions"]] == [(type_, "True") for type_ in types]


def test_what_waits_says_why() -> None:
    found = shown(a_pod(), seen(ran("main", "exited", 1)), (Wait("main", NOW + 10, "CrashLoopBackOff", "back-off"),))
    only = found["containerStatuses"][0]
    assert only["state"] == {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}
    assert only["lastState"]["terminated"]["exitCode"] == 1
    assert found["phase"] == "Running"
    assert condition(found, "Ready") == ("False", "ContainersNotReady", "containers with unready status: [main]")


def test_a_container_is_ready_when_its_probe_says_so() -> None:
    found = shown(a_pod(), seen(ran("main")), health={"main-0": Health(ready=False)})
    assert (found["containerStatuses"][0]["ready"], found["containerStatuses"][0]["started"]) == (False, True)
    assert condition(found, "ContainersReady")[1] == "ContainersNotReady"


def test_a_sidecar_counts_for_readiness_and_an_init_container_does_not() -> None:
    pod = a_pod(init=(init("i"), sidecar("s")))
    sight = seen(ran("i", "exited", 0), ran("s"), ran("main"))
    assert condition(shown(pod, sight), "Ready")[0] == "True"
    assert condition(shown(pod, sight, health={"s-0": Health(ready=False)}), "Ready")[2] == "containers with unready status: [s]"


def test_a_readiness_gate_holds_the_pod_back() -> None:
    pod = a_pod(readinessGates=[{"conditionType": "example.org/gate"}])
    assert condition(shown(pod, seen(ran("main"))), "Ready") == (
        "False",
        "ReadinessGatesNotReady",
        'corresponding condition of pod readiness gate "example.org/gate" does not exist.',
    )
    pod["status"] = {"conditions": [{"type": "example.org/gate", "status": "True", "lastTransitionTime": "1970-01-01T00:00:00Z"}]}
    found = shown(pod, seen(ran("main")))
    assert condition(found, "Ready")[0] == "True"
    assert condition(found, "example.org/gate")[0] == "True"  # others' conditions are kept


def test_a_condition_keeps_the_time_of_its_last_change() -> None:
    pod = a_pod()
    pod["status"] = {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "1970-01-01T00:00:07Z"}]}
    found = shown(pod, seen(ran("main")))
    assert next(c for c in found["conditions"] if c["type"] == "Ready")["lastTransitionTime"] == "1970-01-01T00:00:07Z"


def test_a_verdict_is_the_reason_of_the_failure() -> None:
    found = shown(a_pod(), seen(boxes=()), verdict=Verdict("OutOfcpu", "Pod was rejected"))
    assert (found["phase"], found["reason"], found["message"]) == ("Failed", "OutOfcpu", "Pod was rejected")
    assert "containerStatuses" not in found  # kubectl would show their reason instead


def test_an_evicted_pod_is_marked_as_disrupted() -> None:
    found = shown(a_pod(), seen(ran("main")), verdict=Verdict("Evicted", "The node was low on resource: memory."))
    assert condition(found, "DisruptionTarget") == ("True", "TerminationByKubelet", "The node was low on resource: memory.")


def test_a_container_that_was_never_seen_to_end_has_ended_all_the_same() -> None:
    found = shown(a_pod(deleting_s=1), seen(boxes=(a_sandbox(ready=False),)), over=True)
    ended = found["containerStatuses"][0]["state"]["terminated"]
    assert (found["phase"], ended["exitCode"], ended["reason"]) == ("Failed", 137, "ContainerStatusUnknown")


def test_absent_and_empty_are_the_same_status() -> None:
    assert same({"phase": "Running", "lastState": {}, "message": None}, {"phase": "Running"})
    assert not same({"phase": "Running"}, {"phase": "Failed"})
