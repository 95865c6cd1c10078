"""Who is asking? Client certificates, bearer tokens, and a front proxy that speaks for others; then whom they ask to be taken for.

TLS has verified the certificate's chain before; here it only says who it is, and which authority vouches for it. Basic authentication is not
known here, as upstream: such a request is anonymous.
"""

from __future__ import annotations

import base64
import binascii
import csv
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

from edgek.host import der
from edgek.model.credentials import split_pem
from edgek.model.errors import Unauthorized, UsageError
from edgek.server.api.bootstrap_tokens import BootstrapTokens
from edgek.server.api.identity import ANONYMOUS, AUTHENTICATED_GROUP, UNAUTHENTICATED_GROUP, User
from edgek.server.api.node_access import node_name
from edgek.server.api.node_records import NodeRecords
from edgek.server.api.quoting import quoted_list
from edgek.server.api.tokens import EXTRA, BadToken, ServiceAccountTokens

REMEMBERED = 1024  # certificates. Each connection shows its own again with every request
FRONT_PROXY_NAMES = ("system:front-proxy",)
REMOTE_USER, REMOTE_UID, REMOTE_GROUP, REMOTE_EXTRA = "x-remote-user", "x-remote-uid", "x-remote-group", "x-remote-extra-"
WEBSOCKET_TOKEN = "base64url.bearer.authorization.k8s.io."

UNAUTHORIZED = "Unauthorized"
INVALID_TOKEN = "invalid bearer token"


@attrs.frozen
class Authenticated:
    """``audiences`` are those of the asked ones for which the credential is good."""

    user: User
    audiences: tuple[str, ...]


class Authenticator:
    """``client_ca`` and ``front_proxy_ca`` are PEM certificates, one or more; without them certificates tell nothing."""

    def __init__(
        self,
        *,
        tokens: ServiceAccountTokens,
        static_tokens: Mapping[str, User] | None = None,
        client_ca: bytes = b"",
        front_proxy_ca: bytes = b"",
        anonymous: bool = False,
        bootstrap: BootstrapTokens | None = None,
        records: NodeRecords | None = None,
    ) -> None:
        self._tokens = tokens
        self._static = static_tokens or {}
        self._client_cas, self._front_proxy_cas = _subjects(client_ca), _subjects(front_proxy_ca)
        self._anonymous = User(ANONYMOUS, groups=(UNAUTHENTICATED_GROUP,)) if anonymous else None
        self._bootstrap = bootstrap
        self._records = records
        self._certificates: dict[bytes, tuple[bytes, User, str]] = {}

    def trust(self, client_ca: bytes, front_proxy_ca: bytes) -> None:
        """These vouch from now on, and no others."""
        self._client_cas, self._front_proxy_cas = _subjects(client_ca), _subjects(front_proxy_ca)

    def authenticate(self, headers: Mapping[str, str], peer_certificate: bytes | None = None) -> User | None:
        """None without credentials where anonymous requests are not let in. Raises Unauthorized for bad credentials. Never waits."""
        if peer_certificate is not None:
            user = self._by_certificate(headers, peer_certificate)
            if user is not None:
                return user
        token = _bearer(headers)
        if token:
            try:
                return self.authenticate_token(token, self._tokens.audiences).user
            except Unauthorized as error:
                raise Unauthorized(UNAUTHORIZED) from error
        return self._anonymous

    def authenticate_token(self, token: str, audiences: Sequence[str]) -> Authenticated:
        """Raises Unauthorized that says what is wrong: for TokenReview, while the bearer himself is not told."""
        audiences = tuple(audiences) or self._tokens.audiences
        static = self._static.get(token)
        if static is not None:
            user, good_for = static, self._tokens.audiences
        elif self._bootstrap is not None and (found := self._bootstrap.user(token)) is not None:
            user, good_for = found, self._tokens.audiences
        elif token.count(".") != 2:
            raise Unauthorized(INVALID_TOKEN)
        else:
            try:
                known = self._tokens.verify(token)
            except BadToken as error:
                raise Unauthorized(f"[{INVALID_TOKEN}, {error}]") from error
            user, good_for = known.user, known.audiences
        both = tuple(audience for audience in audiences if audience in good_for)
        if not both:
            wrong = f"token audiences {quoted_list(good_for)} is invalid for the target audiences {quoted_list(audiences)}"
            raise Unauthorized(INVALID_TOKEN if static else f"[{INVALID_TOKEN}, {wrong}]")
        return Authenticated(with_group(user, AUTHENTICATED_GROUP), both)

    def _by_certificate(self, headers: Mapping[str, str], certificate: bytes) -> User | None:
        found = self._certificates.get(certificate)
        if found is None:
            if len(self._certificates) >= REMEMBERED:
                self._certificates.clear()
            found = self._certificates[certificate] = _certified(certificate)
        issuer, user, record = found
        if issuer in self._client_cas and user.name:
            if record and self._records is not None and (node := node_name(user)):
                self._records.check(node, record)
            return user
        if issuer in self._front_proxy_cas and user.name in FRONT_PROXY_NAMES:
            return _spoken_for(headers)
        return None


