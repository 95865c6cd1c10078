"""Three nodes on one switch, with the real kernel: pods of all of them talk, whatever happens to the nodes meanwhile."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator
from ipaddress import IPv4Address
from pathlib import Path

import attrs
import pytest
import trio

from edgek.client.transport import Disconnected
from edgek.cni import remembered
from edgek.cni.reach import Verdict
from edgek.cni.vxlan import mac_of
from edgek.host import netlink
from edgek.host.vxlan import mend_checksums
from edgek.model import kinds
from tests.cni.cluster import Cluster, all_pairs_talk, fails, greeting, pings, until
from tests.fakes.machines import GATEWAY, ask, open_switch, sh

pytestmark = pytest.mark.root
ALL_FRAMES = 0x0003  # ETH_P_ALL


class Away:
    """A server that nobody reaches."""

    async def request(self, request: object) -> object:
        raise Disconnected("no route")

    def stream(self, request: object) -> object:
        raise Disconnected("no route")


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    with open_switch() as switch, contextlib.ExitStack() as stack:
        async with trio.open_nursery() as nursery:
            yield Cluster(switch, stack, nursery, tmp_path)
            nursery.cancel_scope.cancel()


@pytest.fixture(params=["vxlan", "host-gw"])
async def three(request: pytest.FixtureRequest, cluster: Cluster) -> Cluster:
    """Three nodes with a pod each."""
    for name in ("one", "two", "three"):
        node = await cluster.node(name, request.param)
        await node.pod(f"pod-{name}")
    await cluster.joined()
    return cluster


async def test_all_pods_talk_to_all_and_nothing_is_translated(three: Cluster) -> None:
    await three.nodes[0].pod("neighbour")
    await all_pairs_talk([pod for node in three.nodes for pod in node.pods])
    for node in three.nodes:
        for other in three.nodes:
            (answer, _), pod = (await ask(node.machine.place, other.pods[0].address)).split(), other.pods[0]
            assert answer == pod.name


async def test_a_packet_of_the_whole_mtu_arrives_uncut_and_a_larger_one_does_not(three: Cluster) -> None:
    mtu = 1450 if three.nodes[0].backend == "vxlan" else 1500
    pod, far = three.nodes[0].pods[0], three.nodes[1].pods[0].address
    assert await pings(pod, far, mtu)
    assert not await pings(pod, far, mtu + 1)


async def test_on_the_wire_packets_are_encapsulated_with_vxlan_and_plain_with_host_gw(three: Cluster) -> None:
    one, two, _ = three.nodes
    with netlink.in_namespace(three.switch.place, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_FRAMES))) as wire:
        wire.bind(("port0", 0))
        wire.setblocking(False)
        assert await pings(one.pods[0], two.pods[0].address, 500)
        frames = []
        with contextlib.suppress(BlockingIOError):
            while True:
                frames.append(wire.recv(65536))
    machines = {each.machine.address for each in (one, two)}
    outer = {str(IPv4Address(frame[26:30])) for frame in frames if frame[12:14] == b"\x08\x00" and len(frame) > 500}
    tunnelled = [frame for frame in frames if frame[23] == socket.IPPROTO_UDP and frame[36:38] == (8472).to_bytes(2, "big")]
    if one.backend == "vxlan":
        assert outer == machines
        assert all(int.from_bytes(frame[46:49], "big") == 1 for frame in tunnelled) and len(tunnelled) == 2
        assert {str(IPv4Address(frame[76:80])) for frame in tunnelled} == {str(one.pods[0].address), str(two.pods[0].address)}
    else:
        assert outer == {str(one.pods[0].address), str(two.pods[0].address)}
        assert tunnelled == []


async def test_a_node_that_goes_takes_its_entries_along_and_one_that_comes_is_reached(three: Cluster) -> None:
    one, two, gone = three.nodes
    await three.client.delete(kinds.NODE, gone.name)
    await until(lambda: str(gone.range) not in one.routes())
    if one.backend == "vxlan":
        await until(lambda: one.forwardings() == {two.machine.address} and one.neighbours() == {str(two.range.network_address)})
    assert await greeting(one.pods[0], two.pods[0])
    gone.stop()
    three.nodes.remove(gone)
    four = await three.node("four", one.backend)  # with the range of the one that is gone
    assert four.range == gone.range
    await four.pod("pod-four")
    await three.joined()
    await all_pairs_talk([pod for node in three.nodes for pod in node.pods])


async def test_a_node_whose_address_changes_is_followed_and_its_pods_go_on(three: Cluster) -> None:
    moved = three.nodes[1]
    assert moved.heard == ["192.168.77.12"]
    moved.machine.ip("addr add 192.168.77.99/24 dev eth0")
    moved.machine.ip("addr del 192.168.77.12/24 dev eth0")  # the other goes too: it is a secondary of this one
    moved.machine.ip("addr replace 192.168.77.99/24 dev eth0")
    moved.machine.ip("route replace default via 192.168.77.1")
    await until(lambda: three.annotations("two")["flannel.alpha.coreos.com/public-ip"] == "192.168.77.99")
    others = [node for node in three.nodes if node is not moved]
    if moved.backend == "vxlan":
        await until(lambda: all("192.168.77.99" in node.forwardings() and "192.168.77.12" not in node.forwardings() for node in others))
    else:
        await until(lambda: all(node.routes()[str(moved.range)] == "192.168.77.99" for node in others))
    await three.joined()
    assert moved.heard == ["192.168.77.12", "192.168.77.99"]
    await all_pairs_talk([pod for node in three.nodes for pod in node.pods])


async def test_what_somebody_deleted_is_put_back(three: Cluster) -> None:
    one = three.nodes[0]
    for line in (["link del flannel.1"] if one.backend == "vxlan" else []) + [
        f"route flush {three.nodes[1].range}",
        "addr flush dev lo label lo:edgek",
    ]:
        with contextlib.suppress(AssertionError):
            one.machine.ip(line)
    await three.joined()
    await until(lambda: "10.42.0.1/32" in one.machine.ip("addr show dev lo") and "10.43.0.10/32" in one.machine.ip("addr show dev lo"))
    await all_pairs_talk([pod for node in three.nodes for pod in node.pods])


async def test_a_restart_touches_neither_pods_nor_entries(three: Cluster) -> None:
    one = three.nodes[0]
    before = one.machine.ip("-d link show"), one.machine.ip("route show")
    one.stop()
    await three.client.delete(kinds.NODE, "three")  # heard of only after the start
    await one.start()
    await until(lambda: str(three.nodes[2].range) not in one.routes())
    assert one.machine.ip("-d link show") == before[0]
    assert set(before[1].splitlines()) - set(one.machine.ip("route show").splitlines()) == {
        line for line in before[1].splitlines() if line.startswith(str(three.nodes[2].range))
    }
    assert await greeting(one.pods[0], three.nodes[1].pods[0])


async def test_a_node_that_boots_without_its_server_knows_its_range_and_the_others(three: Cluster) -> None:
    one, two, _ = three.nodes
    one.stop()
    for line in ("link del flannel.1",) if one.backend == "vxlan" else ():
        one.machine.ip(line)
    one.machine.ip("route flush proto 237")

    api, three.api = three.api, Away()  # type: ignore[assignment]
    await one.start()
    three.api = api
    fresh = await one.pod("fresh")
    assert fresh.address in one.range
    assert set(one.routes()) == {str(node.range) for node in three.nodes[1:]}
    assert await greeting(fresh, two.pods[0])


async def test_a_node_whose_range_was_given_to_another_one_meanwhile_waits_for_its_own(three: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    """It was deleted while it was switched off."""
    one, two, three_ = three.nodes
    one.stop()
    told = three.annotations("one")
    await three.client.delete(kinds.NODE, "one")
    late = {"metadata": {"name": "late", "annotations": told}, "spec": {"podCIDR": str(one.range), "podCIDRs": [str(one.range)]}}
    await three.client.create(kinds.NODE, late)
    capsys.readouterr()
    await one.start()
    await until(lambda: one.network.nodes.synced.is_set() and one.network.at_rest)
    await three.client.create(kinds.NODE, {"metadata": {"name": "one", "annotations": {}}, "spec": {"podCIDR": "10.42.9.0/24", "podCIDRs": []}})
    await until(lambda: set(one.routes()) == {str(node.range) for node in (one, two, three_)})
    assert "the kernel refused" not in capsys.readouterr().err


async def test_a_backend_that_is_changed_leaves_nothing_of_the_other(three: Cluster) -> None:
    one = three.nodes[0]
    former, one.backend = one.backend, "host-gw" if one.backend == "vxlan" else "vxlan"
    one.stop()
    await one.start()
    await until(lambda: three.annotations("one")["flannel.alpha.coreos.com/backend-type"] == one.backend)
    assert ("flannel.1" in one.machine.ip("link show")) == (one.backend == "vxlan")
    await until(lambda: one.routes() == {})  # the others speak another language
    assert await fails(one.pods[0], three.nodes[1].pods[0])
    await until(lambda: all(str(one.range) not in node.routes() for node in three.nodes[1:]))
    one.stop()
    one.backend = former
    await one.start()
    await three.joined()
    await all_pairs_talk([pod for node in three.nodes for pod in node.pods])


async def test_a_node_publishes_what_flannel_would_and_repeats_it_when_it_is_taken_away(cluster: Cluster) -> None:
    one = await cluster.node("one")
    wanted = {
        "flannel.alpha.coreos.com/kube-subnet-manager": "true",
        "flannel.alpha.coreos.com/backend-type": "vxlan",
        "flannel.alpha.coreos.com/backend-data": '{"VNI":1,"VtepMAC":"' + mac_of("one") + '"}',
        "flannel.alpha.coreos.com/public-ip": one.machine.address,
    }
    await until(lambda: cluster.annotations("one") == wanted)
    await cluster.client.patch(kinds.NODE, "one", {"metadata": {"annotations": {"flannel.alpha.coreos.com/public-ip": None}}})
    await until(lambda: cluster.annotations("one") == wanted)


async def test_a_node_alone_makes_no_interface(cluster: Cluster) -> None:
    one = await cluster.node("one")
    assert "flannel.1" not in one.machine.ip("link show")
    assert await one.pod("pod")


async def test_at_rest_nothing_is_written_to_the_api(cluster: Cluster) -> None:
    one, _ = await cluster.node("one"), await cluster.node("two")
    await cluster.joined()
    await until(lambda: all(node.network.at_rest for node in cluster.nodes))
    writes = len(cluster.api.writes)
    memory = (cluster.folder / "one" / "network.json").stat().st_mtime_ns
    await cluster.client.patch(kinds.NODE, "two", {"metadata": {"labels": {"a": "b"}}})
    one.machine.ip("link add noise type bridge")
    await until(lambda: all(node.network.at_rest for node in cluster.nodes))
    assert len(cluster.api.writes) == writes + 1
    assert (cluster.folder / "one" / "network.json").stat().st_mtime_ns == memory


async def test_the_mtu_follows_the_uplink_for_the_tunnel_and_for_new_pods(cluster: Cluster) -> None:
    one, _ = await cluster.node("one"), await cluster.node("two")
    await cluster.joined()
    one.machine.ip("link set eth0 mtu 1400")
    await until(lambda: "mtu 1350" in one.machine.ip("link show flannel.1"))
    await until(lambda: one.network.at_rest)
    pod = await one.pod("late")
    assert "mtu 1350" in sh(f"ip -n {pod.place.name} link show eth0")


async def test_without_a_default_route_services_have_a_way_out_and_the_address_stays(cluster: Cluster) -> None:
    one = await cluster.node("one")
    assert "10.43.0.0/16" not in one.machine.ip("route show")
    one.machine.ip("route del default")
    await until(lambda: f"10.43.0.0/16 dev lo proto 237 scope link src {one.machine.address}" in one.machine.ip("route show"))
    one.machine.ip("route add default via 192.168.77.1")
    await until(lambda: "10.43.0.0/16" not in one.machine.ip("route show"))
    assert one.heard == [one.machine.address]


async def test_a_box_with_no_cable_at_all_attaches_its_pods(cluster: Cluster) -> None:
    one = await cluster.node("one")
    one.stop()
    one.machine.ip("link set eth0 down")
    await one.start()
    await until(lambda: one.network.at_rest)
    first, second = await one.pod("first"), await one.pod("second")
    await all_pairs_talk([first, second])
    one.machine.ip("link set eth0 up")
    await until(lambda: one.heard[-1:] == [one.machine.address])


async def test_the_interface_that_the_operator_named_is_taken(cluster: Cluster) -> None:
    one, _ = await cluster.node("one"), await cluster.node("two")
    await cluster.joined()
    one.stop()
    one.machine.ip("link add second type bridge")
    one.machine.ip("addr add 172.31.0.5/24 dev second")
    one.machine.ip("link set second up mtu 1300")
    one.wish = attrs.evolve(one.wish, interface="second")
    await one.start()
    assert one.heard[-1] == "172.31.0.5"
    assert "local 172.31.0.5 dev second" in one.machine.ip("-d link show flannel.1")
    assert "mtu 1250" in one.machine.ip("link show flannel.1")


async def test_where_the_tunnel_does_not_get_through_the_node_says_so_and_takes_it_back(three: Cluster) -> None:
    for node in three.nodes:
        await three.says(node.name, ready=True)
    if three.nodes[0].backend == "host-gw":  # no tunnel, and so nothing to say against it
        await until(lambda: all(three.condition(node.name).get("reason") == "PodNetworkUp" for node in three.nodes))
        return
    one, two, _ = three.nodes
    await until(lambda: all(node.network.verdict == Verdict(reached=True) for node in three.nodes))
    await until(lambda: all(three.condition(node.name).get("reason") == "PodNetworkUp" for node in three.nodes))
    before = three.condition("two")
    one.machine.sh("nft 'add table inet wall; add chain inet wall in { type filter hook input priority 0; }'")
    one.machine.sh("nft add rule inet wall in udp dport 8472 drop")
    one.machine.ip("addr add 192.168.77.99/24 dev eth0")  # what changed made it ask again
    one.machine.ip("addr del 192.168.77.11/24 dev eth0")
    one.machine.ip("addr replace 192.168.77.99/24 dev eth0")
    await until(lambda: three.condition("one").get("status") == "True")
    said = three.condition("one")
    assert said["reason"] == "PeersUnreachable"
    assert all(word in said["message"] for word in ("UDP 8472", f"two ({two.machine.address})", "three"))
    await until(lambda: three.condition("two").get("reason") == "SomePeersUnreachable")
    assert three.condition("two")["status"] == "False"
    assert three.condition("two")["lastTransitionTime"] == before["lastTransitionTime"]
    one.machine.sh("nft delete table inet wall")
    await until(lambda: all(three.condition(node.name).get("reason") == "PodNetworkUp" for node in three.nodes))
    writes = len(three.api.writes)
    await until(lambda: all(node.network.at_rest for node in three.nodes))
    assert len(three.api.writes) == writes


async def test_of_nodes_that_are_not_ready_nothing_is_said(cluster: Cluster) -> None:
    one, two = await cluster.node("one"), await cluster.node("two")
    await cluster.joined()
    await cluster.says("two", ready=False)
    two.machine.ip("link set eth0 down")
    await until(lambda: cluster.condition("one").get("status") == "False")
    await cluster.says("two", ready=True)
    await until(lambda: cluster.condition("one").get("status") == "True")
    await cluster.says("two", ready=False)
    await until(lambda: cluster.condition("one").get("status") == "False")
    assert one.network.uplink is not None


async def test_what_breaks_in_silence_is_noticed_by_what_pods_send_in_vain(three: Cluster) -> None:
    for node in three.nodes:
        await three.says(node.name, ready=True)
    one, two, _ = three.nodes
    if one.backend == "host-gw":
        await until(lambda: one.network.verdict == Verdict())  # there is no tunnel that could tell
        return
    await until(lambda: one.network.verdict == Verdict(reached=True))
    three.switch.ip("link set port1 down")
    three.switch.ip("link set port2 down")  # one hears nothing of it
    with netlink.in_namespace(one.pods[0].place, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sender:

        def said_and_sent() -> bool:
            for _ in range(3):
                sender.sendto(b"in vain", (str(two.pods[0].address), 9))
            return three.condition("one")["status"] == "True"

        await until(said_and_sent)
    assert "two" in three.condition("one")["message"]


async def test_a_node_with_an_address_before_a_router_is_sent_packets_there(cluster: Cluster) -> None:
    """The router forwards UDP 8472, and nothing else. What it gets has its checksums, as from any real wire: a kernel that translates a packet of its own
    machine whose inner checksum is still to be made spoils the outer one."""
    one, two = await cluster.registered("one"), await cluster.node("two")
    one.external = IPv4Address(GATEWAY)
    cluster.switch.sh("nft 'add table ip router; add chain ip router in { type nat hook prerouting priority dstnat; }'")
    cluster.switch.sh(f"nft add rule ip router in ip daddr {GATEWAY} udp dport 8472 ip saddr {two.machine.address} dnat to {one.machine.address}")
    cluster.switch.sh("sysctl -qw net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=0")
    await one.start()
    await until(lambda: cluster.annotations("one").get("flannel.alpha.coreos.com/public-ip") == GATEWAY)
    netlink.in_namespace(two.machine.place, lambda: mend_checksums("eth0", "5.4"))
    await one.pod("pod-one")
    await two.pod("pod-two")
    await cluster.joined()
    assert two.forwardings() == {GATEWAY}
    await all_pairs_talk([*one.pods, *two.pods])
    assert one.heard == [one.machine.address]  # its own address is what it was


async def test_with_host_gw_an_address_before_a_router_is_of_no_use(cluster: Cluster) -> None:
    one = await cluster.registered("one", "host-gw")
    one.external = IPv4Address("203.0.113.4")
    await one.start()
    await until(lambda: cluster.annotations("one").get("flannel.alpha.coreos.com/public-ip") == one.machine.address)


async def test_a_full_disk_stops_no_network_and_what_was_heard_is_kept_when_there_is_room(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: Path, known: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(remembered, "write", full)
        one = await cluster.node("one", "host-gw")
        two = await cluster.node("two", "host-gw")
        await cluster.joined()
        await until(lambda: str(two.range) in one.routes())
        assert not remembered.read(one._folder / "network.json").peers
    await cluster.node("three", "host-gw")
    await cluster.joined()
    await until(lambda: {peer.name for peer in remembered.read(one._folder / "network.json").peers} == {"two", "three"})
