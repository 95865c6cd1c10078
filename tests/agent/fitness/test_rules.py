"""Every way in which a machine may be unfit is named with its value and the way out; a fit one has no remedies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from edgek import config as configuration
from edgek.agent.fitness import rules
from edgek.agent.fitness.facts import Cgroups, Folder, Holder, Kernel, Programs, Surroundings
from edgek.agent.fitness.finding import Finding
from edgek.config import Config

KERNEL = Kernel("6.1.0", (6, 1), frozenset({"overlay"}), namespaces=frozenset(rules.NAMESPACES))
NOW = float(rules.CLOCK_LEAST + 86400)
KNOWN = {"cpu": True, "memory": True, "pids": True}
DATA = Folder("--data-dir", "/var/lib/edgek", "/var/lib")


def config(**arguments: Any) -> Config:
    return configuration.load(arguments, {}, None, "box")


def problems(found: Iterator[Finding]) -> list[str]:
    return [str(finding) for finding in found if finding.level == "problem"]


def only(found: list[str]) -> str:
    assert len(found) == 1, found
    return found[0]


def test_a_usual_kernel_is_fit() -> None:
    assert [finding.level for finding in rules.kernel(KERNEL, config())] == ["ok"]


def test_an_old_kernel_is_named_with_its_version_and_the_least() -> None:
    said = only(problems(rules.kernel(Kernel("4.19.0-pi", (4, 19), KERNEL.filesystems, namespaces=KERNEL.namespaces), config())))
    assert "kernel 4.19.0-pi is older than 5.4" in said
    assert "5.4 or newer" in said


def test_an_overlay_that_can_be_loaded_is_as_good_as_one_that_is() -> None:
    seen = Kernel("6.1.0", (6, 1), frozenset(), loadable=frozenset({"overlay"}), namespaces=KERNEL.namespaces, modules_folder="/lib/modules/6.1.0")
    assert problems(rules.kernel(seen, config())) == []


def test_a_kernel_without_overlay_needs_one() -> None:
    seen = Kernel("6.1.0", (6, 1), frozenset({"ext4"}), namespaces=KERNEL.namespaces)
    assert "CONFIG_OVERLAY_FS" in only(problems(rules.kernel(seen, config())))


def test_a_kernel_whose_modules_went_with_an_upgrade_needs_a_reboot() -> None:
    gone = Kernel("6.1.0", (6, 1), frozenset(), namespaces=KERNEL.namespaces, modules_folder="/lib/modules/6.1.0", modules_there=False)
    said = only(problems(rules.kernel(gone, config())))
    assert "/lib/modules/6.1.0 is gone" in said
    assert "reboot" in said


def test_missing_namespaces_are_named() -> None:
    seen = Kernel("6.1.0", (6, 1), KERNEL.filesystems, namespaces=KERNEL.namespaces - {"pid"})
    assert "no pid namespaces" in only(problems(rules.kernel(seen, config())))


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_cgroups_of_both_versions_are_fit(version: str) -> None:
    assert [finding.level for finding in rules.cgroups(Cgroups(version, frozenset(KNOWN), KNOWN), config())] == ["ok"]


def test_a_named_hierarchy_that_nobody_has_mounted_is_named_with_the_mount_that_helps() -> None:
    """containerd 1.6 looks for each that a process is in, and gives up at the first that it does not find."""
    (said,) = [str(finding) for finding in rules.cgroups(Cgroups("v1", frozenset(KNOWN), KNOWN, unmounted=("openrc",)), config()) if finding.remedy]
    assert "name=openrc, which is not mounted" in said
    assert "mount -t cgroup -o none,name=openrc openrc /sys/fs/cgroup/openrc" in said
    assert not [finding for finding in rules.cgroups(Cgroups("v2", frozenset(KNOWN), KNOWN, unmounted=("openrc",)), config()) if finding.remedy]


def without_memory(**more: Any) -> Cgroups:
    return Cgroups("v2", frozenset({"cpu", "pids"}), {**KNOWN, "memory": False}, **more)


@pytest.mark.parametrize(
    ("seen", "remedy"),
    [
        (
            without_memory(boot_file="/boot/firmware/cmdline.txt"),
            "append `cgroup_enable=memory cgroup_memory=1` to the one line of /boot/firmware/cmdline.txt",
        ),
        (without_memory(boot_file="/boot/cmdline.txt", boot_text="quiet cgroup_enable=memory cgroup_memory=1"), "/boot/cmdline.txt has"),
        (without_memory(boot_file="/etc/default/grub", boot_text='X="cgroup_disable=memory"'), "take cgroup_disable=memory out of /etc/default/grub"),
        (without_memory(boot_file="/etc/default/grub"), "update-grub"),
        (without_memory(), "to the kernel's command line"),
        (Cgroups("v1", frozenset({"cpu", "pids"}), {"cpu": True, "pids": True}), "CONFIG_MEMCG"),
        (Cgroups("v2", frozenset({"cpu", "pids"}), {}, "cgroup_disable=memory", "/boot/firmware/cmdline.txt"), "append `cgroup_enable=memory"),
        (Cgroups("v2", frozenset({"cpu", "pids"}), KNOWN), "systemd.unified_cgroup_hierarchy=1"),
        (Cgroups("v1", frozenset({"cpu", "pids"}), KNOWN), "not mounted"),
    ],
    ids=["Pi", "Pi that was not rebooted", "switched off", "GRUB", "elsewhere", "not built in", "new kernel on a Pi", "hybrid", "half mounted"],
)
def test_a_missing_memory_controller_has_the_remedy_of_its_cause(seen: Cgroups, remedy: str) -> None:
    said = only(problems(rules.cgroups(seen, config())))
    assert f"cgroup {seen.version} has no memory controller" in said
    assert remedy in said


def test_other_controllers_are_named() -> None:
    seen = Cgroups("v2", frozenset({"cpu", "memory"}), {"cpu": True, "memory": True})
    assert "no pids controller; boot a kernel with CONFIG_CGROUP_PIDS" in only(problems(rules.cgroups(seen, config())))


@pytest.mark.parametrize(("openrc", "remedy"), [(True, "rc-update add cgroups"), (False, "mount -t cgroup2")])
def test_cgroups_that_nobody_mounted_are_one_problem(openrc: bool, remedy: str) -> None:
    assert remedy in only(problems(rules.cgroups(Cgroups("", frozenset(), openrc=openrc), config())))


@pytest.mark.parametrize(
    ("folder", "said"),
    [
        ({"noexec": True}, "is on a file system that is mounted noexec (/var/lib): containers run from there; `mount -o remount,exec /var/lib`"),
        ({"read_only": True}, "/var/lib is read-only, and --data-dir /var/lib/edgek is to be written there; mount it read-write"),
        ({"kind": "vfat"}, "is on vfat, which cannot hold containers' overlays"),
        ({"kind": "overlay"}, "is on overlay"),
    ],
)
def test_a_data_directory_that_cannot_hold_containers_is_named(folder: dict[str, Any], said: str) -> None:
    seen = Folder("--data-dir", "/var/lib/edgek", "/var/lib", **folder)
    assert said in only(problems(rules.folders((seen,), config())))


def test_a_server_without_a_node_may_keep_its_data_on_noexec() -> None:
    seen = Folder("--data-dir", "/var/lib/edgek", "/var/lib", noexec=True)
    assert problems(rules.folders((seen,), config(disable_agent="true"))) == []


def test_each_folder_that_cannot_be_written_is_named_with_its_flag() -> None:
    seen = (DATA, Folder("--kubelet-dir", "/var/lib/kubelet", "/", read_only=True))
    assert "choose a --kubelet-dir that can be written" in only(problems(rules.folders(seen, config())))


@pytest.mark.parametrize(("mebibytes", "level"), [(100, "problem"), (1000, "advice"), (9000, "ok")])
def test_room_on_the_disk(mebibytes: int, level: str) -> None:
    found = list(rules.room((Folder("--data-dir", "/var/lib/edgek", "/", free_bytes=mebibytes << 20),), config()))
    assert [finding.level for finding in found] == [level]
    assert f"{mebibytes} MiB free for /var/lib/edgek" in found[0].text


def test_a_disk_without_inodes_is_full_as_well() -> None:
    said = only(problems(rules.room((Folder("--data-dir", "/var/lib/edgek", "/", free_files=7),), config())))
    assert "room for 7 more files" in said


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (Programs(runc=False, containerd="1.7.2"), "runc is not on the PATH"),
        (Programs(containerd=""), "containerd is not on the PATH"),
        (Programs(containerd="1.5.9"), "containerd 1.5.9 is older than 1.6"),
    ],
)
def test_missing_and_old_programs(seen: Programs, said: str) -> None:
    assert said in only(problems(rules.programs(seen, config())))


@pytest.mark.parametrize("version", ["1.6.20~ds1", "2.4.2", None])
def test_programs_that_will_do(version: str | None) -> None:
    assert problems(rules.programs(Programs(containerd=version), config())) == []


def test_a_machine_without_hosts_file() -> None:
    assert "echo 127.0.0.1 localhost >/etc/hosts" in only(problems(rules.hosts(Surroundings(hosts=False), config())))


def around(**more: Any) -> Surroundings:
    return Surroundings(**{"clock": NOW, "memory_bytes": 1 << 30, "node_name": "box", **more})


def test_a_clock_before_edgek_was_made_is_named_with_what_it_says() -> None:
    said = str(next(finding for finding in rules.surroundings(around(clock=0.0), config()) if finding.level == "advice"))
    assert "the clock says 1970-01-01 00:00 UTC" in said
    assert "date -s" in said


@pytest.mark.parametrize(("mebibytes", "level"), [(128, "problem"), (430, "advice"), (900, "ok")])
def test_memory(mebibytes: int, level: str) -> None:
    found = [finding for finding in rules.surroundings(around(memory_bytes=mebibytes << 20), config()) if "memory" in finding.text]
    assert [finding.level for finding in found] == [level]


def test_a_machine_that_is_called_localhost_gets_advice() -> None:
    found = list(rules.surroundings(around(node_name="localhost.localdomain"), config()))
    assert [finding.level for finding in found] == ["ok", "ok", "advice"]


def test_another_kubernetes_is_named_with_its_process() -> None:
    said = only(problems(rules.surroundings(around(others=(Holder(812, "k3s-server"),)), config())))
    assert "k3s-server (process 812) runs on this machine" in said
    assert "k3s-killall.sh" in said


def test_another_kubernetes_is_no_hindrance_to_a_node_with_folders_of_its_own() -> None:
    found = rules.surroundings(around(others=(Holder(812, "kubelet"),)), config(data_dir="/srv/two"))
    assert [finding.level for finding in found] == ["ok", "ok", "advice"]
