"""The garbage collector: an object whose owners are all gone goes too.

Background: dependents of a deleted owner are deleted. Foreground (finalizer ``foregroundDeletion``): dependents first, then the owner. Orphan
(finalizer ``orphan``): dependents lose their reference, then the owner goes. Everything is driven by changes; what is found is looked at again
in the API, uid and all, before anything is deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import attrs

from edgek.client.reconcile import Cluster, Watch
from edgek.model import errors, objects
from edgek.model.kinds import Kind
from edgek.model.objects import Object
from edgek.server.controllers.everything import Everything
from edgek.server.controllers.views import MetaView, OwnerView

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"


@attrs.frozen
class _Owners:
    """The owner references of one object, by what their owners are."""

    solid: Sequence[dict[str, Any]]
    dangling: Sequence[dict[str, Any]]
    waiting: Sequence[dict[str, Any]]  # being deleted in the foreground: they wait for this object


class GarbageController:
    name: ClassVar[str] = "garbage"
    account: ClassVar[str] = "generic-garbage-collector"
    workers: ClassVar[int] = 10

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._events = cluster.recorder.named("garbage-collector-controller")
        self._everything = Everything(cluster)
        self._keys: dict[str, str] = {}  # uid -> key
        self._dependents: dict[str, set[str]] = {}  # uid of an owner -> keys

    def watches(self) -> Sequence[Watch]:
        return [Watch(self._everything, self._changed)]

    async def reconcile(self, key: str) -> float | None:
        seen = self._everything.get(key)
        if seen is None:
            return None
        if seen.deleting and FOREGROUND in seen.finalizers:
            await self._finish_foreground(key, seen)
        elif seen.deleting and ORPHAN in seen.finalizers:
            await self._orphan_dependents(key, seen)
        elif not seen.deleting and seen.owners and not self._all_there(seen):
            await self._collect(key, seen)
        return None

    # --- the graph ----------------------------------------------------------------------------------------------------------------------

    def _changed(self, key: str, old: MetaView | None, new: MetaView | None) -> Iterable[str]:
        """Keep the graph; the keys whose fate this change may alter."""
        for view in filter(None, (old,)):
            self._keys.pop(view.uid, None)
            for owner in view.owners:
                self._dependents.get(owner.uid, set()).discard(key)
        for view in filter(None, (new,)):
            self._keys[view.uid] = key
            for owner in view.owners:
                self._dependents.setdefault(owner.uid, set()).add(key)
        self._forget_childless(old)
        return self._concerned(key, old, new)

    def _forget_childless(self, old: MetaView | None) -> None:
        for uid in [*(owner.uid for owner in old.owners), old.uid] if old else ():
            if not self._dependents.get(uid):
                self._dependents.pop(uid, None)

    def _concerned(self, key: str, old: MetaView | None, new: MetaView | None) -> Iterable[str]:
        if new is None:
            if old is not None:
                yield from self._dependents_of(old)
                yield from self._present_owners(old)
            return
        if old is not None and old.uid != new.uid:
            yield from self._dependents_of(old)
        if new.owners or new.deleting:
            yield key
        if old is not None and old.owners != new.owners:
            yield from self._present_owners(old)
        if new.deleting and FOREGROUND in new.finalizers and not (old and old.deleting and FOREGROUND in old.finalizers):
            yield from self._dependents_of(new)

    def _dependents_of(self, view: MetaView) -> list[str]:
        return sorted(self._dependents.get(view.uid, ()))

    def _present_owners(self, view: MetaView) -> list[str]:
        return [self._keys[owner.uid] for owner in view.owners if owner.uid in self._keys]

    def _owner_in_graph(self, dependent: MetaView, owner: OwnerView) -> MetaView | None:
        """The owner where it may be one: in the same namespace, or in none."""
        found = self._everything.get(self._keys.get(owner.uid, ""))
        return found if found and found.uid == owner.uid and found.namespace in ("", dependent.namespace) else None

    def _all_there(self, seen: MetaView) -> bool:
        owners = [self._owner_in_graph(seen, owner) for owner in seen.owners]
        return all(owner is not None and not _awaits_dependents(owner) for owner in owners)

    # --- deletion -----------------------------------------------------------------------------------------------------------------------

    async def _collect(self, key: str, seen: MetaView) -> None:
        kind = self._everything.kind_of_key(key)
        live = await self._live(kind, seen)
        if kind is None or live is None or objects.is_deleting(live):
            return
        owners = await self._classify(kind, seen, live)
        if owners is None:
            return
        if owners.solid:
            if owners.dangling or owners.waiting:
                await self._patch(kind, live, {"ownerReferences": list(owners.solid)})
        elif owners.waiting and self._dependents.get(seen.uid):
            await self._break_cycle(kind, live, seen)
            await self._delete(kind, seen, "Foreground")
        elif owners.waiting or owners.dangling:
            held = {ORPHAN: "Orphan", FOREGROUND: "Foreground"}
            policy = next((held[each] for each in (ORPHAN, FOREGROUND) if each in objects.finalizers(live)), "Background")
            await self._delete(kind, seen, policy)

    async def _classify(self, kind: Kind, seen: MetaView, live: Object) -> _Owners | None:
        """None when an owner cannot be judged: then nothing may be deleted."""
        solid, dangling, waiting = [], [], []
        for reference in objects.owners(live):
            owner_kind = self._everything.kind_of(reference.get("apiVersion", ""), reference.get("kind", ""))
            if owner_kind is None:
                return None  # not served, perhaps not yet
            if owner_kind.namespaced and not kind.namespaced:
                self._warn_namespace(kind, live, reference)
                return None
            owner = await self._owner(owner_kind, seen, reference)
            if owner is None:
                dangling.append(reference)
            elif owner == "waiting":
                waiting.append(reference)
            else:
                solid.append(reference)
        return _Owners(solid, dangling, waiting)

    async def _owner(self, kind: Kind, seen: MetaView, reference: dict[str, Any]) -> str | None:
        """``solid``, ``waiting``, or None for an owner that is not there."""
        name, uid = reference.get("name", ""), reference.get("uid", "")
        view = OwnerView(reference.get("apiVersion", ""), kind.name, name, uid, False)
        known = self._owner_in_graph(seen, view)
        if known is not None:
            return "waiting" if _awaits_dependents(known) else "solid"
        live = await self._cluster.client.find(kind, name, seen.namespace if kind.namespaced else "")
        if live is None or objects.uid(live) != uid:
            if uid in self._keys:
                self._warn_namespace(self._everything.kind_of_key(self._keys[uid]) or kind, _reference_to(seen), reference)
            return None
        return "waiting" if objects.is_deleting(live) and FOREGROUND in objects.finalizers(live) else "solid"

    async def _break_cycle(self, kind: Kind, live: Object, seen: MetaView) -> None:
        """A dependent that waits for this object while this object's owner waits for it would wait for ever."""
        waits = any(view is not None and _awaits_dependents(view) for view in map(self._everything.get, self._dependents_of(seen)))
        if waits and any(each.get("blockOwnerDeletion") for each in objects.owners(live)):
            await self._patch(kind, live, {"ownerReferences": [{**each, "blockOwnerDeletion": False} for each in objects.owners(live)]})

    async def _finish_foreground(self, key: str, seen: MetaView) -> None:
        for dependent in map(self._everything.get, self._dependents_of(seen)):
            if dependent is not None and any(owner.uid == seen.uid and owner.blocks for owner in dependent.owners):
                return
        await self._remove_finalizer(key, seen, FOREGROUND)

    async def _orphan_dependents(self, key: str, seen: MetaView) -> None:
        for dependent_key in self._dependents_of(seen):
            dependent, kind = self._everything.get(dependent_key), self._everything.kind_of_key(dependent_key)
            live = await self._live(kind, dependent) if dependent else None
            if kind and live:
                kept = [each for each in objects.owners(live) if each.get("uid") != seen.uid]
                if len(kept) != len(objects.owners(live)):
                    await self._patch(kind, live, {"ownerReferences": kept})
        await self._remove_finalizer(key, seen, ORPHAN)

    async def _remove_finalizer(self, key: str, seen: MetaView, finalizer: str) -> None:
        kind = self._everything.kind_of_key(key)
        live = await self._live(kind, seen)
        if kind and live and finalizer in objects.finalizers(live):
            await self._patch(kind, live, {"finalizers": [each for each in objects.finalizers(live) if each != finalizer]})

    # --- the API ------------------------------------------------------------------------------------------------------------------------

    async def _live(self, kind: Kind | None, seen: MetaView) -> Object | None:
        """The object as the API has it now, if it is still the same one."""
        if kind is None:
            return None
        found = await self._cluster.client.find(kind, seen.name, seen.namespace)
        return found if found and objects.uid(found) == seen.uid else None

    async def _patch(self, kind: Kind, live: Object, metadata: dict[str, Any]) -> None:
        guard = {"uid": objects.uid(live), "resourceVersion": objects.revision(live)}
        try:
            await self._cluster.client.patch(kind, objects.name(live), {"metadata": {**guard, **metadata}}, objects.namespace(live))
        except errors.NotFound:
            return

    async def _delete(self, kind: Kind, seen: MetaView, policy: str) -> None:
        try:
            await self._cluster.client.delete(kind, seen.name, seen.namespace, uid=seen.uid, propagation=policy)
        except errors.NotFound:
            return

    def _warn_namespace(self, kind: Kind, live: Object, reference: dict[str, Any]) -> None:
        message = f"ownerRef [{reference.get('apiVersion')}/{reference.get('kind')}, namespace: {objects.namespace(live)}, " + (
            f"name: {reference.get('name')}, uid: {reference.get('uid')}] does not exist in namespace {objects.namespace(live)!r}"
        )
        self._events.warning(kind, live, "OwnerRefInvalidNamespace", message)


def _awaits_dependents(view: MetaView) -> bool:
    return view.deleting and FOREGROUND in view.finalizers


def _reference_to(seen: MetaView) -> Object:
    return {"metadata": {"name": seen.name, "namespace": seen.namespace, "uid": seen.uid}}
