"""The names that Kubernetes promises (DNS-Based Service Discovery 1.1.0), asked over a socket."""

import pytest

from edgek.client import services
from tests.dns.conftest import answers, ask, endpoint

NAMES = {
    "a Service has its cluster address": ("web.default.svc.cluster.local", "A", {"10.43.0.7"}),
    "case does not matter": ("WEB.Default.svc.cluster.LOCAL", "A", {"10.43.0.7"}),
    "a headless Service has those of its ready pods": ("db.default.svc.cluster.local", "A", {"10.42.0.5", "10.42.0.6"}),
    "a pod with a hostname has a name": ("db-0.db.default.svc.cluster.local", "A", {"10.42.0.5"}),
    "a pod without one is named by its address": ("10-42-0-6.db.default.svc.cluster.local", "A", {"10.42.0.6"}),
    "a port has a service record": ("_http._tcp.web.default.svc.cluster.local", "SRV", {"0 100 80 web.default.svc.cluster.local"}),
    "a headless port has one for each pod": (
        "_http._tcp.db.default.svc.cluster.local",
        "SRV",
        {"0 50 8080 db-0.db.default.svc.cluster.local", "0 50 8080 10-42-0-6.db.default.svc.cluster.local"},
    ),
    "a Service's address leads back": ("7.0.43.10.in-addr.arpa", "PTR", {"web.default.svc.cluster.local"}),
    "so does that of a pod behind a headless one": ("5.0.42.10.in-addr.arpa", "PTR", {"db-0.db.default.svc.cluster.local"}),
    "an address spells itself": ("10-1-2-3.default.pod.cluster.local", "A", {"10.1.2.3"}),
    "the version of the specification": ("dns-version.cluster.local", "TXT", {'"1.1.0"'}),
}


@pytest.mark.parametrize(("name", "type_", "wanted"), NAMES.values(), ids=NAMES.keys())
async def test_names(server, name, type_, wanted):
    found = await ask(server, name, type_)
    assert (found.header.rcode, found.header.aa, answers(found)) == (0, 1, wanted)


NOTHING = {
    "another type of a Service": ("web.default.svc.cluster.local", "AAAA", 0),
    "a headless Service without pods": ("empty.default.svc.cluster.local", "A", 0),
    "a namespace": ("default.svc.cluster.local", "A", 0),
    "an unknown Service": ("nobody.default.svc.cluster.local", "A", 3),
    "an unknown namespace": ("web.nowhere.svc.cluster.local", "A", 3),
    "an unknown port": ("_ssh._tcp.web.default.svc.cluster.local", "SRV", 3),
    "an unknown pod": ("db-7.db.default.svc.cluster.local", "A", 3),
    "a name that the search path made": ("example.org.default.svc.cluster.local", "A", 3),
    "an address of ours that nobody has": ("99.0.43.10.in-addr.arpa", "PTR", 3),
}


@pytest.mark.parametrize(("name", "type_", "rcode"), NOTHING.values(), ids=NOTHING.keys())
async def test_what_is_not_there_says_so_with_a_time_to_remember_it(server, name, type_, rcode):
    found = await ask(server, name, type_)
    assert (found.header.rcode, answers(found)) == (rcode, set())
    assert [rr.rtype for rr in found.auth] == [6]


async def test_an_answer_changes_with_the_service(server, zone):
    assert answers(await ask(server, "web.default.svc.cluster.local")) == {"10.43.0.7"}
    zone.service("web", clusterIP="10.43.0.8")
    assert answers(await ask(server, "web.default.svc.cluster.local")) == {"10.43.0.8"}
    zone.remove_service("web")
    assert (await ask(server, "web.default.svc.cluster.local")).header.rcode == 3


async def test_clients_of_a_headless_service_are_spread_over_its_pods(server):
    firsts = {str((await ask(server, "db.default.svc.cluster.local")).rr[0].rdata) for _ in range(4)}
    assert firsts == {"10.42.0.5", "10.42.0.6"}


async def test_what_does_not_fit_into_a_datagram_comes_over_tcp(server, zone):
    zone.endpoints("db", *(endpoint(f"10.42.1.{n}") for n in range(100)))
    name = "db.default.svc.cluster.local"
    short = await ask(server, name)
    assert (short.header.tc, short.rr) == (1, [])
    assert (await ask(server, name, edns=True)).header.tc == 1
    assert len((await ask(server, name, tcp=True)).rr) == 100


async def test_a_client_that_speaks_edns_is_answered_with_it(server):
    found = await ask(server, "web.default.svc.cluster.local", edns=True)
    assert answers(found) == {"10.43.0.7"}
    assert [(rr.rtype, rr.edns_len) for rr in found.ar] == [(41, 1232)]


@pytest.mark.parametrize("type_", ["A", "CNAME", "TXT"])
async def test_an_alias_that_is_no_name_fails_alone(server, zone, type_):
    zone.service("odd", type="ExternalName", externalName=f"{'a' * 64}.example.org", ports=[])
    assert (await ask(server, "odd.default.svc.cluster.local", type_)).header.rcode == 2
    assert (await ask(server, "odd.default.svc.cluster.local", type_, tcp=True)).header.rcode == 2
    assert answers(await ask(server, "web.default.svc.cluster.local")) == {"10.43.0.7"}


@pytest.mark.parametrize(("address_type", "address"), [("FQDN", "db.example.org"), ("IPv6", "fd00::5")])
async def test_backends_that_have_no_address_of_ours_are_left_out(server, zone, address_type, address):
    meta = {"name": "db-y", "namespace": "default", "labels": {"kubernetes.io/service-name": "db"}}
    ports = [{"name": "http", "port": 8080}]
    obj = {"metadata": meta, "addressType": address_type, "ports": ports, "endpoints": [endpoint(address)]}
    zone.slices._set("default/db-y", services.slice_(obj))
    found = await ask(server, "_http._tcp.db.default.svc.cluster.local", "SRV")
    assert {str(rr.rdata) for rr in found.ar} == {"10.42.0.5", "10.42.0.6"}
    assert len(found.rr) == 2


async def test_a_service_that_was_an_alias_once_has_its_own_address(server, zone):
    """The former target stays in the object, and the API only warns of it."""
    zone.service("outside", type="ClusterIP", clusterIP="10.43.0.77", externalName="example.org")
    assert answers(await ask(server, "outside.default.svc.cluster.local")) == {"10.43.0.77"}
