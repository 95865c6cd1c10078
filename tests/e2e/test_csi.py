"""A driver of somebody else's, in a process of its own, on a real node: attached, staged, published, grown, and given back, in that order.

edgek is killed on the way, pods go while it is down, the driver goes while it is needed; what was written is read back, and nothing stays behind.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgek.csi import messages
from tests.e2e.churn import IMAGES
from tests.e2e.cluster import REPOSITORY, SETTLE_S, Cluster, is_ready
from tests.fakes.csi_attacher import ask, attach
from tests.fakes.csi_driver import calls

pytestmark = pytest.mark.node

DRIVER = "third.example.com"
NODE_ID = "node-id-1"
GROUP = 4321
SUMMARY = "/api/v1/nodes/box/proxy/stats/summary"
ORDER = ("ControllerPublishVolume", "NodeStageVolume", "NodePublishVolume", "NodeUnpublishVolume", "NodeUnstageVolume", "ControllerUnpublishVolume")


class Driver:
    """Its process, on the node's machine."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.root = cluster.folder / "driver"
        self.kubelet_dir = cluster.data / "agent" / "kubelet"
        self.socket = self.kubelet_dir / "plugins" / DRIVER / "csi.sock"
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        argv = [sys.executable, "-m", "tests.fakes.csi_driver", "--root", str(self.root), "--kubelet-dir", str(self.kubelet_dir)]
        argv += ["--topology", "topology.example.com/zone=z1", "--most-volumes", "7"]
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
        assert self.process.stdout
        assert self.process.stdout.readline() == "ready\n"

    def stop(self, how: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(10)
            assert self.process.stdout
            self.process.stdout.close()
            self.process = None

    def calls(self, handle: str) -> list[str]:
        """Those that changed something of a volume."""
        return [each["call"] for each in calls(self.root) if each.get("volume_id") == handle]

    def state(self) -> dict[str, Any]:
        return dict(json.loads((self.root / "state").read_text()))

    def attach(self) -> None:
        attach(self.cluster, DRIVER, self.socket, NODE_ID)


@pytest.fixture(scope="module")
def driver(cluster: Cluster) -> Iterator[Driver]:
    made = Driver(cluster)
    made.start()
    described = {"attachRequired": True, "podInfoOnMount": True, "fsGroupPolicy": "File", "volumeLifecycleModes": ["Persistent", "Ephemeral"]}
    cluster.apply({"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": {"name": DRIVER}, "spec": described})
    yield made
    made.stop()


def volume(name: str, mode: str = "Filesystem") -> list[dict[str, Any]]:
    """A PersistentVolume and a claim that is its own."""
    common = {"accessModes": ["ReadWriteOnce"], "volumeMode": mode, "storageClassName": ""}
    source = {"driver": DRIVER, "volumeHandle": f"handle-{name}", "volumeAttributes": {"a": "b"}}
    claim = {**common, "resources": {"requests": {"storage": "10Mi"}}, "volumeName": name}
    reference = {"namespace": "default", "name": name}
    spec = {**common, "capacity": {"storage": "10Mi"}, "csi": source, "persistentVolumeReclaimPolicy": "Retain", "claimRef": reference}
    return [
        {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec},
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": claim},
    ]


def pod(name: str, source: dict[str, Any], command: str, *, block: bool = False, **spec: Any) -> dict[str, Any]:
    use: dict[str, Any] = (
        {"volumeDevices": [{"name": "v", "devicePath": "/dev/v"}]} if block else {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    )
    container = {"name": "c", "image": IMAGES[0], "command": ["sh", "-c", f"{command}; exec sleep 1d"], **use}
    spec = {"terminationGracePeriodSeconds": 0, "containers": [container], "volumes": [{"name": "v", **source}], **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec}


def claimed(name: str) -> dict[str, Any]:
    return {"persistentVolumeClaim": {"claimName": name}}


def runs(driver: Driver, name: str) -> None:
    cluster = driver.cluster

    def ready() -> bool:
        driver.attach()
        return is_ready(cluster.get("pod", name))

    cluster.until(ready, SETTLE_S, f"{name} is Ready", lambda: cluster.kubectl("describe", "pod", name))


def detached(driver: Driver, handle: str) -> None:
    def over() -> bool:
        driver.attach()
        return handle not in driver.state()["attached"]

    driver.cluster.until(over, SETTLE_S, f"{handle} is detached", lambda: driver.cluster.kubectl("get", "volumeattachments,node", "-o", "yaml"))


def violations(driver: Driver) -> list[str]:
    return [each["text"] for each in calls(driver.root) if each["call"] == "VIOLATION"]


def test_a_driver_stands_in_the_csinode(cluster: Cluster, driver: Driver) -> None:
    def drivers() -> dict[str, Any]:
        return {each["name"]: each for each in cluster.get("csinode", "box")["spec"]["drivers"] or ()}

    cluster.until(lambda: DRIVER in drivers(), SETTLE_S, "the driver is registered")
    assert drivers()[DRIVER] == {"name": DRIVER, "nodeID": NODE_ID, "topologyKeys": ["topology.example.com/zone"], "allocatable": {"count": 7}}
    cluster.until(lambda: cluster.get("node", "box")["metadata"]["labels"].get("topology.example.com/zone") == "z1", SETTLE_S, "the node says where")


def test_a_volume_goes_its_way_though_edgek_is_killed_and_its_pod_goes_meanwhile(cluster: Cluster, driver: Driver) -> None:
    cluster.apply(*volume("one"), pod("one", claimed("one"), "echo kept > /v/file", securityContext={"fsGroup": GROUP}))
    runs(driver, "one")
    content = driver.root / "volumes" / "handle-one"
    cluster.until(lambda: (content / "file").exists() and (content / "file").read_text() == "kept\n", 10, "the pod's file is in the volume")
    assert content.stat().st_gid == GROUP
    assert driver.calls("handle-one") == list(ORDER[:3])
    publish = next(each for each in calls(driver.root) if each["call"] == "NodePublishVolume")
    assert publish["publish_context"] == {"device": "/dev/handle-one"}
    assert publish["volume_context"]["csi.storage.k8s.io/pod.name"] == "one"
    assert cluster.get("node", "box")["status"]["volumesInUse"] == [f"kubernetes.io/csi/{DRIVER}^handle-one"]

    uid = cluster.get("pod", "one")["metadata"]["uid"]
    cluster.kill()
    cluster.start()
    cluster.until(lambda: cluster.kubectl("exec", "one", "--", "cat", "/v/file", check=False) == "kept", SETTLE_S, "the pod answers again")
    assert "restartCount: 0" in cluster.kubectl("get", "pod", "one", "-o", "yaml")
    assert driver.calls("handle-one") == list(ORDER[:3])  # it runs on, and nobody was asked anything

    snapshot = ask(driver.socket, messages.CREATE_SNAPSHOT, {"source_volume_id": "handle-one", "name": "s"})["snapshot"]
    assert snapshot["ready_to_use"]
    ask(driver.socket, messages.CONTROLLER_EXPAND_VOLUME, {"volume_id": "handle-one", "capacity_range": {"required_bytes": 20 << 20}})
    cluster.kubectl("patch", "pv", "one", "--type=merge", "-p", json.dumps({"spec": {"capacity": {"storage": "20Mi"}}}))
    cluster.until(lambda: cluster.get("pvc", "one")["status"]["capacity"]["storage"] == "20Mi", SETTLE_S, "the claim has grown")
    assert driver.calls("handle-one")[-1] == "NodeExpandVolume"

    cluster.until(lambda: "pvcRef" in cluster.kubectl("get", "--raw", SUMMARY, check=False), SETTLE_S, "the summary shows it")
    summary = json.loads(cluster.kubectl("get", "--raw", SUMMARY))
    shown = next(each for each in summary["pods"] if each["podRef"]["name"] == "one")["volume"][0]
    assert (shown["pvcRef"], shown["usedBytes"]) == ({"name": "one", "namespace": "default"}, 400)

    cluster.kubectl("delete", "pod", "one", "--grace-period=0", "--force", "--wait=false")
    cluster.kill()  # at any point of the pod's end
    cluster.start()
    detached(driver, "handle-one")
    changes = [each for each in driver.calls("handle-one") if each in ORDER]
    assert list(dict.fromkeys(changes)) == list(ORDER)
    assert (driver.state()["staged"], driver.state()["published"], violations(driver)) == ({}, {}, [])
    cluster.until(lambda: not (driver.kubelet_dir / "pods" / uid).exists(), SETTLE_S, "the pod's folder is gone")
    assert (content / "file").read_text() == "kept\n"

    cluster.apply(pod("again", claimed("one"), "true"))
    runs(driver, "again")
    assert cluster.kubectl("exec", "again", "--", "cat", "/v/file") == "kept"
    cluster.kubectl("delete", "pod", "again")
    detached(driver, "handle-one")


def test_a_pod_whose_driver_died_says_why_it_waits_and_goes_on_when_it_is_back(cluster: Cluster, driver: Driver) -> None:
    cluster.apply(*volume("two"), pod("two", claimed("two"), "true"))
    runs(driver, "two")
    driver.stop(signal.SIGKILL)
    cluster.kubectl("delete", "pod", "two", "--wait=false")

    def said() -> bool:
        return "UnmountVolume.TearDown failed for volume" in cluster.kubectl("events", "--for", "pod/two")

    cluster.until(said, SETTLE_S, "the pod says why it does not end", lambda: cluster.kubectl("events"))
    assert driver.state()["published"]
    driver.start()
    cluster.until(lambda: "two" not in cluster.kubectl("get", "pods", "-o", "name"), SETTLE_S, "the pod is gone")
    detached(driver, "handle-two")
    assert (driver.state()["staged"], driver.state()["published"], violations(driver)) == ({}, {}, [])


def test_a_pod_has_a_block_device_and_another_a_volume_of_its_own(cluster: Cluster, driver: Driver) -> None:
    inline = {"csi": {"driver": DRIVER, "volumeAttributes": {"size": "1"}}}
    cluster.apply(*volume("three", "Block"), pod("three", claimed("three"), "true", block=True), pod("inline", inline, "echo x > /v/x"))
    runs(driver, "three")
    runs(driver, "inline")
    assert "block special file" in cluster.kubectl("exec", "three", "--", "stat", "/dev/v")
    publish = [each for each in calls(driver.root) if each["call"] == "NodePublishVolume"][-1]
    assert publish["volume_context"]["csi.storage.k8s.io/ephemeral"] == "true" or publish["volume_id"] == "handle-three"
    cluster.kubectl("delete", "pod", "three", "inline")
    detached(driver, "handle-three")
    assert (driver.state()["staged"], driver.state()["published"], violations(driver)) == ({}, {}, [])


def test_after_a_power_cut_a_volume_is_brought_again_once_its_driver_is_back(cluster: Cluster, driver: Driver) -> None:
    cluster.apply(*volume("four"), pod("four", claimed("four"), "test -e /v/file || echo kept > /v/file"))
    runs(driver, "four")
    cluster.until(lambda: cluster.kubectl("exec", "four", "--", "cat", "/v/file", check=False) == "kept", 10, "the file is there")
    driver.stop(signal.SIGKILL)
    cluster.power_cut()
    cluster.start()

    def waits() -> bool:
        return "not found in the list of registered CSI drivers" in cluster.kubectl("events", "--for", "pod/four", check=False)

    cluster.until(waits, SETTLE_S, "the pod says that it waits for its driver", lambda: cluster.kubectl("describe", "pod", "four"))
    driver.start()
    runs(driver, "four")
    assert cluster.kubectl("exec", "four", "--", "cat", "/v/file") == "kept"
    assert driver.calls("handle-four").count("NodeStageVolume") == driver.calls("handle-four").count("NodePublishVolume") == 2
    cluster.kubectl("delete", "pod", "four")
    detached(driver, "handle-four")
    assert (driver.state()["staged"], driver.state()["published"], violations(driver)) == ({}, {}, [])


def test_mounts_travel_between_a_drivers_pod_and_the_node(cluster: Cluster, driver: Driver) -> None:
    """As drivers in pods need it: what they mount below the kubelet's folder is seen there, and by pods that ask for it."""
    place = driver.kubelet_dir / "plugins" / "travel"
    place.mkdir()
    source = {"hostPath": {"path": str(place), "type": "Directory"}}
    brings = pod("brings", source, "mkdir -p /v/in; mount -t tmpfs none /v/in; echo seen > /v/in/file")
    brings["spec"]["containers"][0] |= {
        "securityContext": {"privileged": True},
        "volumeMounts": [{"name": "v", "mountPath": "/v", "mountPropagation": "Bidirectional"}],
    }
    sees = pod("sees", source, "true")
    sees["spec"]["containers"][0]["volumeMounts"][0]["mountPropagation"] = "HostToContainer"
    sees["spec"]["containers"][0]["securityContext"] = {"privileged": True}
    blind = pod("blind", source, "true")  # None, the default
    cluster.apply(sees, blind)
    runs(driver, "sees")
    runs(driver, "blind")
    cluster.apply(brings)
    runs(driver, "brings")
    cluster.until(lambda: str(place / "in") in cluster.mounts(), 10, "the mount is seen on the node")
    assert (place / "in" / "file").read_text() == "seen\n"
    assert cluster.kubectl("exec", "sees", "--", "cat", "/v/in/file") == "seen"
    assert cluster.kubectl("exec", "blind", "--", "ls", "/v/in") == ""
    cluster.kubectl("exec", "sees", "--", "sh", "-c", "mkdir /v/own && mount -t tmpfs none /v/own && echo mine > /v/own/file")
    assert os.listdir(place / "own") == []  # what it mounts stays with it
    cluster.kubectl("delete", "pod", "sees", "brings", "blind")
    subprocess.run(["umount", str(place / "in")], check=True)
    os.rmdir(place / "in")


def test_nothing_stays_on_the_node(cluster: Cluster, driver: Driver) -> None:
    assert cluster.get("node", "box")["status"].get("volumesInUse") in (None, [])
    left = [str(path) for path in Path(driver.kubelet_dir / "plugins" / "kubernetes.io" / "csi" / DRIVER).iterdir()]
    assert left == []
    assert not [point for point in cluster.mounts() if "kubernetes.io" in point and "csi" in point]
