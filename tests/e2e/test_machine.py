"""The main job by the one file on what users run: the distribution's kernel, systemd, cgroup v2, no network, and nothing else installed.

Emulated: five to ten minutes.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.e2e import machine
from tests.e2e.test_main_job import SERVICE, deployment

pytestmark = [pytest.mark.qemu, pytest.mark.onefile]

BOOT_TO_END_S = 1800


def test_a_fresh_box_runs_the_main_job_survives_kill_9_and_is_clean_afterwards(tmp_path: Path, built: Path, web_two: Path) -> None:
    wanted = deployment()
    wanted["spec"]["template"]["spec"]["containers"][0]["resources"] = {"limits": {"memory": "64Mi"}, "requests": {"memory": "32Mi"}}
    job = {"apiVersion": "v1", "kind": "List", "items": [wanted, SERVICE]}
    extra: dict[str, Path | str] = {"/test.sh": Path(__file__).with_name("machine_job.sh"), "/job.json": json.dumps(job), "/images/two.tar": web_two}
    for file in (built / "dist").iterdir():
        extra[f"/opt/edgek/{file.name}"] = file
    image = tmp_path / "disk.img"
    machine.bare_disk(image, extra)
    began = time.monotonic()
    lines = []
    for line in machine.boot(image, machine.initial(tmp_path / "initrd.gz"), BOOT_TO_END_S):
        lines.append(line)
        print(f"{time.monotonic() - began:6.0f} {line}")
    assert "ALL DONE" in lines, "\n".join(lines[-60:])
