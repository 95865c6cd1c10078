"""Nothing that is lost on the way is lost for good: watches, answers, histories, and whole parts."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import trio

from edgek.client.transport import Request
from edgek.model import kinds, objects
from tests.simulation.cluster import open_cluster
from tests.simulation.test_rollouts import images, ready_addresses
from tests.simulation.wire import WRITES, Trouble
from tests.simulation.workloads import deployment, image, service


async def test_watches_that_break_while_history_is_forgotten_start_again(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_cluster(tmp_path, nodes=2) as cluster:
        await cluster.create(kinds.DEPLOYMENT, deployment(4))
        await cluster.create(kinds.SERVICE, service())
        await trio.sleep(0.3)
        for _ in range(5):
            cluster.store.compact(cluster.store.revision)
            cluster.exchange.cut_watches()
            await trio.sleep(0.7)
        await cluster.change(kinds.DEPLOYMENT, "web", image("web:2"))
        await trio.sleep(0.3)
        cluster.store.compact(cluster.store.revision)
        cluster.exchange.cut_watches()
        await cluster.settle()
        assert images(cluster) == ["web:2"] * 4
        assert len(ready_addresses(cluster)) == 4


async def test_a_restart_of_the_api_in_the_middle_of_a_rollout_heals(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_cluster(tmp_path, nodes=2) as cluster:
        await cluster.create(kinds.DEPLOYMENT, deployment(4))
        await cluster.settle()
        before = {objects.uid(each) for each in cluster.pods()}
        cluster.restart_api()
        await cluster.settle()
        assert {objects.uid(each) for each in cluster.ready_pods()} == before
        await cluster.change(kinds.DEPLOYMENT, "web", image("web:2"))
        await trio.sleep(1)
        cluster.restart_api()
        await cluster.settle()
        assert images(cluster) == ["web:2"] * 4
        assert len(cluster.ready_pods()) == 4


async def test_controllers_and_scheduler_that_were_killed_go_on_where_they_were(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_cluster(tmp_path, nodes=2) as cluster:
        await cluster.create(kinds.DEPLOYMENT, deployment(6))
        for part, again in (("controllers", cluster.start_controllers), ("scheduler", cluster.start_scheduler)) * 2:
            await trio.sleep(0.05)
            cluster.stop(part)
            await again()
        await cluster.settle()
        assert len(cluster.ready_pods()) == len(cluster.pods()) == 6
        assert len(cluster.all(kinds.REPLICA_SET)) == 1


async def test_what_happened_while_nobody_looked_is_caught_up_with(tmp_path: Path, autojump_clock: Any) -> None:
    async with open_cluster(tmp_path, nodes=2) as cluster:
        await cluster.create(kinds.DEPLOYMENT, deployment(4))
        await cluster.create(kinds.SERVICE, service())
        await cluster.settle()
        cluster.stop("controllers")
        cluster.stop("scheduler")
        for each in cluster.pods()[:2]:
            await cluster.delete(kinds.POD, objects.name(each))
        await cluster.change(kinds.DEPLOYMENT, "web", {"spec": {"replicas": 5}})
        await cluster.settle()
        assert len(cluster.pods()) == 2
        await cluster.start_controllers()
        await cluster.start_scheduler()
        await cluster.settle()
        assert len(cluster.ready_pods()) == 5
        assert ready_addresses(cluster) == sorted(each["status"]["podIP"] for each in cluster.pods())


async def test_a_storm_of_conflicts_and_lost_answers_leaves_nothing_double_and_nothing_undone(tmp_path: Path, autojump_clock: Any) -> None:
    draw = random.Random(1)

    def trouble(who: str, request: Request) -> Trouble:
        if who == "admin" or request.method not in WRITES or draw.random() > 0.3:
            return ""
        return draw.choice(("request lost", "answer lost", "conflict"))

    async with open_cluster(tmp_path, nodes=3) as cluster:
        cluster.exchange.trouble = trouble
        await cluster.create(kinds.SERVICE, service())
        await cluster.create(kinds.DEPLOYMENT, deployment(6))
        await trio.sleep(30)
        await cluster.change(kinds.DEPLOYMENT, "web", image("web:2"))
        await cluster.settle(quiet_s=90)
        assert images(cluster) == ["web:2"] * 6
        assert len(cluster.ready_pods()) == 6
        assert ready_addresses(cluster) == sorted(each["status"]["podIP"] for each in cluster.pods())
