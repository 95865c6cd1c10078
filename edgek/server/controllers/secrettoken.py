"""Secrets of the type ``kubernetes.io/service-account-token`` hold a token of the account that they name, for as long as both are there.

Programs outside the cluster use them. The token is asked of the API and bound to the Secret, so deleting the Secret takes it back.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from edgek.client.reconcile import Cluster, Watch, own_key
from edgek.model import kinds, objects
from edgek.model.objects import Object
from edgek.server.controllers import views
from edgek.server.controllers.views import MetaView

TYPE = "kubernetes.io/service-account-token"
ACCOUNT_NAME = "kubernetes.io/service-account.name"
ACCOUNT_UID = "kubernetes.io/service-account.uid"
LIFETIME_S = 1 << 32  # the longest that the API gives: 136 years


def token_secret(secret: Object) -> Object | None:
    """Of all Secrets, only these are kept."""
    return secret if secret.get("type") == TYPE else None


class SecretTokenController:
    name: ClassVar[str] = "secrettoken"
    account: ClassVar[str] = "secret-token-controller"
    workers: ClassVar[int] = 1

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._secrets = cluster.informers.of(kinds.SECRET, token_secret)
        self._accounts = cluster.informers.of(kinds.SERVICE_ACCOUNT, views.meta)

    def watches(self) -> Sequence[Watch]:
        self._secrets.add_index("account", _account_of)
        return [Watch(self._secrets, own_key), Watch(self._accounts, self._keys_of_account)]

    async def reconcile(self, key: str) -> float | None:
        secret = self._secrets.get(key)
        if secret is None or objects.is_deleting(secret):
            return None
        account = self._accounts.get(next(iter(_account_of(secret)), ""))
        bound_to = objects.annotations(secret).get(ACCOUNT_UID)
        if account is None or (bound_to and bound_to != account.uid):
            if await self._is_orphan(secret):
                await self._cluster.delete(self._secrets, key, objects.uid(secret))
            return None
        wanted = await self._completed(secret, account)
        if wanted != secret:
            await self._cluster.update(self._secrets, wanted)
        return None

    async def _is_orphan(self, secret: Object) -> bool:
        """The cache may lag behind an account that was made together with its Secret: the API knows."""
        account = await self._cluster.client.find(kinds.SERVICE_ACCOUNT, objects.annotations(secret).get(ACCOUNT_NAME, ""), objects.namespace(secret))
        bound_to = objects.annotations(secret).get(ACCOUNT_UID)
        return account is None or (bool(bound_to) and bound_to != objects.uid(account))

    async def _completed(self, secret: Object, account: MetaView) -> Object:
        held = secret.get("data") or {}
        wanted = {**held, "namespace": _encoded(account.namespace)}
        if self._cluster.settings.root_ca:
            wanted["ca.crt"] = _encoded(self._cluster.settings.root_ca)
        if not held.get("token"):
            wanted["token"] = _encoded(await self._token(secret, account))
        annotations = {**objects.annotations(secret), ACCOUNT_UID: account.uid}
        return {**secret, "metadata": {**secret["metadata"], "annotations": annotations}, "data": wanted}

    async def _token(self, secret: Object, account: MetaView) -> str:
        bound = {"kind": "Secret", "apiVersion": "v1", "name": objects.name(secret), "uid": objects.uid(secret)}
        spec = {"expirationSeconds": LIFETIME_S, "boundObjectRef": bound}
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        answer = await self._cluster.client.create(kinds.SERVICE_ACCOUNT, request, account.namespace, name=account.name, subresource="token")
        return str(answer["status"]["token"])

    def _keys_of_account(self, key: str, old: Any, new: Any) -> Iterable[str]:
        return [objects.key(secret) for secret in self._secrets.by_index("account", key)]


def _account_of(secret: Object) -> Iterable[str]:
    name = objects.annotations(secret).get(ACCOUNT_NAME)
    if name:
        yield f"{objects.namespace(secret)}/{name}"


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
