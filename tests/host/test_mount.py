from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgek.host.mount import Kernel
from edgek.host.mount_table import MS_NODEV, MS_NOEXEC, MS_NOSUID, mount_points, mounts


@pytest.mark.root
def test_mounts_come_once_and_go_for_good(tmp_path: Path) -> None:
    place, kernel = tmp_path / "a place", Kernel()
    place.mkdir()
    try:
        kernel.tmpfs(place, 1 << 20)
        kernel.tmpfs(place, 1 << 20)
        assert mount_points().count(str(place)) == 1
        (place / "file").write_text("in memory")
        other = tmp_path / "other"
        other.mkdir()
        kernel.bind(place, other)
        assert (other / "file").read_text() == "in memory"
        kernel.unmount(other)
        assert os.listdir(other) == []
    finally:
        kernel.unmount(place)
    kernel.unmount(place)
    assert not kernel.is_mounted(place)
    assert os.listdir(place) == []


@pytest.mark.root
def test_a_shared_folder_is_a_mount_of_its_own(tmp_path: Path) -> None:
    kernel = Kernel()
    try:
        kernel.make_shared(tmp_path)
        kernel.make_shared(tmp_path)
        lines = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        assert [any(field.startswith("shared:") for field in line) for line in lines if line[4] == str(tmp_path)] == [True]
    finally:
        kernel.unmount(tmp_path)


@pytest.mark.root
def test_a_restricted_bind_mount_keeps_the_limits_of_its_source(tmp_path: Path) -> None:
    source, target, kernel = tmp_path / "source", tmp_path / "target", Kernel()
    source.mkdir()
    target.mkdir()
    try:
        kernel.mount("tmpfs", source, "tmpfs", MS_NODEV | MS_NOSUID)
        kernel.bind_alone(source, target, read_only=True, flags=MS_NOEXEC)
        found = next(mount for mount in mounts() if mount.point == str(target))
        assert found.read_only and found.kind == "tmpfs" and {"nodev", "nosuid", "noexec"} <= set(found.options)
        (source / "file").write_text("the source stays writable")
    finally:
        kernel.unmount(target)
        kernel.unmount(source)


def test_what_cannot_be_mounted_says_why(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"mount bind .*none on .*target"):
        Kernel().bind(tmp_path / "none", tmp_path / "target")
