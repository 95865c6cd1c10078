"""Storage with the kernel's own NFS client and server, a server in user space, and project quotas: in an emulated machine, for this kernel may have neither."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.csi.test_sanity import csi_sanity
from tests.e2e import machine

pytestmark = pytest.mark.qemu

BOOT_TO_END_S = 900
COUNT = "n=0; while true; do n=$((n+1)); echo $n >>/files/$HOSTNAME; sleep 0.1; done"


def pod(name: str, command: str, **volume: Any) -> dict[str, Any]:
    container = {
        "name": "main",
        "image": "docker.io/library/nginx:1.27",
        "command": ["sh", "-c", command],
        "env": [{"name": "HOSTNAME", "value": name}],
    }
    spec: dict[str, Any] = {"containers": [container], "terminationGracePeriodSeconds": 1}
    if volume:
        container["volumeMounts"] = [{"name": "files", "mountPath": "/files"}]
        spec["volumes"] = [{"name": "files", **volume}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def of_claim(name: str) -> dict[str, Any]:
    return {"persistentVolumeClaim": {"claimName": name}}


def in_tree(path: str, **how: Any) -> dict[str, Any]:
    return {"nfs": {"server": "127.0.0.1", "path": path, **how}}


def claim(name: str, storage_class: str = "files") -> dict[str, Any]:
    spec = {"storageClassName": storage_class, "accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "10Mi"}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


def storage_class(name: str, share: str) -> dict[str, Any]:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name},
        "provisioner": "nfs.edgek.io",
        "parameters": {"server": "127.0.0.1", "share": share, "subDir": "${pvc.metadata.namespace}/${pvc.metadata.name}"},
        "mountOptions": ["nfsvers=4.2"],
    }


def together(*objects: dict[str, Any]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})


def test_a_shared_claim_outlives_its_file_server_and_dead_servers_hang_nothing(tmp_path: Path, web_one: Path) -> None:
    judge = csi_sanity()
    if judge is None:
        pytest.skip("csi-sanity is not there: build it from its Go module, and name it in EDGEK_CSI_SANITY")
    never = "while true; do sleep 1; done"
    two = [pod(name, COUNT, **of_claim("shared")) for name in ("one", "two")]
    reader, doomed = pod("reader", never, **in_tree("/srv/two", readOnly=True)), pod("doomed", never, **of_claim("doomed"))
    classes = storage_class("files", "/srv/share"), storage_class("doomed", "/srv/doomed")
    first = together(*classes, claim("shared"), claim("doomed", "doomed"), *two, reader, doomed)
    late = together(pod("late", never, **in_tree("/srv/share")), claim("later"), pod("later", never, **of_claim("later")), pod("none", never))
    here, image = Path(__file__).parent, tmp_path / "disk.img"
    extra: dict[str, Path | str] = {name: here / name.lstrip("/") for name in ("/machine_storage.sh", "/machine_storage.py")}
    machine.disk(
        image, {**extra, "/usr/local/bin/csi-sanity": judge, "/pods.json": first, "/late.json": late, "/images/one.tar": web_one}, unpacked=True
    )
    began, lines = time.monotonic(), []
    for line in machine.boot(image, machine.initial(tmp_path / "initrd.gz", "/bin/sh /machine_storage.sh"), BOOT_TO_END_S):
        lines.append(line)
        print(f"{time.monotonic() - began:6.0f} {line}")
    assert "ALL DONE" in lines, "\n".join(lines[-60:])
