"""The ServiceAccount that every namespace has."""

from __future__ import annotations

from typing import Any

from edgek.model import kinds
from edgek.server.controllers.serviceaccount import ServiceAccountController
from tests.fakes.scene import scene


async def test_a_namespace_gets_its_default_account_and_gets_it_back(autojump_clock: Any) -> None:
    async with scene(ServiceAccountController) as cluster:
        await cluster.create(kinds.NAMESPACE, {"metadata": {"name": "shop"}})
        await cluster.settle()
        assert cluster.exists(kinds.SERVICE_ACCOUNT, "default", "shop")
        await cluster.client.delete(kinds.SERVICE_ACCOUNT, "default", "shop")
        await cluster.settle()
        assert cluster.exists(kinds.SERVICE_ACCOUNT, "default", "shop")
        assert await cluster.writes_in(600) == []


async def test_a_namespace_that_goes_gets_none(autojump_clock: Any) -> None:
    async with scene(ServiceAccountController) as cluster:
        await cluster.create(kinds.NAMESPACE, {"metadata": {"name": "shop"}})
        await cluster.settle()
        await cluster.client.delete(kinds.NAMESPACE, "shop")
        await cluster.client.delete(kinds.SERVICE_ACCOUNT, "default", "shop")
        await cluster.settle()
        assert not cluster.exists(kinds.SERVICE_ACCOUNT, "default", "shop")
