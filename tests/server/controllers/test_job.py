"""Jobs, with pods that succeed, fail, or never end, on a virtual clock."""

from __future__ import annotations

from typing import Any

import pytest

from edgek.model import errors, kinds, objects
from edgek.model.kinds import Kind
from edgek.model.objects import Object
from edgek.server.controllers.job import JobController
from tests.fakes.scene import Scene, pod_template, scene

INDEX = "batch.kubernetes.io/job-completion-index"


def job(name: str = "work", **spec: Any) -> Object:
    labels = {"job": name}
    return {
        "metadata": {"name": name},
        "spec": {
            "parallelism": 1,
            "completions": 1,
            "backoffLimit": 6,
            "completionMode": "NonIndexed",
            "selector": {"matchLabels": labels},
            "template": pod_template(labels, restartPolicy="Never"),
            **spec,
        },
    }


def conditions(cluster: Scene, name: str = "work") -> dict[str, tuple[str, str]]:
    found = cluster.get(kinds.JOB, name)["status"].get("conditions") or []
    return {each["type"]: (each["reason"], each["message"]) for each in found if each["status"] == "True"}


def status(cluster: Scene, name: str = "work") -> dict[str, Any]:
    found = cluster.get(kinds.JOB, name)["status"]
    return {key: value for key, value in found.items() if key not in ("conditions", "startTime", "completionTime")}


async def finish(cluster: Scene, name: str, phase: str, **extra: Any) -> None:
    await cluster.change(kinds.POD, name, {"status": {"phase": phase, **extra}}, subresource="status")
    await cluster.settle()


def of_index(cluster: Scene, index: int) -> list[Object]:
    found = [pod for pod in cluster.pods() if objects.annotations(pod)[INDEX] == str(index)]
    return sorted(found, key=lambda pod: str(pod["status"]["phase"]))  # Failed before Running


async def test_a_job_whose_pod_succeeds_is_complete(autojump_clock: Any) -> None:
    async with scene(JobController) as cluster:
        await cluster.create(kinds.JOB, job())
        await cluster.settle()
        (pod,) = cluster.pods()
        assert objects.finalizers(pod) == ["batch.kubernetes.io/job-tracking"]
        assert status(cluster) == {"active": 1, "ready": 1, "terminating": 0, "uncountedTerminatedPods": {}}
        await finish(cluster, objects.name(pod), "Succeeded")
        reached = ("CompletionsReached", "Reached expected number of succeeded pods")
        assert conditions(cluster) == {"SuccessCriteriaMet": reached, "Complete": reached}
        assert status(cluster) == {"ready": 0, "terminating": 0, "succeeded": 1, "uncountedTerminatedPods": {}}
        assert "completionTime" in cluster.get(kinds.JOB, "work")["status"]
        assert objects.finalizers(cluster.pods()[0]) == []
        assert ("Completed", "Job completed") in cluster.events()
        assert await cluster.writes_in(1000) == []


async def test_a_pod_that_could_not_be_let_go_is_let_go_later(autojump_clock: Any) -> None:
    refused = []

    def somebody_is_faster(verb: str, kind: Kind, body: Object) -> None:
        if kind is kinds.POD and "$deleteFromPrimitiveList/finalizers" in body.get("metadata", {}) and len(refused) < 3:
            refused.append(body)
            raise errors.Conflict("somebody was faster")

    async with scene(JobController) as cluster:
        cluster.api.before_write = somebody_is_faster
        cluster.runner.outcome = lambda pod: "succeed"
        await cluster.create(kinds.JOB, job())
        await cluster.settle(10)
        assert len(refused) == 3
        assert objects.finalizers(cluster.pods()[0]) == []
        assert "Complete" in conditions(cluster)


async def test_parallel_pods_are_made_until_enough_succeeded(autojump_clock: Any) -> None:
    most = 0
    async with scene(JobController) as cluster:
        cluster.runner.outcome = lambda pod: "succeed"

        def count(*_: Any) -> None:
            nonlocal most
            most = max(most, sum(pod["status"]["phase"] in ("Pending", "Running") for pod in cluster.pods()))

        cluster.api.before_write = count
        await cluster.create(kinds.JOB, job(parallelism=3, completions=10))
        await cluster.settle(5)
        assert "Complete" in conditions(cluster)
        assert status(cluster)["succeeded"] == 10
        assert len(cluster.pods()) == 10
        assert most <= 4  # three, and the one that the interceptor sees being made


async def test_failures_are_tried_again_after_growing_pauses_up_to_the_limit(autojump_clock: Any) -> None:
    async with scene(JobController) as cluster:
        cluster.runner.outcome = lambda pod: "fail"
        await cluster.create(kinds.JOB, job(backoffLimit=3))
        counts = []
        for seconds in (5, 10, 20, 40):
            await cluster.settle(seconds)
            counts.append(len(cluster.pods()))
        assert counts == [1, 2, 3, 4]
        reason = ("BackoffLimitExceeded", "Job has reached the specified backoff limit")
        assert conditions(cluster) == {"FailureTarget": reason, "Failed": reason}
        assert status(cluster) == {"ready": 0, "terminating": 0, "failed": 4, "uncountedTerminatedPods": {}}
        assert reason in cluster.events()


