"""kubectl's streams against a real node, over WebSocket as new clients do, and over SPDY as old ones do."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster import Cluster, Failed, sh

pytestmark = pytest.mark.node

IMAGE = "docker.io/library/nginx:1.27"
RUN = ("--image", IMAGE, "--image-pull-policy", "IfNotPresent")
SPDY = {"KUBECTL_REMOTE_COMMAND_WEBSOCKETS": "false", "KUBECTL_PORT_FORWARD_WEBSOCKETS": "false"}
FORWARDED = "18080"


@pytest.fixture(scope="module")
def box(cluster: Cluster) -> Cluster:
    """With the pod ``box`` that serves, and ``talker`` that counts."""
    cluster.kubectl("run", "box", *RUN, "--port", "80")
    cluster.kubectl("run", "talker", *RUN, "--command", "--", "sh", "-c", "for i in 1 2 3 4; do echo line $i; done; sleep 1000")
    cluster.kubectl("wait", "--for=condition=Ready", "pod/box", "pod/talker", "--timeout=60s")
    cluster.until(lambda: "line 4" in cluster.kubectl("logs", "talker"), 20, "it has counted")
    return cluster


@pytest.fixture(params=["WebSocket", "SPDY"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in SPDY.items():
        if request.param == "SPDY":
            monkeypatch.setenv(name, value)
        else:
            monkeypatch.delenv(name, raising=False)
    return str(request.param)


def typed(box: Cluster, keys: str, *arguments: str) -> tuple[int, str]:
    """kubectl at a terminal, where somebody types: its exit code and what the screen shows."""
    line = shlex.join(box.inside("kubectl", "--kubeconfig", box.kubeconfig, *arguments))
    done = subprocess.run(["script", "-qec", line, "/dev/null"], input=keys, capture_output=True, text=True, check=False, timeout=180)
    return done.returncode, done.stdout


@contextlib.contextmanager
def forwarded(box: Cluster, *ports: str) -> Iterator[subprocess.Popen[str]]:
    argv = box.inside("kubectl", "--kubeconfig", box.kubeconfig, "port-forward", "pod/box", *ports)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert process.stdout is not None
            assert "Forwarding from" in process.stdout.readline()
            yield process
        finally:
            process.kill()


def descriptors(box: Cluster) -> int:
    return len(os.listdir(f"/proc/{box.pid()}/fd"))


@pytest.mark.usefixtures("way")
def test_fifty_megabytes_go_in_and_come_back_unchanged(box: Cluster) -> None:
    payload = random.Random(1).randbytes(50_000_000)
    wanted = hashlib.sha256(payload).hexdigest()
    assert box.kubectl("exec", "-i", "box", "--", "sha256sum", stdin=payload).split()[0] == wanted
    argv = box.inside("kubectl", "--kubeconfig", box.kubeconfig, "exec", "-i", "box", "--", "cat")
    assert hashlib.sha256(subprocess.run(argv, input=payload, capture_output=True, check=True, timeout=180).stdout).hexdigest() == wanted


@pytest.mark.usefixtures("way")
def test_exit_codes_and_the_two_outputs_stay_apart(box: Cluster) -> None:
    argv = box.inside("kubectl", "--kubeconfig", box.kubeconfig, "exec", "box", "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=180)
    assert (done.returncode, done.stdout) == (7, "out\n")
    assert done.stderr.splitlines() == ["err", "command terminated with exit code 7"]
    assert "executable file not found" in box.fails("exec", "box", "--", "nothing-like-it")
    assert "container x is not valid for pod box" in box.fails("exec", "box", "-c", "x", "--", "ls")


@pytest.mark.usefixtures("way")
def test_a_terminal_is_one(box: Cluster) -> None:
    code, screen = typed(box, "test -t 0 && echo it-is-$TERM\nexit 4\n", "exec", "-it", "box", "--", "sh")
    assert "it-is-xterm" in screen
    assert code == 4


@pytest.mark.usefixtures("way")
def test_files_are_copied_both_ways(box: Cluster, tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(random.Random(2).randbytes(3_000_000))
    box.kubectl("cp", str(tmp_path / "there"), "box:/tmp/file")
    box.kubectl("cp", "box:/tmp/file", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == (tmp_path / "there").read_bytes()


def test_a_pod_is_run_talked_to_and_removed(box: Cluster, way: str) -> None:
    said = box.kubectl("run", f"cat-{way.lower()}", *RUN, "-i", "--rm", "-q", "--restart=Never", "--command", "--", "cat", stdin="piped")
    assert "piped" in said
    code, screen = typed(box, "echo spo''ken\nexit 3\n", "run", f"sh-{way.lower()}", *RUN, "-it", "--rm", "--restart=Never", "--command", "--", "sh")
    assert "spoken" in screen
    assert code == 3


@pytest.mark.usefixtures("way")
def test_a_debugger_is_attached_to(box: Cluster) -> None:
    code, screen = typed(box, "echo insi''de\nexit\n", "debug", "box", "-it", "--image", IMAGE, "--image-pull-policy", "IfNotPresent", "--", "sh")
    assert "inside" in screen
    assert code == 0


@pytest.mark.usefixtures("way")
def test_ports_are_forwarded_and_one_that_fails_is_told(box: Cluster, tmp_path: Path) -> None:
    box.kubectl("exec", "box", "--", "dd", "if=/dev/urandom", "of=/srv/big", "bs=1M", "count=10")
    wanted = box.kubectl("exec", "box", "--", "sha256sum", "/srv/big").split()[0]
    with forwarded(box, f"{FORWARDED}:80"):
        # All of them read on: one that stopped would stop the others, for kubectl has no flow control of its own.
        argv = box.inside("curl", "-sS", "--max-time", "60", f"http://127.0.0.1:{FORWARDED}/big", "-o")
        for number, client in enumerate([subprocess.Popen([*argv, tmp_path / f"{number}"]) for number in range(4)]):
            assert client.wait(90) == 0
            assert hashlib.sha256((tmp_path / f"{number}").read_bytes()).hexdigest() == wanted
    with forwarded(box, f"{FORWARDED}:81") as process:
        with pytest.raises(Failed):
            box.http(f"http://127.0.0.1:{FORWARDED}/")
        assert process.stdout is not None
        assert "Connection refused" in process.communicate(timeout=60)[0]


def test_logs_are_chosen_by_lines_time_and_bytes(box: Cluster) -> None:
    assert box.kubectl("logs", "talker").splitlines() == ["line 1", "line 2", "line 3", "line 4"]
    assert box.kubectl("logs", "talker", "--tail=2").splitlines() == ["line 3", "line 4"]
    assert box.kubectl("logs", "talker", "--limit-bytes=6") == "line 1"
    assert box.kubectl("logs", "talker", "--since-time=2100-01-01T00:00:00Z") == ""
    assert box.kubectl("logs", "talker", "--timestamps", "--tail=1").endswith("Z line 4")
    assert "previous terminated container" in box.fails("logs", "talker", "--previous")


def test_a_proxy_reaches_pods_and_the_node(box: Cluster) -> None:
    pod = "/api/v1/namespaces/default/pods/box"
    box.kubectl("exec", "box", "--", "sh", "-c", """echo '<a href="/x">' >/srv/page.html""")
    assert f'{pod}/proxy/x"' in box.kubectl("get", "--raw", f"{pod}/proxy/page.html")
    assert "box" in box.kubectl("get", "--raw", f"{pod}:80/proxy/host")
    assert box.kubectl("get", "--raw", "/api/v1/nodes/box/proxy/healthz") == "ok"
    assert "dial tcp" in box.fails("get", "--raw", f"{pod}:81/proxy/")


@pytest.mark.usefixtures("way")
def test_clients_that_die_leave_nothing_behind(box: Cluster) -> None:
    before = descriptors(box)
    commands = [
        ("exec", "-i", "box", "--", "sh", "-c", "cat >/dev/null; sleep 4242"),  # never stops talking
        ("exec", "-i", "box", "--", "sleep", "4242"),  # talks to nobody
        ("exec", "box", "--", "sh", "-c", "while true; do echo talking; done"),
        ("logs", "-f", "talker"),
        ("attach", "talker"),
    ]
    with Path("/dev/zero").open("rb") as endless:
        clients = [
            subprocess.Popen(box.inside("kubectl", "--kubeconfig", box.kubeconfig, *command), stdin=endless, stdout=subprocess.DEVNULL)
            for command in commands
        ]
        box.until(lambda: len(list((box.run_dir / "exec").glob("*"))) == 3, 20, "three commands run")
        for client in clients:
            client.kill()
            client.wait()
    box.until(lambda: not list((box.run_dir / "exec").glob("*")), 20, "their pipes are gone")
    box.until(lambda: descriptors(box) <= before, 20, "their sockets are closed")
    box.until(lambda: "sleep 4242" not in sh("ps -eo args"), 20, "and the commands have ended")
