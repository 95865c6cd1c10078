"""Volumes of the default class on a real node: made when the first pod comes, kept whatever happens to pods and processes, gone when nobody wants them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.churn import IMAGES
from tests.e2e.cluster import Cluster, is_ready

pytestmark = pytest.mark.node

SOON_S = 40.0
RESERVED = ".edgek"


def claim(name: str, size: str = "20Mi", **spec: Any) -> dict[str, Any]:
    wanted = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, **spec}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": wanted}


def pod(name: str, *claims: str, user: int | None = None, image: str = IMAGES[0]) -> dict[str, Any]:
    """Each claim is at /NAME of the claim."""
    container: dict[str, Any] = {
        "name": "c",
        "image": image,
        "command": ["sh", "-c", "trap 'exit 0' TERM; while true; do sleep 0.2; done"],
        "volumeMounts": [{"name": each, "mountPath": f"/{each}"} for each in claims],
    }
    spec: dict[str, Any] = {
        "containers": [container],
        "volumes": [{"name": each, "persistentVolumeClaim": {"claimName": each}} for each in claims],
        "terminationGracePeriodSeconds": 2,
    }
    if user is not None:
        spec["securityContext"] = {"runAsUser": user, "runAsGroup": user, "fsGroup": user}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec}


def run(cluster: Cluster, name: str, script: str) -> str:
    return cluster.kubectl("exec", name, "--", "sh", "-c", script)


def write(cluster: Cluster, name: str, folder: str) -> str:
    """Files of several sizes, and their checksums."""
    return run(
        cluster, name, f"cd /{folder}; for i in 1 17 300; do dd if=/dev/urandom of=file-$i bs=1024 count=$i 2>/dev/null; done; sha256sum file-*"
    )


def read(cluster: Cluster, name: str, folder: str) -> str:
    return run(cluster, name, f"cd /{folder}; sha256sum file-*")


def replace(cluster: Cluster, *pods: dict[str, Any]) -> None:
    for each in pods:
        cluster.kubectl("delete", "pod", each["metadata"]["name"], "--ignore-not-found")
    cluster.apply(*pods)
    for each in pods:
        cluster.ready(f"app={each['metadata']['name']}", 1)


def volume_of(cluster: Cluster, name: str) -> str:
    return str(cluster.get("pvc", name)["spec"].get("volumeName", ""))


def folder_of(cluster: Cluster, name: str) -> Path:
    return cluster.data / "storage" / volume_of(cluster, name)


def phase(cluster: Cluster, name: str) -> str:
    return str(cluster.get("pvc", name)["status"]["phase"])


def says(cluster: Cluster, kind: str, name: str, reason: str) -> str:
    found = cluster.get("events", "--field-selector", f"involvedObject.kind={kind},involvedObject.name={name},reason={reason}")
    return "\n".join(each["message"] for each in found["items"])


def test_pods_of_a_set_find_their_data_after_whatever_happens(cluster: Cluster) -> None:
    """Two members with claims of their own: replaced, their agent killed, a container restarted, upgraded, the node rebooted."""
    members = [pod(f"db-{number}", f"data-{number}", f"log-{number}") for number in (0, 1)]
    upgraded = [pod(f"db-{number}", f"data-{number}", f"log-{number}", image=IMAGES[1]) for number in (0, 1)]
    cluster.apply(*(claim(f"{kind}-{number}") for kind in ("data", "log") for number in (0, 1)))
    assert phase(cluster, "data-0") == "Pending"
    replace(cluster, *members)
    written = {(member, folder): write(cluster, f"db-{member}", f"{folder}-{member}") for member in (0, 1) for folder in ("data", "log")}
    assert len(set(written.values())) == 4

    def check() -> None:
        for name in ("db-0", "db-1"):
            cluster.until(lambda name=name: cluster.kubectl("exec", name, "--", "echo", "here", check=False) == "here", SOON_S, f"{name} answers")
        assert {key: read(cluster, f"db-{key[0]}", f"{key[1]}-{key[0]}") for key in written} == written

    replace(cluster, *members)
    check()
    cluster.kill()
    check_files = {each: (folder_of_name / "file-300").stat().st_size for each, folder_of_name in folders(cluster)}
    assert set(check_files.values()) == {300 * 1024}
    cluster.start()
    check()
    cluster.kubectl("exec", "db-0", "--", "sh", "-c", "kill 1", check=False)  # which may take the command along
    cluster.until(lambda: restarts(cluster, "db-0") == 1 and is_ready(cluster.get("pod", "db-0")), SOON_S, "the container is back")
    check()
    cluster.stop()
    cluster.start()
    replace(cluster, *upgraded)
    check()
    cluster.power_cut()
    cluster.start()
    cluster.until(lambda: restarts(cluster, "db-0") == restarts(cluster, "db-1") == 1, SOON_S, "the node started its pods again")
    check()
    for number in (0, 1):
        cluster.kubectl("delete", "pod", f"db-{number}")
        cluster.kubectl("delete", "pvc", f"data-{number}", f"log-{number}")
    cluster.until(lambda: not folders(cluster), SOON_S, "the directories are gone")
    cluster.until(lambda: not cluster.get("pv")["items"], SOON_S, "and so are the volumes")


def folders(cluster: Cluster) -> list[tuple[str, Path]]:
    base = cluster.data / "storage"
    return [(each.name, each) for each in base.iterdir() if each.name != RESERVED] if base.exists() else []


def restarts(cluster: Cluster, name: str) -> int:
    return int(cluster.get("pod", name)["status"]["containerStatuses"][0]["restartCount"])


def test_a_volume_belongs_to_the_group_that_its_pod_wants(cluster: Cluster) -> None:
    cluster.apply(claim("private"))
    replace(cluster, pod("clerk", "private", user=1234))
    write(cluster, "clerk", "private")
    assert (folder_of(cluster, "private") / "file-1").stat().st_gid == 1234
    cluster.kubectl("delete", "pod/clerk", "pvc/private")


def test_a_claim_grows_while_its_pod_runs(cluster: Cluster) -> None:
    cluster.apply(claim("growing"))
    replace(cluster, pod("grower", "growing"))
    before = write(cluster, "grower", "growing")
    cluster.kubectl("patch", "pvc", "growing", "-p", json.dumps({"spec": {"resources": {"requests": {"storage": "30Mi"}}}}))
    cluster.until(lambda: cluster.get("pvc", "growing")["status"]["capacity"] == {"storage": "30Mi"}, SOON_S, "it has grown")
    assert cluster.get("pv", volume_of(cluster, "growing"))["spec"]["capacity"] == {"storage": "30Mi"}
    assert not cluster.get("pvc", "growing")["status"].get("conditions")
    told = "Resize volume succeeded"
    cluster.until(lambda: told in says(cluster, "PersistentVolumeClaim", "growing", "VolumeResizeSuccessful"), SOON_S, "the event is told")
    record = json.loads((cluster.data / "storage" / RESERVED / "volumes" / f"{volume_of(cluster, 'growing')}.json").read_text())
    assert record["capacity_bytes"] == 30 << 20
    assert read(cluster, "grower", "growing") == before
    cluster.kubectl("delete", "pod/grower", "pvc/growing")


def test_a_copy_has_what_its_source_had_and_goes_its_own_way(cluster: Cluster) -> None:
    cluster.apply(claim("origin"))
    replace(cluster, pod("writer", "origin"))
    written = write(cluster, "writer", "origin")
    cluster.apply(claim("copy", dataSource={"kind": "PersistentVolumeClaim", "name": "origin"}))
    replace(cluster, pod("reader", "copy"))
    assert read(cluster, "reader", "copy") == written
    changed = write(cluster, "reader", "copy")
    assert changed != written
    assert read(cluster, "writer", "origin") == written
    cluster.kubectl("delete", "pod/writer", "pod/reader", "pvc/origin", "pvc/copy")


def test_what_is_in_use_outlives_its_deletion_and_what_is_retained_its_claim(cluster: Cluster) -> None:
    kept = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "kept"},
        "provisioner": "hostpath.edgek.io",
        "reclaimPolicy": "Retain",
        "volumeBindingMode": "WaitForFirstConsumer",
    }
    cluster.apply(kept, claim("safe", storageClassName="kept"))
    replace(cluster, pod("owner", "safe"))
    written, folder, volume = write(cluster, "owner", "safe"), folder_of(cluster, "safe"), volume_of(cluster, "safe")
    cluster.kubectl("delete", "pvc", "safe", "--wait=false")
    cluster.kubectl("delete", "pv", volume, "--wait=false")
    assert read(cluster, "owner", "safe") == written
    cluster.kubectl("delete", "pod", "owner")
    cluster.until(lambda: not cluster.kubectl("get", "pv", volume, "--ignore-not-found"), SOON_S, "the objects are gone")
    assert (folder / "file-300").stat().st_size == 300 * 1024


@pytest.mark.parametrize(
    ("wanted", "reason", "text"),
    [
        (
            claim("shared", accessModes=["ReadWriteMany"]),
            "ProvisioningFailed",
            r'failed to provision volume with StorageClass "local-path": hostpath.edgek.io has not the access mode ReadWriteMany.*',
        ),
        (
            claim("huge", size="1Ei"),
            "ProvisioningFailed",
            r'failed to provision volume with StorageClass "local-path": rpc error: code = ResourceExhausted desc = .* free below .*',
        ),
        (claim("classless", storageClassName="nowhere"), "ProvisioningFailed", r'storageclass.storage.k8s.io "nowhere" not found'),
    ],
    ids=["an access mode that the driver has not", "more than the disk has", "a class that is not there"],
)
def test_a_claim_that_cannot_be_served_says_why(cluster: Cluster, wanted: dict[str, Any], reason: str, text: str) -> None:
    name = wanted["metadata"]["name"]
    cluster.apply(wanted, pod("waiter", name))
    cluster.until(lambda: bool(re.search(text, says(cluster, "PersistentVolumeClaim", name, reason))), SOON_S, f"{name} says why")
    assert phase(cluster, name) == "Pending"
    assert not cluster.get("pod", "waiter")["spec"].get("nodeName")
    cluster.kubectl("delete", "pod/waiter", f"pvc/{name}")
    cluster.until(lambda: not cluster.kubectl("get", "pv", "-l", "edgek.io/node", "--ignore-not-found"), SOON_S, "nothing is left of it")


def test_a_size_that_is_no_quantity_is_refused(cluster: Cluster) -> None:
    assert "quantities must match the regular expression" in cluster.fails("apply", "-f", "-", stdin=json.dumps(claim("odd", size="much")))


def test_data_that_was_taken_away_is_missed_and_not_replaced_by_nothing(cluster: Cluster) -> None:
    cluster.apply(claim("robbed"))
    replace(cluster, pod("first", "robbed"))
    folder = folder_of(cluster, "robbed")
    cluster.kubectl("delete", "pod", "first")
    folder.rename(folder.parent / "elsewhere")
    cluster.apply(pod("second", "robbed"))
    cluster.until(lambda: "is not there" in says(cluster, "Pod", "second", "FailedMount"), SOON_S, "the pod says what is missing")
    assert not folder.exists()
    (folder.parent / "elsewhere").rename(folder)
    cluster.until(lambda: is_ready(cluster.get("pod", "second")), 150.0, "the pod runs once it is back")
    cluster.kubectl("delete", "pod/second", "pvc/robbed")
