"""A DNS server over caches that a test fills by hand, asked with dnslib, which knows DNS better than we do."""

from __future__ import annotations

from typing import Any

import dnslib
import pytest
import trio

from edgek import dns
from edgek.client import services
from edgek.client.informer import Informer
from edgek.dns.server import Server
from edgek.model import kinds


class Zone:
    """Services and slices as the API would show them."""

    def __init__(self) -> None:
        self.services: Informer[services.Service] = Informer(None, kinds.SERVICE, services.service)  # type: ignore[arg-type]
        self.slices: Informer[services.Slice] = Informer(None, kinds.ENDPOINT_SLICE, services.slice_)  # type: ignore[arg-type]

    def service(self, name: str, namespace: str = "default", **spec: Any) -> None:
        spec.setdefault("ports", [{"name": "http", "port": 80}])
        obj = {"metadata": {"name": name, "namespace": namespace}, "spec": spec}
        self.services._set(f"{namespace}/{name}", services.service(obj))

    def endpoints(self, service: str, *endpoints: dict[str, Any], namespace: str = "default", port: int = 8080) -> None:
        meta = {"name": f"{service}-x", "namespace": namespace, "labels": {"kubernetes.io/service-name": service}}
        obj = {"metadata": meta, "addressType": "IPv4", "ports": [{"name": "http", "port": port}], "endpoints": list(endpoints)}
        self.slices._set(f"{namespace}/{service}-x", services.slice_(obj))

    def remove_service(self, name: str, namespace: str = "default") -> None:
        self.services._set(f"{namespace}/{name}", None)


def endpoint(address: str, *, hostname: str = "", ready: bool = True) -> dict[str, Any]:
    return {"addresses": [address], "conditions": {"ready": ready}, **({"hostname": hostname} if hostname else {})}


async def ask(server: Server, name: str, type_: str = "A", *, tcp: bool = False, edns: bool = False) -> dnslib.DNSRecord:
    query = dnslib.DNSRecord.question(name, type_)
    if edns:
        query.add_ar(dnslib.EDNS0(udp_len=4096))
    raw = query.pack()
    with trio.fail_after(20):
        if tcp:
            async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
                await stream.send_all(len(raw).to_bytes(2) + raw)
                received = await stream.receive_some()
                while len(received) < 2 + int.from_bytes(received[:2]):
                    received += await stream.receive_some()
                found = dnslib.DNSRecord.parse(received[2:])
        else:
            with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as sock:
                await sock.connect(("127.0.0.1", server.port))
                await sock.send(raw)
                found = dnslib.DNSRecord.parse(await sock.recv(65535))
    assert found.header.id == query.header.id
    return found


def answers(record: dnslib.DNSRecord) -> set[str]:
    return {str(rr.rdata).rstrip(".") for rr in record.rr}


@pytest.fixture
def zone() -> Zone:
    zone = Zone()
    zone.service("web", clusterIP="10.43.0.7")
    zone.service("db", clusterIP="None")
    zone.endpoints("db", endpoint("10.42.0.5", hostname="db-0"), endpoint("10.42.0.6"), endpoint("10.42.0.9", ready=False))
    zone.service("empty", clusterIP="None")
    zone.service("outside", type="ExternalName", externalName="example.org.", ports=[])
    return zone


@pytest.fixture
async def server(zone, tmp_path, nursery) -> Server:
    resolv_conf = tmp_path / "resolv.conf"
    resolv_conf.write_text("")
    server = dns.build("127.0.0.1", "cluster.local", ["10.42.0.0/16", "10.43.0.0/16"], zone.services, zone.slices, port=0, resolv_conf=resolv_conf)
    await nursery.start(server.run)
    return server
