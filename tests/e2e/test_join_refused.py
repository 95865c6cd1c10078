"""Who is no node of this cluster, or not the one he says he is: refused by name, and nothing secret told, nothing lost. Real processes and sockets."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edgek.host import pki
from edgek.host.pki import Subject
from edgek.model.credentials import JoinToken
from tests.e2e.clock import FAKETIME, faked
from tests.e2e.cluster import REPOSITORY, START_S, Cluster, Failed
from tests.e2e.outpost import Outpost
from tests.fakes.authority import valid_from

pytestmark = pytest.mark.node

IMAGE = "docker.io/library/nginx:1.27"
IDENTITY = ("client.pem", "serving.pem", "server-ca.crt", "client-ca.crt", "node-password")


@pytest.fixture(scope="module")
def outpost(cluster: Cluster, web_one: Path) -> Iterator[Outpost]:
    """A node that is where it belongs, with a pod that has a secret; another pod with another secret is on the server's node."""
    outpost = Outpost(cluster, "far")
    try:
        shutil.copy(web_one, outpost.images)
        outpost.start()
        for name, node in (("near", "box"), ("far", "far")):
            secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": f"{name}-secret"}, "stringData": {"word": "swordfish"}}
            cluster.apply(secret, pod(f"{name}-web", node, f"{name}-secret"))
        cluster.kubectl("wait", "--for=condition=Ready", "pod/near-web", "pod/far-web", "--timeout=60s")
        yield outpost
    finally:
        outpost.remove()


def pod(name: str, node: str, secret: str) -> dict[str, object]:
    container = {"name": "web", "image": IMAGE, "imagePullPolicy": "IfNotPresent", "envFrom": [{"secretRef": {"name": secret}}]}
    spec = {"nodeName": node, "containers": [container], "terminationGracePeriodSeconds": 1}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


@pytest.fixture
def stranger(cluster: Cluster) -> Iterator[Outpost]:
    """Another machine, that has not joined."""
    stranger = Outpost(cluster, "stranger")
    try:
        yield stranger
    finally:
        stranger.remove()


def token_of(cluster: Cluster) -> JoinToken:
    return JoinToken.parse(cluster.run("token", *cluster.paths()).strip())


def refused(machine: Outpost, token: str, *, name: str = "", url: str = "", environment: dict[str, str] | None = None) -> str:
    """What an agent there says before it gives up, which it must within the time of a start."""
    where = ["--join", url or f"https://{machine.server.inside_ip}:6443", "--token", token]
    argv = machine.edgek("agent", *machine.paths(), *where, "--node-ip", machine.inside_ip, "--node-name", name or machine.node_name)
    done = subprocess.run(
        argv, capture_output=True, text=True, check=False, timeout=START_S, cwd=REPOSITORY, env={**os.environ, **(environment or {})}
    )
    assert done.returncode == 2, done.stderr
    return done.stderr


def test_a_copy_of_a_nodes_card_is_told_and_the_node_is_left_alone(cluster: Cluster, outpost: Outpost, stranger: Outpost) -> None:
    shutil.copytree(outpost.data, stranger.data, dirs_exist_ok=True, symlinks=True, ignore=shutil.ignore_patterns("containerd", "kubelet", "*.sock"))
    stranger.node_name = outpost.node_name
    stranger.start(ready=False, joining=False)
    stranger.until(lambda: "is linked already" in stranger.log.read_text(), START_S, "the copy is refused")
    assert outpost.inside_ip in stranger.log.read_text(), "it says by which machine"
    said = stranger.run("status", *stranger.paths(), code=1)
    assert "edgek node forget far" in said
    stranger.until(lambda: "its pods are not started here" in stranger.log.read_text(), START_S, "the copy leaves the node's pods alone")
    assert "no link to the server" not in outpost.log.read_text()
    assert stranger.log.read_text().count("error no link to the server") == 1, "said once"
    cluster.kubectl("logs", "far-web")  # by its link
    assert cluster.get("pod", "far-web")["status"]["containerStatuses"][0]["restartCount"] == 0

    stranger.stop()
    stranger.node_name = "twin"  # as it was told
    stranger.start()
    assert "it is Ready" in stranger.run("status", *stranger.paths())
    assert "no link to the server" not in outpost.log.read_text()
    stranger.stop()
    cluster.run("node", *cluster.paths(), "forget", "twin")


