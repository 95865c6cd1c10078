"""Bootstrap tokens whose time is over are deleted."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import ClassVar

import attrs

from edgek.client.joining import BOOTSTRAP_TYPE, SECRETS_NAMESPACE
from edgek.client.reconcile import Cluster, Watch, own_key
from edgek.host import log, wallclock
from edgek.model import kinds, objects
from edgek.model.objects import Object

LOOK_AGAIN_S = 3600.0  # the calendar clock may jump, and nobody tells


@attrs.frozen
class Ending:
    uid: str
    at: float  # seconds since the epoch; 0 where what it says is no time, and then it is over


def ending(secret: Object) -> Ending | None:
    """Of all Secrets, bootstrap tokens that end."""
    if secret.get("type") != BOOTSTRAP_TYPE or objects.namespace(secret) != SECRETS_NAMESPACE:
        return None
    try:
        text = base64.b64decode((secret.get("data") or {}).get("expiration") or "").decode()
        return Ending(objects.uid(secret), wallclock.parse(text)) if text else None
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return Ending(objects.uid(secret), 0.0)


class TokenCleanerController:
    name: ClassVar[str] = "tokencleaner"
    account: ClassVar[str] = "token-cleaner"
    workers: ClassVar[int] = 1

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._tokens = cluster.informers.of(kinds.SECRET, ending)

    def watches(self) -> Sequence[Watch]:
        return [Watch(self._tokens, own_key)]

    async def reconcile(self, key: str) -> float | None:
        token = self._tokens.get(key)
        if token is None:
            return None
        left_s = token.at - wallclock.now()
        if left_s > 0:
            return min(left_s, LOOK_AGAIN_S)
        if await self._cluster.delete(self._tokens, key, token.uid):
            log.info("a bootstrap token has ended", secret=key)
        return None
