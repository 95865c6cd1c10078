"""Bootstrap tokens as bearer tokens of the API."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from edgek.cli.token import bootstrap_secret
from edgek.client.joining import SECRETS_NAMESPACE
from edgek.model import kinds
from edgek.server.api.bootstrap_tokens import BootstrapTokens
from edgek.server.api.identity import User
from edgek.server.store.memory import MemoryBackend
from tests.server.api.written import put

TOKEN = "abcdef.0123456789abcdef"


async def user_of(token: str = TOKEN, *, ttl_s: int = 3600, type_: str = "", deleting: bool = False, **changed: str) -> User | None:
    secret: dict[str, Any] = bootstrap_secret(TOKEN, ttl_s, "")
    secret["metadata"]["namespace"] = SECRETS_NAMESPACE
    secret["data"] |= {key.replace("_", "-"): base64.b64encode(text.encode()).decode() for key, text in changed.items()}
    secret["type"] = type_ or secret["type"]
    if deleting:
        secret["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    backend = MemoryBackend()
    await put(backend, kinds.SECRET, secret)
    return BootstrapTokens(backend).user(token)


async def test_a_token_is_a_user_of_its_own_among_those_who_join() -> None:
    assert await user_of() == User("system:bootstrap:abcdef", groups=("system:bootstrappers", "system:bootstrappers:edgek:node"))
    assert await user_of(auth_extra_groups="") == User("system:bootstrap:abcdef", groups=("system:bootstrappers",))


@pytest.mark.parametrize(
    "why",
    [
        {"token": "abcdef.0123456789abcdee"},
        {"token": "abcdeg.0123456789abcdef"},
        {"token": "ABCDEF.0123456789abcdef"},
        {"token": "abcdef"},
        {"type_": "Opaque"},
        {"deleting": True},
        {"ttl_s": -5},
        {"expiration": "whenever"},
        {"usage_bootstrap_authentication": "false"},
        {"usage_bootstrap_authentication": ""},
        {"token_id": "abcdex"},
        {"token_id": "äbcdef"},
        {"auth_extra_groups": "system:masters"},
        {"auth_extra_groups": "system:bootstrappers:a,system:masters"},
    ],
    ids=str,
)
async def test_a_token_that_is_wrong_or_over_or_reaches_too_far_is_nobody(why: dict[str, Any]) -> None:
    assert await user_of(**why) is None
