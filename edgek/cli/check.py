"""``edgek check``: can this machine run edgek? Each check is a function and a line in ``CHECKS``; what fails names its remedy."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import attrs

from edgek.cli import options
from edgek.config import Config
from edgek.host import process

MEMORY_LEAST = 200 << 20  # bytes: edgek, containerd and a pod or two
MEMORY_ADVISED = 480 << 20  # a 512 MB board shows a little less
DISK_LEAST = 512 << 20
DISK_ADVISED = 2 << 30
CONTAINERD_LEAST = (1, 6)
KERNEL_LEAST = (5, 4)
CLOCK_LEAST = 1735689600  # 2025-01-01: edgek is younger than that


@attrs.frozen
class Finding:
    """``remedy`` says what to do; empty where nothing needs doing."""

    level: Literal["ok", "advice", "problem"]
    text: str
    remedy: str = ""


def kernel(config: Config) -> Iterator[Finding]:
    release = platform.release()
    numbers = tuple(int(part) for part in release.split("-")[0].split(".")[:2] if part.isdigit())
    if numbers < KERNEL_LEAST:
        yield Finding("problem", f"kernel {release} is older than {'.'.join(map(str, KERNEL_LEAST))}", "upgrade the distribution's kernel")
    else:
        yield Finding("ok", f"kernel {release}")
    if "overlay" not in Path("/proc/filesystems").read_text() and not _module_exists("overlay"):
        yield Finding("problem", "the kernel has no overlay filesystem", "modprobe overlay; a kernel of your own needs CONFIG_OVERLAY_FS")
    for space in ("net", "mnt", "pid", "ipc", "uts"):
        if not Path(f"/proc/self/ns/{space}").exists():
            yield Finding("problem", f"the kernel has no {space} namespaces", "use a kernel with the CONFIG_*_NS options")


def cgroups(config: Config) -> Iterator[Finding]:
    unified = Path("/sys/fs/cgroup/cgroup.controllers")
    if unified.exists():
        version, found = "v2", set(unified.read_text().split())
    else:
        version, found = "v1", {path.name for path in Path("/sys/fs/cgroup").iterdir() if path.is_dir()} if Path("/sys/fs/cgroup").exists() else set()
    missing = {"cpu", "memory", "pids"} - found
    if "memory" in missing:
        yield Finding(
            "problem",
            f"cgroup {version} has no memory controller",
            "add `cgroup_enable=memory cgroup_memory=1` to the kernel's command line (Raspberry Pi OS: the one line of "
            "/boot/firmware/cmdline.txt or /boot/cmdline.txt) and reboot",
        )
    for name in sorted(missing - {"memory"}):
        yield Finding("problem", f"cgroup {version} has no {name} controller", f"boot a kernel with the cgroup controller {name}")
    if not missing:
        yield Finding("ok", f"cgroup {version} with cpu, memory and pids")


def network(config: Config) -> Iterator[Finding]:
    yield from _nftables()
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((config.bind_address, config.https_listen_port))
            yield Finding("ok", f"port {config.https_listen_port} is free")
        except OSError as exc:
            yield Finding(
                "advice",
                f"port {config.https_listen_port} on {config.bind_address}: {exc.strerror}",
                "fine if that is edgek itself (`edgek status`); else stop what listens there (`ss -ltnp`) or use --https-listen-port",
            )


def clock(config: Config) -> Iterator[Finding]:
    stamp = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
    if time.time() < CLOCK_LEAST:
        yield Finding("problem", f"the clock says {stamp}", "set it (`date -s`), or let chrony or systemd-timesyncd do it; certificates depend on it")
    else:
        yield Finding("ok", f"the clock says {stamp} UTC")


def _nftables() -> Iterator[Finding]:
    if os.geteuid() != 0:
        yield Finding("advice", "nftables was not looked at", "run `sudo edgek check` for the whole picture")
        return
    from edgek.host.nft import LIBRARY, Nft, NftError

    try:
        Nft().run("list tables")
    except OSError:
        yield Finding("problem", f"{LIBRARY} is not on this machine", "install it (Debian: apt-get install libnftables1)")
    except NftError:
        yield Finding("problem", "the kernel has no nftables", "modprobe nf_tables; a kernel of your own needs CONFIG_NF_TABLES and CONFIG_NFT_NAT")
    else:
        yield Finding("ok", "nftables")


def disk(config: Config) -> Iterator[Finding]:
    folder = next(path for path in (config.data_dir, *config.data_dir.parents) if path.exists())
    usage = shutil.disk_usage(folder)
    text = f"{usage.free >> 20} MiB free for {config.data_dir}"
    if usage.free < DISK_LEAST:
        yield Finding("problem", text, f"free at least {DISK_LEAST >> 20} MiB, or put --data-dir on another disk")
    elif usage.free < DISK_ADVISED:
        yield Finding("advice", text, f"images need room: {DISK_ADVISED >> 20} MiB are comfortable")
    else:
        yield Finding("ok", text)
    if os.statvfs(folder).f_flag & os.ST_NOEXEC:
        yield Finding("problem", f"{folder} is mounted noexec", "containers run from there: mount it without noexec, or choose another --data-dir")
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        yield Finding("problem", f"{folder} is mounted read-only", "choose a --data-dir that can be written")


def memory(config: Config) -> Iterator[Finding]:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    text = f"{total >> 20} MiB of memory"
    if total < MEMORY_LEAST:
        yield Finding("problem", text, f"edgek with a few pods needs {MEMORY_LEAST >> 20} MiB")
    elif total < MEMORY_ADVISED:
        yield Finding("advice", text, "enough for edgek and small pods; keep an eye on `edgek status`")
    else:
        yield Finding("ok", text)


def programs(config: Config) -> Iterator[Finding]:
    if config.disable_agent:
        return
    if shutil.which("runc") is None:
        yield Finding("problem", "runc is not on the PATH", "install it (Debian: apt-get install runc)")
    if config.container_runtime_endpoint:
        return
    found = shutil.which("containerd")
    if found is None:
        yield Finding("problem", "containerd is not on the PATH", "install it (Debian: apt-get install containerd)")
        return
    words = process.run_now([found, "--version"]).stdout.decode().split()
    version = next((word.lstrip("v") for word in words if word.lstrip("v")[:1].isdigit()), "")
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < CONTAINERD_LEAST:
        yield Finding("problem", f"containerd {version or 'of an unknown version'} is older than 1.6", "install containerd 1.6 or newer")
    else:
        yield Finding("ok", f"containerd {version}")


CHECKS: tuple[Callable[[Config], Iterator[Finding]], ...] = (kernel, cgroups, network, clock, disk, memory, programs)
MARKS = {"ok": "[green]✓[/]", "advice": "[yellow]![/]", "problem": "[red]✗[/]"}


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="edgek check", description="See whether this machine can run edgek.")
    options.add(parser, ["data-dir", "bind-address", "https-listen-port", "disable-agent", "container-runtime-endpoint"])
    config = options.configure(options.parse(parser, arguments))
    from rich.console import Console  # only who is shown something pays for it

    console = Console(highlight=False)
    findings = [finding for check in CHECKS for finding in check(config)]
    for finding in findings:
        console.print(f"{MARKS[finding.level]} {finding.text}", soft_wrap=True)
        if finding.remedy:
            console.print(f"    → {finding.remedy}", soft_wrap=True, style="dim")
    problems = sum(finding.level == "problem" for finding in findings)
    console.print(f"\n{problems} problem(s)" if problems else "\nThis machine can run edgek.")
    return 1 if problems else 0


def _module_exists(name: str) -> bool:
    return shutil.which("modprobe") is not None and process.run_now(["modprobe", "-n", name]).returncode == 0
