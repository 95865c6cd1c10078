from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgek.host import process
from edgek.host.mount import Kernel
from edgek.host.mount_namespace import private_mounts
from edgek.host.mount_table import mount_points
from edgek.host.worker import Worker


@pytest.mark.root
async def test_a_threads_mounts_are_seen_by_it_and_its_programs_alone(tmp_path: Path) -> None:
    def work() -> tuple[list[str], bytes, list[str]]:
        with private_mounts():
            Kernel().mount("tmpfs", tmp_path, "tmpfs")
            (tmp_path / "inside").touch()
            return os.listdir(tmp_path), process.run_now(["ls", tmp_path]).stdout, os.listdir(f"/proc/{os.getpid()}/root/{tmp_path}")

    assert await Worker(1).run(work) == (["inside"], b"inside\n", [])
    assert str(tmp_path) not in mount_points()


@pytest.mark.root
async def test_a_thread_returns_to_the_machines_mounts_and_its_folder_though_its_work_failed(tmp_path: Path) -> None:
    def work() -> None:
        with private_mounts():
            Kernel().mount("tmpfs", tmp_path, "tmpfs")
            raise ValueError

    def seen() -> tuple[str, str]:
        return os.readlink("/proc/thread-self/ns/mnt"), os.getcwd()

    worker, before = Worker(1), seen()
    with pytest.raises(ValueError):
        await worker.run(work)
    assert await worker.run(seen) == before
    assert os.listdir(tmp_path) == []
