"""What a support bundle is made of. Each part is a function and a line in ``PARTS``; it yields files, as text that is blotted afterwards.

A part may fail (a server that does not answer, a program that is not there): the bundle says so in its place. Nothing here changes the machine.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import trio

from edgek import __version__
from edgek.cli import access, member
from edgek.client.client import Client
from edgek.client.https import HttpsTransport
from edgek.client.transport import Request
from edgek.config import Config
from edgek.config.options import DEFAULT_CONFIG_FILE
from edgek.host import netlink, process
from edgek.host.netlink import Route
from edgek.host.nft import Nft, NftError
from edgek.model import kinds
from edgek.model.errors import ApiError, UsageError
from edgek.model.kinds import Kind
from edgek.model.objects import Object

TAIL_BYTES = 2 << 20  # of a log
JOURNAL_LINES = 8000
COMMAND_S = 30.0
API_S = 20.0  # for all that is asked of it
CGROUPS_MOST = 400
TABLES = ("edgek",)  # what our nftables tables begin with
LOGS = (Path("/var/log/edgek.log"), Path("/var/log/edgek-upgrade.log"))
SERVICE_FILES = (Path("/etc/systemd/system/edgek.service"), Path("/etc/init.d/edgek"), DEFAULT_CONFIG_FILE.with_name("edgek.env"))
SYSTEM_FILES = ("meminfo", "loadavg", "uptime", "cmdline", "filesystems", "modules", "swaps", "self/mountinfo", "self/cgroup", "pressure/memory")
SETTINGS = ("net/ipv4/ip_forward", "net/bridge/bridge-nf-call-iptables", "fs/inotify/max_user_instances", "fs/inotify/max_user_watches")

# Of the cluster, without what holds secrets: neither Secrets nor ConfigMaps.
KINDS: tuple[Kind, ...] = (
    kinds.NODE,
    kinds.NAMESPACE,
    kinds.POD,
    kinds.EVENT,
    kinds.SERVICE,
    kinds.ENDPOINT_SLICE,
    kinds.DEPLOYMENT,
    kinds.REPLICA_SET,
    kinds.DAEMON_SET,
    kinds.JOB,
    kinds.PERSISTENT_VOLUME,
    kinds.PERSISTENT_VOLUME_CLAIM,
    kinds.STORAGE_CLASS,
    kinds.CSI_NODE,
    kinds.LEASE,
)


@attrs.frozen
class File:
    """``objects`` stand for themselves, where they are of the API; anything else is ``text``."""

    name: str
    text: str = ""
    objects: tuple[Object, ...] | None = None


Part = Callable[[Config], AsyncIterator[File]]


async def versions(config: Config) -> AsyncIterator[File]:
    lines = [f"edgek {__version__}", f"python {platform.python_version()}", f"kernel {' '.join(platform.uname())}"]
    for argv in (["containerd", "--version"], ["runc", "--version"], ["kubectl", "version", "--client"]):
        if shutil.which(argv[0]):
            lines.append(await _printed(argv))
    yield File("versions.txt", "\n".join(lines) + "\n")
    yield File("os-release", _tail(Path("/etc/os-release")))


async def commands(config: Config) -> AsyncIterator[File]:
    """As the user would see them, each in a process of its own."""
    for name, argv in (
        ("check.txt", ["check"]),
        ("status.txt", ["status"]),
        ("certificates.txt", ["certificate", "check"]),
    ):
        yield File(name, await _printed(process.ourselves(*argv), environment=_environment(config)))


async def configuration(config: Config) -> AsyncIterator[File]:
    lines = [f"{name}: {value}" for name, value in attrs.asdict(config).items() if name not in ("token", "agent_token")]
    lines += [f"{name} {'was given' if getattr(config, name) else 'was not given'}" for name in ("token", "agent_token")]
    yield File("config/effective.txt", "\n".join(sorted(lines)) + "\n")
    for file in (Path(os.environ.get("EDGEK_CONFIG", DEFAULT_CONFIG_FILE)), config.private_registry, *SERVICE_FILES):
        if file.exists():
            yield File(f"config/{file.name}", _tail(file))


async def cluster(config: Config) -> AsyncIterator[File]:
    """What the API says, where it answers."""
    client, transport, of_node = _api(config)
    try:
        with trio.fail_after(API_S):
            for path in ("/version", "/readyz"):
                answer = await transport.request(Request("GET", path))
                yield File(f"cluster{path}.txt", f"{answer.status}\n{answer.body.decode(errors='replace')}\n")
            for kind in KINDS:
                if found := await _listed(client, kind, of_node):
                    yield File(f"cluster/{kind.plural}.json", objects=found)
    finally:
        transport.close()


async def _listed(client: Client, kind: Kind, of_node: str) -> tuple[Object, ...]:
    """A node may see itself, its pods, and what is everybody's."""
    if of_node and kind == kinds.NODE:
        node = await client.find(kind, of_node)
        return (node,) if node else ()
    fields = f"spec.nodeName={of_node}" if of_node and kind == kinds.POD else ""
    try:
        return tuple((await client.list(kind, fields=fields)).items)
    except ApiError as exc:
        return ({"refused": str(exc)},)