def read_token_file(path: Path) -> dict[str, User]:
    """Static tokens: a line each of ``token,user,uid,"group,group"``. Raises UsageError."""
    try:
        with path.open(newline="") as lines:
            rows = list(csv.reader(lines))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--token-auth-file {path} cannot be read: {getattr(error, 'strerror', error)}; mend it, or leave the flag out") from error
    found: dict[str, User] = {}
    for number, row in enumerate(rows, 1):
        if not row:
            continue
        if len(row) < 3 or not row[0]:
            raise UsageError(f'{path}, line {number}: a line must be token,user,uid and perhaps "group,group"')
        groups = tuple(group.strip() for group in row[3].split(",") if group.strip()) if len(row) > 3 else ()
        found[row[0]] = with_group(User(row[1], row[2], groups), AUTHENTICATED_GROUP)
    return found


def with_group(user: User, group: str) -> User:
    return user if group in user.groups else attrs.evolve(user, groups=(*user.groups, group))


def values(headers: Mapping[str, str], name: str) -> tuple[str, ...]:
    """All values of a header; repeated ones come joined by line breaks."""
    text = headers.get(name)
    return tuple(text.split("\n")) if text else ()


def extras(headers: Mapping[str, str], prefix: str) -> dict[str, tuple[str, ...]]:
    """What headers that begin with ``prefix`` say, by what follows it (percent-encoded)."""
    from urllib.parse import unquote

    return {unquote(name.removeprefix(prefix)).lower(): values(headers, name) for name in headers if name.startswith(prefix)}


def _subjects(pem: bytes) -> frozenset[bytes]:
    return frozenset(der.read(der.from_pem(each)).subject for each in split_pem(pem))


def _certified(certificate: bytes) -> tuple[bytes, User, str]:
    """The issuer, whom the certificate names, and what vouches for it."""
    try:
        read = der.read(certificate)
    except ValueError as error:
        raise Unauthorized(UNAUTHORIZED) from error
    identifier = f"X509SHA256={hashlib.sha256(certificate).hexdigest()}"
    user = User(read.common_name, groups=read.organizations, extra={f"{EXTRA}credential-id": (identifier,)})
    return read.issuer, with_group(user, AUTHENTICATED_GROUP), read.unit


def _spoken_for(headers: Mapping[str, str]) -> User | None:
    """Whom the front proxy says is asking."""
    name = headers.get(REMOTE_USER, "")
    if not name:
        return None
    user = User(name, headers.get(REMOTE_UID, ""), values(headers, REMOTE_GROUP), extras(headers, REMOTE_EXTRA))
    return with_group(user, AUTHENTICATED_GROUP)


def _bearer(headers: Mapping[str, str]) -> str:
    scheme, _, token = headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    for protocol in headers.get("sec-websocket-protocol", "").replace("\n", ",").split(","):
        if protocol.strip().startswith(WEBSOCKET_TOKEN):
            encoded = protocol.strip().removeprefix(WEBSOCKET_TOKEN)
            try:
                return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
            except (binascii.Error, UnicodeDecodeError) as error:
                raise Unauthorized(UNAUTHORIZED) from error
    return ""
