"""Judging a Job: has it ended and how, how many pods it wants, and what its status says. Pure but for the clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import attrs

from edgek.host import wallclock
from edgek.model import objects
from edgek.model.objects import Object
from edgek.server.controllers import conditions, job_indexes, job_policies, job_tally, statuses
from edgek.server.controllers.job_tally import Tally
from edgek.server.controllers.views import PodView, stamp

Status = dict[str, Any]


@attrs.frozen
class End:
    """How the Job ends: it succeeds, or fails, for a reason."""

    succeeds: bool
    reason: str
    message: str


def is_finished(job: Object) -> bool:
    return objects.condition_is(job, "Complete") or objects.condition_is(job, "Failed")


def is_suspended(job: Object) -> bool:
    return bool(job["spec"].get("suspend"))


def parallelism(job: Object) -> int:
    return int(job["spec"].get("parallelism", 1))


def started(job: Object, status: Status) -> Status:
    """With its start time, which begins anew when a suspended Job goes on."""
    now = wallclock.now_rfc3339()
    current = conditions.find(status.get("conditions"), "Suspended")
    if is_suspended(job):
        if current is None or current.get("status") != "True":
            status = {**status, "conditions": _put(status.get("conditions"), "Suspended", "True", "JobSuspended", "Job suspended")}
        return status
    if current is not None and current.get("status") == "True":
        renewed = _put(status.get("conditions"), "Suspended", "False", "JobResumed", "Job resumed")
        return {**status, "startTime": now, "conditions": renewed}
    return status if status.get("startTime") else {**status, "startTime": now}


def end(job: Object, status: Status, tally: Tally, pods: Sequence[PodView], now: float) -> End | None:
    """How the Job ends, if it does. What was once decided stays."""
    for type_, succeeds in (("FailureTarget", False), ("SuccessCriteriaMet", True)):
        decided = conditions.find(status.get("conditions"), type_)
        if decided and decided.get("status") == "True":
            return End(succeeds, decided["reason"], decided["message"])
    return _failure(job, status, tally, pods, now) or _success(job, tally, pods)


def deadline_in(job: Object, status: Status, now: float) -> float | None:
    """Seconds until ``activeDeadlineSeconds`` is over."""
    limit = job["spec"].get("activeDeadlineSeconds")
    if limit is None or is_suspended(job) or not status.get("startTime"):
        return None
    return max(0.0, stamp(status["startTime"]) + float(limit) - now)


def excess(job: Object, tally: Tally, active: Sequence[PodView]) -> list[PodView]:
    """Pods that must go: all while suspended, those of a wrong index, and whatever is more than wanted."""
    if is_suspended(job):
        return list(active)
    wrong = _wrong_indexes(tally, active) if tally.indexed else []
    surplus = len(active) - len(wrong) - _wanted_active(job, tally, len(active))
    right = [pod for pod in active if pod not in wrong]
    spare = sorted(right, key=lambda pod: (pod.ready, pod.phase == "Running", -pod.completion_index, -pod.created))
    return [*wrong, *spare[: max(0, surplus)]]


def missing(job: Object, tally: Tally, pods: Sequence[PodView]) -> int:
    if is_suspended(job):
        return 0
    active = sum(1 for pod in pods if pod.active)
    leaving = sum(1 for pod in pods if pod.deleting and not pod.finished) if job_tally.replaces_only_failed(job) else 0
    return _wanted_active(job, tally, active) - leaving - active


def pending_indexes(tally: Tally, pods: Sequence[PodView]) -> list[int]:
    taken = {pod.completion_index for pod in pods if pod.active} | tally.completed | tally.failed_indexes
    return [index for index in range(tally.completions or 0) if index not in taken]


def index_failures(pods: Sequence[PodView]) -> dict[int, int]:
    """How often each index failed so far, by the pods that are still there to tell."""
    found: dict[int, int] = {}
    for pod in pods:
        if pod.completion_index >= 0 and not pod.active and pod.phase != "Succeeded":
            found[pod.completion_index] = max(found.get(pod.completion_index, 0), pod.index_failures + 1)
    return found


def status(job: Object, before: Status, tally: Tally, pods: Sequence[PodView], ends: End | None) -> Status:
    active = [pod for pod in pods if pod.active]
    leaving = sum(1 for pod in pods if pod.deleting and not pod.finished)
    made: Status = {
        **{key: before[key] for key in ("startTime", "conditions") if before.get(key)},
        "active": len(active),
        "ready": sum(1 for pod in active if pod.ready),
        "terminating": leaving,
        "succeeded": len(tally.completed) if tally.indexed else tally.counted_succeeded,
        "failed": tally.counted_failed,
        "uncountedTerminatedPods": tally.uncounted,
        "completedIndexes": job_indexes.written(tally.completed) if tally.indexed else "",
        "failedIndexes": job_indexes.written(tally.failed_indexes) if tally.indexed else None,
    }
    if job["spec"].get("backoffLimitPerIndex") is None:
        del made["failedIndexes"]
    always = ("ready", "terminating", "uncountedTerminatedPods", "failedIndexes")
    if ends is None:
        return statuses.compact(made, always)
    return statuses.compact(_ended(made, ends, is_over=not active and not leaving and not tally.uncounted), always)


def _ended(made: Status, ends: End, *, is_over: bool) -> Status:
    """First the decision; the end itself only when no pod runs and every pod is counted."""
    found = _put(made.get("conditions"), "SuccessCriteriaMet" if ends.succeeds else "FailureTarget", "True", ends.reason, ends.message)
    if is_over:
        found = _put(found, "Complete" if ends.succeeds else "Failed", "True", ends.reason, ends.message)
        if ends.succeeds:
            made = {**made, "completionTime": wallclock.now_rfc3339()}
    return {**made, "conditions": found}


def _failure(job: Object, status: Status, tally: Tally, pods: Sequence[PodView], now: float) -> End | None:
    spec = job["spec"]
    if tally.fail_job:
        return End(False, "PodFailurePolicy", tally.fail_job)
    limit = spec.get("backoffLimit", 6)
    if (tally.new_failures and tally.failed > limit) or _restarts_exceed(job, pods, limit):
        return End(False, "BackoffLimitExceeded", "Job has reached the specified backoff limit")
    if deadline_in(job, status, now) == 0.0:
        return End(False, "DeadlineExceeded", "Job was active longer than specified deadline")
    if spec.get("backoffLimitPerIndex") is not None:
        most = spec.get("maxFailedIndexes")
        if most is not None and len(tally.failed_indexes) > most:
            return End(False, "MaxFailedIndexesExceeded", "Job has exceeded the specified maximal number of failed indexes")
        if tally.failed_indexes and len(tally.failed_indexes | tally.completed) >= spec["completions"]:
            return End(False, "FailedIndexes", "Job has failed indexes")
    return None


def _success(job: Object, tally: Tally, pods: Sequence[PodView]) -> End | None:
    by_policy = job_policies.of_success(job, tally.completed) if tally.indexed else ""
    if by_policy:
        return End(True, "SuccessPolicy", by_policy)
    if tally.completions is None:
        reached = tally.succeeded > 0 and not any(pod.active for pod in pods)
    else:
        reached = tally.succeeded >= tally.completions
    return End(True, "CompletionsReached", "Reached expected number of succeeded pods") if reached else None


def _restarts_exceed(job: Object, pods: Sequence[PodView], limit: int) -> bool:
    """With restartPolicy OnFailure containers are started again in place, which counts as well."""
    if (job["spec"]["template"].get("spec") or {}).get("restartPolicy") != "OnFailure":
        return False
    restarts = sum(pod.restarts for pod in pods if pod.phase in ("Running", "Pending"))
    return restarts > 0 if limit == 0 else restarts >= limit


def _wanted_active(job: Object, tally: Tally, active: int) -> int:
    if tally.completions is None:
        return active if tally.succeeded else parallelism(job)
    left = tally.completions - tally.succeeded - len(tally.failed_indexes - tally.completed)
    return max(0, min(left, parallelism(job)))


def _wrong_indexes(tally: Tally, active: Sequence[PodView]) -> list[PodView]:
    """Pods of an index that is done, unknown, or already has a pod."""
    seen: Counter[int] = Counter()
    wrong = []
    for pod in sorted(active, key=lambda pod: (not pod.ready, pod.created, pod.name)):
        seen[pod.completion_index] += 1
        index = pod.completion_index
        if not 0 <= index < (tally.completions or 0) or index in tally.completed or index in tally.failed_indexes or seen[index] > 1:
            wrong.append(pod)
    return wrong


def _put(found: Sequence[conditions.Condition] | None, type_: str, state: str, reason: str, message: str) -> list[conditions.Condition]:
    condition = {**conditions.new(type_, state, reason, message), "lastProbeTime": wallclock.now_rfc3339()}
    return conditions.put(found, condition)
