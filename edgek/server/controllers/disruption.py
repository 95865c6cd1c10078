"""PodDisruptionBudgets: how many pods may be evicted now. The eviction subresource takes from that number; this puts it right again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import attrs

from edgek.client.reconcile import Cluster, Watch, own_key
from edgek.host import wallclock
from edgek.model import kinds, objects
from edgek.model.objects import Object
from edgek.server.controllers import conditions, owning, rollout, statuses, views
from edgek.server.controllers.views import PodView

DELETION_S = 120.0  # a pod whose eviction was allowed and that is still not being deleted after this time counts again

SCALED = (kinds.REPLICA_SET, kinds.REPLICATION_CONTROLLER, kinds.STATEFUL_SET)


class _Unknown(Exception):
    """A pod has a controller whose size cannot be told."""


@attrs.frozen
class _Need:
    expected: int
    healthy: int  # pods that must stay healthy


class DisruptionController:
    name: ClassVar[str] = "disruption"
    account: ClassVar[str] = "disruption-controller"
    workers: ClassVar[int] = 2
    interval_s: ClassVar[float] = 0.1

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._events = cluster.recorder.named("controllermanager")
        self._budgets = cluster.informers.of(kinds.POD_DISRUPTION_BUDGET, views.whole)
        self._pods = cluster.informers.of(kinds.POD, views.pod)
        self._deployments = cluster.informers.of(kinds.DEPLOYMENT, views.whole)
        self._scaled = {kind.name: cluster.informers.of(kind, views.whole) for kind in SCALED}

    def watches(self) -> Sequence[Watch]:
        self._budgets.add_index("namespace", owning.object_namespace_index)
        self._pods.add_index("namespace", views.namespace_index)
        scaled = [Watch(informer, self._keys_of_scaled) for informer in (self._deployments, *self._scaled.values())]
        return [Watch(self._budgets, own_key), Watch(self._pods, self._keys_of_pod), *scaled]

    async def reconcile(self, key: str) -> float | None:
        budget = self._budgets.get(key)
        if budget is None:
            return None
        selector = owning.selector_of(budget)
        namespace = objects.namespace(budget)
        pods = [pod for pod in self._pods.by_index("namespace", namespace) if not pod.finished and selector.matches(pod.labels)]
        if not pods:
            self._events.normal(kinds.POD_DISRUPTION_BUDGET, budget, "NoPods", "No matching pods found")
        now = wallclock.now()
        disrupted, again_s = self._disrupted(budget, pods, now)
        try:
            made = _status(budget, pods, disrupted, self._need(budget, pods))
        except _Unknown as exc:
            message = f"Failed to calculate the number of expected pods: {exc}"
            self._events.warning(kinds.POD_DISRUPTION_BUDGET, budget, "CalculateExpectedPodCountFailed", message)
            made = _closed(budget, str(exc))
        await statuses.write(self._cluster, self._budgets, budget, made)
        return again_s

    def _keys_of_pod(self, key: str, old: PodView | None, new: PodView | None) -> Iterable[str]:
        for pod in filter(None, (old, new)):
            for budget in self._budgets.by_index("namespace", pod.namespace):
                if owning.selector_of(budget).matches(pod.labels):
                    yield objects.key(budget)

    def _keys_of_scaled(self, key: str, old: Object | None, new: Object | None) -> Iterable[str]:
        if old is not None and new is not None and rollout.wanted_replicas(old) == rollout.wanted_replicas(new):
            return ()
        return [objects.key(budget) for budget in self._budgets.by_index("namespace", objects.split_key(key)[0])]

    def _need(self, budget: Object, pods: Sequence[PodView]) -> _Need:
        spec = budget["spec"]
        most_unavailable, least = spec.get("maxUnavailable"), spec.get("minAvailable")
        if most_unavailable is not None:
            expected = self._expected(pods)
            return _Need(expected, max(0, expected - rollout.scaled(most_unavailable, expected, up=True)))
        if isinstance(least, str):
            expected = self._expected(pods)
            return _Need(expected, rollout.scaled(least, expected, up=True))
        return _Need(len(pods), int(least or 0))

    def _expected(self, pods: Sequence[PodView]) -> int:
        """How many pods their controllers want; each controller counts once, pods without one not at all."""
        sizes: dict[str, int] = {}
        for pod in pods:
            if pod.owner_uid:
                uid, size = self._size(pod)
                sizes[uid] = size
        return sum(sizes.values())

    def _size(self, pod: PodView) -> tuple[str, int]:
        informer = self._scaled.get(pod.owner_kind)
        owner = informer.get(f"{pod.namespace}/{pod.owner_name}") if informer else None
        if owner is None or objects.uid(owner) != pod.owner_uid:
            raise _Unknown(f'found no controllers for pod "{pod.name}"')
        above = self._deployments.get(owning.controller_key(owner, kinds.DEPLOYMENT))
        if above is not None and objects.uid(above) == (objects.controller_of(owner) or {}).get("uid"):
            owner = above
        return objects.uid(owner), rollout.wanted_replicas(owner)

    def _disrupted(self, budget: Object, pods: Sequence[PodView], now: float) -> tuple[dict[str, str], float | None]:
        """Pods whose eviction was allowed and that still run, and when the first of them must be looked at again."""
        present = {pod.name: pod for pod in pods}
        kept: dict[str, str] = {}
        waits: list[float] = []
        for name, when in ((budget.get("status") or {}).get("disruptedPods") or {}).items():
            pod = present.get(name)
            if pod is None or pod.deleting:
                continue
            wait_s = views.stamp(when) + DELETION_S - now
            if wait_s <= 0:
                message = f"Pod was expected by PDB {objects.key(budget)} to be deleted but it wasn't"
                self._events.warning(kinds.POD, pod.reference(), "NotDeleted", message)
                continue
            kept[name] = when
            waits.append(wait_s)
        return kept, min(waits, default=None)


def _status(budget: Object, pods: Sequence[PodView], disrupted: Mapping[str, str], need: _Need) -> dict[str, Any]:
    healthy = sum(1 for pod in pods if pod.ready and not pod.deleting and pod.name not in disrupted)
    allowed = max(0, healthy - need.healthy) if need.expected > 0 else 0
    before = budget.get("status") or {}
    reason = "SufficientPods" if allowed else "InsufficientPods"
    made = {
        "observedGeneration": objects.metadata(budget).get("generation"),
        "disruptedPods": dict(disrupted),
        "disruptionsAllowed": allowed,
        "currentHealthy": healthy,
        "desiredHealthy": need.healthy,
        "expectedPods": need.expected,
        "conditions": _conditions(budget, before, "True" if allowed else "False", reason, ""),
    }
    return statuses.compact(made, ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"))


def _closed(budget: Object, why: str) -> dict[str, Any]:
    """What cannot be counted may not be disturbed."""
    before = budget.get("status") or {}
    counts = {key: before.get(key, 0) for key in ("currentHealthy", "desiredHealthy", "expectedPods")}
    made = _conditions(budget, before, "False", "SyncFailed", why)
    return {**before, **counts, "disruptionsAllowed": 0, "observedGeneration": objects.metadata(budget).get("generation"), "conditions": made}


def _conditions(budget: Object, before: Mapping[str, Any], state: str, reason: str, message: str) -> list[conditions.Condition]:
    condition = conditions.new("DisruptionAllowed", state, reason, message)
    condition["observedGeneration"] = objects.metadata(budget).get("generation", 0)
    return conditions.put_in_place(before.get("conditions"), condition)
