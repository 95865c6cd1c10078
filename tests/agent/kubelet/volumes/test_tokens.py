"""Service account tokens: asked for when they grow old, and the last one while nobody can be asked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from edgek.agent.kubelet.copies import Copies
from edgek.agent.kubelet.volumes.tokens import AWAY_RETRY_S, Tokens
from edgek.agent.kubelet.volumes.volume import VolumeFailed
from edgek.client.transport import Disconnected
from edgek.host import wallclock
from edgek.host.worker import InLine
from edgek.model import errors, kinds
from edgek.model.kinds import Kind
from edgek.model.objects import Object


@attrs.define
class Server:
    """Answers token requests, or fails as told."""

    count: int = 0
    failure: Exception | None = None

    async def create(self, kind: Kind, body: Object, namespace: str, *, name: str, subresource: str) -> Object:
        assert (kind, subresource) == (kinds.SERVICE_ACCOUNT, "token")
        await trio.lowlevel.checkpoint()
        if self.failure:
            raise self.failure
        self.count += 1
        return {"spec": body["spec"], "status": {"token": f"token-{self.count}", "expirationTimestamp": "2027-01-01T00:00:00Z"}}


@attrs.define
class Order:
    """What ``Tokens`` looks at of a volume's order."""

    client: Server
    copies: Copies
    offline: bool = False
    name: str = "api"
    pod: Object = attrs.field(factory=lambda: {"metadata": {"name": "web", "namespace": "default", "uid": "u1"}, "spec": {}})


@pytest.fixture
def order(tmp_path: Path) -> Any:
    return Order(Server(), Copies(tmp_path, InLine()))


@pytest.fixture
def years() -> Iterator[list[float]]:
    """What somebody set the calendar by."""
    by = [0.0]
    former = wallclock.use(lambda: trio.current_time() + by[0])
    yield by
    wallclock.use(former)


async def test_one_is_asked_for_when_most_of_its_life_is_over_whatever_the_calendar_does(
    order: Any, years: list[float], autojump_clock: trio.testing.MockClock
) -> None:
    tokens = Tokens()
    assert (await tokens.get(order, 3600, "")).text == "token-1"
    years[0] += 57 * 365 * 86400.0
    assert (await tokens.get(order, 3600, "")).text == "token-1"
    years[0] -= 100 * 365 * 86400.0
    await trio.sleep(0.79 * 3600)
    assert (await tokens.get(order, 3600, "")).text == "token-1"
    await trio.sleep(0.02 * 3600)
    assert (await tokens.get(order, 3600, "")).text == "token-2"


@pytest.mark.parametrize("failure", [Disconnected("cut"), errors.ServiceUnavailable("starting")], ids=["nobody", "one that starts"])
async def test_while_no_server_answers_the_last_one_is_given_even_when_it_has_ended(
    order: Any, failure: Exception, autojump_clock: trio.testing.MockClock
) -> None:
    tokens = Tokens()
    await tokens.get(order, 3600, "")
    order.client.failure = failure
    await trio.sleep(10_000)
    given = await tokens.get(order, 3600, "")
    assert given.text == "token-1"
    assert given.renew_at == trio.current_time() + AWAY_RETRY_S
    order.client.failure = None
    assert (await tokens.get(order, 3600, "")).text == "token-2"


async def test_after_a_boot_without_a_server_it_comes_from_the_copy(order: Any, autojump_clock: trio.testing.MockClock) -> None:
    await Tokens().get(order, 3600, "vault")
    again = Tokens()
    order.offline = True
    assert (await again.get(order, 3600, "vault")).text == "token-1"
    assert (await again.get(order, 3600, "")).text == "", "one that was never given is empty: programs start, and wait for it"
    order.offline = False
    assert (await again.get(order, 3600, "vault")).text == "token-2", "a copy is not good enough for one that can be had"


async def test_a_server_that_says_no_is_believed_once_the_last_one_has_ended(order: Any, autojump_clock: trio.testing.MockClock) -> None:
    tokens = Tokens()
    await tokens.get(order, 3600, "")
    order.client.failure = errors.NotFound("no such account")
    await trio.sleep(3000)
    assert (await tokens.get(order, 3600, "")).text == "token-1"
    await trio.sleep(601)
    with pytest.raises(VolumeFailed, match="no such account"):
        await tokens.get(order, 3600, "")


async def test_without_any_it_fails_until_it_is_known_that_no_server_is_there(order: Any, autojump_clock: trio.testing.MockClock) -> None:
    order.client.failure = Disconnected("cut")
    with pytest.raises(VolumeFailed, match="failed to fetch token: cut"):
        await Tokens().get(order, 3600, "")