def assert_nothing_was_kept(machine: Outpost) -> None:
    assert {path.name for path in (machine.data / "agent").iterdir()} <= {"images", "node-password"}


def identity(machine: Outpost) -> dict[str, bytes]:
    return {name: (machine.data / "agent" / name).read_bytes() for name in IDENTITY}


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("secret", "not-the-one", ("the token is not this cluster's", "`edgek token` on the server")),
        ("authority_hash", "0" * 64, ("the token is for 000000000000...", "The token was not sent")),
    ],
    ids=["wrong secret", "wrong hash of the authority"],
)
def test_a_wrong_token_is_refused(cluster: Cluster, stranger: Outpost, field: str, value: str, says: tuple[str, ...]) -> None:
    token = token_of(cluster)
    parts = {"secret": token.secret, "user": token.user, "authority_hash": token.authority_hash, field: value}
    said = refused(stranger, str(JoinToken(**parts)))
    assert all(word in said for word in says), said
    assert_nothing_was_kept(stranger)
    assert "stranger" not in cluster.kubectl("get", "nodes", "-o", "name")


def test_a_token_that_was_cut_off_is_refused_before_anybody_is_asked(cluster: Cluster, stranger: Outpost) -> None:
    assert "--token is not complete" in refused(stranger, str(token_of(cluster))[:60], url="https://192.0.2.1:6443")


def test_a_token_that_ended_is_refused(cluster: Cluster, stranger: Outpost) -> None:
    token = cluster.run("token", *cluster.paths(), "create", "--ttl", "1s").strip()
    name = token.rpartition(":")[2].partition(".")[0]

    def is_over() -> bool:
        """It is shown as such, or was cleared away already."""
        line = [line for line in cluster.run("token", "list", *cluster.paths()).splitlines() if line.startswith(name)]
        return not line or "(over)" in line[0]

    cluster.until(is_over, 10, "the token's time is over")
    said = refused(stranger, token)
    assert "the token expired at" in said or "there is no such bootstrap token (any more)" in said
    assert "`edgek token create` on the server" in said
    assert_nothing_was_kept(stranger)


def test_a_token_that_was_deleted_or_replaced_is_refused(cluster: Cluster, stranger: Outpost) -> None:
    token = cluster.run("token", *cluster.paths(), "create").strip()
    cluster.run("token", "delete", token, *cluster.paths())
    assert "there is no such bootstrap token" in refused(stranger, token)
    former = token_of(cluster)
    cluster.run("token", *cluster.paths(), "rotate")
    assert "the token is not this cluster's" in refused(stranger, str(former))


