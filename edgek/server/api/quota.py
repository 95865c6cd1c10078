"""Charge a write to the quotas of its namespace, before it is stored: upstream's ResourceQuota admission.

A quota counts once the controller has written its limits into ``status.hard``. What is used is raised here, at once and by compare-and-swap, so
that two writes cannot both take the last place; it is lowered by the controller, which counts anew what is there. So is what was charged for a
write that failed afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgek.model import errors, kinds, quantity, quota
from edgek.model.kinds import Kind
from edgek.model.objects import Object
from edgek.model.quantity import ZERO
from edgek.model.quota import Usage
from edgek.server.api.admission.base import Review, refused
from edgek.server.api.storage import Objects
from edgek.server.store.backend import Record

TRIES = 10  # others charge the same quota meanwhile
UPDATES = (kinds.PERSISTENT_VOLUME_CLAIM, kinds.POD, kinds.SERVICE)  # whose updates may take more


async def charge(store: Objects, review: Review) -> None:
    """Raises Forbidden when a quota does not allow it; nothing is charged then to the quota that refuses. A dry run is held to it and not charged."""
    if not _counts(review) or (review.operation == "CREATE" and store.record(review.kind, review.namespace, review.name)):
        return
    for record in store.backend.list(kinds.RESOURCE_QUOTA.storage, review.namespace).records:
        await _charge(store, review, record)


def _counts(review: Review) -> bool:
    if not review.namespace or review.obj is None:
        return False
    if review.operation == "CREATE":
        return not review.subresource
    return review.operation == "UPDATE" and review.kind in UPDATES and review.subresource in ("", "resize")


async def _charge(store: Objects, review: Review, record: Record | None) -> None:
    for _ in range(TRIES):
        if record is None:
            return  # the quota went meanwhile
        found = store.load(kinds.RESOURCE_QUOTA, record)
        used = _raised(review, found)
        if used is None or review.dry_run:
            return
        found["status"]["used"] = {**found["status"].get("used", {}), **{name: str(amount) for name, amount in used.items()}}
        try:
            await store.backend.update(record.key, store.draft(kinds.RESOURCE_QUOTA, found), expected=record.revision)
        except (errors.Conflict, errors.NotFound):
            record = store.backend.get(record.key)
        else:
            return
    raise errors.Conflict(f"the quota {record.key.name if record else ''} is written to by too many at once; try again")


def _raised(review: Review, found: Object) -> Usage | None:
    """What a quota's use grows to; None where it does not. Raises Forbidden."""
    assert review.obj is not None
    status = found.get("status") or {}
    if not quota.applies(found, review.kind, review.obj):
        return None
    hard = quota.tracked(found, status.get("hard") or {})
    added = {name: amount for name, amount in _growth(review.kind, review.obj, review.old).items() if name in hard}
    name = (found.get("metadata") or {}).get("name", "")
    if review.kind == kinds.POD and review.operation == "CREATE":
        _check_specified(review, name, hard)
    if not added:
        return None
    kept = status.get("used") or {}
    unknown = sorted(resource for resource in added if resource not in kept)
    if unknown:
        raise refused(review, f"status unknown for quota: {name}, resources: {','.join(unknown)}")
    used = {resource: quantity.parse(kept[resource]) for resource in added}
    raised = {resource: used[resource] + amount for resource, amount in added.items()}
    over = sorted(resource for resource, amount in raised.items() if amount > hard[resource])
    if over:
        told = (f"{word}: {_shown(over, amounts)}" for word, amounts in (("requested", added), ("used", used), ("limited", hard)))
        raise refused(review, f"exceeded quota: {name}, {', '.join(told)}")
    return raised


def _growth(kind: Kind, obj: Object, old: Object | None) -> Usage:
    before = quota.usage(kind, old) if old else {}
    grown = {name: amount - before.get(name, ZERO) for name, amount in quota.usage(kind, obj).items()}
    return {name: amount for name, amount in grown.items() if amount > ZERO}


def _check_specified(review: Review, name: str, hard: Mapping[str, object]) -> None:
    lacking = quota.unspecified(hard, review.obj or {})
    if lacking:
        by_resources: dict[str, list[str]] = {}
        for container, resources in lacking.items():
            by_resources.setdefault(",".join(resources), []).append(container)
        told = "; ".join(f"{resources} for: {','.join(containers)}" for resources, containers in by_resources.items())
        raise refused(review, f"failed quota: {name}: must specify {told}")


def _shown(names: Sequence[str], amounts: Usage) -> str:
    return ",".join(f"{name}={amounts[name]}" for name in names)
