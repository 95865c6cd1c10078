"""ReplicaSets: as many pods as wanted, no more.

Nothing is created before the cache shows what was created before (``Cluster.create`` waits for it), so a stale cache cannot make too many.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from edgek.client.reconcile import Cluster, Watch, own_key
from edgek.host import wallclock
from edgek.model import errors, kinds, objects
from edgek.model.kinds import Kind
from edgek.model.objects import Object
from edgek.model.selectors import LabelSelector
from edgek.server.controllers import conditions, owning, podmaking, ranking, statuses, views
from edgek.server.controllers.podmaking import Failure
from edgek.server.controllers.views import PodView


class ReplicaSetController:
    name: ClassVar[str] = "replicaset"
    account: ClassVar[str] = "replicaset-controller"
    component: ClassVar[str] = "replicaset-controller"
    kind: ClassVar[Kind] = kinds.REPLICA_SET
    workers: ClassVar[int] = 5
    interval_s: ClassVar[float] = 0.02

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._events = cluster.recorder.named(self.component)
        self._sets = cluster.informers.of(self.kind, views.whole)
        self._pods = cluster.informers.of(kinds.POD, views.pod)

    def watches(self) -> Sequence[Watch]:
        self._sets.add_index("controller", owning.controller_index)
        self._sets.add_index("namespace", owning.object_namespace_index)
        self._pods.add_index("owner", views.owner_index)
        return [Watch(self._sets, own_key), Watch(self._pods, self._keys_of_pod)]

    async def reconcile(self, key: str) -> float | None:
        wanted = self._sets.get(key)
        if wanted is None:
            return None
        pods = await self._claim(wanted)
        failure: Failure | None = None
        if not objects.is_deleting(wanted):
            failure = await self._scale(wanted, [pod for pod in pods if pod.active])
            pods = self._pods.by_index("owner", objects.uid(wanted))
        now = wallclock.now()
        await statuses.write(self._cluster, self._sets, wanted, self.status(wanted, pods, failure, now))
        if failure is not None:
            raise failure
        return next_availability(pods, wanted["spec"].get("minReadySeconds") or 0, now)

    def selector(self, wanted: Object) -> LabelSelector:
        return owning.selector_of(wanted)

    def status(self, wanted: Object, pods: Sequence[PodView], failure: Failure | None, now: float) -> dict[str, Any]:
        return {
            **self._counts(wanted, [pod for pod in pods if pod.active], failure, now),
            "terminatingReplicas": sum(1 for pod in pods if pod.deleting and not pod.finished),
        }

    def _counts(self, wanted: Object, active: Sequence[PodView], failure: Failure | None, now: float) -> dict[str, Any]:
        spec = wanted["spec"]
        template_labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
        min_ready_s = spec.get("minReadySeconds") or 0
        status = {
            "replicas": len(active),
            "fullyLabeledReplicas": sum(1 for pod in active if template_labels.items() <= pod.labels.items()),
            "readyReplicas": sum(1 for pod in active if pod.ready),
            "availableReplicas": sum(1 for pod in active if pod.available_in(min_ready_s, now) == 0.0),
            "observedGeneration": objects.metadata(wanted).get("generation"),
            "conditions": _conditions(wanted, len(active), failure),
        }
        return statuses.compact(status, always=("replicas",))

    def _keys_of_pod(self, key: str, old: PodView | None, new: PodView | None) -> Iterable[str]:
        for pod in filter(None, (old, new)):
            if pod.owner_kind == self.kind.name:
                yield f"{pod.namespace}/{pod.owner_name}"
            elif not pod.owner_uid:
                for wanted in self._sets.by_index("namespace", pod.namespace):
                    if self.selector(wanted).matches(pod.labels):
                        yield objects.key(wanted)

    async def _claim(self, wanted: Object) -> list[PodView]:
        claim = owning.Claim(self._cluster, self._pods, self.kind, wanted, self.selector(wanted))
        orphans = self._pods.by_index("owner", f"orphan/{objects.namespace(wanted)}")
        return await claim.of([*self._pods.by_index("owner", objects.uid(wanted)), *(pod for pod in orphans if pod.active)], owning.of_pod)

    async def _scale(self, wanted: Object, active: Sequence[PodView]) -> Failure | None:
        missing = wanted["spec"].get("replicas", 1) - len(active)
        if missing > 0:
            return await self._create(wanted, min(missing, podmaking.BURST))
        if missing < 0:
            related = [pod.node for pod in self._related(wanted) if pod.active and pod.node]
            doomed = ranking.to_delete(active, related, wallclock.now())
            return await self._delete(wanted, doomed[: min(-missing, podmaking.BURST)])
        return None

    async def _create(self, wanted: Object, count: int) -> Failure | None:
        template = wanted["spec"].get("template") or {}

        async def create(_: int) -> None:
            made = await self._cluster.create(self._pods, podmaking.from_template(template, wanted, self.kind))
            self._events.normal(self.kind, wanted, "SuccessfulCreate", f"Created pod: {objects.name(made)}")

        _, failure = await podmaking.slow_start(count, create)
        if podmaking.is_terminating_namespace(failure):
            return None
        if failure is not None:
            self._events.warning(self.kind, wanted, "FailedCreate", f"Error creating: {failure}")
        return failure

    async def _delete(self, wanted: Object, doomed: Sequence[PodView]) -> Failure | None:
        async def delete(pod: PodView) -> None:
            if await self._cluster.delete(self._pods, pod.key, pod.uid):
                self._events.normal(self.kind, wanted, "SuccessfulDelete", f"Deleted pod: {pod.name}")
            await self._pods.until(lambda: is_leaving(self._pods.get(pod.key), pod.uid))

        failures = await podmaking.together([functools.partial(delete, pod) for pod in doomed])
        failure = next((each for each in failures if each is not None), None)
        if isinstance(failure, errors.Conflict):
            raise failure  # somebody was faster: nothing to report
        if failure is not None:
            self._events.warning(self.kind, wanted, "FailedDelete", f"Error deleting: {failure}")
        return failure

    def _related(self, wanted: Object) -> list[PodView]:
        """Pods of this set and of those that the same Deployment controls: a node that holds many of them loses one first."""
        owner = objects.controller_of(wanted)
        siblings = self._sets.by_index("controller", owner["uid"]) if owner else [wanted]
        return [pod for sibling in siblings for pod in self._pods.by_index("owner", objects.uid(sibling))]


def is_leaving(pod: PodView | None, uid: str) -> bool:
    """The cache shows that the pod with this uid is gone or being deleted."""
    return pod is None or pod.uid != uid or pod.deleting


def next_availability(pods: Iterable[PodView], min_ready_s: float, now: float) -> float | None:
    """Seconds until the next ready pod has been ready long enough to be available."""
    waits = [pod.available_in(min_ready_s, now) for pod in pods if pod.active]
    return min((wait for wait in waits if wait), default=None)


def _conditions(wanted: Object, active: int, failure: Failure | None) -> list[conditions.Condition]:
    had = (wanted.get("status") or {}).get("conditions") or []
    if failure is None:
        return conditions.without(had, "ReplicaFailure")
    if conditions.find(had, "ReplicaFailure"):
        return list(had)
    reason = "FailedCreate" if active < wanted["spec"].get("replicas", 1) else "FailedDelete"
    return conditions.put(had, conditions.new("ReplicaFailure", "True", reason, str(failure)))
