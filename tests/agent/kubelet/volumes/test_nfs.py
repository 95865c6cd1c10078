"""Directories of file servers in pods. With a server and the kernel: tests/e2e/test_machine_storage.py."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
import trio.testing

from edgek.agent.kubelet.volumes.pod_volumes import MountFailed
from edgek.model import kinds
from tests.agent.kubelet.volumes.test_pod_volumes import here


def volume(server: str = "files", **more: Any) -> dict[str, Any]:
    return {"name": "v", "nfs": {"server": server, "path": "/share", **more}}


async def test_a_directory_is_mounted_once_and_taken_down_with_its_pod(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with here(tmp_path) as at:
        for _ in range(2):
            await at.build(volume(readOnly=True))
            at.mounter.refusals["files"] = OSError(errno.EIO, "it is not to be asked again")
        assert at.mounter.mounted == {at.path(): "nfs files:/share ro"}
        point = at.path()
        at.mounter.unmount(point)
        await at.volumes.unmount("u1")
        assert not point.exists()


async def test_a_server_that_does_not_answer_is_a_reason_to_wait(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with here(tmp_path) as at:
        at.mounter.refusals["files"] = TimeoutError(errno.ETIMEDOUT, "mount failed: no answer")
        with pytest.raises(MountFailed, match=r'^MountVolume\.SetUp failed for volume "v" : mount failed: no answer$'):
            await at.build(volume())
        del at.mounter.refusals["files"]
        await at.build(volume())
        assert at.mounter.mounted == {at.path(): "nfs files:/share"}


async def test_a_persistent_volume_brings_its_mount_options_and_its_name(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with here(tmp_path) as at:
        claim: Any = {"metadata": {"name": "data"}, "spec": {"volumeName": "pv1"}}
        await at.client.create(kinds.PERSISTENT_VOLUME_CLAIM, claim, "default")
        await at.client.patch(kinds.PERSISTENT_VOLUME_CLAIM, "data", {"status": {"phase": "Bound"}}, "default", subresource="status")
        spec = {"nfs": {"server": "files", "path": "/share"}, "mountOptions": ["nfsvers=4.1", "hard"]}
        await at.client.create(kinds.PERSISTENT_VOLUME, {"metadata": {"name": "pv1"}, "spec": spec})
        wanted = {"name": "v", "persistentVolumeClaim": {"claimName": "data", "readOnly": True}}
        at.mounter.refusals["files"] = OSError(errno.EIO, "mount failed: refused")
        with pytest.raises(MountFailed, match=r'for volume "pv1" : mount failed: refused'):
            await at.build(wanted)
        at.mounter.refusals.clear()
        await at.build(wanted)
        assert at.mounter.mounted == {at.path(): "nfs files:/share nfsvers=4.1 hard ro"}
        assert at.path().parts[-2:] == ("kubernetes.io~nfs", "pv1")


async def test_what_appears_in_a_mount_point_at_the_last_moment_is_not_removed(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with here(tmp_path) as at:
        await at.build(volume())
        late = at.path() / "somebodys"
        at.mounter.unmount(at.path())
        late.write_text("bytes")
        with pytest.raises(OSError, match="not empty"):
            await at.volumes.unmount("u1")
        assert late.read_text() == "bytes"
