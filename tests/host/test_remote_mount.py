"""Here without a server: what is run, and that who hangs is left. With one in tests/e2e/test_machine_storage.py."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgek.host import remote_mount
from edgek.host.mount import Kernel
from edgek.host.mount_table import MS_NOEXEC, MS_RDONLY, mount_points, mounts
from edgek.host.remote_mount import MountRefused


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of programs in front of the machine's; ``argv`` gets what they are run with."""
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    (tmp_path / "bin").mkdir()
    return tmp_path / "bin"


def program(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f'#!/bin/sh\necho "$@" >>{folder}/argv\n{script}\n')
    (folder / name).chmod(0o755)


def argv(folder: Path) -> list[str]:
    return (folder / "argv").read_text().splitlines()


def test_a_mount_that_fails_says_what_was_run_and_what_that_said_in_upstreams_words(programs: Path, tmp_path: Path) -> None:
    program(programs, "mount", "echo mount.nfs: Connection refused >&2; exit 32")
    with pytest.raises(MountRefused) as caught:
        remote_mount.mount_nfs("10.0.0.1", "/x", tmp_path, ["ro", "vers=4"], helper=True)
    assert caught.value.strerror == (
        "mount failed: exit status 32\nMounting command: mount\n"
        f"Mounting arguments: -t nfs -o ro,vers=4,retry=0 10.0.0.1:/x {tmp_path}\nOutput: mount.nfs: Connection refused\n"
    )


def test_a_mount_that_hangs_is_given_up_with_all_its_processes(programs: Path, tmp_path: Path) -> None:
    os.mkfifo(programs / "never")
    program(programs, "mount", f"cat {programs}/never & echo $! >{programs}/child; wait")
    with pytest.raises(TimeoutError, match=r"no answer within 2 s"):
        remote_mount.mount_nfs("10.0.0.1", "/x", tmp_path, helper=True, timeout_s=2)  # by then it has begun
    until = time.monotonic() + 20
    while not is_over((programs / "child").read_text().strip()):
        assert time.monotonic() < until, "a process of it was left"


def is_over(pid: str) -> bool:
    try:
        return (Path("/proc") / pid / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_without_the_helper_the_kernel_is_given_an_address_and_asked_for_each_version(programs: Path, tmp_path: Path) -> None:
    program(programs, "mount", "case $* in *vers=3*) exit 0;; esac; exit 32")
    program(programs, "getent", "echo '192.0.2.7 STREAM files'")
    remote_mount.mount_nfs("files", "/x", tmp_path, ["hard"], helper=False)
    asked = [line for line in argv(programs) if "nfs" in line]
    assert asked == [f"-c -i -t nfs -o hard,vers={more} files:/x {tmp_path}" for more in (
        "4.2,addr=192.0.2.7", "4.1,addr=192.0.2.7", "4.0,addr=192.0.2.7", "3,nolock,addr=192.0.2.7",
    )]  # fmt: skip


def test_of_all_refusals_the_one_that_is_not_about_versions_is_told(programs: Path, tmp_path: Path) -> None:
    program(programs, "mount", "case $* in *vers=3*) echo access denied;; *) echo Protocol not supported;; esac; exit 32")
    with pytest.raises(MountRefused, match="access denied"):
        remote_mount.mount_nfs("192.0.2.7", "/x", tmp_path, helper=False)


def test_a_version_that_was_asked_for_is_the_only_one_tried(programs: Path, tmp_path: Path) -> None:
    program(programs, "mount", "exit 32")
    with pytest.raises(MountRefused):
        remote_mount.mount_nfs("fd00::1", "/x", tmp_path, ["nfsvers=4.1"], helper=False)
    assert argv(programs) == [f"-c -i -t nfs -o nfsvers=4.1,addr=fd00::1 [fd00::1]:/x {tmp_path}"]


def test_a_server_that_has_no_address_is_named(programs: Path, tmp_path: Path) -> None:
    program(programs, "getent", "exit 2")
    with pytest.raises(MountRefused, match="resolve server files"):
        remote_mount.mount_nfs("files", "/x", tmp_path, helper=False)


@pytest.mark.parametrize("server", ["", "-o", "--help"])
def test_an_option_is_no_server(server: str, tmp_path: Path) -> None:
    with pytest.raises(MountRefused, match="is no server"):
        remote_mount.mount_nfs(server, "/x", tmp_path, helper=True)


def test_a_server_that_does_not_tell_its_space_is_given_up(programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_mount, "LOCAL_S", 0.2)
    os.mkfifo(programs / "never")
    program(programs, "stat", f"exec cat {programs}/never")
    with pytest.raises(TimeoutError):
        remote_mount.space(tmp_path)


def test_the_space_of_a_file_system_is_the_kernels_answer(tmp_path: Path) -> None:
    seen, found = os.statvfs(tmp_path), remote_mount.space(tmp_path)
    assert (found.total_bytes, found.files) == (seen.f_blocks * seen.f_frsize, seen.f_files)
    with pytest.raises(OSError, match="No such file"):
        remote_mount.space(tmp_path / "none")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "source").mkdir()
    (tmp_path / "place").mkdir()
    yield tmp_path / "place"
    Kernel().unmount(tmp_path / "place")


@pytest.mark.root
def test_what_is_bound_keeps_its_limits_when_it_is_given_more(place: Path) -> None:
    remote_mount.bind(place.parent / "source", place, MS_NOEXEC)
    remote_mount.restrict(place, MS_RDONLY)
    assert {"ro", "noexec"} <= set(next(each for each in mounts() if each.point == str(place)).options)


@pytest.mark.root
def test_all_that_is_mounted_at_a_place_goes(place: Path) -> None:
    for _ in range(2):
        remote_mount.bind(place.parent / "source", place, 0)
    remote_mount.unmount(place)
    remote_mount.unmount(place)
    assert str(place) not in mount_points()


@pytest.mark.root
def test_what_stays_mounted_is_an_error(place: Path, programs: Path) -> None:
    remote_mount.bind(place.parent / "source", place, 0)
    program(programs, "umount", "echo busy >&2; exit 32")
    with pytest.raises(OSError, match="busy"):
        remote_mount.unmount(place)
