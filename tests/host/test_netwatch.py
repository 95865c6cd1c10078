"""Against the real kernel, in a namespace of our own."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, ip_network
from pathlib import Path

import pytest
import trio

from edgek.host import netlink
from edgek.host.netwatch import Monitor
from tests.fakes.machines import namespace

pytestmark = pytest.mark.root
LO = 1


@pytest.fixture
def place() -> Iterator[Path]:
    with namespace("watch") as path:
        yield path


@pytest.fixture
def monitor(place: Path) -> Iterator[Monitor]:
    monitor = netlink.in_namespace(place, Monitor)
    yield monitor
    monitor.close()


async def test_links_addresses_and_routes_are_heard_of_as_they_change(place: Path, monitor: Monitor) -> None:
    with netlink.open_socket(place) as kernel, trio.fail_after(20):
        kernel.run(netlink.set_up(LO))
        assert [(each.name, each.up) for each in await monitor.changes() if isinstance(each, netlink.Link)] == [("lo", True)]
        kernel.run(netlink.add_address(LO, IPv4Address("10.1.0.1"), 32))
        assert None in await monitor.changes()
        far = ip_network("10.2.0.0/16")
        kernel.run(netlink.set_route(far, LO, source=IPv4Address("10.1.0.1")))
        assert [each.destination for each in await monitor.changes() if isinstance(each, netlink.Route)] == [far]
        kernel.run(netlink.delete_route(far))
        assert [each.destination for each in await monitor.changes() if isinstance(each, netlink.Route)] == [far]


async def test_nothing_is_heard_while_nothing_changes(place: Path, monitor: Monitor) -> None:
    with trio.move_on_after(0.05) as scope:
        await monitor.changes()
    assert scope.cancelled_caught


async def test_who_was_told_more_than_fits_is_told_to_look_at_all(place: Path, monitor: Monitor) -> None:
    routes = [ip_network(f"10.{number // 250}.{number % 250}.0/24") for number in range(2000)]
    with netlink.open_socket(place) as kernel, trio.fail_after(20):
        kernel.run(netlink.set_up(LO))
        kernel.run(*(netlink.set_route(route, LO) for route in routes))
        assert None in await monitor.changes()
        kernel.run(netlink.delete_route(routes[0]))
        assert [each.destination for each in await monitor.changes() if isinstance(each, netlink.Route)] == [routes[0]]
