"""The one loop of all controllers."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import pytest
import trio
import trio.testing

from edgek.client import reconcile
from edgek.client.client import Client
from edgek.client.events import Recorder
from edgek.client.informer import Informers
from edgek.client.reconcile import Cluster, Watch, own_key
from edgek.model import errors, kinds, objects
from edgek.model.objects import Object
from tests.fakes.realapi import RealApi


def whole(obj: Object) -> Object:
    return obj


class Listening:
    """Notes which keys come when, and answers with what a test prepared."""

    name: ClassVar[str] = "listening"
    workers: ClassVar[int] = 2

    def __init__(self, cluster: Cluster) -> None:
        self.maps = cluster.informers.of(kinds.CONFIG_MAP, whole)
        self.came: list[tuple[str, float]] = []
        self.answers: list[float | Exception | None] = []

    def watches(self) -> Sequence[Watch]:
        return [Watch(self.maps, self._keys)]

    def _keys(self, key: str, old: Any, new: Any) -> Iterable[str]:
        return own_key(key, old, new)

    async def reconcile(self, key: str) -> float | None:
        self.came.append((key, round(trio.current_time(), 3)))
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        return answer


@asynccontextmanager
async def running() -> AsyncIterator[tuple[Cluster, Listening]]:
    api = RealApi()
    await api.furnish("default", account=False)
    client = Client(api)
    cluster = Cluster(client, Informers(client), Recorder(client, "test"))
    controller = Listening(cluster)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reconcile.run, controller)
        await nursery.start(cluster.informers.run)
        yield cluster, controller
        nursery.cancel_scope.cancel()


def config_map(name: str) -> Object:
    return {"metadata": {"name": name, "namespace": "default"}}


async def settle(seconds: float = 0) -> None:
    await trio.testing.wait_all_tasks_blocked()
    await trio.sleep(seconds)
    await trio.testing.wait_all_tasks_blocked()


async def test_a_change_brings_its_key_and_nothing_else_does(autojump_clock: Any) -> None:
    async with running() as (cluster, controller):
        await cluster.client.create(kinds.CONFIG_MAP, config_map("a"))
        await settle(1000)
        assert [key for key, _ in controller.came] == ["default/a"]


async def test_a_controller_may_ask_to_look_again_but_not_at_once(autojump_clock: Any) -> None:
    async with running() as (cluster, controller):
        controller.answers = [30, 0, None]
        await cluster.client.create(kinds.CONFIG_MAP, config_map("a"))
        await settle(100)
        times = [when for _, when in controller.came]
        assert [round(later - earlier, 3) for earlier, later in itertools.pairwise(times)] == [30, reconcile.AGAIN_LEAST_S]


async def test_what_failed_is_tried_again_and_only_real_trouble_is_a_line(autojump_clock: Any, capsys: Any) -> None:
    async with running() as (cluster, controller):
        controller.answers = [errors.Conflict("x"), errors.NotFound("gone"), ValueError("a defect"), None]
        await cluster.client.create(kinds.CONFIG_MAP, config_map("a"))
        await settle(1)
        assert len(controller.came) == 4
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        assert "a defect" in lines[0]
        assert "controller=listening" in lines[0]


async def test_the_trouble_of_one_key_is_not_anothers(autojump_clock: Any) -> None:
    async with running() as (cluster, controller):
        controller.answers = [ValueError("a defect")] * 3
        await cluster.client.create(kinds.CONFIG_MAP, config_map("a"))
        await cluster.client.create(kinds.CONFIG_MAP, config_map("b"))
        await settle(1)
        assert {key for key, _ in controller.came} == {"default/a", "default/b"}


async def test_after_a_write_the_cache_shows_it(autojump_clock: Any) -> None:
    async with running() as (cluster, controller):
        made = await cluster.create(controller.maps, config_map("a"))
        assert controller.maps.get("default/a") is not None
        made = await cluster.update(controller.maps, {**made, "data": {"k": "v"}})
        assert (controller.maps.get("default/a") or {})["data"] == {"k": "v"}
        await cluster.patch(controller.maps, "default/a", {"data": {"k": "w"}})
        assert (controller.maps.get("default/a") or {})["data"] == {"k": "w"}
        with pytest.raises(errors.Conflict):
            await cluster.delete(controller.maps, "default/a", "of-a-former-life")
        assert await cluster.delete(controller.maps, "default/a", objects.uid(made))
        assert not await cluster.delete(controller.maps, "default/a", objects.uid(made))
