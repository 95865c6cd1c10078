"""What a Deployment says of itself: counts, and the conditions Available, Progressing and ReplicaFailure in upstream's words.

Pure but for the clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgek.host import wallclock
from edgek.model import objects
from edgek.model.objects import Object
from edgek.server.controllers import conditions, rollout, statuses
from edgek.server.controllers.views import stamp

NO_DEADLINE = 2**31 - 1  # seconds: upstream's way of saying that there is none

Status = dict[str, Any]


def has_deadline(deployment: Object) -> bool:
    return deployment["spec"].get("progressDeadlineSeconds") not in (None, NO_DEADLINE)


def progressing(status: Status) -> conditions.Condition | None:
    return conditions.find(status.get("conditions"), "Progressing")


def with_progress(status: Status, state: str, reason: str, message: str) -> Status:
    condition = conditions.new("Progressing", state, reason, message, updated=True)
    return {**status, "conditions": conditions.put(status.get("conditions"), condition)}


def counted(deployment: Object, replica_sets: Sequence[Object], newest: Object | None) -> Status:
    """The counts and Available; the other conditions as they were."""
    wanted = rollout.wanted_replicas(deployment)
    available = rollout.total_seen(replica_sets, "availableReplicas")
    before = deployment.get("status") or {}
    if available >= wanted - rollout.max_unavailable(deployment):
        verdict = ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    else:
        verdict = ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    status = {
        "observedGeneration": objects.metadata(deployment).get("generation"),
        "replicas": rollout.total_seen(replica_sets, "replicas"),
        "updatedReplicas": rollout.seen(newest, "replicas") if newest else 0,
        "readyReplicas": rollout.total_seen(replica_sets, "readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(0, rollout.total_wanted(replica_sets) - available),
        "collisionCount": before.get("collisionCount"),
        "conditions": conditions.put(before.get("conditions"), conditions.new("Available", *verdict, updated=True)),
    }
    compacted = statuses.compact(status)
    return {**compacted, "terminatingReplicas": rollout.total_seen(replica_sets, "terminatingReplicas")}


def rolled(deployment: Object, replica_sets: Sequence[Object], newest: Object | None) -> Status:
    """The whole status of a Deployment that is neither paused nor being scaled."""
    before = deployment.get("status") or {}
    status = counted(deployment, replica_sets, newest)
    current = progressing(before)
    if not has_deadline(deployment):
        status["conditions"] = conditions.without(status["conditions"], "Progressing")
    elif not (current and current.get("reason") == "NewReplicaSetAvailable" and status.get("replicas", 0) == status.get("updatedReplicas", 0)):
        status = _with_verdict(deployment, status, newest, current)
    failures = [conditions.find((each.get("status") or {}).get("conditions"), "ReplicaFailure") for each in _newest_first(replica_sets, newest)]
    failure = next(filter(None, failures), None)
    if failure:
        made = conditions.new("ReplicaFailure", failure["status"], failure.get("reason", ""), failure.get("message", ""), updated=True)
        status["conditions"] = conditions.put(status["conditions"], made)
    else:
        status["conditions"] = conditions.without(status["conditions"], "ReplicaFailure")
    return status


def is_complete(deployment: Object, status: Status) -> bool:
    wanted = rollout.wanted_replicas(deployment)
    generation = objects.metadata(deployment).get("generation") or 0
    counts = ("updatedReplicas", "replicas", "availableReplicas")
    return all(status.get(count, 0) == wanted for count in counts) and (status.get("observedGeneration") or 0) >= generation


def stuck_in(deployment: Object, status: Status) -> float | None:
    """Seconds until a rollout without progress has used up its deadline; None when there is nothing to wait for."""
    current = progressing(status)
    if not has_deadline(deployment) or current is None or is_complete(deployment, status):
        return None
    if current.get("reason") in ("ProgressDeadlineExceeded", "NewReplicaSetAvailable"):
        return None
    return max(1.0, _deadline(deployment, current) - wallclock.now() + 1)


def _with_verdict(deployment: Object, status: Status, newest: Object | None, current: conditions.Condition | None) -> Status:
    subject = f'ReplicaSet "{objects.name(newest)}"' if newest else f'Deployment "{objects.name(deployment)}"'
    if is_complete(deployment, status):
        return with_progress(status, "True", "NewReplicaSetAvailable", f"{subject} has successfully progressed.")
    if _moved(deployment.get("status") or {}, status):
        condition = conditions.new("Progressing", "True", "ReplicaSetUpdated", f"{subject} is progressing.", updated=True)
        if current and current.get("status") == "True":
            condition["lastTransitionTime"] = current["lastTransitionTime"]
        return {**status, "conditions": [*conditions.without(status["conditions"], "Progressing"), condition]}
    if current and _is_late(deployment, current):
        return with_progress(status, "False", "ProgressDeadlineExceeded", f"{subject} has timed out progressing.")
    return status


def _moved(before: Status, now: Status) -> bool:
    def old_pods(status: Status) -> int:
        return int(status.get("replicas", 0)) - int(status.get("updatedReplicas", 0))

    more = any(now.get(count, 0) > before.get(count, 0) for count in ("updatedReplicas", "readyReplicas", "availableReplicas"))
    return more or old_pods(now) < old_pods(before)


def _is_late(deployment: Object, current: conditions.Condition) -> bool:
    if current.get("reason") == "NewReplicaSetAvailable":
        return False
    return current.get("reason") == "ProgressDeadlineExceeded" or wallclock.now() > _deadline(deployment, current)


def _deadline(deployment: Object, current: conditions.Condition) -> float:
    return stamp(current.get("lastUpdateTime")) + float(deployment["spec"]["progressDeadlineSeconds"])


def _newest_first(replica_sets: Sequence[Object], newest: Object | None) -> list[Object]:
    return [*([newest] if newest else []), *(each for each in replica_sets if each is not newest)]
