"""Service account tokens, from their signature to what they are bound to."""

from __future__ import annotations

import orjson
import pytest

from edgek.host import pki, signature, wallclock
from edgek.model import kinds
from edgek.server.api.tokens import REMEMBERED, BadToken, ServiceAccountTokens, split_user
from edgek.server.store.memory import MemoryBackend
from tests.server.api.written import put, remove

ISSUER = "https://kubernetes.default.svc.cluster.local"
KEY = pki.make_signing_key()


@pytest.fixture
async def backend() -> MemoryBackend:
    backend = MemoryBackend()
    await put(backend, kinds.SERVICE_ACCOUNT, {"metadata": {"name": "s", "namespace": "ns", "uid": "sa-1"}})
    await put(backend, kinds.POD, {"metadata": {"name": "p", "namespace": "ns", "uid": "pod-1"}})
    return backend


@pytest.fixture
def tokens(backend: MemoryBackend) -> ServiceAccountTokens:
    return ServiceAccountTokens(backend, KEY, issuer=ISSUER)


def token(tokens: ServiceAccountTokens, **bound: dict[str, str]) -> str:
    return tokens.issue("ns", "s", "sa-1", ["a"], 3600, bound)


async def test_a_token_says_whose_it_is_and_to_what_it_is_bound(tokens: ServiceAccountTokens) -> None:
    made = token(tokens, pod={"name": "p", "uid": "pod-1"}, node={"name": "n", "uid": "node-1"})
    known = tokens.verify(made)
    assert (known.user.name, known.user.uid) == ("system:serviceaccount:ns:s", "sa-1")
    assert known.user.groups == ("system:serviceaccounts", "system:serviceaccounts:ns")
    assert known.user.extra["authentication.kubernetes.io/pod-name"] == ("p",)
    assert known.user.extra["authentication.kubernetes.io/node-name"] == ("n",)
    assert known.user.extra["authentication.kubernetes.io/credential-id"][0].startswith("JTI=")
    assert known.audiences == ("a",)


async def test_a_token_is_known_again_after_a_restart(backend: MemoryBackend, tokens: ServiceAccountTokens) -> None:
    again = ServiceAccountTokens(backend, KEY, issuer=ISSUER)
    assert again.verify(token(tokens)).user.name == "system:serviceaccount:ns:s"


async def test_a_token_ends_with_its_pod(backend: MemoryBackend, tokens: ServiceAccountTokens) -> None:
    made = token(tokens, pod={"name": "p", "uid": "pod-1"})
    tokens.verify(made)
    await remove(backend, kinds.POD, "p", "ns")
    with pytest.raises(BadToken, match="invalidated"):
        tokens.verify(made)


async def test_a_namesake_of_the_account_does_not_inherit_its_tokens(backend: MemoryBackend, tokens: ServiceAccountTokens) -> None:
    made = token(tokens)
    await remove(backend, kinds.SERVICE_ACCOUNT, "s", "ns")
    await put(backend, kinds.SERVICE_ACCOUNT, {"metadata": {"name": "s", "namespace": "ns", "uid": "sa-2"}})
    with pytest.raises(BadToken, match="invalidated"):
        tokens.verify(made)


async def test_a_token_expires(tokens: ServiceAccountTokens) -> None:
    made = token(tokens)
    tokens.verify(made)
    former = wallclock.use(lambda: pki.SANE_NOW + 40 * 365 * pki.DAY_S)
    try:
        with pytest.raises(BadToken, match="expired"):
            tokens.verify(made)
    finally:
        wallclock.use(former)


async def test_a_clock_that_fell_back_to_1970_does_not_lock_pods_out(tokens: ServiceAccountTokens) -> None:
    made = token(tokens)
    former = wallclock.use(lambda: 10.0)
    try:
        assert tokens.verify(made).user.uid == "sa-1"
    finally:
        wallclock.use(former)


def forged(made: str, **claims: object) -> str:
    head, body, sealed = made.split(".")
    changed = {**orjson.loads(signature.from_base64url(body.encode())), **claims}
    return f"{head}.{signature.base64url(orjson.dumps(changed)).decode()}.{sealed}"


async def test_what_we_did_not_sign_is_refused(backend: MemoryBackend, tokens: ServiceAccountTokens) -> None:
    made = token(tokens)
    unsigned = signature.base64url(b'{"alg":"none"}').decode() + "." + made.split(".")[1] + "."
    other = ServiceAccountTokens(backend, pki.make_signing_key(), issuer=ISSUER)
    for bad in (forged(made, sub="system:admin"), unsigned, made[:-4], "a.b.c", "..", token(other), "é.é.é"):
        with pytest.raises(BadToken):
            tokens.verify(bad)


async def test_a_token_of_another_issuer_is_refused(backend: MemoryBackend, tokens: ServiceAccountTokens) -> None:
    with pytest.raises(BadToken, match="issuer"):
        ServiceAccountTokens(backend, KEY, issuer="https://elsewhere").verify(token(tokens))


async def test_others_can_verify_our_tokens_with_the_published_key(tokens: ServiceAccountTokens) -> None:
    made = token(tokens)
    header = orjson.loads(signature.from_base64url(made.split(".")[0].encode()))
    assert header["kid"] == tokens.jwks()["keys"][0]["kid"]
    assert tokens.configuration("https://x/openid/v1/jwks")["issuer"] == ISSUER


async def test_few_tokens_are_remembered(tokens: ServiceAccountTokens) -> None:
    known = tokens.verify(token(tokens))
    tokens._known = {bytes([n % 256, n // 256]): known for n in range(REMEMBERED)}
    tokens.verify(token(tokens))
    assert len(tokens._known) == REMEMBERED


@pytest.mark.parametrize(
    ("name", "account"),
    [("system:serviceaccount:ns:s", ("ns", "s")), ("alice", None), ("system:serviceaccount:ns", None), ("system:serviceaccount::s", None)],
)
def test_the_user_name_of_an_account_tells_where_it_lives(name: str, account: tuple[str, str] | None) -> None:
    assert split_user(name) == account
