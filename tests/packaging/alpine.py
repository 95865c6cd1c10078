"""A root as Alpine's: busybox for everything, musl as its C library, OpenRC for services. Made of Debian's packages, for Alpine's own are not to be had.

OpenRC itself is Debian's and wants glibc, which is there only where a test puts it; Alpine with its compatibility layer looks the same to the installer.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.machine import CACHE

PACKAGES = ("openrc", "libeinfo1", "librc1")
ADDRESS = "192.0.2.10"
MUSL = Path("/lib/ld-musl-x86_64.so.1")
LOADER = Path("/lib64/ld-linux-x86-64.so.2")
SET_UP = """
mount -t tmpfs tmpfs {root} && cp -a {template}/. {root}/ && cd {root} || exit 1
mkdir -p proc dev sys run/openrc tmp root var/log etc/runlevels/default usr/local/bin opt/dist
mount -t proc proc proc && mount --bind {dist} opt/dist || exit 1
for each in null:3 zero:5 full:7 random:8 urandom:9; do mknod -m 666 dev/${{each%:*}} c 1 ${{each#*:}}; done
{machine}
mv lib64 hidden-lib64 # no glibc, until it is wanted
mkdir -p run/openrc/exclusive run/openrc/daemons run/openrc/options run/openrc/tmp
for state in starting started stopping stopped inactive wasinactive failed hotplugged scheduled; do mkdir run/openrc/$state; done # as at boot
touch run/openrc/softlevel run/box-is-there
exec chroot {root} /bin/sh -c '/bin/sleep 10000; exit'
"""
# OpenRC is to mount no cgroups: a hierarchy of its own would be the whole machine's, and stay.
STAND_IN = "mount -t tmpfs tmpfs sys && mkdir -p sys/fs/cgroup && echo 'rc_cgroup_mode=none' >>etc/rc.conf || exit 1"
# What pods want besides. The data are on a mount of their own: overlays cannot lie on what the root may be.
REAL = f"""
mkdir -p dev/pts dev/shm var/lib
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts && ln -s pts/ptmx dev/ptmx && mount -t tmpfs shm dev/shm || exit 1
mount -t sysfs sys sys && mount --rbind /sys/fs/cgroup sys/fs/cgroup && mount -t tmpfs -o size=3g data var/lib && mount --make-rshared {{root}} || exit 1
ip link set lo up; ip link add eth0 type veth peer name cable; ip addr add {ADDRESS}/24 dev eth0; ip link set eth0 up; ip link set cable up
"""


def template() -> Path:
    """The files of such a root, from the cache or made now."""
    if shutil.which("apt-get") is None or not MUSL.exists() or not LOADER.exists():
        pytest.skip("needs apt-get, musl, and an x86-64 machine with glibc")
    root = CACHE / "alpine-like-3"
    if not (root / ".ready").exists():
        shutil.rmtree(root, ignore_errors=True)
        part = root.with_name(root.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        _make(part)
        part.rename(root)
    return root


def _make(root: Path) -> None:
    for folder in ("bin", "sbin", "usr/bin", "usr/sbin", "lib", "lib64", "etc"):
        (root / folder).mkdir(parents=True)
    subprocess.run(["apt-get", "download", "-q", *PACKAGES], cwd=root, check=True, capture_output=True)
    for package in root.glob("*.deb"):
        subprocess.run(["dpkg", "-x", package, root], check=True)
        package.unlink()
    shutil.rmtree(root / "usr/share")
    shutil.copy("/bin/busybox", root / "bin/busybox")
    subprocess.run(["chroot", root, "/bin/busybox", "--install", "-s"], check=True)
    shutil.copy(MUSL, root / "lib" / MUSL.name)
    shutil.copy(LOADER, root / "lib64")
    for library in _needed(root):
        if not (root / library.relative_to("/")).exists():
            (root / library.relative_to("/")).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, root / library.relative_to("/"))
    (root / "etc/alpine-release").write_text("3.22.0\n")
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
    (root / "etc/insserv.conf").touch()  # Debian's OpenRC looks for it
    (root / "var").mkdir()
    (root / "var/run").symlink_to("/run")
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n")
    (root / ".ready").touch()


def _needed(root: Path) -> set[Path]:
    """What OpenRC is linked to, besides its own."""
    where = {**os.environ, "LD_LIBRARY_PATH": str(root / "lib/x86_64-linux-gnu")}
    said = subprocess.run(
        ["ldd", *(root / "sbin").glob("*r[cu]*"), root / "lib/rc/bin/einfo"], env=where, capture_output=True, text=True, check=False
    )
    return {Path(found) for found in re.findall(r"=> (/lib/\S+|/usr/lib/\S+)", said.stdout)}


class AlpineLike:
    """``dist`` is to be seen in /opt/dist. With ``pods`` it has what a real edgek wants, and an address towards nobody. Goes with the test."""

    def __init__(self, folder: Path, dist: Path, *, pods: bool = False) -> None:
        script = SET_UP.format(root=folder, template=template(), dist=dist, machine=REAL.format(root=folder) if pods else STAND_IN)
        self.process = subprocess.Popen(["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script])
        self.root = folder
        for _ in range(1000):
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
            self.keeper = children[0] if children else ""
            if self.keeper and Path(f"/proc/{self.keeper}/root/run/box-is-there").exists():
                return
            assert self.process.poll() is None, "the root could not be made"
            subprocess.run(["sleep", "0.01"], check=True)
        raise AssertionError("the root was not made in time")

    def run(self, command: str, *, code: int = 0, **variables: str) -> str:
        """What it prints, on both channels."""
        environment = {"PATH": "/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin", "HOME": "/root", "EDGEK_READY_TIMEOUT": "20", **variables}
        argv = ["nsenter", "--net", "--mount", "--pid", "--root", "--wd=/", "--target", self.keeper, "/bin/sh", "-c", command]
        done = subprocess.run(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=120)
        assert done.returncode == code, done.stdout
        return done.stdout

    def add_glibc(self) -> None:
        self.run("mv /hidden-lib64 /lib64")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
