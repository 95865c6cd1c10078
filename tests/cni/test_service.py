from __future__ import annotations

from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

import pytest
import trio

from edgek.cni import service
from edgek.host import netlink

pytestmark = pytest.mark.root


def on_loopback(address: str) -> bool:
    with netlink.open_socket() as host:
        return (1, IPv4Address(address)) in host.addresses()


async def test_the_node_has_its_own_address_towards_its_pods_and_moves_it_with_the_range(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        network = await nursery.start(partial(service.run, tmp_path / "cni", tmp_path / "state", tmp_path / "cni.sock"))
        assert (tmp_path / "cni/bin/edgek").exists()
        assert await trio.Path("/proc/sys/net/ipv4/ip_forward").read_text() == "1\n"
        try:
            for pod_range, gateway in (("10.199.251.0/24", "10.199.251.1"), ("10.199.251.0/24", "10.199.251.1"), ("10.199.252.0/24", "10.199.252.1")):
                await service.give_range(network, pod_range, overhead_bytes=50)
                assert on_loopback(gateway)
            assert not on_loopback("10.199.251.1")
        finally:
            await service.take_range(network)
        assert not on_loopback("10.199.252.1")
        nursery.cancel_scope.cancel()
