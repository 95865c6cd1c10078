"""Which nodes a pod's own words allow."""

from __future__ import annotations

from typing import Any

import pytest

from edgek.model import placement

LABELS = {"zone": "a", "rank": "7"}


def expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": operator, "values": list(values)}


@pytest.mark.parametrize(
    ("term", "fits"),
    [
        ({}, False),
        ({"matchExpressions": [expression("zone", "In", "a", "b")]}, True),
        ({"matchExpressions": [expression("zone", "In", "a"), expression("rank", "DoesNotExist")]}, False),
        ({"matchExpressions": [expression("rank", "Gt", "6")]}, True),
        ({"matchExpressions": [expression("zone", "Gt", "6")]}, False),
        ({"matchFields": [expression("metadata.name", "In", "n")]}, True),
        ({"matchFields": [expression("metadata.name", "In", "other")]}, False),
        ({"matchFields": [expression("metadata.name", "NotIn", "other" * 20)]}, True),
        ({"matchFields": [expression("spec.unschedulable", "In", "n")]}, False),
        ({"matchExpressions": [expression("rank", "Gt", "six")]}, False),
        ({"matchExpressions": [expression("zone", "In", "a")], "matchFields": [expression("metadata.name", "In", "other")]}, False),
        ({"matchExpressions": [expression("zone", "Near", "a")]}, False),
        ({"matchExpressions": [expression("rank", "Gt", "6", "8")]}, False),
    ],
)
def test_a_term_fits_when_all_that_it_says_does(term: dict[str, Any], fits: bool) -> None:
    assert placement.matches(term, "n", LABELS) is fits


def test_any_term_of_the_affinity_will_do_and_the_node_selector_besides() -> None:
    terms = [{"matchExpressions": [expression("zone", "In", zone)]} for zone in ("b", "a")]
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}
    assert placement.selects({"affinity": affinity}, "n", LABELS)
    assert not placement.selects({"affinity": affinity, "nodeSelector": {"rank": "8"}}, "n", LABELS)
    assert placement.selects({}, "n", {})


@pytest.mark.parametrize(
    ("toleration", "left"),
    [
        ({}, ["gpu", "lost"]),
        ({"operator": "Exists"}, []),
        ({"operator": "Exists", "effect": "NoExecute"}, ["gpu"]),
        ({"key": "gpu", "value": "yes"}, ["lost"]),
        ({"key": "gpu", "value": "no"}, ["gpu", "lost"]),
        ({"key": "gpu", "operator": "Exists", "effect": "NoExecute"}, ["gpu", "lost"]),
    ],
)
def test_what_is_tolerated(toleration: dict[str, Any], left: list[str]) -> None:
    taints = placement.taints({"taints": [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}, {"key": "lost", "effect": "NoExecute"}]})
    assert [taint.key for taint in placement.untolerated(taints, placement.tolerations([toleration]))] == left
