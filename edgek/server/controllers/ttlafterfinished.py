"""Finished Jobs with ``ttlSecondsAfterFinished`` are deleted once that time is over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from edgek.client.reconcile import Cluster, Watch, own_key
from edgek.host import wallclock
from edgek.model import errors, kinds, objects
from edgek.model.objects import Object
from edgek.server.controllers import views


class TtlAfterFinishedController:
    name: ClassVar[str] = "ttlafterfinished"
    account: ClassVar[str] = "ttl-after-finished-controller"
    workers: ClassVar[int] = 1

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._jobs = cluster.informers.of(kinds.JOB, views.whole)

    def watches(self) -> Sequence[Watch]:
        return [Watch(self._jobs, own_key)]

    async def reconcile(self, key: str) -> float | None:
        job = self._jobs.get(key)
        expires = _expires(job) if job else None
        if job is None or expires is None:
            return None
        if expires > wallclock.now():
            return expires - wallclock.now()
        client = self._cluster.client
        namespace, name = objects.split_key(key)
        fresh = await client.find(kinds.JOB, name, namespace)
        if fresh is None or _expires(fresh) != expires:
            return None  # the cache will show what changed
        try:
            await client.delete(kinds.JOB, name, namespace, uid=objects.uid(fresh), revision=objects.revision(fresh), propagation="Foreground")
        except errors.NotFound:
            return None
        return None


def _expires(job: Object) -> float | None:
    """Seconds since the epoch at which the Job's time is over; None while it runs, or for one that is kept."""
    ttl = job["spec"].get("ttlSecondsAfterFinished")
    ends = [objects.condition(job, type_) for type_ in ("Complete", "Failed") if objects.condition_is(job, type_)]
    if ttl is None or objects.is_deleting(job) or not ends or ends[0] is None:
        return None
    return views.stamp(ends[0].get("lastTransitionTime")) + float(ttl)
