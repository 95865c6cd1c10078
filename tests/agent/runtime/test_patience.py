from __future__ import annotations

import trio
import trio.testing

from edgek.agent.runtime.patience import LIMIT_MOST_S, LIMIT_S, Patience


async def losing_s(patience: Patience) -> float:
    """How long it takes with a runtime that is of no use at each beat."""
    began = trio.current_time()
    async with trio.open_nursery() as nursery:

        async def beat() -> None:
            while True:
                patience.of_no_use()
                await trio.sleep(10)

        nursery.start_soon(beat)
        await patience.lost()
        nursery.cancel_scope.cancel()
    return trio.current_time() - began


async def test_a_runtime_that_is_of_no_use_for_a_minute_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    assert await losing_s(Patience()) == LIMIT_S


async def test_one_good_word_is_a_new_minute(autojump_clock: trio.testing.MockClock) -> None:
    patience = Patience()
    patience.of_no_use()
    await trio.sleep(LIMIT_S - 1)
    patience.of_use()
    assert await losing_s(patience) == LIMIT_S


async def test_where_restarts_do_not_help_they_become_rare(autojump_clock: trio.testing.MockClock) -> None:
    patience, waited = Patience(), []
    for _ in range(9):
        waited.append(await losing_s(patience))
        patience.start_anew()
    assert waited[:3] == [LIMIT_S, 2 * LIMIT_S, 4 * LIMIT_S]
    assert waited[-1] == LIMIT_MOST_S
    patience.of_use()
    assert await losing_s(patience) == LIMIT_S
