"""What is asked of the kernel: only what differs."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, ip_network

from edgek.cni import vxlan
from edgek.cni.backend import ROUTE_PROTOCOL, routes_to
from edgek.host.netlink import Neighbour, Route
from edgek.host.vxlan import Forwarding

ONE, TWO = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")
LINK = 7


def said(requests: list) -> list[str]:
    return [request.says for request in requests]


def test_neighbours_that_are_right_are_left_alone() -> None:
    seen = [Neighbour(ONE, "02:00:00:00:00:01", True), Neighbour(TWO, "02:00:00:00:00:09", True)]
    wanted = {ONE: "02:00:00:00:00:01", TWO: "02:00:00:00:00:02"}
    assert said(vxlan.neighbour_changes(LINK, wanted, seen)) == ["set neighbour 192.0.2.2 at 02:00:00:00:00:02 on link 7"]
    assert said(vxlan.neighbour_changes(LINK, {}, seen)) == ["delete neighbour 192.0.2.1 on link 7", "delete neighbour 192.0.2.2 on link 7"]


def test_a_forwarding_entry_moves_with_its_machine_and_goes_with_its_node() -> None:
    seen = [Forwarding("02:00:00:00:00:01", ONE), Forwarding("02:00:00:00:00:02", TWO)]
    assert vxlan.forwarding_changes(LINK, {each.mac: each.machine for each in seen}, seen) == []
    assert said(vxlan.forwarding_changes(LINK, {"02:00:00:00:00:01": TWO}, seen)) == [
        "delete 02:00:00:00:00:02 at 192.0.2.2 on link 7",
        "set 02:00:00:00:00:01 at 192.0.2.2 on link 7",
    ]


def test_routes_of_others_are_never_deleted() -> None:
    ours, theirs, pod = (ip_network(each) for each in ("10.42.1.0/24", "10.99.0.0/16", "10.42.0.5/32"))
    seen = [
        Route(ours, ONE, LINK, protocol=ROUTE_PROTOCOL),
        Route(theirs, TWO, LINK),
        Route(pod, None, 9),
        Route(ip_network("10.43.0.0/16"), None, 1, ONE, protocol=ROUTE_PROTOCOL),  # the way out for Services is kept by somebody else
    ]
    assert said(routes_to({}, LINK, seen, onlink=True)) == ["delete route 10.42.1.0/24"]
    assert routes_to({IPv4Network("10.42.1.0/24"): ONE}, LINK, seen, onlink=True) == []
    assert said(routes_to({IPv4Network("10.42.1.0/24"): TWO}, LINK, seen, onlink=True)) == ["set route 10.42.1.0/24 via 192.0.2.2 on link 7"]
