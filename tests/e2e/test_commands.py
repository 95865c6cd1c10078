"""The small commands beside a running node, and two nodes on one kernel that know nothing of each other."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import images
from tests.e2e.churn import IMAGES, deployment
from tests.e2e.cluster import REPOSITORY, Cluster, Failed, restarts, sh

pytestmark = pytest.mark.node


def test_the_token_is_the_one_that_nodes_join_with(cluster: Cluster) -> None:
    token = cluster.run("token", "--data-dir", cluster.data)
    assert re.fullmatch(r"K10[0-9a-f]{64}::server:[0-9a-f]{32}\n", token)
    assert "start `edgek server` there once, or name its --data-dir" in cluster.run("token", "--data-dir", cluster.folder / "none", code=2)


def test_an_archive_is_imported_and_listed_and_pods_can_use_it(cluster: Cluster, tmp_path: Path) -> None:
    archive = images.web(tmp_path / "mine.tar", "docker.io/example/mine:3", "mine")
    where = ["--data-dir", cluster.data, "--run-dir", cluster.run_dir]
    assert cluster.run("images", *where, "import", archive) == "docker.io/example/mine:3\n"
    assert "docker.io/example/mine:3" in cluster.run("images", *where, "list")
    cluster.kubectl("run", "mine", "--image=example/mine:3", "--restart=Never", "--command", "--", "true")
    cluster.kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/mine", "--timeout=30s")
    cluster.kubectl("delete", "pod", "mine")
    junk = tmp_path / "junk.tar"
    junk.write_bytes(b"junk")
    assert "cannot import junk.tar" in cluster.run("images", *where, "import", junk, code=1)
    assert "is `edgek server` running?" in cluster.run("images", "--run-dir", tmp_path, "list", code=2)


def test_an_image_that_does_not_exist_is_named_wherever_one_looks(cluster: Cluster) -> None:
    cluster.kubectl("run", "hopeless", "--image=registry.invalid/nothing:9", "--restart=Never")
    waiting = "jsonpath={.status.containerStatuses[0].state.waiting.reason}"
    cluster.until(lambda: cluster.kubectl("get", "pod", "hopeless", "-o", waiting) in ("ErrImagePull", "ImagePullBackOff"), 60, "the pull has failed")
    assert "registry.invalid/nothing:9" in cluster.kubectl("describe", "pod", "hopeless")
    found = json.loads(cluster.run("status", *cluster.paths(), "-o", "json"))
    (troubled,) = [entry for entry in found["pods"]["troubled"] if entry["pod"] == "default/hopeless"]
    assert "registry.invalid/nothing:9" in troubled["why"]
    assert found["healthy"]
    cluster.kubectl("delete", "pod", "hopeless", "--timeout=30s")


def test_kubectl_is_passed_through_with_its_exit_code(cluster: Cluster) -> None:
    environment = {**os.environ, "EDGEK_WRITE_KUBECONFIG": str(cluster.kubeconfig)}
    environment.pop("KUBECONFIG", None)
    for arguments, code in ((["get", "nodes", "-o", "name"], 0), (["get", "pod", "nobody"], 1)):
        done = subprocess.run(cluster.edgek("kubectl", *arguments), capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == code, done.stderr
        assert ("node/box" in done.stdout) == (code == 0)
    environment["EDGEK_WRITE_KUBECONFIG"] = "/nowhere"
    done = subprocess.run(cluster.edgek("kubectl", "get", "nodes"), capture_output=True, text=True, check=False, env=environment)
    assert "/nowhere cannot be read" in done.stderr


def test_status_says_what_runs_and_what_it_costs(cluster: Cluster) -> None:
    found = json.loads(cluster.run("status", *cluster.paths(), "-o", "json"))
    assert found["healthy"]
    assert [node["name"] for node in found["nodes"] if node["ready"]] == ["box"]
    assert all(part["residentBytes"] > 0 for part in found["cost"])
    assert "the server does not answer" in cluster.run("status", *cluster.paths(), "--https-listen-port=1", code=1)


def test_the_database_is_looked_at_and_copied_while_it_is_in_use(cluster: Cluster, tmp_path: Path) -> None:
    where = ["--data-dir", cluster.data]
    assert "nodes" in cluster.run("db", *where, "show")
    assert "The database is sound." in cluster.run("db", *where, "check")
    cluster.run("db", *where, "backup", tmp_path / "copy.db")
    assert (tmp_path / "copy.db").stat().st_size > 0
    assert "stop it first" in cluster.run("db", *where, "compact", code=2)
    assert "stop it first" in cluster.run("db", *where, "restore", tmp_path / "copy.db", code=2)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_name_commands_and_flags(cluster: Cluster, shell: str) -> None:
    script = cluster.run("completion", shell)
    assert "kubectl" in script
    assert "--data-dir" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)


def test_the_version_names_the_level_of_the_api(cluster: Cluster) -> None:
    assert "Kubernetes v1.36" in cluster.run("version")
    assert json.loads(cluster.kubectl("version", "-o", "json"))["serverVersion"]["minor"] == "36"


@pytest.mark.parametrize("command", ["etcd-snapshot", "crictl", "ctr", "secrets-encrypt"])
def test_a_command_of_k3s_that_is_not_there_is_refused_by_name(cluster: Cluster, command: str) -> None:
    assert cluster.run(command, code=2).startswith(f"edgek: {command}: ")


def test_check_finds_a_machine_fit_that_edgek_runs_on(cluster: Cluster) -> None:
    assert "This machine can run edgek." in cluster.run("check", *cluster.paths())


def test_check_names_what_is_missing_and_the_remedy(cluster: Cluster, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    sh(f"mount -t tmpfs -o size=1m,noexec tmpfs {small}")
    try:
        argv = [sys.executable, "-m", "edgek", "check", "--data-dir", str(small / "data")]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, env={"PATH": "/nowhere"}, cwd=REPOSITORY)
    finally:
        sh(f"umount {small}")
    assert done.returncode == 1
    for program in ("runc", "containerd"):
        assert f"{program} is not on the PATH" in done.stdout
    assert "apt-get install runc" in done.stdout
    assert "free at least" in done.stdout
    assert f"mounted noexec ({small})" in done.stdout
    assert f"mount -o remount,exec {small}" in done.stdout


@pytest.fixture
def neighbour(web_one: Path) -> Iterator[Cluster]:
    made = Cluster()
    try:
        shutil.copy(web_one, made.images)
        made.start()
        yield made
    finally:
        made.remove()


def answering(node: Cluster) -> set[str]:
    """Of 20 requests; nobody where one fails."""
    try:
        return {node.http(f"http://{node.inside_ip}:30082/host", outside=True).split()[0] for _ in range(20)}
    except Failed:
        return set()


def test_two_nodes_on_one_kernel_do_not_disturb_each_other(cluster: Cluster, neighbour: Cluster) -> None:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"type": "NodePort", "selector": {"app": "web"}}}
    service["spec"]["ports"] = [{"port": 80, "nodePort": 30082}]  # type: ignore[index]
    for each in (cluster, neighbour):
        each.apply(deployment("web", 2, IMAGES[0]), service)
    for each in (cluster, neighbour):
        each.ready("app=web", 2)
        names = {pod["metadata"]["name"] for pod in each.pods("app=web")}
        # Pods are Ready a moment before the proxy hears of it.
        each.until(lambda each=each, names=names: answering(each) == names, 10, "each is answered by its own")  # type: ignore[misc]
    before = {pod["metadata"]["name"]: pod["status"]["containerStatuses"][0]["containerID"] for pod in cluster.pods("app=web")}

    neighbour.kill_containerd()
    neighbour.kill()
    neighbour.remove()

    assert {pod["metadata"]["name"]: pod["status"]["containerStatuses"][0]["containerID"] for pod in cluster.pods("app=web")} == before
    assert restarts(cluster.pods("app=web")) == 0
    assert cluster.http(f"http://{cluster.inside_ip}:30082/", outside=True).strip() == "one"
    assert cluster.kubectl("exec", "deployment/web", "--", "curl", "-sS", "--max-time", "5", "http://web/") == "one"
    assert neighbour.mounts() == set()
    assert neighbour.cgroups() == set()
    assert neighbour.shims() == set()
    cluster.kubectl("delete", "deployment/web", "service/web", "--timeout=30s")
