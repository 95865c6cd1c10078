from __future__ import annotations

from typing import Any

import pytest

from edgek.model import kinds
from edgek.model.kinds import Kind
from edgek.server.resources.workloads import TEMPLATE_GENERATION
from tests.server.resources.scene import ABSENT, created, problems, table, updated

MISMATCH = "`selector` does not match template `labels`"
IMMUTABLE = "field is immutable"
IMAGE = {"spec.template.spec.containers[0].image": "other"}


def test_a_deployment_rolls_a_quarter_at_a_time() -> None:
    spec = created(kinds.DEPLOYMENT)["spec"]
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}}
    assert (spec["replicas"], spec["revisionHistoryLimit"], spec["progressDeadlineSeconds"]) == (1, 10, 600)


def test_a_daemon_set_replaces_one_pod_at_a_time() -> None:
    strategy = created(kinds.DAEMON_SET)["spec"]["updateStrategy"]
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}


def test_zero_replicas_are_not_one() -> None:
    assert created(kinds.DEPLOYMENT, {"spec.replicas": 0})["spec"]["replicas"] == 0


def test_a_replication_controller_takes_selector_and_labels_from_its_template() -> None:
    rc = created(kinds.REPLICATION_CONTROLLER)
    assert rc["spec"]["selector"] == rc["metadata"]["labels"] == {"app": "a"}


@pytest.mark.parametrize(
    ("kind", "changes", "said"),
    table(
        {
            "a deployment selects the pods that it makes": (
                kinds.DEPLOYMENT,
                {"spec.selector": {"matchLabels": {"b": "c"}}},
                [f'spec.template.metadata.labels: Invalid value: {{"app":"a"}}: {MISMATCH}'],
            ),
            "a daemon set, too": (
                kinds.DAEMON_SET,
                {"spec.selector": {"matchLabels": {"b": "c"}}},
                [f'spec.template.metadata.labels: Invalid value: {{"app":"a"}}: {MISMATCH}'],
            ),
            "a replica set needs a selector": (
                kinds.REPLICA_SET,
                {"spec.selector": ABSENT},
                ["spec.selector: Required value", f'spec.template.metadata.labels: Invalid value: {{"app":"a"}}: {MISMATCH}'],
            ),
            "its pods run for ever": (
                kinds.REPLICA_SET,
                {"spec.template.spec.restartPolicy": "Never"},
                ['spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"'],
            ),
            "a rollout that may change nothing at all": (
                kinds.DEPLOYMENT,
                {"spec.strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}},
                ["spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"],
            ),
            "a rollout all at once has no pace": (
                kinds.DEPLOYMENT,
                {"spec.strategy": {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}},
                ["spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"],
            ),
            "a deadline leaves time to become ready": (
                kinds.DEPLOYMENT,
                {"spec.minReadySeconds": 700},
                ["spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds"],
            ),
            "a daemon set does one or the other": (
                kinds.DAEMON_SET,
                {"spec.updateStrategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}},
                ["spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero"],
            ),
        }
    ),
)
def test_a_workload_is_refused(kind: Kind, changes: dict[str, Any], said: list[str]) -> None:
    assert problems(kind, changes) == said


@pytest.mark.parametrize("kind", [kinds.DEPLOYMENT, kinds.REPLICA_SET, kinds.DAEMON_SET])
def test_a_selector_is_for_life(kind: Kind) -> None:
    changes = {"spec.selector": {"matchLabels": {"b": "c"}}, "spec.template.metadata.labels": {"b": "c"}}
    assert updated(kind, changes)[1] == ['spec.selector: Invalid value: {"matchLabels":{"b":"c"}}: field is immutable']


def test_only_the_spec_counts_generations() -> None:
    assert updated(kinds.DEPLOYMENT, IMAGE)[0]["metadata"]["generation"] == 2
    assert updated(kinds.DEPLOYMENT, {"metadata.labels": {"x": "y"}})[0]["metadata"]["generation"] == 1
    assert updated(kinds.DEPLOYMENT, {"status": {"replicas": 4}})[0]["status"] == {}


def test_a_daemon_set_counts_its_templates() -> None:
    assert created(kinds.DAEMON_SET)["metadata"]["annotations"] == {TEMPLATE_GENERATION: "1"}
    assert updated(kinds.DAEMON_SET, IMAGE)[0]["metadata"]["annotations"] == {TEMPLATE_GENERATION: "2"}
    assert updated(kinds.DAEMON_SET, {"spec.minReadySeconds": 5})[0]["metadata"]["annotations"] == {TEMPLATE_GENERATION: "1"}


def test_the_parts_of_a_status_are_not_more_than_the_whole() -> None:
    _, said = updated(kinds.DEPLOYMENT, {"status": {"replicas": 1, "readyReplicas": 2}}, subresource="status")
    assert said == ["status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas"]


def test_a_status_update_of_a_deployment_leaves_its_labels_alone() -> None:
    changes = {"metadata.labels": {"a": "new"}, "status": {"replicas": 1}}
    deployment, _ = updated(kinds.DEPLOYMENT, changes, {"metadata.labels": {"a": "old"}}, subresource="status")
    assert deployment["metadata"]["labels"] == {"a": "old"}
    assert deployment["status"] == {"replicas": 1}
