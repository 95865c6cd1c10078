"""Writes into an aggregated ClusterRole the rules of those that it collects, so that people see what it allows.

The API decides by what is collected with or without this (``server/api/grants.py``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from edgek.client.reconcile import Cluster, Watch
from edgek.model import kinds, objects, selectors
from edgek.model.objects import Object
from edgek.server.controllers import views


class ClusterRoleAggregationController:
    name: ClassVar[str] = "clusterrole-aggregation"
    account: ClassVar[str] = "clusterrole-aggregation-controller"
    workers: ClassVar[int] = 1

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._roles = cluster.informers.of(kinds.CLUSTER_ROLE, views.whole)

    def watches(self) -> Sequence[Watch]:
        return [Watch(self._roles, self._collecting)]

    async def reconcile(self, key: str) -> float | None:
        role = self._roles.get(key)
        if role is None or not role.get("aggregationRule"):
            return None
        rules = self._collected(role)
        if rules != (role.get("rules") or []):
            await self._cluster.update(self._roles, {**role, "rules": rules})
        return None

    def _collected(self, role: Object) -> list[Object]:
        """In the order of the roles' names; each rule once."""
        wanted = [selectors.of_dict(selector) for selector in role["aggregationRule"].get("clusterRoleSelectors") or ()]
        rules: list[Object] = []
        for name, other in sorted(self._roles.items.items()):
            if name != objects.name(role) and any(selector.matches(objects.labels(other)) for selector in wanted):
                rules.extend(rule for rule in other.get("rules") or () if rule not in rules)
        return rules

    def _collecting(self, key: str, old: Any, new: Any) -> Iterable[str]:
        """A role that changed may be collected by any of those that collect; they are few."""
        return [name for name, role in self._roles.items.items() if role.get("aggregationRule")]
