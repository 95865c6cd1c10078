"""Join tokens and kubeconfigs."""

from __future__ import annotations

import pytest
import yaml

from edgek.model.credentials import JoinToken, authority_hash, kubeconfig
from edgek.model.errors import UsageError


def test_a_secure_token_names_the_authority_and_comes_back_as_it_was() -> None:
    token = JoinToken("s3cret", authority_hash=authority_hash(b"pem"))
    assert str(token) == f"K10{authority_hash(b'pem')}::server:s3cret"
    assert JoinToken.parse(str(token)) == token
    assert token.trusts(b"pem")
    assert not token.trusts(b"other")


def test_a_bare_secret_trusts_any_server() -> None:
    assert JoinToken.parse("s3cret") == JoinToken("s3cret")
    assert JoinToken.parse("s3cret").trusts(b"anything")


@pytest.mark.parametrize("text", ["K10abc::server:x", "K10" + "a" * 64, "K10" + "a" * 64 + "::server:"])
def test_a_token_that_was_cut_off_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not complete"):
        JoinToken.parse(text)


def test_a_kubeconfig_is_yaml_with_one_context() -> None:
    read = yaml.safe_load(kubeconfig("https://127.0.0.1:6443", b"ca", b"cert", b"key"))
    assert read["clusters"][0]["cluster"] == {"server": "https://127.0.0.1:6443", "certificate-authority-data": "Y2E="}
    assert read["users"][0]["user"] == {"client-certificate-data": "Y2VydA==", "client-key-data": "a2V5"}
    assert read["current-context"] == "default"
