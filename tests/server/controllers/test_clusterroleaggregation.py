"""Aggregated roles show what they collect."""

from __future__ import annotations

from typing import Any

from edgek.model import kinds
from edgek.server.controllers.clusterroleaggregation import ClusterRoleAggregationController
from tests.fakes.scene import scene

RULE = {"apiGroups": ["example.com"], "resources": ["widgets"], "verbs": ["get"]}
LABELS = {"example.com/aggregate": "true"}
COLLECTING = {"metadata": {"name": "all"}, "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": LABELS}]}}


async def test_a_role_that_collects_shows_the_rules_of_those_it_collects(autojump_clock: Any) -> None:
    async with scene(ClusterRoleAggregationController) as cluster:
        await cluster.create(kinds.CLUSTER_ROLE, COLLECTING)
        await cluster.create(kinds.CLUSTER_ROLE, {"metadata": {"name": "part", "labels": LABELS}, "rules": [RULE]})
        await cluster.create(kinds.CLUSTER_ROLE, {"metadata": {"name": "other"}, "rules": [{**RULE, "verbs": ["delete"]}]})
        await cluster.settle()
        assert cluster.get(kinds.CLUSTER_ROLE, "all")["rules"] == [RULE]
        await cluster.client.delete(kinds.CLUSTER_ROLE, "part")
        await cluster.settle()
        assert not cluster.get(kinds.CLUSTER_ROLE, "all")["rules"]
        assert await cluster.writes_in(600) == []
