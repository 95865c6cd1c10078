from __future__ import annotations

from typing import Any

import pytest

from edgek.agent.kubelet.naming import Resolver, hosts_file, inner_hostname, parse_resolv_conf, resolver
from edgek.model.objects import Object

HOST = parse_resolv_conf("# mine\nnameserver 192.0.2.53\nsearch lan.example\noptions ndots:1 rotate\n")
CLUSTER = ("10.43.0.10",)
SEARCHES = ("default.svc.cluster.local", "svc.cluster.local", "cluster.local", "lan.example")


def a_pod(**spec: Any) -> Object:
    return {"metadata": {"name": "web", "namespace": "default"}, "spec": spec}


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ({}, Resolver(CLUSTER, SEARCHES, ("ndots:5",))),
        ({"dnsPolicy": "Default"}, Resolver(("192.0.2.53",), ("lan.example",), ("ndots:1", "rotate"))),
        ({"hostNetwork": True}, Resolver(("192.0.2.53",), ("lan.example",), ("ndots:1", "rotate"))),
        ({"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"}, Resolver(CLUSTER, SEARCHES, ("ndots:5",))),
        ({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["192.0.2.1"], "searches": ["a"]}}, Resolver(("192.0.2.1",), ("a",))),
        (
            {"dnsConfig": {"options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}], "searches": ["a"]}},
            Resolver(CLUSTER, (*SEARCHES, "a"), ("ndots:2", "edns0")),
        ),
    ],
    ids=["the cluster's", "the node's", "the node's in its network", "the cluster's in the node's network", "the pod's own", "with additions"],
)
def test_whom_a_pod_asks_for_names(spec: Object, wanted: Resolver) -> None:
    assert resolver(a_pod(**spec), HOST, CLUSTER, "cluster.local") == wanted


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ({}, "web"),
        ({"hostname": "db"}, "db"),
        ({"hostname": "db", "subdomain": "s"}, "db"),
        ({"subdomain": "s", "setHostnameAsFQDN": True}, "web.s.default.svc.cluster.local"),
    ],
)
def test_what_a_pod_calls_itself(spec: Object, wanted: str) -> None:
    assert inner_hostname(a_pod(**spec), "cluster.local") == wanted


def test_the_hosts_file_names_the_pod_and_its_aliases() -> None:
    text = hosts_file(a_pod(subdomain="s", hostAliases=[{"ip": "192.0.2.9", "hostnames": ["a", "b"]}]), ("10.42.0.5",), "cluster.local", "")
    lines = text.splitlines()
    assert lines[0] == "# Kubernetes-managed hosts file."
    assert "127.0.0.1\tlocalhost" in lines
    assert "10.42.0.5\tweb.s.default.svc.cluster.local\tweb" in lines
    assert lines[-2:] == ["# Entries added by HostAliases.", "192.0.2.9\ta\tb"]


def test_a_pod_in_the_nodes_network_sees_the_nodes_hosts() -> None:
    assert hosts_file(a_pod(hostNetwork=True), (), "cluster.local", "127.0.0.1 box\n") == (
        "# Kubernetes-managed hosts file (host network).\n127.0.0.1 box\n"
    )
