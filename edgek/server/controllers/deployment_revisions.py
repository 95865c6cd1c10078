"""A Deployment's history: which ReplicaSet is the newest, and the annotations in which revisions and sizes are kept. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from edgek.model import objects
from edgek.model.objects import Object
from edgek.server.controllers import rollout

REVISION = "deployment.kubernetes.io/revision"
HISTORY = "deployment.kubernetes.io/revision-history"
HASH = "pod-template-hash"
HISTORY_MOST = 2000  # bytes of the annotation
# What a Deployment's annotations say of the Deployment alone.
NOT_COPIED = frozenset(
    {
        "kubectl.kubernetes.io/last-applied-configuration",
        REVISION,
        HISTORY,
        rollout.DESIRED,
        rollout.MOST,
        "deprecated.deployment.rollback.to",
    }
)


def newest_of(deployment: Object, replica_sets: Iterable[Object]) -> Object | None:
    """The oldest ReplicaSet with the Deployment's present template: rolling back to a former template means an old one is the newest again."""
    template = deployment["spec"]["template"]
    return next((each for each in rollout.by_age(replica_sets) if without_hash(each["spec"]["template"]) == without_hash(template)), None)


def without_hash(template: Object) -> Object:
    meta = template.get("metadata") or {}
    labels = {key: value for key, value in (meta.get("labels") or {}).items() if key != HASH}
    rest = {key: value for key, value in meta.items() if key not in ("labels", "creationTimestamp")}
    return {**template, "metadata": {**rest, "labels": labels}}


def number(obj: Object) -> int:
    """The revision in an object's annotations, 0 for none."""
    text = objects.annotations(obj).get(REVISION, "")
    return int(text) if text.isdecimal() else 0


def next_number(old: Sequence[Object]) -> int:
    return max(map(number, old), default=0) + 1


def annotated(deployment: Object, had: dict[str, str], revision: int, *, exists: bool) -> dict[str, str]:
    """The annotations of the newest ReplicaSet."""
    found = dict(had)
    found.update({key: value for key, value in objects.annotations(deployment).items() if key not in NOT_COPIED})
    before = had.get(REVISION, "")
    if (int(before) if before.isdecimal() else 0) < revision:
        found[REVISION] = str(revision)
        if before:
            found[HISTORY] = _history(had.get(HISTORY, ""), before)
    return found if exists else {**found, **sizes(deployment)}


def sizes(deployment: Object) -> dict[str, str]:
    """The annotations from which proportional scaling reads what was wanted before."""
    total = rollout.wanted_replicas(deployment)
    return {rollout.DESIRED: str(total), rollout.MOST: str(total + rollout.max_surge(deployment))}


def with_hash(selector: dict[str, Any], value: str) -> dict[str, Any]:
    return {**selector, "matchLabels": {**(selector.get("matchLabels") or {}), HASH: value}}


def expendable(deployment: Object, old: Sequence[Object]) -> list[Object]:
    """Old ReplicaSets beyond the history limit that hold no pods any more."""
    limit = deployment["spec"].get("revisionHistoryLimit")
    alive = [each for each in old if not objects.is_deleting(each)]
    if limit is None or len(alive) <= limit:
        return []
    oldest = sorted(alive, key=number)[: len(alive) - limit]
    return [each for each in oldest if _is_empty(each)]


def _is_empty(replica_set: Object) -> bool:
    status = replica_set.get("status") or {}
    settled = (objects.metadata(replica_set).get("generation") or 0) <= (status.get("observedGeneration") or 0)
    return settled and not status.get("replicas") and not rollout.wanted_replicas(replica_set)


def _history(had: str, revision: str) -> str:
    entries = [*filter(None, had.split(",")), revision]
    while len(",".join(entries)) > HISTORY_MOST:
        entries.pop(0)
    return ",".join(entries)
