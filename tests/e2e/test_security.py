"""What a running node lets others see: nothing in the clear, nothing without a name, nothing beyond their own."""

from __future__ import annotations

import contextlib
import socket
import ssl
from pathlib import Path

import pytest

from edgek.server import pki
from tests.e2e.churn import IMAGES
from tests.e2e.cluster import Cluster, Failed, sh
from tests.e2e.direct import CONFIG_MAPS, PODS, Direct, Refused

pytestmark = pytest.mark.node

SECRETS = "/api/v1/namespaces/default/secrets"
ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
MARK = "very-secret-indeed"
API_PORT = 6443
DNS = "10.43.0.10:53"


@pytest.fixture(scope="module")
def guarded(cluster: Cluster) -> Cluster:
    """A pod that uses one of two Secrets."""
    volumes = [{"name": "s", "secret": {"secretName": "mine"}}]
    container = {"name": "c", "image": IMAGES[0], "volumeMounts": [{"name": "s", "mountPath": "/secret"}]}
    cluster.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mine"}, "stringData": {"key": MARK}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "theirs"}, "stringData": {"key": MARK}},
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "guarded", "labels": {"app": "guarded"}},
            "spec": {"containers": [container], "volumes": volumes, "terminationGracePeriodSeconds": 1},
        },
    )
    cluster.ready("app=guarded", 1)
    return cluster


def as_node(cluster: Cluster, name: str) -> Direct:
    """With a certificate as a node of that name would have."""
    keys = pki.open_keys(cluster.data / "server" / "tls", ())
    file = cluster.folder / f"{name}.pem"
    file.write_bytes(keys.issue(pki.node(name)).file_text)
    return Direct(cluster, certificate=file)


