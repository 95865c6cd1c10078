"""What was seen of a machine, as far as edgek depends on it: values, which ``look.py`` makes and ``rules.py`` judges."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address

import attrs

Address = IPv4Address | IPv6Address


@attrs.frozen
class Kernel:
    """``loadable`` are file systems that it can load, of those we ask for; ``modules_folder`` is empty where it loads nothing from a disk.

    ``modules_there``: the modules of the kernel that runs are on the disk. After an upgrade without a reboot they often are not.
    """

    release: str
    version: tuple[int, int]
    filesystems: frozenset[str]
    loadable: frozenset[str] = frozenset()
    namespaces: frozenset[str] = frozenset()
    modules_folder: str = ""
    modules_there: bool = True


@attrs.frozen
class Cgroups:
    """``version`` is v1, v2, or empty where none are mounted. ``known`` is what the kernel was built with, and whether it is switched on.

    ``boot_file`` holds the kernel's command line, where that is a file to edit, ``boot_text`` what is in it; ``openrc`` mounts them by a service.
    ``unmounted`` are hierarchies of version 1 that processes are in and nobody has mounted, by name.
    """

    version: str
    controllers: frozenset[str]
    known: Mapping[str, bool] = attrs.field(factory=dict)
    command_line: str = ""
    boot_file: str = ""
    boot_text: str = ""
    openrc: bool = False
    unmounted: tuple[str, ...] = ()


@attrs.frozen
class Probe:
    """What the kernel let us do in an empty network namespace. ``nft`` is the library's word, empty where all went well.

    ``nft_lacks`` and ``lacks`` name options of a kernel's configuration; ``skipped`` says why nothing was tried.
    """

    nft: str = ""
    nft_lacks: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    no_library: str = ""
    skipped: str = ""


@attrs.frozen
class Holder:
    pid: int
    name: str

    def __str__(self) -> str:
        return f"{self.name} (process {self.pid})"


@attrs.frozen
class Listener:
    """``address`` None means all of them; ``holder`` None is the kernel, or a process that we may not look at."""

    protocol: str
    address: Address | None
    port: int
    holder: Holder | None = None


@attrs.frozen
class Ports:
    """``refused`` says why an address cannot be listened on, by ``tcp/6443``; ``own`` is the edgek that runs here already, 0 for none."""

    listeners: tuple[Listener, ...] = ()
    refused: Mapping[str, str] = attrs.field(factory=dict)
    own: int = 0


@attrs.frozen
class Network:
    """``addresses`` of links that are not ours; ``tunnels``: others' VXLAN links and their UDP ports; ``dropping``: chains that drop the unknown."""

    addresses: tuple[tuple[str, Address], ...] = ()
    tunnels: tuple[tuple[str, int], ...] = ()
    dropping: tuple[str, ...] = ()


@attrs.frozen
class Folder:
    """``use`` is the flag that names it. ``found`` is the nearest folder that is there."""

    use: str
    path: str
    found: str
    kind: str = "ext4"
    read_only: bool = False
    noexec: bool = False
    free_bytes: int = 1 << 40
    free_files: int | None = None


@attrs.frozen
class Programs:
    """``containerd`` is its version, empty where it is not there; None: one of the operator's own, elsewhere."""

    runc: bool = True
    containerd: str | None = ""


@attrs.frozen
class Surroundings:
    """``others`` are programs that do what we do, in our network; ``hosts`` is whether /etc/hosts is there."""

    clock: float = 0.0
    memory_bytes: int = 0
    hosts: bool = True
    node_name: str = ""
    others: tuple[Holder, ...] = ()
