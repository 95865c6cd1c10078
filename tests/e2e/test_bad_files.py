"""What an operator may lay down beside a node, or leave out: each is named with its way out, and the node goes on where it can."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.e2e.churn import IMAGES, deployment
from tests.e2e.cluster import Cluster

pytestmark = pytest.mark.node

HOLD_DNS = "import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.bind(('', 53)); s.recv(1)"
STATIC = """
apiVersion: v1
kind: Pod
metadata: {name: static}
spec: {terminationGracePeriodSeconds: 1, containers: [{name: c, image: nginx:1.27}]}
"""


@pytest.fixture
def box() -> Iterator[Cluster]:
    """Not started yet."""
    made = Cluster()
    try:
        yield made
    finally:
        made.remove()


def test_a_static_pod_and_an_image_that_are_none_are_named_and_the_others_run(cluster: Cluster) -> None:
    manifests = cluster.data / "agent" / "pod-manifests"
    for name, text in (("broken.yaml", "kind: ["), ("other.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: x}"), ("good.yaml", STATIC)):
        (manifests / f".{name}").write_text(text)
        (manifests / f".{name}").rename(manifests / name)
    junk = cluster.images / "junk.tar"
    junk.write_bytes(b"junk")
    cluster.until(lambda: cluster.kubectl("get", "pod", "static-box", "-o", "jsonpath={.status.phase}", check=False) == "Running", 60, "it runs")
    for name in ("broken.yaml", "other.yaml", "junk.tar"):
        cluster.until(lambda name=name: name in cluster.log.read_text(), 20, f"{name} is named")  # type: ignore[misc]
    for name in ("broken.yaml", "other.yaml"):
        assert sum("manifest left out" in line and name in line for line in cluster.log.read_text().splitlines()) == 1
    assert cluster.is_ready()
    cluster.kubectl("delete", "pod", "static-box", "--wait=false")
    cluster.until(lambda: cluster.kubectl("get", "pod", "static-box", "-o", "jsonpath={.status.phase}", check=False) == "Running", 60, "it is back")
    for name in ("broken.yaml", "other.yaml", "good.yaml"):
        (manifests / name).unlink()
    junk.unlink()
    cluster.until(lambda: not cluster.pods(), 30, "it went with its file")


def test_a_file_of_registries_that_cannot_be_read_ends_the_start(box: Cluster) -> None:
    file = box.folder / "registries.yaml"
    file.write_text("mirrors: [")
    box.flags = ("--private-registry", str(file))
    assert str(file) in box.start_fails()
    file.write_text("mirors: {}")
    assert "mirors" in box.start_fails()


def test_a_missing_containerd_is_named_with_its_package(box: Cluster) -> None:
    programs = box.folder / "bin"
    programs.mkdir()
    for name in ("nsenter", "ip", "runc", "nft", "conntrack", "cc", "gcc", "musl-gcc", "as", "ld"):
        if found := shutil.which(name):
            (programs / name).symlink_to(found)
    box.environment = {"PATH": str(programs)}
    assert "there is no containerd on this machine: install the package containerd" in box.start_fails()


def test_a_containerd_that_cannot_start_is_shown_with_its_last_words(box: Cluster) -> None:
    root = box.data / "agent" / "containerd" / "root"
    root.mkdir(parents=True)
    (root / "io.containerd.metadata.v1.bolt").write_text("in the way")
    said = box.start_fails()
    assert "containerd does not come up: " in said
    assert "io.containerd.metadata.v1.bolt" in said
    assert "containerd.log" in said
    assert box.containerds() == set(), "none is left to be in the way of the next"


def test_a_taken_port_of_dns_is_named(box: Cluster) -> None:
    holder = subprocess.Popen(box.inside(sys.executable, "-c", HOLD_DNS))
    try:
        box.until(lambda: ":53" in subprocess.run(box.inside("ss", "-Hlun"), capture_output=True, text=True, check=True).stdout, 10, "it is taken")
        assert "DNS cannot listen on 10.43.0.10:53" in box.start_fails()
    finally:
        holder.kill()
        holder.wait()


def test_what_somebody_tidied_away_is_made_again_by_a_restart(cluster: Cluster) -> None:
    cluster.apply(deployment("ruin", 1, IMAGES[0]))
    cluster.ready("app=ruin", 1)
    cluster.stop()
    shutil.rmtree(cluster.data / "agent" / "cni" / "bin")
    (cluster.data / "agent" / "images" / ".imported.json").unlink()
    cluster.kubeconfig.unlink()
    cluster.run_dir.joinpath("cni.sock").unlink(missing_ok=True)
    cluster.start()
    cluster.kubectl("scale", "deployment/ruin", "--replicas=2")
    cluster.ready("app=ruin", 2)
    cluster.kubectl("delete", "deployment/ruin", "--timeout=30s")