async def test_a_node_whose_clock_is_ahead_does_not_hold_up_the_next_try(autojump_clock: Any) -> None:
    async with scene(JobController) as cluster:
        await cluster.create(kinds.JOB, job())
        await cluster.settle()
        ended = {
            "name": "main",
            "ready": False,
            "restartCount": 0,
            "image": "i",
            "imageID": "",
            "state": {"terminated": {"exitCode": 1, "finishedAt": "2038-01-01T00:00:00Z"}},
        }
        await finish(cluster, objects.name(cluster.pods()[0]), "Failed", containerStatuses=[ended])
        await cluster.settle(12)
        assert len(cluster.pods()) == 2


async def test_a_job_that_takes_too_long_fails_and_its_pods_go(autojump_clock: Any) -> None:
    async with scene(JobController) as cluster:
        await cluster.create(kinds.JOB, job(parallelism=2, completions=2, activeDeadlineSeconds=100))
        await cluster.settle(90)
        assert len(cluster.pods()) == 2
        await cluster.settle(15)
        assert cluster.pods() == []
        assert conditions(cluster)["Failed"] == ("DeadlineExceeded", "Job was active longer than specified deadline")
        assert status(cluster)["failed"] == 2


async def test_it_is_failed_only_once_its_last_pod_is_gone(autojump_clock: Any) -> None:
    async with scene(JobController) as cluster:
        cluster.runner.stops = False
        await cluster.create(kinds.JOB, job(activeDeadlineSeconds=10))
        await cluster.settle(20)
        assert set(conditions(cluster)) == {"FailureTarget"}
        assert status(cluster)["terminating"] == 1
        (pod,) = cluster.pods()
        await cluster.client.delete(kinds.POD, objects.name(pod), "default", grace_s=0)
        await cluster.settle()
        assert set(conditions(cluster)) == {"FailureTarget", "Failed"}


async def test_a_suspended_job_has_no_pods_and_its_time_stands_still(autojump_clock: Any) -> None:
    async with scene(JobController) as cluster:
        await cluster.create(kinds.JOB, job(activeDeadlineSeconds=100))
        await cluster.settle(50)
        await cluster.change(kinds.JOB, "work", {"spec": {"suspend": True}})
        await cluster.settle(500)
        assert cluster.pods() == []
        assert conditions(cluster) == {"Suspended": ("JobSuspended", "Job suspended")}
        assert "failed" not in status(cluster)
        await cluster.change(kinds.JOB, "work", {"spec": {"suspend": False}})
        await cluster.settle(60)
        assert len(cluster.pods()) == 1
        assert conditions(cluster) == {}
        assert {"Suspended", "Resumed"} <= {reason for reason, _ in cluster.events()}


async def test_each_index_gets_a_pod_that_knows_its_number(autojump_clock: Any) -> None:
    async with scene(JobController) as cluster:
        await cluster.create(kinds.JOB, job(completionMode="Indexed", parallelism=3, completions=4))
        await cluster.settle()
        assert sorted(objects.annotations(pod)[INDEX] for pod in cluster.pods()) == ["0", "1", "2"]
        (pod,) = of_index(cluster, 1)
        assert objects.name(pod).startswith("work-1-")
        assert objects.labels(pod)[INDEX] == "1"
        assert pod["spec"]["hostname"] == "work-1"
        assert pod["spec"]["containers"][0]["env"][0] == {
            "name": "JOB_COMPLETION_INDEX",
            "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": f"metadata.labels['{INDEX}']"}},
        }
        for index in (0, 2):
            await finish(cluster, objects.name(of_index(cluster, index)[0]), "Succeeded")
        assert status(cluster)["completedIndexes"] == "0,2"
        await finish(cluster, objects.name(of_index(cluster, 1)[0]), "Failed")
        await cluster.settle(20)
        assert [pod["status"]["phase"] for pod in of_index(cluster, 1)] == ["Failed", "Running"]
        for index in (1, 3):
            await finish(cluster, objects.name(of_index(cluster, index)[-1]), "Succeeded")
        assert status(cluster)["completedIndexes"] == "0-3"
        assert "Complete" in conditions(cluster)


async def test_an_index_that_failed_too_often_ends_alone(autojump_clock: Any) -> None:
    async with scene(JobController) as cluster:
        cluster.runner.outcome = lambda pod: "fail" if objects.annotations(pod)[INDEX] == "1" else "succeed"
        await cluster.create(kinds.JOB, job(completionMode="Indexed", parallelism=3, completions=3, backoffLimit=100, backoffLimitPerIndex=1))
        await cluster.settle(100)
        assert len(of_index(cluster, 1)) == 2
        assert status(cluster)["failedIndexes"] == "1"
        assert status(cluster)["completedIndexes"] == "0,2"
        assert conditions(cluster)["Failed"] == ("FailedIndexes", "Job has failed indexes")


