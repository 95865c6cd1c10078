"""Which tokens let a node in: the server's, the agents' own where there is one, and bootstrap tokens, which end.

A bootstrap token is a Secret of the type ``bootstrap.kubernetes.io/token`` in ``kube-system``, as kubeadm has it. The other two are files, read at
every question, so that a new one counts at once.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Sequence
from pathlib import Path

from edgek.client.client import Client
from edgek.client.joining import BOOTSTRAP_PREFIX, BOOTSTRAP_TYPE, SECRETS_NAMESPACE
from edgek.host import wallclock
from edgek.model import kinds, objects
from edgek.model.credentials import BOOTSTRAP, JoinToken
from edgek.model.errors import Unauthorized
from edgek.model.objects import Object

UNKNOWN = "there is no such bootstrap token (any more); `edgek token create` on the server makes one"


class JoinTokens:
    """``files`` hold a token each; one that is not there lets nobody in."""

    def __init__(self, files: Sequence[Path], client: Client) -> None:
        self._files = files
        self._client = client

    async def check(self, secret: str) -> None:
        """Raises Unauthorized that says what to do."""
        if any(_same(secret, kept) for kept in map(_kept, self._files) if kept):
            return
        if not BOOTSTRAP.fullmatch(secret):
            raise Unauthorized("the token is not this cluster's; `edgek token` on the server prints the one that is")
        found = await self._client.find(kinds.SECRET, f"{BOOTSTRAP_PREFIX}{secret.partition('.')[0]}", SECRETS_NAMESPACE)
        problem = bootstrap_problem(secret, found)
        if problem:
            raise Unauthorized(problem)


def bootstrap_problem(token: str, found: Object | None) -> str:
    """Why the Secret of a bootstrap token lets nobody in, and the way out; empty where it does."""
    if found is None or found.get("type") != BOOTSTRAP_TYPE or objects.is_deleting(found):
        return UNKNOWN
    if not _same(token, f"{value(found, 'token-id')}.{value(found, 'token-secret')}"):
        return UNKNOWN
    if value(found, "usage-bootstrap-authentication") != "true":
        return "this bootstrap token is not for joining; `edgek token create` on the server makes one that is"
    if _has_expired(found):
        return f"the token expired at {value(found, 'expiration')}; `edgek token create` on the server makes another"
    return ""


def value(secret: Object, key: str) -> str:
    """One text of a Secret; empty where it has none."""
    try:
        return base64.b64decode((secret.get("data") or {}).get(key) or "").decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _has_expired(secret: Object) -> bool:
    """A time that cannot be read has passed."""
    expiration = value(secret, "expiration")
    try:
        return bool(expiration) and wallclock.parse(expiration) <= wallclock.now()
    except ValueError:
        return True


def _kept(file: Path) -> str:
    try:
        text = file.read_text().strip()
    except FileNotFoundError:
        return ""
    return JoinToken.parse(text).secret if text else ""


def _same(given: str, kept: str) -> bool:
    return hmac.compare_digest(given.encode(), kept.encode())
