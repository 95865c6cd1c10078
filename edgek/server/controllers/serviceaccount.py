"""Every namespace has a ServiceAccount ``default``: pods that name none run as it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from edgek.client.reconcile import Cluster, Watch, own_key
from edgek.model import errors, kinds, objects
from edgek.server.controllers import podmaking, views

DEFAULT = "default"


class ServiceAccountController:
    name: ClassVar[str] = "serviceaccount"
    account: ClassVar[str] = "service-account-controller"
    workers: ClassVar[int] = 1

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._namespaces = cluster.informers.of(kinds.NAMESPACE, views.whole)
        self._accounts = cluster.informers.of(kinds.SERVICE_ACCOUNT, views.meta)

    def watches(self) -> Sequence[Watch]:
        return [Watch(self._namespaces, own_key), Watch(self._accounts, _namespace_of_lost)]

    async def reconcile(self, key: str) -> float | None:
        namespace = self._namespaces.get(key)
        if namespace is None or objects.is_deleting(namespace) or self._accounts.get(f"{key}/{DEFAULT}"):
            return None
        try:
            await self._cluster.create(self._accounts, {"metadata": {"name": DEFAULT, "namespace": key}})
        except errors.AlreadyExists:
            return None
        except errors.Forbidden as exc:
            if not podmaking.is_terminating_namespace(exc):
                raise
        return None


def _namespace_of_lost(key: str, old: Any, new: Any) -> Iterable[str]:
    namespace, name = objects.split_key(key)
    if new is None and name == DEFAULT:
        yield namespace
