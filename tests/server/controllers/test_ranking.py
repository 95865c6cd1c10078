"""Who goes first when there are too many."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from edgek.server.controllers import ranking, views

NOW = 1_800_000_000.0
PLAIN = attrs.evolve(
    views.pod({"metadata": {"name": "x", "uid": "m"}}), node="a", phase="Running", ready=True, ready_since=NOW - 5000, created=NOW - 5000
)


@pytest.mark.parametrize(
    ("why", "sooner", "later"),
    [
        ("not on a node yet", {"node": ""}, {}),
        ("pending", {"phase": "Pending"}, {}),
        ("unknown", {"phase": "Unknown"}, {}),
        ("not ready", {"ready": False}, {}),
        ("cheaper to delete", {"deletion_cost": -5}, {"deletion_cost": 3}),
        ("on a crowded node", {"node": "crowded"}, {}),
        ("ready for less time", {"ready_since": NOW - 10}, {}),
        ("started again more often", {"restarts": 3}, {"restarts": 1}),
        ("younger", {"created": NOW - 10}, {}),
        ("pending, though dear", {"phase": "Pending", "deletion_cost": 100}, {"deletion_cost": -100}),
        ("of the same age within an order of magnitude, by chance of its uid", {"uid": "a", "created": NOW - 5001}, {"uid": "b"}),
    ],
)
def test_a_pod_goes_sooner_that_is(why: str, sooner: dict[str, Any], later: dict[str, Any]) -> None:
    first, second = attrs.evolve(PLAIN, name="first", **sooner), attrs.evolve(PLAIN, name="second", **later)
    nodes = ["a", "crowded", "crowded", ""]
    for order in ([first, second], [second, first]):
        assert [pod.name for pod in ranking.to_delete(order, nodes, NOW)] == ["first", "second"], why
