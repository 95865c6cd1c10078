from pathlib import Path

import pytest

from edgek.cli.token import bootstrap_secret
from edgek.client.joining import SECRETS_NAMESPACE
from edgek.host import wallclock
from edgek.model import kinds
from edgek.model.credentials import JoinToken
from edgek.model.errors import Unauthorized
from edgek.server.api.join_tokens import JoinTokens
from tests.server.api.running import running

BOOTSTRAP = "abcdef.0123456789abcdef"


async def tokens(folder: Path) -> JoinTokens:
    found = await running()
    await found.client.create(kinds.NAMESPACE, {"metadata": {"name": SECRETS_NAMESPACE}})
    await found.client.create(kinds.SECRET, bootstrap_secret(BOOTSTRAP, 3600, "for a while"), SECRETS_NAMESPACE)
    (folder / "token").write_text(f"{JoinToken('the-servers', authority_hash='0' * 64)}\n")
    return JoinTokens([folder / "token", folder / "agent-token"], found.client)


async def test_the_servers_token_lets_in(tmp_path: Path) -> None:
    await (await tokens(tmp_path)).check("the-servers")


async def test_an_agents_token_lets_in_once_there_is_one(tmp_path: Path) -> None:
    found = await tokens(tmp_path)
    with pytest.raises(Unauthorized):
        await found.check("the-agents")
    (tmp_path / "agent-token").write_text("the-agents\n")
    await found.check("the-agents")


async def test_a_replaced_token_lets_nobody_in_any_more(tmp_path: Path) -> None:
    found = await tokens(tmp_path)
    (tmp_path / "token").write_text("another\n")
    await found.check("another")
    with pytest.raises(Unauthorized):
        await found.check("the-servers")


async def test_an_empty_secret_lets_nobody_in(tmp_path: Path) -> None:
    found = await tokens(tmp_path)
    (tmp_path / "agent-token").write_text("\n")
    with pytest.raises(Unauthorized):
        await found.check("")


async def test_a_bootstrap_token_lets_in_until_it_ends(tmp_path: Path) -> None:
    found = await tokens(tmp_path)
    await found.check(BOOTSTRAP)
    later = wallclock.now() + 3601
    former = wallclock.use(lambda: later)
    try:
        with pytest.raises(Unauthorized, match="expired"):
            await found.check(BOOTSTRAP)
    finally:
        wallclock.use(former)


@pytest.mark.parametrize("wrong", ["abcdef.0123456789abcdeg", "ghijkl.0123456789abcdef"])
async def test_a_bootstrap_token_is_known_as_a_whole(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(Unauthorized, match="no such bootstrap token"):
        await (await tokens(tmp_path)).check(wrong)
