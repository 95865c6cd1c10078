"""Keys waiting for work, on a virtual clock."""

from __future__ import annotations

from typing import Any

import trio
import trio.testing

from edgek.client.workqueue import RETRY_MOST_S, WorkQueue


async def taken(queue: WorkQueue) -> list[str]:
    """Everything that is ready now, worked on and done."""
    found: list[str] = []
    with trio.move_on_after(0.001):
        while True:
            key = await queue.get()
            found.append(key)
            queue.done(key)
    return found


async def test_a_key_that_waits_is_there_once_and_in_order(autojump_clock: Any) -> None:
    queue = WorkQueue()
    for key in ("a", "b", "a"):
        queue.add(key)
    assert await taken(queue) == ["a", "b"]


async def test_a_key_added_while_it_is_worked_on_comes_again_afterwards(autojump_clock: Any) -> None:
    queue = WorkQueue()
    queue.add("a")
    assert await queue.get() == "a"
    queue.add("a")
    queue.add("a")
    assert await taken(queue) == []
    queue.done("a")
    assert await taken(queue) == ["a"]


async def test_the_earliest_of_several_times_counts(autojump_clock: Any) -> None:
    queue = WorkQueue()
    queue.add_after("a", 30)
    queue.add_after("a", 10)
    queue.add_after("a", 20)
    began = trio.current_time()
    assert await queue.get() == "a"
    assert trio.current_time() - began == 10
    queue.done("a")
    await trio.sleep(100)
    assert await taken(queue) == []


async def test_a_key_that_fails_comes_back_after_a_growing_pause_that_has_a_limit(autojump_clock: Any) -> None:
    queue = WorkQueue()
    queue.add("a")
    pauses = []
    for _ in range(2000):
        pauses.append(queue.retry(await queue.get()))
    assert pauses[:3] == [0.005, 0.01, 0.02]
    assert pauses == sorted(pauses)
    assert pauses[-1] == RETRY_MOST_S
    assert await queue.get() == "a"
    queue.done("a")
    queue.add("a")
    assert queue.retry(await queue.get()) == 0.005


async def test_two_workers_never_hold_the_same_key(autojump_clock: Any) -> None:
    queue, held, overlaps = WorkQueue(), set(), 0

    async def work() -> None:
        nonlocal overlaps
        while True:
            key = await queue.get()
            overlaps += key in held
            held.add(key)
            await trio.sleep(1)
            held.discard(key)
            queue.done(key)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(work)
        for _ in range(50):
            queue.add("a")
            queue.add("b")
            await trio.sleep(0.3)
        await trio.sleep(5)
        nursery.cancel_scope.cancel()
    assert overlaps == 0
    assert len(queue) == 0


async def test_one_key_wakes_a_worker_that_waits(autojump_clock: Any) -> None:
    queue = WorkQueue()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(queue.get)
        await trio.testing.wait_all_tasks_blocked()
        queue.add("a")


async def test_with_an_interval_the_first_change_comes_at_once_and_a_burst_together(autojump_clock: Any) -> None:
    queue = WorkQueue(interval_s=10)
    began, times = trio.current_time(), []

    async def work() -> None:
        while True:
            key = await queue.get()
            times.append((key, trio.current_time() - began))
            queue.done(key)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(work)
        for _ in range(15):
            queue.add("a")
            await trio.sleep(1)
        queue.add("b")
        await trio.sleep(50)
        nursery.cancel_scope.cancel()
    assert times == [("a", 0), ("a", 10), ("b", 15), ("a", 20)]
