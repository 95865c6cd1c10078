"""Counting the pods of a Job, each exactly once, though pods and their records can vanish at any moment. Pure.

A pod that ended keeps a finalizer until it is counted. First its uid is written to ``uncountedTerminatedPods``, then the finalizer is removed,
and only when the pod is seen without it the uid becomes part of a count. Whatever breaks in between, the next look finds out where it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from edgek.model.objects import Object
from edgek.server.controllers import job_indexes, job_policies, statuses
from edgek.server.controllers.views import PodView

FINALIZER = "batch.kubernetes.io/job-tracking"


@attrs.define
class Tally:
    """What is known of a Job's pods now. ``succeeded`` and ``failed`` include those that are not part of the written counts yet."""

    completions: int | None
    indexed: bool
    counted_succeeded: int = 0
    counted_failed: int = 0
    uncounted_succeeded: list[str] = attrs.field(factory=list)
    uncounted_failed: list[str] = attrs.field(factory=list)
    completed: set[int] = attrs.field(factory=set)
    failed_indexes: set[int] = attrs.field(factory=set)
    new_failures: list[PodView] = attrs.field(factory=list)
    new_successes: int = 0
    release: list[PodView] = attrs.field(factory=list)  # pods whose finalizer may go once the status is written
    fail_job: str = ""

    @property
    def succeeded(self) -> int:
        return len(self.completed) if self.indexed else self.counted_succeeded + len(self.uncounted_succeeded)

    @property
    def failed(self) -> int:
        return self.counted_failed + len(self.uncounted_failed)

    @property
    def uncounted(self) -> dict[str, Any]:
        return statuses.compact({"succeeded": self.uncounted_succeeded, "failed": self.uncounted_failed})


def is_failed(job: Object, pod: PodView, *, job_ends: bool = False) -> bool:
    """Pods that are being deleted count as failed at once unless the Job replaces only those that really ended."""
    if pod.phase in ("Failed", "Succeeded"):
        return pod.phase == "Failed"
    return job_ends or (pod.deleting and not replaces_only_failed(job))


def replaces_only_failed(job: Object) -> bool:
    return bool(job["spec"].get("podReplacementPolicy") == "Failed")


def of(job: Object, pods: Sequence[PodView]) -> Tally:
    """``pods`` are all that belong to the Job."""
    status, spec = job.get("status") or {}, job["spec"]
    indexed = spec.get("completionMode") == "Indexed"
    tally = Tally(spec.get("completions"), indexed, counted_failed=int(status.get("failed") or 0))
    if indexed:
        tally.completed = job_indexes.parse(status.get("completedIndexes") or "", spec["completions"])
        tally.failed_indexes = job_indexes.parse(status.get("failedIndexes") or "", spec["completions"])
    else:
        tally.counted_succeeded = int(status.get("succeeded") or 0)
    _settle(tally, status.get("uncountedTerminatedPods") or {}, {pod.uid: pod for pod in pods})
    for pod in sorted(pods, key=lambda pod: pod.finished_at):
        if FINALIZER in pod.finalizers:
            _look_at(job, tally, pod)
    return tally


def count_the_rest(job: Object, tally: Tally, pods: Sequence[PodView]) -> None:
    """The Job ends: whatever pod is on its way out without having ended counts as failed."""
    released = {pod.uid for pod in tally.release}
    for pod in pods:
        if FINALIZER in pod.finalizers and pod.uid not in released and pod.deleting and is_failed(job, pod, job_ends=True):
            _count_failure(job, tally, pod)
            tally.release.append(pod)


def _settle(tally: Tally, uncounted: dict[str, list[str]], pods: dict[str, PodView]) -> None:
    """A uid whose pod is gone or let go becomes part of the count."""

    def held(uid: str) -> bool:
        return uid in pods and FINALIZER in pods[uid].finalizers

    for uid in uncounted.get("succeeded") or ():
        if held(uid):
            tally.uncounted_succeeded.append(uid)
        else:
            tally.counted_succeeded += 1
    for uid in uncounted.get("failed") or ():
        if held(uid):
            tally.uncounted_failed.append(uid)
        else:
            tally.counted_failed += 1


def _look_at(job: Object, tally: Tally, pod: PodView) -> None:
    if pod.phase == "Succeeded":
        if tally.indexed:
            if 0 <= pod.completion_index < (tally.completions or 0) and pod.completion_index not in tally.completed:
                tally.completed.add(pod.completion_index)
                tally.new_successes += 1
        elif pod.uid not in tally.uncounted_succeeded:
            tally.uncounted_succeeded.append(pod.uid)
            tally.new_successes += 1
        tally.release.append(pod)
    elif is_failed(job, pod):
        _count_failure(job, tally, pod)
        tally.release.append(pod)


def _count_failure(job: Object, tally: Tally, pod: PodView) -> None:
    if pod.uid in tally.uncounted_failed:
        return
    verdict = job_policies.of_failure(job, pod) if pod.phase == "Failed" else job_policies.Verdict()
    if verdict.action == "FailJob" and not tally.fail_job:
        tally.fail_job = verdict.message
    limit = job["spec"].get("backoffLimitPerIndex")
    if verdict.action == "Ignore":
        return
    tally.uncounted_failed.append(pod.uid)
    tally.new_failures.append(pod)
    if limit is not None and pod.completion_index >= 0 and (verdict.action == "FailIndex" or pod.index_failures >= limit):
        tally.failed_indexes.add(pod.completion_index)
