"""Who asks, and for what: the values that authentication hands to authorisation and admission."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from edgek.model.kinds import Kind

ANONYMOUS = "system:anonymous"
AUTHENTICATED_GROUP = "system:authenticated"
UNAUTHENTICATED_GROUP = "system:unauthenticated"
MASTERS_GROUP = "system:masters"


@attrs.frozen
class User:
    """``extra`` holds what the authenticator knows besides, such as the pod a token is bound to."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)


@attrs.frozen
class Attributes:
    """What a request wants, in the words of RBAC. For a path outside the API (``/healthz``) only ``user``, ``verb`` and ``path`` count."""

    user: User
    verb: str
    path: str = ""
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    label_selector: str = ""
    field_selector: str = ""
    kind: Kind | None = None

    @property
    def is_resource(self) -> bool:
        return bool(self.resource)


@attrs.frozen
class Decision:
    """``reason`` says why, in upstream's words, and stands in the 403."""

    allowed: bool
    reason: str = ""
