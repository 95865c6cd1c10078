"""What goes to CRI and what comes back; the wire itself is tested with ``host/message.py``."""

from __future__ import annotations

import attrs
import orjson
import pytest

from edgek.agent.runtime import cri_values
from edgek.agent.runtime import messages_cri as cri
from edgek.agent.runtime.runtime import Container, Mount, PortMapping, Resources, Sandbox, SecurityContext

SANDBOX = Sandbox(
    name="web-0", namespace="shop", uid="u1", attempt=2, hostname="web-0", log_directory="/logs", cgroup_parent="/kubepods/podu1", labels={"a": "b"},
    annotations={"c": "d"}, dns_servers=("10.43.0.10",), ports=(PortMapping("UDP", 53, 5353, "127.0.0.1"),), sysctls={"net.core.somaxconn": "777"},
)  # fmt: skip
CONTAINER = Container(
    name="main", attempt=1, image="app:1", command=("run",), args=("-v",), working_dir="/w", env=(("K", "V"),), mounts=(), devices=(), labels={},
    annotations={}, log_path="main/1.log", stdin=False, stdin_once=False, tty=False, resources=Resources(cpu_shares=102, memory_limit_bytes=64 << 20),
    security=SecurityContext(),
)  # fmt: skip


def sandbox_sent(sandbox: Sandbox) -> dict[str, object]:
    """Through the wire and back."""
    return cri.SANDBOX_CONFIG.decode(cri.SANDBOX_CONFIG.encode(cri_values.sandbox_config(sandbox)))


def container_sent(container: Container, sandbox: Sandbox = SANDBOX) -> dict[str, object]:
    return cri.CONTAINER_CONFIG.decode(cri.CONTAINER_CONFIG.encode(cri_values.container_config(container, sandbox)))


def test_a_sandbox_is_sent_whole() -> None:
    sent = sandbox_sent(SANDBOX)
    assert sent["metadata"] == {"name": "web-0", "uid": "u1", "namespace": "shop", "attempt": 2}
    assert sent["dns_config"] == {"servers": ["10.43.0.10"], "searches": [], "options": []}
    assert sent["port_mappings"] == [{"protocol": 1, "container_port": 53, "host_port": 5353, "host_ip": "127.0.0.1"}]
    assert (sent["linux"]["cgroup_parent"], sent["linux"]["sysctls"]) == ("/kubepods/podu1", {"net.core.somaxconn": "777"})


def test_the_hosts_network_has_no_hostname_of_its_own() -> None:
    sent = sandbox_sent(attrs.evolve(SANDBOX, host_network=True))
    assert sent["hostname"] == ""
    assert sent["linux"]["security_context"]["namespace_options"]["network"] == cri.NAMESPACE_NODE


@pytest.mark.parametrize(
    ("changes", "pid"),
    [({}, cri.NAMESPACE_CONTAINER), ({"share_pid": True}, cri.NAMESPACE_POD), ({"host_pid": True}, cri.NAMESPACE_NODE)],
)
def test_processes_are_seen_as_far_as_the_pod_says(changes: dict[str, bool], pid: int) -> None:
    assert sandbox_sent(attrs.evolve(SANDBOX, **changes))["linux"]["security_context"]["namespace_options"]["pid"] == pid


def test_user_zero_is_told_from_no_user() -> None:
    root = container_sent(attrs.evolve(CONTAINER, security=SecurityContext(run_as_user=0)))
    assert root["linux"]["security_context"]["run_as_user"] == {"value": 0}
    assert container_sent(CONTAINER)["linux"]["security_context"]["run_as_user"] is None


@pytest.mark.parametrize(
    ("profile", "sent"),
    [("", (1, "")), ("Unconfined", (1, "")), ("RuntimeDefault", (0, "")), ("Localhost//etc/p.json", (2, "/etc/p.json"))],
)
def test_a_seccomp_profile_is_sent_by_kind(profile: str, sent: tuple[int, str]) -> None:
    found = container_sent(attrs.evolve(CONTAINER, security=SecurityContext(seccomp=profile)))["linux"]["security_context"]["seccomp"]
    assert (found["profile_type"], found["localhost_ref"]) == sent


@pytest.mark.parametrize(
    ("security", "masked"), [(SecurityContext(), True), (SecurityContext(privileged=True), False), (SecurityContext(masked_paths=False), False)]
)
def test_dangerous_paths_are_hidden_from_ordinary_containers(security: SecurityContext, masked: bool) -> None:
    sent = container_sent(attrs.evolve(CONTAINER, security=security))["linux"]["security_context"]
    assert ("/proc/kcore" in sent["masked_paths"]) is masked
    assert ("/proc/sys" in sent["readonly_paths"]) is masked


def test_mounts_and_their_propagation_are_sent() -> None:
    mounts = (Mount("/data", "/host", read_only=True), Mount("/m", "/n", propagation="bidirectional"))
    sent = container_sent(attrs.evolve(CONTAINER, mounts=mounts))["mounts"]
    assert [(m["container_path"], m["readonly"], m["propagation"]) for m in sent] == [("/data", True, 0), ("/m", False, 2)]


def test_a_stop_signal_goes_by_its_number() -> None:
    assert container_sent(attrs.evolve(CONTAINER, stop_signal="SIGTERM"))["stop_signal"] == 23
    assert (cri.SIGNALS["SIGRTMIN"], cri.SIGNALS["SIGRTMAX"], cri.SIGNALS["SIGRTMINPLUS15"]) == (35, 65, 50)


def test_pid_and_namespace_come_out_of_the_verbose_answer() -> None:
    info = {"pid": 42, "runtimeSpec": {"linux": {"namespaces": [{"type": "pid"}, {"type": "network", "path": "/run/netns/cni-1"}]}}}
    seen = {
        "id": "s1", "metadata": {"name": "n", "uid": "u", "namespace": "ns", "attempt": 0}, "state": 1, "created_at": 1_500_000_000,
        "network": {"ip": "10.42.0.5", "additional_ips": [{"ip": "fd00::5"}]}, "labels": {}, "annotations": {},
    }  # fmt: skip
    status = cri_values.sandbox_status(seen, {"info": orjson.dumps(info).decode()})
    assert (status.pid, status.netns, status.ready, status.created_at) == (42, "/run/netns/cni-1", False, 1.5)
    assert status.ips == ("10.42.0.5", "fd00::5")
