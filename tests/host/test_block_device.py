"""File systems on block devices: loop devices of the real kernel."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgek.host.block_device import file_system
from edgek.host.mount import Kernel
from edgek.host.mount_table import mounts

pytestmark = pytest.mark.root

MB = 1 << 20
PARTITION = bytes([0, 0, 2, 0, 0x83, 0, 2, 0, 8, 0, 0, 0, 0, 16, 0, 0])
PARTITION_TABLE = bytes(446) + PARTITION + bytes(48) + b"\x55\xaa"

Disk = Callable[[bytes], Path]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Makes devices that begin with some bytes."""
    made: list[str] = []

    def make(begins: bytes = b"") -> Path:
        file = tmp_path / f"disk-{len(made)}"
        file.write_bytes(begins)
        os.truncate(file, 16 * MB)
        done = subprocess.run(["losetup", "-f", "--show", file], check=True, capture_output=True, text=True)
        made.append(done.stdout.strip())
        return Path(made[-1])

    yield make
    for each in [each.point for each in mounts() if each.point.startswith(f"{tmp_path}/")]:
        subprocess.run(["/usr/bin/umount", each], check=True)
    for each in made:
        subprocess.run(["/usr/sbin/losetup", "-d", each], check=True)


def point(tmp_path: Path, name: str) -> Path:
    (tmp_path / name).mkdir()
    return tmp_path / name


def test_a_blank_device_is_formatted_once_and_what_is_on_it_stays(tmp_path: Path, disk: Disk) -> None:
    device, first, second, kernel = disk(b""), point(tmp_path, "first"), point(tmp_path, "second"), Kernel()
    assert file_system(device) == ""
    for _ in range(2):
        kernel.device(device, first, "", ["noatime", "defaults"])
    (first / "file").write_text("bytes")
    kernel.device(device, second, "ext4", [])  # for another pod
    assert (second / "file").read_text() == "bytes"
    found = {each.point: each for each in mounts()}
    assert (found[str(first)].kind, "noatime" in found[str(first)].options) == ("ext4", True)
    kernel.unmount(first)
    kernel.unmount(second)
    kernel.device(device, first, "", ["ro"])
    assert (first / "file").read_text() == "bytes"


def test_a_device_that_holds_another_file_system_is_left_alone(tmp_path: Path, disk: Disk) -> None:
    device = disk(b"")
    subprocess.run(["mkfs.ext4", "-q", device], check=True)
    before = device.read_bytes()
    with pytest.raises(OSError, match="failed to mount the volume as 'xfs', it already contains ext4"):
        Kernel().device(device, point(tmp_path, "p"), "xfs", [])
    assert device.read_bytes() == before


def test_a_device_with_partitions_is_left_alone(tmp_path: Path, disk: Disk) -> None:
    device = disk(PARTITION_TABLE)
    before = device.read_bytes()
    with pytest.raises(OSError, match=r"holds a partition table \(dos\): it is not formatted"):
        Kernel().device(device, point(tmp_path, "p"), "", [])
    assert device.read_bytes() == before


def test_without_the_programs_nothing_is_done_and_the_missing_one_is_named(tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    device = disk(b"")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OSError, match="the program blkid is not on this machine"):
        Kernel().device(device, point(tmp_path, "p"), "", [])
    assert device.read_bytes() == bytes(16 * MB)
