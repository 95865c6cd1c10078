"""What is not the cluster's: resolvers, the cache, loops, and messages that are no queries."""

from __future__ import annotations

import socket

import dnslib
import pytest
import trio

from edgek import dns
from tests.dns.conftest import answers, ask


class Resolver:
    """A resolver on 127.0.0.2 that answers every name ending in .org and counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.port = 0

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as sock:
            await sock.bind(("127.0.0.2", self.port))
            self.port = sock.getsockname()[1]
            task_status.started()
            while True:
                raw, client = await sock.recvfrom(65535)
                query = dnslib.DNSRecord.parse(raw)
                self.asked.append(str(query.q.qname))
                reply = query.reply()
                if str(query.q.qname).endswith(".org."):
                    reply.add_answer(*dnslib.RR.fromZone(f"{query.q.qname} 60 A 192.0.2.1"))
                else:
                    reply.header.rcode = 3
                await sock.sendto(reply.pack(), client)


@pytest.fixture
async def resolver(nursery) -> Resolver:
    resolver = Resolver()
    await nursery.start(resolver.run)
    return resolver


@pytest.fixture
async def forwarding(zone, resolver, tmp_path, nursery):
    resolv_conf = tmp_path / "upstream.conf"
    resolv_conf.write_text("search example.net\nnameserver 127.0.0.2\n")
    server = dns.build("127.0.0.1", "cluster.local", [], zone.services, zone.slices, port=0, resolv_conf=resolv_conf)
    server.plugins[-1]._port = resolver.port
    await nursery.start(server.run)
    return server


async def test_other_names_go_to_the_machines_resolver_and_are_remembered(forwarding, resolver):
    for _ in range(3):
        found = await ask(forwarding, "www.example.org")
        assert (answers(found), found.header.aa) == ({"192.0.2.1"}, 0)
    assert resolver.asked == ["www.example.org."]
    assert 0 < found.rr[0].ttl <= 60


async def test_a_name_that_is_not_there_is_remembered_too(forwarding, resolver):
    for _ in range(2):
        assert (await ask(forwarding, "www.example.net")).header.rcode == 3
    assert resolver.asked == ["www.example.net."]


async def test_an_external_name_is_an_alias_with_the_address_behind_it(forwarding):
    found = await ask(forwarding, "outside.default.svc.cluster.local")
    assert [str(rr.rdata) for rr in found.rr] == ["example.org.", "192.0.2.1"]
    assert [str(rr.rname) for rr in found.rr] == ["outside.default.svc.cluster.local.", "example.org."]


async def test_a_resolver_that_is_silent_is_passed_over_for_the_next(zone, resolver, tmp_path, nursery, monkeypatch):
    monkeypatch.setattr("edgek.dns.forward.TRY_S", 0.05)
    resolv_conf = tmp_path / "two.conf"
    resolv_conf.write_text("nameserver 127.0.0.3\nnameserver 127.0.0.2\n")
    server = dns.build("127.0.0.1", "cluster.local", [], zone.services, zone.slices, port=0, resolv_conf=resolv_conf)
    server.plugins[-1]._port = resolver.port
    await nursery.start(server.run)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent, socket.socket() as listening:
        silent.bind(("127.0.0.3", resolver.port))
        listening.bind(("127.0.0.3", resolver.port))
        listening.listen()
        listening.setblocking(False)
        assert answers(await ask(server, "www.example.org")) == {"192.0.2.1"}
        with pytest.raises(BlockingIOError):
            listening.accept()  # who does not answer over UDP is not asked over TCP: that would take longer than clients wait


async def test_without_a_resolver_other_names_fail_at_once(server):
    assert (await ask(server, "www.example.org")).header.rcode == 2


async def test_a_question_that_comes_back_is_refused_instead_of_going_round(zone, tmp_path, nursery):
    resolv_conf = tmp_path / "loop.conf"
    resolv_conf.write_text("nameserver 127.0.0.1\n")
    server = dns.build("127.0.0.1", "cluster.local", [], zone.services, zone.slices, port=0, resolv_conf=resolv_conf)
    await nursery.start(server.run)
    forward = server.plugins[-1]
    forward._resolvers._ourselves = "somebody else"  # as if we were reached by another address
    forward._port = server.port
    assert (await ask(server, "www.example.org")).header.rcode == 2


@pytest.mark.parametrize(
    ("message", "rcode"), [(b"\1\2\0\0\0\0\0\0\0\0\0\0", 1), (b"\1\2\x28\0\0\1\0\0\0\0\0\0\0\0\1\0\1", 4)], ids=["no question", "an update"]
)
async def test_what_is_no_query_is_refused(server, message, rcode):
    with trio.fail_after(20), trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as sock:
        await sock.connect(("127.0.0.1", server.port))
        await sock.send(message)
        assert (await sock.recv(512))[3] & 0xF == rcode


async def test_an_answer_is_never_answered(server):
    stray = dnslib.DNSRecord.question("web.default.svc.cluster.local").reply().pack()
    with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as sock:
        await sock.connect(("127.0.0.1", server.port))
        await sock.send(stray)
        await sock.send(dnslib.DNSRecord.question("web.default.svc.cluster.local").pack())
        assert dnslib.DNSRecord.parse(await sock.recv(512)).rr
