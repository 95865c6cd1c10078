"""Namespaces that are being deleted: delete what is in them, say what remains, and let them go when nothing does.

Pods go first, and the rest only once they are gone: a pod that still runs keeps the network policies, secrets and claims that it runs under.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import attrs

from edgek.client.reconcile import Cluster, Watch, own_key
from edgek.model import errors, kinds, objects
from edgek.model.kinds import Kind
from edgek.model.objects import Object
from edgek.server.controllers import conditions, statuses, views
from edgek.server.controllers.everything import Everything
from edgek.server.controllers.views import MetaView

FINALIZER = "kubernetes"


@attrs.define
class _Left:
    """What is still there after an attempt to delete everything."""

    instances: Counter[str] = attrs.field(factory=Counter)  # by resource
    finalizers: Counter[str] = attrs.field(factory=Counter)
    failures: list[str] = attrs.field(factory=list)


class NamespaceController:
    name: ClassVar[str] = "namespace"
    account: ClassVar[str] = "namespace-controller"
    workers: ClassVar[int] = 2
    interval_s: ClassVar[float] = 0.05

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._namespaces = cluster.informers.of(kinds.NAMESPACE, views.whole)
        self._everything = Everything(cluster)

    def watches(self) -> Sequence[Watch]:
        return [Watch(self._namespaces, own_key), Watch(self._everything, self._terminating_namespace_of_lost)]

    async def reconcile(self, key: str) -> float | None:
        namespace = self._namespaces.get(key)
        if namespace is None or not objects.is_deleting(namespace) or FINALIZER not in _finalizers(namespace):
            return None
        left = await self._empty(key)
        namespace = await statuses.write(self._cluster, self._namespaces, namespace, _status(namespace, left))
        if left.failures:
            raise errors.ServerError(f"namespace {key} keeps content that could not be deleted: {'; '.join(left.failures)}")
        if not left.instances:
            await self._let_go(namespace)
        return None

    def _terminating_namespace_of_lost(self, key: str, old: MetaView | None, new: MetaView | None) -> Iterable[str]:
        """Something in it is gone, or lost a finalizer: there may be nothing left."""
        view = old or new
        if view is None or not view.namespace or (new is not None and old is None):
            return
        namespace = self._namespaces.get(view.namespace)
        if namespace is not None and objects.is_deleting(namespace):
            yield view.namespace

    async def _empty(self, namespace: str) -> _Left:
        left = _Left()
        await self._try_to_delete_all(kinds.POD, namespace, left)
        if left.instances or left.failures:
            return left
        for kind in [*self._everything.namespaced_kinds(), kinds.EVENT]:
            if kind.storage != kinds.POD.storage:
                await self._try_to_delete_all(kind, namespace, left)
        return left

    async def _try_to_delete_all(self, kind: Kind, namespace: str, left: _Left) -> None:
        try:
            await self._delete_all(kind, namespace, left)
        except (errors.NotFound, errors.MethodNotAllowed):
            return  # its definition went meanwhile
        except errors.ApiError as exc:
            left.failures.append(f"{kind.resource}: {exc}")

    async def _delete_all(self, kind: Kind, namespace: str, left: _Left) -> None:
        client = self._cluster.client
        found = await client.list(kind, namespace)
        if not found.items:
            return
        if not all(map(objects.is_deleting, found.items)):
            if "deletecollection" in kind.verbs:
                await client.delete_all(kind, namespace)
            else:
                for each in found.items:
                    await client.delete(kind, objects.name(each), namespace, uid=objects.uid(each))
            found = await client.list(kind, namespace)
        for each in found.items:
            left.instances[kind.resource if kind.group else f"{kind.plural}."] += 1
            left.finalizers.update(objects.finalizers(each))

    async def _let_go(self, namespace: Object) -> None:
        spec = {**namespace["spec"], "finalizers": [each for each in _finalizers(namespace) if each != FINALIZER]}
        try:
            await self._cluster.client.update(kinds.NAMESPACE, {**namespace, "spec": spec}, "finalize")
        except errors.NotFound:
            return


def _finalizers(namespace: Object) -> list[str]:
    return (namespace.get("spec") or {}).get("finalizers") or []


def _status(namespace: Object, left: _Left) -> dict[str, Any]:
    """Upstream's five conditions. They are all False for content that went without trouble."""
    verdicts = [
        ("NamespaceDeletionDiscoveryFailure", "False", "ResourcesDiscovered", "All resources successfully discovered"),
        ("NamespaceDeletionGroupVersionParsingFailure", "False", "ParsedGroupVersions", "All legacy kube types successfully parsed"),
        ("NamespaceDeletionContentFailure", "False", "ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
        ("NamespaceContentRemaining", "False", "ContentRemoved", "All content successfully removed"),
        ("NamespaceFinalizersRemaining", "False", "ContentHasNoFinalizers", "All content-preserving finalizers finished"),
    ]
    if left.failures:
        message = f"Failed to delete all resource types, {len(left.failures)} remaining: {'; '.join(left.failures)}"
        verdicts[2] = ("NamespaceDeletionContentFailure", "True", "ContentDeletionFailed", message)
    if left.instances:
        rest = ", ".join(f"{resource} has {count} resource instances" for resource, count in sorted(left.instances.items()))
        verdicts[3] = ("NamespaceContentRemaining", "True", "SomeResourcesRemain", f"Some resources are remaining: {rest}")
    if left.finalizers:
        rest = ", ".join(f"{finalizer} in {count} resource instances" for finalizer, count in sorted(left.finalizers.items()))
        message = f"Some content in the namespace has finalizers remaining: {rest}"
        verdicts[4] = ("NamespaceFinalizersRemaining", "True", "SomeFinalizersRemain", message)
    status = namespace.get("status") or {}
    found = status.get("conditions")
    for type_, state, reason, message in verdicts:
        found = conditions.put_in_place(found, conditions.new(type_, state, reason, message))
    return {**status, "conditions": found}
