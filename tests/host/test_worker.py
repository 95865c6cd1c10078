"""A thread that works in batches."""

from __future__ import annotations

import threading

import pytest
import trio

from edgek.host.worker import open_batches


async def test_items_are_worked_off_in_order_and_in_batches_of_what_has_gathered() -> None:
    go = threading.Event()
    finished: list[tuple[list[int], int]] = []

    def work(batch: list[int]) -> int:
        go.wait()
        return sum(batch)

    async with open_batches("test", work, lambda batch, total: finished.append((batch, total)), limit=4) as hand_over:
        hand_over(0)
        for number in range(1, 10):
            hand_over(number)
        go.set()
    assert [number for batch, _ in finished for number in batch] == list(range(10))
    assert all(sum(batch) == total and len(batch) <= 4 for batch, total in finished)
    assert len(finished) <= 4  # perhaps the first alone, and three of what gathered behind it


async def test_leaving_the_block_waits_for_the_last_result_even_when_cancelled() -> None:
    finished: list[int] = []
    with trio.CancelScope() as scope:
        async with open_batches("test", lambda batch: None, lambda batch, none: finished.extend(batch), limit=10) as hand_over:
            hand_over(1)
            scope.cancel()
    assert finished == [1]


async def test_rest_is_called_when_nothing_waits() -> None:
    rested = trio.Event()
    token = trio.lowlevel.current_trio_token()
    worked: list[int] = []

    def work(batch: list[int]) -> None:
        worked.extend(batch)

    def rest() -> None:
        assert worked
        token.run_sync_soon(rested.set)

    async with open_batches("test", work, lambda batch, none: None, limit=10, rest=rest) as hand_over:
        hand_over(1)
        await rested.wait()


async def test_an_error_of_the_work_ends_the_block_and_is_raised_from_it() -> None:
    def work(batch: list[int]) -> None:
        raise ZeroDivisionError(batch)

    async def use() -> None:
        async with open_batches("test", work, lambda batch, none: None, limit=10) as hand_over:
            hand_over(1)
            await trio.sleep_forever()

    with pytest.raises(ZeroDivisionError):
        await use()


async def test_an_error_of_the_block_is_raised_as_it_is() -> None:
    with pytest.raises(KeyError):
        async with open_batches("test", lambda batch: None, lambda batch, none: None, limit=10):
            raise KeyError
