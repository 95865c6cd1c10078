from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Collection, Sequence
from ipaddress import IPv4Address, IPv4Network

import pytest
import trio
from trio.testing import MockClock

from edgek.cni import reach
from edgek.cni.backend import Here, Peer
from edgek.cni.reach import Pace, Reach, Traffic, Verdict
from edgek.cni.uplink import Uplink


def here(address: str = "192.0.2.1") -> Here:
    return Here("one", IPv4Network("10.42.1.0/24"), Uplink(2, "eth0", IPv4Address(address), 1500))


def peer(number: int, address: str = "") -> Peer:
    return Peer(f"n{number}", IPv4Address(address or f"192.0.2.{number}"), IPv4Network(f"10.42.{number}.0/24"))


TWO, THREE = peer(2), peer(3)


class Net:
    """Who answers, who was asked when, and what the tunnel counts."""

    def __init__(self) -> None:
        self.alive: set[Peer] = set()
        self.asked: list[tuple[float, tuple[Peer, ...]]] = []
        self.told: list[Verdict | None] = []
        self.counts: Callable[[], Traffic | None] = lambda: Traffic(0, 0)
        self.reach = Reach(self.ask, self.count, self.changed)

    async def ask(self, source: Here, peers: Sequence[Peer]) -> Collection[Peer]:
        self.asked.append((trio.current_time(), tuple(peers)))
        if not self.alive.issuperset(peers):
            await trio.sleep(2)
        return self.alive.intersection(peers)

    async def count(self) -> Traffic | None:
        return self.counts()

    def changed(self) -> None:
        self.told.append(self.reach.verdict)

    async def during(self, seconds: float, then: Callable[[], Awaitable[None]] | None = None) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.reach.run)
            await trio.sleep(seconds)
            if then:
                await then()
            nursery.cancel_scope.cancel()


@pytest.fixture
def net() -> Net:
    return Net()


async def test_while_all_answer_each_is_asked_once_and_then_nobody(autojump_clock: MockClock, net: Net) -> None:
    net.alive = {TWO, THREE}
    net.reach.consider(here(), [TWO, THREE])
    await net.during(24 * 3600)
    assert [peers for _, peers in net.asked] == [(TWO, THREE)]
    assert net.told == [Verdict(reached=True)]


async def test_a_node_alone_is_well_and_asks_nobody(autojump_clock: MockClock, net: Net) -> None:
    net.reach.consider(here(), [])
    await net.during(24 * 3600)
    assert net.asked == []
    assert net.told == [Verdict()]
    assert not net.told[0].cut_off


async def test_who_reaches_nobody_is_cut_off_after_some_tries_and_asks_ever_more_seldom(autojump_clock: MockClock, net: Net) -> None:
    net.reach.consider(here(), [TWO])
    await net.during(3600)
    assert net.told == [Verdict(False, (TWO,))]
    assert net.told[0] is not None and net.told[0].cut_off
    times = [at for at, _ in net.asked]
    pauses = [later - earlier - 2 for earlier, later in itertools.pairwise(times)]
    assert pauses[:7] == [1, 2, 4, 8, 16, 32, 60]
    assert set(pauses[7:]) == {60}


async def test_one_lost_packet_is_no_news(autojump_clock: MockClock, net: Net) -> None:
    net.reach.consider(here(), [TWO])

    async def answer() -> None:
        net.alive = {TWO}
        await trio.sleep(3600)

    await net.during(1, answer)
    assert net.told == [Verdict(reached=True)]


async def test_when_it_gets_through_again_that_is_said_within_the_longest_pause(autojump_clock: MockClock, net: Net) -> None:
    net.reach.consider(here(), [TWO, THREE])

    async def mend() -> None:
        net.alive = {THREE}
        await trio.sleep(Pace().pause_most_s + 2)
        assert net.told[-1] == Verdict(True, (TWO,))
        net.alive = {TWO, THREE}
        await trio.sleep(Pace().pause_most_s + 2)

    await net.during(3600, mend)
    assert net.told == [Verdict(False, (TWO, THREE)), Verdict(True, (TWO,)), Verdict(reached=True)]


async def test_of_two_one_silent_node_is_named_and_the_other_not_asked_again(autojump_clock: MockClock, net: Net) -> None:
    net.alive = {THREE}
    net.reach.consider(here(), [TWO, THREE])
    await net.during(3600)
    assert net.told == [Verdict(True, (TWO,))]
    assert all(peers == (TWO,) for _, peers in net.asked[1:])


async def test_a_node_that_moved_is_asked_again_and_only_it(autojump_clock: MockClock, net: Net) -> None:
    moved = peer(2, "198.51.100.7")
    net.alive = {TWO, THREE, moved}
    net.reach.consider(here(), [TWO, THREE])

    async def move() -> None:
        net.reach.consider(here(), [TWO, THREE])
        net.reach.consider(here(), [moved, THREE])
        await trio.sleep(10)

    await net.during(10, move)
    assert [peers for _, peers in net.asked] == [(TWO, THREE), (moved,)]


async def test_after_the_uplink_changed_or_was_away_all_are_asked_again(autojump_clock: MockClock, net: Net) -> None:
    net.alive = {TWO, THREE}
    net.reach.consider(here(), [TWO, THREE])

    async def change() -> None:
        net.reach.consider(here("192.0.2.99"), [TWO, THREE])
        await trio.sleep(10)
        net.reach.away()
        await trio.sleep(10)
        net.reach.consider(here("192.0.2.99"), [TWO, THREE])
        await trio.sleep(10)

    await net.during(10, change)
    assert [peers for _, peers in net.asked] == [(TWO, THREE)] * 3
    assert net.told == [Verdict(reached=True)]  # nothing was said in between


async def test_what_breaks_without_a_word_is_told_by_the_tunnel(autojump_clock: MockClock, net: Net) -> None:
    net.alive = {TWO}
    net.reach.consider(here(), [TWO])

    async def break_() -> None:
        net.alive = set()
        net.counts = lambda: Traffic(int(trio.current_time()), 7)
        await trio.sleep(3 * Pace().watched_s)
        assert net.told[-1] == Verdict(False, (TWO,))

    await net.during(3600, break_)


@pytest.mark.parametrize(
    "traffic",
    [
        pytest.param(lambda: Traffic(int(trio.current_time()), int(trio.current_time())), id="both ways"),
        pytest.param(lambda: Traffic(1000, int(trio.current_time())), id="only out of it"),
        pytest.param(lambda: None, id="no tunnel"),
    ],
)
async def test_a_tunnel_at_work_is_believed(autojump_clock: MockClock, net: Net, traffic: Callable[[], Traffic | None]) -> None:
    net.alive, net.counts = {TWO}, traffic
    net.reach.consider(here(), [TWO])
    await net.during(3600)
    assert len(net.asked) == 1


async def test_hundreds_out_of_reach_do_not_fill_the_link_and_each_is_asked_in_its_turn(autojump_clock: MockClock, net: Net) -> None:
    many = [peer(number) for number in range(2, 202)]
    net.reach.consider(here(), many)

    async def open_() -> None:
        net.alive = {many[0]}
        await trio.sleep(3600)

    await net.during(3600, open_)
    rounds = [peers for at, peers in net.asked if at > 60]
    assert {len(peers) for peers in rounds} == {reach.SILENT_AT_ONCE}
    assert net.told[0] == Verdict(False, tuple(many))
    assert net.told[1] == Verdict(True, tuple(many[1:]))
