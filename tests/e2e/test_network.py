"""Three real nodes on one link without a default route: pods, hosts, Services and DNS reach each other by VXLAN, and by the nodes as gateways."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from edgek.host import netlink
from tests.e2e.cluster import SETTLE_S, Cluster, Failed, restarts, sh
from tests.e2e.lan import CURL, Lan, LanAgent, LanServer, curl, ends, packets, tunnelled
from tests.fakes.dnsquestion import addresses

pytestmark = pytest.mark.node

IMAGE = "docker.io/library/nginx:1.27"
NODE_PORT, HOST_NODE_PORT, HOST_PORT = 30080, 30081, 8081
MOVED = "198.51.100.77"
AWAY_S = 60.0  # by then an agent whose address changed has dialled its server again


@attrs.frozen
class World:
    """``box`` is the server's node; each node has one pod of the DaemonSet ``web``, and ``three`` one in the host's network."""

    backend: str
    lan: Lan
    box: LanServer
    two: LanAgent
    three: LanAgent

    @property
    def nodes(self) -> dict[str, Cluster]:
        return {"box": self.box, "two": self.two, "three": self.three}

    def pods(self) -> dict[str, dict[str, Any]]:
        """By node."""
        return {pod["spec"]["nodeName"]: pod for pod in self.box.pods("app=web")}

    def from_pod(self, pod: dict[str, Any], *urls: str) -> str:
        said = self.box.kubectl("exec", pod["metadata"]["name"], "--", *CURL, *urls)
        return " ".join(said.split("\n"))

    def everybody(self) -> Iterator[tuple[str, Any]]:
        """Who may ask: each host and each pod, as ``(name, function of URLs)``."""
        for name, node in self.nodes.items():
            yield f"host {name}", lambda *urls, node=node: curl(node.inside(), *urls)
        for name, pod in self.pods().items():
            yield f"pod on {name}", lambda *urls, pod=pod: self.from_pod(pod, *urls)


@pytest.fixture(scope="module", params=["vxlan", "host-gw"])
def world(request: pytest.FixtureRequest, web_one: Path) -> Iterator[World]:
    lan = Lan()
    made: list[Cluster] = []
    try:
        box = LanServer(lan, "--flannel-backend", request.param)
        made.append(box)
        box.start()
        two, three = LanAgent(box, "two", 2), LanAgent(box, "three", 3, "--flannel-iface", "lan0", "--node-external-ip", "198.51.100.3")
        made += [two, three]
        for node in made:
            (node.images / web_one.name).write_bytes(web_one.read_bytes())
        for agent in (two, three):
            agent.start(ready=False)
        for agent in (two, three):
            agent.until(agent.is_ready, SETTLE_S, f"{agent.node_name} is Ready")
        box.apply(daemon_set(), service("web", NODE_PORT), host_pod("three"), service("host", HOST_NODE_PORT))
        box.ready("app=web", 3)
        box.ready("app=host", 1)
        yield World(request.param, lan, box, two, three)
    finally:
        for node in reversed(made):
            node.remove()
        lan.remove()


def template(app: str, **spec: Any) -> dict[str, Any]:
    container = {
        "name": "web",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "readinessProbe": {"httpGet": {"port": 80}, "periodSeconds": 1, "timeoutSeconds": 5},
    }
    return {"metadata": {"labels": {"app": app}}, "spec": {"containers": [container], "terminationGracePeriodSeconds": 1, **spec}}


def daemon_set() -> dict[str, Any]:
    pod = template("web")
    pod["spec"]["containers"][0]["ports"] = [{"containerPort": 80, "hostPort": HOST_PORT}]
    spec = {"selector": {"matchLabels": {"app": "web"}}, "template": pod}
    return {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "web"}, "spec": spec}


def host_pod(node: str) -> dict[str, Any]:
    made = template("host", hostNetwork=True, dnsPolicy="ClusterFirstWithHostNet", nodeName=node)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "host", **made["metadata"]}, "spec": made["spec"]}


def service(name: str, node_port: int) -> dict[str, Any]:
    spec = {"type": "NodePort", "selector": {"app": name}, "ports": [{"port": 80, "nodePort": node_port}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def cluster_ip(box: Cluster, name: str) -> str:
    return box.kubectl("get", "service", name, "-o", "jsonpath={.spec.clusterIP}")


def test_every_pod_and_every_host_reaches_every_pod(world: World) -> None:
    pods = world.pods()
    urls = [f"http://{pod['status']['podIP']}/host" for pod in pods.values()]
    names = [pod["metadata"]["name"] for pod in pods.values()]
    assert len(pods) == 3
    for who, ask in world.everybody():
        assert [word for word in ask(*urls).split() if word != "one"] == names, who


def test_on_the_cable_packets_between_pods_are_encapsulated_or_plain(world: World) -> None:
    pods = world.pods()
    two, three = pods["two"], pods["three"]
    both = {(two["status"]["podIP"], three["status"]["podIP"]), (three["status"]["podIP"], two["status"]["podIP"])}
    before = [packets(node) for node in (world.two, world.three)] if world.backend == "vxlan" else []
    with world.lan.capture(world.two) as frames:
        world.from_pod(two, f"http://{three['status']['podIP']}/host")
    inside = {ends(packet) for frame in frames if (packet := tunnelled(frame))}
    outside = {ends(frame[14:]) for frame in frames if frame[12:14] == b"\x08\x00"}
    if world.backend == "vxlan":
        assert both <= inside
        assert not both & outside
        for node, counted in zip((world.two, world.three), before, strict=True):
            assert all(now > former for now, former in zip(packets(node), counted, strict=True))
    else:
        assert both <= outside
        assert not inside


def test_services_answer_from_every_pod_every_host_and_outside(world: World) -> None:
    names = {pod["metadata"]["name"] for pod in world.pods().values()}
    for who, ask in world.everybody():
        assert names == set(ask(*[f"http://{cluster_ip(world.box, 'web')}/host"] * 60).split()) - {"one"}, who
        for node in world.nodes.values():
            assert set(ask(f"http://{node.inside_ip}:{NODE_PORT}/host").split()) & names, who
    for node in world.nodes.values():
        assert set(world.lan.http(f"http://{node.inside_ip}:{NODE_PORT}/host").split()) & names


def test_a_port_of_each_host_leads_to_its_own_pod(world: World) -> None:
    pods = world.pods()
    for name, node in world.nodes.items():
        wanted, url = pods[name]["metadata"]["name"], f"http://{node.inside_ip}:{HOST_PORT}/host"
        assert wanted in world.lan.http(url)
        for who, ask in world.everybody():
            assert wanted in ask(url), who
        assert wanted in curl(node.inside(), f"http://127.0.0.1:{HOST_PORT}/host")


def test_an_endpoint_in_a_hosts_network_is_reached_across_nodes(world: World) -> None:
    (pod,) = world.box.pods("app=host")
    assert pod["status"]["podIP"] == world.three.inside_ip
    for who, ask in world.everybody():
        assert ask(f"http://{cluster_ip(world.box, 'host')}/", f"http://{world.two.inside_ip}:{HOST_NODE_PORT}/").split() == ["one", "one"], who


def test_names_are_known_on_every_node(world: World) -> None:
    pods, wanted = world.pods(), cluster_ip(world.box, "web")
    for name, node in world.nodes.items():
        found = netlink.in_namespace(f"/run/netns/{node.name}", lambda: addresses("web.default.svc.cluster.local", "10.43.0.10"))
        assert found == [wanted], name
        assert world.from_pod(pods[name], "http://web.default/host", "http://host/").split()[-1] == "one", name
    said = world.box.kubectl("exec", "host", "--", "curl", "-sS", "--max-time", "5", "http://web/host")
    assert "web-" in said


def test_nodes_show_their_addresses_and_that_all_is_well(world: World) -> None:
    for name, node in world.nodes.items():
        shown = world.box.get("node", name)
        addresses = {each["type"]: each["address"] for each in shown["status"]["addresses"]}
        assert addresses["InternalIP"] == node.inside_ip
        assert addresses.get("ExternalIP") == ("198.51.100.3" if name == "three" else None)
        assert shown["metadata"]["annotations"]["flannel.alpha.coreos.com/public-ip"] == node.inside_ip
        conditions = {each["type"]: each for each in shown["status"]["conditions"]}
        assert (conditions["NetworkUnavailable"]["status"], conditions["NetworkUnavailable"]["reason"]) == ("False", "PodNetworkUp")
        assert "default" not in sh(f"ip -n {node.name} route")


def test_where_the_tunnel_is_closed_the_node_says_so_and_works_on_until_it_is_opened(world: World) -> None:
    if world.backend == "host-gw":
        pytest.skip("there is no tunnel")

    def said(name: str) -> dict[str, str]:
        found = world.box.get("node", name)["status"]["conditions"]
        return next(each for each in found if each["type"] == "NetworkUnavailable")

    sh(f"nsenter --net=/run/netns/{world.two.name} nft 'add table inet wall; add chain inet wall in {{ type filter hook input priority 0; }}'")
    sh(f"nsenter --net=/run/netns/{world.two.name} nft add rule inet wall in udp dport 8472 drop")
    try:
        world.two.stop()
        world.two.start(joining=False)  # as after a boot
        words = ("UDP 8472", f"box ({world.box.inside_ip})", "three")
        world.box.until(lambda: all(word in said("two")["message"] for word in words), SETTLE_S, "two says whom it does not reach", world.two.log_end)
        assert said("two")["status"] == "True"
        assert "taints" not in world.box.get("node", "two")["spec"]
        shown = json.loads(world.box.run("status", *world.box.paths(), "-o", "json"))
        troubled = {node["name"]: node for node in shown["nodes"]}
        assert troubled["two"]["trouble"] == ["NetworkUnavailable"]
        assert "UDP 8472" in troubled["two"]["why"][0]
        assert troubled["box"]["trouble"] == []
    finally:
        sh(f"nsenter --net=/run/netns/{world.two.name} nft delete table inet wall")
    world.box.until(lambda: {said(name)["reason"] for name in world.nodes} == {"PodNetworkUp"}, SETTLE_S, "all is well again", world.two.log_end)


def test_a_node_whose_address_changes_is_followed_and_no_pod_is_touched(world: World) -> None:
    """Last: the node stays where it went."""
    before, former = world.pods(), world.two.inside_ip
    url = {name: f"http://{pod['status']['podIP']}/host" for name, pod in before.items()}
    world.two.move(MOVED)

    def shown() -> set[str]:
        return {each["address"] for each in world.box.get("node", "two")["status"]["addresses"] if each["type"] == "InternalIP"}

    world.box.until(lambda: shown() == {MOVED}, AWAY_S, "the node shows its new address", world.two.log_end)

    def talk() -> bool:
        try:
            return all(world.from_pod(before[one], url[other]) for one, other in itertools.permutations(before, 2))
        except Failed:
            return False

    world.box.until(talk, AWAY_S, "all pods talk again", world.two.log_end)
    after = world.pods()
    assert {name: pod["metadata"]["uid"] for name, pod in after.items()} == {name: pod["metadata"]["uid"] for name, pod in before.items()}
    assert restarts(list(after.values())) == 0
    world.box.ready("app=web", 3)
    assert after["two"]["status"]["hostIP"] == MOVED
    assert former not in sh(f"ip -n {world.three.name} route") + sh(f"nsenter --net=/run/netns/{world.three.name} bridge fdb show")
    assert set(world.lan.http(f"http://{MOVED}:{NODE_PORT}/host").split()) & {pod["metadata"]["name"] for pod in after.values()}
