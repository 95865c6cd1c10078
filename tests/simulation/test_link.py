"""Real links in a simulated cluster: cut for minutes, reset by a server that restarts, dialled by two hundred nodes."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from edgek.agent.link import AGAIN_S, AWAY_S, FIRST_S, RESTART_S, pause_s
from edgek.client.https import CONNECT_S
from edgek.client.link import SILENT_S
from edgek.model import kinds, objects
from edgek.model.objects import Object
from edgek.model.when_away import ANNOTATION
from tests.simulation import linked
from tests.simulation.cluster import Change, SimulatedCluster, open_cluster
from tests.simulation.linked import LinkedWire, Site
from tests.simulation.machine import SimulatedNode
from tests.simulation.wire import Asked
from tests.simulation.workloads import pod

DELAY_S = 0.05  # each way
AGENTS = 200
DIALS_MOST = 130  # in any second, of so many agents: a TLS handshake each
KNOCKS_MOST = 190  # counting those that find nobody, and cost a packet


@attrs.frozen
class Scene:
    cluster: SimulatedCluster
    site: Site
    node: SimulatedNode

    async def crash(self, name: str) -> None:
        """The container of this pod ends, in the node's own time."""
        uid = objects.uid(self.cluster.get(kinds.POD, name))
        (running,) = [
            each for each in await self.node.runtime.containers() if each.state == "running" and each.labels["io.kubernetes.pod.uid"] == uid
        ]
        self.node.runtime.end(running.id, 1)

    def asked(self, since: float) -> list[Asked]:
        return [each for each in self.cluster.exchange.asked if each.at >= since and each.who == f"system:node:{self.node.name}"]

    def told(self, since: float, name: str) -> list[Change]:
        """Changes of a pod that its node made."""
        return [each for each in self.cluster.changes_since(since) if each.key.name == name and restarts(each.obj) != restarts(each.before)]


def restarts(found: Object | None) -> int:
    statuses = ((found or {}).get("status") or {}).get("containerStatuses") or ()
    return sum(each["restartCount"] for each in statuses)


@asynccontextmanager
async def scene(folder: Path, *names: str) -> AsyncIterator[Scene]:
    """One linked node with these pods, which stay whatever happens."""
    async with open_cluster(folder) as cluster:
        site = Site(cluster.nursery, cluster.exchange)
        node = await linked.add_node(cluster, site, "far", delay_s=DELAY_S)
        for name in names:
            made = pod(name)
            made["metadata"]["annotations"] = {ANNOTATION: "keep"}
            await cluster.create(kinds.POD, made)
        await cluster.settle()
        assert len(cluster.ready_pods()) == len(names)
        yield Scene(cluster, site, node)


def lists(asked: list[Asked]) -> list[str]:
    """Of collections: names are not in their paths."""
    return [each.path for each in asked if each.method == "GET" and not each.watch and each.path.rpartition("/")[2] in COLLECTIONS]


COLLECTIONS = {kind.plural for kind in kinds.KINDS}


async def test_a_link_that_is_cut_for_ten_minutes_is_dialled_in_moderation_and_what_happened_meanwhile_arrives_once(
    tmp_path: Path, autojump_clock: Any
) -> None:
    async with scene(tmp_path, "web", "leaving") as s:
        started = s.cluster.events("Started")
        began = trio.current_time()
        s.node.wire.cut()
        await trio.sleep(60)
        await s.crash("web")
        await s.cluster.delete(kinds.POD, "leaving")
        await s.cluster.create(kinds.POD, pod("coming", nodeName="far"))
        await trio.sleep(540)
        assert not s.told(began, "web"), "nothing comes through"
        s.node.wire.mend()
        mended = trio.current_time()
        took_s = await s.cluster.until(lambda: ready(s.cluster, "far"))
        assert took_s < AWAY_S + 2
        await s.cluster.settle()

        dials = [each.at for each in s.site.dials if began <= each.at < mended]
        gaps = [later - earlier for earlier, later in itertools.pairwise(dials)]
        assert dials[0] > began + SILENT_S / 2, "it is not missed at once"
        assert all(CONNECT_S <= gap <= CONNECT_S + AWAY_S for gap in gaps)
        assert len({round(gap, 3) for gap in gaps}) > len(gaps) / 2, "by chance"
        assert 25 <= len(dials) <= 55

        assert {objects.name(each) for each in s.cluster.ready_pods()} == {"web", "coming"}
        assert len(s.told(mended, "web")) == 1
        assert restarts(s.cluster.get(kinds.POD, "web")) == 1
        counted = sum(each["count"] for each in s.cluster.all(kinds.EVENT) if about(each, "web", "Started"))
        assert (len(started), counted) == (2, 2), "its start, and the one while it was away"
        seen = Counter(lists(s.asked(mended)))
        assert all(count == 1 for count in seen.values()), f"listed once where the API has forgotten what was before: {seen}"


def about(event: Object, name: str, reason: str) -> bool:
    return event["involvedObject"]["name"] == name and event["reason"] == reason


def ready(cluster: SimulatedCluster, name: str) -> bool:
    return objects.condition_is(cluster.get(kinds.NODE, name), "Ready", "True")


