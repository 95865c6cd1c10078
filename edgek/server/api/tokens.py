"""Service account tokens: JSON Web Tokens (ES256) that we sign, and know again.

A token is good while it has not expired and everything it is bound to is still there: the account, and the pod, secret or node. Its signature is
verified once and then remembered by the token's hash; that its objects are there is looked up every time.

``nbf`` is written but not held against the clock: only we sign, and a board that boots in 1970 must know the tokens that its pods still hold.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import orjson

from edgek.host import pki, signature
from edgek.model import kinds
from edgek.server.api.identity import User
from edgek.server.store.backend import Backend, Key

SERVICE_ACCOUNT_PREFIX = "system:serviceaccount:"
SERVICE_ACCOUNTS_GROUP = "system:serviceaccounts"
EXTRA = "authentication.kubernetes.io/"
REMEMBERED = 4096  # verified tokens, oldest out first: 0.5 KB each

Claims = dict[str, Any]


class BadToken(Exception):
    """It is none of ours, has expired, or its account is gone. The text says which."""


@attrs.frozen
class Bound:
    """An object that must be there, and be the same one, for a token to be good."""

    key: Key
    uid: str


@attrs.frozen
class Known:
    """A token that was verified."""

    user: User
    audiences: tuple[str, ...]
    expires: float
    bound: tuple[Bound, ...]


class ServiceAccountTokens:
    """``issuer`` and ``audiences`` are the API server's own; a token for other audiences is good for others only.

    ``former_keys`` are public keys (PEM) of before: what they signed is good until it ends.
    """

    def __init__(self, backend: Backend, key_pem: bytes, *, issuer: str, audiences: Sequence[str] = (), former_keys: bytes = b"") -> None:
        self._backend = backend
        self._key_pem, self._former_pem = key_pem, former_keys
        self._keys: list[signature.VerifyingKey] | None = None
        self._key: signature.SigningKey | None = None
        self._known: dict[bytes, Known] = {}
        self.issuer = issuer
        self.audiences = tuple(audiences) or (issuer,)

    def renew(self, key_pem: bytes, former_keys: bytes) -> None:
        """Sign by another key from now on, and know tokens by that one and these."""
        if (key_pem, former_keys) != (self._key_pem, self._former_pem):
            self._key_pem, self._former_pem = key_pem, former_keys
            self._key, self._keys = None, None
            self._known.clear()

    def issue(self, namespace: str, name: str, uid: str, audiences: Sequence[str], lifetime_s: float, bound: Mapping[str, Any]) -> str:
        """A new token of an account. ``bound`` holds what else stands in the ``kubernetes.io`` claim: pod, secret, node, warnafter."""
        now = int(pki.sane_now())
        claims: Claims = {
            "aud": list(audiences),
            "exp": now + int(lifetime_s),
            "iat": now,
            "iss": self.issuer,
            "jti": str(uuid.uuid4()),
            "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": name, "uid": uid}, **bound},
            "nbf": now,
            "sub": f"{SERVICE_ACCOUNT_PREFIX}{namespace}:{name}",
        }
        header = {"alg": "ES256", "kid": self.key.key_id}
        text = signature.base64url(orjson.dumps(header)) + b"." + signature.base64url(orjson.dumps(claims))
        return (text + b"." + signature.base64url(self.key.sign(text))).decode()

    def verify(self, token: str) -> Known:
        """Raises BadToken. Whether it is meant for whom it was shown to is the caller's question."""
        digest = hashlib.sha256(token.encode()).digest()
        known = self._known.get(digest)
        if known is None:
            known = self._verified(token)
            if len(self._known) >= REMEMBERED:
                del self._known[next(iter(self._known))]
            self._known[digest] = known
        if pki.sane_now() >= known.expires:
            raise BadToken("service account token has expired")
        for bound in known.bound:
            record = self._backend.get(bound.key)
            if record is None or record.uid != bound.uid:
                raise BadToken("service account token has been invalidated")
        return known

    @property
    def key(self) -> signature.SigningKey:
        if self._key is None:
            self._key = signature.SigningKey(self._key_pem)
        return self._key

    @property
    def keys(self) -> list[signature.VerifyingKey]:
        """By which tokens are known, the one that signs first."""
        if self._keys is None:
            self._keys = [self.key, *signature.verifying_keys(self._former_pem)]
        return self._keys

    def configuration(self, jwks_uri: str) -> Claims:
        """The OpenID Connect discovery document."""
        return {
            "issuer": self.issuer,
            "jwks_uri": jwks_uri,
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        }

    def jwks(self) -> Claims:
        """The public keys, by which others can verify our tokens."""
        return {"keys": [key.jwk() for key in self.keys]}

    def _verified(self, token: str) -> Known:
        claims = self._claims(token)
        if claims.get("iss") != self.issuer:
            raise BadToken("the token is of another issuer")
        try:
            return _known(claims)
        except (KeyError, TypeError, ValueError) as error:
            raise BadToken("the token lacks a claim of service accounts") from error

    def _claims(self, token: str) -> Claims:
        text, _, signed = token.encode().rpartition(b".")
        head, _, body = text.partition(b".")
        try:
            header, sealed = orjson.loads(signature.from_base64url(head)), signature.from_base64url(signed)
            claims = orjson.loads(signature.from_base64url(body))
        except ValueError as error:
            raise BadToken("this is no JSON Web Token") from error
        is_token = isinstance(header, dict) and isinstance(claims, dict) and header.get("alg") == "ES256"
        if not is_token or not any(key.verifies(text, sealed) for key in self.keys):
            raise BadToken("invalid signature")
        found: Claims = claims
        return found


def user_of(namespace: str, name: str, uid: str = "", extra: Mapping[str, tuple[str, ...]] | None = None) -> User:
    """The user that a service account is."""
    groups = (SERVICE_ACCOUNTS_GROUP, f"{SERVICE_ACCOUNTS_GROUP}:{namespace}")
    return User(f"{SERVICE_ACCOUNT_PREFIX}{namespace}:{name}", uid, groups, extra or {})


def split_user(name: str) -> tuple[str, str] | None:
    """The namespace and name of a service account's user name."""
    if not name.startswith(SERVICE_ACCOUNT_PREFIX):
        return None
    namespace, _, account = name.removeprefix(SERVICE_ACCOUNT_PREFIX).partition(":")
    return (namespace, account) if namespace and account and ":" not in account else None


def _known(claims: Claims) -> Known:
    private = claims["kubernetes.io"]
    namespace, account = private["namespace"], private["serviceaccount"]
    bound = [Bound(Key(kinds.SERVICE_ACCOUNT.storage, namespace, account["name"]), account["uid"])]
    extra = {f"{EXTRA}credential-id": (f"JTI={claims['jti']}",)}
    for member, kind in (("pod", kinds.POD), ("secret", kinds.SECRET), ("node", kinds.NODE)):
        reference = private.get(member)
        if not reference:
            continue
        # A pod's token names the pod's node for information; only a token bound to the node itself ends with it.
        if not (member == "node" and private.get("pod")):
            bound.append(Bound(Key(kind.storage, namespace if kind.namespaced else "", reference["name"]), reference["uid"]))
        if member != "secret":
            extra[f"{EXTRA}{member}-name"] = (reference["name"],)
            extra[f"{EXTRA}{member}-uid"] = (reference["uid"],)
    user = user_of(namespace, account["name"], account["uid"], extra)
    audiences = claims["aud"]
    return Known(user, (audiences,) if isinstance(audiences, str) else tuple(audiences), float(claims["exp"]), tuple(bound))
