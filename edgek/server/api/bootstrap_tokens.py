"""Bootstrap tokens as bearer tokens of the API: ``ID.SECRET`` is the user ``system:bootstrap:ID`` while its Secret says so.

See https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/. What such a user may do is for RBAC to say; a node joins by another
door (``joining.py``), which takes the same tokens.
"""

from __future__ import annotations

import re

import orjson

from edgek.client.joining import BOOTSTRAP_PREFIX, SECRETS_NAMESPACE
from edgek.model import kinds
from edgek.model.credentials import BOOTSTRAP
from edgek.model.objects import Object
from edgek.server.api.identity import User
from edgek.server.api.join_tokens import bootstrap_problem, value
from edgek.server.store.backend import Backend, Key

USER_PREFIX = "system:bootstrap:"
GROUP = "system:bootstrappers"
_EXTRA_GROUP = re.compile(r"system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]")


class BootstrapTokens:
    """Reads the Secret of a token from memory at every question, so that one that is deleted counts no more."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def user(self, token: str) -> User | None:
        """Whom the token names; None for one that is none, or that lets nobody in (any more)."""
        if not BOOTSTRAP.fullmatch(token):
            return None
        name = token.partition(".")[0]
        record = self._backend.get(Key(kinds.SECRET.storage, SECRETS_NAMESPACE, f"{BOOTSTRAP_PREFIX}{name}"))
        secret = orjson.loads(record.body) if record else None
        if secret is None or bootstrap_problem(token, secret):
            return None
        groups = _groups(secret)
        return User(f"{USER_PREFIX}{name}", groups=groups) if groups else None


def _groups(secret: Object) -> tuple[str, ...]:
    """Empty where it names a group that a token must not name."""
    extra = sorted({group for group in value(secret, "auth-extra-groups").split(",") if group})
    return (GROUP, *extra) if all(_EXTRA_GROUP.fullmatch(group) for group in extra) else ()
