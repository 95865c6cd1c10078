"""The files of cgroups as the kernel shows them, in a folder of ours; ``test_real.py`` has the kernel itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgek.agent.kubelet.cgroups import Cgroups
from edgek.agent.kubelet.resources import PodShare

POD = "kubepods/burstable/podu1"
SHARE = PodShare(cpu_shares=512, cpu_quota_us=50_000, memory_limit_bytes=1 << 20)


def first_version(top: Path) -> Path:
    for controller, names in (("cpu", ("cpu.shares", "cpu.cfs_quota_us")), ("memory", ("memory.limit_in_bytes",))):
        (top / controller / POD).mkdir(parents=True)
        (top / controller / "cgroup.procs").touch()
        for name in names:
            (top / controller / POD / name).touch()
    return top


def second_version(top: Path) -> Path:
    (top / POD).mkdir(parents=True)
    for folder in (top, top / "kubepods", top / "kubepods/burstable", top / POD):
        (folder / "cgroup.controllers").write_text("cpu memory pids")
        (folder / "cgroup.subtree_control").touch()
    for name in ("cpu.weight", "cpu.max", "memory.max"):
        (top / POD / name).touch()
    return top


def test_limits_in_the_first_version(tmp_path: Path) -> None:
    cgroups = Cgroups(first_version(tmp_path))
    cgroups.ensure(f"/{POD}", SHARE)
    assert (tmp_path / "cpu" / POD / "cpu.shares").read_text() == "512"
    assert (tmp_path / "cpu" / POD / "cpu.cfs_quota_us").read_text() == "50000"
    assert (tmp_path / "memory" / POD / "memory.limit_in_bytes").read_text() == "1048576"


def test_limits_in_the_second_version_and_controllers_on_the_way(tmp_path: Path) -> None:
    cgroups = Cgroups(second_version(tmp_path))
    assert cgroups.unified
    cgroups.ensure(f"/{POD}", SHARE)
    assert (tmp_path / POD / "cpu.weight").read_text() == "20"
    assert (tmp_path / POD / "cpu.max").read_text() == "50000 100000"
    assert (tmp_path / POD / "memory.max").read_text() == "1048576"
    assert (tmp_path / "kubepods/cgroup.subtree_control").read_text() == "+cpu +memory +pids"


@pytest.mark.parametrize("limit", [0, 1])
def test_no_limit_is_said_as_the_kernel_wants_it(tmp_path: Path, limit: int) -> None:
    cgroups = Cgroups(second_version(tmp_path))
    cgroups.ensure(f"/{POD}", PodShare(2, limit * 1000, 0))
    assert (tmp_path / POD / "cpu.max").read_text() == ("1000 100000" if limit else "max 100000")
    assert (tmp_path / POD / "memory.max").read_text() == "max"


def test_groups_of_pods_are_found_and_removed_everywhere(tmp_path: Path) -> None:
    for controller in ("cpu", "memory"):
        (tmp_path / controller / POD / "container").mkdir(parents=True)
        (tmp_path / controller / "cgroup.procs").touch()
    cgroups = Cgroups(tmp_path)
    assert cgroups.pods("kubepods") == {"u1"}
    cgroups.remove(f"/{POD}")
    assert cgroups.pods("kubepods") == set()
    assert (tmp_path / "cpu/kubepods/burstable").is_dir()
    cgroups.remove(f"/{POD}")  # once more is no harm
