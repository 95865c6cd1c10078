from __future__ import annotations

import pytest
import trio
import trio.testing

from edgek.agent.kubelet.freshness import Freshness

NEVER = float("inf")


async def building(takes_s: float = 0.0, again_s: float | None = None, *, fails: bool = False) -> float | None:
    await trio.sleep(takes_s)
    if fails:
        raise OSError("no space left")
    return again_s


async def test_volumes_are_built_again_when_it_was_said(autojump_clock: trio.testing.MockClock) -> None:
    fresh = Freshness()
    fresh.changed()
    assert (fresh.built, fresh.left_s) == (False, NEVER)  # the plan builds them for the first time
    await fresh.build(building(again_s=60))
    assert (fresh.built, fresh.left_s) == (True, 60)
    await trio.sleep(20)
    assert fresh.left_s == 40
    fresh.changed()
    assert fresh.left_s == 0
    await fresh.build(building())
    assert fresh.left_s == NEVER


async def test_a_change_meanwhile_has_them_built_once_more(autojump_clock: trio.testing.MockClock) -> None:
    fresh = Freshness()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fresh.build, building(takes_s=5, again_s=60))
        await trio.sleep(1)
        fresh.changed()
    assert fresh.left_s == 0


async def test_what_could_not_be_brought_up_to_date_is_still_due(autojump_clock: trio.testing.MockClock) -> None:
    fresh = Freshness()
    await fresh.build(building())
    fresh.changed()
    with pytest.raises(OSError, match="no space"):
        await fresh.build(building(fails=True))
    assert fresh.left_s == 0
    fresh.put_off(8)
    assert fresh.left_s == 8
