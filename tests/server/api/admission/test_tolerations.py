"""How long pods stay on lost nodes, unless they say otherwise."""

from __future__ import annotations

from typing import Any

import pytest

from edgek.model import kinds
from edgek.model.when_away import ANNOTATION, MARGIN_S
from edgek.server.api.admission.base import Defaults, Review
from edgek.server.api.admission.tolerations import DefaultTolerationSeconds
from edgek.server.api.authz import Authorizer
from edgek.server.api.identity import User
from edgek.server.store.memory import MemoryBackend


def tolerated(pod: dict[str, Any], defaults: Defaults | None = None) -> dict[str, float | None]:
    """By the last word of the taint, the seconds that the pod tolerates it after admission."""
    review = Review(User("u"), "CREATE", kinds.POD, "default", "it", "", pod, None, False, lambda *_: None, lambda *_: ())
    step = DefaultTolerationSeconds(Authorizer(MemoryBackend()), defaults)
    assert step.handles(review)
    step.admit(review)
    return {each.get("key", "/").partition("/")[2]: each.get("tolerationSeconds") for each in pod["spec"]["tolerations"]}


def pod(said: str = "", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "it", "annotations": {ANNOTATION: said} if said else {}}, "spec": spec}


async def test_a_pod_stays_five_minutes_by_default() -> None:
    assert tolerated(pod()) == {"not-ready": 300, "unreachable": 300}


async def test_the_operator_chooses_other_times() -> None:
    assert tolerated(pod(), Defaults(not_ready_s=60, unreachable_s=90)) == {"not-ready": 60, "unreachable": 90}
    assert tolerated(pod("replace"), Defaults(not_ready_s=60, unreachable_s=90)) == {"not-ready": 60, "unreachable": 90}


@pytest.mark.parametrize(
    ("said", "not_ready", "unreachable"),
    [("replace=30s", 30, 30), ("keep", None, None), ("stop=10m", None, 600 + 30 + MARGIN_S)],
)
async def test_a_pod_says_what_becomes_of_it(said: str, not_ready: float | None, unreachable: float | None) -> None:
    assert tolerated(pod(said)) == {"not-ready": not_ready, "unreachable": unreachable}


async def test_a_node_that_stops_a_pod_is_given_the_time_that_the_pod_takes_to_end() -> None:
    assert tolerated(pod("stop=10m", terminationGracePeriodSeconds=5))["unreachable"] == 600 + 5 + MARGIN_S


async def test_tolerations_that_are_there_are_left_alone() -> None:
    own = {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 10}
    assert tolerated(pod(tolerations=[own])) == {"unreachable": 10, "not-ready": 300}
    assert tolerated(pod(tolerations=[{"operator": "Exists"}])) == {"": None}
