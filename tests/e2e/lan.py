"""Real nodes on one link, with no router and no default route anywhere: a switch, a server's node, and agents that find their own address."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import socket
import subprocess
import uuid
from collections.abc import Iterator

from edgek.host import netlink
from tests.e2e.cluster import Cluster, Failed, sh
from tests.e2e.outpost import Outpost

NETWORK = "198.51.100"
OUTSIDER = f"{NETWORK}.254"  # the switch's own address
ALL_FRAMES = 0x0003  # ETH_P_ALL
CURL = ("curl", "-sS", "--fail", "--max-time", "20", "--header", "connection: close")  # each URL by a connection of its own


class Lan:
    def __init__(self) -> None:
        self.name = f"ek-lan-{uuid.uuid4().hex[:5]}"
        sh(f"ip netns add {self.name}; ip -n {self.name} link set lo up; ip -n {self.name} link add switch type bridge")
        sh(f"ip -n {self.name} addr add {OUTSIDER}/24 dev switch; ip -n {self.name} link set switch up")

    def plug(self, node: Cluster, address: str) -> None:
        """A cable to ``lan0`` of that node. The switch's end is called after the node."""
        sh(f"ip -n {self.name} link add {node.name} type veth peer name lan0 netns {node.name}")
        sh(f"ip -n {self.name} link set {node.name} master switch up")
        sh(f"ip -n {node.name} link set lo up; ip -n {node.name} addr add {address}/24 dev lan0; ip -n {node.name} link set lan0 up")

    def http(self, url: str) -> str:
        """Asked by a machine that is no node."""
        return curl(["nsenter", f"--net=/run/netns/{self.name}"], url)

    @contextlib.contextmanager
    def capture(self, node: Cluster) -> Iterator[list[bytes]]:
        """What goes by on the node's cable meanwhile; the list is filled at the end."""
        wire = netlink.in_namespace(
            f"/run/netns/{self.name}", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(ALL_FRAMES))
        )
        frames: list[bytes] = []
        with wire:
            wire.bind((node.name, 0))
            yield frames
            with contextlib.suppress(BlockingIOError):
                while True:
                    frames.append(wire.recv(65536))

    def remove(self) -> None:
        sh(f"ip netns del {self.name}")


class LanServer(Cluster):
    def __init__(self, lan: Lan, *flags: str) -> None:
        self.lan = lan
        super().__init__(*flags)

    def _connect(self) -> None:
        super()._connect()
        self.inside_ip = f"{NETWORK}.1"
        self.lan.plug(self, self.inside_ip)


class LanAgent(Outpost):
    """``number`` is the last of its address, which nobody tells it."""

    def __init__(self, server: LanServer, node_name: str, number: int, *flags: str) -> None:
        self.number = number
        super().__init__(server, node_name, *flags)

    def _connect(self) -> None:
        assert isinstance(self.server, LanServer)
        self.inside_ip = f"{NETWORK}.{self.number}"
        sh(f"ip netns add {self.name}")
        self.server.lan.plug(self, self.inside_ip)

    def address_flags(self) -> list[str]:
        return []

    def move(self, address: str) -> None:
        """As DHCP would: the former address goes, another comes."""
        sh(f"ip -n {self.name} addr del {self.inside_ip}/24 dev lan0; ip -n {self.name} addr add {address}/24 dev lan0")
        self.inside_ip = address


def curl(where: list[str], *urls: str) -> str:
    """Answers without their ends of lines, in order. Raises Failed."""
    done = subprocess.run([*where, *CURL, *urls], capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        raise Failed(f"{urls}: {done.stdout}{done.stderr}")
    return " ".join(done.stdout.split("\n")).strip()


def packets(node: Cluster) -> tuple[int, int]:
    """Sent and received in VXLAN."""
    counted = json.loads(sh(f"ip -n {node.name} -s -j link show flannel.1"))[0]["stats64"]
    return counted["tx"]["packets"], counted["rx"]["packets"]


def tunnelled(frame: bytes) -> bytes:
    """The packet inside a frame of VXLAN 1 on UDP 8472; empty for other frames."""
    is_udp = frame[12:14] == b"\x08\x00" and frame[23] == socket.IPPROTO_UDP
    if not is_udp or int.from_bytes(frame[36:38], "big") != 8472 or int.from_bytes(frame[46:49], "big") != 1:
        return b""
    return frame[64:]


def ends(packet: bytes) -> tuple[str, str]:
    """Source and destination of an IPv4 packet."""
    return str(ipaddress.IPv4Address(packet[12:16])), str(ipaddress.IPv4Address(packet[16:20]))
