"""Years go by: certificates are renewed, authorities replaced under pods and nodes that run on, boards lie on a shelf and come back by themselves.

And the file that is sent to who helps from afar holds none of the secrets that lie about. The tests follow each other on one server with one node.
"""

from __future__ import annotations

import base64
import json
import shutil
import ssl
import subprocess
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import local
from tests.e2e.clock import FAKETIME, faked
from tests.e2e.cluster import COMMAND, START_S, Cluster
from tests.e2e.outpost import Outpost

pytestmark = pytest.mark.node

IMAGE = "docker.io/library/nginx:1.27"
ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
ASK = 'curl -sS --fail --max-time 20 --cacert %s -H "Authorization: Bearer $(cat %s)" https://kubernetes.default.svc/version'
SHELF = timedelta(days=2 * 365)
SECRETS = {
    "password": "S3cr-of-a-Secret/4711",
    "in the environment": "S3cr-of-an-env-4712",
    "in a flag": "S3cr-of-a-flag-4713",
    "of a registry": "S3cr-of-a-registry-4714",
    "in a URL": "S3cr-of-a-proxy-4715",
    "in a log": "S3cr-of-a-bearer-4716",
}


def web(name: str, node: str) -> dict[str, Any]:
    container = {"name": "web", "image": IMAGE, "env": [{"name": "PIN", "value": SECRETS["in the environment"]}]}
    container["lifecycle"] = {"postStart": {"exec": {"command": ["sh", "-c", f"true --password={SECRETS['in a flag']}"]}}}
    container["volumeMounts"] = [{"name": "s", "mountPath": "/s"}]
    volumes = [{"name": "s", "secret": {"secretName": "s"}}]
    spec = {"nodeName": node, "containers": [container], "volumes": volumes, "terminationGracePeriodSeconds": 1}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


@pytest.fixture(scope="module")
def outpost(cluster: Cluster, web_one: Path) -> Iterator[Outpost]:
    """Joined and Ready, with a pod on it and one on the server's own node."""
    outpost = Outpost(cluster, "far")
    try:
        shutil.copy(web_one, outpost.images)
        outpost.start()
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"p": SECRETS["password"]}}
        cluster.apply(secret, web("near-web", "box"), web("far-web", "far"))
        cluster.kubectl("wait", "--for=condition=Ready", "pod/near-web", "pod/far-web", "--timeout=60s")
        yield outpost
    finally:
        outpost.remove()


def certificate(node: Cluster, *arguments: str, code: int = 0) -> str:
    return node.run("certificate", *arguments, *node.paths(), "--write-kubeconfig", node.kubeconfig, "--node-name", "far", code=code)


