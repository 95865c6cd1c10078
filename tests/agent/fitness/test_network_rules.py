from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

import pytest

from edgek.agent.fitness import network_rules as rules
from edgek.agent.fitness.facts import Holder, Listener, Network, Ports, Probe
from tests.agent.fitness.test_rules import config, only, problems

REFUSED = {"tcp/6443": "Address already in use"}
PROCESS = Holder(812, "haproxy")
MASTER = IPv4Address("192.0.2.1")


def test_a_kernel_that_takes_our_rules_is_fit() -> None:
    assert [finding.level for finding in rules.probe(Probe(), config())] == ["ok"]


@pytest.mark.parametrize(
    ("lacks", "what"),
    [
        (("CONFIG_NF_TABLES", "CONFIG_NFT_CT"), "the kernel has no nftables (Protocol not supported)"),
        (("CONFIG_NFT_FIB_IPV4",), "the kernel's nftables lacks CONFIG_NFT_FIB_IPV4"),
    ],
)
def test_what_nftables_lacks_is_named_by_the_kernels_options(lacks: tuple[str, ...], what: str) -> None:
    said = only(problems(rules.probe(Probe(nft="Protocol not supported", nft_lacks=lacks), config())))
    assert what in said
    assert f"a kernel of your own needs {' '.join(lacks)}" in said


def test_without_the_library_nftables_is_out_of_reach() -> None:
    assert "install it" in only(problems(rules.probe(Probe(no_library="libnftables.so.1"), config())))


def test_a_kernel_without_veth_runs_no_pods() -> None:
    assert "the kernel makes no veth interfaces; `modprobe veth`" in only(problems(rules.probe(Probe(lacks=("CONFIG_VETH",)), config())))


@pytest.mark.parametrize(("backend", "levels"), [("vxlan", ["ok", "advice"]), ("host-gw", ["ok"])])
def test_a_kernel_without_vxlan_is_a_matter_of_the_backend(backend: str, levels: list[str]) -> None:
    found = list(rules.probe(Probe(lacks=("CONFIG_VXLAN",)), config(flannel_backend=backend)))
    assert [finding.level for finding in found] == levels


def test_what_was_not_tried_is_said() -> None:
    assert [finding.level for finding in rules.probe(Probe(skipped="only root may"), config())] == ["advice"]


def ports(*listeners: Listener, server: bool = True, arguments: dict[str, Any] | None = None, **more: Any) -> list[str]:
    return problems(rules.ports(Ports(listeners, **more), config(**(arguments or {})), server=server))


def test_a_busy_port_is_named_with_the_process_that_holds_it() -> None:
    said = only(ports(Listener("tcp", None, 6443, PROCESS), refused=REFUSED))
    assert "port 6443/tcp is held by haproxy (process 812)" in said
    assert "--https-listen-port" in said


def test_a_process_of_somebody_else_has_no_name() -> None:
    assert "a process that cannot be seen from here" in only(ports(Listener("tcp", None, 6443), refused=REFUSED))


def test_our_own_edgek_may_hold_the_port() -> None:
    assert ports(Listener("tcp", None, 6443, Holder(7, "edgek")), refused=REFUSED, own=7) == []


def test_another_address_is_in_nobodys_way() -> None:
    assert ports(Listener("tcp", MASTER, 6443, PROCESS), arguments={"bind_address": "127.0.0.1"}) == []


def test_an_agent_needs_no_port_for_the_api() -> None:
    assert ports(Listener("tcp", None, 6443, PROCESS), refused=REFUSED, server=False) == []


def test_an_address_that_is_not_this_machines_is_named() -> None:
    said = only(ports(refused={"tcp/6443": "Cannot assign requested address"}, arguments={"bind_address": "192.0.2.1"}))
    assert "192.0.2.1:6443: Cannot assign requested address; choose an address of this machine by --bind-address" in said


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_a_name_server_on_every_address_is_in_the_way_of_ours(protocol: str) -> None:
    said = only(ports(Listener(protocol, None, 53, Holder(9, "dnsmasq"))))
    assert f"port 53/{protocol} is held on every address by dnsmasq (process 9)" in said
    assert "bind-interfaces" in said


def test_a_name_server_on_an_address_of_its_own_is_not() -> None:
    assert ports(Listener("udp", IPv4Address("127.0.0.53"), 53, Holder(9, "systemd-resolve"))) == []


def test_who_holds_the_tunnels_port_is_named_where_there_is_a_tunnel() -> None:
    held = Listener("udp", None, 8472, PROCESS)
    assert "port 8472/udp is held by haproxy (process 812)" in only(ports(held))
    assert ports(held, arguments={"flannel_backend": "host-gw"}) == []
    assert ports(held, arguments={"disable_agent": "true"}) == []


def test_the_tunnel_itself_is_the_kernels_and_nobody_else() -> None:
    assert ports(Listener("udp", None, 8472)) == []


@pytest.mark.parametrize(("address", "flag"), [("10.42.7.1", "--cluster-cidr"), ("10.43.200.9", "--service-cidr")])
def test_a_machine_within_the_clusters_ranges_is_told_to_choose_others(address: str, flag: str) -> None:
    said = only(problems(rules.network(Network(addresses=(("eth0", IPv4Address(address)),)), config())))
    assert f"eth0 has the address {address}, which is of {flag}" in said


def test_addresses_elsewhere_are_fit() -> None:
    assert list(rules.network(Network(addresses=(("eth0", IPv4Address("192.168.1.7")),)), config())) == []


def test_firewalls_and_other_tunnels_get_advice() -> None:
    found = list(rules.network(Network(tunnels=(("flannel.1", 8472),), dropping=("ip filter FORWARD",)), config()))
    assert [finding.level for finding in found] == ["advice", "advice"]
    assert "ip link del flannel.1" in str(found[0])
    assert "ip filter FORWARD" in str(found[1])
    assert "ufw allow from 10.42.0.0/16" in str(found[1])
