from __future__ import annotations

from typing import Any

import pytest

from edgek.model import kinds
from tests.server.resources.scene import UID, created, problems, table, updated

SELECTED = {"batch.kubernetes.io/controller-uid": UID}
LABELS = {**SELECTED, "batch.kubernetes.io/job-name": "x", "controller-uid": UID, "job-name": "x"}


def test_a_job_selects_its_pods_by_its_uid() -> None:
    job = created(kinds.JOB)
    assert job["spec"]["selector"] == {"matchLabels": SELECTED}
    assert job["spec"]["template"]["metadata"]["labels"] == job["metadata"]["labels"] == LABELS


def test_a_job_with_a_selector_of_its_own_keeps_it() -> None:
    own = {"spec.manualSelector": True, "spec.selector": {"matchLabels": {"a": "b"}}, "spec.template.metadata": {"labels": {"a": "b"}}}
    job = created(kinds.JOB, own)
    assert job["spec"]["selector"] == {"matchLabels": {"a": "b"}}
    assert problems(kinds.JOB, own) == []


@pytest.mark.parametrize(
    ("changes", "member", "value"),
    table(
        {
            "one success ends it": ({}, "completions", 1),
            "workers in parallel end it as they like": ({"spec.parallelism": 3}, "completions", None),
            "a pod that failed is replaced at once": ({}, "podReplacementPolicy", "TerminatingOrFailed"),
            "unless a policy has to see how it failed": ({"spec.podFailurePolicy": {"rules": []}}, "podReplacementPolicy", "Failed"),
            "six failures are too many": ({}, "backoffLimit", 6),
            "unless each index has its own limit": ({"spec.completionMode": "Indexed", "spec.backoffLimitPerIndex": 1}, "backoffLimit", 2147483647),
        }
    ),
)
def test_defaults_of_a_job(changes: dict[str, Any], member: str, value: Any) -> None:
    assert created(kinds.JOB, changes)["spec"].get(member) == value


@pytest.mark.parametrize(
    ("changes", "said"),
    table(
        {
            "a job that never ends": (
                {"spec.template.spec.restartPolicy": "Always"},
                ['spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"'],
            ),
            "a manager of another name": (
                {"spec.managedBy": "nope"},
                ['spec.managedBy: Invalid value: "nope": must be a domain-prefixed path (such as "acme.io/foo")'],
            ),
            "a failure rule without a failure": (
                {"spec.podFailurePolicy": {"rules": [{"action": "FailJob"}]}},
                ["spec.podFailurePolicy.rules[0]: Invalid value: specifying one of OnExitCodes and OnPodConditions is required"],
            ),
            "success is no failure": (
                {"spec.podFailurePolicy": {"rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [0]}}]}},
                ["spec.podFailurePolicy.rules[0].onExitCodes.values[0]: Invalid value: 0: must not be 0 for the In operator"],
            ),
        }
    ),
)
def test_a_job_is_refused(changes: dict[str, Any], said: list[str]) -> None:
    assert problems(kinds.JOB, changes) == said


def test_a_job_that_runs_keeps_its_template() -> None:
    _, (said,) = updated(kinds.JOB, {"spec.template.spec.nodeSelector": {"a": "b"}})
    assert said.startswith("spec.template: Invalid value: {")
    assert said.endswith(": field is immutable")


def test_a_job_that_waits_may_be_told_where_to_run_and_nothing_else() -> None:
    waiting = {"spec.suspend": True}
    assert updated(kinds.JOB, {"spec.template.spec.nodeSelector": {"a": "b"}}, waiting)[1] == []
    _, (said,) = updated(kinds.JOB, {"spec.template.spec.containers[0].image": "other"}, waiting)
    assert said.startswith("spec.template.spec: Invalid value: {")


def test_how_often_a_job_must_succeed_is_fixed_unless_all_its_indexes_run_at_once() -> None:
    assert updated(kinds.JOB, {"spec.completions": 3})[1] == ["spec.completions: Invalid value: 3: field is immutable"]
    indexed = {"spec.completionMode": "Indexed", "spec.completions": 2, "spec.parallelism": 2}
    assert updated(kinds.JOB, {"spec.completions": 3, "spec.parallelism": 3}, indexed)[1] == []


def test_a_job_is_complete_only_with_times_and_criteria() -> None:
    conditions = [{"type": "Complete", "status": "True"}]
    _, said = updated(kinds.JOB, {"status.conditions": conditions}, subresource="status")
    assert said == [
        "status.completionTime: Required value: completionTime is required for Complete jobs",
        "status.conditions: Invalid value: cannot set Complete=True condition without the SuccessCriteriaMet=true condition",
        "status.startTime: Required value: startTime is required for finished job",
    ]