@pytest.mark.parametrize("away_s", [5, 40, 200])
async def test_after_a_shorter_one_watches_go_on_and_nothing_is_listed(away_s: float, tmp_path: Path, autojump_clock: Any) -> None:
    async with scene(tmp_path, "web", "leaving") as s:
        await trio.sleep(130)  # bookmarks have come by
        began = trio.current_time()
        s.node.wire.cut()
        await trio.sleep(away_s / 2)
        await s.crash("web")
        await s.cluster.delete(kinds.POD, "leaving")
        await trio.sleep(away_s / 2)
        s.node.wire.mend()
        await s.cluster.settle()
        assert [objects.name(each) for each in s.cluster.ready_pods()] == ["web"]
        assert len(s.told(began, "web")) == 1
        assert lists(s.asked(began)) == []


async def test_watches_wait_for_the_link_and_go_on_at_once_when_it_is_there(tmp_path: Path, autojump_clock: Any) -> None:
    async with scene(tmp_path) as s:
        watched = {each.path for each in s.asked(0) if each.watch}
        s.site.listens = False
        s.node.wire.way.reset()  # type: ignore[attr-defined]
        broken = trio.current_time()
        await trio.sleep(50)
        assert s.asked(broken + 1) == []
        s.site.listens = True
        began = trio.current_time()
        await trio.sleep(AGAIN_S)
        link = next(each.at for each in s.site.dials if each.at > began - 2 * DELAY_S)  # one that was on its way is taken, too
        await trio.sleep(1)
        assert all(each.at - link < 1 for each in s.asked(began) if each.watch)
        assert {each.path for each in s.asked(began) if each.watch} == watched != set()


async def test_after_a_restart_that_jumped_each_cache_is_listed_once(tmp_path: Path, autojump_clock: Any) -> None:
    async with scene(tmp_path, "web") as s:
        began = trio.current_time()
        s.site.listens = False
        s.cluster.restart_api()
        s.node.wire.way.reset()  # type: ignore[attr-defined]
        await s.crash("web")
        await s.cluster.create(kinds.POD, pod("coming", nodeName="far"))
        await trio.sleep(3)
        s.site.listens = True
        await s.cluster.settle()
        assert {objects.name(each) for each in s.cluster.ready_pods()} == {"web", "coming"}
        assert len(s.told(began, "web")) == 1
        seen = Counter(lists(s.asked(began)))
        assert seen["/api/v1/pods"] == 1
        assert set(seen.values()) == {1}


# Two hundred agents.


@attrs.frozen
class Crowd:
    site: Site
    wires: list[LinkedWire]
    nursery: trio.Nursery

    def linked(self) -> int:
        return sum(wire.uplink.is_up() for wire in self.wires)

    async def restart(self, away_s: float) -> float:
        """When the server answered again."""
        self.site.listens = False
        for wire in self.wires:
            wire.way.reset()
        await trio.sleep(away_s)
        assert self.linked() == 0
        self.site.listens = True
        return trio.current_time()

    async def until_all_are_back(self) -> None:
        while self.linked() < AGENTS:
            await trio.sleep(0.01)


@asynccontextmanager
async def crowd() -> AsyncIterator[Crowd]:
    async with trio.open_nursery() as nursery:
        site = Site(nursery)
        found = Crowd(site, [LinkedWire(site, nursery, f"node-{number}") for number in range(AGENTS)], nursery)
        await found.until_all_are_back()
        yield found
        nursery.cancel_scope.cancel()


def busiest_second(times: list[float]) -> int:
    times = sorted(times)
    most = first = 0
    for last, at in enumerate(times):
        while at - times[first] >= 1.0:
            first += 1
        most = max(most, last - first + 1)
    return most


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(("away_s", "back_s"), [(0.1, FIRST_S), (1.5, AGAIN_S), (5, AGAIN_S), (RESTART_S - 5, AGAIN_S), (1800, AWAY_S)])
async def test_a_server_that_comes_back_meets_no_storm_and_all_agents_soon(away_s: float, back_s: float, seed: int, autojump_clock: Any) -> None:
    random.seed(seed)
    async with crowd() as found:
        began = trio.current_time()
        answered = await found.restart(away_s)
        await found.until_all_are_back()
        assert trio.current_time() - answered <= back_s + 0.1
        dials = [each for each in found.site.dials if each.at >= began]
        assert busiest_second([each.at for each in dials if each.taken]) <= DIALS_MOST
        assert busiest_second([each.at for each in dials]) <= KNOCKS_MOST


async def test_restarts_of_the_server_leave_no_task_and_no_connection(autojump_clock: Any) -> None:
    async with crowd() as found:
        for wire in found.wires:
            wire.way.reset()
        await trio.sleep(AGAIN_S)
        before = trio.lowlevel.current_statistics().tasks_living
        for away_s in (0.5, 3, 20, 0.1):
            await found.restart(away_s)
            await found.until_all_are_back()
        await trio.sleep(SILENT_S)
        assert trio.lowlevel.current_statistics().tasks_living == before
        assert sum(len(wire.way.ends) for wire in found.wires) == 2 * AGENTS


def test_pauses_grow_with_the_time_that_a_server_is_away_and_are_never_the_same() -> None:
    def longest(least: float, most: float) -> float:
        return most

    assert [pause_s(away_s, first=first, chance=longest) for away_s, first in ((0, True), (1, False), (119, False), (121, False))] == [2, 3, 3, 10]
    drawn = {pause_s(0, first=True) for _ in range(100)}
    assert len(drawn) == 100
    assert 0.2 <= min(drawn) < 0.5 < 1.5 < max(drawn) <= 2