def test_nothing_listens_in_the_clear_beyond_loopback(guarded: Cluster) -> None:
    lines = sh(f"nsenter --net=/run/netns/{guarded.name} ss -Hlntu").splitlines()
    listening = {line.split()[4] for line in lines}
    beyond = {address for address in listening if not address.startswith(("127.", "[::1]"))}
    assert beyond == {f"0.0.0.0:{API_PORT}", DNS}
    with socket.create_connection((guarded.inside_ip, API_PORT), timeout=5) as plain:
        plain.sendall(b"GET /version HTTP/1.1\r\nhost: x\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert not plain.recv(100).startswith(b"HTTP/1.1")


@pytest.mark.parametrize(
    ("version", "works"),
    [(ssl.TLSVersion.TLSv1, False), (ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_3, True)],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_tls_is_of_version_1_2_at_least(guarded: Cluster, version: ssl.TLSVersion, works: bool) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(guarded.data / "server" / "tls" / "server-ca.crt")
    context.set_ciphers("ALL:@SECLEVEL=0")  # or our own side would refuse the old ones
    context.minimum_version = context.maximum_version = version
    with socket.create_connection((guarded.inside_ip, API_PORT), timeout=5) as plain:
        try:
            context.wrap_socket(plain, server_hostname=guarded.inside_ip).close()
            agreed = True
        except (ssl.SSLError, ConnectionError):
            agreed = False
    assert agreed == works


def test_files_with_secrets_are_for_root_only(guarded: Cluster) -> None:
    open_to_others = []
    for path in [guarded.kubeconfig, *(guarded.data / "server").rglob("*")]:
        if path.is_file() and not path.name.endswith(".crt") and path.stat().st_mode & 0o077:
            open_to_others.append(path)
    assert open_to_others == []
    assert (guarded.data / "server").stat().st_mode & 0o077 == 0
    keys = sh(f"grep -rlE 'PRIVATE KEY|{MARK}' {guarded.folder} --exclude-dir=containerd --exclude-dir=images --exclude-dir=pods || true").split()
    assert keys
    assert [key for key in keys if Path(key).stat().st_mode & 0o077] == []


def test_a_secret_in_a_pod_lies_in_memory_and_its_pods_folder_is_closed(guarded: Cluster) -> None:
    uid = guarded.get("pod", "guarded")["metadata"]["uid"]
    folder = guarded.data / "agent" / "kubelet" / "pods" / uid
    shown = sh(f"findmnt -rno FSTYPE -T {folder}/volumes/kubernetes.io~secret/s").strip()
    assert shown == "tmpfs"
    assert (
        sh(
            f"findmnt -rno FSTYPE -T {folder}/volumes/kubernetes.io~projected/"
            + next((folder / "volumes" / "kubernetes.io~projected").iterdir()).name
        ).strip()
        == "tmpfs"
    )
    assert folder.stat().st_mode & 0o007 == 0 or folder.parent.stat().st_mode & 0o007 == 0


@pytest.mark.parametrize("path", ["/", "/api", "/version", "/healthz", "/metrics", PODS, "/openapi/v2"])
def test_nobody_is_let_in_without_a_name(guarded: Cluster, path: str) -> None:
    with pytest.raises(Refused, match="401"):
        Direct(guarded, anonymous=True).get(path)


def test_a_node_reads_the_secrets_of_its_own_pods_and_no_others(guarded: Cluster) -> None:
    own = as_node(guarded, "box")
    assert own.get(f"{SECRETS}/mine")["metadata"]["name"] == "mine"
    for path in (f"{SECRETS}/theirs", SECRETS, "/api/v1/secrets"):
        with pytest.raises(Refused, match="403"):
            own.get(path)
    with pytest.raises(Refused, match="403"):
        own.create(CONFIG_MAPS, {"metadata": {"name": "a"}})
    stranger = as_node(guarded, "elsewhere")
    for path in (f"{SECRETS}/mine", f"{SECRETS}/theirs"):
        with pytest.raises(Refused, match="403"):
            stranger.get(path)
    with pytest.raises(Refused, match="403"):
        stranger.merge("/api/v1/nodes/box", {"metadata": {"labels": {"a": "b"}}})
    with pytest.raises(Refused, match="403"):
        stranger.delete(f"{PODS}/guarded?gracePeriodSeconds=0")


def ask_from_inside(cluster: Cluster, path: str) -> str:
    """The status that the pod's own account gets at the name of the API."""
    ask = f'curl -sS -o /dev/null -w "%{{http_code}}" --max-time 5 --cacert {ACCOUNT}/ca.crt'
    line = f'{ask} -H "Authorization: Bearer $(cat {ACCOUNT}/token)" https://kubernetes.default.svc{path}'
    return cluster.kubectl("exec", "guarded", "--", "sh", "-c", line)


def test_a_pods_account_may_do_what_it_was_given_and_nothing_after_its_pod_is_gone(guarded: Cluster) -> None:
    assert ask_from_inside(guarded, "/api") == "200"
    assert ask_from_inside(guarded, PODS) == "403"
    assert ask_from_inside(guarded, SECRETS) == "403"
    guarded.kubectl("create", "role", "reader", "--verb=list", "--resource=pods")
    guarded.kubectl("create", "rolebinding", "reader", "--role=reader", "--serviceaccount=default:default")
    assert ask_from_inside(guarded, PODS) == "200"
    assert ask_from_inside(guarded, SECRETS) == "403"
    assert ask_from_inside(guarded, "/api/v1/pods") == "403"

    token = guarded.kubectl("exec", "guarded", "--", "cat", f"{ACCOUNT}/token")
    bearer = Direct(guarded, token=token)
    assert bearer.get(PODS)["kind"] == "PodList"
    with pytest.raises(Refused, match="401"):
        Direct(guarded, token=token[:-4] + "AAAA").get(PODS)
    with pytest.raises(Failed, match=r"verif|certificate|issuer"):
        guarded.kubectl("exec", "guarded", "--", "curl", "-sS", "https://kubernetes.default.svc/api")
    guarded.kubectl("delete", "pod", "guarded", "--timeout=30s")
    with pytest.raises(Refused, match="401"):
        bearer.get(PODS)
