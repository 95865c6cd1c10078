"""Machines and pods as network namespaces: machines on one switch, each pod behind its machine as ``cni/network.py`` makes it."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from typing import TypeVar

import trio

from edgek.cni import setup
from edgek.cni.network import LOOPBACK_INDEX
from edgek.host import netlink

T = TypeVar("T")
NETWORK = "192.168.77"
GATEWAY = f"{NETWORK}.1"  # the switch's own address: the way out
ANSWER_S = 10.0  # a packet may be lost while the machine is busy, and is sent again after one


def sh(line: str) -> str:
    done = subprocess.run(line, shell=True, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return done.stdout


@contextlib.contextmanager
def namespace(role: str) -> Iterator[Path]:
    name = f"ek{uuid.uuid4().hex[:6]}-{role}"
    sh(f"ip netns add {name}")
    try:
        yield Path("/run/netns") / name
    finally:
        sh(f"ip netns del {name}")


@contextlib.contextmanager
def own_address(address: IPv4Address) -> Iterator[None]:
    """This machine itself holds it towards its pods, as a node of edgek does."""
    with netlink.open_socket() as kernel:
        kernel.run(netlink.add_address(LOOPBACK_INDEX, address, 32, setup.LABEL))
        try:
            yield
        finally:
            setup.let_go(kernel, address)


class Inside:
    """A ``host.worker.Worker`` whose calls run in the network namespace of one machine."""

    def __init__(self, place: Path) -> None:
        self._place = place

    async def run(self, function: Callable[..., T], *args: object, abandon: bool = False) -> T:
        return await trio.to_thread.run_sync(netlink.in_namespace, self._place, partial(function, *args))


class Machine:
    """``eth0`` has ``address`` and stands on the switch; there is a default route."""

    def __init__(self, name: str, place: Path, address: str) -> None:
        self.name = name
        self.place = place
        self.address = address
        self.worker = Inside(place)

    def ip(self, arguments: str) -> str:
        return sh(f"ip -n {self.place.name} {arguments}")

    def sh(self, line: str) -> str:
        return sh(f"nsenter --net={self.place} {line}")


class Switch:
    """Some machines on one link."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self.place = stack.enter_context(namespace("switch"))
        self.machines: list[Machine] = []
        self.ip("link add switch type bridge")
        self.ip(f"addr add {GATEWAY}/24 dev switch")
        self.ip("link set switch up")

    def ip(self, arguments: str) -> str:
        return sh(f"ip -n {self.place.name} {arguments}")

    def sh(self, line: str) -> str:
        return sh(f"nsenter --net={self.place} {line}")

    def machine(self, name: str) -> Machine:
        number = len(self.machines)
        place = self._stack.enter_context(namespace(name))
        machine = Machine(name, place, f"{NETWORK}.{11 + number}")
        self.machines.append(machine)
        self.ip(f"link add port{number} type veth peer name eth0 netns {place.name}")
        self.ip(f"link set port{number} master switch up")
        for line in ("link set lo up", f"addr add {machine.address}/24 dev eth0", "link set eth0 up", f"route add default via {GATEWAY}"):
            machine.ip(line)
        machine.sh("sysctl -qw net.ipv4.ip_forward=1")
        return machine


@contextlib.contextmanager
def open_switch() -> Iterator[Switch]:
    with contextlib.ExitStack() as stack:
        yield Switch(stack)


class Greeter:
    """Answers each TCP connection with a name and the client's address."""

    def __init__(self, place: Path, name: str, address: str, port: int = 8080) -> None:
        self._listener = netlink.in_namespace(place, lambda: socket.create_server((address, port)))
        self._name = name
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, client = self._listener.accept()
                with connection, contextlib.suppress(OSError):
                    connection.sendall(f"{self._name} {client[0]}".encode())

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


class Echo:
    """Answers each UDP packet with a name and the client's address."""

    def __init__(self, place: Path, name: str, address: str, port: int = 8080) -> None:
        self._socket = netlink.in_namespace(place, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self._socket.bind((address, port))
        self._name = name
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                said, client = self._socket.recvfrom(100)
                if not said:
                    return  # closed
                self._socket.sendto(f"{self._name} {client[0]}".encode(), client)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


async def ask_by_udp(place: Path, address: str | IPv4Address, port: int = 8080) -> str:
    """As ``ask``."""

    def talk() -> str:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(ANSWER_S)
            client.connect((str(address), port))
            client.send(b"hello")
            return client.recv(100).decode()

    return await trio.to_thread.run_sync(netlink.in_namespace, place, talk)


async def ask(place: Path, address: str | IPv4Address, port: int = 8080, *, timeout_s: float = ANSWER_S) -> str:
    """What a client there is answered. Raises OSError when it is refused, or nobody answers in time."""

    def connect() -> str:
        with socket.create_connection((str(address), port), timeout=timeout_s) as connection:
            return connection.recv(100).decode()

    return await trio.to_thread.run_sync(netlink.in_namespace, place, connect)
