from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, ip_address, ip_network

import pytest

from edgek.cni.uplink import Sight, Uplink, Wish, choose
from edgek.host.netlink import Link, Route

AVOID = (IPv4Network("10.42.0.0/16"), IPv4Network("10.43.0.0/16"))
NAMES = ("lo", "eth0", "wlan0", "ppp0", "docker0", "flannel.1", "ek0123456789a")
INDEX = {name: number for number, name in enumerate(NAMES, start=1)}
MTU = {"ppp0": 1492}


def sight(addresses: dict[str, list[str]], *defaults: tuple[str, int], down: str = "") -> Sight:
    """What a kernel shows; ``defaults`` are default routes as ``(interface, metric)``."""
    links = [Link(INDEX[name], name, "02:00:00:00:00:01", MTU.get(name, 1500), name != down) for name in NAMES]
    held = [(INDEX[name], ip_address(each)) for name, listed in addresses.items() for each in listed]
    routes = [Route(ip_network("0.0.0.0/0"), ip_address("192.0.2.254"), INDEX[name], metric=metric) for name, metric in defaults]
    return Sight(links, held, routes)


TWO = {"lo": ["127.0.0.1"], "eth0": ["192.0.2.1"], "wlan0": ["198.51.100.1"]}
BUSY = {
    "lo": ["127.0.0.1", "10.42.0.1", "10.43.0.10"],
    "docker0": ["172.17.0.1"],
    "flannel.1": ["10.42.0.0"],
    "eth0": ["169.254.7.7", "192.0.2.1"],
}


@pytest.mark.parametrize(
    ("shown", "chosen"),
    [
        pytest.param(sight(TWO, ("wlan0", 0)), "wlan0 198.51.100.1", id="the default route's interface"),
        pytest.param(sight(TWO, ("wlan0", 600), ("eth0", 100)), "eth0 192.0.2.1", id="of two default routes the better one"),
        pytest.param(sight(TWO), "eth0 192.0.2.1", id="without a default route the first that faces outside"),
        pytest.param(sight(BUSY), "eth0 192.0.2.1", id="never pods, Services, containers or link-local"),
        pytest.param(sight(TWO, down="eth0"), "wlan0 198.51.100.1", id="not what is down"),
        pytest.param(sight(TWO, ("ppp0", 0)), "eth0 192.0.2.1", id="a default route over an interface without address does not help"),
        pytest.param(sight({"ppp0": ["203.0.113.9"], **TWO}, ("ppp0", 0)), "ppp0 203.0.113.9", id="a modem"),
        pytest.param(
            sight({"docker0": ["172.17.0.1"], "eth0": ["192.0.2.1"]}, ("docker0", 0)), "docker0 172.17.0.1", id="a bridge that leads outside"
        ),
        pytest.param(sight({"lo": ["127.0.0.1"]}), None, id="nothing at all"),
    ],
)
def test_the_address_by_which_others_reach_us(shown: Sight, chosen: str | None) -> None:
    found = choose(Wish(avoid=AVOID), shown)
    assert (f"{found.name} {found.address}" if found else None) == chosen


def test_what_the_operator_said_goes_first() -> None:
    shown = sight(TWO, ("eth0", 0))
    by_interface, by_address = choose(Wish(interface="wlan0"), shown), choose(Wish(IPv4Address("198.51.100.1")), shown)
    assert by_interface == by_address == Uplink(INDEX["wlan0"], "wlan0", IPv4Address("198.51.100.1"), 1500)
    assert choose(Wish(IPv4Address("192.0.2.77")), shown) is None
    assert choose(Wish(interface="eth7"), shown) is None


def test_the_address_stays_while_it_is_there() -> None:
    current = Uplink(INDEX["eth0"], "eth0", IPv4Address("192.0.2.2"), 1500)
    more = {**TWO, "eth0": ["192.0.2.1", "192.0.2.2"]}
    assert choose(Wish(), sight(more, ("eth0", 0)), current) == current
    assert choose(Wish(), sight(more), current) == current  # also when the default route is gone
    moved = choose(Wish(), sight(TWO, ("eth0", 0)), current)
    assert moved is not None
    assert str(moved.address) == "192.0.2.1"


def test_the_mtu_is_that_of_the_interface() -> None:
    found = choose(Wish(), sight({"ppp0": ["203.0.113.9"]}, ("ppp0", 0)))
    assert found is not None
    assert found.mtu == 1492
