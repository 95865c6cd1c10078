"""Against the real kernel, in namespaces of our own."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from ipaddress import IPv4Address, ip_network
from uuid import uuid4

import pytest

from edgek.host import netlink

pytestmark = pytest.mark.root


@pytest.fixture
def netns() -> Iterator[str]:
    name = f"edgek-{uuid4().hex[:8]}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    yield f"/run/netns/{name}"
    subprocess.run(["ip", "netns", "del", name], check=True)


@pytest.fixture
def pair(netns: str) -> Iterator[tuple[netlink.Socket, netlink.Link]]:
    """``left`` in the namespace, with ``right`` beside it."""
    with netlink.open_socket(netns) as inside:
        here = os.open(netns, os.O_RDONLY)
        inside.run(netlink.add_veth("left", "ee:ee:ee:ee:ee:ee", 1400, "right", "0a:58:0a:00:00:02", here))
        os.close(here)
        link = inside.link("left")
        assert link is not None
        yield inside, link


def test_a_pair_is_as_it_was_asked_for(pair: tuple[netlink.Socket, netlink.Link]) -> None:
    inside, left = pair
    assert (left.name, left.mac, left.mtu, left.up) == ("left", "ee:ee:ee:ee:ee:ee", 1400, True)
    right = inside.link("right")
    assert right is not None
    assert (right.mac, right.mtu, right.up) == ("0a:58:0a:00:00:02", 1400, False)
    assert {"lo", "left", "right"} <= {link.name for link in inside.links()}


def test_addresses_and_routes_are_set_replaced_and_deleted(pair: tuple[netlink.Socket, netlink.Link]) -> None:
    inside, left = pair
    address, far = IPv4Address("10.1.0.1"), ip_network("10.2.0.0/16")
    for _ in range(2):
        inside.run(
            netlink.add_address(left.index, address, 32),
            netlink.set_neighbour(left.index, IPv4Address("169.254.1.1"), "ee:ee:ee:ee:ee:ee"),
            netlink.set_route(far, left.index, gateway=IPv4Address("169.254.1.1"), source=address),
        )
    assert (left.index, address) in inside.addresses()
    assert netlink.Route(far, IPv4Address("169.254.1.1"), left.index, source=address) in inside.routes()
    assert netlink.Neighbour(IPv4Address("169.254.1.1"), "ee:ee:ee:ee:ee:ee", permanent=True) in inside.neighbours(left.index)
    inside.run(netlink.delete_route(far), netlink.delete_neighbour(left.index, IPv4Address("169.254.1.1")))
    inside.run(netlink.delete_address(left.index, address, 32))
    assert (left.index, address) not in inside.addresses()
    assert far not in [route.destination for route in inside.routes()]


def test_who_set_a_route_is_remembered_and_only_his_is_deleted(pair: tuple[netlink.Socket, netlink.Link]) -> None:
    inside, left = pair
    far = ip_network("10.2.0.0/16")
    inside.run(netlink.set_route(far, left.index, protocol=77))
    assert [route.protocol for route in inside.routes() if route.destination == far] == [77]
    with pytest.raises(netlink.NetlinkError):
        inside.run(netlink.delete_route(far, protocol=78))
    inside.run(netlink.delete_route(far, protocol=77))
    assert far not in [route.destination for route in inside.routes()]


def test_a_gateway_that_is_not_on_the_link_is_refused_where_the_kernel_shall_check(pair: tuple[netlink.Socket, netlink.Link]) -> None:
    inside, left = pair
    with pytest.raises(netlink.NetlinkError) as caught:
        inside.run(netlink.set_route(ip_network("10.2.0.0/16"), left.index, gateway=IPv4Address("192.0.2.9"), onlink=False))
    assert caught.value.errno == errno.ENETUNREACH


def test_a_thousand_requests_are_all_answered(pair: tuple[netlink.Socket, netlink.Link]) -> None:
    inside, left = pair
    destinations = [ip_network(f"10.{number // 250}.{number % 250}.0/24") for number in range(1000)]
    inside.run(*(netlink.set_route(destination, left.index) for destination in destinations))
    assert {route.destination for route in inside.routes()} >= set(destinations)


def test_an_address_that_is_no_source_is_answered_for_only(pair: tuple[netlink.Socket, netlink.Link], netns: str) -> None:
    inside, left = pair
    inside.run(
        netlink.add_address(left.index, IPv4Address("10.1.0.7"), 32, as_source=False), netlink.add_address(left.index, IPv4Address("10.1.0.1"), 32)
    )
    inside.run(netlink.set_route(ip_network("10.2.0.0/16"), left.index))
    shown = subprocess.run(["ip", "-n", os.path.basename(netns), "route", "get", "10.2.0.1"], check=True, capture_output=True, text=True).stdout
    assert "src 10.1.0.1 " in shown


def test_the_mtu_is_changed_in_place(pair: tuple[netlink.Socket, netlink.Link]) -> None:
    inside, left = pair
    inside.run(netlink.set_mtu(left.index, 1300))
    changed = inside.link("left")
    assert changed is not None
    assert (changed.index, changed.mtu, changed.up) == (left.index, 1300, True)


def test_a_refusal_says_what_was_asked_and_the_others_are_carried_out(pair: tuple[netlink.Socket, netlink.Link]) -> None:
    inside, left = pair
    with pytest.raises(netlink.NetlinkError, match="delete link nobody") as caught:
        inside.run(netlink.delete_link("nobody"), netlink.add_address(left.index, IPv4Address("10.1.0.9"), 32))
    assert caught.value.errno == errno.ENODEV
    assert (left.index, IPv4Address("10.1.0.9")) in inside.addresses()


def test_a_name_that_is_taken_is_refused(pair: tuple[netlink.Socket, netlink.Link], netns: str) -> None:
    inside, _ = pair
    here = os.open(netns, os.O_RDONLY)
    with pytest.raises(netlink.NetlinkError) as caught:
        inside.run(netlink.add_veth("left", "ee:ee:ee:ee:ee:ee", 1400, "other", "0a:58:0a:00:00:02", here))
    os.close(here)
    assert caught.value.errno == errno.EEXIST


def test_a_link_that_is_not_there_is_none(pair: tuple[netlink.Socket, netlink.Link]) -> None:
    assert pair[0].link("nobody") is None


def test_the_thread_is_home_again_whatever_happened_away(netns: str) -> None:
    home = os.readlink(netlink.OWN_NAMESPACE)

    def fail() -> None:
        assert os.readlink(netlink.OWN_NAMESPACE) != home
        raise RuntimeError("away")

    with pytest.raises(RuntimeError, match="away"):
        netlink.in_namespace(netns, fail)
    assert os.readlink(netlink.OWN_NAMESPACE) == home
