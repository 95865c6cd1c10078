"""See what a machine is like. Reads only: whatever is tried is tried in an empty network namespace that goes with it (``probe``)."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import socket
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from edgek.agent.fitness.facts import Address, Cgroups, Folder, Holder, Kernel, Listener, Network, Ports, Probe, Programs, Surroundings
from edgek.agent.fitness.rules import NAMESPACES
from edgek.config import Config
from edgek.host import kernel as host_kernel
from edgek.host import process, wallclock

MODULES = Path("/lib/modules")
CGROUPS = Path("/sys/fs/cgroup")
BOOT_FILES = ("/boot/firmware/cmdline.txt", "/boot/cmdline.txt", "/etc/default/grub")
DOING_THE_SAME = ("kubelet", "k3s", "k3s-server", "k3s-agent", "k0s", "kubelite", "rke2")
OUR_ALIAS = "edgek"  # on links that we made
OUR_LINKS = ("lo", "flannel.1")
TCP_LISTENS, UDP_OPEN = "0A", "07"  # states in /proc/net, from net/tcp_states.h
_CHAIN = re.compile(r"chain (\S+) \{\s*type filter hook (?:forward|input) [^}]*policy drop", re.DOTALL)
_VXLAN_PORT = 15  # IFLA_VXLAN_PORT


def kernel(config: Config) -> Kernel:
    release = os.uname().release
    folder = MODULES / release
    modular = Path("/proc/modules").exists()
    known = _text(folder / "modules.dep") + _text(folder / "modules.builtin") if modular else ""
    return Kernel(
        release=release,
        version=host_kernel.version(release),
        filesystems=frozenset(_text("/proc/filesystems").split()),
        loadable=frozenset(name for name in ("overlay",) if re.search(rf"/{name}\.ko", known)),
        namespaces=frozenset(space for space in NAMESPACES if Path(f"/proc/self/ns/{space}").exists()),
        modules_folder=str(folder) if modular else "",
        modules_there=folder.exists(),
    )


def cgroups(config: Config) -> Cgroups:
    version, controllers = _hierarchy(CGROUPS)
    boot_file = next((file for file in BOOT_FILES if Path(file).is_file()), "")
    rows = [line.split() for line in _text("/proc/cgroups").splitlines() if not line.startswith("#")]
    return Cgroups(
        version=version,
        controllers=controllers,
        known={row[0]: row[3] == "1" for row in rows if len(row) == 4},
        command_line=_text("/proc/cmdline").strip(),
        boot_file=boot_file,
        boot_text=_text(boot_file) if boot_file else "",
        openrc=shutil.which("openrc-run") is not None,
        unmounted=tuple(sorted(named_hierarchies(_text("/proc/self/cgroup")) - mounted_hierarchies(_text("/proc/self/mountinfo")))),
    )


def named_hierarchies(text: str) -> frozenset[str]:
    """Hierarchies without a controller, ``9:name=openrc:/sshd``. See cgroups(7)."""
    return frozenset(line.split(":")[1].removeprefix("name=") for line in text.splitlines() if ":name=" in line)


def mounted_hierarchies(text: str) -> frozenset[str]:
    """Of those hierarchies, by the options of their file systems."""
    ends = [line.partition(" - ")[2].split() for line in text.splitlines()]
    options = {option for end in ends if end[:1] == ["cgroup"] for option in end[-1].split(",")}
    return frozenset(option.removeprefix("name=") for option in options if option.startswith("name="))


def _hierarchy(top: Path) -> tuple[str, frozenset[str]]:
    unified = top / "cgroup.controllers"
    if unified.exists():
        return "v2", frozenset(unified.read_text().split())
    found = frozenset(path.name for path in top.iterdir() if path.is_dir()) if top.is_dir() else frozenset()
    return ("v1" if found else ""), found


def ports(config: Config) -> Ports:
    """Whether the API may listen is asked of the kernel: it knows best what is in each other's way."""
    port = config.https_listen_port
    with socket.socket(socket.AF_INET6 if ":" in config.bind_address else socket.AF_INET) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((config.bind_address, port))
            why = ""
        except OSError as error:
            why = os.strerror(error.errno or errno.EIO)
    return Ports(tuple(_listeners()), {f"tcp/{port}": why} if why else {}, _own(config))


def _own(config: Config) -> int:
    number = _text(config.run_dir / "edgek.pid").strip()
    return int(number) if number.isdigit() and Path(f"/proc/{number}").exists() else 0


def _listeners() -> Iterator[Listener]:
    rows = []
    for table, state in (("tcp", TCP_LISTENS), ("tcp6", TCP_LISTENS), ("udp", UDP_OPEN), ("udp6", UDP_OPEN)):
        for line in _text(f"/proc/net/{table}").splitlines()[1:]:
            words = line.split()
            if len(words) > 9 and words[3] == state:
                rows.append((table[:3], words[1], words[9]))
    holders = _holders({inode for _, _, inode in rows})
    for protocol, place, inode in rows:
        address, port = _place(place)
        yield Listener(protocol, address, port, holders.get(inode))


def _place(text: str) -> tuple[Address | None, int]:
    """``0100007F:192B`` is 127.0.0.1 and 6443: words of four bytes, each as this machine has them."""
    raw, _, port = text.partition(":")
    packed = b"".join(int(raw[at : at + 8], 16).to_bytes(4, "little") for at in range(0, len(raw), 8))
    address = IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed)
    return (None if int(address) == 0 else address), int(port, 16)


