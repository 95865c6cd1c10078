"""Against the real kernel, in namespaces of our own."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest

from edgek.host import netlink, vxlan
from edgek.host.vxlan import Forwarding, Vxlan
from tests.fakes.machines import Machine, open_switch

MAC = "02:11:22:33:44:55"


@pytest.fixture
def machine() -> Iterator[Machine]:
    with open_switch() as switch:
        yield switch.machine("one")


@pytest.fixture
def kernel(machine: Machine) -> Iterator[netlink.Socket]:
    with netlink.open_socket(machine.place) as kernel:
        yield kernel


@pytest.fixture
def wanted(machine: Machine, kernel: netlink.Socket) -> Vxlan:
    eth0 = kernel.link("eth0")
    assert eth0 is not None
    return Vxlan(1, eth0.index, IPv4Address(machine.address), 8472)


@pytest.fixture
def link(kernel: netlink.Socket, wanted: Vxlan) -> netlink.Link:
    kernel.run(*vxlan.add("flannel.1", wanted, MAC, 1450, "ours"))
    link = kernel.link("flannel.1")
    assert link is not None
    return link


@pytest.mark.root
def test_an_interface_is_as_it_was_asked_for(link: netlink.Link, wanted: Vxlan, machine: Machine) -> None:
    assert (link.name, link.mac, link.mtu, link.up, link.type, link.alias) == ("flannel.1", MAC, 1450, True, "vxlan", "ours")
    assert vxlan.of(link) == wanted
    assert "nolearning" in machine.ip("-d link show flannel.1")


@pytest.mark.root
def test_other_interfaces_are_none(kernel: netlink.Socket) -> None:
    eth0 = kernel.link("eth0")
    assert eth0 is not None
    assert vxlan.of(eth0) is None


@pytest.mark.root
def test_entries_are_set_moved_and_deleted(kernel: netlink.Socket, link: netlink.Link) -> None:
    first, moved = Forwarding("02:00:00:00:00:02", IPv4Address("192.0.2.2")), Forwarding("02:00:00:00:00:02", IPv4Address("192.0.2.3"))
    for entry in (first, first, moved):
        kernel.run(vxlan.set_forwarding(link.index, entry))
        assert vxlan.forwardings(kernel, link.index) == [entry]
    kernel.run(vxlan.delete_forwarding(link.index, moved))
    assert vxlan.forwardings(kernel, link.index) == []


@pytest.mark.root
def test_checksums_are_left_to_the_interface_by_new_kernels_only(machine: Machine, link: netlink.Link) -> None:
    def computes() -> str:
        return next(line.split()[1] for line in machine.sh("ethtool -k flannel.1").splitlines() if "tx-checksum-ip-generic" in line)

    before = computes()
    assert not netlink.in_namespace(machine.place, lambda: vxlan.mend_checksums("flannel.1", "5.7.0"))
    assert computes() == before == "on"
    assert netlink.in_namespace(machine.place, lambda: vxlan.mend_checksums("flannel.1", "5.4.0-rpi"))
    assert computes() == "off"