def _api(config: Config) -> tuple[Client, HttpsTransport, str]:
    """And the node as which it is asked; empty for the administrator."""
    if not member.is_here(config):
        return *access.admin(config), ""
    from edgek.agent import join

    membership = join.kept(config)
    if membership is None:
        raise UsageError("this machine has not joined")
    transport = HttpsTransport(membership.choice)
    return Client(transport, "edgek"), transport, membership.config.node_name


async def logs(config: Config) -> AsyncIterator[File]:
    if shutil.which("journalctl"):
        argv = ["journalctl", "-u", "edgek", "-o", "short-iso", "--no-pager", "-n", str(JOURNAL_LINES)]
        yield File("logs/journal.txt", await _printed(argv))
    for file in (*LOGS, *sorted((config.containerd_dir).glob("containerd.log*"))):
        if file.exists():
            yield File(f"logs/{file.name}", _tail(file))
    yield File("logs/kernel.txt", await _printed(["dmesg"]) if shutil.which("dmesg") else "there is no dmesg\n")


async def network(config: Config) -> AsyncIterator[File]:
    with netlink.open_socket() as kernel:
        links = {link.index: link for link in kernel.links()}
        names = {index: link.name for index, link in links.items()}
        addresses = [f"{names.get(index, index)} {address}" for index, address in kernel.addresses()]
        routes = [f"{route.destination} {_way(route)} dev {names.get(route.index, route.index)} metric {route.metric}" for route in kernel.routes()]
    shown = [f"{link.index} {link.name} {link.type or '-'} {link.mac} mtu {link.mtu} {'up' if link.up else 'down'}" for link in links.values()]
    yield File("network/links.txt", _lines(shown))
    yield File("network/addresses.txt", _lines(addresses))
    yield File("network/routes.txt", _lines(routes))
    yield File("network/resolv.conf", _tail(Path("/etc/resolv.conf")))
    yield File("network/sockets.txt", "".join(_tail(Path(f"/proc/net/{name}")) for name in ("tcp", "tcp6", "udp")))
    yield File("network/nftables.txt", _ruleset())


def _way(route: Route) -> str:
    return " ".join([*([f"via {route.gateway}"] if route.gateway else []), *([f"src {route.source}"] if route.source else [])])


def _ruleset() -> str:
    """Our tables whole, and the names of the others."""
    nft = Nft()
    try:
        listed = nft.run("list tables")
        tables = [line.removeprefix("table ") for line in listed.splitlines()]
        ours = [table for table in tables if table.split()[-1].startswith(TABLES)]
        return listed + "".join(f"\n{nft.run(f'list table {table}')}" for table in ours)
    except NftError as exc:
        return f"{exc}\n"
    finally:
        nft.close()


async def machine(config: Config) -> AsyncIterator[File]:
    for name in SYSTEM_FILES:
        yield File(f"machine/{name.rpartition('/')[2]}.txt", _tail(Path("/proc") / name))
    yield File("machine/settings.txt", _lines([f"{name} = {_tail(Path('/proc/sys') / name).strip()}" for name in SETTINGS]))
    yield File("machine/disks.txt", _lines(_disks(config)))
    yield File("machine/processes.txt", _lines(_processes(config)))
    yield File("machine/cgroups.txt", _lines(_cgroups(config)))
    yield File("machine/files.txt", _lines(_files(config)))


