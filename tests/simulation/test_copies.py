"""Two machines that are one node, for one has a copy of the other's card: the first keeps the link, the other is told, and nothing flaps.

And the cases that only look like it: a machine that lost its link, or its power, while the server still holds the former link.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio

from edgek.agent.link import AGAIN_S, FIRST_S, SHUT_OUT_S
from edgek.client.link import SILENT_S
from edgek.client.transport import Disconnected, Request
from edgek.server.api.streams.link import ANSWER_S, ANSWER_SAME_S
from tests.simulation.linked import LinkedWire, Site

DELAY_S = 0.3  # each way


@attrs.frozen
class Scene:
    site: Site
    nursery: trio.Nursery

    async def machine(self, *, up: bool = True) -> LinkedWire:
        """Another one that is the node ``far``."""
        made = LinkedWire(self.site, self.nursery, "far", DELAY_S)
        with trio.fail_after(600):
            while not (made.uplink.is_up() if up else made.uplink.is_taken()):
                await trio.sleep(0.1)
        return made

    def dials(self, since: float) -> int:
        return sum(each.at >= since for each in self.site.dials)


@asynccontextmanager
async def opened() -> AsyncIterator[Scene]:
    async with trio.open_nursery() as nursery:
        yield Scene(Site(nursery), nursery)
        nursery.cancel_scope.cancel()


async def stays_up(wire: LinkedWire, for_s: float) -> bool:
    link = wire.uplink._link
    await trio.sleep(for_s)
    return link is not None and wire.uplink._link is link


async def test_the_first_machine_keeps_the_link_and_the_copy_is_told_what_to_do(autojump_clock: Any) -> None:
    async with opened() as scene:
        first = await scene.machine()
        copy = await scene.machine(up=False)
        for word in ("'far' is linked already, from far", "--data-dir", "--node-name", "`edgek node forget far`"):
            assert word in copy.member.refusal
        assert first.member.refusal == ""


async def test_nothing_flaps_and_the_copy_asks_calmly(autojump_clock: Any) -> None:
    async with opened() as scene:
        first = await scene.machine()
        await scene.machine(up=False)
        began = trio.current_time()
        assert await stays_up(first, 3600)
        assert scene.dials(began) <= 3600 / (SHUT_OUT_S / 2)


async def test_a_copy_asks_for_nothing_by_any_other_way(autojump_clock: Any) -> None:
    """``linked`` has none, and says so."""
    async with opened() as scene:
        await scene.machine()
        copy = await scene.machine(up=False)
        with pytest.raises(Disconnected, match="linked already"):
            await copy.request(Request("GET", "/api/v1/nodes/far"))


async def test_after_a_restart_of_the_server_the_first_machine_is_mostly_there_first(autojump_clock: Any) -> None:
    async with opened() as scene:
        first = await scene.machine()
        copy = await scene.machine(up=False)
        await trio.sleep(1)
        for wire in (first, copy):
            wire.way.reset()
        await trio.sleep(AGAIN_S + 1)
        assert first.uplink.is_up()
        assert await stays_up(first, 600)


async def test_when_the_first_machine_goes_the_other_one_is_the_node(autojump_clock: Any) -> None:
    """The card was moved to another board, say, and the former one is switched off at last."""
    async with opened() as scene:
        first = await scene.machine()
        copy = await scene.machine(up=False)
        first.cut()
        with trio.fail_after(SILENT_S + SHUT_OUT_S + ANSWER_S + 1):
            while not copy.uplink.is_up():
                await trio.sleep(0.1)
        assert copy.member.refusal == ""
        assert not copy.uplink.is_taken()


async def test_a_machine_that_lost_its_power_is_back_though_the_server_still_holds_its_link(autojump_clock: Any) -> None:
    async with opened() as scene:
        before = await scene.machine()
        before.cut()
        began = trio.current_time()
        after = await scene.machine()
        assert trio.current_time() - began <= ANSWER_S + 4 * DELAY_S + 0.2
        assert await stays_up(after, 600)


async def test_one_whose_address_changed_is_back_sooner(autojump_clock: Any) -> None:
    async with opened() as scene:
        wire = await scene.machine()
        wire.leave(scene.nursery, DELAY_S)
        wire.uplink.moved()
        began = trio.current_time()
        await trio.sleep(0.01)
        while not wire.uplink.is_up():
            await trio.sleep(0.01)
        assert trio.current_time() - began <= FIRST_S + ANSWER_SAME_S + 4 * DELAY_S + 0.1


async def test_two_that_dial_at_once_settle(autojump_clock: Any) -> None:
    async with opened() as scene:
        wires = [LinkedWire(scene.site, scene.nursery, "far", DELAY_S) for _ in range(3)]
        await trio.sleep(SHUT_OUT_S)
        (winner,) = [wire for wire in wires if wire.uplink.is_up()]
        assert all(wire.uplink.is_taken() for wire in wires if wire is not winner)
        assert await stays_up(winner, 600)


async def test_copies_of_a_running_machine_settle_too(autojump_clock: Any) -> None:
    """Of a virtual one with all its memory: their agents bear one number."""
    async with opened() as scene:
        first = await scene.machine()
        copy = LinkedWire(scene.site, scene.nursery, "far", DELAY_S)
        copy.uplink._number = first.uplink._number
        await trio.sleep(10)
        assert (first.uplink.is_up(), copy.uplink.is_taken()) == (True, True)
