"""ControllerRevisions: the templates that a DaemonSet or StatefulSet had, numbered, so that it can be rolled back."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import attrs
import orjson

from edgek.client.informer import Informer
from edgek.client.reconcile import Cluster
from edgek.model import errors, kinds, objects
from edgek.model.kinds import Kind
from edgek.model.objects import Object
from edgek.server.controllers import owning, podmaking, views

HASH = "controller-revision-hash"
NOT_COPIED = frozenset({"kubectl.kubernetes.io/last-applied-configuration", "deprecated.daemonset.template.generation"})


def cache(cluster: Cluster) -> Informer[Object]:
    informer = cluster.informers.of(kinds.CONTROLLER_REVISION, views.whole)
    informer.add_index("controller", owning.controller_index)
    return informer


def data_of(owner: Object) -> Object:
    """What a revision holds: a patch that puts the owner's template back.

    Its keys are in order: clients find the present revision by comparing bytes (``kubectl rollout undo`` skips what is there already).
    """
    ordered: Object = orjson.loads(orjson.dumps(owner["spec"]["template"] | {"$patch": "replace"}, option=orjson.OPT_SORT_KEYS))
    return {"spec": {"template": ordered}}


def hash_in(revision: Object) -> str:
    return objects.labels(revision).get(HASH, "")


@attrs.frozen
class History:
    cluster: Cluster
    informer: Informer[Object]
    kind: Kind
    owner: Object

    async def all(self) -> list[Object]:
        """The owner's revisions, the oldest first; those without an owner that match are adopted."""
        claim = owning.Claim(self.cluster, self.informer, self.kind, self.owner, owning.selector_of(self.owner))
        mine = self.informer.by_index("controller", objects.uid(self.owner))
        orphans = self.informer.by_index("controller", f"orphan/{objects.namespace(self.owner)}")
        return sorted(await claim.of([*mine, *orphans], owning.of_object), key=_number)

    async def current(self, revisions: Sequence[Object], collisions: int) -> Object:
        """The revision of the present template: made where there is none, and numbered last.

        Raises Conflict when its name is taken by another template: count the collision and try again.
        """
        data = data_of(self.owner)
        newest = max(map(_number, revisions), default=0)
        same = [each for each in revisions if _equal(each.get("data"), data)]
        if not same:
            return await self._make(data, newest + 1, collisions)
        current = same[-1]
        if _number(current) < newest:
            current = await self.cluster.update(self.informer, {**current, "revision": newest + 1})
        return current

    async def forget(self, revisions: Sequence[Object], keep: Collection[str]) -> None:
        """Delete the oldest beyond ``revisionHistoryLimit`` whose hash is not in ``keep``."""
        limit = self.owner["spec"].get("revisionHistoryLimit", 10)
        spare = [each for each in revisions if hash_in(each) not in keep]
        for each in spare[: max(0, len(spare) - limit)]:
            await self.cluster.delete(self.informer, objects.key(each), objects.uid(each))

    async def _make(self, data: Object, number: int, collisions: int) -> Object:
        value = podmaking.hash_of(data, collisions)
        name = f"{objects.name(self.owner)}-{value}"
        labels = (self.owner["spec"]["template"].get("metadata") or {}).get("labels") or {}
        annotations = {key: value for key, value in objects.annotations(self.owner).items() if key not in NOT_COPIED}
        meta: dict[str, Any] = {
            "name": name,
            "namespace": objects.namespace(self.owner),
            "labels": {**labels, HASH: value},
            "ownerReferences": [objects.controller_reference(self.owner, self.kind.api_version, self.kind.name)],
            **({"annotations": annotations} if annotations else {}),
        }
        made = {"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": meta, "data": data, "revision": number}
        try:
            return await self.cluster.create(self.informer, made)
        except errors.AlreadyExists:
            found = await self.cluster.client.get(kinds.CONTROLLER_REVISION, name, objects.namespace(self.owner))
            if not _equal(found.get("data"), data):
                raise errors.Conflict(f"controller revision {name!r} belongs to another template") from None
            return found


def _number(revision: Object) -> int:
    return int(revision.get("revision") or 0)


def _equal(data: Any, other: Any) -> bool:
    return orjson.dumps(data, option=orjson.OPT_SORT_KEYS) == orjson.dumps(other, option=orjson.OPT_SORT_KEYS)