@contextmanager
def in_between(cluster: Cluster, tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """A man who has a certificate of his own for the server's name, and an authority of his own that vouches for it."""
    chain, record = tmp_path / "his.pem", tmp_path / "heard"
    pki.save(chain, pki.issue(pki.make_authority("his"), Subject("kubernetes", names=("kubernetes.default.svc",), client=False, server=True)))
    argv = [sys.executable, "-m", "tests.e2e.relay", cluster.inside_ip, "7443", f"{cluster.inside_ip}:6443", chain, record]
    with subprocess.Popen(cluster.inside(*argv), cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as man:
        assert man.stdout is not None
        try:
            assert man.stdout.readline() == "listening\n"
            yield 7443, record
        finally:
            man.kill()


def test_a_man_in_the_middle_hears_nothing_that_is_secret(cluster: Cluster, stranger: Outpost, tmp_path: Path) -> None:
    token = token_of(cluster)
    with in_between(cluster, tmp_path) as (port, record):
        said = refused(stranger, str(token), url=f"https://{cluster.inside_ip}:{port}")
        heard = record.read_bytes()
    assert "somebody may stand between" in said
    assert "The token was not sent" in said
    assert heard.startswith(b"GET /cacerts HTTP/1.1\r\n"), "he was asked who vouches for him, and passed the answer on"
    assert heard.count(b"HTTP/1.1") == 1, "and nothing else"
    secrets = [token.secret.encode(), (stranger.data / "agent" / "node-password").read_bytes().strip(), b"uthorization", b"CERTIFICATE REQUEST"]
    assert [secret for secret in secrets if secret in heard] == []


def test_a_node_that_has_joined_tells_a_man_in_the_middle_nothing(cluster: Cluster, outpost: Outpost, tmp_path: Path) -> None:
    before = identity(outpost)
    outpost.stop()
    with in_between(cluster, tmp_path) as (port, record):
        argv = outpost.edgek("agent", *outpost.paths(), "--join", f"https://{cluster.inside_ip}:{port}", "--node-ip", outpost.inside_ip)
        with outpost.log.open("ab") as out:
            outpost.process = subprocess.Popen([*argv, "--node-name", "far"], stdout=out, stderr=out, start_new_session=True, cwd=REPOSITORY)
        lease = cluster.get("lease", "-n", "kube-node-lease", "far")["spec"]["renewTime"]
        outpost.until(
            lambda: cluster.get("lease", "-n", "kube-node-lease", "far")["spec"]["renewTime"] > lease, START_S, "it finds its server by what it keeps"
        )
        assert record.read_bytes() == b""
    outpost.stop()
    outpost.start(joining=False)
    assert identity(outpost) == before


@pytest.mark.skipif(FAKETIME is None, reason="needs the package faketime")
def test_a_first_join_before_the_certificates_time_names_the_clock(stranger: Outpost, tmp_path: Path) -> None:
    """With an authority of the operator's own: those that edgek makes are valid from 1970 on."""
    server = Cluster("--disable-agent")
    try:
        authority = server.data / "server" / "tls" / "server-ca.pem"
        authority.parent.mkdir(parents=True, mode=0o700)
        pki.save(authority, valid_from(datetime.now(UTC) - timedelta(days=1)))
        server.start()
        clock = tmp_path / "clock"
        clock.write_text("@2001-01-01 00:00:00")
        machine = Outpost(server, "early")
        try:
            said = refused(machine, str(token_of(server)), environment=faked(clock))
            assert "this machine's clock says 2001-01-01T" in said
            assert "set the clock" in said
            assert "The token was not sent" in said
            assert_nothing_was_kept(machine)
        finally:
            machine.remove()
    finally:
        server.remove()


def test_a_second_machine_of_a_name_changes_nothing_for_the_first(cluster: Cluster, outpost: Outpost, stranger: Outpost) -> None:
    before = identity(outpost)
    uid = cluster.get("node", "far")["metadata"]["uid"]
    said = refused(stranger, str(token_of(cluster)), name="far")
    assert "node 'far' is another machine's" in said
    assert "`edgek node forget far` on the server" in said
    assert "--node-name" in said
    assert_nothing_was_kept(stranger)
    assert identity(outpost) == before
    assert cluster.get("node", "far")["metadata"]["uid"] == uid
    assert "swordfish" in cluster.kubectl("exec", "far-web", "--", "env"), "the first one answers"


def test_the_name_of_the_server_is_refused(cluster: Cluster, stranger: Outpost) -> None:
    said = refused(stranger, str(token_of(cluster)), name="box")
    assert "node 'box' is the server itself" in said
    assert "--node-name" in said


def test_a_wrong_token_does_not_take_a_node_its_place(cluster: Cluster, outpost: Outpost) -> None:
    before = identity(outpost)
    outpost.stop()
    token = token_of(cluster)
    assert "The token was not sent" in refused(outpost, str(JoinToken(token.secret, token.user, "0" * 64)))
    assert identity(outpost) == before
    outpost.start(joining=False)
    assert outpost.is_ready()


class Thief:
    """Has a node's certificate and key, and asks the API with them from elsewhere."""

    def __init__(self, cluster: Cluster, chain: Path) -> None:
        self.cluster = cluster
        authority = cluster.data / "server" / "tls" / "server-ca.crt"
        self.argv = ["kubectl", "--kubeconfig", "/dev/null", "--server", f"https://{cluster.inside_ip}:6443", "--certificate-authority", authority]
        self.argv += ["--client-certificate", chain, "--client-key", chain]

    def ask(self, *arguments: str, stdin: str = "") -> tuple[int, str]:
        done = subprocess.run(
            self.cluster.inside(*self.argv, *arguments), input=stdin, capture_output=True, text=True, check=False, timeout=30, cwd="/"
        )
        return done.returncode, done.stdout + done.stderr

    def may(self, *arguments: str) -> str:
        code, said = self.ask(*arguments)
        if code:
            raise Failed(f"{arguments}: {said}")
        return said

    def may_not(self, *arguments: str, stdin: str = "") -> str:
        code, said = self.ask(*arguments, stdin=stdin)
        if not code:
            raise Failed(f"{arguments} was allowed: {said}")
        return said


@pytest.fixture
def thief(cluster: Cluster, outpost: Outpost) -> Thief:
    return Thief(cluster, outpost.data / "agent" / "client.pem")


def test_a_stolen_certificate_reads_what_its_own_node_needs(thief: Thief) -> None:
    """Or else the tests below would show nothing."""
    assert "word" in thief.may("get", "secret", "far-secret", "-o", "json")
    assert "far-web" in thief.may("get", "pods", "--field-selector", "spec.nodeName=far", "-o", "name")


@pytest.mark.parametrize(
    "asked",
    [
        ("get", "secret", "near-secret"),
        ("get", "secrets"),
        ("get", "secrets", "-A"),
        ("get", "secret", "far.node-password.edgek", "-n", "kube-system"),
        ("get", "pod", "near-web"),
        ("get", "pods"),
        ("get", "pods", "--field-selector", "spec.nodeName=box"),
        ("delete", "pod", "near-web", "--wait=false"),
        ("label", "node", "box", "stolen=yes"),
        ("label", "node", "far", "node-restriction.kubernetes.io/stolen=yes"),
        ("taint", "node", "box", "stolen=yes:NoExecute"),
        ("patch", "node", "box", "--type=merge", "-p", '{"spec":{"unschedulable":true}}'),
        ("delete", "node", "box"),
        ("delete", "node", "far"),
        ("delete", "lease", "-n", "kube-node-lease", "box"),
        ("create", "token", "default"),
        ("create", "clusterrolebinding", "mine", "--clusterrole=cluster-admin", "--user=system:node:far"),
        ("logs", "near-web"),
        ("exec", "near-web", "--", "env"),
    ],
    ids=" ".join,
)
def test_a_stolen_certificate_is_of_no_use_for_others(cluster: Cluster, thief: Thief, asked: tuple[str, ...]) -> None:
    said = thief.may_not(*asked)
    assert "orbidden" in said, said
    assert "swordfish" not in said


def test_a_stolen_certificate_makes_no_pods_on_another_node(cluster: Cluster, thief: Thief) -> None:
    wanted = json.dumps(pod("planted", "box", "near-secret"))
    assert "orbidden" in thief.may_not("create", "--validate=false", "-f", "-", stdin=wanted)
    status = json.dumps({"status": {"phase": "Failed"}})
    assert "orbidden" in thief.may_not("patch", "pod", "near-web", "--subresource=status", "--type=merge", "-p", status)
    assert cluster.get("pod", "near-web")["status"]["phase"] == "Running"


def test_a_nodes_serving_certificate_is_no_clients(cluster: Cluster, outpost: Outpost) -> None:
    thief = Thief(cluster, outpost.data / "agent" / "serving.pem")
    assert "swordfish" not in thief.may_not("get", "secret", "far-secret", "-o", "json")


def test_without_any_certificate_nothing_but_the_authority_is_told(cluster: Cluster) -> None:
    for path, status in (("/cacerts", "200"), ("/api/v1/nodes", "401"), ("/edgek/v1/link", "401"), ("/edgek/v1/renew", "4")):
        argv = cluster.inside("curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}", f"https://{cluster.inside_ip}:6443{path}")
        assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout.startswith(status), path