def _holders(inodes: set[str]) -> dict[str, Holder]:
    """Which process has which socket."""
    found: dict[str, Holder] = {}
    for folder in _processes():
        with contextlib.suppress(OSError):
            for descriptor in os.scandir(folder / "fd"):
                with contextlib.suppress(OSError):
                    link = os.readlink(descriptor.path)
                    inode = link[8:-1] if link.startswith("socket:[") else ""
                    if inode in inodes:
                        found.setdefault(inode, Holder(int(folder.name), _text(folder / "comm").strip()))
    return found


def _processes() -> Iterator[Path]:
    return (path for path in Path("/proc").iterdir() if path.name.isdigit())


def network(config: Config) -> Network:
    from edgek.host import netlink, rtnetlink

    with netlink.open_socket() as place:
        links = place.links()
        addresses = place.addresses()
    names = {link.index: link.name for link in links if link.name not in OUR_LINKS and not link.alias.startswith(OUR_ALIAS)}
    tunnels = [(link.name, _number(rtnetlink.attributes(link.details).get(_VXLAN_PORT, b""))) for link in links if _is_foreign_tunnel(link)]
    others = tuple((names[index], address) for index, address in addresses if index in names)
    return Network(others, tuple(tunnels), tuple(_dropping()))


def _is_foreign_tunnel(link: object) -> bool:
    return getattr(link, "type", "") == "vxlan" and not str(getattr(link, "alias", "")).startswith(OUR_ALIAS)


def _number(raw: bytes) -> int:
    return int.from_bytes(raw, "big")


def _dropping() -> Iterator[str]:
    """Chains that drop what they do not know: of Docker, of ufw. Those of iptables' older kind cannot be seen from here."""
    from edgek.host.nft import Nft, NftError

    if os.geteuid() != 0:
        return
    try:
        nft = Nft()
    except (OSError, NftError):
        return  # said elsewhere
    try:
        said = nft.run("list chains")
    except NftError:
        return
    finally:
        nft.close()
    for table in said.split("\ntable "):
        for name in _CHAIN.findall(table):
            yield f"{table.removeprefix('table ').partition('{')[0].strip()} {name}"


def folders(config: Config, *, server: bool) -> tuple[Folder, ...]:
    wanted = {"--data-dir": config.data_dir, "--run-dir": config.run_dir}
    if not config.disable_agent:
        wanted |= {"--kubelet-dir": config.kubelet_dir, "--pod-logs-dir": config.pod_logs_dir}
    if server and not config.write_kubeconfig.exists():  # one that is there need not be written
        wanted["--write-kubeconfig"] = config.write_kubeconfig.parent
    kinds = _mounts()
    return tuple(_folder(use, path, kinds) for use, path in wanted.items())


def _folder(use: str, path: Path, kinds: dict[str, str]) -> Folder:
    found = next(folder for folder in (path, *path.parents) if folder.is_dir())
    about = os.statvfs(found)
    mount = next((kinds[str(folder)] for folder in (found, *found.parents) if str(folder) in kinds), "")
    return Folder(
        use,
        str(path),
        str(found),
        kind=mount,
        read_only=bool(about.f_flag & os.ST_RDONLY) or (os.geteuid() == 0 and not os.access(found, os.W_OK)),
        noexec=bool(about.f_flag & os.ST_NOEXEC),
        free_bytes=about.f_bavail * about.f_frsize,
        free_files=about.f_favail if about.f_files else None,  # btrfs has as many as it likes
    )


def _mounts() -> dict[str, str]:
    """The type of what is mounted, by mount point. https://docs.kernel.org/filesystems/proc.html#proc-pid-mountinfo-information-about-mounts"""
    found = {}
    for line in _text("/proc/self/mountinfo").splitlines():
        front, _, back = line.partition(" - ")
        found[front.split()[4].replace("\\040", " ")] = back.split()[0]
    return found


def programs(config: Config) -> Programs:
    runc = shutil.which("runc") is not None
    if config.container_runtime_endpoint:
        return Programs(runc=True, containerd=None)
    found = shutil.which("containerd")
    if found is None:
        return Programs(runc, "")
    words = process.run_now([found, "--version"]).stdout.decode().split()
    return Programs(runc, next((word.lstrip("v") for word in words if word.lstrip("v")[:1].isdigit()), "of no version"))


def surroundings(config: Config) -> Surroundings:
    return Surroundings(
        clock=wallclock.now(),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        hosts=Path("/etc/hosts").exists(),
        node_name=config.node_name,
        others=tuple(_others()),
    )


def _others() -> Iterator[Holder]:
    """In our own network: one in a container of its own is in nobody's way."""
    ours = os.readlink("/proc/self/ns/net")
    for folder in _processes():
        name = _text(folder / "comm").strip()
        if name in DOING_THE_SAME:
            with contextlib.suppress(OSError):
                if os.readlink(folder / "ns" / "net") == ours:
                    yield Holder(int(folder.name), name)


def probe(config: Config) -> Probe:
    from edgek.agent.fitness import trial

    return trial.probe(config)


def _text(path: str | Path) -> str:
    """Empty where there is none, or none for us."""
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""
