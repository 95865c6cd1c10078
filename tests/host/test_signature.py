"""ES256 as JSON Web Tokens use it."""

from __future__ import annotations

import pytest

from edgek.host import pki, signature


@pytest.fixture(scope="module")
def key() -> signature.SigningKey:
    return signature.SigningKey(pki.make_signing_key())


def test_what_was_signed_verifies_and_nothing_else(key: signature.SigningKey) -> None:
    made = key.sign(b"text")
    assert len(made) == 64
    assert key.verifies(b"text", made)
    assert not key.verifies(b"texT", made)
    assert not key.verifies(b"text", made[:-1])
    assert not key.verifies(b"text", bytes(64))


def test_another_key_does_not_verify(key: signature.SigningKey) -> None:
    assert not signature.SigningKey(pki.make_signing_key()).verifies(b"text", key.sign(b"text"))


def test_the_public_key_is_a_jwk_that_names_its_algorithm(key: signature.SigningKey) -> None:
    jwk = key.jwk()
    assert (jwk["kty"], jwk["crv"], jwk["alg"], jwk["kid"]) == ("EC", "P-256", "ES256", key.key_id)
    assert len(signature.from_base64url(jwk["x"].encode())) == 32
