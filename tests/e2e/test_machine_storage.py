"""Storage with the kernel's own NFS client and server, and with project quotas: in an emulated machine, for this kernel may have neither."""

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


def pod(name: str, command: str, **nfs: Any) -> dict[str, Any]:
    container = {
        "name": "main",
        "image": "docker.io/library/nginx:1.27",
        "command": ["sh", "-c", command],
        "env": [{"name": "HOSTNAME", "value": name}],
    }
    spec: dict[str, Any] = {"containers": [container], "terminationGracePeriodSeconds": 1}
    if nfs:
        container["volumeMounts"] = [{"name": "files", "mountPath": "/files"}]
        spec["volumes"] = [{"name": "files", "nfs": {"server": "127.0.0.1", **nfs}}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def together(*pods: dict[str, Any]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": pods})


def test_volumes_outlive_their_file_server_and_dead_servers_hang_nothing(tmp_path: Path, web_one: Path) -> None:
    judge = csi_sanity()
    if judge is None:
        pytest.skip("csi-sanity is not there: build it from its Go module, and name it in EDGEK_CSI_SANITY")
    share, never = {"path": "/srv/share"}, "while true; do sleep 1; done"
    first = together(pod("one", COUNT, **share), pod("two", COUNT, **share), pod("reader", never, path="/srv/two", readOnly=True))
    late = together(pod("late", never, **share), pod("none", never))
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
