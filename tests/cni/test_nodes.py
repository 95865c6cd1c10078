from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest

from edgek.cni import nodes
from edgek.cni.backend import OnlyHere, Peer
from edgek.cni.backends import BACKENDS
from edgek.cni.hostgw import HostGateway
from edgek.cni.reach import Verdict
from edgek.cni.vxlan import VxlanBackend, mac_of, published_mac
from edgek.model.conditions import PEERS_UNREACHABLE

CLUSTER = IPv4Network("10.42.0.0/16")
DATA = '{"VNI":1,"VtepMAC":"5e:2d:12:34:56:78"}'
TOLD = {"kube-subnet-manager": "true", "backend-type": "vxlan", "backend-data": DATA, "public-ip": "192.0.2.2"}


def node(name: str = "two", pod_range: str = "10.42.2.0/24", **told: Any) -> nodes.NodeView:
    said = {**TOLD, **{key.replace("_", "-"): value for key, value in told.items()}}
    annotations = {nodes.PREFIX + key: value for key, value in said.items() if value is not None}
    return nodes.view({"metadata": {"name": name, "annotations": {"other": "x", **annotations}}, "spec": {"podCIDR": pod_range}})


def test_a_node_as_flanneld_publishes_it_is_a_peer() -> None:
    assert nodes.peers([node(), node("one")], "one", VxlanBackend(), CLUSTER) == (
        [Peer("two", IPv4Address("192.0.2.2"), IPv4Network("10.42.2.0/24"), DATA)],
        [],
    )


@pytest.mark.parametrize(
    "quiet",
    [
        pytest.param(node(pod_range=""), id="no range yet"),
        pytest.param(node(kube_subnet_manager=None), id="no agent has spoken yet"),
    ],
)
def test_a_node_that_has_told_nothing_yet_is_no_peer_and_no_trouble(quiet: nodes.NodeView) -> None:
    assert nodes.peers([quiet], "one", VxlanBackend(), CLUSTER) == ([], [])


@pytest.mark.parametrize(
    ("strange", "why"),
    [
        pytest.param(node(backend_type="host-gw"), "backend host-gw, this node vxlan", id="another backend"),
        pytest.param(node(public_ip="fe80::1"), "nonsense", id="an address of another family"),
        pytest.param(node(public_ip=None), "nonsense", id="no address"),
        pytest.param(node(pod_range="0.0.0.0/0"), "not within --cluster-cidr", id="a range that would swallow all traffic"),
    ],
)
def test_a_node_that_cannot_be_reached_is_named_with_the_reason(strange: nodes.NodeView, why: str) -> None:
    found, refused = nodes.peers([strange], "one", VxlanBackend(), CLUSTER)
    assert found == []
    assert why in refused[0] and "two" in refused[0]


def test_each_backend_publishes_what_flannels_would() -> None:
    address = IPv4Address("192.0.2.1")
    said = nodes.announcement(VxlanBackend(), "one", address, {})
    assert said[nodes.DATA] == '{"VNI":1,"VtepMAC":"' + mac_of("one") + '"}'
    assert nodes.announcement(HostGateway(), "one", address, {}) == {
        "flannel.alpha.coreos.com/kube-subnet-manager": "true",
        "flannel.alpha.coreos.com/backend-type": "host-gw",
        "flannel.alpha.coreos.com/backend-data": "null",
        "flannel.alpha.coreos.com/public-ip": "192.0.2.1",
    }
    assert nodes.announcement(OnlyHere(), "one", address, {}) == {}


def test_an_administrator_names_the_address_of_a_forwarded_port() -> None:
    said = nodes.announcement(VxlanBackend(), "one", IPv4Address("192.168.1.5"), {nodes.OVERWRITE: "203.0.113.4"})
    assert said[nodes.ADDRESS] == "203.0.113.4"


def known(number: int) -> Peer:
    return Peer(f"n{number}", IPv4Address(f"192.0.2.{number}"), IPv4Network(f"10.42.{number}.0/24"))


def test_who_reaches_all_or_has_nobody_to_reach_is_available() -> None:
    for verdict in (Verdict(), Verdict(reached=True)):
        assert nodes.condition(verdict)["status"] == "False"
        assert nodes.condition(verdict)["reason"] == "PodNetworkUp"


def test_who_reaches_some_is_available_and_names_the_others() -> None:
    said = nodes.condition(Verdict(True, (known(2),)))
    assert (said["status"], said["reason"]) == ("False", "SomePeersUnreachable")
    assert "UDP 8472 does not get through to n2 (192.0.2.2)" in said["message"]


def test_who_reaches_nobody_is_unavailable_and_is_told_the_port_the_peers_and_the_way_out() -> None:
    said = nodes.condition(Verdict(False, (known(2),)))
    assert (said["status"], said["reason"]) == ("True", PEERS_UNREACHABLE)
    assert all(word in said["message"] for word in ("UDP 8472", "n2 (192.0.2.2)", "--node-external-ip"))
    many = nodes.condition(Verdict(False, tuple(known(number) for number in range(2, 102))))
    assert "n4 (192.0.2.4) and 97 more" in many["message"]
    assert "n5" not in many["message"]


def test_a_condition_is_written_when_its_words_change_and_not_when_its_times_do() -> None:
    wanted = nodes.condition(Verdict(reached=True))
    shown = nodes.view({"status": {"conditions": [{"type": "NetworkUnavailable", **wanted, "lastHeartbeatTime": "2020-01-01T00:00:00Z"}]}}).condition
    assert not nodes.differs(wanted, shown)
    assert nodes.differs(wanted, None)
    assert nodes.differs(nodes.condition(Verdict(False, (known(2),))), shown)


def test_a_nodes_hardware_address_is_its_own_and_stays() -> None:
    found = {mac_of(f"node-{number}") for number in range(500)}
    assert len(found) == 500
    assert all(int(mac[:2], 16) & 3 == 2 for mac in found)  # locally administered, of one machine
    assert mac_of("box") == mac_of("box")


@pytest.mark.parametrize(
    ("data", "mac"),
    [
        (DATA, "5e:2d:12:34:56:78"),
        ('{"VNI":1,"VtepMAC":"5E:2D:12:34:56:78"}', "5e:2d:12:34:56:78"),
        ('{"VNI":2,"VtepMAC":"5e:2d:12:34:56:78"}', ""),
        ('{"VNI":1,"VtepMAC":"5e:2d"}', ""),
        ('{"VNI":1}', ""),
        ("null", ""),
        ("[1]", ""),
        ("", ""),
    ],
)
def test_what_others_published_is_read_with_care(data: str, mac: str) -> None:
    assert published_mac(data) == mac


def test_the_table_knows_the_names_that_the_flag_takes() -> None:
    assert set(BACKENDS) == {"vxlan", "host-gw", "none"}
    assert all(backend().type in (name, "") for name, backend in BACKENDS.items())
