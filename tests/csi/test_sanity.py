"""The judge from outside: csi-sanity, of github.com/kubernetes-csi/csi-test, against `edgek csi serve`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DEADLINE_S = 60.0

CACHE = Path(os.environ.get("EDGEK_TEST_CACHE", "/var/cache/edgek-tests")) / "csi-sanity"
MODULE = "github.com/kubernetes-csi/csi-test/v5/cmd/csi-sanity@v5.6.0"


def csi_sanity() -> Path | None:
    """EDGEK_CSI_SANITY, or where the judges' build script puts it, or on the PATH; else built from its Go module, once, where there is a Go."""
    said = os.environ.get("EDGEK_CSI_SANITY")
    judged = Path(os.environ.get("WORK", "/tmp/j")) / "bin/csi-sanity"
    built = CACHE / MODULE.rpartition("@")[2] / "csi-sanity"
    found = said or (str(judged) if judged.exists() else shutil.which("csi-sanity"))
    if found:
        return Path(found)
    if not built.exists() and shutil.which("go"):
        subprocess.run(["go", "install", MODULE], env={**os.environ, "GOBIN": str(built.parent), "CGO_ENABLED": "0"}, check=False)
    return built if built.exists() else None


@pytest.mark.root
def test_the_hostpath_driver_passes_csi_sanity(tmp_path: Path) -> None:
    program = csi_sanity()
    if program is None:
        pytest.skip("csi-sanity is not there: build it from its Go module, and name it in EDGEK_CSI_SANITY")
    socket = tmp_path / "csi.sock"
    serving = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "edgek",
            "csi",
            "serve",
            "--driver",
            "hostpath",
            f"--endpoint=unix://{socket}",
            "--node-id=n1",
            f"--root={tmp_path}/root",
        ]
    )
    try:  # it waits for the socket by itself
        judged = subprocess.run(
            [
                program,
                f"--csi.endpoint=unix://{socket}",
                f"--csi.mountdir={tmp_path}/mount",
                f"--csi.stagingdir={tmp_path}/stage",
                "--ginkgo.no-color",
                "--csi.testvolumesize=1048576",
                "--csi.testvolumeexpandsize=2097152",
            ],
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        assert judged.returncode == 0, judged.stdout[-8000:]
        assert "| 0 Failed |" in judged.stdout
        assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
    finally:
        serving.terminate()
        serving.wait(DEADLINE_S)
    assert not socket.exists()
    assert sorted(os.listdir(tmp_path / "root")) == [".edgek"]
