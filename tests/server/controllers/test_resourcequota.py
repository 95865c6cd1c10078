"""What is used of a quota is counted as things come and go."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from edgek.model import errors, kinds
from edgek.server.controllers.resourcequota import ResourceQuotaController
from tests.fakes.scene import scene


def quota(**hard: str) -> dict[str, Any]:
    return {"metadata": {"name": "q"}, "spec": {"hard": {name.replace("__", "/").replace("_", "."): amount for name, amount in hard.items()}}}


def config_map(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name}}


async def test_a_quota_counts_what_is_there_and_what_comes_and_goes(autojump_clock: Any) -> None:
    async with scene(ResourceQuotaController) as cluster:
        await cluster.create(kinds.CONFIG_MAP, config_map("before"))
        await cluster.create(kinds.RESOURCE_QUOTA, quota(configmaps="2", count__secrets="5", pods="3"))
        await cluster.settle()
        status = cluster.get(kinds.RESOURCE_QUOTA, "q")["status"]
        assert status["hard"] == {"configmaps": "2", "count/secrets": "5", "pods": "3"}
        assert status["used"] == {"configmaps": "1", "count/secrets": "0", "pods": "0"}
        await cluster.create(kinds.CONFIG_MAP, config_map("second"))
        with pytest.raises(errors.Forbidden, match="exceeded quota: q"):
            await cluster.create(kinds.CONFIG_MAP, config_map("third"))
        await cluster.client.delete(kinds.CONFIG_MAP, "second", "default")
        await cluster.settle(2)
        assert cluster.get(kinds.RESOURCE_QUOTA, "q")["status"]["used"]["configmaps"] == "1"
        await cluster.create(kinds.CONFIG_MAP, config_map("third"))


async def test_what_was_charged_for_something_that_is_not_stored_yet_stands_for_a_while(autojump_clock: Any) -> None:
    async with scene(ResourceQuotaController) as cluster:
        await cluster.create(kinds.CONFIG_MAP, config_map("stored"))
        await cluster.create(kinds.RESOURCE_QUOTA, quota(configmaps="2"))
        await cluster.settle()
        charged = cluster.get(kinds.RESOURCE_QUOTA, "q")
        charged["status"]["used"]["configmaps"] = "2"
        await cluster.client.update(kinds.RESOURCE_QUOTA, charged, "status")
        await trio.sleep(0.9)
        assert cluster.get(kinds.RESOURCE_QUOTA, "q")["status"]["used"]["configmaps"] == "2"
        await trio.sleep(0.2)
        assert cluster.get(kinds.RESOURCE_QUOTA, "q")["status"]["used"]["configmaps"] == "1"


async def test_a_quota_at_rest_is_not_written(autojump_clock: Any) -> None:
    async with scene(ResourceQuotaController) as cluster:
        await cluster.create(kinds.RESOURCE_QUOTA, quota(configmaps="2", requests_cpu="1"))
        await cluster.settle()
        assert await cluster.writes_in(1000) == []