async def database(config: Config) -> AsyncIterator[File]:
    from edgek.server.store import upkeep

    if config.database.exists():
        counted = upkeep.counts(config.database)
        problems = upkeep.check(config.database)
        yield File("database.txt", f"{json.dumps(counted, indent=1, default=str)}\n{_lines(problems) or 'The database is sound.'}\n")


# The cheap and sure ones first.
PARTS: Mapping[str, Part] = {
    "versions": versions,
    "configuration": configuration,
    "machine": machine,
    "network": network,
    "logs": logs,
    "commands": commands,
    "database": database,
    "cluster": cluster,
}


def _disks(config: Config) -> Iterator[str]:
    for folder in (config.data_dir, config.run_dir, config.kubelet_dir, Path("/")):
        if folder.exists():
            seen = os.statvfs(folder)
            free, size = seen.f_bavail * seen.f_frsize >> 20, seen.f_blocks * seen.f_frsize >> 20
            yield f"{folder}: {free} of {size} MiB free, {seen.f_favail} of {seen.f_files} files free, flags {seen.f_flag:#x}"


def _processes(config: Config) -> Iterator[str]:
    """Ours: what mentions edgek or our folders in its command line."""
    for folder in sorted(Path("/proc").glob("[0-9]*"), key=lambda each: int(each.name)):
        with _gone_by_now():
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            if "edgek" in command or str(config.run_dir) in command or str(config.data_dir) in command:
                status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines() if ":" in line)
                yield f"{folder.name} {status['State'].split()[0]} {status.get('VmRSS', '-').strip()} {command}"


def _cgroups(config: Config) -> Iterator[str]:
    """Those of pods, with the memory and the number of processes in them."""
    place = config.cgroup_root.strip("/")
    tops = [top / "kubepods" for top in (Path("/sys/fs/cgroup") / place, *Path("/sys/fs/cgroup").glob(f"*/{place}")) if (top / "kubepods").is_dir()]
    folders = [folder for top in tops for folder in (top, *sorted(top.rglob("*"))) if folder.is_dir()]
    for folder in folders[:CGROUPS_MOST]:
        with _gone_by_now():
            memory = next((_tail(folder / name).strip() for name in ("memory.current", "memory.usage_in_bytes") if (folder / name).exists()), "-")
            yield f"{folder} memory {memory} processes {len((folder / 'cgroup.procs').read_text().split())}"


def _files(config: Config) -> Iterator[str]:
    """Names, modes and sizes of what edgek keeps itself; nothing of pods, images and volumes."""
    for top, deep in ((config.server_dir, True), (config.agent_dir, False), (config.run_dir, False), (config.data_dir, False)):
        for path in sorted(top.rglob("*") if deep else top.glob("*")):
            with _gone_by_now():
                seen = path.lstat()
                yield f"{seen.st_mode:o} {seen.st_uid}:{seen.st_gid} {seen.st_size} {path}"


@contextmanager
def _gone_by_now() -> Iterator[None]:
    """Processes and cgroups come and go while they are looked at."""
    try:
        yield
    except (OSError, KeyError):
        return


async def _printed(argv: list[str], environment: Mapping[str, str] | None = None) -> str:
    """What a program prints; why not, where it does not."""
    try:
        done = await process.run(argv, timeout_s=COMMAND_S, env=environment)
    except (OSError, trio.TooSlowError) as exc:
        return f"{argv[0]}: {exc or 'no end'}\n"
    code = f"exit code {done.returncode}\n" if done.returncode else ""
    return (done.stdout + done.stderr).decode(errors="replace") + code


def _environment(config: Config) -> dict[str, str]:
    """By which a child looks at the same edgek."""
    said: dict[str, Any] = {name: getattr(config, name) for name in ("data_dir", "run_dir", "https_listen_port", "bind_address", "write_kubeconfig")}
    return {**process.our_environment(), **{f"EDGEK_{name.upper()}": str(value) for name, value in said.items()}, "COLUMNS": "200"}


def _tail(file: Path) -> str:
    """The last of a file; why not, where it cannot be read."""
    try:
        with file.open("rb") as opened:
            if file.stat().st_size > TAIL_BYTES:
                opened.seek(-TAIL_BYTES, os.SEEK_END)
                opened.readline()
            return opened.read(TAIL_BYTES).decode(errors="replace")
    except OSError as exc:
        return f"{file}: {exc.strerror}\n"


def _lines(lines: Any) -> str:
    return "".join(f"{line}\n" for line in lines)
