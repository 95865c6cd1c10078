"""Jobs: pods that are to end, counted once each, tried again within limits, until enough succeeded.

The counting is in ``job_tally.py``, the policies in ``job_policies.py``, the looks of a pod in ``job_pods.py``; here a Job is judged, its pods
are made and deleted, and its status is written before any pod is let go.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import attrs

from edgek.client.client import STRATEGIC_MERGE_PATCH
from edgek.client.reconcile import Cluster, Watch, own_key
from edgek.host import wallclock
from edgek.model import errors, kinds, objects
from edgek.model.objects import Object
from edgek.server.controllers import job_judgement as judgement
from edgek.server.controllers import job_pods, job_tally, owning, podmaking, ranking, statuses, views
from edgek.server.controllers.job_tally import FINALIZER, Tally
from edgek.server.controllers.podmaking import Failure
from edgek.server.controllers.replicaset import is_leaving
from edgek.server.controllers.views import PodView

MANAGER = "kubernetes.io/job-controller"
BACKOFF_FIRST_S = 10.0
BACKOFF_MOST_S = 600.0
DOUBLINGS_MOST = 10  # beyond this the pause is BACKOFF_MOST_S anyway


@attrs.frozen
class _Backoff:
    """Failures since the last success."""

    failures: int = 0
    last: float = 0.0  # seconds since the epoch

    def wait_s(self, now: float) -> float:
        if not self.failures:
            return 0.0
        pause_s: float = min(BACKOFF_FIRST_S * 2 ** min(self.failures - 1, DOUBLINGS_MOST), BACKOFF_MOST_S)
        return max(0.0, min(pause_s, self.last + pause_s - now))

    def after(self, tally: Tally, now: float) -> _Backoff:
        before = _Backoff() if tally.new_successes else self
        if not tally.new_failures:
            return before
        last = max(pod.finished_at or now for pod in tally.new_failures)
        return _Backoff(before.failures + len(tally.new_failures), last)


class JobController:
    name: ClassVar[str] = "job"
    account: ClassVar[str] = "job-controller"
    workers: ClassVar[int] = 5
    interval_s: ClassVar[float] = 0.02

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._events = cluster.recorder.named("job-controller")
        self._jobs = cluster.informers.of(kinds.JOB, views.whole)
        self._pods = cluster.informers.of(kinds.POD, views.pod)
        self._backoffs: dict[str, _Backoff] = {}

    def watches(self) -> Sequence[Watch]:
        self._jobs.add_index("namespace", owning.object_namespace_index)
        self._pods.add_index("owner", views.owner_index)
        self._pods.add_index("job", views.job_index)
        return [Watch(self._jobs, own_key), Watch(self._pods, self._keys_of_pod)]

    async def reconcile(self, key: str) -> float | None:
        job = self._jobs.get(key)
        if job is not None and job["spec"].get("managedBy") not in (None, MANAGER):
            return None
        if job is None or judgement.is_finished(job) or objects.is_deleting(job):
            self._backoffs.pop(key, None)
            await self._release(self._pods.by_index("job", key))
            return None
        await self._release([pod for pod in self._pods.by_index("job", key) if pod.owner_uid != objects.uid(job)])
        return await self._sync(key, job, await self._claim(job))

    async def _sync(self, key: str, job: Object, pods: Sequence[PodView]) -> float | None:
        now = wallclock.now()
        tally = job_tally.of(job, pods)
        backoff = self._backoffs[key] = self._backoffs.get(key, _Backoff()).after(tally, now)
        status = judgement.started(job, job.get("status") or {})
        end = judgement.end(job, status, tally, pods, now)
        failure, wait_s = None, judgement.deadline_in(job, status, now)
        if end is not None:
            wait_s = None
            failure = await self._delete(job, [pod for pod in pods if pod.active], let_go=False)
            pods = self._pods.by_index("owner", objects.uid(job))
            job_tally.count_the_rest(job, tally, pods)
        else:
            failure, pause_s = await self._manage(job, tally, pods, backoff.wait_s(now))
            wait_s = min((each for each in (wait_s, pause_s) if each is not None), default=None)
            pods = self._pods.by_index("owner", objects.uid(job))
        made = judgement.status(job, status, tally, pods, end)
        written = await statuses.write(self._cluster, self._jobs, job, made)
        self._tell(job, written)
        await self._release(tally.release)
        if failure is not None:
            raise failure
        return wait_s

    # --- pods ---------------------------------------------------------------------------------------------------------------------------

    async def _manage(self, job: Object, tally: Tally, pods: Sequence[PodView], pause_s: float) -> tuple[Failure | None, float | None]:
        """Make or delete pods; a failure, and the seconds until pods that failed may be replaced."""
        active = [pod for pod in pods if pod.active]
        excess = judgement.excess(job, tally, active)
        if excess:
            doomed = ranking.to_delete(excess, (), wallclock.now())[: podmaking.BURST]
            return await self._delete(job, doomed, let_go=True), None
        missing = judgement.missing(job, tally, pods)
        if missing <= 0:
            return None, None
        if pause_s > 0:
            return None, pause_s
        return await self._create(job, tally, pods, min(missing, podmaking.BURST)), None

    async def _create(self, job: Object, tally: Tally, pods: Sequence[PodView], count: int) -> Failure | None:
        if tally.indexed:
            indexes = judgement.pending_indexes(tally, pods)[:count]
            failures = judgement.index_failures(pods)
            drafts = [job_pods.numbered(job, index, failures.get(index, 0)) for index in indexes]
        else:
            drafts = [job_pods.tracked(job) for _ in range(count)]

        async def create(number: int) -> None:
            made = await self._cluster.create(self._pods, drafts[number])
            self._events.normal(kinds.JOB, job, "SuccessfulCreate", f"Created pod: {objects.name(made)}")

        _, failure = await podmaking.slow_start(len(drafts), create)
        if podmaking.is_terminating_namespace(failure):
            return None
        if failure is not None:
            self._events.warning(kinds.JOB, job, "FailedCreate", f"Error creating: {failure}")
        return failure

    async def _delete(self, job: Object, doomed: Sequence[PodView], *, let_go: bool) -> Failure | None:
        """``let_go``: they are not to be counted."""

        async def delete(pod: PodView) -> None:
            if let_go:
                await self._release([pod])
            if await self._cluster.delete(self._pods, pod.key, pod.uid):
                self._events.normal(kinds.JOB, job, "SuccessfulDelete", f"Deleted pod: {pod.name}")
            await self._pods.until(lambda: is_leaving(self._pods.get(pod.key), pod.uid))

        failures = await podmaking.together([functools.partial(delete, pod) for pod in doomed])
        return next((each for each in failures if each is not None), None)

    async def _release(self, pods: Iterable[PodView]) -> None:
        """Remove the tracking finalizer."""

        async def release(pod: PodView) -> None:
            patch = {"metadata": {"uid": pod.uid, "$deleteFromPrimitiveList/finalizers": [FINALIZER]}}
            try:
                await self._cluster.patch(self._pods, pod.key, patch, content_type=STRATEGIC_MERGE_PATCH)
            except errors.NotFound:
                return

        held = [pod for pod in pods if FINALIZER in pod.finalizers]
        failures = await podmaking.together([functools.partial(release, pod) for pod in held])
        for failure in failures:
            if failure is not None:
                raise failure

    async def _claim(self, job: Object) -> list[PodView]:
        tracking: dict[str, Any] = {"finalizers": [FINALIZER]}
        released: dict[str, Any] = {"$deleteFromPrimitiveList/finalizers": [FINALIZER]}
        selector = owning.selector_of(job)
        claim = owning.Claim(self._cluster, self._pods, kinds.JOB, job, selector, tracking, released)
        orphans = [pod for pod in self._pods.by_index("owner", f"orphan/{objects.namespace(job)}") if pod.active]
        return await claim.of([*self._pods.by_index("owner", objects.uid(job)), *orphans], owning.of_pod)

    # --- who is concerned, and who is told ----------------------------------------------------------------------------------------------

    def _keys_of_pod(self, key: str, old: PodView | None, new: PodView | None) -> Iterable[str]:
        for pod in filter(None, (old, new)):
            if pod.owner_kind == kinds.JOB.name:
                yield f"{pod.namespace}/{pod.owner_name}"
            elif not pod.owner_uid:
                for job in self._jobs.by_index("namespace", pod.namespace):
                    if owning.selector_of(job).matches(pod.labels):
                        yield objects.key(job)

    def _tell(self, before: Object, after: Object) -> None:
        for type_, text in (("Complete", "Job completed"), ("Suspended", "Job suspended")):
            if objects.condition_is(after, type_) and not objects.condition_is(before, type_):
                reason = "Completed" if type_ == "Complete" else "Suspended"
                self._events.normal(kinds.JOB, after, reason, text)
        if objects.condition_is(before, "Suspended") and objects.condition_is(after, "Suspended", "False"):
            self._events.normal(kinds.JOB, after, "Resumed", "Job resumed")
        failed = objects.condition(after, "Failed")
        if failed and not objects.condition(before, "Failed"):
            self._events.warning(kinds.JOB, after, failed["reason"], failed["message"])