def exited(code: int) -> list[Object]:
    return [{"name": "main", "state": {"terminated": {"exitCode": code}}}]


POLICY = {
    "rules": [
        {"action": "FailJob", "onExitCodes": {"containerName": "main", "operator": "In", "values": [42]}},
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    ]
}


async def test_a_policy_ends_the_job_at_a_hopeless_exit_code(autojump_clock: Any) -> None:
    async with scene(JobController) as cluster:
        await cluster.create(kinds.JOB, job(podFailurePolicy=POLICY, podReplacementPolicy="Failed"))
        await cluster.settle()
        name = objects.name(cluster.pods()[0])
        await finish(cluster, name, "Failed", containerStatuses=exited(42))
        message = f"Container main for pod default/{name} failed with exit code 42 matching FailJob rule at index 0"
        assert conditions(cluster)["Failed"] == ("PodFailurePolicy", message)


async def test_a_policy_does_not_count_disruptions(autojump_clock: Any) -> None:
    async with scene(JobController) as cluster:
        await cluster.create(kinds.JOB, job(podFailurePolicy=POLICY, backoffLimit=0))
        await cluster.settle()
        name = objects.name(cluster.pods()[0])
        await finish(cluster, name, "Failed", conditions=[{"type": "DisruptionTarget", "status": "True"}])
        await cluster.settle()
        assert len(cluster.pods()) == 2
        assert conditions(cluster) == {}
        assert "failed" not in status(cluster)


async def test_enough_named_indexes_make_a_success(autojump_clock: Any) -> None:
    policy = {"rules": [{"succeededIndexes": "0-2", "succeededCount": 1}]}
    async with scene(JobController) as cluster:
        await cluster.create(kinds.JOB, job(completionMode="Indexed", parallelism=5, completions=5, successPolicy=policy))
        await cluster.settle()
        await finish(cluster, objects.name(of_index(cluster, 4)[0]), "Succeeded")
        assert conditions(cluster) == {}
        await finish(cluster, objects.name(of_index(cluster, 1)[0]), "Succeeded")
        await cluster.settle()
        assert conditions(cluster)["Complete"] == ("SuccessPolicy", "Matched rules at index 0")
        assert {pod["status"]["phase"] for pod in cluster.pods()} == {"Succeeded"}


async def test_a_pod_that_vanishes_is_counted_as_a_failure_and_replaced(autojump_clock: Any) -> None:
    async with scene(JobController) as cluster:
        await cluster.create(kinds.JOB, job())
        await cluster.settle()
        await cluster.client.delete(kinds.POD, objects.name(cluster.pods()[0]), "default")
        await cluster.settle(30)
        assert len(cluster.pods()) == 1
        assert status(cluster)["failed"] == 1


async def test_fewer_parallel_pods_are_kept_when_asked_and_those_deleted_are_no_failures(autojump_clock: Any) -> None:
    async with scene(JobController) as cluster:
        await cluster.create(kinds.JOB, job(parallelism=5, completions=10))
        await cluster.settle()
        assert len(cluster.pods()) == 5
        await cluster.change(kinds.JOB, "work", {"spec": {"parallelism": 2}})
        await cluster.settle(30)
        assert len(cluster.pods()) == 2
        assert "failed" not in status(cluster)


async def test_a_work_queue_ends_when_one_pod_succeeded_and_all_have_ended(autojump_clock: Any) -> None:
    wanted = job(parallelism=2)
    del wanted["spec"]["completions"]
    async with scene(JobController) as cluster:
        await cluster.create(kinds.JOB, wanted)
        await cluster.settle()
        first, second = (objects.name(pod) for pod in cluster.pods())
        await finish(cluster, first, "Succeeded")
        assert len(cluster.pods()) == 2
        assert "Complete" not in conditions(cluster)
        await finish(cluster, second, "Succeeded")
        assert "Complete" in conditions(cluster)


async def test_pods_of_a_job_that_is_gone_are_let_go(autojump_clock: Any) -> None:
    async with scene(JobController) as cluster:
        await cluster.create(kinds.JOB, job())
        await cluster.settle()
        await cluster.client.delete(kinds.JOB, "work", "default")
        await cluster.settle()
        assert [objects.finalizers(pod) for pod in cluster.pods()] == [[]]


@pytest.mark.parametrize("manager", ["example.com/other", None])
async def test_a_job_that_somebody_else_manages_is_left_alone(autojump_clock: Any, manager: str | None) -> None:
    async with scene(JobController) as cluster:
        await cluster.create(kinds.JOB, job(managedBy=manager) if manager else job())
        await cluster.settle()
        assert len(cluster.pods()) == (0 if manager else 1)
