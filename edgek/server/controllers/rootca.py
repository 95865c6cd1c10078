"""Every namespace has a ConfigMap ``kube-root-ca.crt``: pods trust the API server by it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from edgek.client.reconcile import Cluster, Watch, own_key
from edgek.model import errors, kinds, objects
from edgek.model.objects import Object
from edgek.server.controllers import podmaking, views

NAME = "kube-root-ca.crt"
DESCRIPTION = {
    "kubernetes.io/description": "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
    "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters."
}


def published(obj: Object) -> Object | None:
    """Of all ConfigMaps, only these are kept."""
    return obj if objects.name(obj) == NAME else None


class RootCaController:
    name: ClassVar[str] = "root-ca"
    account: ClassVar[str] = "root-ca-cert-publisher"
    workers: ClassVar[int] = 1

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._wanted = {"ca.crt": cluster.settings.root_ca}
        self._namespaces = cluster.informers.of(kinds.NAMESPACE, views.whole)
        self._maps = cluster.informers.of(kinds.CONFIG_MAP, published)

    def watches(self) -> Sequence[Watch]:
        return [Watch(self._namespaces, own_key), Watch(self._maps, _namespace_of)]

    async def reconcile(self, key: str) -> float | None:
        namespace = self._namespaces.get(key)
        if not self._cluster.settings.root_ca or namespace is None or objects.is_deleting(namespace):
            return None
        seen = self._maps.get(f"{key}/{NAME}")
        try:
            if seen is None:
                meta = {"name": NAME, "namespace": key, "annotations": DESCRIPTION}
                await self._cluster.create(self._maps, {"metadata": meta, "data": self._wanted})
            elif seen.get("data") != self._wanted or not DESCRIPTION.items() <= objects.annotations(seen).items():
                meta = {**seen["metadata"], "annotations": {**objects.annotations(seen), **DESCRIPTION}}
                await self._cluster.update(self._maps, {**seen, "metadata": meta, "data": self._wanted})
        except errors.Forbidden as exc:
            if not podmaking.is_terminating_namespace(exc):
                raise
        return None


def _namespace_of(key: str, old: Any, new: Any) -> Iterable[str]:
    yield objects.split_key(key)[0]
