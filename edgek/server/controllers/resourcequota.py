"""ResourceQuotas: counts what is used of them, whenever something in their namespace comes or goes.

Admission raises what is used at once, write by write; here it is counted anew from what is there, so it also falls again. What was just charged may
be on its way into the store: nothing falls until a second has passed without a charge.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

import trio

from edgek.client.reconcile import Cluster, Watch, own_key
from edgek.model import kinds, objects, quantity, quota
from edgek.model.objects import Object
from edgek.model.quantity import ZERO
from edgek.server.controllers import views
from edgek.server.controllers.everything import Everything
from edgek.server.controllers.views import MetaView, PodView

SETTLED_S = 1.0
RECOUNT_S = 300.0  # what changes without coming or going (a Service's type) is seen by then, as upstream


class ResourceQuotaController:
    name: ClassVar[str] = "resourcequota"
    account: ClassVar[str] = "resourcequota-controller"
    workers: ClassVar[int] = 1

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._quotas = cluster.informers.of(kinds.RESOURCE_QUOTA, views.whole)
        self._pods = cluster.informers.of(kinds.POD, views.pod)
        self._everything = Everything(cluster)
        self._seen: dict[str, tuple[str, float]] = {}  # the quota's revision, and since when it is known here

    def watches(self) -> Sequence[Watch]:
        self._quotas.add_index("namespace", _namespace)
        return [Watch(self._quotas, own_key), Watch(self._pods, self._keys_of_pod), Watch(self._everything, self._keys_of_any)]

    async def reconcile(self, key: str) -> float | None:
        found = self._quotas.get(key)
        if found is None:
            self._seen.pop(key, None)
            return None
        namespace = objects.namespace(found)
        hard = dict((found.get("spec") or {}).get("hard") or {})
        status = {"hard": hard, "used": await self._used(found, hard, namespace)}
        if _lowered(found, status) and (charged_s := self._unchanged_s(key, found)) < SETTLED_S:
            return SETTLED_S - charged_s
        if (found.get("status") or {}) != status:
            await self._cluster.update(self._quotas, {**found, "status": status}, "status")
        return RECOUNT_S

    def _unchanged_s(self, key: str, found: Object) -> float:
        revision, since = self._seen.get(key, ("", 0.0))
        if revision != objects.revision(found):
            since = trio.current_time()
            self._seen[key] = (objects.revision(found), since)
        return trio.current_time() - since

    async def _used(self, found: Object, hard: dict[str, str], namespace: str) -> dict[str, str]:
        tracked = quota.tracked(found, hard)
        counted = {name: kind for name in tracked if (kind := quota.counted_kind(name)) is not None}
        used: quota.Usage = {}
        for kind in dict.fromkeys(counted.values()):
            for obj in (await self._cluster.client.list(kind, namespace)).items:
                if quota.applies(found, kind, obj):
                    used = quota.total([used, quota.usage(kind, obj)])
        return {name: str(used.get(name, ZERO)) for name in tracked}

    def _keys_of_pod(self, key: str, old: PodView | None, new: PodView | None) -> Iterable[str]:
        if old is None or new is None or old.finished != new.finished:
            yield from self._quotas_in(objects.split_key(key)[0])

    def _keys_of_any(self, key: str, old: MetaView | None, new: MetaView | None) -> Iterable[str]:
        if old is None or new is None:
            yield from self._quotas_in(objects.split_key(key.partition("|")[2])[0])

    def _quotas_in(self, namespace: str) -> list[str]:
        return [objects.key(each) for each in self._quotas.by_index("namespace", namespace)] if namespace else []


def _lowered(found: Object, status: Object) -> bool:
    before = (found.get("status") or {}).get("used") or {}
    return any(quantity.parse(amount) < quantity.parse(before.get(name, "0")) for name, amount in status["used"].items())


def _namespace(found: Object) -> Iterable[str]:
    yield objects.namespace(found)
