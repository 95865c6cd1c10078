"""TCP from pod to pod across nodes: our pod network, with its proxy's rules in place, beside the same chain of interfaces built by hand, without rules.

Throughput of a busy machine is worth little by itself: each round measures all chains turn about, a little at a time, and what counts is the ratio
within rounds; the same ratio by CPU time is steadier still.
"""

from __future__ import annotations

import contextlib
import socket
import statistics
import tempfile
import threading
import time
from pathlib import Path

import attrs
import trio

from edgek.agent.proxy import program
from edgek.host import netlink
from edgek.host.nft import Nft
from tests.bench.figures import at_least
from tests.cni.cluster import CLUSTER, Cluster
from tests.fakes.machines import Switch, namespace, open_switch, sh

LINES = {"vxlan_of_by_hand": at_least(0.95), "hostgw_of_by_hand": at_least(0.95)}
ROUNDS = 7
TURNS = 8  # of each chain in a round: what else the machine does lasts longer than one turn, and so hits all of them
TURN_S = 0.125
CHUNK = b"\0" * (1 << 17)
PORT = 5201


@attrs.frozen
class Chain:
    """From one pod to another on another machine."""

    name: str
    near: Path
    far: Path
    address: str


def measure() -> dict[str, float]:
    with contextlib.ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        return trio.run(_measure, stack, Path(folder))


async def _measure(stack: contextlib.ExitStack, folder: Path) -> dict[str, float]:
    async with trio.open_nursery() as nursery:
        chains = []
        for backend in ("vxlan", "host-gw"):  # what is compared is measured one after the other
            chains.append(_by_hand(stack, tunnel=backend == "vxlan"))
            chains.append(await _ours(stack, nursery, folder / backend, backend))
        found = await trio.to_thread.run_sync(_rounds, chains)
        nursery.cancel_scope.cancel()
    by_time = {name: [rate for rate, _ in rates] for name, rates in found.items()}
    by_work = {name: [rate for _, rate in rates] for name, rates in found.items()}
    return {
        **{f"{name}_of_by_hand": _ratio(by_time[name], by_time[f"{name}_by_hand"]) for name in ("vxlan", "hostgw")},
        **{f"{name}_of_by_hand_per_cpu_s": _ratio(by_work[name], by_work[f"{name}_by_hand"]) for name in ("vxlan", "hostgw")},
        "vxlan_of_hostgw": _ratio(by_time["vxlan"], by_time["hostgw"]),
        **{f"{name}_gbit_s": statistics.median(rates) for name, rates in by_time.items()},
    }


def _ratio(rates: list[float], floor: list[float]) -> float:
    """Of neighbours in the same round: what else the machine does hits both."""
    return statistics.median(one / other for one, other in zip(rates, floor, strict=True))


def _rounds(chains: list[Chain]) -> dict[str, list[tuple[float, float]]]:
    """Gigabits per second, and per second of work of this process, in which nearly all of the way happens."""
    found: dict[str, list[tuple[float, float]]] = {chain.name: [] for chain in chains}
    for _ in range(ROUNDS):
        sums = {chain.name: [0.0, 0.0, 0.0] for chain in chains}
        for turn in range(TURNS):
            for chain in chains if turn % 2 else reversed(chains):
                sums[chain.name] = [sum(pair) for pair in zip(sums[chain.name], _turn(chain), strict=True)]
        for name, (gbit, seconds, work_s) in sums.items():
            found[name].append((gbit / seconds, gbit / work_s))
    return found


def _turn(chain: Chain) -> tuple[float, float, float]:
    """What arrives within a turn: gigabits, in how many seconds, and seconds of work."""
    with netlink.in_namespace(chain.far, lambda: socket.create_server((chain.address, PORT))) as listener:
        sender = threading.Thread(target=_send, args=(chain,))
        sender.start()
        connection, _ = listener.accept()
        with connection:
            got, buffer, began, worked = 0, bytearray(1 << 20), time.monotonic(), time.process_time()
            while size := connection.recv_into(buffer):
                got += size
            seconds = time.monotonic() - began
        sender.join()
        work_s = time.process_time() - worked
    return got * 8 / 1e9, seconds, work_s


def _send(chain: Chain) -> None:
    def connect() -> socket.socket:
        return socket.create_connection((chain.address, PORT), timeout=10)

    with netlink.in_namespace(chain.near, connect) as connection:
        until = time.monotonic() + TURN_S
        while time.monotonic() < until:
            connection.sendall(CHUNK)


async def _ours(stack: contextlib.ExitStack, nursery: trio.Nursery, folder: Path, backend: str) -> Chain:
    await trio.Path(folder).mkdir()
    cluster = Cluster(stack.enter_context(open_switch()), stack, nursery, folder)
    pods = []
    for name in ("one", "two"):
        node = await cluster.node(name, backend)
        netlink.in_namespace(node.machine.place, lambda: Nft().run(program.whole((), str(CLUSTER))))
        pods.append(await node.pod(f"pod-{name}"))
    await cluster.joined()
    return Chain(backend.replace("-", ""), pods[0].place, pods[1].place, str(pods[1].address))


def _by_hand(stack: contextlib.ExitStack, *, tunnel: bool) -> Chain:
    """Namespace, routed veth, machine, VXLAN or route, machine, veth, namespace."""
    switch = stack.enter_context(open_switch())
    places = [_pod_by_hand(stack, switch, number, mtu=1450 if tunnel else 1500) for number in range(2)]
    for number, machine in enumerate(switch.machines):
        other, far = switch.machines[1 - number], f"10.42.{1 - number}.0"
        if not tunnel:
            machine.ip(f"route add {far}/24 via {other.address}")
            continue
        machine.ip(f"link add tunnel type vxlan id 1 dev eth0 local {machine.address} dstport 8472 nolearning")
        machine.ip(f"link set tunnel address 02:00:00:00:00:0{number} mtu 1450 up")
        machine.ip(f"addr add 10.42.{number}.0/32 dev tunnel")
        machine.ip(f"neigh add {far} lladdr 02:00:00:00:00:0{1 - number} dev tunnel nud permanent")
        machine.sh(f"bridge fdb append 02:00:00:00:00:0{1 - number} dev tunnel dst {other.address} self permanent")
        machine.ip(f"route add {far}/24 via {far} dev tunnel onlink")
    return Chain(f"{'vxlan' if tunnel else 'hostgw'}_by_hand", places[0], places[1], "10.42.1.2")


def _pod_by_hand(stack: contextlib.ExitStack, switch: Switch, number: int, mtu: int) -> Path:
    machine = switch.machine(f"hand{number}")
    place = stack.enter_context(namespace(f"hp{number}"))
    machine.ip(f"link add pod mtu {mtu} type veth peer name eth0 mtu {mtu} netns {place.name}")
    machine.ip("link set pod address ee:ee:ee:ee:ee:ee up")
    machine.ip(f"route add 10.42.{number}.2/32 dev pod")
    for line in (
        f"addr add 10.42.{number}.2/32 dev eth0",
        "link set eth0 up",
        "neigh add 169.254.1.1 lladdr ee:ee:ee:ee:ee:ee dev eth0 nud permanent",
        "route add 169.254.1.1 dev eth0",
        "route add default via 169.254.1.1",
    ):
        sh(f"ip -n {place.name} {line}")
    return place
