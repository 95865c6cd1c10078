"""How credentials are written down: the join token and the kubeconfig. Texts only; keys are made in ``host/pki.py``."""

from __future__ import annotations

import base64
import hashlib
import re

import attrs

from edgek.model.errors import UsageError

SECURE_PREFIX = "K10"
BOOTSTRAP = re.compile(r"[a-z0-9]{6}\.[a-z0-9]{16}")  # a token that lasts for a while: its public name, a dot, its secret


@attrs.frozen
class JoinToken:
    """``K10<sha256 of the CA certificate>::server:<secret>``, or the bare secret. With it, a node knows the server before it tells the secret.

    A bootstrap token has no user: ``K10<sha256>::<id>.<secret>``.
    """

    secret: str
    user: str = "server"
    authority_hash: str = ""

    @classmethod
    def parse(cls, text: str) -> JoinToken:
        """Raises UsageError for a token that is cut off or mistyped."""
        if not text.startswith(SECURE_PREFIX):
            return cls(text)
        digest, _, rest = text.removeprefix(SECURE_PREFIX).partition("::")
        if len(digest) == 64 and BOOTSTRAP.fullmatch(rest):
            return cls(rest, "", digest)
        user, _, secret = rest.partition(":")
        if len(digest) != 64 or not user or not secret:
            raise UsageError("--token is not complete: a token looks like K10<64 hex digits>::server:<secret>; copy it whole from the server")
        return cls(secret, user, digest)

    def trusts(self, authority_pem: bytes) -> bool:
        """Whether the authority that the token names is among these. A bare secret names none and trusts them blindly."""
        return bool(self.trusted(authority_pem))

    def trusted(self, authority_pem: bytes) -> bytes:
        """The authority that the token names, of several. A bare secret names none and trusts them all."""
        if self.authority_hash in ("", authority_hash(authority_pem)):
            return authority_pem
        return next((each for each in split_pem(authority_pem) if authority_hash(each) == self.authority_hash), b"")

    def __str__(self) -> str:
        if not self.authority_hash:
            return self.secret
        return f"{SECURE_PREFIX}{self.authority_hash}::{self.user}{':' if self.user else ''}{self.secret}"


def authority_hash(authority_pem: bytes) -> str:
    """Of the PEM text, byte for byte as the server hands it out."""
    return hashlib.sha256(authority_pem).hexdigest()


def split_pem(pem: bytes) -> list[bytes]:
    """Each certificate of a PEM text, in its order, as a text of its own."""
    begin, end = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
    return [begin + part.partition(end)[0] + end + b"\n" for part in pem.split(begin)[1:] if end in part]


def kubeconfig(server: str, authority_pem: bytes, certificate_pem: bytes, key_pem: bytes, *, context: str = "default") -> str:
    """A kubeconfig with one cluster, one user and one context. It holds a private key."""
    authority, certificate, key = (base64.b64encode(pem).decode() for pem in (authority_pem, certificate_pem, key_pem))
    return f"""\
apiVersion: v1
kind: Config
clusters:
- name: {context}
  cluster:
    server: {server}
    certificate-authority-data: {authority}
users:
- name: {context}
  user:
    client-certificate-data: {certificate}
    client-key-data: {key}
contexts:
- name: {context}
  context:
    cluster: {context}
    user: {context}
current-context: {context}
"""
