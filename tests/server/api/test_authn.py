"""Who is asking."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgek.host import der, pki
from edgek.model import kinds
from edgek.model.errors import Unauthorized, UsageError
from edgek.server import pki as server_pki
from edgek.server.api.authn import Authenticator, read_token_file
from edgek.server.api.identity import User
from edgek.server.api.tokens import ServiceAccountTokens
from edgek.server.store.memory import MemoryBackend
from tests.server.api.written import put

ISSUER = "https://kubernetes.default.svc.cluster.local"
CLIENT_CA, PROXY_CA = pki.make_authority("clients"), pki.make_authority("proxies")
ALICE = User("alice", "u-alice", ("devs", "system:authenticated"))


@pytest.fixture
async def authenticator() -> Authenticator:
    backend = MemoryBackend()
    await put(backend, kinds.SERVICE_ACCOUNT, {"metadata": {"name": "s", "namespace": "ns", "uid": "sa-1"}})
    return Authenticator(
        tokens=ServiceAccountTokens(backend, pki.make_signing_key(), issuer=ISSUER),
        static_tokens={"alice-token": ALICE},
        client_ca=CLIENT_CA.certificate,
        front_proxy_ca=PROXY_CA.certificate,
        anonymous=True,
    )


def shown(authority: pki.Pair, subject: pki.Subject) -> bytes:
    return der.from_pem(pki.issue(authority, subject).certificate)


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def test_a_client_certificate_names_user_and_groups(authenticator: Authenticator) -> None:
    user = authenticator.authenticate({}, shown(CLIENT_CA, server_pki.node("n1")))
    assert user is not None
    assert (user.name, user.groups) == ("system:node:n1", ("system:nodes", "system:authenticated"))
    assert user.extra["authentication.kubernetes.io/credential-id"][0].startswith("X509SHA256=")


async def test_a_certificate_that_no_client_authority_signed_says_nothing(authenticator: Authenticator) -> None:
    user = authenticator.authenticate({}, shown(PROXY_CA, server_pki.ADMIN))
    assert user is not None
    assert user.name == "system:anonymous"


async def test_the_front_proxy_speaks_for_others(authenticator: Authenticator) -> None:
    headers = {"x-remote-user": "carol", "x-remote-group": "a\nb", "x-remote-extra-scopes": "x"}
    user = authenticator.authenticate(headers, shown(PROXY_CA, server_pki.FRONT_PROXY))
    assert user == User("carol", "", ("a", "b", "system:authenticated"), {"scopes": ("x",)})


async def test_nobody_else_does(authenticator: Authenticator) -> None:
    user = authenticator.authenticate({"x-remote-user": "carol"}, shown(CLIENT_CA, server_pki.FRONT_PROXY))
    assert user is not None
    assert user.name == "system:front-proxy"


async def test_a_static_token_is_known(authenticator: Authenticator) -> None:
    assert authenticator.authenticate(bearer("alice-token")) == ALICE
    assert authenticator.authenticate({"authorization": "bearer alice-token"}) == ALICE


async def test_a_browser_sends_its_token_as_a_websocket_protocol(authenticator: Authenticator) -> None:
    headers = {"sec-websocket-protocol": "v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.YWxpY2UtdG9rZW4"}
    assert authenticator.authenticate(headers) == ALICE


@pytest.mark.parametrize("token", ["nope", "a.b.c", "alice-token2"])
async def test_a_bad_token_is_refused_even_where_anonymous_requests_are_let_in(authenticator: Authenticator, token: str) -> None:
    with pytest.raises(Unauthorized, match=r"^Unauthorized$"):
        authenticator.authenticate(bearer(token))


@pytest.mark.parametrize("headers", [{}, {"authorization": "Basic YTpi"}, {"authorization": "Bearer "}])
async def test_without_credentials_one_is_anonymous(authenticator: Authenticator, headers: dict[str, str]) -> None:
    assert authenticator.authenticate(headers) == User("system:anonymous", groups=("system:unauthenticated",))


async def test_anonymous_requests_can_be_kept_out() -> None:
    tokens = ServiceAccountTokens(MemoryBackend(), b"", issuer=ISSUER)
    assert Authenticator(tokens=tokens).authenticate({}) is None


async def test_a_token_is_good_only_for_its_audiences(authenticator: Authenticator) -> None:
    theirs = authenticator._tokens.issue("ns", "s", "sa-1", ["vault"], 3600, {})
    with pytest.raises(Unauthorized):
        authenticator.authenticate(bearer(theirs))
    with pytest.raises(Unauthorized, match="audiences"):
        authenticator.authenticate_token(theirs, [])
    assert authenticator.authenticate_token(theirs, ["vault", "other"]).audiences == ("vault",)
    with pytest.raises(Unauthorized):
        authenticator.authenticate_token("alice-token", ["vault"])


def test_a_token_file_is_read_as_upstream_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "tokens.csv"
    path.write_text('a,admin,u-1,"system:masters, devs"\nb,bob,u-2,""\n\nc,carol,u-3\n')
    assert read_token_file(path) == {
        "a": User("admin", "u-1", ("system:masters", "devs", "system:authenticated")),
        "b": User("bob", "u-2", ("system:authenticated",)),
        "c": User("carol", "u-3", ("system:authenticated",)),
    }


def test_a_short_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "tokens.csv"
    path.write_text("a,admin,u-1\nb,bob\n")
    with pytest.raises(UsageError, match="line 2"):
        read_token_file(path)
