"""Bootstrap tokens end, and are gone then."""

from __future__ import annotations

import base64
from typing import Any

from edgek.cli.token import bootstrap_secret
from edgek.host import wallclock
from edgek.model import kinds
from edgek.server.controllers.tokencleaner import TokenCleanerController
from tests.fakes.scene import EPOCH, Scene, scene

SYSTEM = "kube-system"


async def token(cluster: Scene, name: str, ttl_s: int, namespace: str = SYSTEM) -> None:
    await cluster.create(kinds.SECRET, bootstrap_secret(f"{name}.0123456789abcdef", ttl_s, ""), namespace)


def there(cluster: Scene) -> set[str]:
    return {each["metadata"]["name"].removeprefix("bootstrap-token-") for each in cluster.api.all(kinds.SECRET)}


async def test_a_token_goes_when_its_time_is_over_and_one_without_an_end_stays(autojump_clock: Any) -> None:
    async with scene(TokenCleanerController, nodes=()) as cluster:
        await token(cluster, "aaaaaa", 60)
        await token(cluster, "bbbbbb", 10_000)
        await token(cluster, "cccccc", 0)
        await cluster.settle(55)
        assert there(cluster) == {"aaaaaa", "bbbbbb", "cccccc"}
        await cluster.settle(10)
        assert there(cluster) == {"bbbbbb", "cccccc"}
        await cluster.settle(10_000)
        assert there(cluster) == {"cccccc"}


async def test_a_time_that_cannot_be_read_is_over(autojump_clock: Any) -> None:
    async with scene(TokenCleanerController, nodes=()) as cluster:
        broken = bootstrap_secret("aaaaaa.0123456789abcdef", 60, "")
        broken["data"]["expiration"] = base64.b64encode(b"tomorrow").decode()
        await cluster.create(kinds.SECRET, broken, SYSTEM)
        await cluster.settle(1)
        assert there(cluster) == set()


async def test_other_secrets_are_none_of_its_business(autojump_clock: Any) -> None:
    async with scene(TokenCleanerController, nodes=()) as cluster:
        await token(cluster, "aaaaaa", 1, "default")
        opaque = {"metadata": {"name": "opaque"}, "data": {"expiration": base64.b64encode(b"2020-01-01T00:00:00Z").decode()}}
        await cluster.create(kinds.SECRET, opaque, SYSTEM)
        await cluster.settle(10)
        assert there(cluster) == {"aaaaaa", "opaque"}


async def test_a_clock_that_jumps_ahead_ends_a_token_within_the_hour(autojump_clock: Any) -> None:
    async with scene(TokenCleanerController, nodes=()) as cluster:
        await token(cluster, "aaaaaa", 30 * 86400)
        await cluster.settle(1)
        former = wallclock.use(lambda: EPOCH + 40 * 86400.0)
        await cluster.settle(3601)
        assert there(cluster) == set()
        wallclock.use(former)