def checked(node: Cluster, *, code: int = 0) -> dict[str, dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(certificate(node, "check", "-o", "json", code=code))
    return {entry["name"]: entry for entry in found}


def shown(cluster: Cluster) -> str:
    return ssl.get_server_certificate((cluster.inside_ip, 6443))


def asks_the_api(cluster: Cluster, pod: str, authority: str = f"{ACCOUNT}/ca.crt", token: str = f"{ACCOUNT}/token") -> str:
    return cluster.kubectl("exec", pod, "--", "sh", "-c", ASK % (authority, token), check=False)


def authorities_in(cluster: Cluster, pod: str) -> int:
    return cluster.kubectl("exec", pod, "--", "cat", f"{ACCOUNT}/ca.crt", check=False).count("BEGIN CERTIFICATE")


def followed(cluster: Cluster, outpost: Outpost) -> bool:
    """The node's certificate is of the authority that signs now."""
    return checked(outpost)["kubelet (client)"]["issuer"] == checked(cluster)["admin"]["issuer"]


def began(cluster: Cluster) -> list[str]:
    return [status["state"]["running"]["startedAt"] for pod in cluster.pods() for status in pod["status"]["containerStatuses"]]


def test_all_certificates_are_listed_beside_what_runs(cluster: Cluster, outpost: Outpost) -> None:
    of_server, of_agent = checked(cluster), checked(outpost)
    assert {"server-ca", "client-ca", "request-header-ca", "api-server", "admin", "admin's kubeconfig"} <= set(of_server)
    assert {"agent's server-ca", "agent's client-ca", "kubelet (client)", "kubelet (serving)"} == set(of_agent)
    assert {entry["verdict"] for entry in (*of_server.values(), *of_agent.values())} == {"good"}
    assert cluster.inside_ip in of_server["api-server"]["names"]


def test_new_certificates_are_shown_by_what_runs(cluster: Cluster, outpost: Outpost) -> None:
    before, copy, pid = shown(cluster), cluster.folder / "before", cluster.pid()
    shutil.copy(cluster.kubeconfig, copy)
    assert "was not restarted" in certificate(cluster, "rotate")
    assert shown(cluster) != before
    assert cluster.pid() == pid
    assert cluster.kubeconfig.read_text() != copy.read_text()
    for kubeconfig in (cluster.kubeconfig, copy):
        assert cluster.kubectl("get", "--raw", "/readyz", "--kubeconfig", str(kubeconfig)) == "ok"
    client = (outpost.data / "agent" / "client.pem").read_bytes()
    assert "made anew: kubelet" in certificate(outpost, "rotate", "kubelet", "--join", f"https://{cluster.inside_ip}:6443")
    assert (outpost.data / "agent" / "client.pem").read_bytes() != client
    assert "there is no certificate 'etcd'" in certificate(cluster, "rotate", "etcd", code=2)


def test_other_authorities_take_over_under_pods_and_nodes_that_run_on(cluster: Cluster, outpost: Outpost) -> None:
    since, copy, token = began(cluster), cluster.folder / "former", cluster.run("token", *cluster.paths())
    shutil.copy(cluster.kubeconfig, copy)
    for pod in ("near-web", "far-web"):
        cluster.kubectl("exec", pod, "--", "sh", "-c", f"cat {ACCOUNT}/ca.crt >/tmp/ca; cat {ACCOUNT}/token >/tmp/token")
    said = certificate(cluster, "rotate-ca")
    assert "was not restarted" in said
    assert "rotate-ca --finish" in said

    assert cluster.run("token", *cluster.paths()) != token
    outpost.until(lambda: followed(cluster, outpost), 10, "the node follows", outpost.log_end)
    for kubeconfig in (cluster.kubeconfig, copy):
        assert cluster.kubectl("get", "--raw", "/readyz", "--kubeconfig", str(kubeconfig)) == "ok"
    for pod in ("near-web", "far-web"):
        assert "gitVersion" in asks_the_api(cluster, pod, "/tmp/ca", "/tmp/token"), "with what it read when it started"
        cluster.until(lambda pod=pod: authorities_in(cluster, pod) == 2, 30, f"{pod} is told")  # type: ignore[misc]
        assert "gitVersion" in asks_the_api(cluster, pod)
    assert "still trusted" in certificate(cluster, "rotate-ca", code=2)

    assert "trusted no more" in certificate(cluster, "rotate-ca", "--finish")
    for pod in ("near-web", "far-web"):
        cluster.until(lambda pod=pod: authorities_in(cluster, pod) == 1, 30, f"{pod} is told")  # type: ignore[misc]
        assert "gitVersion" in asks_the_api(cluster, pod, token="/tmp/token"), "its token is good until it ends"
        assert "gitVersion" not in asks_the_api(cluster, pod, "/tmp/ca")
    assert cluster.kubectl("get", "--raw", "/readyz") == "ok"
    assert cluster.fails("get", "--raw", "/readyz", "--kubeconfig", str(copy))
    outpost.until(lambda: outpost.is_ready() and "nginx" in cluster.kubectl("logs", "far-web", check=False), START_S, "the node is linked")
    assert began(cluster) == since


def test_who_was_away_meanwhile_is_waited_for_and_follows_when_he_is_back(cluster: Cluster, outpost: Outpost) -> None:
    outpost.stop()
    certificate(cluster, "rotate-ca")
    assert "far has not followed yet" in certificate(cluster, "rotate-ca", "--finish", code=1)
    outpost.start(joining=False, ready=False)
    outpost.until(lambda: followed(cluster, outpost), START_S, "the node follows", outpost.log_end)
    certificate(cluster, "rotate-ca", "--finish")
    outpost.until(lambda: "nginx" in cluster.kubectl("logs", "far-web", check=False), START_S, "the node is linked", outpost.log_end)


def plant(cluster: Cluster, outpost: Outpost) -> None:
    """Secrets where careless people leave them."""
    cluster.kubectl("annotate", "pod", "near-web", f"note=the password is {SECRETS['password']}")
    registries = f"configs: {{registry.example: {{auth: {{username: u, password: {SECRETS['of a registry']}}}}}}}\n"
    for node in (cluster, outpost):
        (node.folder / "registries.yaml").write_text(registries)
        with (node.data / "agent" / "containerd" / "containerd.log").open("a") as log:
            log.write(f"proxy http://u:{SECRETS['in a URL']}@proxy:3128 and Authorization: Bearer {SECRETS['in a log']}\n")
            log.write(f"quoted {base64.b64encode(SECRETS['password'].encode()).decode()} {SECRETS['of a registry']}\n")


def secrets_of(node: Cluster) -> dict[str, str]:
    """All that must not get out, by what it is."""
    known = dict(SECRETS)
    for file in (*node.data.glob("server/*token"), *node.data.glob("agent/node-password")):
        known[file.name] = file.read_text().strip().rpartition(":")[2]
    for file in (*node.data.glob("server/tls/*"), *node.data.glob("agent/*.pem")):
        if file.is_file() and "PRIVATE KEY" in file.read_text():
            known[f"key in {file.name}"] = file.read_text().split("PRIVATE KEY-----\n")[1].splitlines()[0]
    return known


def inspected(node: Cluster) -> dict[str, str]:
    """What the bundle holds, by its names."""
    target = node.folder / "bundle.tar.gz"
    node.run("inspect", "-o", target, *node.paths(), "--write-kubeconfig", node.kubeconfig, "--private-registry", node.folder / "registries.yaml")
    assert target.stat().st_mode & 0o777 == 0o600
    with tarfile.open(target) as archive:
        members = {member.name.partition("/")[2]: archive.extractfile(member) for member in archive}
        texts = {name: content.read().decode() for name, content in members.items() if content}
    known = {**secrets_of(node), **{f"{what} in base64": base64.b64encode(secret.encode()).decode() for what, secret in SECRETS.items()}}
    found = [f"{what} in {name}" for what, secret in known.items() for name, text in texts.items() if secret in text]
    assert not found
    return texts


def test_what_is_sent_to_who_helps_from_afar_tells_all_but_secrets(cluster: Cluster, outpost: Outpost) -> None:
    plant(cluster, outpost)
    texts = inspected(cluster)
    assert "near-web" in texts["cluster/pods.json"]
    assert '"far"' in texts["cluster/nodes.json"]
    assert "edgek-apiserver" in texts["certificates.txt"]
    assert "far-web" in texts["status.txt"] or "2 Running" in texts["status.txt"]
    assert "table ip edgek" in texts["network/nftables.txt"]
    assert cluster.inside_ip in texts["network/addresses.txt"]
    assert "The database is sound" in texts["database.txt"]
    assert "proxy http://u:<blotted>@proxy:3128" in texts["logs/containerd.log"]
    assert "kubepods" in texts["machine/cgroups.txt"]
    assert texts["problems.txt"] == "none\n"
    of_agent = inspected(outpost)
    assert "far-web" in of_agent["cluster/pods.json"]
    assert "near-web" not in of_agent["cluster/pods.json"]


def set_clock(node: Cluster, to: datetime) -> None:
    """For what is started from now on."""
    clock = node.folder / "clock"
    clock.write_text(f"@{to:%Y-%m-%d %H:%M:%S}\n")
    node.environment = faked(clock)


@pytest.mark.skipif(FAKETIME is None, reason="the package faketime sets a process's clock")
def test_a_server_and_a_node_that_lay_on_a_shelf_for_two_years_come_back_by_themselves(cluster: Cluster, outpost: Outpost) -> None:
    cluster.power_cut()
    outpost.power_cut()
    for node in (cluster, outpost):
        set_clock(node, datetime.now(UTC) + SHELF)
    assert ended(cluster) == {"api-server", "admin", "admin's kubeconfig"}
    assert ended(outpost) == {"kubelet (client)", "kubelet (serving)"}
    texts = inspected(cluster)  # it helps most where nothing runs
    assert "cluster:" in texts["problems.txt"]
    assert "containerd.log" in " ".join(texts)

    outpost.start(joining=False, ready=False)  # and finds nobody yet
    cluster.start()
    outpost.until(lambda: set(local.running(outpost)) == {"far-web"}, START_S, "the node's pod runs again", outpost.log_end)
    cluster.until(lambda: set(local.running(cluster)) == {"near-web"}, START_S, "the server's pod runs again")
    comes_back(cluster, outpost)
    assert ended(cluster) == ended(outpost) == set()
    for pod in ("near-web", "far-web"):
        cluster.until(lambda pod=pod: "gitVersion" in asks_the_api(cluster, pod), 30, f"{pod} may ask the API")  # type: ignore[misc]


@pytest.mark.skipif(FAKETIME is None, reason="the package faketime sets a process's clock")
def test_a_node_that_does_not_know_how_long_it_lay_there_asks_when_the_server_hangs_up(cluster: Cluster, outpost: Outpost) -> None:
    outpost.stop()
    cluster.stop()
    set_clock(cluster, datetime.now(UTC) + 2 * SHELF)
    set_clock(outpost, datetime(1970, 1, 1, 0, 2, tzinfo=UTC))
    cluster.start()
    before = (outpost.data / "agent" / "client.pem").read_bytes()
    outpost.start(joining=False, ready=False)
    comes_back(cluster, outpost)
    assert (outpost.data / "agent" / "client.pem").read_bytes() != before


def comes_back(cluster: Cluster, outpost: Outpost) -> None:
    outpost.until(lambda: "nginx" in cluster.kubectl("logs", "far-web", check=False), START_S, "the node is linked", outpost.log_end)
    outpost.until(outpost.is_ready, START_S, "the node is Ready", outpost.log_end)


def ended(node: Cluster) -> set[str]:
    argv = node.inside(*COMMAND, "certificate", "check", "-o", "json", *node.paths(), "--write-kubeconfig", node.kubeconfig)
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin", **node.environment})
    found = {entry["name"] for entry in json.loads(done.stdout) if entry["verdict"] == "ended"}
    assert done.returncode == bool(found), done.stderr
    return found
