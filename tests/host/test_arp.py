from __future__ import annotations

import contextlib
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest
import trio

from edgek.host import netlink
from edgek.host.arp import Asker, Station
from tests.fakes.machines import namespace, sh

pytestmark = pytest.mark.root

NEAR, FAR = Station(IPv4Address("192.0.2.1"), "02:00:00:00:00:01"), Station(IPv4Address("192.0.2.2"), "02:00:00:00:00:02")


@pytest.fixture
def near() -> Iterator[Path]:
    """A machine with one cable to another."""
    with namespace("near") as near, namespace("far") as far:
        sh(f"ip -n {near.name} link add eth0 address {NEAR.mac} type veth peer name eth0 address {FAR.mac} netns {far.name}")
        for place, station in ((near, NEAR), (far, FAR)):
            sh(f"ip -n {place.name} addr add {station.address}/24 dev eth0; ip -n {place.name} link set eth0 up")
        yield near


async def answered(asker: Asker, *stations: Station) -> set[IPv4Address]:
    """Asked until somebody answers: what is sent before the cable is known to be in is lost."""
    while True:
        for station in stations:
            asker.ask(NEAR, station)
        with trio.move_on_after(0.1):
            return await asker.answers()


async def test_who_holds_the_address_answers(near: Path) -> None:
    with contextlib.closing(netlink.in_namespace(near, lambda: Asker("eth0"))) as asker, trio.fail_after(20):
        assert await answered(asker, FAR) == {FAR.address}


async def test_who_does_not_hold_it_is_silent(near: Path) -> None:
    with contextlib.closing(netlink.in_namespace(near, lambda: Asker("eth0"))) as asker, trio.fail_after(20):
        assert await answered(asker, Station(IPv4Address("192.0.2.3"), FAR.mac), FAR) == {FAR.address}  # asked later, answered first


async def test_a_link_that_goes_ends_the_waiting(near: Path) -> None:
    with contextlib.closing(netlink.in_namespace(near, lambda: Asker("eth0"))) as asker, trio.fail_after(20):
        sh(f"ip -n {near.name} link set eth0 down")
        assert await asker.answers() == set()
        with pytest.raises(OSError):
            asker.ask(NEAR, FAR)


def test_a_link_that_is_not_there_cannot_be_asked_on(near: Path) -> None:
    with pytest.raises(OSError):
        netlink.in_namespace(near, lambda: Asker("eth7"))


async def test_packets_of_a_link_are_counted(near: Path) -> None:
    with netlink.open_socket(near) as kernel:
        before = kernel.packets("eth0")
        with contextlib.closing(netlink.in_namespace(near, lambda: Asker("eth0"))) as asker, trio.fail_after(20):
            for _ in range(3):
                assert await answered(asker, FAR)
        after = kernel.packets("eth0")
        assert kernel.packets("eth7") is None
    assert before is not None and after is not None
    assert after[0] >= before[0] + 3 and after[1] >= before[1] + 3
