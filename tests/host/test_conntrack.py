"""Flows in the real kernel's table, in a network namespace made for the test."""

from __future__ import annotations

import socket
import subprocess
import uuid
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from edgek.host import conntrack, netlink
from edgek.host.conntrack import Flow
from edgek.host.nft import Nft

pytestmark = pytest.mark.root

SERVICE, OTHER, ENDPOINT, GONE = (IPv4Address(f"127.0.0.{last}") for last in (5, 6, 1, 9))
TRANSLATION = f"""
table ip t {{
  chain out {{
    type nat hook output priority -100;
    ip daddr {{ {SERVICE}, {OTHER} }} udp dport 53 dnat to {ENDPOINT}:5353
    udp dport 54 accept
  }}
}}
"""


@pytest.fixture
def place() -> Iterator[Path]:
    name = f"ek{uuid.uuid4().hex[:6]}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
    namespace = Path("/run/netns") / name
    netlink.in_namespace(namespace, lambda: Nft().run(TRANSLATION))
    yield namespace
    subprocess.run(["ip", "netns", "del", name], check=True)


def send(place: Path, *targets: tuple[IPv4Address, int]) -> None:
    def from_inside() -> None:
        for address, port in targets:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.sendto(b"question", (str(address), port))

    netlink.in_namespace(place, from_inside)


def forget(place: Path, *flows: Flow) -> int:
    return netlink.in_namespace(place, lambda: conntrack.forget_udp(flows))


def test_flows_to_an_endpoint_that_is_gone_are_forgotten_and_no_others(place: Path):
    send(place, (SERVICE, 53), (SERVICE, 53), (OTHER, 53), (SERVICE, 54))
    assert forget(place, Flow(53, SERVICE, GONE)) == 0
    assert forget(place, Flow(53, SERVICE, ENDPOINT)) == 2
    assert forget(place, Flow(53, SERVICE, ENDPOINT)) == 0
    assert forget(place, Flow(53)) == 1
    assert forget(place, Flow(54, SERVICE)) == 1


def test_many_flows_are_looked_for_at_once(place: Path):
    send(place, (SERVICE, 53), (OTHER, 53), (SERVICE, 54))
    assert forget(place, Flow(53, SERVICE), Flow(53, OTHER), Flow(55), Flow(54, ENDPOINT)) == 2


def test_an_empty_table_is_no_problem(place: Path):
    assert forget(place, Flow(53)) == 0
