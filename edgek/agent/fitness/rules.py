"""What edgek needs of a machine: pure, from what was seen to findings. Whoever finds a problem names the value and the way out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Literal

from edgek.agent.fitness.facts import Cgroups, Folder, Kernel, Programs, Surroundings
from edgek.agent.fitness.finding import Finding
from edgek.config import Config

KERNEL_LEAST = (5, 4)
CONTAINERD_LEAST = (1, 6)
MEMORY_LEAST = 200 << 20  # bytes: edgek, containerd and a pod or two
MEMORY_ADVISED = 480 << 20  # a 512 MB board shows a little less
DISK_LEAST = 512 << 20
DISK_ADVISED = 2 << 30
FILES_LEAST = 20_000  # an image is some thousand
CLOCK_LEAST = 1790812800  # 2026-10-01: no edgek with these words is older
NAMESPACES = ("net", "mnt", "pid", "ipc", "uts")
CONTROLLERS = ("cpu", "memory", "pids")
OPTIONS = {"memory": "MEMCG", "cpu": "CGROUP_SCHED", "pids": "CGROUP_PIDS"}
MEMORY_PARAMETERS = "cgroup_enable=memory cgroup_memory=1"
UNFIT = frozenset({"vfat", "exfat", "msdos", "ntfs", "ntfs3", "fuseblk", "nfs", "nfs4", "cifs", "smb3", "9p", "overlay", "ecryptfs", "squashfs"})


def kernel(seen: Kernel, config: Config) -> Iterator[Finding]:
    if seen.version < KERNEL_LEAST:
        least = ".".join(map(str, KERNEL_LEAST))
        yield Finding("problem", f"kernel {seen.release} is older than {least}", f"upgrade the distribution's kernel to {least} or newer, and reboot")
    else:
        yield Finding("ok", f"kernel {seen.release}")
    gone = bool(seen.modules_folder) and not seen.modules_there
    if "overlay" not in seen.filesystems | seen.loadable:
        remedy = _reboot(seen) if gone else "`modprobe overlay`; a kernel of your own needs CONFIG_OVERLAY_FS"
        yield Finding("problem", f"kernel {seen.release} has no overlay file system", remedy)
    elif gone:
        yield Finding("advice", f"the modules of kernel {seen.release} are not in {seen.modules_folder}", _reboot(seen))
    for space in NAMESPACES:
        if space not in seen.namespaces:
            yield Finding("problem", f"kernel {seen.release} has no {space} namespaces", "boot a kernel with CONFIG_NAMESPACES and all below it")


def _reboot(seen: Kernel) -> str:
    return f"{seen.modules_folder} is gone, probably by an upgrade of the kernel: reboot into the new one"


def cgroups(seen: Cgroups, config: Config) -> Iterator[Finding]:
    if not seen.version:
        by_service = "`rc-service cgroups start` now, and `rc-update add cgroups boot` for ever"
        remedy = by_service if seen.openrc else "`mount -t cgroup2 none /sys/fs/cgroup`, at each boot (systemd does that by itself)"
        yield Finding("problem", "no cgroups are mounted at /sys/fs/cgroup", remedy)
        return
    missing = [name for name in CONTROLLERS if name not in seen.controllers]
    for name in missing:
        yield Finding("problem", f"cgroup {seen.version} has no {name} controller", _controller(seen, name))
    if not missing:
        yield Finding("ok", f"cgroup {seen.version} with {', '.join(CONTROLLERS)}")
    for name in seen.unmounted if seen.version == "v1" else ():
        place = f"/sys/fs/cgroup/{name}"
        yield Finding(
            "advice",
            f"processes are in the cgroup hierarchy name={name}, which is not mounted: containerd 1.6 then tells no usage of containers",
            f"`mkdir -p {place} && mount -t cgroup -o none,name={name} {name} {place}`, or reboot, where nothing needs it",
        )


def _controller(seen: Cgroups, name: str) -> str:
    """A kernel that has it switched off, one that was built without it, one where somebody else has it.

    Kernels from 6.12 on may show in /proc/cgroups only what version 1 has: there it is no proof.
    """
    if name == "memory" and not seen.known.get(name) and (name in seen.known or "cgroup_disable=memory" in seen.command_line or _is_pi(seen)):
        return _memory(seen)
    if name not in seen.known:
        where = f", or delegate {name} to this container" if seen.version == "v2" else ""
        return f"boot a kernel with CONFIG_{OPTIONS[name]}{where}"
    if seen.known[name]:
        where = "a version 1 hierarchy holds it, or" if seen.version == "v2" else "it is not mounted, or"
        return f"the kernel has it, but {where} this container was not given it: boot with systemd.unified_cgroup_hierarchy=1, or delegate it"
    return f"boot without cgroup_disable={name} on the kernel's command line"


def _is_pi(seen: Cgroups) -> bool:
    return seen.boot_file.endswith("cmdline.txt")


def _memory(seen: Cgroups) -> str:
    wanted = MEMORY_PARAMETERS
    if "cgroup_disable=memory" in seen.boot_text:
        return f"take cgroup_disable=memory out of {seen.boot_file}, and reboot"
    if all(word in seen.boot_text.split() for word in wanted.split()):
        return f"{seen.boot_file} has {wanted} already: reboot"
    if _is_pi(seen):
        return f"append `{wanted}` to the one line of {seen.boot_file} (Raspberry Pi OS), and reboot"
    if seen.boot_file.endswith("grub"):
        return f"add `{wanted}` to GRUB_CMDLINE_LINUX in {seen.boot_file}, run `update-grub` (`grub-mkconfig -o /boot/grub/grub.cfg`), and reboot"
    where = "Raspberry Pi OS: the one line of /boot/firmware/cmdline.txt or /boot/cmdline.txt"
    return f"add `{wanted}` to the kernel's command line ({where}), and reboot"


def folders(seen: tuple[Folder, ...], config: Config) -> Iterator[Finding]:
    for folder in seen:
        if folder.read_only:
            yield Finding(
                "problem",
                f"{folder.found} is read-only, and {folder.use} {folder.path} is to be written there",
                f"mount it read-write, or choose a {folder.use} that can be written",
            )
    data = next(folder for folder in seen if folder.use == "--data-dir")
    if config.disable_agent:
        return
    if data.noexec:
        where = f"`mount -o remount,exec {data.found}` (and /etc/fstab), or choose another --data-dir"
        yield Finding("problem", f"{data.path} is on a file system that is mounted noexec ({data.found}): containers run from there", where)
    if data.kind in UNFIT:
        yield Finding(
            "problem",
            f"{data.path} is on {data.kind}, which cannot hold containers' overlays",
            "choose a --data-dir on ext4, xfs, btrfs or f2fs",
        )


def room(seen: tuple[Folder, ...], config: Config) -> Iterator[Finding]:
    data = next(folder for folder in seen if folder.use == "--data-dir")
    text = f"{data.free_bytes >> 20} MiB free for {data.path}"
    if data.free_bytes < DISK_LEAST:
        yield Finding("problem", f"{text} on {data.found}", f"free at least {DISK_LEAST >> 20} MiB there, or put --data-dir on another disk")
    elif data.free_bytes < DISK_ADVISED:
        yield Finding("advice", text, f"images need room: {DISK_ADVISED >> 20} MiB are comfortable")
    else:
        yield Finding("ok", text)
    if data.free_files is not None and data.free_files < FILES_LEAST:
        yield Finding(
            "problem", f"{data.found} has room for {data.free_files} more files (inodes)", f"free {FILES_LEAST}, or choose another --data-dir"
        )


def programs(seen: Programs, config: Config) -> Iterator[Finding]:
    if not seen.runc:
        yield Finding("problem", "runc is not on the PATH", "install it (Debian: apt-get install runc)")
    if seen.containerd is None:
        return
    least = ".".join(map(str, CONTAINERD_LEAST))
    numbers = tuple(int(part) for part in seen.containerd.split(".")[:2] if part.isdigit())
    if not seen.containerd:
        yield Finding(
            "problem",
            "containerd is not on the PATH",
            "install it (Debian: apt-get install containerd), or name a socket by --container-runtime-endpoint",
        )
    elif numbers < CONTAINERD_LEAST:
        yield Finding("problem", f"containerd {seen.containerd} is older than {least}", f"install containerd {least} or newer")
    else:
        yield Finding("ok", f"containerd {seen.containerd}")


def hosts(seen: Surroundings, config: Config) -> Iterator[Finding]:
    if not seen.hosts:
        yield Finding("problem", "there is no /etc/hosts, and containerd starts no pod without one", "`echo 127.0.0.1 localhost >/etc/hosts`")


def surroundings(seen: Surroundings, config: Config) -> Iterator[Finding]:
    stamp = datetime.fromtimestamp(seen.clock, UTC).strftime("%Y-%m-%d %H:%M")
    if seen.clock < CLOCK_LEAST:
        remedy = "edgek gets by, registries do not: set it (`date -s`), or let chrony or systemd-timesyncd do it"
        yield Finding("advice", f"the clock says {stamp} UTC, which is before edgek was made", remedy)
    else:
        yield Finding("ok", f"the clock says {stamp} UTC")
    memory = f"{seen.memory_bytes >> 20} MiB of memory"
    if seen.memory_bytes < MEMORY_LEAST:
        yield Finding("problem", memory, f"edgek with a few pods needs {MEMORY_LEAST >> 20} MiB: a larger machine")
    elif seen.memory_bytes < MEMORY_ADVISED:
        yield Finding("advice", memory, "enough for edgek and small pods; keep an eye on `edgek status`")
    else:
        yield Finding("ok", memory)
    if seen.node_name.partition(".")[0] == "localhost":
        yield Finding(
            "advice", f"this machine calls itself {seen.node_name}", "nodes need names of their own: `hostnamectl set-hostname NAME`, or --node-name"
        )
    level: Literal["advice", "problem"] = "problem" if config.owns_host_paths and not config.disable_agent else "advice"
    for other in seen.others:
        yield Finding(
            level,
            f"{other} runs on this machine: it has the same folders, cgroups and interfaces",
            f"stop it for good (`systemctl disable --now {other.name}`, k3s: k3s-killall.sh), or use another machine",
        )
