"""Signatures, by ``cryptography``: ES256 (RFC 7518 section 3.4) and public keys as JWKs for JSON Web Tokens, Ed25519 for files that are given."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

from edgek.host import pki

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

COORDINATE_BYTES = 32  # of a P-256 point, and of either half of a signature


def base64url(raw: bytes) -> bytes:
    """Without padding, as JSON Web Tokens have it."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def from_base64url(text: bytes) -> bytes:
    """Raises ValueError."""
    return base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))


def is_signed_by(public_key: bytes, content: bytes, signature: bytes) -> bool:
    """By the Ed25519 key (RFC 8032) whose public half is this PEM."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    key = load_pem_public_key(public_key)
    if not isinstance(key, Ed25519PublicKey):
        return False
    try:
        key.verify(signature, content)
    except InvalidSignature:
        return False
    return True


class VerifyingKey:
    """The public half of a key that signs, or has signed. ``key_id`` is its hash, as upstream names it."""

    def __init__(self, public: ec.EllipticCurvePublicKey) -> None:
        from cryptography.hazmat.primitives import serialization

        self._public = public
        public_der = self._public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.key_id = base64url(hashlib.sha256(public_der).digest()).decode()

    def verifies(self, text: bytes, signature: bytes) -> bool:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, utils

        if len(signature) != 2 * COORDINATE_BYTES:
            return False
        r, s = (int.from_bytes(half, "big") for half in (signature[:COORDINATE_BYTES], signature[COORDINATE_BYTES:]))
        try:
            self._public.verify(utils.encode_dss_signature(r, s), text, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True

    def jwk(self) -> dict[str, str]:
        """The public key, RFC 7517."""
        point = self._public.public_numbers()
        x, y = (base64url(number.to_bytes(COORDINATE_BYTES, "big")).decode() for number in (point.x, point.y))
        return {"use": "sig", "kty": "EC", "kid": self.key_id, "crv": "P-256", "alg": "ES256", "x": x, "y": y}


class SigningKey(VerifyingKey):
    """A private key (PEM)."""

    def __init__(self, pem: bytes) -> None:
        self._private = pki.load_key(pem)
        super().__init__(self._private.public_key())

    def sign(self, text: bytes) -> bytes:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, utils

        r, s = utils.decode_dss_signature(self._private.sign(text, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(COORDINATE_BYTES, "big") + s.to_bytes(COORDINATE_BYTES, "big")


def verifying_keys(pem: bytes) -> list[VerifyingKey]:
    """Of a text with public keys. Raises ValueError."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    end = b"-----END PUBLIC KEY-----"
    keys = [load_pem_public_key(text + end) for text in pem.split(end)[:-1]]
    return [VerifyingKey(key) for key in keys if isinstance(key, ec.EllipticCurvePublicKey)]
