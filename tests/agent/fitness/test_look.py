"""What the kernel's own words say of a machine."""

from __future__ import annotations

from edgek.agent.fitness import look

GROUPS = """\
11:name=openrc:/sshd
9:name=systemd:/
8:pids:/
1:cpu,cpuacct:/
0::/
"""
MOUNTS = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime shared:4 - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /mnt rw - ext4 /dev/sda1 rw,name=openrc
"""


def test_hierarchies_without_a_mount_are_those_that_no_file_system_of_cgroups_names() -> None:
    assert look.named_hierarchies(GROUPS) - look.mounted_hierarchies(MOUNTS) == {"openrc"}


def test_a_machine_with_version_2_alone_has_none() -> None:
    assert look.named_hierarchies("0::/init.scope\n") == frozenset()
