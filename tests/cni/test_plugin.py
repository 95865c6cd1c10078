"""What the plugin answers, and what the shims bring to it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from ipaddress import IPv4Address
from pathlib import Path
from uuid import uuid4

import orjson
import pytest
import trio

from edgek.cni import plugin, setup
from edgek.cni.mappings import HostPort
from edgek.cni.network import PodNetwork
from edgek.host import netlink, process
from tests.fakes.machines import own_address

RANGE = "10.199.250.0/24"
CONFIG = {"cniVersion": "0.4.0", "name": "edgek", "type": "edgek"}


def asked(command: str, container_id: str = "c1", netns: str = "/none") -> dict[str, str]:
    return {"CNI_COMMAND": command, "CNI_CONTAINERID": container_id, "CNI_NETNS": netns, "CNI_IFNAME": "eth0"}


async def told(network: PodNetwork, environment: dict[str, str], config: object = CONFIG) -> tuple[int, dict[str, object]]:
    code, output = await plugin.answer(network, environment, orjson.dumps(config))
    return code, orjson.loads(output) if output else {}


@pytest.fixture
def network(tmp_path: Path) -> PodNetwork:
    return PodNetwork(tmp_path / "state")


@pytest.fixture
def netns() -> Iterator[str]:
    name = f"edgek-{uuid4().hex[:8]}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    yield f"/run/netns/{name}"
    subprocess.run(["ip", "netns", "del", name], check=True)


async def test_version_needs_nothing(network: PodNetwork) -> None:
    code, output = await plugin.answer(network, {"CNI_COMMAND": "VERSION"}, b"")
    assert code == 0
    assert "0.4.0" in orjson.loads(output)["supportedVersions"]


async def test_without_a_pod_range_containerd_is_told_to_try_again(network: PodNetwork) -> None:
    assert await told(network, asked("ADD")) == (
        1,
        {"cniVersion": "0.4.0", "code": 11, "msg": "this node has no pod range yet; the pod is tried again"},
    )


async def test_deleting_what_was_never_added_is_success(network: PodNetwork) -> None:
    assert await told(network, asked("DEL")) == (0, {})


@pytest.mark.parametrize(
    ("environment", "config", "code"),
    [
        pytest.param(asked("JUMP"), CONFIG, 4, id="a command that does not exist"),
        pytest.param(asked("ADD", "../etc"), CONFIG, 4, id="an id that is a path"),
        pytest.param(asked("ADD"), {"cniVersion": "9.0.0"}, 7, id="a version of the future"),
        pytest.param(asked("ADD"), [], 7, id="a configuration that is a list"),
    ],
)
async def test_nonsense_is_refused_with_the_code_of_the_specification(
    network: PodNetwork, environment: dict[str, str], config: object, code: int
) -> None:
    exit_code, output = await told(network, environment, config)
    assert (exit_code, output["code"]) == (1, code)


async def test_a_configuration_that_is_not_json_is_refused(network: PodNetwork) -> None:
    code, output = await plugin.answer(network, asked("ADD"), b"{")
    assert (code, orjson.loads(output)["code"]) == (1, 6)


async def test_a_namespace_that_is_gone_is_an_error_and_keeps_no_address(network: PodNetwork) -> None:
    network.use(RANGE, 1500)
    code, output = await told(network, asked("ADD", netns="/run/netns/gone"))
    assert (code, output["code"]) == (1, 5)
    assert network.attachments() == []


@pytest.mark.root
async def test_a_pod_gets_address_route_and_neighbour_and_check_agrees(network: PodNetwork, netns: str) -> None:
    network.use(RANGE, 1400)
    with gateway(network):
        code, result = await told(network, asked("ADD", netns=netns))
        assert code == 0
        assert result["ips"] == [{"version": "4", "interface": 1, "address": "10.199.250.2/32", "gateway": "169.254.1.1"}]
        with netlink.open_socket(netns) as pod:
            link = pod.link("eth0")
            assert link is not None
            assert (link.up, link.mtu) == (True, 1400)
            assert (link.index, IPv4Address("10.199.250.2")) in pod.addresses()
            assert IPv4Address("169.254.1.1") in [route.gateway for route in pod.routes()]
        assert await told(network, asked("CHECK", netns=netns)) == (0, {})
        with netlink.open_socket(netns) as pod:
            pod.run(netlink.delete_address(link.index, IPv4Address("10.199.250.2"), 32))
        assert (await told(network, asked("CHECK", netns=netns)))[0] == 1


@pytest.mark.root
async def test_adding_again_after_an_attempt_nobody_heard_of_gives_a_fresh_interface(network: PodNetwork, netns: str) -> None:
    network.use(RANGE, 1500)
    with gateway(network):
        first = await told(network, asked("ADD", netns=netns))
        assert await told(network, asked("ADD", netns=netns)) == first


@pytest.mark.root
async def test_a_pods_next_sandbox_has_the_address_of_its_last(network: PodNetwork, netns: str) -> None:
    network.expect({"u-2": IPv4Address("10.199.250.2")})
    network.use(RANGE, 1500)
    arguments = "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;K8S_POD_UID="

    async def address(container_id: str, uid: str) -> str:
        code, _ = await told(network, {**asked("ADD", container_id, netns), "CNI_ARGS": f"{arguments}{uid}"})
        assert code == 0
        found = next(each.address for each in network.attachments() if each.container_id == container_id)
        await told(network, asked("DEL", container_id))
        with netlink.open_socket(netns) as pod:
            pod.run(netlink.delete_link("eth0"))
        return str(found)

    with gateway(network):
        assert await address("c1", "u-1") == "10.199.250.3"
        assert await address("c2", "u-2") == "10.199.250.2", "it was expected"
        assert await address("c3", "u-1") == "10.199.250.3"


@pytest.mark.root
@pytest.mark.parametrize("spelling", [str, lambda word: word[0].upper() + word[1:]], ids=["as specified", "as containerd writes it"])
async def test_host_ports_are_told_to_whoever_translates_addresses(network: PodNetwork, netns: str, spelling: Callable[[str], str]) -> None:
    network.use(RANGE, 1500)
    changed = network.mappings.changed
    listed = [{"hostPort": 8080, "containerPort": 80, "protocol": "TCP"}, {"hostPort": 0, "containerPort": 81, "protocol": "tcp"}]
    ports = [{spelling(name): value for name, value in port.items()} for port in listed]
    with gateway(network):
        await told(network, asked("ADD", netns=netns), {**CONFIG, "runtimeConfig": {"portMappings": ports}})
    assert changed.is_set()
    assert network.mappings.current == {IPv4Address("10.199.250.2"): (HostPort("tcp", 8080, 80),)}
    (attached,) = network.attachments()
    assert await trio.Path(f"/proc/sys/net/ipv4/conf/{attached.host_interface}/route_localnet").read_text() == "1\n"  # the port on 127.0.0.1 too
    again = PodNetwork(network._state)
    assert again.mappings.current == network.mappings.current
    await told(network, asked("DEL", netns=netns))
    assert network.mappings.current == {}


@pytest.mark.root
async def test_loopback_comes_up(network: PodNetwork, netns: str) -> None:
    code, _ = await told(network, asked("ADD", netns=netns), {"cniVersion": "1.0.0", "type": "loopback"})
    assert code == 0
    with netlink.open_socket(netns) as pod:
        link = pod.link("lo")
    assert link is not None
    assert link.up


def gateway(network: PodNetwork) -> AbstractContextManager[None]:
    assert network.gateway is not None
    return own_address(network.gateway)


@pytest.fixture
async def socket(network: PodNetwork, tmp_path: Path) -> AsyncIterator[Path]:
    async with trio.open_nursery() as nursery:
        await nursery.start(plugin.serve, network, tmp_path / "cni.sock")
        yield tmp_path / "cni.sock"
        nursery.cancel_scope.cancel()


@pytest.fixture(params=["C", "Python"])
async def shim(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    if request.param == "Python":
        return [sys.executable, "-IS", str(Path(setup.__file__).with_name("shim_script.py"))]
    if not await setup.build(tmp_path / "shim"):
        pytest.skip("no C compiler here")
    return [str(tmp_path / "shim")]


async def test_a_shim_brings_the_question_and_the_answer_with_its_exit_code(shim: list[str], socket: Path, network: PodNetwork) -> None:
    environment = {**asked("ADD"), setup.SOCKET_VARIABLE: str(socket), "PATH": "/usr/bin"}
    done = await process.run(shim, stdin=orjson.dumps(CONFIG), env=environment)
    assert done.returncode == 1
    assert orjson.loads(done.stdout)["msg"].startswith("this node has no pod range")
    done = await process.run(shim, stdin=b"", env={**environment, "CNI_COMMAND": "VERSION"})
    assert done.returncode == 0
    assert "supportedVersions" in orjson.loads(done.stdout)


async def test_a_shim_whose_agent_is_away_says_try_again(shim: list[str], tmp_path: Path) -> None:
    done = await process.run(shim, stdin=b"{}", env={**asked("ADD"), setup.SOCKET_VARIABLE: str(tmp_path / "nobody")})
    assert done.returncode == 1
    assert orjson.loads(done.stdout)["code"] == 11


async def test_a_shim_that_sends_without_end_is_refused(socket: Path) -> None:
    async with await trio.open_unix_socket(str(socket)) as stream:
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(b"x" * (plugin.REQUEST_BYTES + 10_000_000))
